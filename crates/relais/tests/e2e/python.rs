//! Python's `websockets` at both ends, with compression that they negotiate through the proxy.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::program::Running;
use crate::harness::{installed, tools};

#[test]
fn websockets_talks_to_websockets() {
    if !has("websockets.asyncio.server") {
        return;
    }
    let server = Server::start("websockets_server.py");
    let proxy = Running::relais(&format!("ProxyPass /ws ws://{}/ws", server.address));
    let output = python("websockets_client.py")
        .arg(format!("ws://{}/ws/echo", proxy.address()))
        .output();
    let output = output.expect("run the client");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        said.trim(),
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12, 16 messages"
    );
}

/// A server that says its address, until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts a script of ours.
    pub(crate) fn start(script: &str) -> Self {
        let mut command = python(script);
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.expect("start the server");
        let address = first_line(&mut child);
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// True when Python and the package are there; skips as [`installed`] does otherwise.
pub(crate) fn has(package: &str) -> bool {
    if !installed(&[("python3", "python3")]) {
        return false;
    }
    let import = python_command()
        .args(["-c", &format!("import {package}")])
        .output()
        .expect("run python3");
    if import.status.success() {
        return true;
    }
    let message = format!("Python's {package} is missing; `cargo xtask test` installs it");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    eprintln!("skipped: {message}");
    false
}

/// Runs a script of ours.
pub(crate) fn python(script: &str) -> Command {
    let mut command = python_command();
    command.arg(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/e2e/python")
            .join(script),
    );
    command
}

fn python_command() -> Command {
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", tools().join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    command
}

/// The first line that the server prints: its address.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let output = child.stdout.take().expect("the server's output");
    BufReader::new(output)
        .read_line(&mut line)
        .expect("a line from the server");
    line.trim().to_owned()
}
