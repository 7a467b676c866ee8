//! Turns the state after the last rule into an [`Outcome`].

use std::borrow::Cow;

use relais_expr::escape_path;

use super::{Early, Engine, Kind, NOT_A_PATH};
use crate::context::{Show, trace, trace_bare};
use crate::outcome::{Directory, Outcome};
use crate::uri::{self, Scheme, control_or_space};

impl Engine<'_> {
    pub(super) fn finish(&mut self) -> Outcome {
        if self.result == Kind::Unchanged {
            trace!(self.context, 1, "pass through {}", Show(&self.uri));
            return Outcome::Declined;
        }
        let scheme = uri::scheme(&self.uri).filter(|_| self.result == Kind::Rewritten);
        let escapes = scheme.is_some() && !self.no_escape;
        if !escapes && let Some(error) = self.unsafe_query() {
            return error;
        }
        match (self.result, scheme) {
            (Kind::Proxy, _) => self.proxy(),
            (Kind::PassThrough, _) if self.uri.first() == Some(&b'/') => Outcome::PassThrough {
                path: self.uri.clone(),
                query: self.owned_query(),
            },
            (Kind::PassThrough, _) => NOT_A_PATH.into(),
            (_, Some(scheme)) => self.redirect(scheme),
            (_, None) => self.path(),
        }
    }

    /// A query that may not be sent on has the last word even over a rule's own status, as in httpd.
    pub(super) fn finish_early(&self, early: Early) -> Outcome {
        let escapes = uri::scheme(&self.uri).is_some();
        let unsafe_query = if escapes { None } else { self.unsafe_query() };
        unsafe_query.unwrap_or_else(|| early.into())
    }

    fn unsafe_query(&self) -> Option<Outcome> {
        self.query
            .get(self.input)
            .and_then(control_or_space)
            .map(|_| Outcome::Error {
                status: 403,
                reason: Cow::Borrowed("the rewritten query holds a control character or a space"),
            })
    }

    fn proxy(&self) -> Outcome {
        if self.no_escape && control_or_space(&self.uri).is_some() {
            let reason = Cow::Borrowed(
                "the path to be proxied unescaped holds a control character or a space",
            );
            return Outcome::Error {
                status: 403,
                reason,
            };
        }
        trace!(
            self.context,
            1,
            "go-ahead with proxy request proxy:{} [OK]",
            Show(&self.uri)
        );
        Outcome::Proxy {
            url: self.uri.clone(),
            absolute: uri::scheme(&self.uri).is_some(),
            query: self.owned_query(),
            no_escape: self.no_escape,
        }
    }

    fn path(&self) -> Outcome {
        if self.input.directory.is_none() {
            trace!(self.context, 2, "local path result: {}", Show(&self.uri));
        }
        if self.uri.first() != Some(&b'/') {
            return Outcome::Error {
                status: 400,
                reason: Cow::Borrowed("the rewritten URI is not a path"),
            };
        }
        let query = self.owned_query();
        let Some(directory) = self.input.directory else {
            return Outcome::Rewritten {
                path: self.uri.clone(),
                query,
                prefix: self.prefix,
            };
        };
        if self.uri == self.input.path {
            let line = "initial URL equal rewritten URL:";
            trace!(
                self.context,
                1,
                "{line} {} [IGNORING REWRITE]",
                Show(&self.uri)
            );
            return Outcome::Same { query };
        }
        let path = self.internal(&directory);
        trace!(
            self.context,
            1,
            "internal redirect with {} [INTERNAL REDIRECT]",
            Show(&path)
        );
        Outcome::Rewritten {
            path,
            query,
            prefix: self.prefix,
        }
    }

    /// The URL path that stands for a file's name: with the `RewriteBase` in place of the folder, without the document
    /// root, or with an alias in place of its folder.
    fn internal(&self, directory: &Directory<'_>) -> Vec<u8> {
        let uri = self.uri.as_slice();
        let path = match directory.base {
            Some(base) => {
                trace!(
                    self.context,
                    2,
                    "trying to replace prefix {} with {}",
                    Show(directory.prefix),
                    Show(base)
                );
                self.replaced(uri, directory.prefix, base, 0)
            }
            None => self.without_root(uri, directory.root),
        };
        let path = path.or_else(|| {
            let (folder, prefix) = directory.alias?;
            trace!(
                self.context,
                2,
                "trying to replace context docroot {} with context prefix {}",
                Show(folder),
                Show(prefix)
            );
            self.replaced(uri, folder, prefix, 0)
        });
        path.unwrap_or_else(|| uri.to_vec())
    }

    fn without_root(&self, uri: &[u8], root: Option<&[u8]>) -> Option<Vec<u8>> {
        let rest = uri.strip_prefix(root?)?;
        if rest.first() != Some(&b'/') {
            return None;
        }
        trace!(
            self.context,
            2,
            "strip document_root prefix: {} -> {}",
            Show(uri),
            Show(rest)
        );
        Some(rest.to_vec())
    }

    /// The path with `new` in place of the folder `old`, each with one slash at its end; `None` if it is not below
    /// that folder. The log shows them from the byte `shown` on: httpd takes what stands behind the host's slash.
    fn replaced(&self, path: &[u8], old: &[u8], new: &[u8], shown: usize) -> Option<Vec<u8>> {
        let folder = old.strip_suffix(b"/").unwrap_or(old);
        let rest = path.strip_prefix(folder)?.strip_prefix(b"/")?;
        trace_bare!(
            self.context,
            5,
            "strip matching prefix: {} -> {}",
            Show(path.get(shown..).unwrap_or_default()),
            Show(rest)
        );
        let new = new.strip_suffix(b"/").unwrap_or(new);
        trace_bare!(
            self.context,
            4,
            "add subst prefix: {0} -> {1}/{0}",
            Show(rest),
            Show(new.get(shown..).unwrap_or_default())
        );
        Some([new, b"/", rest].concat())
    }

    fn redirect(&self, scheme: Scheme) -> Outcome {
        let uri = self.rebased();
        let mut location = Vec::with_capacity(uri.len() + 64);
        if self.no_escape {
            location.extend_from_slice(&uri);
        } else {
            trace!(self.context, 1, "escaping {} for redirect", Show(&uri));
            uri::escape_absolute(&uri, scheme, &mut location);
        }
        self.append_query(&mut location);
        let status = if matches!(self.status, 300..=399) {
            self.status
        } else {
            302
        };
        trace!(
            self.context,
            1,
            "redirect to {} [REDIRECT/{status}]",
            Show(&location)
        );
        if location
            .iter()
            .any(|byte| byte.is_ascii_control() && *byte != b'\t')
        {
            let reason = Cow::Borrowed("the target of a redirect holds a control character");
            return Outcome::Error {
                status: 500,
                reason,
            };
        }
        // Our own origin is the caller's to add; escaping never changes it.
        location.drain(..self.own_prefix.min(location.len()));
        Outcome::Redirect { status, location }
    }

    /// The request's own query goes along as it came, another one is escaped.
    fn append_query(&self, location: &mut Vec<u8>) {
        let Some(query) = self.query.get(self.input) else {
            return;
        };
        location.push(b'?');
        let start = location.len();
        let copies = self.no_escape || self.input.query == Some(query);
        if copies {
            location.extend_from_slice(query);
        } else {
            escape_path(query, location);
        }
        let (verb, escaped) = match copies {
            true => ("copying", &b""[..]),
            false => ("escaping", location.get(start..).unwrap_or_default()),
        };
        trace!(
            self.context,
            1,
            "{verb} {} to query string for redirect {}",
            Show(query),
            Show(escaped)
        );
    }

    /// The URI, with `RewriteBase` in place of the folder behind our own origin.
    fn rebased(&self) -> Vec<u8> {
        let (origin, path) = self.uri.split_at(self.own_prefix.min(self.uri.len()));
        let base = self
            .input
            .directory
            .and_then(|directory| Some((directory.prefix, directory.base?)));
        let Some((prefix, base)) = base.filter(|_| path.len() > 1) else {
            return self.uri.clone();
        };
        trace!(
            self.context,
            2,
            "trying to replace prefix {} with {}",
            Show(prefix),
            Show(base)
        );
        match self.replaced(path, prefix, base, 1) {
            Some(path) => [origin, &path].concat(),
            None => self.uri.clone(),
        }
    }

    fn owned_query(&self) -> Option<Vec<u8>> {
        self.query.get(self.input).map(<[u8]>::to_vec)
    }
}

impl From<Early> for Outcome {
    fn from(early: Early) -> Self {
        match early {
            Early::Status(status) => Self::Status(status),
            Early::Error { status, reason } => Self::Error { status, reason },
        }
    }
}
