//! Everything that runs, and what is done to it: reload, drain, stop.
//!
//! A reload that fails changes nothing.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relais_front::{Command, Generation, WorkerHandle, listen};
use relais_modules::Configuration;
use relais_policy::{ListenerSpec, ReloadAction, ServerSpec, Site};
use relais_telemetry::{Entry, Level};
use relais_tls::SiteTls;
use relais_tunnel::EngineHandle;

use crate::control::{Control, Reloaded, RouteFate, Status};
use crate::fate::{self, Verdict};
use crate::logs::Logs;
use crate::signals::Ask;
use crate::{Failure, configuration, limits};

/// How long a tunnel may take to send its Close frames when relais stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// How often a drain looks whether the last connection has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// Reads the configuration again.
pub(crate) type Reader<'a> = &'a dyn Fn() -> Result<Configuration, Failure>;

/// Everything that runs.
pub(crate) struct Server {
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) engine: EngineHandle,
    pub(crate) logs: Logs,
    pub(crate) generation: Arc<Generation>,
    pub(crate) backlog: u32,
    pub(crate) started: Instant,
    /// Reloads that changed something.
    pub(crate) reloads: u64,
    /// Reloads that did not, because the configuration was wrong.
    pub(crate) reloads_failed: u64,
    /// Its file goes when the server does.
    pub(crate) control: Option<Control>,
}

/// Listening sockets, one for each worker.
pub(crate) type Listeners = Vec<(ListenerSpec, Vec<TcpListener>)>;

/// Binds what a configuration names, once for each thread.
///
/// # Errors
/// The first address that cannot be had.
pub(crate) fn bind_all(
    specs: &[ListenerSpec],
    threads: usize,
    backlog: u32,
) -> Result<Listeners, String> {
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

impl Server {
    /// Adds a line to the main server's error log.
    pub(crate) fn log(&self, level: Level, message: &str) {
        if self.generation.main().levels.enabled("core", level) {
            self.generation
                .logs_of(0)
                .error
                .log(&Entry::new(level, "core", message.as_bytes()));
        }
    }

    /// The same at the level of what happens now and then.
    pub(crate) fn note(&self, message: &str) {
        self.log(Level::Notice, message);
    }

    /// Reads the configuration again and puts it in force, or leaves all as it
    /// is and says why, in the log and to whoever asks.
    pub(crate) fn reload(&mut self, read: Reader<'_>) -> Reloaded {
        match self.prepare(read).and_then(|(site, tls)| {
            let verdicts = fate::verdicts(&self.engine, &self.generation.site, &site);
            self.exchange(site, tls, &verdicts)?;
            Ok(verdicts)
        }) {
            Ok(verdicts) => {
                self.reloads += 1;
                self.note("AH00493: configuration read again; connections and tunnels go on");
                Reloaded::routes(&verdicts)
            }
            Err(message) => {
                self.reloads_failed += 1;
                for line in message.lines() {
                    self.log(Level::Error, line);
                }
                self.log(Level::Error, "the configuration was not changed");
                Reloaded::failed(message)
            }
        }
    }

    /// What [`Server::reload`] would do now.
    fn rehearse(&self, read: Reader<'_>) -> Reloaded {
        match self.prepare(read) {
            Ok((site, _)) => {
                Reloaded::routes(&fate::verdicts(&self.engine, &self.generation.site, &site))
            }
            Err(message) => Reloaded::failed(message),
        }
    }

    /// A site that could be put in force, as far as this can be known.
    fn prepare(&self, read: Reader<'_>) -> Result<(Site, SiteTls), String> {
        let configuration = read().map_err(describe)?;
        let sources = &configuration.loaded.sources;
        let tls = configuration::load_tls(&configuration, Some(&self.generation.tls));
        let tls = tls.map_err(|found| found.render(sources))?;
        let Some(site) = configuration.site else {
            return Err(configuration.diagnostics.render(sources));
        };
        if site.server.listeners.is_empty() {
            return Err("the configuration has no Listen".to_owned());
        }
        Ok((site, tls))
    }

    /// Answers the control socket.
    pub(crate) fn answer(&mut self, ask: Ask, read: Reader<'_>) {
        // Whoever has gone away needs no answer.
        match ask {
            Ask::Reload { dry_run, reply } => {
                let reloaded = if dry_run {
                    self.rehearse(read)
                } else {
                    self.reload(read)
                };
                let _ = reply.send(reloaded);
            }
            Ask::Status(reply) => drop(reply.send(self.status())),
        }
    }

    /// Answers the control socket while the process drains.
    pub(crate) fn answer_draining(&self, ask: Ask) {
        match ask {
            Ask::Reload { reply, .. } => {
                let why = "relais is ending and reads no configuration any more";
                let _ = reply.send(Reloaded::failed(why.to_owned()));
            }
            Ask::Status(reply) => drop(reply.send(self.status())),
        }
    }

    fn status(&self) -> Status {
        let started = self.started.elapsed().as_millis();
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(started).unwrap_or(u64::MAX),
            reloads: self.reloads,
            reloads_failed: self.reloads_failed,
            snapshots: self.generation.alive(),
            connections: self.connections(),
            tunnels: self.engine.open(),
            descriptors: limits::descriptors_open(),
            descriptors_max: limits::descriptors_max(),
        }
    }

    /// Whether any host has `SSLCertificateWatch on`.
    pub(crate) fn watches_certificates(&self) -> bool {
        self.generation.tls.watches()
    }

    /// Puts certificates that have changed in force, where `SSLCertificateWatch` says so. Connections and tunnels keep
    /// what they have.
    pub(crate) fn look_at_certificates(&self) {
        for renewal in self.generation.tls.look() {
            let name = &renewal.name;
            let (level, message) = match &renewal.problem {
                None => (
                    Level::Notice,
                    format!("the certificates of {name} were read again"),
                ),
                Some(problem) => (
                    Level::Error,
                    format!(
                        "{name} keeps its old certificates: {} [{}]",
                        problem.message, problem.code
                    ),
                ),
            };
            let entry = Entry::new(level, "ssl", message.as_bytes());
            self.generation.logs_of(renewal.host).error.log(&entry);
        }
    }

    fn exchange(&mut self, site: Site, tls: SiteTls, verdicts: &[Verdict]) -> Result<(), String> {
        for problem in tls.kept() {
            let message = format!("the certificate stays what it was: {}", problem.message);
            self.log(Level::Warn, &message);
        }
        let before = &self.generation.site.server;
        if fixed(before) != fixed(&site.server) {
            let message = "User, Group, PidFile and ListenBacklog change with the next start only";
            self.log(Level::Warn, message);
        }
        let (added, closed) = changed(&before.listeners, &site.server.listeners);
        let mut opened = if added.is_empty() {
            Vec::new()
        } else {
            bind_all(&added, self.workers.len(), self.backlog)?
        };
        let generation = Arc::new(self.logs.open(site, tls, Some(&self.generation))?);
        self.reopen_logs();
        self.generation = Arc::clone(&generation);
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
        let ended = fate::carry_out(&self.engine, verdicts);
        if ended > 0 {
            let tunnels = counted(ended, "tunnel");
            self.note(&format!("{tunnels} will be closed, as TunnelOnReload says"));
        }
        Ok(())
    }

    /// Opens the log files again by their names; one that cannot be opened
    /// stays what it is.
    pub(crate) fn reopen_logs(&self) {
        if let Err(message) = self.logs.reopen() {
            self.log(Level::Error, &message);
        }
    }

    /// Waits for the last connection and tunnel, as long as
    /// `GracefulShutdownTimeout` allows.
    pub(crate) async fn drain(&self) {
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
        let mut connections = self.connections();
        let open = |connections| self.engine.open() + connections;
        while open(connections) > 0 && end.is_none_or(|end| Instant::now() < end) {
            tokio::time::sleep(DRAIN_LOOK).await;
            let before = std::mem::replace(&mut connections, self.connections());
            if connections < before {
                // A request that was under way may have become a tunnel.
                fate::drain(&self.engine, &self.generation.site);
            }
        }
    }

    fn connections(&self) -> usize {
        self.workers.iter().map(WorkerHandle::connections).sum()
    }

    /// Ends everything and says what was closed.
    pub(crate) fn stop(&mut self) {
        let connections = self.connections();
        for worker in &self.workers {
            worker.tell(Command::Stop);
        }
        let tunnels = self.engine.stop(STOP_GRACE);
        for worker in self.workers.drain(..) {
            worker.join();
        }
        self.control = None;
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

/// What only a start changes.
fn fixed(spec: &ServerSpec) -> impl PartialEq + use<> {
    let ServerSpec {
        user,
        group,
        pid_file,
        backlog,
        ..
    } = spec.clone();
    (user, group, pid_file, backlog)
}

/// Which listeners are new, and which are gone.
fn changed(old: &[ListenerSpec], new: &[ListenerSpec]) -> (Vec<ListenerSpec>, Vec<ListenerSpec>) {
    let without = |from: &[ListenerSpec], other: &[ListenerSpec]| {
        let kept = from.iter().filter(|spec| !other.contains(spec));
        kept.copied().collect()
    };
    (without(new, old), without(old, new))
}

impl Reloaded {
    fn routes(verdicts: &[Verdict]) -> Self {
        Self {
            routes: verdicts.iter().map(RouteFate::from).collect(),
            error: None,
        }
    }

    fn failed(error: String) -> Self {
        Self {
            routes: Vec::new(),
            error: Some(error),
        }
    }
}

impl From<&Verdict> for RouteFate {
    fn from(verdict: &Verdict) -> Self {
        let names = verdict.route.names();
        let keeps = verdict.action == ReloadAction::Keep;
        let window = verdict.window().as_millis();
        Self {
            host: names.host.to_owned(),
            route: names.rule.to_owned(),
            place: names.place.to_owned(),
            target: names.target.to_owned(),
            origin: names.origin.to_owned(),
            tunnels: verdict.tunnels,
            fate: verdict.fate.as_str().to_owned(),
            action: verdict.action.as_str().to_owned(),
            window_ms: if keeps {
                0
            } else {
                u64::try_from(window).unwrap_or(u64::MAX)
            },
        }
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
    fn counts_read_well() {
        assert_eq!(counted(1, "tunnel"), "1 tunnel");
        assert_eq!(counted(0, "tunnel"), "0 tunnels");
    }

    #[test]
    fn listeners_are_added_kept_and_removed() {
        let [first, second, third] = [1, 2, 3].map(|port| ListenerSpec {
            address: ([127, 0, 0, 1], port).into(),
        });
        let (added, closed) = changed(&[first, second], &[second, third]);
        assert_eq!((added, closed), (vec![third], vec![first]));
    }
}
