//! ProxyRequests On opens a forward proxy.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0422",
    name: "forward-proxy",
    summary: "ProxyRequests On opens a forward proxy",
    doc: "A reverse proxy needs no `ProxyRequests`. With `On` whoever reaches the server can have it fetch any \
          URL.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for line in view.lines().filter(|line| line.says("ProxyRequests", "on")) {
        let warning = RULE.warning(
            line.directive.span,
            "this opens a forward proxy, to whoever reaches the server",
        );
        let words = line.words();
        found.push(match words.first() {
            Some(word) => warning.with_suggestion(word.span(), "Off"),
            None => warning,
        });
    }
}
