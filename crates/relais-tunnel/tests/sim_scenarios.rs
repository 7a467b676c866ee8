//! Scenarios of everything that can end a tunnel, each over many seeds: what one side sent arrives at the other in order
//! and unchanged, or the end has a name that explains why not. A frame reader of this file's own, which shares no code
//! with the follower, checks what arrived and how it was counted.
//!
//! `RELAIS_SIM_SEEDS` sets how many seeds (`cargo xtask sim --seeds N`); a failure names the scenario and the seed.

mod support;

use std::sync::Arc;
use std::time::Duration;

use relais_io::Io as _;
use relais_io::sim::{Arrival, Plan, Random, Sim, Then};
use relais_tunnel::{
    EndReason as E, Engine, Farewell, PerSide, Rate, Settings, TunnelEnd, TunnelLimits,
};
use support::{Ends, handoff};

/// What is done to the tunnel while it runs.
#[derive(Clone, Copy, PartialEq)]
enum Act {
    Nothing,
    Stop,
    Drain,
    Kick,
    /// Drained and kicked and stopped, all within a few turns.
    Storm,
}

struct Scenario {
    name: &'static str,
    then: [Then; 2],
    takes: [bool; 2],
    /// The largest payload of a frame.
    payload: usize,
    frames: u64,
    held_max: usize,
    act: Act,
    limits: fn(&mut TunnelLimits),
    /// The reasons that it may end for.
    ends: &'static [E],
}

const CLOSES: &[E] = &[E::ClientClose, E::OriginClose];
const RESETS: &[E] = &[
    E::ClientClose,
    E::OriginClose,
    E::ClientReset,
    E::OriginReset,
];

const PLAIN: Scenario = Scenario {
    name: "plain",
    then: [Then::End; 2],
    takes: [true; 2],
    payload: 400,
    frames: 20,
    held_max: 32 << 20,
    act: Act::Nothing,
    limits: |_| {},
    ends: CLOSES,
};

fn ms(count: u64) -> Option<Duration> {
    Some(Duration::from_millis(count))
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn scenarios() -> Vec<Scenario> {
    let after = [Then::End, Then::EndAfterEnd];
    let before = [Then::EndAfterEnd, Then::End];
    let stay = [Then::Stay; 2];
    vec![
        PLAIN,
        Scenario {
            name: "client ends first",
            then: after,
            ..PLAIN
        },
        Scenario {
            name: "origin ends first",
            then: before,
            ..PLAIN
        },
        Scenario {
            name: "no frames at all",
            frames: 0,
            ..PLAIN
        },
        Scenario {
            name: "no room to hold",
            held_max: 0,
            ..PLAIN
        },
        Scenario {
            name: "little room to hold",
            held_max: 2000,
            ..PLAIN
        },
        Scenario {
            name: "no room, client ends first",
            held_max: 0,
            then: after,
            ..PLAIN
        },
        Scenario {
            name: "no half-close",
            then: after,
            limits: |l| l.half_close = false,
            ..PLAIN
        },
        Scenario {
            name: "no half-close, origin",
            then: before,
            limits: |l| l.half_close = false,
            ..PLAIN
        },
        Scenario {
            name: "client resets",
            then: [Then::Reset, Then::EndAfterEnd],
            ends: RESETS,
            ..PLAIN
        },
        Scenario {
            name: "origin resets",
            then: [Then::EndAfterEnd, Then::Reset],
            ends: RESETS,
            ..PLAIN
        },
        Scenario {
            name: "both reset",
            then: [Then::Reset; 2],
            ends: RESETS,
            ..PLAIN
        },
        Scenario {
            name: "reset without room",
            then: [Then::End, Then::Reset],
            held_max: 0,
            ends: RESETS,
            ..PLAIN
        },
        Scenario {
            name: "reset against no half-close",
            then: [Then::Reset, Then::End],
            limits: |l| l.half_close = false,
            ends: RESETS,
            ..PLAIN
        },
        Scenario {
            name: "idle",
            then: stay,
            limits: |l| l.idle = ms(500),
            ends: &[E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "idle without room",
            then: stay,
            held_max: 0,
            limits: |l| l.idle = ms(500),
            ends: &[E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "idle, nobody reads",
            then: stay,
            takes: [false; 2],
            limits: |l| l.idle = ms(500),
            ends: &[E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "lifetime",
            then: stay,
            limits: |l| l.lifetime = ms(300),
            ends: &[E::Lifetime],
            ..PLAIN
        },
        Scenario {
            name: "lifetime while busy",
            then: stay,
            frames: 200,
            limits: |l| l.lifetime = ms(1),
            ends: &[E::Lifetime],
            ..PLAIN
        },
        Scenario {
            name: "lifetime and idle at once",
            then: stay,
            frames: 0,
            limits: |l| {
                l.lifetime = ms(128);
                l.idle = ms(128);
            },
            ends: &[E::Lifetime],
            ..PLAIN
        },
        Scenario {
            name: "half-closed by the client",
            then: [Then::End, Then::Stay],
            limits: |l| l.half_close_timeout = ms(400),
            ends: CLOSES,
            ..PLAIN
        },
        Scenario {
            name: "half-closed by the origin",
            then: [Then::Stay, Then::End],
            limits: |l| l.half_close_timeout = ms(400),
            ends: CLOSES,
            ..PLAIN
        },
        Scenario {
            name: "client stalls",
            then: stay,
            takes: [false, true],
            frames: 200,
            limits: |l| {
                l.write_timeout = ms(300);
                l.idle = ms(60_000);
            },
            ends: &[E::ClientStall, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "origin stalls",
            then: stay,
            takes: [true, false],
            frames: 200,
            limits: |l| {
                l.write_timeout = ms(300);
                l.idle = ms(60_000);
            },
            ends: &[E::OriginStall, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "both stall",
            then: stay,
            takes: [false; 2],
            frames: 300,
            held_max: 0,
            limits: |l| {
                l.write_timeout = ms(300);
                l.idle = ms(60_000);
            },
            ends: &[E::ClientStall, E::OriginStall, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "stall and idle at once",
            then: stay,
            takes: [false; 2],
            frames: 300,
            limits: |l| {
                l.write_timeout = ms(256);
                l.idle = ms(256);
            },
            ends: &[E::ClientStall, E::OriginStall, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "stalled at once",
            then: stay,
            takes: [false; 2],
            frames: 300,
            limits: |l| {
                l.write_timeout = ms(1);
                l.idle = ms(60_000);
            },
            ends: &[E::ClientStall, E::OriginStall, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "client's messages too large",
            then: stay,
            limits: |l| {
                l.message_size.client = 300;
                l.idle = ms(500);
            },
            ends: &[E::MessageSize, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "origin's messages too large",
            then: stay,
            limits: |l| {
                l.message_size.origin = 300;
                l.idle = ms(500);
            },
            ends: &[E::MessageSize, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "no payload allowed",
            then: stay,
            limits: |l| {
                l.message_size = PerSide {
                    client: 0,
                    origin: 0,
                };
                l.idle = ms(500);
            },
            ends: &[E::MessageSize, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "frames too large",
            then: stay,
            limits: |l| {
                l.frame_size = PerSide {
                    client: 126,
                    origin: 125,
                };
                l.idle = ms(500);
            },
            ends: &[E::FrameSize, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "too large without room",
            then: stay,
            held_max: 0,
            limits: |l| {
                l.frame_size.client = 125;
                l.idle = ms(500);
            },
            ends: &[E::FrameSize, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "too many messages",
            then: stay,
            limits: |l| {
                l.message_rate = Some(Rate {
                    per_second: 1,
                    burst: 3,
                });
                l.idle = ms(500);
            },
            ends: &[E::MessageRate, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "too many, without room",
            then: stay,
            held_max: 0,
            limits: |l| {
                l.message_rate = Some(Rate {
                    per_second: 1,
                    burst: 3,
                });
                l.idle = ms(500);
            },
            ends: &[E::MessageRate, E::Idle],
            ..PLAIN
        },
        Scenario {
            name: "bytes are paced",
            limits: |l| {
                l.byte_rate = Some(Rate {
                    per_second: 1000,
                    burst: 100,
                })
            },
            ..PLAIN
        },
        Scenario {
            name: "bytes are paced, without room",
            held_max: 0,
            then: after,
            limits: |l| {
                l.byte_rate = Some(Rate {
                    per_second: 1000,
                    burst: 50,
                })
            },
            ..PLAIN
        },
        Scenario {
            name: "strict with sound frames",
            limits: |l| l.end_on_violation = true,
            ..PLAIN
        },
        Scenario {
            name: "nobody answers a ping",
            then: stay,
            limits: |l| l.ping = ms(300),
            ends: &[E::PingTimeout],
            ..PLAIN
        },
        Scenario {
            name: "stop",
            then: before,
            act: Act::Stop,
            ends: &[E::Stopped, E::ClientClose, E::OriginClose],
            ..PLAIN
        },
        Scenario {
            name: "stop against peers that stay",
            then: stay,
            act: Act::Stop,
            ends: &[E::Stopped],
            ..PLAIN
        },
        Scenario {
            name: "stop, nobody reads",
            then: stay,
            takes: [false; 2],
            act: Act::Stop,
            ends: &[E::Stopped],
            ..PLAIN
        },
        Scenario {
            name: "drain",
            then: stay,
            act: Act::Drain,
            ends: &[E::Drained],
            ..PLAIN
        },
        Scenario {
            name: "drain within fragments",
            then: stay,
            frames: 100,
            payload: 3,
            act: Act::Drain,
            ends: &[E::Drained],
            ..PLAIN
        },
        Scenario {
            name: "drain without room",
            then: stay,
            held_max: 0,
            act: Act::Drain,
            ends: &[E::Drained],
            ..PLAIN
        },
        Scenario {
            name: "kick",
            then: stay,
            act: Act::Kick,
            ends: &[E::Kicked],
            ..PLAIN
        },
        Scenario {
            name: "kick while it closes",
            then: after,
            act: Act::Kick,
            ends: &[E::Kicked, E::ClientClose, E::OriginClose],
            ..PLAIN
        },
        Scenario {
            name: "storm of orders",
            then: stay,
            act: Act::Storm,
            ends: &[E::Kicked, E::Drained, E::Stopped],
            ..PLAIN
        },
        Scenario {
            name: "storm without room",
            then: stay,
            held_max: 0,
            act: Act::Storm,
            ends: &[E::Kicked, E::Drained, E::Stopped],
            ..PLAIN
        },
        Scenario {
            name: "storm over stalls",
            then: stay,
            takes: [false; 2],
            frames: 200,
            act: Act::Storm,
            limits: |l| l.write_timeout = ms(200),
            ends: &[
                E::Kicked,
                E::Drained,
                E::Stopped,
                E::ClientStall,
                E::OriginStall,
            ],
            ..PLAIN
        },
        Scenario {
            name: "long payloads through pipes",
            payload: 150_000,
            frames: 2,
            ..PLAIN
        },
        Scenario {
            name: "pipes and a reset",
            payload: 150_000,
            frames: 2,
            then: [Then::Reset, Then::End],
            ends: RESETS,
            ..PLAIN
        },
        Scenario {
            name: "pipes and a drain",
            payload: 150_000,
            frames: 3,
            then: stay,
            act: Act::Drain,
            ends: &[E::Drained],
            ..PLAIN
        },
    ]
}

/// Half of the scenarios, so that two cores share them.
fn run_half(half: usize) {
    let seeds = std::env::var("RELAIS_SIM_SEEDS").ok();
    let seeds: u64 = seeds.map_or(100, |seeds| seeds.parse().expect("a number of seeds"));
    for scenario in scenarios().iter().skip(half).step_by(2) {
        // Long payloads take long in small windows.
        let few = scenario.payload > 1000;
        for seed in 0..if few { seeds.div_ceil(20) } else { seeds } {
            run(scenario, seed);
        }
    }
}

#[test]
fn every_even_scenario_holds_over_its_seeds() {
    run_half(0);
}

#[test]
fn every_odd_scenario_holds_over_its_seeds() {
    run_half(1);
}

#[test]
fn there_are_many_scenarios() {
    assert!(scenarios().len() >= 40, "{}", scenarios().len());
}

/// Frames of one direction, whole messages all of them unless the stream is cut, and how they are laid out.
fn frames(random: &mut Random, scenario: &Scenario, masked: bool) -> Vec<u8> {
    let (mut bytes, mut is_open) = (Vec::new(), false);
    for number in 0..scenario.frames {
        let is_ping = random.chance(10);
        let is_last = is_ping || random.chance(60) || number + 1 == scenario.frames;
        let most = scenario.payload as u64;
        let length = [0, 3.min(most), most.min(125), most.min(126), most];
        let length = if is_ping {
            5
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
struct Seen {
    messages: u64,
    pings: u64,
    whole: usize,
}

/// Reads frames one after the other, in the plainest way.
fn read_frames(stream: &[u8]) -> Seen {
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
fn own_frames_removed(received: &[u8], delivered: usize, sent: &[u8], to_client: bool, name: &str) {
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

fn run(scenario: &Scenario, seed: u64) {
    let name = format!("{} with seed {seed}", scenario.name);
    let mut random = Random::new(seed ^ 0x5ce0);
    let settings = Settings {
        read_buffer: [1, 7, 64, 1024, 65_536][random.below(5) as usize].max(scenario.payload / 100),
        held_max: scenario.held_max,
        pipes_max: random.below(3) as usize,
        linger: Duration::from_secs(20),
        ..Settings::default()
    };
    let mut engine = Engine::new(Sim::new(seed), &settings);
    let sent = [
        frames(&mut random, scenario, true),
        frames(&mut random, scenario, false),
    ];
    let [client, origin] = [0, 1].map(|side| {
        engine.io().connect(Plan {
            sends: sent[side].clone(),
            then: scenario.then[side],
            takes: scenario.takes[side],
        })
    });
    let mut limits = TunnelLimits::default();
    (scenario.limits)(&mut limits);
    let ends = Ends::default();
    engine.adopt(handoff(client, origin, limits, ends.label(0)));
    let acts_after = random.below(80);
    let mut turns = 0;
    while engine.open() > 0 {
        if turns == acts_after {
            act(scenario.act, &mut engine, &mut random);
        }
        turns += 1;
        engine.turn().unwrap();
        assert!(
            !engine.io().is_stuck() || turns <= acts_after,
            "{name}: it waits for what never comes"
        );
        // Frames of relais' own are beside the bound; there are three small ones at most.
        let bound = scenario.held_max + settings.read_buffer + 64;
        let per_tunnel = 2 * settings.read_buffer + 64;
        assert!(
            engine.held() <= bound.min(per_tunnel),
            "{name}: {} bytes held",
            engine.held()
        );
    }
    let mut events = Vec::new();
    while !engine.io().is_stuck() {
        engine.io().wait(&mut events, None).unwrap();
    }
    let (_, end) = ends.wait(1).remove(0);
    check(scenario, &name, &end, &sent, engine.io());
}

fn act(act: Act, engine: &mut Engine<Sim>, random: &mut Random) {
    let farewell = |reason, window| Farewell {
        reason,
        code: if reason == E::Drained { 1012 } else { 1008 },
        window: Duration::from_millis(window),
        per_second: 0,
    };
    let mut order = |what| drop(engine.bid_farewell(Arc::new(|_| true), what));
    match act {
        Act::Nothing => {}
        Act::Drain => order(farewell(E::Drained, random.below(3000))),
        Act::Kick => order(farewell(E::Kicked, 0)),
        Act::Storm => {
            for _ in 0..=random.below(5) {
                order(farewell(E::Drained, random.below(3000)));
                order(farewell(E::Kicked, random.below(3000)));
            }
            if random.chance(30) {
                engine.stop(Duration::from_secs(5));
            }
        }
        Act::Stop => drop(engine.stop(Duration::from_secs(20))),
    }
}

fn check(scenario: &Scenario, name: &str, end: &TunnelEnd, sent: &[Vec<u8>; 2], sim: &Sim) {
    assert!(
        scenario.ends.contains(&end.reason),
        "{name}: {:?}",
        end.reason
    );
    let delivered = [end.client_to_origin, end.origin_to_client];
    let messages = [end.messages_to_origin, end.messages_to_client];
    let pings = [end.from_client.pings, end.from_origin.pings];
    for side in [0, 1] {
        let received = sim.received(1 - side);
        own_frames_removed(
            received,
            delivered[side] as usize,
            &sent[side],
            side == 1,
            name,
        );
        let whole =
            CLOSES.contains(&end.reason) && scenario.ends == CLOSES && scenario.act == Act::Nothing;
        if whole
            && scenario.then != [Then::End, Then::Stay]
            && scenario.then != [Then::Stay, Then::End]
            && !name.starts_with("no half-close")
        {
            assert!(received == sent[side], "{name}: all of it arrives");
            assert_eq!(sim.arrival(1 - side), Arrival::Ended, "{name}");
        }
        // The counters are those of a reader of as many bytes as were passed on.
        let read = read_frames(&sent[side][..delivered[side] as usize]);
        let all = read_frames(&sent[side]);
        let counted = (messages[side], u64::from(pings[side]));
        assert!(
            (read.messages, read.pings) <= counted
                && counted.0 <= all.messages
                && counted.1 <= all.pings,
            "{name}: {counted:?} of {read:?}"
        );
        if sim.arrival(1 - side) == Arrival::Ended
            && scenario.takes[1 - side]
            && received.len() as u64 >= delivered[side]
        {
            // A Ping counts from its head on, and the stream may have been cut behind that.
            let cut = u64::from(read.whole < delivered[side] as usize);
            assert_eq!(read.messages, counted.0, "{name}");
            assert!(
                counted.1 - read.pings <= cut,
                "{name}: {counted:?} of {read:?}"
            );
        }
    }
}
