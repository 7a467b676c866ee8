//! The same configuration file and the same requests for httpd and relais; the bytes that reach the origin and the
//! bytes that reach the client are compared.
//!
//! `conformance/cases/*.case` are the cases, `*.httpd` beside them what httpd did when it was last recorded
//! (`RELAIS_RECORD=1` records anew), and `conformance/known-differences.toml` is the list of differences with their
//! reasons. A difference that is not listed fails, and so does a listed one that no longer occurs.

mod case;
mod differences;
mod random;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use self::case::Case;
use self::differences::{Known, changed_lines};
use self::run::{Outcome, Patience, Stage};
use crate::harness::installed;
use crate::harness::program::Program;

/// Cases that may wait for something; it only ever gets smaller.
const WAITING_MAX: usize = 1;

#[test]
fn relais_and_httpd_send_the_same_bytes() {
    let known = Known::read(&folder().join("known-differences.toml"));
    let cases = cases();
    let mut report = Report::default();
    for (case, (httpd, relais)) in cases.iter().zip(both(&cases, Patience::FIRST)) {
        report.judge(case, &httpd, relais.as_ref(), &known);
    }
    // What is seen twice, and the second time with patience, is not an accident of a busy machine.
    let doubtful: Vec<Case> = cases
        .into_iter()
        .filter(|case| report.doubtful.contains(&case.name))
        .collect();
    for (case, (httpd, relais)) in doubtful.iter().zip(both(&doubtful, Patience::SECOND)) {
        report.forget(case);
        report.judge(case, &httpd, relais.as_ref(), &known);
    }
    let used: Vec<String> = report.used.iter().cloned().collect();
    let mut problems: Vec<String> = report.problems.into_values().flatten().collect();
    problems.extend(known.unused(&used, &only()));
    for (case, said) in &report.waiting {
        eprintln!("{case} waits: {said}");
    }
    eprintln!(
        "{} exchanges compared, {} with a known difference; {} cases wait for what relais does not have",
        report.compared.values().sum::<usize>(),
        used.len(),
        report.waiting.len()
    );
    if report.waiting.len() > WAITING_MAX {
        problems.push(format!("more than {WAITING_MAX} cases wait"));
    }
    let count = problems.len();
    assert!(
        count == 0,
        "{}\n\n{count} problems in the comparison with httpd",
        problems.join("\n\n")
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

/// What the comparison found, by case.
#[derive(Default)]
struct Report {
    compared: BTreeMap<String, usize>,
    used: BTreeSet<String>,
    problems: BTreeMap<String, Vec<String>>,
    /// Cases in which something was not as expected.
    doubtful: BTreeSet<String>,
    /// Cases that wait for something, with what is known about them.
    waiting: BTreeMap<String, String>,
}

/// What relais did with a case, or why it does not load it.
type Relais = Result<Vec<Outcome>, String>;

impl Report {
    fn forget(&mut self, case: &Case) {
        self.compared.remove(&case.name);
        self.problems.remove(&case.name);
        self.waiting.remove(&case.name);
        let prefix = format!("{}/", case.name);
        self.used.retain(|id| !id.starts_with(&prefix));
    }

    fn judge(
        &mut self,
        case: &Case,
        httpd: &[Outcome],
        relais: Result<&Vec<Outcome>, &String>,
        known: &Known,
    ) {
        let mut problems = check_recording(case, httpd);
        match relais {
            Err(said) if case.waits_for.is_empty() => {
                problems.push(format!("{}: relais does not load it:\n{said}", case.name));
            }
            Err(said) => {
                let line = said.lines().next().unwrap_or_default().to_owned();
                self.waiting.insert(case.name.clone(), line);
            }
            Ok(relais) => {
                let differences = self.compare(case, httpd, relais, known);
                if case.waits_for.is_empty() {
                    problems.extend(differences);
                } else {
                    let said = format!(
                        "it loads, {} of {} exchanges differ: \"Waits for\" can go when none does\n{}",
                        differences.len(),
                        httpd.len(),
                        differences.join("\n")
                    );
                    self.waiting.insert(case.name.clone(), said);
                }
            }
        }
        if !problems.is_empty() {
            self.doubtful.insert(case.name.clone());
            self.problems.insert(case.name.clone(), problems);
        }
    }

    fn compare(
        &mut self,
        case: &Case,
        httpd: &[Outcome],
        relais: &[Outcome],
        known: &Known,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        if httpd.len() != relais.len() {
            problems.push(format!("{}: not every exchange was run", case.name));
        }
        for (expected, actual) in httpd.iter().zip(relais) {
            *self.compared.entry(case.name.clone()).or_default() += 1;
            let id = format!("{}/{}", case.name, expected.name);
            let difference = changed_lines(&expected.text, &actual.text);
            let difference = known.without_everywhere(&difference);
            match known.get(&id) {
                None if difference.is_empty() => {}
                None => problems.push(format!("{id}: - httpd, + relais\n{difference}")),
                Some(listed) if known.without_everywhere(listed) == difference => {
                    self.used.insert(id);
                }
                Some(listed) => {
                    problems.push(format!(
                        "{id}: listed\n{listed}\nbut there is\n{difference}"
                    ));
                    self.used.insert(id);
                }
            }
        }
        problems
    }
}

/// The cases with httpd and with relais, in order.
fn both(cases: &[Case], patience: Patience) -> Vec<(Vec<Outcome>, Relais)> {
    let (alone, together): (Vec<&Case>, Vec<&Case>) =
        cases.iter().partition(|case| case.is_alone());
    let mut batches: Vec<Vec<&Case>> = together.chunks(140).map(<[&Case]>::to_vec).collect();
    batches.extend(alone.into_iter().map(|case| vec![case]));
    let (mut httpd, mut relais) = (BTreeMap::new(), BTreeMap::new());
    for four in batches.chunks(4) {
        std::thread::scope(|scope| {
            let runs: Vec<_> = four
                .iter()
                .map(|batch| {
                    (
                        scope.spawn(|| by_httpd(batch, patience)),
                        scope.spawn(|| by_relais(batch, patience)),
                    )
                })
                .collect();
            for (one, other) in runs {
                httpd.extend(one.join().expect("a run of httpd"));
                relais.extend(other.join().expect("a run of relais"));
            }
        });
    }
    let seen = cases.iter().map(|case| {
        (
            httpd.remove(&case.name).unwrap_or_default(),
            relais.remove(&case.name).unwrap_or(Ok(Vec::new())),
        )
    });
    seen.collect()
}

/// What relais does with the cases that it loads, and what it says about the others.
fn by_relais(cases: &[&Case], patience: Patience) -> BTreeMap<String, Relais> {
    let stage = Stage::new(Program::Relais, cases, patience);
    let refused = stage.refused();
    let without: Vec<String> = refused.keys().cloned().collect();
    assert!(
        !without.contains(&String::new()),
        "relais refuses the lines of every case: {refused:?}"
    );
    let mut seen: BTreeMap<String, Relais> = BTreeMap::new();
    if without.len() < cases.len() {
        let outcomes = stage.run(&without);
        seen.extend(outcomes.into_iter().map(|(name, one)| (name, Ok(one))));
    }
    seen.extend(
        refused
            .into_iter()
            .map(|(name, said)| (name, Err(said.join("\n")))),
    );
    seen
}

/// What httpd does with the cases: seen now where httpd is installed, else as recorded.
fn by_httpd(cases: &[&Case], patience: Patience) -> BTreeMap<String, Vec<Outcome>> {
    if !installed(&[("/usr/sbin/apache2", "apache2-bin")]) {
        let recorded = cases
            .iter()
            .map(|case| (case.name.clone(), Outcome::read_all(&case.recording())));
        return recorded.collect();
    }
    let seen = Stage::new(Program::Httpd, cases, patience).run(&[]);
    if std::env::var_os("RELAIS_RECORD").is_some() {
        for case in cases {
            let text: String = seen[&case.name].iter().map(Outcome::to_text).collect();
            fs::write(case.recording(), format!("# {}\n{text}", httpd_version()))
                .expect("write the recording");
        }
    }
    seen
}

/// A recording made with the httpd that is installed must say what that httpd does.
fn check_recording(case: &Case, outcomes: &[Outcome]) -> Vec<String> {
    let text = fs::read_to_string(case.recording()).unwrap_or_default();
    if text.lines().next() != Some(&format!("# {}", httpd_version())) {
        return Vec::new();
    }
    let recorded = Outcome::read_all(&case.recording());
    let pairs = outcomes.iter().zip(recorded);
    pairs
        .filter_map(|(seen, recorded)| {
            let difference = changed_lines(&recorded.text, &seen.text);
            (!difference.is_empty()).then(|| {
                format!(
                    "{}/{}: httpd did otherwise when recorded\n{difference}",
                    case.name, seen.name
                )
            })
        })
        .collect()
}

fn httpd_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(ask_version);
    &VERSION
}

fn ask_version() -> String {
    if !Program::Httpd.path().exists() {
        return String::new();
    }
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

/// What the names of the cases must contain: `RELAIS_CASE` in the environment.
fn only() -> String {
    std::env::var("RELAIS_CASE").unwrap_or_default()
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
    let only = only();
    files
        .iter()
        .map(|file| Case::read(file))
        .filter(|case| case.name.contains(&only))
        .collect()
}
