//! A comment behind the arguments becomes arguments.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0432",
    name: "comment-behind-arguments",
    summary: "a comment behind the arguments becomes arguments",
    doc: "`#` starts a comment only as the first character of a line. `ServerAlias a.example # note` gives the \
          host the names `#` and `note`.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    const LISTS: [&str; 7] = [
        "ServerAlias",
        "DirectoryIndex",
        "AddType",
        "AddOutputFilterByType",
        "Protocols",
        "IndexIgnore",
        "Require",
    ];
    for line in view
        .lines()
        .filter(|line| LISTS.iter().any(|name| line.is(name)))
    {
        if let Some(word) = line
            .words()
            .iter()
            .find(|word| word.bytes().starts_with(b"#"))
        {
            let warning = RULE.warning(
                word.span(),
                "this is no comment: from here on these are arguments",
            );
            found.push(warning.with_help("put the comment on a line of its own"));
        }
    }
}
