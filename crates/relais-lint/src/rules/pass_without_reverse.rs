//! An HTTP target has no ProxyPassReverse.

use relais_conf::{Diagnostics, Text};

use crate::Rule;
use crate::view::{Pass, View, has_scheme};

pub(super) const RULE: Rule = Rule {
    code: "RC0428",
    name: "pass-without-reverse",
    summary: "an HTTP target has no ProxyPassReverse",
    doc: "Redirects that the origin sends name the origin's own address, which a client may not reach. \
          `ProxyPassReverse` with the same path and URL puts the public address there.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for server in &view.servers {
        let mut reversed: Vec<Text> = Vec::new();
        for line in view
            .in_force(server)
            .filter(|line| line.is("ProxyPassReverse"))
        {
            let words = line.words();
            let section = line
                .section()
                .and_then(|section| section.args.words().pop());
            reversed.extend(if words.len() > 1 {
                words.into_iter().next()
            } else {
                section
            });
        }
        let http = server
            .passes
            .iter()
            .filter(|pass| has_scheme(&pass.target, &["http://", "https://"]));
        let lone: Vec<&Pass<'_>> = http
            .filter(|pass| {
                !pass.pattern
                    && !reversed.iter().any(|path| {
                        pass.path.bytes().starts_with(
                            path.bytes()
                                .strip_suffix(b"/")
                                .unwrap_or_else(|| path.bytes()),
                        )
                    })
            })
            .collect();
        for pass in lone {
            let note = RULE.note(
                pass.target.span(),
                "redirects of this origin are not rewritten: there is no ProxyPassReverse",
            );
            let line = format!(
                "ProxyPassReverse {} {}",
                pass.path.lossy(),
                pass.target.lossy()
            );
            found.push(note.with_help(format!("add `{line}`")));
        }
    }
}
