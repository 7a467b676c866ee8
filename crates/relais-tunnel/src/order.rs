//! What an engine is told about tunnels it has: to show them, or to end some of them.
//!
//! An order walks over the table, a part of it in each turn, so that a large table stalls nobody. A tunnel that arrives
//! while the walk is under way may or may not be met.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::pump::Traffic;
use crate::{EndReason, Route, TunnelId};

/// A tunnel as the table shows it.
#[derive(Clone, Debug)]
pub struct TunnelInfo {
    /// Its number.
    pub id: TunnelId,
    /// The client's address.
    pub client: SocketAddr,
    /// What it is for.
    pub route: Arc<Route>,
    /// Time since the hand-off.
    pub age: Duration,
    /// Time since the last byte either way.
    pub idle: Duration,
    /// What came from the client.
    pub from_client: Traffic,
    /// What came from the origin.
    pub from_origin: Traffic,
    /// Whether it carries WebSocket frames.
    pub is_websocket: bool,
    /// Whether it is about to end by an order or a limit.
    pub is_draining: bool,
}

/// Chooses tunnels. It runs on the engines' threads, once for each tunnel, and must not block.
pub type Filter = Arc<dyn Fn(&TunnelInfo) -> bool + Send + Sync>;

/// How tunnels are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// [`EndReason::Drained`] or [`EndReason::Kicked`].
    pub reason: EndReason,
    /// The code of the Close frames (RFC 6455 section 7.4).
    pub code: u16,
    /// Each tunnel's end is drawn uniformly from this time; zero ends them now.
    pub window: Duration,
    /// No more than so many end in a second, over all engines, for which the window is exceeded if need be; 0 is no cap.
    pub per_second: u32,
}

/// One order and how far it has got.
pub(crate) struct Walk {
    pub(crate) filter: Filter,
    pub(crate) what: What,
    /// The slot that is next.
    pub(crate) at: usize,
}

pub(crate) enum What {
    /// Send every tunnel that the filter lets through.
    Show(Sender<Vec<TunnelInfo>>),
    /// End them, once all are known.
    End {
        farewell: Farewell,
        chosen: Vec<(u32, u32)>,
        told: Sender<usize>,
    },
}

/// When each of `count` tunnels is to end, in milliseconds from now and in order: uniform over the window, and at least
/// `gap_us` microseconds apart.
pub(crate) fn moments(
    count: usize,
    window: Duration,
    gap_us: u64,
    mut random: impl FnMut() -> u64,
) -> Vec<u64> {
    let window_us = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
    let mut moments: Vec<u64> = (0..count)
        .map(|_| random() % window_us.saturating_add(1).max(1))
        .collect();
    moments.sort_unstable();
    let mut earliest = 0;
    for moment in &mut moments {
        *moment = (*moment).max(earliest);
        earliest = moment.saturating_add(gap_us);
        *moment /= 1000;
    }
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_spread_and_capped() {
        let mut random = relais_io::sim::Random::new(7);
        let minute = Duration::from_secs(60);
        let spread = moments(6000, minute, 0, || random.bits());
        let firsts = spread.iter().filter(|moment| **moment < 30_000).count();
        assert!((2800..3200).contains(&firsts), "{firsts}");
        assert!(spread.iter().all(|moment| *moment <= 60_000));
        // Ten a second of a thousand at once take a hundred seconds.
        let capped = moments(1000, Duration::ZERO, 100_000, || random.bits());
        assert_eq!((capped[0], capped[999]), (0, 99_900));
        for second in 0..100 {
            let within = capped.iter().filter(|moment| **moment / 1000 == second);
            assert_eq!(within.count(), 10, "{second}");
        }
    }
}
