//! The path and the target of ProxyPass do not end alike.

use relais_conf::{Diagnostic, Diagnostics};

use crate::Rule;
use crate::view::{Pass, View, authority_end, is_url};

pub(super) const RULE: Rule = Rule {
    code: "RC0402",
    name: "slash-at-end",
    summary: "the path and the target of ProxyPass do not end alike",
    doc: "What stands behind the path of a request is put behind the target as it is. So `ProxyPass /foo \
          http://o/bar/` turns `/foo/x` into `/bar//x`, and `ProxyPass /foo/ http://o/bar` turns it into \
          `/barx`. End both in a slash, or neither.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    let plain = view
        .passes()
        .filter(|pass| !pass.pattern && !pass.is_exclusion());
    found.extend(plain.filter_map(look));
}

fn look(pass: &Pass<'_>) -> Option<Diagnostic> {
    let (path, target) = (pass.path.as_str()?, pass.target.as_str()?);
    let has_path = authority_end(target).is_some_and(|end| end < target.len());
    let wild = path.contains(['*', '?']) || !path.starts_with('/');
    if wild || target.contains(['$', '?', '|']) || !is_url(&pass.target) {
        return None;
    }
    let (message, fixed) = match (path.ends_with('/'), target.ends_with('/')) {
        // A target without a path behind `/` is another rule's concern.
        (true, false) if has_path => (
            format!("a slash is lost: {path}x becomes {target}x"),
            format!("{target}/"),
        ),
        (false, true) => (
            format!("a slash is doubled: {path}/x becomes {target}/x"),
            target.trim_end_matches('/').to_owned(),
        ),
        _ => return None,
    };
    let end = pass.target.len();
    let warning = RULE.warning(pass.target.span_of(end.saturating_sub(1)..end), message);
    Some(
        warning
            .with_help("path and target should both end in a slash, or neither")
            .with_suggestion(pass.target.span(), fixed),
    )
}
