//! Connection is compared as a whole.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0410",
    name: "connection-compared-whole",
    summary: "Connection is compared as a whole",
    doc: "Browsers send `Connection: keep-alive, Upgrade`, so that `=Upgrade` and `^Upgrade$` do not fit. Look \
          for the word: `RewriteCond %{HTTP:Connection} upgrade [NC]`.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for condition in view.rules().flat_map(|rule| &rule.conditions) {
        let pattern = condition.pattern.lossy().to_ascii_lowercase();
        let whole = matches!(pattern.trim_start_matches('!'), "=upgrade" | "^upgrade$");
        if whole && condition.tests("http:connection") {
            let message = "Connection is compared as a whole: `keep-alive, Upgrade` does not match";
            let warning = RULE.warning(condition.pattern.span(), message);
            found.push(warning.with_suggestion(condition.pattern.span(), "upgrade"));
        }
    }
}
