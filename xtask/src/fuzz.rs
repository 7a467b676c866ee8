//! `cargo xtask fuzz`: libFuzzer on every reader of configuration text and of TLS records, one after the other.

use std::path::PathBuf;
use std::process::Command;

use crate::tool::{installed, passes, root};

/// The functions of the crate `relais-fuzz`.
const TARGETS: [&str; 6] = [
    "lexer",
    "parser",
    "expression",
    "rule",
    "configuration",
    "record",
];
/// Minutes for each target unless the command line says otherwise.
const MINUTES: u64 = 1;

/// Runs the targets named, or all; `--minutes N` is for each. The answer is what failed.
///
/// New inputs go to `target/fuzz`, so that a hunt leaves the committed corpora as they are. No sanitizer is asked for:
/// the readers have no unsafe code, and without one the stable compiler will do.
pub(crate) fn run(arguments: &[String]) -> Vec<&'static str> {
    let Some((minutes, targets)) = understood(arguments) else {
        eprintln!(
            "xtask: fuzz takes `--minutes N` and any of {}",
            TARGETS.join(", ")
        );
        return vec!["arguments"];
    };
    if !installed("cargo-fuzz") {
        eprintln!("xtask: cargo-fuzz is needed: cargo install cargo-fuzz");
        return vec!["cargo-fuzz"];
    }
    targets
        .into_iter()
        .filter(|target| !hunt(target, minutes))
        .collect()
}

fn understood(arguments: &[String]) -> Option<(u64, Vec<&'static str>)> {
    let mut minutes = MINUTES;
    let mut targets = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--minutes" => minutes = words.next()?.parse().ok()?,
            name => targets.push(*TARGETS.iter().find(|target| **target == name)?),
        }
    }
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    Some((minutes, targets))
}

fn hunt(target: &str, minutes: u64) -> bool {
    let found: PathBuf = root().join("target/fuzz").join(target);
    if let Err(error) = std::fs::create_dir_all(&found) {
        eprintln!("xtask: {}: {error}", found.display());
        return false;
    }
    passes(
        Command::new("cargo-fuzz")
            .current_dir(root().join("fuzz/libfuzzer"))
            .args([
                "fuzz",
                "run",
                "--fuzz-dir",
                ".",
                "--sanitizer",
                "none",
                target,
            ])
            .arg(found)
            .arg(root().join("fuzz/corpus").join(target))
            .arg("--")
            .arg(format!("-max_total_time={}", minutes * 60))
            .args(["-max_len=4096", "-timeout=25"]),
    )
}
