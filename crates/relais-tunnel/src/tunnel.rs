//! One slot of an engine's table.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use relais_io::{Io, Side};

use crate::pump::{Pump, Step};
use crate::{EndReason, Handoff, Label, TunnelEnd};

/// Stands for a deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// A tunnel: its pump, its sockets, its times.
pub(crate) struct Tunnel<S> {
    pub(crate) pump: Pump,
    client: S,
    origin: S,
    label: Box<dyn Label>,
    pub(crate) generation: u32,
    /// Waits in the engine's list of tunnels with work left.
    pub(crate) queued: bool,
    /// The wheel's tick of the timer that counts; older ones are ignored.
    pub(crate) timer: Option<u64>,
    started_ms: u64,
    active_ms: u64,
    idle_ms: u64,
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

impl<S> Tunnel<S> {
    pub(crate) fn new(handoff: Handoff<S>, generation: u32, now_ms: u64) -> Self {
        let mut pump = Pump::new(handoff.websocket, handoff.limits.half_close);
        pump.preload(Side::Client, handoff.to_origin, 0);
        pump.preload(Side::Origin, handoff.to_client, handoff.to_client_head);
        Self {
            pump,
            client: handoff.client,
            origin: handoff.origin,
            label: handoff.label,
            generation,
            queued: false,
            timer: None,
            started_ms: now_ms,
            active_ms: now_ms,
            idle_ms: handoff.limits.idle.map_or(NEVER, millis),
            linger_until_ms: NEVER,
        }
    }

    pub(crate) const fn socket(&self, side: Side) -> &S {
        match side {
            Side::Client => &self.client,
            Side::Origin => &self.origin,
        }
    }

    /// When to look at the tunnel unless something happens; [`NEVER`] if never.
    pub(crate) const fn deadline_ms(&self) -> u64 {
        if self.pump.is_lingering() {
            return self.linger_until_ms;
        }
        self.active_ms.saturating_add(self.idle_ms)
    }

    /// A lingering tunnel is closed at `until_ms` at the latest. True when that is news.
    pub(crate) const fn linger_until(&mut self, until_ms: u64) -> bool {
        let earlier = until_ms < self.linger_until_ms;
        if earlier {
            self.linger_until_ms = until_ms;
        }
        earlier
    }

    /// Does what there is to do, with at most `reads` reads.
    pub(crate) fn drive<I: Io<Socket = S>>(
        &mut self,
        io: &mut I,
        buffer: &mut [u8],
        now_ms: u64,
        reads: usize,
    ) -> Drive {
        let mut reads = reads;
        loop {
            match self.pump.step() {
                Step::Read(from) => {
                    self.relay(from, io, buffer, now_ms);
                    reads = reads.saturating_sub(1);
                    if reads == 0 {
                        return Drive::Again;
                    }
                }
                Step::Write(to) => self.write(to, io, now_ms),
                Step::Shutdown(to) => io.shutdown(self.socket(to)),
                Step::Wait => return Drive::Waits,
                Step::Done => return Drive::Done,
            }
        }
    }

    /// Closes the sockets and tells the label.
    pub(crate) fn end<I: Io<Socket = S>>(self, io: &mut I, now_ms: u64) {
        let end = self.summary(now_ms);
        io.close(self.client);
        io.close(self.origin);
        tell(self.label, &end);
    }

    fn summary(&self, now_ms: u64) -> TunnelEnd {
        let (to_origin, to_client) = (
            self.pump.traffic(Side::Client),
            self.pump.traffic(Side::Origin),
        );
        TunnelEnd {
            reason: self.pump.reason().unwrap_or(EndReason::Stopped),
            client_to_origin: to_origin.bytes,
            origin_to_client: to_client.bytes,
            messages_to_origin: to_origin.messages,
            messages_to_client: to_client.messages,
            close_code: self.pump.close_code(),
            duration: Duration::from_millis(now_ms.saturating_sub(self.started_ms)),
        }
    }

    fn relay<I: Io<Socket = S>>(&mut self, from: Side, io: &mut I, buffer: &mut [u8], now_ms: u64) {
        let outcome = io.read(self.socket(from), buffer);
        if !self.pump.read(from, outcome, buffer) {
            return;
        }
        let relais_io::Read::Bytes(count) = outcome else {
            return;
        };
        self.active_ms = now_ms;
        let bytes = buffer.get(..count).unwrap_or_default();
        let taken = io.write(self.socket(from.other()), bytes);
        self.pump.forwarded(from, bytes, taken);
    }

    fn write<I: Io<Socket = S>>(&mut self, to: Side, io: &mut I, now_ms: u64) {
        let taken = io.write(self.socket(to), self.pump.unsent(to));
        if matches!(taken, relais_io::Write::Bytes(_)) {
            self.active_ms = now_ms;
        }
        self.pump.wrote(to, taken);
    }
}

/// Ends a tunnel that no engine has taken.
pub(crate) fn refuse<S>(handoff: Handoff<S>) {
    let Handoff {
        client,
        origin,
        label,
        ..
    } = handoff;
    drop((client, origin));
    let end = TunnelEnd {
        reason: EndReason::EngineFailed,
        client_to_origin: 0,
        origin_to_client: 0,
        messages_to_origin: 0,
        messages_to_client: 0,
        close_code: None,
        duration: Duration::ZERO,
    };
    tell(label, &end);
}

fn tell(label: Box<dyn Label>, end: &TunnelEnd) {
    // A label is somebody else's code, and its panic is no reason to drop every other tunnel of this thread.
    let _ = catch_unwind(AssertUnwindSafe(move || label.ended(end)));
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    #[test]
    fn a_tunnel_is_small() {
        // A slot of the table is a tunnel or the number of the next free slot.
        let size = size_of::<Option<Tunnel<OwnedFd>>>();
        eprintln!("a slot takes {size} bytes");
        assert!(size <= 304, "{size}");
    }
}
