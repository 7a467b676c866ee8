//! The process as others see it: its pid file, the background, and the
//! signals that `-k` sends.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::{Arguments, Order};
use crate::{Failure, Outcome, configuration};

/// What the background process says on its standard output once it serves.
const READY: &str = "ready";

/// How long `-k stop` waits for the process to be gone.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// The pid file, removed when the process ends.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes our number.
    ///
    /// # Errors
    /// When another relais lives under this file, or it cannot be written.
    pub(crate) fn write(path: &Path) -> Result<Self, String> {
        if let Some(pid) = read(path).filter(|&pid| pid != Pid::this() && is_alive(pid)) {
            return Err(format!(
                "relais (pid {pid}) is already running, says {}",
                path.display()
            ));
        }
        fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|error| format!("cannot write PidFile {}: {error}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Whoever started after us may own it by now. After the change of user
        // we may not be allowed to remove it: then the number stays, which the
        // next start sees to be stale. An emptied file would stop httpd.
        if read(&self.0) == Some(Pid::this()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

fn read(path: &Path) -> Option<Pid> {
    let number: i32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    // 0, 1 and what is below name groups or everybody, never a relais.
    (number > 1).then(|| Pid::from_raw(number))
}

fn is_alive(pid: Pid) -> bool {
    // A process that may not be signalled is there nevertheless; one that has
    // ended and whose parent has not asked for it yet is not.
    !matches!(kill(pid, None), Err(nix::errno::Errno::ESRCH)) && !is_zombie(pid)
}

/// The state behind the name in `/proc/PID/stat` (proc_pid_stat(5)).
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    state.is_some_and(|state| state.starts_with('Z'))
}

/// `-k stop|graceful|restart|graceful-stop`. The configuration is checked
/// before a reload is asked for, so that a mistake is told here.
pub(crate) fn signal(arguments: &Arguments, order: Order) -> Outcome {
    let configuration = configuration::read(arguments)?;
    let Some(site) = &configuration.site else {
        configuration::print(&configuration, arguments);
        return Err(Failure::Told);
    };
    let path = site.server.pid_file.clone().ok_or("there is no PidFile")?;
    let pid = read(&path).filter(|&pid| is_alive(pid));
    let Some(pid) = pid else {
        return match order {
            Order::Graceful | Order::Restart => {
                eprintln!("relais is not running, trying to start");
                background(arguments)
            }
            Order::Stop | Order::GracefulStop | Order::Reopen => {
                Err(format!("no relais runs under {}", path.display()).into())
            }
        };
    };
    let signal = match order {
        Order::Stop => Signal::SIGTERM,
        Order::Graceful => Signal::SIGUSR1,
        Order::Restart => Signal::SIGHUP,
        Order::GracefulStop => Signal::SIGWINCH,
        Order::Reopen => Signal::SIGUSR2,
    };
    kill(pid, signal).map_err(|error| format!("cannot signal pid {pid}: {error}"))?;
    if order == Order::Stop {
        wait_for_end(pid)?;
    }
    Ok(())
}

fn wait_for_end(pid: Pid) -> Outcome {
    let end = Instant::now() + STOP_PATIENCE;
    while is_alive(pid) {
        if Instant::now() > end {
            return Err(format!("pid {pid} is still there").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// `-k start`: starts this program again without a terminal and waits until it
/// serves. Forking would need code that the compiler cannot check.
pub(crate) fn background(arguments: &Arguments) -> Outcome {
    let configuration = configuration::read(arguments)?;
    configuration::print(&configuration, arguments);
    if configuration.site.is_none() {
        return Err(Failure::Told);
    }
    let program =
        std::env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
    let mut child = Command::new(program)
        .arg("--detached")
        .args(without_order(std::env::args_os().skip(1)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start: {error}"))?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        // Without a line the child has ended, and has said why.
        let _ = BufReader::new(output).read_line(&mut line);
    }
    if line.trim() == READY {
        Ok(())
    } else {
        Err(Failure::Told)
    }
}

/// The arguments without `-k start`.
fn without_order(arguments: impl Iterator<Item = std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    let mut kept = Vec::new();
    let mut value_follows = false;
    for argument in arguments {
        if value_follows {
            value_follows = false;
        } else if argument == "-k" {
            value_follows = true;
        } else if argument != "-kstart" {
            kept.push(argument);
        }
    }
    kept
}

/// Leaves the terminal's session.
pub(crate) fn detach() {
    // It fails only for a process that leads its group already, and that is
    // what is wanted.
    let _ = nix::unistd::setsid();
}

/// Tells the process that waits in [`background`] that we serve.
///
/// # Errors
/// When nobody reads.
pub(crate) fn tell_ready() -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{READY}")?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_left_out() {
        let kept = without_order(
            ["-f", "a", "-k", "start", "-DX", "-kstart"]
                .into_iter()
                .map(Into::into),
        );
        assert_eq!(kept, ["-f", "a", "-DX"]);
    }

    #[test]
    fn a_stale_pid_file_is_no_obstacle() {
        let path = std::env::temp_dir().join(format!("relais-pid-{}", std::process::id()));
        // Above the kernel's largest process number.
        fs::write(&path, "999999999\n").unwrap();
        let file = PidFile::write(&path).unwrap();
        assert_eq!(read(&path), Some(Pid::this()));
        drop(file);
        assert!(!path.exists());
        // Somebody who is alive for sure.
        fs::write(&path, format!("{}\n", nix::unistd::getppid())).unwrap();
        assert!(PidFile::write(&path).is_err_and(|message| message.contains("already running")));
        fs::remove_file(&path).unwrap();
    }
}
