//! What the pump needs to know of the frames in one direction, kept small: every tunnel has two of these.

use relais_io::Side;
use relais_websocket::{Counters, FrameFollower};

/// Follows the frames that one side sends.
pub(crate) struct Follow {
    follower: FrameFollower,
    messages: u64,
    close_code: Option<u16>,
    has_close: bool,
}

impl Follow {
    /// A follower at the beginning of the stream from `from`; a client's frames are masked (RFC 6455 section 5.1).
    pub(crate) fn new(from: Side) -> Self {
        Self {
            follower: FrameFollower::new(from == Side::Client),
            messages: 0,
            close_code: None,
            has_close: false,
        }
    }

    /// Takes the next bytes of the stream. Returns whether the first Close frame begins in them.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> bool {
        // Full counters would be the largest part of a tunnel; the few that are reported are summed up instead.
        let mut seen = Counters::default();
        self.follower.advance(bytes, &mut seen);
        self.messages += seen.messages();
        self.close_code = self.close_code.or(seen.close_code);
        let closes = seen.closes > 0 && !self.has_close;
        self.has_close |= closes;
        closes
    }

    /// Whether a Close frame of our own may come next: no frame is under way, and none was the last.
    pub(crate) fn takes_close(&self) -> bool {
        self.follower.at_boundary() && !self.has_close
    }

    /// Complete text and binary messages so far.
    pub(crate) const fn messages(&self) -> u64 {
        self.messages
    }

    /// The code of the first Close frame that had one.
    pub(crate) const fn close_code(&self) -> Option<u16> {
        self.close_code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text frame, a fragmented message with a ping inside, and a Close frame 1000, as an origin sends them.
    const STREAM: &[u8] = b"\x81\x02hi\x01\x01a\x89\x00\x80\x01b\x88\x02\x03\xe8";

    #[test]
    fn a_stream_in_slices_of_any_size() {
        for size in 1..=STREAM.len() {
            let mut follow = Follow::new(Side::Origin);
            let began = STREAM
                .chunks(size)
                .filter(|slice| follow.advance(slice))
                .count();
            assert_eq!(
                (began, follow.messages(), follow.close_code()),
                (1, 2, Some(1000)),
                "{size}"
            );
        }
    }

    #[test]
    fn a_close_may_be_put_between_frames_and_not_behind_another_close() {
        let may: Vec<usize> = (0..=STREAM.len())
            .filter(|end| {
                let mut follow = Follow::new(Side::Origin);
                follow.advance(&STREAM[..*end]);
                follow.takes_close()
            })
            .collect();
        assert_eq!(may, [0, 4, 7, 9, 12]);
    }

    #[test]
    fn a_clients_code_is_unmasked() {
        let mut follow = Follow::new(Side::Client);
        assert!(follow.advance(b"\x88\x82\x01\x02\x03\x04\x02\xeb"));
        assert_eq!(follow.close_code(), Some(0x03e9));
    }
}
