//! Where proxying rules send requests: the origins that the configuration
//! names, as far as they are known without a request.

use relais_expr::{PieceKind, Template};

use crate::mod_proxy::{self, Params, Worker};

/// An absolute substitution.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// What is literal up to the first group or variable.
    fixed: Vec<u8>,
    /// Whether the host is made from a group or variable on purpose.
    any_host: bool,
}

impl Target {
    /// The target of a substitution; `None` if it is not an absolute URL.
    pub(super) fn new(substitution: &Template) -> Option<Self> {
        let mut fixed = Vec::new();
        let mut pieces = substitution.pieces().iter();
        let mut open = false;
        for piece in pieces.by_ref() {
            match &piece.kind {
                PieceKind::Literal(text) => fixed.extend_from_slice(text),
                PieceKind::Escaped(byte) => fixed.push(*byte),
                _ => {
                    open = true;
                    break;
                }
            }
        }
        let parts = mod_proxy::split(&fixed)?;
        // More of the target behind the group says that the group is the host
        // or a part of it; otherwise it is meant to be a path.
        let behind = pieces
            .any(|piece| matches!(&piece.kind, PieceKind::Literal(text) if text.contains(&b'/')));
        let any_host = open && parts.path.is_empty() && (parts.authority.is_empty() || behind);
        Some(Self { fixed, any_host })
    }

    /// A worker for it. httpd closes the connection of a `[P]` target behind
    /// each request; relais keeps it, as it does for `ProxyPass`. `None` if the
    /// host is known only with a request.
    pub(super) fn worker(&self) -> Option<Worker> {
        if self.any_host {
            None
        } else {
            Worker::new(&self.fixed, false, Params::default())
        }
    }

    /// Whether a URL is made by this rule, and with the host that it says.
    fn made(&self, url: &[u8]) -> Option<bool> {
        let rest = url.strip_prefix(self.fixed.as_slice())?;
        let parts = mod_proxy::split(&self.fixed)?;
        let same = self.any_host
            || !parts.path.is_empty()
            || matches!(rest.first(), None | Some(b'/' | b'?'));
        Some(same)
    }
}

/// Whether the host of a URL is another one than the rules that could have
/// made it say: what stands behind `http://host$1` has to start with a slash.
/// Rules with more literal text are likelier to have made it.
pub(super) fn changes_host(targets: &[Target], url: &[u8]) -> bool {
    let makers = || {
        targets
            .iter()
            .filter_map(|target| Some((target.fixed.len(), target.made(url)?)))
    };
    let longest = makers().map(|(length, _)| length).max();
    longest.is_some_and(|longest| !makers().any(|(length, same)| length == longest && same))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(substitution: &str) -> Option<Target> {
        Target::new(&Template::parse(substitution.as_bytes(), 0).expect("a template"))
    }

    #[test]
    fn hosts() {
        let table: &[(&str, &str, bool)] = &[
            ("http://h/a$1", "http://h/ab", false),
            ("http://h:7018$1", "http://h:7018/a", false),
            ("http://h:7018$1", "http://h:7018", false),
            ("http://h:7018$1", "http://h:70181/", true),
            ("http://h$1", "http://h@evil/", true),
            ("http://h$1", "http://h.evil/", true),
            ("http://h%{REQUEST_URI}", "http://h/x", false),
            ("http://%{HTTP_HOST}/x", "http://any/x", false),
            ("http://app-$1.o/x", "http://app-1.o/x", false),
            ("http://h/a$1", "http://other/", false),
        ];
        for &(substitution, url, expected) in table {
            let targets: Vec<Target> = target(substitution).into_iter().collect();
            assert_eq!(
                changes_host(&targets, url.as_bytes()),
                expected,
                "{substitution} {url}"
            );
        }
        let both: Vec<Target> = ["http://h$1", "http://$1/$2"]
            .into_iter()
            .filter_map(target)
            .collect();
        assert!(changes_host(&both, b"http://h.evil/x"));
        assert!(!changes_host(&both, b"http://other/x"));
        assert!(target("/path").is_none());
        assert!(target("-").is_none());
    }

    #[test]
    fn workers() {
        let table: &[(&str, Option<&str>)] = &[
            ("http://H:7018/a$1", Some("http://h:7018")),
            ("ws://h$1", Some("ws://h")),
            ("http://%{HTTP_HOST}/x", None),
            ("http://app-$1.o/x", None),
        ];
        for &(substitution, expected) in table {
            let worker = target(substitution).and_then(|target| target.worker());
            let name = worker
                .as_ref()
                .map(|worker| String::from_utf8_lossy(worker.name()));
            assert_eq!(name.as_deref(), expected, "{substitution}");
        }
    }
}
