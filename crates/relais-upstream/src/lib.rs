//! Connections to origins: resolve, connect, keep for the next request.
//!
//! A [`Pool`] belongs to one HTTP worker thread, so it needs no lock. It knows
//! nothing of requests: it hands out a [`Lease`] on a connection and takes it
//! back when the message on it ended where its framing said.

mod error;
mod pool;
mod resolve;

pub use error::ConnectError;
pub use pool::{Lease, Pool};
