//! A client of HTTP/2 that sends what it is told to, byte by byte. Header blocks use no table and no Huffman code
//! (RFC 7541 §6.2.2), so that what is sent is what is written here; answers are known by their status alone.

use std::time::Duration;

use crate::harness::program::Running;
use crate::harness::wire::Conn;

/// The connection preface (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const ACK: u8 = 1;

pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame that has arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a `RST_STREAM` or a `GOAWAY`.
    pub(super) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let bytes = self.payload[at..at + 4].try_into().expect("an error code");
        u32::from_be_bytes(bytes)
    }

    /// The status of a response's head, which comes first and has an entry of the static table or a literal.
    pub(super) fn status(&self) -> u16 {
        const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        let mut bytes = self.payload.as_slice();
        while let [0x20..=0x3f, rest @ ..] = bytes {
            bytes = rest;
        }
        match bytes {
            [first @ 0x88..=0x8e, ..] => INDEXED[usize::from(first - 0x88)],
            [_, length, rest @ ..] if length & 0x80 == 0 => digits(&rest[..3]),
            // Digits have codes of five or six bits (RFC 7541 Appendix B).
            [_, _, rest @ ..] => huffman(rest),
            _ => 0,
        }
    }

    /// Whether the stream ends with it.
    pub(super) fn ends(&self) -> bool {
        self.flags & END_STREAM != 0
    }
}

fn digits(bytes: &[u8]) -> u16 {
    let text = std::str::from_utf8(bytes).expect("three digits");
    text.parse().expect("three digits")
}

/// Three digits in Huffman code: 0, 1 and 2 have five bits, the others six.
fn huffman(bytes: &[u8]) -> u16 {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let mut bits = u32::from_be_bytes([byte(0), byte(1), byte(2), 0]);
    let mut number = 0;
    for _ in 0..3 {
        let short = bits >> 27;
        let digit = if short <= 2 {
            bits <<= 5;
            short
        } else {
            let long = bits >> 26;
            bits <<= 6;
            long - 0x19 + 3
        };
        number = number * 10 + digit;
    }
    u16::try_from(number).expect("a status")
}

/// One frame's bytes.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a length")
        .to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of these fields, as literals without indexing.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        text(name, &mut out);
        text(value, &mut out);
    }
    out
}

fn text(text: &str, out: &mut Vec<u8>) {
    match u8::try_from(text.len()) {
        Ok(length @ ..=126) => out.push(length),
        _ => {
            out.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                out.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            out.push(rest as u8);
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// A GET's fields, with more behind them.
pub(super) fn get<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "main.example"),
    ];
    [&fields[..], more].concat()
}

/// A connection that has begun with the preface and the settings of the client.
pub(super) struct Client {
    pub(super) conn: Conn,
}

impl Client {
    /// Begins with empty settings.
    pub(super) fn new(proxy: &Running) -> Self {
        Self::with(proxy, &[])
    }

    /// Begins with these settings.
    pub(super) fn with(proxy: &Running, settings: &[(u16, u32)]) -> Self {
        let mut conn = proxy.connect();
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        conn.send(PREFACE);
        conn.send(&frame(SETTINGS, 0, 0, &payload));
        Self { conn }
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.conn.send(&frame(kind, flags, stream, payload));
    }

    /// Opens a stream with these fields and no content.
    pub(super) fn request(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields));
    }

    /// Opens a stream with these fields, whose content follows.
    pub(super) fn open(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.send(HEADERS, END_HEADERS, stream, &block(fields));
    }

    /// The next frame; `None` at the end of the connection or when nothing comes.
    pub(super) fn frame(&mut self) -> Option<Frame> {
        let head = self.conn.exactly(9);
        let [a, b, c, kind, flags, rest @ ..] = head.as_slice() else {
            return None;
        };
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let stream = u32::from_be_bytes(rest.try_into().ok()?);
        let payload = self.conn.exactly(length);
        (payload.len() == length).then_some(Frame {
            kind: *kind,
            flags: *flags,
            stream,
            payload,
        })
    }

    /// The next frame of this kind, whatever comes before it.
    pub(super) fn next(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.frame()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The status of the answer on this stream and its content, or the code of its reset or of the connection's end.
    pub(super) fn answer(&mut self, stream: u32) -> Result<(u16, Vec<u8>), u32> {
        let (mut status, mut content) = (0, Vec::new());
        loop {
            let frame = self.frame().expect("an answer");
            match frame.kind {
                GOAWAY => return Err(frame.code()),
                _ if frame.stream != stream => continue,
                RST_STREAM => return Err(frame.code()),
                HEADERS if status < 200 => status = frame.status(),
                DATA => content.extend_from_slice(&frame.payload),
                _ => {}
            }
            if frame.ends() {
                return Ok((status, content));
            }
        }
    }

    /// The reason with which the server ends the connection.
    pub(super) fn goaway(&mut self) -> Option<u32> {
        self.next(GOAWAY).map(|frame| frame.code())
    }

    /// Bounds every later read.
    pub(super) fn patience(&mut self, limit: Duration) {
        self.conn.patience(limit);
    }
}

#[test]
fn statuses_are_read_in_any_spelling() {
    let head = |payload: &[u8]| Frame {
        kind: HEADERS,
        flags: 0,
        stream: 1,
        payload: payload.to_vec(),
    };
    assert_eq!(head(&[0x88]).status(), 200);
    assert_eq!(head(&[0x20, 0x8d]).status(), 404);
    assert_eq!(head(&[0x48, 3, b'5', b'0', b'2']).status(), 502);
    // RFC 7541 C.6.1: 302 in Huffman code.
    assert_eq!(head(&[0x48, 0x82, 0x64, 0x02]).status(), 302);
}
