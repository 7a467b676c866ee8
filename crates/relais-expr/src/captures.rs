//! The groups of one match, and a subject to cut them from.

use std::ops::Range;

/// Number of groups that rules can name: the whole match and nine parentheses.
pub(crate) const GROUPS: usize = 10;

/// Byte ranges of groups 0 to 9 of one match; group 0 is the whole match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    spans: [Option<(usize, usize)>; GROUPS],
}

impl Captures {
    /// The range of group `n` in the subject, `None` if the group took no part in the match or is beyond 9.
    #[must_use]
    pub fn get(&self, n: usize) -> Option<Range<usize>> {
        let (start, end) = (*self.spans.get(n)?)?;
        Some(start..end)
    }

    pub(crate) fn set(&mut self, n: usize, span: Option<(usize, usize)>) {
        if let Some(slot) = self.spans.get_mut(n) {
            *slot = span;
        }
    }
}

/// Captures together with the subject they were taken from: what `$N` or `%N` stand for at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'a> {
    subject: &'a [u8],
    captures: Captures,
}

impl<'a> Groups<'a> {
    /// Binds `captures` to the `subject` they came from.
    #[must_use]
    pub const fn new(subject: &'a [u8], captures: Captures) -> Self {
        Self { subject, captures }
    }

    /// Groups that are all empty, as after a negated pattern.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(b"", Captures::default())
    }

    /// The text of group `n`; empty if the group is unset.
    #[must_use]
    pub fn get(&self, n: usize) -> &'a [u8] {
        self.captures
            .get(n)
            .and_then(|range| self.subject.get(range))
            .unwrap_or_default()
    }

    /// The groups that took part in the match, with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
        let Self { subject, captures } = *self;
        (0..GROUPS).filter_map(move |n| Some((n, subject.get(captures.get(n)?)?)))
    }
}

/// Puts a match's groups in for `$0` to `$9`; a backslash takes a `$` or
/// anything else as it is (`ap_pregsub`).
pub fn substitute(text: &[u8], groups: &Groups<'_>, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'$', [digit @ b'0'..=b'9', more @ ..]) => {
                out.extend_from_slice(groups.get(usize::from(digit - b'0')));
                rest = more;
            }
            (b'\\', [next, more @ ..]) => {
                out.push(*next);
                rest = more;
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cut_their_subject_and_are_empty_otherwise() {
        let mut captures = Captures::default();
        captures.set(0, Some((0, 5)));
        captures.set(2, Some((3, 4)));
        captures.set(9, Some((4, 40)));
        captures.set(10, Some((0, 1)));
        let groups = Groups::new(b"abcde", captures);
        for (n, expected) in [
            (0, &b"abcde"[..]),
            (1, b""),
            (2, b"d"),
            (9, b""),
            (10, b""),
            (usize::MAX, b""),
        ] {
            assert_eq!(groups.get(n), expected, "group {n}");
        }
        assert_eq!(captures.get(2), Some(3..4));
        let numbered: Vec<_> = groups.numbered().collect();
        assert_eq!(numbered, [(0, &b"abcde"[..]), (2, b"d")]);
        assert_eq!(Groups::empty().get(0), b"");
    }
}
