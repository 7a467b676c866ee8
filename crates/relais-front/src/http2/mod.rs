//! HTTP/2 in front: a connection whose streams are requests like those of HTTP/1.
//!
//! Frames, windows and header compression are the `h2` crate's. Here is what a server adds: when a connection is one of
//! HTTP/2 ([`spoken`]), what its requests look like to the phases (`request`), how an answer becomes a stream's
//! ([`Sender`]), when a connection ends, and what a client may not do (`guard`). An opened WebSocket leaves for the
//! tunnel engine over a pair of local sockets (`tunnel`).

mod connection;
mod guard;
mod io;
mod request;
mod stream;
mod tunnel;

pub(crate) use connection::{serve, spoken};
pub(crate) use stream::{Body, Sender, Stream};
