//! Running other programs.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("."))
}

/// The target folder: this program is in `debug` below it.
pub(crate) fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors()
        .nth(2)
        .map_or_else(|| root().join("target"), Path::to_owned)
}

/// Runs cargo in the workspace; true when it succeeds.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> bool {
    passes(&mut cargo_command(arguments))
}

/// cargo with these arguments, to be run in the workspace.
pub(crate) fn cargo_command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Says what is run, runs it and waits; true when it succeeds.
pub(crate) fn passes(command: &mut Command) -> bool {
    let words: Vec<String> = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    eprintln!(
        "xtask: {} {}",
        command.get_program().to_string_lossy(),
        words.join(" ")
    );
    match command.stdin(Stdio::null()).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("xtask: it does not start: {error}");
            false
        }
    }
}

/// True when the program is installed, whatever it thinks of being asked for its version.
pub(crate) fn installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .is_ok()
}
