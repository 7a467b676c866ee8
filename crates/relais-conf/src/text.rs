//! Configuration text whose every byte still knows where in a file it came from.
//!
//! Between the file and a directive's argument stand joined lines, `${VAR}` values, macro parameters and quotes. A
//! [`Text`] holds the bytes after those steps together with the pieces of the source they stand for, so that a message
//! about the fifth byte of the third word can still put its caret in the right place.

use std::borrow::Cow;
use std::ops::Range;

use crate::source::{FileId, Span};

/// Bytes with their source.
#[derive(Clone, Debug)]
pub struct Text {
    bytes: Vec<u8>,
    /// In order of `at`; the first is at 0 unless the text is empty.
    pieces: Vec<Piece>,
    /// Where the text stands; what an empty text answers for its span.
    whole: Span,
}

/// A run of bytes that came from one place.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Offset of the run in the text.
    at: u32,
    /// Offsets in the file.
    start: u32,
    end: u32,
    /// Whether the bytes are those of the file one by one. If not, the run stands for the whole of start..end, as the
    /// value of a variable does for `${NAME}`.
    copied: bool,
}

impl Text {
    /// Bytes that as a whole stand for one span.
    pub fn new(span: Span, bytes: impl Into<Vec<u8>>) -> Self {
        let mut text = Self::empty(span);
        text.push_standing_for(&bytes.into(), span.start, span.end);
        text
    }

    /// An empty text that stands at a place.
    pub(crate) fn empty(whole: Span) -> Self {
        Self {
            bytes: Vec::new(),
            pieces: Vec::new(),
            whole,
        }
    }

    /// The bytes of a file from an offset on.
    pub(crate) fn copied(file: FileId, start: u32, bytes: &[u8]) -> Self {
        let mut text = Self::empty(Span {
            file,
            start,
            end: start + bytes.len() as u32,
        });
        text.push_copied(bytes, start);
        text
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes as a string, with U+FFFD for what is not UTF-8.
    pub fn lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// The bytes as a string, if they are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The source from the first byte to the last. An empty text answers the place where it stands.
    pub fn span(&self) -> Span {
        if self.is_empty() {
            self.whole
        } else {
            self.span_of(0..self.len())
        }
    }

    /// The source of some of the bytes. A range that is empty or reaches past the end gives an empty span at the place
    /// nearest to its start.
    pub fn span_of(&self, range: Range<usize>) -> Span {
        let end = range.end.min(self.len());
        if range.start >= end {
            return self.place(range.start);
        }
        let (start, _) = self.source_of(range.start);
        let (_, end) = self.source_of(end - 1);
        Span {
            file: self.whole.file,
            start,
            end: end.max(start),
        }
    }

    /// Some of the bytes; a range that reaches past the end is cut.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let mut text = Self::empty(self.span_of(start..end));
        text.push_range(self, start..end);
        text
    }

    /// Compares with ASCII letters of both cases being equal, as httpd compares names and keywords.
    pub fn eq_ignore_case(&self, other: &str) -> bool {
        self.bytes.eq_ignore_ascii_case(other.as_bytes())
    }

    /// The text without blanks at both ends.
    pub fn trim(&self) -> Self {
        let leading = self.bytes.len() - self.bytes.trim_start_with_vt().len();
        let length = self.bytes.trim_end_with_vt().len();
        self.slice(leading..length.max(leading))
    }

    /// Splits into words as httpd's `ap_getword_conf` does: blanks separate; `"…"` or `'…'` at the start of a word
    /// group, and end it even without a blank behind; `\\` stands for one backslash, and within quotes a backslash
    /// before the same quote is dropped. Quotes inside an unquoted word are literal, and a quote that is not closed
    /// runs to the end.
    pub fn words(&self) -> Vec<Self> {
        let mut words = Vec::new();
        let mut at = 0;
        while let Some((word, next)) = self.word_at(at) {
            words.push(word);
            at = next;
        }
        words
    }

    /// The first word, and the rest of the text without blanks at its ends. `None` if there are only blanks.
    pub fn split_word(&self) -> Option<(Self, Self)> {
        let (word, next) = self.word_at(0)?;
        Some((word, self.slice(next..self.len()).trim()))
    }

    fn word_at(&self, from: usize) -> Option<(Self, usize)> {
        let rest = self.bytes.get(from..)?;
        let start = from + rest.iter().position(|byte| !is_blank(*byte))?;
        let quote = self
            .bytes
            .get(start)
            .copied()
            .filter(|byte| matches!(byte, b'"' | b'\''));
        let (inner, next) = match quote {
            Some(quote) => self.quoted(start + 1, quote),
            None => self.unquoted(start),
        };
        let whole = self.span_of(start..next);
        Some((self.unescaped(inner, quote, whole), next))
    }

    /// The range inside a quote that opened before `start`, and the offset behind the closing quote.
    fn quoted(&self, start: usize, quote: u8) -> (Range<usize>, usize) {
        let mut at = start;
        while let Some(&byte) = self.bytes.get(at) {
            if byte == quote {
                return (start..at, at + 1);
            }
            at += if self.escapes_at(at, self.len(), Some(quote)) {
                2
            } else {
                1
            };
        }
        (start..at, at)
    }

    fn unquoted(&self, start: usize) -> (Range<usize>, usize) {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let end = start
            + rest
                .iter()
                .position(|byte| is_blank(*byte))
                .unwrap_or(rest.len());
        (start..end, end)
    }

    /// Whether the byte at an offset is a backslash that takes the next byte literally.
    fn escapes_at(&self, at: usize, end: usize, quote: Option<u8>) -> bool {
        let next = self.bytes.get(at + 1).copied().filter(|_| at + 1 < end);
        self.bytes.get(at) == Some(&b'\\')
            && next.is_some_and(|next| next == b'\\' || Some(next) == quote)
    }

    fn unescaped(&self, range: Range<usize>, quote: Option<u8>, whole: Span) -> Self {
        let mut text = Self::empty(whole);
        let (mut at, mut kept_from) = (range.start, range.start);
        while at < range.end {
            if self.escapes_at(at, range.end, quote) {
                text.push_range(self, kept_from..at);
                kept_from = at + 1;
                at += 2;
            } else {
                at += 1;
            }
        }
        text.push_range(self, kept_from..range.end);
        text
    }

    /// Appends bytes of the file.
    pub(crate) fn push_copied(&mut self, bytes: &[u8], start: u32) {
        let end = start + bytes.len() as u32;
        self.push_piece(
            bytes,
            Piece {
                at: 0,
                start,
                end,
                copied: true,
            },
        );
    }

    /// Appends bytes that stand for a range of the file.
    pub(crate) fn push_standing_for(&mut self, bytes: &[u8], start: u32, end: u32) {
        self.push_piece(
            bytes,
            Piece {
                at: 0,
                start,
                end,
                copied: false,
            },
        );
    }

    /// Appends a part of another text of the same file text.
    pub(crate) fn push_range(&mut self, from: &Self, range: Range<usize>) {
        let range = range.start..range.end.min(from.len());
        let mut at = range.start;
        let mut index = from.piece_index(at);
        while at < range.end {
            let Some(piece) = from.pieces.get(index).copied() else {
                return;
            };
            let next = from
                .pieces
                .get(index + 1)
                .map_or(from.len(), |next| next.at as usize);
            let end = next.min(range.end);
            let skipped = if piece.copied {
                (at - piece.at as usize) as u32
            } else {
                0
            };
            let start = piece.start + skipped;
            let source_end = if piece.copied {
                start + (end - at) as u32
            } else {
                piece.end
            };
            let part = from.bytes.get(at..end).unwrap_or_default();
            self.push_piece(
                part,
                Piece {
                    at: 0,
                    start,
                    end: source_end,
                    copied: piece.copied,
                },
            );
            at = end;
            index += 1;
        }
    }

    /// The same text as a reading of another file id of the same file text.
    pub(crate) fn in_file(mut self, file: FileId) -> Self {
        self.whole.file = file;
        self
    }

    pub(crate) fn file(&self) -> FileId {
        self.whole.file
    }

    fn push_piece(&mut self, bytes: &[u8], piece: Piece) {
        if bytes.is_empty() {
            return;
        }
        let at = self.bytes.len() as u32;
        if self.pieces.is_empty() {
            // Nearly all texts are one piece, and a large configuration has a million of them.
            self.pieces.reserve_exact(1);
            self.bytes.reserve_exact(bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        match self.pieces.last_mut() {
            Some(last) if last.copied && piece.copied && last.end == piece.start => {
                last.end = piece.end
            }
            _ => self.pieces.push(Piece { at, ..piece }),
        }
    }

    fn piece_index(&self, at: usize) -> usize {
        self.pieces
            .partition_point(|piece| piece.at as usize <= at)
            .saturating_sub(1)
    }

    /// The source offsets of one byte.
    fn source_of(&self, at: usize) -> (u32, u32) {
        match self.pieces.get(self.piece_index(at)) {
            Some(piece) if piece.copied => {
                let start = piece.start + (at as u32 - piece.at);
                (start, start + 1)
            }
            Some(piece) => (piece.start, piece.end),
            None => (self.whole.start, self.whole.end),
        }
    }

    fn place(&self, at: usize) -> Span {
        let offset = match at.checked_sub(1) {
            _ if self.is_empty() => self.whole.start,
            _ if at < self.len() => self.source_of(at).0,
            Some(_) | None => self.source_of(self.len() - 1).1,
        };
        Span {
            file: self.whole.file,
            start: offset,
            end: offset,
        }
    }
}

/// What C's `isspace` calls a blank, which is what httpd goes by.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Trimming that includes the vertical tab, which the standard library's does not.
trait TrimBlanks {
    fn trim_start_with_vt(&self) -> &[u8];
    fn trim_end_with_vt(&self) -> &[u8];
}

impl TrimBlanks for Vec<u8> {
    fn trim_start_with_vt(&self) -> &[u8] {
        let start = self
            .iter()
            .position(|byte| !is_blank(*byte))
            .unwrap_or(self.len());
        self.get(start..).unwrap_or_default()
    }

    fn trim_end_with_vt(&self) -> &[u8] {
        let end = self
            .iter()
            .rposition(|byte| !is_blank(*byte))
            .map_or(0, |at| at + 1);
        self.get(..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceMap;

    fn text(source: &str) -> Text {
        let mut sources = SourceMap::new();
        let file = sources.add("", source.as_bytes().to_vec(), None);
        sources.text(file)
    }

    fn words(source: &str) -> Vec<String> {
        text(source)
            .words()
            .iter()
            .map(|word| word.lossy().into_owned())
            .collect()
    }

    #[test]
    fn words_as_httpd_splits_them() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \t ", &[]),
            ("a  b\tc", &["a", "b", "c"]),
            (r#""a b" c"#, &["a b", "c"]),
            (r"'a b' c", &["a b", "c"]),
            (r#""a'b" 'c"d'"#, &["a'b", "c\"d"]),
            (r#""a\"b""#, &["a\"b"]),
            (r#""a\'b""#, &["a\\'b"]),
            (r"'a\'b'", &["a'b"]),
            (r#""a\\" b"#, &["a\\", "b"]),
            (r#""\d+\.x""#, &["\\d+\\.x"]),
            (r"\d+\\x", &["\\d+\\x"]),
            (r#"a"b c"d"#, &["a\"b", "c\"d"]),
            (r#"\"a b"#, &["\\\"a", "b"]),
            (r#""a"b"#, &["a", "b"]),
            (r#""open word"#, &["open word"]),
            (r#""ends \"#, &["ends \\"]),
            (r#""" x"#, &["", "x"]),
            ("\"", &[""]),
            ("# x", &["#", "x"]),
        ];
        for (source, expected) in cases {
            assert_eq!(words(source), *expected, "{source}");
        }
    }

    #[test]
    fn words_know_their_source() {
        let source = r#"ab "c\"d" "" 'e"#;
        let spans: Vec<_> = text(source)
            .words()
            .iter()
            .map(|word| (word.span().start, word.span().end))
            .collect();
        assert_eq!(spans, [(0, 2), (4, 8), (10, 12), (14, 15)]);
        let quoted = text(source).words().remove(1);
        assert_eq!(
            (quoted.span_of(1..2).start, quoted.span_of(2..3).start),
            (6, 7),
            "the backslash is left out"
        );
    }

    #[test]
    fn spans_of_values_are_those_of_their_variable() {
        let file = text("").file();
        let mut mixed = Text::empty(Span {
            file,
            start: 10,
            end: 30,
        });
        mixed.push_copied(b"ab", 10);
        mixed.push_standing_for(b"value", 12, 16);
        mixed.push_copied(b"cd", 16);
        #[rustfmt::skip]
        let cases = [
            (0..1, (10, 11)), (1..3, (11, 16)), (3..4, (12, 16)), (6..8, (12, 17)), (0..9, (10, 18)),
            (2..2, (12, 12)), (9..9, (18, 18)), (50..60, (18, 18)), (8..60, (17, 18)),
        ];
        for (range, expected) in cases {
            let span = mixed.span_of(range.clone());
            assert_eq!((span.start, span.end), expected, "{range:?}");
            let slice = mixed.slice(range.clone()).span();
            assert_eq!((slice.start, slice.end), expected, "slice {range:?}");
        }
    }

    #[test]
    fn empty_texts_stand_somewhere() {
        let words = text("a ''").words();
        assert_eq!(
            (
                words[1].is_empty(),
                words[1].span().start,
                words[1].span().end
            ),
            (true, 2, 4)
        );
        assert_eq!(words[1].span_of(0..1).start, 2);
        assert!(words[1].words().is_empty());
    }

    #[test]
    fn splitting_and_trimming() {
        let (name, rest) = text("  Name  a b  ").split_word().expect("a word");
        assert_eq!((name.as_str(), rest.as_str()), (Some("Name"), Some("a b")));
        assert!(text("  ").split_word().is_none());
        assert!(text(" \x0b\r\n ").trim().is_empty());
        assert!(text("ProxyPass").eq_ignore_case("proxypass"));
    }
}
