//! The head of a request: parsing and limits.

use std::fmt;

use crate::Version;
use crate::chars::{is_target, is_token_byte, token_len};
use crate::fields::{FieldLineError, Fields};
use crate::host::split_host_port;
use crate::lines::{Line, Scan};
use crate::target::Target;

/// Largest head that is taken, whatever the other limits allow: 1 MiB.
const HEAD_MAX: usize = 1 << 20;

/// Bounds on a request head, in bytes without line ends (LimitRequestLine, LimitRequestFieldSize) and in number of
/// fields (LimitRequestFields). As in httpd, a line may be one byte longer than its limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line.
    pub line: usize,
    /// Longest field line.
    pub field: usize,
    /// Most fields; 0 means no bound but that of the whole head.
    pub fields: usize,
}

/// How far [`RequestHead::parse_into`] or [`crate::ResponseHead::parse_into`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// The head is whole; the body or the next message starts at `consumed`.
    Complete {
        /// Length of the head in bytes, the empty line included.
        consumed: usize,
    },
    /// More bytes are needed.
    Partial,
}

/// The head of a request. One value serves all requests of a connection and keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The header fields, in order and in the sender's spelling.
    pub fields: Fields,
    line: Vec<u8>,
    method_len: usize,
    target_len: usize,
    version: Version,
    scan: Scan,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Start,
    AfterEmptyLine,
    Fields,
    Done,
}

/// Why a request is refused. The connection closes after each of them, since the end of the message is in doubt.
///
/// The client is at fault for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The request line exceeds [`Limits::line`].
    LineTooLong,
    /// A field line exceeds [`Limits::field`].
    FieldTooLong,
    /// More fields than [`Limits::fields`].
    TooManyFields,
    /// The head exceeds the sum of the limits, or 1 MiB.
    HeadTooLong,
    /// A line ends in LF without CR (RFC 9112 §2.2).
    BareLf,
    /// The method is not a token.
    Method,
    /// The request line is not three words with one space between each (RFC 9112 §3).
    RequestLine,
    /// The target holds a control character, a space or `#`.
    Target,
    /// The version is not `HTTP/1.0` or `HTTP/1.x`.
    Version,
    /// A field continues on the next line (RFC 9112 §5.2).
    Folded,
    /// A field line has no colon.
    NoColon,
    /// A field name is empty.
    EmptyName,
    /// There is whitespace between a field name and the colon (RFC 9112 §5.1).
    SpaceBeforeColon,
    /// A field name is not a token.
    Name,
    /// A field value holds a control character.
    Value,
    /// The target has a form that the method may not use (RFC 9112 §3.2).
    TargetForm,
    /// HTTP/1.1 without Host (RFC 9112 §3.2).
    HostMissing,
    /// More than one Host field.
    HostRepeated,
    /// The value of Host is not a host and port.
    HostInvalid,
    /// More than one Content-Length field.
    LengthRepeated,
    /// Content-Length is not a decimal number below 2^63.
    LengthInvalid,
    /// Both Transfer-Encoding and Content-Length (RFC 9112 §6.1).
    LengthAndCoding,
    /// Transfer-Encoding in an HTTP/1.0 request (RFC 9112 §6.1).
    CodingInHttp10,
    /// Transfer-Encoding is empty, `identity`, or has chunked other than once and last.
    CodingInvalid,
    /// Transfer-Encoding names a coding other than chunked.
    CodingUnknown,
    /// Connection is not a list of tokens, or a very long one.
    Connection,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 8190,
            field: 8190,
            fields: 100,
        }
    }
}

impl Limits {
    /// Most bytes that a head may have, so that one that never ends is refused.
    #[must_use]
    pub const fn head_max(&self) -> usize {
        let fields = if self.fields == 0 {
            HEAD_MAX
        } else {
            self.fields
        };
        let sum = self
            .field
            .saturating_add(3)
            .saturating_mul(fields)
            .saturating_add(self.line)
            .saturating_add(8);
        if sum < HEAD_MAX { sum } else { HEAD_MAX }
    }
}

impl RequestHead {
    /// An empty head, ready to parse into.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A head made from parts, as for a request that came by HTTP/2.
    ///
    /// # Errors
    /// If the method is no token or the target could not stand in a request line.
    pub fn from_parts(
        method: &[u8],
        target: &[u8],
        version: Version,
    ) -> Result<Self, RequestError> {
        let mut head = Self::new();
        head.set_line(method, target, version)?;
        Ok(head)
    }

    /// Puts a start line made from parts in the place of what was there; the fields stay.
    ///
    /// # Errors
    /// As [`RequestHead::from_parts`].
    pub fn set_line(
        &mut self,
        method: &[u8],
        target: &[u8],
        version: Version,
    ) -> Result<(), RequestError> {
        self.line.clear();
        for part in [method, b" ", target, b" ", version.as_str().as_bytes()] {
            self.line.extend_from_slice(part);
        }
        self.stage = Stage::Done;
        if method.is_empty() || token_len(method) != method.len() {
            return Err(RequestError::Method);
        }
        if target.is_empty() || !is_target(target) {
            return Err(RequestError::Target);
        }
        self.version = version;
        (self.method_len, self.target_len) = (method.len(), target.len());
        Ok(())
    }

    /// The method, case kept.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.line.get(..self.method_len).unwrap_or_default()
    }

    /// The target as received.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        let start = self.method_len + 1;
        self.line
            .get(start..start + self.target_len)
            .unwrap_or_default()
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The request line as received, for logs. After an error it holds what had arrived of the line, up to its limit,
    /// and may contain any byte.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The target taken apart; `None` where [`RequestHead::check`] refuses it.
    #[must_use]
    pub fn parts(&self) -> Option<Target<'_>> {
        Target::parse(self.method(), self.target())
    }

    /// The host that the request is for, as sent, without port and trailing dot: from the target where it has an
    /// authority, else from the Host field (RFC 9112 §3.2.2).
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        let authority = match self.line.get(self.method_len + 1) {
            Some(b'/' | b'*') => None,
            _ => self.parts().and_then(|target| target.authority),
        };
        let value = authority.or_else(|| self.fields.get("Host"))?;
        split_host_port(value).map(|parts| parts.host)
    }

    /// Forgets the request and keeps the memory.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.line.clear();
        (self.method_len, self.target_len) = (0, 0);
        self.version = Version::Http11;
        self.scan = Scan::default();
        self.stage = Stage::Start;
    }

    /// Parses the head at the start of `input`.
    ///
    /// On [`Parse::Partial`], call again with the same bytes and more behind them; bytes already looked at are not
    /// looked at again. After [`Parse::Complete`] or an error, the next call starts a new head.
    ///
    /// # Errors
    /// As soon as the bytes so far cannot become a valid head; the same error for the same bytes, however they are
    /// cut.
    pub fn parse_into(&mut self, input: &[u8], limits: &Limits) -> Result<Parse, RequestError> {
        if self.stage == Stage::Done {
            self.clear();
        }
        let outcome = self.advance(input, limits);
        if outcome != Ok(Parse::Partial) {
            self.stage = Stage::Done;
        }
        outcome
    }

    fn advance(&mut self, input: &[u8], limits: &Limits) -> Result<Parse, RequestError> {
        let head_max = limits.head_max();
        loop {
            let in_fields = self.stage == Stage::Fields;
            if !in_fields
                && input
                    .get(self.scan.line)
                    .is_some_and(|&b| !is_token_byte(b) && b != b'\r')
            {
                // Refused at the first byte, so that a TLS handshake on a plain port is not waited for.
                let arrived = input.get(self.scan.line..).unwrap_or_default();
                self.keep_line(arrived, limits.line);
                return Err(RequestError::Method);
            }
            let limit = if in_fields { limits.field } else { limits.line };
            let start = self.scan.line;
            match self.scan.next(input, limit.saturating_add(2), head_max) {
                Line::Unfinished => return Ok(Parse::Partial),
                Line::TooLong | Line::HeadTooLong if !in_fields => {
                    // httpd logs what it has read, which is one byte more.
                    let arrived = input.get(start..).unwrap_or_default();
                    self.keep_line(arrived, limit.saturating_add(1));
                    return Err(RequestError::LineTooLong);
                }
                Line::TooLong => return Err(RequestError::FieldTooLong),
                Line::HeadTooLong => return Err(RequestError::HeadTooLong),
                Line::Whole(line) => {
                    if self.take_line(line, limits)? {
                        return Ok(Parse::Complete {
                            consumed: self.scan.line,
                        });
                    }
                }
            }
        }
    }

    /// Takes a line that has arrived whole; true if it was the empty one that ends the head.
    fn take_line(&mut self, line: &[u8], limits: &Limits) -> Result<bool, RequestError> {
        let Some(line) = line.strip_suffix(b"\r") else {
            if self.stage != Stage::Fields {
                self.keep_line(line, limits.line);
            }
            return Err(RequestError::BareLf);
        };
        match self.stage {
            Stage::Start if line.is_empty() => self.stage = Stage::AfterEmptyLine,
            Stage::Fields if line.is_empty() => return Ok(true),
            Stage::Fields => self.take_field(line, limits)?,
            Stage::Start | Stage::AfterEmptyLine | Stage::Done => {
                self.line.extend_from_slice(line);
                self.split_line()?;
                self.stage = Stage::Fields;
            }
        }
        Ok(false)
    }

    fn take_field(&mut self, line: &[u8], limits: &Limits) -> Result<(), RequestError> {
        if limits.fields != 0 && self.fields.len() >= limits.fields {
            return Err(RequestError::TooManyFields);
        }
        Ok(self.fields.push_line(line)?)
    }

    /// Takes the stored request line apart: token, SP, target, SP, version, and nothing else.
    fn split_line(&mut self) -> Result<(), RequestError> {
        let line = self.line.as_slice();
        let method_len = token_len(line);
        let Some(rest) = line[method_len..]
            .strip_prefix(b" ")
            .filter(|_| method_len > 0)
        else {
            return Err(if method_len == line.len() {
                RequestError::RequestLine
            } else {
                RequestError::Method
            });
        };
        let Some(target_len) = rest.iter().position(|&b| b == b' ') else {
            return Err(RequestError::RequestLine);
        };
        let version = &rest[target_len + 1..];
        if target_len == 0 || version.contains(&b' ') {
            return Err(RequestError::RequestLine);
        }
        if !is_target(&rest[..target_len]) {
            return Err(RequestError::Target);
        }
        self.version = Version::parse(version).ok_or(RequestError::Version)?;
        (self.method_len, self.target_len) = (method_len, target_len);
        Ok(())
    }

    /// Keeps what the log is to show of a line that is refused.
    fn keep_line(&mut self, line: &[u8], limit: usize) {
        let line = line.get(..limit).unwrap_or(line);
        let end = line.iter().position(|&b| b == b'\n').unwrap_or(line.len());
        self.line.extend_from_slice(&line[..end]);
    }
}

impl RequestError {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::LineTooLong => 414,
            Self::CodingUnknown => 501,
            _ => 400,
        }
    }

    /// What is wrong, for the error log; holds nothing that the client sent.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::LineTooLong => "request line exceeds LimitRequestLine",
            Self::FieldTooLong => "field line exceeds LimitRequestFieldSize",
            Self::TooManyFields => "number of fields exceeds LimitRequestFields",
            Self::HeadTooLong => "request head is too large",
            Self::BareLf => "line ends in LF without CR",
            Self::Method => "method is not a token",
            Self::RequestLine => {
                "request line is not method, target and version with one space between"
            }
            Self::Target => "target holds a control character, a space or #",
            Self::Version => "version is not HTTP/1.0 or HTTP/1.1",
            Self::Folded => "folded field line",
            Self::NoColon => "field line without colon",
            Self::EmptyName => "empty field name",
            Self::SpaceBeforeColon => "whitespace between field name and colon",
            Self::Name => "field name is not a token",
            Self::Value => "control character in field value",
            Self::TargetForm => "target has no form that the method may use",
            Self::HostMissing => "HTTP/1.1 request without Host",
            Self::HostRepeated => "more than one Host field",
            Self::HostInvalid => "invalid Host",
            Self::LengthRepeated => "more than one Content-Length field",
            Self::LengthInvalid => "invalid Content-Length",
            Self::LengthAndCoding => "both Transfer-Encoding and Content-Length",
            Self::CodingInHttp10 => "Transfer-Encoding in an HTTP/1.0 request",
            Self::CodingInvalid => "Transfer-Encoding does not end in exactly one chunked",
            Self::CodingUnknown => "unknown transfer coding",
            Self::Connection => "malformed Connection",
        }
    }
}

impl From<FieldLineError> for RequestError {
    fn from(error: FieldLineError) -> Self {
        match error {
            FieldLineError::Folded => Self::Folded,
            FieldLineError::NoColon => Self::NoColon,
            FieldLineError::EmptyName => Self::EmptyName,
            FieldLineError::SpaceBeforeColon => Self::SpaceBeforeColon,
            FieldLineError::Name => Self::Name,
            FieldLineError::Value => Self::Value,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(input: &[u8]) -> Result<(RequestHead, usize), RequestError> {
        let mut head = RequestHead::new();
        match head.parse_into(input, &Limits::default())? {
            Parse::Complete { consumed } => Ok((head, consumed)),
            Parse::Partial => panic!("partial: {}", input.escape_ascii()),
        }
    }

    #[test]
    fn request_lines() {
        use RequestError as E;
        type Case = (
            &'static str,
            Result<(&'static str, &'static str, Version), E>,
        );
        let table: [Case; 37] = [
            ("GET / HTTP/1.1\r\n", Ok(("GET", "/", Version::Http11))),
            (
                "get /a?b HTTP/1.0\r\n",
                Ok(("get", "/a?b", Version::Http10)),
            ),
            ("GET / HTTP/1.2\r\n", Ok(("GET", "/", Version::Http11))),
            (
                "!#$%&'*+-.^_`|~ * HTTP/1.1\r\n",
                Ok(("!#$%&'*+-.^_`|~", "*", Version::Http11)),
            ),
            (
                "GET /\u{e9}\\\"<>^`{|} HTTP/1.1\r\n",
                Ok(("GET", "/\u{e9}\\\"<>^`{|}", Version::Http11)),
            ),
            ("\r\nGET / HTTP/1.1\r\n", Ok(("GET", "/", Version::Http11))),
            ("\r\n\r\nGET / HTTP/1.1\r\n", Err(E::RequestLine)),
            ("\nGET / HTTP/1.1\r\n", Err(E::Method)),
            ("GET /\r\n", Err(E::RequestLine)),
            ("GET\r\n", Err(E::RequestLine)),
            ("GET  / HTTP/1.1\r\n", Err(E::RequestLine)),
            ("GET /  HTTP/1.1\r\n", Err(E::RequestLine)),
            ("GET / HTTP/1.1 \r\n", Err(E::RequestLine)),
            ("GET / HTTP/1.1 x\r\n", Err(E::RequestLine)),
            ("GET /a HTTP/1.1 /b HTTP/1.1\r\n", Err(E::RequestLine)),
            (" GET / HTTP/1.1\r\n", Err(E::Method)),
            ("GET\t/ HTTP/1.1\r\n", Err(E::Method)),
            ("GET /\tHTTP/1.1\r\n", Err(E::RequestLine)),
            ("GET /\ta HTTP/1.1\r\n", Err(E::Target)),
            ("GE(T / HTTP/1.1\r\n", Err(E::Method)),
            ("GET: / HTTP/1.1\r\n", Err(E::Method)),
            ("\u{16}\u{3}", Err(E::Method)),
            ("GET /a#b HTTP/1.1\r\n", Err(E::Target)),
            ("GET /a\0b HTTP/1.1\r\n", Err(E::Target)),
            ("GET /a\u{7f} HTTP/1.1\r\n", Err(E::Target)),
            ("GET /a\rb HTTP/1.1\r\n", Err(E::Target)),
            ("GET / http/1.1\r\n", Err(E::Version)),
            ("GET / HTTP/2.0\r\n", Err(E::Version)),
            ("GET / HTTP/0.9\r\n", Err(E::Version)),
            ("GET / HTTP/1.10\r\n", Err(E::Version)),
            ("GET / HTTP/1.\r\n", Err(E::Version)),
            ("GET / HTTP/1\r\n", Err(E::Version)),
            ("GET / HTTP/1.1\r\r\n", Err(E::Version)),
            ("GET / HTTP/\r\r1.1\r\n", Err(E::Version)),
            ("GET / HTTPS/1.1\r\n", Err(E::Version)),
            ("PRI * HTTP/2.0\r\n", Err(E::Version)),
            ("GET / HTTP/1.1\n", Err(E::BareLf)),
        ];
        for (line, expected) in table {
            let input = format!("{line}\r\n");
            let found = parse(input.as_bytes()).map(|(head, consumed)| {
                assert_eq!(consumed, input.len());
                assert_eq!(head.line(), line.trim_start().trim_end().as_bytes());
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                (text(head.method()), text(head.target()), head.version())
            });
            let expected = expected
                .map(|(method, target, version)| (method.to_owned(), target.to_owned(), version));
            assert_eq!(found, expected, "{line:?}");
        }
    }

    #[test]
    fn bodies_and_next_requests_are_left_alone() {
        let (head, consumed) =
            parse(b"GET /a HTTP/1.1\r\nHost: h\r\nX-A:  b \r\n\r\nGET /b HTTP").unwrap();
        assert_eq!(consumed, 38);
        let fields: Vec<_> = head.fields.iter().collect();
        assert_eq!(fields, [(&b"Host"[..], &b"h"[..]), (b"X-A", b"b")]);
    }

    #[test]
    fn limits_are_httpds() {
        use RequestError as E;
        let long = |n: usize| "a".repeat(n);
        let many = |n: usize| "X: y\r\n".repeat(n);
        // The request line around the target has 14 bytes, the field line around the value 3.
        type Case = (String, Result<(), E>);
        let table: [Case; 9] = [
            (format!("GET /{} HTTP/1.1\r\n\r\n", long(8191 - 14)), Ok(())),
            (
                format!("GET /{} HTTP/1.1\r\n\r\n", long(8192 - 14)),
                Err(E::LineTooLong),
            ),
            (format!("GET /{}", long(9000)), Err(E::LineTooLong)),
            (
                format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", long(8191 - 3)),
                Ok(()),
            ),
            (
                format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", long(8192 - 3)),
                Err(E::FieldTooLong),
            ),
            (
                format!("GET / HTTP/1.1\r\nX: {}", long(9000)),
                Err(E::FieldTooLong),
            ),
            (format!("GET / HTTP/1.1\r\n{}\r\n", many(100)), Ok(())),
            (
                format!("GET / HTTP/1.1\r\n{}\r\n", many(101)),
                Err(E::TooManyFields),
            ),
            (
                format!("GET / HTTP/1.1\r\n{}", many(101)),
                Err(E::TooManyFields),
            ),
        ];
        for (input, expected) in table {
            assert_eq!(
                parse(input.as_bytes()).map(|_| ()),
                expected,
                "{} bytes",
                input.len()
            );
        }
    }

    #[test]
    fn without_a_field_limit_the_head_is_still_bounded() {
        let limits = Limits {
            fields: 0,
            ..Limits::default()
        };
        let input = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(200_000));
        assert_eq!(
            RequestHead::new().parse_into(input.as_bytes(), &limits),
            Err(RequestError::HeadTooLong)
        );
        assert!(
            Limits {
                line: usize::MAX,
                field: usize::MAX,
                fields: usize::MAX
            }
            .head_max()
                <= HEAD_MAX
        );
    }

    #[test]
    fn one_value_serves_one_request_after_the_other() {
        let mut head = RequestHead::new();
        let limits = Limits::default();
        let first = b"GET /a HTTP/1.0\r\nX: 1\r\n\r\n";
        assert_eq!(head.parse_into(&first[..9], &limits), Ok(Parse::Partial));
        assert_eq!(
            head.parse_into(first, &limits),
            Ok(Parse::Complete {
                consumed: first.len()
            })
        );
        assert_eq!(
            head.parse_into(b"BAD\n", &limits),
            Err(RequestError::BareLf)
        );
        assert_eq!(
            (head.line(), head.method(), head.target()),
            (&b"BAD"[..], &b""[..], &b""[..])
        );
        let second = b"PUT /b HTTP/1.1\r\n\r\n";
        assert_eq!(
            head.parse_into(second, &limits),
            Ok(Parse::Complete {
                consumed: second.len()
            })
        );
        assert_eq!(
            (head.method(), head.target(), head.fields.len()),
            (&b"PUT"[..], &b"/b"[..], 0)
        );
    }

    #[test]
    fn a_refused_line_is_kept_for_the_log() {
        let mut head = RequestHead::new();
        let limits = Limits {
            line: 10,
            ..Limits::default()
        };
        assert_eq!(
            head.parse_into(b"GET /abcdefghijkl", &limits),
            Err(RequestError::LineTooLong)
        );
        assert_eq!(head.line(), b"GET /abcdef");
        assert_eq!(
            head.parse_into(b"GET /  x\r\n", &limits),
            Err(RequestError::RequestLine)
        );
        assert_eq!(head.line(), b"GET /  x");
    }

    #[test]
    fn heads_from_parts() {
        let head = RequestHead::from_parts(b"GET", b"/a?b", Version::Http11).unwrap();
        assert_eq!(
            (head.method(), head.target(), head.line()),
            (&b"GET"[..], &b"/a?b"[..], &b"GET /a?b HTTP/1.1"[..])
        );
        for (method, target) in [
            (&b"G T"[..], &b"/"[..]),
            (b"", b"/"),
            (b"GET", b""),
            (b"GET", b"/ b"),
            (b"GET", b"/\r\n"),
        ] {
            assert!(RequestHead::from_parts(method, target, Version::Http11).is_err());
        }
    }

    #[test]
    fn hosts() {
        for (input, expected) in [
            (
                "GET / HTTP/1.1\r\nHost: a.example.:80\r\n\r\n",
                Some("a.example"),
            ),
            (
                "GET http://b.example:8/ HTTP/1.1\r\nHost: a\r\n\r\n",
                Some("b.example"),
            ),
            ("CONNECT c:443 HTTP/1.1\r\nHost: a\r\n\r\n", Some("c")),
            ("GET / HTTP/1.0\r\n\r\n", None),
        ] {
            let (head, _) = parse(input.as_bytes()).unwrap();
            assert_eq!(head.host(), expected.map(str::as_bytes), "{input:?}");
        }
    }
}
