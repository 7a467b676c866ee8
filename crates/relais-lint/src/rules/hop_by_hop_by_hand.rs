//! Connection or Upgrade is set by hand.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0434",
    name: "hop-by-hop-by-hand",
    summary: "Connection or Upgrade is set by hand",
    doc: "A habit from nginx. httpd and relais write both fields for every hop themselves, and take out what \
          `RequestHeader` put there; no upgrade comes of it. `ProxyPass … upgrade=websocket` or a `ws://` \
          target does.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for line in view.lines().filter(|line| line.is("RequestHeader")) {
        let words = line.words();
        let [action, name, ..] = words.as_slice() else {
            continue;
        };
        let hop = name.eq_ignore_case("Connection") || name.eq_ignore_case("Upgrade");
        if hop && !action.eq_ignore_case("unset") {
            let message = format!(
                "{} is written anew for every hop: this line has no effect",
                name.lossy()
            );
            let warning = RULE.warning(name.span(), message);
            found.push(
                warning.with_help("use `upgrade=websocket` on the ProxyPass, or a `ws://` target"),
            );
        }
    }
}
