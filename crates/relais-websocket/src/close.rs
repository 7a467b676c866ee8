//! Writing Close frames.

/// Longest reason that fits a control frame beside the code (RFC 6455 §5.5).
const REASON_MAX: usize = 123;

/// Codes that only say why no code was received, and must not be sent (RFC 6455 §7.4.1).
const NOT_FOR_THE_WIRE: [u16; 3] = [1005, 1006, 1015];

/// A Close frame with `code` and `reason`, masked with `masked` towards an origin, plain towards a client.
///
/// The reason is cut to 123 bytes, not within a UTF-8 character. A code that must not be sent makes an empty frame.
#[must_use]
pub fn close_frame(code: u16, reason: &[u8], masked: Option<[u8; 4]>) -> Vec<u8> {
    let mut payload = Vec::with_capacity(2 + REASON_MAX);
    if !NOT_FOR_THE_WIRE.contains(&code) {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(cut(reason));
    }
    let mask_bit = if masked.is_some() { 0x80 } else { 0 };
    let mut frame = Vec::with_capacity(6 + payload.len());
    frame.extend_from_slice(&[0x88, mask_bit | payload.len() as u8]);
    if let Some(key) = masked {
        frame.extend_from_slice(&key);
        payload
            .iter_mut()
            .zip(key.iter().cycle())
            .for_each(|(byte, mask)| *byte ^= mask);
    }
    frame.extend_from_slice(&payload);
    frame
}

/// An empty Ping frame for a client.
pub const PING_TO_CLIENT: [u8; 2] = [0x89, 0x00];

/// As much of `reason` as fits, without the beginning of a character whose end does not.
fn cut(reason: &[u8]) -> &[u8] {
    let mut end = reason.len().min(REASON_MAX);
    while end > 0 && reason.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Counters, FrameFollower};

    #[test]
    fn frames() {
        type Case = (u16, &'static [u8], Option<[u8; 4]>, &'static [u8]);
        let table: [Case; 5] = [
            (1001, b"", None, b"\x88\x02\x03\xe9"),
            (1000, b"bye", None, b"\x88\x05\x03\xe8bye"),
            (
                1000,
                b"bye",
                Some([1, 2, 3, 4]),
                b"\x88\x85\x01\x02\x03\x04\x02\xeaa}d",
            ),
            (1006, b"gone", None, b"\x88\x00"),
            (1005, b"", Some([1, 2, 3, 4]), b"\x88\x80\x01\x02\x03\x04"),
        ];
        for (code, reason, masked, expected) in table {
            assert_eq!(
                close_frame(code, reason, masked),
                expected,
                "{code} {masked:?}"
            );
        }
    }

    #[test]
    fn reasons_are_cut_between_characters() {
        for (reason, kept) in [
            ("a".repeat(123), 123),
            ("a".repeat(200), 123),
            ("é".repeat(100), 122),
        ] {
            let frame = close_frame(1000, reason.as_bytes(), None);
            assert_eq!(frame.len(), 4 + kept);
            assert!(std::str::from_utf8(&frame[4..]).is_ok());
        }
    }

    #[test]
    fn the_follower_reads_them_back() {
        for masked in [None, Some([7, 0, 255, 1])] {
            let mut counters = Counters::default();
            let mut follower = FrameFollower::new(masked.is_some());
            follower.advance(&close_frame(4321, b"because", masked), &mut counters);
            assert_eq!((counters.close_code, counters.violations), (Some(4321), 0));
            assert!(follower.at_boundary() && follower.closed());
        }
    }
}
