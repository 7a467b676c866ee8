//! Random rules, conditions and maps.

use super::{Random, expressions};

/// Where a rule stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Server,
    Section,
}

/// A rule with its conditions.
pub(super) fn rule(random: &mut Random, place: Place) -> String {
    let mut text = String::new();
    for _ in 0..random.below(3) {
        text += &condition(random);
    }
    let target = random.pick(TARGETS);
    let mut flags = random.some(FLAGS, 4);
    let is_absolute = target.starts_with("http://ORIGIN");
    if place == Place::Section {
        flags.retain(|flag| flag != "PT");
    }
    if flags.iter().any(|flag| flag == "P") && !is_absolute {
        flags.retain(|flag| flag != "P");
    }
    // A rule for the origin without P would redirect to an address that differs from run to run.
    if is_absolute && !flags.iter().any(|flag| flag == "P") {
        flags.push("P".to_owned());
    }
    let pattern = match place {
        Place::Section if random.one_in(2) => random.pick(RELATIVE),
        _ => random.pick(PATTERNS),
    };
    text + &format!(
        "RewriteRule \"{pattern}\" \"{target}\"{}",
        bracketed(&flags)
    )
}

/// A map named `m`.
pub(super) fn map(random: &mut Random) -> String {
    format!("RewriteMap m {}", random.pick(MAPS))
}

/// A line of options.
pub(super) fn options(random: &mut Random) -> String {
    format!("RewriteOptions {}", random.pick(OPTIONS))
}

fn condition(random: &mut Random) -> String {
    if random.one_in(5) {
        let flags = bracketed(&random.some(&["OR"], 1));
        return format!(
            "RewriteCond expr \"{}\"{flags}\n",
            expressions::condition(random, 2)
        );
    }
    let mut flags = random.some(&["NC", "OR", "NV"], 2);
    let (test, pattern) = if random.one_in(8) {
        (random.pick(PATHS), random.pick(FILE_TESTS))
    } else {
        (random.pick(TESTS), random.pick(CONDITION_PATTERNS))
    };
    if !pattern.starts_with(|c: char| "^(.![a-z".contains(c)) {
        flags.retain(|flag| flag != "NC");
    }
    format!(
        "RewriteCond \"{test}\" \"{pattern}\"{}\n",
        bracketed(&flags)
    )
}

fn bracketed(flags: &[String]) -> String {
    if flags.is_empty() {
        String::new()
    } else {
        format!(" [{}]", flags.join(","))
    }
}

const MAPS: &[&str] = &[
    "int:tolower",
    "int:toupper",
    "int:escape",
    "int:unescape",
    "txt:DIR/map.txt",
    "rnd:DIR/map.txt",
];
const OPTIONS: &[&str] = &[
    "AllowAnyURI",
    "MergeBase",
    "Inherit",
    "InheritBefore",
    "IgnoreInherit",
];
const PATTERNS: &[&str] = &[
    "^/a",
    "^/a/(.*)$",
    "^/(.*)$",
    "^(.*)$",
    "b$",
    "^/([a-z]+)/(.*)",
    "!^/a",
    ".",
    "^/x/?$",
    "\\.gif$",
    "^/(.)(.)?",
    "^/old/(\\d+)",
    "A",
    "^/(?i)APP",
    "/(.*)_(.*)",
    "^/[^a]",
    "^$",
    "^/$",
    "(?<n>b)",
    "^/r(.*)",
];
/// What rules in sections are often written like.
const RELATIVE: &[&str] = &[
    "^a",
    "^(.*)$",
    "^([a-z]+)/(.*)",
    "b$",
    "!^a",
    "^$",
    "^b/?(.*)",
];
const TARGETS: &[&str] = &[
    "-",
    "-",
    "/x/$1",
    "/b/$1?q=$1",
    "http://ORIGIN/p/$1",
    "http://ORIGIN/p?x=$1",
    "http://ORIGIN/$1$2",
    "http://ORIGIN/%1/%{QUERY_STRING}",
    "http://ORIGIN/m/${m:$1}",
    "http://o.example/$1",
    "https://o.example/x?$1",
    "/y",
    "$1",
    "/z?",
    "/z?a=b",
    "/a/%1",
    "/app/${m:$1|none}",
    "/b%{REQUEST_URI}",
    "http://ORIGIN/v/%{ENV:V}",
    "/w?k=%{QUERY_STRING}&",
    "//two/$1",
    "/$2-$1",
    "/x#f",
    "/a/b",
    "/f/i.gif",
    "c",
    "/a%20b",
    "/a b",
    "/%{tolower:$1}",
    "http://o.example/?u=%{escape:%{REQUEST_URI}}",
    "DIR/docs/f/i.gif",
    "http://main.example/m/$1",
    "/$0",
];
const FLAGS: &[&str] = &[
    "R",
    "R=301",
    "R=404",
    "R=307",
    "L",
    "L",
    "P",
    "PT",
    "PT",
    "QSA",
    "QSD",
    "QSL",
    "NE",
    "B",
    "NC",
    "C",
    "S=1",
    "S=2",
    "N=3",
    "F",
    "G",
    "E=V:$1",
    "E=!V",
    "E=V:set",
    "E=V:%1",
    "E=W:%{REQUEST_URI}",
    "END",
    "BNP",
    "BCTLS",
    "UnsafeAllow3F",
    "NS",
    "B=?",
    "BNE=/",
    "CO=c:$1:.example",
    "CO=c:v:app.example:10:/p",
    "DPI",
    "T=text/x-t",
    "UnsafePrefixStat",
    "noescape",
    "last",
    "nocase",
    "forbidden",
];
const TESTS: &[&str] = &[
    "%{QUERY_STRING}",
    "%{REQUEST_URI}",
    "%{HTTP:X-A}",
    "%{HTTP_HOST}",
    "%{ENV:V}",
    "%{REQUEST_METHOD}",
    "$1",
    "%1",
    "%{HTTP_COOKIE}",
    "%{THE_REQUEST}",
    "%{REQUEST_FILENAME}",
    "x%{HTTP:X-B}y",
    "%{SERVER_NAME}",
    "%{REMOTE_ADDR}",
    "%{SERVER_PROTOCOL}",
    "%{DOCUMENT_ROOT}",
    "%{HTTPS}",
    "%{REQUEST_SCHEME}",
    "%{PATH_INFO}",
    "${m:%{HTTP:X-A}|none}",
    "%{IS_SUBREQ}",
    "%{CONTEXT_PREFIX}",
    "%{HTTP_USER_AGENT}",
];
const CONDITION_PATTERNS: &[&str] = &[
    "^a",
    "=1",
    "!=1",
    "<b",
    ">b",
    "<=a",
    ">=a",
    "-eq1",
    "-ge1",
    "(.)(.)",
    "^$",
    "!^$",
    ".",
    "!a",
    "[ab]=(.)",
    "/(.*)",
    "=",
    "!-lt1",
    "-ne0",
    "-le10",
    "-gt0",
    "^([^/]*)/?",
];
const PATHS: &[&str] = &[
    "%{REQUEST_FILENAME}",
    "DIR/docs%{REQUEST_URI}",
    "DIR/docs/f",
    "DIR/docs/f/b",
    "%{DOCUMENT_ROOT}/f/i.gif",
];
const FILE_TESTS: &[&str] = &[
    "-f", "!-f", "-d", "!-d", "-s", "!-s", "-l", "-h", "-L", "-x", "!-x",
];
