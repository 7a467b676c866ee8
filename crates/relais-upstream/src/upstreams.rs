//! What all worker threads know together of one configuration's origins.

use std::sync::Arc;

use crate::limit::Limits;

/// The shared state of one configuration's origins. What the configuration
/// before had in common with it goes on.
#[derive(Default)]
pub struct Upstreams {
    /// `max=` of every origin that has one.
    pub limits: Arc<Limits>,
}

impl Upstreams {
    /// The state of another configuration, with what stays the same taken over.
    #[must_use]
    pub fn adopt(previous: Option<&Self>) -> Self {
        let limits = previous.map(|previous| Arc::clone(&previous.limits));
        Self {
            limits: limits.unwrap_or_default(),
        }
    }
}
