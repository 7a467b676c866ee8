//! X-Forwarded-Proto does not go with the port of its host.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0433",
    name: "forwarded-proto-of-the-other-port",
    summary: "X-Forwarded-Proto does not go with the port of its host",
    doc: "`https` on a host for port 80 is right only behind another proxy that took the TLS off; `http` on \
          port 443 is hardly ever right.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for host in &view.servers {
        for line in host.named("RequestHeader") {
            let words = line.words();
            let [_, name, value, ..] = words.as_slice() else {
                continue;
            };
            // With `env=` or `expr=` at the end it depends.
            if !name.eq_ignore_case("X-Forwarded-Proto") || words.len() > 3 {
                continue;
            }
            let wrong = (value.eq_ignore_case("https")
                && host.has_port("80")
                && !host.has_port("443"))
                || (value.eq_ignore_case("http") && host.has_port("443") && !host.has_port("80"));
            if wrong {
                found.push(RULE.note(
                    value.span(),
                    format!(
                        "the origin is told `{}` whatever the client used",
                        value.lossy()
                    ),
                ));
            }
        }
    }
}
