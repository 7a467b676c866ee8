//! What a pattern needs before it can match: literal text that is looked for before PCRE2 is asked.
//!
//! A rule set of a thousand rules is mostly rules that do not match, and most of them show it by their first bytes.
//! The analysis only says what it is sure of; a pattern it does not understand needs nothing.

use memchr::memmem::Finder;

/// Text without which a pattern cannot match.
#[derive(Clone, Debug, Default)]
pub(crate) enum Required {
    /// Nothing is known.
    #[default]
    Nothing,
    /// The subject starts with this (`^literal`).
    Prefix { text: Box<[u8]>, caseless: bool },
    /// The subject holds this somewhere.
    Inside(Box<Finder<'static>>),
}

impl Required {
    /// Reads it from a pattern.
    pub(crate) fn of(pattern: &[u8], caseless: bool) -> Self {
        let Some(runs) = runs(pattern) else {
            return Self::Nothing;
        };
        if let Some(text) = runs.first().filter(|run| run.at_start) {
            return Self::Prefix {
                text: text.bytes.as_slice().into(),
                caseless,
            };
        }
        let longest = runs.iter().max_by_key(|run| run.bytes.len());
        match longest {
            Some(run) if !caseless && run.bytes.len() >= INSIDE_BYTES_MIN => {
                Self::Inside(Box::new(Finder::new(&run.bytes).into_owned()))
            }
            _ => Self::Nothing,
        }
    }

    /// Whether the pattern may match; if not, it certainly does not.
    pub(crate) fn may_match(&self, subject: &[u8]) -> bool {
        match self {
            Self::Nothing => true,
            Self::Prefix {
                text,
                caseless: false,
            } => subject.starts_with(text),
            Self::Prefix { text, .. } => subject
                .get(..text.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(text)),
            Self::Inside(finder) => finder.find(subject).is_some(),
        }
    }
}

/// The same in few bytes that lie together, for going through many patterns: the start and the end that a subject must
/// have, and bytes that must be in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quick {
    bytes: ByteMask,
    start: [u8; QUICK_BYTES],
    start_len: u8,
    end_len: u8,
    end: [u8; QUICK_BYTES],
}

/// Which bytes occur in a text, two bits of each byte left out: never says that one is missing that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteMask(u64);

impl ByteMask {
    /// The mask of a text.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        Self(text.iter().fold(0, |mask, byte| mask | 1 << (byte & 63)))
    }
}

impl Quick {
    /// Whether the pattern certainly does not match `subject`, whose mask is `bytes`.
    #[must_use]
    pub fn rejects(&self, subject: &[u8], bytes: ByteMask) -> bool {
        if self.bytes.0 & !bytes.0 != 0 {
            return true;
        }
        let start = self.start.get(..usize::from(self.start_len));
        let end = self.end.get(..usize::from(self.end_len));
        !subject.starts_with(start.unwrap_or_default())
            || !subject.ends_with(end.unwrap_or_default())
    }

    /// Reads it from a pattern whose `$` is the very end.
    pub(crate) fn of(pattern: &[u8]) -> Self {
        let Some(runs) = runs(pattern) else {
            return Self::default();
        };
        let mut quick = Self::default();
        for run in &runs {
            quick.bytes.0 |= ByteMask::of(&run.bytes).0;
        }
        if let Some(run) = runs.first().filter(|run| run.at_start) {
            let len = run.bytes.len().min(QUICK_BYTES);
            quick.start[..len].copy_from_slice(&run.bytes[..len]);
            quick.start_len = len as u8;
        }
        if let Some(run) = runs.last().filter(|run| run.at_end) {
            let len = run.bytes.len().min(QUICK_BYTES);
            quick.end[..len].copy_from_slice(&run.bytes[run.bytes.len() - len..]);
            quick.end_len = len as u8;
        }
        quick
    }
}

/// Literal bytes in a row outside of every group.
struct Run {
    bytes: Vec<u8>,
    /// It stands right behind a `^` at the start of the pattern.
    at_start: bool,
    /// It stands right in front of a `$` at the end of the pattern.
    at_end: bool,
}

/// The literal runs that every match goes through; `None` if that cannot be said.
fn runs(pattern: &[u8]) -> Option<Vec<Run>> {
    let anchored = pattern.first() == Some(&b'^');
    let mut at = usize::from(anchored);
    let mut runs = vec![Run {
        bytes: Vec::new(),
        at_start: anchored,
        at_end: false,
    }];
    let end_run = |runs: &mut Vec<Run>| {
        runs.push(Run {
            bytes: Vec::new(),
            at_start: false,
            at_end: false,
        });
    };
    while let Some(&byte) = pattern.get(at) {
        let (len, literal) = match byte {
            b'|' => return None,
            b'(' => (group_len(pattern.get(at..)?)?, None),
            b'[' => (class_len(pattern.get(at..)?)?, None),
            b'\\' => (2, escaped(*pattern.get(at + 1)?)?),
            b'^' | b'$' | b'.' => (1, None),
            // PCRE2 takes a lone bracket for itself, but there is no need to know.
            b'*' | b'+' | b'?' | b'{' | b'}' | b')' | b']' => return None,
            // Of the bytes of one character only the last would be repeated in a `(*UTF)` pattern.
            128.. => return None,
            _ => (1, Some(byte)),
        };
        if byte == b'$' && at + 1 == pattern.len() {
            runs.last_mut()?.at_end = true;
        }
        at += len;
        match (literal, pattern.get(at)) {
            (None, _) => end_run(&mut runs),
            (Some(byte), Some(b'+')) => {
                runs.last_mut()?.bytes.push(byte);
                end_run(&mut runs);
            }
            (Some(_), Some(b'*' | b'?' | b'{')) => end_run(&mut runs),
            (Some(byte), _) => runs.last_mut()?.bytes.push(byte),
        }
        at += quantifier_len(pattern.get(at..)?)?;
    }
    runs.retain(|run| !run.bytes.is_empty());
    Some(runs)
}

/// The byte that an escape outside of a class stands for, `Some(None)` if it is not one byte or none at all; `None` for
/// escapes that take more of the pattern with them.
fn escaped(letter: u8) -> Option<Option<u8>> {
    match letter {
        b'd' | b'D' | b'w' | b'W' | b's' | b'S' | b'b' | b'B' | b'h' | b'H' | b'v' | b'V'
        | b'R' | b'A' | b'z' | b'Z' => Some(None),
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | 128.. => None,
        _ => Some(Some(letter)),
    }
}

/// The length of `*`, `+`, `?` or `{…}` with what makes it lazy or possessive; zero without one.
fn quantifier_len(rest: &[u8]) -> Option<usize> {
    let len = match rest.first() {
        Some(b'*' | b'+' | b'?') => 1,
        Some(b'{') => rest.iter().position(|byte| *byte == b'}')? + 1,
        _ => return Some(0),
    };
    Some(len + usize::from(matches!(rest.get(len), Some(b'+' | b'?'))))
}

/// The length of a group. Verbs and option settings would change what is behind them.
fn group_len(rest: &[u8]) -> Option<usize> {
    match (rest.get(1), rest.get(2)) {
        (Some(b'*'), _) => return None,
        (Some(b'?'), Some(b':' | b'=' | b'!' | b'<' | b'>')) => {}
        (Some(b'?'), _) => return None,
        _ => {}
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'\\' => {
                // `\Q` would hide brackets, and `\c)` take one.
                if matches!(rest.get(at + 1), None | Some(b'Q' | b'c')) {
                    return None;
                }
                at += 2;
                continue;
            }
            b'[' => {
                at += class_len(rest.get(at..)?)?;
                continue;
            }
            b'(' => {
                // A comment or the extended mode could hide brackets.
                let inner = (rest.get(at + 1), rest.get(at + 2));
                if at > 0 && matches!(inner, (Some(b'*'), _))
                    || matches!(
                        inner,
                        (Some(b'?'), Some(b'#' | b'a'..=b'z' | b'^' | b'-' | b'C'))
                    )
                {
                    return None;
                }
                depth += 1;
            }
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The length of a plain `[…]`.
fn class_len(rest: &[u8]) -> Option<usize> {
    let mut at = 1 + usize::from(rest.get(1) == Some(&b'^'));
    let first = at;
    loop {
        match rest.get(at)? {
            b']' if at > first => return Some(at + 1),
            // `[:alpha:]` inside, and what `\Q` would hide.
            b'[' => return None,
            b'\\' if matches!(rest.get(at + 1), Some(b'Q' | b'E' | b'c')) => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Bytes of a start or an end that [`Quick`] compares.
const QUICK_BYTES: usize = 15;

/// One byte is found in nearly every path, so that looking for it would only cost.
const INSIDE_BYTES_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Regex, RegexFlags};

    fn shown(pattern: &str, caseless: bool) -> String {
        match Required::of(pattern.as_bytes(), caseless) {
            Required::Nothing => "nothing".to_owned(),
            Required::Prefix { text, .. } => format!("^{}", text.escape_ascii()),
            Required::Inside(finder) => finder.needle().escape_ascii().to_string(),
        }
    }

    #[test]
    fn what_patterns_need() {
        for (pattern, expected) in [
            ("^/old/(.*)$", "^/old/"),
            ("^/a\\.b$", "^/a.b"),
            ("^/ab?c", "^/a"),
            ("^/ab+c", "^/ab"),
            ("^/ab{2}c", "^/a"),
            ("/eventbus/(.*)$", "/eventbus/"),
            ("\\.php$", ".php"),
            ("a.*bcd", "bcd"),
            ("^(a|b)/cd", "/cd"),
            ("^[^/]+/cd\\d", "/cd"),
            ("a|b", "nothing"),
            ("^a|b", "nothing"),
            ("(?i)abc", "nothing"),
            ("(*UTF)abc", "nothing"),
            ("\\Qa|b\\E", "nothing"),
            ("\\x41bc", "nothing"),
            ("[[:alpha:]]bc", "nothing"),
            ("(?:a)bc", "bc"),
            ("", "nothing"),
            ("^", "nothing"),
            ("x", "nothing"),
        ] {
            assert_eq!(shown(pattern, false), expected, "{pattern}");
        }
        assert_eq!(shown("^/Old", true), "^/Old");
        assert_eq!(shown("/Old/", true), "nothing");
    }

    #[test]
    fn quick_looks_at_both_ends_and_the_bytes() {
        for (pattern, subject, rejects) in [
            ("^/([a-z]+)/item-7$", "/page", true),
            ("^/([a-z]+)/item-7$", "/a/item-7", false),
            ("^/([a-z]+)/item-7$", "/item-7/a", true),
            ("^/section-12/(.*)$", "/section-21/", true),
            ("^/section-12/(.*)$", "/section-12/x", false),
            ("^/a-very-long-literal-start/x", "/a-very-long-li/x", true),
            ("a|b", "c", false),
            ("^/x.?$", "/xy", false),
        ] {
            let quick = Quick::of(pattern.as_bytes());
            let mask = ByteMask::of(subject.as_bytes());
            let rejected = quick.rejects(subject.as_bytes(), mask);
            assert_eq!(rejected, rejects, "{pattern} on {subject}");
        }
    }

    /// Random patterns and subjects from few letters: what PCRE2 matches is never refused.
    #[test]
    fn nothing_that_matches_is_refused() {
        const PARTS: &[&str] = &[
            "a", "b", "/", "ab", "^", "$", ".", "*", "+", "?", "{2}", "{0,1}", "|", "(", ")",
            "(?:", "(?=", "(?!", "[ab]", "[^a]", "[]a]", "\\.", "\\d", "\\/", "\\b", "(?i)",
            "\\x61",
        ];
        let mut seed = 7_u64;
        let mut below = |limit: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap_or(0) % limit
        };
        let mut matched = 0;
        for _ in 0..20_000 {
            let pattern: String = (0..=below(7)).map(|_| PARTS[below(PARTS.len())]).collect();
            let flags = RegexFlags::caseless(below(4) == 0);
            let Ok(regex) = Regex::new(pattern.as_bytes(), flags) else {
                continue;
            };
            let required = Required::of(pattern.as_bytes(), flags.caseless);
            for _ in 0..4 {
                let subject: String = (0..below(8))
                    .map(|_| ["a", "b", "/", "A", ".", "aa"][below(6)])
                    .collect();
                if regex.matches_unfiltered(subject.as_bytes()) {
                    matched += 1;
                    assert!(
                        required.may_match(subject.as_bytes()),
                        "{pattern} on {subject}"
                    );
                    let mask = ByteMask::of(subject.as_bytes());
                    assert!(
                        !regex.quick().rejects(subject.as_bytes(), mask),
                        "{pattern} on {subject}"
                    );
                }
            }
        }
        assert!(matched > 1000, "only {matched} matches");
    }
}
