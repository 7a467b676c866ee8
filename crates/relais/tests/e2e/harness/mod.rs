//! What the end-to-end tests share: a folder per test, the program under test, raw connections, a scripted origin.

pub(crate) mod crowd;
pub(crate) mod origin;
pub(crate) mod program;
pub(crate) mod text;
pub(crate) mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for something that must happen. It only bounds a failing test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that is removed when the test ends, and kept when it panics.
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// A new folder below the system's temporary folder, writable by the user to which a server started by root drops.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Always of the same length, so that a page that shows it has the same length in every run.
        let name = format!(
            "relais-e2e-{:07}-{:05}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("create the test's folder");
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(&path, everyone).expect("open the test's folder to the server's user");
        Self(path)
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A path inside the folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The text of a file inside the folder; empty while it does not exist.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read(self.join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the test's folder is kept: {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Waits until `condition` holds; `false` when it still does not after [`PATIENCE`].
pub(crate) fn eventually(condition: impl FnMut() -> bool) -> bool {
    within(PATIENCE, condition)
}

/// Waits until `condition` holds, at most `limit`.
pub(crate) fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// True when every program is installed. Otherwise the test is to return at once: it is skipped, except in CI, where a
/// skipped test would hide a missing installation step.
pub(crate) fn installed(needs: &[(&str, &str)]) -> bool {
    let missing: Vec<String> = needs
        .iter()
        .filter(|(program, _)| !runs(program))
        .map(|(program, package)| format!("{program} (Debian package {package})"))
        .collect();
    if missing.is_empty() {
        return true;
    }
    let message = format!(
        "not installed: {}; `cargo xtask test` installs it",
        missing.join(", ")
    );
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    eprintln!("skipped: {message}");
    false
}

/// True when the program starts and says its version, whatever exit status it gives that.
fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// The folder in which `cargo xtask test` puts tools that are not Debian packages, below the target folder.
pub(crate) fn tools() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-tools")
}
