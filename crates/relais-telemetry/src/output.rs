//! The open end of a log: a file, our standard error, or the pipe to a program.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::target::Target;

/// An open log.
#[derive(Debug)]
pub(crate) struct Output {
    target: Target,
    end: End,
}

#[derive(Debug)]
enum End {
    File(File),
    Program(Program),
}

impl Output {
    pub(crate) fn open(target: &Target) -> io::Result<Self> {
        let end = match target {
            Target::File(path) => End::File(open_file(path)?),
            Target::Stderr => End::File(standard(io::stderr())?),
            Target::Program(_) | Target::Shell(_) => End::Program(Program::start(target)?),
            Target::Syslog(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "logging to syslog is not supported",
                ));
            }
        };
        Ok(Self {
            target: target.clone(),
            end,
        })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Opens the file anew by its name. A program keeps running, as it does its own rotation.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        if let (End::File(file), Target::File(path)) = (&mut self.end, &self.target) {
            *file = open_file(path)?;
        }
        Ok(())
    }

    /// Restarts the program if it has died.
    pub(crate) fn tend(&mut self) -> io::Result<()> {
        match &mut self.end {
            End::File(_) => Ok(()),
            End::Program(program) => program.tend(&self.target),
        }
    }

    /// One write(2). `WouldBlock` means that the program is slow to read.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.end {
            End::File(file) => file.write(bytes),
            End::Program(program) => program.input.write(bytes),
        }
    }

    /// Waits until a program has read something, or for `limit`.
    pub(crate) fn wait(&self, limit: Duration) {
        let End::Program(program) = &self.end else {
            return;
        };
        let mut fds = [PollFd::new(&program.input, PollFlags::OUT)];
        let timeout = Timespec::try_from(limit).ok();
        // Whatever the answer, the next write tells.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
    }
}

/// A running log program and the pipe to it.
///
/// We keep the reading end too, and hand copies of it to the program: when it dies and is started again, what waits in
/// the pipe is not lost, and the byte stream goes on where it stopped.
#[derive(Debug)]
struct Program {
    input: PipeWriter,
    reader: PipeReader,
    child: Option<Child>,
    started: Instant,
}

impl Program {
    fn start(target: &Target) -> io::Result<Self> {
        let (reader, input) = io::pipe()?;
        // A program that does not read must not hold up the other logs. The flag belongs to the writing end alone.
        rustix::io::ioctl_fionbio(&input, true)?;
        let child = Some(spawn(target, &reader)?);
        Ok(Self {
            input,
            reader,
            child,
            started: Instant::now(),
        })
    }

    fn tend(&mut self, target: &Target) -> io::Result<()> {
        if let Some(child) = &mut self.child {
            if child.try_wait()?.is_none() {
                return Ok(());
            }
            self.child = None;
        }
        if self.started.elapsed() < RESTART_PAUSE {
            return Ok(());
        }
        self.started = Instant::now();
        self.child = Some(spawn(target, &self.reader)?);
        Ok(())
    }
}

impl Drop for Program {
    /// The program sees the end of its input and may take its time; it is collected later.
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            LEAVING
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(child);
        }
    }
}

/// Collects programs whose logs were closed, so that they do not stay as zombies.
pub(crate) fn collect_programs() {
    let mut leaving = LEAVING.lock().unwrap_or_else(PoisonError::into_inner);
    leaving.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
}

fn spawn(target: &Target, reader: &PipeReader) -> io::Result<Child> {
    let empty = || io::Error::new(io::ErrorKind::InvalidInput, "the log program has no name");
    let mut command = target.command().ok_or_else(empty)?;
    command.stdin(reader.try_clone()?);
    // A group of its own, so that a Ctrl-C meant for us does not take away the logs of our last requests.
    command.process_group(0);
    command.spawn()
}

fn open_file(path: &Path) -> io::Result<File> {
    // These may be a socket or belong to another user, and then cannot be opened by name.
    match path.to_str() {
        Some("/dev/stdout" | "/proc/self/fd/1") => return standard(io::stdout()),
        Some("/dev/stderr" | "/proc/self/fd/2") => return standard(io::stderr()),
        _ => {}
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .open(path)
}

fn standard(stream: impl AsFd) -> io::Result<File> {
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

static LEAVING: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// A program that dies at once is not started more often than this.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
