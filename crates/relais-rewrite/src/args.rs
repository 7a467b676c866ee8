//! mod_rewrite's own way of splitting a line into words.
//!
//! It differs from the splitter of all other directives: a backslash stays in the word and only keeps white space
//! from ending it, and a quote ends at the next quote of its kind whatever stands before it.

use std::ops::Range;

use crate::error::RuleError;

/// The words of a line as byte ranges, quotes left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// Pattern of a rule, test string of a condition.
    pub first: Range<usize>,
    /// Substitution of a rule, pattern of a condition.
    pub second: Range<usize>,
    /// The flags between their square brackets.
    pub flags: Option<Range<usize>>,
    /// What stands behind the flags; httpd ignores it.
    pub extra: Option<Range<usize>>,
}

/// Splits `text`. `words` names the two mandatory words for the error message.
///
/// # Errors
///
/// When a word is missing, or the flags have no brackets.
pub fn split(text: &[u8], words: &str) -> Result<Args, RuleError> {
    let mut at = 0;
    let (Some(first), Some(second)) = (next_word(text, &mut at), next_word(text, &mut at)) else {
        let message = format!("bad argument line: {words} are needed");
        return Err(RuleError::invalid(trimmed(text), message));
    };
    let third = next_word(text, &mut at);
    let extra = trimmed_from(text, at);
    let flags = third.map(|word| inside_brackets(text, word)).transpose()?;
    Ok(Args {
        first,
        second,
        flags,
        extra: (!extra.is_empty()).then_some(extra),
    })
}

fn next_word(text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    while text.get(*at).is_some_and(|byte| is_space(*byte)) {
        *at += 1;
    }
    let quote = text
        .get(*at)
        .copied()
        .filter(|byte| matches!(byte, b'"' | b'\''));
    let start = if quote.is_some() { *at + 1 } else { *at };
    if start == *at && start >= text.len() {
        return None;
    }
    let mut end = start;
    while let Some(&byte) = text.get(end) {
        if quote.map_or_else(|| is_space(byte), |quote| byte == quote) {
            break;
        }
        let keeps_space = byte == b'\\' && text.get(end + 1).is_some_and(|next| is_space(*next));
        end += if keeps_space { 2 } else { 1 };
    }
    *at = (end + 1).min(text.len());
    Some(start..end.min(text.len()))
}

fn inside_brackets(text: &[u8], word: Range<usize>) -> Result<Range<usize>, RuleError> {
    let bytes = text.get(word.clone()).unwrap_or_default();
    if bytes.first() != Some(&b'[') {
        return Err(RuleError::invalid(
            word,
            "bad flag delimiters: the third word must start with `[`",
        )
        .with_help("a pattern or substitution with a space in it needs quotes"));
    }
    if bytes.len() < 2 || bytes.last() != Some(&b']') {
        return Err(RuleError::invalid(
            word,
            "bad flag delimiters: the third word must end with `]`",
        )
        .with_help("flags are written without spaces, or the whole list in quotes"));
    }
    Ok(word.start + 1..word.end - 1)
}

fn trimmed(text: &[u8]) -> Range<usize> {
    trimmed_from(text, 0)
}

/// The range from `at` on without white space at either end.
pub(crate) fn trimmed_from(text: &[u8], at: usize) -> Range<usize> {
    trimmed_within(text, at..text.len())
}

/// `range` without white space at either end.
pub(crate) fn trimmed_within(text: &[u8], mut range: Range<usize>) -> Range<usize> {
    let space = |at: usize| text.get(at).is_some_and(|byte| is_space(*byte));
    while !range.is_empty() && space(range.start) {
        range.start += 1;
    }
    while !range.is_empty() && space(range.end - 1) {
        range.end -= 1;
    }
    range
}

const fn is_space(byte: u8) -> bool {
    byte == b' ' || (byte >= b'\t' && byte <= b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<&str>, (Range<usize>, String)> {
        let args = split(text.as_bytes(), "words").map_err(|error| (error.range, error.message))?;
        let ranges = [Some(args.first), Some(args.second), args.flags, args.extra];
        Ok(ranges
            .into_iter()
            .flatten()
            .map(|range| &text[range])
            .collect())
    }

    #[test]
    fn words_quotes_and_backslashes() {
        for (text, expected) in [
            ("^/a /b", &["^/a", "/b"][..]),
            ("  ^/a \t /b  ", &["^/a", "/b"]),
            ("^/a /b [L]", &["^/a", "/b", "L"]),
            (
                "\"^/a b\" '/c d' \"[P,B= ?#]\"",
                &["^/a b", "/c d", "P,B= ?#"],
            ),
            (r"^/a\ b /c\ d [L]", &[r"^/a\ b", r"/c\ d", "L"]),
            (r#""a\\" /b"#, &[r"a\\", "/b"]),
            (r#""" """#, &["", ""]),
            (r#"%{HTTP:X} ="" [NC]"#, &["%{HTTP:X}", "=\"\"", "NC"]),
            ("a \"/b c", &["a", "/b c"]),
            ("a /b [L] junk here ", &["a", "/b", "L", "junk here"]),
            ("\"a\"b [L]", &["a", "b", "L"]),
            ("a b []", &["a", "b", ""]),
            (r"a b\ ", &["a", r"b\ "]),
        ] {
            assert_eq!(words(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_misplaced() {
        let needed = "bad argument line: words are needed";
        let start = "bad flag delimiters: the third word must start with `[`";
        let end = "bad flag delimiters: the third word must end with `]`";
        for (text, range, message) in [
            ("", 0..0, needed),
            ("   ", 3..3, needed),
            (" ^/a ", 1..4, needed),
            ("\"^/a /b [L]", 0..11, needed),
            ("a b L", 4..5, start),
            ("a b c [L]", 4..5, start),
            (r#"a "b\"c" [L]"#, 6..8, start),
            ("a b [L", 4..6, end),
            ("a b [L, R]", 4..7, end),
            ("a b [", 4..5, end),
            ("a b \"\"", 5..5, start),
        ] {
            assert_eq!(words(text), Err((range, message.to_owned())), "{text}");
        }
    }
}
