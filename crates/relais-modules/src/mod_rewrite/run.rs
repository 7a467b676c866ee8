//! Running the rules for a request, and what follows from them.

use std::cell::RefCell;
use std::fmt;

use relais_expr::{Lookup, Variable};
use relais_policy::{Decision, Exchange, Flow, ProxyUrl, Respond, Topic};
use relais_rewrite::{Context, Input, Outcome};
use relais_telemetry::Level;

use super::{Host, targets};
use crate::{mod_proxy, own_url};

/// mod_rewrite's `translate_name`, before mod_proxy's.
pub(crate) fn translate(exchange: &mut Exchange<'_>) -> Flow {
    let host: &Host = exchange.host_settings();
    if host.engine != Some(true)
        || host.rules.rules.is_empty()
        || exchange.path.first() != Some(&b'/')
    {
        return Flow::Declined;
    }
    let path = exchange.path.clone();
    let url = own_url::absolute(exchange, &path);
    exchange.environment.set(b"SCRIPT_URL", Some(&path));
    exchange.environment.set(b"SCRIPT_URI", Some(&url));
    let outcome = run(exchange, host, &path);
    carry_out(exchange, host, outcome)
}

fn run(exchange: &mut Exchange<'_>, host: &Host, path: &[u8]) -> Outcome {
    let query = exchange.query.clone();
    let uri_bytes_max = exchange.host.spec.limits.line.saturating_mul(2);
    let input = Input {
        uri_bytes_max,
        ..Input::new(path, query.as_deref())
    };
    let level = trace_level(exchange);
    let mut request = Request {
        exchange,
        level,
        lines: RefCell::default(),
    };
    let outcome = relais_rewrite::run(&host.rules, &input, &mut request);
    for (level, line) in request.lines.take() {
        exchange.remark(Topic::Rewrite, None, || line.clone());
        exchange.note("rewrite", level, || line);
    }
    outcome
}

fn carry_out(exchange: &mut Exchange<'_>, host: &Host, outcome: Outcome) -> Flow {
    match outcome {
        Outcome::Declined => Flow::Declined,
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
            if targets::changes_host(&host.targets, &url) {
                return no_origin(&url, "the path would change the host");
            }
            exchange.query = query;
            exchange.proxy = Some(ProxyUrl {
                url,
                no_canonical: no_escape,
            });
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
        Outcome::PassThrough { path, query } => {
            exchange.path = path;
            exchange.query = query;
            Flow::Declined
        }
        Outcome::Rewritten { path, .. } => {
            let log = format!(
                "rewritten to {} without [P], [PT] or [R], and relais serves no files",
                path.escape_ascii()
            );
            Flow::Decide(Decision::Respond(Respond::logged(404, log)))
        }
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
    level: u8,
    lines: RefCell<Vec<(Level, String)>>,
}

impl Lookup for Request<'_, '_> {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        self.exchange.variable(variable, out);
    }
}

impl Context for Request<'_, '_> {
    fn set_env(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.exchange.environment.set(name, value);
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
        self.lines.borrow_mut().push((level, line.to_string()));
    }
}
