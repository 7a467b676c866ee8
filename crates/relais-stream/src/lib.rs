//! A connection, clear or encrypted, as tokio sees it.
//!
//! [`Stream`] is what HTTP reads and writes on both sides of relais. An encrypted one holds buffers only while bytes
//! are under way: records are read into a buffer that is lent from the thread's shelf, opened in place and copied to
//! the reader once; what is written is sealed into another and leaves with one call. Between two messages there is
//! only the pair of keys. When a connection becomes a tunnel, [`Stream::into_parts`] hands the socket and its keys on.

mod handshake;
mod shelf;
mod stream;
mod tls;

pub use handshake::{Failure, Settled, accept, connect};
pub use stream::{Parts, ReadHalf, Stream, WriteHalf};
pub use tls::{TlsRead, TlsStream, TlsWrite};
