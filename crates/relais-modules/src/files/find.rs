//! Finding and opening a file without leaving what the options allow.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// `Options`: which symbolic links are followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Links {
    Followed,
    /// Only where link and target have the same owner.
    SameOwner,
    Refused,
}

/// What is at a path.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    File {
        file: Arc<File>,
        length: u64,
        modified: SystemTime,
    },
    /// A folder without an index.
    Folder,
    /// A folder, and the name of its index.
    Index(Vec<u8>),
    Missing,
    /// Not to be served, with what the log says.
    Forbidden(&'static str),
}

/// Looks at a path; for one that ends in a slash, for an index in it.
pub(super) fn find(path: &[u8], links: Links, indexes: &[Vec<u8>]) -> Found {
    let kind = if path.contains(&0) {
        Kind::Missing
    } else {
        look(Path::new(OsStr::from_bytes(path)), path, links, indexes)
    };
    Found { kind }
}

fn look(path: &Path, raw: &[u8], links: Links, indexes: &[Vec<u8>]) -> Kind {
    // `Path` drops a slash at the end, which means a folder here.
    let as_folder = raw.ends_with(b"/");
    if !stays(path, links) {
        return Kind::Forbidden("AH00037: Symbolic link not allowed or link target not accessible");
    }
    match fs::metadata(path) {
        Ok(facts) if facts.is_dir() && as_folder => index(path, indexes),
        Ok(facts) if facts.is_dir() => Kind::Folder,
        Ok(facts) if facts.is_file() && !as_folder => open(path),
        Ok(facts) if facts.is_file() => Kind::Missing,
        // A device or a pipe could be read for ever.
        Ok(_) => Kind::Forbidden("AH00122: file is not a regular file"),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Kind::Forbidden(
            "AH00035: access denied because search permissions are missing on a component of the path",
        ),
        Err(_) => Kind::Missing,
    }
}

fn open(path: &Path) -> Kind {
    let Ok(file) = File::open(path) else {
        return Kind::Forbidden("AH00132: file permissions deny server access");
    };
    // Asked of what has been opened: the name may be another file's by now.
    match file.metadata() {
        Ok(facts) if facts.is_file() => Kind::File {
            length: facts.len(),
            modified: facts.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            file: Arc::new(file),
        },
        _ => Kind::Missing,
    }
}

fn index(folder: &Path, indexes: &[Vec<u8>]) -> Kind {
    let found = indexes.iter().find(|name| {
        let name = name.strip_prefix(b"/").unwrap_or(name);
        fs::metadata(folder.join(OsStr::from_bytes(name))).is_ok_and(|facts| facts.is_file())
    });
    found.map_or(Kind::Folder, |name| Kind::Index(name.clone()))
}

/// Whether no part of the path is a link that may not be followed, and none
/// leads upwards.
fn stays(path: &Path, links: Links) -> bool {
    let mut part = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            return false;
        }
        part.push(component);
        let Ok(facts) = fs::symlink_metadata(&part) else {
            // What is not there is no link.
            return true;
        };
        if facts.is_symlink() && !may_follow(&part, &facts, links) {
            return false;
        }
    }
    true
}

fn may_follow(link: &Path, facts: &Metadata, links: Links) -> bool {
    match links {
        Links::Followed => true,
        Links::Refused => false,
        Links::SameOwner => fs::metadata(link).is_ok_and(|target| target.uid() == facts.uid()),
    }
}
