//! Encrypted tunnels in a rude network: clear and encrypted on either side, TLS 1.2 and 1.3, records in pieces of any
//! size, new keys in the middle of a message, and every way in which such a stream ends. The peers are rustls' own.

mod support;
mod tls_peer;

use std::time::Duration;

use relais_io::Io as _;
use relais_io::sim::{Arrival, Plan, Random, Sim, SimSocket, Then};
use relais_record::TlsParts;
use relais_tunnel::{EndReason, Engine, Settings, TunnelEnd, TunnelLimits, Wire, Wires};
use rustls::AlertDescription;
use support::{Ends, handoff};
use tls_peer::{End, Peer, VERSIONS};

const SEEDS: u64 = 96;

/// A record's head, content and what surrounds it, at the most.
const RECORD: usize = 5 + (1 << 14) + 256;

/// One side of a tunnel.
struct Party {
    /// `None` for a clear one.
    peer: Option<Peer>,
    wire: Option<Wire<SimSocket>>,
    number: usize,
    said: Vec<u8>,
}

/// What a party does when it has said everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finish {
    /// It ends its content and its stream.
    Clean,
    /// It ends its stream without a word.
    Truncated,
    /// It waits.
    Stay,
}

/// What came of a tunnel.
struct Outcome {
    end: TunnelEnd,
    /// What the client and the origin got, and how it ended.
    heard: [(Vec<u8>, End); 2],
    arrivals: [Arrival; 2],
    said: [Vec<u8>; 2],
}

/// An unmasked or masked binary frame of RFC 6455 section 5.2.
fn frame(payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut out = vec![0x82, mask | 127];
    out.extend((payload.len() as u64).to_be_bytes());
    out.extend(if masked { &[0; 4][..] } else { &[] });
    out.extend(payload);
    out
}

/// A party that says `frames` messages of random length. Its records end anywhere, and its keys change anywhere.
fn party(
    sim: &mut Sim,
    random: &mut Random,
    is_client: bool,
    version: Option<usize>,
    finish: Finish,
) -> Party {
    let mut said = Vec::new();
    for _ in 0..random.below(4) {
        let most = [1, 200, 3000, 20_000][random.below(4) as usize];
        let length = random.up_to(most);
        said.extend(frame(&random.bytes(length), is_client));
    }
    let mut parts = version.map(|version| {
        let version = VERSIONS[version];
        if is_client {
            Peer::client(version)
        } else {
            Peer::origin(version)
        }
    });
    let sends = match &mut parts {
        None => said.clone(),
        Some((peer, parts)) => {
            let mut bytes = std::mem::take(&mut parts.sealed);
            bytes.extend(speech(peer, random, &said, version == Some(1)));
            if finish == Finish::Clean {
                peer.notify();
                bytes.extend(peer.sends());
            }
            // Some of it came along with the handshake.
            let along = random.below(bytes.len().min(3000) as u64 + 1) as usize;
            if random.chance(50) {
                parts.sealed = bytes.drain(..along).collect();
            }
            bytes
        }
    };
    let then = match finish {
        Finish::Stay => Then::Stay,
        Finish::Clean | Finish::Truncated => Then::End,
    };
    let takes = true;
    let socket = sim.connect(Plan { sends, then, takes });
    let number = socket.number();
    let (peer, wire) = match parts {
        None => (None, Wire::clear(socket)),
        Some((peer, parts)) => (Some(peer), Wire::encrypted(socket, parts)),
    };
    Party {
        peer,
        wire: Some(wire),
        number,
        said,
    }
}

/// `said` in records, with new keys between some of them.
fn speech(peer: &mut Peer, random: &mut Random, said: &[u8], updates: bool) -> Vec<u8> {
    let (mut bytes, mut rest) = (peer.sends(), said);
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(random.up_to(rest.len()));
        peer.say(part);
        bytes.extend(peer.sends());
        if updates && random.chance(20) {
            peer.update_keys();
            bytes.extend(peer.sends());
        }
        rest = behind;
    }
    bytes
}

impl Party {
    /// What it has got, and how that ended.
    fn heard(&mut self, sim: &Sim) -> (Vec<u8>, End) {
        let bytes = sim.received(self.number);
        match &mut self.peer {
            Some(peer) => peer.hear(bytes),
            None if sim.arrival(self.number) == Arrival::Ended => (bytes.to_vec(), End::Notified),
            None => (bytes.to_vec(), End::Open),
        }
    }
}

/// Client and origin by their version of TLS, at least one of them encrypted.
fn versions(seed: u64) -> [Option<usize>; 2] {
    let of = |number| [Some(0), Some(1), None][number as usize % 3];
    // 0 to 7: the ninth would be clear on both sides.
    let number = seed % 8;
    [of(number), of(number / 3)]
}

struct Run {
    engine: Engine<Wires<Sim>>,
    random: Random,
    seed: u64,
    held_most: usize,
}

/// Nothing here needs to be cut off, so that a tunnel may linger for ever, and one that waits for what never comes is
/// found out.
const FOR_EVER: Duration = Duration::MAX;

/// For peers that never end their stream: longer than any of them needs to take what it is sent.
const HOURS: Duration = Duration::from_secs(10 * 3600);

impl Run {
    fn new(seed: u64, linger: Duration) -> Self {
        let mut random = Random::new(seed ^ 0x715);
        let read_buffer = [1, 64, 1024, 20_000, 65_536][random.below(5) as usize];
        let settings = Settings {
            read_buffer,
            linger,
            ..Settings::default()
        };
        Self {
            engine: Engine::new(Wires::new(Sim::new(seed)), &settings),
            random,
            seed,
            // Per side: a record in part, a record's content that a small buffer has no room for, and what a write
            // was given, sealed; and the pump's own.
            held_most: 2 * (3 * RECORD + 3 * read_buffer.max(3000)),
        }
    }

    /// An encrypted client that sends these bytes, whatever they are.
    fn client(&mut self, (peer, parts): (Peer, TlsParts), plan: Plan, said: Vec<u8>) -> Party {
        let socket = self.engine.io().io().connect(plan);
        Party {
            number: socket.number(),
            peer: Some(peer),
            wire: Some(Wire::encrypted(socket, parts)),
            said,
        }
    }

    fn party(&mut self, is_client: bool, version: Option<usize>, finish: Finish) -> Party {
        let sim = self.engine.io().io();
        party(sim, &mut self.random, is_client, version, finish)
    }

    /// Runs a tunnel between these two to its end.
    fn play(mut self, mut parties: [Party; 2], limits: TunnelLimits) -> Outcome {
        let ends = Ends::default();
        let [client, origin] = parties.each_mut().map(|party| party.wire.take().unwrap());
        self.engine
            .adopt(handoff(client, origin, limits, ends.label(0)));
        while self.engine.open() > 0 {
            self.turn();
        }
        self.settle();
        assert_eq!(self.engine.held(), 0, "seed {}", self.seed);
        let (_, end) = ends.wait(1).remove(0);
        let sim: &Sim = self.engine.io().io();
        Outcome {
            end,
            arrivals: parties.each_ref().map(|party| sim.arrival(party.number)),
            heard: parties.each_mut().map(|party| party.heard(sim)),
            said: parties.map(|party| party.said),
        }
    }

    fn turn(&mut self) {
        self.engine.turn().unwrap();
        let stuck = self.engine.io().io().is_stuck();
        assert!(!stuck, "seed {}: it waits for ever", self.seed);
        let held = self.engine.held();
        assert!(held <= self.held_most, "seed {}: {held} held", self.seed);
    }

    /// Lets what is still under way arrive.
    fn settle(&mut self) {
        let sim = self.engine.io().io();
        let mut events = Vec::new();
        while !sim.is_stuck() {
            sim.wait(&mut events, None).unwrap();
        }
    }
}

#[test]
fn everything_arrives_and_each_end_is_said() {
    for seed in 0..SEEDS {
        let mut run = Run::new(seed, FOR_EVER);
        let [client, origin] = versions(seed);
        let parties = [
            run.party(true, client, Finish::Clean),
            run.party(false, origin, Finish::Clean),
        ];
        let outcome = run.play(parties, TunnelLimits::default());
        let [client, origin] = &outcome.heard;
        assert!(
            *client == (outcome.said[1].clone(), End::Notified),
            "seed {seed}: {:?}",
            client.1
        );
        assert!(
            *origin == (outcome.said[0].clone(), End::Notified),
            "seed {seed}: {:?}",
            origin.1
        );
        assert_eq!(outcome.arrivals, [Arrival::Ended; 2], "seed {seed}");
        let reasons = [EndReason::ClientClose, EndReason::OriginClose];
        assert!(
            reasons.contains(&outcome.end.reason),
            "seed {seed}: {:?}",
            outcome.end
        );
        assert_eq!(outcome.end.client_to_origin, outcome.said[0].len() as u64);
        assert_eq!(outcome.end.origin_to_client, outcome.said[1].len() as u64);
    }
}

#[test]
fn an_end_without_a_close_notify_is_named() {
    for seed in 0..SEEDS {
        let mut run = Run::new(seed, HOURS);
        let [client, origin] = versions(seed);
        let by_client = client.is_some();
        let finishes = if by_client {
            [Finish::Truncated, Finish::Stay]
        } else {
            [Finish::Stay, Finish::Truncated]
        };
        let parties = [
            run.party(true, client, finishes[0]),
            run.party(false, origin, finishes[1]),
        ];
        let outcome = run.play(parties, TunnelLimits::default());
        let (told, expected) = if by_client {
            (1, EndReason::ClientTruncated)
        } else {
            (0, EndReason::OriginTruncated)
        };
        assert_eq!(outcome.end.reason, expected, "seed {seed}");
        let (content, end) = &outcome.heard[told];
        assert!(*content == outcome.said[1 - told], "seed {seed}");
        assert_eq!(*end, End::Notified, "seed {seed}");
    }
}

#[test]
fn a_close_frame_makes_up_for_a_close_notify() {
    for seed in 0..20 {
        let mut run = Run::new(seed, FOR_EVER);
        let (mut peer, parts) = Peer::client(VERSIONS[seed as usize % 2]);
        let close = vec![0x88, 0x80, 0, 0, 0, 0];
        peer.say(&close);
        let plan = Plan {
            sends: peer.sends(),
            then: Then::End,
            takes: true,
        };
        let client = run.client((peer, parts), plan, close);
        let origin = run.party(false, None, Finish::Clean);
        let outcome = run.play([client, origin], TunnelLimits::default());
        let reasons = [EndReason::ClientClose, EndReason::OriginClose];
        assert!(
            reasons.contains(&outcome.end.reason),
            "seed {seed}: {:?}",
            outcome.end
        );
        let (content, end) = &outcome.heard[0];
        assert!(*content == outcome.said[1], "seed {seed}");
        assert_eq!(*end, End::Notified, "seed {seed}");
    }
}

#[test]
fn relais_says_goodbye_in_records() {
    for seed in 0..SEEDS {
        let mut run = Run::new(seed, HOURS);
        let [client, origin] = versions(seed);
        let parties = [
            run.party(true, client, Finish::Stay),
            run.party(false, origin, Finish::Stay),
        ];
        let limits = TunnelLimits {
            idle: Some(Duration::from_secs(30)),
            ..TunnelLimits::default()
        };
        let outcome = run.play(parties, limits);
        assert_eq!(outcome.end.reason, EndReason::Idle, "seed {seed}");
        for (side, (content, end)) in outcome.heard.iter().enumerate() {
            let said = &outcome.said[1 - side];
            assert!(content.starts_with(said), "seed {seed}");
            let [0x88, ..] = content[said.len()..] else {
                panic!("seed {seed}: no Close frame, {:?}", &content[said.len()..]);
            };
            assert_eq!(*end, End::Notified, "seed {seed}");
        }
    }
}

#[test]
fn what_does_not_decrypt_is_answered_with_an_alert() {
    for seed in 0..SEEDS {
        let mut run = Run::new(seed, HOURS);
        let (mut peer, parts) = Peer::client(VERSIONS[seed as usize % 2]);
        let said = frame(&[7; 50], true);
        peer.say(&said);
        let mut sends = peer.sends();
        let sound = sends.len();
        peer.say(&said);
        sends.extend(peer.sends());
        // Behind the head: a length that grows would wait for more.
        let at = sound + 5 + run.random.below((sends.len() - sound - 5) as u64) as usize;
        sends[at] ^= 1;
        let plan = Plan {
            sends,
            then: Then::Stay,
            takes: true,
        };
        let client = run.client((peer, parts), plan, said);
        let origin = run.party(false, None, Finish::Stay);
        let outcome = run.play([client, origin], TunnelLimits::default());
        assert_eq!(outcome.end.reason, EndReason::ClientTls, "seed {seed}");
        assert!(
            outcome.heard[1].0.starts_with(&outcome.said[0]),
            "seed {seed}"
        );
        let alert = rustls::Error::AlertReceived(AlertDescription::BadRecordMac);
        assert_eq!(outcome.heard[0].1, End::Failed(alert), "seed {seed}");
    }
}

#[test]
fn every_split_of_a_stream_gives_the_same_content() {
    for (number, version) in VERSIONS.into_iter().enumerate() {
        let mut at = 0;
        loop {
            let mut run = Run::new(at as u64, FOR_EVER);
            let (mut peer, mut parts) = Peer::client(version);
            let said = frame(b"The quick brown fox", true);
            for part in said.chunks(20) {
                peer.say(part);
                if number == 1 {
                    peer.update_keys();
                }
            }
            peer.notify();
            let mut sends = peer.sends();
            if at > sends.len() {
                break;
            }
            parts.sealed = sends.drain(..at).collect();
            let plan = Plan {
                sends,
                then: Then::End,
                takes: true,
            };
            let client = run.client((peer, parts), plan, said.clone());
            let origin = run.party(false, None, Finish::Clean);
            let outcome = run.play([client, origin], TunnelLimits::default());
            assert_eq!(outcome.heard[1], (said, End::Notified), "split at {at}");
            assert!(outcome.heard[0].0 == outcome.said[1], "split at {at}");
            at += 1;
        }
    }
}

/// A client that asks for new keys all the time and listens to nothing.
#[test]
fn a_peer_that_only_asks_costs_nothing() {
    for seed in 0..20 {
        let mut run = Run::new(seed, HOURS);
        let (mut peer, parts) = Peer::client(VERSIONS[1]);
        let mut said = Vec::new();
        for _ in 0..500 {
            let part = frame(b"x", true);
            peer.say(&part);
            peer.update_keys();
            said.extend(part);
        }
        let plan = Plan {
            sends: peer.sends(),
            then: Then::Stay,
            takes: false,
        };
        let client = run.client((peer, parts), plan, said);
        let origin = run.party(false, None, Finish::Stay);
        let limits = TunnelLimits {
            idle: Some(Duration::from_secs(30)),
            ..TunnelLimits::default()
        };
        let outcome = run.play([client, origin], limits);
        assert!(
            outcome.heard[1].0.starts_with(&outcome.said[0]),
            "seed {seed}"
        );
    }
}
