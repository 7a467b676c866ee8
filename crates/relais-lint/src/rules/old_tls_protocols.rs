//! A list of TLS versions from before 2014.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0431",
    name: "old-tls-protocols",
    summary: "a list of TLS versions that speaks of ones that are gone",
    doc: "SSLv2 is gone and SSLv3 is in no current library; `+SSLv3` keeps httpd from starting, and `-SSLv2` \
          says nothing. TLS 1.0 and 1.1 are not spoken by relais. `SSLProtocol -all +TLSv1.2 +TLSv1.3` is what \
          is left.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for line in view
        .lines()
        .filter(|line| line.is("SSLProtocol") || line.is("SSLProxyProtocol"))
    {
        let words = line.words();
        let old = words.iter().find(|word| {
            let text = word.lossy().to_ascii_lowercase();
            matches!(text.trim_start_matches('+'), "sslv3" | "tlsv1" | "tlsv1.1")
                || matches!(text.as_str(), "-sslv2" | "sslv2" | "+sslv2")
        });
        if let Some(word) = old {
            let message = format!(
                "`{}` speaks of a version that is gone or not spoken here",
                word.lossy()
            );
            let note = RULE.note(word.span(), message);
            found.push(note.with_suggestion(line.directive.args.span(), "-all +TLSv1.2 +TLSv1.3"));
        }
    }
}
