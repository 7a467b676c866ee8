//! Expressions (`ap_expr`; manual page expr): conditions as in `<If>` and `RewriteCond expr`, and texts with `%{…}` in
//! them as in `Header set … "expr=…"`.
//!
//! There is one parser and one evaluator for all places. What the manual leaves open was observed on httpd 2.4.71:
//! text is compared byte by byte, a pattern without groups leaves `$N` alone, and one with groups that does not match
//! empties them.

mod eval;
mod function;
mod network;
mod parse;
mod wildcard;

use std::fmt;
use std::ops::Range;

use crate::Regex;
use crate::captures::{Captures, Groups};
use crate::variable::{FileTest, Lookup, Variable};
use function::{Function, Source};
use network::Network;

pub use eval::leading_integer;

/// A parsed condition.
#[derive(Clone, Debug)]
pub struct Expression(Condition);

/// A parsed text with variables in it.
#[derive(Clone, Debug)]
pub struct StringExpression(Word);

/// Why a text is no expression: its author's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError {
    /// The bytes to blame. May be empty, never out of bounds.
    pub range: Range<usize>,
    /// What is wrong, without a final full stop.
    pub message: String,
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExprError {}

/// Why nobody knows whether a condition holds. httpd takes it for false and logs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// A pattern took too many steps on this text.
    Limit,
    /// A pattern cannot be matched against this text.
    Subject,
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Limit => "matching a pattern was given up at its limit",
            Self::Subject => "the text cannot be matched against the pattern",
        })
    }
}

impl std::error::Error for EvalError {}

/// What evaluation reads and leaves: the groups of the last match, the headers that were looked at, and room to work
/// in. Used again, it allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What `captures` are cut from.
    source: Vec<u8>,
    captures: Captures,
    headers: Vec<u8>,
    scratch: Vec<u8>,
}

impl State {
    /// Forgets groups and headers, as before another expression.
    pub fn reset(&mut self) {
        self.captures = Captures::default();
        self.source.clear();
        self.headers.clear();
    }

    /// `$0` to `$9` of the last match of a pattern that has groups.
    #[must_use]
    pub fn groups(&self) -> Groups<'_> {
        Groups::new(&self.source, self.captures)
    }

    /// The same in parts: the groups and the text they belong to.
    #[must_use]
    pub fn matched(&self) -> (Captures, &[u8]) {
        (self.captures, &self.source)
    }

    /// Sets what `$0` to `$9` stand for.
    pub fn set_groups(&mut self, source: &[u8], captures: Captures) {
        self.source.clear();
        self.source.extend_from_slice(source);
        self.captures = captures;
    }

    /// The request headers that were looked at, each once, without `Host`: httpd adds them to `Vary` (RFC 9110
    /// section 12.5.5).
    pub fn headers_read(&self) -> impl Iterator<Item = &[u8]> {
        self.headers
            .split(|byte| *byte == b',')
            .filter(|name| !name.is_empty())
    }
}

impl Expression {
    /// Parses a condition, from which the directive's own quoting has been removed.
    ///
    /// # Errors
    ///
    /// [`ExprError`], for unknown names in httpd's words.
    pub fn parse(text: &[u8]) -> Result<Self, ExprError> {
        parse::condition(text).map(Self)
    }

    /// Parses a condition of a health check: `hc('body')` and `%{HC_BODY}` are the answer's body
    /// (manual page mod_proxy_hcheck, ProxyHCExpr).
    ///
    /// # Errors
    ///
    /// [`ExprError`], for unknown names in httpd's words.
    pub fn parse_health(text: &[u8]) -> Result<Self, ExprError> {
        parse::health_condition(text).map(Self)
    }

    /// Parses a condition of `SSLRequire`, whose comparisons (`<`, `lt` and `-lt` alike) compare texts by their length
    /// first, as seen on httpd 2.4.71.
    ///
    /// # Errors
    ///
    /// [`ExprError`], for unknown names in httpd's words.
    pub fn parse_ssl(text: &[u8]) -> Result<Self, ExprError> {
        parse::ssl_condition(text).map(Self)
    }

    /// Whether the condition holds.
    ///
    /// # Errors
    ///
    /// [`EvalError`] if that cannot be said.
    pub fn eval(&self, lookup: &dyn Lookup, state: &mut State) -> Result<bool, EvalError> {
        eval::condition(&self.0, lookup, state)
    }
}

impl StringExpression {
    /// Parses a text, from which the directive's own quoting has been removed.
    ///
    /// # Errors
    ///
    /// [`ExprError`], for unknown names in httpd's words.
    pub fn parse(text: &[u8]) -> Result<Self, ExprError> {
        parse::text(text).map(Self)
    }

    /// Appends the text to `out`. `$N` stand for the groups in `state`.
    pub fn eval(&self, lookup: &dyn Lookup, state: &mut State, out: &mut Vec<u8>) {
        eval::text(&self.0, lookup, state, out);
    }

    /// The text if it is the same for every request.
    #[must_use]
    pub fn as_literal(&self) -> Option<&[u8]> {
        match &self.0 {
            Word::Literal(text) => Some(text),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
enum Condition {
    Constant(bool),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    /// Text against text.
    Text(Order, Word, Word),
    /// Text against text, of which the longer is the greater.
    ByLength(Order, Word, Word),
    /// Both sides as C's `atoi` reads them.
    Integer(Order, Word, Word),
    In(Word, Vec<Word>),
    Match {
        word: Word,
        regex: Regex,
        negated: bool,
    },
    Empty(Word),
    NotEmpty(Word),
    /// `-T`: neither empty nor `0`, `off`, `false` or `no`.
    True(Word),
    ClientIn(Network),
    File(FileTest, Word),
    AddressIn(Word, Network),
    Wildcard(wildcard::Rules, Word, Word),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug)]
enum Word {
    Literal(Box<[u8]>),
    Group(u8),
    /// A variable whose name is known; `vary` if the response depends on the header that it is.
    Variable {
        variable: Variable,
        vary: bool,
    },
    /// A variable whose name is made from the request.
    Named(Source, Box<Self>),
    Call(Function, Box<Self>),
    Concat(Vec<Self>),
}

#[cfg(test)]
mod tests;
