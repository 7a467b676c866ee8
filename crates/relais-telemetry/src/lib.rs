//! What relais tells its operator about traffic: log formats, the access log, the error log, the `Date` field.
//!
//! This crate is the only one that knows what a log line looks like. It is never waited for on the byte path: a line is
//! appended to a bounded batch in memory, and one thread in the background writes the batches out. When a disk is full
//! or a log program hangs, lines are dropped and counted, and traffic goes on.
//!
//! It uses no other crate of relais: the facts of a request come in through [`format::Record`].

pub mod access;
pub mod error;
pub mod error_format;
pub mod format;
pub mod httpdate;
pub mod levels;

mod escape;
mod output;
mod sink;
mod strftime;
mod target;
mod zone;

pub use access::AccessLog;
pub use error::{Entry, ErrorLog};
pub use error_format::{ErrorFormat, Subject};
pub use format::{
    ConnectionState, FormatError, LineEnd, LogFormat, PendingLine, Record, TunnelFacts, TunnelKinds,
};
pub use levels::{Level, Levels};
pub use sink::flush_all;
pub use target::Target;
pub use zone::Zone;
