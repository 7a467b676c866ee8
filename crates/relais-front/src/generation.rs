//! One loaded configuration with the logs it writes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use relais_policy::{HostSpec, LogCondition, Site};
use relais_telemetry::{AccessLog, ErrorLog, LogFormat};
use relais_tls::SiteTls;
use relais_upstream::Upstreams;

use crate::status::Server;

/// A configuration in force, shared by all worker threads and swapped on
/// reload. A request keeps the one it began with.
pub struct Generation {
    /// The configuration.
    pub site: Site,
    /// One entry per host of the site, in the same order.
    pub logs: Vec<HostLogs>,
    /// What handshakes need.
    pub tls: SiteTls,
    /// What is known of its origins, over all threads.
    pub upstreams: Upstreams,
    /// What goes on from one generation to the next.
    pub server: Arc<Server>,
    /// When it was made.
    pub made: SystemTime,
    alive: Alive,
}

/// Counts configurations while they are in memory.
struct Alive(Arc<AtomicUsize>);

impl Default for Alive {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(1)))
    }
}

impl Alive {
    fn next(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open logs of one host.
pub struct HostLogs {
    /// Access logs, in file order.
    pub access: Vec<HostAccessLog>,
    /// The error log.
    pub error: Arc<ErrorLog>,
}

/// One access log of a host.
pub struct HostAccessLog {
    /// Where lines go.
    pub log: Arc<AccessLog>,
    /// What they look like.
    pub format: Arc<LogFormat>,
    /// Which requests have a line.
    pub condition: Option<LogCondition>,
}

impl Generation {
    /// A configuration with its logs, one entry per host in the same order;
    /// what is known of origins comes from the generation before.
    #[must_use]
    pub fn new(site: Site, logs: Vec<HostLogs>, tls: SiteTls, previous: Option<&Self>) -> Self {
        let upstreams = Upstreams::adopt(&site, previous.map(|previous| &previous.upstreams));
        Self {
            site,
            logs,
            tls,
            upstreams,
            alive: previous.map_or_else(Alive::default, |previous| previous.alive.next()),
            server: Server::next(previous.map(|previous| &previous.server)),
            made: SystemTime::now(),
        }
    }

    /// How many configurations of this process are in memory, this one
    /// included: more than one while a request ends on an older one.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.alive.0.load(Ordering::Relaxed)
    }

    /// The logs of a host.
    ///
    /// # Panics
    /// When `logs` has fewer entries than the site has hosts.
    #[must_use]
    pub fn logs_of(&self, index: usize) -> &HostLogs {
        &self.logs[index]
    }

    /// The main server's settings.
    #[must_use]
    pub fn main(&self) -> &HostSpec {
        &self.site.main().spec
    }
}
