//! System calls per operation, as strace counts them.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::load::{self, Connectors};
use crate::peers::Running;
use crate::process;
use crate::scenario::Scenario;

/// How often each call is made in one operation.
#[derive(Debug)]
pub(crate) struct Calls(Vec<(String, f64)>);

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: f64 = self.0.iter().map(|(_, count)| count).sum();
        write!(f, "{all:.2}:")?;
        let often = self.0.iter().filter(|(_, count)| *count >= 0.01);
        often
            .into_iter()
            .try_for_each(|(name, count)| write!(f, " {name} {count:.2}"))
    }
}

/// Counts the calls of a proxy while it works.
pub(crate) fn count(
    scenario: &Scenario,
    running: &Running,
    tls: &Connectors,
    folder: &Path,
) -> io::Result<Calls> {
    let client = scenario.client(running, tls);
    let file = folder.join("strace");
    let count = scenario.count().min(OPERATIONS_MAX);
    load::run(async {
        let mut tunnels = scenario.prepare(&client).await?;
        let trace = Trace::start(running, &file)?;
        let done = scenario.operate(&client, &mut tunnels, count).await;
        trace.stop()?;
        done
    })?;
    Ok(Calls(parse(&std::fs::read_to_string(&file)?, count)))
}

/// strace at work.
struct Trace(Child);

impl Trace {
    fn start(running: &Running, file: &Path) -> io::Result<Self> {
        let mut command = Command::new("strace");
        command
            .args(["-c", "-f", "-U", "calls,errors,name", "-o"])
            .arg(file);
        for thread in process::threads(running.pid()) {
            command.args(["-p", &thread.to_string()]);
        }
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // It tells nobody when it has attached itself to all.
        std::thread::sleep(Duration::from_millis(700));
        Ok(Self(child))
    }

    fn stop(mut self) -> io::Result<()> {
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status()?;
        self.0.wait().map(drop)
    }
}

/// Reads the lines of `strace -c -U calls,errors,name`; calls that failed, which most often found nothing to do, are
/// counted too.
fn parse(text: &str, operations: usize) -> Vec<(String, f64)> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let count: f64 = words.next()?.parse().ok()?;
        let name = words.last()?;
        (name != "total").then(|| (name.to_owned(), count / operations as f64))
    };
    let mut calls: Vec<(String, f64)> = text.lines().filter_map(line).collect();
    calls.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    calls
}

/// Operations that are watched at the most; a watched proxy is slow.
const OPERATIONS_MAX: usize = 1000;

#[test]
fn what_strace_prints() {
    let text = "\
    calls    errors syscall
--------- --------- ----------------
     2000        10 recvfrom
       30           epoll_wait
--------- --------- ----------------
     2030        10 total
";
    let calls = Calls(parse(text, 1000));
    assert_eq!(calls.to_string(), "2.03: recvfrom 2.00 epoll_wait 0.03");
}
