//! SSLCertificateChainFile is obsolete.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0427",
    name: "certificate-chain-file",
    summary: "SSLCertificateChainFile is obsolete",
    doc: "Since 2.4.8 the chain belongs into `SSLCertificateFile`, behind the certificate.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for line in view
        .lines()
        .filter(|line| line.is("SSLCertificateChainFile"))
    {
        let note = RULE.note(line.directive.name.span(), "obsolete since httpd 2.4.8");
        found.push(note.with_help("append the chain to the file of SSLCertificateFile"));
    }
}
