//! Starts relais, or httpd with the same configuration file, on a port that the kernel picks, and stops it.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::wire::Conn;
use super::{Dir, PATIENCE, eventually, within};

/// Where Debian keeps the modules of httpd. relais does not open them.
const MODULES: &str = "/usr/lib/apache2/modules";

/// Debian's httpd.
const HTTPD: &str = "/usr/sbin/apache2";

/// A server that reads httpd's configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Relais,
    Httpd,
}

impl Program {
    /// The program's file.
    pub(crate) fn path(self) -> PathBuf {
        match self {
            Self::Httpd => HTTPD.into(),
            Self::Relais => std::env::var_os("RELAIS_TEST_PROGRAM")
                .map_or_else(|| env!("CARGO_BIN_EXE_relais").into(), PathBuf::from),
        }
    }
}

/// A configuration that is being tested: a folder, the file in it, and the address to listen on.
pub(crate) struct Site {
    pub(crate) dir: Dir,
    pub(crate) address: SocketAddr,
    program: Program,
    /// The limit of descriptors, if it is not that of the test.
    descriptors: Option<u32>,
}

impl Site {
    /// Writes the configuration `body` behind the lines that every test needs. In `body`, `LISTEN` stands for the
    /// address to listen on and `DIR` for the test's folder.
    pub(crate) fn new(program: Program, body: &str) -> Self {
        Self::at(free_address(), program, body)
    }

    /// The same with the address to listen on.
    pub(crate) fn at(address: SocketAddr, program: Program, body: &str) -> Self {
        let site = Self {
            dir: Dir::new(),
            address,
            program,
            descriptors: None,
        };
        site.configure(body);
        site
    }

    /// The same with so many descriptors at the most.
    pub(crate) fn with_descriptors(self, most: u32) -> Self {
        Self {
            descriptors: Some(most),
            ..self
        }
    }

    /// Replaces the configuration file.
    pub(crate) fn configure(&self, body: &str) {
        let text = format!("{}{body}\n", preamble());
        fs::write(self.file(), self.fill_in(&text)).expect("write the configuration");
    }

    fn fill_in(&self, text: &str) -> String {
        let dir = self.dir.path().display().to_string();
        text.replace("LISTEN", &self.address.to_string())
            .replace("DIR", &dir)
    }

    /// The configuration file.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.join("test.conf")
    }

    /// Runs the program on the configuration file with more arguments, and waits for its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.program.path());
        command
            .arg("-f")
            .arg(self.file())
            .args(arguments)
            .stdin(Stdio::null());
        command.output().expect("run the program")
    }

    /// Starts the program and waits until it accepts connections.
    pub(crate) fn start(mut self) -> Running {
        for _ in 0..5 {
            let mut child = self.spawn();
            let mut exited = false;
            let accepts = eventually(|| {
                exited = matches!(child.try_wait(), Ok(Some(_)));
                exited || TcpStream::connect(self.address).is_ok()
            });
            if accepts && !exited {
                return Running { site: self, child };
            }
            stop(&mut child);
            let said = self.said();
            assert!(
                said.contains("in use"),
                "{} did not start: {said}",
                self.program.path().display()
            );
            self.move_to(free_address());
        }
        panic!("every port that the kernel offered was taken by somebody else");
    }

    fn spawn(&self) -> Child {
        let output = fs::File::create(self.dir.join("output")).expect("create the output file");
        let program = self.program.path();
        let mut command = match self.descriptors {
            None => Command::new(program),
            Some(most) => {
                let mut shell = Command::new("sh");
                let line = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
                shell.arg("-c").arg(line).arg(program);
                shell
            }
        };
        command
            .arg("-f")
            .arg(self.file())
            .arg("-DFOREGROUND")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("share the output file"))
            .stderr(output)
            .spawn()
            .expect("start the program")
    }

    fn move_to(&mut self, address: SocketAddr) {
        let text = fs::read_to_string(self.file()).expect("read the configuration");
        let text = text.replace(&self.address.to_string(), &address.to_string());
        fs::write(self.file(), text).expect("write the configuration");
        self.address = address;
    }

    /// Everything that the program printed or logged.
    pub(crate) fn said(&self) -> String {
        self.dir.read("output") + &self.dir.read("error.log")
    }
}

/// A program that accepts connections. It is stopped when this is dropped.
pub(crate) struct Running {
    pub(crate) site: Site,
    child: Child,
}

impl Running {
    /// Starts relais with the configuration `body`.
    pub(crate) fn relais(body: &str) -> Self {
        Site::new(Program::Relais, body).start()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.site.address
    }

    /// A new connection to it.
    pub(crate) fn connect(&self) -> Conn {
        Conn::connect(self.site.address)
    }

    /// Sends a signal to the process that was started.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("send the signal");
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> Option<ExitStatus> {
        let mut status = None;
        eventually(|| {
            status = self.child.try_wait().expect("ask for the exit status");
            status.is_some()
        });
        status
    }

    /// Runs `-k command` and checks that it succeeds.
    pub(crate) fn control(&self, command: &str) {
        let output = self.site.run(&["-k", command]);
        assert!(
            output.status.success(),
            "-k {command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Waits until the error log or the output contains `text`.
    pub(crate) fn says(&self, text: &str) -> bool {
        eventually(|| self.site.said().contains(text))
    }

    /// Waits until the access log has this many lines, at most `count` lines that are there already included.
    pub(crate) fn access_log(&self, count: usize) -> Vec<String> {
        self.log("access.log", count)
    }

    /// The same of another log in the test's folder.
    pub(crate) fn log(&self, name: &str, count: usize) -> Vec<String> {
        let lines = || -> Vec<String> {
            self.site
                .dir
                .read(name)
                .lines()
                .map(str::to_owned)
                .collect()
        };
        within(PATIENCE / 4, || lines().len() >= count);
        lines()
    }

    /// Resident memory of the process in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or_default();
        line.trim()
            .trim_end_matches(" kB")
            .trim()
            .parse()
            .unwrap_or(0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.site.said());
        }
        stop(&mut self.child);
    }
}

/// Ends a process group: the leader is asked first, so that it can remove what it shares with others.
fn stop(child: &mut Child) {
    let group = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    let _ = kill(group, Signal::SIGTERM);
    within(PATIENCE / 20, || matches!(child.try_wait(), Ok(Some(_))));
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
}

/// An address of this machine on which nobody listened a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("ask the kernel for a port")
}

/// An address that refuses connections: nobody listens at this host of the loopback network, so that no other test can
/// come upon the port.
pub(crate) fn dead_address() -> String {
    format!("127.0.0.9:{}", free_address().port())
}

/// The first lines of every test's configuration.
fn preamble() -> String {
    let mut text = String::from(
        "ServerRoot DIR\nPidFile DIR/test.pid\nErrorLog DIR/error.log\nLogLevel info\nListen LISTEN\n\
         ServerName main.example\nUser www-data\nGroup www-data\n",
    );
    for module in [
        "mpm_event",
        "access_compat",
        "alias",
        "allowmethods",
        "authz_core",
        "authz_host",
        "env",
        "headers",
        "proxy",
        "proxy_http",
        "proxy_wstunnel",
        "rewrite",
        "setenvif",
    ] {
        text += &format!("LoadModule {module}_module {MODULES}/mod_{module}.so\n");
    }
    text + "StartServers 1\nServerLimit 4\nThreadsPerChild 64\nMaxRequestWorkers 256\nMinSpareThreads 1\n\
            LogFormat \"\\\"%r\\\" %>s %b %{Upgrade}i\" test\nCustomLog DIR/access.log test\n"
}
