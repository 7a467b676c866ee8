//! Random configurations and requests from a seed: rules, maps, sections, mappings, fields and variables.

/// A configuration of one virtual host, as parts that stand for themselves, and requests for it.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) parts: Vec<String>,
    pub(super) requests: Vec<Request>,
}

/// Method and target, and the fields beside Host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) fields: Vec<String>,
}

impl Request {
    /// The bytes on the wire; the connection ends after the response.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} HTTP/1.1\r\n", self.line);
        if !self.fields.iter().any(|field| field.starts_with("Host: ")) {
            text += "Host: app.example\r\n";
        }
        for field in &self.fields {
            text += &format!("{field}\r\n");
        }
        (text + "Connection: close\r\n\r\n").into_bytes()
    }

    /// The request as a line of a case.
    pub(super) fn case_line(&self) -> String {
        let parts = std::iter::once(&self.line).chain(&self.fields);
        parts.cloned().collect::<Vec<_>>().join(" | ")
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
pub(super) struct Random(u64);

impl Random {
    /// A generator that gives the same numbers for the same seed.
    pub(super) fn new(seed: u64) -> Self {
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

/// The next sample.
pub(super) fn sample(random: &mut Random, requests: usize) -> Sample {
    let mut parts = random.some(SETTINGS, 1);
    if random.one_in(4) {
        parts.push(format!("RewriteMap m {}", random.pick(MAPS)));
    }
    parts.push("RewriteEngine On".to_owned());
    for _ in 0..random.below(6) {
        parts.push(part(random));
    }
    parts.push(rule(random, false));
    if random.one_in(2) {
        parts.push("ProxyPass / http://ORIGIN/rest/".to_owned());
    }
    let requests = (0..requests).map(|_| request(random)).collect();
    Sample { parts, requests }
}

fn part(random: &mut Random) -> String {
    match random.below(10) {
        0 | 1 => pass(random),
        2 => section(random),
        3 => field(random),
        4 => format!(
            "SetEnvIf {} {} {}",
            random.pick(ATTRIBUTES),
            random.pick(&["a", "^$", "(.)", "^/a", "1", "b$"]),
            random.pick(&["V=set", "V", "V=$1", "!V", "W=x V=y", "no-proxy"])
        ),
        _ => rule(random, false),
    }
}

fn pass(random: &mut Random) -> String {
    match random.below(4) {
        0 => format!("ProxyPass {} !", random.pick(PREFIXES)),
        1 => format!(
            "ProxyPassMatch {} http://ORIGIN/{}",
            random.pick(&["^/a/(.*)$", "^/(.)/", "^/b", "(?i)^/A/(.*)", "\\.gif$"]),
            random.pick(&["m/$1", "m", "$1", "m/$1/x"])
        ),
        _ => {
            let prefix = random.pick(PREFIXES);
            let slash = if prefix.ends_with('/') { "/" } else { "" };
            let more = random.pick(&["", "", "", " nocanon"]);
            format!("ProxyPass {prefix} http://ORIGIN/p{slash}{more}")
        }
    }
}

fn section(random: &mut Random) -> String {
    let (open, close) = match random.below(4) {
        0 => (
            format!(
                "<LocationMatch {}>",
                random.pick(&["^/a", "b$", "^/(?<w>[a-z])/"])
            ),
            "</LocationMatch>",
        ),
        1 => (format!("<If \"{}\">", random.pick(EXPRESSIONS)), "</If>"),
        _ => (
            format!(
                "<Location {}>",
                random.pick(&["/", "/a", "/a/b", "/b", "/app"])
            ),
            "</Location>",
        ),
    };
    let inner = match random.below(4) {
        0 => format!("RewriteEngine On\n{}", rule(random, true)),
        _ => field(random),
    };
    format!("{open}\n{inner}\n{close}")
}

fn field(random: &mut Random) -> String {
    let name = random.pick(&["X-A", "X-B", "X-C", "Cache-Control"]);
    let action = match random.below(7) {
        0 => format!("unset {name}"),
        1 => format!("edit {name} {} y", random.pick(&["a", "^", ".*", "(.)$"])),
        2 => format!("edit* {name} {} y", random.pick(&["a", "[ab]", "1"])),
        n => format!(
            "{} {name} {}",
            ["set", "append", "merge", "add"][n - 3],
            random.pick(&["a", "\"a, b\"", "%{V}e", "1", "\"%% x\""])
        ),
    };
    let condition = random.pick(&["", "", "", " env=V", " env=!V"]);
    let directive = random.pick(&["RequestHeader", "Header", "Header always"]);
    format!("{directive} {action}{condition}")
}

fn rule(random: &mut Random, is_inside: bool) -> String {
    let mut text = String::new();
    for _ in 0..random.below(3) {
        let mut flags = random.some(&["NC", "OR", "NV"], 2);
        let pattern = random.pick(CONDITION_PATTERNS);
        if !pattern.starts_with(|c: char| "^(.![a-z".contains(c)) {
            flags.retain(|flag| flag != "NC");
        }
        let flags = bracketed(&flags);
        text += &format!(
            "RewriteCond \"{}\" \"{pattern}\"{flags}\n",
            random.pick(TESTS)
        );
    }
    let target = random.pick(TARGETS);
    let mut flags = random.some(FLAGS, 4);
    if is_inside {
        flags.retain(|flag| flag != "PT");
    }
    let is_absolute = target.starts_with("http://ORIGIN");
    if flags.iter().any(|flag| flag == "P") && !is_absolute {
        flags.retain(|flag| flag != "P");
    }
    // A rule for the origin without P would redirect to an address that differs from run to run.
    if is_absolute && !flags.iter().any(|flag| flag == "P") {
        flags.push("P".to_owned());
    }
    let flags = bracketed(&flags);
    text + &format!(
        "RewriteRule \"{}\" \"{target}\"{flags}",
        random.pick(PATTERNS)
    )
}

fn bracketed(flags: &[String]) -> String {
    if flags.is_empty() {
        String::new()
    } else {
        format!(" [{}]", flags.join(","))
    }
}

fn request(random: &mut Random) -> Request {
    let mut target = String::new();
    for _ in 0..=random.below(3) {
        target += "/";
        target += random.pick(SEGMENTS);
    }
    target += random.pick(&[
        "",
        "",
        "/",
        "?q=1",
        "?a",
        "?a=b&c=%20d",
        "?",
        "?x?y",
        "?%2F=+",
    ]);
    let method = random.pick(&["GET", "GET", "GET", "GET", "HEAD"]);
    Request {
        line: format!("{method} {target}"),
        fields: random.some(FIELDS, 3),
    }
}

const SETTINGS: &[&str] = &[
    "AllowEncodedSlashes On",
    "AllowEncodedSlashes NoDecode",
    "MergeSlashes Off",
    "UseCanonicalName On",
    "ProxyPreserveHost On",
];
const MAPS: &[&str] = &["int:tolower", "int:toupper", "int:escape", "int:unescape"];
const PREFIXES: &[&str] = &["/a", "/a/", "/a/b", "/b", "/app", "/app/", "/x%y"];
const ATTRIBUTES: &[&str] = &["Request_URI", "X-A", "Host", "Request_Method", "V"];
const EXPRESSIONS: &[&str] = &[
    "%{QUERY_STRING} == 'a'",
    "%{REQUEST_URI} =~ m#^/(.)#",
    "-n req('X-A')",
    "%{REQUEST_METHOD} in {'GET', 'HEAD'} && ! (req('X-B') == 'b')",
    "reqenv('V') == 'set' || %{REQUEST_URI} -strmatch '/a*'",
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
];
const FLAGS: &[&str] = &[
    "R",
    "R=301",
    "R=404",
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
    "N=3",
    "F",
    "G",
    "E=V:$1",
    "E=!V",
    "E=V:set",
    "END",
    "BNP",
    "BCTLS",
    "UnsafeAllow3F",
    "NS",
    "B=?",
    "BNE=/",
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
];
const CONDITION_PATTERNS: &[&str] = &[
    "^a", "=1", "!=1", "<b", ">b", "<=a", ">=a", "-eq1", "-ge1", "(.)(.)", "^$", "!^$", ".", "!a",
    "[ab]=(.)", "/(.*)", "=", "!-lt1",
];
const SEGMENTS: &[&str] = &[
    "a", "a", "b", "c", "app", "x", "a%20b", "a%3Fb", "a%25b", "%C3%A9", "", "..", ".", "a;v=1",
    "a+b", "%61", "A", "1_2", "old/1", "i.gif", "%2F", "a%0Ab", "a\"b", "a&b", "~", "%23",
];
const FIELDS: &[&str] = &[
    "X-A: 1",
    "X-A: abc",
    "X-A: a",
    "X-B: b",
    "X-B: a, b",
    "Cookie: id=7; a=b",
    "Host: main.example",
    "Host: APP.example:8080",
    "User-Agent: bot",
    "X-Reply: 1",
    "X-Reply: 2",
    "X-Reply: 3",
    "X-C: 1",
];
