//! Why a rule or condition was refused, and which bytes of the line are to blame.

use std::fmt;
use std::ops::Range;

use relais_expr::{ExprError, RegexError, TemplateError};

/// A refused `RewriteRule` or `RewriteCond` line: httpd refuses it as well or could not do anything sensible with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The bytes to blame, counted from the start of the argument text. May be empty, never out of bounds.
    pub range: Range<usize>,
    /// What is wrong, without a final full stop.
    pub message: String,
    /// What could be done about it.
    pub help: Option<String>,
}

impl RuleError {
    pub(crate) fn invalid(range: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            range,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn map(error: &TemplateError) -> Self {
        Self::invalid(error.range.clone(), "rewrite maps are nested too deeply")
    }

    /// An expression that starts at `start` of the argument text.
    pub(crate) fn expression(error: &ExprError, start: usize) -> Self {
        let range = start + error.range.start..start + error.range.end;
        let message = format!("cannot parse the condition's expression: {}", error.message);
        Self::invalid(range, message)
    }

    /// Points at the byte of the pattern where PCRE2 gave up, or at its last byte if that is its end.
    pub(crate) fn regex(error: &RegexError, pattern: &Range<usize>) -> Self {
        let RegexError::Syntax { offset, message } = error else {
            return Self::invalid(pattern.clone(), error.to_string());
        };
        let last = pattern.end.saturating_sub(1).max(pattern.start);
        let start = (pattern.start + offset).min(last);
        let end = (start + 1).min(pattern.end);
        Self::invalid(
            start..end,
            format!("cannot compile regular expression: {message}"),
        )
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RuleError {}
