//! Upgraded pairs of sockets: what happens between the 101 and the end of a tunnel.
//!
//! [`Engine::spawn`] starts the threads, [`EngineHandle::submit`] hands a pair of sockets over ([`Handoff`]), and the
//! tunnel's [`Label`] hears how it went ([`TunnelEnd`]). Inside, a [`pump::Pump`] decides for one tunnel what to read,
//! write and shut down, without sockets or clocks, and an [`Engine`] does it over any [`relais_io::Io`].
//!
//! # Memory
//!
//! An idle tunnel owns two sockets, one slot of the engine's table (712 bytes), eight bytes in the timer wheel
//! and whatever its label holds. It owns no buffer: an engine reads into one buffer for all its tunnels and offers the
//! bytes to the other side at once. Only what that side does not take is kept, at most one read per direction, and
//! freed as soon as it is written. All of an engine's
//! tunnels together hold [`Settings::held_max`] and one read at most: from then on bytes stay in the socket that they
//! came by, and are looked at there until the other side takes them. A thread itself costs its stack, the read buffer ([`Settings::read_buffer`]),
//! 12 KiB of wheel, and a queue of at most [`Settings::queue`] tunnels on their way in.
//!
//! This crate knows neither HTTP nor directives. The only thing it looks at in a stream is where WebSocket frames
//! begin, and that is `relais-websocket`'s work.

mod end;
mod engine;
mod follow;
mod gate;
mod handle;
mod handoff;
mod order;
pub mod pump;
mod totals;
mod tunnel;
mod wheel;
mod wire;

pub use end::{EndReason, TunnelEnd};
pub use engine::{Engine, Settings};
pub use gate::{Permit, Quota};
pub use handle::{EngineHandle, WakeLater};
pub use handoff::{Handoff, Label, PerSide, Rate, Route, RouteNames, TunnelId, TunnelLimits};
pub use order::{Farewell, Filter, TunnelInfo};
pub use relais_io::Side;
pub use relais_websocket::Counters;
pub use totals::{Sum, Totals};
pub use wire::{Wire, Wires};
