//! The bytes that are sent, so that whoever receives them can tell each from its neighbours.

use std::io;
use std::sync::LazyLock;

/// The longest body or payload.
pub(crate) const MOST: usize = 1 << 20;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let byte = |at: usize| (at.wrapping_mul(31) % 251) as u8;
    (0..MOST).map(byte).collect()
});

/// The first `length` bytes of every body and payload.
pub(crate) fn body(length: usize) -> &'static [u8] {
    &PATTERN[..length]
}

/// A binary frame with that payload (RFC 6455 section 5.2). A client's has a masking key of zero, which leaves the
/// payload as it is.
pub(crate) fn frame(length: usize, masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut frame = vec![0x82];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => frame.push(mask | short),
        (_, Ok(medium)) => {
            frame.push(mask | 126);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frame.push(mask | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if masked {
        frame.extend_from_slice(&[0; 4]);
    }
    frame.extend_from_slice(body(length));
    frame
}

/// Compares what arrives with the same bytes over and over.
pub(crate) struct Expected {
    bytes: Vec<u8>,
    at: usize,
}

impl Expected {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    /// Takes what has arrived and tells how many repetitions have become whole.
    pub(crate) fn take(&mut self, mut arrived: &[u8]) -> io::Result<usize> {
        let mut whole = 0;
        while !arrived.is_empty() {
            let length = arrived.len().min(self.bytes.len() - self.at);
            let (now, rest) = arrived.split_at(length);
            if now != &self.bytes[self.at..self.at + length] {
                return Err(io::Error::other("a byte is not what was sent"));
            }
            arrived = rest;
            self.at += length;
            if self.at == self.bytes.len() {
                self.at = 0;
                whole += 1;
            }
        }
        Ok(whole)
    }
}

#[test]
fn repetitions_are_counted_and_a_wrong_byte_is_found() {
    let mut expected = Expected::new(b"abc".to_vec());
    assert_eq!(expected.take(b"ab").ok(), Some(0));
    assert_eq!(expected.take(b"cabca").ok(), Some(2));
    assert!(expected.take(b"c").is_err());
}

#[test]
fn frames_have_the_three_forms_of_length() {
    assert_eq!(frame(3, false)[..2], [0x82, 3]);
    assert_eq!(frame(126, true)[..8], [0x82, 0xfe, 0, 126, 0, 0, 0, 0]);
    let long = frame(1 << 16, true);
    assert_eq!(long[..4], [0x82, 0xff, 0, 0]);
    assert_eq!(long.len(), 14 + (1 << 16));
}
