//! What tunnels may do: plain data that mod_tunnel produces and the front consumes.

use std::fmt;
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
    /// `proxy-nohalfclose`: the first end of a stream ends the tunnel.
    pub no_half_close: bool,
    /// How it goes when it has to.
    pub drain: DrainSpec,
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

/// `TunnelOnReload`, `TunnelDrainWindow` and `TunnelDrainRate`. The [`fmt::Display`] form is five words that
/// [`DrainSpec::parse`] reads: a live tunnel keeps them by its route, not its configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DrainSpec {
    /// What a reload does.
    pub on_reload: OnReload,
    /// Over how long tunnels end; [`DrainSpec::WINDOW`] when unset.
    pub window: Option<Duration>,
    /// Tunnels that end in a second at the most; zero, or unset, is no cap.
    pub rate: Option<u32>,
}

impl DrainSpec {
    /// `TunnelDrainWindow` without the directive.
    pub const WINDOW: Duration = Duration::from_secs(30);

    /// This, and `outer` where this says nothing.
    #[must_use]
    pub fn over(self, outer: Self) -> Self {
        let (inner, around) = (self.on_reload, outer.on_reload);
        Self {
            on_reload: OnReload {
                unchanged: inner.unchanged.or(around.unchanged),
                changed: inner.changed.or(around.changed),
                removed: inner.removed.or(around.removed),
            },
            window: self.window.or(outer.window),
            rate: self.rate.or(outer.rate),
        }
    }

    /// Reads the words of [`fmt::Display`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [unchanged, changed, removed, window, rate] = words.try_into().ok()?;
        let number = |word: &str| match word {
            "-" => Some(None),
            word => word.parse().ok().map(Some),
        };
        Some(Self {
            on_reload: OnReload {
                unchanged: ReloadAction::parse(unchanged)?,
                changed: ReloadAction::parse(changed)?,
                removed: ReloadAction::parse(removed)?,
            },
            window: number(window)?.map(Duration::from_millis),
            rate: number(rate)?.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
        })
    }
}

impl fmt::Display for DrainSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OnReload {
            unchanged,
            changed,
            removed,
        } = self.on_reload;
        for action in [unchanged, changed, removed] {
            write!(f, "{} ", action.map_or("-", ReloadAction::as_str))?;
        }
        match self.window {
            Some(window) => write!(f, "{} ", window.as_millis())?,
            None => f.write_str("- ")?,
        }
        match self.rate {
            Some(rate) => write!(f, "{rate}"),
            None => f.write_str("-"),
        }
    }
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

impl ReloadAction {
    /// Its word in `TunnelOnReload`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drain => "drain",
            Self::Close => "close",
        }
    }

    /// `-` is none; `None` is no word at all.
    fn parse(word: &str) -> Option<Option<Self>> {
        match word {
            "-" => Some(None),
            "keep" => Some(Some(Self::Keep)),
            "drain" => Some(Some(Self::Drain)),
            "close" => Some(Some(Self::Close)),
            _ => None,
        }
    }
}

/// What holds for all tunnels of a host together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TunnelHostSpec {
    /// `MaxTunnels` of this host alone; zero is no limit.
    pub tunnels_max: u64,
    /// `MaxTunnels` of the main server: of all hosts together; zero is no limit.
    pub tunnels_max_server: u64,
    /// `MaxTunnelsPerClient`, by address and over all hosts that have the directive; zero is no limit.
    pub tunnels_max_client: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_drain_says_can_be_read_back() {
        let all = DrainSpec {
            on_reload: OnReload {
                unchanged: Some(ReloadAction::Keep),
                changed: Some(ReloadAction::Drain),
                removed: Some(ReloadAction::Close),
            },
            window: Some(Duration::from_millis(1500)),
            rate: Some(7),
        };
        for spec in [
            all,
            DrainSpec::default(),
            DrainSpec {
                window: None,
                ..all
            },
        ] {
            assert_eq!(DrainSpec::parse(&spec.to_string()), Some(spec), "{spec}");
        }
        for text in ["", "keep", "keep keep keep 1 2 3", "keep keep stay 1 2"] {
            assert_eq!(DrainSpec::parse(text), None, "{text}");
        }
        assert_eq!(all.over(DrainSpec::default()), all);
        assert_eq!(DrainSpec::default().over(all), all);
    }
}
