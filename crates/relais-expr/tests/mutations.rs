//! Damaged expressions and templates: whatever is read, nothing panics, and every error lies inside its text.

use relais_expr::{
    Expression, FileTest, Lookup, Regex, RegexFlags, State, StringExpression, Template, Variable,
};

const SAMPLES: &[&str] = &[
    "%{HTTP:X-Q} == \"q'1\" && ! (-T 'off' || %{REQUEST_URI} =~ m#^/a(.)(b)?#i)",
    "'a' . \"b$1\" in {'x', tolower(req('A' . $2)), %{escape:%{ENV:x}\\}}}",
    "%{REMOTE_ADDR} -ipmatch '10.0.0.0/8' or -R 'fe80::/10' and 10 -ge -1",
    "\"a\" -strmatch '[a-c]*\\]?' || '/x' -fnmatch '*[!/]' || -d '/etc' || -U '/x'",
    "%{TIME_YEAR} lt 2024 and not 'abc' !~ /^(a|b)\\d{2,3}$/ or unbase64('YQ==') ge md5('\\101\\n')",
];

const PARTS: &[&[u8]] = &[
    b"%{",
    b"}",
    b"%{HTTP:",
    b"$1",
    b"\"",
    b"'",
    b"\\",
    b"(",
    b")",
    b"{",
    b"!",
    b"/",
    b"m#",
    b" -",
    b" in ",
    b"&&",
    b"||",
    b".",
    b"[",
    b"]",
    b"*",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\\400",
    b"-ipmatch",
    b"\n",
    b"${m:",
    b"=~ /(",
    b"999999999999999999999",
];

struct Values;

impl Lookup for Values {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        match variable {
            Variable::Header(name) | Variable::Env(name) => out.extend_from_slice(name),
            _ => out.extend_from_slice(b"/a\xff%2F%zz$1"),
        }
    }

    fn file_test(&self, _test: FileTest, path: &[u8]) -> bool {
        path.len().is_multiple_of(2)
    }
}

/// Knuth's linear congruential generator: the same damage in every run.
struct Seed(u64);

impl Seed {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit.max(1)
    }

    fn damage(&mut self, text: &mut Vec<u8>) {
        let at = self.below(text.len() + 1);
        match self.below(4) {
            0 => text.truncate(at),
            1 => drop(text.drain(at..(at + self.below(6)).min(text.len()))),
            _ => {
                let part = PARTS[self.below(PARTS.len())];
                text.splice(at..at, part.iter().copied());
            }
        }
    }
}

fn try_all(text: &[u8]) -> bool {
    let mut state = State::default();
    let mut out = Vec::new();
    let parsed = match Expression::parse(text) {
        Ok(expression) => {
            let _ = expression.eval(&Values, &mut state);
            state
                .headers_read()
                .for_each(|name| assert!(!name.is_empty()));
            true
        }
        Err(error) => {
            assert!(error.range.start <= error.range.end && error.range.end <= text.len());
            assert!(!error.message.is_empty());
            false
        }
    };
    match StringExpression::parse(text) {
        Ok(expression) => expression.eval(&Values, &mut state, &mut out),
        Err(error) => assert!(error.range.end <= text.len(), "{error:?}"),
    }
    let _ = Template::parse(text, 0);
    if let Ok(regex) = Regex::new(text, RegexFlags::default()) {
        let _ = regex.captures(b"/a/b\xff");
    }
    parsed
}

#[test]
fn damaged_texts() {
    let mut seed = Seed(1);
    let mut parsed = 0;
    for round in 0..20_000 {
        let mut text = SAMPLES[round % SAMPLES.len()].as_bytes().to_vec();
        for _ in 0..=seed.below(4) {
            seed.damage(&mut text);
        }
        parsed += usize::from(try_all(&text));
    }
    assert!(parsed > 500, "only {parsed} were expressions");
}

#[test]
fn the_samples_themselves_are_expressions() {
    for sample in SAMPLES {
        assert!(try_all(sample.as_bytes()), "{sample}");
    }
}
