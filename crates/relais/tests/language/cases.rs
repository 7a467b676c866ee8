//! Cases: a head line, and the files of a configuration.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A configuration of a few files.
pub(crate) struct Case {
    /// `FILE: HEAD`.
    pub(crate) name: String,
    /// The head line.
    pub(crate) head: String,
    /// Names below the case's folder and contents; the first is `case.conf`.
    pub(crate) files: Vec<(String, String)>,
}

impl Case {
    /// Reads what stands behind `==== `.
    fn read(file: &str, text: &str) -> Self {
        let (head, body) = text.split_once('\n').unwrap_or((text, ""));
        let parts = format!("\n---- case.conf\n{body}");
        let files = parts.split("\n---- ").skip(1).map(|part| {
            let (name, text) = part.split_once('\n').unwrap_or((part, ""));
            let end = if text.is_empty() || text.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            (name.to_owned(), format!("{text}{end}"))
        });
        Self {
            name: format!("{file}: {head}"),
            head: head.to_owned(),
            files: files.collect(),
        }
    }

    /// All cases of a file or of the files of a folder, below `conformance/`.
    pub(crate) fn all(name: &str) -> Vec<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../conformance")
            .join(name);
        let mut files = match fs::read_dir(&path) {
            Ok(entries) => entries
                .map(|entry| entry.expect("an entry").path())
                .collect(),
            Err(_) => vec![path],
        };
        files.sort();
        let mut cases = Vec::new();
        for file in files {
            let text = fs::read_to_string(&file).expect("the cases are text");
            let name = file.file_stem().expect("a name").to_string_lossy();
            let parts = format!("\n{text}");
            cases.extend(
                parts
                    .split("\n==== ")
                    .skip(1)
                    .map(|part| Self::read(&name, part)),
            );
        }
        cases
    }

    /// Writes the files into a folder, with a main file around them that both programs take.
    pub(crate) fn write(&self, folder: &Path) {
        let place = folder.display().to_string();
        fs::create_dir_all(folder.join("logs")).expect("a folder for logs");
        for (name, text) in &self.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder is made");
            let text = text.replace("DIR", &place).replace("MODULES", MODULES);
            fs::write(path, unescaped(&text)).expect("a file is written");
        }
        let mut main = format!(
            "ServerRoot {place}\nPidFile pid\nErrorLog error.log\nServerName main.example\nListen 127.0.0.1:1\n\
             User www-data\nGroup www-data\nDocumentRoot {place}\n"
        );
        for name in LOADED {
            let _ = writeln!(main, "LoadModule {name}_module {MODULES}/mod_{name}.so");
        }
        let _ = writeln!(main, "Include {place}/case.conf");
        fs::write(folder.join("main.conf"), main).expect("the main file is written");
    }
}

/// `{{XX}}` is a byte, `{{N*c}}` N times a character, `{{EOF}}` the end.
fn unescaped(text: &str) -> Vec<u8> {
    let text = text.split("{{EOF}}").next().unwrap_or_default();
    let mut parts = text.split("{{");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_once("}}").expect("}} ends an escape");
        match code.split_once('*') {
            Some((count, what)) => {
                bytes.extend(what.repeat(count.parse().expect("a count")).bytes())
            }
            None => bytes.push(u8::from_str_radix(code, 16).expect("two hexadecimal digits")),
        }
        bytes.extend(rest.bytes());
    }
    bytes
}

/// Where Debian keeps httpd and its modules. relais opens none of them.
pub(crate) const HTTPD: &str = "/usr/sbin/apache2";
const MODULES: &str = "/usr/lib/apache2/modules";

/// What both programs load.
const LOADED: &[&str] = &[
    "access_compat",
    "alias",
    "allowmethods",
    "auth_basic",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_groupfile",
    "authz_host",
    "authz_user",
    "dir",
    "env",
    "expires",
    "headers",
    "lbmethod_bybusyness",
    "lbmethod_byrequests",
    "lbmethod_bytraffic",
    "macro",
    "mime",
    "mpm_event",
    "proxy",
    "proxy_balancer",
    "proxy_http",
    "proxy_wstunnel",
    "remoteip",
    "reqtimeout",
    "rewrite",
    "setenvif",
    "slotmem_shm",
    "socache_shmcb",
    "ssl",
];

/// A folder of its own for every case, gone when the test ends.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("relais-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a program's own check of a configuration.
pub(crate) fn judge(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg("-f")
        .arg(folder.join("main.conf"));
    command
        .env_clear()
        .env("TEST_HOST", "env.example")
        .env("TEST_PORT", "many");
    command.output().expect("the program runs")
}

pub(crate) fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Whether httpd is installed; in CI it must be.
pub(crate) fn httpd_is_there() -> bool {
    let there = Path::new(HTTPD).exists();
    if !there {
        let needed = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!needed, "httpd is not installed (Debian's apache2-bin)");
        eprintln!("httpd is not installed (Debian's apache2-bin): relais alone is asked");
    }
    there
}
