//! What the HTTP side gives the engine after an upgrade.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use relais_io::Side;

use crate::totals::Ledger;
use crate::{TunnelEnd, Wire};

/// A tunnel on its way to an engine: both sockets and what was read from them already.
///
/// The sockets are connected stream sockets, blocking or not, and nobody else reads, writes or holds them. The giver
/// sets `TCP_NODELAY` on both; the engine changes no options.
pub struct Handoff<S = Wire<OwnedFd>> {
    /// The client's socket.
    pub client: S,
    /// The origin's socket.
    pub origin: S,
    /// Bytes read from the client behind its request head; they are the first that the origin gets.
    pub to_origin: Vec<u8>,
    /// What the client gets first: the head of the 101, then bytes that the origin sent right behind it.
    pub to_client: Vec<u8>,
    /// How many bytes at the front of `to_client` are HTTP, so that they are neither counted nor taken for frames.
    pub to_client_head: usize,
    /// Whether the streams are WebSocket frames. Otherwise no boundary is known and no Close frame is ever written.
    pub websocket: bool,
    /// Whether the peers agreed on an extension that uses the first reserved bit (RFC 7692).
    pub compressed: bool,
    /// What the tunnel may do.
    pub limits: Arc<TunnelLimits>,
    /// The client's address.
    pub peer: SocketAddr,
    /// What the tunnel is for.
    pub route: Arc<Route>,
    /// Hears about the end.
    pub label: Box<dyn Label>,
}

impl<S> fmt::Debug for Handoff<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handoff")
            .field("to_origin", &self.to_origin.len())
            .field("to_client", &self.to_client.len())
            .field("to_client_head", &self.to_client_head)
            .field("websocket", &self.websocket)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The limits of tunnels; those that are alike share one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelLimits {
    /// End the tunnel when no byte went either way for this long; `None` is for ever. A byte counts when it is read and
    /// when it is taken. As for all times here, the end may come up to an eighth of a second late.
    pub idle: Option<Duration>,
    /// Whether one side may end its stream and still listen. httpd's `proxy-nohalfclose` sets it to false: then the
    /// first end of a stream ends the tunnel.
    pub half_close: bool,
    /// End the tunnel when it is this old.
    pub lifetime: Option<Duration>,
    /// End the tunnel when only one side has ended its stream for this long.
    pub half_close_timeout: Option<Duration>,
    /// End the tunnel when a side takes none of the bytes that wait for it for this long.
    pub write_timeout: Option<Duration>,
    /// Send the client a Ping when it has been silent for this long, and end the tunnel when it stays so as long again.
    pub ping: Option<Duration>,
    /// Payload bytes of one frame.
    pub frame_size: PerSide,
    /// Payload bytes of one message.
    pub message_size: PerSide,
    /// Messages that the client may begin.
    pub message_rate: Option<Rate>,
    /// Bytes that are read from the client; it has to wait when it sends more.
    pub byte_rate: Option<Rate>,
    /// Whether a breach of RFC 6455 ends the tunnel; otherwise it is counted and passed on.
    pub end_on_violation: bool,
}

impl Default for TunnelLimits {
    /// No limit; half-close allowed, as in httpd.
    fn default() -> Self {
        Self {
            idle: None,
            half_close: true,
            lifetime: None,
            half_close_timeout: None,
            write_timeout: None,
            ping: None,
            frame_size: PerSide::UNLIMITED,
            message_size: PerSide::UNLIMITED,
            message_rate: None,
            byte_rate: None,
            end_on_violation: false,
        }
    }
}

/// A number for what the client sends and one for what the origin sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerSide {
    /// For the client's.
    pub client: u64,
    /// For the origin's.
    pub origin: u64,
}

impl PerSide {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        client: u64::MAX,
        origin: u64::MAX,
    };

    /// The number for what `side` sends.
    #[must_use]
    pub const fn of(self, side: Side) -> u64 {
        match side {
            Side::Client => self.client,
            Side::Origin => self.origin,
        }
    }
}

/// So many a second, of which `burst` may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many a second, at least 1.
    pub per_second: u64,
    /// The most that may be saved up.
    pub burst: u64,
}

/// Names a tunnel for as long as the process runs (and 2^31 tunnels per engine).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TunnelId(pub u64);

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What names a route. The texts are the giver's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteNames<'a> {
    /// The virtual host.
    pub host: &'a str,
    /// The rule that led to the origin.
    pub rule: &'a str,
    /// Where the rule stands.
    pub place: &'a str,
    /// The rule's target as it was written.
    pub target: &'a str,
    /// The worker that the origin is reached through.
    pub worker: &'a str,
    /// The origin.
    pub origin: &'a str,
    /// How the client came, such as `http/1.1`.
    pub via: &'static str,
    /// What else the giver wants to find again.
    pub note: &'a str,
}

/// What tunnels were opened for, shared by all that have it in common.
#[derive(Debug, Default)]
pub struct Route {
    /// The names, one behind the other, with where each ends: a route is made once and looked at for each request.
    text: Box<str>,
    ends: [usize; 7],
    via: &'static str,
    live: AtomicUsize,
    /// The sums of the process, which know the tunnels of all routes.
    pub(crate) ledger: Arc<Ledger>,
}

impl Route {
    /// A route without tunnels.
    #[must_use]
    pub fn new(names: RouteNames<'_>) -> Self {
        let parts = names.parts();
        let mut end = 0;
        Self {
            text: parts.concat().into(),
            ends: parts.map(|part| {
                end += part.len();
                end
            }),
            via: names.via,
            live: AtomicUsize::new(0),
            ledger: Arc::default(),
        }
    }

    /// Its names.
    #[must_use]
    pub fn names(&self) -> RouteNames<'_> {
        let mut start = 0;
        let [host, rule, place, target, worker, origin, note] = self.ends.map(|end| {
            let part = self.text.get(start..end).unwrap_or_default();
            start = end;
            part
        });
        RouteNames {
            host,
            rule,
            place,
            target,
            worker,
            origin,
            via: self.via,
            note,
        }
    }

    /// How many of its tunnels are open.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
        self.ledger.open();
    }

    pub(crate) fn leave(&self, end: &TunnelEnd) {
        self.live.fetch_sub(1, Ordering::Relaxed);
        self.ledger.end(end);
    }
}

impl<'a> RouteNames<'a> {
    const fn parts(&self) -> [&'a str; 7] {
        [
            self.host,
            self.rule,
            self.place,
            self.target,
            self.worker,
            self.origin,
            self.note,
        ]
    }
}

impl PartialEq for Route {
    /// Equal names; how many tunnels there are is no part of it.
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

impl Eq for Route {}

/// Whatever belongs to a tunnel but is of no concern to the engine: the access log line, the labels of metrics.
pub trait Label: Send {
    /// The tunnel is over and both sockets are closed. Runs on the engine's thread, so it must not block; when it
    /// panics, the engine goes on.
    fn ended(self: Box<Self>, end: &TunnelEnd);
}
