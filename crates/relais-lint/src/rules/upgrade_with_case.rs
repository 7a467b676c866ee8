//! `websocket` is compared with regard to case.

use relais_conf::{Diagnostic, Diagnostics};

use crate::Rule;
use crate::view::{Condition, View};

pub(super) const RULE: Rule = Rule {
    code: "RC0409",
    name: "upgrade-with-case",
    summary: "`websocket` is compared with regard to case",
    doc: "`Upgrade: WebSocket` is as good as `websocket` (RFC 9110, section 7.8), and old clients send it. A \
          condition without `[NC]` lets it fall through to the rule for plain HTTP.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for condition in view.rules().flat_map(|rule| &rule.conditions) {
        found.extend(look(condition));
    }
}

fn look(condition: &Condition) -> Option<Diagnostic> {
    let pattern = condition.pattern.lossy();
    let letters = pattern.contains("websocket");
    if !letters
        || pattern.contains("(?i)")
        || condition.ignores_case()
        || !condition.tests("http:upgrade")
    {
        return None;
    }
    let message =
        "the name of the protocol is compared with regard to case: `WebSocket` falls through";
    let warning = RULE.warning(condition.pattern.span(), message);
    Some(if condition.flags.is_empty() {
        warning.with_suggestion(condition.pattern.span(), format!("{pattern} [NC]"))
    } else {
        warning.with_help("add NC to the flags")
    })
}
