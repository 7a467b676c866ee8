//! Arguments that are numbers, durations or one of a few words.
//!
//! httpd reads most numbers with `atoi`, so that `Timeout abc` becomes zero;
//! here a word that is no number is an error with the caret on it.

use std::ops::RangeInclusive;
use std::time::Duration;

use relais_conf::Text;
use relais_expr::{ExprError, Expression, Regex, RegexError, RegexFlags, StringExpression};
use relais_policy::Problem;

/// A decimal number within a range.
pub(crate) fn number(word: &Text, name: &str, range: RangeInclusive<u64>) -> Result<u64, Problem> {
    let value = word
        .as_str()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok());
    match value {
        Some(value) if range.contains(&value) => Ok(value),
        Some(_) => Err(Problem::at(
            word.span(),
            format!("{name} takes {}", shown(&range)),
        )),
        None => Err(Problem::at(
            word.span(),
            format!("{name} takes a number, not `{}`", word.lossy()),
        )),
    }
}

fn shown(range: &RangeInclusive<u64>) -> String {
    match *range.end() {
        u64::MAX => format!("a number of at least {}", range.start()),
        end => format!("a number from {} to {end}", range.start()),
    }
}

/// The same as `u32`.
pub(crate) fn small(word: &Text, name: &str, range: RangeInclusive<u32>) -> Result<u32, Problem> {
    let value = number(
        word,
        name,
        u64::from(*range.start())..=u64::from(*range.end()),
    )?;
    Ok(u32::try_from(value).unwrap_or(u32::MAX))
}

/// The longest time that a configuration may ask for, in seconds: a day over 68 years, as 32 bits have it.
const SECONDS_MAX: u64 = i32::MAX as u64;

/// Whole seconds.
pub(crate) fn seconds(word: &Text, name: &str, least: u64) -> Result<Duration, Problem> {
    number(word, name, least..=SECONDS_MAX).map(Duration::from_secs)
}

/// A number with one of the units `ms`, `s`, `min`, `h`; without a unit it counts `unit`.
pub(crate) fn duration(word: &Text, name: &str, unit: Duration) -> Result<Duration, Problem> {
    let digits = word
        .bytes()
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let count = number(&word.slice(0..digits), name, 0..=SECONDS_MAX)
        .map_err(|_| not_a_duration(word, name))?;
    let unit = match word
        .bytes()
        .get(digits..)
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_slice()
    {
        b"" => unit,
        b"ms" => Duration::from_millis(1),
        b"s" => Duration::from_secs(1),
        b"mi" | b"min" => Duration::from_secs(60),
        b"h" => Duration::from_secs(3600),
        _ => return Err(not_a_duration(word, name)),
    };
    let total = unit.checked_mul(u32::try_from(count).unwrap_or(u32::MAX));
    total
        .filter(|total| total.as_secs() <= SECONDS_MAX)
        .ok_or_else(|| not_a_duration(word, name))
}

fn not_a_duration(word: &Text, name: &str) -> Problem {
    Problem::at(
        word.span(),
        format!(
            "{name} takes a time such as 5 or 500ms, not `{}`",
            word.lossy()
        ),
    )
}

/// One of a few words, in any case; the answer is its place in the list.
pub(crate) fn choice(word: &Text, name: &str, choices: &[&str]) -> Result<usize, Problem> {
    choices
        .iter()
        .position(|choice| word.eq_ignore_case(choice))
        .ok_or_else(|| {
            Problem::at(
                word.span(),
                format!(
                    "{name} takes {}, not `{}`",
                    choices.join(" or "),
                    word.lossy()
                ),
            )
        })
}

/// `On` or `Off` as the value of a parameter.
pub(crate) fn on_off(word: &Text, name: &str) -> Result<bool, Problem> {
    choice(word, name, &["On", "Off"]).map(|index| index == 0)
}

/// A regular expression, with the caret on what PCRE does not take.
pub(crate) fn regex(pattern: &Text, flags: RegexFlags) -> Result<Regex, Problem> {
    Regex::new(pattern.bytes(), flags).map_err(|error| match error {
        RegexError::Syntax { offset, message } => {
            let at = offset.min(pattern.len().saturating_sub(1));
            Problem::at(
                pattern.span_of(at..at + 1),
                format!("cannot compile regular expression: {message}"),
            )
        }
        other => Problem::at(pattern.span(), other.to_string()),
    })
}

/// A condition, behind the first `skip` bytes of a word.
pub(crate) fn expression(word: &Text, skip: usize) -> Result<Expression, Problem> {
    let text = word.bytes().get(skip..).unwrap_or_default();
    Expression::parse(text).map_err(|error| blame(word, skip, error))
}

/// A text with variables, behind the first `skip` bytes of a word.
pub(crate) fn text(word: &Text, skip: usize) -> Result<StringExpression, Problem> {
    let text = word.bytes().get(skip..).unwrap_or_default();
    StringExpression::parse(text).map_err(|error| blame(word, skip, error))
}

/// What is wrong with an expression, behind the first `skip` bytes of a word.
pub(crate) fn blame(word: &Text, skip: usize, error: ExprError) -> Problem {
    let start = (skip + error.range.start).min(word.len().saturating_sub(1));
    let end = (skip + error.range.end).clamp(start + 1, word.len().max(start + 1));
    let message = format!("cannot parse expression: {}", error.message);
    Problem::at(word.span_of(start..end), message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::text;

    #[test]
    fn durations() {
        let table: &[(&str, Option<u64>)] = &[
            ("5", Some(5000)),
            ("0", Some(0)),
            ("250ms", Some(250)),
            ("2S", Some(2000)),
            ("1min", Some(60_000)),
            ("1h", Some(3_600_000)),
            ("", None),
            ("ms", None),
            ("5x", None),
            ("-1", None),
            ("99999999999", None),
            ("2147483647h", None),
        ];
        for &(word, expected) in table {
            let found = duration(&text(word), "X", Duration::from_secs(1)).ok();
            assert_eq!(found, expected.map(Duration::from_millis), "{word}");
        }
    }

    #[test]
    fn numbers() {
        let table: &[(&str, Option<u64>)] = &[
            ("1", Some(1)),
            ("10", Some(10)),
            ("0", None),
            ("11", None),
            ("1x", None),
            ("+1", None),
            ("", None),
        ];
        for &(word, expected) in table {
            assert_eq!(number(&text(word), "X", 1..=10).ok(), expected, "{word}");
        }
    }
}
