//! A search for disagreements between httpd and relais in random configurations.
//!
//! [`configuration`], [`rules`], [`expressions`] and [`requests`] make samples from a seed, [`search`] runs them in
//! batches, [`smaller`] makes what disagrees as small as it can and writes it as a case file, and [`listed`] has the
//! differences that stay, with their reasons.

mod configuration;
mod expressions;
mod listed;
mod requests;
mod rules;
mod search;
mod side;
mod smaller;

use self::requests::Request;

/// A configuration of one virtual host, as parts that stand for themselves, and requests for it.
///
/// In the parts `ORIGIN` is the origin's address, `LISTEN` the address under test, and `DIR` the folder with [`FILES`].
#[derive(Clone)]
struct Sample {
    parts: Vec<String>,
    requests: Vec<Request>,
}

impl Sample {
    /// The next sample.
    fn next(random: &mut Random, requests: usize) -> Self {
        Self {
            parts: configuration::parts(random),
            requests: (0..requests).map(|_| Request::next(random)).collect(),
        }
    }

    /// How long it is.
    fn size(&self) -> usize {
        let requests = self.requests.iter().map(|request| request.bytes().len());
        self.configuration().len() + requests.sum::<usize>()
    }

    /// The configuration: the virtual host, and behind it those that are parts themselves.
    fn configuration(&self) -> String {
        let is_host = |part: &&String| part.starts_with("<VirtualHost ");
        let (hosts, own): (Vec<&String>, Vec<&String>) = self.parts.iter().partition(is_host);
        let join = |parts: Vec<&String>| parts.iter().map(|part| format!("{part}\n")).collect();
        let (hosts, own): (String, String) = (join(hosts), join(own));
        format!("<VirtualHost LISTEN>\nServerName main.example\n{ROOT}{own}</VirtualHost>\n{hosts}")
    }
}

/// What every sample begins with. httpd has a root of its own otherwise, which rules in sections see.
const ROOT: &str = "DocumentRoot DIR/docs\n";

/// The files below `DIR`.
const FILES: [(&str, &str); 5] = [
    ("docs/f/b", "file b\n"),
    ("docs/f/app/x", "file x\n"),
    ("docs/f/i.gif", "GIF89a\n"),
    ("docs/f/a b", "a space\n"),
    (
        "map.txt",
        "a first\nb second/x\nx third?y=z\nabc a%20b\n1 one\n",
    ),
];

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
struct Random(u64);

impl Random {
    /// A generator that gives the same numbers for the same seed.
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// Up to `most` different ones.
    fn some(&mut self, list: &[&str], most: usize) -> Vec<String> {
        let count = self.below(most + 1);
        let mut out: Vec<String> = Vec::new();
        for _ in 0..count {
            let one = self.pick(list).to_owned();
            if !out.contains(&one) {
                out.push(one);
            }
        }
        out
    }
}
