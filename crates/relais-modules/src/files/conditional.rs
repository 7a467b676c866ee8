//! Conditional requests and ranges (RFC 9110 §13 and §14), for one file.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relais_http1::Fields;

/// What a request's conditions say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Serve,
    NotModified,
    Failed,
}

/// Which part of a file is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Range {
    Whole,
    /// Offset and length.
    Part(u64, u64),
    /// Nothing of what is asked for is there.
    Outside,
}

/// The entity tag of `FileETag MTime Size`: both in hexadecimal, the time in
/// microseconds.
pub(super) fn tag(length: u64, modified: SystemTime) -> Vec<u8> {
    let micros = since_epoch(modified).as_micros();
    format!("\"{length:x}-{micros:x}\"").into_bytes()
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The order of RFC 9110 §13.2.2.
pub(super) fn judge(fields: &Fields, method: &[u8], tag: &[u8], modified: SystemTime) -> Verdict {
    if fields.contains("If-Match") {
        if !lists(fields, "If-Match", tag, false) {
            return Verdict::Failed;
        }
    } else if let Some(limit) = date(fields, "If-Unmodified-Since")
        && whole_seconds(modified) > limit
    {
        return Verdict::Failed;
    }
    let reads = matches!(method, b"GET" | b"HEAD");
    if fields.contains("If-None-Match") {
        return match lists(fields, "If-None-Match", tag, true) {
            false => Verdict::Serve,
            true if reads => Verdict::NotModified,
            true => Verdict::Failed,
        };
    }
    match date(fields, "If-Modified-Since") {
        Some(since) if reads && whole_seconds(modified) <= since => Verdict::NotModified,
        _ => Verdict::Serve,
    }
}

/// Whether a list of tags has ours, or is `*`; a weak comparison overlooks
/// `W/`.
fn lists(fields: &Fields, name: &str, tag: &[u8], weak: bool) -> bool {
    fields.get_all(name).any(|value| {
        value.split(|&byte| byte == b',').any(|one| {
            let one = one.trim_ascii();
            one == b"*" || one == tag || (weak && one.strip_prefix(b"W/") == Some(tag))
        })
    })
}

fn whole_seconds(time: SystemTime) -> u64 {
    since_epoch(time).as_secs()
}

/// A date field in seconds; one that is no date is not there.
fn date(fields: &Fields, name: &str) -> Option<u64> {
    parse_date(fields.get(name)?)
}

fn parse_date(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    u64::try_from(date.timestamp().as_second()).ok()
}

/// The one range that is asked for. Several are answered with the whole file,
/// as RFC 9110 §14.2 allows.
pub(super) fn range(fields: &Fields, length: u64, tag: &[u8], modified: SystemTime) -> Range {
    let Some(value) = fields.get("Range") else {
        return Range::Whole;
    };
    if let Some(condition) = fields.get("If-Range") {
        let same = condition == tag || parse_date(condition) == Some(whole_seconds(modified));
        if !same {
            return Range::Whole;
        }
    }
    let text = std::str::from_utf8(value).unwrap_or_default();
    let Some(("bytes", spec)) = text.split_once('=') else {
        return Range::Whole;
    };
    part(spec.trim(), length).unwrap_or(Range::Whole)
}

/// `first-last`, `first-` or `-count`; `None` for what is no single range.
fn part(spec: &str, length: u64) -> Option<Range> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    if first.is_empty() {
        let count = number(last)?.min(length);
        return Some(if count == 0 {
            Range::Outside
        } else {
            Range::Part(length - count, count)
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    if last < first {
        return None;
    }
    if first >= length {
        return Some(Range::Outside);
    }
    Some(Range::Part(first, last.min(length - 1) - first + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let table: &[(&str, Option<Range>)] = &[
            ("0-0", Some(Range::Part(0, 1))),
            ("1-2", Some(Range::Part(1, 2))),
            ("4-", Some(Range::Part(4, 6))),
            ("4-99999999999999999999999", Some(Range::Part(4, 6))),
            ("-3", Some(Range::Part(7, 3))),
            ("-30", Some(Range::Part(0, 10))),
            ("-0", Some(Range::Outside)),
            ("10-", Some(Range::Outside)),
            ("2-1", None),
            ("0-0,2-2", None),
            ("-", None),
            ("x-1", None),
            ("+1-2", None),
            ("", None),
        ];
        for &(spec, expected) in table {
            assert_eq!(part(spec, 10), expected, "{spec}");
        }
        assert_eq!(part("0-", 0), Some(Range::Outside));
    }

    #[test]
    fn conditions() {
        let modified = UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        let tag = tag(6, modified);
        let same = String::from_utf8(tag.clone()).expect("text");
        let (weak, list) = (format!("W/{same}"), format!("\"a\", {same}"));
        let (at, before) = (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:36 GMT",
        );
        let table: &[(&str, &str, &str, Verdict)] = &[
            ("GET", "If-None-Match", &same, Verdict::NotModified),
            ("GET", "If-None-Match", &weak, Verdict::NotModified),
            ("GET", "If-None-Match", &list, Verdict::NotModified),
            ("GET", "If-None-Match", "*", Verdict::NotModified),
            ("GET", "If-None-Match", "\"a\"", Verdict::Serve),
            ("POST", "If-None-Match", &same, Verdict::Failed),
            ("GET", "If-Match", &same, Verdict::Serve),
            ("GET", "If-Match", &weak, Verdict::Failed),
            ("GET", "If-Match", "\"a\"", Verdict::Failed),
            ("GET", "If-Modified-Since", at, Verdict::NotModified),
            ("GET", "If-Modified-Since", before, Verdict::Serve),
            ("GET", "If-Modified-Since", "yesterday", Verdict::Serve),
            ("POST", "If-Modified-Since", at, Verdict::Serve),
            ("GET", "If-Unmodified-Since", at, Verdict::Serve),
            ("GET", "If-Unmodified-Since", before, Verdict::Failed),
        ];
        for &(method, name, value, expected) in table {
            let mut fields = Fields::new();
            fields.push(name, value).expect("a field");
            let verdict = judge(&fields, method.as_bytes(), &tag, modified);
            assert_eq!(verdict, expected, "{method} {name}: {value}");
        }
    }
}
