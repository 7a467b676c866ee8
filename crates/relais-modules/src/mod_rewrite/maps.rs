//! `RewriteMap`: the tables and programs behind `${name:key}`.
//!
//! A text map is read when it is first asked and again when its file has
//! changed; a program is started when it is first asked and again when it has
//! ended. Both happen as a [`Lookup`], away from the worker's thread, while
//! other requests go on.

mod program;

use std::fmt;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use relais_conf::Text;
use relais_policy::{Lookup, Problem, SetResult, Slot};
use relais_rewrite::{InternalMap, TextMap};

use self::program::Program;
use super::{Rewrite, enter};

/// A map with its name.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) name: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Internal(InternalMap),
    Text(Arc<FileMap>),
    /// One of several values, by chance.
    Random(Arc<FileMap>),
    Program(Arc<Program>),
}

/// What a [`Lookup`] of this module leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// A program has said this.
    Value(Vec<u8>),
    /// A program has no value, or a file has been read.
    Nothing,
    /// A program has ended twice without an answer, which this line tells; as
    /// in httpd there is no value then.
    Gone(String),
    /// A program did not answer in time, as this line tells.
    Failed(String),
}

/// What a map says.
pub(super) enum Found {
    /// It has been appended.
    Value,
    Nothing,
    /// Nothing, and the log should say why.
    Noted(String),
    /// Something has to be done first.
    Pending(Lookup),
    /// Nobody knows: the request cannot be answered, as this line tells.
    Failed(String),
}

impl Map {
    /// Appends the value of `key`. `answered` tells whether a [`Lookup`] of
    /// this request has been carried out, and for a program what it said, for
    /// which it has as much time as `timeout` says.
    pub(super) fn get(
        &self,
        key: &[u8],
        timeout: Duration,
        answered: &dyn Fn(&[u8]) -> Option<Answer>,
        out: &mut Vec<u8>,
    ) -> Found {
        match &self.kind {
            Kind::Internal(map) => {
                map.apply(key, out);
                found(out.as_slice() != b"" || key.is_empty())
            }
            Kind::Text(file) | Kind::Random(file) => {
                let wait_key = file.wait_key();
                let table = match file.current() {
                    Err(Stale) if answered(&wait_key).is_none() => {
                        return Found::Pending(file.reload(wait_key));
                    }
                    Err(Stale) => file.last(),
                    Ok(table) => table,
                };
                let value = table.as_deref().and_then(|table| table.get(key));
                if let Some(value) = value {
                    out.extend_from_slice(if matches!(self.kind, Kind::Random(_)) {
                        one_of(value)
                    } else {
                        value
                    });
                }
                found(value.is_some())
            }
            Kind::Program(program) => {
                let wait_key = program.wait_key(&self.name, key);
                match answered(&wait_key) {
                    None => Found::Pending(program.ask(wait_key, key, timeout)),
                    Some(Answer::Value(value)) => {
                        out.extend_from_slice(&value);
                        Found::Value
                    }
                    Some(Answer::Nothing) => Found::Nothing,
                    Some(Answer::Gone(line)) => Found::Noted(line),
                    Some(Answer::Failed(line)) => Found::Failed(line),
                }
            }
        }
    }
}

const fn found(yes: bool) -> Found {
    if yes { Found::Value } else { Found::Nothing }
}

/// One of the values between `|`, each as likely as any other.
fn one_of(value: &[u8]) -> &[u8] {
    let count = value.split(|byte| *byte == b'|').count();
    let chance = RandomState::new().hash_one(count);
    let index = usize::try_from(chance % u64::try_from(count).unwrap_or(1)).unwrap_or(0);
    value
        .split(|byte| *byte == b'|')
        .nth(index)
        .unwrap_or_default()
}

/// The handler of `RewriteMap`.
pub(super) fn set(slot: &mut Slot<'_, Rewrite>, words: &[Text]) -> SetResult {
    let (name, source) = match words {
        [name, source] => (name, source),
        [_, _, extra] => {
            let message = "a map's program runs as the user that relais runs as";
            return Err(Problem::at(extra.span(), message)
                .with_help("leave the user out, and let the program change it by itself, such as with `setpriv` or `sudo`"));
        }
        _ => {
            return Err(Problem::new(
                "RewriteMap takes two or three arguments, a mapname and a filename and options",
            ));
        }
    };
    let kind = kind(slot, source)?;
    slot.host.maps.retain(|map| map.name != name.bytes());
    enter(slot);
    slot.host.maps.push(Map {
        name: name.bytes().to_vec(),
        kind,
    });
    Ok(())
}

fn kind(slot: &Slot<'_, Rewrite>, source: &Text) -> Result<Kind, Problem> {
    let text = source.lossy();
    let known = |prefix: &str| {
        let (kind, rest) = text.split_at_checked(prefix.len())?;
        kind.eq_ignore_ascii_case(prefix).then_some(rest)
    };
    if let Some(function) = known("int:") {
        let map = InternalMap::named(function.as_bytes()).ok_or_else(|| {
            let message = format!("RewriteMap: internal map not found: {function}");
            Problem::at(source.span(), message)
                .with_help("there are tolower, toupper, escape and unescape")
        })?;
        return Ok(Kind::Internal(map));
    }
    if known("dbm").is_some_and(|rest| rest.starts_with([':', '='])) {
        let message = "dbm maps are not implemented";
        return Err(Problem::not_yet(source.span(), message).with_help(
            "`httxt2dbm` made it from a text file: name that file as `txt:`; it is indexed when it is read",
        ));
    }
    if known("dbd:").is_some() || known("fastdbd:").is_some() {
        let message = "maps in SQL databases are not implemented";
        return Err(Problem::not_yet(source.span(), message)
            .with_help("a `prg:` map can ask a database, or a `txt:` map hold what it says"));
    }
    if let Some(command) = known("prg:") {
        let words: Vec<String> = Text::new(source.span(), command.as_bytes())
            .words()
            .iter()
            .map(|word| word.lossy().into_owned())
            .collect();
        let Some(program) = words.first().map(|word| slot.place.server_root.join(word)) else {
            return Err(Problem::at(
                source.span(),
                "RewriteMap: prg: names no program",
            ));
        };
        exists(&program, source)?;
        let arguments = words.get(1..).unwrap_or_default().to_vec();
        return Ok(Kind::Program(Arc::new(Program::new(program, arguments))));
    }
    let (random, path) = match (known("txt:"), known("rnd:")) {
        (Some(path), _) => (false, path),
        (_, Some(path)) => (true, path),
        _ => (false, text.as_ref()),
    };
    let path = slot.place.server_root.join(path);
    exists(&path, source)?;
    let file = Arc::new(FileMap::new(path));
    Ok(if random {
        Kind::Random(file)
    } else {
        Kind::Text(file)
    })
}

fn exists(path: &Path, source: &Text) -> Result<(), Problem> {
    if path.exists() {
        return Ok(());
    }
    let message = format!("RewriteMap: there is no file {}", path.display());
    Err(Problem::at(source.span(), message))
}

/// A map that is a file.
struct FileMap {
    path: PathBuf,
    state: Mutex<Loaded>,
    /// Held by whoever reads the file, so that it is read once.
    reading: Mutex<()>,
}

/// The file has not been read since it changed.
struct Stale;

#[derive(Default)]
struct Loaded {
    stamp: Option<Stamp>,
    table: Option<Arc<TextMap>>,
}

/// Two readings of a file with the same stamp are the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    changed: SystemTime,
    len: u64,
    /// A file that is put in the place of another may have its time and length.
    file: u64,
}

impl FileMap {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            state: Mutex::default(),
            reading: Mutex::default(),
        }
    }

    /// The table of the file as it is now; none if it cannot be asked for.
    fn current(&self) -> Result<Option<Arc<TextMap>>, Stale> {
        let Ok(stamp) = stamp(&self.path) else {
            return Ok(None);
        };
        let state = self.state();
        if state.stamp == Some(stamp) {
            Ok(state.table.clone())
        } else {
            Err(Stale)
        }
    }

    /// The table as it was last read.
    fn last(&self) -> Option<Arc<TextMap>> {
        self.state().table.clone()
    }

    fn reload(self: &Arc<Self>, key: Vec<u8>) -> Lookup {
        let file = Arc::clone(self);
        Lookup::new(key, move || -> Answer {
            let _turn = file.reading.lock().unwrap_or_else(PoisonError::into_inner);
            if file.current().is_ok() {
                return Answer::Nothing;
            }
            // A file that changes while it is read may be half of one; it will
            // be found changed and read again by a later request.
            if let Ok((stamp, table)) = read(&file.path) {
                let mut state = file.state();
                state.stamp = Some(stamp);
                state.table = Some(Arc::new(table));
            }
            Answer::Nothing
        })
    }

    fn wait_key(&self) -> Vec<u8> {
        [b"rewrite-map:", self.path.as_os_str().as_encoded_bytes()].concat()
    }

    fn state(&self) -> MutexGuard<'_, Loaded> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FileMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileMap({})", self.path.display())
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok(Stamp {
        changed: metadata.modified()?,
        len: metadata.len(),
        file: metadata.ino(),
    })
}

fn read(path: &Path) -> io::Result<(Stamp, TextMap)> {
    let before = stamp(path)?;
    let text = fs::read(path)?;
    if stamp(path)? != before {
        return Err(io::Error::other("the file is being written"));
    }
    let table = TextMap::parse(text).ok_or_else(|| io::Error::other("4 GiB or more"))?;
    Ok((before, table))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Asks as a request does: does what is pending and asks again.
    fn ask(map: &Map, key: &str) -> Option<String> {
        let mut answers: BTreeMap<Vec<u8>, Answer> = BTreeMap::new();
        for _ in 0..3 {
            let mut out = Vec::new();
            let answered = |key: &[u8]| answers.get(key).cloned();
            match map.get(key.as_bytes(), Duration::from_secs(60), &answered, &mut out) {
                Found::Value => return Some(String::from_utf8_lossy(&out).into_owned()),
                Found::Nothing | Found::Noted(_) => return None,
                Found::Failed(line) => panic!("{line}"),
                Found::Pending(lookup) => {
                    let answer = (lookup.work)();
                    let answer = answer.downcast::<Answer>().expect("its type");
                    answers.insert(lookup.key, *answer);
                }
            }
        }
        panic!("{map:?} never answers")
    }

    fn map(kind: Kind) -> Map {
        Map {
            name: b"m".to_vec(),
            kind,
        }
    }

    fn file(name: &str, text: &str) -> Arc<FileMap> {
        let path = std::env::temp_dir().join(format!("relais-map-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("a file in the temporary folder");
        Arc::new(FileMap::new(path))
    }

    #[test]
    fn a_file_is_read_again_when_it_has_changed() {
        let file = file("txt", "k v\n");
        let map = map(Kind::Text(Arc::clone(&file)));
        assert_eq!(ask(&map, "k").as_deref(), Some("v"));
        fs::write(&file.path, "k other\nl m\n").expect("written");
        assert_eq!(ask(&map, "k").as_deref(), Some("other"));
        assert_eq!(ask(&map, "l").as_deref(), Some("m"));
        fs::remove_file(&file.path).expect("removed");
        assert_eq!(ask(&map, "k"), None);
    }

    #[test]
    fn a_random_map_gives_each_of_its_values() {
        let file = file("rnd", "k a|b|c\n");
        let map = map(Kind::Random(Arc::clone(&file)));
        let mut seen: Vec<String> = (0..200).filter_map(|_| ask(&map, "k")).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["a", "b", "c"]);
        fs::remove_file(&file.path).expect("removed");
    }
}
