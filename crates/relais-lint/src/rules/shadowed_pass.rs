//! A ProxyPass is never reached because a wider one stands above it.

use std::collections::HashMap;

use relais_conf::{Diagnostic, Diagnostics};

use super::prefixes;
use crate::Rule;
use crate::view::{Pass, View};

pub(super) const RULE: Rule = Rule {
    code: "RC0404",
    name: "shadowed-pass",
    summary: "a ProxyPass is never reached because a wider one stands above it",
    doc: "The first `ProxyPass` whose path fits is taken, whatever stands below. `ProxyPass / http://…` above \
          `ProxyPass /ws ws://…` sends WebSocket requests to the HTTP origin without their `Upgrade`. Put the \
          longer path first.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for server in &view.servers {
        let mut earlier: HashMap<&[u8], &Pass<'_>> = HashMap::new();
        let listed = server
            .passes
            .iter()
            .filter(|pass| pass.is_listed() && !pass.pattern);
        for pass in listed {
            let wider = prefixes(pass.path.bytes()).find_map(|prefix| earlier.get(prefix));
            if let Some(first) = wider.filter(|_| !pass.is_exclusion()) {
                found.push(shadowed(pass, first));
            }
            earlier.entry(pass.path.bytes()).or_insert(pass);
        }
    }
}

fn shadowed(pass: &Pass<'_>, first: &Pass<'_>) -> Diagnostic {
    let message = format!(
        "this line is never reached: `ProxyPass {}` above takes every path that it would",
        first.path.lossy()
    );
    let warning = RULE.warning(pass.path.span(), message);
    warning
        .with_label(first.path.span(), "this one is taken")
        .with_help("put the longer path first")
}
