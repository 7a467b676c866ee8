//! `cargo xtask autobahn`: somebody else's test suite for WebSockets, through relais in both directions.
//!
//! The suite runs under CPython 2.7 only. It is installed below the target folder; where there is no such Python the
//! command says so and nothing has failed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool::{cargo, passes, root, target};

/// What makes environments for Python 2.7: later versions do not know it any more.
const VIRTUALENV: &str = "virtualenv<20.22";

/// Runs the suite with a relais built without optimisation; `--write` makes what is found the expectation.
pub(crate) fn run(arguments: &[String]) -> Vec<&'static str> {
    let write = match arguments {
        [] => false,
        [word] if word == "--write" => true,
        _ => return vec!["arguments: autobahn [--write]"],
    };
    let folder = target().join("autobahn");
    let Some(suite) = suite(&folder) else {
        eprintln!("xtask: skipped: the Autobahn suite needs CPython 2.7, as python2.7 or in pyenv");
        return Vec::new();
    };
    if !suite.exists() {
        return vec!["installing the suite"];
    }
    if !cargo(["build", "--package", "relais"]) {
        return vec!["build"];
    }
    let mut command = Command::new("sh");
    command
        .arg(root().join("conformance/autobahn/run.sh"))
        .arg(target().join("debug/relais"))
        .arg(suite)
        .arg(folder.join("results"));
    if write {
        command.arg("--write");
    }
    if passes(&mut command) {
        Vec::new()
    } else {
        vec!["autobahn"]
    }
}

/// The suite's program, installed if it was not; `None` without a Python for it.
fn suite(folder: &Path) -> Option<PathBuf> {
    let program = folder.join("suite/bin/wstest");
    if !program.exists() {
        install(folder, &old_python()?);
    }
    Some(program)
}

/// Installs the suite, as far as that works: whoever looks for the program sees it.
fn install(folder: &Path, python: &Path) -> bool {
    let (tools, suite) = (folder.join("tools"), folder.join("suite"));
    let pip = |folder: &Path, package: &str| {
        let mut command = Command::new(folder.join("bin/pip"));
        passes(command.args(["install", "--quiet", package]))
    };
    let mut old = Command::new(tools.join("bin/virtualenv"));
    old.args(["--quiet", "--python"]).arg(python).arg(&suite);
    passes(Command::new("python3").args(["-m", "venv"]).arg(&tools))
        && pip(&tools, VIRTUALENV)
        && passes(&mut old)
        && pip(&suite, "autobahntestsuite")
}

/// CPython 2.7, of the system or of pyenv.
fn old_python() -> Option<PathBuf> {
    let versions = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")))
        .map(|folder| folder.join("versions"));
    let installed = versions.and_then(|folder| std::fs::read_dir(folder).ok());
    let candidates = installed
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin/python2.7"));
    ["/usr/bin/python2.7", "/usr/local/bin/python2.7"]
        .into_iter()
        .map(PathBuf::from)
        .chain(candidates)
        .find(|python| python.exists())
}
