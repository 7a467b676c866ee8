//! httpd's directory walk: how much of the path that a request is mapped to
//! is there.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use relais_policy::{Exchange, Flow, Lookup};

/// What was found on the way to a file.
struct Walked {
    /// The length of the name up to the first segment that is no folder,
    /// whether or not there is such a file.
    length: usize,
    is_folder: bool,
    modified: Option<SystemTime>,
}

/// Parts a file from what leads beyond it (httpd's `ap_directory_walk`).
pub(crate) fn map(exchange: &mut Exchange<'_>) -> Flow {
    let Some(file) = exchange.file.as_ref().filter(|_| exchange.proxy.is_none()) else {
        return Flow::Declined;
    };
    let key = [b"map\0".as_slice(), file].concat();
    let Some(walked) = exchange.answer::<Arc<Walked>>(&key).cloned() else {
        let file = file.clone();
        return Flow::Wait(Lookup::new(key, move || Arc::new(walk(&file))));
    };
    if let Some(file) = &mut exchange.file {
        exchange.path_info = file.split_off(walked.length.min(file.len()));
    }
    exchange.is_folder = walked.is_folder;
    exchange.modified = walked.modified;
    Flow::Declined
}

fn walk(file: &[u8]) -> Walked {
    let facts = |end: usize| {
        let name = file.get(..end).unwrap_or_default();
        fs::metadata(OsStr::from_bytes(name)).ok()
    };
    let slashes = file.iter().enumerate().skip(1);
    let ends = slashes.filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
    for end in ends {
        let found = facts(end);
        if !found.as_ref().is_some_and(Metadata::is_dir) {
            return Walked::new(end, found.as_ref());
        }
    }
    Walked::new(file.len(), facts(file.len()).as_ref())
}

impl Walked {
    fn new(length: usize, found: Option<&Metadata>) -> Self {
        Self {
            length,
            is_folder: found.is_some_and(Metadata::is_dir),
            modified: found.and_then(|found| found.modified().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_where_nothing_is_there() {
        let root = env!("CARGO_MANIFEST_DIR");
        let table: &[(&str, &str, bool)] = &[
            ("/Cargo.toml", "", false),
            ("/Cargo.toml/x/y", "/x/y", false),
            ("/Cargo.toml/", "/", false),
            ("/src", "", true),
            ("/src/", "", true),
            ("/src/none", "", false),
            ("/src/none/x", "/x", false),
            ("/none/x/y", "/x/y", false),
        ];
        for &(name, rest, is_folder) in table {
            let file = format!("{root}{name}").into_bytes();
            let walked = walk(&file);
            assert_eq!(file[walked.length..], *rest.as_bytes(), "{name}");
            assert_eq!(walked.is_folder, is_folder, "{name}");
        }
    }
}
