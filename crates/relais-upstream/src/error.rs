//! Why there is no connection to an origin.

use std::fmt;
use std::io;
use std::time::Duration;

/// No connection to an origin; always the origin's side, and another worker
/// may be tried since nothing has been sent.
#[derive(Debug)]
pub enum ConnectError {
    /// The host name has no address.
    Resolve {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// No address accepted the connection; the last failure is told.
    Connect {
        /// The last address tried, or the Unix socket's path.
        address: String,
        /// Why it failed.
        error: io::Error,
    },
    /// No address answered in time.
    TimedOut {
        /// The last address tried, or the Unix socket's path.
        address: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// As many connections are open as `max=` allows, and none was given back
    /// within `acquire=`.
    Exhausted {
        /// How long it was waited for.
        after: Duration,
    },
    /// The origin wants TLS, which the host does not speak to origins.
    Tls,
    /// There is a connection, and TLS failed on it.
    Handshake {
        /// What failed.
        why: String,
    },
}

impl ConnectError {
    /// Whether it is TLS that failed.
    #[must_use]
    pub fn is_handshake(&self) -> bool {
        matches!(self, Self::Handshake { .. })
    }

    /// The status that httpd answers (mod_proxy: 500 for a name without an
    /// address, 503 for an origin that is down).
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Resolve { .. } | Self::Tls | Self::Handshake { .. } => 500,
            Self::Connect { .. } | Self::TimedOut { .. } | Self::Exhausted { .. } => 503,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, error } => write!(f, "DNS lookup failure for: {host}: {error}"),
            Self::Connect { address, error } => {
                write!(f, "attempt to connect to {address} failed: {error}")
            }
            Self::TimedOut { address, after } => {
                write!(
                    f,
                    "attempt to connect to {address} failed: no answer within {} s",
                    after.as_secs_f64()
                )
            }
            Self::Exhausted { after } => write!(
                f,
                "no connection was free within {} s (acquire)",
                after.as_secs_f64()
            ),
            Self::Tls => f.write_str(
                "AH00961: failed to enable ssl support: SSLProxyEngine is not on for this host",
            ),
            Self::Handshake { why } => {
                write!(
                    f,
                    "AH01084: the TLS handshake with the origin failed: {why}"
                )
            }
        }
    }
}

impl std::error::Error for ConnectError {}
