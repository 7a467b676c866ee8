//! Compares the cost of relais with that of other proxies on this machine.
//!
//! Every proxy that is installed runs with an equivalent configuration, alone on the first CPU; the origin and the
//! load share the second one. The proxies take turns, so that what the machine does beside touches all of them alike.
//! Numbers are CPU time and memory of the proxy's processes, which depend less on the machine than rates do.

mod config;
mod load;
mod origin;
mod process;
mod proxies;
mod rewrite;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use proxies::{Proxy, Running};

/// What is measured of one proxy in one round.
#[derive(Default)]
struct Costs {
    get: Vec<f64>,
    echo: Vec<f64>,
    handshake: Vec<f64>,
    tunnel_kib: Vec<f64>,
}

/// What the command line asks for.
struct Plan {
    relais: Option<PathBuf>,
    rounds: usize,
    scale: usize,
    tunnels: usize,
    /// Measure rewrite rules instead of the rest.
    rewrite: bool,
    /// Measure how a large configuration is read instead of the rest.
    config: bool,
}

fn main() -> ExitCode {
    if std::env::var_os(PLACED).is_none() {
        return place();
    }
    let result = Plan::read(std::env::args_os().skip(1)).and_then(|plan| plan.run());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relais-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again on the second CPU with all the descriptors that it may have.
fn place() -> ExitCode {
    let script = "ulimit -n $(ulimit -Hn); exec taskset --cpu-list 1 \"$0\" \"$@\"";
    let own = std::env::current_exe().unwrap_or_default();
    let mut command = Command::new("sh");
    let error = command
        .args(["-c", script])
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(PLACED, "1")
        .exec();
    eprintln!("relais-bench: {error}");
    ExitCode::FAILURE
}

impl Plan {
    fn read(mut arguments: impl Iterator<Item = OsString>) -> io::Result<Self> {
        let mut plan = Self {
            relais: None,
            rounds: 5,
            scale: 10,
            tunnels: 4000,
            rewrite: false,
            config: false,
        };
        while let Some(name) = arguments.next() {
            if name == "--rewrite" {
                plan.rewrite = true;
                continue;
            }
            if name == "--config" {
                plan.config = true;
                continue;
            }
            let value = arguments.next().unwrap_or_default();
            let number = || {
                value
                    .to_str()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| usage(&value))
            };
            match name.to_str() {
                Some("--relais") => plan.relais = Some(value.into()),
                Some("--rounds") => plan.rounds = number()?,
                Some("--scale") => plan.scale = number()?,
                Some("--tunnels") => plan.tunnels = number()?,
                _ => return Err(usage(&name)),
            }
        }
        Ok(plan)
    }

    fn run(&self) -> io::Result<()> {
        let origin = origin::start()?;
        let folder = std::env::temp_dir().join(format!("relais-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        if let (true, Some(relais)) = (self.config, &self.relais) {
            let result = config::run(relais, &folder, self.rounds);
            std::fs::remove_dir_all(&folder)?;
            return result;
        }
        let proxies = proxies::installed(self.relais.as_deref());
        if self.rewrite {
            let count = 5000 * self.scale;
            let result = rewrite::run(proxies, origin, &folder, self.rounds, count);
            std::fs::remove_dir_all(&folder)?;
            return result;
        }
        let costs = self.rounds(&proxies, origin, &folder);
        std::fs::remove_dir_all(&folder)?;
        self.print(&proxies, &costs?)
    }

    fn rounds(
        &self,
        proxies: &[Proxy],
        origin: SocketAddr,
        folder: &Path,
    ) -> io::Result<Vec<Costs>> {
        let mut costs: Vec<Costs> = proxies.iter().map(|_| Costs::default()).collect();
        for round in 1..=self.rounds {
            eprintln!("round {round} of {}", self.rounds);
            for (proxy, costs) in proxies.iter().zip(&mut costs) {
                let running = Running::start(proxy, origin, folder)?;
                let measured = self.measure(&running, costs, round == 1);
                measured.map_err(|error| io::Error::other(format!("{}: {error}", proxy.name)))?;
            }
        }
        Ok(costs)
    }

    fn measure(&self, running: &Running, costs: &mut Costs, with_memory: bool) -> io::Result<()> {
        load::get(running.address, 16, 1000)?;
        let count = 5000 * self.scale;
        costs
            .get
            .push(running.cpu_of(count, || load::get(running.address, 16, count))?);
        let mut tunnels = load::open(running.address, 64)?;
        load::echo(&mut tunnels, 1000)?;
        costs
            .echo
            .push(running.cpu_of(count, || load::echo(&mut tunnels, count))?);
        drop(tunnels);
        let count = 100 * self.scale;
        costs
            .handshake
            .push(running.cpu_of(count, || load::handshakes(running.address, count))?);
        if with_memory {
            let base = running.memory_kib();
            let mut tunnels = load::open(running.address, self.tunnels)?;
            let all = tunnels.len();
            load::echo(&mut tunnels, all)?;
            costs
                .tunnel_kib
                .push((running.memory_kib() as f64 - base as f64) / self.tunnels as f64);
        }
        Ok(())
    }

    fn print(&self, proxies: &[Proxy], costs: &[Costs]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "CPU microseconds of the proxy per operation: median of {} rounds (least to most)",
            self.rounds
        )?;
        writeln!(out)?;
        writeln!(
            out,
            "| proxy | GET, keep-alive | echo 64 B, 64 tunnels | handshake | KiB per idle tunnel |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|")?;
        for (proxy, costs) in proxies.iter().zip(costs) {
            let cells = [&costs.get, &costs.echo, &costs.handshake].map(|values| cell(values));
            let memory = costs.tunnel_kib.first().copied().unwrap_or(f64::NAN);
            writeln!(
                out,
                "| {} | {} | {memory:.1} |",
                proxy.name,
                cells.join(" | ")
            )?;
        }
        Ok(())
    }
}

/// The median with the least and the greatest value.
fn cell(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    format!(
        "{:.1} ({:.1}–{:.1})",
        at(sorted.len() / 2),
        at(0),
        at(sorted.len().saturating_sub(1))
    )
}

fn usage(at: &OsString) -> io::Error {
    let text =
        "usage: relais-bench [--relais PROGRAM] [--rounds N] [--scale N] [--tunnels N] [--rewrite]";
    io::Error::other(format!("{}: {text}", at.to_string_lossy()))
}

/// Set once the program runs on its CPU.
const PLACED: &str = "RELAIS_BENCH_PLACED";

#[test]
fn a_cell_has_the_median_and_the_range() {
    assert_eq!(cell(&[3.0, 1.0, 2.04]), "2.0 (1.0–3.0)");
    assert_eq!(cell(&[1.5]), "1.5 (1.5–1.5)");
}
