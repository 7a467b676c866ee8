//! Shell wildcards for file names, as httpd's `apr_fnmatch` with `APR_FNM_PERIOD` matches them.

/// Whether a name has wildcards at all: `*`, `?`, or `[` with a `]` behind it.
pub(crate) fn has_wildcards(pattern: &[u8]) -> bool {
    let bracket = pattern.iter().position(|byte| *byte == b'[');
    let closed =
        bracket.is_some_and(|at| pattern.get(at..).is_some_and(|rest| rest.contains(&b']')));
    closed || pattern.contains(&b'*') || pattern.contains(&b'?')
}

/// Whether a name matches a pattern of `*`, `?`, `[a-z]`, `[!a-z]` and `\x`. A dot at the start of the name must stand
/// in the pattern.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    // After a mismatch the last `*` takes one more byte, so the work is bounded by the product of the lengths.
    let (mut at, mut in_name) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(&byte) = name.get(in_name) {
        if pattern.get(at) == Some(&b'*') {
            retry = Some((at + 1, in_name));
            at += 1;
        } else if let Some(next) = matches_one(pattern, at, byte) {
            (at, in_name) = (next, in_name + 1);
        } else if let Some((behind_star, taken)) = retry {
            retry = Some((behind_star, taken + 1));
            (at, in_name) = (behind_star, taken + 1);
        } else {
            return false;
        }
    }
    pattern
        .get(at..)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// Matches one byte with the pattern element at an offset; returns the offset behind the element.
fn matches_one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' if pattern.get(at + 1..)?.contains(&b']') => matches_set(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (*pattern.get(at + 1)? == byte).then_some(at + 2),
        literal => (literal == byte).then_some(at + 1),
    }
}

/// Matches a bracket expression whose content starts at an offset.
fn matches_set(pattern: &[u8], start: usize, byte: u8) -> Option<usize> {
    let negated = matches!(pattern.get(start), Some(b'!' | b'^'));
    let first = start + usize::from(negated);
    let mut at = first;
    let mut found = false;
    while at == first || *pattern.get(at)? != b']' {
        let low = *pattern.get(at)?;
        let high = pattern
            .get(at + 2)
            .copied()
            .filter(|high| pattern.get(at + 1) == Some(&b'-') && *high != b']');
        found |= (low..=high.unwrap_or(low)).contains(&byte);
        at += if high.is_some() { 3 } else { 1 };
    }
    (found != negated).then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let cases = [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*", "", true),
            ("*", ".x", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?[0-9]", "a7", true),
            ("?[0-9]", "ab", false),
            ("[!a-c]x", "dx", true),
            ("[^a-c]x", "bx", false),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[ab", "[ab", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("", "", true),
            ("a**", "a", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn wildcards_are_recognised() {
        for (pattern, expected) in [
            ("a", false),
            ("a*", true),
            ("?", true),
            ("[a", false),
            ("[a]", true),
            ("]a[", false),
        ] {
            assert_eq!(has_wildcards(pattern.as_bytes()), expected, "{pattern}");
        }
    }

    #[test]
    fn many_stars_end_soon() {
        assert!(!matches(
            "*a".repeat(200).as_bytes(),
            "a".repeat(199).as_bytes()
        ));
    }
}
