//! Random expressions, from the grammar of the manual page expr.

use super::Random;

/// A condition that stands between double quotes.
pub(super) fn condition(random: &mut Random, depth: usize) -> String {
    let below = depth.saturating_sub(1);
    match random.below(if depth == 0 { 8 } else { 12 }) {
        0 | 1 => format!(
            "{} {} {}",
            word(random, below),
            random.pick(TEXT_ORDERS),
            word(random, below)
        ),
        2 => format!(
            "{} {} {}",
            number(random),
            random.pick(NUMBER_ORDERS),
            number(random)
        ),
        3 | 4 => format!(
            "{} {} {}",
            word(random, below),
            random.pick(&["=~", "=~", "!~"]),
            random.pick(PATTERNS)
        ),
        5 => format!(
            "{} {}",
            random.pick(&["-n", "-z", "-T"]),
            word(random, below)
        ),
        6 => tests(random, below),
        7 => format!(
            "{} in {{ {}, {} }}",
            word(random, below),
            word(random, 0),
            word(random, 0)
        ),
        8 => format!("! {}", condition(random, below)),
        9 => format!(
            "({} && {})",
            condition(random, below),
            condition(random, below)
        ),
        10 => format!(
            "({} || {})",
            condition(random, below),
            condition(random, below)
        ),
        _ => random.pick(&["true", "false"]).to_owned(),
    }
}

/// A text with variables in it, as in `Header set X "expr=…"`.
pub(super) fn text(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..=random.below(2) {
        text += &match random.below(4) {
            0 => random.pick(&["a", "-", "x y", "$1", "%"]).to_owned(),
            1 => format!(
                "%{{{}:{}}}",
                random.pick(FUNCTIONS),
                random.pick(&["abc", "A b", "%41", "a=1"])
            ),
            _ => format!("%{{{}}}", random.pick(VALUES)),
        };
    }
    text
}

fn tests(random: &mut Random, below: usize) -> String {
    match random.below(6) {
        0 => format!(
            "{} -strmatch {}",
            word(random, below),
            random.pick(WILDCARDS)
        ),
        1 => format!(
            "{} -strcmatch {}",
            word(random, below),
            random.pick(WILDCARDS)
        ),
        2 => format!(
            "{} -fnmatch {}",
            word(random, below),
            random.pick(WILDCARDS)
        ),
        3 => format!(
            "{} -ipmatch {}",
            random.pick(&["%{REMOTE_ADDR}", "'10.1.2.3'", "%{CONN_REMOTE_ADDR}"]),
            random.pick(NETWORKS)
        ),
        4 => format!("-R {}", random.pick(NETWORKS)),
        _ => format!(
            "{} {}",
            random.pick(&["-f", "-d", "-e", "-s", "-L", "-x"]),
            random.pick(PATHS)
        ),
    }
}

fn word(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 5 } else { 7 }) {
        0 | 1 => random.pick(LITERALS).to_owned(),
        2 | 3 => format!("%{{{}}}", random.pick(VARIABLES)),
        4 => format!(
            "'{}%{{{}}}'",
            random.pick(&["", "x", "/"]),
            random.pick(VARIABLES)
        ),
        5 => format!("{}({})", random.pick(FUNCTIONS), word(random, depth - 1)),
        _ => format!("{} . {}", random.pick(LITERALS), word(random, depth - 1)),
    }
}

fn number(random: &mut Random) -> String {
    match random.below(3) {
        0 => random.pick(&["0", "1", "10", "-1", "'2x'"]).to_owned(),
        1 => random
            .pick(&["%{HTTP:X-A}", "%{HTTP:X-B}", "%{REQUEST_STATUS}"])
            .to_owned(),
        _ => format!("{}", random.below(12)),
    }
}

const TEXT_ORDERS: &[&str] = &[
    "==", "=", "!=", "<", "<=", ">", ">=", "eq", "ne", "lt", "ge",
];
const NUMBER_ORDERS: &[&str] = &["-eq", "-ne", "-lt", "-le", "-gt", "-ge"];
const PATTERNS: &[&str] = &[
    "/a/",
    "m#^/(.)#",
    "m#^/([a-z]+)/(.*)#",
    "/A/i",
    "/^$/",
    "m#b$#",
    "/(x)?/",
    "/^[^a]/",
];
const WILDCARDS: &[&str] = &["'/a*'", "'*'", "'?b'", "'/[ab]/*'", "'abc'", "'*B'"];
const NETWORKS: &[&str] = &["'127.0.0.0/8'", "'10.0.0.0/8'", "'::1'", "'127.0.0.1'"];
const PATHS: &[&str] = &[
    "'DIR/docs'",
    "'DIR/docs/f/i.gif'",
    "'DIR/docs/f/none'",
    "%{REQUEST_FILENAME}",
    "'DIR/docs/f/b'",
];
const LITERALS: &[&str] = &[
    "'a'", "'abc'", "''", "'/a/b'", "'b'", "'1'", "'set'", "'GET'", "'a%20b'", "'$1'", "'YWJj'",
];
const FUNCTIONS: &[&str] = &[
    "tolower", "toupper", "escape", "unescape", "base64", "unbase64", "md5", "sha1", "reqenv",
    "env", "note",
];
/// For values. What the name of the file is when an answer goes out is another matter.
const VALUES: &[&str] = &[
    "REQUEST_URI",
    "QUERY_STRING",
    "HTTP_HOST",
    "REQUEST_METHOD",
    "REMOTE_ADDR",
    "HTTP:X-A",
    "ENV:V",
    "THE_REQUEST",
    "REQUEST_SCHEME",
    "SERVER_NAME",
    "HTTPS",
];
const VARIABLES: &[&str] = &[
    "REQUEST_URI",
    "REQUEST_URI",
    "QUERY_STRING",
    "HTTP_HOST",
    "REQUEST_METHOD",
    "REMOTE_ADDR",
    "SERVER_NAME",
    "HTTP:X-A",
    "HTTP:X-B",
    "ENV:V",
    "REQUEST_SCHEME",
    "THE_REQUEST",
    "SERVER_PROTOCOL",
    "REQUEST_FILENAME",
    "PATH_INFO",
    "DOCUMENT_ROOT",
    "HTTPS",
    "IS_SUBREQ",
    "HTTP_COOKIE",
    "HTTP_USER_AGENT",
    "SCRIPT_FILENAME",
    "CONTEXT_PREFIX",
    "SERVER_PROTOCOL_VERSION",
    "REQUEST_STATUS",
];
