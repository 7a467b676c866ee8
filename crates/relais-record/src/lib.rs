//! TLS without sockets: the handshake is rustls', what comes after it is done here.
//!
//! A [`Handshake`] takes the bytes that came and gives those that are to be sent. When it is done it becomes
//! [`Records`]: one AEAD key per direction, a sequence number, and rustls' kernel connection, which derives the next
//! traffic secrets and remembers tickets. So an idle connection owns no buffer and the same few hundred bytes serve HTTP
//! on a worker and a tunnel in an engine; nothing has to be converted when one becomes the other.
//!
//! Record layer: RFC 8446 §5 and §4.6.3 for TLS 1.3, RFC 5246 §6.2 with RFC 5288 and RFC 7905 for TLS 1.2. This crate
//! opens no socket, reads no clock and knows no certificate.

mod cipher;
mod error;
mod handshake;
mod hello;
mod parts;
mod records;

pub use error::RecordError;
pub use handshake::{Established, Handshake, Progress};
pub use hello::{ClientName, Hello};
pub use parts::TlsParts;
pub use records::{Control, Opened, Opener, Records, Sealer, overhead};
