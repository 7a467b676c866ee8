//! A request target's path: decoded once, normalised once.
//!
//! The order is httpd's (`ap_process_request_internal`, core.html
//! #allowencodedslashes and #mergeslashes): every rule and every section sees
//! the same path, and it is the one that is sent on.

/// `AllowEncodedSlashes`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EncodedSlashes {
    /// `%2F` is answered with 404.
    #[default]
    Off,
    /// `%2F` becomes `/`.
    On,
    /// `%2F` stays as it is.
    NoDecode,
}

/// How paths are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathRules {
    /// `AllowEncodedSlashes`.
    pub encoded_slashes: EncodedSlashes,
    /// `MergeSlashes`.
    pub merge_slashes: bool,
}

impl Default for PathRules {
    fn default() -> Self {
        Self {
            encoded_slashes: EncodedSlashes::Off,
            merge_slashes: true,
        }
    }
}

/// Why a path is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathError {
    /// A `%` without two hexadecimal digits: 400.
    BadEscape,
    /// `..` above the root: 400.
    AboveRoot,
    /// `%00`: 404.
    Nul,
    /// `%2F` while `AllowEncodedSlashes` is Off: 404.
    EncodedSlash,
}

impl PathError {
    /// The status that httpd answers.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadEscape | Self::AboveRoot => 400,
            Self::Nul | Self::EncodedSlash => 404,
        }
    }

    /// What the error log says.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadEscape => "invalid percent-escape in the path",
            Self::AboveRoot => "the path climbs above the root",
            Self::Nul => "encoded NUL in the path",
            Self::EncodedSlash => "found %2f (encoded '/') in the path; AllowEncodedSlashes is Off",
        }
    }
}

/// The path and the query of an origin-form or absolute-form target, raw.
#[must_use]
pub fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let rest = match target.first() {
        Some(b'/' | b'*') | None => target,
        Some(_) => after_authority(target),
    };
    let (path, query) = match rest.iter().position(|&byte| byte == b'?') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    (if path.is_empty() { b"/" } else { path }, query)
}

fn after_authority(target: &[u8]) -> &[u8] {
    let authority = target
        .windows(3)
        .position(|w| w == b"://")
        .map_or(0, |at| at + 3);
    let end = target[authority..]
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'));
    end.map_or(&[], |at| &target[authority + at..])
}

/// Decodes and normalises a raw path into `out`.
///
/// # Errors
/// See [`PathError`]; `out` is then as far decoded as it goes.
pub fn normalise(raw: &[u8], rules: PathRules, out: &mut Vec<u8>) -> Result<(), PathError> {
    out.clear();
    let raw = without_double_slash(raw);
    out.reserve(raw.len());
    if !raw.contains(&b'%') {
        out.extend_from_slice(raw);
        return remove_dots(out, rules.merge_slashes);
    }
    if has_bad_escape(raw) {
        out.extend_from_slice(raw);
        return Err(PathError::BadEscape);
    }
    // httpd removes dot segments twice: from the path as it was written, where `/%2F/..` is an ordinary segment that
    // goes, and from the decoded one (server/request.c, ap_normalize_path before ap_unescape_url).
    let mut written = decode_unreserved(raw);
    remove_dots(&mut written, rules.merge_slashes)?;
    decode(&written, rules.encoded_slashes, out)?;
    remove_dots(out, rules.merge_slashes)
}

/// The path as httpd's URI parser reads it: slashes in front are one, whatever `MergeSlashes` says, since `//` begins a
/// host there.
#[must_use]
pub fn without_double_slash(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    &path[slashes.saturating_sub(1)..]
}

/// Normalises a raw path without decoding it, but for escapes of unreserved
/// characters: what a rule with `mapping=` sees.
///
/// # Errors
/// See [`PathError`].
pub fn normalise_written(raw: &[u8], rules: PathRules) -> Result<Vec<u8>, PathError> {
    let raw = without_double_slash(raw);
    if has_bad_escape(raw) {
        return Err(PathError::BadEscape);
    }
    let mut written = decode_unreserved(raw);
    remove_dots(&mut written, rules.merge_slashes)?;
    Ok(written)
}

/// The path with the escapes of unreserved characters (RFC 3986 section 2.3) taken off, and no others.
fn decode_unreserved(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if let (b'%', [high, low, tail @ ..]) = (*byte, tail) {
            let value = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
            if let Some(value) = value.filter(|value| is_unreserved(*value)) {
                out.push(value);
                rest = tail;
                continue;
            }
        }
        out.push(*byte);
    }
    out
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Whether a `%` stands without two hexadecimal digits behind it.
fn has_bad_escape(path: &[u8]) -> bool {
    let is_hex = |at: usize| path.get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut escapes = path.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    escapes.any(|(at, _)| !is_hex(at + 1) || !is_hex(at + 2))
}

/// Decodes all of the path, whatever is wrong with it: logs show what was made of it.
fn decode(path: &[u8], slashes: EncodedSlashes, out: &mut Vec<u8>) -> Result<(), PathError> {
    let mut rest = path;
    let mut wrong = None;
    while let [byte, tail @ ..] = rest {
        let (b'%', [high, low, behind @ ..]) = (*byte, tail) else {
            out.push(*byte);
            rest = tail;
            continue;
        };
        rest = behind;
        let value = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
        match (value, slashes) {
            (None, _) => wrong = Some(PathError::BadEscape),
            (Some(0), _) => wrong = wrong.or(Some(PathError::Nul)),
            (Some(b'/'), EncodedSlashes::Off) => wrong = wrong.or(Some(PathError::EncodedSlash)),
            _ => {}
        }
        match value {
            Some(b'/') if slashes == EncodedSlashes::NoDecode => {
                out.extend_from_slice(&[b'%', *high, *low]);
            }
            value => out.extend(value),
        }
    }
    wrong.map_or(Ok(()), Err)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Removes `.` and `..` segments and, if asked, empty ones, in place.
fn remove_dots(path: &mut Vec<u8>, merge: bool) -> Result<(), PathError> {
    if !path
        .windows(2)
        .any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.'))
    {
        return Ok(());
    }
    let (mut read, mut write) = (0, 0);
    while read < path.len() {
        let end = path[read + 1..]
            .iter()
            .position(|&byte| byte == b'/')
            .map_or(path.len(), |at| read + 1 + at);
        let last = end == path.len();
        match &path[read + 1..end] {
            b"." => write = keep_slash(path, write, last),
            b".." => {
                let parent = path[..write]
                    .iter()
                    .rposition(|&byte| byte == b'/')
                    .ok_or(PathError::AboveRoot)?;
                write = keep_slash(path, parent, last);
            }
            b"" if merge && !last => {}
            _ => {
                path.copy_within(read..end, write);
                write += end - read;
            }
        }
        read = end;
    }
    path.truncate(write);
    Ok(())
}

/// A dot segment at the end of the path leaves its slash behind.
fn keep_slash(path: &mut [u8], write: usize, last: bool) -> usize {
    if last {
        path[write] = b'/';
        write + 1
    } else {
        write
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, rules: PathRules, expected: Result<&str, PathError>) {
        let mut out = Vec::new();
        let result = normalise(raw.as_bytes(), rules, &mut out)
            .map(|()| String::from_utf8_lossy(&out).into_owned());
        assert_eq!(result.as_deref(), expected.as_ref().map(|s| &**s), "{raw}");
    }

    #[test]
    fn paths_as_httpd_reads_them() {
        let table: &[(&str, Result<&str, PathError>)] = &[
            ("/", Ok("/")),
            ("/a%20b", Ok("/a b")),
            ("/a%2Bb+c", Ok("/a+b+c")),
            ("/a%3Fb", Ok("/a?b")),
            ("/a%25b", Ok("/a%b")),
            ("/a%252e", Ok("/a%2e")),
            ("/a//b///c", Ok("/a/b/c")),
            ("//", Ok("/")),
            ("/a//", Ok("/a/")),
            ("/./a/./b", Ok("/a/b")),
            ("/a/.", Ok("/a/")),
            ("/a/..", Ok("/")),
            ("/a/../b", Ok("/b")),
            ("/x/%2e%2e/a", Ok("/a")),
            ("/x/.%2e/a", Ok("/a")),
            ("/x/%2F/..", Ok("/x/")),
            ("/../%2F", Err(PathError::AboveRoot)),
            ("/a/b/../../c", Ok("/c")),
            ("/a/...", Ok("/a/...")),
            ("/.a/..b", Ok("/.a/..b")),
            ("/..", Err(PathError::AboveRoot)),
            ("/a/../../x", Err(PathError::AboveRoot)),
            ("/%2e%2e/x", Err(PathError::AboveRoot)),
            ("/a//../b", Ok("/b")),
            ("/a%2Fb", Err(PathError::EncodedSlash)),
            ("/a%00", Err(PathError::Nul)),
            ("/a%", Err(PathError::BadEscape)),
            ("/a%2", Err(PathError::BadEscape)),
            ("/a%zz", Err(PathError::BadEscape)),
        ];
        for &(raw, expected) in table {
            check(raw, PathRules::default(), expected);
        }
    }

    #[test]
    fn encoded_slashes_and_kept_slashes() {
        let on = PathRules {
            encoded_slashes: EncodedSlashes::On,
            ..PathRules::default()
        };
        let keep = PathRules {
            encoded_slashes: EncodedSlashes::NoDecode,
            ..PathRules::default()
        };
        let apart = PathRules {
            merge_slashes: false,
            ..PathRules::default()
        };
        let table: &[(&str, PathRules, Result<&str, PathError>)] = &[
            ("/a%2fb", on, Ok("/a/b")),
            ("/a/..%2fb", on, Ok("/b")),
            ("/a%2Fb%2fc", keep, Ok("/a%2Fb%2fc")),
            ("/a/..%2fb", keep, Ok("/a/..%2fb")),
            ("/a//x", apart, Ok("/a//x")),
            ("//", apart, Ok("/")),
            ("//a//b", apart, Ok("/a//b")),
            ("/a//../x", apart, Ok("/a/x")),
        ];
        for &(raw, rules, expected) in table {
            check(raw, rules, expected);
        }
    }

    #[test]
    fn targets() {
        let table: &[(&str, &str, Option<&str>)] = &[
            ("/a?b?c", "/a", Some("b?c")),
            ("/a", "/a", None),
            ("http://h/a?b", "/a", Some("b")),
            ("http://h", "/", None),
            ("http://h?x", "/", Some("x")),
            ("*", "*", None),
        ];
        for &(target, path, query) in table {
            assert_eq!(
                split_target(target.as_bytes()),
                (path.as_bytes(), query.map(str::as_bytes)),
                "{target}"
            );
        }
    }

    /// Decoding and normalising never leaves a dot segment behind.
    #[test]
    fn no_dot_segment_survives() {
        let mut state = 0x9e37_79b9_u32;
        let alphabet = b"/..a%2e%2E%2f;";
        let mut out = Vec::new();
        for _ in 0..20_000 {
            let mut raw = vec![b'/'];
            for _ in 0..12 {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                raw.push(alphabet[state as usize % alphabet.len()]);
            }
            if normalise(
                &raw,
                PathRules {
                    encoded_slashes: EncodedSlashes::On,
                    merge_slashes: state & 1 == 0,
                },
                &mut out,
            )
            .is_ok()
            {
                assert!(out.starts_with(b"/"), "{raw:?} {out:?}");
                assert!(
                    out.split(|&b| b == b'/')
                        .all(|segment| segment != b"." && segment != b".."),
                    "{raw:?} {out:?}"
                );
            }
        }
    }
}
