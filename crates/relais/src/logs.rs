//! Opening the logs that a configuration names, each once.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use relais_front::{Generation, HostAccessLog, HostLogs};
use relais_policy::Site;
use relais_telemetry::{AccessLog, ErrorLog, Target};
use relais_tls::SiteTls;

/// The open logs of this process. A reload takes over those that stay and
/// opens them anew by name, so that rotated files are let go.
#[derive(Default)]
pub(crate) struct Logs {
    access: HashMap<Target, Arc<AccessLog>>,
    error: HashMap<Target, Arc<ErrorLog>>,
}

impl Logs {
    /// Opens what the site names and pairs both; `previous` is the generation
    /// that this one follows.
    ///
    /// # Errors
    /// When a log cannot be opened; nothing has changed then.
    pub(crate) fn open(
        &mut self,
        site: Site,
        tls: SiteTls,
        previous: Option<&Generation>,
    ) -> Result<Generation, String> {
        let mut next = Self::default();
        let mut logs = Vec::with_capacity(site.hosts.len());
        for host in &site.hosts {
            let error = next.error_log(&host.spec.error_log, self)?;
            // Of hosts that share a log the last one's is that of lines about
            // no request.
            error.set_format(host.spec.error_format.clone());
            let mut access = Vec::new();
            for spec in &host.spec.access_logs {
                let log = next.access_log(&spec.target, self)?;
                log.warn_to(Arc::clone(&error));
                access.push(HostAccessLog {
                    log,
                    format: Arc::clone(&spec.format),
                    condition: spec.condition.clone(),
                });
            }
            logs.push(HostLogs { access, error });
        }
        *self = next;
        Ok(Generation::new(site, logs, tls, previous))
    }

    /// Opens all files again by their names.
    ///
    /// # Errors
    /// The first failure; the old file stays in use there.
    pub(crate) fn reopen(&self) -> Result<(), String> {
        let mut result = Ok(());
        for (target, log) in &self.access {
            if let Err(error) = log.reopen() {
                result = result.and_then(|()| Err(failed(target, &error)));
            }
        }
        for (target, log) in &self.error {
            if let Err(error) = log.reopen() {
                result = result.and_then(|()| Err(failed(target, &error)));
            }
        }
        result
    }

    fn access_log(&mut self, target: &Target, old: &Self) -> Result<Arc<AccessLog>, String> {
        if let Some(log) = self.access.get(target).or_else(|| old.access.get(target)) {
            let log = Arc::clone(log);
            self.access.insert(target.clone(), Arc::clone(&log));
            return Ok(log);
        }
        let log = AccessLog::open(target).map_err(|error| failed(target, &error))?;
        self.access.insert(target.clone(), Arc::clone(&log));
        Ok(log)
    }

    fn error_log(&mut self, target: &Target, old: &Self) -> Result<Arc<ErrorLog>, String> {
        if let Some(log) = self.error.get(target).or_else(|| old.error.get(target)) {
            let log = Arc::clone(log);
            self.error.insert(target.clone(), Arc::clone(&log));
            return Ok(log);
        }
        let log = ErrorLog::open(target).map_err(|error| failed(target, &error))?;
        self.error.insert(target.clone(), Arc::clone(&log));
        Ok(log)
    }
}

fn failed(target: &Target, error: &io::Error) -> String {
    format!("cannot open log {target}: {error}")
}
