//! The certificate of the origin is not checked.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::{View, has_scheme};

pub(super) const RULE: Rule = Rule {
    code: "RC0430",
    name: "origin-not-verified",
    summary: "the certificate of the origin is not checked",
    doc: "`SSLProxyVerify none`, or a name check that is off, lets anybody who can answer in the origin's \
          place read and change what is proxied. Name the authority with `SSLProxyCACertificateFile` and let \
          the name be checked.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for server in &view.servers {
        let tls = server
            .targets()
            .any(|target| has_scheme(target, &["https://", "wss://"]))
            || server.section.is_none();
        let off = server.lines.iter().find(|line| {
            line.says("SSLProxyVerify", "none") || line.says("SSLProxyCheckPeerName", "off")
        });
        if let Some(line) = off.filter(|_| tls) {
            let note = RULE.note(
                line.directive.span,
                "whoever answers in the origin's place is believed",
            );
            found.push(note.with_help("name its authority with `SSLProxyCACertificateFile`"));
        }
    }
}
