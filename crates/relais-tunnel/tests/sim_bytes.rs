//! Tunnels in a rude network: bytes are never changed, reordered, lost or repeated, and the end of a stream passes
//! behind its last byte. Each run follows from its seed, which a failure names.

mod support;

use std::time::Duration;

use relais_io::Io as _;
use relais_io::sim::{Arrival, Plan, Random, Sim, SimSocket, Then};
use relais_tunnel::{EndReason, Engine, Handoff, Settings, TunnelEnd, TunnelLimits};
use support::{Ends, handoff};

const SEEDS: u64 = 400;

/// One tunnel of a run: what each peer sends, and what came of it.
struct Case {
    client: SimSocket,
    origin: SimSocket,
    sent: [Vec<u8>; 2],
    /// How many bytes of each stream were read before the hand-off, or belong to the head.
    along: [usize; 2],
}

/// What to expect of a run.
struct Story {
    case: Vec<[Vec<u8>; 2]>,
    /// The numbers of the sockets of each tunnel.
    numbers: Vec<[usize; 2]>,
    ends: Vec<(usize, TunnelEnd)>,
    engine: Engine<Sim>,
}

const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

/// Runs a few tunnels to their end, some of them one after the other so that slots are used again.
fn play(seed: u64, thens: impl Fn(&mut Random) -> [Then; 2], half_close: bool) -> Story {
    let mut random = Random::new(seed ^ 0x5eed);
    let read_buffer = [1, 7, 64, 1024, 65_536][random.below(5) as usize];
    // Nothing here needs to be cut off, so that a tunnel may linger for ever, and one that waits
    // for what never comes is found out.
    let settings = Settings {
        read_buffer,
        linger: Duration::MAX,
        ..Settings::default()
    };
    let mut engine = Engine::new(Sim::new(seed), &settings);
    let ends = Ends::default();
    let (mut sent, mut numbers) = (Vec::new(), Vec::new());
    let mut most_left = 0;
    for round in 0..=random.below(2) {
        for _ in 0..=random.below(3) {
            let case = connect(&mut engine, &mut random, &thens);
            numbers.push([case.client.number(), case.origin.number()]);
            most_left += read_buffer.max(case.along[0]) + read_buffer.max(case.along[1]);
            sent.push(case.sent.clone());
            adopt(&mut engine, case, ends.label(sent.len() - 1), half_close);
        }
        // The last round runs to the end of everything.
        let leave = if round == 0 {
            random.below(2) as usize
        } else {
            0
        };
        while engine.open() > leave {
            turn(&mut engine, seed, most_left);
        }
    }
    while engine.open() > 0 {
        turn(&mut engine, seed, most_left);
    }
    settle(&mut engine);
    let ends = ends.wait(sent.len());
    assert_eq!(
        ends.len(),
        sent.len(),
        "seed {seed}: every tunnel ends once"
    );
    Story {
        case: sent,
        numbers,
        ends,
        engine,
    }
}

fn connect(
    engine: &mut Engine<Sim>,
    random: &mut Random,
    thens: impl Fn(&mut Random) -> [Then; 2],
) -> Case {
    let [then_client, then_origin] = thens(random);
    let length = [0, 1, 50, 1_000, 8_000][random.below(5) as usize];
    let (to_origin, to_client) = (random.up_to(length), random.up_to(length));
    let sent = [
        random.bytes(to_origin),
        [HEAD, &random.bytes(to_client)].concat(),
    ];
    let along = [
        random.below(sent[0].len() as u64 + 1).min(2000) as usize,
        HEAD.len()
            + random
                .below((sent[1].len() - HEAD.len()) as u64 + 1)
                .min(2000) as usize,
    ];
    let plan = |bytes: &[u8], then| Plan {
        sends: bytes.to_vec(),
        then,
        takes: true,
    };
    let client = engine.io().connect(plan(&sent[0][along[0]..], then_client));
    let origin = engine.io().connect(plan(&sent[1][along[1]..], then_origin));
    Case {
        client,
        origin,
        sent,
        along,
    }
}

fn adopt(
    engine: &mut Engine<Sim>,
    case: Case,
    label: Box<dyn relais_tunnel::Label>,
    half_close: bool,
) {
    let limits = TunnelLimits {
        half_close,
        ..TunnelLimits::default()
    };
    engine.adopt(Handoff {
        to_origin: case.sent[0][..case.along[0]].to_vec(),
        to_client: case.sent[1][..case.along[1]].to_vec(),
        to_client_head: HEAD.len(),
        websocket: false,
        ..handoff(case.client, case.origin, limits, label)
    });
}

fn turn(engine: &mut Engine<Sim>, seed: u64, most_left: usize) {
    engine.turn().unwrap();
    assert!(
        !engine.io().is_stuck(),
        "seed {seed}: a tunnel waits for something that never comes"
    );
    assert!(
        engine.held() <= most_left,
        "seed {seed}: {} bytes held",
        engine.held()
    );
}

/// Lets what is still under way arrive.
fn settle(engine: &mut Engine<Sim>) {
    let mut events = Vec::new();
    loop {
        engine.io().wait(&mut events, None).unwrap();
        if engine.io().is_stuck() {
            return;
        }
    }
}

impl Story {
    /// For each tunnel: its number, what each side was sent and received, and how that stream arrived.
    fn each(&mut self, check: impl Fn(&TunnelEnd, [Stream<'_>; 2])) {
        for (number, end) in &self.ends {
            let [client, origin] = self.numbers[*number];
            let sim = self.engine.io();
            let stream = |sent, to| Stream {
                sent,
                received: sim.received(to),
                arrival: sim.arrival(to),
            };
            check(
                end,
                [
                    stream(&self.case[*number][0], origin),
                    stream(&self.case[*number][1], client),
                ],
            );
        }
    }
}

/// One direction of a tunnel, as both peers saw it.
struct Stream<'a> {
    sent: &'a [u8],
    received: &'a [u8],
    arrival: Arrival,
}

#[test]
fn everything_arrives_and_then_the_end() {
    let mut seen = [0; 2];
    for seed in 0..SEEDS {
        let thens = |random: &mut Random| match random.below(3) {
            0 => [Then::End, Then::End],
            1 => [Then::End, Then::EndAfterEnd],
            _ => [Then::EndAfterEnd, Then::End],
        };
        let mut story = play(seed, thens, true);
        story.each(|end, streams| {
            for stream in &streams {
                assert!(stream.received == stream.sent, "seed {seed}");
                assert_eq!(stream.arrival, Arrival::Ended, "seed {seed}");
            }
            assert_eq!(
                end.client_to_origin,
                streams[0].sent.len() as u64,
                "seed {seed}"
            );
            assert_eq!(
                end.origin_to_client,
                (streams[1].sent.len() - HEAD.len()) as u64,
                "seed {seed}"
            );
            assert!(
                matches!(end.reason, EndReason::ClientClose | EndReason::OriginClose),
                "seed {seed}: {end:?}"
            );
        });
        for (_, end) in &story.ends {
            seen[usize::from(end.reason == EndReason::ClientClose)] += 1;
        }
    }
    assert!(
        seen.iter().all(|count| *count > SEEDS / 10),
        "both sides close first now and then: {seen:?}"
    );
}

#[test]
fn a_reset_cuts_a_stream_but_never_garbles_it() {
    let mut resets = 0;
    for seed in 0..SEEDS {
        let thens = |random: &mut Random| match random.below(4) {
            0 => [Then::Reset, Then::End],
            1 => [Then::End, Then::Reset],
            2 => [Then::Reset, Then::EndAfterEnd],
            _ => [Then::Reset, Then::Reset],
        };
        let mut story = play(seed, thens, true);
        story.each(|end, streams| {
            for stream in &streams {
                assert!(stream.sent.starts_with(stream.received), "seed {seed}");
                // A side that did not reset sees an ordinary end, as with httpd.
                assert!(stream.arrival != Arrival::Open, "seed {seed}");
            }
            // What the resetting client had sent is complete: only the other direction is cut.
            if end.reason == EndReason::ClientReset && streams[0].arrival == Arrival::Ended {
                assert!(streams[0].received == streams[0].sent, "seed {seed}");
            }
        });
        let reset = [EndReason::ClientReset, EndReason::OriginReset];
        resets += story
            .ends
            .iter()
            .filter(|(_, end)| reset.contains(&end.reason))
            .count();
    }
    assert!(resets as u64 > SEEDS / 2, "{resets}");
}

#[test]
fn without_half_close_the_first_end_ends_both() {
    for seed in 0..SEEDS {
        let thens = |random: &mut Random| match random.below(2) {
            0 => [Then::End, Then::EndAfterEnd],
            _ => [Then::EndAfterEnd, Then::End],
        };
        let mut story = play(seed, thens, false);
        story.each(|end, streams| {
            let ender = usize::from(end.reason == EndReason::OriginClose);
            assert!(
                streams[ender].received == streams[ender].sent,
                "seed {seed}"
            );
            for stream in &streams {
                assert!(stream.sent.starts_with(stream.received), "seed {seed}");
                assert_eq!(stream.arrival, Arrival::Ended, "seed {seed}");
            }
            assert_eq!(
                end.client_to_origin,
                streams[0].received.len() as u64,
                "seed {seed}"
            );
        });
    }
}
