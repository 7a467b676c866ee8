//! Engines on threads of their own, and the handle that feeds and stops them.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use relais_io::Wake;
use relais_io::epoll::{Epoll, EpollWaker};

use crate::gate::{Gate, Permit, Quota};
use crate::order::{Farewell, Filter, TunnelInfo, Walk};
use crate::tunnel::refuse;
use crate::{EndReason, Engine, Handoff, Route, RouteNames, Settings, Totals, Wires};

impl Engine<Wires<Epoll>> {
    /// Starts `threads` engines (at least one) on threads called `name-0`, `name-1`, …
    ///
    /// The threads end when [`EngineHandle::stop`] is called, or when every clone of the handle is gone and the last
    /// tunnel has ended.
    ///
    /// # Errors
    /// The process may have no more threads, or is out of descriptors: each engine takes two.
    pub fn spawn(name: &str, threads: usize) -> io::Result<EngineHandle> {
        Self::spawn_with(name, threads, Settings::default())
    }

    /// [`Engine::spawn`] with other sizes than the default ones.
    ///
    /// # Errors
    /// As for [`Engine::spawn`].
    pub fn spawn_with(name: &str, threads: usize, settings: Settings) -> io::Result<EngineHandle> {
        // Engines that were started before a failure end with the handle.
        let mut lanes = Lanes(Vec::new());
        for number in 0..threads.max(1) {
            let name = format!("{name}-{number}");
            lanes.0.push(start(name, number, threads.max(1), settings)?);
        }
        Ok(EngineHandle {
            lanes: Arc::new(lanes),
            gate: Gate::default(),
        })
    }
}

/// Hands tunnels to running engines. Clones share the engines.
#[derive(Clone)]
pub struct EngineHandle {
    lanes: Arc<Lanes>,
    gate: Gate,
}

/// Wakes the engines that have got tunnels by [`EngineHandle::queue`] since they last looked, when it is dropped.
#[must_use = "the engine is woken when this is dropped, which is to be after other tunnels have been queued"]
pub struct WakeLater(Arc<Lanes>);

impl Drop for WakeLater {
    fn drop(&mut self) {
        for lane in &self.0.0 {
            if lane.asleep.swap(false, Ordering::Relaxed) {
                lane.waker.wake();
            }
        }
    }
}

impl EngineHandle {
    /// Hands a tunnel to the engine with the fewest tunnels. Takes no descriptor and does not block.
    ///
    /// # Errors
    /// Gives the tunnel back when every queue is full or the engines were stopped.
    #[expect(
        clippy::result_large_err,
        reason = "what comes back is the tunnel that was to be moved"
    )]
    pub fn submit(&self, handoff: Handoff) -> Result<(), Handoff> {
        drop(self.queue(handoff)?);
        Ok(())
    }

    /// The same without waking the engine, which the answer does when it is dropped: one call then does for all that is
    /// queued meanwhile, which gets no answer of its own.
    ///
    /// # Errors
    /// As for [`EngineHandle::submit`].
    #[expect(
        clippy::result_large_err,
        reason = "what comes back is the tunnel that was to be moved"
    )]
    pub fn queue(&self, handoff: Handoff) -> Result<Option<WakeLater>, Handoff> {
        let mut handoff = handoff;
        let least = self
            .lanes
            .0
            .iter()
            .min_by_key(|lane| lane.open.load(Ordering::Relaxed));
        for lane in least.into_iter().chain(&self.lanes.0) {
            match lane.push(handoff) {
                Ok(first) => return Ok(first.then(|| WakeLater(Arc::clone(&self.lanes)))),
                Err(back) => handoff = back,
            }
        }
        Err(handoff)
    }

    /// How many tunnels are open, those in the queues included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.lanes
            .0
            .iter()
            .map(|lane| lane.open.load(Ordering::Relaxed))
            .sum()
    }

    /// A place within all of these limits for a tunnel that is about to open.
    ///
    /// # Errors
    /// The first limit that is reached.
    pub fn enter(&self, limits: &[(Quota, u64)]) -> Result<Permit, Quota> {
        self.gate.enter(limits)
    }

    /// The one copy of the route of these names, for [`Handoff::route`].
    #[must_use]
    pub fn route(&self, names: RouteNames<'_>) -> Arc<Route> {
        self.gate.route(names)
    }

    /// The routes that tunnels are or were on lately; [`Route::live`] has the number of each.
    #[must_use]
    pub fn routes(&self) -> Vec<Arc<Route>> {
        self.gate.routes()
    }

    /// What all tunnels have come to since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.gate.totals()
    }

    /// The tunnels that `filter` lets through, in parts, as each engine comes by them; the channel ends behind the last.
    /// Tunnels that still wait in a queue are not among them.
    #[must_use = "the tunnels"]
    pub fn tunnels(&self, filter: &Filter) -> Receiver<Vec<TunnelInfo>> {
        let (sender, receiver) = channel();
        for lane in &self.lanes.0 {
            lane.command(Walk::show(Filter::clone(filter), sender.clone()));
        }
        receiver
    }

    /// Ends the tunnels that `filter` lets through. Each engine sends how many it has chosen; then the channel ends.
    /// Tunnels that are chosen again end at the earlier of both moments.
    pub fn bid_farewell(&self, filter: &Filter, farewell: Farewell) -> Receiver<usize> {
        let (sender, receiver) = channel();
        for lane in &self.lanes.0 {
            lane.command(Walk::end(Filter::clone(filter), farewell, sender.clone()));
        }
        receiver
    }

    /// Ends all tunnels, and then the engines: both sides of a WebSocket tunnel get a Close frame 1001 if they are
    /// between two frames, every stream is ended, and what is not over after `grace` is closed. Returns how many tunnels
    /// there were; 0 when the engines were stopped before.
    ///
    /// Blocks for as long as that takes, `grace` and an eighth of a second at most, as long as no label blocks. A label
    /// must not call it.
    #[must_use = "the number of tunnels that were closed"]
    pub fn stop(&self, grace: Duration) -> usize {
        for lane in &self.lanes.0 {
            lane.order(State::Stopping(grace));
        }
        self.lanes.0.iter().map(|lane| lane.wait_for_end()).sum()
    }
}

/// The engines of a handle. When the last handle is dropped, they end after their last tunnel.
struct Lanes(Vec<Arc<Lane>>);

impl Drop for Lanes {
    fn drop(&mut self) {
        for lane in &self.0 {
            lane.order(State::Orphaned);
        }
    }
}

/// What an engine's thread and the handles share.
struct Lane {
    inbox: Mutex<Inbox>,
    ended: Condvar,
    waker: EpollWaker,
    /// The first tunnel in the inbox has not woken the thread yet.
    asleep: AtomicBool,
    open: Arc<AtomicUsize>,
    queue: usize,
}

struct Inbox {
    handoffs: VecDeque<Handoff>,
    orders: Vec<Walk>,
    state: State,
    /// Tunnels that were closed by the stop and not reported yet.
    closed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// There is no handle any more.
    Orphaned,
    Stopping(Duration),
    Stopped,
}

impl Lane {
    #[expect(
        clippy::result_large_err,
        reason = "what comes back is the tunnel that was to be moved"
    )]
    fn push(&self, handoff: Handoff) -> Result<bool, Handoff> {
        let mut inbox = self.inbox();
        if inbox.state != State::Running || inbox.handoffs.len() >= self.queue {
            return Err(handoff);
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        inbox.handoffs.push_back(handoff);
        // The thread takes the whole queue at once, so that only the first entry needs to wake it.
        let first = inbox.handoffs.len() == 1;
        if first {
            self.asleep.store(true, Ordering::Relaxed);
        }
        Ok(first)
    }

    fn command(&self, walk: Walk) {
        let mut inbox = self.inbox();
        if inbox.state != State::Stopped {
            inbox.orders.push(walk);
            self.waker.wake();
        }
    }

    fn order(&self, state: State) {
        let mut inbox = self.inbox();
        if inbox.state == State::Running {
            inbox.state = state;
            self.waker.wake();
        }
    }

    fn wait_for_end(&self) -> usize {
        let inbox = self.inbox();
        let ended = self
            .ended
            .wait_while(inbox, |inbox| inbox.state != State::Stopped);
        mem::take(&mut ended.unwrap_or_else(PoisonError::into_inner).closed)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(name: String, number: usize, engines: usize, settings: Settings) -> io::Result<Arc<Lane>> {
    use relais_io::Io as _;
    let io = Wires::new(Epoll::new()?);
    let lane = Arc::new(Lane {
        inbox: Mutex::new(Inbox {
            handoffs: VecDeque::new(),
            orders: Vec::new(),
            state: State::Running,
            closed: 0,
        }),
        ended: Condvar::new(),
        waker: io.waker(),
        asleep: AtomicBool::new(false),
        open: Arc::default(),
        queue: settings.queue,
    });
    let shared = Arc::clone(&lane);
    thread::Builder::new().name(name).spawn(move || {
        // Whatever ends the thread, the handles hear of it.
        let shared = LastWill(shared);
        let mut engine = Engine::new(io, &settings);
        engine.join(number, engines, Arc::clone(&shared.0.open));
        let closed = run(&mut engine, &shared.0);
        shared.0.inbox().closed = closed;
    })?;
    Ok(lane)
}

/// Runs the engine to its end and returns how many tunnels the stop has closed.
fn run(engine: &mut Engine<Wires<Epoll>>, lane: &Lane) -> usize {
    let mut arrived = VecDeque::new();
    loop {
        let (state, orders) = take(lane, &mut arrived);
        for handoff in arrived.drain(..) {
            engine.admit(handoff);
        }
        for walk in orders {
            engine.order(walk);
        }
        match state {
            State::Stopping(grace) => return wind_up(engine, grace),
            State::Orphaned | State::Stopped if engine.open() == 0 => return 0,
            _ => {}
        }
        if engine.turn().is_err() {
            engine.abandon(EndReason::EngineFailed);
            return 0;
        }
    }
}

fn take(lane: &Lane, arrived: &mut VecDeque<Handoff>) -> (State, Vec<Walk>) {
    let mut inbox = lane.inbox();
    mem::swap(&mut inbox.handoffs, arrived);
    lane.asleep.store(false, Ordering::Relaxed);
    (inbox.state, mem::take(&mut inbox.orders))
}

fn wind_up(engine: &mut Engine<Wires<Epoll>>, grace: Duration) -> usize {
    let closed = engine.stop(grace);
    while engine.open() > 0 {
        if engine.turn().is_err() {
            engine.abandon(EndReason::EngineFailed);
        }
    }
    closed
}

/// Marks a lane as stopped when its thread ends, even by a panic.
struct LastWill(Arc<Lane>);

impl Drop for LastWill {
    fn drop(&mut self) {
        let lost = {
            let mut inbox = self.0.inbox();
            inbox.state = State::Stopped;
            inbox.orders.clear();
            mem::take(&mut inbox.handoffs)
        };
        lost.into_iter().for_each(refuse);
        self.0.open.store(0, Ordering::Relaxed);
        self.0.ended.notify_all();
    }
}
