//! The logs as files and programs see them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use relais_telemetry::{AccessLog, Entry, ErrorLog, Level, Target};

/// A directory that is removed with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("relais-telemetry-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const THREADS: usize = 4;
const LINES: usize = 25_000;

/// Appends numbered lines from several threads, calling `meanwhile` from this one.
fn write_from_threads(log: &Arc<AccessLog>, meanwhile: impl FnOnce()) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0..LINES {
                    let padding = "x".repeat(number % 40);
                    log.write(format!("<{thread} {number} {padding}>\n").as_bytes());
                }
            });
        }
        meanwhile();
    });
}

/// Checks that every line is there once, whole, and after the earlier ones of its thread.
fn check_lines(text: &str) {
    let mut next: HashMap<usize, usize> = HashMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [thread, number, padding] = words.as_slice() else {
            panic!("torn: {line}")
        };
        let thread: usize = thread
            .strip_prefix('<')
            .and_then(|n| n.parse().ok())
            .expect(line);
        let number: usize = number.parse().expect(line);
        assert_eq!(
            *padding,
            format!("{}>", "x".repeat(number % 40)),
            "torn: {line}"
        );
        let expected = next.entry(thread).or_default();
        assert_eq!(number, *expected, "lost or out of order: {line}");
        *expected += 1;
    }
    let all = (0..THREADS).map(|thread| (thread, LINES)).collect();
    assert_eq!(next, all);
    assert!(text.ends_with('\n'));
}

#[test]
fn many_threads_lose_and_tear_nothing() {
    let dir = Scratch::new();
    let path = dir.join("access.log");
    let log = AccessLog::open(&Target::File(path.clone())).unwrap();
    write_from_threads(&log, || {});
    log.flush().unwrap();
    assert_eq!(log.dropped(), 0);
    check_lines(&fs::read_to_string(&path).unwrap());
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777 & !0o644,
        0
    );
}

#[test]
fn rotation_loses_and_tears_nothing() {
    let dir = Scratch::new();
    let path = dir.join("access.log");
    let log = AccessLog::open(&Target::File(path.clone())).unwrap();
    let rotated = |number: usize| dir.join(&format!("access.log.{number}"));
    write_from_threads(&log, || {
        for number in 0..20 {
            fs::rename(&path, rotated(number)).unwrap();
            log.reopen().unwrap();
            thread::yield_now();
        }
    });
    log.flush().unwrap();
    let files = (0..20).map(rotated).chain([path]);
    let texts: Vec<String> = files
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    assert!(
        texts
            .iter()
            .all(|text| text.is_empty() || text.ends_with('\n')),
        "a line was divided"
    );
    check_lines(&texts.concat());
}

#[test]
fn reopening_where_it_is_impossible_keeps_the_old_file() {
    let dir = Scratch::new();
    let (path, moved) = (dir.join("logs/access.log"), dir.join("old/access.log"));
    fs::create_dir(dir.join("logs")).unwrap();
    let log = AccessLog::open(&Target::File(path)).unwrap();
    log.write(b"one");
    fs::rename(dir.join("logs"), dir.join("old")).unwrap();
    assert!(log.reopen().is_err());
    log.write(b"two\n");
    log.flush().unwrap();
    assert_eq!(fs::read_to_string(moved).unwrap(), "one\ntwo\n");
}

#[test]
fn lines_appear_without_a_flush() {
    let dir = Scratch::new();
    let path = dir.join("access.log");
    let log = AccessLog::open(&Target::File(path.clone())).unwrap();
    log.write(b"soon\n");
    wait_for(&path, "soon\n");
}

#[test]
fn dropping_the_log_writes_the_rest() {
    let dir = Scratch::new();
    let path = dir.join("access.log");
    AccessLog::open(&Target::File(path.clone()))
        .unwrap()
        .write(b"last\n");
    wait_for(&path, "last\n");
}

#[test]
fn a_full_disk_drops_and_counts() {
    let log = AccessLog::open(&Target::File("/dev/full".into())).unwrap();
    let dir = Scratch::new();
    let warnings = dir.join("error.log");
    let errors = ErrorLog::open(&Target::File(warnings.clone())).unwrap();
    log.warn_to(errors.clone());
    log.write(b"first\n");
    assert!(log.flush().is_err());
    let line = [b'x'; 1 << 20];
    for _ in 0..6 {
        log.write(&line);
    }
    assert!(log.dropped() >= 2, "{}", log.dropped());
    errors.flush().unwrap();
    let warning = fs::read_to_string(&warnings).unwrap();
    assert!(warning.contains("[log_config:error]"), "{warning}");
    assert!(
        warning.contains("log /dev/full cannot be written: No space left on device"),
        "{warning}"
    );
    assert_eq!(warning.lines().count(), 1, "one a minute: {warning}");
}

#[test]
fn programs_receive_lines() {
    let dir = Scratch::new();
    let shell = dir.join("shell.txt");
    let command = format!("cat > '{}'", shell.display());
    let log = AccessLog::open(&Target::Shell(command.into())).unwrap();
    log.write(b"through a shell\n");
    log.flush().unwrap();
    wait_for(&shell, "through a shell\n");

    let direct = dir.join("direct.txt");
    let word = format!("|tee {}", direct.display());
    let log = AccessLog::open(&Target::parse(word.as_bytes(), Path::new("/"))).unwrap();
    log.write(b"without a shell\n");
    wait_for(&direct, "without a shell\n");
}

#[test]
fn a_program_that_dies_is_started_again() {
    let dir = Scratch::new();
    let path = dir.join("lines.txt");
    // The shell reads its input byte by byte, so it takes exactly one line before it ends.
    let read_one = format!("read line; echo \"$line\" >> '{}'", path.display());
    let log = AccessLog::open(&Target::Shell(read_one.into())).unwrap();
    log.write(b"one\n");
    log.flush().unwrap();
    wait_for(&path, "one\n");
    log.write(b"two\n");
    log.flush().unwrap();
    // What was in the pipe when no program read it is not lost. Writing goes on because a restart needs an occasion.
    for _ in 0..100 {
        if fs::read_to_string(&path).is_ok_and(|text| text.starts_with("one\ntwo\n")) {
            return;
        }
        log.write(b"more\n");
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{:?}", fs::read_to_string(&path));
}

#[test]
fn a_program_that_does_not_read_holds_nobody_up() {
    let dir = Scratch::new();
    let stuck = AccessLog::open(&Target::Shell("exec sleep 60".into())).unwrap();
    for _ in 0..6 {
        stuck.write(&[b'x'; 1 << 20]);
    }
    assert!(stuck.dropped() > 0);
    let path = dir.join("access.log");
    let log = AccessLog::open(&Target::File(path.clone())).unwrap();
    log.write(b"free\n");
    wait_for(&path, "free\n");
}

#[test]
fn targets_that_cannot_be_opened() {
    let targets = [
        Target::File("/nonexistent/dir/access.log".into()),
        Target::Program(vec![OsString::from("/nonexistent/program")]),
        Target::Program(Vec::new()),
        Target::Syslog(OsString::new()),
    ];
    for target in targets {
        assert!(AccessLog::open(&target).is_err(), "{target}");
    }
}

#[test]
fn errors_appear_without_a_flush() {
    let dir = Scratch::new();
    let path = dir.join("error.log");
    let log = ErrorLog::open(&Target::File(path.clone())).unwrap();
    log.log(&Entry {
        code: Some(489),
        ..Entry::new(Level::Error, "core", b"one\ntwo")
    });
    for _ in 0..200 {
        let text = fs::read_to_string(&path).unwrap();
        if text.ends_with("] AH00489: one\\ntwo\n") {
            assert_eq!(text.lines().count(), 1);
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{:?}", fs::read_to_string(&path));
}

/// Waits for a text that must appear; how long it takes does not matter.
fn wait_for(path: &Path, text: &str) {
    for _ in 0..500 {
        if fs::read_to_string(path).is_ok_and(|found| found == text) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{}: {:?}", path.display(), fs::read_to_string(path));
}
