//! From the text of a `LogFormat` to its items.
//!
//! The grammar of one directive is `%`, then any of `!`, `<`, `>`, `,`, a status number and `{argument}` in any order,
//! then a letter, or `^` and two letters (httpd manual pages `mod_log_config` and `mod_logio`).

use std::ops::Range;

/// A piece of a format.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Text(Vec<u8>),
    Field(Field),
}

/// A directive with its modifiers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) what: What,
    /// Looks at the request as it was before internal redirects.
    pub(super) original: bool,
    pub(super) when: Option<When>,
}

/// The status list in front of a directive; elsewhere the field is `-`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct When {
    statuses: Vec<u32>,
    negated: bool,
}

impl When {
    pub(super) fn holds(&self, status: u16) -> bool {
        self.statuses.contains(&status.into()) != self.negated
    }
}

/// What a directive prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Host(Side),
    Addr(Side),
    LocalAddr,
    Logname,
    User,
    RequestLine,
    File,
    Path,
    Query,
    Method,
    Protocol,
    Status,
    Handler,
    BodyBytes {
        dash: bool,
    },
    RequestHeader(Vec<u8>),
    ResponseHeader(Vec<u8>),
    RequestTrailer(Vec<u8>),
    ResponseTrailer(Vec<u8>),
    Cookie(Vec<u8>),
    Note(Vec<u8>),
    Env(Vec<u8>),
    Ssl(Vec<u8>),
    Time {
        end: bool,
        form: TimeForm,
    },
    Duration(Unit),
    CanonicalName,
    ServerName,
    CanonicalPort,
    LocalPort,
    ClientPort,
    Pid,
    Tid {
        hex: bool,
    },
    Connection,
    Keepalives,
    LogId(Side),
    BytesIn,
    BytesOut,
    BytesBoth,
    FirstByte,
    Tunnel(TunnelField),
    /// httpd prints an argument it does not know as it stands.
    Echo(Vec<u8>),
    Absent,
}

/// Which of the two addresses a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The client, which mod_remoteip may have found behind a proxy.
    Client,
    /// The other end of the connection.
    Peer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TimeForm {
    CommonLog,
    Seconds,
    Milliseconds,
    Microseconds,
    MillisecondFraction,
    MicrosecondFraction,
    Strftime(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
}

/// The `%{tunnel-…}x` fields, which httpd does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TunnelField {
    End,
    MessagesIn,
    MessagesOut,
    CloseCode,
    BytesIn,
    BytesOut,
    Id,
    Duration,
    Kind(Kind, bool),
}

/// A field of [`super::TunnelKinds`]; beside it stands whether it is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    TextBytes,
    Binary,
    BinaryBytes,
    Pings,
    Pongs,
    Violations,
}

/// A format that cannot be used; the person who wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The bytes of the format the message is about.
    pub range: Range<usize>,
    /// What is wrong, in httpd's words where httpd refuses it too.
    pub message: String,
    /// What could be meant.
    pub help: Option<String>,
}

impl std::fmt::Display for FormatError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FormatError {}

/// The items of `format`, ending with the newline.
pub(super) fn parse(format: &[u8]) -> Result<Vec<Item>, FormatError> {
    let mut parser = Parser {
        format,
        at: 0,
        items: Vec::new(),
    };
    while let Some(byte) = parser.peek() {
        if byte == b'%' {
            parser.directive()?
        } else {
            parser.text()
        }
    }
    parser.push_text(b"\n");
    if parser.items.len() > ITEMS_MAX {
        return Err(error(
            0..format.len(),
            format!("LogFormat has more than {ITEMS_MAX} parts"),
        ));
    }
    Ok(parser.items)
}

struct Parser<'a> {
    format: &'a [u8],
    at: usize,
    items: Vec<Item>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    /// Text up to the next `%`. A backslash in front of anything but `\ n r t` stays.
    fn text(&mut self) {
        let mut text = Vec::new();
        while let Some(byte) = self.peek().filter(|&byte| byte != b'%') {
            self.at += 1;
            let escaped = match (byte, self.peek()) {
                (b'\\', Some(b'\\')) => Some(b'\\'),
                (b'\\', Some(b'n')) => Some(b'\n'),
                (b'\\', Some(b'r')) => Some(b'\r'),
                (b'\\', Some(b't')) => Some(b'\t'),
                _ => None,
            };
            self.at += usize::from(escaped.is_some());
            text.push(escaped.unwrap_or(byte));
        }
        self.push_text(&text);
    }

    fn push_text(&mut self, text: &[u8]) {
        match self.items.last_mut() {
            Some(Item::Text(last)) => last.extend_from_slice(text),
            _ => self.items.push(Item::Text(text.to_vec())),
        }
    }

    fn directive(&mut self) -> Result<(), FormatError> {
        let start = self.at;
        self.at += 1;
        if self.peek() == Some(b'%') {
            self.at += 1;
            self.push_text(b"%");
            return Ok(());
        }
        let mut modifiers = Modifiers::default();
        while self.modifier(&mut modifiers) {}
        let (what, original) = self.what(start, &modifiers.argument)?;
        let negated = modifiers.negated;
        self.items.push(Item::Field(Field {
            what,
            original: modifiers.original.unwrap_or(original),
            when: modifiers
                .statuses
                .map(|statuses| When { statuses, negated }),
        }));
        Ok(())
    }

    /// Reads one modifier; false if there is none at this place.
    fn modifier(&mut self, modifiers: &mut Modifiers) -> bool {
        match self.peek() {
            Some(b'!') => modifiers.negated = !modifiers.negated,
            Some(b'<') => modifiers.original = Some(true),
            Some(b'>') => modifiers.original = Some(false),
            Some(b',') => {}
            Some(b'{') => {
                let rest = self.format.get(self.at + 1..).unwrap_or_default();
                let length = rest
                    .iter()
                    .position(|&byte| byte == b'}')
                    .unwrap_or(rest.len());
                modifiers.argument = rest.iter().take(length).copied().collect();
                self.at = (self.at + 1 + length).min(self.format.len() - 1);
            }
            Some(b'0'..=b'9') => {
                let status = self.number();
                modifiers.statuses.get_or_insert_default().push(status);
                return true;
            }
            _ => return false,
        }
        self.at += 1;
        true
    }

    fn number(&mut self) -> u32 {
        let mut number = 0_u32;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            number = number
                .saturating_mul(10)
                .saturating_add((digit - b'0').into());
            self.at += 1;
        }
        number
    }

    /// The directive's letters; the second value is whether it looks at the original request by default.
    fn what(&mut self, start: usize, argument: &[u8]) -> Result<(What, bool), FormatError> {
        let rest = self.format.get(self.at..).unwrap_or_default();
        let Some(&letter) = rest.first() else {
            let mut error = error(
                start..self.at,
                "Ran off end of LogFormat parsing args to some directive".to_owned(),
            );
            error.help = Some("a percent sign is written `%%`".to_owned());
            return Err(error);
        };
        let found = match rest {
            [b'^', b'F', b'B', ..] => Some((What::FirstByte, 3)),
            [b'^', b't', b'i', ..] => Some((What::RequestTrailer(argument.to_vec()), 3)),
            [b'^', b't', b'o', ..] => Some((What::ResponseTrailer(argument.to_vec()), 3)),
            [b'x', ..] => Some((self.variable(start, argument)?, 1)),
            _ => simple(letter, argument).map(|what| (what, 1)),
        };
        let Some((what, length)) = found else {
            return Err(unknown(start..self.at + 1, letter));
        };
        self.at += length;
        Ok((what, length == 1 && b"rDTUsR".contains(&letter)))
    }

    /// `%{name}x`: a tunnel's fact, or a variable of mod_ssl.
    fn variable(&self, start: usize, argument: &[u8]) -> Result<What, FormatError> {
        if let Some((_, field)) = TUNNEL_FIELDS
            .iter()
            .find(|(name, _)| name.as_bytes() == argument)
        {
            return Ok(What::Tunnel(*field));
        }
        if !argument.starts_with(b"tunnel-") {
            return Ok(if argument.is_empty() {
                What::Absent
            } else {
                What::Ssl(argument.to_vec())
            });
        }
        let name = String::from_utf8_lossy(argument);
        let names: Vec<&str> = TUNNEL_FIELDS.iter().map(|(name, _)| *name).collect();
        Err(FormatError {
            range: start..self.at + 1,
            message: format!("Unrecognized tunnel field `{name}`"),
            help: Some(format!("the fields are {}", names.join(", "))),
        })
    }
}

#[derive(Default)]
struct Modifiers {
    argument: Vec<u8>,
    negated: bool,
    original: Option<bool>,
    statuses: Option<Vec<u32>>,
}

/// Directives of one letter, but for `x`.
fn simple(letter: u8, argument: &[u8]) -> Option<What> {
    let name = || argument.to_vec();
    let side = if argument == b"c" {
        Side::Peer
    } else {
        Side::Client
    };
    Some(match letter {
        b'a' => What::Addr(side),
        b'A' => What::LocalAddr,
        b'b' => What::BodyBytes { dash: true },
        b'B' => What::BodyBytes { dash: false },
        b'C' => What::Cookie(name()),
        b'c' => ssl_alias(argument),
        b'D' => What::Duration(Unit::Microseconds),
        b'e' => What::Env(name()),
        b'f' => What::File,
        b'h' => What::Host(side),
        b'H' => What::Protocol,
        b'i' => What::RequestHeader(name()),
        b'I' => What::BytesIn,
        b'k' => What::Keepalives,
        b'l' => What::Logname,
        b'L' => What::LogId(side),
        b'm' => What::Method,
        b'n' => What::Note(name()),
        b'o' => What::ResponseHeader(name()),
        b'O' => What::BytesOut,
        b'p' => port(argument),
        b'P' => process(argument),
        b'q' => What::Query,
        b'r' => What::RequestLine,
        b'R' => What::Handler,
        b's' => What::Status,
        b'S' => What::BytesBoth,
        b't' => time(argument),
        b'T' => duration(argument),
        b'u' => What::User,
        b'U' => What::Path,
        b'v' => What::CanonicalName,
        b'V' => What::ServerName,
        b'X' => What::Connection,
        _ => return None,
    })
}

/// mod_ssl's older `%{name}c`.
fn ssl_alias(argument: &[u8]) -> What {
    let variable: &[u8] = match argument {
        b"version" => b"SSL_PROTOCOL",
        b"cipher" => b"SSL_CIPHER",
        b"subjectdn" => b"SSL_CLIENT_S_DN",
        b"issuerdn" => b"SSL_CLIENT_I_DN",
        _ => return What::Absent,
    };
    What::Ssl(variable.to_vec())
}

fn port(argument: &[u8]) -> What {
    match argument.to_ascii_lowercase().as_slice() {
        b"" | b"canonical" => What::CanonicalPort,
        b"remote" => What::ClientPort,
        b"local" => What::LocalPort,
        _ => What::Echo(argument.to_vec()),
    }
}

fn process(argument: &[u8]) -> What {
    match argument {
        b"" | b"pid" => What::Pid,
        b"tid" => What::Tid { hex: false },
        b"hextid" => What::Tid { hex: true },
        _ => What::Echo(argument.to_vec()),
    }
}

fn duration(argument: &[u8]) -> What {
    match argument.to_ascii_lowercase().as_slice() {
        b"" | b"s" => What::Duration(Unit::Seconds),
        b"ms" => What::Duration(Unit::Milliseconds),
        b"us" => What::Duration(Unit::Microseconds),
        _ => What::Echo(argument.to_vec()),
    }
}

fn time(argument: &[u8]) -> What {
    let (end, form) = match argument {
        b"begin" => (false, &b""[..]),
        b"end" => (true, &b""[..]),
        _ => match (
            argument.strip_prefix(b"begin:"),
            argument.strip_prefix(b"end:"),
        ) {
            (Some(form), _) => (false, form),
            (_, Some(form)) => (true, form),
            _ => (false, argument),
        },
    };
    let form = match form {
        b"" => TimeForm::CommonLog,
        b"sec" => TimeForm::Seconds,
        b"msec" => TimeForm::Milliseconds,
        b"usec" => TimeForm::Microseconds,
        b"msec_frac" => TimeForm::MillisecondFraction,
        b"usec_frac" => TimeForm::MicrosecondFraction,
        _ => TimeForm::Strftime(form.to_vec()),
    };
    What::Time { end, form }
}

fn unknown(range: Range<usize>, letter: u8) -> FormatError {
    let message = format!(
        "Unrecognized LogFormat directive %{}",
        letter.escape_ascii()
    );
    let help = match letter {
        b'^' => {
            Some("the directives that begin with ^ are %^FB, %{name}^ti and %{name}^to".to_owned())
        }
        b'%' => Some("a percent sign is written `%%`, without anything in between".to_owned()),
        _ => Some(letter ^ 0x20)
            .filter(|other| other.is_ascii_alphabetic() && simple(*other, b"").is_some())
            .map(|other| {
                format!(
                    "letters are case-sensitive; there is %{}",
                    char::from(other)
                )
            }),
    };
    FormatError {
        range,
        message,
        help,
    }
}

fn error(range: Range<usize>, message: String) -> FormatError {
    FormatError {
        range,
        message,
        help: None,
    }
}

const TUNNEL_FIELDS: [(&str, TunnelField); 22] = [
    ("tunnel-end", TunnelField::End),
    ("tunnel-messages-in", TunnelField::MessagesIn),
    ("tunnel-messages-out", TunnelField::MessagesOut),
    ("tunnel-close-code", TunnelField::CloseCode),
    ("tunnel-bytes-in", TunnelField::BytesIn),
    ("tunnel-bytes-out", TunnelField::BytesOut),
    ("tunnel-id", TunnelField::Id),
    ("tunnel-duration", TunnelField::Duration),
    ("tunnel-text-in", TunnelField::Kind(Kind::Text, true)),
    ("tunnel-text-out", TunnelField::Kind(Kind::Text, false)),
    (
        "tunnel-text-bytes-in",
        TunnelField::Kind(Kind::TextBytes, true),
    ),
    (
        "tunnel-text-bytes-out",
        TunnelField::Kind(Kind::TextBytes, false),
    ),
    ("tunnel-binary-in", TunnelField::Kind(Kind::Binary, true)),
    ("tunnel-binary-out", TunnelField::Kind(Kind::Binary, false)),
    (
        "tunnel-binary-bytes-in",
        TunnelField::Kind(Kind::BinaryBytes, true),
    ),
    (
        "tunnel-binary-bytes-out",
        TunnelField::Kind(Kind::BinaryBytes, false),
    ),
    ("tunnel-pings-in", TunnelField::Kind(Kind::Pings, true)),
    ("tunnel-pings-out", TunnelField::Kind(Kind::Pings, false)),
    ("tunnel-pongs-in", TunnelField::Kind(Kind::Pongs, true)),
    ("tunnel-pongs-out", TunnelField::Kind(Kind::Pongs, false)),
    (
        "tunnel-violations-in",
        TunnelField::Kind(Kind::Violations, true),
    ),
    (
        "tunnel-violations-out",
        TunnelField::Kind(Kind::Violations, false),
    ),
];

/// A pending line names the item a hole is for with 16 bits.
const ITEMS_MAX: usize = u16::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors() {
        let ran_off = "Ran off end of LogFormat parsing args to some directive";
        let cases = [
            ("%", 0..1, ran_off),
            ("%h %{abc", 3..8, ran_off),
            ("%{", 0..2, ran_off),
            ("%200", 0..4, ran_off),
            ("%>", 0..2, ran_off),
            ("%Z", 0..2, "Unrecognized LogFormat directive %Z"),
            ("ab %!Y", 3..6, "Unrecognized LogFormat directive %Y"),
            ("%^XX", 0..2, "Unrecognized LogFormat directive %^"),
            ("%^F", 0..2, "Unrecognized LogFormat directive %^"),
            ("%^", 0..2, "Unrecognized LogFormat directive %^"),
            ("a%%%{x}^Fz", 3..8, "Unrecognized LogFormat directive %^"),
            ("%200%", 0..5, "Unrecognized LogFormat directive %%"),
            ("%h%\n", 2..4, "Unrecognized LogFormat directive %\\n"),
            (
                "é %{tunnel-ende}x",
                3..18,
                "Unrecognized tunnel field `tunnel-ende`",
            ),
        ];
        for (format, range, message) in cases {
            let error = parse(format.as_bytes()).expect_err(format);
            assert_eq!(
                (error.range, error.message.as_str()),
                (range, message),
                "{format}"
            );
        }
    }

    #[test]
    fn help_names_what_there_is() {
        let cases = [
            ("%F", Some("letters are case-sensitive; there is %f")),
            ("%Z", None),
            ("%", Some("a percent sign is written `%%`")),
            (
                "%^q",
                Some("the directives that begin with ^ are %^FB, %{name}^ti and %{name}^to"),
            ),
        ];
        for (format, help) in cases {
            let error = parse(format.as_bytes()).expect_err(format);
            assert_eq!(error.help.as_deref(), help, "{format}");
        }
    }

    #[test]
    fn arguments_select_the_item() {
        use TimeForm::*;
        let cases = [
            ("%{c}a", What::Addr(Side::Peer)),
            ("%{C}a", What::Addr(Side::Client)),
            ("%{LOCAL}p", What::LocalPort),
            ("%{remote}p", What::ClientPort),
            ("%{hextid}P", What::Tid { hex: true }),
            ("%{MS}T", What::Duration(Unit::Milliseconds)),
            (
                "%{begin}t",
                What::Time {
                    end: false,
                    form: CommonLog,
                },
            ),
            (
                "%{end:}t",
                What::Time {
                    end: true,
                    form: CommonLog,
                },
            ),
            (
                "%{end:usec_frac}t",
                What::Time {
                    end: true,
                    form: MicrosecondFraction,
                },
            ),
            (
                "%{ending}t",
                What::Time {
                    end: false,
                    form: Strftime(b"ending".to_vec()),
                },
            ),
            (
                "%{begin:begin:sec}t",
                What::Time {
                    end: false,
                    form: Strftime(b"begin:sec".to_vec()),
                },
            ),
            (
                "%{SEC}t",
                What::Time {
                    end: false,
                    form: Strftime(b"SEC".to_vec()),
                },
            ),
            ("%{version}c", What::Ssl(b"SSL_PROTOCOL".to_vec())),
            ("%{errcode}c", What::Absent),
            ("%x", What::Absent),
            ("%{a}{b}i", What::RequestHeader(b"b".to_vec())),
            ("%{a%b}i", What::RequestHeader(b"a%b".to_vec())),
        ];
        for (format, expected) in cases {
            let items = parse(format.as_bytes()).expect(format);
            let Some(Item::Field(field)) = items.first() else {
                panic!("{format}")
            };
            assert_eq!(field.what, expected, "{format}");
        }
    }
}
