//! Sections: which requests a `<Location>` or `<Proxy>` speaks of.
//!
//! Matching follows httpd's `ap_location_walk` and `proxy_walk`
//! (core.html#location, mod_proxy.html#proxy): a plain `<Location>` path
//! covers whole segments, wildcards do not cross `/`, a plain `<Proxy>` URL is
//! a prefix, and its wildcards do cross `/`.

use relais_conf::{Span, Text};
use relais_expr::Regex;

/// The kinds of section that hold per-directory settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionKind {
    /// `<Location>` and `<LocationMatch>`: the request's path.
    Location,
    /// `<Proxy>` and `<ProxyMatch>`: the URL that is proxied to.
    Proxy,
}

/// What a section's argument matches.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// A literal path or URL.
    Prefix(Vec<u8>),
    /// A pattern with `*`, `?` or `[…]`.
    Wildcard(Vec<u8>),
    /// A regular expression.
    Regex(Regex),
}

/// A section's opening line, understood.
#[derive(Clone, Debug)]
pub struct SectionHead {
    /// Which kind.
    pub kind: SectionKind,
    /// What it matches.
    pub matcher: Matcher,
    /// The argument as written.
    pub argument: Text,
    /// The opening line.
    pub span: Span,
}

impl SectionHead {
    /// The literal path of a plain `<Location>`, for directives whose path
    /// argument is implied by it.
    #[must_use]
    pub fn plain_path(&self) -> Option<&[u8]> {
        match (&self.kind, &self.matcher) {
            (SectionKind::Location, Matcher::Prefix(path)) => Some(path),
            _ => None,
        }
    }

    /// Whether the section applies to this path (for `<Location>`) or URL
    /// (for `<Proxy>`).
    #[must_use]
    pub fn matches(&self, subject: &[u8]) -> bool {
        match (&self.matcher, self.kind) {
            (Matcher::Prefix(path), SectionKind::Location) => covers(path, subject),
            (Matcher::Prefix(url), SectionKind::Proxy) => subject.starts_with(url),
            (Matcher::Wildcard(pattern), kind) => {
                wildcard(pattern, subject, kind == SectionKind::Location)
            }
            // A match that is given up at its limit is none.
            (Matcher::Regex(regex), _) => regex.is_match(subject).unwrap_or(false),
        }
    }
}

/// Whether a literal `<Location>` path covers a request path: the same path or
/// one of its segments on; a prefix that ends in `/` covers everything below.
#[must_use]
pub fn covers(prefix: &[u8], path: &[u8]) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest[0] == b'/' || prefix.ends_with(b"/"),
        None => false,
    }
}

/// Whether an argument holds wildcard characters.
#[must_use]
pub fn is_wildcard(argument: &[u8]) -> bool {
    argument
        .iter()
        .any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// `fnmatch(3)` with `*`, `?` and `[…]`; `*` and `?` stop at `/` when
/// `segments` says so. Linear in space and at most quadratic in time.
#[must_use]
pub fn wildcard(pattern: &[u8], subject: &[u8], segments: bool) -> bool {
    let (mut p, mut s) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if p == pattern.len() && s == subject.len() {
            return true;
        }
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, s));
            p += 1;
            continue;
        }
        if let (Some(&byte), Some(width)) = (
            subject.get(s),
            subject
                .get(s)
                .and_then(|&byte| one(&pattern[p..], byte, segments)),
        ) {
            debug_assert!(byte == subject[s]);
            p += width;
            s += 1;
            continue;
        }
        match retry {
            Some((star, from)) if from < subject.len() && !(segments && subject[from] == b'/') => {
                retry = Some((star, from + 1));
                p = star + 1;
                s = from + 1;
            }
            _ => return false,
        }
    }
}

/// Matches one byte against the head of a pattern; the answer is how much of
/// the pattern was used.
fn one(pattern: &[u8], byte: u8, segments: bool) -> Option<usize> {
    match *pattern.first()? {
        b'?' if segments && byte == b'/' => None,
        b'?' => Some(1),
        b'[' => class(pattern, byte, segments),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        literal => (literal == byte).then_some(1),
    }
}

fn class(pattern: &[u8], byte: u8, segments: bool) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    let Some(length) = pattern[start..].iter().skip(1).position(|&b| b == b']') else {
        return (byte == b'[').then_some(1);
    };
    let end = start + 1 + length;
    let mut members = &pattern[start..end];
    let mut found = false;
    while let [low, rest @ ..] = members {
        members = rest;
        if let [b'-', high, rest @ ..] = rest {
            found |= (*low..=*high).contains(&byte);
            members = rest;
        } else {
            found |= *low == byte;
        }
    }
    (found != negated && !(segments && byte == b'/')).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_paths_cover_whole_segments() {
        let table: &[(&str, &str, bool)] = &[
            ("/p", "/p", true),
            ("/p", "/p/q", true),
            ("/p", "/pq", false),
            ("/p/", "/p/q", true),
            ("/p/", "/p", false),
            ("/", "/anything", true),
            ("/p", "/P", false),
        ];
        for &(prefix, path, expected) in table {
            assert_eq!(
                covers(prefix.as_bytes(), path.as_bytes()),
                expected,
                "{prefix} {path}"
            );
        }
    }

    #[test]
    fn wildcards() {
        let table: &[(&str, &str, bool, bool)] = &[
            ("*", "http://a/b", false, true),
            ("*", "/a", true, false),
            ("/*", "/a", true, true),
            ("/*", "/a/b", true, false),
            ("/a*c", "/abbbc", true, true),
            ("/a?c", "/abc", true, true),
            ("/a?c", "/a/c", true, false),
            ("/[a-c]x", "/bx", true, true),
            ("/[!a-c]x", "/bx", true, false),
            ("/[!a-c]x", "/zx", true, true),
            ("/[]]", "/]", true, true),
            ("/[", "/[", true, true),
            ("a*b*c", "aXbYbZc", false, true),
            ("a*b*c", "aXbYbZ", false, false),
            ("", "", true, true),
        ];
        for &(pattern, subject, segments, expected) in table {
            assert_eq!(
                wildcard(pattern.as_bytes(), subject.as_bytes(), segments),
                expected,
                "{pattern} {subject}"
            );
        }
    }
}
