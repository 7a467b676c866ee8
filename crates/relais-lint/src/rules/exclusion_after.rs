//! An exclusion from proxying stands below the wider ProxyPass.

use std::collections::HashMap;

use relais_conf::Diagnostics;

use super::prefixes;
use crate::Rule;
use crate::view::{Pass, View};

pub(super) const RULE: Rule = Rule {
    code: "RC0405",
    name: "exclusion-after",
    summary: "an exclusion from proxying stands below the wider ProxyPass",
    doc: "`ProxyPass /path !` works only above the line that it makes an exception from; below it httpd \
          proxies the path all the same.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for server in &view.servers {
        let mut earlier: HashMap<&[u8], &Pass<'_>> = HashMap::new();
        for pass in server
            .passes
            .iter()
            .filter(|pass| pass.is_listed() && !pass.pattern)
        {
            let wider = prefixes(pass.path.bytes()).find_map(|prefix| earlier.get(prefix));
            if let Some(first) = wider.filter(|first| pass.is_exclusion() && !first.is_exclusion())
            {
                let message = format!(
                    "the exclusion comes too late: `ProxyPass {}` above takes these paths",
                    first.path.lossy()
                );
                let warning = RULE.warning(pass.line.directive.span, message);
                found.push(
                    warning.with_label(first.path.span(), "put the exclusion above this line"),
                );
            }
            earlier.entry(pass.path.bytes()).or_insert(pass);
        }
    }
}
