//! Every rule by its fixture, `testdata/NAME.diag`: a configuration that fires it, one that does not, and what is said.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use relais_conf::{Diagnostics, Host, Loaded, MemoryFiles, Options, Text, load};
use relais_lint::{RULES, Rule};

#[path = "../../relais-modules/tests/fixtures/mod.rs"]
mod fixtures;

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
    let files = MemoryFiles::new().with("/srv/main.conf", config);
    load(Options::new("/srv/main.conf"), &files, &mut Everything)
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

fn named(name: &str) -> &'static Rule {
    let rule = RULES.iter().find(|rule| rule.name == name);
    rule.unwrap_or_else(|| panic!("{name} is no rule"))
}

#[test]
fn every_rule_has_a_fixture_with_what_fires_it_and_what_does_not() {
    let seen = RefCell::new(BTreeSet::new());
    fixtures::run_fixtures("diag", |file, parts| {
        let rule = named(&file.file_stem().expect("a name").to_string_lossy());
        let [firing, silent] = parts else {
            panic!("{} has three parts", file.display());
        };
        seen.borrow_mut().insert(rule.code);
        let found = said(rule, firing, false);
        assert!(!found.is_empty(), "{} does not fire", rule.name);
        assert_eq!(said(rule, silent, false), "", "{}", rule.name);
        found
    });
    let missing = RULES
        .iter()
        .filter(|rule| !seen.borrow().contains(rule.code));
    let missing: Vec<&str> = missing.map(|rule| rule.name).collect();
    assert!(missing.is_empty(), "without a fixture: {missing:?}");
}

#[test]
fn what_is_missing_may_be_in_a_file_that_was_not_read() {
    for name in [
        "tls-without-certificate",
        "no-tunnel-timeout",
        "rewriting-is-off",
    ] {
        let rule = named(name);
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

#[test]
fn a_part_of_a_configuration_is_judged_more_mildly() {
    let whole =
        "Listen 443\n<VirtualHost *:443>\nServerName a.example\nSSLEngine on\n</VirtualHost>\n";
    let part = whole.split_once('\n').expect("lines").1;
    let rule = named("tls-without-certificate");
    assert!(said(rule, whole, false).starts_with("warning"));
    let mild = said(rule, part, false);
    assert!(mild.starts_with("note"), "{mild}");
    assert!(mild.contains("the main file may say it"), "{mild}");
}
