//! A target refers to a group that the pattern does not have.

use relais_conf::{Diagnostic, Diagnostics, Text};

use crate::Rule;
use crate::view::{View, groups};

pub(super) const RULE: Rule = Rule {
    code: "RC0412",
    name: "no-such-group",
    summary: "a target refers to a group that the pattern does not have",
    doc: "`$1` is what the first `(…)` of the pattern matched. Without one it is empty, and the rest of the \
          path is lost.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for rule in view.rules() {
        let negated = rule.pattern.bytes().starts_with(b"!");
        let count = if negated {
            0
        } else {
            groups(&rule.pattern.lossy())
        };
        found.extend(look(&rule.substitution, &rule.pattern, count));
        for condition in &rule.conditions {
            found.extend(look(&condition.test, &rule.pattern, count));
        }
    }
    for pass in view.passes().filter(|pass| pass.pattern) {
        found.extend(look(&pass.target, &pass.path, groups(&pass.path.lossy())));
    }
}

fn look(text: &Text, pattern: &Text, count: usize) -> Option<Diagnostic> {
    let bytes = text.bytes();
    let at = (0..bytes.len().saturating_sub(1)).find(|&at| {
        let escaped = at > 0 && bytes[at - 1] == b'\\';
        let digit = bytes[at + 1];
        bytes[at] == b'$' && !escaped && digit.is_ascii_digit() && usize::from(digit - b'0') > count
    })?;
    let name = format!("${}", char::from(bytes[at + 1]));
    let message = match count {
        0 => format!("{name} is always empty: the pattern has no group"),
        1 => format!("{name} is always empty: the pattern has one group"),
        _ => format!("{name} is always empty: the pattern has {count} groups"),
    };
    let warning = RULE.warning(text.span_of(at..at + 2), message);
    Some(warning.with_label(pattern.span(), "this pattern"))
}
