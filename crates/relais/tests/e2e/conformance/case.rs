//! A case file: a configuration, and exchanges that run under it.
//!
//! ```text
//! # What the case is about.
//! ProxyPass / http://ORIGIN/
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
//! ```
//!
//! In the configuration and in the messages `ORIGIN` is the origin's address, `LISTEN` the address under test, and
//! `DEAD` one where nobody listens. A line `# Waits for: NAME NAME` in it lists directives and flags that relais does not
//! have yet: it has to refuse each of them by name, and nothing is compared until the line is taken out. Messages are written as `harness::text` says. Sections of an exchange:
//!
//! - `client`: sent on the exchange's one client connection, whereupon one response is read; `client 2` reads two,
//!   `client eof` ends the sending direction after the bytes.
//! - `origin`: the answer to the next request that arrives at the origin; `origin close` ends the connection after it,
//!   `origin silence` says nothing more.
//! - `tunnel`: after a 101, lines `> text` are sent by the client and `< text` by the origin.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::origin::Then;
use crate::harness::text::{unescape, unescape_line};

/// One case file.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) configuration: String,
    pub(super) exchanges: Vec<Exchange>,
    /// What relais does not have yet and the case needs.
    pub(super) waits_for: Vec<String>,
    file: PathBuf,
}

/// What happens on one client connection.
pub(super) struct Exchange {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    pub(super) replies: Vec<(Vec<u8>, Then)>,
    pub(super) tunnel: Vec<Sent>,
}

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
        let configuration = parts.next().unwrap_or_default().to_owned();
        let exchanges: Vec<Exchange> = parts.map(Exchange::parse).collect();
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
            exchanges,
            waits_for,
            file: file.to_owned(),
        }
    }

    /// Where the outcome with httpd is recorded.
    pub(super) fn recording(&self) -> PathBuf {
        self.file.with_extension("httpd")
    }
}

impl Exchange {
    fn parse(text: &str) -> Self {
        let mut sections = text.split("\n---- ");
        let name = sections
            .next()
            .and_then(|head| head.lines().next())
            .unwrap_or_default()
            .trim()
            .to_owned();
        let mut exchange = Self {
            name,
            steps: Vec::new(),
            replies: Vec::new(),
            tunnel: Vec::new(),
        };
        for section in sections {
            exchange.add(section);
        }
        exchange
    }

    fn add(&mut self, section: &str) {
        // Not `lines`, which would leave out the empty line at the end of a head.
        let mut lines = section.split('\n');
        let title = lines.next().unwrap_or_default().trim();
        let lines: Vec<&str> = lines.collect();
        match title {
            "origin" => self.replies.push((unescape(&lines), Then::Keep)),
            "origin close" => self.replies.push((unescape(&lines), Then::Close)),
            "origin silence" => self.replies.push((unescape(&lines), Then::Silence)),
            "tunnel" => {
                self.tunnel = lines
                    .iter()
                    .filter(|line| !line.is_empty())
                    .map(|line| Sent::parse(line))
                    .collect()
            }
            _ => self.steps.push(Step::parse(title, &lines)),
        }
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
