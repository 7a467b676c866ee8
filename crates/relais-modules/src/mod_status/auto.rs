//! `server-status?auto`: keys and values for machines.

use std::time::Duration;

use relais_policy::{BalancerStatus, TunnelStatus};

use super::numbers::{general, moment, words};
use super::{Facts, Totals, scoreboard};
use crate::mod_proxy::status_words;

/// The page, in the order of httpd's.
pub(super) fn page(facts: &Facts<'_>) -> Vec<u8> {
    let status = facts.status;
    let totals = Totals::of(&status.threads);
    let mut page = Page(facts.name.clone());
    page.0.push(b'\n');
    page.line("ServerVersion", facts.version);
    page.line("ServerMPM", "relais");
    page.line("Server Built", crate::BUILT);
    page.line("CurrentTime", moment(facts.now));
    page.line(
        "RestartTime",
        moment(status.configured.unwrap_or(facts.now)),
    );
    page.line("ParentServerConfigGeneration", status.reloads + 1);
    page.line("ParentServerMPMGeneration", status.reloads);
    let uptime = uptime(facts);
    page.line("ServerUptimeSeconds", uptime.as_secs());
    page.0
        .extend_from_slice(format!("ServerUptime:{}\n", words(uptime)).as_bytes());
    for (name, load) in ["Load1", "Load5", "Load15"]
        .iter()
        .zip(status.load.averages)
    {
        page.line(name, format!("{load:.2}"));
    }
    if facts.extended {
        extended(&mut page, facts, &totals, uptime);
    }
    page.line("BusyWorkers", totals.busy);
    page.line("GracefulWorkers", 0);
    page.line("IdleWorkers", totals.idle);
    page.line("Processes", 1);
    page.line(
        "Stopping",
        u8::from(status.threads.iter().any(|thread| thread.stopping)),
    );
    page.line("ConnsTotal", totals.connections);
    page.line("ConnsAsyncWaitIO", 0);
    page.line("ConnsAsyncWriting", 0);
    page.line("ConnsAsyncKeepAlive", totals.kept);
    page.line("ConnsAsyncClosing", totals.closing);
    page.line("Scoreboard", scoreboard(&status.threads));
    for (index, balancer) in facts.balancers.iter().enumerate() {
        page.balancer(index, balancer);
    }
    page.tunnels(&status.tunnels);
    page.0
}

/// Time since the configuration in force was read, as httpd counts it.
pub(super) fn uptime(facts: &Facts<'_>) -> Duration {
    let since = facts.status.configured.unwrap_or(facts.now);
    facts.now.duration_since(since).unwrap_or_default()
}

fn extended(page: &mut Page, facts: &Facts<'_>, totals: &Totals, uptime: Duration) {
    let [user, system] = facts.status.cpu.map(|time| time.as_secs_f64());
    page.line("Total Accesses", totals.accesses);
    page.line("Total kBytes", totals.bytes / 1024);
    page.line("Total Duration", totals.milliseconds);
    page.line("CPUUser", general(user));
    page.line("CPUSystem", general(system));
    page.line("CPUChildrenUser", 0);
    page.line("CPUChildrenSystem", 0);
    let seconds = uptime.as_secs();
    if seconds > 0 {
        page.line("CPULoad", general((user + system) / seconds as f64 * 100.0));
    }
    page.line("Uptime", seconds);
    if seconds > 0 {
        page.line(
            "ReqPerSec",
            general(totals.accesses as f64 / seconds as f64),
        );
        page.line("BytesPerSec", general(totals.bytes as f64 / seconds as f64));
    }
    if totals.accesses > 0 {
        let each = totals.accesses as f64;
        page.line("BytesPerReq", general(totals.bytes as f64 / each));
        page.line("DurationPerReq", general(totals.milliseconds as f64 / each));
    }
}

struct Page(Vec<u8>);

impl Page {
    fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0
            .extend_from_slice(format!("{key}: {value}\n").as_bytes());
    }

    /// mod_proxy's part, with `ProxyStatus On`.
    fn balancer(&mut self, index: usize, balancer: &BalancerStatus) {
        self.line(&format!("ProxyBalancer[{index}]Name"), &balancer.name);
        for (number, member) in balancer.members.iter().enumerate() {
            let key = |name: &str| format!("ProxyBalancer[{index}]Worker[{number}]{name}");
            let [sent, received] = member.traffic;
            self.line(&key("Name"), &member.url);
            self.line(&key("Status"), status_words(member.status));
            self.line(&key("Elected"), member.elected);
            self.line(&key("Busy"), member.busy);
            self.line(&key("Sent"), format!("{}K", sent / 1024));
            self.line(&key("Rcvd"), format!("{}K", received / 1024));
        }
    }

    /// The tunnels, all together and by what they were opened for.
    fn tunnels(&mut self, tunnels: &[TunnelStatus]) {
        self.line("TunnelsTotal", tunnels.len());
        for (index, route) in super::html::routes(tunnels).iter().enumerate() {
            let key = |name: &str| format!("TunnelRoute[{index}]{name}");
            self.line(&key("Host"), route.host);
            self.line(&key("Rule"), route.rule);
            self.line(&key("Open"), route.open);
            self.line(&key("Draining"), route.draining);
            self.line(&key("MessagesFromClient"), route.from_client[0]);
            self.line(&key("MessagesFromOrigin"), route.from_origin[0]);
            self.line(&key("BytesFromClient"), route.from_client[1]);
            self.line(&key("BytesFromOrigin"), route.from_origin[1]);
        }
    }
}
