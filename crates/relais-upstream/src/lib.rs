//! Connections to origins: resolve, connect, keep for the next request.
//!
//! A [`Pool`] belongs to one HTTP worker thread, so it needs no lock. It knows
//! nothing of requests: it hands out a [`Lease`] on a connection and takes it
//! back when the message on it ended where its framing said.

mod balancer;
mod connect;
mod error;
mod health;
mod limit;
mod pool;
mod resolve;
mod sticky;
mod upstreams;

pub use balancer::{Ask, Balancer, Choice, Member, Use};
pub use error::ConnectError;
pub use health::check_members;
pub use limit::Limits;
pub use pool::{Counted, Lease, Pool};
pub use relais_stream::{ReadHalf, Stream, WriteHalf};
pub use upstreams::Upstreams;
