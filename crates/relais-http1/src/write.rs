//! The one spelling in which message heads leave relais.

use std::fmt;

use crate::Version;
use crate::chars::{is_target, is_token};

/// A start line that could be read in more than one way, and is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// The method is not a token.
    Method,
    /// The target is empty or holds a space, a control character or `#`.
    Target,
    /// The status has not three digits.
    Status,
}

/// Writes `METHOD target HTTP/1.x` and its line end.
///
/// # Errors
/// If the method or target could split the line; nothing is written then.
pub fn write_request_line(
    out: &mut Vec<u8>,
    method: &[u8],
    target: &[u8],
    version: Version,
) -> Result<(), LineError> {
    if !is_token(method) {
        return Err(LineError::Method);
    }
    if !is_target(target) {
        return Err(LineError::Target);
    }
    for part in [
        method,
        b" ",
        target,
        b" ",
        version.as_str().as_bytes(),
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
    Ok(())
}

/// Writes `HTTP/1.x NNN reason` and its line end. Control characters in the reason become spaces.
///
/// # Errors
/// If the status has not three digits; nothing is written then.
pub fn write_status_line(
    out: &mut Vec<u8>,
    version: Version,
    status: u16,
    reason: &[u8],
) -> Result<(), LineError> {
    if !(100..=999).contains(&status) {
        return Err(LineError::Status);
    }
    out.extend_from_slice(version.as_str().as_bytes());
    let digit = |power: u16| b'0' + (status / power % 10) as u8;
    out.extend_from_slice(&[b' ', digit(100), digit(10), digit(1), b' ']);
    write_text(out, reason);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes `Name: value` and its line end.
///
/// The last barrier against a split head: CR, LF and NUL in the value become spaces, and a name that is no token is
/// not written at all. [`crate::Fields`] holds neither, so this matters for values made elsewhere only.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if !is_token(name) {
        return;
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    write_text(out, value);
    out.extend_from_slice(b"\r\n");
}

/// Writes `text` with spaces in the place of what could end a line.
fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    out.extend_from_slice(text);
    if memchr::memchr3(b'\r', b'\n', 0, text).is_some() {
        out[start..]
            .iter_mut()
            .filter(|byte| matches!(byte, b'\r' | b'\n' | 0))
            .for_each(|byte| *byte = b' ');
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "method is not a token",
            Self::Target => "target holds a control character, a space or #",
            Self::Status => "status has not three digits",
        })
    }
}

impl std::error::Error for LineError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines() {
        type Case = (
            &'static [u8],
            &'static [u8],
            Result<&'static [u8], LineError>,
        );
        let table: [Case; 7] = [
            (b"GET", b"/a?b", Ok(b"GET /a?b HTTP/1.1\r\n")),
            (b"get", b"/\xe9", Ok(b"get /\xe9 HTTP/1.1\r\n")),
            (b"G T", b"/", Err(LineError::Method)),
            (b"", b"/", Err(LineError::Method)),
            (b"GET", b"", Err(LineError::Target)),
            (b"GET", b"/a b", Err(LineError::Target)),
            (b"GET", b"/\r\nX: y", Err(LineError::Target)),
        ];
        for (method, target, expected) in table {
            let mut out = Vec::new();
            let found = write_request_line(&mut out, method, target, Version::Http11);
            assert_eq!(found.map(|()| out.clone()), expected.map(<[u8]>::to_vec));
            assert_eq!(out.is_empty(), expected.is_err());
        }
    }

    #[test]
    fn status_lines() {
        type Case = (u16, &'static [u8], Result<&'static [u8], LineError>);
        let table: [Case; 5] = [
            (200, b"OK", Ok(b"HTTP/1.0 200 OK\r\n")),
            (299, b"", Ok(b"HTTP/1.0 299 \r\n")),
            (500, b"a\r\nX: y", Ok(b"HTTP/1.0 500 a  X: y\r\n")),
            (99, b"", Err(LineError::Status)),
            (1000, b"", Err(LineError::Status)),
        ];
        for (status, reason, expected) in table {
            let mut out = Vec::new();
            let found = write_status_line(&mut out, Version::Http10, status, reason);
            assert_eq!(found.map(|()| out), expected.map(<[u8]>::to_vec));
        }
    }

    #[test]
    fn fields() {
        type Case = (&'static [u8], &'static [u8], &'static [u8]);
        let table: [Case; 4] = [
            (b"X-A", b"b", b"X-A: b\r\n"),
            (b"X-A", b"", b"X-A: \r\n"),
            (b"X-A", b"b\r\nX-B: \0c\n", b"X-A: b  X-B:  c \r\n"),
            (b"X-A: b\r\nX", b"c", b""),
        ];
        for (name, value, expected) in table {
            let mut out = Vec::new();
            write_field(&mut out, name, value);
            assert_eq!(out, expected);
        }
    }
}
