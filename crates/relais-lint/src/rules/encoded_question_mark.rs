//! A rewrite rule looks for an encoded question mark.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0420",
    name: "encoded-question-mark",
    summary: "a rewrite rule looks for an encoded question mark",
    doc: "A `?` in the path that a pattern sees came as `%3F`. Since 2.4.60 httpd answers 403 when such a \
          rule's result holds one, unless the rule has the flag `UnsafeAllow3F` (CVE-2024-38474). The query is \
          not part of what a pattern sees: `RewriteCond %{QUERY_STRING}` looks at it.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for rule in view
        .rules()
        .filter(|rule| !rule.flags.iter().any(|flag| flag == "unsafeallow3f"))
    {
        let text = rule.pattern.lossy().to_ascii_lowercase();
        let Some((at, length)) = ["\\?", "[?]", "%3f"]
            .iter()
            .find_map(|mark| text.find(mark).map(|at| (at, mark.len())))
        else {
            continue;
        };
        let span = rule.pattern.span_of(at..at + length);
        let warning = RULE.warning(
            span,
            "no path holds a question mark but as %3F, and httpd refuses the result with 403",
        );
        found.push(warning.with_help(
            "look at the query with `RewriteCond %{QUERY_STRING} …`, or add the flag UnsafeAllow3F",
        ));
    }
}
