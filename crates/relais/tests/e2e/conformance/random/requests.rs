//! Random requests.

use super::Random;

/// Method and target, the version, and the fields beside Host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) version: &'static str,
    pub(super) fields: Vec<String>,
    pub(super) body: &'static str,
}

impl Request {
    /// The next request.
    pub(super) fn next(random: &mut Random) -> Self {
        let method = random.pick(METHODS);
        let is_old = random.one_in(10);
        let mut fields = random.some(FIELDS, 4);
        if random.one_in(4) {
            fields.insert(0, format!("Host: {}", random.pick(HOSTS)));
        }
        if random.one_in(4) {
            fields.push(format!("X-Reply: {}", 1 + random.below(5)));
        }
        Self {
            line: format!("{method} {}", target(random)),
            version: if is_old { "HTTP/1.0" } else { "HTTP/1.1" },
            fields,
            body: if ["POST", "PUT"].contains(&method) {
                "abc"
            } else {
                ""
            },
        }
    }

    /// The bytes on the wire; the connection ends after the response.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let lines: String = self
            .lines()
            .iter()
            .map(|line| format!("{line}\r\n"))
            .collect();
        format!("{lines}\r\n{}", self.body).into_bytes()
    }

    /// The lines of the head.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} {}", self.line, self.version)];
        if !self.fields.iter().any(|field| field.starts_with("Host: ")) {
            lines.push("Host: app.example".to_owned());
        }
        lines.extend(self.fields.iter().cloned());
        if !self.body.is_empty() {
            lines.push(format!("Content-Length: {}", self.body.len()));
        }
        lines.push("Connection: close".to_owned());
        lines
    }

    /// The target.
    pub(super) fn target(&self) -> &str {
        self.line.split_once(' ').map_or("", |(_, target)| target)
    }
}

fn target(random: &mut Random) -> String {
    let mut target = match random.below(30) {
        0 => "http://app.example".to_owned(),
        1 => "HTTP://other.example:80".to_owned(),
        _ => String::new(),
    };
    for _ in 0..=random.below(3) {
        target += "/";
        let many = random.one_in(8);
        target += random.pick(if many { RARE } else { SEGMENTS });
    }
    target + random.pick(ENDS)
}

const METHODS: &[&str] = &[
    "GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "HEAD", "POST", "PUT", "OPTIONS", "DELETE",
];
const ENDS: &[&str] = &[
    "",
    "",
    "",
    "/",
    "?q=1",
    "?a",
    "?a=b&c=%20d",
    "?",
    "?x?y",
    "?%2F=+",
    "?a;b",
    "?q=%C3%A9&amp;",
    "/?",
    "?abc",
    "//",
];
const SEGMENTS: &[&str] = &[
    "a", "a", "b", "c", "app", "x", "a%20b", "a%3Fb", "a%25b", "%C3%A9", "", "..", ".", "a;v=1",
    "a+b", "%61", "A", "1_2", "old/1", "i.gif", "abc", "a&b", "~", "%23", "al", "r", "f/b",
];
const RARE: &[&str] = &[
    "%2F", "a%2Fb", "a%2fb", "a%0Ab", "a\"b", "a%00b", "a%", "%zz", "%2e%2e", ".%2e", "..;x",
    "\u{e9}", "a:b", "a%5Cb", "a\\b", "a|b", "%7Eu", "a%252Fb", "%0D", "a'b", "a*b", "a<b>", "[a]",
    "$1", "a#b", "%80", "a=b,c", "@", "...", "a%09b",
];
const HOSTS: &[&str] = &[
    "main.example",
    "APP.example:8080",
    "other.example",
    "a.wild.example",
    "127.0.0.1",
];
const FIELDS: &[&str] = &[
    "X-A: 1",
    "X-A: abc",
    "X-A: a",
    "X-A: ",
    "X-B: b",
    "X-B: a, b",
    "X-B: 10",
    "Cookie: id=7; a=b",
    "Cookie: a=x",
    "User-Agent: bot",
    "User-Agent: Mozilla/5.0",
    "Referer: http://app.example/a",
    "Accept: text/html",
    "If-None-Match: \"x\"",
    "X-Forwarded-For: 192.0.2.7",
    "X-C: 1",
    "Connection: X-B",
    "TE: trailers",
];
