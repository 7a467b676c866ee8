//! What rules cost: a thousand rewrite rules of which the last matches, and a map of a million lines.

use std::hint::black_box;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use relais_rewrite::TextMap;

use crate::proxies::{Proxy, Running};
use crate::{cell, load};

/// Measures both and prints them.
pub(crate) fn run(
    proxies: Vec<Proxy>,
    origin: SocketAddr,
    folder: &Path,
    rounds: usize,
    count: usize,
) -> io::Result<()> {
    let (httpd, nginx) = rules();
    let proxies: Vec<Proxy> = proxies
        .into_iter()
        .filter_map(|proxy| proxy.with_rules(&httpd, &nginx))
        .collect();
    let mut costs: Vec<Vec<f64>> = proxies.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for (proxy, costs) in proxies.iter().zip(&mut costs) {
            let running = Running::start(proxy, origin, folder)?;
            load::get(running.address, 16, 1000)?;
            costs.push(running.cpu_of(count, || load::get(running.address, 16, count))?);
        }
    }
    let mut out = io::stdout().lock();
    writeln!(out, "| proxy | CPU µs per GET behind {RULES} rules |")?;
    writeln!(out, "|---|--:|")?;
    for (proxy, costs) in proxies.iter().zip(&costs) {
        writeln!(out, "| {} | {} |", proxy.name, cell(costs))?;
    }
    writeln!(out, "\n{}", map(folder)?)
}

/// The rules in httpd's and in nginx's language: three shapes that occur in old configurations, none of which fits the
/// path but the last.
fn rules() -> (String, String) {
    let mut httpd = String::from(
        "LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so\nRewriteEngine On\n",
    );
    let mut nginx = String::new();
    for number in 1..RULES {
        let (pattern, target) = match number % 3 {
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
        httpd.push_str(&format!("RewriteRule {pattern} {target} [PT]\n"));
        nginx.push_str(&format!("rewrite {pattern} {target} last;\n"));
    }
    httpd.push_str("RewriteRule ^/page$ /pages [PT]\n");
    nginx.push_str("rewrite ^/page$ /pages last;\n");
    (httpd, nginx)
}

/// Reads a map of a million lines as relais does, and asks it.
fn map(folder: &Path) -> io::Result<String> {
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
    let (httpd, nginx) = rules();
    assert_eq!(httpd.matches("RewriteRule").count(), RULES);
    assert_eq!(nginx.lines().count(), RULES);
    assert!(httpd.trim_end().ends_with("^/page$ /pages [PT]"));
}
