//! Message bodies as they are sent.

use std::fmt;
use std::io::Write;

use crate::hop::trailer_allowed;
use crate::{Fields, ResponseBody, write_field};

/// Writes one body in its framing, and minds that a promised length is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyEncoder {
    framing: ResponseBody,
    left: u64,
}

/// The content does not fit the framing that was announced. relais is at fault, or the peer the content came from;
/// the connection must close, since its other end would take the next message for content or the reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// More content than the length says, or any where there is none.
    TooMuch,
    /// The end came before the length was reached.
    TooLittle,
}

impl BodyEncoder {
    /// An encoder for a body with this framing.
    #[must_use]
    pub fn new(framing: impl Into<ResponseBody>) -> Self {
        let framing = framing.into();
        let left = match framing {
            ResponseBody::None => 0,
            ResponseBody::Length(bytes) => bytes,
            ResponseBody::Chunked | ResponseBody::UntilClose => u64::MAX,
        };
        Self { framing, left }
    }

    /// Writes the header field that announces the framing, if there is one.
    pub fn write_framing_field(&self, out: &mut Vec<u8>) {
        match self.framing {
            ResponseBody::Length(bytes) => {
                write_field(out, b"Content-Length", bytes.to_string().as_bytes())
            }
            ResponseBody::Chunked => write_field(out, b"Transfer-Encoding", b"chunked"),
            ResponseBody::None | ResponseBody::UntilClose => {}
        }
    }

    /// Writes `content` in its framing; nothing for no content, since an empty chunk would end the body.
    ///
    /// # Errors
    /// [`EncodeError::TooMuch`], and nothing is written.
    pub fn data(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.begin(content.len() as u64, out)?;
        out.extend_from_slice(content);
        self.end_run(content.len() as u64, out);
        Ok(())
    }

    /// Writes what stands before `len` bytes of content, for a caller that sends those by another way and then calls
    /// [`BodyEncoder::end_run`] with the same length.
    ///
    /// # Errors
    /// [`EncodeError::TooMuch`], and nothing is written.
    pub fn begin(&mut self, len: u64, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self.framing {
            ResponseBody::None | ResponseBody::Length(_) => {
                self.left = self.left.checked_sub(len).ok_or(EncodeError::TooMuch)?;
            }
            ResponseBody::Chunked if len > 0 => {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "{len:x}\r\n");
            }
            ResponseBody::Chunked | ResponseBody::UntilClose => {}
        }
        Ok(())
    }

    /// Writes what stands after `len` bytes of content.
    pub fn end_run(&self, len: u64, out: &mut Vec<u8>) {
        if self.framing == ResponseBody::Chunked && len > 0 {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes the end of the body, with those of `trailers` that may be sent as such. Other framings than chunked
    /// have no place for trailers and drop them.
    ///
    /// # Errors
    /// [`EncodeError::TooLittle`] if the announced length was not reached.
    pub fn end(&mut self, trailers: Option<&Fields>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self.framing {
            ResponseBody::None | ResponseBody::Length(_) if self.left > 0 => {
                return Err(EncodeError::TooLittle);
            }
            ResponseBody::Chunked => {
                out.extend_from_slice(b"0\r\n");
                let allowed = trailers
                    .into_iter()
                    .flatten()
                    .filter(|(name, _)| trailer_allowed(name));
                allowed.for_each(|(name, value)| write_field(out, name, value));
                out.extend_from_slice(b"\r\n");
            }
            ResponseBody::None | ResponseBody::Length(_) | ResponseBody::UntilClose => {}
        }
        Ok(())
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMuch => "more content than announced",
            Self::TooLittle => "less content than announced",
        })
    }
}

impl std::error::Error for EncodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framings() {
        use EncodeError as E;
        use ResponseBody as B;
        type Case = (B, &'static [&'static str], &'static str, Result<(), E>);
        let table: [Case; 11] = [
            (B::None, &[], "", Ok(())),
            (B::None, &[""], "", Ok(())),
            (B::None, &["a"], "", Err(E::TooMuch)),
            (B::Length(0), &[], "Content-Length: 0|", Ok(())),
            (
                B::Length(5),
                &["hel", "", "lo"],
                "Content-Length: 5|hello",
                Ok(()),
            ),
            (
                B::Length(5),
                &["hel"],
                "Content-Length: 5|hel",
                Err(E::TooLittle),
            ),
            (
                B::Length(5),
                &["hel", "low"],
                "Content-Length: 5|hel",
                Err(E::TooMuch),
            ),
            (B::Chunked, &[], "Transfer-Encoding: chunked|0||", Ok(())),
            (
                B::Chunked,
                &["hello", "", " "],
                "Transfer-Encoding: chunked|5|hello|1| |0||",
                Ok(()),
            ),
            (
                B::Chunked,
                &["0123456789abcdef"],
                "Transfer-Encoding: chunked|10|0123456789abcdef|0||",
                Ok(()),
            ),
            (B::UntilClose, &["hel", "lo"], "hello", Ok(())),
        ];
        for (framing, pieces, expected, outcome) in table {
            let (mut encoder, mut out) = (BodyEncoder::new(framing), Vec::new());
            encoder.write_framing_field(&mut out);
            let written = pieces
                .iter()
                .try_for_each(|piece| encoder.data(piece.as_bytes(), &mut out));
            let found = written.and_then(|()| encoder.end(None, &mut out));
            assert_eq!(
                (
                    String::from_utf8(out)
                        .unwrap()
                        .replace("\r\n", "|")
                        .as_str(),
                    found
                ),
                (expected, outcome)
            );
        }
    }

    #[test]
    fn only_allowed_trailers_go_out() {
        let mut trailers = Fields::new();
        for name in [
            "X-Sum",
            "Host",
            "Content-Length",
            "Authorization",
            "Server-Timing",
            "X-Forwarded-For",
        ] {
            trailers.push(name, "v").unwrap();
        }
        let mut out = Vec::new();
        BodyEncoder::new(ResponseBody::Chunked)
            .end(Some(&trailers), &mut out)
            .unwrap();
        assert_eq!(out, b"0\r\nX-Sum: v\r\nServer-Timing: v\r\n\r\n");
        let mut out = Vec::new();
        BodyEncoder::new(ResponseBody::Length(0))
            .end(Some(&trailers), &mut out)
            .unwrap();
        assert!(out.is_empty());
    }
}
