//! An https:// or wss:// target without SSLProxyEngine.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::{View, has_scheme};

pub(super) const RULE: Rule = Rule {
    code: "RC0419",
    name: "tls-target-without-engine",
    summary: "an https:// or wss:// target without SSLProxyEngine",
    doc: "TLS towards origins has a switch of its own. Without `SSLProxyEngine on` in the same host, in its \
          `<Proxy>` or in the main server, httpd answers 500.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for server in &view.servers {
        // A host whose own files are elsewhere may have the switch there.
        if view.incomplete
            || view
                .in_force(server)
                .any(|line| line.says("SSLProxyEngine", "on"))
        {
            continue;
        }
        if let Some(target) = server
            .targets()
            .find(|target| has_scheme(target, &["https://", "wss://"]))
        {
            let message = "the target is spoken to over TLS, and SSLProxyEngine is not on";
            let warning = RULE.warning(target.span(), message);
            found.push(view.missing(warning.with_help("add `SSLProxyEngine on`")));
        }
    }
}
