//! mod_rewrite's rules, conditions and flags, and the engine that runs them in server and per-directory
//! context.
//!
//! Text comes in as the raw rest of a `RewriteRule` or `RewriteCond` line, and [`run`] turns a path and a query into an
//! [`Outcome`]. Nothing here opens a socket or a file or reads a clock; whatever a rule wants to know about the
//! request, it asks the [`Context`].
//!
//! Sources: the manual pages mod_rewrite and rewrite/flags of Apache httpd 2.4.

mod args;
mod condition;
mod context;
mod engine;
mod error;
mod flags;
mod map;
mod outcome;
mod rule;
mod uri;

pub use args::{Args, split};
pub use condition::{Comparison, Condition, ConditionKind, parse_cond};
pub use context::{Context, Tried};
pub use engine::run;
pub use error::RuleError;
pub use flags::{Flag, FlagKind};
pub use map::{InternalMap, TextMap};
pub use outcome::{Directory, Input, Outcome, Prefix};
pub use rule::{Pattern, Rule, RuleDraft, RuleSet, Substitution, parse_rule};
pub use uri::{canonical_path, canonical_path_keeping_slashes, control_or_space};
