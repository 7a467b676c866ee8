//! A TLS host has no certificate.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0417",
    name: "tls-without-certificate",
    summary: "a TLS host has no certificate",
    doc: "`SSLEngine on` needs an `SSLCertificateFile` in the virtual host or the main server; httpd does not \
          start without.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for host in view.hosts().iter().filter(|_| !view.incomplete) {
        let Some(engine) = view.in_force(host).find(|line| line.is("SSLEngine")) else {
            continue;
        };
        let has = |name: &str| view.in_force(host).any(|line| line.is(name));
        let managed = view.lines().any(|line| line.is("MDomain"));
        if engine.says("SSLEngine", "on") && !has("SSLCertificateFile") && !managed {
            let warning = RULE.warning(
                engine.directive.span,
                "TLS is on, and no SSLCertificateFile is in force",
            );
            found.push(view.missing(warning.with_help("name one with `SSLCertificateFile`")));
        }
    }
}
