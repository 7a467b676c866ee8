//! Connections and message heads, for the load and the origin.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// A connection, clear or encrypted.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A connection with what has been read of it.
pub(crate) struct Wire {
    pub(crate) stream: Box<dyn Stream>,
    input: Vec<u8>,
}

/// The first line and the fields of a message.
pub(crate) struct Head(String);

impl Head {
    /// Its first line.
    pub(crate) fn line(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    /// The value of a field, whose name is given in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self
            .0
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        let mut named = fields.filter(|(have, _)| have.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    }

    /// The announced length of its body.
    pub(crate) fn length(&self) -> usize {
        let length = self.field("content-length");
        length.and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

impl Wire {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            input: Vec::new(),
        }
    }

    /// Reads a message's head; `None` when the other side closes in place of one.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            let end = self.input.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.input.drain(..end + 4);
                return Ok(Some(Head(head)));
            }
            self.input.reserve(1024);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return if self.input.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Hands what arrives to `take`, until that is content.
    pub(crate) async fn read_until(
        &mut self,
        scratch: &mut [u8],
        mut take: impl FnMut(&[u8]) -> io::Result<bool>,
    ) -> io::Result<()> {
        let done = !self.input.is_empty() && take(&self.input)?;
        self.input.clear();
        if done {
            return Ok(());
        }
        loop {
            match self.stream.read(scratch).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length if take(&scratch[..length])? => return Ok(()),
                _ => {}
            }
        }
    }
}
