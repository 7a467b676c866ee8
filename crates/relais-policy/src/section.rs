//! Sections: which requests a `<Location>`, `<Directory>`, `<Files>`,
//! `<Proxy>` or `<If>` speaks of.
//!
//! Matching follows httpd's `ap_location_walk`, `ap_directory_walk`,
//! `ap_file_walk` and `proxy_walk` (core.html#location, mod_proxy.html#proxy):
//! a plain `<Location>` or `<Directory>` path covers whole segments, wildcards
//! do not cross `/`, a plain `<Proxy>` URL is a prefix, and its wildcards do
//! cross `/`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use relais_conf::{Span, Text};
use relais_expr::{Expression, Groups, Regex, RegexError};

use crate::explain::numbered_values;

/// The kinds of section that hold per-directory settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionKind {
    /// `<Proxy>` and `<ProxyMatch>`: the URL that is proxied to.
    Proxy,
    /// `<Directory>` and `<DirectoryMatch>`: the folder of the file that is
    /// served.
    Directory,
    /// `<Files>` and `<FilesMatch>`: that file's name without its folder.
    Files,
    /// `<Location>` and `<LocationMatch>`: the request's path.
    Location,
    /// `<If>`, `<ElseIf>` and `<Else>`: an expression.
    If,
}

impl SectionKind {
    /// The kind of a section of this lower-case name, without `<`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "proxy" | "proxymatch" => Self::Proxy,
            "directory" | "directorymatch" => Self::Directory,
            "files" | "filesmatch" => Self::Files,
            "location" | "locationmatch" => Self::Location,
            "if" | "elseif" | "else" => Self::If,
            _ => return None,
        })
    }

    /// The name as messages show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "<Proxy>",
            Self::Directory => "<Directory>",
            Self::Files => "<Files>",
            Self::Location => "<Location>",
            Self::If => "<If>",
        }
    }

    pub(crate) fn context_name(self) -> &'static str {
        match self {
            Self::Proxy => "<Proxy> context",
            Self::Directory => "<Directory> context",
            Self::Files => "<Files> context",
            Self::Location => "<Location> context",
            Self::If => "<If> context",
        }
    }
}

/// The methods of a `<Limit>` or `<LimitExcept>` around a directive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limit {
    /// The methods that are listed, as written.
    pub methods: Vec<Vec<u8>>,
    /// `<LimitExcept>`: the directive is meant for all other methods.
    pub inverted: bool,
}

impl Limit {
    /// Whether the directive is meant for requests of this method. GET stands
    /// for HEAD too (core.html#limit).
    #[must_use]
    pub fn covers(&self, method: &[u8]) -> bool {
        let method: &[u8] = if method == b"HEAD" { b"GET" } else { method };
        let listed = self.methods.iter().any(|have| have == method);
        listed != self.inverted
    }
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
    /// A condition of the request as a whole.
    Condition(Condition),
}

/// The three kinds of conditional section (core.html#if).
#[derive(Clone, Debug)]
pub enum Condition {
    /// `<If>`: begins a chain.
    If(Arc<Expression>),
    /// `<ElseIf>`: asked where nothing before it in the chain was true.
    ElseIf(Arc<Expression>),
    /// `<Else>`: holds where nothing before it in the chain was true.
    Else,
}

impl Matcher {
    fn matches(&self, kind: SectionKind, subject: &[u8]) -> Result<bool, RegexError> {
        Ok(match (self, kind) {
            // The walk asks the expression.
            (Self::Condition(_), _) | (_, SectionKind::If) => false,
            (Self::Prefix(path), SectionKind::Location) => covers(path, subject),
            (Self::Prefix(path), SectionKind::Directory) => covers(folder(path), subject),
            (Self::Prefix(name), SectionKind::Files) => name == subject,
            (Self::Prefix(url), SectionKind::Proxy) => subject.starts_with(url),
            (Self::Wildcard(pattern), SectionKind::Directory) => {
                let pattern = folder(pattern);
                wildcard(pattern, leading(subject, segments(pattern)), true)
            }
            (Self::Wildcard(pattern), kind) => {
                wildcard(pattern, subject, kind == SectionKind::Location)
            }
            (Self::Regex(regex), SectionKind::Directory) => {
                return Ok(covered_by_regex(regex, subject)?.is_some());
            }
            (Self::Regex(regex), _) => return regex.is_match(subject),
        })
    }
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

    /// Whether the section applies to this subject: a path (`<Location>`), a
    /// URL (`<Proxy>`), a folder without its last slash (`<Directory>`), or a
    /// name without a folder (`<Files>`).
    ///
    /// # Errors
    /// When a pattern is given up at its limit, so that nobody knows.
    pub fn matches(&self, subject: &[u8]) -> Result<bool, RegexError> {
        self.matcher.matches(self.kind, subject)
    }

    /// Whether the section is named by a path, a name or a URL and not by a
    /// regular expression.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(&self.matcher, Matcher::Prefix(_) | Matcher::Wildcard(_))
    }

    /// Whether the section is named by a pattern with named groups.
    pub(crate) fn has_names(&self) -> bool {
        matches!(&self.matcher, Matcher::Regex(regex) if regex.has_names())
    }

    /// The named groups of a pattern that matches this subject, as
    /// [`Self::matches`] takes it: what httpd puts into `MATCH_…` variables
    /// (core.html#locationmatch).
    pub(crate) fn named_groups(&self, subject: &[u8]) -> Vec<(String, Vec<u8>)> {
        let Matcher::Regex(regex) = &self.matcher else {
            return Vec::new();
        };
        let subject = self.matched_part(regex, subject);
        let groups = regex.named_groups(&subject).ok().flatten();
        let groups = groups.unwrap_or_default().into_iter();
        groups
            .map(|(name, value)| (format!("MATCH_{}", name.to_ascii_uppercase()), value))
            .collect()
    }

    /// The groups of a pattern that matches this subject, for a remark.
    pub(crate) fn groups(&self, subject: &[u8]) -> Vec<(String, String)> {
        let Matcher::Regex(regex) = &self.matcher else {
            return Vec::new();
        };
        let subject = self.matched_part(regex, subject);
        let found = regex.captures(&subject).ok().flatten();
        found.map_or_else(Vec::new, |captures| {
            numbered_values('$', &Groups::new(&subject, captures))
        })
    }

    /// What of a subject a pattern has been tried on.
    fn matched_part<'s>(&self, regex: &Regex, subject: &'s [u8]) -> Cow<'s, [u8]> {
        match self.kind {
            SectionKind::Directory => {
                let covered = covered_by_regex(regex, subject).ok().flatten();
                Cow::Owned(covered.unwrap_or_default())
            }
            _ => Cow::Borrowed(subject),
        }
    }

    /// The number of segments of a `<Directory>` path: shorter ones are merged
    /// first. `None` for a pattern, which comes after all paths.
    pub(crate) fn depth(&self) -> Option<usize> {
        match &self.matcher {
            Matcher::Prefix(path) | Matcher::Wildcard(path) => Some(segments(folder(path))),
            Matcher::Regex(_) | Matcher::Condition(_) => None,
        }
    }
}

impl fmt::Display for SectionHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.matcher {
            Matcher::Condition(Condition::Else) => return f.write_str("<Else>"),
            Matcher::Condition(Condition::ElseIf(_)) => "<ElseIf",
            _ => self.kind.name().trim_end_matches('>'),
        };
        let by_pattern = match self.matcher {
            Matcher::Regex(_) => "Match",
            _ => "",
        };
        write!(f, "{name}{by_pattern} {}>", self.argument.lossy())
    }
}

/// A folder without its last slash, so that `/` is empty and covers all.
fn folder(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

fn segments(folder: &[u8]) -> usize {
    folder.iter().filter(|&&byte| byte == b'/').count()
}

/// The first `count` segments of a folder.
fn leading(folder: &[u8], count: usize) -> &[u8] {
    let mut slashes = folder.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
    let end = slashes.nth(count).map_or(folder.len(), |(at, _)| at);
    &folder[..end]
}

/// The folder that a pattern matches, or the first of those around it: httpd
/// tries it on each, with its last slash.
fn covered_by_regex(regex: &Regex, subject: &[u8]) -> Result<Option<Vec<u8>>, RegexError> {
    let mut path = subject.to_vec();
    path.push(b'/');
    let ends: Vec<usize> = (1..=path.len())
        .filter(|&end| path[end - 1] == b'/')
        .collect();
    for end in ends {
        if regex.is_match(&path[..end])? {
            path.truncate(end);
            return Ok(Some(path));
        }
    }
    Ok(None)
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
    fn directories_cover_what_is_below_them() {
        let regex = |text: &str| {
            let regex = Regex::new(text.as_bytes(), relais_expr::RegexFlags::default());
            Matcher::Regex(regex.expect("a pattern"))
        };
        let table: &[(Matcher, &str, bool)] = &[
            (Matcher::Prefix(b"/".to_vec()), "/srv/www", true),
            (Matcher::Prefix(b"/".to_vec()), "", true),
            (Matcher::Prefix(b"/srv/".to_vec()), "/srv", true),
            (Matcher::Prefix(b"/srv".to_vec()), "/srv/www", true),
            (Matcher::Prefix(b"/srv".to_vec()), "/srvx", false),
            (
                Matcher::Wildcard(b"/home/*/web".to_vec()),
                "/home/a/web/x",
                true,
            ),
            (
                Matcher::Wildcard(b"/home/*/web".to_vec()),
                "/home/a/b/web",
                false,
            ),
            (regex("^/srv/[ab]/"), "/srv/a/deep", true),
            (regex("^/srv/[ab]/$"), "/srv/a/deep", true),
            (regex("^/srv/[ab]/$"), "/srv/c", false),
        ];
        for (matcher, subject, expected) in table {
            assert_eq!(
                matcher.matches(SectionKind::Directory, subject.as_bytes()),
                Ok(*expected),
                "{matcher:?} {subject}"
            );
        }
    }

    #[test]
    fn limits_cover_methods() {
        let limit = |inverted| Limit {
            methods: vec![b"GET".to_vec(), b"POST".to_vec()],
            inverted,
        };
        for (method, listed) in [("GET", true), ("HEAD", true), ("PUT", false)] {
            assert_eq!(limit(false).covers(method.as_bytes()), listed, "{method}");
            assert_eq!(limit(true).covers(method.as_bytes()), !listed, "{method}");
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
