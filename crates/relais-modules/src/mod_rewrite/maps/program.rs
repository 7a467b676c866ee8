//! `RewriteMap … prg:`: a program that is asked by a key on a line of its
//! input and answers with the value on a line of its output, `NULL` for none.
//!
//! It is started when it is first asked, and again when it has ended. Requests
//! take turns. One that gets no answer in time goes on without: the program is
//! ended, since what it said later would be taken for the next one's answer.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use relais_policy::Lookup;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Answer;

/// A program, whether it runs or not.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    turns: Mutex<Turns>,
    /// Someone's turn is over.
    over: Condvar,
}

#[derive(Default)]
struct Turns {
    /// Whether someone has the program.
    taken: bool,
    /// Look-ups that wait for their turn.
    waiting: usize,
    /// The program, while nobody has it and it runs.
    running: Option<Running>,
}

/// Look-ups that wait for their turn at the most. Each of them has a thread,
/// which other work needs too.
const WAITING_MAX: usize = 64;

/// Bytes of a value at the most.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Bytes that fit into a pipe that can be written to at all.
const PIECE: usize = 4096;

/// The end of a look-up's time.
#[derive(Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Why an exchange of a key for a value failed.
#[derive(Debug)]
enum Failure {
    /// The program did not read or write in time.
    TimedOut,
    /// It has ended, or could not be started.
    Gone(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl Program {
    pub(super) fn new(path: PathBuf, arguments: Vec<String>) -> Self {
        Self {
            path,
            arguments,
            turns: Mutex::default(),
            over: Condvar::new(),
        }
    }

    /// By what the answer for `key` is found.
    pub(super) fn wait_key(&self, name: &[u8], key: &[u8]) -> Vec<u8> {
        [b"rewrite-prg:", name, b":", key].concat()
    }

    /// The work of asking for `key`.
    pub(super) fn ask(
        self: &Arc<Self>,
        wait_key: Vec<u8>,
        key: &[u8],
        timeout: Duration,
    ) -> Lookup {
        let program = Arc::clone(self);
        let key = key.to_vec();
        Lookup::new(wait_key, move || program.answer(&key, timeout))
    }

    /// Asks the program, and once more if it turns out to have ended.
    pub(super) fn answer(&self, key: &[u8], timeout: Duration) -> Answer {
        // A key of two lines would be two questions.
        if key.contains(&b'\n') {
            return Answer::Nothing;
        }
        let deadline = Deadline::after(timeout);
        let mut running = match self.take(deadline) {
            Ok(running) => running,
            Err(why) => return self.failed(why),
        };
        let mut answer = Answer::Nothing;
        for _ in 0..2 {
            match self.exchange(&mut running, key, deadline) {
                Ok(value) if value.eq_ignore_ascii_case(b"NULL") => break,
                Ok(value) => {
                    answer = Answer::Value(value);
                    break;
                }
                Err(failure) => {
                    running = None;
                    answer = match failure {
                        Failure::TimedOut => {
                            let within = timeout.as_secs_f32();
                            self.failed(format!("no answer within {within} s"))
                        }
                        Failure::Gone(error) => Answer::Gone(self.message(&error)),
                    };
                    if matches!(answer, Answer::Failed(_)) {
                        break;
                    }
                }
            }
        }
        self.give_back(running);
        answer
    }

    fn exchange(
        &self,
        running: &mut Option<Running>,
        key: &[u8],
        deadline: Deadline,
    ) -> Result<Vec<u8>, Failure> {
        match running {
            Some(running) => running.exchange(key, deadline),
            None => {
                let started = Running::start(&self.path, &self.arguments)?;
                running.insert(started).exchange(key, deadline)
            }
        }
    }

    /// Waits for this look-up's turn.
    fn take(&self, deadline: Deadline) -> Result<Option<Running>, String> {
        let mut turns = self.turns();
        if turns.waiting >= WAITING_MAX {
            return Err(format!("{WAITING_MAX} look-ups wait for it already"));
        }
        turns.waiting += 1;
        while turns.taken {
            let left = deadline.left();
            if left.is_zero() {
                turns.waiting -= 1;
                return Err("it was busy with other look-ups all the time".to_owned());
            }
            let woken = self.over.wait_timeout(turns, left);
            turns = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        turns.waiting -= 1;
        turns.taken = true;
        Ok(turns.running.take())
    }

    fn give_back(&self, running: Option<Running>) {
        let mut turns = self.turns();
        turns.taken = false;
        turns.running = running;
        self.over.notify_one();
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, why: impl fmt::Display) -> Answer {
        Answer::Failed(self.message(why))
    }

    fn message(&self, why: impl fmt::Display) -> String {
        format!("RewriteMap prg:{}: {why}", self.path.display())
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({})", self.path.display())
    }
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Running {
    fn start(program: &Path, arguments: &[String]) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        Ok(Self {
            child,
            input,
            output,
        })
    }

    fn exchange(&mut self, key: &[u8], deadline: Deadline) -> Result<Vec<u8>, Failure> {
        // What it says unasked would be taken for the answer.
        let mut output = [PollFd::new(&self.output, PollFlags::IN)];
        if poll(&mut output, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            return Err(io::Error::other("it has ended, or said what nobody asked").into());
        }
        let line = [key, b"\n"].concat();
        for piece in line.chunks(PIECE) {
            ready(PollFd::new(&self.input, PollFlags::OUT), deadline)?;
            self.input.write_all(piece)?;
        }
        let mut value = Vec::new();
        loop {
            ready(PollFd::new(&self.output, PollFlags::IN), deadline)?;
            let mut piece = [0; PIECE];
            let count = self.output.read(&mut piece)?;
            value.extend_from_slice(piece.get(..count).unwrap_or_default());
            if let Some(end) = value.iter().position(|&byte| byte == b'\n') {
                // More than a line would be the next one's answer.
                if end + 1 < value.len() {
                    return Err(io::Error::other("it said more than one line").into());
                }
                value.truncate(end);
                return Ok(value);
            }
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if value.len() > VALUE_BYTES_MAX {
                return Err(io::Error::other("its line is too long").into());
            }
        }
    }
}

/// Waits until a pipe can be read or written, or has no other end any more.
fn ready(fd: PollFd<'_>, deadline: Deadline) -> Result<(), Failure> {
    let mut fds = [fd];
    loop {
        let left = Timespec::try_from(deadline.left()).ok();
        match poll(&mut fds, left.as_ref()) {
            Ok(0) => return Err(Failure::TimedOut),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for any machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Program {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        Program::new("/bin/sh".into(), arguments)
    }

    fn ask(program: &Program, key: &str) -> Option<String> {
        match program.answer(key.as_bytes(), PATIENCE) {
            Answer::Value(value) => Some(String::from_utf8_lossy(&value).into_owned()),
            Answer::Nothing | Answer::Gone(_) => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_program_is_started_once_and_again_when_it_has_ended() {
        let program = shell(
            "n=0; while read k; do n=$((n+1)); case $k in \
             none) echo NULL;; end) exit;; *) echo $k-$n;; esac; done",
        );
        assert_eq!(ask(&program, "a").as_deref(), Some("a-1"));
        assert_eq!(ask(&program, "b").as_deref(), Some("b-2"));
        assert_eq!(ask(&program, "none"), None);
        assert_eq!(ask(&program, "x\ny"), None);
        assert_eq!(ask(&program, "end"), None);
        assert_eq!(ask(&program, "c").as_deref(), Some("c-1"));
    }

    #[test]
    fn a_program_that_says_nothing_is_ended_and_started_again() {
        let program = shell("while read k; do case $k in mute) ;; *) echo $k-$$;; esac; done");
        let first = ask(&program, "a");
        let mute = program.answer(b"mute", Duration::from_millis(50));
        assert!(
            matches!(&mute, Answer::Failed(why) if why.contains("no answer within 0.05 s")),
            "{mute:?}"
        );
        let second = ask(&program, "a");
        assert!(second.is_some() && second != first, "{first:?} {second:?}");
    }

    #[test]
    fn look_ups_take_turns_until_their_time_is_over() {
        let program = Arc::new(shell(
            "while read k; do case $k in mute) ;; *) echo $k;; esac; done",
        ));
        let other = Arc::clone(&program);
        let mute = std::thread::spawn(move || other.answer(b"mute", Duration::from_secs(1)));
        while !program.turns().taken {
            std::thread::yield_now();
        }
        let busy = program.answer(b"a", Duration::from_millis(20));
        assert!(
            matches!(&busy, Answer::Failed(why) if why.contains("busy")),
            "{busy:?}"
        );
        assert_eq!(ask(&program, "b").as_deref(), Some("b"));
        assert!(matches!(mute.join().unwrap(), Answer::Failed(_)));
    }

    #[test]
    fn lines_that_answer_nothing() {
        assert_eq!(ask(&shell("read k; printf 'a\\nb\\n'"), "k"), None);
        assert_eq!(ask(&shell("read k; printf %070000d 1"), "k"), None);
        assert_eq!(
            ask(&Program::new("/nonexistent".into(), Vec::new()), "k"),
            None
        );
        let long = "x".repeat(3 * PIECE);
        let echo = shell("while read k; do echo $k; done");
        assert_eq!(ask(&echo, &long), Some(long));
    }
}
