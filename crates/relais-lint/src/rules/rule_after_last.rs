//! A rewrite rule is never reached because the one above takes every request.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::{Rewrite, View, matches_all};

pub(super) const RULE: Rule = Rule {
    code: "RC0406",
    name: "rule-after-last",
    summary: "a rewrite rule is never reached because the one above takes every request",
    doc: "A rule without conditions whose pattern fits every path and whose flags end rewriting (`L`, `END`, \
          `P`, `F`, `G`) is the last one that runs. Rules below it in the same place do nothing.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for server in &view.servers {
        let mut last: Vec<&Rewrite<'_>> = Vec::new();
        let jumps = server
            .rules
            .iter()
            .any(|rule| rule.has("s", "skip") || rule.has("c", "chain") || rule.has("n", "next"));
        // Where rules jump, the order in the file says little.
        let rules = server.rules.iter().filter(|_| !jumps);
        for rule in rules {
            let before = last
                .iter()
                .find(|before| before.line.is_beside(&rule.line.sections));
            match before {
                Some(before) => {
                    let message = "this rule is never reached: the one above ends rewriting for every request";
                    let warning = RULE.warning(rule.line.directive.span, message);
                    found.push(
                        warning.with_label(
                            before.line.directive.span,
                            "no request gets past this rule",
                        ),
                    );
                }
                None if ends_all(rule) => last.push(rule),
                None => {}
            }
        }
    }
}

fn ends_all(rule: &Rewrite<'_>) -> bool {
    const LAST: [(&str, &str); 5] = [
        ("l", "last"),
        ("end", "end"),
        ("p", "proxy"),
        ("f", "forbidden"),
        ("g", "gone"),
    ];
    rule.conditions.is_empty()
        && matches_all(&rule.pattern.lossy())
        && LAST.iter().any(|(short, long)| rule.has(short, long))
}
