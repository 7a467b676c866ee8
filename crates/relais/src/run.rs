//! Starting, and hearing what is to be done until the end.
//!
//! One control thread reads the configuration and hears the signals; workers
//! and engines do the rest.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use relais_front::{WorkerHandle, listen};
use relais_modules::Configuration;
use relais_telemetry::Level;
use relais_tunnel::{Engine, EngineHandle};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::MissedTickBehavior;

use crate::cli::Arguments;
use crate::configuration;
use crate::control::{self, Control};
use crate::demo::{self, Origin};
use crate::logs::Logs;
use crate::process::{self, PidFile};
use crate::server::{Reader, Server, bind_all};
use crate::signals::{Ask, Ears, Heard};
use crate::{Failure, Outcome, limits, privileges};

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
    let (mut server, pid_file) = start(configuration, threads, &ears.desk)?;
    if arguments.detached {
        process::tell_ready().map_err(|error| format!("nobody waits for the start: {error}"))?;
    }
    serve(ears, &mut server, &|| configuration::read_again(arguments));
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
    let (mut server, _) = start(read()?, cores(), &ears.desk)?;
    announce(&text, address);
    serve(ears, &mut server, &read);
    Ok(())
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
    desk: &UnboundedSender<Ask>,
) -> Result<(Server, Option<PidFile>), Failure> {
    let tls = configuration::load_tls(&configuration, None);
    let (Some(site), Ok(tls)) = (configuration.site, tls) else {
        return Err(Failure::Told);
    };
    limits::raise();
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
    let (control, deaf) = answer_on(control, &engine, desk);
    let server = Server {
        workers,
        engine,
        logs,
        generation,
        backlog,
        started: Instant::now(),
        reloads: 0,
        reloads_failed: 0,
        control,
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
    server.note(&limits::describe());
    Ok((server, pid_file))
}

/// Has the control socket answered, if there is one; without it relais serves
/// all the same, and says why.
fn answer_on(
    control: Option<Result<Control, String>>,
    engine: &EngineHandle,
    desk: &UnboundedSender<Ask>,
) -> (Option<Control>, Option<String>) {
    match control {
        None => (None, None),
        Some(Err(why)) => (None, Some(why)),
        Some(Ok(control)) => match control.serve(engine.clone(), desk.clone()) {
            Ok(()) => (Some(control), None),
            Err(error) => (
                None,
                Some(format!("nobody answers on the control socket: {error}")),
            ),
        },
    }
}

/// How often `SSLCertificateWatch` looks at its files.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(1);

/// Hears signals until one ends the process.
fn serve(ears: Ears, server: &mut Server, read: Reader<'_>) {
    let Ears {
        runtime,
        mut signals,
        ..
    } = ears;
    runtime.block_on(async {
        let mut looks = tokio::time::interval(CERTIFICATE_LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                heard = signals.next() => heard,
                _ = looks.tick(), if server.watches_certificates() => {
                    server.look_at_certificates();
                    continue;
                }
            };
            match heard {
                Heard::Stop => return,
                Heard::Drain => break,
                Heard::Reload => drop(server.reload(read)),
                Heard::Reopen => {
                    server.reopen_logs();
                    server.note("log files opened again");
                }
                Heard::Asked(ask) => server.answer(ask, read),
            }
        }
        // A drain may last as long as a tunnel; it can be cut short.
        let stopped = async {
            loop {
                match signals.next().await {
                    Heard::Stop => return,
                    Heard::Reopen => server.reopen_logs(),
                    Heard::Asked(ask) => server.answer_draining(ask),
                    Heard::Drain | Heard::Reload => {}
                }
            }
        };
        tokio::select! {
            () = server.drain() => {}
            () = stopped => {}
        }
    });
    server.stop();
}

#[cfg(test)]
mod tests {
    use relais_policy::ListenerSpec;

    use super::*;

    #[test]
    fn every_thread_gets_a_socket_of_every_listener() {
        let free = settle(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listeners = bind_all(&[ListenerSpec { address: free }], 3, 16).unwrap();
        assert_eq!((listeners.len(), listeners[0].1.len()), (1, 3));
        assert!(bind_all(&[], 3, 16).unwrap_err().contains("no Listen"));
    }
}
