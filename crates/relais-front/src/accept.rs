//! Accepting connections, and not accepting them while descriptors run out.
//!
//! A connection that is accepted with the last descriptor cannot reach its
//! origin. So accepting pauses a little before, new clients wait in the
//! kernel's queue, and what is open goes on.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use relais_telemetry::Level;
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpListener;

use crate::connection;
use crate::worker::{Counted, Worker};

/// How often it is looked whether there are descriptors again.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the log says so at the most.
const SAY: Duration = Duration::from_secs(10);

/// Descriptors that are left to origins, logs and reloads at the most.
const RESERVE_MAX: u64 = 64;

/// Accepts until the task is aborted.
pub(crate) async fn accept(worker: Rc<Worker>, listener: TcpListener) {
    let room = Room::new();
    let local = listener.local_addr().ok();
    // Only a listener of all addresses has to ask each connection for its own.
    let local = local.filter(|address| !address.ip().is_unspecified());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let is_short = room.is_short(stream.as_raw_fd());
                let counted = Counted::new(&worker);
                let serving = Rc::clone(&worker);
                tokio::task::spawn_local(async move {
                    let _counted = counted;
                    connection::serve(serving, stream, peer, local).await;
                });
                if is_short {
                    room.say(&worker, None);
                    room.wait(&listener).await;
                }
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                room.say(&worker, Some(&error));
                tokio::time::sleep(PAUSE).await;
                room.wait(&listener).await;
            }
        }
    }
}

/// Whether an accept failed because the client had gone already.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// What is known of the process's descriptors. The kernel gives out the lowest
/// number that is free, so that a high one says that few are left.
struct Room {
    limit: u64,
    said: Cell<Option<Instant>>,
}

impl Room {
    fn new() -> Self {
        Self {
            limit: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            said: Cell::new(None),
        }
    }

    /// Whether a new descriptor is one of the last.
    fn is_short(&self, number: RawFd) -> bool {
        let reserve = (self.limit / 8).min(RESERVE_MAX);
        u64::try_from(number).unwrap_or(0) >= self.limit.saturating_sub(reserve)
    }

    /// Waits until a new descriptor would not be one of the last.
    async fn wait(&self, any: &impl AsFd) {
        loop {
            match fcntl_dupfd_cloexec(any, 0) {
                Ok(probe) if !self.is_short(probe.as_raw_fd()) => return,
                Ok(_) | Err(Errno::MFILE | Errno::NFILE) => tokio::time::sleep(PAUSE).await,
                // Whatever this is, accepting will tell.
                Err(_) => return,
            }
        }
    }

    /// Says why accepting pauses, and what helps, now and then.
    fn say(&self, worker: &Worker, error: Option<&io::Error>) {
        let now = Instant::now();
        if self.said.get().is_some_and(|said| now < said + SAY) {
            return;
        }
        self.said.set(Some(now));
        let message = match error.map(|error| (Errno::from_io_error(error), error)) {
            None | Some((Some(Errno::MFILE), _)) => format!(
                "no descriptors for new connections: accepting pauses, what is open goes on; the limit is {}, raise \
                 LimitNOFILE= of the service or `ulimit -Hn`",
                self.limit
            ),
            Some((Some(Errno::NFILE), _)) => {
                "the system has no descriptors left: accepting pauses; raise fs.file-max".to_owned()
            }
            Some((_, error)) => format!("accept failed, trying again: {error}"),
        };
        worker.log(Level::Error, &message);
    }
}
