//! How a tunnel ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relais_io::{Fault, Side};
use relais_websocket::Counters;

use crate::{Route, TunnelId};

/// Why a tunnel ended. Log formats, metrics and tests rely on the names of [`EndReason::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The client finished first: it sent a Close frame or ended its stream.
    ClientClose,
    /// The origin finished first: it sent a Close frame or ended its stream.
    OriginClose,
    /// The client reset the connection.
    ClientReset,
    /// The origin reset the connection.
    OriginReset,
    /// The client's encrypted stream ended without its close_notify, and no Close frame had come either.
    ClientTruncated,
    /// The origin's encrypted stream ended without its close_notify, and no Close frame had come either.
    OriginTruncated,
    /// The client sent what does not decrypt, or an alert of TLS.
    ClientTls,
    /// The origin sent what does not decrypt, or an alert of TLS.
    OriginTls,
    /// The connection to the client failed in another way, such as a time-out in the kernel.
    ClientLost,
    /// The connection to the origin failed in another way, such as a time-out in the kernel.
    OriginDown,
    /// Nothing came from either side for as long as [`crate::TunnelLimits::idle`] allows.
    Idle,
    /// It was open for as long as [`crate::TunnelLimits::lifetime`] allows.
    Lifetime,
    /// One side had ended its stream and the other did not within [`crate::TunnelLimits::half_close_timeout`].
    HalfClose,
    /// The client took nothing of what waited for it within [`crate::TunnelLimits::write_timeout`].
    ClientStall,
    /// The same of the origin.
    OriginStall,
    /// The client did not answer within [`crate::TunnelLimits::ping`] of a Ping.
    PingTimeout,
    /// A message was larger than [`crate::TunnelLimits::message_size`].
    MessageSize,
    /// A frame was larger than [`crate::TunnelLimits::frame_size`].
    FrameSize,
    /// The client sent messages faster than [`crate::TunnelLimits::message_rate`].
    MessageRate,
    /// A side broke the protocol, and [`crate::TunnelLimits::end_on_violation`] says to end then.
    ProtocolError,
    /// It was drained, because of a reload or a graceful stop.
    Drained,
    /// An operator closed it.
    Kicked,
    /// The engine was stopped.
    Stopped,
    /// The engine could not watch the sockets: the system is out of memory or of watch slots.
    EngineFailed,
}

impl EndReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 24] = [
        Self::ClientClose,
        Self::OriginClose,
        Self::ClientReset,
        Self::OriginReset,
        Self::ClientTruncated,
        Self::OriginTruncated,
        Self::ClientTls,
        Self::OriginTls,
        Self::ClientLost,
        Self::OriginDown,
        Self::Idle,
        Self::Lifetime,
        Self::HalfClose,
        Self::ClientStall,
        Self::OriginStall,
        Self::PingTimeout,
        Self::MessageSize,
        Self::FrameSize,
        Self::MessageRate,
        Self::ProtocolError,
        Self::Drained,
        Self::Kicked,
        Self::Stopped,
        Self::EngineFailed,
    ];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientClose => "client-close",
            Self::OriginClose => "origin-close",
            Self::ClientReset => "client-reset",
            Self::OriginReset => "origin-reset",
            Self::ClientTruncated => "client-truncated",
            Self::OriginTruncated => "origin-truncated",
            Self::ClientTls => "client-tls-error",
            Self::OriginTls => "origin-tls-error",
            Self::ClientLost => "client-lost",
            Self::OriginDown => "origin-down",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::HalfClose => "half-close-timeout",
            Self::ClientStall => "client-stall",
            Self::OriginStall => "origin-stall",
            Self::PingTimeout => "ping-timeout",
            Self::MessageSize => "limit-message-size",
            Self::FrameSize => "limit-frame-size",
            Self::MessageRate => "limit-message-rate",
            Self::ProtocolError => "protocol-error",
            Self::Drained => "drained",
            Self::Kicked => "kicked",
            Self::Stopped => "stopped",
            Self::EngineFailed => "engine-failed",
        }
    }

    /// Whether relais ended the tunnel by its own rules, rather than a peer or the network.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        !matches!(
            self,
            Self::ClientClose
                | Self::OriginClose
                | Self::ClientReset
                | Self::OriginReset
                | Self::ClientTruncated
                | Self::OriginTruncated
                | Self::ClientTls
                | Self::OriginTls
                | Self::ClientLost
                | Self::OriginDown
        )
    }

    /// The status code (RFC 6455 section 7.4.1) for `to` when `offender` gave the reason; `None` is neither side.
    #[must_use]
    pub fn close_code(self, to: Side, offender: Option<Side>) -> u16 {
        let offends = offender == Some(to);
        match self {
            Self::Drained => 1012,
            Self::MessageSize | Self::FrameSize if offends => 1009,
            Self::MessageRate | Self::Kicked if offends || self == Self::Kicked => 1008,
            Self::ProtocolError if offends => 1002,
            // The client did nothing wrong: what it talked to is gone or broken.
            Self::OriginDown | Self::OriginReset | Self::OriginTls | Self::OriginStall => 1011,
            _ if to == Side::Client && offender == Some(Side::Origin) => 1011,
            _ => 1001,
        }
    }

    pub(crate) const fn closed_by(side: Side) -> Self {
        match side {
            Side::Client => Self::ClientClose,
            Side::Origin => Self::OriginClose,
        }
    }

    pub(crate) const fn stalled(side: Side) -> Self {
        match side {
            Side::Client => Self::ClientStall,
            Side::Origin => Self::OriginStall,
        }
    }

    /// The reason for a fault at `side`.
    pub(crate) const fn fault(side: Side, fault: Fault) -> Self {
        match (fault, side) {
            (Fault::Reset, Side::Client) => Self::ClientReset,
            (Fault::Reset, Side::Origin) => Self::OriginReset,
            (Fault::Truncated, Side::Client) => Self::ClientTruncated,
            (Fault::Truncated, Side::Origin) => Self::OriginTruncated,
            (Fault::Tls, Side::Client) => Self::ClientTls,
            (Fault::Tls, Side::Origin) => Self::OriginTls,
            (Fault::Other(_), Side::Client) => Self::ClientLost,
            (Fault::Other(_), Side::Origin) => Self::OriginDown,
        }
    }
}

/// The one record of a tunnel's life; it is made when both sockets are closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelEnd {
    /// The tunnel.
    pub id: TunnelId,
    /// Its client.
    pub client: SocketAddr,
    /// What it was opened for.
    pub route: Arc<Route>,
    /// Why it ended.
    pub reason: EndReason,
    /// Bytes from the client that the origin's socket took. Frames written by relais do not count.
    pub client_to_origin: u64,
    /// Bytes from the origin that the client's socket took, without the HTTP head in front and without frames written
    /// by relais.
    pub origin_to_client: u64,
    /// Complete text and binary messages from the client; 0 when the tunnel is not a WebSocket.
    pub messages_to_origin: u64,
    /// Complete text and binary messages from the origin; 0 when the tunnel is not a WebSocket.
    pub messages_to_client: u64,
    /// What the client's frames came to, by opcode.
    pub from_client: Counters,
    /// What the origin's frames came to, by opcode.
    pub from_origin: Counters,
    /// The status code of the first Close frame (RFC 6455 section 7.4), if it had one: of a peer, or of relais when it
    /// ended the tunnel before either of them.
    pub close_code: Option<u16>,
    /// From hand-off to end, in whole milliseconds.
    pub duration: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_distinct() {
        let names: HashSet<_> = EndReason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .collect();
        assert_eq!(names.len(), EndReason::ALL.len());
    }

    #[test]
    fn faults_name_the_side_that_failed() {
        let other = Fault::Other(std::io::ErrorKind::TimedOut);
        for (side, fault, expected) in [
            (Side::Client, Fault::Reset, "client-reset"),
            (Side::Origin, Fault::Reset, "origin-reset"),
            (Side::Client, Fault::Truncated, "client-truncated"),
            (Side::Origin, Fault::Truncated, "origin-truncated"),
            (Side::Client, Fault::Tls, "client-tls-error"),
            (Side::Origin, Fault::Tls, "origin-tls-error"),
            (Side::Client, other, "client-lost"),
            (Side::Origin, other, "origin-down"),
        ] {
            assert_eq!(EndReason::fault(side, fault).as_str(), expected);
        }
    }

    #[test]
    fn the_offender_hears_what_it_did() {
        use EndReason as E;
        let (client, origin) = (Some(Side::Client), Some(Side::Origin));
        for (reason, offender, to_client, to_origin) in [
            (E::Idle, None, 1001, 1001),
            (E::Stopped, None, 1001, 1001),
            (E::Drained, None, 1012, 1012),
            (E::Kicked, None, 1008, 1008),
            (E::MessageSize, client, 1009, 1001),
            (E::FrameSize, origin, 1011, 1009),
            (E::MessageRate, client, 1008, 1001),
            (E::ProtocolError, client, 1002, 1001),
            (E::ProtocolError, origin, 1011, 1002),
            (E::OriginReset, origin, 1011, 1011),
            (E::OriginStall, origin, 1011, 1011),
            (E::ClientStall, client, 1001, 1001),
        ] {
            let codes = Side::BOTH.map(|to| reason.close_code(to, offender));
            assert_eq!(codes, [to_client, to_origin], "{reason:?}");
        }
    }
}
