//! Access control in the form of httpd 2.2.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::{Line, View};

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
    for server in &view.servers {
        let mut lines = server
            .lines
            .iter()
            .filter(|line| is_access(line))
            .peekable();
        while let Some(first) = lines.next() {
            let mut group = vec![first];
            while let Some(next) = lines.next_if(|next| next.is_beside(&first.sections)) {
                group.push(next);
            }
            report(&group, found);
        }
    }
}

/// A note for each line. What the lines of a section say together is suggested in the place of the first.
fn report(group: &[&Line<'_>], found: &mut Diagnostics) {
    let together = replacement(group);
    for (index, line) in group.iter().enumerate() {
        let span = line.directive.span;
        let note = RULE.note(span, "access control in the form of httpd 2.2");
        found.push(match (&together, index) {
            (Some(together), 0) => note.with_suggestion(span, together.clone()),
            (Some(together), _) => {
                note.with_help(format!("`{together}` says what these lines say together"))
            }
            (None, _) => note.with_help("the `Require` lines of httpd 2.4 need none of it"),
        });
    }
}

fn is_access(line: &Line<'_>) -> bool {
    ["Order", "Allow", "Deny", "Satisfy"]
        .iter()
        .any(|name| line.is(name))
}

/// The one `Require` line that says the same, if there is one (mod_access_compat: with `deny,allow`, the default, whom
/// `Deny` names stays out unless `Allow` names him too; with `allow,deny` only he gets in whom `Allow` alone names).
fn replacement(group: &[&Line<'_>]) -> Option<String> {
    let denied = subjects(group, "Deny")?;
    let allowed = subjects(group, "Allow")?;
    if group.iter().any(|line| line.is("Satisfy")) {
        return None;
    }
    let order = group.iter().rev().find(|line| line.is("Order"));
    let allow_first = order.is_some_and(|line| line.says("Order", "allow,deny"));
    let all = |subjects: &[String]| subjects.iter().any(|subject| subject == "all");
    match (allow_first, allowed.is_empty(), denied.is_empty()) {
        (true, true, _) => Some("Require all denied".to_owned()),
        (true, false, true) => requirement(&allowed),
        (true, false, false) => all(&denied).then(|| "Require all denied".to_owned()),
        (false, _, true) => Some("Require all granted".to_owned()),
        (false, _, false) if all(&allowed) => Some("Require all granted".to_owned()),
        (false, true, false) => all(&denied).then(|| "Require all denied".to_owned()),
        (false, false, false) => all(&denied).then(|| requirement(&allowed)).flatten(),
    }
}

/// All that `Allow from` or `Deny from` name in a section; `None` if a variable is among it.
fn subjects(group: &[&Line<'_>], name: &str) -> Option<Vec<String>> {
    let lines = group.iter().filter(|line| line.is(name));
    let words = lines.flat_map(|line| line.words().into_iter().skip(1));
    let subjects: Vec<String> = words
        .map(|word| word.lossy().to_ascii_lowercase())
        .collect();
    let variable = subjects.iter().any(|subject| subject.starts_with("env="));
    (!variable).then_some(subjects)
}

/// The line that lets these in, if they are of one kind.
fn requirement(subjects: &[String]) -> Option<String> {
    if subjects.iter().any(|subject| subject == "all") {
        return Some("Require all granted".to_owned());
    }
    let is_address = |subject: &String| {
        subject.contains(':') || subject.starts_with(|c: char| c.is_ascii_digit())
    };
    let kind = match subjects
        .iter()
        .filter(|subject| is_address(subject))
        .count()
    {
        0 => "host",
        addresses if addresses == subjects.len() => "ip",
        _ => return None,
    };
    Some(format!("Require {kind} {}", subjects.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    use relais_conf::{Directive, Item, SourceMap, Span, Text, Tree};

    /// What is suggested for lines that stand in one section.
    fn suggested(lines: &str) -> Option<String> {
        let file = SourceMap::new().add("a.conf", lines.as_bytes().to_vec(), None);
        let (start, end) = (0, 1);
        let span = Span { file, start, end };
        let items = lines.lines().filter_map(|line| {
            let (name, args) = Text::new(span, line).split_word()?;
            Some(Item::Directive(Directive { name, args, span }))
        });
        let tree = Tree {
            items: items.collect(),
        };
        let view = View::new(&tree, false);
        replacement(&view.servers[0].lines.iter().collect::<Vec<_>>())
    }

    #[test]
    fn what_lines_say_together() {
        let table: &[(&str, Option<&str>)] = &[
            (
                "Order allow,deny\nAllow from all",
                Some("Require all granted"),
            ),
            (
                "Order deny,allow\nDeny from all\nAllow from 10 a.example",
                None,
            ),
            (
                "Order deny,allow\nDeny from all\nAllow from 10.0.0.0/8\nAllow from ::1",
                Some("Require ip 10.0.0.0/8 ::1"),
            ),
            (
                "Deny from all\nAllow from localhost",
                Some("Require host localhost"),
            ),
            (
                "Order deny,allow\nDeny from all\nAllow from all",
                Some("Require all granted"),
            ),
            (
                "Order allow,deny\nDeny from all\nAllow from all",
                Some("Require all denied"),
            ),
            ("Order allow,deny\nAllow from 10.1", Some("Require ip 10.1")),
            ("Order allow,deny", Some("Require all denied")),
            ("Order deny,allow", Some("Require all granted")),
            (
                "Order deny,allow\nAllow from 10.1",
                Some("Require all granted"),
            ),
            ("Order allow,deny\nAllow from all\nDeny from 10.1", None),
            ("Order deny,allow\nDeny from 10.1", None),
            ("Order deny,allow\nDeny from env=bad", None),
            ("Allow from all\nSatisfy Any", None),
        ];
        for &(lines, expected) in table {
            assert_eq!(suggested(lines).as_deref(), expected, "{lines}");
        }
    }
}
