//! An engine: a table of tunnels driven over one [`Io`], by one thread.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use relais_io::{Event, Io, Side, Token};
use slab::Slab;

use crate::tunnel::{Drive, NEVER, Tunnel};
use crate::wheel::{Owner, Wheel};
use crate::{EndReason, Handoff};

/// Reads that one tunnel may do before the others get their turn; with the default buffer that is a mebibyte.
const READS_PER_TURN: usize = 16;

/// The endpoint is going away (RFC 6455 section 7.4.1): what both sides are told when relais ends a tunnel.
const GOING_AWAY: u16 = 1001;

/// The sizes of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the read buffer that all tunnels of a thread share, and the most that a tunnel may hold per direction.
    pub read_buffer: usize,
    /// Tunnels that may wait in the queue of one thread.
    pub queue: usize,
    /// How long a tunnel that relais ends, or that broke on one side, may take to send what is left.
    pub linger: Duration,
}

impl Default for Settings {
    /// 64 KiB, 1024 tunnels, one second.
    fn default() -> Self {
        Self {
            read_buffer: 64 * 1024,
            queue: 1024,
            linger: Duration::from_secs(1),
        }
    }
}

/// The tunnels of one thread. [`Engine::spawn`] runs engines on threads of their own; simulations turn one by hand.
pub struct Engine<I: Io> {
    io: I,
    tunnels: Slab<Tunnel<I::Socket>>,
    wheel: Wheel,
    /// Tunnels that used up their share of reads.
    busy: Vec<Owner>,
    events: Vec<Event>,
    buffer: Box<[u8]>,
    generation: u32,
    linger_ms: u64,
    now_ms: u64,
    open: Arc<AtomicUsize>,
}

impl<I: Io> Engine<I> {
    /// An engine without tunnels.
    #[must_use]
    pub fn new(io: I, settings: &Settings) -> Self {
        let now_ms = io.now_ms();
        Self {
            io,
            tunnels: Slab::new(),
            wheel: Wheel::new(now_ms),
            busy: Vec::new(),
            events: Vec::new(),
            buffer: vec![0; settings.read_buffer.max(1)].into_boxed_slice(),
            generation: 0,
            linger_ms: u64::try_from(settings.linger.as_millis()).unwrap_or(NEVER),
            now_ms,
            open: Arc::default(),
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
        let timeout_ms = if self.busy.is_empty() {
            self.wheel.timeout_ms(self.now_ms)
        } else {
            Some(0)
        };
        self.io.wait(&mut self.events, timeout_ms)?;
        self.now_ms = self.io.now_ms();
        let busy = mem::take(&mut self.busy);
        for event in mem::take(&mut self.events).drain(..) {
            self.on_event(event);
        }
        for owner in busy {
            self.on_busy(owner);
        }
        self.on_time();
        Ok(())
    }

    /// Starts to end every tunnel: a Close frame 1001 to both sides where that is possible, the end of both streams,
    /// and after `grace` the sockets are closed whatever is left. Returns how many tunnels were open. [`Engine::turn`]
    /// until [`Engine::open`] is 0 finishes it.
    pub fn stop(&mut self, grace: Duration) -> usize {
        self.now_ms = self.io.now_ms();
        let until_ms = self
            .now_ms
            .saturating_add(u64::try_from(grace.as_millis()).unwrap_or(NEVER));
        let slots: Vec<usize> = self.tunnels.iter().map(|(slot, _)| slot).collect();
        for slot in &slots {
            self.finish(*slot, EndReason::Stopped, until_ms);
        }
        slots.len()
    }

    /// Ends every tunnel on the spot, without a word to either side.
    pub fn abandon(&mut self, reason: EndReason) {
        for mut tunnel in mem::take(&mut self.tunnels)
            .into_iter()
            .map(|(_, tunnel)| tunnel)
        {
            tunnel.pump.blame(reason);
            self.open.fetch_sub(1, Ordering::Relaxed);
            tunnel.end(&mut self.io, self.now_ms);
        }
    }

    /// How many tunnels there are.
    #[must_use]
    pub fn open(&self) -> usize {
        self.tunnels.len()
    }

    /// Bytes that tunnels hold for sides that do not take them.
    #[must_use]
    pub fn held(&self) -> usize {
        self.tunnels
            .iter()
            .map(|(_, tunnel)| tunnel.pump.held())
            .sum()
    }

    /// The system underneath.
    pub const fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// Counts the tunnels in `open` from now on; a tunnel that is admitted was counted there before.
    pub(crate) fn count_in(&mut self, open: Arc<AtomicUsize>) {
        self.open = open;
    }

    pub(crate) fn admit(&mut self, handoff: Handoff<I::Socket>) {
        self.now_ms = self.io.now_ms();
        self.generation = (self.generation + 1) & Token::GENERATION_MAX;
        let slot = self
            .tunnels
            .insert(Tunnel::new(handoff, self.generation, self.now_ms));
        if self.watch(slot).is_err() {
            return self.end(slot, EndReason::EngineFailed);
        }
        self.drive(slot);
        self.set_timer(slot);
    }

    fn watch(&mut self, slot: usize) -> io::Result<()> {
        let Some(tunnel) = self.tunnels.get(slot) else {
            return Ok(());
        };
        let number = u32::try_from(slot).map_err(|_| io::ErrorKind::OutOfMemory)?;
        for side in Side::BOTH {
            self.io.register(
                tunnel.socket(side),
                Token::new(number, tunnel.generation, side),
            )?;
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) {
        let Event {
            token,
            readable,
            writable,
            hangup,
        } = event;
        let Some(slot) = self.find((token.slot, token.generation)) else {
            return;
        };
        if let Some(tunnel) = self.tunnels.get_mut(slot) {
            tunnel.pump.ready(token.side, readable, writable, hangup);
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
        while let Some(tick) = self.wheel.expire(self.now_ms, &mut due) {
            for owner in due.drain(..) {
                self.on_timer(owner, tick);
            }
        }
    }

    fn on_timer(&mut self, owner: Owner, tick: u64) {
        let Some(slot) = self.find(owner) else { return };
        let Some(tunnel) = self
            .tunnels
            .get_mut(slot)
            .filter(|tunnel| tunnel.timer == Some(tick))
        else {
            return;
        };
        tunnel.timer = None;
        if tunnel.deadline_ms() > self.now_ms {
            return self.set_timer(slot);
        }
        if tunnel.pump.is_lingering() {
            return self.end(slot, EndReason::Stopped);
        }
        self.finish(
            slot,
            EndReason::Idle,
            self.now_ms.saturating_add(self.linger_ms),
        );
    }

    /// Ends a tunnel in a friendly way, but by `until_ms` at the latest.
    fn finish(&mut self, slot: usize, reason: EndReason, until_ms: u64) {
        let Some(tunnel) = self.tunnels.get_mut(slot) else {
            return;
        };
        tunnel.pump.close(reason, GOING_AWAY, mask());
        tunnel.linger_until(until_ms);
        self.drive(slot);
        self.set_timer(slot);
    }

    fn drive(&mut self, slot: usize) {
        let Some(tunnel) = self.tunnels.get_mut(slot) else {
            return;
        };
        let generation = tunnel.generation;
        let lingered = tunnel.pump.is_lingering();
        match tunnel.drive(&mut self.io, &mut self.buffer, self.now_ms, READS_PER_TURN) {
            Drive::Done => return self.end(slot, EndReason::Stopped),
            Drive::Again if !mem::replace(&mut tunnel.queued, true) => {
                self.busy.push((slot as u32, generation))
            }
            Drive::Again | Drive::Waits => {}
        }
        if !lingered && tunnel.pump.is_lingering() {
            tunnel.linger_until(self.now_ms.saturating_add(self.linger_ms));
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
        self.open.fetch_sub(1, Ordering::Relaxed);
        tunnel.end(&mut self.io, self.now_ms);
    }

    fn find(&self, (slot, generation): Owner) -> Option<usize> {
        let slot = slot as usize;
        self.tunnels
            .get(slot)
            .filter(|tunnel| tunnel.generation == generation)
            .map(|_| slot)
    }
}

/// A masking key that a peer cannot foresee (RFC 6455 section 5.3).
fn mask() -> [u8; 4] {
    let [first, second, third, fourth, ..] = RandomState::new().hash_one(0).to_ne_bytes();
    [first, second, third, fourth]
}
