//! The rules that lead to origins, as operators wrote them: what the table of tunnels and a reload know a route by.

use std::sync::OnceLock;

use relais_conf::Span;

/// A rule that leads to an origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteSpec {
    /// The directive and what it is for: `ProxyPass /ws`, `RewriteRule ^/eventbus/(.*)$`.
    pub rule: String,
    /// Its target as written.
    pub target: String,
    /// Its line.
    pub span: Span,
    place: OnceLock<String>,
}

impl RouteSpec {
    /// A rule whose place is not known by name yet.
    #[must_use]
    pub fn new(rule: String, target: String, span: Span) -> Self {
        Self {
            rule,
            target,
            span,
            place: OnceLock::new(),
        }
    }

    /// `file:line`; empty until the site is built.
    #[must_use]
    pub fn place(&self) -> &str {
        self.place.get().map_or("", String::as_str)
    }

    /// Gives the place its name, once.
    pub(crate) fn put(&self, place: impl FnOnce() -> String) {
        self.place.get_or_init(place);
    }
}
