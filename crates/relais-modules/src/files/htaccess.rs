//! Files in folders that say how these are served (`.htaccess`).
//!
//! They are found on the way to a file, read again when they have changed, and
//! merged behind the `<Directory>` sections of their folder
//! (howto/htaccess.html). One with an error in it answers 500, as in httpd.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use relais_conf::{Diagnostics, Files, Kind, Loaded, Options, Severity, SourceMap};
use relais_policy::{Fragment, Respond};

use crate::configure::builder;
use crate::core::Overrides;
use crate::mod_so::ModuleHost;

/// What reading such files needs of the configuration, and what has been read.
pub(crate) struct Htaccess {
    modules: ModuleHost,
    defines: BTreeMap<String, Option<Vec<u8>>>,
    server_root: PathBuf,
    version: (u32, u32, u32),
    known: Mutex<HashMap<(PathBuf, Overrides), (Stamp, Outcome)>>,
}

/// What a file says, or what the log says of it.
type Outcome = Result<Arc<Fragment>, Arc<str>>;

/// Files that are remembered at the most; past that all are forgotten.
const KNOWN_MAX: usize = 4096;

/// Bytes of a file at the most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Two readings of a file with the same stamp are the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    changed: SystemTime,
    length: u64,
    file: u64,
}

impl Htaccess {
    pub(crate) fn new(modules: &ModuleHost, loaded: &Loaded, version: (u32, u32, u32)) -> Self {
        Self {
            modules: modules.clone(),
            defines: loaded.defines.clone(),
            server_root: loaded.server_root.clone(),
            version,
            known: Mutex::default(),
        }
    }

    /// What the file of a folder says, which is the first of these names that
    /// is there; `None` where none is.
    pub(super) fn read(
        &self,
        folder: &[u8],
        names: &[String],
        overrides: &Overrides,
    ) -> Result<Option<Arc<Fragment>>, Box<Respond>> {
        let folder_path = Path::new(OsStr::from_bytes(folder));
        for name in names {
            let path = match folder {
                b"" => Path::new("/").join(name),
                _ => folder_path.join(name),
            };
            let stamp = match stamp(&path) {
                Ok(Some(stamp)) => stamp,
                Ok(None) => continue,
                Err(error) => return Err(unreadable(&path, &error)),
            };
            return match self.outcome(&path, stamp, folder, overrides) {
                Ok(Ok(fragment)) => Ok(Some(fragment)),
                Ok(Err(line)) => Err(Box::new(Respond::logged(500, &*line))),
                Err(error) => Err(unreadable(&path, &error)),
            };
        }
        Ok(None)
    }

    fn outcome(
        &self,
        path: &Path,
        stamp: Stamp,
        folder: &[u8],
        overrides: &Overrides,
    ) -> io::Result<Outcome> {
        let key = (path.to_owned(), overrides.clone());
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, outcome)) = known().get(&key).filter(|(have, _)| *have == stamp) {
            return Ok(outcome.clone());
        }
        let text = fs::read(path)?;
        let outcome = self.parse(path, text, folder, overrides);
        let mut known = known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, (stamp, outcome.clone()));
        Ok(outcome)
    }

    fn parse(&self, path: &Path, text: Vec<u8>, folder: &[u8], overrides: &Overrides) -> Outcome {
        let defines = self.defines.iter().map(|(name, value)| {
            let value = value.as_deref().map(String::from_utf8_lossy);
            (name.clone(), value.map(|value| value.into_owned()))
        });
        let options = Options {
            main_file: path.to_owned(),
            server_root: self.server_root.clone(),
            defines: defines.collect(),
            before: Vec::new(),
            after: Vec::new(),
            environment: Box::new(|name| Some(std::env::var_os(name)?.as_bytes().to_vec())),
            version: self.version,
        };
        let only = OnlyThis { path, text };
        let mut loaded = relais_conf::load(options, &only, &mut self.modules.clone());
        let mut diagnostics = std::mem::take(&mut loaded.diagnostics);
        let allows = |name: &str, arguments: &relais_conf::Text| {
            overrides.allows(name, arguments) && !reads_files(arguments.bytes())
        };
        let built = builder(&only, &|_| Vec::new()).fragment(
            &mut loaded,
            folder,
            &allows,
            &mut diagnostics,
        );
        match problem(&diagnostics, &loaded.sources, overrides) {
            Some(line) => Err(line.into()),
            None => Ok(Arc::new(built)),
        }
    }
}

/// The first error that counts, as httpd logs it.
fn problem(
    diagnostics: &Diagnostics,
    sources: &SourceMap,
    overrides: &Overrides,
) -> Option<String> {
    let skipped = |code: &str| match code {
        "RC0202" => overrides.skips_forbidden,
        "RC0205" => overrides.skips_unknown,
        _ => false,
    };
    let mut errors = diagnostics
        .iter()
        .filter(|one| one.severity == Severity::Error);
    let error = errors.find(|one| !skipped(one.code))?;
    let place = match error.span {
        Some(span) => sources.file_line(span),
        None => String::new(),
    };
    Some(format!("{place}: {}", error.message))
}

/// Whether an expression opens files of its own, which httpd forbids in such
/// files since 2.4.67.
fn reads_files(arguments: &[u8]) -> bool {
    let text = arguments.to_ascii_lowercase();
    let holds = |needle: &[u8]| text.windows(needle.len()).any(|part| part == needle);
    let words: [&[u8]; 4] = [b"file(", b"filesize(", b"%{file:", b"%{filesize:"];
    words.into_iter().any(holds)
}

/// The stamp of a file; `None` where there is none, or no regular file.
fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() && found.len() <= FILE_BYTES_MAX => Ok(Some(Stamp {
            changed: found.modified()?,
            length: found.len(),
            file: found.ino(),
        })),
        Ok(found) if found.is_file() => Err(ErrorKind::FileTooLarge.into()),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whoever may not read what a folder says may not serve it.
fn unreadable(path: &Path, error: &io::Error) -> Box<Respond> {
    let line = format!(
        "AH00529: {}: unable to check htaccess file, ensure it is readable: {error}",
        path.display()
    );
    Box::new(Respond::logged(403, line))
}

/// The file itself, which may include no other.
struct OnlyThis<'a> {
    path: &'a Path,
    text: Vec<u8>,
}

impl Files for OnlyThis<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == self.path {
            return Ok(self.text.clone());
        }
        Err(io::Error::other("Include not allowed here"))
    }

    fn kind(&self, path: &Path) -> Option<Kind> {
        (path == self.path).then_some(Kind::File)
    }

    fn list(&self, _path: &Path) -> io::Result<Vec<OsString>> {
        Err(io::Error::other("Include not allowed here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_open_files() {
        let table = [
            ("expr \"file('/etc/passwd') =~ /x/\"", true),
            ("%{FILE:/etc/passwd} x", true),
            ("^file/(.*) /f/$1", false),
            ("%{REQUEST_FILENAME} !-f", false),
        ];
        for (text, expected) in table {
            assert_eq!(reads_files(text.as_bytes()), expected, "{text}");
        }
    }
}
