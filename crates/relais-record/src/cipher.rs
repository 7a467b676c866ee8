//! One direction's key: how a record's nonce and its additional data are made.

use std::ops::Range;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::ConnectionTrafficSecrets;

use crate::RecordError;

/// Bytes of a record's head.
pub(crate) const HEAD: usize = 5;
/// Bytes of an authentication tag, of all three algorithms.
pub(crate) const TAG: usize = 16;
/// The most content of one record (RFC 8446 §5.1).
pub(crate) const CONTENT_MAX: usize = 1 << 14;
/// Bytes of the part of a TLS 1.2 GCM nonce that is sent (RFC 5288 §3).
const EXPLICIT: usize = 8;

/// How records are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// The type is hidden behind the content (RFC 8446 §5.2).
    Tls13,
    /// TLS 1.2 with AES-GCM: eight bytes of nonce in front.
    Tls12Gcm,
    /// TLS 1.2 with ChaCha20-Poly1305: nothing in front.
    Tls12ChaCha,
}

/// A key with its initialisation vector and the number of the next record.
pub(crate) struct Key {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    pub(crate) layout: Layout,
}

impl Key {
    pub(crate) fn new(
        secrets: &ConnectionTrafficSecrets,
        sequence: u64,
        tls13: bool,
    ) -> Result<Self, RecordError> {
        let (algorithm, key, iv, tls12) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
                (&AES_128_GCM, key, iv, Layout::Tls12Gcm)
            }
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                (&AES_256_GCM, key, iv, Layout::Tls12Gcm)
            }
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&CHACHA20_POLY1305, key, iv, Layout::Tls12ChaCha)
            }
            _ => return Err(RecordError::Exhausted),
        };
        let unbound =
            UnboundKey::new(algorithm, key.as_ref()).map_err(|_| RecordError::Exhausted)?;
        let mut copy = [0; 12];
        copy.copy_from_slice(iv.as_ref());
        Ok(Self {
            key: LessSafeKey::new(unbound),
            iv: copy,
            sequence,
            layout: if tls13 { Layout::Tls13 } else { tls12 },
        })
    }

    /// The number of records that this key has handled.
    pub(crate) const fn used(&self) -> u64 {
        self.sequence
    }

    /// Bytes that stand between a record's head and its content.
    pub(crate) const fn front(&self) -> usize {
        match self.layout {
            Layout::Tls12Gcm => EXPLICIT,
            Layout::Tls13 | Layout::Tls12ChaCha => 0,
        }
    }

    /// Appends one record to `out`.
    pub(crate) fn seal(
        &mut self,
        kind: u8,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        let inner = content.len() + usize::from(self.layout == Layout::Tls13);
        let length = (self.front() + inner + TAG) as u16;
        let outer = if self.layout == Layout::Tls13 {
            23
        } else {
            kind
        };
        let [high, low] = length.to_be_bytes();
        let head = [outer, 3, 3, high, low];
        let nonce = self.nonce();
        out.reserve(HEAD + usize::from(length));
        out.extend_from_slice(&head);
        if self.layout == Layout::Tls12Gcm {
            out.extend_from_slice(&nonce[4..]);
        }
        let start = out.len();
        out.extend_from_slice(content);
        if self.layout == Layout::Tls13 {
            out.push(kind);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let body = &mut out[start..];
        let sealed = if self.layout == Layout::Tls13 {
            self.key
                .seal_in_place_separate_tag(nonce, Aad::from(head), body)
        } else {
            let aad = self.tls12_aad(kind, content.len());
            self.key
                .seal_in_place_separate_tag(nonce, Aad::from(aad), body)
        };
        let tag = sealed.map_err(|_| RecordError::Exhausted)?;
        out.extend_from_slice(tag.as_ref());
        self.advance()
    }

    /// Opens one whole record in place: its type, and where its content is.
    pub(crate) fn open(&mut self, record: &mut [u8]) -> Result<(u8, Range<usize>), RecordError> {
        let (head, body) = record
            .split_first_chunk_mut::<HEAD>()
            .ok_or(RecordError::Malformed)?;
        let front = self.front();
        let length = body
            .len()
            .checked_sub(front + TAG)
            .ok_or(RecordError::Forged)?;
        let mut nonce = self.nonce();
        if front > 0 {
            nonce[4..].copy_from_slice(&body[..front]);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = &mut body[front..];
        let opened = if self.layout == Layout::Tls13 {
            self.key.open_in_place(nonce, Aad::from(*head), sealed)
        } else {
            let aad = self.tls12_aad(head[0], length);
            self.key.open_in_place(nonce, Aad::from(aad), sealed)
        };
        let plain = opened.map_err(|_| RecordError::Forged)?;
        self.sequence = self.sequence.checked_add(1).ok_or(RecordError::Exhausted)?;
        let start = HEAD + front;
        if self.layout != Layout::Tls13 {
            return Ok((head[0], start..start + plain.len()));
        }
        // Padding is any number of zeros behind the type.
        let last = plain
            .iter()
            .rposition(|&byte| byte != 0)
            .ok_or(RecordError::Unexpected)?;
        Ok((plain[last], start..start + last))
    }

    fn advance(&mut self) -> Result<(), RecordError> {
        self.sequence = self.sequence.checked_add(1).ok_or(RecordError::Exhausted)?;
        Ok(())
    }

    /// RFC 8446 §5.3: the vector with the record's number over its end. For
    /// TLS 1.2 GCM any value that never repeats would do (RFC 5288 §3).
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// RFC 5246 §6.2.3.3.
    fn tls12_aad(&self, kind: u8, length: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8..11].copy_from_slice(&[kind, 3, 3]);
        aad[11..].copy_from_slice(&(length as u16).to_be_bytes());
        aad
    }
}
