//! The pattern of a proxying rule fits in the middle of a path.

use relais_conf::{Diagnostic, Diagnostics, Text};

use crate::Rule;
use crate::view::{View, matches_all};

pub(super) const RULE: Rule = Rule {
    code: "RC0407",
    name: "unanchored-proxy",
    summary: "the pattern of a proxying rule fits in the middle of a path",
    doc: "A pattern that does not start with `^` fits anywhere: `RewriteRule /ws/(.*) ws://origin/$1 [P]` \
          takes `/static/ws/x` as well, and what stands in front is lost. `/(.*)` and `.*` alone are left in \
          peace, since they fit every path from its start.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    let rules = view
        .rules()
        .filter(|rule| rule.proxies())
        .map(|rule| &rule.pattern);
    let passes = view
        .passes()
        .filter(|pass| pass.pattern && pass.line.sections.is_empty())
        .map(|pass| &pass.path);
    found.extend(rules.chain(passes).filter_map(look));
}

fn look(pattern: &Text) -> Option<Diagnostic> {
    let text = pattern.as_str()?;
    let anchored = text.starts_with(['^', '!', '('])
        && (text.starts_with(['^', '!']) || text.starts_with("(^"));
    // A pattern that starts with a group or a class may be anything; one for the end of a path is meant so.
    if anchored
        || matches_all(text)
        || !text.starts_with('/')
        || (text.ends_with('$') && !text.contains('('))
    {
        return None;
    }
    let warning = RULE.warning(
        pattern.span_of(0..1),
        format!(
            "the pattern is not anchored, so that it fits in the middle of a path: /other{} too",
            example(text)
        ),
    );
    Some(warning.with_suggestion(pattern.span(), format!("^{text}")))
}

/// The literal start of a pattern.
fn example(pattern: &str) -> &str {
    let end = pattern.find(|c: char| !(c.is_ascii_alphanumeric() || "/-_".contains(c)));
    pattern
        .get(..end.unwrap_or(pattern.len()))
        .unwrap_or(pattern)
}
