//! How many descriptors the process may have, and what that means for tunnels.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that a tunnel takes: its client's and its origin's.
const PER_TUNNEL: u64 = 2;

/// Descriptors beside connections: listeners, logs, epoll and wake-up
/// descriptors, pipes.
const RESERVE: u64 = 64;

/// Raises the soft limit to the hard one: the soft one is made for programs
/// that use select(2).
pub(crate) fn raise() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Failing leaves what there is, which still serves.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The most descriptors that the process may have; 0 if nobody knows.
pub(crate) fn descriptors_max() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// How many it has now; 0 if nobody knows.
pub(crate) fn descriptors_open() -> u64 {
    // One of them is the folder's own.
    std::fs::read_dir("/proc/self/fd").map_or(0, |open| (open.count() as u64).saturating_sub(1))
}

/// What the start says about it.
pub(crate) fn describe() -> String {
    let most = descriptors_max();
    let tunnels = most.saturating_sub(RESERVE) / PER_TUNNEL;
    format!(
        "the limit of {most} descriptors allows {tunnels} tunnels; LimitNOFILE= of the service, or `ulimit -Hn`, raises it"
    )
}
