//! Why a connection's records cannot go on.

use std::fmt;

/// A record that ends its connection. All but [`Self::Alert`] are answered with the alert of [`Self::alert`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// The peer's: a record's head is not one.
    Malformed,
    /// The peer's: a record is longer than allowed.
    Oversized,
    /// The peer's, or somebody's in between: a record does not open.
    Forged,
    /// The peer's: a message that may not stand here.
    Unexpected,
    /// The peer's: too many messages without any content.
    Flood,
    /// The peer has ended the connection with this alert.
    Alert(u8),
    /// Ours: a key cannot be made or its numbers are used up.
    Exhausted,
}

impl RecordError {
    /// The alert to send (RFC 8446 §6.2); `None` when the peer has sent one.
    #[must_use]
    pub const fn alert(self) -> Option<u8> {
        match self {
            Self::Malformed => Some(50),
            Self::Oversized => Some(22),
            Self::Forged => Some(20),
            Self::Unexpected | Self::Flood => Some(10),
            Self::Exhausted => Some(80),
            Self::Alert(_) => None,
        }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("a TLS record is malformed"),
            Self::Oversized => f.write_str("a TLS record is too long"),
            Self::Forged => f.write_str("a TLS record does not decrypt"),
            Self::Unexpected => f.write_str("a TLS message that may not stand here"),
            Self::Flood => f.write_str("too many TLS records without content"),
            Self::Alert(alert) => write!(f, "the peer sent the TLS alert {alert}"),
            Self::Exhausted => f.write_str("the TLS keys are used up"),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<RecordError> for std::io::Error {
    fn from(error: RecordError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}
