//! A dot in the literal part of a pattern fits any character.

use relais_conf::{Diagnostic, Diagnostics, Text};

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0429",
    name: "dot-not-escaped",
    summary: "a dot in the literal part of a pattern fits any character",
    doc: "`^/socket.io` fits `/socketxio` as well. Write `\\.` for a dot.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for rule in view.rules() {
        let paths = rule
            .conditions
            .iter()
            .filter(|condition| condition.tests("request_uri"))
            .map(|condition| &condition.pattern);
        let own = Some(&rule.pattern).filter(|_| rule.proxies());
        found.extend(own.into_iter().chain(paths).filter_map(look));
    }
    found.extend(
        view.passes()
            .filter(|pass| pass.pattern)
            .filter_map(|pass| look(&pass.path)),
    );
}

fn look(pattern: &Text) -> Option<Diagnostic> {
    let text = pattern.as_str()?;
    let bytes = text.as_bytes();
    let letter = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphabetic);
    let at = (1..bytes.len()).find(|&at| {
        bytes[at] == b'.' && letter(at - 1) && letter(at + 1) && !(at > 1 && bytes[at - 2] == b'\\')
    })?;
    if text.starts_with(['=', '<', '>', '-']) || text.get(..at)?.contains('[') {
        return None;
    }
    let fixed = format!("{}\\{}", text.get(..at)?, text.get(at..)?);
    let note = RULE.note(pattern.span_of(at..at + 1), "this dot fits any character");
    Some(note.with_suggestion(pattern.span(), fixed))
}
