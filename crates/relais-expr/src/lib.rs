//! What httpd's rules are made of: expressions, regular expressions, server variables and substitution templates.
//!
//! This crate knows how `%{NAME}`, `$1`, `%1` and a PCRE pattern behave in httpd. It does not know where a
//! variable's value comes from ([`Lookup`] does) nor what a rule does with the result. It has no sockets, clocks,
//! threads or files, and a request can make none of it panic.

mod captures;
mod escape;
mod expression;
mod pattern;
mod percent;
mod prefilter;
mod regex;
mod template;
mod variable;

pub use captures::{Captures, Groups, substitute};
pub use escape::{ByteSet, Escape};
pub use expression::{EvalError, ExprError, Expression, State, StringExpression, leading_integer};
pub use percent::{Unescaped, escape_path, unescape};
pub use prefilter::{ByteMask, Quick};
pub use regex::{NamedGroups, Regex, RegexError, RegexFlags};
pub use template::{MapLookup, Origin, Piece, PieceKind, QuestionMarks, Template, TemplateError};
pub use variable::{Ahead, FileTest, Lookup, Variable};
