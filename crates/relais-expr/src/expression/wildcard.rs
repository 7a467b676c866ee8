//! Shell patterns, as `apr_fnmatch` matches them.

/// How `-strmatch`, `-strcmatch` and `-fnmatch` differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Letters match without regard to case.
    pub(super) caseless: bool,
    /// A slash is only matched by a slash.
    pub(super) pathname: bool,
}

impl Rules {
    /// Whether `pattern` matches all of `text`. `*` is any text, `?` any byte, `[…]` a set, `\` takes the next byte as
    /// it is. Takes at most the product of both lengths in steps.
    pub(super) fn matches(self, pattern: &[u8], text: &[u8]) -> bool {
        let (mut p, mut t) = (0, 0);
        // Where to go on when the last star has to take one byte more.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            if pattern.get(p) == Some(&b'*') {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            let step = match text.get(t) {
                None if p == pattern.len() => return true,
                None => None,
                Some(&byte) => self.one(pattern.get(p..).unwrap_or_default(), byte),
            };
            if let Some(len) = step {
                p += len;
                t += 1;
                continue;
            }
            let Some((star, taken)) = retry else {
                return false;
            };
            match text.get(taken) {
                None => return false,
                Some(b'/') if self.pathname => return false,
                Some(_) => {}
            }
            retry = Some((star, taken + 1));
            (p, t) = (star, taken + 1);
        }
    }

    /// How much of `pattern` stands for one byte, if it matches this one.
    fn one(self, pattern: &[u8], byte: u8) -> Option<usize> {
        let literal = |expected: u8, len: usize| self.same(expected, byte).then_some(len);
        match pattern {
            [] => None,
            [b'?', ..] => (!(self.pathname && byte == b'/')).then_some(1),
            [b'[', ..] => match self.set(pattern, byte) {
                Some((len, true)) => Some(len),
                Some(_) => None,
                None => literal(b'[', 1),
            },
            [b'\\', escaped, ..] => literal(*escaped, 2),
            [plain, ..] => literal(*plain, 1),
        }
    }

    /// Length of `[…]` and whether `byte` is in it; `None` if it has no end.
    fn set(self, pattern: &[u8], byte: u8) -> Option<(usize, bool)> {
        let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
        let mut at = 1 + usize::from(negated);
        let first = at;
        let mut found = false;
        loop {
            let low = self.set_byte(pattern, &mut at)?;
            let mut high = low;
            if pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|b| *b != b']') {
                at += 1;
                high = self.set_byte(pattern, &mut at)?;
            }
            found |= self.within(low, high, byte);
            if pattern.get(at) == Some(&b']') && at > first {
                let crosses = self.pathname && byte == b'/';
                return Some((at + 1, found != negated && !crosses));
            }
        }
    }

    fn set_byte(self, pattern: &[u8], at: &mut usize) -> Option<u8> {
        if pattern.get(*at) == Some(&b'\\') {
            *at += 1;
        }
        let byte = *pattern.get(*at)?;
        *at += 1;
        Some(byte)
    }

    fn within(self, low: u8, high: u8, byte: u8) -> bool {
        let range = low..=high;
        range.contains(&byte)
            || (self.caseless
                && (range.contains(&byte.to_ascii_lowercase())
                    || range.contains(&byte.to_ascii_uppercase())))
    }

    const fn same(self, left: u8, right: u8) -> bool {
        left == right || (self.caseless && left.eq_ignore_ascii_case(&right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, caseless, pathname, expected) in [
            ("a*", "a/b", false, false, true),
            ("a*", "a/b", false, true, false),
            ("*", ".b", false, true, true),
            ("[a-c]?", "ab", false, false, true),
            ("[!a-c]", "b", false, false, false),
            ("[^a]", "b", false, false, true),
            ("[]a]", "]", false, false, true),
            ("a\\[", "a[", false, false, true),
            ("[a", "[a", false, false, true),
            ("ax", "aX", true, false, true),
            ("[A-C]", "b", true, false, true),
            ("a?b", "a/b", false, true, false),
            ("*a*b", "xaxxbxb", false, false, true),
            ("*a*b", "xaxxbxc", false, false, false),
            ("", "", false, false, true),
            ("", "a", false, false, false),
            ("**", "", false, false, true),
        ] {
            let rules = Rules { caseless, pathname };
            let result = rules.matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(result, expected, "{pattern} {text}");
        }
    }
}
