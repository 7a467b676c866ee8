//! A case file: a configuration, and exchanges that run under it.
//!
//! ```text
//! # What the case is about.
//! RewriteMap hosts txt:DIR/hosts.txt
//! ProxyPass / http://ORIGIN/
//! ---- file hosts.txt
//! app 10.0.0.1
//! ==== name-of-the-exchange
//! # Why it is here.
//! ---- client
//! GET / HTTP/1.1
//! Host: app.example
//!
//! ---- origin
//! HTTP/1.1 200 OK
//! Content-Length: 2
//!
//! ok\
//! ==== each line
//! GET /a%20b
//! GET /a | Cookie: beta=1 | Host: other.example
//! ```
//!
//! In the configuration and in the messages `ORIGIN` is the origin's address (`ORIGIN2` and `ORIGIN3` two more),
//! `LISTEN` the address under test, `DEAD` one where nobody listens, and `DIR` the case's folder, in which each
//! `---- file NAME` in front of the exchanges puts a file (`---- program NAME` an executable one). Most cases are virtual
//! hosts of one server each; a case with virtual hosts or listeners of its own, or with a line `# Alone`, gets a server
//! for itself. A line `# Waits for: NAME NAME` names directives and flags that relais lacks: while it refuses one of
//! them as not implemented yet, nothing is compared; from then on the comparison is made, and its outcome is told but
//! fails nothing until the line is taken out.
//!
//! Messages are written as `harness::text` says. Sections of an exchange:
//!
//! - `client`: sent on the exchange's one client connection, whereupon one response is read; `client 2` reads two,
//!   `client eof` ends the sending direction after the bytes.
//! - `origin`, `origin2`, `origin3`: the answer to the next request that arrives there; with `close` behind it ends the
//!   connection after the answer, with `reset` it resets it, with `silence` it says nothing more, and with `slow` each
//!   line of the answer waits a moment.
//! - `tunnel`: after a 101, lines `> text` are sent by the client and `< text` by the origin.
//!
//! Each line below `==== each line` is an exchange: method and target, then fields, with ` | ` between them; HTTP/1.1
//! and a Host field of `app.example` are understood. The line is the name of the exchange.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::origin::Then;
use crate::harness::text::{unescape, unescape_line};

/// One case file.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) configuration: String,
    pub(super) files: Vec<Attached>,
    pub(super) exchanges: Vec<Exchange>,
    /// What relais did not have when the case was written.
    pub(super) waits_for: Vec<String>,
    file: PathBuf,
}

/// A file that the configuration reads.
pub(super) struct Attached {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) is_program: bool,
}

/// What happens on one client connection.
pub(super) struct Exchange {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    /// The answers of each origin, in the order of [`ORIGINS`].
    pub(super) replies: [Vec<(Vec<u8>, Then)>; ORIGINS.len()],
    pub(super) tunnel: Vec<Sent>,
}

/// What the origins are called in a case, and in what is recorded.
pub(super) const ORIGINS: [&str; 3] = ["origin", "origin2", "origin3"];

/// Bytes that the client sends, and what it does then.
pub(super) struct Step {
    pub(super) bytes: Vec<u8>,
    pub(super) responses: usize,
    pub(super) finish: bool,
}

/// Bytes in an open tunnel.
pub(super) enum Sent {
    ByClient(Vec<u8>),
    ByOrigin(Vec<u8>),
}

impl Case {
    /// Reads a case file.
    pub(super) fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).expect("read the case");
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut parts = text.split("\n==== ");
        let mut front = parts.next().unwrap_or_default().split("\n---- ");
        let configuration = front.next().unwrap_or_default().to_owned();
        let files = front.map(Attached::parse).collect();
        let exchanges: Vec<Exchange> = parts.flat_map(Exchange::parse).collect();
        assert!(!exchanges.is_empty(), "{}: no exchange", file.display());
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let waits_for = configuration
            .lines()
            .filter_map(|line| line.strip_prefix("# Waits for: "))
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect();
        Self {
            name,
            configuration,
            files,
            exchanges,
            waits_for,
            file: file.to_owned(),
        }
    }

    /// Where the outcome with httpd is recorded.
    pub(super) fn recording(&self) -> PathBuf {
        self.file.with_extension("httpd")
    }

    /// True when the case cannot be one virtual host among others.
    pub(super) fn is_alone(&self) -> bool {
        self.configuration.lines().map(str::trim_start).any(|line| {
            ["<VirtualHost", "Listen ", "LoadModule ", "# Alone"]
                .iter()
                .any(|start| line.starts_with(start))
        })
    }
}

impl Attached {
    fn parse(section: &str) -> Self {
        let (title, text) = section.split_once('\n').unwrap_or((section, ""));
        let (kind, name) = title.split_once(' ').unwrap_or((title, ""));
        assert!(
            ["file", "program"].contains(&kind),
            "no such section in front of the exchanges: {title}"
        );
        Self {
            name: name.trim().to_owned(),
            text: text.to_owned() + "\n",
            is_program: kind == "program",
        }
    }
}

impl Exchange {
    fn parse(text: &str) -> Vec<Self> {
        if let Some(lines) = text.strip_prefix("each line\n") {
            let lines = lines
                .lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'));
            return lines.map(Self::of_line).collect();
        }
        let mut sections = text.split("\n---- ");
        let name = sections
            .next()
            .and_then(|head| head.lines().next())
            .unwrap_or_default()
            .trim();
        let mut exchange = Self::new(name);
        for section in sections {
            exchange.add(section);
        }
        vec![exchange]
    }

    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            steps: Vec::new(),
            replies: Default::default(),
            tunnel: Vec::new(),
        }
    }

    /// The exchange for one line of `each line`.
    fn of_line(line: &str) -> Self {
        let mut parts = line.split(" | ");
        let mut text = vec![format!("{} HTTP/1.1", parts.next().unwrap_or_default())];
        let fields: Vec<&str> = parts.collect();
        if !fields.iter().any(|field| field.starts_with("Host: ")) {
            text.push("Host: app.example".to_owned());
        }
        text.extend(fields.iter().map(|field| (*field).to_owned()));
        text.push(String::new());
        let lines: Vec<&str> = text.iter().map(String::as_str).collect();
        let mut exchange = Self::new(line);
        exchange.steps.push(Step::parse("client", &lines));
        exchange
    }

    fn add(&mut self, section: &str) {
        // Not `lines`, which would leave out the empty line at the end of a head.
        let mut lines = section.split('\n');
        let title = lines.next().unwrap_or_default().trim();
        let lines: Vec<&str> = lines.collect();
        let (who, how) = title.split_once(' ').unwrap_or((title, ""));
        if let Some(index) = ORIGINS.iter().position(|name| *name == who) {
            self.replies[index].push((unescape(&lines), then(how)));
        } else if title == "tunnel" {
            self.tunnel = lines
                .iter()
                .filter(|line| !line.is_empty())
                .map(|line| Sent::parse(line))
                .collect();
        } else {
            self.steps.push(Step::parse(title, &lines));
        }
    }
}

fn then(how: &str) -> Then {
    match how {
        "" => Then::Keep,
        "close" => Then::Close,
        "reset" => Then::Reset,
        "silence" => Then::Silence,
        "slow" => Then::Slow,
        _ => panic!("an origin cannot do this: {how}"),
    }
}

impl Step {
    fn parse(title: &str, lines: &[&str]) -> Self {
        let (responses, finish) = match title {
            "client" => (1, false),
            "client eof" => (1, true),
            _ => {
                let count = title
                    .strip_prefix("client ")
                    .and_then(|count| count.parse().ok());
                (
                    count.unwrap_or_else(|| panic!("no such section: {title}")),
                    false,
                )
            }
        };
        Self {
            bytes: unescape(lines),
            responses,
            finish,
        }
    }
}

impl Sent {
    fn parse(line: &str) -> Self {
        let mut bytes = Vec::new();
        unescape_line(line.get(2..).unwrap_or_default(), &mut bytes);
        if line.starts_with('>') {
            Self::ByClient(bytes)
        } else {
            Self::ByOrigin(bytes)
        }
    }
}
