//! Compares the cost of relais with that of other proxies on this machine.
//!
//! Every proxy that is installed runs with an equivalent configuration, alone on the first CPU; the origin and the
//! load share the second one. The proxies take turns, so that what the machine does beside touches all of them alike.
//! Numbers are CPU time and memory of the proxy's processes, which depend less on the machine than rates do.
//! Every byte that arrives is compared with what was sent.

mod calls;
mod config;
mod load;
mod origin;
mod payload;
mod peers;
mod plan;
mod process;
mod rewrite;
mod scenario;
mod table;
mod wire;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use tokio_rustls::rustls::{ClientConfig, RootCertStore, client::Resumption};

use load::Connectors;
use peers::{Peer, Running, Setup};
use plan::{Plan, What};
use scenario::Scenario;
use table::Table;

fn main() -> ExitCode {
    if std::env::var_os(PLACED).is_none() {
        return place();
    }
    let result = Plan::read(std::env::args_os().skip(1)).and_then(|plan| run(&plan));
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

fn run(plan: &Plan) -> io::Result<()> {
    let folder = std::env::temp_dir().join(format!("relais-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = run_in(plan, &folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn run_in(plan: &Plan, folder: &Path) -> io::Result<()> {
    match (&plan.what, &plan.relais) {
        (What::Map, _) => {
            let told = rewrite::map(folder)?;
            return table::say(&told);
        }
        (What::Config, Some(relais)) => return config::run(relais, folder, plan.rounds),
        _ => {}
    }
    let (mut peers, absent) = peers::installed(plan.relais.as_deref(), plan.packages.as_deref());
    peers.retain(|peer| plan.wants_peer(peer.name));
    let mut bench = Bench {
        plan,
        folder,
        origin: origin::start()?,
        tls: certificates(folder)?,
        table: Table::new(&peers, &plan.scenarios()),
        peers,
        notes: BTreeSet::new(),
    };
    for name in absent.into_iter().filter(|name| plan.wants_peer(name)) {
        bench.notes.insert(format!("{name} is not installed."));
    }
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        bench.round();
    }
    bench.table.print(plan.rounds, &bench.notes)
}

/// What a run has.
struct Bench<'a> {
    plan: &'a Plan,
    folder: &'a Path,
    origin: SocketAddr,
    tls: Connectors,
    peers: Vec<Peer>,
    table: Table,
    /// What is left out, and why.
    notes: BTreeSet<String>,
}

impl Bench<'_> {
    /// Measures all the scenarios of every proxy once. One start of a proxy serves the scenarios of one setup.
    fn round(&mut self) {
        let scenarios = self.plan.scenarios();
        for group in scenarios.chunk_by(|one, next| one.setup == next.setup) {
            for at in 0..self.peers.len() {
                let setup = group[0].setup;
                if let Err(error) = self.group(at, setup, group) {
                    self.notes
                        .insert(format!("{}, {setup:?}: {error}.", self.peers[at].name));
                }
            }
        }
    }

    fn group(&mut self, at: usize, setup: Setup, group: &[&Scenario]) -> io::Result<()> {
        let peer = &self.peers[at];
        if !peer.can(setup) {
            return Ok(());
        }
        let running = Running::start(peer, setup, self.origin, self.folder)?;
        for scenario in group {
            let measured = match self.plan.what {
                What::Calls => calls::count(scenario, &running, &self.tls, self.folder)
                    .map(|calls| self.table.add_calls(scenario.name, at, calls)),
                _ => scenario
                    .measure(&running, &self.tls, self.plan.options)
                    .map(|cost| self.table.add(scenario.name, at, cost)),
            };
            if let Err(error) = measured {
                let name = scenario.name;
                self.notes
                    .insert(format!("{}, {name}: {error}.", peer.name));
            }
        }
        Ok(())
    }
}

/// Makes a certificate for the proxies and what a client needs to believe it. Sessions are not resumed, so that every
/// handshake is a full one.
fn certificates(folder: &Path) -> io::Result<Connectors> {
    let made = rcgen::generate_simple_self_signed(["bench.example".to_owned()])
        .map_err(io::Error::other)?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(folder.join("cert.pem"), &certificate)?;
    std::fs::write(folder.join("key.pem"), &key)?;
    std::fs::write(folder.join("both.pem"), certificate + &key)?;
    let mut roots = RootCertStore::empty();
    roots
        .add(made.cert.der().clone())
        .map_err(io::Error::other)?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let http1 = Arc::new(config.clone());
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Connectors {
        http1: http1.into(),
        http2: Arc::new(config).into(),
    })
}

/// Set once the program runs on its CPU.
const PLACED: &str = "RELAIS_BENCH_PLACED";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Client;

    /// Every scenario of clear connections with nothing between load and origin.
    #[test]
    fn the_load_and_the_origin_understand_each_other() {
        let address = origin::start().expect("start the origin");
        let client = Client { address, tls: None };
        for scenario in scenario::ALL.iter().filter(|line| !line.setup.is_tls()) {
            load::run(async {
                let mut tunnels = scenario.prepare(&client).await?;
                scenario.operate(&client, &mut tunnels, 3).await
            })
            .expect(scenario.name);
        }
    }
}
