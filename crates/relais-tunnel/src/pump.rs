//! The state machine of one tunnel: what to read, write and shut down next, without sockets, clocks or buffers.
//!
//! A driver tells the pump what its sockets are ready for ([`Pump::ready`]), asks what to do ([`Pump::step`]) and
//! reports what came of it, until there is nothing left to do. The bytes of a read stay in the driver's buffer: when
//! [`Pump::read`] says so, the driver offers them to the other side and reports with [`Pump::forwarded`], and only what
//! that side did not take is copied into the pump. Long payloads may go through a pipe instead ([`Step::Fill`],
//! [`Step::Drain`]); the pump only counts them. A side is read only while the other side has no such bytes waiting,
//! so that a direction holds at most one read.
//!
//! The end of a stream is passed on behind its last byte, and the opposite direction goes on (half-close). The tunnel
//! is done when both streams have ended on both sides. When a side breaks, or relais ends the tunnel, the pump
//! *lingers*: what the sockets still send is read and dropped while the remaining bytes and the ends of the streams go
//! out, because closing a socket with unread bytes would make the kernel send a reset that overtakes them. A driver
//! bounds that time.
//!
//! A Close frame of relais' own goes behind a whole message. A direction within one is carried on to its end first;
//! [`Pump::hurry`] makes do with the end of a frame (RFC 6455 section 5.4 lets a Close stand between two fragments),
//! and within a frame there is none.

use std::mem;
use std::sync::Arc;

use relais_io::{Fault, Read, Side, Write};
use relais_websocket::{Counters, PING_TO_CLIENT, close_frame};

use crate::follow::{Follow, Passed, Rules};
use crate::{EndReason, TunnelLimits};

/// What a driver is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read from this side and report with [`Pump::read`].
    Read(Side),
    /// Move at most so many bytes from this side into a pipe and report with [`Pump::filled`], or read instead after
    /// [`Pump::copy`].
    Fill(Side, usize),
    /// Move so many bytes from the pipe to this side and report with [`Pump::drained`].
    Drain(Side, usize),
    /// Write [`Pump::unsent`] to this side and report with [`Pump::wrote`].
    Write(Side),
    /// End the stream to this side; the pump takes it as done.
    Shutdown(Side),
    /// Nothing, until a socket is ready for more.
    Wait,
    /// Both directions have ended: close both sockets.
    Done,
}

/// What went through a tunnel, by direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes that the receiving side's socket took, without HTTP heads and without frames written by relais.
    pub bytes: u64,
    /// Complete text and binary messages seen; 0 when frames are not followed.
    pub messages: u64,
}

/// Both directions of one tunnel.
pub struct Pump {
    from_client: Flow,
    from_origin: Flow,
    limits: Arc<TunnelLimits>,
    reason: Option<EndReason>,
    /// Who sent the first Close frame.
    closer: Option<Side>,
    /// The code of a Close frame of our own, 0 before there is one: of two, what an offender was told.
    told: u16,
    /// The masking key of frames to the origin.
    mask: [u8; 4],
    /// Which side to look at first, so that two busy directions take turns.
    turn: Side,
    lingering: bool,
    /// A Ping is due.
    pinging: bool,
}

impl Pump {
    /// A pump for a tunnel whose streams are WebSocket frames, or any bytes; `compressed` when the peers agreed on
    /// RFC 7692. Frames of its own to the origin are masked with `mask` (RFC 6455 section 5.3).
    #[must_use]
    pub fn new(
        websocket: bool,
        compressed: bool,
        limits: Arc<TunnelLimits>,
        mask: [u8; 4],
    ) -> Self {
        let flow = |from| Flow::new(websocket.then(|| Follow::new(from, compressed)));
        Self {
            from_client: flow(Side::Client),
            from_origin: flow(Side::Origin),
            limits,
            reason: None,
            closer: None,
            told: 0,
            mask,
            turn: Side::Client,
            lingering: false,
            pinging: false,
        }
    }

    /// Takes bytes that were read from `from` before the pump was made; `head` of them, at the front, belong to HTTP.
    /// To be called at most once per side, before anything else.
    pub fn preload(&mut self, from: Side, mut bytes: Vec<u8>, head: usize) {
        let head = head.min(bytes.len());
        let passed = self.count(from, bytes.get(head..).unwrap_or_default());
        bytes.truncate(head + passed);
        self.flow(from).unsent = bytes;
    }

    /// A socket's readiness changed. `hangup` as in [`relais_io::Event`].
    pub fn ready(&mut self, side: Side, readable: bool, writable: bool, hangup: bool) {
        let flow = self.flow(side);
        flow.readable |= readable;
        flow.to_the_end |= hangup;
        self.flow(side.other()).writable |= writable;
    }

    /// What to do now.
    pub fn step(&mut self) -> Step {
        if mem::take(&mut self.pinging) {
            self.put_ping();
        }
        self.say_goodbyes();
        let sides = [self.turn, self.turn.other()];
        if let Some(step) = sides
            .iter()
            .find_map(|side| self.flow(*side).next_out(side.other()))
        {
            return step;
        }
        if let Some(side) = sides.into_iter().find(|side| self.flow(*side).wants_read()) {
            self.turn = side.other();
            let whole = self.limits.byte_rate.is_none() || side == Side::Origin;
            return match self.flow(side).fills() {
                Some(most) if whole => Step::Fill(side, most),
                _ => Step::Read(side),
            };
        }
        if Side::BOTH.iter().all(|side| self.flow(*side).is_over()) {
            Step::Done
        } else {
            Step::Wait
        }
    }

    /// Reports a read from `from` into `buffer`. So many bytes at its front are to be offered to the other side at once,
    /// and the outcome reported with [`Pump::forwarded`]; none when it is 0.
    #[must_use]
    pub fn read(&mut self, from: Side, outcome: Read, buffer: &[u8]) -> usize {
        match outcome {
            Read::Bytes(count) => return self.read_bytes(from, count, buffer),
            Read::Blocked => self.flow(from).blocked(),
            Read::End => self.read_end(from),
            Read::Broken(fault) => self.read_broken(from, fault),
        }
        0
    }

    /// `to` keeps some of what it was given on its side of the socket: it takes no more until it is ready for it.
    pub const fn clogged(&mut self, to: Side) {
        self.flow(to.other()).writable = false;
    }

    /// Reports what became of the bytes just read from `from`.
    pub fn forwarded(&mut self, from: Side, bytes: &[u8], outcome: Write) {
        let taken = match outcome {
            Write::Bytes(count) => count,
            Write::Blocked => 0,
            Write::Broken(fault) => return self.write_broken(from, bytes.len(), fault),
        };
        let rest = bytes.get(taken..).unwrap_or_default();
        if !rest.is_empty() {
            let flow = self.flow(from);
            flow.writable = false;
            flow.unsent = rest.to_vec();
        }
    }

    /// Whether all of `bytes`, which are the next from `from`, would be passed on.
    #[must_use]
    pub fn would_pass(&self, from: Side, bytes: &[u8]) -> bool {
        let flow = self.flow_ref(from);
        let rules = self.rules(from);
        !flow.discard
            && flow
                .follow
                .is_none_or(|mut follow| follow.advance(bytes, &rules).bytes == bytes.len())
    }

    /// Reports that `bytes` from `from`, which [`Pump::would_pass`], were offered to the other side while they stayed in
    /// the socket, and that those taken were consumed. `full` when more may be there.
    pub fn peeked(&mut self, from: Side, bytes: &[u8], outcome: Write, full: bool) {
        let taken = match outcome {
            Write::Bytes(count) => count,
            Write::Blocked => 0,
            Write::Broken(fault) => return self.write_broken(from, 0, fault),
        };
        self.count(from, bytes.get(..taken).unwrap_or_default());
        let flow = self.flow(from);
        flow.writable &= taken == bytes.len();
        flow.readable = full || taken < bytes.len() || flow.to_the_end;
    }

    /// No pipe takes the bytes of the frame under way from `from`: they are to be read.
    pub fn copy(&mut self, from: Side) {
        self.flow(from).copies = true;
    }

    /// Reports a move from `from` into the pipe.
    pub fn filled(&mut self, from: Side, outcome: Read) {
        match outcome {
            Read::Bytes(count) => {
                let flow = self.flow(from);
                flow.piped += count;
                flow.bytes += count as u64;
                if let Some(follow) = &mut flow.follow {
                    follow.skip(count as u64);
                }
            }
            Read::Blocked => self.flow(from).blocked(),
            Read::End => self.read_end(from),
            Read::Broken(fault) => self.read_broken(from, fault),
        }
    }

    /// Reports a move from the pipe to `to`.
    pub fn drained(&mut self, to: Side, outcome: Write) {
        let flow = self.flow(to.other());
        match outcome {
            Write::Bytes(count) => flow.piped = flow.piped.saturating_sub(count),
            Write::Blocked => flow.writable = false,
            Write::Broken(fault) => self.write_broken(to.other(), 0, fault),
        }
    }

    /// The bytes that wait to be written to `to`.
    #[must_use]
    pub fn unsent(&self, to: Side) -> &[u8] {
        self.flow_ref(to.other()).unsent()
    }

    /// Reports a write of [`Pump::unsent`] to `to`.
    pub fn wrote(&mut self, to: Side, outcome: Write) {
        match outcome {
            Write::Bytes(count) => self.flow(to.other()).advance(count),
            Write::Blocked => self.flow(to.other()).writable = false,
            Write::Broken(fault) => self.write_broken(to.other(), 0, fault),
        }
    }

    /// Ends the tunnel for `reason`, unless it is ending already. In a WebSocket tunnel each side that has not been sent
    /// a Close frame yet gets one with its code of `codes` (client first; RFC 6455 section 7.4) behind the message under
    /// way. From then on the pump lingers.
    pub fn close(&mut self, reason: EndReason, codes: [u16; 2]) {
        if self.lingering {
            return;
        }
        if self.closer.is_none() && self.is_half_closed() {
            // One side has ended its stream, and the other could go on until now.
            self.reason = None;
        }
        self.blame(reason);
        self.lingering = true;
        [self.from_origin.goodbye, self.from_client.goodbye] = codes;
    }

    /// Does not wait for messages under way any longer.
    pub fn hurry(&mut self) {
        self.from_client.hurried = true;
        self.from_origin.hurried = true;
    }

    /// Sends the client a Ping frame, if one may stand where its stream is at the next step and nothing waits for it.
    pub fn ping(&mut self) {
        self.pinging = true;
    }

    /// Stops reading from `from`, or goes on.
    pub fn pause(&mut self, from: Side, paused: bool) {
        self.flow(from).paused = paused;
    }

    /// Lets the client begin so many messages until this is called again.
    pub fn allow_messages(&mut self, count: u64) {
        self.from_client.messages = count;
    }

    /// Messages that the client may still begin.
    #[must_use]
    pub const fn messages_allowed(&self) -> u64 {
        self.from_client.messages
    }

    /// Notes `reason` unless there is one already.
    pub fn blame(&mut self, reason: EndReason) {
        self.reason.get_or_insert(reason);
    }

    /// Whether the tunnel is ending and only waits for the sockets; see the module's description.
    #[must_use]
    pub const fn is_lingering(&self) -> bool {
        self.lingering
    }

    /// Whether one stream has ended and the other goes on.
    #[must_use]
    pub const fn is_half_closed(&self) -> bool {
        self.from_client.ended != self.from_origin.ended
    }

    /// Whether bytes wait for `to`.
    #[must_use]
    pub const fn waits_for(&self, to: Side) -> bool {
        self.flow_ref(to.other()).waits()
    }

    /// Why the tunnel ends; `None` while nothing has happened.
    #[must_use]
    pub const fn reason(&self) -> Option<EndReason> {
        self.reason
    }

    /// The code of the first Close frame, if it had one: of a peer, or our own.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        match self.closer {
            Some(side) => self.flow_ref(side).follow.as_ref()?.close_code(),
            None => Some(self.told).filter(|code| *code != 0),
        }
    }

    /// What went from `from` to the other side so far.
    #[must_use]
    pub fn traffic(&self, from: Side) -> Traffic {
        let flow = self.flow_ref(from);
        Traffic {
            bytes: flow.bytes - flow.undelivered(),
            messages: flow.follow.as_ref().map_or(0, Follow::messages),
        }
    }

    /// What the frames from `from` came to; nothing when frames are not followed.
    #[must_use]
    pub fn counters(&self, from: Side) -> Counters {
        let follow = self.flow_ref(from).follow.as_ref();
        follow.map_or_else(Counters::default, |follow| *follow.counters())
    }

    /// Whether frames are followed.
    #[must_use]
    pub const fn is_websocket(&self) -> bool {
        self.from_client.follow.is_some()
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &TunnelLimits {
        &self.limits
    }

    /// Bytes of memory that the pump holds besides itself.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.from_client.unsent.capacity() + self.from_origin.unsent.capacity()
    }

    fn read_bytes(&mut self, from: Side, count: usize, buffer: &[u8]) -> usize {
        let flow = self.flow(from);
        // A read that leaves room has emptied the socket, and what comes next raises its own event. Only the end of a
        // stream that has been announced already does not.
        flow.readable = count >= buffer.len() || flow.to_the_end;
        flow.bulk = count >= buffer.len();
        if flow.discard {
            return 0;
        }
        self.count(from, buffer.get(..count).unwrap_or_default())
    }

    fn read_end(&mut self, from: Side) {
        self.blame(EndReason::closed_by(from));
        self.flow(from).ended = true;
        if !self.limits.half_close {
            self.end_both();
        }
    }

    /// Ends both streams behind what is on its way.
    const fn end_both(&mut self) {
        self.lingering = true;
        self.from_client.discard = true;
        self.from_origin.discard = true;
    }

    /// The socket itself is sound. A Close frame has said all that a close_notify would have; without one, bytes may
    /// be missing, and nothing good can follow.
    fn read_truncated(&mut self, from: Side) {
        self.blame(EndReason::fault(from, Fault::Truncated));
        self.flow(from).ended = true;
        if !self.flow(from).has_close() {
            self.end_both();
        }
    }

    fn read_broken(&mut self, from: Side, fault: Fault) {
        if fault == Fault::Truncated {
            return self.read_truncated(from);
        }
        let reason = EndReason::fault(from, fault);
        self.blame(reason);
        self.flow(from).ended = true;
        self.flow(from.other()).cut(0);
        self.lingering = true;
        // A reset is an answer of the peer's own, often to bytes that it would not read, and the other side sees the
        // end of the stream as it would have without relais between (the Autobahn suite looks for that). An origin that
        // is out of reach cannot be seen by the client in any other way than by being told.
        if from == Side::Origin && fault != Fault::Reset {
            let flow = self.flow(from);
            flow.goodbye = reason.close_code(Side::Client, Some(from));
            flow.hurried = true;
        }
    }

    /// The side that `from`'s bytes go to takes no more; `lost` bytes were on their way, in the driver's buffer.
    fn write_broken(&mut self, from: Side, lost: usize, fault: Fault) {
        self.blame(EndReason::fault(from.other(), fault));
        self.flow(from).cut(lost);
        self.lingering = true;
        // Bytes that the broken side sent before are still there to be read, and behind them the end.
        self.ready(from.other(), true, false, true);
    }

    /// Counts bytes from `from`, and returns how many of them are passed on.
    fn count(&mut self, from: Side, bytes: &[u8]) -> usize {
        let rules = self.rules(from);
        let flow = self.flow(from);
        let passed = match &mut flow.follow {
            Some(follow) => follow.advance(bytes, &rules),
            None => Passed {
                bytes: bytes.len(),
                ..Passed::default()
            },
        };
        flow.bytes += passed.bytes as u64;
        flow.copies &= flow.follow.is_none() || flow.payload_left() > 0;
        if flow.messages != u64::MAX {
            flow.messages = flow.messages.saturating_sub(passed.began);
        }
        if passed.closes {
            self.closer.get_or_insert(from);
            self.blame(EndReason::closed_by(from));
        }
        if let Some(reason) = passed.hit {
            self.flow(from).hurried = true;
            self.close(
                reason,
                Side::BOTH.map(|to| reason.close_code(to, Some(from))),
            );
        }
        passed.bytes
    }

    fn rules(&self, from: Side) -> Rules {
        let (flow, limits) = (self.flow_ref(from), &*self.limits);
        Rules {
            frame_size: limits.frame_size.of(from),
            message_size: limits.message_size.of(from),
            messages: flow.messages,
            strict: limits.end_on_violation,
            to_message_end: flow.goodbye != 0,
        }
    }

    fn put_ping(&mut self) {
        let flow = &mut self.from_origin;
        if !self.lingering && flow.takes_frame() && !flow.waits() {
            flow.put(&PING_TO_CLIENT);
        }
    }

    fn say_goodbyes(&mut self) {
        if !self.lingering {
            return;
        }
        for from in Side::BOTH {
            let mask = (from == Side::Client).then_some(self.mask);
            let flow = self.flow(from);
            if flow.goodbye == 0 || !flow.is_time_for_goodbye() {
                continue;
            }
            let code = mem::take(&mut flow.goodbye);
            let told = !flow.finished && !flow.discard && flow.takes_frame();
            if told {
                flow.put(&close_frame(code, b"", mask));
            }
            flow.discard = true;
            if told {
                self.told = more_telling(self.told, code);
            }
        }
    }

    const fn flow(&mut self, from: Side) -> &mut Flow {
        match from {
            Side::Client => &mut self.from_client,
            Side::Origin => &mut self.from_origin,
        }
    }

    const fn flow_ref(&self, from: Side) -> &Flow {
        match from {
            Side::Client => &self.from_client,
            Side::Origin => &self.from_origin,
        }
    }
}

/// Payloads with at least so much to come go through a pipe: the two calls more have paid off by then.
const PIPE_PAYLOAD_MIN: u64 = 128 << 10;

/// One direction: a source that is read and a sink that is written.
struct Flow {
    /// Bytes that the sink did not take, from `sent` on. It has no capacity when nothing waits.
    unsent: Vec<u8>,
    sent: usize,
    /// Bytes in the pipe; they go before those in `unsent`.
    piped: usize,
    /// Bytes read from the source to be passed on, HTTP head excepted.
    bytes: u64,
    /// Messages that may still begin.
    messages: u64,
    follow: Option<Follow>,
    /// The code of a Close frame that the sink is to be sent; 0 is none.
    goodbye: u16,
    /// How many bytes at the end of `unsent` are frames of our own.
    own: u8,
    /// The source may have bytes.
    readable: bool,
    /// The end of the source was announced, and reading goes on until it is met.
    to_the_end: bool,
    /// The source will send no more.
    ended: bool,
    /// What comes from the source is dropped.
    discard: bool,
    /// The source is not read for now.
    paused: bool,
    /// The last read filled the buffer.
    bulk: bool,
    /// The frame under way does not go through a pipe.
    copies: bool,
    /// The goodbye does not wait for the end of a message.
    hurried: bool,
    /// The sink may take bytes.
    writable: bool,
    /// The sink was told the end of the stream, or is broken.
    finished: bool,
}

impl Flow {
    const fn new(follow: Option<Follow>) -> Self {
        Self {
            unsent: Vec::new(),
            sent: 0,
            piped: 0,
            bytes: 0,
            messages: u64::MAX,
            follow,
            goodbye: 0,
            own: 0,
            readable: false,
            to_the_end: false,
            ended: false,
            discard: false,
            paused: false,
            bulk: false,
            copies: false,
            hurried: false,
            writable: true,
            finished: false,
        }
    }

    fn unsent(&self) -> &[u8] {
        self.unsent.get(self.sent..).unwrap_or_default()
    }

    const fn waits(&self) -> bool {
        self.piped > 0 || !self.unsent.is_empty()
    }

    fn next_out(&mut self, to: Side) -> Option<Step> {
        if self.finished {
            return None;
        }
        if self.piped > 0 {
            return self.writable.then_some(Step::Drain(to, self.piped));
        }
        if !self.unsent.is_empty() {
            return self.writable.then_some(Step::Write(to));
        }
        let end = self.ended || self.discard;
        self.finished = end;
        end.then_some(Step::Shutdown(to))
    }

    const fn wants_read(&self) -> bool {
        self.readable
            && !self.ended
            && (self.discard || self.writable && !self.paused && !self.waits())
    }

    /// How many bytes at most go through a pipe next; `None` when they are read.
    fn fills(&self) -> Option<usize> {
        if self.discard || self.copies || self.goodbye != 0 {
            return None;
        }
        match &self.follow {
            Some(_) => Some(self.payload_left())
                .filter(|left| *left >= PIPE_PAYLOAD_MIN)
                .map(|left| usize::try_from(left).unwrap_or(usize::MAX)),
            None => self.bulk.then_some(usize::MAX),
        }
    }

    fn payload_left(&self) -> u64 {
        self.follow.as_ref().map_or(0, Follow::payload_left)
    }

    const fn is_over(&self) -> bool {
        self.ended && self.finished
    }

    fn takes_frame(&self) -> bool {
        self.follow.as_ref().is_some_and(Follow::takes_frame)
    }

    fn has_close(&self) -> bool {
        self.follow.as_ref().is_some_and(Follow::has_close)
    }

    fn is_time_for_goodbye(&self) -> bool {
        self.hurried
            || self.ended
            || self.discard
            || self.finished
            || self.follow.as_ref().is_none_or(Follow::at_message_end)
    }

    /// Puts a frame of our own behind the last byte.
    fn put(&mut self, frame: &[u8]) {
        self.own = self.own.saturating_add(frame.len() as u8);
        // What is held may be all that there is room for, and must not double for a few bytes.
        self.unsent.reserve_exact(frame.len());
        self.unsent.extend_from_slice(frame);
    }

    const fn blocked(&mut self) {
        self.readable = false;
        self.to_the_end = false;
        self.bulk = false;
    }

    /// `count` more bytes were taken by the sink.
    fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.unsent.len() {
            self.drop_unsent();
        } else {
            self.writable = false;
        }
    }

    fn drop_unsent(&mut self) {
        drop(mem::take(&mut self.unsent));
        self.sent = 0;
        self.own = 0;
    }

    /// The sink is broken.
    fn cut(&mut self, lost: usize) {
        self.bytes -= self.undelivered() + (lost as u64).min(self.bytes);
        self.drop_unsent();
        self.piped = 0;
        self.finished = true;
        self.discard = true;
    }

    /// How many of the counted bytes still wait. The HTTP head is in front of them and frames of our own behind, so
    /// they are what is left between the two.
    fn undelivered(&self) -> u64 {
        let waiting = self.unsent().len().saturating_sub(usize::from(self.own));
        ((waiting + self.piped) as u64).min(self.bytes)
    }
}

/// Of two codes the one that says more: what a side did, before what became of the other.
const fn more_telling(before: u16, code: u16) -> u16 {
    match before {
        0 | GOING_AWAY => code,
        BROKEN if code != GOING_AWAY => code,
        _ => before,
    }
}

/// The codes for those who did nothing wrong (RFC 6455 section 7.4.1).
const GOING_AWAY: u16 = 1001;
const BROKEN: u16 = 1011;

#[cfg(test)]
mod tests;
