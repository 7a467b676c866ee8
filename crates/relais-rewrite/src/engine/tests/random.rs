//! Random rules and paths: nothing panics, and every outcome keeps the promises of its documentation.

use super::{Request, run_for};
use crate::{Outcome, RuleSet, control_or_space, parse_cond, parse_rule};

/// A small generator with a fixed seed, so that a failure comes back.
struct XorShift(u64);

impl XorShift {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("a remainder fits")
    }

    fn text(&mut self, words: &[&str], count_max: usize) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..self.below(count_max + 1) {
            match self.below(12) {
                0 => text.push(u8::try_from(self.below(256)).expect("a byte")),
                _ => text.extend_from_slice(words[self.below(words.len())].as_bytes()),
            }
        }
        text
    }
}

const PATTERN_WORDS: &[&str] = &[
    "^", "$", "/", "a", "b", "(", ")", "(.*)", "(a|b)", "[^/]+", "\\", "\\.", "?", "+", "!",
    "-eq1", "=", "<", "[", "]", "\"", "'", " ", "(?m)", "(?i:", "\\Q", "\\E", "#", "(?x)", "{2}",
];
const SUBSTITUTION_WORDS: &[&str] = &[
    "/",
    "//",
    "-",
    "?",
    "&",
    "$1",
    "$0",
    "%1",
    "%{QUERY_STRING}",
    "%{REQUEST_FILENAME}",
    "%{HTTP:A}",
    "%{",
    "${",
    "}",
    "${m:k}",
    "\\",
    "http://own.example:8080",
    "http://o",
    "unix:",
    "ws://",
    "news:",
    "x",
    " ",
    "\"",
    "%20",
    ":",
    "a=1",
];
const FLAG_WORDS: &[&str] = &[
    "P",
    "L",
    "R",
    "R=301",
    "R=404",
    "N=40",
    "N=4",
    "PT",
    "QSA",
    "QSD",
    "QSL",
    "NE",
    "B",
    "BNP",
    "BCTLS",
    "BNE=/",
    "C",
    "S=1",
    "E=A:$1",
    "E=!A",
    "NC",
    "F",
    "END",
    "UnsafeAllow3F",
    "NS",
    "ZZ",
    "CO=a:b:c",
    "",
];
const PATH_WORDS: &[&str] = &[
    "/", "a", "b", "?", "%", " ", "\r\n", "//", "&", ";", "http:", "unix:", "\u{e9}",
];

#[test]
fn no_text_makes_it_panic() {
    let mut random = XorShift(0x9e37_79b9_7f4a_7c15);
    let (mut parsed, mut changed) = (0, 0);
    for _ in 0..20_000 {
        let mut set = RuleSet::default();
        for _ in 0..=random.below(3) {
            let mut line = random.text(PATTERN_WORDS, 5);
            line.push(b' ');
            line.extend(random.text(SUBSTITUTION_WORDS, 5));
            let mut condition = random.text(SUBSTITUTION_WORDS, 3);
            condition.push(b' ');
            condition.extend(random.text(PATTERN_WORDS, 4));
            if random.below(2) == 0 {
                let flags: Vec<&str> = (0..=random.below(2))
                    .map(|_| FLAG_WORDS[random.below(FLAG_WORDS.len())])
                    .collect();
                line.extend(format!(" [{}]", flags.join(",")).bytes());
            }
            let conditions = match parse_cond(&condition) {
                Ok(condition) if random.below(3) == 0 => vec![condition],
                Ok(_) => Vec::new(),
                Err(error) => {
                    assert!(condition.get(error.range.clone()).is_some(), "{error:?}");
                    Vec::new()
                }
            };
            match parse_rule(&line) {
                Ok(draft) => set.push(draft.with_conditions(conditions)),
                Err(error) => assert!(line.get(error.range.clone()).is_some(), "{error:?}"),
            }
        }
        parsed += set.rules().len();
        let mut path = b"/".to_vec();
        path.extend(random.text(PATH_WORDS, 8));
        let query = (random.below(2) == 0).then(|| b"q=1".to_vec());
        let mut request = Request {
            path,
            query,
            log_level: 9,
            ..Request::default()
        };
        let outcome = run_for(&set, &mut request);
        // With a log every rule is tried, without one most are passed by; it has to come to the same.
        let mut silent = Request {
            path: request.path.clone(),
            query: request.query.clone(),
            ..Request::default()
        };
        assert_eq!(run_for(&set, &mut silent), outcome);
        changed += usize::from(outcome != Outcome::Declined);
        check_promises(&outcome);
    }
    assert!(
        parsed > 5_000 && changed > 1_000,
        "the generator makes too little: {parsed} rules, {changed} changes"
    );
}

/// What the documentation of [`Outcome`] promises for every result.
fn check_promises(outcome: &Outcome) {
    let clean = |text: &[u8]| control_or_space(text).is_none();
    match outcome {
        Outcome::Proxy {
            url,
            absolute,
            query,
            no_escape,
        } => {
            assert!(*absolute || url.starts_with(b"/"), "{outcome:?}");
            assert!(!*no_escape || clean(url), "{outcome:?}");
            assert!(query.as_deref().is_none_or(clean), "{outcome:?}");
        }
        Outcome::PassThrough { path, query } | Outcome::Rewritten { path, query, .. } => {
            assert!(path.starts_with(b"/"), "{outcome:?}");
            assert!(query.as_deref().is_none_or(clean), "{outcome:?}");
        }
        Outcome::Redirect { status, location } => {
            assert!((300..=399).contains(status), "{outcome:?}");
            assert!(
                !location.iter().any(|byte| b"\r\n\0".contains(byte)),
                "{outcome:?}"
            );
        }
        Outcome::Error { status, .. } => assert!([400, 403, 500].contains(status), "{outcome:?}"),
        Outcome::Declined | Outcome::Same { .. } | Outcome::Status(_) => {}
    }
}
