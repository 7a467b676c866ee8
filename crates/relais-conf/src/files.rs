//! How the reader reaches files.

use std::ffi::OsString;
use std::io;
use std::path::Path;

/// What a path leads to, links followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Anything but a directory.
    File,
    /// A directory.
    Directory,
}

/// The files a configuration may include or ask for.
pub trait Files {
    /// The whole content of a file.
    ///
    /// # Errors
    /// Whatever kept it from being read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// What is at a path, or `None` if there is nothing or it may not be known.
    fn kind(&self, path: &Path) -> Option<Kind>;

    /// The names in a directory in any order, without `.` and `..`.
    ///
    /// # Errors
    /// Whatever kept it from being listed.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;
}
