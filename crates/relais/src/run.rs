//! Starting, reloading and ending.
//!
//! One control thread reads the configuration and hears the signals; workers
//! and engines do the rest. A reload that fails changes nothing.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use relais_front::{Command, Generation, WorkerHandle, listen};
use relais_modules::Configuration;
use relais_policy::ListenerSpec;
use relais_telemetry::{Entry, Level};
use relais_tunnel::{Engine, EngineHandle};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Arguments;
use crate::configuration;
use crate::control::{self, Control};
use crate::demo::{self, Origin};
use crate::fate;
use crate::logs::Logs;
use crate::process::{self, PidFile};
use crate::{Failure, Outcome, privileges};

/// How long a tunnel may take to send its Close frames when relais stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// How often a drain looks whether the last connection has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// Everything that runs.
struct Server {
    workers: Vec<WorkerHandle>,
    engine: EngineHandle,
    logs: Logs,
    generation: Arc<Generation>,
    backlog: u32,
    /// Its file goes when the server does.
    _control: Option<Control>,
}

/// `-f FILE`: serves until a signal ends it.
pub(crate) fn foreground(arguments: &Arguments) -> Outcome {
    if arguments.detached {
        process::detach();
    }
    let configuration = configuration::read(arguments)?;
    if !arguments.detached {
        // `-k start` has printed them already.
        configuration::print(&configuration, arguments);
    }
    // Before anybody can know our number: an early signal must not end us.
    let ears = Ears::new()?;
    let threads = if arguments.single { 1 } else { cores() };
    let (mut server, pid_file) = start(configuration, threads)?;
    if arguments.detached {
        process::tell_ready().map_err(|error| format!("nobody waits for the start: {error}"))?;
    }
    serve(ears, &mut server, || configuration::read(arguments))?;
    drop(pid_file);
    Ok(())
}

/// The embedded demonstration.
pub(crate) fn demo(address: SocketAddr) -> Outcome {
    let origin = Origin::start()
        .map_err(|error| format!("cannot start the demonstration's origin: {error}"))?;
    let address =
        settle(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let text = demo::configuration(address, origin.address());
    let read = || Ok(configuration::read_text("/demo.conf", &text));
    let ears = Ears::new()?;
    let (mut server, _) = start(read()?, cores())?;
    announce(&text, address);
    serve(ears, &mut server, read)
}

/// The port that a port of 0 stands for.
fn settle(address: SocketAddr) -> std::io::Result<SocketAddr> {
    if address.port() == 0 {
        TcpListener::bind(address)?.local_addr()
    } else {
        Ok(address)
    }
}

/// Tells the person at the terminal what runs; one that has gone is no reason
/// to end.
fn announce(text: &str, address: SocketAddr) {
    let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
    let _ = write!(
        std::io::stdout().lock(),
        "This configuration runs, in front of an origin inside this program:\n\n{indented}\n\
         Open http://{address}/ in two tabs and type. Ctrl-C ends it.\n"
    );
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Opens logs and sockets as whoever started us, then becomes the configured
/// user, then starts the threads.
fn start(
    configuration: Configuration,
    threads: usize,
) -> Result<(Server, Option<PidFile>), Failure> {
    let tls = configuration::load_tls(&configuration);
    let (Some(site), Ok(tls)) = (configuration.site, tls) else {
        return Err(Failure::Told);
    };
    raise_descriptor_limit();
    let mut logs = Logs::default();
    let spec = site.server.clone();
    let generation = Arc::new(logs.open(site, tls, None)?);
    let backlog = spec.backlog.unwrap_or(listen::BACKLOG);
    let mut listeners = bind_all(&spec.listeners, threads, backlog)?;
    let pid_file = spec.pid_file.as_deref().map(PidFile::write).transpose()?;
    let control = spec
        .pid_file
        .as_deref()
        .map(|file| Control::open(&control::path(file)));
    privileges::drop_to(&spec)?;
    let engine = Engine::spawn("tunnel", threads)
        .map_err(|error| format!("cannot start tunnel engines: {error}"))?;
    let mut workers = Vec::with_capacity(threads);
    for index in 0..threads {
        let own = listeners
            .iter_mut()
            .filter_map(|(spec, sockets)| Some((*spec, sockets.pop()?)))
            .collect();
        let worker = WorkerHandle::start(index, Arc::clone(&generation), own, engine.clone());
        workers.push(worker.map_err(|error| format!("cannot start an HTTP worker: {error}"))?);
    }
    let (control, deaf) = answer_on(control, &engine);
    let server = Server {
        workers,
        engine,
        logs,
        generation,
        backlog,
        _control: control,
    };
    if let Some(why) = deaf {
        server.log(Level::Warn, &why);
    }
    if spec.user.is_none() && nix::unistd::geteuid().is_root() {
        server.log(
            Level::Warn,
            "requests are served as root: the configuration has no User",
        );
    }
    server.note(&format!(
        "AH00489: relais/{} configured -- resuming normal operations",
        env!("CARGO_PKG_VERSION")
    ));
    Ok((server, pid_file))
}

/// Has the control socket answered, if there is one; without it relais serves
/// all the same, and says why.
fn answer_on(
    control: Option<Result<Control, String>>,
    engine: &EngineHandle,
) -> (Option<Control>, Option<String>) {
    match control {
        None => (None, None),
        Some(Err(why)) => (None, Some(why)),
        Some(Ok(control)) => match control.serve(engine.clone()) {
            Ok(()) => (Some(control), None),
            Err(error) => (
                None,
                Some(format!("nobody answers on the control socket: {error}")),
            ),
        },
    }
}

/// A tunnel is two descriptors: the soft limit is no use to a proxy.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Failing leaves what there is, which still serves.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

type Listeners = Vec<(ListenerSpec, Vec<TcpListener>)>;

fn bind_all(specs: &[ListenerSpec], threads: usize, backlog: u32) -> Result<Listeners, String> {
    if specs.is_empty() {
        return Err("no listening sockets available: the configuration has no Listen".to_owned());
    }
    let bind = |&spec: &ListenerSpec| match listen::bind(spec, threads, backlog) {
        Ok(sockets) => Ok((spec, sockets)),
        Err(error) => Err(format!(
            "AH00072: could not bind to address {}: {error}",
            spec.address
        )),
    };
    specs.iter().map(bind).collect()
}

/// Hears signals until one ends the process.
fn serve(
    ears: Ears,
    server: &mut Server,
    read: impl Fn() -> Result<Configuration, Failure>,
) -> Outcome {
    let Ears {
        runtime,
        mut signals,
    } = ears;
    runtime.block_on(async {
        loop {
            match signals.next().await {
                Heard::Stop => return,
                Heard::Reload => server.reload(&read),
                Heard::Drain => break,
            }
        }
        // A drain may last as long as a tunnel; it can be cut short.
        tokio::select! {
            () = server.drain() => {}
            () = signals.stop() => {}
        }
    });
    server.stop();
    Ok(())
}

/// The signals and what they are heard with.
struct Ears {
    runtime: tokio::runtime::Runtime,
    signals: Signals,
}

impl Ears {
    fn new() -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot hear signals: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(failed)?;
        let signals = {
            let _context = runtime.enter();
            Signals::new().map_err(failed)?
        };
        Ok(Self { runtime, signals })
    }
}

enum Heard {
    Stop,
    Drain,
    Reload,
}

struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
    winch: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            winch: signal(SignalKind::window_change())?,
        })
    }

    /// Waits for a signal that ends everything.
    async fn stop(&mut self) {
        while !matches!(self.next().await, Heard::Stop) {}
    }

    async fn next(&mut self) -> Heard {
        loop {
            tokio::select! {
                _ = self.term.recv() => return Heard::Stop,
                _ = self.int.recv() => return Heard::Stop,
                _ = self.hup.recv() => return Heard::Reload,
                _ = self.usr1.recv() => return Heard::Reload,
                // A terminal that changes its size sends this too.
                _ = self.winch.recv() => if !has_terminal() { return Heard::Drain },
            }
        }
    }
}

fn has_terminal() -> bool {
    use std::io::IsTerminal;
    std::io::stdin().is_terminal()
}

impl Server {
    fn log(&self, level: Level, message: &str) {
        if self.generation.main().levels.enabled("core", level) {
            self.generation
                .logs_of(0)
                .error
                .log(&Entry::new(level, "core", message.as_bytes()));
        }
    }

    fn note(&self, message: &str) {
        self.log(Level::Notice, message);
    }

    /// Reads the configuration again and puts it in force, or leaves all as it
    /// is and says why.
    fn reload(&mut self, read: &impl Fn() -> Result<Configuration, Failure>) {
        match read()
            .map_err(describe)
            .and_then(|configuration| self.exchange(configuration))
        {
            Ok(()) => self.note("AH00493: configuration read again; connections and tunnels go on"),
            Err(message) => {
                for line in message.lines() {
                    self.log(Level::Error, line);
                }
                self.log(Level::Error, "the configuration was not changed");
            }
        }
    }

    fn exchange(&mut self, configuration: Configuration) -> Result<(), String> {
        let tls = configuration::load_tls(&configuration);
        let tls = tls.map_err(|found| found.render(&configuration.loaded.sources))?;
        let Some(site) = configuration.site else {
            return Err(configuration
                .diagnostics
                .render(&configuration.loaded.sources));
        };
        let before = &self.generation.site.server;
        let fixed = |spec: &relais_policy::ServerSpec| {
            (
                spec.user.clone(),
                spec.group.clone(),
                spec.pid_file.clone(),
                spec.backlog,
            )
        };
        if fixed(before) != fixed(&site.server) {
            let message = "User, Group, PidFile and ListenBacklog change with the next start only";
            self.log(Level::Warn, message);
        }
        let old = &before.listeners;
        let new = site.server.listeners.clone();
        let added: Vec<ListenerSpec> = new
            .iter()
            .filter(|spec| !old.contains(spec))
            .copied()
            .collect();
        let closed: Vec<ListenerSpec> = old
            .iter()
            .filter(|spec| !new.contains(spec))
            .copied()
            .collect();
        if new.is_empty() {
            return Err("the configuration has no Listen".to_owned());
        }
        let mut opened = if added.is_empty() {
            Vec::new()
        } else {
            bind_all(&added, self.workers.len(), self.backlog)?
        };
        let generation = Arc::new(self.logs.open(site, tls, Some(&self.generation))?);
        if let Err(message) = self.logs.reopen() {
            self.log(Level::Error, &message);
        }
        let before = std::mem::replace(&mut self.generation, Arc::clone(&generation));
        for worker in &self.workers {
            let opened = opened
                .iter_mut()
                .filter_map(|(spec, sockets)| Some((*spec, sockets.pop()?)))
                .collect();
            worker.tell(Command::Reload {
                generation: Arc::clone(&generation),
                opened,
                closed: closed.clone(),
            });
        }
        let ended = fate::after_reload(&self.engine, &before.site, &generation.site);
        if ended > 0 {
            let tunnels = counted(ended, "tunnel");
            self.note(&format!("{tunnels} will be closed, as TunnelOnReload says"));
        }
        Ok(())
    }

    /// Waits for the last connection and tunnel, as long as
    /// `GracefulShutdownTimeout` allows.
    async fn drain(&self) {
        self.note("AH00492: caught SIGWINCH, shutting down gracefully");
        for worker in &self.workers {
            worker.tell(Command::Drain);
        }
        let tunnels = fate::drain(&self.engine, &self.generation.site);
        if tunnels > 0 {
            let tunnels = counted(tunnels, "tunnel");
            self.note(&format!(
                "{tunnels} will be closed within TunnelDrainWindow"
            ));
        }
        let patience = self.generation.site.server.graceful_shutdown_timeout;
        let end = (!patience.is_zero()).then(|| Instant::now() + patience);
        let open = || self.engine.open() + self.connections();
        while open() > 0 && end.is_none_or(|end| Instant::now() < end) {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    fn connections(&self) -> usize {
        self.workers.iter().map(WorkerHandle::connections).sum()
    }

    /// Ends everything and says what was closed.
    fn stop(&mut self) {
        let connections = self.connections();
        for worker in &self.workers {
            worker.tell(Command::Stop);
        }
        let tunnels = self.engine.stop(STOP_GRACE);
        for worker in self.workers.drain(..) {
            worker.join();
        }
        let message = format!(
            "closed {} and {}",
            counted(connections, "connection"),
            counted(tunnels, "tunnel")
        );
        self.note(&format!("AH00491: shutting down: {message}"));
        relais_telemetry::flush_all();
        // The terminal may be gone by now, which is no reason to panic.
        let _ = writeln!(std::io::stderr(), "relais: stopped; {message}");
    }
}

fn describe(failure: Failure) -> String {
    match failure {
        Failure::Told | Failure::Denied => "the configuration cannot be read".to_owned(),
        Failure::Message(message) => message,
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_gets_a_socket_of_every_listener() {
        let free = settle(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listeners = bind_all(&[ListenerSpec { address: free }], 3, 16).unwrap();
        assert_eq!((listeners.len(), listeners[0].1.len()), (1, 3));
        assert!(bind_all(&[], 3, 16).unwrap_err().contains("no Listen"));
    }

    #[test]
    fn counts_read_well() {
        assert_eq!(counted(1, "tunnel"), "1 tunnel");
        assert_eq!(counted(0, "tunnel"), "0 tunnels");
    }
}
