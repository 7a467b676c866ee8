//! One request on its way through the phases.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use relais_expr::{Captures, EvalError, Regex, State};
use relais_filter::Filter;
use relais_http1::{Fields, RequestHead, RequestMeta, ResponseHead, strip_named};
use relais_telemetry::Level;

use crate::decision::{Decision, Respond};
use crate::explain::Remark;
use crate::module::Settings;
use crate::running::AskRunning;
use crate::site::{Host, Site};
use crate::uri;
use crate::walk::{Fragment, SectionSets, Subject};

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
    /// The request's stream, where the connection is one of HTTP/2.
    pub stream: Option<u32>,
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

    /// Forgets all variables.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Sets or, with `None`, removes a variable.
    pub fn set(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.0.retain(|(have, _)| have != name);
        if let Some(value) = value {
            self.0.push((name.to_vec(), value.to_vec()));
        }
    }

    /// All variables, in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// Renames every variable as an internal redirect does.
    fn redirected(&mut self) {
        for (name, _) in &mut self.0 {
            name.splice(..0, *b"REDIRECT_");
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
    /// The line of the rule that says so.
    pub rule: Option<relais_conf::Span>,
    /// Whether the query is part of the URL already.
    pub has_query: bool,
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

/// Work that a phase cannot wait for on its worker's thread, such as a
/// password's hash, a program's answer or a file. The front has it done
/// elsewhere, keeps the answer in the exchange and enters the phase again.
pub struct Lookup {
    /// By what the phase finds the answer, see [`Exchange::answer`].
    pub key: Vec<u8>,
    /// The work.
    pub work: Box<dyn FnOnce() -> Answer + Send>,
}

/// What a [`Lookup`] found out; its phase knows the type.
pub type Answer = Box<dyn Any + Send>;

impl Lookup {
    /// Work whose answer is found by `key`.
    pub fn new<T: Any + Send>(
        key: impl Into<Vec<u8>>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        Self {
            key: key.into(),
            work: Box::new(move || Box::new(work())),
        }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lookup({})", self.key.escape_ascii())
    }
}

/// An internal redirect: the request starts anew with another path, as
/// httpd's `ap_internal_redirect` has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restart {
    /// The new path, decoded, with a leading slash.
    pub path: Vec<u8>,
    /// The new query.
    pub query: Option<Vec<u8>>,
}

/// Where [`Exchange::decide`] has got to.
#[derive(Debug)]
pub enum Step {
    /// All is decided.
    Decided(Decision),
    /// An answer is needed first: do the work, hand its result to
    /// [`Exchange::answered`] and call `decide` again.
    Wait(Lookup),
    /// The request's body is needed, of so many bytes at most: read it into
    /// [`Exchange::body`] and call `decide` again.
    Body(usize),
}

/// The stages of a request, in httpd's order (`ap_process_request_internal`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    PostRead,
    /// In place of `PostRead` after an internal redirect.
    Again,
    /// Before the path is decoded.
    Written,
    Target,
    /// Behind `Target`, and in its place after an internal redirect.
    Restarted,
    Translate,
    Map,
    Mapped,
    HeaderParser,
    Access,
    Fixup,
    Respond,
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
    /// The path before the first internal redirect, for the access log.
    pub first_path: Option<Vec<u8>>,
    /// The query, raw.
    pub query: Option<Vec<u8>>,
    /// Environment variables.
    pub environment: Environment,
    /// The merged settings of the sections that match.
    pub section: Arc<Settings>,
    /// Where the request is proxied to, once a phase has said so.
    pub proxy: Option<ProxyUrl>,
    /// What is known of the client's TLS; `None` without it.
    pub tls: Option<&'a dyn crate::tls::TlsFacts>,
    /// The server, for its own pages; `None` where nothing runs.
    pub running: Option<AskRunning<'a>>,
    /// The client as access rules, variables and logs see it: the peer, unless
    /// a module has found another behind it (mod_remoteip).
    pub client: SocketAddr,
    /// The client's host name, where the configuration has it looked up.
    pub client_name: Option<Vec<u8>>,
    /// The file that the request is mapped to. Once it has been looked for it
    /// ends where the path leads beyond what is there.
    pub file: Option<Vec<u8>>,
    /// The request's body, once a phase has asked for it.
    pub body: Option<Vec<u8>>,
    /// What the name of the proxied URL says of the answer's content.
    pub described: Vec<(&'static str, Vec<u8>)>,
    /// Who answers, as `SetHandler`, `AddHandler` or a rule says.
    pub handler: Option<Cow<'static, [u8]>>,
    /// What of the path leads beyond the file.
    pub path_info: Vec<u8>,
    /// Whether the file is a folder; there may be a slash at its end then.
    pub is_folder: bool,
    /// When the file was changed.
    pub modified: Option<SystemTime>,
    /// The folder that an `Alias` has put in the place of a path, and that
    /// path.
    pub alias: Option<(Vec<u8>, Vec<u8>)>,
    /// What stands in the file's folder and those around it (`.htaccess`),
    /// outermost first.
    pub fragments: Vec<Arc<Fragment>>,
    /// The user who has proved to be one.
    pub user: Option<Vec<u8>>,
    /// By which scheme (`Basic`).
    pub auth_type: Option<&'static str>,
    /// Notes that modules leave each other (`%{NAME}n`, `note()`).
    pub notes: Environment,
    /// Lines for the error log.
    pub log: Vec<LogLine>,
    /// What has been found out for whoever asks why.
    pub(crate) remarks: Option<Vec<Remark>>,
    /// Twenty bytes that no other request has, for `UNIQUE_ID`.
    pub identity: [u8; 20],
    /// How busy the machine is, asked for when a header wants to say so.
    pub load: fn() -> Load,
    /// The request's fields after a module has changed them.
    fields: Option<Box<Fields>>,
    varies: Vec<Vec<u8>>,
    answers: Vec<(Vec<u8>, Answer)>,
    stage: Stage,
    /// The function of the stage that is next.
    next: usize,
    restarts: u32,
    /// The request that this one is a sub-request of.
    pub(crate) parent: Option<&'a Self>,
    /// What keeps the phase at hand from going on.
    interrupt: RefCell<Option<Interrupt>>,
}

/// What a phase function came upon where it could not say so.
#[derive(Debug)]
enum Interrupt {
    /// A pattern was given up at its limit: what the log says.
    GaveUp(String),
    /// An answer is needed first.
    Wait(Lookup),
}

/// What `ErrorDocument` puts in the place of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ErrorDocument {
    /// This text.
    Text(Vec<u8>),
    /// What answers at this path of ours, query included.
    Local(Vec<u8>),
    /// A redirect to this URL.
    Elsewhere(Vec<u8>),
}

/// How busy the machine is (mod_headers' `%l`, `%i` and `%b`).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Load {
    /// Load averages over 1, 5 and 15 minutes.
    pub averages: [f64; 3],
    /// Processors.
    pub processors: u32,
}

/// A response's head on its way to the client, whoever made it.
///
/// The two lists are httpd's `err_headers_out`, which is sent first and with
/// every answer, and `headers_out`.
#[derive(Debug)]
pub struct Outgoing<'r> {
    /// The status.
    pub status: u16,
    /// Whether this is an error page or a redirect of relais' own, which has
    /// the fields of `always` only.
    pub own_error: bool,
    /// Time since the request's arrival.
    pub elapsed: Duration,
    /// What is sent with every answer.
    pub always: &'r mut Fields,
    /// The other fields; what frames the message is not among them.
    pub fields: &'r mut Fields,
    /// Notes for the access log.
    pub notes: &'r mut Environment,
    /// What follows the head.
    pub content: Content,
    /// What is done to it on its way.
    pub filters: &'r mut Filters,
}

/// What follows the head of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Nothing: the status or the method does without.
    None,
    /// This many bytes.
    Length(u64),
    /// Bytes up to an end that will be seen.
    Unknown,
}

/// What is done to the content of a response.
#[derive(Clone, Default, Debug)]
pub struct Filters {
    /// Filters, the first of them nearest to where the content comes from.
    pub chain: Vec<Filter>,
    /// How fast it goes to the client.
    pub rate: Option<Rate>,
    /// What the access log may want to know of them.
    pub notes: Vec<FilterNote>,
}

/// A note on how much went through a filter (mod_deflate's `DeflateFilterNote`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterNote {
    /// The filter's place in the chain.
    pub place: usize,
    /// What is noted.
    pub amount: Amount,
    /// The note's name.
    pub name: Box<[u8]>,
}

/// What a [`FilterNote`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amount {
    /// Bytes that went in.
    Input,
    /// Bytes that came out.
    Output,
    /// How many hundredths of the first the second is.
    Ratio,
}

/// A speed at which content is sent (mod_ratelimit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Bytes per second.
    pub bytes: u64,
    /// Bytes that go out before it counts.
    pub burst: u64,
}

/// An edit that made a field which may not be sent; the answer is a 500.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unfit;

/// A function that may edit the head of any response.
pub type OutgoingPhase = fn(&Exchange<'_>, &mut Outgoing<'_>) -> Result<(), Unfit>;

/// What a phase function tells the driver.
#[derive(Debug)]
pub enum Flow {
    /// Not mine: the next function is asked.
    Declined,
    /// This phase is over.
    Done,
    /// All phases are over.
    Decide(Decision),
    /// The request starts anew with another path.
    Restart(Restart),
    /// An answer is needed; the function is called again when it is there.
    Wait(Lookup),
    /// The request's body is needed, of so many bytes at most; the function is
    /// called again when it is there.
    Body(usize),
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
    /// What of `post_read_request` is done again at an internal redirect: what
    /// makes variables, since those of the request so far have other names.
    pub again: &'static [Phase],
    /// httpd's `pre_translate_name`: the path is as it was written. One that sets
    /// the target has the word: the path is decoded no more.
    pub pre_translate: &'static [Phase],
    /// httpd's `translate_name`: the first that is not `Declined` wins.
    pub translate: &'static [Phase],
    /// httpd's `map_to_storage`: all are asked.
    pub map: &'static [Phase],
    /// httpd's `header_parser`: all are asked.
    pub header_parser: &'static [Phase],
    /// httpd's `access_checker` and what follows: all are asked.
    pub access: &'static [Phase],
    /// httpd's `fixups`: all are asked.
    pub fixup: &'static [Phase],
    /// httpd's `handler`: the first that is not `Declined` wins.
    pub respond: &'static [Phase],
    /// What is done to the head of an origin's final response.
    pub response: &'static [ResponsePhase],
    /// httpd's output filters on heads: of origins' and of relais' own
    /// answers, but not of a 101, which httpd sends as it came.
    pub outgoing: &'static [OutgoingPhase],
    /// `ErrorDocument`: what is sent in place of the page of a status.
    pub error_document: fn(&Exchange<'_>, u16) -> Option<ErrorDocument>,
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
            first_path: None,
            query: None,
            environment: Environment::default(),
            section: host.base(),
            proxy: None,
            tls: None,
            running: None,
            client: connection.peer,
            client_name: None,
            file: None,
            body: None,
            described: Vec::new(),
            handler: None,
            path_info: Vec::new(),
            is_folder: false,
            modified: None,
            alias: None,
            fragments: Vec::new(),
            user: None,
            auth_type: None,
            notes: Environment::default(),
            log: Vec::new(),
            remarks: None,
            identity: [0; 20],
            load: Load::default,
            fields: None,
            varies: Vec::new(),
            answers: Vec::new(),
            stage: Stage::PostRead,
            next: 0,
            restarts: 0,
            parent: None,
            interrupt: RefCell::default(),
        }
    }

    /// A request of the same client for something else.
    pub(crate) fn beside(&self) -> Exchange<'_> {
        let mut other = Exchange::new(
            self.site,
            self.host,
            self.connection,
            self.head,
            self.meta,
            self.now,
        );
        other.fields.clone_from(&self.fields);
        other.environment.clone_from(&self.environment);
        other.tls = self.tls;
        other.client = self.client;
        other.identity = self.identity;
        other.load = self.load;
        other.parent = Some(self);
        other
    }

    /// The request's fields, as modules have left them.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        self.fields.as_deref().unwrap_or(&self.head.fields)
    }

    /// The same, to be changed. As httpd has read them, each name that came
    /// stands once, its lines joined; what modules add may be several lines.
    pub fn fields_mut(&mut self) -> &mut Fields {
        self.fields.get_or_insert_with(|| {
            let own = &self.head.fields;
            let mut joined = Fields::with_capacity(own.text_len() + 128, own.len() + 4);
            // What was parsed has room in another list.
            let _ = joined.copy_from(own, true, |_| true);
            // No client may take away what a module sets.
            strip_named(&mut joined);
            Box::new(joined)
        })
    }

    /// Whether a module has changed the request's fields.
    #[must_use]
    pub fn has_edited_fields(&self) -> bool {
        self.fields.is_some()
    }

    /// The answer to a [`Lookup`] of this key, if it has been asked for and is
    /// of this type.
    #[must_use]
    pub fn answer<T: Any>(&self, key: &[u8]) -> Option<&T> {
        let mut answers = self.answers.iter();
        match answers.find(|(have, _)| have == key) {
            Some((_, answer)) => answer.downcast_ref(),
            None => self.parent?.answer(key),
        }
    }

    /// The groups of a pattern's match. A match that is given up at its limit
    /// counts as none for the function that asks, and the request ends in a 500
    /// once it returns; `what` names the directive for the log.
    pub fn captures(
        &self,
        regex: &Regex,
        subject: &[u8],
        what: &dyn fmt::Display,
    ) -> Option<Captures> {
        regex.captures(subject).unwrap_or_else(|error| {
            let pattern = regex.source().escape_ascii();
            let log = format!("{what}: the pattern '{pattern}': {error}");
            self.interrupt.replace(Some(Interrupt::GaveUp(log)));
            None
        })
    }

    /// The same where only whether it matches is asked.
    pub fn matches(&self, regex: &Regex, subject: &[u8], what: &dyn fmt::Display) -> bool {
        self.captures(regex, subject, what).is_some()
    }

    /// An answer is needed before the function that asks counts: it is called
    /// again when it is there.
    pub(crate) fn wait_for(&self, lookup: Lookup) {
        self.interrupt.replace(Some(Interrupt::Wait(lookup)));
    }

    /// Whether the phase function at hand will not count.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.borrow().is_some()
    }

    /// What is to be waited for before the function that asks counts, if it
    /// wants to say so itself.
    pub fn awaited(&self) -> Option<Lookup> {
        match self.interrupt.take() {
            Some(Interrupt::Wait(lookup)) => Some(lookup),
            other => {
                self.interrupt.replace(other);
                None
            }
        }
    }

    /// What has to follow instead of what a phase function said.
    pub(crate) fn interrupted(&self) -> Option<Flow> {
        self.interrupt.take().map(|interrupt| match interrupt {
            Interrupt::GaveUp(log) => Flow::Decide(Decision::Respond(Respond::logged(500, log))),
            Interrupt::Wait(lookup) => Flow::Wait(lookup),
        })
    }

    /// Keeps the answer to a [`Lookup`].
    pub fn answered(&mut self, key: Vec<u8>, answer: Answer) {
        self.answers.push((key, answer));
    }

    /// Edits the head of a response as the configuration says.
    ///
    /// # Errors
    /// When an edit made a field that may not be sent.
    pub fn finish_head(&self, outgoing: &mut Outgoing<'_>) -> Result<(), Unfit> {
        let mut phases = self.site.phases.outgoing.iter();
        phases.try_for_each(|phase| phase(self, outgoing))
    }

    /// Makes this the request for the page of another's error, an internal
    /// redirect to a path of ours (httpd's `ap_die`): what the first one had
    /// in its environment is there under names that begin with `REDIRECT_`.
    pub fn redirected_from(&mut self, first: &Self, status: u16) {
        self.environment.clone_from(&first.environment);
        self.environment.redirected();
        if let Some(id) = first.environment.get(b"UNIQUE_ID") {
            self.environment.set(b"UNIQUE_ID", Some(id));
        }
        let status = status.to_string();
        self.environment
            .set(b"REDIRECT_STATUS", Some(status.as_bytes()));
        // REDIRECT_URL and REDIRECT_QUERY_STRING are for programs: httpd sets
        // them with the other variables of CGI, which nothing here asks for.
        self.client = first.client;
        self.client_name.clone_from(&first.client_name);
        self.identity = first.identity;
        self.load = first.load;
        self.restarts = first.restarts + 1;
        // Its fields are those of the first, edited once.
        self.enter(Stage::Again);
    }

    /// How often the request has started anew.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
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

    /// Runs the phases, in httpd's order (`ap_process_request_internal`), until
    /// something is decided or an answer is needed.
    pub fn decide(&mut self, sets: &SectionSets) -> Step {
        loop {
            let outcome = self.run_stage(sets);
            match outcome {
                Ok(next) => self.enter(next),
                Err(Flow::Wait(lookup)) => return Step::Wait(lookup),
                Err(Flow::Body(most)) => return Step::Body(most),
                Err(Flow::Restart(restart)) => {
                    if let Err(decision) = self.restart(restart) {
                        return Step::Decided(decision);
                    }
                }
                Err(Flow::Decide(decision)) => return Step::Decided(decision),
                Err(Flow::Done | Flow::Declined) => return Step::Decided(unhandled()),
            }
        }
    }

    pub(crate) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.next = 0;
    }

    /// Runs one stage; what follows it, or what keeps it from being followed.
    pub(crate) fn run_stage(&mut self, sets: &SectionSets) -> Result<Stage, Flow> {
        let phases = self.site.phases;
        match self.stage {
            Stage::Again => {
                let has_path = !self.path.is_empty();
                let next = if has_path {
                    Stage::Restarted
                } else {
                    Stage::Target
                };
                self.all(phases.again, next)
            }
            Stage::PostRead => self.all(phases.post_read, Stage::Written),
            Stage::Written if self.host.spec.maps_written => {
                self.read_written(sets)?;
                self.first(phases.pre_translate)?;
                match self.proxy {
                    Some(_) => Ok(Stage::Restarted),
                    None => Ok(Stage::Target),
                }
            }
            Stage::Written => Ok(Stage::Target),
            Stage::Target => {
                self.read_target().map_err(Flow::Decide)?;
                Ok(Stage::Restarted)
            }
            Stage::Restarted => {
                self.walk(sets)?;
                Ok(Stage::Translate)
            }
            Stage::Translate => {
                if !self.host.spec.maps_written || self.proxy.is_none() {
                    self.first(phases.translate)?;
                }
                Ok(Stage::Map)
            }
            Stage::Map => self.all(phases.map, Stage::Mapped),
            Stage::Mapped => {
                self.walk(sets)?;
                Ok(Stage::HeaderParser)
            }
            Stage::HeaderParser => self.all(phases.header_parser, Stage::Access),
            Stage::Access => self.all(phases.access, Stage::Fixup),
            Stage::Fixup => self.all(phases.fixup, Stage::Respond),
            Stage::Respond => {
                self.first(phases.respond)?;
                Err(Flow::Decide(unhandled()))
            }
        }
    }

    /// Merges the settings of the sections that the request meets by now.
    fn walk(&mut self, sets: &SectionSets) -> Result<(), Flow> {
        let mut state = State::default();
        let mut failures: Vec<EvalError> = Vec::new();
        let set = self
            .host
            .section_set(sets, self.subject(), &mut |expression| {
                expression.eval(self, &mut state).unwrap_or_else(|error| {
                    failures.push(error);
                    false
                })
            });
        // Access control may stand in a section of which nobody knows whether
        // it is met.
        let gave_up = |log: String| Flow::Decide(Decision::Respond(Respond::logged(500, log)));
        let set = set.map_err(gave_up)?;
        if let Some(flow) = self.interrupted() {
            return Err(flow);
        }
        for error in failures {
            let message = format!("evaluation of expression failed: {error}");
            if error == EvalError::Limit {
                return Err(gave_up(message));
            }
            self.note("core", Level::Error, || message);
        }
        for name in state.headers_read() {
            self.vary_on(name);
        }
        self.section = set;
        self.remark_sections();
        for (name, value) in self.host.match_variables(self.subject()) {
            if self.environment.get(name.as_bytes()) != Some(&value) {
                self.remark_variable(name.as_bytes(), &value);
                self.environment.set(name.as_bytes(), Some(&value));
            }
        }
        Ok(())
    }

    /// What sections are asked about by now.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            path: &self.path,
            url: self.proxy.as_ref().map(|proxy| proxy.url.as_slice()),
            file: self.file.as_deref(),
            is_folder: self.is_folder,
            fragments: &self.fragments,
        }
    }

    /// The answer depends on this request field: `Vary` will name it.
    pub fn vary_on(&mut self, name: &[u8]) {
        // RFC 9110 §12.5.5: an answer always depends on the host.
        if name.eq_ignore_ascii_case(b"host") {
            return;
        }
        let known = |have: &Vec<u8>| have.eq_ignore_ascii_case(name);
        if !self.varies.iter().any(known) {
            self.varies.push(name.to_vec());
        }
    }

    /// `Vary` of an answer of relais' own: the request fields that it depends
    /// on. An origin's answer has its own, as in httpd.
    #[must_use]
    pub fn vary(&self) -> Option<Vec<u8>> {
        (!self.varies.is_empty()).then(|| self.varies.join(&b','))
    }

    /// Begins again behind the reading of the target. Variables of the request
    /// so far are kept with `REDIRECT_` in front of their names.
    fn restart(&mut self, restart: Restart) -> Result<(), Decision> {
        if self.restarts >= RESTARTS_MAX {
            return Err(Decision::Respond(Respond::logged(
                500,
                "AH00124: Request exceeded the limit of 10 internal redirects due to probable configuration error",
            )));
        }
        self.restarts += 1;
        self.environment.redirected();
        let path = std::mem::replace(&mut self.path, restart.path);
        self.first_path.get_or_insert(path);
        self.query = restart.query;
        self.proxy = None;
        self.file = None;
        self.handler = None;
        self.path_info.clear();
        self.is_folder = false;
        self.modified = None;
        self.alias = None;
        self.fragments.clear();
        self.user = None;
        self.auth_type = None;
        self.section = self.host.base();
        self.enter(Stage::Again);
        Ok(())
    }

    /// The path as it was written, for rules that want it so. Whatever is wrong
    /// with it is said when it is decoded.
    fn read_written(&mut self, sets: &SectionSets) -> Result<(), Flow> {
        let (path, query) = uri::split_target(self.head.target());
        if path.first() != Some(&b'/') {
            return Ok(());
        }
        if let Ok(written) = uri::normalise_written(path, self.host.path_rules()) {
            self.query = query.map(<[u8]>::to_vec);
            self.path = written;
            self.walk(sets)?;
        }
        Ok(())
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

    /// Asks every function of a stage, from the one on that is next.
    fn all(&mut self, functions: &[Phase], then: Stage) -> Result<Stage, Flow> {
        while let Some(function) = functions.get(self.next) {
            match self.call(*function) {
                Flow::Declined | Flow::Done => self.next += 1,
                other => return Err(other),
            }
        }
        Ok(then)
    }

    /// Asks the functions of a stage until one is not `Declined`.
    fn first(&mut self, functions: &[Phase]) -> Result<(), Flow> {
        while let Some(function) = functions.get(self.next) {
            match self.call(*function) {
                Flow::Declined => self.next += 1,
                Flow::Done => return Ok(()),
                other => return Err(other),
            }
        }
        Ok(())
    }
}

/// Internal redirects of one request at the most (`LimitInternalRecursion`).
const RESTARTS_MAX: u32 = 10;

fn unhandled() -> Decision {
    Decision::Respond(Respond::logged(
        404,
        "no rule proxies this path and there is no DocumentRoot",
    ))
}
