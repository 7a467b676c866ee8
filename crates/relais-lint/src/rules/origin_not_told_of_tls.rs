//! A TLS host proxies without telling the origin that TLS was used.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::{View, has_scheme};

pub(super) const RULE: Rule = Rule {
    code: "RC0424",
    name: "origin-not-told-of-tls",
    summary: "a TLS host proxies without telling the origin that TLS was used",
    doc: "An application behind a TLS host that does not know makes redirects and cookies for `http://`. \
          `RequestHeader set X-Forwarded-Proto https` tells it; some read `X-Forwarded-Ssl` or `Forwarded` \
          instead.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for host in view
        .hosts()
        .iter()
        .filter(|host| !view.incomplete && host.proxies())
    {
        let tls = view.in_force(host).any(|line| line.says("SSLEngine", "on"));
        let tells = view.in_force(host).any(|line| {
            let args = || line.directive.args.lossy().to_ascii_lowercase();
            line.is("RequestHeader") && TELLING.iter().any(|name| args().contains(name))
        });
        let plain = host
            .targets()
            .find(|target| has_scheme(target, &["http://", "ws://", "balancer://"]));
        let Some(target) = plain.filter(|_| tls && !tells) else {
            continue;
        };
        let note = RULE.note(
            target.span(),
            "the origin is not told that the client came over TLS",
        );
        found.push(note.with_help("add `RequestHeader set X-Forwarded-Proto https`"));
    }
}

const TELLING: [&str; 5] = [
    "x-forwarded-proto",
    "x-forwarded-ssl",
    "x-forwarded-scheme",
    "forwarded",
    "x-scheme",
];
