//! HTTP worker threads: one per core, each with its own runtime, listeners
//! and origin connections, so that a request crosses no thread.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use relais_http1::{RequestHead, ResponseHead};
use relais_policy::{ListenerSpec, SectionSets, ThreadStatus};
use relais_telemetry::{Entry, Level};
use relais_tunnel::{EngineHandle, TunnelLimits};
use relais_upstream::Pool;
use tokio::net::TcpListener;
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::accept::accept;
use crate::generation::Generation;
use crate::input::Buffers;
use crate::lent::Shelf;
use crate::status::Seats;
use crate::turn::Sent;

/// Limits of tunnels that are remembered, to be shared.
const LIMITS_MAX: usize = 64;

/// How often idle connections to origins are looked after.
const SWEEP: Duration = Duration::from_secs(5);

/// Idle connections to origins older than this are closed.
const ORIGIN_IDLE_MAX: Duration = Duration::from_secs(60);

/// Look-ups that may block (passwords, programs, files) at the same time; more
/// wait their turn, without keeping other requests.
const LOOKUPS_MAX: usize = 8;

/// What the control thread tells a worker.
pub enum Command {
    /// Another configuration is in force from the next request on.
    Reload {
        /// The configuration.
        generation: Arc<Generation>,
        /// Listeners to open.
        opened: Vec<(ListenerSpec, StdListener)>,
        /// Listeners to close.
        closed: Vec<ListenerSpec>,
    },
    /// No new connections; the requests that run are finished.
    Drain,
    /// Everything ends now.
    Stop,
    /// Tells what it is doing.
    Report(Sender<ThreadStatus>),
}

/// One worker thread as the control thread sees it.
pub struct WorkerHandle {
    commands: UnboundedSender<Command>,
    thread: JoinHandle<()>,
    connections: Arc<AtomicUsize>,
}

impl WorkerHandle {
    /// Starts a worker thread.
    ///
    /// # Errors
    /// When the system has no thread or no epoll instance left.
    pub fn start(
        index: usize,
        generation: Arc<Generation>,
        listeners: Vec<(ListenerSpec, StdListener)>,
        engine: EngineHandle,
    ) -> io::Result<Self> {
        let (commands, receiver) = unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let server = Arc::clone(&generation.server);
        let engines = engine.clone();
        // A runtime of local tasks cannot move to another thread.
        let (started, start) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("http-{index}"))
            .spawn(move || match runtime() {
                Ok(runtime) => {
                    let _ = started.send(Ok(()));
                    let worker = Rc::new(Worker::new(index == 0, generation, engine, count));
                    runtime.block_on(run(worker, listeners, receiver));
                    // A look-up that is still under way is not worth waiting for.
                    runtime.shutdown_background();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            })?;
        start.recv().map_err(io::Error::other)??;
        server.enlist(commands.clone(), &engines);
        Ok(Self {
            commands,
            thread,
            connections,
        })
    }

    /// Tells the worker something. One that has ended hears nothing.
    pub fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Open client connections, tunnels excepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits for the thread's end.
    pub fn join(self) {
        // A worker that panicked has told so on the error log already.
        let _ = self.thread.join();
    }
}

fn runtime() -> io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(LOOKUPS_MAX)
        .build_local(LocalOptions::default())
}

/// One worker thread's state, shared by its connections.
pub(crate) struct Worker {
    /// Whether this is the thread that does what is done once per process.
    first: bool,
    generation: RefCell<Arc<Generation>>,
    sets: RefCell<Rc<SectionSets>>,
    pub(crate) pool: Pool,
    pub(crate) buffers: Buffers,
    pub(crate) requests: Shelf<RequestHead>,
    pub(crate) responses: Shelf<ResponseHead>,
    pub(crate) sents: Shelf<Sent>,
    pub(crate) seats: Seats,
    pub(crate) texts: Shelf<Vec<u8>>,
    pub(crate) engine: EngineHandle,
    limits: RefCell<Vec<Arc<TunnelLimits>>>,
    draining: Cell<bool>,
    /// Told when connections are to end.
    pub(crate) changed: Notify,
    /// Told when another configuration is in force.
    pub(crate) reloaded: Notify,
    /// How often that has been so.
    pub(crate) reloads: Cell<u32>,
    connections: Arc<AtomicUsize>,
    /// A random number of this thread, and the requests it has counted.
    root: u64,
    count: Cell<u64>,
}

impl Worker {
    fn new(
        first: bool,
        generation: Arc<Generation>,
        engine: EngineHandle,
        connections: Arc<AtomicUsize>,
    ) -> Self {
        let pool = Pool::new(Arc::clone(&generation.upstreams.limits));
        Self {
            first,
            generation: RefCell::new(generation),
            sets: RefCell::default(),
            pool,
            buffers: Buffers::default(),
            requests: Shelf::default(),
            responses: Shelf::default(),
            sents: Shelf::default(),
            seats: Seats::default(),
            texts: Shelf::default(),
            engine,
            limits: RefCell::default(),
            draining: Cell::new(false),
            changed: Notify::new(),
            reloaded: Notify::new(),
            reloads: Cell::new(0),
            connections,
            root: RandomState::new().hash_one(std::process::id()),
            count: Cell::new(0),
        }
    }

    /// Twenty bytes that no other request has: the second, a random number of
    /// the thread, and a count.
    pub(crate) fn identity(&self, now: SystemTime) -> [u8; 20] {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        let second = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let second = second.as_secs().to_be_bytes();
        let mut identity = [0; 20];
        identity[..4].copy_from_slice(&second[4..]);
        identity[4..12].copy_from_slice(&self.root.to_be_bytes());
        identity[12..].copy_from_slice(&count.to_be_bytes());
        identity
    }

    /// Sixteen random bytes, for the key of a WebSocket.
    pub(crate) fn nonce(&self) -> [u8; 16] {
        let count = self.count.get();
        let half = |salt: u64| RandomState::new().hash_one((count, salt));
        (u128::from(half(self.root)) << 64 | u128::from(half(!self.root))).to_be_bytes()
    }

    /// The configuration in force and its remembered section sets.
    pub(crate) fn generation(&self) -> (Arc<Generation>, Rc<SectionSets>) {
        (
            Arc::clone(&self.generation.borrow()),
            Rc::clone(&self.sets.borrow()),
        )
    }

    /// One copy of limits that many tunnels have alike.
    pub(crate) fn tunnel_limits(&self, limits: TunnelLimits) -> Arc<TunnelLimits> {
        let mut known = self.limits.borrow_mut();
        if let Some(same) = known.iter().find(|known| ***known == limits) {
            return Arc::clone(same);
        }
        if known.len() >= LIMITS_MAX {
            known.clear();
        }
        let limits = Arc::new(limits);
        known.push(Arc::clone(&limits));
        limits
    }

    /// Whether connections are to end after the request they are at.
    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Adds a line of the front's own to the main server's error log.
    pub(crate) fn log(&self, level: Level, message: &str) {
        let generation = self.generation.borrow();
        if generation.main().levels.enabled("core", level) {
            generation
                .logs_of(0)
                .error
                .log(&Entry::new(level, "core", message.as_bytes()));
        }
    }
}

/// Counts a connection while it lives.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(crate) fn new(worker: &Worker) -> Self {
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&worker.connections))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn run(
    worker: Rc<Worker>,
    listeners: Vec<(ListenerSpec, StdListener)>,
    mut commands: UnboundedReceiver<Command>,
) {
    let mut accepting: Vec<(ListenerSpec, tokio::task::JoinHandle<()>)> = Vec::new();
    open(&worker, listeners, &mut accepting);
    let sweeper = Rc::clone(&worker);
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            sweeper.pool.sweep(ORIGIN_IDLE_MAX);
        }
    });
    let mut checks = Checks::start(&worker);
    while let Some(command) = commands.recv().await {
        match command {
            Command::Reload {
                generation,
                opened,
                closed,
            } => {
                *worker.generation.borrow_mut() = generation;
                *worker.sets.borrow_mut() = Rc::default();
                drop(checks);
                checks = Checks::start(&worker);
                worker.reloads.set(worker.reloads.get().wrapping_add(1));
                worker.reloaded.notify_waiters();
                accepting.retain(|(spec, task)| {
                    let stays = !closed.contains(spec);
                    if !stays {
                        task.abort();
                    }
                    stays
                });
                open(&worker, opened, &mut accepting);
            }
            Command::Drain => {
                worker.draining.set(true);
                worker.changed.notify_waiters();
                for (_, task) in accepting.drain(..) {
                    task.abort();
                }
            }
            Command::Stop => break,
            Command::Report(asked) => {
                let (generation, _) = worker.generation();
                // Whoever has asked may have lost patience.
                let _ = asked.send(worker.seats.report(&generation.site, worker.draining()));
            }
        }
    }
}

/// The health checks of one configuration; they end when this is dropped. The
/// first thread does them for all.
struct Checks(Option<tokio::task::JoinHandle<()>>);

impl Checks {
    fn start(worker: &Rc<Worker>) -> Self {
        let (generation, _) = worker.generation();
        let members = generation.upstreams.checked();
        if !worker.first || members.is_empty() {
            return Self(None);
        }
        let teller = Rc::clone(worker);
        let tls = generation.tls.any_client().cloned();
        let checks = relais_upstream::check_members(members, tls, move |message| {
            teller.log(Level::Warn, message);
        });
        Self(Some(tokio::task::spawn_local(checks)))
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

fn open(
    worker: &Rc<Worker>,
    listeners: Vec<(ListenerSpec, StdListener)>,
    accepting: &mut Vec<(ListenerSpec, tokio::task::JoinHandle<()>)>,
) {
    for (spec, listener) in listeners {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let task = tokio::task::spawn_local(accept(Rc::clone(worker), listener));
                accepting.push((spec, task));
            }
            Err(error) => worker.log(
                Level::Error,
                &format!("cannot listen on {}: {error}", spec.address),
            ),
        }
    }
}
