//! Every rule by its fixture, `testdata/NAME.diag`: a configuration that fires it, one that does not, and what is said.

use std::path::{Path, PathBuf};

use relais_conf::{Diagnostics, Host, Loaded, MemoryFiles, Options, Text, load};
use relais_lint::{RULES, Rule};

struct Everything;

impl Host for Everything {
    fn load_module(&mut self, _: &Text, _: &Text, _: &mut Diagnostics) {}

    fn module_present(&self, _: &str) -> bool {
        true
    }

    fn directive_known(&self, _: &str) -> bool {
        true
    }
}

fn read(config: &str) -> Loaded {
    let options = Options {
        main_file: PathBuf::from("/srv/main.conf"),
        server_root: PathBuf::from("/srv"),
        defines: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
        environment: Box::new(|_| None),
        version: (2, 4, 71),
    };
    let files = MemoryFiles::new().with("/srv/main.conf", config);
    load(options, &files, &mut Everything)
}

/// What one rule says about a configuration.
fn said(rule: &Rule, config: &str, incomplete: bool) -> String {
    let loaded = read(config);
    assert!(loaded.diagnostics.is_empty(), "{}: {config}", rule.name);
    let mut all = Diagnostics::new();
    relais_lint::check(&loaded, incomplete, &mut all);
    let mut own = Diagnostics::new();
    own.extend(all.iter().filter(|one| one.code == rule.code).cloned());
    own.render(&loaded.sources)
}

#[test]
fn fixtures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut wrong = Vec::new();
    for rule in RULES {
        let file = folder.join(rule.name).with_extension("diag");
        let text = std::fs::read_to_string(&file).expect("every rule has a fixture");
        let parts: Vec<&str> = text.split("----\n").collect();
        let [firing, silent, expected] = parts.as_slice() else {
            panic!("{} has three parts", file.display());
        };
        let found = said(rule, firing, false);
        if found.is_empty() {
            wrong.push(format!("{} does not fire", rule.name));
        }
        let unwanted = said(rule, silent, false);
        if !unwanted.is_empty() {
            wrong.push(format!(
                "{} fires where it should not:\n{unwanted}",
                rule.name
            ));
        }
        if found.trim_end() != expected.trim_end() {
            if std::env::var_os("RELAIS_BLESS").is_some() {
                let blessed = format!("{firing}----\n{silent}----\n{}\n", found.trim_end());
                std::fs::write(&file, blessed).expect("written");
            } else {
                wrong.push(format!("{}:\n{found}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_is_missing_may_be_in_a_file_that_was_not_read() {
    for name in [
        "tls-without-certificate",
        "no-tunnel-timeout",
        "rewriting-is-off",
    ] {
        let rule = RULES.iter().find(|rule| rule.name == name).expect("a rule");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/{name}.diag"));
        let text = std::fs::read_to_string(file).expect("a fixture");
        let firing = text.split("----\n").next().expect("a configuration");
        assert_eq!(said(rule, firing, true), "", "{name}");
    }
}

#[test]
fn the_table_is_in_order() {
    assert!(RULES.windows(2).all(|pair| pair[0].code < pair[1].code));
    for rule in RULES {
        assert!(rule.code.starts_with("RC04"), "{}", rule.code);
        assert!(rule.doc.ends_with('.'), "{}", rule.name);
        assert!(!rule.summary.ends_with('.'), "{}", rule.name);
    }
}
