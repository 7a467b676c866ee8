//! What the server is doing, for its status page.
//!
//! Every thread writes down what its connections are at, for itself alone:
//! nothing is locked or shared on a request's way. Whoever wants to know asks
//! the threads, and waits for them off the threads.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use relais_http1::RequestHead;
use relais_policy::{
    BalancerStatus, Change, ConnectionStatus, DrainSpec, Edit, Mode, Running, ServerStatus, Site,
    StatusSpec, ThreadStatus, TunnelStatus,
};
use relais_tunnel::{EndReason, EngineHandle, Farewell, Filter, TunnelInfo};
use relais_upstream::Balancer;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::generation::Generation;
use crate::metrics;
use crate::turn::load;
use crate::worker::Command;

/// Bytes of a request line that are kept (httpd's scoreboard has 64 with its
/// final zero).
const LINE_KEPT: usize = 63;

/// How long a thread may take to say what it is doing.
const PATIENCE: Duration = Duration::from_secs(2);

/// One connection, as its own thread keeps it.
pub(crate) struct Seat {
    peer: SocketAddr,
    mode: Cell<Mode>,
    requests: Cell<u32>,
    bytes: Cell<u64>,
    begun: Cell<Instant>,
    took: Cell<Duration>,
    /// The place of the last request's host in the site.
    host: Cell<usize>,
    line: Cell<([u8; LINE_KEPT], u8)>,
}

impl Seat {
    /// Says what the connection is at.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.set(mode);
    }

    /// A request has come.
    pub(crate) fn begin(&self, head: &RequestHead, host: usize, now: Instant, spec: &StatusSpec) {
        self.mode.set(Mode::Write);
        self.requests.set(self.requests.get().saturating_add(1));
        self.begun.set(now);
        self.host.set(host);
        if !spec.terse {
            self.line.set(kept(head.line(), spec.tail));
        }
    }

    /// It has been answered.
    pub(crate) fn ended(&self, bytes: u64, took: Duration) {
        self.bytes.set(self.bytes.get() + bytes);
        self.took.set(took);
    }

    fn show(&self, site: &Site) -> ConnectionStatus {
        let host = site
            .hosts
            .get(self.host.get())
            .unwrap_or_else(|| site.main());
        let name = &host.spec.server_name;
        let (line, length) = self.line.get();
        ConnectionStatus {
            mode: self.mode.get(),
            peer: self.peer,
            requests: self.requests.get(),
            bytes: self.bytes.get(),
            since: self.begun.get().elapsed(),
            took: self.took.get(),
            host: match host.spec.server_port {
                Some(port) => format!("{name}:{port}"),
                None => name.clone(),
            },
            line: line.get(..usize::from(length)).unwrap_or_default().to_vec(),
        }
    }
}

/// The beginning of a line that is too long, or its end.
fn kept(line: &[u8], tail: bool) -> ([u8; LINE_KEPT], u8) {
    let part = match line.len().checked_sub(LINE_KEPT) {
        Some(more) if tail => line.get(more..),
        Some(_) => line.get(..LINE_KEPT),
        None => Some(line),
    };
    let part = part.unwrap_or_default();
    let mut kept = [0; LINE_KEPT];
    for (into, byte) in kept.iter_mut().zip(part) {
        *into = *byte;
    }
    (kept, part.len() as u8)
}

/// The connections of one thread, and what it has done.
#[derive(Default)]
pub(crate) struct Seats {
    seats: RefCell<Vec<Weak<Seat>>>,
    accesses: Cell<u64>,
    bytes: Cell<u64>,
    took: Cell<Duration>,
}

impl Seats {
    /// A place for a new connection.
    pub(crate) fn take(&self, peer: SocketAddr) -> Rc<Seat> {
        let seat = Rc::new(Seat {
            peer,
            mode: Cell::default(),
            requests: Cell::default(),
            bytes: Cell::default(),
            begun: Cell::new(Instant::now()),
            took: Cell::default(),
            host: Cell::default(),
            line: Cell::new(([0; LINE_KEPT], 0)),
        });
        let mut seats = self.seats.borrow_mut();
        // Places of connections that are gone are cleared where the list
        // would grow, so that it is never more than twice as long as needed.
        if seats.len() == seats.capacity() {
            seats.retain(|seat| seat.strong_count() > 0);
            let room = seats.len().max(16);
            seats.reserve_exact(room);
        }
        seats.push(Rc::downgrade(&seat));
        seat
    }

    /// Counts a request that has been answered.
    pub(crate) fn count(&self, bytes: u64, took: Duration) {
        self.accesses.set(self.accesses.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        self.took.set(self.took.get() + took);
    }

    /// What the thread is doing.
    pub(crate) fn report(&self, site: &Site, stopping: bool) -> ThreadStatus {
        let seats = self.seats.borrow();
        let taken = seats.iter().filter_map(Weak::upgrade);
        ThreadStatus {
            accesses: self.accesses.get(),
            bytes: self.bytes.get(),
            took: self.took.get(),
            stopping,
            connections: taken.map(|seat| seat.show(site)).collect(),
        }
    }
}

/// What the generations of one process have in common, and by what its threads
/// are asked.
#[derive(Default)]
pub struct Server {
    started: Option<SystemTime>,
    reloads: AtomicU64,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    workers: Vec<UnboundedSender<Command>>,
    engine: Option<EngineHandle>,
}

impl Server {
    /// The same server with another configuration, or a new one.
    pub(crate) fn next(previous: Option<&Arc<Self>>) -> Arc<Self> {
        match previous {
            Some(server) => {
                server.reloads.fetch_add(1, Ordering::Relaxed);
                Arc::clone(server)
            }
            None => Arc::new(Self {
                started: Some(SystemTime::now()),
                ..Self::default()
            }),
        }
    }

    /// One more thread belongs to the server.
    pub(crate) fn enlist(&self, worker: UnboundedSender<Command>, engine: &EngineHandle) {
        let mut threads = self.threads();
        threads.workers.push(worker);
        threads.engine.get_or_insert_with(|| engine.clone());
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each thread says; one that has ended or is stuck says nothing.
    fn reports(&self) -> Vec<ThreadStatus> {
        let workers = self.threads().workers.clone();
        let asked = workers.iter().map(|worker| {
            let (sender, receiver) = channel();
            let _ = worker.send(Command::Report(sender));
            receiver
        });
        let asked: Vec<_> = asked.collect();
        let answers = asked.iter().map(|answer| answer.recv_timeout(PATIENCE));
        answers.filter_map(Result::ok).collect()
    }

    fn tunnels(&self) -> Vec<TunnelStatus> {
        let Some(engine) = self.threads().engine.clone() else {
            return Vec::new();
        };
        let all = Arc::new(|_: &TunnelInfo| true) as _;
        let parts = engine.tunnels(&all);
        let mut tunnels: Vec<TunnelStatus> = parts.iter().flatten().map(shown).collect();
        tunnels.sort_unstable_by_key(|tunnel| tunnel.id);
        tunnels
    }
}

fn shown(tunnel: TunnelInfo) -> TunnelStatus {
    let route = tunnel.route.names();
    TunnelStatus {
        id: tunnel.id.0,
        client: tunnel.client,
        host: route.host.to_string(),
        rule: route.rule.to_string(),
        origin: route.origin.to_string(),
        via: route.via,
        age: tunnel.age,
        idle: tunnel.idle,
        from_client: [tunnel.from_client.messages, tunnel.from_client.bytes],
        from_origin: [tunnel.from_origin.messages, tunnel.from_origin.bytes],
        draining: tunnel.is_draining,
    }
}

impl Running for Generation {
    fn tunnel_metrics(&self) -> String {
        let engine = self.server.threads().engine.clone();
        engine.as_ref().map_or_else(String::new, metrics::tunnels)
    }

    fn status(&self) -> ServerStatus {
        let server = &self.server;
        ServerStatus {
            started: server.started,
            configured: Some(self.made),
            reloads: server.reloads.load(Ordering::Relaxed),
            load: load(),
            cpu: processor_time(),
            threads: server.reports(),
            tunnels: server.tunnels(),
        }
    }

    fn balancers(&self, host: usize) -> Vec<BalancerStatus> {
        let balancers = self.upstreams.balancers(host).iter();
        balancers.map(|balancer| balancer.snapshot()).collect()
    }

    fn change(&self, host: usize, change: &Change) -> Vec<String> {
        let (name, member) = (&change.balancer, change.member.as_deref());
        let edits = change.edits.iter();
        let done = edits.filter_map(|edit| match (edit, member) {
            (Edit::DrainTunnels, Some(member)) => self.drain_tunnels(host, name, member),
            _ => self.upstreams.edit(host, name, member, edit),
        });
        done.collect()
    }
}

/// The code of Close frames where an origin is taken out of use: "service
/// restart" in the registry of close codes.
const RESTART: u16 = 1012;

impl Generation {
    /// Ends the tunnels that a balancer has brought to one of its members, over
    /// the host's `TunnelDrainWindow`.
    fn drain_tunnels(&self, host: usize, name: &str, member: &str) -> Option<String> {
        let spec = &self.site.hosts.get(host)?.spec;
        let mut balancers = self.upstreams.balancers(host).iter();
        let balancer = balancers.find(|have| have.name() == name)?;
        let members = balancer.members();
        let worker = members.iter().find(|have| have.spec.url == member)?;
        let (worker, target) = (worker.spec.worker.name.clone(), name.to_owned());
        let hosts = self.hosts_of(balancer);
        let chosen: Filter = Arc::new(move |tunnel| {
            let names = tunnel.route.names();
            names.worker == worker
                && hosts.iter().any(|host| host == names.host)
                && is_below(names.target, &target)
        });
        let drain = spec.tunnel.drain;
        let farewell = Farewell {
            reason: EndReason::Drained,
            code: RESTART,
            window: drain.window.unwrap_or(DrainSpec::WINDOW),
            per_second: drain.rate.unwrap_or(0),
        };
        let engine = self.server.threads().engine.clone()?;
        let ended: usize = engine.bid_farewell(&chosen, farewell).iter().sum();
        let seconds = farewell.window.as_secs();
        Some(format!(
            "{name}: {ended} tunnels to {member} end within {seconds} s"
        ))
    }

    /// The hosts that share a balancer: the main server's is that of the
    /// virtual hosts which inherit it.
    fn hosts_of(&self, balancer: &Arc<Balancer>) -> Vec<String> {
        let hosts = self.site.hosts.iter().enumerate();
        let sharing = hosts.filter(|(index, _)| {
            let own = self.upstreams.balancers(*index);
            own.iter().any(|have| Arc::ptr_eq(have, balancer))
        });
        sharing
            .map(|(_, host)| host.spec.server_name.clone())
            .collect()
    }
}

/// Whether a target is this balancer or something below it.
fn is_below(target: &str, balancer: &str) -> bool {
    let begins = target
        .get(..balancer.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(balancer));
    begins && matches!(target.as_bytes().get(balancer.len()), None | Some(b'/'))
}

/// The process' time in user code and in the kernel, from the kernel: fields 14
/// and 15 of `proc_pid_stat(5)`, in hundredths of a second.
fn processor_time() -> [Duration; 2] {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in field 2 may hold anything but ends at the last parenthesis.
    let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let mut ticks = rest.split(' ').skip(11).map_while(|word| word.parse().ok());
    std::array::from_fn(|_| Duration::from_millis(ticks.next().unwrap_or(0) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_lose_an_end() {
        let line: Vec<u8> = (b'!'..b'~').collect();
        let (head, length) = kept(&line, false);
        assert_eq!(
            (&head[..], usize::from(length)),
            (&line[..LINE_KEPT], LINE_KEPT)
        );
        assert_eq!(kept(&line, true).0, line[line.len() - LINE_KEPT..]);
        assert_eq!(kept(b"GET / HTTP/1.1", true).1, 14);
    }

    #[test]
    fn places_of_connections_that_are_gone_are_cleared() {
        let seats = Seats::default();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let kept = seats.take(peer);
        for _ in 0..1000 {
            drop(seats.take(peer));
        }
        assert!(seats.seats.borrow().capacity() <= 64);
        assert!(
            seats
                .seats
                .borrow()
                .iter()
                .any(|seat| seat.upgrade().is_some())
        );
        drop(kept);
    }

    #[test]
    fn the_process_has_used_some_time() {
        let end = std::time::Instant::now() + Duration::from_secs(10);
        let used = || processor_time().iter().sum::<Duration>();
        while used().is_zero() && std::time::Instant::now() < end {}
        assert!(!used().is_zero());
    }
}
