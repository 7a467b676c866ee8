//! The files of the machine.

use std::ffi::OsString;
use std::path::Path;
use std::{fs, io};

use crate::files::{Files, Kind};

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // A device or a pipe could go on for ever, so only regular files are read, as httpd does.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        fs::read(path)
    }

    fn kind(&self, path: &Path) -> Option<Kind> {
        let metadata = fs::metadata(path).ok()?;
        Some(if metadata.is_dir() {
            Kind::Directory
        } else {
            Kind::File
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_crate() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(DiskFiles.kind(root), Some(Kind::Directory));
        assert_eq!(DiskFiles.kind(&root.join("Cargo.toml")), Some(Kind::File));
        assert_eq!(DiskFiles.kind(&root.join("missing")), None);
        assert!(
            DiskFiles
                .list(root)
                .expect("listing")
                .contains(&OsString::from("src"))
        );
        assert!(
            DiskFiles
                .read(&root.join("Cargo.toml"))
                .expect("reading")
                .starts_with(b"[package]")
        );
        assert!(DiskFiles.read(root).is_err(), "a directory is not read");
    }
}
