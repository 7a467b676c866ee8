//! A virtual host has no ServerName.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0425",
    name: "host-without-name",
    summary: "a virtual host has no ServerName",
    doc: "It answers only as the first of its address, or by the name of the machine, and `-S` shows that \
          name. When another host of the same address is added in front of it, nothing reaches it any more.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for host in &view.servers {
        if let Some(section) = host.section.filter(|_| {
            host.named("ServerName").next().is_none() && host.named("ServerAlias").next().is_none()
        }) {
            found.push(RULE.note(
                section.span,
                "this virtual host has no ServerName: it answers only as the first of its address",
            ));
        }
    }
}
