//! What a fresh substitution becomes: a path, a redirect or the target of a proxied request.

use std::mem;

use relais_expr::{PieceKind, leading_integer};

use super::{Engine, Kind};
use crate::context::{Show, trace, trace_bare};
use crate::flags::FlagKind;
use crate::outcome::Prefix;
use crate::rule::RuleDraft;
use crate::uri;

impl Engine<'_> {
    /// Splits off the query of a fresh substitution and decides what kind of result it is.
    pub(super) fn settle(&mut self, draft: &RuleDraft) {
        self.own_prefix = 0;
        self.result = Kind::Rewritten;
        let root_added = self.complete(draft);
        self.query
            .split_off(&mut self.uri, draft.query, self.input, self.context);
        if draft.has(FlagKind::Proxy) {
            self.settle_proxy();
            self.context.proxied(draft.line);
        } else if draft.has(FlagKind::Redirect) {
            self.settle_redirect(draft);
        } else {
            self.reduce();
            if self.settle_path(draft, root_added) {
                let uri = mem::take(&mut self.uri);
                self.force_kind(&uri);
                self.uri = uri;
            }
        }
    }

    /// Puts the folder or a slash in front of a relative result; tells whether it did.
    fn complete(&mut self, draft: &RuleDraft) -> bool {
        let fetched = draft.has(FlagKind::Proxy) || draft.has(FlagKind::Redirect);
        let relative = self.uri.first() != Some(&b'/') && uri::scheme(&self.uri).is_none();
        match self.input.directory {
            _ if !relative => false,
            Some(directory) if directory.proxied => false,
            Some(directory) => {
                trace!(
                    self.context,
                    3,
                    "add per-dir prefix: {0} -> {1}{0}",
                    Show(&self.uri),
                    Show(directory.prefix)
                );
                self.uri.splice(..0, directory.prefix.iter().copied());
                true
            }
            None if fetched => false,
            None => {
                trace!(
                    self.context,
                    3,
                    "add root prefix: {0} -> /{0}",
                    Show(&self.uri)
                );
                self.uri.insert(0, b'/');
                true
            }
        }
    }

    fn settle_proxy(&mut self) {
        if uri::scheme(&self.uri).is_none() {
            self.root();
        }
        trace!(
            self.context,
            2,
            "forcing proxy-throughput with {}",
            Show(&self.uri)
        );
        self.result = Kind::Proxy;
    }

    fn settle_redirect(&mut self, draft: &RuleDraft) {
        if uri::scheme(&self.uri).is_none() {
            self.root();
            let mut full = mem::take(&mut self.expanded);
            full.clear();
            self.push_own_origin(&mut full);
            self.own_prefix = full.len();
            full.extend_from_slice(&self.uri);
            self.expanded = mem::replace(&mut self.uri, full);
        }
        trace!(
            self.context,
            2,
            "explicitly forcing redirect with {}",
            Show(&self.uri)
        );
        self.status = draft.settings.status;
    }

    /// Tells whether the result is a path; else it is a redirect.
    fn settle_path(&mut self, draft: &RuleDraft, root_added: bool) -> bool {
        if uri::scheme(&self.uri).is_some() {
            let status = draft.settings.status;
            trace!(
                self.context,
                2,
                "implicitly forcing redirect (rc={status} with {}",
                Show(&self.uri)
            );
            self.status = status;
            return false;
        }
        if self.prefix != Prefix::OwnUrl {
            self.prefix = first_segment(draft, &self.uri);
        }
        if !root_added
            && !draft.substitution.written.starts_with(b"//")
            && !draft.has(FlagKind::KeepSlashes)
        {
            let slashes = self.uri.iter().take_while(|byte| **byte == b'/').count();
            self.uri.drain(..slashes.saturating_sub(1));
        }
        true
    }

    fn root(&mut self) {
        if self.uri.first() != Some(&b'/') {
            self.uri.insert(0, b'/');
        }
    }

    /// Cuts our own `scheme://host:port` off, so that a rule naming this very virtual host stays internal.
    fn reduce(&mut self) {
        let Some(own) = OwnUrl::parse(&self.uri) else {
            return;
        };
        if !self.context.own_host(own.scheme, own.host, own.port) {
            return;
        }
        let path_at = own.path_at;
        let mut path = self.uri.split_off(path_at);
        if path.is_empty() {
            path.push(b'/');
        }
        trace_bare!(
            self.context,
            3,
            "reduce {}{1} -> {1}",
            Show(&self.uri),
            Show(&path)
        );
        self.uri = path;
        self.prefix = Prefix::OwnUrl;
    }

    fn push_own_origin(&self, out: &mut Vec<u8>) {
        use relais_expr::Variable::{RequestScheme, ServerName, ServerPort};
        self.context.variable(&RequestScheme, out);
        if out.is_empty() {
            out.extend_from_slice(b"http");
        }
        let default_port: &[u8] = if out.eq_ignore_ascii_case(b"https") {
            b"443"
        } else {
            b"80"
        };
        out.extend_from_slice(b"://");
        self.context.variable(&ServerName, out);
        let mut port = Vec::new();
        self.context.variable(&ServerPort, &mut port);
        if !port.is_empty() && port != default_port {
            out.push(b':');
            out.extend_from_slice(&port);
        }
    }
}

/// Whether a path's first segment stands in the substitution.
fn first_segment(draft: &RuleDraft, uri: &[u8]) -> Prefix {
    let rest = uri.get(1..).unwrap_or_default();
    let length = rest.iter().position(|&byte| byte == b'/');
    let segment = uri.get(..=length.unwrap_or(rest.len())).unwrap_or(uri);
    let first = draft.substitution.template.pieces().first();
    match first.map(|piece| &piece.kind) {
        Some(PieceKind::Literal(text)) if text.starts_with(segment) => Prefix::Author,
        _ if draft.has(FlagKind::UnsafePrefixStat) => Prefix::Author,
        _ => Prefix::Request,
    }
}

/// `scheme://host[:port]` at the start of an http or https URL.
struct OwnUrl<'a> {
    scheme: &'a [u8],
    host: &'a [u8],
    port: u16,
    path_at: usize,
}

impl<'a> OwnUrl<'a> {
    fn parse(url: &'a [u8]) -> Option<Self> {
        let colon = url.iter().position(|byte| *byte == b':')?;
        let (scheme, rest) = url.split_at(colon);
        let rest = rest.strip_prefix(b"://")?;
        let default_port = match scheme.to_ascii_lowercase().as_slice() {
            b"http" => 80,
            b"https" => 443,
            _ => return None,
        };
        let authority_len = rest
            .iter()
            .position(|byte| *byte == b'/')
            .unwrap_or(rest.len());
        let authority = rest.get(..authority_len)?;
        let (host, port) = match authority.iter().position(|byte| *byte == b':') {
            Some(at) => (
                authority.get(..at)?,
                u16::try_from(leading_integer(authority.get(at + 1..)?)).ok()?,
            ),
            None => (authority, default_port),
        };
        Some(Self {
            scheme,
            host,
            port,
            path_at: colon + 3 + authority_len,
        })
    }
}
