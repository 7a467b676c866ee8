//! The rewrite log, as httpd writes it, and what it says to whoever asks why a
//! request goes where it goes.

use std::fmt;

use relais_conf::Span;
use relais_expr::{Lookup as _, Variable};
use relais_policy::{Exchange, LogLine, Remark, Topic, numbered_values};
use relais_rewrite::Tried;
use relais_telemetry::Level;

/// What is written when the rules have run.
pub(super) enum Said {
    /// By this request's rules.
    Own(Line),
    /// By those of a sub-request.
    SubRequest(LogLine),
}

impl Said {
    /// Writes it, for the rules of a section with the section's folder.
    pub(super) fn write(self, exchange: &mut Exchange<'_>, directory: Option<&[u8]>) {
        match self {
            Self::Own(line) => line.write(exchange, directory),
            Self::SubRequest(line) => exchange.log.push(line),
        }
    }
}

/// A line about rules.
pub(super) struct Line {
    level: Level,
    /// Whether the folder of the rules is left out, as httpd does.
    bare: bool,
    text: String,
    /// What it says of a pattern.
    verdict: Option<Verdict>,
}

/// What became of a pattern.
struct Verdict {
    line: Option<Span>,
    /// What the log does not say.
    text: &'static str,
    /// The value of a test string, and the groups.
    values: Vec<(String, String)>,
}

impl Line {
    /// A line at `traceN`.
    pub(super) fn new(level: u8, bare: bool, text: fmt::Arguments<'_>) -> Self {
        let level = TRACE.get(usize::from(level.saturating_sub(1)));
        Self {
            level: level.copied().unwrap_or(Level::Trace8),
            bare,
            text: text.to_string(),
            verdict: None,
        }
    }

    /// The line about a pattern.
    pub(super) fn tried(tried: &Tried<'_>) -> Self {
        Self {
            verdict: Some(Verdict::new(tried)),
            ..Self::new(tried.level(), false, format_args!("{tried}"))
        }
    }

    fn write(self, exchange: &mut Exchange<'_>, directory: Option<&[u8]>) {
        let directory = directory.filter(|_| !self.bare);
        write(exchange, self.level, directory, &self.text, self.verdict);
    }
}

impl Verdict {
    fn new(tried: &Tried<'_>) -> Self {
        let (sign, mut values) = match tried.condition {
            // What an expression compares is in its own words.
            Some(test) if test.eq_ignore_ascii_case(b"expr") => ('%', Vec::new()),
            Some(test) => ('%', vec![(shown(test), shown(tried.input))]),
            None => ('$', Vec::new()),
        };
        if let Some(groups) = &tried.groups {
            values.extend(numbered_values(sign, groups));
        }
        Self {
            line: tried.line,
            text: match tried.holds {
                None => " => given up",
                // The log itself has it.
                Some(_) if tried.condition.is_some() => "",
                Some(true) => " => matched",
                Some(false) => " => not-matched",
            },
            values,
        }
    }
}

fn shown(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}

/// Writes a line as httpd's rewrite log does: who asks, which host answers,
/// which request it is and how often it has begun anew.
pub(super) fn log(exchange: &mut Exchange<'_>, level: Level, line: &str) {
    log_in(exchange, level, None, line);
}

/// The same, of the rules of a section.
pub(super) fn log_in(
    exchange: &mut Exchange<'_>,
    level: Level,
    directory: Option<&[u8]>,
    line: &str,
) {
    write(exchange, level, directory, line, None);
}

fn write(
    exchange: &mut Exchange<'_>,
    level: Level,
    directory: Option<&[u8]>,
    line: &str,
    verdict: Option<Verdict>,
) {
    let is_logged = exchange.host.spec.levels.enabled("rewrite", level);
    if !is_logged && !exchange.is_explained() {
        return;
    }
    let line = match directory {
        Some(directory) => format!("[perdir {}] {line}", directory.escape_ascii()),
        None => line.to_owned(),
    };
    if exchange.is_explained() {
        let (span, text, values) = match verdict {
            Some(verdict) => (verdict.line, verdict.text, verdict.values),
            None => (None, "", Vec::new()),
        };
        exchange.add_remark(Remark {
            topic: Topic::Rewrite,
            text: format!("{line}{text}"),
            span,
            values,
        });
    }
    if !is_logged {
        return;
    }
    let user = exchange.user.as_deref().unwrap_or(b"-").escape_ascii();
    let redirects = match exchange.restarts() {
        0 => String::new(),
        count => format!("/redir#{count}"),
    };
    let kind = match exchange.is_subrequest() {
        true => "subreq",
        false => "initial",
    };
    let mut server = Vec::new();
    exchange.variable(&Variable::ServerName, &mut server);
    let line = format!(
        "{} - {user} [{}/sid#{:x}][rid#{:x}-{:x}/{kind}{redirects}] {}",
        exchange.client.ip().to_canonical(),
        server.escape_ascii(),
        exchange.host.index,
        exchange.connection.peer.port(),
        exchange.connection.requests,
        line,
    );
    exchange.note("rewrite", level, || line);
}

/// How much of the rewrite log is wanted, from 0 to 8.
pub(super) fn trace_level(exchange: &Exchange<'_>) -> u8 {
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
