//! A thousand rewrite rules of which the last matches, and what a map of a million lines costs.

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::time::Instant;

use relais_rewrite::TextMap;

/// The rules in httpd's language: three shapes that occur in old configurations, none of which fits the path but the
/// last.
pub(crate) fn httpd() -> String {
    let mut text = String::from(
        "LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so\nRewriteEngine On\n",
    );
    for (pattern, target) in rules() {
        text.push_str(&format!("RewriteRule {pattern} {target} [PT]\n"));
    }
    text
}

/// The same in nginx's.
pub(crate) fn nginx() -> String {
    let line = |(pattern, target)| format!("rewrite {pattern} {target} last;\n");
    rules().map(line).collect()
}

fn rules() -> impl Iterator<Item = (String, String)> {
    let rule = |number: usize| match number % 3 {
        _ if number == RULES => ("^/page$".to_owned(), "/pages".to_owned()),
        0 => (
            format!("^/section-{number}/(.*)$"),
            format!("/s/{number}/$1"),
        ),
        1 => (
            format!("^/([a-z]+)/item-{number}$"),
            format!("/item/{number}/$1"),
        ),
        _ => (
            format!("^/old/page{number}\\.html$"),
            format!("/new/{number}"),
        ),
    };
    (1..=RULES).map(rule)
}

/// Reads a map of a million lines as relais does, and asks it.
pub(crate) fn map(folder: &Path) -> io::Result<String> {
    let path = folder.join("map.txt");
    let lines: String = (0..MAP_LINES)
        .map(|line| format!("key-{line} /target/of/{line}\n"))
        .collect();
    std::fs::write(&path, lines)?;
    let start = Instant::now();
    let map = TextMap::parse(std::fs::read(&path)?)
        .ok_or_else(|| io::Error::other("the map is too large"))?;
    let loaded = start.elapsed();
    let keys: Vec<String> = (0..MAP_QUESTIONS)
        .map(|question| format!("key-{}", question * 7919 % MAP_LINES))
        .collect();
    let start = Instant::now();
    let found = keys
        .iter()
        .filter(|key| black_box(map.get(key.as_bytes())).is_some())
        .count();
    let asked = start.elapsed();
    if found != MAP_QUESTIONS {
        return Err(io::Error::other("the map has lost keys"));
    }
    Ok(format!(
        "A txt: map of {MAP_LINES} lines loads in {loaded:.2?} and answers in {:.0} ns.",
        asked.as_nanos() as f64 / MAP_QUESTIONS as f64
    ))
}

const RULES: usize = 1000;
const MAP_LINES: usize = 1_000_000;
const MAP_QUESTIONS: usize = 1_000_000;

#[test]
fn the_last_rule_is_the_one_that_fits() {
    let httpd = httpd();
    assert_eq!(httpd.matches("RewriteRule").count(), RULES);
    assert_eq!(nginx().lines().count(), RULES);
    assert!(httpd.trim_end().ends_with("^/page$ /pages [PT]"));
}
