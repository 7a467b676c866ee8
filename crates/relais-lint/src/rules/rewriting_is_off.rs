//! There are rewrite rules, and RewriteEngine is not on.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0436",
    name: "rewriting-is-off",
    summary: "there are rewrite rules, and RewriteEngine is not on",
    doc: "Rules do nothing until `RewriteEngine On` stands in the same server, section or, for a virtual host, \
          in the main server.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for server in view.servers.iter().filter(|_| !view.incomplete) {
        let engine = view.in_force(server).any(|line| line.is("RewriteEngine"));
        // Whoever writes `Off` means it.
        if let Some(rule) = server.rules.first().filter(|_| !engine) {
            let warning = RULE.warning(
                rule.line.directive.name.span(),
                "this rule does nothing: RewriteEngine is not on",
            );
            found.push(view.missing(warning.with_help("put `RewriteEngine On` in front of it")));
        }
    }
}
