//! The generated pages below `docs/` are those of the tables. `cargo xtask docs` writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use relais_modules::{LANGUAGE, MODULES};
use relais_policy::DirectiveInfo;
use relais_policy::build::KnownState;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a page with what it should be, or with `RELAIS_BLESS` set writes it.
fn page(name: &str, expected: &str) {
    let file = root().join("docs").join(name);
    if std::env::var_os("RELAIS_BLESS").is_some() {
        std::fs::create_dir_all(root().join("docs")).expect("docs");
        std::fs::write(&file, expected).expect("written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "docs/{name} is not fresh: cargo xtask docs"
    );
}

struct Entry {
    module: &'static str,
    state: &'static str,
    says: String,
}

/// Everything by its name: httpd's list, and the rows that go beyond it.
fn entries() -> BTreeMap<String, Entry> {
    let rows: BTreeMap<String, (&'static str, DirectiveInfo)> = MODULES
        .iter()
        .flat_map(|module| {
            module
                .directives()
                .into_iter()
                .map(|row| (module.name(), row))
        })
        .map(|(module, row)| (key(row.name), (module, row)))
        .collect();
    let mut entries = BTreeMap::new();
    for known in relais_modules::facts() {
        let name = if known.name.starts_with('<') {
            format!("{}>", known.name)
        } else {
            known.name.to_owned()
        };
        let entry = match rows.get(&key(&name)) {
            Some((_, row)) => of_row(known.module, row),
            None if LANGUAGE.contains(&name.as_str()) => Entry {
                module: known.module,
                state: "honoured",
                says: String::new(),
            },
            None => Entry {
                module: known.module,
                state: match known.state {
                    KnownState::Harmless => "no effect",
                    KnownState::NotYet => "not yet",
                    KnownState::Refused => "refused",
                },
                says: known.note.to_owned(),
            },
        };
        entries.insert(name, entry);
    }
    let known: Vec<String> = entries.keys().map(|name| key(name)).collect();
    for (name, (module, row)) in &rows {
        if !known.contains(name) {
            entries.insert(row.name.to_owned(), of_row(module, row));
        }
    }
    entries
}

fn key(name: &str) -> String {
    name.trim_end_matches('>').to_ascii_lowercase()
}

fn of_row(module: &'static str, row: &DirectiveInfo) -> Entry {
    match row.ignored {
        Some(why) => Entry {
            module,
            state: "no effect",
            says: why.to_owned(),
        },
        None => Entry {
            module,
            state: "honoured",
            says: row.doc.to_owned(),
        },
    }
}

#[test]
fn directives() {
    let entries = entries();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries.values() {
        *counts.entry(entry.state).or_default() += 1;
    }
    let mut out = String::from(
        "# Directives\n\n<!-- Written by `cargo xtask docs` from the tables in crates/relais-modules. -->\n\n\
        Every directive and section of Apache httpd 2.4.71, and what relais makes of it. *No effect* is accepted with a\n\
        note; *not yet* and *refused* are errors that say so.\n\n",
    );
    for (state, count) in &counts {
        let _ = writeln!(out, "- {state}: {count}");
    }
    out.push_str("\n| name | module | state | |\n|---|---|---|---|\n");
    for (
        name,
        Entry {
            module,
            state,
            says,
        },
    ) in &entries
    {
        let says = says.replace('|', "\\|").replace('<', "&lt;");
        let _ = writeln!(out, "| `{name}` | {module} | {state} | {says} |");
    }
    assert!(entries.len() >= 800, "{} names", entries.len());
    page("directives.md", &out);
}

#[test]
fn lints() {
    let mut out = String::from(
        "# Mistakes that `relais check` points out\n\n<!-- Written by `cargo xtask docs` from the rules in \
        crates/relais-lint. -->\n\nAll of these are valid configurations that do something else than was meant.\n",
    );
    for rule in relais_lint::RULES {
        let file = root()
            .join("crates/relais-lint/testdata")
            .join(format!("{}.diag", rule.name));
        let example = std::fs::read_to_string(file).expect("every rule has a fixture");
        let parts: Vec<&str> = example.split("----\n").collect();
        let [firing, silent, _] = parts.as_slice() else {
            panic!("{} has three parts", rule.name)
        };
        let _ = writeln!(
            out,
            "\n## {} {}\n\n*{}.*\n\n{}\n\nPoints out:\n\n```apache\n{firing}```\n\nSays nothing about:\n\n```apache\n{silent}```",
            rule.code, rule.name, rule.summary, rule.doc
        );
    }
    page("lints.md", &out);
}

/// Every code that a diagnostic can have is in one list, once.
#[test]
fn codes_are_given_out_once() {
    let lists = [
        relais_conf::CODES,
        relais_policy::CODES,
        relais_modules::CODES,
    ];
    let lints = relais_lint::RULES.iter().map(|rule| rule.code);
    let mut codes: Vec<&str> = lists
        .iter()
        .flat_map(|list| list.iter().map(|(code, _)| *code))
        .chain(lints)
        .collect();
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), count);
}
