//! A connection between two owners.

use crate::Records;

/// What an encrypted connection consists of besides its socket, for the hands that go on with it.
pub struct TlsParts {
    /// The keys.
    pub records: Records,
    /// Content that was received and not read.
    pub content: Vec<u8>,
    /// Received bytes that have not been opened.
    pub sealed: Vec<u8>,
    /// Sealed bytes that the socket has not taken.
    pub unsent: Vec<u8>,
}
