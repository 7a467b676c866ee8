//! Files that exist only in memory, for tests and for checking text that is not saved yet.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{Files, Kind};

/// Files by their paths. Directories exist by having something in them.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl MemoryFiles {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file or replaces it.
    pub fn insert(&mut self, path: impl Into<PathBuf>, text: impl Into<Vec<u8>>) {
        self.files.insert(path.into(), text.into());
    }

    /// Adds a file, in a chain of calls.
    pub fn with(mut self, path: impl Into<PathBuf>, text: impl Into<Vec<u8>>) -> Self {
        self.insert(path, text);
        self
    }

    fn names_in(&self, directory: &Path) -> BTreeSet<OsString> {
        let below = self
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(directory).ok());
        below
            .filter_map(|rest| rest.iter().next().map(OsString::from))
            .collect()
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(not_found)
    }

    fn kind(&self, path: &Path) -> Option<Kind> {
        if self.files.contains_key(path) {
            return Some(Kind::File);
        }
        (!self.names_in(path).is_empty()).then_some(Kind::Directory)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let names = self.names_in(path);
        if names.is_empty() {
            Err(not_found())
        } else {
            Ok(names.into_iter().collect())
        }
    }
}

fn not_found() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "No such file or directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_follow_from_files() {
        let files = MemoryFiles::new()
            .with("/a/b/c.conf", "x")
            .with("/a/d", "y");
        assert_eq!(files.list(Path::new("/a")).expect("listing"), ["b", "d"]);
        assert_eq!(files.kind(Path::new("/a/b")), Some(Kind::Directory));
        assert_eq!(files.kind(Path::new("/a/d")), Some(Kind::File));
        assert_eq!(files.kind(Path::new("/z")), None);
        assert!(files.list(Path::new("/z")).is_err());
    }
}
