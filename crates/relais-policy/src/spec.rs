//! Plain data that modules produce and the runtime crates consume.
//!
//! Nothing here opens a file or resolves a name; durations are durations and
//! sizes are bytes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relais_expr::Expression;
use relais_telemetry::{ErrorFormat, Levels, LogFormat, Target};

use crate::balancer::BalancerSpec;
use crate::http2::{Http2Spec, ProtocolsSpec};
use crate::route::RouteSpec;
use crate::site::HostName;
use crate::tunnel::{TunnelHostSpec, TunnelSpec};
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
    /// The main server's `DocumentRoot`, absolute.
    pub document_root: Option<PathBuf>,
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
    /// What is written down for the status page.
    pub status: StatusSpec,
}

/// What is written down of requests for the status page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StatusSpec {
    /// `ExtendedStatus Off`: their lines are not.
    pub terse: bool,
    /// `SeeRequestTail On`: the end of a long line is, in place of its
    /// beginning.
    pub tail: bool,
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
    /// Which requests have a line.
    pub condition: Option<LogCondition>,
}

/// Which clients have to send a PROXY protocol header.
#[derive(Clone)]
pub struct ProxyProtocol {
    /// Whether a client need not.
    pub excepted: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

impl fmt::Debug for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyProtocol")
    }
}

/// The last argument of `CustomLog`.
#[derive(Clone, Debug)]
pub enum LogCondition {
    /// `env=NAME` or `env=!NAME`: the name and whether it has to be set.
    Variable(String, bool),
    /// `expr=`: it has to hold when the answer has gone out.
    Expression(Arc<Expression>),
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
    /// `ServerName` as requests name it, if it is set.
    pub name: Option<HostName>,
    /// Whether that is the main server's, the virtual host having none.
    pub name_inherited: bool,
    /// Every `ServerAlias`.
    pub aliases: Vec<HostName>,
    /// The port of `ServerName`, if it has one.
    pub server_port: Option<u16>,
    /// The scheme of `ServerName`, if it has one.
    pub server_scheme: Option<String>,
    /// `ServerAdmin`.
    pub server_admin: String,
    /// `UseCanonicalName On`.
    pub canonical_name: bool,
    /// `DocumentRoot`, as variables show it.
    pub document_root: Option<Vec<u8>>,
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
    /// `ErrorLogFormat`; `None` is httpd's own.
    pub error_format: Option<Arc<ErrorFormat>>,
    /// `ErrorLogFormat request`: lines before a request's first.
    pub request_formats: Arc<[ErrorFormat]>,
    /// `LogLevel`.
    pub levels: Levels,
    /// The `Server` field of relais' own answers.
    pub server_tokens: String,
    /// `RemoteIPProxyProtocol`: connections begin with the client's address.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `LogIOTrackTTFB`: when the first byte of an answer goes out is kept.
    pub first_byte: bool,
    /// `AllowEncodedSlashes` and `MergeSlashes`.
    pub paths: PathRules,
    /// The server's side of TLS; `None` without `SSLEngine on`.
    pub tls: Option<Arc<crate::tls::TlsSpec>>,
    /// The client's side of TLS; `None` without `SSLProxyEngine on`.
    pub proxy_tls: Option<Arc<crate::tls::ProxyTlsSpec>>,
    /// `SSLStrictSNIVHostCheck`.
    pub strict_sni: bool,
    /// `SSLVHostSNIPolicy`.
    pub sni_policy: crate::tls::SniPolicy,
    /// `TraceEnable Off` refuses TRACE with 405.
    pub trace_enabled: bool,
    /// The balancers that the host's requests can be sent to.
    pub balancers: Vec<Arc<BalancerSpec>>,
    /// The workers that directives name, balancers' members among them.
    pub workers: Vec<Arc<WorkerSpec>>,
    /// The rules that lead to origins.
    pub routes: Vec<Arc<RouteSpec>>,
    /// Whether a rule wants to see paths before they are decoded.
    pub maps_written: bool,
    /// `Protocols`: what clients may speak.
    pub protocols: ProtocolsSpec,
    /// What holds for connections of HTTP/2.
    pub http2: Http2Spec,
    /// What holds for all tunnels of the host together.
    pub tunnels: TunnelHostSpec,
    /// What a tunnel may do outside of every section.
    pub tunnel: TunnelSpec,
}

/// How an origin is reached and how long it may take: httpd's proxy worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerSpec {
    /// Its name, `http://host:port` or `unix:/path|http://host`, as logs and
    /// status pages show it.
    pub name: String,
    /// `http`, `https`, `ws` or `wss`, lower case.
    pub scheme: Scheme,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The Unix socket that is connected to in place of host and port
    /// (`unix:/path|http://host/`).
    pub socket: Option<PathBuf>,
    /// `timeout=`, else `ProxyTimeout`, else `Timeout`.
    pub timeout: Duration,
    /// `connectiontimeout=`, else `timeout`.
    pub connect_timeout: Duration,
    /// Whether connections are kept for the next request.
    pub reuse: bool,
    /// `ttl=`: how long an idle connection may be kept.
    pub idle_max: Duration,
    /// `addressttl=`: how long the addresses of `host` are remembered; `None`
    /// leaves it to the resolver's own limit.
    pub address_ttl: Option<Duration>,
    /// `max=`: connections to the origin at the same time, over all threads;
    /// `None` is no limit.
    pub connections_max: Option<u32>,
    /// `acquire=`: how long a request waits where `connections_max` are open;
    /// `None` waits without a limit.
    pub acquire: Option<Duration>,
    /// `keepalive=On`: `SO_KEEPALIVE` on its connections.
    pub keep_alive: bool,
    /// `ping=`: requests with a body are sent with `Expect: 100-continue`, and
    /// an answer of any kind has to come within this time.
    pub ping: Option<Duration>,
    /// `responsefieldsize=`: bytes in one field line of a response.
    pub field_max: usize,
    /// `receivebuffersize=`, else `ProxyReceiveBufferSize`: `SO_RCVBUF` in
    /// bytes; `None` leaves it to the system.
    pub receive_buffer: Option<u32>,
    /// `ProxySourceAddress`: the local address of its connections.
    pub source: Option<IpAddr>,
    /// `upgrade=`: which protocols a client may ask it for.
    pub upgrade: Upgrade,
}

/// Which values of a client's `Upgrade` go to an origin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Upgrade {
    /// A WebSocket where the scheme says so, else none.
    #[default]
    Scheme,
    /// Any value.
    Any,
    /// Values that begin with one of these words (lower case), in any case.
    Prefixes(Vec<String>),
}

impl Upgrade {
    /// Whether an origin of this scheme gets a value.
    #[must_use]
    pub fn allows(&self, scheme: Scheme, value: &[u8]) -> bool {
        match self {
            Self::Scheme => scheme.is_websocket() && value.eq_ignore_ascii_case(b"websocket"),
            Self::Any => true,
            Self::Prefixes(words) => words.iter().any(|word| {
                value
                    .get(..word.len())
                    .is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
            }),
        }
    }
}

impl WorkerSpec {
    /// A worker with httpd's defaults and one limit for all its waiting.
    #[must_use]
    pub fn new(scheme: Scheme, host: &str, port: u16, timeout: Duration) -> Self {
        let bracketed = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let shown = if port == scheme.port() {
            String::new()
        } else {
            format!(":{port}")
        };
        Self {
            name: format!("{}://{bracketed}{shown}", scheme.as_str()),
            scheme,
            host: host.to_owned(),
            port,
            socket: None,
            timeout,
            connect_timeout: timeout,
            reuse: true,
            idle_max: Self::IDLE_MAX,
            address_ttl: None,
            connections_max: None,
            acquire: None,
            keep_alive: false,
            ping: None,
            field_max: Self::FIELD_MAX,
            receive_buffer: None,
            source: None,
            upgrade: Upgrade::Scheme,
        }
    }

    /// Whether a client's whole `Upgrade` is forwarded and, if so, those of its
    /// members that the worker allows: httpd forwards a list for the sake of
    /// its first member, and the origin may choose only what is named.
    #[must_use]
    pub fn upgrade(&self, asked: &[u8]) -> Option<Vec<u8>> {
        let allows = |value: &[u8]| self.upgrade.allows(self.scheme, value);
        let protocols = asked.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        let allowed = || protocols.filter(|name| allows(name)).collect::<Vec<_>>();
        allows(asked).then(|| allowed().join(&b","[..]))
    }

    /// How long an idle connection is kept where no `ttl=` says otherwise;
    /// httpd keeps it until the origin closes it.
    pub const IDLE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// httpd's longest field line of a response (`HUGE_STRING_LEN`).
    pub const FIELD_MAX: usize = 8192;

    /// Host and port as a `Host` field has them: without a default port.
    #[must_use]
    pub fn authority(&self) -> &str {
        let at = self.name.rfind("://").map_or(0, |at| at + 3);
        self.name.get(at..).unwrap_or_default()
    }
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
