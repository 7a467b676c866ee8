//! WebSocket without sockets: handshake checks, frame boundaries, Close frames (RFC 6455).
//!
//! A tunnel passes bytes on as they are. This crate says whether it may open, where in the stream a frame ends, and
//! how to say goodbye. It never unmasks or holds a payload, and knows neither HTTP messages nor connections.

mod close;
mod frame;
mod handshake;

pub use close::{PING_TO_CLIENT, close_frame};
pub use frame::{Counters, FrameFollower, Tally};
pub use handshake::{AnswerError, HandshakeError, Key, accept_for, check_request, check_response};
