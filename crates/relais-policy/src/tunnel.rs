//! What tunnels may do: plain data that mod_tunnel produces and the front consumes.

use std::time::Duration;

/// The settings of a tunnel, by the sections that its request was in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TunnelSpec {
    /// `TunnelIdleTimeout`; `None` is httpd's rule, the larger of the host's and the worker's time-outs.
    pub idle: Option<TunnelTime>,
    /// `TunnelMaxLifetime`.
    pub lifetime: Option<TunnelTime>,
    /// `TunnelHalfCloseTimeout`.
    pub half_close: Option<TunnelTime>,
    /// `TunnelWriteTimeout`.
    pub write: Option<TunnelTime>,
    /// `TunnelPing`.
    pub ping: Option<TunnelTime>,
    /// `TunnelMaxMessageSize`.
    pub message_size: Option<TunnelSize>,
    /// `TunnelMaxFrameSize`.
    pub frame_size: Option<TunnelSize>,
    /// `TunnelMessageRate`.
    pub message_rate: Option<TunnelRate>,
    /// `TunnelByteRate`.
    pub byte_rate: Option<TunnelRate>,
    /// `TunnelOnViolation close`.
    pub end_on_violation: Option<bool>,
    /// `TunnelOnReload`.
    pub on_reload: OnReload,
}

/// A time, or `Off`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TunnelTime {
    /// No limit.
    Off,
    /// This long; not zero.
    After(Duration),
}

impl TunnelTime {
    /// The limit, if there is one.
    #[must_use]
    pub fn limit(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::After(limit) => Some(limit),
        }
    }
}

/// Bytes, and whose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunnelSize {
    /// The most payload bytes; `None` is no limit.
    pub bytes: Option<u64>,
    /// Whether it holds for what clients send.
    pub client: bool,
    /// Whether it holds for what origins send.
    pub origin: bool,
}

/// So many a second, of which `burst` may come at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunnelRate {
    /// How many a second; zero is no limit.
    pub per_second: u64,
    /// How many may be saved up.
    pub burst: u64,
}

/// `TunnelOnReload`: what a reload does to a live tunnel, by what became of its route.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OnReload {
    /// Where the route is as it was; keep when unset.
    pub unchanged: Option<ReloadAction>,
    /// Where the route leads elsewhere; keep when unset.
    pub changed: Option<ReloadAction>,
    /// Where there is no route any more; drain when unset.
    pub removed: Option<ReloadAction>,
}

/// What is done to a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReloadAction {
    /// It goes on.
    Keep,
    /// It ends within `TunnelDrainWindow`.
    Drain,
    /// It ends at once.
    Close,
}

/// What holds for all tunnels of a host together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunnelHostSpec {
    /// `MaxTunnels` of this host alone; zero is no limit.
    pub tunnels_max: u64,
    /// `MaxTunnels` of the main server: of all hosts together; zero is no limit.
    pub tunnels_max_server: u64,
    /// `MaxTunnelsPerClient`, by address and over all hosts that have the directive; zero is no limit.
    pub tunnels_max_client: u64,
    /// `TunnelDrainWindow`.
    pub drain_window: Duration,
    /// `TunnelDrainRate`, tunnels a second; zero is no cap.
    pub drain_rate: u32,
}

impl Default for TunnelHostSpec {
    /// No limits; drains take 30 seconds.
    fn default() -> Self {
        Self {
            tunnels_max: 0,
            tunnels_max_server: 0,
            tunnels_max_client: 0,
            drain_window: Duration::from_secs(30),
            drain_rate: 0,
        }
    }
}
