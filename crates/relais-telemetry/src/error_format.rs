//! `ErrorLogFormat`: lines of the error log as an operator wants them.
//!
//! A format is fields with spaces between them. A field in which an item has
//! nothing to say is left out with the space before it, unless the item says
//! `-` then (httpd manual page `core`, `ErrorLogFormat`).

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use crate::error::{self, Entry, Origin};
use crate::escape;
use crate::levels::Level;
use crate::zone;

/// A compiled format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorFormat {
    items: Vec<Item>,
}

/// A format that cannot be compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorFormatError {
    /// Where, in bytes.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ErrorFormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.message, self.at)
    }
}

impl std::error::Error for ErrorFormatError {}

/// What is known of the request that a message is about.
pub trait Subject {
    /// A variable of its environment.
    fn variable(&self, name: &[u8]) -> Option<&[u8]>;
    /// A field of its head.
    fn field(&self, name: &[u8]) -> Option<&[u8]>;
    /// A note.
    fn note(&self, name: &[u8]) -> Option<&[u8]>;
    /// The identifier under which logs mention it.
    fn log_id(&self) -> &[u8];
    /// Requests that came before it on its connection.
    fn requests_before(&self) -> u32;
    /// The address that its connection came in by.
    fn local(&self) -> std::net::SocketAddr;
    /// The other end of the connection; it may be a proxy before the client.
    fn peer(&self) -> std::net::SocketAddr;
    /// `ServerName` of its virtual host.
    fn server_name(&self) -> &str;
    /// The server's name as `UseCanonicalName` has it.
    fn canonical_name(&self) -> Cow<'_, [u8]>;
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Item {
    /// A field begins here.
    separates: bool,
    /// Where the item has nothing to say: the line is left out (`+`).
    required: bool,
    /// The same: `-` is said.
    hyphen: bool,
    /// It is only for messages at least as chatty as this.
    least: Option<Level>,
    what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    Literal(Vec<u8>),
    Message,
    Client,
    Peer,
    Local,
    Variable(Vec<u8>),
    Field(Vec<u8>),
    Note(Vec<u8>),
    Cause,
    RequestsBefore,
    Level,
    Module,
    LogId,
    Pid,
    Tid,
    Time(Stamp),
    ServerName,
    CanonicalName,
    /// relais has nothing to say here: its source files, for example.
    Nothing,
}

/// How the time is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    compact: bool,
    digits: usize,
}

impl ErrorFormat {
    /// Compiles a format.
    ///
    /// # Errors
    /// [`ErrorFormatError`] for an item that httpd does not know either.
    pub fn parse(text: &[u8]) -> Result<Self, ErrorFormatError> {
        let mut parser = Parser {
            text,
            at: 0,
            items: Vec::new(),
        };
        while parser.at < text.len() {
            match text[parser.at] {
                b'%' => parser.item()?,
                _ => parser.literal(),
            }
        }
        Ok(Self {
            items: parser.items,
        })
    }

    /// Appends the line without its newline; false if an item that has to be
    /// there is not, and nothing is appended.
    pub fn write(&self, entry: &Entry<'_>, origin: &Origin<'_>, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let (mut field, mut skipping) = (start, false);
        for item in &self.items {
            if item.separates && !std::mem::take(&mut skipping) {
                field = out.len();
            }
            if matches!(item.what, What::Message) {
                escape::error(entry.message, out);
                continue;
            }
            if skipping {
                continue;
            }
            let before = out.len();
            if item.least.is_none_or(|least| entry.level >= least) {
                item.what.write(entry, origin, out);
            }
            if out.len() > before || matches!(&item.what, What::Literal(text) if text.is_empty()) {
                continue;
            }
            if item.required {
                out.truncate(start);
                return false;
            }
            if item.hyphen {
                out.push(b'-');
            } else {
                out.truncate(field);
                skipping = true;
            }
        }
        true
    }
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    items: Vec<Item>,
}

impl Parser<'_> {
    /// Text up to the next item or field; a backslash takes what is behind it
    /// as it is, a space too.
    fn literal(&mut self) {
        let separates = self.text[self.at] == b' ';
        let mut literal = Vec::new();
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'%' => break,
                b' ' if !literal.is_empty() => break,
                b'\\' if self.at + 1 < self.text.len() => {
                    literal.push(self.text[self.at + 1]);
                    self.at += 1;
                }
                byte => literal.push(byte),
            }
            self.at += 1;
        }
        self.items.push(Item {
            separates,
            required: false,
            hyphen: false,
            least: None,
            what: What::Literal(literal),
        });
    }

    fn item(&mut self) -> Result<(), ErrorFormatError> {
        let start = self.at;
        self.at += 1;
        let mut item = Item {
            separates: false,
            required: false,
            hyphen: false,
            least: None,
            what: What::Nothing,
        };
        let mut argument = None;
        loop {
            let wrong = |message: String| ErrorFormatError { at: start, message };
            let Some(&byte) = self.text.get(self.at) else {
                return Err(wrong("the format ends in the middle of an item".to_owned()));
            };
            self.at += 1;
            match byte {
                b'-' => item.hyphen = true,
                b'+' => item.required = true,
                b'0'..=b'9' => item.least = Some(self.level(self.at - 1)),
                b'{' => {
                    let rest = &self.text[self.at..];
                    let Some(end) = rest.iter().position(|&byte| byte == b'}') else {
                        return Err(wrong("`{` without `}`".to_owned()));
                    };
                    argument = Some(rest[..end].to_vec());
                    self.at += end + 1;
                }
                letter => {
                    item.separates = letter == b' ';
                    item.what = What::of(letter, argument).ok_or_else(|| {
                        let item = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
                        wrong(format!("Unrecognized error log format directive {item}"))
                    })?;
                    self.items.push(item);
                    return Ok(());
                }
            }
        }
    }

    /// The level of a number, as httpd counts them, and behind its digits.
    fn level(&mut self, start: usize) -> Level {
        let digits = self.text[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let digits = digits.count();
        self.at = start + digits;
        let number = std::str::from_utf8(&self.text[start..self.at]).ok();
        let number = number.and_then(|digits| digits.parse::<usize>().ok());
        Level::from_number(number.unwrap_or(usize::MAX))
    }
}

impl What {
    fn of(letter: u8, argument: Option<Vec<u8>>) -> Option<Self> {
        let is = |name: &[u8]| argument.as_deref() == Some(name);
        Some(match letter {
            b'%' => Self::Literal(b"%".to_vec()),
            b' ' => Self::Literal(Vec::new()),
            b'a' if is(b"c") => Self::Peer,
            b'a' => Self::Client,
            b'A' => Self::Local,
            b'e' => Self::Variable(argument?),
            b'i' => Self::Field(argument?),
            b'n' => Self::Note(argument?),
            b'E' => Self::Cause,
            b'F' => Self::Nothing,
            b'k' => Self::RequestsBefore,
            b'l' => Self::Level,
            // Connections have no identifier of their own here.
            b'L' if argument.is_some() => Self::Nothing,
            b'L' => Self::LogId,
            b'm' => Self::Module,
            b'M' => Self::Message,
            b'P' => Self::Pid,
            b'T' => Self::Tid,
            b't' => Self::Time(Stamp {
                compact: argument.as_ref().is_some_and(|flags| flags.contains(&b'c')),
                digits: match &argument {
                    Some(flags) if flags.contains(&b'u') => 6,
                    Some(flags) if flags.contains(&b'm') => 3,
                    _ => 0,
                },
            }),
            b'v' => Self::ServerName,
            b'V' => Self::CanonicalName,
            _ => return None,
        })
    }

    fn write(&self, entry: &Entry<'_>, origin: &Origin<'_>, out: &mut Vec<u8>) {
        let subject = entry.subject;
        let text = |value: Option<&[u8]>, out: &mut Vec<u8>| {
            escape::error(value.unwrap_or_default(), out);
        };
        // Writing to a Vec cannot fail, here and below.
        let address = |address: Option<std::net::SocketAddr>, out: &mut Vec<u8>| {
            if let Some(address) = address {
                let _ = write!(out, "{}:{}", address.ip().to_canonical(), address.port());
            }
        };
        match self {
            Self::Literal(literal) => out.extend_from_slice(literal),
            Self::Message | Self::Nothing => {}
            Self::Client => address(entry.client, out),
            Self::Peer => address(subject.map(Subject::peer).or(entry.client), out),
            Self::Local => address(subject.map(Subject::local), out),
            Self::Variable(name) => text(subject.and_then(|of| of.variable(name)), out),
            Self::Field(name) => text(subject.and_then(|of| of.field(name)), out),
            Self::Note(name) => text(subject.and_then(|of| of.note(name)), out),
            Self::Cause => {
                if let Some(cause) = entry.cause {
                    error::write_cause(cause, out);
                    out.truncate(out.len() - ": ".len());
                }
            }
            Self::RequestsBefore => {
                if let Some(subject) = subject {
                    let _ = write!(out, "{}", subject.requests_before());
                }
            }
            Self::Level => out.extend_from_slice(entry.level.name().as_bytes()),
            Self::Module => out.extend_from_slice(entry.module.as_bytes()),
            Self::LogId => text(subject.map(Subject::log_id), out),
            Self::Pid => {
                let _ = write!(out, "{}", origin.pid);
            }
            Self::Tid => {
                let _ = write!(out, "{}", origin.tid);
            }
            Self::Time(stamp) => stamp.write(origin, out),
            Self::ServerName => text(subject.map(|of| of.server_name().as_bytes()), out),
            Self::CanonicalName => {
                text(subject.map(Subject::canonical_name).as_deref(), out);
            }
        }
    }
}

impl Stamp {
    /// `Sun Nov 22 11:36:08.474024 2026`, or compact `2026-11-22 11:36:08`.
    fn write(self, origin: &Origin<'_>, out: &mut Vec<u8>) {
        let (second, micros) = zone::split(origin.time);
        let fraction = match self.digits {
            0 => String::new(),
            digits => format!(".{micros:06}")[..=digits].to_owned(),
        };
        origin.zone.with_second(second, |recent| {
            let at = &recent.local.datetime;
            let time = format!(
                "{:02}:{:02}:{:02}{fraction}",
                at.hour(),
                at.minute(),
                at.second()
            );
            let _ = if self.compact {
                write!(
                    out,
                    "{}-{:02}-{:02} {time}",
                    at.year(),
                    at.month(),
                    at.day()
                )
            } else {
                let weekday = zone::weekday(at.weekday().to_sunday_zero_offset());
                let month = zone::month(at.month());
                write!(
                    out,
                    "{weekday} {month} {:02} {time} {}",
                    at.day(),
                    at.year()
                )
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::tests::zone;
    use std::io;
    use std::net::SocketAddr;
    use std::time::{Duration, UNIX_EPOCH};

    struct Request;

    impl Subject for Request {
        fn variable(&self, name: &[u8]) -> Option<&[u8]> {
            (name == b"KIND").then_some(b"a b")
        }
        fn field(&self, name: &[u8]) -> Option<&[u8]> {
            name.eq_ignore_ascii_case(b"Referer")
                .then_some(b"http://r/\n")
        }
        fn note(&self, _name: &[u8]) -> Option<&[u8]> {
            None
        }
        fn log_id(&self) -> &[u8] {
            b"id"
        }
        fn requests_before(&self) -> u32 {
            2
        }
        fn local(&self) -> SocketAddr {
            SocketAddr::from(([127, 0, 0, 1], 80))
        }
        fn peer(&self) -> SocketAddr {
            SocketAddr::from(([10, 0, 0, 1], 7))
        }
        fn server_name(&self) -> &str {
            "a.example"
        }
        fn canonical_name(&self) -> Cow<'_, [u8]> {
            Cow::Borrowed(b"b.example")
        }
    }

    fn line(format: &str, request: bool) -> Option<String> {
        let zone = zone("UTC");
        let origin = Origin {
            time: UNIX_EPOCH + Duration::from_micros(1_795_347_368_474_024),
            zone: &zone,
            pid: 3,
            tid: 4,
        };
        let cause = io::Error::from_raw_os_error(111);
        let entry = Entry {
            client: request.then(|| SocketAddr::from(([10, 0, 0, 2], 5))),
            cause: (!request).then_some(&cause),
            subject: request.then_some(&Request as &dyn Subject),
            ..Entry::new(Level::Error, "proxy", b"went\nwrong")
        };
        let mut out = Vec::new();
        let format = ErrorFormat::parse(format.as_bytes()).expect("a format");
        format
            .write(&entry, &origin, &mut out)
            .then(|| String::from_utf8(out).expect("text"))
    }

    #[test]
    fn items() {
        let table: &[(&str, &str, &str)] = &[
            // (format, of a request, of the server)
            (
                "%t|%{u}t|%{m}t",
                "Sun Nov 22 11:36:08 2026|Sun Nov 22 11:36:08.474024 2026|Sun Nov 22 11:36:08.474 2026",
                "Sun Nov 22 11:36:08 2026|Sun Nov 22 11:36:08.474024 2026|Sun Nov 22 11:36:08.474 2026",
            ),
            (
                "%{cu}t",
                "2026-11-22 11:36:08.474024",
                "2026-11-22 11:36:08.474024",
            ),
            (
                "[%m:%l] [pid %P:tid %T] %M",
                "[proxy:error] [pid 3:tid 4] went\\nwrong",
                "[proxy:error] [pid 3:tid 4] went\\nwrong",
            ),
            (
                "x [client\\ %a] %M",
                "x [client 10.0.0.2:5] went\\nwrong",
                "x went\\nwrong",
            ),
            (
                "%{c}a %A %v %V %k %L %{c}L",
                "10.0.0.1:7 127.0.0.1:80 a.example b.example 2 id",
                "",
            ),
            (
                "%M% ,\\ referer\\ %{Referer}i",
                "went\\nwrong, referer http://r/\\n",
                "went\\nwrong",
            ),
            (
                "%E %{KIND}e %{x}n %%",
                " a b %",
                "(111)Connection refused %",
            ),
            ("%-{x}n|%-L %8F", "-|id", "-|-"),
            ("%7l %1l", " error", "error"),
        ];
        for (format, request, server) in table {
            assert_eq!(line(format, true).as_deref(), Some(*request), "{format}");
            let found = line(format, false);
            let found = found.as_deref().map(str::trim_start);
            assert_eq!(found, Some(*server), "{format}");
        }
        assert_eq!(
            line("%+{Referer}i %M", true).as_deref(),
            Some("http://r/\\n went\\nwrong")
        );
        assert_eq!(line("%M %+{Referer}i", false), None);
    }

    #[test]
    fn what_is_no_format() {
        for (format, at) in [("%M %q", 3), ("%{x", 0), ("a %", 2), ("%e", 0)] {
            let error = ErrorFormat::parse(format.as_bytes()).expect_err(format);
            assert_eq!(error.at, at, "{format}: {error}");
        }
    }
}
