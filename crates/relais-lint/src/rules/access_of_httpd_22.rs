//! Access control in the form of httpd 2.2.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0426",
    name: "access-of-httpd-22",
    summary: "access control in the form of httpd 2.2",
    doc: "`Order`, `Allow`, `Deny` and `Satisfy` belong to mod_access_compat and mix badly with `Require`. The \
          common cases have one line each: `Require all granted`, `Require all denied`, `Require ip \
          10.0.0.0/8`.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for line in view.lines() {
        let words = if line.is("Allow") || line.is("Deny") {
            line.words()
        } else if line.is("Satisfy") || line.is("Order") {
            Vec::new()
        } else {
            continue;
        };
        let args: Vec<String> = words
            .iter()
            .map(|word| word.lossy().to_ascii_lowercase())
            .collect();
        let subject = args.get(1..).unwrap_or_default().join(" ");
        let note = RULE.note(
            line.directive.span,
            "access control in the form of httpd 2.2",
        );
        let address = subject.starts_with(|c: char| c.is_ascii_digit());
        found.push(
            match (line.is("Allow"), line.is("Deny"), subject.as_str()) {
                (true, _, "all") => {
                    note.with_suggestion(line.directive.span, "Require all granted")
                }
                (_, true, "all") => note.with_suggestion(line.directive.span, "Require all denied"),
                (true, _, addresses) if address => {
                    note.with_suggestion(line.directive.span, format!("Require ip {addresses}"))
                }
                (_, true, addresses) if address => {
                    note.with_suggestion(line.directive.span, format!("Require not ip {addresses}"))
                }
                (true, _, host) if !host.is_empty() && !host.starts_with("env=") => {
                    note.with_suggestion(line.directive.span, format!("Require host {host}"))
                }
                _ => note.with_help("the `Require` lines of httpd 2.4 need none of it"),
            },
        );
    }
}
