//! A rule with a ws:// target lacks the flag P.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::{View, is_websocket};

pub(super) const RULE: Rule = Rule {
    code: "RC0437",
    name: "websocket-without-proxy-flag",
    summary: "a rule with a ws:// target lacks the flag P",
    doc: "Without `[P]` a substitution with another scheme than `http` is a redirect to it, which no browser \
          follows for a WebSocket.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for rule in view
        .rules()
        .filter(|rule| is_websocket(&rule.substitution) && !rule.proxies())
    {
        let warning = RULE.warning(
            rule.substitution.span(),
            "without the flag P this is a redirect to a ws:// URL",
        );
        found.push(warning.with_help("add `[P]`"));
    }
}
