//! `RewriteOptions`, and what it says about rules of outer levels.

use relais_conf::{Diagnostic, Text};
use relais_policy::{Problem, SetResult, Slot};

use super::{Rewrite, enter};

/// The options of one level.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Options {
    pub(super) inherit: bool,
    pub(super) inherit_before: bool,
    pub(super) inherit_down: bool,
    pub(super) inherit_down_before: bool,
    pub(super) ignore_inherit: bool,
    pub(super) any_uri: bool,
    pub(super) merge_base: bool,
    pub(super) no_slash: bool,
    pub(super) ignore_context: bool,
    pub(super) legacy_prefix: bool,
    pub(super) unsafe_prefix: bool,
}

/// Where the rules of the outer level go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Inherited {
    No,
    Before,
    After,
}

impl Options {
    /// What becomes of the rules of `outer` at a level that has these (merged) options.
    pub(super) fn inherited(self, outer: Self) -> Inherited {
        let down = !self.ignore_inherit;
        if self.inherit || (outer.inherit_down && down) {
            Inherited::After
        } else if self.inherit_before || (outer.inherit_down_before && down) {
            Inherited::Before
        } else {
            Inherited::No
        }
    }
}

impl Inherited {
    /// The elements of both levels in the order in which they count.
    pub(super) fn join<T: Clone>(self, outer: &[T], inner: &[T]) -> Vec<T> {
        match self {
            Self::No => inner.to_vec(),
            Self::Before => [outer, inner].concat(),
            Self::After => [inner, outer].concat(),
        }
    }
}

/// The handler of one word of `RewriteOptions`.
pub(super) fn set(slot: &mut Slot<'_, Rewrite>, word: &Text) -> SetResult {
    let mut read = slot.section.options.unwrap_or_default();
    match word.lossy().to_ascii_lowercase().as_str() {
        "inherit" => read.inherit = true,
        "inheritbefore" => read.inherit_before = true,
        "inheritdown" => read.inherit_down = true,
        "inheritdownbefore" => read.inherit_down_before = true,
        "ignoreinherit" => read.ignore_inherit = true,
        "allowanyuri" => read.any_uri = true,
        "mergebase" => read.merge_base = true,
        "allownoslash" => read.no_slash = true,
        "ignorecontextinfo" => read.ignore_context = true,
        "legacyprefixdocroot" => read.legacy_prefix = true,
        "unsafeprefixstat" => read.unsafe_prefix = true,
        // It is about memory that relais does not use in the first place; the
        // manual has it, 2.4.71 itself does not.
        "longurloptimization" => {}
        other if other.starts_with("maxredirects=") => {
            let message = "MaxRedirects has no effect; LimitInternalRecursion took its place";
            let warning = Diagnostic::warning("RC0311", word.span(), message);
            slot.diagnostics.push(warning);
        }
        _ => {
            let message = format!("RewriteOptions: unknown option '{}'", word.lossy());
            return Err(Problem::at(word.span(), message));
        }
    }
    enter(slot);
    // What stands in a server holds for its sections too, as in httpd.
    if slot.place.section.is_none() {
        slot.host.options = Some(read);
    }
    slot.section.options = Some(read);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_levels() {
        let none = Options::default();
        let after = Options {
            inherit: true,
            ..none
        };
        let before = Options {
            inherit_before: true,
            ..none
        };
        let down = Options {
            inherit_down: true,
            ..none
        };
        let refuses = Options {
            ignore_inherit: true,
            ..none
        };
        for (inner, outer, expected) in [
            (none, none, &[2][..]),
            (after, none, &[2, 1]),
            (before, none, &[1, 2]),
            (none, down, &[2, 1]),
            (refuses, down, &[2]),
        ] {
            assert_eq!(inner.inherited(outer).join(&[1], &[2]), expected);
        }
    }
}
