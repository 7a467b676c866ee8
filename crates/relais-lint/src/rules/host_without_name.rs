//! A virtual host has no ServerName.

use relais_conf::{Diagnostics, Section};

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0425",
    name: "host-without-name",
    summary: "a virtual host without ServerName stands behind another one of its address",
    doc: "The first virtual host of an address answers whatever name is asked for. One that stands behind it \
          answers by its names, and without any only by the main server's, which is hardly meant.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    let mut taken: Vec<String> = Vec::new();
    for host in &view.servers {
        let Some(section) = host.section else {
            continue;
        };
        let is_named =
            host.named("ServerName").next().is_some() || host.named("ServerAlias").next().is_some();
        let addresses = addresses(section);
        if !is_named && addresses.iter().all(|address| taken.contains(address)) {
            found.push(RULE.note(
                section.span,
                "this virtual host has no ServerName, and one above has the same address: it is hardly ever reached",
            ));
        }
        taken.extend(addresses);
    }
}

/// The addresses of a <VirtualHost> as they are written, with one spelling for
/// all of them.
fn addresses(section: &Section) -> Vec<String> {
    let words = section.args.words().into_iter();
    words
        .map(|word| word.lossy().to_ascii_lowercase())
        .map(|address| match address.strip_prefix("_default_") {
            Some(port) => format!("*{port}"),
            None => address,
        })
        .collect()
}
