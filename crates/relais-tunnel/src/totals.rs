//! What the tunnels of a process have come to, for metrics: counted once, where a tunnel's end is known, from the same
//! record that the log gets.

use std::sync::atomic::{AtomicU64, Ordering};

use relais_io::Side;
use relais_websocket::Counters;

use crate::{EndReason, TunnelEnd};

/// Sums over all tunnels since the start. Bytes, messages and frames are those of tunnels that have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tunnels that an engine has taken.
    pub opened: u64,
    /// Tunnels that have ended, in the order of [`EndReason::ALL`].
    pub ended: [u64; EndReason::ALL.len()],
    /// What clients sent.
    pub from_client: Sum,
    /// What origins sent.
    pub from_origin: Sum,
    /// Time that tunnels were open, in milliseconds.
    pub milliseconds: u64,
}

/// What came from one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Bytes that the other side's socket took.
    pub bytes: u64,
    /// Text messages.
    pub text: u64,
    /// Binary messages.
    pub binary: u64,
    /// Ping frames.
    pub pings: u64,
    /// Pong frames.
    pub pongs: u64,
    /// Breaches of the protocol.
    pub violations: u64,
}

/// The sums while they grow, shared by all routes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    opened: AtomicU64,
    ended: [AtomicU64; EndReason::ALL.len()],
    sides: [[AtomicU64; 6]; 2],
    milliseconds: AtomicU64,
}

impl Ledger {
    pub(crate) fn open(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, end: &TunnelEnd) {
        if let Some(count) = self.ended.get(end.reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let took = u64::try_from(end.duration.as_millis()).unwrap_or(u64::MAX);
        self.milliseconds.fetch_add(took, Ordering::Relaxed);
        let [client, origin] = &self.sides;
        add(client, end.client_to_origin, &end.from_client);
        add(origin, end.origin_to_client, &end.from_origin);
    }

    pub(crate) fn totals(&self) -> Totals {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let sum = |side: Side| {
            let [client, origin] = &self.sides;
            let counts = match side {
                Side::Client => client,
                Side::Origin => origin,
            };
            let [bytes, text, binary, pings, pongs, violations] = counts.each_ref().map(load);
            Sum {
                bytes,
                text,
                binary,
                pings,
                pongs,
                violations,
            }
        };
        Totals {
            opened: load(&self.opened),
            ended: self.ended.each_ref().map(load),
            from_client: sum(Side::Client),
            from_origin: sum(Side::Origin),
            milliseconds: load(&self.milliseconds),
        }
    }
}

fn add(side: &[AtomicU64; 6], bytes: u64, counters: &Counters) {
    let counts = [
        bytes,
        counters.text.messages,
        counters.binary.messages,
        counters.pings.into(),
        counters.pongs.into(),
        counters.violations.into(),
    ];
    for (sum, count) in side.iter().zip(counts) {
        sum.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_in_their_order() {
        for (at, reason) in EndReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at, "{reason:?}");
        }
    }
}
