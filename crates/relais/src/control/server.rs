//! The server's side: one thread that answers one client after the other.

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use relais_tunnel::{EndReason, EngineHandle, Farewell, Filter};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;

use super::{Choice, Chosen, How, Refusal, Request, Row};
use crate::signals::Ask;

/// Bytes of a request at the most.
const REQUEST_MAX: u64 = 1 << 20;

/// How long a client may take to ask, or to read a part of its answer: others
/// wait behind it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The open socket; its file goes with it.
pub(crate) struct Control {
    path: PathBuf,
    listener: UnixListener,
}

impl Control {
    /// Opens the socket, for the user who starts relais alone. Nothing is
    /// answered before [`Control::serve`].
    ///
    /// # Errors
    /// When another process answers there, or the socket cannot be made.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| {
            format!("cannot open the control socket {}: {error}", path.display())
        };
        if UnixStream::connect(path).is_ok() {
            return Err(format!("another relais answers on {}", path.display()));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        // The mode has to hold from the first moment on; no other thread runs
        // yet that could make a file meanwhile.
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        Ok(Self {
            path: path.to_owned(),
            listener: listener.map_err(failed)?,
        })
    }

    /// Answers from now on.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn serve(&self, engine: EngineHandle, desk: UnboundedSender<Ask>) -> io::Result<()> {
        let listener = self.listener.try_clone()?;
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                for client in listener.incoming() {
                    match client {
                        // A client that goes away has its reasons.
                        Ok(client) => drop(answer(&client, &engine, &desk)),
                        Err(_) => thread::sleep(Duration::from_millis(100)),
                    }
                }
            })
            .map(drop)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // After a change of user it may have to stay; the next start takes it.
        let _ = fs::remove_file(&self.path);
    }
}

fn answer(
    client: &UnixStream,
    engine: &EngineHandle,
    desk: &UnboundedSender<Ask>,
) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(client.take(REQUEST_MAX)).read_line(&mut line)?;
    let mut out = BufWriter::new(client);
    match serde_json::from_str(&line) {
        Ok(Request::Tunnels { choice }) => tunnels(engine, choice, &mut out)?,
        Ok(Request::End { choice, how }) => {
            let chosen = end(engine, choice, how);
            put(&mut out, &Chosen { chosen })?;
        }
        Ok(Request::Reload { dry_run }) => {
            put_asked(&mut out, desk, |reply| Ask::Reload { dry_run, reply })?;
        }
        Ok(Request::Metrics) => put(&mut out, &relais_front::metrics::tunnels(engine))?,
        Ok(Request::Status) => put_asked(&mut out, desk, Ask::Status)?,
        Err(error) => refuse(&mut out, format!("not a request: {error}"))?,
    }
    out.flush()
}

fn put(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

fn refuse(out: &mut impl Write, error: String) -> io::Result<()> {
    put(out, &Refusal { error })
}

/// What the control thread answers.
fn put_asked<T: Serialize>(
    out: &mut impl Write,
    desk: &UnboundedSender<Ask>,
    ask: impl FnOnce(Sender<T>) -> Ask,
) -> io::Result<()> {
    let (reply, answer) = channel();
    // A failure to ask drops the sender, which ends the wait.
    let _ = desk.send(ask(reply));
    match answer.recv() {
        Ok(answer) => put(out, &answer),
        Err(_) => refuse(out, "relais is ending".to_owned()),
    }
}

fn filter(choice: Choice) -> Filter {
    Arc::new(move |tunnel| choice.holds(tunnel))
}

/// The engines send their tunnels in parts, between which they serve.
fn tunnels(engine: &EngineHandle, choice: Choice, out: &mut impl Write) -> io::Result<()> {
    for part in engine.tunnels(&filter(choice)) {
        let rows: Vec<Row> = part.iter().map(Row::from).collect();
        put(out, &rows)?;
    }
    Ok(())
}

fn end(engine: &EngineHandle, choice: Choice, how: How) -> usize {
    let reason = if how.drain {
        EndReason::Drained
    } else {
        EndReason::Kicked
    };
    let farewell = Farewell {
        reason,
        code: how.code,
        window: how.spread(),
        per_second: how.rate,
    };
    engine.bid_farewell(&filter(choice), farewell).iter().sum()
}
