//! What the engine asks of the request and tells it.

use std::fmt;

use relais_conf::Span;
use relais_expr::{Ahead, FileTest, Groups, Lookup, Variable};

use crate::outcome::Input;

/// The request that rules run for.
///
/// [`Lookup`] must answer `REQUEST_SCHEME`, `SERVER_NAME` and `SERVER_PORT` for rules that follow an `[R]` without
/// `[L]`, since these match against the full URL. The engine itself answers `REQUEST_FILENAME`, `SCRIPT_FILENAME`,
/// `QUERY_STRING` and `IS_SUBREQ`, whose values change while rules run; look-aheads go to [`Self::look_ahead`].
pub trait Context: Lookup {
    /// Sets an environment variable, or removes it (`E=!VAR`). A later `%{ENV:name}` must see it.
    fn set_env(&mut self, name: &[u8], value: Option<&[u8]>);

    /// Whether `scheme://host:port` is the virtual host that serves this request (its name or alias, its port and its
    /// scheme), so that a substitution naming it is only a path.
    fn own_host(&self, scheme: &[u8], host: &[u8], port: u16) -> bool;

    /// `[CO=name:value:domain…]`, expanded: the response sets this cookie.
    fn set_cookie(&mut self, _cookie: &[u8]) {}

    /// `[END]`: no further rewriting for this request, also not after an internal redirect.
    fn end_rewriting(&mut self) {}

    /// The rule on this line sends the request to an origin, as long as no later one changes it.
    fn proxied(&mut self, _line: Option<Span>) {}

    /// `[T=…]`: the file is of this type.
    fn set_type(&mut self, _kind: &[u8]) {}

    /// `[H=…]`: this handler answers.
    fn set_handler(&mut self, _handler: &[u8]) {}

    /// Appends the value that a variable has in a sub-request for a path or a file; `uri` is what the rule's pattern
    /// saw. False if no such request may be made.
    fn look_ahead(
        &self,
        _ahead: Ahead,
        _uri: &[u8],
        _variable: &Variable,
        _out: &mut Vec<u8>,
    ) -> bool {
        false
    }

    /// The response depends on this request header.
    fn vary(&mut self, _header: &[u8]) {}

    /// The highest level for which [`Self::trace`] should be called, as in `LogLevel rewrite:traceN`; 0 for none.
    fn trace_level(&self) -> u8 {
        0
    }

    /// Takes one line of the rewrite log; `bare` says that httpd does not put the folder of the rules in front of it.
    fn trace(&self, _level: u8, _bare: bool, _line: fmt::Arguments<'_>) {}

    /// A pattern has been tried; called for [`Self::trace_level`] as the line that the rewrite log has for it is.
    fn tried(&self, tried: &Tried<'_>) {
        self.trace(tried.level(), false, format_args!("{tried}"));
    }
}

/// A pattern that has been tried; displayed it is the line of httpd's rewrite log.
#[derive(Clone, Copy, Debug)]
pub struct Tried<'a> {
    /// Of a condition, the test string as written; `None` for a rule.
    pub condition: Option<&'a [u8]>,
    /// The line that it stands on.
    pub line: Option<Span>,
    /// What it was tried on.
    pub input: &'a [u8],
    /// The pattern, of a condition with its `!` and its operator.
    pub pattern: &'a [u8],
    /// `[NC]` of a condition.
    pub caseless: bool,
    /// Whether the rule or condition holds; `None` for a pattern that was given up.
    pub holds: Option<bool>,
    /// What `$N` or `%N` stand for from here on, if this pattern says so.
    pub groups: Option<Groups<'a>>,
}

impl Tried<'_> {
    pub(crate) const RULE: u8 = 3;
    pub(crate) const CONDITION: u8 = 4;

    /// The level at which the rewrite log has it.
    #[must_use]
    pub const fn level(&self) -> u8 {
        match self.condition {
            Some(_) => Self::CONDITION,
            None => Self::RULE,
        }
    }
}

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pattern, input) = (Show(self.pattern), Show(self.input));
        if self.condition.is_none() {
            return write!(f, "applying pattern '{pattern}' to uri '{input}'");
        }
        let caseless = if self.caseless { " [NC]" } else { "" };
        write!(
            f,
            "RewriteCond: input='{input}' pattern='{pattern}'{caseless}"
        )?;
        match self.holds {
            Some(true) => f.write_str(" => matched"),
            Some(false) => f.write_str(" => not-matched"),
            None => Ok(()),
        }
    }
}

/// Writes a line to the rewrite log; builds it only if someone wants it.
macro_rules! trace {
    ($context:expr, $level:expr, $($line:tt)+) => {
        if $context.trace_level() >= $level {
            $context.trace($level, false, format_args!($($line)+));
        }
    };
}
pub(crate) use trace;

/// The same for what httpd says without the folder of the rules.
macro_rules! trace_bare {
    ($context:expr, $level:expr, $($line:tt)+) => {
        if $context.trace_level() >= $level {
            $context.trace($level, true, format_args!($($line)+));
        }
    };
}
pub(crate) use trace_bare;

/// Bytes for a log line: UTF-8 as it is, the rest replaced.
pub(crate) struct Show<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.utf8_chunks().try_for_each(|chunk| {
            f.write_str(chunk.valid())?;
            f.write_str(if chunk.invalid().is_empty() {
                ""
            } else {
                "\u{fffd}"
            })
        })
    }
}

/// The variables as they are at one moment of the run.
pub(crate) struct View<'a> {
    pub(crate) context: &'a dyn Context,
    pub(crate) input: &'a Input<'a>,
    /// The path or file name as rewritten so far.
    pub(crate) uri: &'a [u8],
    /// What of it the pattern of the rule at hand saw.
    pub(crate) subject: &'a [u8],
    pub(crate) query: Option<&'a [u8]>,
}

impl View<'_> {
    fn look_ahead(&self, ahead: Ahead, name: &[u8], variable: &Variable, out: &mut Vec<u8>) {
        let start = out.len();
        if self.context.look_ahead(ahead, self.subject, variable, out) {
            trace!(
                self.context,
                5,
                "lookahead: path={} var={} -> val={}",
                Show(self.subject),
                Show(name),
                Show(out.get(start..).unwrap_or_default())
            );
        }
    }
}

impl Lookup for View<'_> {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        match variable {
            Variable::RequestFilename | Variable::ScriptFilename => out.extend_from_slice(self.uri),
            Variable::QueryString => out.extend_from_slice(self.query.unwrap_or_default()),
            Variable::IsSubreq if self.input.is_subrequest => out.extend_from_slice(b"true"),
            Variable::IsSubreq => out.extend_from_slice(b"false"),
            Variable::LookAhead {
                ahead,
                name,
                variable,
            } => self.look_ahead(*ahead, name, variable, out),
            _ => self.context.variable(variable, out),
        }
    }

    fn map(&self, map: &[u8], key: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let found = self.context.map(map, key, out);
        let value = out.get(start..).unwrap_or_default();
        let (map, key) = (Show(map), Show(key));
        if found {
            trace_bare!(
                self.context,
                5,
                "map lookup OK: map={map} key={key} -> val={}",
                Show(value)
            );
        } else {
            trace_bare!(self.context, 5, "map lookup FAILED: map={map} key={key}");
        }
        found
    }

    fn file_test(&self, test: FileTest, path: &[u8]) -> bool {
        self.context.file_test(test, path)
    }

    fn file_contents(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.context.file_contents(path)
    }

    fn file_size(&self, path: &[u8]) -> Option<u64> {
        self.context.file_size(path)
    }
}
