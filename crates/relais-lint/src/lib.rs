//! Mistakes in configurations that are valid: what a file says, and what its author hardly meant.
//!
//! One rule per file below `rules/`, each with its documentation here and a configuration that fires it and one that
//! does not in `testdata/`. Rules look at the tree and at nothing else, so that they speak up whether or not the
//! configuration has errors. The handbook's page `docs/lints.md` is made from the same table.

mod routes;
mod rules;
mod view;

use relais_conf::{Diagnostic, Diagnostics, Loaded, Span};

use view::View;

pub use routes::{Route, routes};

/// A kind of mistake.
pub struct Rule {
    /// The stable code, `RC04xx`.
    pub code: &'static str,
    /// A short name; that of its fixture too.
    pub name: &'static str,
    /// What is wrong, in one line.
    pub summary: &'static str,
    /// Why it matters, what httpd does with it, and what to write.
    pub doc: &'static str,
    pub(crate) check: fn(&View<'_>, &mut Diagnostics),
}

impl Rule {
    fn warning(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(self.code, span, message)
    }

    fn note(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::note(self.code, span, message)
    }
}

/// All rules, by their codes.
pub static RULES: &[Rule] = rules::ALL;

/// Looks at a configuration with every rule. `incomplete` says that a file which belongs to it was not read; rules
/// about what is missing are silent then.
pub fn check(loaded: &Loaded, incomplete: bool, found: &mut Diagnostics) {
    let view = View::new(&loaded.tree, incomplete);
    for rule in RULES {
        (rule.check)(&view, found);
    }
    found.sort(&loaded.sources);
}
