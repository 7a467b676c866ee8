//! Plain data that modules produce and the runtime crates consume.
//!
//! Nothing here opens a file or resolves a name; durations are durations and
//! sizes are bytes.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relais_telemetry::{Levels, LogFormat, Target};

use crate::site::HostName;
use crate::uri::PathRules;

/// One `Listen`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ListenerSpec {
    /// The address to bind.
    pub address: SocketAddr,
}

/// What the program needs of the main server.
#[derive(Clone, Debug, Default)]
pub struct ServerSpec {
    /// `Listen`, in file order and each once.
    pub listeners: Vec<ListenerSpec>,
    /// `PidFile`, absolute.
    pub pid_file: Option<PathBuf>,
    /// `User`.
    pub user: Option<String>,
    /// `Group`.
    pub group: Option<String>,
    /// `GracefulShutdownTimeout`; zero waits for the last tunnel.
    pub graceful_shutdown_timeout: Duration,
    /// `ListenBacklog`.
    pub backlog: Option<u32>,
}

/// `LimitRequestLine`, `LimitRequestFieldSize`, `LimitRequestFields`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestLimits {
    /// Bytes in the request line.
    pub line: usize,
    /// Bytes in one field line.
    pub field: usize,
    /// Number of fields; zero is unlimited.
    pub fields: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            line: 8190,
            field: 8190,
            fields: 100,
        }
    }
}

/// `KeepAlive`, `KeepAliveTimeout`, `MaxKeepAliveRequests`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    /// Whether connections are kept at all.
    pub on: bool,
    /// How long an idle one is kept.
    pub timeout: Duration,
    /// Requests on one connection after the first; zero is unlimited.
    pub requests_max: u32,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            on: true,
            timeout: Duration::from_secs(5),
            requests_max: 100,
        }
    }
}

/// One stage of `RequestReadTimeout`: a first limit, raised by a second for
/// every `min_rate` bytes that arrive, up to `most`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadTimeout {
    /// The limit without any byte received; zero is none.
    pub initial: Duration,
    /// The limit that no rate exceeds; `None` is unbounded.
    pub most: Option<Duration>,
    /// Bytes that buy one second; zero for a fixed limit.
    pub min_rate: u32,
}

impl ReadTimeout {
    /// The limit in force after `bytes` have been received.
    #[must_use]
    pub fn after(&self, bytes: u64) -> Option<Duration> {
        if self.initial.is_zero() {
            return None;
        }
        let bought = bytes.checked_div(u64::from(self.min_rate)).unwrap_or(0);
        let limit = self.initial + Duration::from_secs(bought.min(1 << 32));
        Some(self.most.map_or(limit, |most| limit.min(most)))
    }
}

/// `CustomLog` and `TransferLog`.
#[derive(Clone)]
pub struct AccessLogSpec {
    /// Where lines go.
    pub target: Target,
    /// What they look like.
    pub format: Arc<LogFormat>,
    /// `env=NAME` or `env=!NAME`: the name and whether it has to be set.
    pub condition: Option<(String, bool)>,
}

impl fmt::Debug for AccessLogSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLogSpec")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// What the front needs of a server or virtual host.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// `ServerName` without its port.
    pub server_name: String,
    /// `ServerName` first, then every `ServerAlias`.
    pub names: Vec<HostName>,
    /// The port of `ServerName`, if it has one.
    pub server_port: Option<u16>,
    /// The scheme of `ServerName`, if it has one.
    pub server_scheme: Option<String>,
    /// `ServerAdmin`.
    pub server_admin: String,
    /// `UseCanonicalName On`.
    pub canonical_name: bool,
    /// `Timeout`.
    pub timeout: Duration,
    /// `KeepAlive` and its relatives.
    pub keep_alive: KeepAlive,
    /// `LimitRequest*`.
    pub limits: RequestLimits,
    /// `RequestReadTimeout header=`.
    pub header_timeout: Option<ReadTimeout>,
    /// `RequestReadTimeout body=`.
    pub body_timeout: Option<ReadTimeout>,
    /// `CustomLog`.
    pub access_logs: Vec<AccessLogSpec>,
    /// `ErrorLog`.
    pub error_log: Target,
    /// `LogLevel`.
    pub levels: Levels,
    /// The `Server` field of relais' own answers.
    pub server_tokens: String,
    /// `AllowEncodedSlashes` and `MergeSlashes`.
    pub paths: PathRules,
    /// `TraceEnable Off` refuses TRACE with 405.
    pub trace_enabled: bool,
}

/// How an origin is reached and how long it may take: httpd's proxy worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerSpec {
    /// Its name, `http://host:port`, as logs and status pages show it.
    pub name: String,
    /// `http`, `https`, `ws` or `wss`, lower case.
    pub scheme: Scheme,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `timeout=`, else `ProxyTimeout`, else `Timeout`.
    pub timeout: Duration,
    /// `connectiontimeout=`, else `timeout`.
    pub connect_timeout: Duration,
    /// Whether connections are kept for the next request.
    pub reuse: bool,
    /// `ttl=`: how long an idle connection may be kept.
    pub idle_max: Duration,
}

/// The schemes of an origin.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// `http://`
    Http,
    /// `ws://`
    Ws,
    /// `https://`
    Https,
    /// `wss://`
    Wss,
}

impl Scheme {
    /// The scheme of this name, in any case.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        const ALL: [Scheme; 4] = [Scheme::Http, Scheme::Ws, Scheme::Https, Scheme::Wss];
        ALL.into_iter()
            .find(|scheme| scheme.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Ws => "ws",
            Self::Https => "https",
            Self::Wss => "wss",
        }
    }

    /// Its default port.
    #[must_use]
    pub fn port(self) -> u16 {
        if self.is_tls() { 443 } else { 80 }
    }

    /// Whether the origin is spoken to over TLS.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }

    /// Whether the target asks for a WebSocket.
    #[must_use]
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_timeouts_grow_with_the_rate() {
        let stage = ReadTimeout {
            initial: Duration::from_secs(20),
            most: Some(Duration::from_secs(40)),
            min_rate: 500,
        };
        let table: &[(u64, Option<u64>)] = &[
            (0, Some(20)),
            (499, Some(20)),
            (500, Some(21)),
            (5000, Some(30)),
            (1 << 40, Some(40)),
        ];
        for &(bytes, expected) in table {
            assert_eq!(
                stage.after(bytes),
                expected.map(Duration::from_secs),
                "{bytes}"
            );
        }
        assert_eq!(
            ReadTimeout {
                initial: Duration::ZERO,
                most: None,
                min_rate: 0
            }
            .after(1),
            None
        );
    }
}
