//! Runs byte-level cases that live outside this repository: their runners play client and origin, relais is between.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::tool::{cargo, passes, root, target};

/// A runner and its cases.
const RUNNERS: [(&str, &str); 2] = [
    ("raw_http.py", "http1-dev.json"),
    ("raw_ws.py", "ws-dev.json"),
];

/// Runs the cases of the folder in `arguments`, or of `../shared/cases`. Without the folder nothing is run, and that is
/// said.
pub(crate) fn run(arguments: &[String]) -> Vec<&'static str> {
    let folder = arguments
        .first()
        .map_or_else(|| root().join("../shared/cases"), PathBuf::from);
    if !folder.is_dir() {
        eprintln!("xtask: skipped: there is no folder {}", folder.display());
        return Vec::new();
    }
    if !cargo(["build", "--package", "relais"]) {
        return vec!["build"];
    }
    let mut failed = Vec::new();
    for (runner, cases) in RUNNERS {
        if !run_one(&folder, runner, cases) {
            failed.push(runner);
        }
    }
    failed
}

fn run_one(folder: &Path, runner: &str, cases: &str) -> bool {
    let (listen, origin) = (free_address(), free_address());
    let Some(mut relais) = start(&listen, &origin) else {
        return false;
    };
    let file = target().join("cases").join("relais.conf");
    let reload = format!(
        "{} -f {} -k graceful",
        target().join("debug/relais").display(),
        file.display()
    );
    let mut command = Command::new("python3");
    command
        .arg(folder.join(runner))
        .args(["--proxy", &listen, "--backend", &origin])
        .arg(folder.join(cases));
    command
        .arg("--json")
        .arg(target().join("cases").join(cases))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if runner == "raw_ws.py" {
        command
            .args(["--pid", &relais.id().to_string(), "--reload", &reload])
            .arg("--conf")
            .arg(&file);
    }
    let passed = passes(&mut command);
    let _ = relais.kill();
    let _ = relais.wait();
    passed
}

/// Starts relais with the configuration that the cases expect, and waits until it accepts connections.
fn start(listen: &str, origin: &str) -> Option<Child> {
    let folder = target().join("cases");
    fs::create_dir_all(&folder).ok()?;
    let text = fs::read_to_string(root().join("conformance/cases.conf")).ok()?;
    let text = text
        .replace("LISTEN", listen)
        .replace("ORIGIN", origin)
        .replace("DIR", &folder.to_string_lossy());
    let file = folder.join("relais.conf");
    fs::write(&file, text).ok()?;
    let mut command = Command::new(target().join("debug/relais"));
    let mut child = command
        .arg("-f")
        .arg(&file)
        .arg("-DFOREGROUND")
        .stdin(Stdio::null())
        .spawn()
        .ok()?;
    for _ in 0..500 {
        if TcpStream::connect(listen).is_ok() {
            return Some(child);
        }
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    eprintln!("xtask: relais does not accept connections");
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn free_address() -> String {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    address.map_or_else(
        |error| panic!("no free port: {error}"),
        |address| address.to_string(),
    )
}
