//! Certificates, keys and verification: a host's TLS spec becomes what a handshake needs.
//!
//! [`load`] reads every file that the specs of a site name and answers with a [`SiteTls`], or with all that is wrong,
//! each at the place of its directive. It runs when a configuration is read, as whoever starts the program, so that a
//! handshake opens nothing. This crate never holds a connection; `relais-stream` does the handshakes.

mod client;
mod facts;
mod files;
mod names;
mod secret;
mod server;
mod verify;
mod watch;

pub use client::ClientTls;
pub use facts::Facts;
pub use server::ServerTls;
pub use watch::Renewal;

use server::Wanted;
use watch::Watched;

use std::sync::Arc;

use relais_conf::{Diagnostic, Span};
use relais_policy::Site;

/// Every diagnostic code of this crate with its meaning. Codes are stable and
/// never used again for something else.
pub const CODES: &[(&str, &str)] = &[
    ("RC0501", "a server with TLS has no certificate"),
    ("RC0510", "a file of TLS cannot be read"),
    ("RC0511", "a file of TLS does not hold what it should"),
    ("RC0512", "a private key does not belong to its certificate"),
    ("RC0513", "a private key is encrypted and does not decrypt"),
    ("RC0514", "TLS cannot be set up in this way"),
];

/// What is wrong with a file or a setting of TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// One of [`CODES`].
    pub code: &'static str,
    /// The directive's argument.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// The process has not the right to read the file.
    denied: bool,
}

impl Problem {
    fn new(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            span,
            message: message.into(),
            denied: false,
        }
    }

    /// The problem as the rest of a configuration's are told.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::error(self.code, self.span, self.message.clone())
    }
}

/// What the handshakes of a whole site need, by the host's place in it.
#[derive(Default)]
pub struct SiteTls {
    servers: Vec<Option<Watched>>,
    clients: Vec<Option<Arc<ClientTls>>>,
    kept: Vec<Problem>,
}

impl SiteTls {
    /// The server's side of a host with `SSLEngine on`.
    #[must_use]
    pub fn server(&self, host: usize) -> Option<Arc<ServerTls>> {
        self.servers.get(host)?.as_ref().map(Watched::current)
    }

    /// The client's side of a host with `SSLProxyEngine on`.
    #[must_use]
    pub fn client(&self, host: usize) -> Option<&Arc<ClientTls>> {
        self.clients.get(host)?.as_ref()
    }

    /// The client's side for what belongs to no host, such as health checks:
    /// the main server's, else that of the first host that has one.
    #[must_use]
    pub fn any_client(&self) -> Option<&Arc<ClientTls>> {
        self.clients.iter().flatten().next()
    }

    /// What could not be read on a reload because the process has given up its rights since the start; the hosts keep
    /// what they had.
    #[must_use]
    pub fn kept(&self) -> &[Problem] {
        &self.kept
    }

    /// Whether any host has `SSLCertificateWatch on`.
    #[must_use]
    pub fn watches(&self) -> bool {
        self.servers.iter().flatten().any(Watched::watches)
    }

    /// Reads the files of the hosts with `SSLCertificateWatch on` again where they have changed, and uses them for the
    /// handshakes from now on. To be called now and then: files that are still being written are left alone until two
    /// looks find them the same. The answer tells of each host whose files were read.
    pub fn look(&self) -> Vec<Renewal> {
        let servers = self.servers.iter().flatten();
        servers.filter_map(Watched::look).collect()
    }
}

/// Reads the files that a site's TLS needs. Hosts that were in `before` with the same settings keep their sessions.
///
/// # Errors
/// All that is wrong with them.
pub fn load(site: &Site, before: Option<&SiteTls>) -> Result<SiteTls, Vec<Problem>> {
    let mut loaded = SiteTls::default();
    let mut problems: Vec<Problem> = Vec::new();
    for host in &site.hosts {
        let server = Wanted::of(host).and_then(|wanted| {
            let servers = before.map_or(&[][..], |before| &before.servers);
            let mut old = servers.iter().flatten().map(Watched::current);
            let old = old.find(|old| old.is_for(&wanted));
            match Watched::load(wanted, old.as_deref()) {
                Ok((server, kept)) => {
                    loaded.kept.extend(kept);
                    Some(server)
                }
                Err(problem) => {
                    add(&mut problems, problem);
                    None
                }
            }
        });
        loaded.servers.push(server);
        // A host that sets nothing of its own shares the client's side of the
        // main server, and with it the sessions that may be resumed.
        let main = loaded.clients.first().cloned().flatten();
        let client = match (&host.spec.proxy_tls, main) {
            (Some(spec), Some(main)) if main.spec() == &**spec => Some(main),
            (Some(spec), _) => match ClientTls::load(spec) {
                Ok(tls) => Some(Arc::new(tls)),
                Err(problem) => {
                    add(&mut problems, problem);
                    None
                }
            },
            (None, _) => None,
        };
        loaded.clients.push(client);
    }
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(problems)
    }
}

/// Several hosts may inherit one file, and one line about it is enough.
fn add(problems: &mut Vec<Problem>, problem: Problem) {
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}
