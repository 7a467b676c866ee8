//! URL syntax as mod_rewrite and mod_proxy see it: schemes, escaping for a redirect, escaping for an origin.

use relais_expr::escape_path;

/// A scheme that makes a substitution absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheme {
    /// Length with its separator, as in `http://`.
    pub(crate) len: usize,
    /// Whether such URLs have a query.
    pub(crate) has_query: bool,
}

/// Tells whether `uri` starts with a scheme that httpd knows.
pub(crate) fn scheme(uri: &[u8]) -> Option<Scheme> {
    if uri.len() <= SHORTEST {
        return None;
    }
    let starts = |prefix: &str| {
        uri.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    let (prefix, has_query) = SCHEMES.iter().find(|(prefix, _)| starts(prefix))?;
    Some(Scheme {
        len: prefix.len(),
        has_query: *has_query,
    })
}

/// Appends `path` the way mod_proxy re-encodes the decoded path of a request for an origin (manual page mod_proxy,
/// ProxyPass, the default without `nocanon`).
///
/// Letters, digits and ``$-_.+!*'(),:@&=/~;`` stay, every other byte becomes `%XX` in upper case; so does `%` itself.
pub fn canonical_path(path: &[u8], out: &mut Vec<u8>) {
    for &byte in path {
        push_path_byte(byte, out);
    }
}

/// Like [`canonical_path`] for a path whose `%2F` were left undecoded (`AllowEncodedSlashes NoDecode`): these stay as
/// they are, other `%` are encoded.
pub fn canonical_path_keeping_slashes(path: &[u8], out: &mut Vec<u8>) {
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        if let [b'%', b'2', b'f' | b'F', after @ ..] = rest {
            out.extend_from_slice(&rest[..3]);
            rest = after;
        } else {
            push_path_byte(byte, out);
            rest = tail;
        }
    }
}

/// The offset of the first control character or space, which must not stand in a request target.
#[must_use]
pub fn control_or_space(text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| *byte <= b' ' || *byte == 0x7f)
}

/// Appends an absolute URL, escaped from behind its authority on.
pub(crate) fn escape_absolute(uri: &[u8], scheme: Scheme, out: &mut Vec<u8>) {
    let after_scheme = uri.get(scheme.len..).unwrap_or_default();
    let has_authority = uri.get(scheme.len - 1) == Some(&b'/');
    let authority = if has_authority {
        after_scheme
            .iter()
            .position(|byte| *byte == b'/')
            .unwrap_or(after_scheme.len())
    } else {
        0
    };
    let (kept, escaped) = uri.split_at(scheme.len + authority);
    out.extend_from_slice(kept);
    escape_path(escaped, out);
}

fn push_path_byte(byte: u8, out: &mut Vec<u8>) {
    if byte.is_ascii_alphanumeric() || b"$-_.+!*'(),:@&=/~;".contains(&byte) {
        out.push(byte);
    } else {
        out.extend([
            b'%',
            UPPER[usize::from(byte >> 4)],
            UPPER[usize::from(byte & 15)],
        ]);
    }
}

const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Nothing up to this length counts as absolute, not even a bare `ws://`.
const SHORTEST: usize = 5;

/// Longer prefixes stand before shorter ones with the same beginning.
const SCHEMES: &[(&str, bool)] = &[
    ("http://", true),
    ("https://", true),
    ("ws://", true),
    ("wss://", true),
    ("ajp://", true),
    ("balancer://", true),
    ("fcgi://", true),
    ("scgi://", true),
    ("h2://", true),
    ("h2c://", true),
    ("unix://", true),
    ("unix:", true),
    ("mailto:", true),
    ("ftp://", false),
    ("gopher://", false),
    ("ldap://", false),
    ("news:", false),
    ("nntp://", false),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes() {
        for (uri, expected) in [
            ("http://h", Some((7, true))),
            ("HTTPS://h/", Some((8, true))),
            ("ws://h", Some((5, true))),
            ("ws://", None),
            ("wss://h", Some((6, true))),
            ("unix:/s|http://h/", Some((5, true))),
            ("unix://s", Some((7, true))),
            ("mailto:a@b", Some((7, true))),
            ("ftp://h/?x", Some((6, false))),
            ("news:a", Some((5, false))),
            ("http:/h/a", None),
            ("/http://h", None),
            ("proxy:http://h", None),
            ("", None),
        ] {
            let found = scheme(uri.as_bytes()).map(|scheme| (scheme.len, scheme.has_query));
            assert_eq!(found, expected, "{uri}");
        }
    }

    #[test]
    fn escaping() {
        let absolute =
            |uri: &[u8], out: &mut Vec<u8>| escape_absolute(uri, scheme(uri).unwrap(), out);
        type Row<'a> = (&'a dyn Fn(&[u8], &mut Vec<u8>), &'a [u8], &'a str);
        let table: &[Row<'_>] = &[
            (
                &canonical_path,
                b"/a'b(c)!*@:$,=+;&~-_.9Z",
                "/a'b(c)!*@:$,=+;&~-_.9Z",
            ),
            (
                &canonical_path,
                b"/a|b^c`d{e} \"<>[]\\%2f?#\xe9\n",
                "/a%7Cb%5Ec%60d%7Be%7D%20%22%3C%3E%5B%5D%5C%252f%3F%23%E9%0A",
            ),
            (
                &canonical_path_keeping_slashes,
                b"%2f%2F%2e%2",
                "%2f%2F%252e%252",
            ),
            (&escape_path, b"/\xe9 #?", "/%e9%20%23%3f"),
            (&absolute, b"http://h h/a b", "http://h h/a%20b"),
            (&absolute, b"http://h", "http://h"),
            (&absolute, b"mailto:a b", "mailto:a%20b"),
        ];
        for (escape, input, expected) in table {
            let mut out = Vec::new();
            escape(input, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), *expected);
        }
    }

    #[test]
    fn controls_and_spaces_are_found() {
        for (text, expected) in [
            (&b"a=1&b=%20"[..], None),
            (b"a b", Some(1)),
            (b"\x7f", Some(0)),
            (b"\xff\t", Some(1)),
            (b"", None),
        ] {
            assert_eq!(control_or_space(text), expected);
        }
    }
}
