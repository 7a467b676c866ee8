//! A variable is written without its percent sign.

use relais_conf::{Diagnostic, Diagnostics, Text};

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0411",
    name: "missing-percent",
    summary: "a variable is written without its percent sign",
    doc: "`{HTTP:Upgrade}` is literal text, and `${HTTP:Upgrade}` a look-up in a map; both never match what \
          was meant. Variables of a request are written `%{…}`.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    let tests = view
        .rules()
        .flat_map(|rule| &rule.conditions)
        .map(|condition| &condition.test);
    let substitutions = view.rules().map(|rule| &rule.substitution);
    found.extend(tests.chain(substitutions).filter_map(look));
}

fn look(text: &Text) -> Option<Diagnostic> {
    let string = text.as_str()?;
    let (at, _) = string.match_indices('{').find(|(at, _)| {
        let before = string.get(..*at).unwrap_or("");
        let dollar = before.ends_with('$');
        let inner = string
            .get(at + 1..)
            .and_then(|rest| rest.split_once('}'))
            .map_or("", |(inner, _)| inner);
        !before.ends_with(['%', '\\']) && (is_variable(inner) && (!dollar || inner.contains(':')))
    })?;
    let start = at - usize::from(string.get(..at)?.ends_with('$'));
    let end = at + 1 + string.get(at + 1..)?.find('}')? + 1;
    let name = string.get(at..end)?;
    let message = format!(
        "`{}` is literal text here, not a variable",
        string.get(start..end)?
    );
    let warning = RULE.warning(text.span_of(start..end), message);
    Some(warning.with_suggestion(text.span_of(start..end), format!("%{name}")))
}

/// `HTTP_HOST`, `HTTP:Upgrade` and their like.
fn is_variable(name: &str) -> bool {
    const STARTS: [&str; 9] = [
        "HTTP:",
        "HTTP_",
        "REQUEST_",
        "REMOTE_",
        "SERVER_",
        "QUERY_",
        "ENV:",
        "SSL:",
        "THE_REQUEST",
    ];
    STARTS.iter().any(|start| name.starts_with(start)) || name == "HTTPS"
}
