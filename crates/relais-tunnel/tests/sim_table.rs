//! The table of a very large engine: it is shown in parts, between which tunnels are served.

mod support;

use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::Instant;

use relais_io::sim::{Plan, Sim, Then};
use relais_tunnel::{Engine, Settings, TunnelLimits};
use support::{Ends, handoff};

/// Tunnels in the table.
const TUNNELS: usize = 100_000;

/// What an engine may look at before it serves again.
const PART: usize = 1024;

fn silent() -> Plan {
    Plan {
        sends: Vec::new(),
        then: Then::Stay,
        takes: true,
    }
}

#[test]
fn a_hundred_thousand_tunnels_are_shown_while_one_is_busy() {
    let settings = Settings {
        read_buffer: 4096,
        ..Settings::default()
    };
    // Nothing but this window holds the talker up.
    let mut engine = Engine::new(Sim::new(11).with_window(4096), &settings);
    let ends = Ends::default();
    let adopt = |engine: &mut Engine<Sim>, plan: Plan, number| {
        let [client, origin] = [engine.io().connect(plan), engine.io().connect(silent())];
        let tunnel = handoff(client, origin, TunnelLimits::default(), ends.label(number));
        engine.adopt(tunnel);
        2 * number + 1
    };
    for number in 0..TUNNELS - 1 {
        adopt(&mut engine, silent(), number);
    }
    let talker = Plan {
        sends: vec![b'x'; 64 << 20],
        ..silent()
    };
    let talker = adopt(&mut engine, talker, TUNNELS - 1);
    // The news of so many sockets is over.
    while engine.io().received(talker).is_empty() {
        engine.turn().expect("a turn");
    }
    let rows = engine.show(Arc::new(|_| true));
    let (mut shown, mut parts, mut turns, mut idle_turns) = (0, 0, 0, 0);
    let (mut longest, begun) = (0, Instant::now());
    'all: loop {
        let before = engine.io().received(talker).len();
        engine.turn().expect("a turn");
        turns += 1;
        idle_turns += usize::from(engine.io().received(talker).len() == before);
        loop {
            match rows.try_recv() {
                Ok(part) => {
                    parts += 1;
                    longest = longest.max(part.len());
                    shown += part.len();
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => break 'all,
            }
        }
    }
    eprintln!(
        "{shown} tunnels in {turns} turns, {idle_turns} without traffic, {:?}",
        begun.elapsed()
    );
    assert_eq!(shown, TUNNELS);
    assert!(longest <= PART, "{longest} in one part");
    assert!(parts >= TUNNELS / PART, "{parts} parts");
    // A turn may find nothing to pass on, but traffic goes on all the while.
    assert!(
        idle_turns < turns * 9 / 10,
        "{idle_turns} of {turns} turns passed nothing"
    );
}
