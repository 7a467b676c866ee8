//! A raw connection that knows where an HTTP/1 message ends, and changes nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;

/// One TCP connection with the bytes that were read ahead.
pub(crate) struct Conn {
    stream: TcpStream,
    buffer: Vec<u8>,
    ended: bool,
    is_reset: bool,
}

/// Which message is expected; it decides where the body ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    /// The answer to HEAD has no body, whatever its fields say.
    ResponseToHead,
}

impl Conn {
    /// Connects to `address`.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("connect"))
    }

    /// Takes over a connected stream.
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("set TCP_NODELAY");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("set the read timeout");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("set the write timeout");
        Self {
            stream,
            buffer: Vec::new(),
            ended: false,
            is_reset: false,
        }
    }

    /// Bounds every later read.
    pub(crate) fn patience(&mut self, limit: Duration) {
        self.stream
            .set_read_timeout(Some(limit))
            .expect("set the read timeout");
    }

    /// The stream below, for what this type does not offer.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends the bytes; a peer that is gone is noticed by the next read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends the bytes line by line, each after a pause.
    pub(crate) fn send_slowly(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            std::thread::sleep(Duration::from_millis(20));
            self.send(line);
        }
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(&mut self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))
            .expect("have the connection reset when it is closed");
        self.is_reset = true;
    }

    /// Ends the sending direction.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads one whole message, interim responses before it included, and returns its exact bytes. When the connection
    /// ends or nothing more arrives, what came until then is returned.
    pub(crate) fn message(&mut self, kind: Kind) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let Some(head) = self.head() else {
                out.append(&mut self.buffer);
                return out;
            };
            let interim = kind != Kind::Request && matches!(status(&head), 100 | 102..=199);
            let body = if interim {
                Vec::new()
            } else {
                self.body(kind, &head)
            };
            out.extend_from_slice(&head);
            out.extend_from_slice(&body);
            if !interim {
                return out;
            }
        }
    }

    /// Reads one whole request as an origin does: a client that expects it is told to continue before its body is read
    /// (RFC 9110 section 10.1.1).
    pub(crate) fn request(&mut self) -> Vec<u8> {
        let Some(mut bytes) = self.head() else {
            return Vec::new();
        };
        if field(&bytes, "expect").as_deref() == Some("100-continue") {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let body = self.body(Kind::Request, &bytes);
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads one head with its empty line; nothing when the connection ends or stays silent before.
    pub(crate) fn head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Some(self.buffer.drain(..end + 4).collect());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn body(&mut self, kind: Kind, head: &[u8]) -> Vec<u8> {
        if kind == Kind::ResponseToHead
            || (kind == Kind::Response && matches!(status(head), 101 | 204 | 304))
        {
            return Vec::new();
        }
        if field(head, "transfer-encoding").is_some_and(|value| value.ends_with("chunked")) {
            return self.until(chunked_length);
        }
        match field(head, "content-length").and_then(|value| value.parse().ok()) {
            Some(length) => self.exactly(length),
            None if kind == Kind::Request => Vec::new(),
            None => self.rest(),
        }
    }

    fn until(&mut self, length: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        loop {
            if let Some(end) = length(&self.buffer) {
                return self.buffer.drain(..end).collect();
            }
            if !self.fill() {
                return std::mem::take(&mut self.buffer);
            }
        }
    }

    /// Reads `length` bytes; fewer when the connection ends or stays silent before.
    pub(crate) fn exactly(&mut self, length: usize) -> Vec<u8> {
        self.until(|buffer| (buffer.len() >= length).then_some(length))
    }

    /// Everything until the peer ends the connection or stays silent.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// True when the peer has ended the connection, or ends it before the read timeout.
    pub(crate) fn is_ended(&mut self) -> bool {
        while !self.ended && self.fill() {}
        self.ended
    }

    /// Reads once; `false` at the end of the connection or when nothing arrives in time.
    fn fill(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.ended = true,
            Ok(length) => {
                self.buffer.extend_from_slice(&chunk[..length]);
                return true;
            }
            Err(error) => {
                self.ended = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
            }
        }
        false
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        // A copy of the descriptor elsewhere must not keep the connection open.
        if self.is_reset {
            // A shutdown would send an orderly end first; the copies are dropped by whoever holds them.
            return;
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// The status code of a response head, 0 when it has none.
pub(crate) fn status(head: &[u8]) -> u16 {
    let line = String::from_utf8_lossy(&head[..head.len().min(64)]).into_owned();
    line.split(' ')
        .nth(1)
        .and_then(|code| code.get(..3)?.parse().ok())
        .unwrap_or(0)
}

/// The value of a field in a head, in lower case.
pub(crate) fn field(head: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let end = text.find("\r\n\r\n").unwrap_or(text.len());
    text[..end].lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim().to_owned())
    })
}

/// Where `needle` starts in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// The length of a chunked body with its trailer section, once all of it is there.
fn chunked_length(buffer: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line_end = at + find(&buffer[at..], b"\r\n")?;
        let digits = String::from_utf8_lossy(&buffer[at..line_end]).into_owned();
        let size = usize::from_str_radix(digits.split(';').next()?.trim(), 16).ok()?;
        at = line_end + 2;
        if size == 0 {
            break;
        }
        at += size + 2;
        if buffer.len() < at {
            return None;
        }
    }
    loop {
        let line_end = at + find(&buffer[at..], b"\r\n")?;
        if line_end == at {
            return Some(at + 2);
        }
        at = line_end + 2;
    }
}

#[test]
fn chunked_bodies_end_after_their_trailers() {
    let rows: [(&[u8], Option<usize>); 5] = [
        (b"0\r\n\r\n", Some(5)),
        (b"5;a=b\r\nhello\r\n0\r\n\r\nGET", Some(19)),
        (b"5\r\nhello\r\n0\r\nA: b\r\n\r\n", Some(21)),
        (b"5\r\nhel", None),
        (b"0\r\n", None),
    ];
    for (bytes, expected) in rows {
        assert_eq!(
            chunked_length(bytes),
            expected,
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}
