//! Batches of lines in memory, and the one thread that writes them.
//!
//! The thread that serves a request appends a line under a short lock and goes on. It wakes the writer only when the
//! batch was empty, so under load a line costs no system call. The writer waits [`BATCH_DELAY`] for more, then writes
//! each batch with one write(2). What cannot be written stays, up to [`BATCH_MAX`]; then lines are dropped and counted.
//!
//! The writer thread starts with the first line, so logs may be opened before the process forks or drops privileges.

use std::io::{self, Write as _};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Entry, ErrorLog};
use crate::levels::Level;
use crate::output::{self, Output};
use crate::target::Target;

/// A log's batch and its open end.
#[derive(Debug)]
pub(crate) struct Sink {
    batch: Mutex<Batch>,
    /// Held while writing; never while a request waits.
    drain: Mutex<Drain>,
}

/// What requests append to.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<u8>,
    /// Bytes the writer has taken and not yet written.
    taken: usize,
    dropped: u64,
}

/// What the writer works on.
#[derive(Debug)]
struct Drain {
    output: Output,
    bytes: Vec<u8>,
    /// How much of `bytes` is written.
    done: usize,
    warnings: Option<Arc<ErrorLog>>,
    last_warning: Option<Instant>,
}

/// How an attempt to write went.
#[derive(Debug)]
enum Outcome {
    Done,
    /// A program does not read.
    Blocked,
    Failed(io::Error),
}

impl Sink {
    pub(crate) fn open(target: &Target) -> io::Result<Arc<Self>> {
        let sink = Arc::new(Self {
            batch: Mutex::default(),
            drain: Mutex::new(Drain {
                output: Output::open(target)?,
                bytes: Vec::new(),
                done: 0,
                warnings: None,
                last_warning: None,
            }),
        });
        lock(&WRITER.sinks).push(Arc::downgrade(&sink));
        Ok(sink)
    }

    /// Warnings about this log go to `log`, otherwise to standard error.
    pub(crate) fn warn_to(&self, log: Arc<ErrorLog>) {
        lock(&self.drain).warnings = Some(log);
    }

    /// Appends a line, with a newline if it has none. False if it had to be dropped.
    pub(crate) fn push(&self, line: &[u8], urgent: bool) -> bool {
        let ended = line.ends_with(b"\n");
        let mut batch = lock(&self.batch);
        let before = batch.lines.len();
        if before + batch.taken + line.len() >= BATCH_MAX {
            batch.dropped += 1;
            return false;
        }
        batch.lines.extend_from_slice(line);
        if !ended {
            batch.lines.push(b'\n');
        }
        let full = before < BATCH_WRITE && batch.lines.len() >= BATCH_WRITE;
        drop(batch);
        if urgent || full || before == 0 {
            self.wake(urgent || full);
        }
        true
    }

    fn wake(&self, now: bool) {
        if !WRITER.wake(now) {
            // Without a thread in the background, whoever logs has to write.
            self.write_batch();
        }
    }

    /// Writes everything appended so far, waiting a little for a slow program.
    pub(crate) fn flush(&self) -> io::Result<()> {
        for _ in 0..FLUSH_ATTEMPTS {
            match self.write_batch() {
                Outcome::Done => return Ok(()),
                Outcome::Failed(error) => return Err(error),
                Outcome::Blocked => lock(&self.drain).output.wait(FLUSH_WAIT),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Opens the log anew by its name. Lines appended before go to the old file where that is possible, and no line is
    /// divided between the two.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let mut drain = lock(&self.drain);
        let outcome = self.write_with(&mut drain);
        drain.output.reopen()?;
        if let Outcome::Failed(_) = outcome {
            drain.rewind_to_line();
        }
        Ok(())
    }

    /// Lines dropped so far and not yet reported.
    pub(crate) fn dropped(&self) -> u64 {
        lock(&self.batch).dropped
    }

    fn write_batch(&self) -> Outcome {
        self.write_with(&mut lock(&self.drain))
    }

    fn write_with(&self, drain: &mut Drain) -> Outcome {
        let tended = drain.output.tend();
        let mut outcome = drain.write();
        if let Outcome::Done = outcome {
            self.take(drain);
            outcome = drain.write();
        }
        let mut batch = lock(&self.batch);
        batch.taken = drain.bytes.len() - drain.done;
        let problem = match (&outcome, &tended) {
            (Outcome::Failed(error), _) | (_, Err(error)) => Some(error),
            _ => None,
        };
        if (problem.is_some() || batch.dropped > 0)
            && let Some(text) = drain.warning(problem, batch.dropped)
        {
            batch.dropped = 0;
            // The warning may go to a log of the same kind; it must not find this one locked.
            drop(batch);
            drain.warn(&text);
        }
        outcome
    }

    /// Moves the batch to the writer's side; the two buffers swap places, so neither is allocated anew.
    fn take(&self, drain: &mut Drain) {
        drain.bytes.clear();
        drain.bytes.shrink_to(BUFFER_KEPT);
        drain.done = 0;
        let mut batch = lock(&self.batch);
        mem::swap(&mut batch.lines, &mut drain.bytes);
        batch.taken = drain.bytes.len();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Nobody is left to hear of an error; it has been warned of.
        let _ = self.flush();
    }
}

impl Drain {
    fn write(&mut self) -> Outcome {
        while let Some(rest) = self.bytes.get(self.done..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(0) => return Outcome::Failed(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.done += written,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return Outcome::Blocked,
                    _ => return Outcome::Failed(error),
                },
            }
        }
        Outcome::Done
    }

    /// Goes back to the beginning of a half-written line, for a file that has not seen its first half.
    fn rewind_to_line(&mut self) {
        let written = self.bytes.get(..self.done).unwrap_or_default();
        self.done = written
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
    }

    /// The warning to give now, or none if the last one is not a minute old.
    fn warning(&mut self, problem: Option<&io::Error>, dropped: u64) -> Option<String> {
        let now = Instant::now();
        if self
            .last_warning
            .is_some_and(|last| now.duration_since(last) < WARNING_PAUSE)
        {
            return None;
        }
        self.last_warning = Some(now);
        let mut text = format!("log {}", self.output.target());
        match problem {
            Some(error) => text.push_str(&format!(" cannot be written: {error}")),
            None => text.push_str(" is not written fast enough"),
        }
        if dropped > 0 {
            text.push_str(&format!("; {dropped} lines were dropped"));
        }
        Some(text)
    }

    fn warn(&self, text: &str) {
        match &self.warnings {
            Some(log) => log.log(&Entry::new(Level::Error, "log_config", text.as_bytes())),
            None => {
                let _ = writeln!(io::stderr(), "relais: {text}");
            }
        }
    }
}

/// Writes every open log, for the end of the process. Errors have been warned of and are not repeated.
pub fn flush_all() {
    for sink in WRITER.sinks() {
        let _ = sink.flush();
    }
}

/// The writer thread's side of the wake-up.
struct Writer {
    sinks: Mutex<Vec<Weak<Sink>>>,
    wanted: Mutex<Wanted>,
    changed: Condvar,
    started: OnceLock<bool>,
}

#[derive(Default)]
struct Wanted {
    soon: bool,
    now: bool,
}

impl Writer {
    /// Asks the writer to write, after the usual delay or `now`. False if there is no writer.
    fn wake(&'static self, now: bool) -> bool {
        if !*self.started.get_or_init(|| self.start()) {
            return false;
        }
        let mut wanted = lock(&self.wanted);
        let news = !wanted.now && (now || !wanted.soon);
        wanted.soon = true;
        wanted.now |= now;
        drop(wanted);
        if news {
            self.changed.notify_one();
        }
        true
    }

    fn start(&'static self) -> bool {
        thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(|| self.run())
            .is_ok()
    }

    fn run(&self) {
        let mut again = false;
        loop {
            self.wait(again);
            again = false;
            for sink in self.sinks() {
                again |= !matches!(sink.write_batch(), Outcome::Done);
            }
            output::collect_programs();
        }
    }

    /// Waits for the first line of a batch, then for the rest of it. After a failure there is something to write already.
    fn wait(&self, again: bool) {
        let mut wanted = lock(&self.wanted);
        if !again {
            let idle = |wanted: &mut Wanted| !wanted.soon && !wanted.now;
            wanted = self
                .changed
                .wait_while(wanted, idle)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let (mut wanted, _) = self
            .changed
            .wait_timeout_while(wanted, BATCH_DELAY, |wanted| !wanted.now)
            .unwrap_or_else(PoisonError::into_inner);
        *wanted = Wanted::default();
    }

    fn sinks(&self) -> Vec<Arc<Sink>> {
        let mut sinks = lock(&self.sinks);
        sinks.retain(|sink| sink.strong_count() > 0);
        sinks.iter().filter_map(Weak::upgrade).collect()
    }
}

/// A thread that panicked while it held the lock has left nothing half done that matters to a log.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static WRITER: Writer = Writer {
    sinks: Mutex::new(Vec::new()),
    wanted: Mutex::new(Wanted {
        soon: false,
        now: false,
    }),
    changed: Condvar::new(),
    started: OnceLock::new(),
};

/// How long the first line of a batch waits for others.
const BATCH_DELAY: Duration = Duration::from_millis(200);

/// A batch of this size does not wait.
const BATCH_WRITE: usize = 64 * 1024;

/// Memory a log that cannot be written may take, in bytes.
pub(crate) const BATCH_MAX: usize = 4 * 1024 * 1024;

/// What a buffer keeps of its room after a burst.
const BUFFER_KEPT: usize = 4 * BATCH_WRITE;

/// At most one warning per log in this time.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// How often, and how long each time, `flush` waits for a program to read.
const FLUSH_ATTEMPTS: u32 = 20;
const FLUSH_WAIT: Duration = Duration::from_millis(100);
