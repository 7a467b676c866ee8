//! Damaged expressions and templates: whatever is read, nothing panics, and every error lies inside its text.

use relais_expr::Expression;
use relais_fuzz::{Damage, expression, rule};

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

#[test]
fn damaged_texts() {
    let mut damage = Damage::new(1);
    let mut parsed = 0;
    for round in 0..20_000 {
        let mut text = SAMPLES[round % SAMPLES.len()].as_bytes().to_vec();
        for _ in 0..=damage.below(4) {
            damage.apply(&mut text, PARTS);
        }
        expression(&text);
        rule(&text);
        parsed += usize::from(Expression::parse(&text).is_ok());
    }
    assert!(parsed > 500, "only {parsed} were expressions");
}

#[test]
fn the_samples_themselves_are_expressions() {
    for sample in SAMPLES {
        assert!(Expression::parse(sample.as_bytes()).is_ok(), "{sample}");
    }
}
