//! WebSocket tunnels in a rude network that relais ends: a Close frame stands between two frames or not at all.

mod support;

use std::time::Duration;

use relais_io::Io as _;
use relais_io::sim::{Arrival, Plan, Random, Sim, Then};
use relais_tunnel::{EndReason, Engine, Settings, TunnelEnd, TunnelLimits};
use support::{Ends, handoff};

const SEEDS: u64 = 300;

/// Frames of one direction.
struct Frames {
    bytes: Vec<u8>,
    /// Where frames end, and how many messages are complete there; the beginning of the stream is one.
    ends: Vec<(usize, u64)>,
}

impl Frames {
    fn new(random: &mut Random, count: u64, masked: bool) -> Self {
        let mut frames = Self {
            bytes: Vec::new(),
            ends: vec![(0, 0)],
        };
        let (mut messages, mut is_open) = (0, false);
        for _ in 0..count {
            let is_ping = random.chance(10);
            let is_last = is_ping || random.chance(70);
            let opcode = if is_ping {
                9
            } else {
                u8::from(!is_open) * (1 + random.below(2) as u8)
            };
            let length = if is_ping {
                5
            } else {
                [0, 3, 125, 126, 400][random.below(5) as usize]
            };
            frames.push(random, u8::from(is_last) << 7 | opcode, length, masked);
            if !is_ping {
                messages += u64::from(is_last);
                is_open = !is_last;
            }
            frames.ends.push((frames.bytes.len(), messages));
        }
        frames
    }

    fn push(&mut self, random: &mut Random, first: u8, length: usize, masked: bool) {
        self.bytes.push(first);
        let mask = u8::from(masked) << 7;
        if length < 126 {
            self.bytes.push(mask | length as u8);
        } else {
            self.bytes.push(mask | 126);
            self.bytes.extend((length as u16).to_be_bytes());
        }
        let key_and_payload = length + usize::from(masked) * 4;
        self.bytes.extend(random.bytes(key_and_payload));
    }

    /// Checks what a peer received of these frames, and returns how many bytes and messages of them that was.
    fn check(&self, received: &[u8], masked: bool, seed: u64) -> (u64, u64) {
        let same = self
            .bytes
            .iter()
            .zip(received)
            .take_while(|(sent, got)| sent == got)
            .count();
        // The Close frame may begin like the frame that would have come next.
        let whole = self
            .ends
            .iter()
            .rfind(|(end, _)| *end <= same && received.len() != *end);
        if let Some((end, messages)) = whole.filter(|(end, _)| is_close(&received[*end..], masked))
        {
            return (*end as u64, *messages);
        }
        assert_eq!(
            received.len(),
            same,
            "seed {seed}: something came that nobody sent"
        );
        let (end, messages) = self.ends.iter().rfind(|(end, _)| *end <= same).unwrap();
        assert!(
            *end < same,
            "seed {seed}: no Close although no frame was under way"
        );
        (same as u64, *messages)
    }
}

fn is_close(bytes: &[u8], masked: bool) -> bool {
    match (masked, bytes) {
        (false, frame) => frame == b"\x88\x02\x03\xe9",
        (true, [0x88, 0x82, a, b, _, _, high, low]) => [a ^ high, b ^ low] == [0x03, 0xe9],
        _ => false,
    }
}

/// A tunnel between peers that send these frames, in an engine of its own.
fn tunnel(
    seed: u64,
    frames: &[Frames; 2],
    then: Then,
    takes: bool,
    idle: Option<Duration>,
    linger: Duration,
) -> (Engine<Sim>, Ends) {
    let settings = Settings {
        read_buffer: 1 << (seed % 12),
        linger,
        ..Settings::default()
    };
    let mut engine = Engine::new(Sim::new(seed), &settings);
    let plan = |frames: &Frames| Plan {
        sends: frames.bytes.clone(),
        then,
        takes,
    };
    let client = engine.io().connect(plan(&frames[0]));
    let origin = engine.io().connect(plan(&frames[1]));
    let ends = Ends::default();
    let limits = TunnelLimits {
        idle,
        ..TunnelLimits::default()
    };
    engine.adopt(handoff(client, origin, limits, ends.label(0)));
    (engine, ends)
}

/// Turns the engine until its tunnel has ended and everything has arrived.
fn finish(mut engine: Engine<Sim>, ends: &Ends, seed: u64) -> (TunnelEnd, Engine<Sim>) {
    while engine.open() > 0 {
        engine.turn().unwrap();
        assert!(!engine.io().is_stuck(), "seed {seed}");
    }
    let mut events = Vec::new();
    while !engine.io().is_stuck() {
        engine.io().wait(&mut events, None).unwrap();
    }
    let (_, end) = ends.wait(1).remove(0);
    (end, engine)
}

fn two_streams(seed: u64) -> ([Frames; 2], Random) {
    let mut random = Random::new(seed ^ 0xf0a3);
    let counts = [random.below(30), random.below(30)];
    let frames = [
        Frames::new(&mut random, counts[0], true),
        Frames::new(&mut random, counts[1], false),
    ];
    (frames, random)
}

#[test]
fn stopping_says_goodbye_between_frames_only() {
    let mut goodbyes = [0; 2];
    for seed in 0..SEEDS {
        let (frames, mut random) = two_streams(seed);
        let (mut engine, ends) =
            tunnel(seed, &frames, Then::EndAfterEnd, true, None, Duration::MAX);
        for _ in 0..random.below(60) {
            engine.turn().unwrap();
        }
        assert_eq!(engine.stop(Duration::from_secs(3600)), 1);
        let (end, mut engine) = finish(engine, &ends, seed);
        let to_origin = frames[0].check(engine.io().received(1), true, seed);
        let to_client = frames[1].check(engine.io().received(0), false, seed);
        let said = [1, 0].map(|number| engine.io().received(number).len())
            != [to_origin.0 as usize, to_client.0 as usize];
        let told = said.then_some(1001);
        let traffic = [
            (end.client_to_origin, end.messages_to_origin),
            (end.origin_to_client, end.messages_to_client),
        ];
        assert_eq!(traffic, [to_origin, to_client], "seed {seed}");
        assert_eq!(
            (end.reason, end.close_code),
            (EndReason::Stopped, told),
            "seed {seed}"
        );
        assert_eq!(
            [0, 1].map(|number| engine.io().arrival(number)),
            [Arrival::Ended; 2],
            "seed {seed}"
        );
        goodbyes[usize::from(to_client.0 as usize + 4 == engine.io().received(0).len())] += 1;
    }
    // A message under way is waited for, so that a Close is missing only where its sender never finished it.
    assert!(goodbyes[1] > SEEDS * 9 / 10, "{goodbyes:?}");
}

#[test]
fn silence_ends_a_tunnel_after_everything_went_through() {
    for seed in 0..SEEDS {
        let (frames, _) = two_streams(seed);
        let idle = Duration::from_millis(150);
        let (engine, ends) = tunnel(
            seed,
            &frames,
            Then::Stay,
            true,
            Some(idle),
            Duration::from_secs(1),
        );
        let (end, mut engine) = finish(engine, &ends, seed);
        assert_eq!(end.reason, EndReason::Idle, "seed {seed}");
        assert!(end.duration >= idle, "seed {seed}");
        for (frames, to, masked) in [(&frames[0], 1, true), (&frames[1], 0, false)] {
            let (bytes, _) = frames.check(engine.io().received(to), masked, seed);
            assert_eq!(bytes as usize, frames.bytes.len(), "seed {seed}");
            assert_eq!(engine.io().arrival(to), Arrival::Ended, "seed {seed}");
        }
    }
}

#[test]
fn a_peer_that_takes_nothing_cannot_hold_a_tunnel() {
    for seed in 0..SEEDS {
        let (frames, _) = two_streams(seed);
        let (mut engine, ends) = tunnel(seed, &frames, Then::Stay, false, None, Duration::MAX);
        for _ in 0..20 {
            if !engine.io().is_stuck() {
                engine.turn().unwrap();
            }
        }
        assert_eq!(engine.stop(Duration::from_secs(5)), 1);
        let (end, _) = finish(engine, &ends, seed);
        assert_eq!(end.reason, EndReason::Stopped, "seed {seed}");
        assert!(
            end.client_to_origin as usize <= frames[0].bytes.len(),
            "seed {seed}"
        );
    }
}

#[test]
fn the_first_close_frame_names_the_end_and_its_code() {
    for seed in 0..SEEDS {
        let (mut frames, _) = two_streams(seed);
        let closer = (seed % 2) as usize;
        let close: &[u8] = if closer == 0 {
            b"\x88\x82\x01\x02\x03\x04\x02\xea"
        } else {
            b"\x88\x02\x03\xe8"
        };
        frames[closer].bytes.extend_from_slice(close);
        let (engine, ends) = tunnel(seed, &frames, Then::End, true, None, Duration::MAX);
        let (end, mut engine) = finish(engine, &ends, seed);
        assert_eq!(end.close_code, Some(1000), "seed {seed}");
        assert!(
            engine.io().received(1 - closer).ends_with(close),
            "seed {seed}"
        );
        assert!(
            matches!(end.reason, EndReason::ClientClose | EndReason::OriginClose),
            "seed {seed}"
        );
    }
}
