//! What the pump needs to know of the frames in one direction: every tunnel has two of these.

use relais_io::Side;
use relais_websocket::{Counters, FrameFollower};

use crate::EndReason;

/// Follows the frames that one side sends.
#[derive(Clone, Copy)]
pub(crate) struct Follow {
    follower: FrameFollower,
    counters: Counters,
}

/// What a direction may carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Payload bytes of one frame.
    pub(crate) frame_size: u64,
    /// Payload bytes of one message.
    pub(crate) message_size: u64,
    /// Messages that may still begin.
    pub(crate) messages: u64,
    /// Whether a breach of the protocol is the end.
    pub(crate) strict: bool,
    /// Whether to go no further than the end of the message under way.
    pub(crate) to_message_end: bool,
}

impl Rules {
    /// Everything is passed on.
    #[cfg(test)]
    const NONE: Self = Self {
        frame_size: u64::MAX,
        message_size: u64::MAX,
        messages: u64::MAX,
        strict: false,
        to_message_end: false,
    };

    const fn watches(&self) -> bool {
        self.frame_size != u64::MAX
            || self.message_size != u64::MAX
            || self.messages != u64::MAX
            || self.strict
    }
}

/// How far a slice may be passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Bytes from the front of the slice.
    pub(crate) bytes: usize,
    /// Why no more.
    pub(crate) hit: Option<EndReason>,
    /// Whether the first Close frame begins in them.
    pub(crate) closes: bool,
    /// Messages that begin in them.
    pub(crate) began: u64,
}

impl Follow {
    /// A follower at the beginning of the stream from `from`; a client's frames are masked (RFC 6455 section 5.1).
    /// `compressed` allows the reserved bit of RFC 7692.
    pub(crate) fn new(from: Side, compressed: bool) -> Self {
        let follower = FrameFollower::new(from == Side::Client);
        Self {
            follower: if compressed {
                follower.allow_rsv1()
            } else {
                follower
            },
            counters: Counters::default(),
        }
    }

    /// Takes the next bytes of the stream as far as `rules` allow. What is not passed on is not counted, but for a
    /// breach of the protocol.
    pub(crate) fn advance(&mut self, bytes: &[u8], rules: &Rules) -> Passed {
        let closed = self.has_close();
        let mut passed = if rules.watches() || rules.to_message_end {
            self.advance_watched(bytes, rules)
        } else {
            self.follower.advance(bytes, &mut self.counters);
            Passed {
                bytes: bytes.len(),
                ..Passed::default()
            }
        };
        passed.closes = !closed && self.has_close();
        passed
    }

    fn advance_watched(&mut self, bytes: &[u8], rules: &Rules) -> Passed {
        let mut passed = Passed::default();
        // The stream as it was where the frame under way began, if that is within the slice.
        let mut before = (0, *self);
        while passed.bytes < bytes.len() {
            if rules.to_message_end && self.at_message_end() {
                return passed;
            }
            if self.follower.at_boundary() {
                before = (passed.bytes, *self);
            }
            let in_head = self.follower.payload_remaining() == 0;
            let rest = bytes.get(passed.bytes..).unwrap_or_default();
            let taken = self.follower.step(rest, &mut self.counters);
            let began = in_head && self.head_is_over() && matches!(self.follower.opcode(), 1 | 2);
            let breach = self.counters.violations != before.1.counters.violations;
            let hit = self.judge(rules, passed.began + u64::from(began), in_head, breach);
            if hit.is_some() {
                let violations = self.counters.violations;
                *self = before.1;
                self.counters.violations = violations;
                return Passed {
                    bytes: before.0,
                    hit,
                    ..passed
                };
            }
            passed.began += u64::from(began);
            passed.bytes += taken;
        }
        passed
    }

    fn judge(&self, rules: &Rules, began: u64, in_head: bool, breach: bool) -> Option<EndReason> {
        if rules.strict && breach {
            return Some(EndReason::ProtocolError);
        }
        if !in_head || !self.head_is_over() {
            return None;
        }
        let left = self.follower.payload_remaining();
        let is_data = self.follower.opcode() < 3;
        if is_data && left > rules.frame_size {
            return Some(EndReason::FrameSize);
        }
        if is_data && self.counters.message_bytes.saturating_add(left) > rules.message_size {
            return Some(EndReason::MessageSize);
        }
        (began > rules.messages).then_some(EndReason::MessageRate)
    }

    /// Whether the last byte taken was not within a frame head.
    fn head_is_over(&self) -> bool {
        self.follower.at_boundary() || self.follower.payload_remaining() > 0
    }

    /// Notes payload that goes by unseen; no more than [`Follow::payload_left`].
    pub(crate) fn skip(&mut self, count: u64) {
        self.follower.skip_payload(count, &mut self.counters);
    }

    /// Payload bytes to come of a message's frame under way.
    pub(crate) fn payload_left(&self) -> u64 {
        if self.follower.opcode() < 3 {
            self.follower.payload_remaining()
        } else {
            0
        }
    }

    /// Whether a frame of our own may come next: no frame is under way, and none was the last.
    pub(crate) fn takes_frame(&self) -> bool {
        self.follower.at_boundary() && !self.has_close()
    }

    /// Whether no message is under way, or the boundaries are lost so that waiting for one is no use.
    pub(crate) fn at_message_end(&self) -> bool {
        self.follower.at_boundary() && !self.follower.in_fragmented_message()
            || self.follower.lost()
            || self.has_close()
    }

    /// Complete text and binary messages so far.
    pub(crate) const fn messages(&self) -> u64 {
        self.counters.messages()
    }

    /// Everything seen.
    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The code of the first Close frame that had one.
    pub(crate) const fn close_code(&self) -> Option<u16> {
        self.counters.close_code
    }

    /// Whether a Close frame has begun.
    pub(crate) const fn has_close(&self) -> bool {
        self.counters.closes > 0
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
            let mut follow = Follow::new(Side::Origin, false);
            let began = STREAM
                .chunks(size)
                .filter(|slice| follow.advance(slice, &Rules::NONE).closes)
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
        let ends = |good: fn(&Follow) -> bool| -> Vec<usize> {
            (0..=STREAM.len())
                .filter(|end| {
                    let mut follow = Follow::new(Side::Origin, false);
                    follow.advance(&STREAM[..*end], &Rules::NONE);
                    good(&follow)
                })
                .collect()
        };
        assert_eq!(ends(Follow::takes_frame), [0, 4, 7, 9, 12]);
        assert_eq!(ends(Follow::at_message_end), [0, 4, 12, 14, 15, 16]);
    }

    #[test]
    fn a_clients_code_is_unmasked() {
        let mut follow = Follow::new(Side::Client, false);
        let passed = follow.advance(b"\x88\x82\x01\x02\x03\x04\x02\xeb", &Rules::NONE);
        assert!(passed.closes);
        assert_eq!(follow.close_code(), Some(0x03e9));
    }

    #[test]
    fn limits_stop_in_front_of_the_frame() {
        let none = Rules::NONE;
        let reserved = b"\x81\x01a\xc1\x01b";
        for (stream, rules, bytes, hit) in [
            (STREAM, none, 16, None),
            (
                STREAM,
                Rules {
                    frame_size: 1,
                    ..none
                },
                0,
                Some(EndReason::FrameSize),
            ),
            (
                STREAM,
                Rules {
                    frame_size: 2,
                    ..none
                },
                16,
                None,
            ),
            (
                STREAM,
                Rules {
                    message_size: 1,
                    ..none
                },
                0,
                Some(EndReason::MessageSize),
            ),
            (
                &STREAM[4..],
                Rules {
                    message_size: 1,
                    ..none
                },
                5,
                Some(EndReason::MessageSize),
            ),
            (
                STREAM,
                Rules {
                    messages: 1,
                    ..none
                },
                4,
                Some(EndReason::MessageRate),
            ),
            (
                STREAM,
                Rules {
                    messages: 2,
                    ..none
                },
                16,
                None,
            ),
            (
                STREAM,
                Rules {
                    strict: true,
                    ..none
                },
                16,
                None,
            ),
            (
                reserved,
                Rules {
                    strict: true,
                    ..none
                },
                3,
                Some(EndReason::ProtocolError),
            ),
            (
                &STREAM[4..],
                Rules {
                    to_message_end: true,
                    ..none
                },
                0,
                None,
            ),
        ] {
            let mut follow = Follow::new(Side::Origin, false);
            let passed = follow.advance(stream, &rules);
            assert_eq!((passed.bytes, passed.hit), (bytes, hit), "{rules:?}");
            assert!(hit.is_none() || follow.takes_frame(), "{rules:?}");
        }
        let mut follow = Follow::new(Side::Origin, true);
        let strict = Rules {
            strict: true,
            ..none
        };
        assert_eq!(follow.advance(reserved, &strict).hit, None, "negotiated");
    }

    #[test]
    fn a_message_under_way_is_passed_on_to_its_end() {
        let rules = Rules {
            to_message_end: true,
            ..Rules::NONE
        };
        for (at, bytes) in [(1, 3), (5, 7), (7, 5), (8, 4), (12, 0)] {
            let mut follow = Follow::new(Side::Origin, false);
            follow.advance(&STREAM[..at], &Rules::NONE);
            assert_eq!(follow.advance(&STREAM[at..], &rules).bytes, bytes, "{at}");
        }
    }
}
