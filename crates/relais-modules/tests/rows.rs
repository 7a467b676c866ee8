//! Every row of every table, by its own examples.

mod common;

use std::collections::HashSet;

use relais_modules::{CODES, MODULES};
use relais_policy::{Context, DirectiveInfo};

/// The configuration that puts a line where its row allows it.
fn around(row: &DirectiveInfo, line: &str) -> String {
    if row.context.allows(Context::SERVER) {
        format!("{line}\n")
    } else if row.context.allows(Context::VHOST) {
        format!("<VirtualHost *:80>\n{line}\n</VirtualHost>\n")
    } else {
        format!("<Location /x>\n{line}\n</Location>\n")
    }
}

#[test]
fn examples_are_accepted_and_refused() {
    let mut wrong = Vec::new();
    for row in MODULES.iter().flat_map(|module| module.directives()) {
        let cases = row
            .accepts
            .iter()
            .map(|line| (line, false))
            .chain(row.refuses.iter().map(|line| (line, true)));
        for (line, refused) in cases {
            let config = common::read(&around(&row, line));
            if config.diagnostics.has_errors() != refused || config.site.is_none() != refused {
                wrong.push(format!(
                    "{line}: {}",
                    config.diagnostics.render(&config.loaded.sources)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rows_are_complete() {
    let mut seen = HashSet::new();
    for row in MODULES.iter().flat_map(|module| module.directives()) {
        assert!(
            seen.insert(row.name.to_ascii_lowercase()),
            "{} has two rows",
            row.name
        );
        assert!(row.doc.ends_with('.'), "{}", row.name);
        assert!(row.syntax.starts_with(row.name), "{}", row.name);
        assert!(
            !row.accepts.is_empty() || !row.refuses.is_empty(),
            "{} has no examples",
            row.name
        );
    }
}

/// The first digits of this crate's codes: all modules, and mod_tunnel.
const RANGES: [&str; 3] = ["RC03", "RC05", "RC06"];

#[test]
fn codes_in_use_are_those_of_the_table() {
    let mut used: Vec<String> = Vec::new();
    let mut directories = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("sources") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let text = std::fs::read_to_string(&path).expect("source");
                let lines = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("(\"RC"));
                used.extend(
                    lines
                        .flat_map(|line| line.split('"'))
                        .filter(|part| {
                            part.len() == 6 && RANGES.iter().any(|range| part.starts_with(range))
                        })
                        .map(str::to_owned),
                );
            }
        }
    }
    used.sort();
    used.dedup();
    let listed: Vec<&str> = CODES.iter().map(|(code, _)| *code).collect();
    assert_eq!(used, listed);
}
