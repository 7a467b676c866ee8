//! What follows the path of a request becomes part of the target's host or port.

use relais_conf::{Diagnostic, Diagnostics, Text};

use crate::Rule;
use crate::view::{View, authority_end};

pub(super) const RULE: Rule = Rule {
    code: "RC0403",
    name: "glued-authority",
    summary: "what follows the path of a request becomes part of the target's host or port",
    doc: "A target needs a slash behind its host and port. `ProxyPass / http://host:3000` asks `/abc` of the \
          host `host:3000abc`; httpd answers 500. `RewriteRule (.*) http://host:4000$1 [P]` is right only as \
          long as `$1` starts with a slash: a client that sends another path chooses the host or port \
          (CVE-2011-3368).",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for rule in view.rules().filter(|rule| rule.proxies()) {
        found.extend(glued(&rule.substitution, &rule.pattern));
    }
    for pass in view.passes() {
        if pass.pattern {
            found.extend(glued(&pass.target, &pass.path));
        } else if pass.path.bytes().ends_with(b"/") {
            found.extend(bare(&pass.target));
        }
    }
}

/// A group directly behind the authority.
fn glued(target: &Text, pattern: &Text) -> Option<Diagnostic> {
    let text = target.as_str()?;
    let end = authority_end(text)?;
    let rest = text.get(end..)?;
    // What certainly starts with a slash does no harm.
    let slash = rest.starts_with("%{REQUEST_URI}")
        || (rest.starts_with("$1") && pattern.lossy().trim_start_matches('^').starts_with("(/"));
    let group = rest.starts_with(['$', '%']) && !slash;
    // A host that is put in whole is meant so.
    if !group || text.get(..end)?.ends_with(['/', ':', '.', '@', '-']) {
        return None;
    }
    let message = "what the group holds is put directly behind the host and port of the target";
    let fixed = format!("{}/{}", text.get(..end)?, text.get(end..)?);
    let warning = RULE.warning(target.span_of(end..end + 2), message);
    Some(
        warning
            .with_help("keep the slash out of the group: `^/(.*)$` and a slash in front of `$1`")
            .with_suggestion(target.span(), fixed),
    )
}

/// A target that ends with its authority.
fn bare(target: &Text) -> Option<Diagnostic> {
    let text = target.as_str()?;
    let ends = authority_end(text)? == text.len();
    if !ends || text.contains('|') || text.starts_with("balancer:") {
        return None;
    }
    let message = format!("the target needs a slash at its end: /x becomes {text}x");
    let warning = RULE.warning(target.span(), message);
    Some(warning.with_suggestion(target.span(), format!("{text}/")))
}
