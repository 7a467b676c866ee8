//! ProxyPassReverse has a ws:// URL.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::{View, is_websocket};

pub(super) const RULE: Rule = Rule {
    code: "RC0413",
    name: "reverse-websocket",
    summary: "ProxyPassReverse has a ws:// URL",
    doc: "`ProxyPassReverse` rewrites `Location` in answers of the origin. A `101` carries none, so that a \
          line with `ws://` does nothing; what the origin says in an ordinary answer starts with `http://`.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for line in view.lines().filter(|line| line.is("ProxyPassReverse")) {
        let words = line.words();
        let Some(url) = words.iter().find(|word| is_websocket(word)) else {
            continue;
        };
        let note = RULE.note(
            url.span(),
            "a ws:// URL matches no Location that an origin sends: the line does nothing",
        );
        let http = format!("http{}", url.lossy().get(2..).unwrap_or(""));
        found.push(note.with_help(format!(
            "remove it, or write `{http}` if the origin answers plain requests there too"
        )));
    }
}
