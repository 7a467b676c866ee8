//! The facts a log line is made from.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

/// One request as the access log sees it.
///
/// Values are borrowed and raw: escaping is the format's business. Nothing is asked for that the format does not name,
/// so an implementation may look things up when asked. What has a default is absent from most requests.
pub trait Record {
    /// The request as it was before internal redirects (an `ErrorDocument` served from here); `None` if there were none.
    fn original(&self) -> Option<&dyn Record> {
        None
    }

    /// The client's address, after mod_remoteip.
    fn client_addr(&self) -> IpAddr;
    /// The client's port, 0 when mod_remoteip replaced the address.
    fn client_port(&self) -> u16;
    /// The client's name where `HostnameLookups` found one.
    fn client_host(&self) -> Option<&[u8]> {
        None
    }
    /// The other end of the connection.
    fn peer_addr(&self) -> IpAddr;
    /// Our end of the connection.
    fn local_addr(&self) -> SocketAddr;
    /// The port of `ServerName`, or the default of the scheme.
    fn canonical_port(&self) -> u16;
    /// The `ServerName` of the virtual host (`%v`).
    fn canonical_name(&self) -> &[u8];
    /// The server's name according to `UseCanonicalName` (`%V`).
    fn server_name(&self) -> Cow<'_, [u8]>;

    /// The request line as it was received; `None` if none was.
    fn request_line(&self) -> Option<&[u8]>;
    /// The request method.
    fn method(&self) -> &[u8];
    /// The decoded path, without the query.
    fn path(&self) -> Option<&[u8]>;
    /// The query as received, without `?`.
    fn query(&self) -> Option<&[u8]>;
    /// The protocol, such as `HTTP/1.1`.
    fn protocol(&self) -> &[u8];
    /// The status sent, 0 if none was.
    fn status(&self) -> u16;
    /// The authenticated user.
    fn user(&self) -> Option<&[u8]> {
        None
    }
    /// What answered, such as `proxy-server`.
    fn handler(&self) -> Option<&[u8]> {
        None
    }
    /// What the path was mapped to: a file, or `proxy:` and a URL.
    fn filename(&self) -> Option<Cow<'_, [u8]>> {
        None
    }

    /// Bytes of the response body that were sent.
    fn body_bytes(&self) -> u64;
    /// Bytes received, head included.
    fn bytes_in(&self) -> u64;
    /// Bytes sent, head included.
    fn bytes_out(&self) -> u64;
    /// When the request began to arrive.
    fn start(&self) -> SystemTime;
    /// How long the request took.
    fn duration(&self) -> Duration;
    /// Time from `start` to the first byte of the response, where `LogIOTrackTTFB` is on.
    fn first_byte(&self) -> Option<Duration> {
        None
    }
    /// Number of requests served on the connection before this one.
    fn keepalive_number(&self) -> u32 {
        0
    }
    /// What became of the connection.
    fn connection_state(&self) -> ConnectionState;

    /// Calls `each` with the value of every request field line of that name (ASCII case ignored), in order.
    fn request_header(&self, name: &[u8], each: &mut dyn FnMut(&[u8]));
    /// Calls `each` with the value of every response field line of that name (ASCII case ignored), in the order sent.
    fn response_header(&self, name: &[u8], each: &mut dyn FnMut(&[u8]));
    /// As [`request_header`](Self::request_header), for the request's trailers.
    fn request_trailer(&self, _name: &[u8], _each: &mut dyn FnMut(&[u8])) {}
    /// As [`response_header`](Self::response_header), for the response's trailers.
    fn response_trailer(&self, _name: &[u8], _each: &mut dyn FnMut(&[u8])) {}
    /// An environment variable of the request (ASCII case ignored).
    fn env(&self, _name: &[u8]) -> Option<&[u8]> {
        None
    }
    /// A note another module left (ASCII case ignored).
    fn note(&self, _name: &[u8]) -> Option<&[u8]> {
        None
    }
    /// Calls `found` with the value of a mod_ssl variable such as `SSL_PROTOCOL`, if the connection has one.
    fn ssl_variable(&self, _name: &[u8], _found: &mut dyn FnMut(&[u8])) {}

    /// The identifier under which the error log mentions this request.
    fn log_id(&self) -> Option<&[u8]> {
        None
    }
    /// The identifier under which the error log mentions this connection.
    fn connection_log_id(&self) -> Option<&[u8]> {
        None
    }
    /// The process that served the request.
    fn pid(&self) -> u32 {
        std::process::id()
    }
    /// The thread that served the request.
    fn tid(&self) -> u64 {
        crate::error::current_tid()
    }
    /// The tunnel, if the request became one and it has ended.
    fn tunnel(&self) -> Option<TunnelFacts<'_>> {
        None
    }
}

/// What became of the connection when the response was complete (`%X`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// `X`: it ended before the response was complete.
    Aborted,
    /// `+`: it may carry another request.
    KeepAlive,
    /// `-`: it was or will be closed.
    Close,
}

/// What is known of a tunnel once it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelFacts<'a> {
    /// How it ended, such as `client-close` or `idle`.
    pub end: &'a str,
    /// WebSocket messages from the client.
    pub messages_in: u64,
    /// WebSocket messages to the client.
    pub messages_out: u64,
    /// The code of the Close frame that ended it (RFC 6455 §7.4).
    pub close_code: Option<u16>,
    /// Bytes from the client after the handshake.
    pub bytes_in: u64,
    /// Bytes to the client after the handshake.
    pub bytes_out: u64,
    /// The tunnel's number.
    pub id: u64,
    /// From the hand-off to the end.
    pub duration: Duration,
    /// What came from the client, by kind.
    pub kinds_in: TunnelKinds,
    /// What went to the client, by kind.
    pub kinds_out: TunnelKinds,
}

/// WebSocket messages and frames of one direction, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelKinds {
    /// Text messages.
    pub text: u64,
    /// Their payload bytes.
    pub text_bytes: u64,
    /// Binary messages.
    pub binary: u64,
    /// Their payload bytes.
    pub binary_bytes: u64,
    /// Ping frames.
    pub pings: u64,
    /// Pong frames.
    pub pongs: u64,
    /// Breaches of the protocol.
    pub violations: u64,
}

/// What becomes known only when a response or tunnel has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineEnd<'a> {
    /// Time since [`Record::start`].
    pub duration: Duration,
    /// Bytes received, request head included.
    pub bytes_in: u64,
    /// Bytes sent, response head included.
    pub bytes_out: u64,
    /// Facts of the tunnel, if it was one.
    pub tunnel: Option<TunnelFacts<'a>>,
    /// When it ended.
    pub end_time: SystemTime,
}

impl<'a> LineEnd<'a> {
    /// The end of a request that is over, from its own facts.
    pub(super) fn of(record: &'a dyn Record) -> Self {
        let (start, duration) = (record.start(), record.duration());
        Self {
            duration,
            bytes_in: record.bytes_in(),
            bytes_out: record.bytes_out(),
            tunnel: record.tunnel(),
            end_time: start.checked_add(duration).unwrap_or(start),
        }
    }
}
