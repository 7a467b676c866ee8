//! `RewriteMap`: the tables and programs behind `${name:key}`.
//!
//! A text map is read when it is first asked and again when its file has
//! changed; a program is started when it is first asked and again when it has
//! ended. Both happen as a [`Lookup`], away from the worker's thread, while
//! other requests go on.

use std::fmt;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use relais_conf::Text;
use relais_policy::{Lookup, Problem, SetResult, Slot};
use relais_rewrite::{InternalMap, TextMap};

use super::Rewrite;

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

/// What a [`Lookup`] of this module leaves: the value that a program has given,
/// none for a file that has been read.
pub(super) type Answer = Option<Vec<u8>>;

/// What a map says.
pub(super) enum Found {
    /// It has been appended.
    Value,
    Nothing,
    /// Something has to be done first.
    Pending(Lookup),
}

impl Map {
    /// Appends the value of `key`. `answered` tells whether a [`Lookup`] of
    /// this request has been carried out, and for a program what it said.
    pub(super) fn get(
        &self,
        key: &[u8],
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
                let Some(answer) = answered(&wait_key) else {
                    return Found::Pending(program.ask(wait_key, key));
                };
                if let Some(value) = &answer {
                    out.extend_from_slice(value);
                }
                found(answer.is_some())
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
            let message = "running a map's program as another user is not implemented yet";
            return Err(Problem::not_yet(extra.span(), message));
        }
        _ => {
            return Err(Problem::new(
                "RewriteMap takes two or three arguments, a mapname and a filename and options",
            ));
        }
    };
    let kind = kind(slot, source)?;
    slot.host.maps.retain(|map| map.name != name.bytes());
    slot.host.maps.push(Map {
        name: name.bytes().to_vec(),
        kind,
    });
    Ok(())
}

fn kind(slot: &Slot<'_, Rewrite>, source: &Text) -> Result<Kind, Problem> {
    let text = source.lossy();
    let known = |prefix: &str| text.strip_prefix(prefix);
    if let Some(function) = known("int:") {
        let map = InternalMap::named(function.as_bytes()).ok_or_else(|| {
            let message = format!("RewriteMap: internal map not found: {function}");
            Problem::at(source.span(), message)
                .with_help("there are tolower, toupper, escape and unescape")
        })?;
        return Ok(Kind::Internal(map));
    }
    if text.starts_with("dbm") && text.contains(':') {
        let message = "dbm maps are not implemented";
        return Err(Problem::not_yet(source.span(), message).with_help(
            "`httxt2dbm` made it from a text file: name that file as `txt:`; it is indexed when it is read",
        ));
    }
    if text.starts_with("dbd:") || text.starts_with("fastdbd:") {
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
        return Ok(Kind::Program(Arc::new(Program {
            program,
            arguments: words.get(1..).unwrap_or_default().to_vec(),
            running: Mutex::default(),
        })));
    }
    let (random, path) = match (known("txt:"), known("rnd:")) {
        (Some(path), _) => (false, path),
        (_, Some(path)) => (true, path),
        _ => (false, text.as_ref()),
    };
    let path = slot.place.server_root.join(path);
    exists(&path, source)?;
    let file = Arc::new(FileMap {
        path,
        state: Mutex::default(),
    });
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
}

impl FileMap {
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
            // A file that changes while it is read may be half of one; it will
            // be found changed and read again by a later request.
            if let Ok((stamp, table)) = read(&file.path) {
                let mut state = file.state();
                state.stamp = Some(stamp);
                state.table = Some(Arc::new(table));
            }
            None
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

/// A map that is a program: a key on a line of its input, the value on a line
/// of its output, `NULL` for none.
struct Program {
    program: PathBuf,
    arguments: Vec<String>,
    running: Mutex<Option<Running>>,
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn wait_key(&self, name: &[u8], key: &[u8]) -> Vec<u8> {
        [b"rewrite-prg:", name, b":", key].concat()
    }

    fn ask(self: &Arc<Self>, wait_key: Vec<u8>, key: &[u8]) -> Lookup {
        let program = Arc::clone(self);
        let key = key.to_vec();
        Lookup::new(wait_key, move || program.answer(&key))
    }

    /// Asks the program, and once more if it turns out to have ended.
    fn answer(&self, key: &[u8]) -> Answer {
        if key.contains(&b'\n') {
            return None;
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 {
            let exchanged = match running.as_mut() {
                Some(running) => running.exchange(key),
                None => Running::start(&self.program, &self.arguments)
                    .and_then(|started| running.insert(started).exchange(key)),
            };
            match exchanged {
                Ok(answer) => return (!answer.eq_ignore_ascii_case(b"NULL")).then_some(answer),
                Err(_) => *running = None,
            }
        }
        None
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({})", self.program.display())
    }
}

impl Running {
    fn start(program: &Path, arguments: &[String]) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    fn exchange(&mut self, key: &[u8]) -> io::Result<Vec<u8>> {
        self.input.write_all(&[key, b"\n"].concat())?;
        self.input.flush()?;
        let mut line = Vec::new();
        self.output.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\n") {
            Some(value) => Ok(value.to_vec()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
            match map.get(key.as_bytes(), &|key| answers.get(key).cloned(), &mut out) {
                Found::Value => return Some(String::from_utf8_lossy(&out).into_owned()),
                Found::Nothing => return None,
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
        Arc::new(FileMap {
            path,
            state: Mutex::default(),
        })
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

    #[test]
    fn a_program_is_started_once_and_again_when_it_has_ended() {
        let script = "n=0; while read k; do n=$((n+1)); case $k in \
                      none) echo NULL;; end) exit;; *) echo $k-$n;; esac; done";
        let program = Arc::new(Program {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            running: Mutex::default(),
        });
        let map = map(Kind::Program(program));
        assert_eq!(ask(&map, "a").as_deref(), Some("a-1"));
        assert_eq!(ask(&map, "b").as_deref(), Some("b-2"));
        assert_eq!(ask(&map, "none"), None);
        assert_eq!(ask(&map, "x\ny"), None);
        assert_eq!(ask(&map, "end"), None);
        assert_eq!(ask(&map, "c").as_deref(), Some("c-1"));
    }
}
