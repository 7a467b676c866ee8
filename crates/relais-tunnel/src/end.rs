//! How a tunnel ended.

use std::time::Duration;

use relais_io::{Fault, Side};

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
    /// Nothing came from either side for as long as [`crate::TunnelLimits::idle`] allows.
    Idle,
    /// The engine was stopped.
    Stopped,
    /// Reading failed in another way than by a reset, such as a time-out in the kernel.
    ReadError,
    /// Writing failed in another way than by a reset.
    WriteError,
    /// The engine could not watch the sockets: the system is out of memory or of watch slots.
    EngineFailed,
}

impl EndReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 9] = [
        Self::ClientClose,
        Self::OriginClose,
        Self::ClientReset,
        Self::OriginReset,
        Self::Idle,
        Self::Stopped,
        Self::ReadError,
        Self::WriteError,
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
            Self::Idle => "idle",
            Self::Stopped => "stopped",
            Self::ReadError => "read-error",
            Self::WriteError => "write-error",
            Self::EngineFailed => "engine-failed",
        }
    }

    pub(crate) const fn closed_by(side: Side) -> Self {
        match side {
            Side::Client => Self::ClientClose,
            Side::Origin => Self::OriginClose,
        }
    }

    /// The reason for a fault at `side`, where `other` names a fault that is nobody's reset.
    pub(crate) const fn fault(side: Side, fault: Fault, other: Self) -> Self {
        match (fault, side) {
            (Fault::Reset, Side::Client) => Self::ClientReset,
            (Fault::Reset, Side::Origin) => Self::OriginReset,
            (Fault::Other(_), _) => other,
        }
    }
}

/// The one record of a tunnel's life; it is made when both sockets are closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelEnd {
    /// Why it ended.
    pub reason: EndReason,
    /// Bytes from the client that the origin's socket took. Close frames written by relais do not count.
    pub client_to_origin: u64,
    /// Bytes from the origin that the client's socket took, without the HTTP head in front and without Close frames
    /// written by relais.
    pub origin_to_client: u64,
    /// Complete text and binary messages from the client; 0 when the tunnel is not a WebSocket.
    pub messages_to_origin: u64,
    /// Complete text and binary messages from the origin; 0 when the tunnel is not a WebSocket.
    pub messages_to_client: u64,
    /// The status code of the first Close frame that either side sent (RFC 6455 section 7.4), if it had one.
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
    fn faults_name_the_side_that_reset() {
        let other = Fault::Other(std::io::ErrorKind::TimedOut);
        for (side, fault, expected) in [
            (Side::Client, Fault::Reset, "client-reset"),
            (Side::Origin, Fault::Reset, "origin-reset"),
            (Side::Client, other, "write-error"),
            (Side::Origin, other, "write-error"),
        ] {
            assert_eq!(
                EndReason::fault(side, fault, EndReason::WriteError).as_str(),
                expected
            );
        }
    }
}
