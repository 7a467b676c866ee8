//! httpd's directory walk: how much of the path that a request is mapped to
//! is there.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use relais_policy::{Decision, Exchange, Flow, Fragment, Lookup, Respond};

use super::Htaccess;
use crate::core::{self, Overrides};

/// What was found on the way to a file.
struct Walked {
    /// The length of the name up to the first segment that is no folder,
    /// whether or not there is such a file.
    length: usize,
    is_folder: bool,
    modified: Option<SystemTime>,
    /// What stands in the folders on the way, or the answer where one of them
    /// cannot be understood.
    fragments: Result<Vec<Arc<Fragment>>, Box<Respond>>,
}

/// Which folders may have files with directives.
struct Plan {
    reader: Arc<Htaccess>,
    names: Vec<String>,
    /// What those of `/` and of each folder on the way may set.
    allowed: Vec<Option<Overrides>>,
}

/// Parts a file from what leads beyond it (httpd's `ap_directory_walk`).
pub(crate) fn map(exchange: &mut Exchange<'_>) -> Flow {
    let Some(file) = exchange.file.as_ref().filter(|_| exchange.proxy.is_none()) else {
        return Flow::Declined;
    };
    let key = [b"map\0".as_slice(), file].concat();
    let Some(walked) = exchange.answer::<Arc<Walked>>(&key).cloned() else {
        let file = file.clone();
        let plan = plan(exchange, &file);
        return Flow::Wait(Lookup::new(key, move || {
            Arc::new(walk(&file, plan.as_ref()))
        }));
    };
    match &walked.fragments {
        Ok(fragments) => exchange.fragments.clone_from(fragments),
        Err(respond) => return Flow::Decide(Decision::Respond((**respond).clone())),
    }
    if let Some(file) = &mut exchange.file {
        exchange.path_info = file.split_off(walked.length.min(file.len()));
    }
    exchange.is_folder = walked.is_folder;
    exchange.modified = walked.modified;
    Flow::Declined
}

/// `None` where no folder may say anything.
fn plan(exchange: &Exchange<'_>, file: &[u8]) -> Option<Plan> {
    let names = exchange.host_settings::<core::Host>().access_names()?;
    let reader = Arc::clone(exchange.site.shared.as_ref()?);
    let folder = file.strip_suffix(b"/").unwrap_or(file);
    let levels = exchange.host.folder_settings(folder);
    let allowed = levels
        .iter()
        .map(|settings| settings.get::<core::Section>().overrides().cloned());
    Some(Plan {
        reader: reader.downcast().ok()?,
        names,
        allowed: allowed.collect(),
    })
}

fn walk(file: &[u8], plan: Option<&Plan>) -> Walked {
    let mut walked = found(file);
    if let Some(plan) = plan {
        walked.fragments = plan.read(file, &walked);
    }
    walked
}

impl Plan {
    /// Reads the files of the folders that are there, outermost first.
    fn read(&self, file: &[u8], walked: &Walked) -> Result<Vec<Arc<Fragment>>, Box<Respond>> {
        let known = file.get(..walked.length).unwrap_or(file);
        let known = known.strip_suffix(b"/").unwrap_or(known);
        let slashes = known.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
        let mut folders: Vec<&[u8]> = slashes.map(|(at, _)| &known[..at]).collect();
        if walked.is_folder {
            folders.push(known);
        }
        let mut fragments = Vec::new();
        for (folder, allowed) in folders.into_iter().zip(&self.allowed) {
            if let Some(overrides) = allowed {
                fragments.extend(self.reader.read(folder, &self.names, overrides)?);
            }
        }
        Ok(fragments)
    }
}

fn found(file: &[u8]) -> Walked {
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
            fragments: Ok(Vec::new()),
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
            let walked = walk(&file, None);
            assert_eq!(file[walked.length..], *rest.as_bytes(), "{name}");
            assert_eq!(walked.is_folder, is_folder, "{name}");
        }
    }
}
