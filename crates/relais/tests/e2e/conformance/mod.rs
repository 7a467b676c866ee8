//! The same configuration file and the same requests for httpd and relais; the bytes that reach the origin and the
//! bytes that reach the client are compared.
//!
//! `conformance/cases/*.case` are the cases, `*.httpd` beside them what httpd did when it was last recorded
//! (`RELAIS_RECORD=1` records anew), and `conformance/known-differences.toml` is the list of differences with their
//! reasons. A difference that is not listed fails, and so does a listed one that no longer occurs.

mod case;
mod differences;
mod run;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::case::Case;
use self::differences::{Known, changed_lines};
use self::run::Outcome;
use crate::harness::installed;
use crate::harness::program::{Program, Site};

#[test]
fn relais_and_httpd_send_the_same_bytes() {
    let known = Known::read(&folder().join("known-differences.toml"));
    let mut report = Report::default();
    let (cases, waiting): (Vec<Case>, Vec<Case>) = cases()
        .into_iter()
        .partition(|case| case.waits_for.is_empty());
    for case in &waiting {
        report.problems.extend(not_refused(case));
        if std::env::var_os("RELAIS_RECORD").is_some() {
            by_httpd(case);
        }
    }
    // All at once: the runs wait for sockets most of the time.
    let runs: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = cases
            .iter()
            .map(|case| scope.spawn(|| both(case)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a pair of runs"))
            .collect()
    });
    for (case, (httpd, relais)) in cases.iter().zip(runs) {
        match (httpd, relais) {
            (Some(httpd), Some(relais)) => report.compare(case, &httpd, &relais, &known),
            _ => report.problems.push(format!(
                "{}: a program did not run it, see above",
                case.name
            )),
        }
    }
    report.problems.extend(known.unused(&report.used));
    eprintln!(
        "{} exchanges compared, {} with a known difference",
        report.compared,
        report.used.len()
    );
    let count = report.problems.len();
    assert!(
        count == 0,
        "{}\n\n{count} problems in the comparison with httpd",
        report.problems.join("\n\n")
    );
}

#[test]
fn every_exchange_has_a_recording() {
    for case in cases() {
        let recorded: Vec<String> = Outcome::read_all(&case.recording())
            .into_iter()
            .map(|one| one.name)
            .collect();
        let names: Vec<String> = case
            .exchanges
            .iter()
            .map(|exchange| exchange.name.clone())
            .collect();
        assert_eq!(recorded, names, "{}: RELAIS_RECORD=1 records it", case.name);
    }
}

/// What a case waits for and relais does not refuse by name: it is there by now, or is skipped silently.
fn not_refused(case: &Case) -> Vec<String> {
    let configuration = case
        .configuration
        .replace("ORIGIN", "127.0.0.1:1")
        .replace("DEAD", "127.0.0.1:2");
    let output = Site::new(Program::Relais, &configuration).run(&["-t"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let refused = |name: &String| {
        said.lines().any(|line| {
            line.starts_with("error[RC0204]")
                && line.split([' ', '`']).any(|word| word == name.as_str())
        })
    };
    let missing = case.waits_for.iter().filter(|name| !refused(name));
    missing
        .map(|name| format!("{}: waits for {name}, which is not refused", case.name))
        .collect()
}

/// What the comparison found.
#[derive(Default)]
struct Report {
    compared: usize,
    used: Vec<String>,
    problems: Vec<String>,
}

impl Report {
    fn compare(&mut self, case: &Case, httpd: &[Outcome], relais: &[Outcome], known: &Known) {
        for (expected, actual) in httpd.iter().zip(relais) {
            self.compared += 1;
            let id = format!("{}/{}", case.name, expected.name);
            let difference = changed_lines(&expected.text, &actual.text);
            match known.get(&id) {
                None if difference.is_empty() => {}
                None => self
                    .problems
                    .push(format!("{id}: - httpd, + relais\n{difference}")),
                Some(listed) if listed == difference => self.used.push(id),
                Some(listed) => {
                    self.problems.push(format!(
                        "{id}: listed\n{listed}\nbut there is\n{difference}"
                    ));
                    self.used.push(id);
                }
            }
        }
    }
}

/// The case with httpd and with relais; nothing for one that does not start or ends too early.
fn both(case: &Case) -> (Option<Vec<Outcome>>, Option<Vec<Outcome>>) {
    std::thread::scope(|scope| {
        let httpd = scope.spawn(|| by_httpd(case));
        let relais = scope.spawn(|| run::run(Program::Relais, case));
        (httpd.join().ok(), relais.join().ok())
    })
}

/// What httpd does with the case: seen now where httpd is installed, else as recorded.
fn by_httpd(case: &Case) -> Vec<Outcome> {
    if !installed(&[("/usr/sbin/apache2", "apache2-bin")]) {
        return Outcome::read_all(&case.recording());
    }
    let outcomes = run::run(Program::Httpd, case);
    if std::env::var_os("RELAIS_RECORD").is_some() {
        let text: String = outcomes.iter().map(Outcome::to_text).collect();
        fs::write(case.recording(), format!("# {}\n{text}", httpd_version()))
            .expect("write the recording");
    } else {
        check_recording(case, &outcomes);
    }
    outcomes
}

/// A recording made with the httpd that is installed must say what that httpd does.
fn check_recording(case: &Case, outcomes: &[Outcome]) {
    let text = fs::read_to_string(case.recording()).unwrap_or_default();
    if text.lines().next() != Some(&format!("# {}", httpd_version())) {
        return;
    }
    for (seen, recorded) in outcomes.iter().zip(Outcome::read_all(&case.recording())) {
        let difference = changed_lines(&recorded.text, &seen.text);
        assert!(
            difference.is_empty(),
            "{}/{}: httpd did otherwise when recorded\n{difference}",
            case.name,
            seen.name
        );
    }
}

fn httpd_version() -> String {
    let output = Command::new(Program::Httpd.path())
        .arg("-v")
        .output()
        .expect("ask httpd for its version");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("Server version: ").to_owned()
}

/// The folder with the cases and the list of differences.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance")
}

fn cases() -> Vec<Case> {
    let files = fs::read_dir(folder().join("cases"))
        .expect("the folder of cases")
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "case"))
        .collect();
    files.sort();
    let only = std::env::var("RELAIS_CASE").unwrap_or_default();
    files
        .iter()
        .map(|file| Case::read(file))
        .filter(|case| case.name.contains(&only))
        .collect()
}
