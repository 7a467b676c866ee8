//! mod_expires: how long answers are good for, by their type.
//!
//! What counts from a file's modification has no effect on answers of origins,
//! as in httpd (mod_expires.html).

use std::time::Duration;

use relais_conf::Text;
use relais_policy::{
    Context, Directive, Exchange, Module, Outgoing, Problem, Set, SetResult, Slot, Unfit,
};
use relais_telemetry::httpdate;

/// mod_expires.
pub struct Expires;

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    active: Option<bool>,
    default: Option<Rule>,
    by_type: Vec<(Vec<u8>, Rule)>,
}

/// From when an answer is good, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rule {
    from_access: bool,
    seconds: u64,
}

impl Module for Expires {
    const NAME: &'static str = "mod_expires";
    const IDENTIFIER: &'static str = "expires_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "ExpiresActive",
            syntax: "ExpiresActive On|Off",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Whether answers without an Expires field get one.",
            accepts: &["ExpiresActive On"],
            refuses: &["ExpiresActive", "ExpiresActive x"],
            set: Set::Flag(|slot, on| {
                slot.section.active = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "ExpiresDefault",
            syntax: "ExpiresDefault <code>seconds|\"base [plus] num type ...\"",
            context: Context::ANY,
            default: None,
            doc: "How long answers are good for whose type has no rule of its own.",
            accepts: &[
                "ExpiresDefault A300",
                "ExpiresDefault \"access plus 1 month 2 days\"",
            ],
            refuses: &[
                "ExpiresDefault",
                "ExpiresDefault X5",
                "ExpiresDefault \"access plus\"",
            ],
            set: Set::Take1(|slot, word| {
                slot.section.default = Some(Rule::parse(word)?);
                Ok(())
            }),
        },
        Directive {
            name: "ExpiresByType",
            syntax: "ExpiresByType MIME-type <code>seconds|\"base [plus] num type ...\"",
            context: Context::ANY,
            default: None,
            doc: "How long answers of a type are good for; `image/*` stands for all of a kind.",
            accepts: &[
                "ExpiresByType text/html \"access plus 1 hour\"",
                "ExpiresByType image/* A9",
            ],
            refuses: &["ExpiresByType text/html", "ExpiresByType text/html soon"],
            set: Set::Take2(by_type),
        },
    ];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section {
            active: inner.active.or(outer.active),
            default: inner.default.or(outer.default),
            by_type: [inner.by_type.as_slice(), &outer.by_type].concat(),
        }
    }
}

fn by_type(slot: &mut Slot<'_, Expires>, media_type: &Text, rule: &Text) -> SetResult {
    let rule = Rule::parse(rule)?;
    let name = media_type.bytes().to_ascii_lowercase();
    slot.section.by_type.retain(|(have, _)| *have != name);
    slot.section.by_type.push((name, rule));
    Ok(())
}

impl Rule {
    /// `A300`, `M300`, or `access plus 1 month 2 days` (`check_code`).
    fn parse(word: &Text) -> Result<Self, Problem> {
        let text = word.lossy();
        let wrong = || Problem::at(word.span(), format!("`{text}` is no rule for an expiry"));
        let (code, digits) = text.split_at_checked(1).ok_or_else(wrong)?;
        if let (true, Ok(seconds)) = (
            digits.bytes().all(|byte| byte.is_ascii_digit()),
            digits.parse(),
        ) {
            let from_access = match code {
                "A" | "a" => true,
                "M" | "m" => false,
                _ => return Err(wrong()),
            };
            return Ok(Self {
                from_access,
                seconds,
            });
        }
        let mut words = text.split_ascii_whitespace().peekable();
        let from_access = match words.next() {
            Some("access" | "now") => true,
            Some("modification") => false,
            _ => return Err(wrong()),
        };
        words.next_if_eq(&"plus");
        Ok(Self {
            from_access,
            seconds: seconds(words).ok_or_else(wrong)?,
        })
    }
}

/// Pairs of a number and a unit in seconds: `1 month 2 days`.
pub(crate) fn seconds<'w>(mut words: impl Iterator<Item = &'w str>) -> Option<u64> {
    let mut total = None;
    while let Some(number) = words.next() {
        let number: u64 = number.parse().ok()?;
        let more = number.checked_mul(words.next().and_then(unit)?)?;
        let sum = more.checked_add(total.unwrap_or(0))?;
        total = Some(sum).filter(|&seconds| seconds <= SECONDS_MAX);
        total?;
    }
    total
}

/// The seconds of a unit; its first letters count, as in httpd.
fn unit(word: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 7] = [
        ("year", 365 * 86_400),
        ("month", 30 * 86_400),
        ("week", 7 * 86_400),
        ("day", 86_400),
        ("hour", 3600),
        ("minute", 60),
        ("second", 1),
    ];
    let found = UNITS
        .iter()
        .find(|(name, _)| word.strip_suffix('s').unwrap_or(word) == *name);
    found.map(|(_, seconds)| *seconds)
}

/// What is further away than this is a slip of the pen.
const SECONDS_MAX: u64 = i32::MAX as u64;

/// httpd: mod_expires' output filter, which is before mod_headers'.
pub(crate) fn outgoing(exchange: &Exchange<'_>, outgoing: &mut Outgoing<'_>) -> Result<(), Unfit> {
    let section: &Section = exchange.section_settings();
    let has = outgoing.fields.contains("Expires") || outgoing.always.contains("Expires");
    if !section.active.unwrap_or(false) || outgoing.own_error || has {
        return Ok(());
    }
    let value = outgoing.fields.get("Content-Type").unwrap_or_default();
    let media_type = value.split(|&byte| byte == b';').next().unwrap_or_default();
    let media_type = media_type.trim_ascii().to_ascii_lowercase();
    let Some(rule) = section.rule(&media_type).filter(|rule| rule.from_access) else {
        return Ok(());
    };
    let at = exchange.now.checked_add(Duration::from_secs(rule.seconds));
    let at = at.unwrap_or(exchange.now);
    let age = format!("max-age={}", rule.seconds);
    outgoing
        .fields
        .append("Cache-Control", age)
        .map_err(|_| Unfit)?;
    let date = httpdate::date_header(at);
    outgoing.fields.set("Expires", date).map_err(|_| Unfit)
}

impl Section {
    /// The rule of a type, of its kind, or of all.
    fn rule(&self, media_type: &[u8]) -> Option<Rule> {
        let of = |name: &[u8]| {
            let mut rules = self.by_type.iter();
            rules.find(|(have, _)| have == name).map(|(_, rule)| *rule)
        };
        let kind = media_type
            .split(|&byte| byte == b'/')
            .next()
            .unwrap_or_default();
        of(media_type)
            .or_else(|| of(&[kind, b"/*"].concat()))
            .or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::text;

    #[test]
    fn rules() {
        let table: &[(&str, Option<(bool, u64)>)] = &[
            ("A300", Some((true, 300))),
            ("M0", Some((false, 0))),
            ("access plus 1 month 2 days", Some((true, 2_764_800))),
            ("now 5 minutes", Some((true, 300))),
            ("modification plus 1 year", Some((false, 31_536_000))),
            ("access plus", None),
            ("access plus 1", None),
            ("access plus 1 fortnight", None),
            ("X5", None),
            ("", None),
            ("access plus 99999999 years", None),
        ];
        for &(word, expected) in table {
            let found = Rule::parse(&text(word)).ok();
            let found = found.map(|rule| (rule.from_access, rule.seconds));
            assert_eq!(found, expected, "{word}");
        }
    }

    #[test]
    fn the_closest_rule_of_a_type() {
        let rule = |seconds| Rule {
            from_access: true,
            seconds,
        };
        let section = Section {
            active: Some(true),
            default: Some(rule(1)),
            by_type: vec![
                (b"image/*".to_vec(), rule(2)),
                (b"image/png".to_vec(), rule(3)),
            ],
        };
        for (media_type, expected) in [
            ("image/png", 3),
            ("image/gif", 2),
            ("text/html", 1),
            ("", 1),
        ] {
            let found = section.rule(media_type.as_bytes());
            assert_eq!(found, Some(rule(expected)), "{media_type}");
        }
    }
}
