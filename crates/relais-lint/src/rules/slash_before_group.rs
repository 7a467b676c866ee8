//! A slash is lost or doubled where a group is put into a target.

use relais_conf::{Diagnostic, Diagnostics, Text};

use crate::Rule;
use crate::view::{Pass, View};

pub(super) const RULE: Rule = Rule {
    code: "RC0401",
    name: "slash-before-group",
    summary: "a slash is lost or doubled where a group is put into a target",
    doc: "`RewriteRule ^/app/(.*)$ http://origin/app$1 [P]` is valid and turns `/app/info` into `/appinfo`: \
          the group does not hold the slash that stands in front of it. The other way round, `^/app(.*)$` with \
          `/app/$1` gives `/app//info`. Write the slash on both sides, or on neither.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for rule in view.rules().filter(|rule| rule.proxies()) {
        found.extend(joint(&rule.pattern, &rule.substitution));
    }
    for Pass { path, target, .. } in view.passes().filter(|pass| pass.pattern) {
        found.extend(joint(path, target));
    }
}

/// What becomes of the slash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joint {
    Lost,
    Doubled,
}

fn joint(pattern: &Text, substitution: &Text) -> Option<Diagnostic> {
    let text = substitution.as_str()?;
    let at = text.find("$1")?;
    let (before, after) = text.split_at(at);
    let (literal, joint) = look(pattern.as_str()?, before)?;
    let (what, fixed, from, to) = match joint {
        Joint::Lost => (
            "loses",
            format!("{before}/{after}"),
            format!("{literal}info"),
            format!("{}info", path(before)),
        ),
        Joint::Doubled => (
            "doubles",
            format!("{}{after}", before.trim_end_matches('/')),
            format!("{literal}/info"),
            format!("{}/info", path(before)),
        ),
    };
    let message = format!("this rule {what} a slash: {from} becomes {to}");
    let start = at.saturating_sub(usize::from(joint == Joint::Doubled));
    let warning = RULE.warning(substitution.span_of(start..at + 2), message);
    Some(warning.with_suggestion(substitution.span(), fixed))
}

/// The literal path in front of the first group, and what is wrong.
fn look<'p>(pattern: &'p str, before: &str) -> Option<(&'p str, Joint)> {
    let open = first_group(pattern)?;
    let (literal, group) = pattern.split_at(open);
    let literal = literal.strip_prefix('^').unwrap_or(literal);
    if literal.contains(|c: char| !(c.is_ascii_alphanumeric() || "/-_.~%".contains(c))) {
        return None;
    }
    // A target without a path is another rule's concern.
    let behind_authority = before.split_once("://").map_or(before, |(_, rest)| rest);
    let last = before
        .chars()
        .last()
        .filter(|_| behind_authority.contains('/'))?;
    let any = group.starts_with("(.*)") || group.starts_with("(.+)");
    if literal.ends_with('/') && !group.starts_with("(/") && last.is_ascii_alphanumeric() {
        return Some((literal, Joint::Lost));
    }
    let starts_with_slash = group.starts_with("(/") || (any && !literal.ends_with('/'));
    (starts_with_slash && last == '/' && !before.ends_with("://"))
        .then_some((literal, Joint::Doubled))
}

/// Where the first capturing group opens.
fn first_group(pattern: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in pattern.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => return (pattern.as_bytes().get(at + 1) != Some(&b'?')).then_some(at),
            b'[' => return None,
            _ => {}
        }
    }
    None
}

/// The path of a target, or the whole of it while there is none.
fn path(target: &str) -> &str {
    let authority = target.find("://").map_or(0, |at| at + 3);
    let slash = target.get(authority..).and_then(|rest| rest.find('/'));
    slash
        .and_then(|slash| target.get(authority + slash..))
        .unwrap_or(target)
}

#[cfg(test)]
mod tests {
    use relais_conf::SourceMap;

    use super::*;

    fn text(line: &str) -> Text {
        let mut sources = SourceMap::new();
        let file = sources.add("", line.as_bytes().to_vec(), None);
        sources.text(file)
    }

    #[test]
    fn joints() {
        let table: &[(&str, &str, Option<&str>)] = &[
            (
                "/eventbus/(.*)$",
                "http://o:7018/eventbus$1",
                Some("loses a slash: /eventbus/info becomes /eventbusinfo"),
            ),
            ("/eventbus/(.*)$", "ws://o:7018/eventbus/$1", None),
            ("^/(.*)$", "http://o:7018$1", None),
            ("^/a(.*)$", "http://o/a$1", None),
            (
                "^/a(.*)$",
                "http://o/a/$1",
                Some("doubles a slash: /a/info becomes /a//info"),
            ),
            (
                "^/a(/.*)?$",
                "http://o/b/$1",
                Some("doubles a slash: /a/info becomes /b//info"),
            ),
            (
                "^(.*)$",
                "http://o/$1",
                Some("doubles a slash: /info becomes //info"),
            ),
            ("^/(.*)$", "http://o/$1", None),
            ("^/?(.*)", "ws://o/$1", None),
            ("^/user/(.*)$", "http://o/user-$1", None),
            ("^/q/(.*)$", "http://o/q?p=$1", None),
            (
                "^/a/([0-9]+)$",
                "http://o/a$1",
                Some("loses a slash: /a/info becomes /ainfo"),
            ),
            ("^/v\\(x/(.*)$", "http://o/a$1", None),
            ("^/(?:a|b)/(.*)$", "http://o/a$1", None),
            ("^/a/", "http://o/a$0", None),
            ("^/a/(.*)$", "$1", None),
        ];
        for &(pattern, substitution, expected) in table {
            let found = joint(&text(pattern), &text(substitution)).map(|warning| warning.message);
            assert_eq!(
                found,
                expected.map(|tail| format!("this rule {tail}")),
                "{pattern} {substitution}"
            );
        }
    }
}
