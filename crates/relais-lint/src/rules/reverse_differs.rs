//! ProxyPassReverse differs from the ProxyPass of its path.

use relais_conf::{Diagnostic, Diagnostics};

use crate::Rule;
use crate::view::{Line, Pass, Server, View, has_scheme};

pub(super) const RULE: Rule = Rule {
    code: "RC0414",
    name: "reverse-differs",
    summary: "ProxyPassReverse differs from the ProxyPass of its path",
    doc: "`ProxyPassReverse` compares `Location` with its URL from the left. When the URL is not that of the \
          `ProxyPass` of the same path, by a slash or a stray quote or another port, redirects of the origin \
          reach the client as they are.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for server in &view.servers {
        for line in server.named("ProxyPassReverse") {
            found.extend(look(server, line));
        }
    }
}

fn look(server: &Server<'_>, line: &Line<'_>) -> Option<Diagnostic> {
    let words = line.words();
    let [path, url] = words.as_slice() else {
        return None;
    };
    let same_path =
        |pass: &&Pass<'_>| pass.is_listed() && !pass.pattern && pass.path.bytes() == path.bytes();
    let mut passes = server.passes.iter().filter(same_path);
    let (first, others) = (passes.next()?, passes.next());
    // A balancer's members have URLs of their own, and a second line may name the origin's other names.
    let comparable = has_scheme(&first.target, &["http://", "https://"])
        && has_scheme(url, &["http://", "https://"]);
    let lines = server.named("ProxyPassReverse").filter(|other| {
        other
            .words()
            .first()
            .is_some_and(|word| word.bytes() == path.bytes())
    });
    if !comparable || others.is_some() || lines.count() > 1 || first.target.bytes() == url.bytes() {
        return None;
    }
    // A URL that is a prefix of the target fits as well; it only gives another path.
    let warning = RULE.warning(
        url.span(),
        "this URL is not that of the ProxyPass for the same path",
    );
    Some(
        warning
            .with_label(first.target.span(), "the ProxyPass")
            .with_suggestion(url.span(), first.target.lossy()),
    )
}
