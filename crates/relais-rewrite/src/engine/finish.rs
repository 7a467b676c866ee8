//! Turns the state after the last rule into an [`Outcome`].

use std::borrow::Cow;

use relais_expr::escape_path;

use super::{Early, Engine, Kind, NOT_A_PATH};
use crate::context::{Show, trace};
use crate::outcome::Outcome;
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
        trace!(self.context, 2, "local path result: {}", Show(&self.uri));
        if self.uri.first() != Some(&b'/') {
            return Outcome::Error {
                status: 400,
                reason: Cow::Borrowed("the rewritten URI is not a path"),
            };
        }
        let path = self.rebased(0);
        if self.input.directory.is_none() {
            trace!(self.context, 1, "go-ahead with {} [OK]", Show(&path));
        }
        Outcome::Rewritten {
            path,
            query: self.owned_query(),
        }
    }

    fn redirect(&self, scheme: Scheme) -> Outcome {
        let uri = self.rebased(self.own_prefix);
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
        if self.no_escape || self.input.query == Some(query) {
            trace!(
                self.context,
                1,
                "copying {} to query string for redirect",
                Show(query)
            );
            location.extend_from_slice(query);
        } else {
            trace!(
                self.context,
                1,
                "escaping {} to query string for redirect",
                Show(query)
            );
            escape_path(query, location);
        }
    }

    /// The URI, with `RewriteBase` in place of the folder behind the first `from` bytes.
    fn rebased(&self, from: usize) -> Vec<u8> {
        let mut uri = self.uri.clone();
        let Some(directory) = self.input.directory else {
            return uri;
        };
        let path = self.uri.get(from..).unwrap_or_default();
        if let Some(base) = directory.base
            && path.starts_with(directory.prefix)
        {
            trace!(
                self.context,
                2,
                "trying to replace prefix {} with {}",
                Show(directory.prefix),
                Show(base)
            );
            let slash: &[u8] = if base.ends_with(b"/") { b"" } else { b"/" };
            let new = base.iter().chain(slash).copied();
            uri.splice(from..from + directory.prefix.len(), new);
        }
        uri
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
