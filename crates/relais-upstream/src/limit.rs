//! `max=`: how many connections to one origin there may be at a time, over all
//! worker threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The limits of all origins that have one. It outlives a reload, so that the
/// connections of the configuration before count.
#[derive(Default)]
pub struct Limits(Mutex<HashMap<(String, u32), Arc<Limit>>>);

/// The right to one connection; given back when it is dropped.
pub(crate) type Permit = OwnedSemaphorePermit;

/// One origin's limit.
pub(crate) struct Limit {
    permits: Arc<Semaphore>,
    /// Somebody waits: idle connections are to be closed.
    wanted: Notify,
    waiting: AtomicUsize,
}

impl Limits {
    /// The limit of the worker of this name.
    pub(crate) fn of(&self, name: &str, most: u32) -> Arc<Limit> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = known.entry((name.to_owned(), most)).or_insert_with(|| {
            Arc::new(Limit {
                permits: Arc::new(Semaphore::new(most as usize)),
                wanted: Notify::new(),
                waiting: AtomicUsize::new(0),
            })
        });
        Arc::clone(limit)
    }
}

impl Limit {
    /// A permit, once there is one. Idle connections of every thread count, so
    /// where none is free they are asked to go.
    pub(crate) async fn acquire(&self) -> Option<Permit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let _waiting = Waiting::new(&self.waiting);
        self.wanted.notify_waiters();
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Whether somebody waits for a permit.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Waits until somebody wants what an idle connection holds.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

/// Counts one that waits, also when it gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
