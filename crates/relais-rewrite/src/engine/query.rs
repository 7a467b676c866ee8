//! The query of the URI while it is rewritten.

use crate::context::{Context, Show, trace_bare};
use crate::outcome::Input;
use crate::rule::QueryFlags;
use crate::uri;

/// The current query, with room for a new one.
pub(super) struct Query {
    state: State,
    text: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The request's own.
    Own,
    None,
    /// It is `text`.
    New,
}

impl Query {
    pub(super) const fn new(buffer: Vec<u8>) -> Self {
        Self {
            state: State::Own,
            text: buffer,
        }
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.text
    }

    pub(super) fn get<'q>(&'q self, input: &Input<'q>) -> Option<&'q [u8]> {
        match self.state {
            State::Own => input.query,
            State::None => None,
            State::New => Some(&self.text),
        }
    }

    /// The length of a query that a rule made.
    pub(super) fn added_len(&self) -> usize {
        if self.state == State::New {
            self.text.len()
        } else {
            0
        }
    }

    /// Moves the query of a fresh substitution from `uri` to here.
    pub(super) fn split_off(
        &mut self,
        uri: &mut Vec<u8>,
        flags: QueryFlags,
        input: &Input<'_>,
        context: &dyn Context,
    ) {
        if flags.none {
            trace_bare!(
                context,
                2,
                "discarding query string, no parse from substitution"
            );
            self.state = State::None;
            return;
        }
        let scheme = uri::scheme(uri);
        if scheme.is_some_and(|scheme| !scheme.has_query) {
            self.state = State::None;
            return;
        }
        if flags.discard {
            trace_bare!(context, 2, "discarding query string");
            self.state = State::None;
        }
        let from = scheme.map_or(0, |scheme| scheme.len);
        let Some(mark) = question_mark(uri, from, flags.last) else {
            return;
        };
        let added = uri.get(mark + 1..).unwrap_or_default();
        self.replace(added, flags.append, input);
        let query = self.get(input).unwrap_or(b"<none>");
        trace_bare!(
            context,
            3,
            "split uri={} -> uri={}, args={}",
            Show(uri),
            Show(&uri[..mark]),
            Show(query)
        );
        uri.truncate(mark);
    }

    /// Takes `added` instead of, or with `append` in front of, the query so far.
    fn replace(&mut self, added: &[u8], append: bool, input: &Input<'_>) {
        if append && added.is_empty() {
            return self.trim(input);
        }
        if append && self.state == State::New {
            self.text.splice(..0, added.iter().copied().chain([b'&']));
        } else {
            let old = if self.state == State::Own {
                input.query.unwrap_or_default()
            } else {
                b""
            };
            self.text.clear();
            self.text.extend_from_slice(added);
            if append {
                self.text.push(b'&');
                self.text.extend_from_slice(old);
            }
        }
        self.state = State::New;
        self.trim(input);
    }

    /// Cuts one final `&` and drops an empty query, as httpd does at every split, even of the request's own query.
    fn trim(&mut self, input: &Input<'_>) {
        match self.get(input) {
            None => {}
            Some(b"") => self.state = State::None,
            Some([kept @ .., b'&']) => {
                let kept = kept.len();
                if self.state == State::Own {
                    self.text.clear();
                    self.text.extend_from_slice(input.query.unwrap_or_default());
                    self.state = State::New;
                }
                self.text.truncate(kept);
            }
            Some(_) => {}
        }
    }
}

fn question_mark(uri: &[u8], from: usize, last: bool) -> Option<usize> {
    let rest = uri.get(from..)?;
    let is_mark = |byte: &u8| *byte == b'?';
    let at = if last {
        rest.iter().rposition(is_mark)
    } else {
        rest.iter().position(is_mark)
    };
    at.map(|at| from + at)
}
