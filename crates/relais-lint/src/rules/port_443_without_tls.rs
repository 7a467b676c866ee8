//! A virtual host on port 443 does not turn TLS on.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0418",
    name: "port-443-without-tls",
    summary: "a virtual host on port 443 does not turn TLS on",
    doc: "Nothing in the host or in the main server says `SSLEngine on`, so that the host speaks plain HTTP on \
          the port where browsers speak TLS.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for host in view
        .hosts()
        .iter()
        .filter(|host| !view.incomplete && host.has_port("443"))
    {
        let engine = view.in_force(host).any(|line| line.is("SSLEngine"));
        if let Some(section) = host.section.filter(|_| !engine) {
            let warning = RULE.warning(
                section.span,
                "this host is on port 443 and speaks plain HTTP",
            );
            found.push(warning.with_help("add `SSLEngine on` and a certificate"));
        }
    }
}
