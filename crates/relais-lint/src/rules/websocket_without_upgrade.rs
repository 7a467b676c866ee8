//! A rule sends requests to a ws:// target without looking at Upgrade.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::{View, is_websocket};

pub(super) const RULE: Rule = Rule {
    code: "RC0408",
    name: "websocket-without-upgrade",
    summary: "a rule sends requests to a ws:// target without looking at Upgrade",
    doc: "Without a condition on `%{HTTP:Upgrade}` plain requests to the same path go to the `ws://` origin \
          too, as ordinary HTTP. A test of the query, such as Socket.IO's `transport=websocket`, is no better: \
          such a URL may come without an upgrade.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for rule in view
        .rules()
        .filter(|rule| rule.proxies() && is_websocket(&rule.substitution))
    {
        let looks = |name: &str| {
            rule.conditions.iter().any(|condition| {
                condition.tests(name)
                    || (condition.test.eq_ignore_case("expr")
                        && condition
                            .args
                            .lossy()
                            .to_ascii_lowercase()
                            .contains("upgrade"))
            })
        };
        if looks("http:upgrade")
            || looks("http:connection")
            || looks("http:sec-websocket")
            || looks("http_upgrade")
        {
            continue;
        }
        let message =
            "this rule does not look at Upgrade: plain requests go to the ws:// target too";
        let warning = RULE.warning(rule.substitution.span(), message);
        found.push(
            warning.with_help("put `RewriteCond %{HTTP:Upgrade} websocket [NC]` in front of it"),
        );
    }
}
