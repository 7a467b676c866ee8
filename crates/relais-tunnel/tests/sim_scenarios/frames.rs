//! Frames as peers send them, and a reader of them that shares no code with the follower.

use relais_io::sim::Random;

use crate::table::Scenario;

/// Frames of one direction, whole messages all of them unless the stream is cut, and how they are laid out.
pub(crate) fn frames(random: &mut Random, scenario: &Scenario, masked: bool) -> Vec<u8> {
    let (mut bytes, mut is_open) = (Vec::new(), false);
    for number in 0..scenario.frames {
        let is_ping = random.chance(10);
        let is_last = is_ping || random.chance(60) || number + 1 == scenario.frames;
        let most = scenario.payload as u64;
        let length = [0, 3.min(most), most.min(125), most.min(126), most];
        let length = if is_ping {
            5
        } else if scenario.is_full {
            scenario.payload
        } else {
            length[random.below(5) as usize] as usize
        };
        let opcode = match (is_ping, is_open) {
            (true, _) => 9,
            (false, true) => 0,
            (false, false) => 1 + random.below(2) as u8,
        };
        bytes.push(u8::from(is_last) << 7 | opcode);
        let mask = u8::from(masked) << 7;
        match length {
            0..126 => bytes.push(mask | length as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        let rest = length + usize::from(masked) * 4;
        bytes.extend(random.bytes(rest));
        if !is_ping {
            is_open = !is_last;
        }
    }
    bytes
}

/// What a reader makes of a stream: complete messages and pings, and where the last whole frame ends.
#[derive(Default, PartialEq, Debug)]
pub(crate) struct Seen {
    pub(crate) messages: u64,
    pub(crate) pings: u64,
    pub(crate) whole: usize,
}

/// Reads frames one after the other, in the plainest way.
pub(crate) fn read_frames(stream: &[u8]) -> Seen {
    let mut seen = Seen::default();
    loop {
        let rest = &stream[seen.whole..];
        let (Some(first), Some(second)) = (rest.first(), rest.get(1)) else {
            return seen;
        };
        let extended = match second & 127 {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(head) = rest.get(2..2 + extended) else {
            return seen;
        };
        let length = match extended {
            0 => usize::from(second & 127),
            _ => head
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        let end = 2 + extended + usize::from(second >> 7) * 4 + length;
        if rest.len() < end {
            return seen;
        }
        seen.whole += end;
        seen.messages += u64::from(first & 0x80 != 0 && first & 15 < 3);
        seen.pings += u64::from(first & 15 == 9);
    }
}

/// The bytes of `received` that are of `sent`, where `end` says how many there are; what is behind or between them must
/// be a frame that relais may write.
pub(crate) fn own_frames_removed(
    received: &[u8],
    delivered: usize,
    sent: &[u8],
    to_client: bool,
    name: &str,
) {
    let ping: &[u8] = if to_client { b"\x89\x00" } else { b"" };
    let (peer, own) = received.split_at(delivered.min(received.len()));
    if sent.starts_with(peer) && is_own(own, ping) {
        return;
    }
    // A Ping may stand between two frames of the peer.
    let at = sent
        .iter()
        .zip(received)
        .take_while(|(sent, got)| sent == got)
        .count();
    let around = at.saturating_sub(2)..=at;
    let fits = around.into_iter().any(|at| {
        let (front, back) = received.split_at(at);
        let back = back.strip_prefix(ping).unwrap_or(back);
        let (rest, own) = back.split_at((delivered - front.len()).min(back.len()));
        sent[front.len()..].starts_with(rest) && is_own(own, ping)
    });
    assert!(fits, "{name}: something came that nobody sent");
}

/// Nothing, or Pings and then a Close frame of relais' own.
fn is_own(bytes: &[u8], ping: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(behind) = rest.strip_prefix(ping).filter(|_| !ping.is_empty()) {
        rest = behind;
    }
    match rest {
        // The receiver was cut off within the frame.
        [] | [0x88] | [0x88, 0x82, ..] | [0x88, 0x02] | [0x88, 0x02, _] => rest.len() <= 8,
        [0x88, 0x02, high, low] => {
            [1001, 1002, 1008, 1009, 1011, 1012].contains(&u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    }
}
