//! [`Io`] without a kernel: a network in memory that is slow, choppy and rude, the same way each time for one seed.
//!
//! Every socket has a peer that follows a [`Plan`]: it sends its bytes in chunks of odd sizes at odd times, takes what
//! it is sent in the same manner, and then ends its stream, resets the connection or stays. Reads and writes come short
//! without need, events come late, in any order, for nothing, or for a pair that is long closed. What holds is the
//! contract of [`Io`], and what TCP promises: closing a socket that has unread bytes resets the connection and loses
//! what was on its way to the peer.
//!
//! Time passes only in [`Io::wait`]. A run depends on nothing but the seed and the calls made, so that the seed of a
//! failed run replays it.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use crate::{Event, Fault, Io, Read, Token, Wake, Write};

/// What the peer of a simulated socket does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The bytes that it sends.
    pub sends: Vec<u8>,
    /// What it does afterwards.
    pub then: Then,
    /// Whether it takes what it is sent. If not, the socket stops taking bytes when its buffer is full.
    pub takes: bool,
}

/// What a peer does when it has sent its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It ends its stream, and goes on taking bytes.
    End,
    /// It ends its stream as soon as the other stream has ended.
    EndAfterEnd,
    /// It resets the connection, at any time.
    Reset,
    /// Nothing: the connection stays open.
    Stay,
}

/// How a stream arrived at a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has not ended.
    Open,
    /// It ended after the last byte.
    Ended,
    /// The connection was reset, by either end.
    Reset,
}

/// One end of a simulated connection. The number of the socket, which [`Sim::received`] and [`Sim::arrival`] take, is
/// its count from 0.
#[derive(Debug)]
pub struct SimSocket(usize);

impl SimSocket {
    /// The number of the socket.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.0
    }
}

/// A waker with nothing to wake: a simulation has one thread.
#[derive(Clone, Debug)]
pub struct SimWaker;

impl Wake for SimWaker {
    fn wake(&self) {}
}

/// A pipe of a simulated kernel.
#[derive(Debug, Default)]
pub struct SimPipe(Vec<u8>);

/// A simulated network.
#[derive(Debug)]
pub struct Sim {
    /// Whether pipes are to be had.
    pipes: bool,
    random: Random,
    weather: Weather,
    now_ms: u64,
    connections: Vec<Connection>,
    agenda: BTreeMap<(u64, u64), Act>,
    acts: u64,
    /// Changes that were not reported yet.
    ready: BTreeMap<u64, Event>,
    stuck: bool,
}

impl Sim {
    /// A network whose manners follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let weather = Weather::new(&mut random);
        Self {
            pipes: random.chance(70),
            random,
            weather,
            now_ms: 0,
            connections: Vec::new(),
            agenda: BTreeMap::new(),
            acts: 0,
            ready: BTreeMap::new(),
            stuck: false,
        }
    }

    /// The same with room for so many bytes on the way to and from each peer: a narrow window is a lesson for short
    /// streams, and only a delay for long ones.
    #[must_use]
    pub fn with_window(mut self, window: usize) -> Self {
        self.weather.window = window.max(1);
        self
    }

    /// A connected socket whose peer follows `plan`.
    pub fn connect(&mut self, plan: Plan) -> SimSocket {
        let number = self.connections.len();
        self.connections.push(Connection::new(plan));
        self.later(Act::Send(number));
        SimSocket(number)
    }

    /// The bytes that the peer of this socket has taken; empty for a number that was never given.
    #[must_use]
    pub fn received(&self, number: usize) -> &[u8] {
        self.connections
            .get(number)
            .map_or(&[], |connection| &connection.received)
    }

    /// How the stream to the peer of this socket arrived.
    #[must_use]
    pub fn arrival(&self, number: usize) -> Arrival {
        self.connections
            .get(number)
            .map_or(Arrival::Open, |connection| connection.arrival)
    }

    /// Whether the last wait had nothing to wait for, and would have lasted for ever.
    #[must_use]
    pub const fn is_stuck(&self) -> bool {
        self.stuck
    }

    fn later(&mut self, act: Act) {
        let delay_ms = self.random.below(self.weather.delay_ms_max + 1);
        self.acts += 1;
        self.agenda.insert((self.now_ms + delay_ms, self.acts), act);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Send(number) => self.send(number),
            Act::Take(number) => self.take(number),
            Act::End(number) => self.end(number),
            Act::Reset(number) => self.reset(number),
            Act::Readable(number) => self.raise(number, true, false, false),
            Act::Writable(number) => self.raise(number, false, true, false),
            Act::Noise(token) => self.note(Event {
                token,
                readable: true,
                writable: true,
                hangup: true,
            }),
        }
    }

    /// The peer sends a chunk, or turns to what comes after the last one.
    fn send(&mut self, number: usize) {
        let (random, window) = (&mut self.random, self.weather.window);
        let Some(connection) = self
            .connections
            .get_mut(number)
            .filter(|it| it.arrival != Arrival::Reset)
        else {
            return;
        };
        if connection.closed && !connection.sends.is_empty() {
            // RFC 9293 section 3.6.1: bytes for a socket that is closed are answered with a reset.
            connection.sends.clear();
            return self.reset(number);
        }
        let room = window
            .saturating_sub(connection.inbox.len())
            .min(connection.sends.len());
        if connection.sends.is_empty() {
            return match connection.then {
                Then::End => self.later(Act::End(number)),
                Then::Reset => self.later(Act::Reset(number)),
                Then::EndAfterEnd | Then::Stay => {}
            };
        }
        if room > 0 {
            let count = random.up_to(room);
            connection.inbox.extend(connection.sends.drain(..count));
            self.raise(number, true, false, false);
            self.later(Act::Send(number));
        } else {
            connection.full = true;
        }
    }

    /// The peer takes a chunk of what it was sent.
    fn take(&mut self, number: usize) {
        let random = &mut self.random;
        let Some(connection) = self.connections.get_mut(number) else {
            return;
        };
        connection.taking = false;
        if !connection.takes || connection.arrival != Arrival::Open {
            return;
        }
        let count = random.up_to(connection.outbox.len());
        connection.received.extend(connection.outbox.drain(..count));
        let (empty, blocked) = (
            connection.outbox.is_empty(),
            std::mem::take(&mut connection.blocked),
        );
        if empty && connection.shut {
            connection.arrival = Arrival::Ended;
            if connection.then == Then::EndAfterEnd {
                connection.then = Then::End;
                self.later(Act::Send(number));
            }
        }
        if blocked {
            self.raise(number, false, true, false);
        }
        if !empty {
            self.schedule_take(number);
        }
    }

    fn schedule_take(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else {
            return;
        };
        if !std::mem::replace(&mut connection.taking, true) {
            self.later(Act::Take(number));
        }
    }

    fn end(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else {
            return;
        };
        connection.ended = true;
        self.raise(number, true, false, true);
    }

    fn reset(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else {
            return;
        };
        connection.arrival = Arrival::Reset;
        connection.outbox.clear();
        self.raise(number, true, true, true);
    }

    fn raise(&mut self, number: usize, readable: bool, writable: bool, hangup: bool) {
        let Some(token) = self
            .connections
            .get(number)
            .and_then(|connection| connection.token)
        else {
            return;
        };
        self.note(Event {
            token,
            readable,
            writable,
            hangup,
        });
    }

    fn note(&mut self, event: Event) {
        let noted = self.ready.entry(event.token.to_bits()).or_insert(event);
        noted.readable |= event.readable;
        noted.writable |= event.writable;
        noted.hangup |= event.hangup;
    }

    /// Moves some of the changes into `events`, in any order.
    fn report(&mut self, events: &mut Vec<Event>) {
        let mut waiting: Vec<Event> = std::mem::take(&mut self.ready).into_values().collect();
        for last in (1..waiting.len()).rev() {
            waiting.swap(last, self.random.below(last as u64 + 1) as usize);
        }
        let count = self.random.up_to(waiting.len());
        for event in waiting.split_off(count) {
            self.note(event);
        }
        events.append(&mut waiting);
    }
}

impl Io for Sim {
    type Socket = SimSocket;
    type Waker = SimWaker;
    type Pipe = SimPipe;

    fn register(&mut self, socket: &SimSocket, token: Token) -> io::Result<()> {
        let connection = self
            .connections
            .get_mut(socket.0)
            .ok_or(io::ErrorKind::NotFound)?;
        connection.token = Some(token);
        let readable = !connection.inbox.is_empty();
        self.note(Event {
            token,
            readable,
            writable: true,
            hangup: false,
        });
        Ok(())
    }

    fn peek(&mut self, socket: &mut SimSocket, buffer: &mut [u8]) -> Read {
        let Some(connection) = self.connections.get_mut(socket.0) else {
            return Read::End;
        };
        if connection.inbox.is_empty() {
            return connection.nothing_to_read();
        }
        let count = buffer.len().min(connection.inbox.len());
        for (place, byte) in buffer.iter_mut().zip(&connection.inbox) {
            *place = *byte;
        }
        Read::Bytes(count)
    }

    fn consume(&mut self, socket: &mut SimSocket, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(socket.0) else {
            return;
        };
        connection.inbox.drain(..bytes.len());
        if std::mem::take(&mut connection.full) {
            self.later(Act::Send(socket.0));
        }
    }

    fn can_splice(&mut self, _from: &SimSocket, _to: &SimSocket) -> bool {
        true
    }

    fn pipe(&mut self) -> Option<SimPipe> {
        self.pipes.then(SimPipe::default)
    }

    fn fill(&mut self, socket: &mut SimSocket, pipe: &mut SimPipe, most: usize) -> Option<Read> {
        if self.random.chance(self.weather.refuse_percent) {
            return None;
        }
        let most = most.min(SIM_PIPE_BYTES);
        pipe.0.resize(most, 0);
        let outcome = self.read(socket, &mut pipe.0);
        let count = if let Read::Bytes(count) = outcome {
            count
        } else {
            0
        };
        pipe.0.truncate(count);
        Some(outcome)
    }

    fn drain(&mut self, socket: &mut SimSocket, pipe: &mut SimPipe, most: usize) -> Option<Write> {
        assert!(most <= pipe.0.len(), "no more than the pipe has");
        let outcome = self.write(socket, pipe.0.get(..most).unwrap_or_default());
        if let Write::Bytes(count) = outcome {
            pipe.0.drain(..count);
        }
        Some(outcome)
    }

    fn read(&mut self, socket: &mut SimSocket, buffer: &mut [u8]) -> Read {
        let Some(connection) = self.connections.get_mut(socket.0) else {
            return Read::End;
        };
        if connection.inbox.is_empty() {
            return connection.nothing_to_read();
        }
        let room = buffer.len().min(connection.inbox.len());
        let count = if self.random.chance(self.weather.short_percent) {
            self.random.up_to(room)
        } else {
            room
        };
        for (place, byte) in buffer.iter_mut().zip(connection.inbox.drain(..count)) {
            *place = byte;
        }
        let full = std::mem::take(&mut connection.full);
        let rest = count < buffer.len() && !connection.inbox.is_empty();
        if full {
            self.later(Act::Send(socket.0));
        }
        if rest {
            // As if the rest arrived just now.
            self.later(Act::Readable(socket.0));
        }
        Read::Bytes(count)
    }

    fn write(&mut self, socket: &mut SimSocket, bytes: &[u8]) -> Write {
        let window = self.weather.window;
        let Some(connection) = self.connections.get_mut(socket.0) else {
            return Write::Broken(Fault::Reset);
        };
        if connection.arrival == Arrival::Reset || connection.shut {
            return Write::Broken(Fault::Reset);
        }
        let room = window
            .saturating_sub(connection.outbox.len())
            .min(bytes.len());
        if room == 0 {
            connection.blocked = true;
            return Write::Blocked;
        }
        let count = if self.random.chance(self.weather.short_percent) {
            self.random.up_to(room)
        } else {
            room
        };
        connection.outbox.extend(bytes.iter().take(count));
        if count < room {
            self.later(Act::Writable(socket.0));
        } else if count < bytes.len() {
            connection.blocked = true;
        }
        self.schedule_take(socket.0);
        Write::Bytes(count)
    }

    fn shutdown(&mut self, socket: &mut SimSocket) {
        if let Some(connection) = self.connections.get_mut(socket.0) {
            connection.shut = true;
        }
        self.schedule_take(socket.0);
    }

    fn close(&mut self, socket: SimSocket) {
        let Some(connection) = self.connections.get_mut(socket.0) else {
            return;
        };
        let token = connection.token.take();
        connection.shut = true;
        connection.closed = true;
        let full = std::mem::take(&mut connection.full);
        if !connection.inbox.is_empty() && connection.arrival == Arrival::Open {
            // RFC 2525 section 2.17: unread bytes turn a close into a reset.
            connection.arrival = Arrival::Reset;
            connection.outbox.clear();
        }
        if full {
            self.later(Act::Send(socket.0));
        }
        self.schedule_take(socket.0);
        if let Some(token) = token.filter(|_| self.random.chance(self.weather.noise_percent)) {
            self.later(Act::Noise(token));
        }
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout_ms: Option<u64>) -> io::Result<()> {
        events.clear();
        self.stuck = false;
        let until_ms = timeout_ms.map(|timeout_ms| self.now_ms.saturating_add(timeout_ms));
        loop {
            let next_ms = self.agenda.first_key_value().map(|((at_ms, _), _)| *at_ms);
            let in_time =
                next_ms.is_some_and(|at_ms| until_ms.is_none_or(|until_ms| at_ms <= until_ms));
            // Events are held back for as long as something else happens, and no longer.
            let late = in_time && self.random.chance(self.weather.late_percent);
            if !self.ready.is_empty() && !late {
                self.report(events);
                return Ok(());
            }
            let Some(((at_ms, _), act)) = in_time.then(|| self.agenda.pop_first()).flatten() else {
                self.stuck = until_ms.is_none();
                self.now_ms = until_ms.unwrap_or(self.now_ms);
                return Ok(());
            };
            self.now_ms = at_ms;
            self.act(act);
        }
    }

    fn waker(&self) -> SimWaker {
        SimWaker
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }
}

/// A deterministic source of numbers (SplitMix64, Steele, Lea and Flood 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A source that always gives the same numbers for one seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0 when there is none.
    pub const fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.bits() % end }
    }

    /// A number from 1 to `most`, or 0 when there is none; often a small one.
    pub fn up_to(&mut self, most: usize) -> usize {
        let most = if self.chance(30) { most.min(8) } else { most };
        if most == 0 {
            0
        } else {
            self.below(most as u64) as usize + 1
        }
    }

    /// True in `percent` of a hundred cases.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// This many arbitrary bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits() as u8).collect()
    }
}

/// The size of a simulated pipe.
const SIM_PIPE_BYTES: usize = 3000;

/// The manners of a network.
#[derive(Debug)]
struct Weather {
    /// How often a read or write comes short without need.
    short_percent: u64,
    /// How often events are held back although there are some.
    late_percent: u64,
    /// How often a closed pair is reported once more.
    noise_percent: u64,
    delay_ms_max: u64,
    /// How often a pipe takes nothing although bytes are there.
    refuse_percent: u64,
    /// The size of each socket's buffer, per direction.
    window: usize,
}

impl Weather {
    fn new(random: &mut Random) -> Self {
        let window = match random.below(4) {
            0 => 1,
            1 => random.up_to(64),
            2 => random.up_to(4096),
            _ => 20_000,
        };
        Self {
            short_percent: random.below(100),
            late_percent: random.below(60),
            noise_percent: random.below(100),
            delay_ms_max: random.below(4),
            refuse_percent: [0, 0, 10, 50][random.below(4) as usize],
            window,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Send(usize),
    Take(usize),
    End(usize),
    Reset(usize),
    Readable(usize),
    Writable(usize),
    Noise(Token),
}

/// A socket and its peer.
#[derive(Debug)]
struct Connection {
    token: Option<Token>,
    /// What the peer has not sent yet.
    sends: VecDeque<u8>,
    then: Then,
    takes: bool,
    /// Sent by the peer, not read by us.
    inbox: VecDeque<u8>,
    /// The peer has more to send than the inbox has room for.
    full: bool,
    /// The peer ended its stream behind the inbox.
    ended: bool,
    /// Written by us, not taken by the peer.
    outbox: VecDeque<u8>,
    /// We ended our stream behind the outbox.
    shut: bool,
    /// We closed the socket.
    closed: bool,
    received: Vec<u8>,
    arrival: Arrival,
    /// A write came short, and room is to be announced.
    blocked: bool,
    /// A [`Act::Take`] is on the agenda.
    taking: bool,
}

impl Connection {
    fn new(plan: Plan) -> Self {
        Self {
            token: None,
            sends: plan.sends.into(),
            then: plan.then,
            takes: plan.takes,
            inbox: VecDeque::new(),
            full: false,
            ended: false,
            outbox: VecDeque::new(),
            shut: false,
            closed: false,
            received: Vec::new(),
            arrival: Arrival::Open,
            blocked: false,
            taking: false,
        }
    }

    fn nothing_to_read(&self) -> Read {
        match self.arrival {
            Arrival::Reset => Read::Broken(Fault::Reset),
            _ if self.ended => Read::End,
            _ => Read::Blocked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;

    fn plan(sends: &[u8], then: Then) -> Plan {
        Plan {
            sends: sends.to_vec(),
            then,
            takes: true,
        }
    }

    /// Reads one socket to its end, obeying the contract, and tells everything that happened.
    fn read_all(seed: u64, then: Then) -> (Vec<u8>, Vec<String>) {
        let mut sim = Sim::new(seed);
        let mut socket = sim.connect(plan(b"The quick brown fox jumps over the lazy dog", then));
        sim.register(&socket, Token::new(0, 1, Side::Client))
            .unwrap();
        let (mut bytes, mut log, mut events) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            sim.wait(&mut events, None).unwrap();
            assert!(!sim.is_stuck(), "seed {seed}: no event for {log:?}");
            let hangup = events.iter().any(|event| event.hangup);
            let mut go_on = events.iter().any(|event| event.readable);
            while go_on {
                let mut buffer = [0; 10];
                let outcome = sim.read(&mut socket, &mut buffer);
                log.push(format!("{} {outcome:?}", sim.now_ms()));
                go_on = match outcome {
                    Read::Bytes(count) => {
                        bytes.extend_from_slice(&buffer[..count]);
                        count == buffer.len() || hangup
                    }
                    Read::Blocked => false,
                    Read::End | Read::Broken(_) => return (bytes, log),
                };
            }
        }
    }

    #[test]
    fn a_seed_is_a_story() {
        let stories: Vec<_> = (0..20).map(|seed| read_all(seed, Then::End)).collect();
        for (seed, story) in stories.iter().enumerate() {
            assert_eq!(*story, read_all(seed as u64, Then::End), "seed {seed}");
            assert_eq!(story.0, b"The quick brown fox jumps over the lazy dog");
        }
        assert!(stories.windows(2).any(|two| two[0].1 != two[1].1));
    }

    #[test]
    fn a_reset_is_read_behind_what_arrived() {
        for seed in 0..50 {
            let (bytes, log) = read_all(seed, Then::Reset);
            assert!(b"The quick brown fox jumps over the lazy dog".starts_with(&bytes));
            assert!(
                log.last().unwrap().ends_with("Broken(Reset)"),
                "seed {seed}: {log:?}"
            );
        }
    }

    #[test]
    fn closing_over_unread_bytes_is_a_reset() {
        for (sends, expected) in [(&b""[..], Arrival::Ended), (b"x", Arrival::Reset)] {
            let mut sim = Sim::new(3);
            let mut socket = sim.connect(plan(sends, Then::Stay));
            let mut events = Vec::new();
            sim.wait(&mut events, Some(1000)).unwrap();
            assert!(matches!(sim.write(&mut socket, b"bye"), Write::Bytes(_)));
            sim.close(socket);
            sim.wait(&mut events, Some(1000)).unwrap();
            assert_eq!(sim.arrival(0), expected);
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_blocks_the_writer() {
        for seed in 0..50 {
            let mut sim = Sim::new(seed);
            let mut socket = sim.connect(Plan {
                sends: Vec::new(),
                then: Then::Stay,
                takes: false,
            });
            let block = vec![1; 60_000];
            let mut sent = 0;
            while let Write::Bytes(count) = sim.write(&mut socket, &block) {
                sent += count;
            }
            assert!((1..=20_000).contains(&sent), "seed {seed}");
            assert_eq!(sim.received(0), b"");
        }
    }

    #[test]
    fn time_passes_in_waits_only() {
        let mut sim = Sim::new(1);
        let mut events = Vec::new();
        for (timeout_ms, expected) in [(0, 0), (10, 10), (1_000_000, 1_000_010)] {
            sim.wait(&mut events, Some(timeout_ms)).unwrap();
            assert_eq!((sim.now_ms(), sim.is_stuck()), (expected, false));
        }
        sim.wait(&mut events, None).unwrap();
        assert!(sim.is_stuck());
    }
}
