//! What the HTTP side gives the engine after an upgrade.

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::TunnelEnd;

/// A tunnel on its way to an engine: both sockets and what was read from them already.
///
/// The sockets are connected stream sockets, blocking or not, and nobody else reads, writes or holds them. The giver
/// sets `TCP_NODELAY` on both; the engine changes no options.
pub struct Handoff<S = OwnedFd> {
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
    /// What the tunnel may do.
    pub limits: TunnelLimits,
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

/// The limits of one tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelLimits {
    /// End the tunnel when no byte went either way for this long; `None` is for ever. A byte counts when it is read and
    /// when it is taken. The end may come up to an eighth of a second late.
    pub idle: Option<Duration>,
    /// Whether one side may end its stream and still listen. httpd's `proxy-nohalfclose` sets it to false: then the
    /// first end of a stream ends the tunnel.
    pub half_close: bool,
}

impl Default for TunnelLimits {
    /// No idle limit; half-close allowed, as in httpd.
    fn default() -> Self {
        Self {
            idle: None,
            half_close: true,
        }
    }
}

/// Whatever belongs to a tunnel but is of no concern to the engine: the access log line, the labels of metrics.
pub trait Label: Send {
    /// The tunnel is over and both sockets are closed. Runs on the engine's thread, so it must not block; when it
    /// panics, the engine goes on.
    fn ended(self: Box<Self>, end: &TunnelEnd);
}
