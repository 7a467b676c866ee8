//! One slot of an engine's table.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use relais_io::{Event, Io, Read, Side, Write};

use crate::order::TunnelInfo;
use crate::pump::{Pump, Step};
use crate::{EndReason, Handoff, Label, Rate, Route, TunnelEnd, TunnelId};

/// The most content of a record of TLS (RFC 8446 section 5.1).
const RECORD_CONTENT: usize = 1 << 14;

/// Stands for a deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// What the tunnels of an engine work with.
pub(crate) struct Shop<I: Io> {
    pub(crate) io: I,
    /// The read buffer.
    pub(crate) buffer: Box<[u8]>,
    /// Pipes that nobody uses.
    pub(crate) pipes: Vec<I::Pipe>,
    /// How many pipes may still be made.
    pub(crate) pipes_left: usize,
    /// Whether bytes that a side does not take are to stay in the socket they came by.
    pub(crate) is_full: bool,
    pub(crate) now_ms: u64,
}

impl<I: Io> Shop<I> {
    fn pipe(&mut self) -> Option<I::Pipe> {
        if let Some(pipe) = self.pipes.pop() {
            return Some(pipe);
        }
        self.pipes_left = self.pipes_left.checked_sub(1)?;
        let pipe = self.io.pipe();
        // Where the system refuses one, it is asked again only when another has been lost.
        if pipe.is_none() {
            self.pipes_left = 0;
        }
        pipe
    }
}

/// A tunnel: its pump, its sockets, its times.
pub(crate) struct Tunnel<I: Io> {
    pub(crate) pump: Pump,
    sockets: [I::Socket; 2],
    /// What the engine has counted as held by this tunnel.
    pub(crate) held: usize,
    /// Pipes with bytes from each side, if there are any.
    pipes: [Option<I::Pipe>; 2],
    label: Box<dyn Label>,
    route: Arc<Route>,
    peer: SocketAddr,
    rates: Option<Box<Rates>>,
    pub(crate) generation: u32,
    /// Waits in the engine's list of tunnels with work left.
    pub(crate) queued: bool,
    /// The Ping that the client was sent last has not been followed by anything.
    pinged: bool,
    /// The wheel's tick of the timer that counts; older ones are ignored.
    pub(crate) timer: Option<u64>,
    started_ms: u64,
    active_ms: u64,
    /// When the client was heard last.
    heard_ms: u64,
    /// Since when each side takes nothing; [`NEVER`] while it does.
    stalled_ms: [u64; 2],
    half_closed_ms: u64,
    /// When to look again at a client that sends too fast.
    resume_ms: u64,
    /// When the drain comes to this tunnel, and with which code.
    drain: Option<(u64, EndReason, u16)>,
    hurry_ms: u64,
    linger_until_ms: u64,
}

/// What came of driving a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drive {
    /// It waits for its sockets.
    Waits,
    /// It used up its share of reads and has more to do.
    Again,
    /// It is over.
    Done,
}

impl<I: Io> Tunnel<I> {
    pub(crate) fn new(
        handoff: Handoff<I::Socket>,
        generation: u32,
        now_ms: u64,
        mask: [u8; 4],
    ) -> Self {
        let limits = handoff.limits;
        let rates = Rates::new(limits.message_rate, limits.byte_rate, now_ms);
        let mut pump = Pump::new(handoff.websocket, handoff.compressed, limits, mask);
        if let Some(rate) = limits_rate(&pump) {
            pump.allow_messages(rate.burst);
        }
        pump.preload(Side::Client, handoff.to_origin, 0);
        pump.preload(Side::Origin, handoff.to_client, handoff.to_client_head);
        handoff.route.enter();
        Self {
            pump,
            sockets: [handoff.client, handoff.origin],
            held: 0,
            pipes: [None, None],
            label: handoff.label,
            route: handoff.route,
            peer: handoff.peer,
            rates,
            generation,
            queued: false,
            pinged: false,
            timer: None,
            started_ms: now_ms,
            active_ms: now_ms,
            heard_ms: now_ms,
            stalled_ms: [NEVER; 2],
            half_closed_ms: NEVER,
            resume_ms: NEVER,
            drain: None,
            hurry_ms: NEVER,
            linger_until_ms: NEVER,
        }
    }

    pub(crate) const fn socket(&self, side: Side) -> &I::Socket {
        let [client, origin] = &self.sockets;
        match side {
            Side::Client => client,
            Side::Origin => origin,
        }
    }

    pub(crate) const fn socket_mut(&mut self, side: Side) -> &mut I::Socket {
        let [client, origin] = &mut self.sockets;
        match side {
            Side::Client => client,
            Side::Origin => origin,
        }
    }

    /// When to look at the tunnel unless something happens; [`NEVER`] if never.
    pub(crate) fn deadline_ms(&self) -> u64 {
        if self.pump.is_lingering() {
            return self.hurry_ms.min(self.linger_until_ms);
        }
        let ends = self.ends().map(|(at_ms, ..)| at_ms);
        let ping_ms = after(self.heard_ms, self.pump.limits().ping);
        ends.into_iter().fold(ping_ms.min(self.resume_ms), u64::min)
    }

    /// The moments at which the tunnel ends by a limit, the reasons, and the side to blame.
    fn ends(&self) -> [(u64, EndReason, Option<Side>); 6] {
        let limits = self.pump.limits();
        let [client, origin] = self.stalled_ms;
        let drain = self.drain.unwrap_or((NEVER, EndReason::Drained, 0));
        [
            (drain.0, drain.1, None),
            (
                after(self.started_ms, limits.lifetime),
                EndReason::Lifetime,
                None,
            ),
            (
                after(client, limits.write_timeout),
                EndReason::stalled(Side::Client),
                Some(Side::Client),
            ),
            (
                after(origin, limits.write_timeout),
                EndReason::stalled(Side::Origin),
                Some(Side::Origin),
            ),
            (
                after(self.half_closed_ms, limits.half_close_timeout),
                EndReason::HalfClose,
                None,
            ),
            (after(self.active_ms, limits.idle), EndReason::Idle, None),
        ]
    }

    /// What a deadline that has come asks for.
    pub(crate) fn on_deadline(&mut self, now_ms: u64) -> Option<(EndReason, [u16; 2])> {
        let ends = self.ends();
        // Of several that have come, the first in the list names the end.
        if let Some((_, reason, side)) = ends.into_iter().find(|(at_ms, ..)| *at_ms <= now_ms) {
            let codes = match self.drain {
                Some((at_ms, _, code)) if at_ms <= now_ms => [code; 2],
                _ => Side::BOTH.map(|to| reason.close_code(to, side)),
            };
            return Some((reason, codes));
        }
        if self.resume_ms <= now_ms {
            self.resume_ms = NEVER;
            self.pump.pause(Side::Client, false);
        }
        if after(self.heard_ms, self.pump.limits().ping) <= now_ms {
            if self.pinged {
                let reason = EndReason::PingTimeout;
                let codes = Side::BOTH.map(|to| reason.close_code(to, Some(Side::Client)));
                return Some((reason, codes));
            }
            self.pinged = true;
            self.heard_ms = now_ms;
            self.pump.ping();
        }
        None
    }

    /// A lingering tunnel makes do with the end of a frame from `hurry_ms` on, and is closed at `until_ms`.
    pub(crate) const fn linger(&mut self, hurry_ms: u64, until_ms: u64) {
        if until_ms < self.linger_until_ms {
            self.linger_until_ms = until_ms;
            self.hurry_ms = hurry_ms;
        }
    }

    /// Whether a lingering tunnel is to be closed now; if not, it is hurried on.
    pub(crate) fn lingers_too_long(&mut self, now_ms: u64) -> bool {
        if self.hurry_ms <= now_ms {
            self.hurry_ms = NEVER;
            self.pump.hurry();
        }
        self.linger_until_ms <= now_ms
    }

    /// Ends the tunnel at `at_ms`, unless that is to happen earlier already.
    pub(crate) fn drain_at(&mut self, at_ms: u64, reason: EndReason, code: u16) {
        if self.drain.is_none_or(|(before, ..)| at_ms < before) {
            self.drain = Some((at_ms, reason, code));
        }
    }

    /// Does what there is to do, with at most `reads` reads.
    pub(crate) fn drive(&mut self, shop: &mut Shop<I>, reads: usize) -> Drive {
        let mut reads = reads;
        let drive = loop {
            match self.pump.step() {
                Step::Read(from) => {
                    self.relay(from, shop);
                    reads = reads.saturating_sub(1);
                    if reads == 0 {
                        break Drive::Again;
                    }
                }
                Step::Fill(from, most) => {
                    self.fill(from, most, shop);
                    reads = reads.saturating_sub(1);
                    if reads == 0 {
                        break Drive::Again;
                    }
                }
                Step::Drain(to, most) => self.drain_pipe(to, most, shop),
                Step::Write(to) => self.write(to, shop),
                Step::Shutdown(to) => shop.io.shutdown(self.socket_mut(to)),
                Step::Wait => break Drive::Waits,
                // Sealed bytes that wait for room would be lost with the socket.
                Step::Done if self.has_backlog(&shop.io) => break Drive::Waits,
                Step::Done => return Drive::Done,
            }
        };
        self.note_stalls(shop);
        drive
    }

    /// A socket's readiness changed.
    pub(crate) fn ready(&mut self, event: Event, io: &mut I) {
        let side = event.token.side;
        io.note(self.socket_mut(side), event);
        let writable = event.writable && io.backlog(self.socket(side)) == 0;
        self.pump
            .ready(side, event.readable, writable, event.hangup);
    }

    /// Finds what came along with the sockets, which no event tells of.
    pub(crate) fn look_inside(&mut self, io: &I) {
        for side in Side::BOTH {
            if io.has_more(self.socket(side)) {
                self.pump.ready(side, true, false, false);
            }
        }
    }

    /// Bytes of memory that the tunnel holds while something moves.
    pub(crate) fn held_now(&self, io: &I) -> usize {
        let sockets = self.sockets.iter().map(|socket| io.held(socket));
        self.pump.held() + sockets.sum::<usize>()
    }

    fn has_backlog(&self, io: &I) -> bool {
        self.sockets.iter().any(|socket| io.backlog(socket) > 0)
    }

    /// Closes the sockets and tells the label.
    pub(crate) fn end(self, shop: &mut Shop<I>, id: TunnelId) {
        let end = self.summary(shop.now_ms, id);
        self.route.leave(&end);
        let lost = self.pipes.iter().flatten().count();
        // A pipe with bytes in it is of no use to others.
        shop.pipes_left += lost;
        for socket in self.sockets {
            shop.io.close(socket);
        }
        tell(self.label, &end);
    }

    /// The tunnel as the table shows it.
    pub(crate) fn info(&self, id: TunnelId, now_ms: u64) -> TunnelInfo {
        TunnelInfo {
            id,
            client: self.peer,
            route: Arc::clone(&self.route),
            age: Duration::from_millis(now_ms.saturating_sub(self.started_ms)),
            idle: Duration::from_millis(now_ms.saturating_sub(self.active_ms)),
            from_client: self.pump.traffic(Side::Client),
            from_origin: self.pump.traffic(Side::Origin),
            is_websocket: self.pump.is_websocket(),
            is_draining: self.drain.is_some() || self.pump.is_lingering(),
        }
    }

    fn summary(&self, now_ms: u64, id: TunnelId) -> TunnelEnd {
        let (to_origin, to_client) = (
            self.pump.traffic(Side::Client),
            self.pump.traffic(Side::Origin),
        );
        TunnelEnd {
            id,
            client: self.peer,
            route: Arc::clone(&self.route),
            reason: self.pump.reason().unwrap_or(EndReason::Stopped),
            client_to_origin: to_origin.bytes,
            origin_to_client: to_client.bytes,
            messages_to_origin: to_origin.messages,
            messages_to_client: to_client.messages,
            from_client: self.pump.counters(Side::Client),
            from_origin: self.pump.counters(Side::Origin),
            close_code: self.pump.close_code(),
            duration: Duration::from_millis(now_ms.saturating_sub(self.started_ms)),
        }
    }

    fn relay(&mut self, from: Side, shop: &mut Shop<I>) {
        if shop.is_full && self.relay_peeked(from, shop) {
            return;
        }
        let most = self.read_most(from, shop);
        let buffer = shop.buffer.get_mut(..most).unwrap_or_default();
        let outcome = shop.io.read(self.socket_mut(from), buffer);
        if let Read::Bytes(count) = outcome {
            self.heard(from, count, shop.now_ms);
        }
        let pass = self.pump.read(from, outcome, buffer);
        if shop.io.has_more(self.socket(from)) {
            self.pump.ready(from, true, false, false);
        }
        if pass == 0 {
            return;
        }
        let bytes = buffer.get(..pass).unwrap_or_default();
        let taken = shop.io.write(self.socket_mut(from.other()), bytes);
        self.pump.forwarded(from, bytes, taken);
        self.note_clog(from.other(), &shop.io);
    }

    /// Stops the flow to a side that keeps sealed bytes.
    fn note_clog(&mut self, to: Side, io: &I) {
        if io.backlog(self.socket(to)) > 0 {
            self.pump.clogged(to);
        }
    }

    /// Passes bytes on without ever owning them, at the price of a call more. False when they have to be read.
    fn relay_peeked(&mut self, from: Side, shop: &mut Shop<I>) -> bool {
        let most = self.read_most(from, shop);
        let buffer = shop.buffer.get_mut(..most).unwrap_or_default();
        let Read::Bytes(count) = shop.io.peek(self.socket_mut(from), buffer) else {
            return false;
        };
        let bytes = buffer.get_mut(..count).unwrap_or_default();
        if !self.pump.would_pass(from, bytes) {
            return false;
        }
        let outcome = shop.io.write(self.socket_mut(from.other()), bytes);
        let taken = match outcome {
            Write::Bytes(taken) => taken,
            _ => 0,
        };
        self.pump.peeked(from, bytes, outcome, count >= most);
        if shop.io.backlog(self.socket(from.other())) > 0 {
            self.pump.clogged(from.other());
        }
        if taken > 0 {
            let taken = bytes.get_mut(..taken).unwrap_or_default();
            shop.io.consume(self.socket_mut(from), taken);
            self.heard(from, taken.len(), shop.now_ms);
        }
        true
    }

    /// How much to read at once: a client with a rate gets no more than that, and where the engine is full and bytes
    /// are sealed or opened, so that they cannot stay in the kernel, it is the content of a record.
    fn read_most(&self, from: Side, shop: &Shop<I>) -> usize {
        let rate = self.pump.limits().byte_rate;
        let direct = || self.sockets.iter().all(|socket| shop.io.is_direct(socket));
        let most = if shop.is_full && !direct() {
            shop.buffer.len().min(RECORD_CONTENT)
        } else {
            shop.buffer.len()
        };
        match rate.filter(|_| from == Side::Client) {
            Some(rate) => usize::try_from(rate.burst.max(1))
                .unwrap_or(usize::MAX)
                .min(most),
            None => most,
        }
    }

    /// Notes bytes that came from a side, and refills what it may send.
    fn heard(&mut self, from: Side, count: usize, now_ms: u64) {
        self.active_ms = now_ms;
        if from == Side::Origin {
            return;
        }
        self.heard_ms = now_ms;
        self.pinged = false;
        let Some(rates) = &mut self.rates else { return };
        if let Some(allowed) = rates.messages(self.pump.messages_allowed(), now_ms) {
            self.pump.allow_messages(allowed);
        }
        if let Some(resume_ms) = rates.bytes(count as u64, now_ms) {
            self.resume_ms = resume_ms;
            self.pump.pause(Side::Client, true);
        }
    }

    fn fill(&mut self, from: Side, most: usize, shop: &mut Shop<I>) {
        let ready = shop
            .io
            .can_splice(self.socket(from), self.socket(from.other()));
        let Some(mut pipe) = ready.then(|| shop.pipe()).flatten() else {
            return self.pump.copy(from);
        };
        match shop.io.fill(self.socket_mut(from), &mut pipe, most) {
            None => self.pump.copy(from),
            Some(outcome) => {
                self.pump.filled(from, outcome);
                if let Read::Bytes(count) = outcome {
                    self.heard(from, count, shop.now_ms);
                    *self.pipe_mut(from) = Some(pipe);
                    return;
                }
            }
        }
        shop.pipes.push(pipe);
    }

    fn drain_pipe(&mut self, to: Side, most: usize, shop: &mut Shop<I>) {
        let Some(mut pipe) = self.pipe_mut(to.other()).take() else {
            return;
        };
        let broken = Write::Broken(relais_io::Fault::Other(std::io::ErrorKind::Unsupported));
        let outcome = shop.io.drain(self.socket_mut(to), &mut pipe, most);
        let outcome = outcome.unwrap_or(broken);
        self.pump.drained(to, outcome);
        match outcome {
            Write::Bytes(count) => {
                self.progress(to, shop.now_ms);
                if count >= most {
                    shop.pipes.push(pipe);
                } else {
                    *self.pipe_mut(to.other()) = Some(pipe);
                }
            }
            Write::Blocked => *self.pipe_mut(to.other()) = Some(pipe),
            Write::Broken(_) => shop.pipes_left += 1,
        }
    }

    fn write(&mut self, to: Side, shop: &mut Shop<I>) {
        let [client, origin] = &mut self.sockets;
        let socket = match to {
            Side::Client => client,
            Side::Origin => origin,
        };
        let taken = shop.io.write(socket, self.pump.unsent(to));
        if matches!(taken, Write::Bytes(_)) {
            self.progress(to, shop.now_ms);
        }
        self.pump.wrote(to, taken);
        self.note_clog(to, &shop.io);
    }

    fn progress(&mut self, to: Side, now_ms: u64) {
        self.active_ms = now_ms;
        if let Some(stalled) = self.stalled_ms.get_mut(to as usize) {
            *stalled = NEVER;
        }
    }

    /// Notes since when a side takes nothing, or only one stream is open.
    fn note_stalls(&mut self, shop: &Shop<I>) {
        let now_ms = shop.now_ms;
        let sockets = Side::BOTH.into_iter().zip(&self.sockets);
        for (stalled, (side, socket)) in self.stalled_ms.iter_mut().zip(sockets) {
            if !self.pump.waits_for(side) && shop.io.backlog(socket) == 0 {
                *stalled = NEVER;
            } else if *stalled == NEVER {
                *stalled = now_ms;
            }
        }
        if self.half_closed_ms == NEVER && self.pump.is_half_closed() {
            self.half_closed_ms = now_ms;
        }
    }

    const fn pipe_mut(&mut self, from: Side) -> &mut Option<I::Pipe> {
        let [client, origin] = &mut self.pipes;
        match from {
            Side::Client => client,
            Side::Origin => origin,
        }
    }
}

/// What a client with a rate may still send, in thousandths so that no part of a millisecond is lost.
struct Rates {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

struct Bucket {
    rate: Rate,
    /// Thousandths left; below zero after a read that was larger.
    left: i64,
    at_ms: u64,
}

impl Rates {
    fn new(messages: Option<Rate>, bytes: Option<Rate>, now_ms: u64) -> Option<Box<Self>> {
        let bucket = |rate: Rate| Bucket {
            rate,
            left: thousandths(rate.burst),
            at_ms: now_ms,
        };
        (messages.is_some() || bytes.is_some()).then(|| {
            Box::new(Self {
                messages: messages.map(bucket),
                bytes: bytes.map(bucket),
            })
        })
    }

    /// How many messages may begin now, where `unused` of the last allowance are left.
    fn messages(&mut self, unused: u64, now_ms: u64) -> Option<u64> {
        let bucket = self.messages.as_mut()?;
        let whole = bucket.left / 1000;
        bucket.left -= (whole - i64::try_from(unused).unwrap_or(whole).min(whole)) * 1000;
        bucket.refill(now_ms);
        u64::try_from(bucket.left / 1000).ok()
    }

    /// Takes bytes, and returns until when to wait if they were too many.
    fn bytes(&mut self, count: u64, now_ms: u64) -> Option<u64> {
        let bucket = self.bytes.as_mut()?;
        bucket.refill(now_ms);
        bucket.left = bucket.left.saturating_sub(thousandths(count));
        let missing = u64::try_from(-bucket.left).ok().filter(|left| *left > 0)?;
        Some(now_ms + missing.div_ceil(bucket.rate.per_second.max(1)))
    }
}

impl Bucket {
    fn refill(&mut self, now_ms: u64) {
        let gained = now_ms
            .saturating_sub(self.at_ms)
            .saturating_mul(self.rate.per_second);
        self.at_ms = now_ms;
        self.left = self
            .left
            .saturating_add(i64::try_from(gained).unwrap_or(i64::MAX))
            .min(thousandths(self.rate.burst));
    }
}

fn thousandths(count: u64) -> i64 {
    i64::try_from(count.saturating_mul(1000)).unwrap_or(i64::MAX)
}

fn limits_rate(pump: &Pump) -> Option<Rate> {
    pump.limits().message_rate
}

fn after(since_ms: u64, limit: Option<Duration>) -> u64 {
    limit.map_or(NEVER, |limit| since_ms.saturating_add(millis(limit)))
}

/// Ends a tunnel that no engine has taken.
pub(crate) fn refuse<S>(handoff: Handoff<S>) {
    let Handoff {
        client,
        origin,
        label,
        peer,
        route,
        ..
    } = handoff;
    drop((client, origin));
    let end = TunnelEnd {
        id: TunnelId(0),
        client: peer,
        route,
        reason: EndReason::EngineFailed,
        client_to_origin: 0,
        origin_to_client: 0,
        messages_to_origin: 0,
        messages_to_client: 0,
        from_client: relais_websocket::Counters::default(),
        from_origin: relais_websocket::Counters::default(),
        close_code: None,
        duration: Duration::ZERO,
    };
    tell(label, &end);
}

fn tell(label: Box<dyn Label>, end: &TunnelEnd) {
    // A label is somebody else's code, and its panic is no reason to drop every other tunnel of this thread.
    let _ = catch_unwind(AssertUnwindSafe(move || label.ended(end)));
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wires;
    use relais_io::epoll::Epoll;

    #[test]
    fn a_tunnel_is_small() {
        // A slot of the table is a tunnel or the number of the next free slot.
        let size = size_of::<Option<Tunnel<Wires<Epoll>>>>();
        eprintln!("a slot takes {size} bytes");
        assert!(size <= 720, "{size}");
    }

    #[test]
    fn messages_are_refilled_by_the_millisecond() {
        let rate = Rate {
            per_second: 10,
            burst: 3,
        };
        let mut rates = Rates::new(Some(rate), None, 0).unwrap();
        // Unused of the last allowance, the time, the next allowance.
        for (unused, now_ms, allowed) in [
            (3, 0, 3),
            (0, 0, 0),
            (0, 99, 0),
            (0, 100, 1),
            (0, 450, 3),
            (1, 450, 1),
        ] {
            assert_eq!(rates.messages(unused, now_ms), Some(allowed), "{now_ms}");
        }
    }

    #[test]
    fn bytes_wait_for_what_they_are_too_many() {
        let rate = Rate {
            per_second: 1000,
            burst: 500,
        };
        let mut rates = Rates::new(None, Some(rate), 0).unwrap();
        for (count, now_ms, resume) in [
            (500, 0, None),
            (100, 0, Some(100)),
            (50, 100, Some(150)),
            (500, 10_000, None),
        ] {
            assert_eq!(rates.bytes(count, now_ms), resume, "{now_ms}");
        }
    }
}
