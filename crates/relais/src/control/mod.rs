//! The control socket: how a running relais is asked about its tunnels.
//!
//! A Unix stream socket beside the PidFile, mode 0600. A client sends one JSON
//! object on one line and reads JSON lines until the server closes.

mod client;
mod reload;
mod server;
mod status;
mod top;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use client::{Inquiry, run};
pub(crate) use reload::{Reloaded, RouteFate, run as reload};
pub(crate) use server::Control;
pub(crate) use status::{Status, metrics, run as status};
pub(crate) use top::run as top;

/// Where the socket of a server with this PidFile is: the same name, ending in
/// `.sock`.
pub(crate) fn path(pid_file: &Path) -> PathBuf {
    pid_file.with_extension("sock")
}

/// What is asked. Each answers with lines of its own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub(crate) enum Request {
    /// The tunnels: arrays of [`Row`], in parts.
    Tunnels {
        /// Which ones.
        choice: Choice,
    },
    /// Reads the configuration again: one [`Reloaded`].
    Reload {
        /// Only says what that would do.
        dry_run: bool,
    },
    /// What tunnels have come to: one text in the format of Prometheus.
    Metrics,
    /// How the process is: one [`Status`].
    Status,
    /// Ends tunnels: one [`Chosen`].
    End {
        /// Which ones.
        choice: Choice,
        /// How.
        how: How,
    },
}

/// How tunnels are ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct How {
    /// `drained` in the log, else `kicked`.
    pub(crate) drain: bool,
    /// The code of the Close frames (RFC 6455 §7.4).
    pub(crate) code: u16,
    /// The time over which the ends are spread, in milliseconds.
    pub(crate) spread_ms: u64,
    /// The most that end in a second; 0 is no cap.
    pub(crate) rate: u32,
}

impl How {
    pub(crate) fn spread(self) -> Duration {
        Duration::from_millis(self.spread_ms)
    }
}

/// Which tunnels; what is empty is not asked about.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
#[serde(default)]
pub(crate) struct Choice {
    /// These numbers.
    pub(crate) ids: Vec<u64>,
    /// This virtual host.
    pub(crate) host: Option<String>,
    /// The rule, its place or its target holds this text.
    pub(crate) route: Option<String>,
    /// The origin holds this text.
    pub(crate) origin: Option<String>,
    /// The client's address.
    pub(crate) client: Option<std::net::IpAddr>,
    /// No byte for at least so many seconds.
    pub(crate) idle_s: Option<u64>,
}

impl Choice {
    /// Whether it chooses every tunnel.
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it chooses this one.
    pub(crate) fn holds(&self, tunnel: &relais_tunnel::TunnelInfo) -> bool {
        let has = |wanted: &Option<String>, have: &str| {
            wanted.as_deref().is_none_or(|wanted| have.contains(wanted))
        };
        let route = tunnel.route.names();
        let rule = || format!("{} {} {}", route.rule, route.place, route.target);
        (self.ids.is_empty() || self.ids.contains(&tunnel.id.0))
            && self
                .host
                .as_deref()
                .is_none_or(|host| host.eq_ignore_ascii_case(route.host))
            && (self.route.is_none() || has(&self.route, &rule()))
            && has(&self.origin, route.origin)
            && self
                .client
                .is_none_or(|ip| tunnel.client.ip().to_canonical() == ip)
            && self.idle_s.is_none_or(|idle| tunnel.idle.as_secs() >= idle)
    }
}

/// A tunnel as the socket shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Row {
    /// Its number.
    pub(crate) id: u64,
    /// The client's address and port.
    pub(crate) client: String,
    /// The virtual host.
    pub(crate) host: String,
    /// The rule that led to the origin: `ProxyPass /ws`.
    pub(crate) route: String,
    /// Where it stands: `file:line`.
    pub(crate) place: String,
    /// Its target as written.
    pub(crate) target: String,
    /// The origin.
    pub(crate) origin: String,
    /// How the client came.
    pub(crate) via: String,
    /// Milliseconds since the hand-off.
    pub(crate) age_ms: u64,
    /// Milliseconds since the last byte.
    pub(crate) idle_ms: u64,
    /// Messages from the client.
    pub(crate) messages_in: u64,
    /// Messages from the origin.
    pub(crate) messages_out: u64,
    /// Bytes from the client.
    pub(crate) bytes_in: u64,
    /// Bytes from the origin.
    pub(crate) bytes_out: u64,
    /// Whether it carries WebSocket frames.
    pub(crate) websocket: bool,
    /// Whether it is about to be ended.
    pub(crate) draining: bool,
}

impl From<&relais_tunnel::TunnelInfo> for Row {
    fn from(tunnel: &relais_tunnel::TunnelInfo) -> Self {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let route = tunnel.route.names();
        Self {
            id: tunnel.id.0,
            client: tunnel.client.to_string(),
            host: route.host.to_owned(),
            route: route.rule.to_owned(),
            place: route.place.to_owned(),
            target: route.target.to_owned(),
            origin: route.origin.to_owned(),
            via: route.via.to_owned(),
            age_ms: milliseconds(tunnel.age),
            idle_ms: milliseconds(tunnel.idle),
            messages_in: tunnel.from_client.messages,
            messages_out: tunnel.from_origin.messages,
            bytes_in: tunnel.from_client.bytes,
            bytes_out: tunnel.from_origin.bytes,
            websocket: tunnel.is_websocket,
            draining: tunnel.is_draining,
        }
    }
}

/// How many tunnels an order has chosen.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Chosen {
    /// The number.
    pub(crate) chosen: usize,
}

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Refusal {
    /// In words.
    pub(crate) error: String,
}
