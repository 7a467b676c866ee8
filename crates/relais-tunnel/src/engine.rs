//! An engine: a table of tunnels driven over one [`Io`], by one thread.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use relais_io::{Event, Io, Side, Token};
use slab::Slab;

use crate::order::{Farewell, Filter, TunnelInfo, Walk, What, moments};
use crate::tunnel::{Drive, NEVER, Shop, Tunnel, millis};
use crate::wheel::{Owner, TICK_MS, Wheel};
use crate::{EndReason, Handoff, TunnelId};

/// Reads that one tunnel may do before the others get their turn; with the default buffer that is a mebibyte.
const READS_PER_TURN: usize = 16;

/// Slots of the table that an order looks at in one turn.
const SLOTS_PER_TURN: usize = 1024;

/// The sizes of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the read buffer that all tunnels of a thread share, and the most that a tunnel may hold per direction.
    pub read_buffer: usize,
    /// Tunnels that may wait in the queue of one thread.
    pub queue: usize,
    /// Bytes that all tunnels of a thread hold together before bytes stay in the sockets they came by, which costs a call
    /// more for each read. The bound is this and one read.
    pub held_max: usize,
    /// Pipes of a mebibyte (in the kernel) that the tunnels of a thread have at most.
    pub pipes_max: usize,
    /// How long a tunnel that relais ends, or that broke on one side, may take to send what is left.
    pub linger: Duration,
}

impl Default for Settings {
    /// 64 KiB, 1024 tunnels, 32 MiB, 16 pipes, one second.
    fn default() -> Self {
        Self {
            read_buffer: 64 * 1024,
            queue: 1024,
            held_max: 32 << 20,
            pipes_max: 16,
            linger: Duration::from_secs(1),
        }
    }
}

/// The tunnels of one thread. [`Engine::spawn`] runs engines on threads of their own; simulations turn one by hand.
pub struct Engine<I: Io> {
    shop: Shop<I>,
    tunnels: Slab<Tunnel<I>>,
    wheel: Wheel,
    /// Tunnels that used up their share of reads.
    busy: Vec<Owner>,
    events: Vec<Event>,
    /// Orders that have not seen the whole table yet.
    walks: VecDeque<Walk>,
    generation: u32,
    linger_ms: u64,
    held: usize,
    held_max: usize,
    open: Arc<AtomicUsize>,
    /// This engine among how many.
    number: u64,
    engines: u64,
    random: RandomState,
}

impl<I: Io> Engine<I> {
    /// An engine without tunnels.
    #[must_use]
    pub fn new(io: I, settings: &Settings) -> Self {
        let now_ms = io.now_ms();
        Self {
            shop: Shop {
                io,
                buffer: vec![0; settings.read_buffer.max(1)].into_boxed_slice(),
                pipes: Vec::new(),
                pipes_left: settings.pipes_max,
                is_full: false,
                now_ms,
            },
            tunnels: Slab::new(),
            wheel: Wheel::new(now_ms),
            busy: Vec::new(),
            events: Vec::new(),
            walks: VecDeque::new(),
            generation: 0,
            linger_ms: millis(settings.linger),
            held: 0,
            held_max: settings.held_max,
            open: Arc::default(),
            number: 0,
            engines: 1,
            random: RandomState::new(),
        }
    }

    /// Takes a tunnel and writes what came along with it. A tunnel that cannot be watched ends at once.
    pub fn adopt(&mut self, handoff: Handoff<I::Socket>) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.admit(handoff);
    }

    /// Waits for readiness or the next timer, and does what there is to do.
    ///
    /// # Errors
    /// The `Io` is unusable; nothing but [`Engine::abandon`] makes sense then.
    pub fn turn(&mut self) -> io::Result<()> {
        let timeout_ms = if self.busy.is_empty() && self.walks.is_empty() {
            self.wheel.timeout_ms(self.shop.now_ms)
        } else {
            Some(0)
        };
        self.shop.io.wait(&mut self.events, timeout_ms)?;
        self.shop.now_ms = self.shop.io.now_ms();
        let busy = mem::take(&mut self.busy);
        let mut events = mem::take(&mut self.events);
        for event in events.drain(..) {
            self.on_event(event);
        }
        self.events = events;
        for owner in busy {
            self.on_busy(owner);
        }
        self.on_time();
        self.walk();
        Ok(())
    }

    /// Starts to end every tunnel: a Close frame 1001 to both sides where that is possible, the end of both streams,
    /// and after `grace` the sockets are closed whatever is left. Returns how many tunnels were open. [`Engine::turn`]
    /// until [`Engine::open`] is 0 finishes it.
    pub fn stop(&mut self, grace: Duration) -> usize {
        self.shop.now_ms = self.shop.io.now_ms();
        let slots: Vec<usize> = self.tunnels.iter().map(|(slot, _)| slot).collect();
        for slot in &slots {
            let reason = EndReason::Stopped;
            let codes = Side::BOTH.map(|to| reason.close_code(to, None));
            self.finish(*slot, reason, codes, millis(grace));
        }
        slots.len()
    }

    /// Ends every tunnel on the spot, without a word to either side.
    pub fn abandon(&mut self, reason: EndReason) {
        for (_, mut tunnel) in mem::take(&mut self.tunnels) {
            tunnel.pump.blame(reason);
            self.open.fetch_sub(1, Ordering::Relaxed);
            let id = self.id(tunnel.generation);
            tunnel.end(&mut self.shop, id);
        }
        self.held = 0;
    }

    /// Shows the tunnels that `filter` lets through, some in each of the next turns. The channel ends behind the last.
    pub fn show(&mut self, filter: Filter) -> Receiver<Vec<TunnelInfo>> {
        let (sender, receiver) = channel();
        self.order(Walk::show(filter, sender));
        receiver
    }

    /// Ends the tunnels that `filter` lets through. The channel tells how many that are, when all are known.
    pub fn bid_farewell(&mut self, filter: Filter, farewell: Farewell) -> Receiver<usize> {
        let (sender, receiver) = channel();
        self.order(Walk::end(filter, farewell, sender));
        receiver
    }

    /// How many tunnels there are.
    #[must_use]
    pub fn open(&self) -> usize {
        self.tunnels.len()
    }

    /// Bytes that tunnels hold for sides that do not take them.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// The system underneath.
    pub const fn io(&mut self) -> &mut I {
        &mut self.shop.io
    }

    /// Makes this the engine `number` of `engines`, and counts the tunnels in `open` from now on; a tunnel that is
    /// admitted was counted there before.
    pub(crate) fn join(&mut self, number: usize, engines: usize, open: Arc<AtomicUsize>) {
        self.number = number as u64;
        self.engines = engines.max(1) as u64;
        self.open = open;
    }

    pub(crate) fn order(&mut self, walk: Walk) {
        self.walks.push_back(walk);
    }

    /// Numbers that no other engine gives, and small ones.
    fn id(&self, generation: u32) -> TunnelId {
        TunnelId(u64::from(generation) * self.engines + self.number)
    }

    pub(crate) fn admit(&mut self, handoff: Handoff<I::Socket>) {
        self.shop.now_ms = self.shop.io.now_ms();
        self.generation = (self.generation + 1) & Token::GENERATION_MAX;
        // A masking key that a peer cannot foresee (RFC 6455 section 5.3).
        let [first, second, third, fourth, ..] =
            self.random.hash_one(self.generation).to_ne_bytes();
        let mask = [first, second, third, fourth];
        let mut tunnel = Tunnel::new(handoff, self.generation, self.shop.now_ms, mask);
        tunnel.look_inside(&self.shop.io);
        let slot = self.tunnels.insert(tunnel);
        if self.watch(slot).is_err() {
            return self.end(slot, EndReason::EngineFailed);
        }
        self.drive(slot);
        self.set_timer(slot);
    }

    /// Goes on with the first order.
    fn walk(&mut self) {
        let Some(mut walk) = self.walks.pop_front() else {
            return;
        };
        let end = walk.at + SLOTS_PER_TURN;
        let now_ms = self.shop.now_ms;
        let part = (walk.at..end).filter_map(|slot| Some((slot, self.tunnels.get(slot)?)));
        let infos = part.map(|(slot, tunnel)| {
            let info = tunnel.info(self.id(tunnel.generation), now_ms);
            ((slot as u32, tunnel.generation), info)
        });
        let chosen: Vec<_> = infos.filter(|(_, info)| (walk.filter)(info)).collect();
        walk.take(chosen);
        walk.at = end;
        if end < self.tunnels.capacity() {
            self.walks.push_front(walk);
        } else {
            self.conclude(walk);
        }
    }

    fn conclude(&mut self, walk: Walk) {
        let What::End {
            farewell,
            chosen,
            told,
        } = walk.what
        else {
            return;
        };
        // Nobody may be there to hear it.
        let _ = told.send(chosen.len());
        let gap_us = (self.engines * 1_000_000)
            .checked_div(u64::from(farewell.per_second))
            .unwrap_or(0);
        let seed = self.random.hash_one((self.generation, self.shop.now_ms));
        let mut drawn = 0_u64;
        let random = &self.random;
        let mut moments = moments(chosen.len(), farewell.window, gap_us, || {
            drawn += 1;
            random.hash_one((seed, drawn))
        });
        // Which tunnel gets which moment is drawn too: neighbours in the table often came together.
        for last in (1..moments.len()).rev() {
            let other = random.hash_one((seed, last, "order")) % (last as u64 + 1);
            moments.swap(last, other as usize);
        }
        for (owner, moment) in chosen.into_iter().zip(moments) {
            self.drain(owner, self.shop.now_ms + moment, &farewell);
        }
    }

    fn drain(&mut self, owner: Owner, at_ms: u64, farewell: &Farewell) {
        let Some(slot) = self.find(owner) else { return };
        if let Some(tunnel) = self.tunnels.get_mut(slot) {
            tunnel.drain_at(at_ms, farewell.reason, farewell.code);
        }
        self.look_by(slot);
    }

    fn watch(&mut self, slot: usize) -> io::Result<()> {
        let Some(tunnel) = self.tunnels.get(slot) else {
            return Ok(());
        };
        let number = u32::try_from(slot).map_err(|_| io::ErrorKind::OutOfMemory)?;
        for side in Side::BOTH {
            self.shop.io.register(
                tunnel.socket(side),
                Token::new(number, tunnel.generation, side),
            )?;
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) {
        let token = event.token;
        let Some(slot) = self.find((token.slot, token.generation)) else {
            return;
        };
        if let Some(tunnel) = self.tunnels.get_mut(slot) {
            tunnel.ready(event, &mut self.shop.io);
        }
        self.drive(slot);
    }

    fn on_busy(&mut self, owner: Owner) {
        let Some(slot) = self.find(owner) else { return };
        if let Some(tunnel) = self.tunnels.get_mut(slot) {
            tunnel.queued = false;
        }
        self.drive(slot);
    }

    fn on_time(&mut self) {
        let mut due = Vec::new();
        while let Some(tick) = self.wheel.expire(self.shop.now_ms, &mut due) {
            for owner in due.drain(..) {
                self.on_timer(owner, tick);
            }
        }
    }

    fn on_timer(&mut self, owner: Owner, tick: u64) {
        let Some(slot) = self.find(owner) else { return };
        let now_ms = self.shop.now_ms;
        let Some(tunnel) = self
            .tunnels
            .get_mut(slot)
            .filter(|tunnel| tunnel.timer == Some(tick))
        else {
            return;
        };
        tunnel.timer = None;
        if tunnel.deadline_ms() > now_ms {
            return self.set_timer(slot);
        }
        if tunnel.pump.is_lingering() {
            if tunnel.lingers_too_long(now_ms) {
                return self.end(slot, EndReason::Stopped);
            }
        } else if let Some((reason, codes)) = tunnel.on_deadline(now_ms) {
            return self.finish(slot, reason, codes, self.linger_ms);
        }
        self.drive(slot);
        self.set_timer(slot);
    }

    /// Ends a tunnel in a friendly way, but within `grace_ms`. A message under way gets half of that, or of the time for
    /// lingering if it is shorter.
    fn finish(&mut self, slot: usize, reason: EndReason, codes: [u16; 2], grace_ms: u64) {
        let now_ms = self.shop.now_ms;
        let Some(tunnel) = self.tunnels.get_mut(slot) else {
            return;
        };
        tunnel.pump.close(reason, codes);
        tunnel.linger(
            now_ms.saturating_add(grace_ms.min(self.linger_ms) / 2),
            now_ms.saturating_add(grace_ms),
        );
        self.drive(slot);
        self.set_timer(slot);
    }

    fn drive(&mut self, slot: usize) {
        let Some(tunnel) = self.tunnels.get_mut(slot) else {
            return;
        };
        let generation = tunnel.generation;
        let lingered = tunnel.pump.is_lingering();
        self.shop.is_full = self.held + self.shop.buffer.len() > self.held_max;
        let drive = tunnel.drive(&mut self.shop, READS_PER_TURN);
        let held = tunnel.held_now(&self.shop.io);
        self.held = self.held - mem::replace(&mut tunnel.held, held) + held;
        match drive {
            Drive::Done => return self.end(slot, EndReason::Stopped),
            Drive::Again if !mem::replace(&mut tunnel.queued, true) => {
                self.busy.push((slot as u32, generation))
            }
            Drive::Again | Drive::Waits => {}
        }
        if !lingered && tunnel.pump.is_lingering() {
            let now_ms = self.shop.now_ms;
            tunnel.linger(
                now_ms.saturating_add(self.linger_ms / 2),
                now_ms.saturating_add(self.linger_ms),
            );
        }
        self.look_by(slot);
    }

    /// Sets a timer if the tunnel's deadline has come nearer than the timer it has.
    fn look_by(&mut self, slot: usize) {
        let Some(tunnel) = self.tunnels.get(slot) else {
            return;
        };
        let deadline_ms = tunnel.deadline_ms();
        let is_late =
            |tick: u64| tick.saturating_mul(TICK_MS) > deadline_ms.saturating_add(TICK_MS);
        if deadline_ms != NEVER && tunnel.timer.is_none_or(is_late) {
            self.set_timer(slot);
        }
    }

    /// Sets a timer for the tunnel's deadline, if it has one, in place of the timer it had.
    fn set_timer(&mut self, slot: usize) {
        let Some(tunnel) = self.tunnels.get_mut(slot) else {
            return;
        };
        let deadline_ms = tunnel.deadline_ms();
        if deadline_ms != NEVER {
            tunnel.timer = Some(
                self.wheel
                    .set((slot as u32, tunnel.generation), deadline_ms),
            );
        }
    }

    fn end(&mut self, slot: usize, reason: EndReason) {
        let Some(mut tunnel) = self.tunnels.try_remove(slot) else {
            return;
        };
        tunnel.pump.blame(reason);
        self.held -= tunnel.held;
        self.open.fetch_sub(1, Ordering::Relaxed);
        let id = self.id(tunnel.generation);
        tunnel.end(&mut self.shop, id);
    }

    fn find(&self, (slot, generation): Owner) -> Option<usize> {
        let slot = slot as usize;
        self.tunnels
            .get(slot)
            .filter(|tunnel| tunnel.generation == generation)
            .map(|_| slot)
    }
}

impl Walk {
    pub(crate) fn show(filter: Filter, to: Sender<Vec<TunnelInfo>>) -> Self {
        Self {
            filter,
            what: What::Show(to),
            at: 0,
        }
    }

    pub(crate) fn end(filter: Filter, farewell: Farewell, told: Sender<usize>) -> Self {
        let what = What::End {
            farewell,
            chosen: Vec::new(),
            told,
        };
        Self {
            filter,
            what,
            at: 0,
        }
    }

    fn take(&mut self, part: Vec<(Owner, TunnelInfo)>) {
        match &mut self.what {
            What::End { chosen, .. } => chosen.extend(part.into_iter().map(|(owner, _)| owner)),
            What::Show(_) if part.is_empty() => {}
            What::Show(to) => {
                // Nobody may be there to see it.
                let _ = to.send(part.into_iter().map(|(_, info)| info).collect());
            }
        }
    }
}
