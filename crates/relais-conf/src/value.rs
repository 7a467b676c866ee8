//! Values in directive arguments: switches, numbers, intervals; and what a misspelled name may have meant.
//!
//! An error is the end of a sentence that starts with the directive's name, such as `must be On or Off`.

use std::ops::RangeInclusive;
use std::time::Duration;

/// `On` or `Off` in any case.
///
/// # Errors
/// Anything else.
pub fn flag(word: &str) -> Result<bool, String> {
    match word {
        _ if word.eq_ignore_ascii_case("on") => Ok(true),
        _ if word.eq_ignore_ascii_case("off") => Ok(false),
        _ => Err("must be On or Off".to_owned()),
    }
}

/// A decimal number without a sign, within a range.
///
/// httpd often reads numbers with `atoi` and takes anything; relais does not.
///
/// # Errors
/// Anything but digits, and numbers outside of the range.
pub fn unsigned(word: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let number = word
        .parse()
        .ok()
        .filter(|number| digits && range.contains(number));
    number.ok_or_else(|| match (*range.start(), *range.end()) {
        (0, u64::MAX) => "must be a number".to_owned(),
        (start, u64::MAX) => format!("must be a number of at least {start}"),
        (start, end) => format!("must be a number from {start} to {end}"),
    })
}

/// What a number without a unit counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// `ms`
    Milliseconds,
    /// `s`
    Seconds,
    /// `min`
    Minutes,
    /// `h`
    Hours,
}

impl Unit {
    fn milliseconds(self) -> u64 {
        match self {
            Self::Milliseconds => 1,
            Self::Seconds => 1_000,
            Self::Minutes => 60_000,
            Self::Hours => 3_600_000,
        }
    }

    /// The unit that letters mean. As in httpd's `ap_timeout_parameter_parse`, the first ones decide.
    fn from_letters(letters: &str) -> Option<Self> {
        if !letters.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return None;
        }
        match letters.to_ascii_lowercase().as_bytes() {
            [b'h', ..] => Some(Self::Hours),
            [b's', ..] => Some(Self::Seconds),
            [b'm', b's', ..] => Some(Self::Milliseconds),
            [b'm', b'i', ..] => Some(Self::Minutes),
            _ => None,
        }
    }
}

/// A length of time: a number, and `ms`, `s`, `min` or `h` directly behind it unless the default unit is meant.
///
/// # Errors
/// Anything else, and what does not fit into 64 bits of milliseconds.
pub fn interval(word: &str, default: Unit) -> Result<Duration, String> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, letters) = word.split_at(digits);
    let unit = if letters.is_empty() {
        Some(default)
    } else {
        Unit::from_letters(letters)
    };
    let number: Option<u64> = number.parse().ok();
    let milliseconds = number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit.milliseconds()));
    let wrong = || "must be an interval such as 5, 5s, 300ms, 2min or 1h".to_owned();
    milliseconds.map(Duration::from_millis).ok_or_else(wrong)
}

/// The candidate that a name most probably meant: the nearest by edit distance without regard to case, if it is near
/// enough. The first of equally near ones.
pub fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let near = candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= 4 * limit);
    let measured = near.map(|candidate| (distance(name, candidate), candidate));
    measured
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, best)| best)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour, without regard to case.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    // Names are short; a longer one is compared by its start to bound the work.
    let letters = |text: &str| {
        text.chars()
            .take(64)
            .map(|letter| letter.to_ascii_lowercase())
            .collect::<Vec<_>>()
    };
    let (a, b) = (letters(a), letters(b));
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (row, letter) in a.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, other) in b.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != other);
            let mut best = replaced.min(last[column + 1] + 1).min(next[column] + 1);
            if row > 0 && column > 0 && a[row - 1] == *other && b[column - 1] == *letter {
                best = best.min(before[column - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        let cases = [
            ("On", Some(true)),
            ("oFF", Some(false)),
            ("yes", None),
            ("", None),
            ("on ", None),
        ];
        for (word, expected) in cases {
            assert_eq!(flag(word).ok(), expected, "{word}");
        }
    }

    #[test]
    fn numbers() {
        let cases = [
            ("0", 0..=9, Ok(0)),
            ("9", 0..=9, Ok(9)),
            ("10", 0..=9, Err("must be a number from 0 to 9")),
            ("1", 2..=u64::MAX, Err("must be a number of at least 2")),
            ("-1", 0..=u64::MAX, Err("must be a number")),
            ("+1", 0..=u64::MAX, Err("must be a number")),
            ("1x", 0..=u64::MAX, Err("must be a number")),
            ("", 0..=u64::MAX, Err("must be a number")),
            ("18446744073709551615", 0..=u64::MAX, Ok(u64::MAX)),
            (
                "18446744073709551616",
                0..=u64::MAX,
                Err("must be a number"),
            ),
        ];
        for (word, range, expected) in cases {
            assert_eq!(
                unsigned(word, range),
                expected.map_err(str::to_owned),
                "{word}"
            );
        }
    }

    #[test]
    fn intervals() {
        let cases = [
            ("5", Unit::Seconds, Some(5_000)),
            ("5", Unit::Milliseconds, Some(5)),
            ("5", Unit::Minutes, Some(300_000)),
            ("5s", Unit::Minutes, Some(5_000)),
            ("300ms", Unit::Seconds, Some(300)),
            ("2min", Unit::Seconds, Some(120_000)),
            ("2mi", Unit::Seconds, Some(120_000)),
            ("1H", Unit::Seconds, Some(3_600_000)),
            ("7seconds", Unit::Hours, Some(7_000)),
            ("0", Unit::Seconds, Some(0)),
            ("2m", Unit::Seconds, None),
            ("1d", Unit::Seconds, None),
            ("s", Unit::Seconds, None),
            ("", Unit::Seconds, None),
            ("-1", Unit::Seconds, None),
            ("5 s", Unit::Seconds, None),
            ("1.5s", Unit::Seconds, None),
            ("18446744073709551615h", Unit::Seconds, None),
        ];
        for (word, unit, milliseconds) in cases {
            assert_eq!(
                interval(word, unit).ok(),
                milliseconds.map(Duration::from_millis),
                "{word}"
            );
        }
    }

    #[test]
    fn near_names() {
        let names = [
            "ProxyPass",
            "ProxyPassMatch",
            "ProxyPreserveHost",
            "Listen",
            "Timeout",
        ];
        let cases = [
            ("ProxyPas", Some("ProxyPass")),
            ("proxypasss", Some("ProxyPass")),
            ("Porxypass", Some("ProxyPass")),
            ("ProxyPreserverHosts", Some("ProxyPreserveHost")),
            ("Lisetn", Some("Listen")),
            ("TimeOut", Some("Timeout")),
            ("Time", None),
            ("x", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(did_you_mean(name, names), expected, "{name}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
            ("A", "a", 0),
        ] {
            assert_eq!(
                (distance(a, b), distance(b, a)),
                (expected, expected),
                "{a} {b}"
            );
        }
    }
}
