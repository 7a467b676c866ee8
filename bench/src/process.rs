//! Processor time and memory of a process and all that it started, as `/proc` has them.

use std::fs;

/// Microseconds in one tick of `/proc/PID/stat`; Linux shows them in hundredths of a second on every architecture.
const TICK_US: f64 = 10_000.0;

/// Processor time of all threads of the tree below `root`, in nanoseconds as the scheduler counts them; what a thread
/// took that has ended since is not among it.
pub(crate) fn cpu_ns(root: u32) -> u64 {
    tree(root).into_iter().map(threads_ns).sum()
}

fn threads_ns(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let nanos = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    threads.filter_map(nanos).sum()
}

/// All threads of the tree below `root`.
pub(crate) fn threads(root: u32) -> Vec<u32> {
    let of = |pid: u32| {
        fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
    };
    let entries = tree(root).into_iter().flat_map(of).flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Anonymous resident memory of the tree below `root`, in KiB.
pub(crate) fn memory_kib(root: u32) -> u64 {
    tree(root).into_iter().map(anonymous_kib).sum()
}

/// User and system time of one process, in microseconds; zero when it has ended.
pub(crate) fn cpu_us_alone(pid: u32) -> f64 {
    stat(pid).map_or(0, |stat| stat.ticks) as f64 * TICK_US
}

/// The most memory that a process has had resident, in KiB; zero when it has ended.
pub(crate) fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

fn anonymous_kib(pid: u32) -> u64 {
    status_kib(pid, "RssAnon:")
}

fn status_kib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// The process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let names = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    let pids: Vec<u32> = names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect();
    let parents: Vec<(u32, u32)> = pids
        .iter()
        .filter_map(|&pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == found[at])
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        at += 1;
    }
    found
}

struct Stat {
    parent: u32,
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads the fields behind the command, which is in parentheses and may contain any character (proc(5)).
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
    })
}

#[test]
fn the_command_may_contain_anything() {
    let stat = parse("7 (a ) b) S 3 7 7 0 -1 4194304 1 2 3 4 50 60 7 8 20 0 1 0")
        .expect("a line of /proc");
    assert_eq!((stat.parent, stat.ticks), (3, 110));
}

#[test]
fn this_process_has_memory() {
    assert!(memory_kib(std::process::id()) > 0);
}
