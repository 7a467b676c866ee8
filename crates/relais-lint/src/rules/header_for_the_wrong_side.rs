//! Header sets a field that only an origin would read.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0416",
    name: "header-for-the-wrong-side",
    summary: "Header sets a field that only an origin would read",
    doc: "`Header` writes into the answer, which goes to the browser. What an origin is to be told, such as \
          `X-Forwarded-Proto`, needs `RequestHeader`.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for line in view.lines().filter(|line| line.is("Header")) {
        let words = line.words();
        let rest = match words.as_slice() {
            [first, rest @ ..]
                if first.eq_ignore_case("always") || first.eq_ignore_case("onsuccess") =>
            {
                rest
            }
            all => all,
        };
        let [action, name, ..] = rest else { continue };
        let writes = ["set", "add", "append", "merge", "setifempty"]
            .iter()
            .any(|word| action.eq_ignore_case(word));
        if writes
            && FORWARDED.iter().any(|field| {
                name.bytes()
                    .trim_ascii_end()
                    .strip_suffix(b":")
                    .unwrap_or_else(|| name.bytes())
                    .eq_ignore_ascii_case(field.as_bytes())
            })
        {
            let message = format!(
                "{} goes to the browser here, and the origin is not told",
                name.lossy()
            );
            let directive = &line.directive.name;
            found.push(
                RULE.warning(directive.span(), message)
                    .with_suggestion(directive.span(), "RequestHeader"),
            );
        }
    }
}

const FORWARDED: [&str; 9] = [
    "X-Forwarded-Proto",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Real-IP",
    "X-Scheme",
    "Host",
];
