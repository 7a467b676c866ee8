//! The flags of a rule: names, values and what they switch.

use std::ops::Range;

use relais_expr::{ByteSet, Escape, Template, leading_integer};

use crate::args::trimmed_within;
use crate::error::RuleError;

/// A flag as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Which one it is.
    pub kind: FlagKind,
    /// Its bytes in the argument text, value included.
    pub range: Range<usize>,
    /// The bytes of its value, behind the `=`.
    pub value: Option<Range<usize>>,
}

/// The flags of RewriteRule that relais carries out (manual page rewrite/flags).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagKind {
    /// `B`, `backrefescaping`.
    EscapeBackref,
    /// `BNP`, `backrefernoplus`.
    EscapeNoPlus,
    /// `BCTLS`.
    EscapeControls,
    /// `BNE=chars`.
    EscapeExcept,
    /// `C`, `chain`.
    Chain,
    /// `CO=name:value:domain…`, `cookie`.
    Cookie,
    /// `DPI`, `discardpath`: in per-directory context what follows the file in the path is dropped.
    DiscardPath,
    /// `E=VAR:value`, `env`.
    Env,
    /// `END`.
    End,
    /// `F`, `forbidden`.
    Forbidden,
    /// `G`, `gone`.
    Gone,
    /// `H=handler`, `handler`: who answers.
    Handler,
    /// `L`, `last`.
    Last,
    /// `N=rounds`, `next`.
    Next,
    /// `NC`, `nocase`.
    NoCase,
    /// `NE`, `noescape`.
    NoEscape,
    /// `NS`, `nosubreq`.
    NoSubrequest,
    /// `P`, `proxy`.
    Proxy,
    /// `PT`, `passthrough`.
    PassThrough,
    /// `QSA`, `qsappend`.
    QueryAppend,
    /// `QSD`, `qsdiscard`.
    QueryDiscard,
    /// `QSL`, `qslast`.
    QueryLast,
    /// `R=code`, `redirect`.
    Redirect,
    /// `S=count`, `skip`.
    Skip,
    /// `T=type`, `type`: the type of a file; the origin of a proxied request says its own.
    Type,
    /// `UNC`: slashes at the start of the result are kept.
    KeepSlashes,
    /// `UnsafeAllow3F`.
    UnsafeAllow3F,
    /// `UnsafePrefixStat`: a first segment that the request has chosen may be a folder of the disk.
    UnsafePrefixStat,
}

/// What the flags of one rule add up to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) written: Vec<Flag>,
    pub(crate) switches: Vec<FlagKind>,
    pub(crate) escape: Option<Escape>,
    pub(crate) env: Vec<Template>,
    pub(crate) cookies: Vec<Template>,
    /// The type of `T`.
    pub(crate) kind: Option<Template>,
    /// The handler of `H`.
    pub(crate) handler: Option<Template>,
    /// The status of a redirect, or of the response if `responds`.
    pub(crate) status: u16,
    /// The request ends with `status`, and the substitution is not used.
    pub(crate) responds: bool,
    pub(crate) rounds_max: i64,
    pub(crate) skip: i64,
}

impl Settings {
    pub(crate) fn has(&self, kind: FlagKind) -> bool {
        self.switches.contains(&kind)
    }

    pub(crate) fn none() -> Self {
        Self {
            written: Vec::new(),
            switches: Vec::new(),
            escape: None,
            env: Vec::new(),
            cookies: Vec::new(),
            kind: None,
            handler: None,
            status: FOUND,
            responds: false,
            rounds_max: ROUNDS_MAX,
            skip: 0,
        }
    }

    /// Reads the list between the square brackets, which is `list` in `text`.
    pub(crate) fn parse(text: &[u8], list: Range<usize>) -> Result<Self, RuleError> {
        let mut reader = Reader {
            text,
            settings: Self::none(),
            escape: Escape::default(),
            escapes: false,
        };
        for item in items(text, list) {
            reader.flag(item)?;
        }
        reader.settings.escape = reader.escapes.then_some(reader.escape);
        Ok(reader.settings)
    }
}

/// The comma-separated items of a flag list, trimmed.
pub(crate) fn items(text: &[u8], list: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut next = Some(list.start);
    std::iter::from_fn(move || {
        let start = next?;
        let rest = text.get(start..list.end).unwrap_or_default();
        let comma = rest.iter().position(|byte| *byte == b',');
        next = comma.map(|at| start + at + 1);
        let end = comma.map_or(list.end, |at| start + at);
        Some(trimmed_within(text, start..end))
    })
}

/// Splits `NAME=value`.
pub(crate) fn name_and_value(
    text: &[u8],
    item: &Range<usize>,
) -> (Range<usize>, Option<Range<usize>>) {
    let bytes = text.get(item.clone()).unwrap_or_default();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (
            item.start..item.start + at,
            Some(item.start + at + 1..item.end),
        ),
        None => (item.clone(), None),
    }
}

/// The error for a name that no table has.
pub(crate) fn unknown(text: &[u8], name: Range<usize>) -> RuleError {
    let shown = String::from_utf8_lossy(text.get(name.clone()).unwrap_or_default()).into_owned();
    let error = RuleError::invalid(name, format!("unknown flag '{shown}'"));
    if shown.is_empty() {
        error.with_help("there is one comma too many, or nothing between the brackets")
    } else {
        error
    }
}

struct Reader<'a> {
    text: &'a [u8],
    settings: Settings,
    escape: Escape,
    escapes: bool,
}

impl Reader<'_> {
    fn flag(&mut self, item: Range<usize>) -> Result<(), RuleError> {
        let (name, value) = name_and_value(self.text, &item);
        let spelled = self.text.get(name.clone()).unwrap_or_default();
        let is = |known: &&str| !known.is_empty() && spelled.eq_ignore_ascii_case(known.as_bytes());
        let Some((.., kind)) = NAMES.iter().find(|(short, long, _)| is(short) || is(long)) else {
            return Err(unknown(self.text, name));
        };
        self.apply(*kind, &item, value.clone())?;
        self.settings.switches.push(*kind);
        self.settings.written.push(Flag {
            kind: *kind,
            range: item,
            value,
        });
        Ok(())
    }

    fn apply(
        &mut self,
        kind: FlagKind,
        item: &Range<usize>,
        value: Option<Range<usize>>,
    ) -> Result<(), RuleError> {
        let range = value.unwrap_or(item.end..item.end);
        let value = self.text.get(range.clone()).unwrap_or_default();
        match kind {
            FlagKind::EscapeBackref => {
                self.escapes = true;
                if !value.is_empty() {
                    self.escape.only = Some(ByteSet::of(value));
                }
            }
            FlagKind::EscapeControls => {
                self.escapes = true;
                self.escape.controls = true;
            }
            FlagKind::EscapeNoPlus => self.escape.space_as_hex = true,
            FlagKind::EscapeExcept if value.is_empty() => {
                return Err(RuleError::invalid(
                    item.clone(),
                    "flag 'BNE' wants a list of characters, as in BNE=/",
                ));
            }
            FlagKind::EscapeExcept => self.escape.except = ByteSet::of(value),
            FlagKind::Env => self.settings.env.push(template(value, range.start)?),
            FlagKind::Cookie => self.settings.cookies.push(template(value, range.start)?),
            FlagKind::Type => self.settings.kind = Some(template(value, range.start)?),
            FlagKind::Handler => self.settings.handler = Some(template(value, range.start)?),
            FlagKind::Forbidden => self.respond(403),
            FlagKind::Gone => self.respond(410),
            FlagKind::Redirect => self.redirect(value, range)?,
            FlagKind::Next if !value.is_empty() => {
                self.settings.rounds_max = leading_integer(value)
            }
            FlagKind::Skip => self.settings.skip = leading_integer(value),
            _ => {}
        }
        Ok(())
    }

    const fn respond(&mut self, status: u16) {
        self.settings.status = status;
        self.settings.responds = true;
    }

    fn redirect(&mut self, value: &[u8], range: Range<usize>) -> Result<(), RuleError> {
        let named = REDIRECT_NAMES
            .iter()
            .find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes()));
        if let Some((_, status)) = named {
            self.settings.status = *status;
        } else if value.first().is_some_and(u8::is_ascii_digit) {
            let status = known_status(value).map_err(|reason| {
                let shown = String::from_utf8_lossy(value);
                RuleError::invalid(
                    range,
                    format!("invalid HTTP response code '{shown}' for flag 'R'{reason}"),
                )
            })?;
            match status {
                300..=399 => self.settings.status = status,
                _ => self.respond(status),
            }
        } else if !value.is_empty() {
            // httpd takes any other word for no code at all, which ends as a 302.
            self.settings.status = FOUND;
        }
        Ok(())
    }
}

fn template(value: &[u8], start: usize) -> Result<Template, RuleError> {
    Template::parse(value, start).map_err(|error| RuleError::map(&error))
}

fn known_status(value: &[u8]) -> Result<u16, &'static str> {
    match u16::try_from(leading_integer(value)) {
        Ok(100..=199) => Err(": it cannot be a final response"),
        Ok(status) if is_known_status(status) => Ok(status),
        _ => Err(""),
    }
}

/// The codes httpd has a reason phrase for.
const fn is_known_status(status: u16) -> bool {
    matches!(
        status,
        200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451 | 500..=508 | 510 | 511
    )
}

const FOUND: u16 = 302;
/// The default of `[N]`.
const ROUNDS_MAX: i64 = 32_000;

const REDIRECT_NAMES: &[(&str, u16)] = &[("permanent", 301), ("temp", 302), ("seeother", 303)];

/// Short name, long name, flag.
const NAMES: &[(&str, &str, FlagKind)] = &[
    ("B", "backrefescaping", FlagKind::EscapeBackref),
    ("BNP", "backrefernoplus", FlagKind::EscapeNoPlus),
    ("BCTLS", "", FlagKind::EscapeControls),
    ("BNE", "", FlagKind::EscapeExcept),
    ("C", "chain", FlagKind::Chain),
    ("CO", "cookie", FlagKind::Cookie),
    ("DPI", "discardpath", FlagKind::DiscardPath),
    ("E", "env", FlagKind::Env),
    ("END", "", FlagKind::End),
    ("F", "forbidden", FlagKind::Forbidden),
    ("G", "gone", FlagKind::Gone),
    ("H", "handler", FlagKind::Handler),
    ("L", "last", FlagKind::Last),
    ("N", "next", FlagKind::Next),
    ("NC", "nocase", FlagKind::NoCase),
    ("NE", "noescape", FlagKind::NoEscape),
    ("NS", "nosubreq", FlagKind::NoSubrequest),
    ("P", "proxy", FlagKind::Proxy),
    ("PT", "passthrough", FlagKind::PassThrough),
    ("QSA", "qsappend", FlagKind::QueryAppend),
    ("QSD", "qsdiscard", FlagKind::QueryDiscard),
    ("QSL", "qslast", FlagKind::QueryLast),
    ("R", "redirect", FlagKind::Redirect),
    ("S", "skip", FlagKind::Skip),
    ("T", "type", FlagKind::Type),
    ("UNC", "", FlagKind::KeepSlashes),
    ("UnsafeAllow3F", "", FlagKind::UnsafeAllow3F),
    ("UnsafePrefixStat", "", FlagKind::UnsafePrefixStat),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<Settings, RuleError> {
        Settings::parse(list.as_bytes(), 0..list.len())
    }

    fn alternate_case(name: &str) -> String {
        name.char_indices()
            .map(|(at, c)| {
                if at % 2 == 0 {
                    c.to_ascii_lowercase()
                } else {
                    c.to_ascii_uppercase()
                }
            })
            .collect()
    }

    #[test]
    fn every_spelling_of_every_flag() {
        for (short, long, kind) in NAMES {
            for name in [short, long].into_iter().filter(|name| !name.is_empty()) {
                for spelled in [
                    (*name).to_owned(),
                    name.to_lowercase(),
                    name.to_uppercase(),
                    alternate_case(name),
                ] {
                    let settings = parse(&format!("{spelled}=301")).unwrap();
                    assert_eq!(settings.switches, [*kind], "{spelled}");
                }
            }
        }
    }

    #[test]
    fn lists() {
        use FlagKind::{Env, Last, Proxy, Redirect, UnsafeAllow3F};
        for (list, expected) in [
            ("proxy,last", &[Proxy, Last][..]),
            (" P , L ", &[Proxy, Last]),
            ("R=301,L", &[Redirect, Last]),
            ("E=A:b=c,E=!D,unsafeallow3f", &[Env, Env, UnsafeAllow3F]),
            ("L,L", &[Last, Last]),
        ] {
            assert_eq!(parse(list).unwrap().switches, expected, "{list}");
        }
        let written = parse(" P , R=301 ").unwrap().written;
        assert_eq!(
            written[1],
            Flag {
                kind: Redirect,
                range: 5..10,
                value: Some(7..10)
            }
        );
    }

    #[test]
    fn codes() {
        for (flag, status, responds) in [
            ("L", 302, false),
            ("R", 302, false),
            ("R=", 302, false),
            ("R=temp", 302, false),
            ("R=Permanent", 301, false),
            ("R=seeother", 303, false),
            ("R=308", 308, false),
            ("R=301x", 301, false),
            ("R=whatever", 302, false),
            ("R=404", 404, true),
            ("R=200", 200, true),
            ("F", 403, true),
            ("G", 410, true),
        ] {
            let settings = parse(flag).unwrap();
            assert_eq!(
                (settings.status, settings.responds),
                (status, responds),
                "{flag}"
            );
        }
    }

    #[test]
    fn errors() {
        for (list, range, message) in [
            ("ZZ", 0..2, "unknown flag 'ZZ'"),
            ("L,Last2=5,R", 2..7, "unknown flag 'Last2'"),
            ("L,", 2..2, "unknown flag ''"),
            ("", 0..0, "unknown flag ''"),
            ("P, ,L", 3..3, "unknown flag ''"),
            ("R =301", 0..2, "unknown flag 'R '"),
            (
                "L,R=306",
                4..7,
                "invalid HTTP response code '306' for flag 'R'",
            ),
            (
                "R=12345",
                2..7,
                "invalid HTTP response code '12345' for flag 'R'",
            ),
            (
                "R=101",
                2..5,
                "invalid HTTP response code '101' for flag 'R': it cannot be a final response",
            ),
            (
                "BNE",
                0..3,
                "flag 'BNE' wants a list of characters, as in BNE=/",
            ),
        ] {
            let error = parse(list).unwrap_err();
            assert_eq!(
                (error.range, error.message.as_str()),
                (range, message),
                "{list}"
            );
        }
    }

    #[test]
    fn integers_as_c_reads_them() {
        for (text, expected) in [
            ("12", 12),
            (" -3x", -3),
            ("+7", 7),
            ("x", 0),
            ("", 0),
            ("99999999999999999999", i64::MAX),
            ("- 1", 0),
        ] {
            assert_eq!(leading_integer(text.as_bytes()), expected, "{text}");
        }
    }
}
