//! Looks for disagreements between httpd and relais in random configurations, and makes each as small as it can.
//!
//! All samples of a batch are virtual hosts of one process of either program. The origin answers with what it received,
//! so that a response shows both. `RELAIS_RANDOM_MINUTES` and `RELAIS_RANDOM_SEED` make the search longer and another.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::differences::changed_lines;
use super::random::{Random, Request, Sample, sample};
use super::run::{loads, normal, quiet_address};
use crate::harness::origin::Origin;
use crate::harness::program::{Program, Site};
use crate::harness::text::escape;
use crate::harness::wire::{Conn, field};
use crate::harness::{eventually, installed};

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
    eprintln!(
        "seed {seed}: {} requests compared under {} configurations; {} configurations were refused by one program; {} disagreements",
        search.compared, search.configurations, search.refused, search.disagreements
    );
    assert!(search.found.is_empty(), "{}", search.found.join("\n\n"));
}

/// How many batches the run of fixed size has.
const BATCHES: usize = 6;
/// How many configurations are in a batch.
const SAMPLES: usize = 40;
/// How many requests are sent under each configuration.
const REQUESTS: usize = 12;
/// How many disagreements with the same lines are made smaller and shown.
const SHOWN: usize = 2;

struct Search {
    random: Random,
    origin: Origin,
    batches: usize,
    compared: usize,
    configurations: usize,
    refused: usize,
    disagreements: usize,
    /// How often a difference was found, by what differs.
    kinds: BTreeMap<String, usize>,
    found: Vec<String>,
}

impl Search {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            origin: Origin::with(echo),
            batches: 0,
            compared: 0,
            configurations: 0,
            refused: 0,
            disagreements: 0,
            kinds: BTreeMap::new(),
            found: Vec::new(),
        }
    }

    fn batch(&mut self) {
        let samples: Vec<Sample> = (0..SAMPLES)
            .map(|_| sample(&mut self.random, REQUESTS))
            .collect();
        self.batches += 1;
        let runs = self.both(&samples);
        for (sample, run) in samples.iter().zip(runs) {
            let Some(differences) = run else {
                self.refused += 1;
                continue;
            };
            self.configurations += 1;
            self.compared += differences.len();
            for (request, difference) in sample.requests.iter().zip(differences) {
                if difference.is_empty() || is_listed(sample, request, &difference) {
                    continue;
                }
                self.disagreements += 1;
                let count = self.kinds.entry(kind(&difference)).or_default();
                *count += 1;
                if *count <= SHOWN {
                    let one = Sample {
                        parts: sample.parts.clone(),
                        requests: vec![request.clone()],
                    };
                    let text = self.smallest(one);
                    eprintln!("{text}\n");
                    self.found.push(text);
                }
            }
        }
    }

    /// Leaves out of a sample with one request what the disagreement does not need.
    fn smallest(&self, mut sample: Sample) -> String {
        let mut difference = String::from("it does not occur again when it is asked for alone");
        loop {
            let mut smaller = vec![sample.clone()];
            smaller.extend(without_one(&sample));
            let runs = self.both(&smaller);
            let still =
                |run: &Option<Vec<String>>| run.as_ref().is_some_and(|run| !run[0].is_empty());
            let first = runs.first().cloned().flatten().unwrap_or_default();
            if let Some(seen) = first.into_iter().next().filter(|seen| !seen.is_empty()) {
                difference = seen;
            }
            match runs.iter().skip(1).position(still) {
                Some(at) => sample = smaller.swap_remove(at + 1),
                None => break,
            }
        }
        format!(
            "{}\n==== each line\n{}\n# - httpd, + relais\n{difference}",
            sample.parts.join("\n"),
            sample.requests[0].case_line()
        )
    }

    /// For each sample how the responses differ, one text for each request; nothing where a program does not load it.
    fn both(&self, samples: &[Sample]) -> Vec<Option<Vec<String>>> {
        let relais = Side::new(Program::Relais, samples, self.origin.address);
        let httpd = Side::new(Program::Httpd, samples, self.origin.address);
        let mut out: Vec<usize> = relais.refused_by_relais();
        out.extend(httpd.refused_by_httpd());
        let (seen, expected) = std::thread::scope(|scope| {
            let seen = scope.spawn(|| relais.run(samples, &out));
            let expected = httpd.run(samples, &out);
            (seen.join().expect("a run of relais"), expected)
        });
        let pairs = expected.into_iter().zip(seen).enumerate();
        pairs
            .map(|(index, (expected, seen))| {
                let differences = expected
                    .iter()
                    .zip(&seen)
                    .map(|(expected, seen)| changed_lines(expected, seen));
                (!out.contains(&index)).then(|| differences.collect())
            })
            .collect()
    }
}

/// What is left of a sample without one of its parts, lines or fields.
fn without_one(sample: &Sample) -> Vec<Sample> {
    let mut out = Vec::new();
    for index in 0..sample.parts.len() {
        let mut smaller = sample.clone();
        smaller.parts.remove(index);
        out.push(smaller);
        let lines: Vec<&str> = sample.parts[index].lines().collect();
        if lines.len() > 1 {
            for line in 0..lines.len() {
                let mut rest = lines.clone();
                rest.remove(line);
                let mut smaller = sample.clone();
                smaller.parts[index] = rest.join("\n");
                out.push(smaller);
            }
        }
        if let Some((start, flags)) = sample.parts[index].rsplit_once(" [") {
            for flag in flags.trim_end_matches(']').split(',') {
                let rest: Vec<&str> = flags
                    .trim_end_matches(']')
                    .split(',')
                    .filter(|other| *other != flag)
                    .collect();
                let mut smaller = sample.clone();
                smaller.parts[index] = if rest.is_empty() {
                    start.to_owned()
                } else {
                    format!("{start} [{}]", rest.join(","))
                };
                out.push(smaller);
            }
        }
    }
    let request = &sample.requests[0];
    for index in 0..request.fields.len() {
        let mut smaller = sample.clone();
        smaller.requests[0].fields.remove(index);
        out.push(smaller);
    }
    if let Some((path, _)) = request.line.split_once('?') {
        let mut smaller = sample.clone();
        smaller.requests[0].line = path.to_owned();
        out.push(smaller);
    }
    out.truncate(140);
    out
}

/// One program with the samples of a batch.
struct Side {
    site: Site,
    addresses: Vec<SocketAddr>,
}

impl Side {
    fn new(program: Program, samples: &[Sample], origin: SocketAddr) -> Self {
        let site = Site::at(quiet_address(), program, "");
        let mut addresses = Vec::new();
        for (index, sample) in samples.iter().enumerate() {
            let host = u8::try_from(100 + index).expect("at most 150 samples in one program");
            let address = SocketAddr::from(([127, 0, 1, host], site.address.port()));
            let text = format!(
                "Listen {address}\n<VirtualHost {address}>\nServerName main.example\n{}\n</VirtualHost>\n",
                sample
                    .parts
                    .join("\n")
                    .replace("ORIGIN", &origin.to_string())
            );
            fs::write(site.dir.join(&format!("{index:03}.conf")), text)
                .expect("write a sample's configuration");
            addresses.push(address);
        }
        let side = Self { site, addresses };
        side.include(&[]);
        side
    }

    /// Writes the main file, without the samples in `out`.
    fn include(&self, out: &[usize]) {
        let mut body = loads();
        for index in (0..self.addresses.len()).filter(|index| !out.contains(index)) {
            body += &format!("Include DIR/{index:03}.conf\n");
        }
        self.site.configure(&body);
    }

    fn refused_by_relais(&self) -> Vec<usize> {
        let output = self.site.run(&["-t"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let blocks = said.split("\n\n").filter(|block| block.contains("error["));
        let blocks: Vec<&str> = blocks.collect();
        (0..self.addresses.len())
            .filter(|index| {
                let file = format!("/{index:03}.conf:");
                blocks.iter().any(|block| block.contains(&file))
            })
            .collect()
    }

    /// httpd names one file at a time.
    fn refused_by_httpd(&self) -> Vec<usize> {
        let mut out = Vec::new();
        loop {
            self.include(&out);
            let output = self.site.run(&["-t"]);
            if output.status.success() {
                return out;
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let named = said.split(".conf").find_map(|part| {
                let digits = part.get(part.len().checked_sub(3)?..)?;
                digits.parse::<usize>().ok()
            });
            let index = named.unwrap_or_else(|| panic!("httpd refuses what no sample has: {said}"));
            assert!(!out.contains(&index), "httpd does not load it: {said}");
            out.push(index);
        }
    }

    /// The responses of each sample but those in `out`, in the form in which they are compared.
    fn run(self, samples: &[Sample], out: &[usize]) -> Vec<Vec<String>> {
        self.include(out);
        let Self { site, addresses } = self;
        let running = site.start();
        let results: Vec<Mutex<Vec<String>>> = samples.iter().map(|_| Mutex::default()).collect();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(sample) = samples.get(index) else {
                            break;
                        };
                        if out.contains(&index) {
                            continue;
                        }
                        let address = addresses[index];
                        eventually(|| std::net::TcpStream::connect(address).is_ok());
                        let seen = sample.requests.iter().map(|one| ask(address, one));
                        *results[index].lock().expect("a sample's responses") = seen.collect();
                    }
                });
            }
        });
        drop(running);
        results
            .into_iter()
            .map(|one| one.into_inner().expect("a sample's responses"))
            .collect()
    }
}

fn ask(address: SocketAddr, request: &Request) -> String {
    let mut conn = Conn::connect(address);
    conn.send(&request.bytes());
    let response = conn.rest();
    let lines = escape(&response).into_iter().map(|line| {
        let line = line.replace(&address.to_string(), "LISTEN");
        normal(&line)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// True for what known-differences.toml lists with a reason and random requests come upon again and again.
fn is_listed(sample: &Sample, request: &Request, difference: &str) -> bool {
    // A request target has no fragment.
    let sends_fragment = difference.lines().any(|line| {
        (line.starts_with("-GET ") || line.starts_with("-HEAD ")) && line.contains('#')
    });
    // The per cent sign of %25 is data.
    let is_data = sample.parts.iter().any(|part| part.ends_with("NoDecode"))
        && request.line.contains("%25")
        && difference.starts_with("-HTTP/1.1 400 ");
    sends_fragment || is_data
}

/// The lines that differ, without what tells one request from another.
fn kind(difference: &str) -> String {
    let lines = difference.lines().take(4).map(|line| {
        let words = line.split([' ', '/', '?']).take(2);
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("|")
}

/// The origin's answer: what it received, and fields that the request asks for by number. Whether the connection is to
/// be kept is left out: relais keeps those of [P], see known-differences.toml.
fn echo(request: &[u8]) -> Vec<u8> {
    let lines = request.split_inclusive(|byte| *byte == b'\n');
    let lines: Vec<&[u8]> = lines
        .filter(|line| !line.starts_with(b"Connection: "))
        .collect();
    let request = lines.concat();
    let more = match field(&request, "x-reply").as_deref() {
        Some("1") => "X-A: a\r\nX-A: b\r\nSet-Cookie: a=b; Path=/p\r\n",
        Some("2") => "Location: /moved\r\nX-B: a\r\n",
        Some("3") => "Cache-Control: no-cache\r\nX-C: abab\r\n",
        _ => "",
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{more}Content-Length: {}\r\n\r\n",
        request.len()
    );
    [head.as_bytes(), &request].concat()
}
