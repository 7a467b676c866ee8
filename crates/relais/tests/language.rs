//! The configuration language against httpd: small configurations, and whether each program accepts them.
//!
//! `conformance/language/*.cases` says of each configuration what both make of it. relais is always asked; httpd where it
//! is installed (Debian's `apache2-bin`), which proves that the files say the truth of it. Where both refuse, they must
//! refuse the same line. A configuration on which they differ has its reason behind `##`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the two programs make of a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Both accept it.
    Accepted,
    /// Both refuse it.
    Refused,
    /// relais alone refuses it.
    Stricter,
    /// httpd alone refuses it.
    Laxer,
}

impl Verdict {
    fn named(name: &str) -> Self {
        match name {
            "accepted" => Self::Accepted,
            "refused" => Self::Refused,
            "stricter" => Self::Stricter,
            "laxer" => Self::Laxer,
            other => panic!("{other} is no verdict"),
        }
    }

    fn of(httpd: bool, relais: bool) -> Self {
        match (httpd, relais) {
            (true, true) => Self::Accepted,
            (false, false) => Self::Refused,
            (true, false) => Self::Stricter,
            (false, true) => Self::Laxer,
        }
    }

    fn httpd_accepts(self) -> bool {
        matches!(self, Self::Accepted | Self::Stricter)
    }

    fn relais_accepts(self) -> bool {
        matches!(self, Self::Accepted | Self::Laxer)
    }
}

/// A configuration of a few files.
struct Case {
    /// `FILE: NAME`.
    name: String,
    verdict: Verdict,
    /// Why the programs differ.
    reason: String,
    /// Names below the case's folder and contents; the first is `case.conf`.
    files: Vec<(String, String)>,
}

impl Case {
    fn read(file: &str, text: &str) -> Self {
        let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
        let (verdict, name) = head.split_once(": ").expect("VERDICT: NAME");
        let mut body = rest;
        let mut reason = String::new();
        while let Some(line) = body.strip_prefix("## ") {
            let (line, after) = line.split_once('\n').unwrap_or((line, ""));
            reason.push_str(line);
            body = after;
        }
        let mut parts = format!("---- case.conf\n{body}");
        parts.insert(0, '\n');
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
            name: format!("{file}: {name}"),
            verdict: Verdict::named(verdict),
            reason,
            files: files.collect(),
        }
    }

    /// Writes the files into a folder, with a main file around them that both programs take.
    fn write(&self, folder: &Path) {
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
const HTTPD: &str = "/usr/sbin/apache2";
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

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn cases() -> Vec<Case> {
    let folder = repository().join("conformance/language");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder with the cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
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
                .map(|part| Case::read(&name, part)),
        );
    }
    cases
}

/// A folder of its own for every case, gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
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
fn judge(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
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

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// The file and line that httpd stopped at, below the case's folder; for a macro's line that of the macro's text.
fn stopped_at(said: &str, folder: &Path) -> Option<(String, usize)> {
    let place = format!("{}/", folder.display());
    let mut found = None;
    for (at, _) in said.match_indices("line ") {
        let rest = &said[at + 5..];
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        let Ok(line) = digits.parse::<usize>() else {
            continue;
        };
        let rest = &rest[digits.len()..];
        if let Some(file) = rest
            .strip_prefix(" of ")
            .and_then(|rest| rest.strip_prefix(&place))
        {
            let file = file.split([':', '\n']).next()?.to_owned();
            if file != "main.conf" {
                found = Some((file, line));
            }
        } else if let Some(rest) = rest.strip_prefix(" of macro '") {
            let (_, defined) = rest.split_once("defined on line ")?;
            let (first, defined) = defined.split_once(" of \"")?;
            let file = defined.strip_prefix(&place)?.split('"').next()?;
            let first: usize = first.parse().ok()?;
            return Some((file.to_owned(), first + line));
        }
    }
    found
}

/// Whether relais has an error at that line.
fn names_the_line(said: &str, folder: &Path, (file, line): &(String, usize)) -> bool {
    let place = format!("--> {}:{line}:", folder.join(file).display());
    let mut blocks = said.split("\n\n");
    blocks.any(|block| block.contains("error[") && block.contains(&place))
}

/// What is wrong about a case, if anything.
fn compare(case: &Case, folder: &Path, httpd: bool) -> Option<String> {
    case.write(folder);
    let own = judge(Path::new(env!("CARGO_BIN_EXE_relais")), folder, &["-t"]);
    let own_says = text(&own);
    if !matches!(own.status.code(), Some(0 | 1)) {
        return Some(format!(
            "{}: relais ended with {}\n{own_says}",
            case.name, own.status
        ));
    }
    if own.status.success() != case.verdict.relais_accepts() {
        return Some(format!(
            "{}: {:?}, but relais says\n{own_says}",
            case.name, case.verdict
        ));
    }
    if !httpd {
        return None;
    }
    let mut theirs = judge(Path::new(HTTPD), folder, &["-t"]);
    if !theirs.status.success() && text(&theirs).trim().is_empty() {
        // It has been seen to end without a word, once in some thousand times on a busy machine.
        theirs = judge(Path::new(HTTPD), folder, &["-t"]);
    }
    let they_say = text(&theirs);
    let verdict = Verdict::of(theirs.status.success(), own.status.success());
    if theirs.status.success() != case.verdict.httpd_accepts() {
        return Some(format!(
            "{}: {:?}, but it is {verdict:?}; httpd ended with {} and says\n{they_say}",
            case.name, case.verdict, theirs.status
        ));
    }
    if verdict == Verdict::Refused
        && let Some(place) = stopped_at(&they_say, folder)
        && !names_the_line(&own_says, folder, &place)
    {
        return Some(format!(
            "{}: httpd stops at {place:?}:\n{they_say}\nrelais says\n{own_says}",
            case.name
        ));
    }
    None
}

#[test]
fn both_programs_accept_and_refuse_as_the_cases_say() {
    let httpd = Path::new(HTTPD).exists();
    if !httpd {
        let needed = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!needed, "httpd is not installed (Debian's apache2-bin)");
        eprintln!("httpd is not installed (Debian's apache2-bin): relais alone is asked");
    }
    let cases = cases();
    assert!(cases.len() >= 500, "{} cases", cases.len());
    let root = Folder::new("language");
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { break };
                    let folder = root.0.join(index.to_string());
                    if let Some(what) = compare(case, &folder, httpd) {
                        wrong.lock().expect("the list").push(what);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("the list");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let count = |verdict| cases.iter().filter(|case| case.verdict == verdict).count();
    eprintln!(
        "{} configurations: {} accepted, {} refused by both, {} by relais alone, {} by httpd alone",
        cases.len(),
        count(Verdict::Accepted),
        count(Verdict::Refused),
        count(Verdict::Stricter),
        count(Verdict::Laxer)
    );
}

/// How many cases run at the same time.
const AT_A_TIME: usize = 3;

#[test]
fn every_difference_has_its_reason() {
    for case in cases() {
        let differs = matches!(case.verdict, Verdict::Stricter | Verdict::Laxer);
        assert_eq!(differs, !case.reason.is_empty(), "{}", case.name);
    }
}
