//! The four forms of a request target (RFC 9112 §3.2).

use memchr::memchr;

use crate::host::split_host_port;

/// Which form a request target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`.
    Origin,
    /// `http://host/path?query`, also with `https`, `ws`, `wss`.
    Absolute,
    /// `host:port`, for CONNECT only.
    Authority,
    /// `*`, for OPTIONS only.
    Asterisk,
}

/// A request target taken apart. Nothing is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The form it came in.
    pub form: TargetForm,
    /// Host and port, in the absolute and authority forms.
    pub authority: Option<&'a [u8]>,
    /// The path; `/` where the absolute form has none, `*` in the asterisk form, empty in the authority form.
    pub path: &'a [u8],
    /// What follows the first `?`.
    pub query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// Takes `target` apart as `method` allows; `None` if it has no form that the method may use.
    ///
    /// User information in an authority is refused, as RFC 9110 §4.2.4 advises: no origin may see it.
    #[must_use]
    pub fn parse(method: &[u8], target: &'a [u8]) -> Option<Self> {
        if method == b"CONNECT" {
            return Self::authority_form(target);
        }
        match target {
            [b'/', ..] => Some(Self::with_path(TargetForm::Origin, None, target)),
            b"*" if method == b"OPTIONS" => Some(Self {
                form: TargetForm::Asterisk,
                authority: None,
                path: target,
                query: None,
            }),
            _ => Self::absolute_form(target),
        }
    }

    fn authority_form(target: &'a [u8]) -> Option<Self> {
        split_host_port(target)?.port?;
        Some(Self {
            form: TargetForm::Authority,
            authority: Some(target),
            path: b"",
            query: None,
        })
    }

    fn absolute_form(target: &'a [u8]) -> Option<Self> {
        let colon = memchr(b':', target)?;
        let scheme = target.get(..colon)?;
        let known = [&b"http"[..], b"https", b"ws", b"wss"];
        if !known.iter().any(|name| scheme.eq_ignore_ascii_case(name)) {
            return None;
        }
        let rest = target.get(colon..)?.strip_prefix(b"://")?;
        let end = rest
            .iter()
            .position(|b| matches!(b, b'/' | b'?'))
            .unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        split_host_port(authority)?;
        Some(Self::with_path(TargetForm::Absolute, Some(authority), path))
    }

    fn with_path(form: TargetForm, authority: Option<&'a [u8]>, path_query: &'a [u8]) -> Self {
        let (path, query) = match memchr(b'?', path_query) {
            Some(at) => (&path_query[..at], Some(&path_query[at + 1..])),
            None => (path_query, None),
        };
        let path = if path.is_empty() { b"/" } else { path };
        Self {
            form,
            authority,
            path,
            query,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        use TargetForm::{Absolute, Asterisk, Authority, Origin};
        type Case = (
            &'static str,
            &'static str,
            Option<(TargetForm, &'static str, &'static str, Option<&'static str>)>,
        );
        let table: [Case; 24] = [
            ("GET", "/", Some((Origin, "", "/", None))),
            ("GET", "/a?b?c", Some((Origin, "", "/a", Some("b?c")))),
            ("GET", "/a?", Some((Origin, "", "/a", Some("")))),
            ("GET", "//h/a", Some((Origin, "", "//h/a", None))),
            (
                "GET",
                "http://h/a?b",
                Some((Absolute, "h", "/a", Some("b"))),
            ),
            (
                "GET",
                "HTTPS://h:8443",
                Some((Absolute, "h:8443", "/", None)),
            ),
            ("GET", "ws://h?b", Some((Absolute, "h", "/", Some("b")))),
            (
                "GET",
                "wss://[::1]:8/",
                Some((Absolute, "[::1]:8", "/", None)),
            ),
            ("OPTIONS", "*", Some((Asterisk, "", "*", None))),
            ("CONNECT", "h:443", Some((Authority, "h:443", "", None))),
            ("GET", "*", None),
            ("GET", "h:443", None),
            ("GET", "@h/a", None),
            ("GET", ":80/a", None),
            ("GET", "a", None),
            ("GET", "ftp://h/a", None),
            ("GET", "http:/h/a", None),
            ("GET", "http:///a", None),
            ("GET", "http://u:p@h/a", None),
            ("GET", "http://h\\a/", None),
            ("CONNECT", "/a", None),
            ("CONNECT", "h", None),
            ("CONNECT", "http://h/", None),
            ("connect", "h:443", None),
        ];
        for (method, target, expected) in table {
            let found = Target::parse(method.as_bytes(), target.as_bytes());
            let found = found.map(|t| (t.form, t.authority.unwrap_or_default(), t.path, t.query));
            let expected = expected
                .map(|(form, a, p, q)| (form, a.as_bytes(), p.as_bytes(), q.map(str::as_bytes)));
            assert_eq!(found, expected, "{method} {target}");
        }
    }
}
