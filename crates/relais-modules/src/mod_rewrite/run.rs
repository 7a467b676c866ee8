//! Running the rules for a request, and what follows from them.

use std::cell::RefCell;
use std::fmt;

use relais_conf::Span;
use relais_expr::{FileTest, Lookup, Variable};
use relais_policy::{Decision, Exchange, Flow, Outgoing, ProxyUrl, Respond, Restart, Topic, Unfit};
use relais_rewrite::{Context, Directory, Input, Outcome, RuleSet};
use relais_telemetry::Level;

use super::maps::{Answer, Found, Map};
use super::{Host, Section, cookie, targets};
use crate::{files, mod_proxy, own_url};

/// mod_rewrite's `translate_name`, before mod_proxy's.
pub(crate) fn translate(exchange: &mut Exchange<'_>) -> Flow {
    let host: &Host = exchange.host_settings();
    let any = host.options.is_some_and(|options| options.any_uri);
    if host.engine != Some(true)
        || host.rules.rules().is_empty()
        || exchange.notes.get(END).is_some()
        || (exchange.path.first() != Some(&b'/') && !any)
    {
        return Flow::Declined;
    }
    let path = exchange.path.clone();
    let input = Input::new(&path, None);
    match run(exchange, &host.rules, input) {
        Ok((outcome, rule)) => server(exchange, outcome, rule),
        Err(lookup) => Flow::Wait(lookup),
    }
}

/// mod_rewrite's `fixups`: the rules of sections, before mod_proxy's.
pub(crate) fn fixup(exchange: &mut Exchange<'_>) -> Flow {
    let section: &Section = exchange.section_settings();
    if section.engine != Some(true)
        || section.rules.rules().is_empty()
        || exchange.notes.get(END).is_some()
    {
        return Flow::Declined;
    }
    let section = section.clone();
    let subject = match &exchange.proxy {
        Some(proxy) => [b"proxy:", proxy.url.as_slice()].concat(),
        None => exchange.file.as_ref().unwrap_or(&exchange.path).clone(),
    };
    let input = Input {
        directory: Some(Directory {
            prefix: &section.directory,
            strips: section.is_folder,
            base: section.base.as_deref(),
            proxied: exchange.proxy.is_some(),
        }),
        ..Input::new(&subject, None)
    };
    match run(exchange, &section.rules, input) {
        Ok((outcome, rule)) => per_directory(exchange, &subject, outcome, rule),
        Err(lookup) => Flow::Wait(lookup),
    }
}

/// Sends the cookies that rules have set with every answer.
pub(crate) fn outgoing(exchange: &Exchange<'_>, outgoing: &mut Outgoing<'_>) -> Result<(), Unfit> {
    for (name, cookie) in exchange.notes.iter() {
        if name.ends_with(COOKIE) {
            outgoing
                .always
                .push("Set-Cookie", cookie)
                .map_err(|_| Unfit)?;
        }
    }
    Ok(())
}

/// Runs rules; with the outcome comes the line of the last that proxies. `Err` if a map has to be asked first: nothing has happened then.
fn run(
    exchange: &mut Exchange<'_>,
    rules: &RuleSet,
    input: Input<'_>,
) -> Result<(Outcome, Option<Span>), relais_policy::Lookup> {
    let maps = &exchange.host_settings::<Host>().maps;
    let before = (!maps.is_empty()).then(|| (exchange.environment.clone(), exchange.notes.clone()));
    let url = own_url::absolute(exchange, &exchange.path);
    let path = exchange.path.clone();
    exchange.environment.set(b"SCRIPT_URL", Some(&path));
    exchange.environment.set(b"SCRIPT_URI", Some(&url));
    let query = exchange.query.clone();
    let input = Input {
        query: query.as_deref(),
        uri_bytes_max: exchange.host.spec.limits.line.saturating_mul(2),
        ..input
    };
    let level = trace_level(exchange);
    let mut request = Request {
        maps,
        exchange,
        level,
        directory: input.directory.map(|directory| directory.prefix),
        lines: RefCell::default(),
        pending: RefCell::default(),
        proxied: None,
    };
    let outcome = relais_rewrite::run(rules, &input, &mut request);
    let Request {
        lines,
        pending,
        proxied,
        ..
    } = request;
    if let Some(lookup) = pending.into_inner() {
        if let Some((environment, notes)) = before {
            exchange.environment = environment;
            exchange.notes = notes;
        }
        return Err(lookup);
    }
    for (level, line) in lines.into_inner() {
        exchange.remark(Topic::Rewrite, None, || line.clone());
        log(exchange, level, &line);
    }
    Ok((outcome, proxied))
}

/// Writes a line as httpd's rewrite log does: who asks, which host answers,
/// which request it is and how often it has begun anew.
fn log(exchange: &mut Exchange<'_>, level: Level, line: &str) {
    if !exchange.host.spec.levels.enabled("rewrite", level) {
        return;
    }
    let user = exchange.user.as_deref().unwrap_or(b"-").escape_ascii();
    let redirects = match exchange.restarts() {
        0 => String::new(),
        count => format!("/redir#{count}"),
    };
    let line = format!(
        "{} - {user} [{}/sid#{:x}][rid#{:x}-{:x}/initial{redirects}] {line}",
        exchange.client.ip().to_canonical(),
        exchange.host.spec.server_name,
        exchange.host.index,
        exchange.connection.peer.port(),
        exchange.connection.requests,
    );
    exchange.note("rewrite", level, || line);
}

/// What follows in server context.
fn server(exchange: &mut Exchange<'_>, outcome: Outcome, rule: Option<Span>) -> Flow {
    match outcome {
        Outcome::PassThrough { path, query } => {
            exchange.path = path;
            exchange.query = query;
            Flow::Declined
        }
        Outcome::Rewritten { path, query } => match files::rewritten(exchange, &path) {
            Some(file) => {
                exchange.query = query;
                exchange.file = Some(file);
                Flow::Done
            }
            None => {
                let log = format!(
                    "rewritten to {} without [P], [PT] or [R], and no DocumentRoot has it",
                    path.escape_ascii()
                );
                Flow::Decide(Decision::Respond(Respond::logged(404, log)))
            }
        },
        other => carry_out(exchange, other, rule),
    }
}

/// What follows in per-directory context: another path is a new beginning.
fn per_directory(
    exchange: &mut Exchange<'_>,
    subject: &[u8],
    outcome: Outcome,
    rule: Option<Span>,
) -> Flow {
    match outcome {
        Outcome::PassThrough { path, query } | Outcome::Rewritten { path, query } => {
            if path == subject && names_whole_file(exchange) {
                let shown = path.escape_ascii();
                let line = format!("initial URL equal rewritten URL: {shown} [IGNORING REWRITE]");
                log(exchange, Level::Trace1, &line);
                exchange.query = query;
                return Flow::Declined;
            }
            let line = format!(
                "internal redirect with {} [INTERNAL REDIRECT]",
                path.escape_ascii()
            );
            log(exchange, Level::Trace1, &line);
            Flow::Restart(Restart { path, query })
        }
        other => carry_out(exchange, other, rule),
    }
}

/// Whether a result that equals what the rules saw is the file's name and not a
/// file with more behind it, which httpd takes for a change. Without files a
/// path's first segment is all of the file that httpd would find.
fn names_whole_file(exchange: &Exchange<'_>) -> bool {
    exchange.proxy.is_none()
        && (exchange.file.is_some() || !exchange.path.get(1..).unwrap_or_default().contains(&b'/'))
}

fn carry_out(exchange: &mut Exchange<'_>, outcome: Outcome, rule: Option<Span>) -> Flow {
    match outcome {
        Outcome::Declined | Outcome::PassThrough { .. } | Outcome::Rewritten { .. } => {
            Flow::Declined
        }
        Outcome::Proxy {
            url,
            absolute,
            query,
            no_escape,
        } => {
            // Without a host of its own the target would be this server again.
            if !absolute {
                return no_origin(&url, "the rule names no host");
            }
            if targets::changes_host(&exchange.host_settings::<Host>().targets, &url) {
                return no_origin(&url, "the path would change the host");
            }
            exchange.query = query;
            exchange.proxy = Some(ProxyUrl {
                url,
                no_canonical: no_escape,
                rule,
            });
            exchange.handler = Some(mod_proxy::PROXY_SERVER);
            Flow::Done
        }
        Outcome::Redirect { status, location } => {
            let location = if location.starts_with(b"/") {
                own_url::absolute(exchange, &location)
            } else {
                location
            };
            Flow::Decide(Decision::Redirect { status, location })
        }
        Outcome::Status(status) => Flow::Decide(Decision::Respond(Respond::status(status))),
        Outcome::Error { status, reason } => {
            Flow::Decide(Decision::Respond(Respond::logged(status, reason)))
        }
    }
}

fn no_origin(url: &[u8], why: &str) -> Flow {
    let about = format!("{} ({why})", url.escape_ascii());
    let respond = mod_proxy::proxy_error(500, "DNS lookup failure for", &about);
    Flow::Decide(Decision::Respond(respond))
}

/// The note that says that a rule had `[END]`.
const END: &[u8] = b"rewrite-END";
/// What the note for a cookie is called behind the cookie's name, as in httpd.
const COOKIE: &[u8] = b"_rewrite";

/// How much of the rewrite log is wanted, from 0 to 8.
fn trace_level(exchange: &Exchange<'_>) -> u8 {
    if exchange.is_explained() {
        return 8;
    }
    let levels = &exchange.host.spec.levels;
    let wanted = TRACE
        .iter()
        .take_while(|&&level| levels.enabled("rewrite", level))
        .count();
    u8::try_from(wanted).unwrap_or(8)
}

const TRACE: [Level; 8] = [
    Level::Trace1,
    Level::Trace2,
    Level::Trace3,
    Level::Trace4,
    Level::Trace5,
    Level::Trace6,
    Level::Trace7,
    Level::Trace8,
];

/// The request as the rules ask for it.
struct Request<'x, 'a> {
    exchange: &'x mut Exchange<'a>,
    maps: &'a [Map],
    level: u8,
    /// The section whose rules run.
    directory: Option<&'x [u8]>,
    lines: RefCell<Vec<(Level, String)>>,
    /// What has to be done before the rules can run.
    pending: RefCell<Option<relais_policy::Lookup>>,
    /// The last rule that proxies.
    proxied: Option<Span>,
}

impl Lookup for Request<'_, '_> {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        self.exchange.variable(variable, out);
    }

    fn map(&self, name: &[u8], key: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(map) = self.maps.iter().find(|map| map.name == name) else {
            return false;
        };
        // Once something is pending, this run counts for nothing.
        if self.pending.borrow().is_some() {
            return false;
        }
        let answered = |key: &[u8]| self.exchange.answer::<Answer>(key).cloned();
        match map.get(key, &answered, out) {
            Found::Value => true,
            Found::Nothing => false,
            Found::Pending(lookup) => {
                *self.pending.borrow_mut() = Some(lookup);
                false
            }
        }
    }

    fn file_test(&self, test: FileTest, path: &[u8]) -> bool {
        self.exchange.file_test(test, path)
    }

    fn file_contents(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.exchange.file_contents(path)
    }

    fn file_size(&self, path: &[u8]) -> Option<u64> {
        self.exchange.file_size(path)
    }
}

impl Context for Request<'_, '_> {
    fn set_env(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.exchange.environment.set(name, value);
    }

    fn set_cookie(&mut self, text: &[u8]) {
        let Some((name, cookie)) = cookie::render(text, self.exchange.now) else {
            return;
        };
        let note = [name.as_slice(), COOKIE].concat();
        if self.exchange.notes.get(&note).is_none() {
            let shown = cookie.escape_ascii();
            self.trace(5, format_args!("setting cookie '{shown}'"));
            self.exchange.notes.set(&note, Some(&cookie));
        } else {
            let shown = name.escape_ascii();
            self.trace(5, format_args!("skipping already set cookie '{shown}'"));
        }
    }

    fn proxied(&mut self, line: Option<Span>) {
        self.proxied = line;
    }

    fn end_rewriting(&mut self) {
        self.exchange.notes.set(END, Some(b"1"));
    }

    fn own_host(&self, scheme: &[u8], host: &[u8], port: u16) -> bool {
        let own_scheme = own_url::scheme(self.exchange);
        let (_, own_port) = own_url::host_port(self.exchange);
        let default = if own_scheme == "https" { 443 } else { 80 };
        scheme.eq_ignore_ascii_case(own_scheme.as_bytes())
            && port == own_port.unwrap_or(default)
            && self.exchange.host.answers_to(&host.to_ascii_lowercase())
    }

    fn trace_level(&self) -> u8 {
        self.level
    }

    fn trace(&self, level: u8, line: fmt::Arguments<'_>) {
        let level = TRACE
            .get(usize::from(level.saturating_sub(1)))
            .copied()
            .unwrap_or(Level::Trace8);
        let line = match self.directory {
            Some(directory) => format!("[perdir {}] {line}", directory.escape_ascii()),
            None => line.to_string(),
        };
        self.lines.borrow_mut().push((level, line));
    }
}
