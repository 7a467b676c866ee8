//! One request on its way through the phases.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use relais_http1::{RequestHead, RequestMeta, ResponseHead};
use relais_telemetry::Level;

use crate::decision::{Decision, Respond};
use crate::module::Settings;
use crate::site::{Host, SectionSets, Site};
use crate::uri;

/// The client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The client.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Whether it is encrypted.
    pub secure: bool,
    /// Requests before this one on the same connection.
    pub requests: u32,
}

/// Request environment variables, as `SetEnvIf` and `[E=…]` set them.
#[derive(Clone, Default, Debug)]
pub struct Environment(Vec<(Vec<u8>, Vec<u8>)>);

impl Environment {
    /// The value of a variable; names are case-sensitive.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_slice())
    }

    /// Sets or, with `None`, removes a variable.
    pub fn set(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.0.retain(|(have, _)| have != name);
        if let Some(value) = value {
            self.0.push((name.to_vec(), value.to_vec()));
        }
    }
}

/// The URL a request is proxied to, before it is taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyUrl {
    /// Scheme, authority and path, without the query.
    pub url: Vec<u8>,
    /// Whether the path goes out as it is (`nocanon`, `[NE]`).
    pub no_canonical: bool,
}

/// One line for the error log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// The module that says it.
    pub module: &'static str,
    /// How important it is.
    pub level: Level,
    /// The message, unescaped.
    pub message: String,
}

/// One request, its host and what the phases have made of it.
pub struct Exchange<'a> {
    /// The configuration.
    pub site: &'a Site,
    /// The virtual host that answers.
    pub host: &'a Host,
    /// The client's connection.
    pub connection: Connection,
    /// The request's head.
    pub head: &'a RequestHead,
    /// What the head's fields mean.
    pub meta: &'a RequestMeta,
    /// The time of day at the request's arrival.
    pub now: SystemTime,
    /// The path, decoded and normalised.
    pub path: Vec<u8>,
    /// The query, raw.
    pub query: Option<Vec<u8>>,
    /// Environment variables.
    pub environment: Environment,
    /// The merged settings of the sections that match.
    pub section: Arc<Settings>,
    /// Where the request is proxied to, once a phase has said so.
    pub proxy: Option<ProxyUrl>,
    /// Lines for the error log.
    pub log: Vec<LogLine>,
}

/// What a phase function tells the driver.
#[derive(Debug)]
pub enum Flow {
    /// Not mine: the next function is asked.
    Declined,
    /// This phase is over.
    Done,
    /// All phases are over.
    Decide(Decision),
}

/// A phase function.
pub type Phase = fn(&mut Exchange<'_>) -> Flow;

/// A function that may edit the head of an origin's response.
pub type ResponsePhase = fn(&Exchange<'_>, &mut ResponseHead);

/// The order of calls per phase, as `relais-modules` lists it.
#[derive(Debug)]
pub struct Phases {
    /// httpd's `post_read_request`.
    pub post_read: &'static [Phase],
    /// httpd's `translate_name`: the first that is not `Declined` wins.
    pub translate: &'static [Phase],
    /// httpd's `access_checker` and what follows: all are asked.
    pub access: &'static [Phase],
    /// httpd's `fixups`: all are asked.
    pub fixup: &'static [Phase],
    /// httpd's `handler`: the first that is not `Declined` wins.
    pub respond: &'static [Phase],
    /// What is done to the head of an origin's final response.
    pub response: &'static [ResponsePhase],
}

impl<'a> Exchange<'a> {
    /// A request that no phase has seen.
    #[must_use]
    pub fn new(
        site: &'a Site,
        host: &'a Host,
        connection: Connection,
        head: &'a RequestHead,
        meta: &'a RequestMeta,
        now: SystemTime,
    ) -> Self {
        Self {
            site,
            host,
            connection,
            head,
            meta,
            now,
            path: Vec::new(),
            query: None,
            environment: Environment::default(),
            section: host.base(),
            proxy: None,
            log: Vec::new(),
        }
    }

    /// The merged per-server settings of a module.
    #[must_use]
    pub fn host_settings<T: 'static>(&self) -> &'a T {
        self.host.settings.get()
    }

    /// The merged per-directory settings of a module.
    #[must_use]
    pub fn section_settings<T: 'static>(&self) -> &T {
        self.section.get()
    }

    /// Adds a line to the error log if the level is on.
    pub fn note(&mut self, module: &'static str, level: Level, message: impl FnOnce() -> String) {
        if self.host.spec.levels.enabled(module, level) {
            self.log.push(LogLine {
                module,
                level,
                message: message(),
            });
        }
    }

    /// Runs all phases, in httpd's order (`ap_process_request_internal`).
    pub fn decide(&mut self, sets: &SectionSets) -> Decision {
        match self.run(sets) {
            Ok(decision) | Err(decision) => decision,
        }
    }

    fn run(&mut self, sets: &SectionSets) -> Result<Decision, Decision> {
        let phases = self.site.phases;
        self.all(phases.post_read)?;
        self.read_target()?;
        self.section = self.host.section_set(sets, &self.path, None);
        self.first(phases.translate)?;
        let url = self.proxy.take();
        self.section = self.host.section_set(
            sets,
            &self.path,
            url.as_ref().map(|proxy| proxy.url.as_slice()),
        );
        self.proxy = url;
        self.all(phases.access)?;
        self.all(phases.fixup)?;
        self.first(phases.respond)?;
        Ok(Decision::Respond(Respond::logged(
            404,
            "no rule proxies this path and relais serves no files",
        )))
    }

    fn read_target(&mut self) -> Result<(), Decision> {
        let (path, query) = uri::split_target(self.head.target());
        self.query = query.map(<[u8]>::to_vec);
        if path == b"*" {
            self.path.extend_from_slice(path);
            return Ok(());
        }
        if path.first() != Some(&b'/') {
            return Err(Decision::Respond(Respond::logged(
                400,
                "invalid URI in request",
            )));
        }
        uri::normalise(path, self.host.path_rules(), &mut self.path)
            .map_err(|error| Decision::Respond(Respond::logged(error.status(), error.reason())))
    }

    fn all(&mut self, functions: &[Phase]) -> Result<(), Decision> {
        for function in functions {
            if let Flow::Decide(decision) = function(self) {
                return Err(decision);
            }
        }
        Ok(())
    }

    fn first(&mut self, functions: &[Phase]) -> Result<(), Decision> {
        for function in functions {
            match function(self) {
                Flow::Declined => {}
                Flow::Done => return Ok(()),
                Flow::Decide(decision) => return Err(decision),
            }
        }
        Ok(())
    }
}
