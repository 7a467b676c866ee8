//! Message bodies as they arrive: a state machine over slices.

use std::fmt;

use crate::{Fields, ResponseBody};

/// Longest chunk-size line, its extensions included, in bytes.
const CHUNK_LINE_MAX: u32 = 4096;
/// Most digits of a chunk size, leading zeros included.
const CHUNK_DIGITS_MAX: u8 = 16;
/// How far the bytes spent on chunk lines may run ahead of those of the data, so that extensions cannot cost more than
/// the body is worth.
const OVERHEAD_MAX: u64 = 16 * 1024;
/// What a chunk line may cost before it counts against [`OVERHEAD_MAX`].
const OVERHEAD_FREE: u64 = 16;
/// Most bytes in a trailer section.
const TRAILERS_MAX: usize = 8 * 1024;
/// Most fields in a trailer section.
const TRAILER_FIELDS_MAX: usize = 100;

/// Finds the content of one message body, and its end, in the bytes of a connection.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    line_len: u32,
    overhead: u64,
    trailer_bytes: usize,
    trailer_line: Vec<u8>,
    /// The trailer fields, once the end was seen. They are not header fields and must not be merged with them.
    pub trailers: Fields,
}

/// What [`BodyDecoder::step`] found at the start of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Content. `consumed` counts the framing before it and the content itself.
    Data {
        /// The content, at least one byte.
        bytes: &'a [u8],
        /// Bytes of the input that are done with.
        consumed: usize,
    },
    /// All of the input was taken and the body goes on.
    NeedMore {
        /// Bytes of the input that are done with.
        consumed: usize,
    },
    /// The body ended; what follows `consumed` belongs to the next message.
    End {
        /// Bytes of the input that are done with.
        consumed: usize,
    },
}

/// What is wrong with a body. The sender is at fault; the connection must not be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// A chunk size is missing, not hexadecimal, or too large.
    ChunkSize,
    /// A chunk line holds a control character or does not end in CRLF.
    ChunkLine,
    /// A chunk line is too long, or extensions cost more than the data.
    ChunkOverhead,
    /// Chunk data is not followed by CRLF.
    ChunkEnd,
    /// A trailer line is malformed.
    Trailer,
    /// The trailer section has too many bytes or fields.
    TrailersTooLong,
    /// The connection ended before the body did.
    Truncated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Content of known length.
    Length { left: u64 },
    /// Content up to the end of the connection.
    UntilClose,
    /// In the digits of a chunk size.
    Size { size: u64, digits: u8 },
    /// Behind the digits, in whitespace.
    SizeSpace { size: u64 },
    /// In the extensions of a chunk line.
    Extension { size: u64 },
    /// Behind the CR of a chunk line.
    SizeLf { size: u64 },
    /// In the data of a chunk.
    Data { left: u64 },
    /// Behind the data, before its CR.
    DataCr,
    /// Behind the data and its CR.
    DataLf,
    /// In the trailer section.
    Trailers,
    /// The body has ended.
    Done,
    /// An error was reported.
    Failed(BodyError),
}

impl BodyDecoder {
    /// A decoder for a body with this framing.
    #[must_use]
    pub fn new(framing: impl Into<ResponseBody>) -> Self {
        let state = match framing.into() {
            ResponseBody::None | ResponseBody::Length(0) => State::Done,
            ResponseBody::Length(left) => State::Length { left },
            ResponseBody::Chunked => State::SIZE,
            ResponseBody::UntilClose => State::UntilClose,
        };
        Self {
            state,
            line_len: 0,
            overhead: 0,
            trailer_bytes: 0,
            trailer_line: Vec::new(),
            trailers: Fields::new(),
        }
    }

    /// Whether the end was seen.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Bytes of content that follow without any framing between them, if that is known: the rest of a body with a
    /// length, or of a chunk.
    #[must_use]
    pub const fn content_left(&self) -> Option<u64> {
        match self.state {
            State::Length { left } | State::Data { left } => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Looks at the bytes that follow those already consumed.
    ///
    /// # Errors
    /// If the bytes break the framing; every later call returns the same error.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, BodyError> {
        let mut at = 0;
        loop {
            match self.state {
                State::Done => return Ok(Step::End { consumed: at }),
                State::Failed(error) => return Err(error),
                _ => {}
            }
            let rest = input.get(at..).unwrap_or_default();
            let Some(&byte) = rest.first() else {
                return Ok(Step::NeedMore { consumed: at });
            };
            match self.state {
                State::Length { .. } | State::Data { .. } | State::UntilClose => {
                    let bytes = self.take_data(rest);
                    return Ok(Step::Data {
                        bytes,
                        consumed: at + bytes.len(),
                    });
                }
                State::Trailers => at += self.take_trailer_bytes(rest)?,
                _ => {
                    self.state = self
                        .take_framing_byte(byte)
                        .inspect_err(|&error| self.state = State::Failed(error))?;
                    at += 1;
                }
            }
        }
    }

    /// Whether the body is whole if the connection ends here.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] if it is not, or the error that was reported before.
    pub const fn finish_eof(&self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(BodyError::Truncated),
        }
    }

    /// Takes what `rest` has of the current run of content.
    fn take_data<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let (State::Length { left } | State::Data { left }) = self.state else {
            return rest;
        };
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - take as u64;
        self.overhead = self.overhead.saturating_sub(take as u64);
        self.state = match (self.state, left) {
            (State::Length { .. }, 0) => State::Done,
            (State::Length { .. }, _) => State::Length { left },
            (_, 0) => State::DataCr,
            (_, _) => State::Data { left },
        };
        &rest[..take]
    }

    /// The state after one byte of chunk framing (RFC 9112 §7.1), which ends lines with CRLF and nothing else.
    fn take_framing_byte(&mut self, byte: u8) -> Result<State, BodyError> {
        self.line_len += 1;
        if self.line_len > CHUNK_LINE_MAX {
            return Err(BodyError::ChunkOverhead);
        }
        match self.state {
            State::Size { size, digits } => size_byte(size, digits, byte),
            State::SizeSpace { size } => match byte {
                b' ' | b'\t' => Ok(self.state),
                b';' => Ok(State::Extension { size }),
                b'\r' => Ok(State::SizeLf { size }),
                _ => Err(BodyError::ChunkSize),
            },
            State::Extension { size } => match byte {
                b'\r' => Ok(State::SizeLf { size }),
                b'\t' | 0x20..=0x7e | 0x80.. => Ok(self.state),
                _ => Err(BodyError::ChunkLine),
            },
            State::SizeLf { size } if byte == b'\n' => self.start_chunk(size),
            State::SizeLf { .. } => Err(BodyError::ChunkLine),
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(self.start_size()),
            _ => Err(BodyError::ChunkEnd),
        }
    }

    fn start_size(&mut self) -> State {
        self.line_len = 0;
        State::SIZE
    }

    fn start_chunk(&mut self, size: u64) -> Result<State, BodyError> {
        self.overhead += u64::from(self.line_len).saturating_sub(OVERHEAD_FREE);
        self.line_len = 0;
        if self.overhead > OVERHEAD_MAX {
            return Err(BodyError::ChunkOverhead);
        }
        Ok(if size == 0 {
            State::Trailers
        } else {
            State::Data { left: size }
        })
    }

    /// Takes bytes of the trailer section up to the end of a line; returns how many.
    fn take_trailer_bytes(&mut self, rest: &[u8]) -> Result<usize, BodyError> {
        let room = TRAILERS_MAX - self.trailer_bytes;
        let window = &rest[..rest.len().min(room)];
        let outcome = match memchr::memchr(b'\n', window) {
            Some(at) => self.take_trailer_line(&window[..=at]).map(|()| at + 1),
            None if window.len() == room => Err(BodyError::TrailersTooLong),
            None => {
                self.trailer_line.extend_from_slice(window);
                Ok(window.len())
            }
        };
        match outcome {
            Ok(taken) => self.trailer_bytes += taken,
            Err(error) => self.state = State::Failed(error),
        }
        outcome
    }

    /// Takes the end of a trailer line, LF included; what came before is in `trailer_line`.
    fn take_trailer_line(&mut self, end: &[u8]) -> Result<(), BodyError> {
        self.trailer_line.extend_from_slice(end);
        let line = self
            .trailer_line
            .strip_suffix(b"\r\n")
            .ok_or(BodyError::Trailer)?;
        if line.is_empty() {
            self.state = State::Done;
        } else if self.trailers.len() >= TRAILER_FIELDS_MAX {
            return Err(BodyError::TrailersTooLong);
        } else {
            self.trailers
                .push_line(line)
                .map_err(|_| BodyError::Trailer)?;
        }
        self.trailer_line.clear();
        Ok(())
    }
}

impl State {
    /// Before the first digit of a chunk size.
    const SIZE: Self = Self::Size { size: 0, digits: 0 };
}

impl BodyError {
    /// What is wrong, for the error log; holds nothing that was sent.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ChunkSize => "invalid chunk size",
            Self::ChunkLine => "malformed chunk line",
            Self::ChunkOverhead => "chunk extensions are too long",
            Self::ChunkEnd => "chunk data is not followed by CRLF",
            Self::Trailer => "malformed trailer",
            Self::TrailersTooLong => "trailer section is too large",
            Self::Truncated => "connection ended within the body",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for BodyError {}

/// The state after a byte where digits of a chunk size may stand.
fn size_byte(size: u64, digits: u8, byte: u8) -> Result<State, BodyError> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ if digits == 0 => return Err(BodyError::ChunkSize),
        b'\r' => return Ok(State::SizeLf { size }),
        b';' => return Ok(State::Extension { size }),
        b' ' | b'\t' => return Ok(State::SizeSpace { size }),
        b'\n' => return Err(BodyError::ChunkLine),
        _ => return Err(BodyError::ChunkSize),
    };
    let size = size << 4 | u64::from(digit);
    if digits >= CHUNK_DIGITS_MAX || size > i64::MAX as u64 {
        return Err(BodyError::ChunkSize);
    }
    Ok(State::Size {
        size,
        digits: digits + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content, number of bytes consumed if the end was reached, and trailers.
    type Outcome = Result<(Vec<u8>, Option<usize>, Fields), BodyError>;

    /// Runs a decoder over `input`, at most `piece` bytes more at a time.
    fn decode(framing: ResponseBody, input: &[u8], piece: usize) -> Outcome {
        let mut decoder = BodyDecoder::new(framing);
        let (mut content, mut at, mut end) = (Vec::new(), 0, 0);
        loop {
            end = input.len().min(end + piece);
            loop {
                match decoder.step(&input[at..end])? {
                    Step::Data { bytes, consumed } => {
                        content.extend_from_slice(bytes);
                        at += consumed;
                    }
                    Step::NeedMore { consumed } => {
                        at += consumed;
                        assert_eq!(at, end, "all input is taken");
                        break;
                    }
                    Step::End { consumed } => {
                        return Ok((content, Some(at + consumed), decoder.trailers));
                    }
                }
            }
            if end == input.len() {
                return Ok((content, None, decoder.trailers));
            }
        }
    }

    fn check(
        framing: ResponseBody,
        input: &[u8],
        expected: Result<(&[u8], Option<usize>), BodyError>,
    ) {
        for piece in [usize::MAX / 2, 1, 2, 3, 7] {
            let found = decode(framing, input, piece).map(|(content, end, _)| (content, end));
            let expected = expected.map(|(content, end)| (content.to_vec(), end));
            assert_eq!(found, expected, "{} by {piece}", input.escape_ascii());
        }
    }

    #[test]
    fn lengths() {
        for (framing, input, content, end) in [
            (ResponseBody::None, &b"GET"[..], &b""[..], Some(0)),
            (ResponseBody::Length(0), b"GET", b"", Some(0)),
            (ResponseBody::Length(5), b"helloGET", b"hello", Some(5)),
            (ResponseBody::Length(5), b"hell", b"hell", None),
            (ResponseBody::Length(u64::MAX), b"hell", b"hell", None),
            (ResponseBody::UntilClose, b"hello", b"hello", None),
        ] {
            check(framing, input, Ok((content, end)));
        }
    }

    #[test]
    fn chunks() {
        use BodyError as E;
        for (input, expected) in [
            (
                &b"5\r\nhello\r\n0\r\n\r\nGET"[..],
                Ok((&b"hello"[..], Some(15))),
            ),
            (b"0\r\n\r\n", Ok((b"", Some(5)))),
            (
                b"A\r\n0123456789\r\n000\r\n\r\n",
                Ok((b"0123456789", Some(22))),
            ),
            (b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", Ok((b"ab", Some(17)))),
            (
                b"5;foo\r\nhello\r\n0;bar=\"x y\"\r\n\r\n",
                Ok((b"hello", Some(29))),
            ),
            (b"5 ;a=b\r\nhello\r\n0\r\n\r\n", Ok((b"hello", Some(20)))),
            (b"5 \r\nhello\r\n0\t\r\n\r\n", Ok((b"hello", Some(17)))),
            (b"0000000000000005\r\nhello\r\n", Ok((b"hello", None))),
            (b"5\r\nhel", Ok((b"hel", None))),
            (b"5\r\nhello\r\n0\r\n\r", Ok((b"hello", None))),
            (b"00000000000000005\r\nhello\r\n", Err(E::ChunkSize)),
            (b"ffffffffffffffff\r\nhello", Err(E::ChunkSize)),
            (b"8000000000000000\r\nhello", Err(E::ChunkSize)),
            (b"10000000000000005\r\nhello", Err(E::ChunkSize)),
            (b"\r\nhello", Err(E::ChunkSize)),
            (b";a\r\nhello", Err(E::ChunkSize)),
            (b" 5\r\nhello", Err(E::ChunkSize)),
            (b"-0\r\n\r\n", Err(E::ChunkSize)),
            (b"+5\r\nhello", Err(E::ChunkSize)),
            (b"0x5\r\nhello", Err(E::ChunkSize)),
            (b"0_2e\r\n\r\n", Err(E::ChunkSize)),
            (b"5g\r\nhello", Err(E::ChunkSize)),
            (b"5 5\r\nhello", Err(E::ChunkSize)),
            (b"5\nhello", Err(E::ChunkLine)),
            (b"5;a\nhello", Err(E::ChunkLine)),
            (b"5;a\rb\r\nhello", Err(E::ChunkLine)),
            (b"5\r\r;A\r\nhello", Err(E::ChunkLine)),
            (b"5;a\0\r\nhello", Err(E::ChunkLine)),
            (b"5 \nhello", Err(E::ChunkSize)),
            (b"5\r\nhelloXX0\r\n\r\n", Err(E::ChunkEnd)),
            (b"5\r\nhello world\r\n0\r\n\r\n", Err(E::ChunkEnd)),
            (b"5\r\nhello\n0\r\n\r\n", Err(E::ChunkEnd)),
            (b"5\r\nhello\rX0\r\n\r\n", Err(E::ChunkEnd)),
            (b"0\r\n\n", Err(E::Trailer)),
            (b"0\r\n\rX\r\n\r\n", Err(E::Trailer)),
            (b"0\r\nX-T : v\r\n\r\n", Err(E::Trailer)),
            (b"0\r\ngarbage\r\n\r\n", Err(E::Trailer)),
            (b"0\r\nX: a\nGET /smuggled HTTP/1.1\n\r\n", Err(E::Trailer)),
            (b"0\r\nX: a\0b\r\n\r\n", Err(E::Trailer)),
            (b"0\r\nX: a\r\n folded\r\n\r\n", Err(E::Trailer)),
        ] {
            check(ResponseBody::Chunked, input, expected);
        }
    }

    #[test]
    fn trailers_are_kept_apart() {
        let input = b"1\r\na\r\n0\r\nX-T: v\r\nhost:  evil \r\n\r\nGET";
        for piece in [100, 1] {
            let (content, end, trailers) = decode(ResponseBody::Chunked, input, piece).unwrap();
            assert_eq!(
                (content.as_slice(), end),
                (&b"a"[..], Some(input.len() - 3))
            );
            let trailers: Vec<_> = trailers.iter().collect();
            assert_eq!(trailers, [(&b"X-T"[..], &b"v"[..]), (b"host", b"evil")]);
        }
    }

    #[test]
    fn framing_is_bounded() {
        use BodyError as E;
        let one_byte = |extension: usize| format!("1;{}\r\na\r\n", "x".repeat(extension));
        for (input, expected) in [
            (format!("5;{}\r\nhello\r\n", "x".repeat(4000)), Ok(())),
            (format!("5;{}", "x".repeat(5000)), Err(E::ChunkOverhead)),
            (one_byte(2000).repeat(8), Ok(())),
            (one_byte(2000).repeat(9), Err(E::ChunkOverhead)),
            (one_byte(5).repeat(10_000), Ok(())),
            (format!("0\r\nX: {}\r\n\r\n", "x".repeat(8000)), Ok(())),
            (
                format!("0\r\nX: {}", "x".repeat(9000)),
                Err(E::TrailersTooLong),
            ),
            (format!("0\r\n{}\r\n", "X: y\r\n".repeat(100)), Ok(())),
            (
                format!("0\r\n{}\r\n", "X: y\r\n".repeat(101)),
                Err(E::TrailersTooLong),
            ),
        ] {
            for piece in [usize::MAX / 2, 1, 1000] {
                let found = decode(ResponseBody::Chunked, input.as_bytes(), piece).map(|_| ());
                assert_eq!(found, expected, "{:.20} by {piece}", input);
            }
        }
    }

    #[test]
    fn ends_of_the_connection() {
        for (framing, input, expected) in [
            (ResponseBody::None, &b""[..], Ok(())),
            (ResponseBody::UntilClose, b"hel", Ok(())),
            (ResponseBody::Length(3), b"hel", Ok(())),
            (ResponseBody::Length(4), b"hel", Err(BodyError::Truncated)),
            (ResponseBody::Chunked, b"", Err(BodyError::Truncated)),
            (
                ResponseBody::Chunked,
                b"3\r\nhel\r\n0\r\n",
                Err(BodyError::Truncated),
            ),
            (ResponseBody::Chunked, b"0\r\n\r\n", Ok(())),
            (ResponseBody::Chunked, b"zz\r\n", Err(BodyError::ChunkSize)),
        ] {
            let mut decoder = BodyDecoder::new(framing);
            let mut at = 0;
            while let Ok(Step::Data { consumed, .. }) = decoder.step(&input[at..]) {
                at += consumed;
            }
            assert_eq!(
                decoder.finish_eof(),
                expected,
                "{framing:?} {}",
                input.escape_ascii()
            );
            assert_eq!(
                decoder.is_done(),
                expected.is_ok() && framing != ResponseBody::UntilClose
            );
        }
    }

    #[test]
    fn content_left_tells_the_rest_of_a_run() {
        let mut decoder = BodyDecoder::new(ResponseBody::Chunked);
        assert_eq!(decoder.content_left(), None);
        assert_eq!(
            decoder.step(b"5\r\nhe"),
            Ok(Step::Data {
                bytes: b"he",
                consumed: 5
            })
        );
        assert_eq!(decoder.content_left(), Some(3));
        assert_eq!(
            BodyDecoder::new(ResponseBody::Length(9)).content_left(),
            Some(9)
        );
        assert_eq!(BodyDecoder::new(ResponseBody::None).content_left(), Some(0));
    }
}
