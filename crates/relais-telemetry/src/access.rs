//! The access log: lines to a file or a program, without waiting.

use std::io;
use std::sync::Arc;

use crate::error::ErrorLog;
use crate::sink::Sink;
use crate::target::Target;

/// An open access log.
///
/// Two `CustomLog` directives with the same target can share one. Dropping the last reference writes what is left.
#[derive(Debug)]
pub struct AccessLog {
    sink: Arc<Sink>,
}

impl AccessLog {
    /// Opens a log, and starts the program of a piped one; to be called before privileges are dropped.
    ///
    /// # Errors
    /// The file cannot be opened, or the program not started. `Unsupported` for syslog.
    pub fn open(target: &Target) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            sink: Sink::open(target)?,
        }))
    }

    /// Warnings about lines that could not be written go to `log`, at most one a minute; without it to standard error.
    pub fn warn_to(&self, log: Arc<ErrorLog>) {
        self.sink.warn_to(log);
    }

    /// Appends a line, adding the newline if it has none. The line is in the file within a second.
    ///
    /// Never waits for the file. When 4 MiB wait to be written, the line is dropped and counted.
    pub fn write(&self, line: &[u8]) {
        self.sink.push(line, false);
    }

    /// Writes everything appended so far; waits up to two seconds for a program that is slow to read.
    ///
    /// # Errors
    /// Of write(2), or `WouldBlock` if the program did not read. The lines are kept for another attempt.
    pub fn flush(&self) -> io::Result<()> {
        self.sink.flush()
    }

    /// Opens the file anew by its name, for rotation; a program is left running. No line is lost or divided.
    ///
    /// # Errors
    /// The new file cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        self.sink.reopen()
    }

    /// Lines dropped since the last warning.
    pub fn dropped(&self) -> u64 {
        self.sink.dropped()
    }
}
