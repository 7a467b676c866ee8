//! The head of a response from an origin: lenient parsing, strict outcome.

use std::fmt;

use crate::chars::{is_token, is_value, trim_ows, trim_ows_end};
use crate::fields::Fields;
use crate::lines::{Line, Scan};
use crate::meta::{BodyLength, Codings, Outcome, has_option, parse_length};
use crate::{Parse, Version};

/// Most empty lines that are skipped in front of a status line.
const EMPTY_LINES_MAX: u8 = 8;

/// Bounds on a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// Longest status line or field line in bytes, folded lines counted together (worker parameter
    /// `responsefieldsize`).
    pub field: usize,
    /// Most fields.
    pub fields: usize,
    /// Most bytes in the whole head.
    pub head: usize,
    /// Whether a field line without a colon is left out instead of making the response malformed
    /// (`ProxyBadHeader Ignore`).
    pub skip_bad: bool,
}

/// The head of a response. One value serves all responses of a connection and keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The header fields, in order and in the origin's spelling.
    pub fields: Fields,
    status: u16,
    reason: Vec<u8>,
    version: Version,
    scan: Scan,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start { empty_lines: u8 },
    Fields,
    Done,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Start { empty_lines: 0 }
    }
}

/// How the end of a response body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is no body.
    None,
    /// Content-Length, in bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// The body ends with the connection.
    UntilClose,
}

/// The framing of a response and what it means for the connection it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    /// How the end of the body is found.
    pub body: ResponseBody,
    /// Whether the connection may serve another request after the body.
    pub reusable: bool,
}

/// Why a response is refused. The client gets 502 and the connection to the origin closes.
///
/// The origin is at fault for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// The bytes are no HTTP/1 response.
    StatusLine,
    /// The status is not three digits from 100 to 599.
    Status,
    /// The reason phrase holds a control character.
    Reason,
    /// A line exceeds [`ResponseLimits::field`].
    LineTooLong,
    /// More fields than [`ResponseLimits::fields`].
    TooManyFields,
    /// The head exceeds [`ResponseLimits::head`].
    HeadTooLong,
    /// A folded line with no field before it.
    Folded,
    /// A field line has no colon.
    NoColon,
    /// A field name is empty or not a token.
    Name,
    /// A field value holds a control character.
    Value,
    /// Content-Length is not a decimal number below 2^63.
    LengthInvalid,
    /// Content-Length fields that differ.
    LengthsDiffer,
    /// Transfer-Encoding is other than exactly one chunked.
    Coding,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        Self {
            field: 8192,
            fields: 1000,
            head: 1 << 20,
            skip_bad: false,
        }
    }
}

impl From<BodyLength> for ResponseBody {
    fn from(length: BodyLength) -> Self {
        match length {
            BodyLength::None => Self::None,
            BodyLength::Length(bytes) => Self::Length(bytes),
            BodyLength::Chunked => Self::Chunked,
        }
    }
}

impl ResponseHead {
    /// An empty head, ready to parse into.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The status code, 100 to 599; 0 before a status line was parsed.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase byte for byte; may be empty.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        &self.reason
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Forgets the response and keeps the memory.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.reason.clear();
        self.status = 0;
        self.version = Version::Http11;
        self.scan = Scan::default();
        self.stage = Stage::default();
    }

    /// Parses the head at the start of `input`; used like [`crate::RequestHead::parse_into`].
    ///
    /// Lines may end in LF alone, empty lines may come first, folded lines are joined with one space and whitespace
    /// before a colon is removed (RFC 9112 §5.1, §5.2), all as httpd does.
    ///
    /// # Errors
    /// As soon as the bytes so far cannot become a head that may be passed on.
    pub fn parse_into(
        &mut self,
        input: &[u8],
        limits: &ResponseLimits,
    ) -> Result<Parse, ResponseError> {
        if self.stage == Stage::Done {
            self.clear();
        }
        let outcome = self.advance(input, limits);
        if outcome != Ok(Parse::Partial) {
            self.stage = Stage::Done;
        }
        outcome
    }

    fn advance(&mut self, input: &[u8], limits: &ResponseLimits) -> Result<Parse, ResponseError> {
        loop {
            if self.stage != Stage::Fields
                && !may_be_status_line(input.get(self.scan.line..).unwrap_or_default())
            {
                // Refused before the line ends, since what is no HTTP need not have lines.
                return Err(ResponseError::StatusLine);
            }
            match self
                .scan
                .next(input, limits.field.saturating_add(1), limits.head)
            {
                Line::Unfinished => return Ok(Parse::Partial),
                Line::TooLong => return Err(ResponseError::LineTooLong),
                Line::HeadTooLong => return Err(ResponseError::HeadTooLong),
                Line::Whole(line) => {
                    if self.take_line(line.strip_suffix(b"\r").unwrap_or(line), limits)? {
                        return Ok(Parse::Complete {
                            consumed: self.scan.line,
                        });
                    }
                }
            }
        }
    }

    /// Takes a line that has arrived whole; true if it was the empty one that ends the head.
    fn take_line(&mut self, line: &[u8], limits: &ResponseLimits) -> Result<bool, ResponseError> {
        match self.stage {
            Stage::Start { empty_lines } if line.is_empty() => {
                if empty_lines >= EMPTY_LINES_MAX {
                    return Err(ResponseError::StatusLine);
                }
                self.stage = Stage::Start {
                    empty_lines: empty_lines + 1,
                };
            }
            Stage::Start { .. } | Stage::Done => {
                self.take_status_line(line)?;
                self.stage = Stage::Fields;
            }
            Stage::Fields if line.is_empty() => return Ok(true),
            Stage::Fields => self.take_field(line, limits)?,
        }
        Ok(false)
    }

    fn take_status_line(&mut self, line: &[u8]) -> Result<(), ResponseError> {
        let (version, rest) = line.split_at_checked(8).ok_or(ResponseError::StatusLine)?;
        self.version = Version::parse(version).ok_or(ResponseError::StatusLine)?;
        let rest = rest.strip_prefix(b" ").ok_or(ResponseError::StatusLine)?;
        let (digits, reason) = rest.split_at_checked(3).ok_or(ResponseError::Status)?;
        let reason = match reason {
            [] => reason,
            [b' ', reason @ ..] => reason,
            _ => return Err(ResponseError::Status),
        };
        self.status = parse_status(digits).ok_or(ResponseError::Status)?;
        if !is_value(reason) {
            return Err(ResponseError::Reason);
        }
        self.reason.extend_from_slice(reason);
        Ok(())
    }

    fn take_field(&mut self, line: &[u8], limits: &ResponseLimits) -> Result<(), ResponseError> {
        if let [b' ' | b'\t', ..] = line {
            return self.take_fold(trim_ows(line), limits);
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return if limits.skip_bad {
                Ok(())
            } else {
                Err(ResponseError::NoColon)
            };
        };
        let name = trim_ows_end(&line[..colon]);
        let value = trim_ows(&line[colon + 1..]);
        if !is_token(name) {
            return Err(ResponseError::Name);
        }
        if !is_value(value) {
            return Err(ResponseError::Value);
        }
        if self.fields.len() >= limits.fields {
            return Err(ResponseError::TooManyFields);
        }
        self.fields
            .push_checked(name, value)
            .map_err(|_| ResponseError::HeadTooLong)
    }

    fn take_fold(&mut self, text: &[u8], limits: &ResponseLimits) -> Result<(), ResponseError> {
        if !is_value(text) {
            return Err(ResponseError::Value);
        }
        match self.fields.extend_last(text) {
            None => Err(ResponseError::Folded),
            Some(len) if len > limits.field => Err(ResponseError::LineTooLong),
            Some(_) => Ok(()),
        }
    }

    /// How the body of this response to a request with `method` ends, and whether the connection can be used again.
    ///
    /// Where Transfer-Encoding and Content-Length are both there, the first counts; the caller writes framing fields
    /// of its own in any case.
    ///
    /// # Errors
    /// If the framing fields are invalid or contradict each other.
    pub fn framing(&self, method: &[u8]) -> Result<ResponseFraming, ResponseError> {
        let keep_alive = match self.version {
            Version::Http11 | Version::Http2 => !has_option(&self.fields, b"close"),
            Version::Http10 => {
                has_option(&self.fields, b"keep-alive") && !has_option(&self.fields, b"close")
            }
        };
        let length = self.content_length();
        let mut codings = Codings::default();
        self.fields
            .get_all("Transfer-Encoding")
            .for_each(|value| codings.add(value));
        if is_bodiless(self.status, method) {
            // Sent bytes in spite of this would be read as the next response, so fields that promise some where
            // none may be are a reason not to go on.
            let promises = (self.status < 200 || self.status == 204)
                && (codings.present || !matches!(length, Ok(None | Some(0))));
            return Ok(ResponseFraming {
                body: ResponseBody::None,
                reusable: keep_alive && !promises,
            });
        }
        if codings.present {
            if codings.outcome() != Outcome::Chunked {
                return Err(ResponseError::Coding);
            }
            let faulty = self.version == Version::Http10 || self.fields.contains("Content-Length");
            return Ok(ResponseFraming {
                body: ResponseBody::Chunked,
                reusable: keep_alive && !faulty,
            });
        }
        Ok(match length? {
            Some(bytes) => ResponseFraming {
                body: ResponseBody::Length(bytes),
                reusable: keep_alive,
            },
            None => ResponseFraming {
                body: ResponseBody::UntilClose,
                reusable: false,
            },
        })
    }

    /// The value that all Content-Length fields agree on.
    fn content_length(&self) -> Result<Option<u64>, ResponseError> {
        let mut found = None;
        for value in self
            .fields
            .get_all("Content-Length")
            .flat_map(crate::chars::list)
        {
            let bytes = parse_length(value).ok_or(ResponseError::LengthInvalid)?;
            if found.is_some_and(|other| other != bytes) {
                return Err(ResponseError::LengthsDiffer);
            }
            found = Some(bytes);
        }
        Ok(found)
    }
}

impl ResponseError {
    /// The status of the answer to the client.
    #[must_use]
    pub const fn status(self) -> u16 {
        502
    }

    /// What is wrong, for the error log; holds nothing that the origin sent.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::StatusLine => "no HTTP/1 status line",
            Self::Status => "status is not three digits from 100 to 599",
            Self::Reason => "control character in reason phrase",
            Self::LineTooLong => "line exceeds responsefieldsize",
            Self::TooManyFields => "too many fields",
            Self::HeadTooLong => "response head is too large",
            Self::Folded => "folded line with no field before it",
            Self::NoColon => "field line without colon",
            Self::Name => "field name is not a token",
            Self::Value => "control character in field value",
            Self::LengthInvalid => "invalid Content-Length",
            Self::LengthsDiffer => "Content-Length fields differ",
            Self::Coding => "Transfer-Encoding is not chunked",
        }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ResponseError {}

/// Whether `line`, of which more may come, can still be an empty line or a status line.
fn may_be_status_line(line: &[u8]) -> bool {
    const START: &[u8] = b"HTTP/1.";
    let seen = line.len().min(START.len());
    match line {
        [] | [b'\r' | b'\n', ..] => true,
        _ => line[..seen] == START[..seen],
    }
}

/// Whether a response with `status` to `method` has no body whatever its fields say.
fn is_bodiless(status: u16, method: &[u8]) -> bool {
    status < 200
        || matches!(status, 204 | 304)
        || method == b"HEAD"
        || (method == b"CONNECT" && (200..300).contains(&status))
}

fn parse_status(digits: &[u8]) -> Option<u16> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    (100..600).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(input: &[u8]) -> Result<(ResponseHead, Parse), ResponseError> {
        let mut head = ResponseHead::new();
        let outcome = head.parse_into(input, &ResponseLimits::default())?;
        Ok((head, outcome))
    }

    #[test]
    fn status_lines() {
        use ResponseError as E;
        type Case = (&'static [u8], Result<(u16, &'static [u8], Version), E>);
        let table: [Case; 23] = [
            (b"HTTP/1.1 200 OK\r\n", Ok((200, b"OK", Version::Http11))),
            (
                b"HTTP/1.0 299 Very Odd\n",
                Ok((299, b"Very Odd", Version::Http10)),
            ),
            (b"HTTP/1.1 200 \r\n", Ok((200, b"", Version::Http11))),
            (b"HTTP/1.1 200\r\n", Ok((200, b"", Version::Http11))),
            (
                b"HTTP/1.1 200  two\xe9\t\r\n",
                Ok((200, b" two\xe9\t", Version::Http11)),
            ),
            (b"HTTP/1.3 599 x\r\n", Ok((599, b"x", Version::Http11))),
            (
                b"\r\n\n\r\nHTTP/1.1 100 Continue\r\n",
                Ok((100, b"Continue", Version::Http11)),
            ),
            (b"\n\n\n\n\n\n\n\n\nHTTP/1.1 200 OK\r\n", Err(E::StatusLine)),
            (b"HTTP/2.0 200 OK\r\n", Err(E::StatusLine)),
            (b"http/1.1 200 OK\r\n", Err(E::StatusLine)),
            (b"HTTP/1.1  200 OK\r\n", Err(E::Status)),
            (b"HTTP/1.1\t200 OK\r\n", Err(E::StatusLine)),
            (b"HTTP/1.10 200 OK\r\n", Err(E::StatusLine)),
            (b"HTTP/1.1\r\n", Err(E::StatusLine)),
            (b" HTTP/1.1 200 OK\r\n", Err(E::StatusLine)),
            (b"HTTP/1.1 2000 OK\r\n", Err(E::Status)),
            (b"HTTP/1.1 20 OK\r\n", Err(E::Status)),
            (b"HTTP/1.1 099 OK\r\n", Err(E::Status)),
            (b"HTTP/1.1 600 OK\r\n", Err(E::Status)),
            (b"HTTP/1.1 +20 OK\r\n", Err(E::Status)),
            (b"HTTP/1.1 200 O\0K\r\n", Err(E::Reason)),
            (b"HTTP/1.1 200 O\rK\r\n", Err(E::Reason)),
            (b"<html>", Err(E::StatusLine)),
        ];
        for (line, expected) in table {
            let found = parse(&[line, b"\r\n"].concat()).map(|(head, outcome)| {
                assert_eq!(
                    outcome,
                    Parse::Complete {
                        consumed: line.len() + 2
                    }
                );
                (head.status(), head.reason().to_vec(), head.version())
            });
            let expected =
                expected.map(|(status, reason, version)| (status, reason.to_vec(), version));
            assert_eq!(found, expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn fields() {
        use ResponseError as E;
        type Case = (&'static [u8], Result<&'static str, E>);
        let table: [Case; 19] = [
            (b"X-A: b\r\nx-a:c\n", Ok("X-A: b|x-a: c|")),
            (b"X-A : b\r\n", Ok("X-A: b|")),
            (b"X-A\t: b\r\n", Ok("X-A: b|")),
            (
                b"X-A: b\r\n  c \r\n\td\nX-B: e\r\n",
                Ok("X-A: b c d|X-B: e|"),
            ),
            (b"X-A:\r\n b\r\n", Ok("X-A: b|")),
            (b"X-A: b\r\n \r\nX-B: c\r\n", Ok("X-A: b|X-B: c|")),
            (b"X-A:\r\n", Ok("X-A: |")),
            (b" X-A: b\r\n", Err(E::Folded)),
            (b"X-A\r\n", Err(E::NoColon)),
            (b": x\r\n", Err(E::Name)),
            (b"Bad Name: x\r\n", Err(E::Name)),
            (b"X\0: x\r\n", Err(E::Name)),
            (b"X-A: a\0b\r\n", Err(E::Value)),
            (b"X-A: a\rSet-Cookie: b\r\n", Err(E::Value)),
            (b"X-A: a\r\r\n", Err(E::Value)),
            (b"X-A: a\r\n b\0\r\n", Err(E::Value)),
            (b"X-A: \x0bchunked\r\n", Err(E::Value)),
            (b"X-A: a\x7f\r\n", Err(E::Value)),
            (b"HTTP/1.1 200 OK\r\n", Err(E::NoColon)),
        ];
        for (lines, expected) in table {
            let found =
                parse(&[b"HTTP/1.1 200 OK\r\n", lines, b"\r\n"].concat()).map(|(head, _)| {
                    let mut out = Vec::new();
                    head.fields.write_to(&mut out);
                    String::from_utf8(out).unwrap().replace("\r\n", "|")
                });
            assert_eq!(
                found,
                expected.map(str::to_owned),
                "{}",
                lines.escape_ascii()
            );
        }
    }

    #[test]
    fn heads_are_bounded() {
        use ResponseError as E;
        let long = |n: usize| "a".repeat(n);
        for (fields, expected) in [
            (format!("X: {}\r\n\r\n", long(8192 - 3)), Ok(())),
            (format!("X: {}\r\n\r\n", long(8192)), Err(E::LineTooLong)),
            (format!("X: {}", long(9000)), Err(E::LineTooLong)),
            (
                format!("X: {}\r\n {}\r\n\r\n", long(5000), long(5000)),
                Err(E::LineTooLong),
            ),
            (format!("{}\r\n", "X: y\r\n".repeat(1000)), Ok(())),
            ("X: y\r\n".repeat(1001), Err(E::TooManyFields)),
            (
                format!("X: {}\r\n", long(8000)).repeat(200),
                Err(E::HeadTooLong),
            ),
        ] {
            let input = format!("HTTP/1.1 200 OK\r\n{fields}");
            assert_eq!(
                parse(input.as_bytes()).map(|_| ()),
                expected,
                "{} bytes",
                input.len()
            );
        }
    }

    #[test]
    fn framing() {
        use ResponseBody as B;
        type Case = (
            &'static str,
            &'static str,
            &'static str,
            Result<(B, bool), ResponseError>,
        );
        let table: [Case; 35] = [
            (
                "GET",
                "1.1 200",
                "Content-Length: 5|",
                Ok((B::Length(5), true)),
            ),
            (
                "GET",
                "1.1 200",
                "Content-Length: 5|content-length: 5|",
                Ok((B::Length(5), true)),
            ),
            (
                "GET",
                "1.1 200",
                "Content-Length: 5, 5|",
                Ok((B::Length(5), true)),
            ),
            (
                "GET",
                "1.1 200",
                "Content-Length: 5|Connection: close|",
                Ok((B::Length(5), false)),
            ),
            (
                "GET",
                "1.0 200",
                "Content-Length: 5|",
                Ok((B::Length(5), false)),
            ),
            (
                "GET",
                "1.0 200",
                "Content-Length: 5|Connection: Keep-Alive|",
                Ok((B::Length(5), true)),
            ),
            ("GET", "1.1 200", "", Ok((B::UntilClose, false))),
            (
                "GET",
                "1.1 200",
                "Connection: keep-alive|",
                Ok((B::UntilClose, false)),
            ),
            (
                "GET",
                "1.1 200",
                "Transfer-Encoding: Chunked|",
                Ok((B::Chunked, true)),
            ),
            (
                "GET",
                "1.1 200",
                "Transfer-Encoding: chunked|Content-Length: 4|",
                Ok((B::Chunked, false)),
            ),
            (
                "GET",
                "1.1 200",
                "Transfer-Encoding: chunked|Content-Length: x|",
                Ok((B::Chunked, false)),
            ),
            (
                "GET",
                "1.0 200",
                "Transfer-Encoding: chunked|Connection: keep-alive|",
                Ok((B::Chunked, false)),
            ),
            (
                "GET",
                "1.1 302",
                "Content-Length: 2|",
                Ok((B::Length(2), true)),
            ),
            ("HEAD", "1.1 200", "Content-Length: 5|", Ok((B::None, true))),
            (
                "HEAD",
                "1.1 200",
                "Transfer-Encoding: chunked|",
                Ok((B::None, true)),
            ),
            (
                "head",
                "1.1 200",
                "Content-Length: 5|",
                Ok((B::Length(5), true)),
            ),
            ("GET", "1.1 304", "Content-Length: 5|", Ok((B::None, true))),
            ("GET", "1.1 204", "", Ok((B::None, true))),
            ("GET", "1.1 204", "Content-Length: 0|", Ok((B::None, true))),
            ("GET", "1.1 204", "Content-Length: 5|", Ok((B::None, false))),
            (
                "GET",
                "1.1 204",
                "Transfer-Encoding: chunked|",
                Ok((B::None, false)),
            ),
            ("GET", "1.1 101", "Content-Length: 5|", Ok((B::None, false))),
            ("GET", "1.1 100", "", Ok((B::None, true))),
            (
                "CONNECT",
                "1.1 200",
                "Content-Length: 5|",
                Ok((B::None, true)),
            ),
            (
                "CONNECT",
                "1.1 403",
                "Content-Length: 5|",
                Ok((B::Length(5), true)),
            ),
            (
                "GET",
                "1.1 200",
                "Content-Length: 5|Content-Length: 6|",
                Err(ResponseError::LengthsDiffer),
            ),
            (
                "GET",
                "1.1 200",
                "Content-Length: 5, 6|",
                Err(ResponseError::LengthsDiffer),
            ),
            (
                "GET",
                "1.1 200",
                "Content-Length: abc|",
                Err(ResponseError::LengthInvalid),
            ),
            (
                "GET",
                "1.1 200",
                "Content-Length: -1|",
                Err(ResponseError::LengthInvalid),
            ),
            (
                "GET",
                "1.1 200",
                "Content-Length:|",
                Err(ResponseError::LengthInvalid),
            ),
            (
                "GET",
                "1.1 200",
                "Transfer-Encoding: xx|",
                Err(ResponseError::Coding),
            ),
            (
                "GET",
                "1.1 200",
                "Transfer-Encoding: gzip, chunked|",
                Err(ResponseError::Coding),
            ),
            (
                "GET",
                "1.1 200",
                "Transfer-Encoding: chunked, chunked|",
                Err(ResponseError::Coding),
            ),
            (
                "GET",
                "1.1 200",
                "Transfer-Encoding: identity|",
                Err(ResponseError::Coding),
            ),
            (
                "GET",
                "1.1 200",
                "Transfer-Encoding:|",
                Err(ResponseError::Coding),
            ),
        ];
        for (method, start, fields, expected) in table {
            let input = format!("HTTP/{start} x\r\n{}\r\n", fields.replace('|', "\r\n"));
            let (head, _) = parse(input.as_bytes()).unwrap();
            let found = head
                .framing(method.as_bytes())
                .map(|f| (f.body, f.reusable));
            assert_eq!(found, expected, "{method} {start} {fields}");
        }
    }

    #[test]
    fn interim_and_final_response_one_after_the_other() {
        let mut head = ResponseHead::new();
        let limits = ResponseLimits::default();
        let input = b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\n\r\n";
        assert_eq!(
            head.parse_into(input, &limits),
            Ok(Parse::Complete { consumed: 31 })
        );
        assert_eq!((head.status(), head.fields.len()), (103, 1));
        assert_eq!(
            head.parse_into(&input[31..], &limits),
            Ok(Parse::Complete { consumed: 25 })
        );
        assert_eq!(
            (head.status(), head.reason(), head.fields.get("link")),
            (200, &b"OK"[..], None)
        );
    }
}
