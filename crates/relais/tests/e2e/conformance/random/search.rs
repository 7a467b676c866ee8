//! Looks for disagreements between httpd and relais in random configurations, and makes each as small as it can.
//!
//! All samples of a batch are virtual hosts of one process of either program. The origin answers with what it received,
//! so that a response shows both. `RELAIS_RANDOM_MINUTES` and `RELAIS_RANDOM_SEED` make the search longer and another.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::requests::Request;
use super::side::{self, Side};
use super::{Random, Sample, listed, smaller};
use crate::conformance::differences::changed_lines;
use crate::harness::origin::Origin;
use crate::harness::program::Program;
use crate::harness::wire::field;
use crate::harness::{Dir, installed};

#[test]
fn random_configurations_have_the_same_outcome() {
    if !installed(&[("/usr/sbin/apache2", "apache2-bin")]) {
        return;
    }
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let minutes = number("RELAIS_RANDOM_MINUTES");
    let seed = number("RELAIS_RANDOM_SEED").unwrap_or(1);
    let end = minutes.map(|minutes| Instant::now() + Duration::from_secs(minutes * 60));
    let mut search = Search::new(seed);
    loop {
        search.batch();
        let is_done = match end {
            Some(end) => Instant::now() > end,
            None => search.batches == BATCHES,
        };
        if is_done {
            break;
        }
    }
    for (reason, count) in &search.listed {
        eprintln!("{count} times: {reason}");
    }
    eprintln!("seed {seed}, in all: {}", search.total);
    assert!(search.found.is_empty(), "{}", search.found.join("\n\n"));
}

/// How many batches the run of fixed size has.
const BATCHES: usize = 6;
/// How many configurations are in a batch.
const SAMPLES: usize = 40;
/// How many requests are sent under each configuration.
const REQUESTS: usize = 12;
/// How many disagreements with the same lines are made smaller and shown.
const SHOWN: usize = 1;

struct Search {
    random: Random,
    origin: Origin,
    files: Dir,
    batches: usize,
    total: Counts,
    /// How often a difference was found, by what differs.
    kinds: BTreeMap<String, usize>,
    /// How often a listed reason applied.
    listed: BTreeMap<&'static str, usize>,
    found: Vec<String>,
}

/// What was done.
#[derive(Clone, Copy, Default)]
struct Counts {
    configurations: usize,
    /// Configurations that a program does not load.
    refused: usize,
    /// Configurations that only one of them refuses.
    one_sided: usize,
    requests: usize,
    disagreements: usize,
    /// Disagreements that [`listed`] gives a reason for.
    listed: usize,
    /// Disagreements that were not seen again when they were asked for alone.
    vanished: usize,
    /// Batches of which a server did not start, or that ended otherwise before their end.
    lost: usize,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} configurations, {} refused ({} by one only), {} requests compared, {} disagreements, {} more are listed, {} were not seen again, {} batches lost",
            self.configurations,
            self.refused,
            self.one_sided,
            self.requests,
            self.disagreements,
            self.listed,
            self.vanished,
            self.lost
        )
    }
}

impl Search {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            origin: Origin::with(echo),
            files: side::files(),
            batches: 0,
            total: Counts::default(),
            kinds: BTreeMap::new(),
            listed: BTreeMap::new(),
            found: Vec::new(),
        }
    }

    /// One batch. A long run outlives a port that somebody else has taken; what is lost is counted.
    fn batch(&mut self) {
        let samples: Vec<Sample> = (0..SAMPLES)
            .map(|_| Sample::next(&mut self.random, REQUESTS))
            .collect();
        self.batches += 1;
        let done = catch_unwind(AssertUnwindSafe(|| self.compare(&samples)));
        if done.is_err() {
            self.total.lost += 1;
            assert!(
                self.total.lost < 3 + self.batches / 10,
                "the servers do not start"
            );
        }
        eprintln!("batch {}, in all: {}", self.batches, self.total);
    }

    fn compare(&mut self, samples: &[Sample]) {
        for (sample, run) in samples.iter().zip(self.both(samples)) {
            let differences = match run {
                Ok(differences) => differences,
                Err(refusal) => {
                    self.refuse(sample, &refusal);
                    continue;
                }
            };
            self.total.configurations += 1;
            self.total.requests += differences.len();
            for (request, difference) in sample.requests.iter().zip(differences) {
                if difference.is_empty() {
                    continue;
                }
                if let Some(reason) = listed::reason(sample, request, &difference) {
                    self.total.listed += 1;
                    *self.listed.entry(reason).or_default() += 1;
                    continue;
                }
                self.total.disagreements += 1;
                self.show(sample, request, &difference);
            }
        }
    }

    /// Counts a sample that does not load. That only one program loads it is a disagreement as well.
    fn refuse(&mut self, sample: &Sample, refusal: &Refusal) {
        self.total.refused += 1;
        let (who, said) = match (&refusal.relais, &refusal.httpd) {
            (Some(said), None) => ("relais", said),
            (None, Some(said)) => ("httpd", said),
            _ => return,
        };
        let line = said
            .lines()
            .find(|line| line.contains("error["))
            .unwrap_or(said);
        let count = self
            .kinds
            .entry(format!(
                "{who} refuses: {}",
                line.split("DIR").next().unwrap_or(line)
            ))
            .or_default();
        *count += 1;
        self.total.one_sided += 1;
        if *count <= SHOWN {
            eprintln!(
                "only {who} refuses this:\n{said}\n{}\n",
                sample.configuration()
            );
        }
    }

    /// Makes a disagreement smaller and prints it, unless the like of it was seen before.
    fn show(&mut self, sample: &Sample, request: &Request, difference: &str) {
        let count = self.kinds.entry(kind(difference)).or_default();
        *count += 1;
        if *count > SHOWN {
            return;
        }
        let one = Sample {
            parts: sample.parts.clone(),
            requests: vec![request.clone()],
        };
        if let Some(text) = self.smallest(one, statuses(difference)) {
            eprintln!("{text}\n");
            self.found.push(text);
            return;
        }
        // An accident of a busy machine, or of a process of httpd that ended.
        eprintln!("seen once and not again:\n{difference}\n");
        self.kinds
            .entry(kind(difference))
            .and_modify(|count| *count -= 1);
        self.total.disagreements -= 1;
        self.total.vanished += 1;
    }

    /// Leaves out of a sample with one request what the disagreement does not need, and writes the rest as a case.
    /// `None` if the sample alone does not disagree.
    fn smallest(&mut self, mut sample: Sample, kind: String) -> Option<String> {
        let mut difference = None;
        loop {
            let mut smaller = vec![sample.clone()];
            smaller.extend(smaller::without_one(&sample));
            let runs = self.both(&smaller);
            let still = |(index, run): (usize, &Run)| {
                let seen = run.as_ref().ok()?.first()?;
                let is_like_it =
                    kind == statuses(seen) && self::reason(&smaller[index], seen).is_none();
                is_like_it.then(|| (index, seen.clone()))
            };
            let found: Vec<(usize, String)> = runs.iter().enumerate().filter_map(still).collect();
            // The sample itself disagrees, or it was an accident.
            let Some((0, seen)) = found.first() else {
                break;
            };
            difference = Some(seen.clone());
            let least = found
                .iter()
                .skip(1)
                .min_by_key(|(index, _)| smaller[*index].size());
            let Some((index, seen)) = least else {
                break;
            };
            difference = Some(seen.clone());
            sample = smaller.swap_remove(*index);
        }
        Some(smaller::case(&sample, &difference?))
    }

    /// For each sample how the responses differ, one text for each request, or what a program says that does not load it.
    fn both(&self, samples: &[Sample]) -> Vec<Run> {
        // Connections and requests of earlier runs would fill the process.
        self.origin.script([]);
        let side = |program| Side::new(program, samples, self.origin.address, self.files.path());
        let (relais, httpd) = (side(Program::Relais), side(Program::Httpd));
        let mut refused: BTreeMap<usize, Refusal> = BTreeMap::new();
        for (index, said) in httpd.refused_by_httpd() {
            refused.entry(index).or_default().httpd = Some(said);
        }
        for (index, said) in relais.refused_by_relais() {
            refused.entry(index).or_default().relais = Some(said);
        }
        let out: Vec<usize> = refused.keys().copied().collect();
        let (seen, expected) = std::thread::scope(|scope| {
            let seen = scope.spawn(|| relais.run(samples, &out));
            let expected = httpd.run(samples, &out);
            (seen.join().expect("a run of relais"), expected)
        });
        let pairs = expected.into_iter().zip(seen).enumerate();
        let run = |(index, (expected, seen)): (usize, (Vec<String>, Vec<String>))| {
            let differences = || {
                let pairs = expected.iter().zip(&seen);
                pairs
                    .map(|(expected, seen)| changed_lines(expected, seen))
                    .collect()
            };
            refused
                .remove(&index)
                .map_or_else(|| Ok(differences()), Err)
        };
        pairs.map(run).collect()
    }
}

/// How the responses of a sample differ, or who does not load it.
type Run = Result<Vec<String>, Refusal>;

/// What the programs say that do not load a sample.
#[derive(Default)]
struct Refusal {
    relais: Option<String>,
    httpd: Option<String>,
}

fn reason(sample: &Sample, difference: &str) -> Option<&'static str> {
    if difference.is_empty() {
        return Some("there is none");
    }
    listed::reason(sample, &sample.requests[0], difference)
}

/// The status lines that differ.
fn statuses(difference: &str) -> String {
    let lines = difference.lines().filter(|line| {
        line.get(1..)
            .is_some_and(|rest| rest.starts_with("HTTP/1."))
    });
    lines.collect::<Vec<_>>().join(" ")
}

/// The lines that differ, without what tells one request from another.
fn kind(difference: &str) -> String {
    let lines = difference.lines().take(4).map(|line| {
        let words = line.split([' ', '/', '?', ':']);
        words
            .take(if line.contains("HTTP/1.1 ") { 3 } else { 1 })
            .collect::<Vec<_>>()
            .join(" ")
    });
    lines.collect::<Vec<_>>().join("|")
}

/// The origin's answer: what it received, and fields that the request asks for by number. Whether the connection is to
/// be kept is left out: relais keeps those of [P], see known-differences.toml.
pub(super) fn echo(request: &[u8]) -> Vec<u8> {
    let lines = request.split_inclusive(|byte| *byte == b'\n');
    let lines: Vec<&[u8]> = lines
        .filter(|line| !line.starts_with(b"Connection: "))
        .collect();
    let request = lines.concat();
    let (status, more) = match field(&request, "x-reply").as_deref() {
        Some("1") => (
            "200 OK",
            "X-A: a\r\nX-A: b\r\nSet-Cookie: a=b; Path=/p; Domain=in.example\r\n",
        ),
        Some("2") => ("302 Found", "Location: /moved\r\nX-B: a\r\n"),
        Some("3") => ("200 Fine", "Cache-Control: no-cache\r\nX-C: abab\r\n"),
        Some("4") => ("404 Not Found", "X-B: a\r\n"),
        Some("5") => (
            "503 Later",
            "Set-Cookie: c=d; Path=/\r\nSet-Cookie: e=f; Path=/p/x\r\n",
        ),
        _ => ("200 OK", ""),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n{more}Content-Length: {}\r\n\r\n",
        request.len()
    );
    [head.as_bytes(), &request].concat()
}
