//! Scenarios of everything that can end a tunnel, each over many seeds: what one side sent arrives at the other in order
//! and unchanged, or the end has a name that explains why not. A frame reader of its own, which shares no code with
//! the follower, checks what arrived and how it was counted.
//!
//! `RELAIS_SIM_SEEDS` sets how many seeds (`cargo xtask sim --seeds N`); a failure names the scenario and the seed.

mod frames;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::sync::Arc;
use std::time::Duration;

use relais_io::Io as _;
use relais_io::sim::{Arrival, Plan, Random, Sim, Then};
use relais_tunnel::{EndReason as E, Engine, Farewell, Settings, TunnelEnd, TunnelLimits};

use frames::{frames, own_frames_removed, read_frames};
use support::{Ends, handoff};
use table::{Act, CLOSES, Scenario, scenarios};

/// Runs the scenarios of a theme over their seeds.
fn check_all(scenarios: &[Scenario]) {
    let seeds = std::env::var("RELAIS_SIM_SEEDS").ok();
    let seeds: u64 = seeds.map_or(100, |seeds| seeds.parse().expect("a number of seeds"));
    for scenario in scenarios {
        let seeds = seeds.div_ceil(scenario.weight());
        (0..seeds).for_each(|seed| run(scenario, seed));
    }
}

#[test]
fn streams_end_as_their_peers_want() {
    check_all(&table::streams());
}

#[test]
fn times_run_out() {
    check_all(&table::times());
}

#[test]
fn stalls_end() {
    check_all(&table::stalls());
}

#[test]
fn limits_hold_at_every_boundary() {
    check_all(&table::limits());
}

#[test]
fn orders_are_carried_out() {
    check_all(&table::orders());
}

#[test]
fn long_payloads_pass() {
    check_all(&table::pipes());
}

#[test]
fn there_are_many_scenarios() {
    let count = scenarios().len();
    assert!(count >= 40, "{count}");
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
    let mut engine = Engine::new(network(scenario, seed), &settings);
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

fn network(scenario: &Scenario, seed: u64) -> Sim {
    match scenario.payload {
        0..1_000_000 => Sim::new(seed),
        _ => Sim::new(seed).with_window(1 << 20),
    }
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
        Act::Reloads => {
            // One that keeps the tunnel gives no order; the last one removes its route.
            for _ in 0..random.below(20) {
                if random.chance(30) {
                    order(farewell(E::Drained, random.below(3000)));
                }
            }
            order(farewell(E::Drained, random.below(3000)));
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
