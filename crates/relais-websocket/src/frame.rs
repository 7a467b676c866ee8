//! Following the frame boundaries of one direction (RFC 6455 §5.2).

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASK: u8 = 0x80;
/// Longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_MAX: u64 = 125;

/// Follows the frames of one direction of a tunnel over arbitrary slices. It looks at frame heads and at the code of a
/// Close frame and skips everything else, so its cost goes with the number of frames and slices.
///
/// What breaks the protocol is counted and followed as well as it can be; only a length of 2^63 or more ends the
/// following, since no later boundary can be believed then.
#[derive(Clone, Copy, Debug)]
pub struct FrameFollower {
    /// Payload bytes to come, or the length as far as it has been read.
    left: u64,
    mask: [u8; 4],
    /// The close code as far as it has been read.
    code: u16,
    stage: Stage,
    /// First byte of the frame head.
    first: u8,
    /// Opcode of the message under way if some of its frames are still to come, else 0.
    message: u8,
    flags: Flags,
}

/// Which byte comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    First,
    Second,
    /// Bytes of the extended length to come, this one included, and whether the length has 8 bytes.
    Length(u8, bool),
    /// Bytes of the masking key to come.
    Mask(u8),
    /// Bytes of the close code to come; 0 if the payload has none of interest.
    Payload(u8),
    Lost,
}

/// Flags in one byte, to keep the follower small.
#[derive(Clone, Copy, Debug)]
struct Flags(u8);

impl Flags {
    const MASK_EXPECTED: u8 = 1;
    const MASKED: u8 = 2;
    const RSV1_ALLOWED: u8 = 4;
    const CLOSED: u8 = 8;

    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    const fn put(&mut self, flag: u8, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }
}

/// What one kind of message came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames whose head was seen, continuations included.
    pub frames: u64,
    /// Messages seen to their end.
    pub messages: u64,
    /// Payload bytes.
    pub bytes: u64,
}

/// What was seen in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Text messages.
    pub text: Tally,
    /// Binary messages.
    pub binary: Tally,
    /// Ping frames.
    pub pings: u32,
    /// Pong frames.
    pub pongs: u32,
    /// Close frames.
    pub closes: u32,
    /// Breaches of the protocol.
    pub violations: u32,
    /// Payload bytes of control frames and of frames with an unknown opcode.
    pub control_bytes: u64,
    /// Payload bytes of the message under way, for a limit on message size. While bytes are passed on it counts those
    /// that have arrived, and [`FrameFollower::payload_remaining`] what its frame has announced.
    pub message_bytes: u64,
    /// Code of the first Close frame that had one.
    pub close_code: Option<u16>,
}

impl Counters {
    /// All frames.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.text.frames
            + self.binary.frames
            + self.pings as u64
            + self.pongs as u64
            + self.closes as u64
    }

    /// All messages seen to their end.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.text.messages + self.binary.messages
    }

    /// Notes a breach.
    const fn violation(&mut self) {
        self.violations = self.violations.saturating_add(1);
    }
}

impl FrameFollower {
    /// A follower at the start of a stream whose frames are masked, as a client's are, or not, as an origin's are.
    #[must_use]
    pub const fn new(masked: bool) -> Self {
        let flags = Flags(if masked { Flags::MASK_EXPECTED } else { 0 });
        Self {
            left: 0,
            mask: [0; 4],
            code: 0,
            stage: Stage::First,
            first: 0,
            message: 0,
            flags,
        }
    }

    /// The same, for a tunnel where an extension that uses the first reserved bit was agreed on (RFC 7692).
    #[must_use]
    pub const fn allow_rsv1(mut self) -> Self {
        self.flags.put(Flags::RSV1_ALLOWED, true);
        self
    }

    /// Whether the stream stands between two frames, where a control frame may be put in.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.stage == Stage::First
    }

    /// Whether frames of the message under way are still to come.
    #[must_use]
    pub const fn in_fragmented_message(&self) -> bool {
        self.message != 0
    }

    /// Payload bytes that are still to come of the frame under way; 0 within a frame head.
    #[must_use]
    pub const fn payload_remaining(&self) -> u64 {
        if matches!(self.stage, Stage::Payload(_)) {
            self.left
        } else {
            0
        }
    }

    /// Whether a Close frame has been seen whole, after which no other frame may come.
    #[must_use]
    pub const fn closed(&self) -> bool {
        self.flags.has(Flags::CLOSED) && !matches!(self.stage, Stage::Payload(_))
    }

    /// Whether the boundaries are no longer known.
    #[must_use]
    pub fn lost(&self) -> bool {
        self.stage == Stage::Lost
    }

    /// Takes the next bytes of the stream.
    pub fn advance(&mut self, bytes: &[u8], sink: &mut Counters) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.step(rest, sink);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// Takes bytes up to the end of a frame head or of a frame, whichever comes first, and returns how many: all of
    /// them when neither is among them.
    pub fn step(&mut self, bytes: &[u8], sink: &mut Counters) -> usize {
        let mut taken = 0;
        while let Some(byte) = bytes.get(taken) {
            match self.stage {
                Stage::Lost => return bytes.len(),
                Stage::Payload(0) => {
                    // No more than the slice has is skipped, so this is in range.
                    return taken + self.skip_payload((bytes.len() - taken) as u64, sink) as usize;
                }
                _ => self.take_byte(*byte, sink),
            }
            taken += 1;
            if matches!(self.stage, Stage::First | Stage::Payload(0 | 2)) {
                return taken;
            }
        }
        taken
    }

    /// The opcode of the frame whose head was taken last.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        self.first & OPCODE
    }

    /// Notes that up to `len` payload bytes passed by another way, and returns how many that were: no more than
    /// [`FrameFollower::payload_remaining`]. The code of a Close frame is missed if it was among them.
    pub fn skip_payload(&mut self, len: u64, sink: &mut Counters) -> u64 {
        let Stage::Payload(_) = self.stage else {
            return 0;
        };
        let skipped = self.left.min(len);
        self.stage = Stage::Payload(0);
        self.count_payload(skipped, sink);
        skipped
    }

    fn take_byte(&mut self, byte: u8, sink: &mut Counters) {
        match self.stage {
            Stage::First => self.take_first(byte, sink),
            Stage::Second => self.take_second(byte, sink),
            Stage::Length(more, is_long) => self.take_length(byte, more, is_long, sink),
            Stage::Mask(more) => self.take_mask(byte, more, sink),
            Stage::Payload(more) => self.take_code(byte, more, sink),
            Stage::Lost => {}
        }
    }

    fn take_first(&mut self, byte: u8, sink: &mut Counters) {
        self.first = byte;
        self.stage = Stage::Second;
        let allowed = if self.flags.has(Flags::RSV1_ALLOWED) && is_first_of_message(byte) {
            RSV1
        } else {
            0
        };
        if byte & RSV & !allowed != 0 || self.flags.has(Flags::CLOSED) {
            sink.violation();
        }
        match (byte & OPCODE, self.message) {
            (CONTINUATION, 0) => sink.violation(),
            (TEXT | BINARY, CONTINUATION) => {}
            // A new message within another, of which no end will come.
            (TEXT | BINARY, _) => {
                sink.violation();
                sink.message_bytes = 0;
            }
            (CLOSE | PING | PONG, _) if byte & FIN == 0 => sink.violation(),
            (CONTINUATION | CLOSE | PING | PONG, _) => {}
            _ => sink.violation(),
        }
    }

    fn take_second(&mut self, byte: u8, sink: &mut Counters) {
        let masked = byte & MASK != 0;
        self.flags.put(Flags::MASKED, masked);
        if masked != self.flags.has(Flags::MASK_EXPECTED) {
            sink.violation();
        }
        self.left = 0;
        match byte & !MASK {
            126 => self.stage = Stage::Length(2, false),
            127 => self.stage = Stage::Length(8, true),
            len => {
                self.left = u64::from(len);
                self.end_length(sink);
            }
        }
    }

    fn take_length(&mut self, byte: u8, more: u8, is_long: bool, sink: &mut Counters) {
        self.left = self.left << 8 | u64::from(byte);
        if more > 1 {
            self.stage = Stage::Length(more - 1, is_long);
            return;
        }
        if self.left > i64::MAX as u64 {
            sink.violation();
            self.stage = Stage::Lost;
            return;
        }
        // RFC 6455 §5.2: the minimal number of bytes must be used.
        let minimum = if is_long { 0x1_0000 } else { 126 };
        if self.left < minimum {
            sink.violation();
        }
        self.end_length(sink);
    }

    fn end_length(&mut self, sink: &mut Counters) {
        if self.first & 0x08 != 0 && self.left > CONTROL_MAX {
            sink.violation();
        }
        if self.flags.has(Flags::MASKED) {
            self.stage = Stage::Mask(4);
        } else {
            self.end_head(sink);
        }
    }

    fn take_mask(&mut self, byte: u8, more: u8, sink: &mut Counters) {
        let [_, second, third, fourth] = self.mask;
        self.mask = [second, third, fourth, byte];
        if more > 1 {
            self.stage = Stage::Mask(more - 1);
        } else {
            self.end_head(sink);
        }
    }

    /// Counts the frame whose head has been read, and starts its payload.
    fn end_head(&mut self, sink: &mut Counters) {
        let opcode = self.first & OPCODE;
        let mut code_bytes = 0;
        match opcode {
            TEXT | BINARY => self.message = opcode,
            CLOSE => {
                sink.closes = sink.closes.saturating_add(1);
                self.flags.put(Flags::CLOSED, true);
                match self.left {
                    0 => {}
                    1 => sink.violation(),
                    _ => code_bytes = 2,
                }
            }
            PING => sink.pings = sink.pings.saturating_add(1),
            PONG => sink.pongs = sink.pongs.saturating_add(1),
            _ => {}
        }
        if let Some(tally) = self.tally(sink) {
            tally.frames += 1;
        }
        self.code = 0;
        self.stage = Stage::Payload(code_bytes);
        self.count_payload(0, sink);
    }

    fn take_code(&mut self, byte: u8, more: u8, sink: &mut Counters) {
        let [first, second, ..] = self.mask;
        let mask = match (self.flags.has(Flags::MASKED), more) {
            (false, _) => 0,
            (true, 2) => first,
            (true, _) => second,
        };
        self.code = self.code << 8 | u16::from(byte ^ mask);
        self.stage = Stage::Payload(more.saturating_sub(1));
        if more == 1 {
            sink.close_code = sink.close_code.or(Some(self.code));
        }
        self.count_payload(1, sink);
    }

    /// Counts `len` bytes of payload and ends the frame if they were the last.
    fn count_payload(&mut self, len: u64, sink: &mut Counters) {
        self.left -= len;
        let ended = self.left == 0;
        match self.tally(sink) {
            Some(tally) => {
                tally.bytes += len;
                let message_ended = ended && self.first & FIN != 0;
                tally.messages += u64::from(message_ended);
                sink.message_bytes = if message_ended {
                    0
                } else {
                    sink.message_bytes.saturating_add(len)
                };
                if message_ended {
                    self.message = 0;
                }
            }
            None => sink.control_bytes += len,
        }
        if ended {
            self.stage = Stage::First;
        }
    }

    /// The tally of the message that the frame under way belongs to, if it is one of a message.
    const fn tally<'a>(&self, sink: &'a mut Counters) -> Option<&'a mut Tally> {
        match (self.first & OPCODE, self.message) {
            (CONTINUATION | TEXT | BINARY, TEXT) => Some(&mut sink.text),
            (CONTINUATION | TEXT | BINARY, BINARY) => Some(&mut sink.binary),
            _ => None,
        }
    }
}

/// Whether a frame with this first byte begins a message; only there does RFC 7692 allow its bit.
const fn is_first_of_message(first: u8) -> bool {
    matches!(first & OPCODE, TEXT | BINARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the tables below look at, in one word each.
    fn follow(
        follower: FrameFollower,
        bytes: &[u8],
        cuts: impl Iterator<Item = usize>,
    ) -> (Counters, FrameFollower) {
        let (mut follower, mut counters, mut rest) = (follower, Counters::default(), bytes);
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            follower.advance(now, &mut counters);
            rest = later;
        }
        follower.advance(rest, &mut counters);
        (counters, follower)
    }

    fn tally(frames: u64, messages: u64, bytes: u64) -> Tally {
        Tally {
            frames,
            messages,
            bytes,
        }
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<FrameFollower>() <= 24);
        assert!(size_of::<Counters>() <= 88);
    }

    #[test]
    fn origin_streams() {
        let none = Counters::default();
        let long = |head: &[u8], len: usize| [head, &vec![b'x'; len]].concat();
        let table: Vec<(Vec<u8>, Counters)> = vec![
            (
                b"\x81\x05Hello".to_vec(),
                Counters {
                    text: tally(1, 1, 5),
                    ..none
                },
            ),
            (
                b"\x81\x00".to_vec(),
                Counters {
                    text: tally(1, 1, 0),
                    ..none
                },
            ),
            (
                b"\x01\x03Hel\x80\x02lo".to_vec(),
                Counters {
                    text: tally(2, 1, 5),
                    ..none
                },
            ),
            (
                b"\x02\x01a\x89\x01p\x00\x01b\x8a\x00\x80\x00".to_vec(),
                Counters {
                    binary: tally(3, 1, 2),
                    pings: 1,
                    pongs: 1,
                    control_bytes: 1,
                    ..none
                },
            ),
            (
                b"\x01\x03Hel".to_vec(),
                Counters {
                    text: tally(1, 0, 3),
                    message_bytes: 3,
                    ..none
                },
            ),
            (
                b"\x81\x05Hel".to_vec(),
                Counters {
                    text: tally(1, 0, 3),
                    message_bytes: 3,
                    ..none
                },
            ),
            (
                long(b"\x82\x7e\x01\x00", 256),
                Counters {
                    binary: tally(1, 1, 256),
                    ..none
                },
            ),
            (
                long(b"\x82\x7f\0\0\0\0\0\x01\0\0", 65536),
                Counters {
                    binary: tally(1, 1, 65536),
                    ..none
                },
            ),
            (
                b"\x88\x02\x03\xe8".to_vec(),
                Counters {
                    closes: 1,
                    close_code: Some(1000),
                    control_bytes: 2,
                    ..none
                },
            ),
            (
                b"\x88\x06\x03\xe9gone".to_vec(),
                Counters {
                    closes: 1,
                    close_code: Some(1001),
                    control_bytes: 6,
                    ..none
                },
            ),
            (b"\x88\x00".to_vec(), Counters { closes: 1, ..none }),
            // What follows breaks the protocol.
            (
                b"\x88\x01\x03".to_vec(),
                Counters {
                    closes: 1,
                    control_bytes: 1,
                    violations: 1,
                    ..none
                },
            ),
            (
                b"\x88\x00\x81\x01a".to_vec(),
                Counters {
                    closes: 1,
                    text: tally(1, 1, 1),
                    violations: 1,
                    ..none
                },
            ),
            (
                b"\xc1\x01a".to_vec(),
                Counters {
                    text: tally(1, 1, 1),
                    violations: 1,
                    ..none
                },
            ),
            (
                b"\x83\x01a\x81\x01a".to_vec(),
                Counters {
                    text: tally(1, 1, 1),
                    control_bytes: 1,
                    violations: 1,
                    ..none
                },
            ),
            (
                b"\x8b\x00\x81\x01a".to_vec(),
                Counters {
                    text: tally(1, 1, 1),
                    violations: 1,
                    ..none
                },
            ),
            (
                b"\x80\x01a".to_vec(),
                Counters {
                    control_bytes: 1,
                    violations: 1,
                    ..none
                },
            ),
            (
                b"\x01\x01a\x82\x01b".to_vec(),
                Counters {
                    text: tally(1, 0, 1),
                    binary: tally(1, 1, 1),
                    violations: 1,
                    ..none
                },
            ),
            (
                b"\x09\x00".to_vec(),
                Counters {
                    pings: 1,
                    violations: 1,
                    ..none
                },
            ),
            (
                long(b"\x89\x7e\x00\x7e", 126),
                Counters {
                    pings: 1,
                    control_bytes: 126,
                    violations: 1,
                    ..none
                },
            ),
            (
                b"\x82\x7e\x00\x01a".to_vec(),
                Counters {
                    binary: tally(1, 1, 1),
                    violations: 1,
                    ..none
                },
            ),
            (
                b"\x82\x7f\0\0\0\0\0\0\0\x01a".to_vec(),
                Counters {
                    binary: tally(1, 1, 1),
                    violations: 1,
                    ..none
                },
            ),
            (
                b"\x82\x81\x01\x02\x03\x04a".to_vec(),
                Counters {
                    binary: tally(1, 1, 1),
                    violations: 1,
                    ..none
                },
            ),
            (
                b"\x82\x7f\x80\0\0\0\0\0\0\x01a\x81\x01a".to_vec(),
                Counters {
                    violations: 1,
                    ..none
                },
            ),
        ];
        for (bytes, expected) in table {
            let (found, _) = follow(FrameFollower::new(false), &bytes, std::iter::empty());
            assert_eq!(found, expected, "{:.60}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn client_streams() {
        let none = Counters::default();
        for (bytes, expected) in [
            (
                &b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"[..],
                Counters {
                    text: tally(1, 1, 5),
                    ..none
                },
            ),
            (
                b"\x88\x82\x01\x02\x03\x04\x02\xea",
                Counters {
                    closes: 1,
                    close_code: Some(1000),
                    control_bytes: 2,
                    ..none
                },
            ),
            (b"\x89\x80\x01\x02\x03\x04", Counters { pings: 1, ..none }),
            (
                b"\x81\x01a",
                Counters {
                    text: tally(1, 1, 1),
                    violations: 1,
                    ..none
                },
            ),
        ] {
            let (found, follower) = follow(FrameFollower::new(true), bytes, std::iter::empty());
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
            assert!(follower.at_boundary());
        }
    }

    #[test]
    fn the_first_reserved_bit_belongs_to_the_first_frame_of_a_message() {
        for (bytes, violations) in [
            (&b"\xc1\x01a"[..], 0),
            (b"\x41\x01a\xc0\x01a", 1),
            (b"\xc9\x00", 1),
            (b"\xa1\x01a", 1),
        ] {
            let (found, _) = follow(
                FrameFollower::new(false).allow_rsv1(),
                bytes,
                std::iter::empty(),
            );
            assert_eq!(found.violations, violations, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn where_the_stream_stands() {
        // Bytes so far; at a boundary, within a fragmented message, payload to come, closed, lost.
        for (bytes, expected) in [
            (&b""[..], (true, false, 0, false, false)),
            (b"\x81", (false, false, 0, false, false)),
            (b"\x81\x05", (false, true, 5, false, false)),
            (b"\x81\x05He", (false, true, 3, false, false)),
            (b"\x81\x05Hello", (true, false, 0, false, false)),
            (b"\x01\x01a", (true, true, 0, false, false)),
            (b"\x01\x01a\x89", (false, true, 0, false, false)),
            (b"\x01\x01a\x89\x00", (true, true, 0, false, false)),
            (b"\x82\x7e\x01", (false, false, 0, false, false)),
            (
                b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
                (false, true, i64::MAX as u64, false, false),
            ),
            (
                b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff\x00",
                (false, false, 0, false, true),
            ),
            (b"\x88\x02\x03", (false, false, 1, false, false)),
            (b"\x88\x02\x03\xe8", (true, false, 0, true, false)),
        ] {
            let (_, f) = follow(FrameFollower::new(false), bytes, std::iter::empty());
            let found = (
                f.at_boundary(),
                f.in_fragmented_message(),
                f.payload_remaining(),
                f.closed(),
                f.lost(),
            );
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn skipped_payload_counts_like_seen_payload() {
        let (mut counters, mut follower) = follow(
            FrameFollower::new(false),
            b"\x82\x7e\x01\x00ab",
            std::iter::empty(),
        );
        assert_eq!(follower.skip_payload(200, &mut counters), 200);
        assert_eq!(
            (follower.payload_remaining(), counters.message_bytes),
            (54, 202)
        );
        assert_eq!(follower.skip_payload(200, &mut counters), 54);
        assert_eq!(follower.skip_payload(200, &mut counters), 0);
        assert_eq!(
            counters,
            Counters {
                binary: tally(1, 1, 256),
                ..Counters::default()
            }
        );
    }

    #[test]
    fn slices_do_not_matter_and_nothing_panics() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for round in 0..3000 {
            let mut bytes = Vec::new();
            for _ in 0..next(12) {
                let opcode =
                    [0x81, 0x01, 0x80, 0x00, 0x82, 0x89, 0x8a, 0x88, 0xc1, 0x8f][next(10) as usize];
                let len = next(200);
                bytes.push(opcode);
                match (next(8), u8::try_from(len)) {
                    (0, _) => {
                        bytes.extend([&[255][..], &len.to_be_bytes(), &[1, 2, 3, 4]].concat())
                    }
                    (_, Ok(short @ 0..126)) => bytes.extend([0x80 | short, 9, 8, 7, 6]),
                    _ => bytes
                        .extend([&[254][..], &(len as u16).to_be_bytes(), &[1, 2, 3, 4]].concat()),
                }
                bytes.extend((0..len).map(|_| next(256) as u8));
            }
            // Every other stream is damaged in one place.
            if let (1, Some(byte)) = (
                round % 2,
                bytes.first().map(|_| next(bytes.len() as u64) as usize),
            ) {
                bytes[byte] = next(256) as u8;
            }
            let (whole, at) = follow(FrameFollower::new(true), &bytes, std::iter::empty());
            let cuts: Vec<usize> = (0..bytes.len()).map(|_| 1 + next(9) as usize).collect();
            for (split, end) in [
                follow(
                    FrameFollower::new(true),
                    &bytes,
                    std::iter::repeat_n(1, bytes.len()),
                ),
                follow(FrameFollower::new(true), &bytes, cuts.into_iter()),
            ] {
                assert_eq!(split, whole, "{}", bytes.escape_ascii());
                assert_eq!(
                    (end.stage, end.left, end.message),
                    (at.stage, at.left, at.message)
                );
            }
            assert!(round % 2 == 1 || !at.lost());
        }
    }
}
