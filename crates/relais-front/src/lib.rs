//! Listeners and client connections; carries out decisions.
//!
//! A [`WorkerHandle`] is one HTTP worker thread: a current-thread runtime with
//! its own listeners (`SO_REUSEPORT`) and origin connections. A connection
//! reads a request head, asks `relais-policy` for a decision and carries it
//! out; an upgraded pair of sockets leaves for the tunnel engine.
//!
//! This crate makes no policy choice: which origin, which header, which status
//! comes from the decision.

mod accept;
mod answer;
mod balance;
mod body;
mod client;
mod connection;
mod content;
mod download;
mod forward;
mod generation;
mod handshake;
mod http2;
mod input;
mod lent;
pub mod listen;
pub mod metrics;
mod proxy_protocol;
mod record;
mod status;
mod time;
mod turn;
mod upload;
mod worker;

pub use generation::{Generation, HostAccessLog, HostLogs};
pub use status::Server;
pub use worker::{Command, WorkerHandle};
