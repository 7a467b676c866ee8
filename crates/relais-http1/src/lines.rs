//! Finding the lines of a head that arrives in pieces, each byte looked at once.

use memchr::memchr;

/// Where the reading of a head stands. Offsets count from the first byte of the message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// Start of the first line that has not been handed out.
    pub(crate) line: usize,
    /// How far the search for its end has come.
    seen: usize,
}

/// What [`Scan::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A line without its LF; its CR, if it has one, is still there.
    Whole(&'a [u8]),
    /// The end of the line has not arrived yet.
    Unfinished,
    /// More bytes than a line may have, ended or not.
    TooLong,
    /// More bytes than the head may have.
    HeadTooLong,
}

impl Scan {
    /// The next line of `input`, which starts with the message's first byte. `line_max` counts a CR; `head_max`
    /// counts from the message's first byte.
    ///
    /// The limits speak at the same byte whether the head arrives whole or byte by byte.
    pub(crate) fn next<'a>(
        &mut self,
        input: &'a [u8],
        line_max: usize,
        head_max: usize,
    ) -> Line<'a> {
        let found =
            memchr(b'\n', input.get(self.seen..).unwrap_or_default()).map(|at| self.seen + at);
        let end = found.unwrap_or(input.len());
        let line_bound = self.line.saturating_add(line_max);
        if end > line_bound.min(head_max) {
            return if line_bound <= head_max {
                Line::TooLong
            } else {
                Line::HeadTooLong
            };
        }
        self.seen = end;
        if found.is_none() {
            return Line::Unfinished;
        }
        let line = input.get(self.line..end).unwrap_or_default();
        self.seen = end + 1;
        self.line = self.seen;
        Line::Whole(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_once() {
        let mut scan = Scan::default();
        let input = b"ab\r\ncd\n";
        assert_eq!(scan.next(&input[..3], 9, 99), Line::Unfinished);
        assert_eq!(scan.next(&input[..5], 9, 99), Line::Whole(b"ab\r"));
        assert_eq!(scan.next(&input[..5], 9, 99), Line::Unfinished);
        assert_eq!(scan.next(input, 9, 99), Line::Whole(b"cd"));
        assert_eq!(scan.next(input, 9, 99), Line::Unfinished);
        assert_eq!(scan.line, input.len());
    }

    #[test]
    fn limits_speak_at_the_same_byte_in_pieces() {
        for (input, line_max, head_max) in [
            ("abcdef\nx", 5, 99),
            ("ab\nabcdef", 5, 99),
            ("ab\nab\nab\n", 5, 6),
            ("abcdefgh", 9, 4),
            ("ab\nabc", 2, 4),
        ] {
            let whole = last(input.as_bytes(), line_max, head_max, input.len());
            let split = last(input.as_bytes(), line_max, head_max, 1);
            assert_eq!(whole, split, "{input:?}");
            assert!(matches!(whole, Line::TooLong | Line::HeadTooLong));
        }
    }

    fn last(input: &[u8], line_max: usize, head_max: usize, step: usize) -> Line<'_> {
        let mut scan = Scan::default();
        for end in (step..=input.len()).step_by(step) {
            loop {
                match scan.next(&input[..end], line_max, head_max) {
                    Line::Whole(_) => {}
                    Line::Unfinished => break,
                    other => return other,
                }
            }
        }
        Line::Unfinished
    }
}
