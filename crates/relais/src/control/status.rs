//! `relais status`: how the running relais is.

use serde::{Deserialize, Serialize};

use super::Request;
use super::client::{ask, json, time};
use crate::cli::Arguments;
use crate::{Outcome, report};

/// How the process is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Status {
    /// Its number.
    pub(crate) pid: u32,
    /// relais' version.
    pub(crate) version: String,
    /// Milliseconds since the start.
    pub(crate) uptime_ms: u64,
    /// Reloads that have changed the configuration.
    pub(crate) reloads: u64,
    /// Reloads that have not, because it was wrong.
    pub(crate) reloads_failed: u64,
    /// Configurations in memory: the one in force, and those that a request
    /// still ends on.
    pub(crate) snapshots: usize,
    /// Open client connections, tunnels excepted.
    pub(crate) connections: usize,
    /// Open tunnels.
    pub(crate) tunnels: usize,
    /// Open descriptors.
    pub(crate) descriptors: u64,
    /// The most that there may be.
    pub(crate) descriptors_max: u64,
}

/// `relais status [--json]`.
///
/// # Errors
/// When no relais answers.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let answers: Vec<Status> = ask(arguments, &Request::Status)?;
    let Some(status) = answers.into_iter().next() else {
        return Err("relais has ended without an answer".into());
    };
    report::print(&if arguments.inquiry.is_json() {
        json(&status)
    } else {
        lines(&status)
    });
    Ok(())
}

/// `relais metrics`: tunnels, and the process.
///
/// # Errors
/// When no relais answers.
pub(crate) fn metrics(arguments: &Arguments) -> Outcome {
    let tunnels: Vec<String> = ask(arguments, &Request::Metrics)?;
    let status: Vec<Status> = ask(arguments, &Request::Status)?;
    let process: String = status.iter().map(families).collect();
    report::print(&(tunnels.concat() + &process));
    Ok(())
}

fn families(status: &Status) -> String {
    let gauge =
        |name: &str, value: u64| format!("# TYPE relais_{name} gauge\nrelais_{name} {value}\n");
    gauge("connections", status.connections as u64)
        + &gauge("snapshots", status.snapshots as u64)
        + &gauge("descriptors", status.descriptors)
        + &gauge("descriptors_max", status.descriptors_max)
        + &format!(
            "# TYPE relais_reloads_total counter\nrelais_reloads_total{{result=\"done\"}} {}\n\
             relais_reloads_total{{result=\"refused\"}} {}\n",
            status.reloads, status.reloads_failed
        )
}

fn lines(status: &Status) -> String {
    format!(
        "relais/{} pid {} up {}\n\
         reloads      {} ({} refused)\n\
         snapshots    {}\n\
         connections  {}\n\
         tunnels      {}\n\
         descriptors  {} of {}\n",
        status.version,
        status.pid,
        time(status.uptime_ms),
        status.reloads,
        status.reloads_failed,
        status.snapshots,
        status.connections,
        status.tunnels,
        status.descriptors,
        status.descriptors_max,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_fact() {
        let status = Status {
            pid: 7,
            version: "0.1.0".to_owned(),
            uptime_ms: 125_000,
            reloads: 3,
            reloads_failed: 1,
            snapshots: 2,
            connections: 4,
            tunnels: 5,
            descriptors: 30,
            descriptors_max: 20_000,
        };
        assert_eq!(
            lines(&status),
            "relais/0.1.0 pid 7 up 2m05s\nreloads      3 (1 refused)\nsnapshots    2\n\
             connections  4\ntunnels      5\ndescriptors  30 of 20000\n"
        );
    }
}
