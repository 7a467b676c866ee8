//! Why a request goes where it goes: remarks that an exchange collects on its
//! way through the phases when it is asked to.
//!
//! The phases are those that serve requests. What they change is seen by
//! comparing the exchange before and after each of them, so a module takes
//! part without a line of its own; one that has more to say, such as which of
//! its rules it tried, adds remarks with [`Exchange::remark`].

use std::net::SocketAddr;

use relais_conf::Span;
use relais_expr::{Groups, State};
use relais_http1::Fields;

use crate::exchange::{Environment, Exchange, Flow, Phase};
use crate::site::{Host, Site};

/// What a remark is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    /// Which virtual host answers, and why.
    Host,
    /// A section that matches.
    Section,
    /// A rewrite rule or condition.
    Rewrite,
    /// A ProxyPass that was considered.
    Pass,
    /// What a phase changed: path, query, target, variables, fields.
    Change,
    /// A line that the error log would get.
    Log,
}

impl Topic {
    /// Its name, one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Section => "section",
            Self::Rewrite => "rewrite",
            Self::Pass => "pass",
            Self::Change => "change",
            Self::Log => "log",
        }
    }
}

/// One remark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// What it is about.
    pub topic: Topic,
    /// What it says, in one line.
    pub text: String,
    /// The place in the configuration that it speaks of.
    pub span: Option<Span>,
    /// What was compared, and the groups of a pattern that matches, by the
    /// names that directives have for them: `%{HTTP:Upgrade}`, `$0`, `%1`.
    pub values: Vec<(String, String)>,
}

impl Exchange<'_> {
    /// From here on remarks are collected.
    pub fn explain(&mut self) {
        self.remarks.get_or_insert_default();
    }

    /// Whether remarks are collected.
    #[must_use]
    pub fn is_explained(&self) -> bool {
        self.remarks.is_some()
    }

    /// The remarks so far.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        self.remarks.as_deref().unwrap_or_default()
    }

    /// Adds a remark, if remarks are collected.
    pub fn remark(&mut self, topic: Topic, span: Option<Span>, text: impl FnOnce() -> String) {
        if self.is_explained() {
            self.add_remark(Remark {
                topic,
                text: text(),
                span,
                values: Vec::new(),
            });
        }
    }

    /// Adds a remark that has values, if remarks are collected.
    pub fn add_remark(&mut self, remark: Remark) {
        if let Some(remarks) = &mut self.remarks {
            remarks.push(remark);
        }
    }

    /// Calls a phase function; what it changes becomes remarks.
    pub(crate) fn call(&mut self, function: Phase) -> Flow {
        if self.remarks.is_none() {
            let flow = function(self);
            if !self.is_interrupted() {
                return flow;
            }
            return self.interrupted().unwrap_or(flow);
        }
        let before = Snapshot::of(self);
        let flow = function(self);
        let flow = self.interrupted().unwrap_or(flow);
        for text in before.changes(self) {
            self.remark(Topic::Change, None, || text);
        }
        flow
    }

    /// Says what a variable is now.
    pub(crate) fn remark_variable(&mut self, name: &[u8], value: &[u8]) {
        self.remark(Topic::Change, None, || variable(name, value));
    }

    /// Names each section that matches, the first time it does.
    pub(crate) fn remark_sections(&mut self) {
        if self.remarks.is_none() {
            return;
        }
        let mut state = State::default();
        let subject = self.subject();
        let heads = self.host.matching_sections(subject, &mut |expression| {
            expression.eval(self, &mut state).unwrap_or(false)
        });
        let remarks: Vec<_> = heads
            .map(|head| Remark {
                topic: Topic::Section,
                text: format!("{head} matches"),
                span: Some(head.span),
                values: head.groups(subject.of(head.kind)),
            })
            .collect();
        for remark in remarks {
            let known = |one: &Remark| one.topic == remark.topic && one.span == remark.span;
            if !self.remarks().iter().any(known) {
                self.add_remark(remark);
            }
        }
    }
}

/// What a phase may change.
struct Snapshot {
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    url: Option<Vec<u8>>,
    file: Option<Vec<u8>>,
    client: SocketAddr,
    user: Option<Vec<u8>>,
    environment: Environment,
    fields: Fields,
}

impl Snapshot {
    fn of(exchange: &Exchange<'_>) -> Self {
        Self {
            path: exchange.path.clone(),
            query: exchange.query.clone(),
            url: exchange.proxy.as_ref().map(|proxy| proxy.url.clone()),
            file: exchange.file.clone(),
            client: exchange.client,
            user: exchange.user.clone(),
            environment: exchange.environment.clone(),
            fields: exchange.fields().clone(),
        }
    }

    fn changes(&self, now: &Exchange<'_>) -> Vec<String> {
        let mut changes = Vec::new();
        let url = now.proxy.as_ref().map(|proxy| &proxy.url);
        let mut text = |what: &str, before: Option<&Vec<u8>>, after: Option<&Vec<u8>>| {
            if before != after {
                let after = after.map_or_else(|| "nothing".to_owned(), |after| show(after));
                changes.push(format!("{what} is now {after}"));
            }
        };
        text("the path", Some(&self.path), Some(&now.path));
        text("the query", self.query.as_ref(), now.query.as_ref());
        // The phase that decides takes the target away.
        if url.is_some() {
            text("the target", self.url.as_ref(), url);
        }
        text("the file", self.file.as_ref(), now.file.as_ref());
        text("the user", self.user.as_ref(), now.user.as_ref());
        if self.client != now.client {
            changes.push(format!("the client is now {}", now.client));
        }
        self.environment_changes(now, &mut changes);
        self.field_changes(now, &mut changes);
        changes
    }

    fn environment_changes(&self, now: &Exchange<'_>, changes: &mut Vec<String>) {
        for (name, value) in now.environment.iter() {
            if self.environment.get(name) != Some(value) {
                changes.push(variable(name, value));
            }
        }
        for (name, _) in self.environment.iter() {
            if now.environment.get(name).is_none() {
                changes.push(format!("variable {} is unset", show(name)));
            }
        }
    }

    fn field_changes(&self, now: &Exchange<'_>, changes: &mut Vec<String>) {
        let has = |fields: &Fields, name: &[u8], value: &[u8]| {
            fields.get_all(name).any(|have| have == value)
        };
        for (name, value) in now.fields() {
            if !has(&self.fields, name, value) {
                changes.push(format!("field {}: {}", show(name), show(value)));
            }
        }
        for (name, value) in &self.fields {
            if !has(now.fields(), name, value) && !now.fields().contains(name) {
                changes.push(format!("field {} is removed", show(name)));
            }
        }
    }
}

/// The groups of a match as the values of a remark; `sign` stands before their
/// numbers.
#[must_use]
pub fn numbered_values(sign: char, groups: &Groups<'_>) -> Vec<(String, String)> {
    groups
        .numbered()
        .map(|(number, text)| (format!("{sign}{number}"), show(text)))
        .collect()
}

fn variable(name: &[u8], value: &[u8]) -> String {
    format!("variable {} = {}", show(name), show(value))
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

impl Site {
    /// Why [`Site::host_for`] chooses `host`.
    #[must_use]
    pub fn why(&self, host: &Host, local: SocketAddr, name: Option<&[u8]>) -> String {
        let count = self.candidates(local).count();
        let several = count > 1;
        let at = match several {
            true => format!("of {count} at {local}"),
            false => format!("the only one at {local}"),
        };
        if host.index == 0 {
            return format!("the main server, since no <VirtualHost> has the address {local}");
        }
        let shown = host.spec.server_name.as_str();
        let named = name.filter(|name| host.answers_to(name));
        match named {
            Some(name) => {
                let name = show(name);
                let own = name.eq_ignore_ascii_case(shown);
                let by = if own { "ServerName" } else { "ServerAlias" };
                format!("{shown}, {at}, whose {by} is {name}")
            }
            None if name.is_some_and(|name| host.is_written_as(name)) => {
                let name = name.map(show).unwrap_or_default();
                format!("{shown}, {at}, whose <VirtualHost> line says {name}")
            }
            None => {
                let name = name.map_or_else(|| "none".to_owned(), show);
                let first = if several { "the first " } else { "" };
                format!("{shown}, {first}{at}; none is called {name}")
            }
        }
    }
}
