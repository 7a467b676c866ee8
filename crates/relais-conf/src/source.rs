//! Where configuration text came from: files, spans, lines and columns.

use std::sync::Arc;

use crate::text::Text;

/// One reading of one file: a file that is included twice has two ids, and so has each use of a macro.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct FileId(u32);

/// A range of bytes in the text of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Span {
    /// The file the range is in.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The span from the start of this one to the end of `last`, which must be of the same file.
    pub fn to(self, last: Self) -> Self {
        Self {
            end: last.end.max(self.start),
            ..self
        }
    }

    /// The empty span at the start of this one.
    pub fn start(self) -> Self {
        Self {
            end: self.start,
            ..self
        }
    }
}

/// A file as it was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The path it was opened by, or a name such as `command line`.
    pub name: String,
    /// The raw bytes. Shared, because each use of a macro is a reading of the file that defines it.
    pub text: Arc<Vec<u8>>,
    /// The `Include` or `Use` line that brought it in.
    pub included_from: Option<Span>,
    /// The macro this reading expands, with `included_from` at the `Use`.
    pub expansion_of: Option<String>,
    line_starts: Arc<Vec<u32>>,
}

impl SourceFile {
    /// The number of the line that holds `offset`, from 1.
    pub fn line(&self, offset: u32) -> u32 {
        self.line_starts.partition_point(|&start| start <= offset) as u32
    }

    /// The offsets of a line (from 1), without its line end.
    pub fn line_range(&self, line: u32) -> (u32, u32) {
        let index = line.saturating_sub(1) as usize;
        let length = self.text.len() as u32;
        let start = self.line_starts.get(index).copied().unwrap_or(length);
        let next = self
            .line_starts
            .get(index + 1)
            .map_or(length, |&next| next - 1);
        let end = next.max(start);
        match self.bytes(start, end).strip_suffix(b"\r") {
            Some(rest) => (start, start + rest.len() as u32),
            None => (start, end),
        }
    }

    /// The bytes between two offsets, which are cut to what there is.
    pub fn bytes(&self, start: u32, end: u32) -> &[u8] {
        let end = (end as usize).min(self.text.len());
        self.text.get(start as usize..end).unwrap_or_default()
    }
}

/// All files of one load.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// A map without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, or a virtual one such as `command line`. Text behind the first 4 GiB - 1 is cut off.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        text: Vec<u8>,
        included_from: Option<Span>,
    ) -> FileId {
        let mut text = text;
        text.truncate(u32::MAX as usize - 1);
        let line_starts = Arc::new(line_starts(&text));
        self.push(SourceFile {
            name: name.into(),
            text: Arc::new(text),
            included_from,
            expansion_of: None,
            line_starts,
        })
    }

    /// Adds another reading of a file that is already here.
    pub fn add_again(&mut self, file: FileId, included_from: Option<Span>) -> FileId {
        let copy = SourceFile {
            included_from,
            expansion_of: None,
            ..self.get(file).clone()
        };
        self.push(copy)
    }

    /// Adds the reading of `file` that is the expansion of a macro defined there and used at `used_at`.
    pub fn add_expansion(&mut self, file: FileId, macro_name: &str, used_at: Span) -> FileId {
        let copy = SourceFile {
            included_from: Some(used_at),
            expansion_of: Some(macro_name.to_owned()),
            ..self.get(file).clone()
        };
        self.push(copy)
    }

    /// The file of an id that this map gave out.
    pub fn get(&self, file: FileId) -> &SourceFile {
        &self.files[file.0 as usize]
    }

    /// All files in the order they were opened.
    pub fn files(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files
            .iter()
            .enumerate()
            .map(|(index, file)| (FileId(index as u32), file))
    }

    /// Line and column of the start of a span, both from 1; the column counts characters.
    pub fn line_column(&self, span: Span) -> (u32, u32) {
        let file = self.get(span.file);
        let line = file.line(span.start);
        let (start, _) = file.line_range(line);
        (
            line,
            characters(file.bytes(start, span.start)).count() as u32 + 1,
        )
    }

    /// `FILE:LINE` of the start of a span, as messages name a place.
    pub fn file_line(&self, span: Span) -> String {
        let file = self.get(span.file);
        format!("{}:{}", file.name, file.line(span.start))
    }

    /// The whole of a file as one text.
    pub fn text(&self, file: FileId) -> Text {
        let source = self.get(file);
        Text::copied(file, 0, &source.text)
    }

    /// A key that sorts spans in the order in which their text was read, includes standing where they are included.
    pub(crate) fn order_key(&self, span: Span) -> Vec<u32> {
        let mut key = vec![span.start, span.file.0];
        let mut from = self.get(span.file).included_from;
        while let Some(span) = from {
            key.extend([span.start, span.file.0]);
            from = self.get(span.file).included_from;
        }
        key.reverse();
        key
    }

    fn push(&mut self, file: SourceFile) -> FileId {
        self.files.push(file);
        FileId(self.files.len() as u32 - 1)
    }
}

/// Decodes text for display: one item per character, with U+FFFD for each sequence that is not UTF-8.
pub(crate) fn characters(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes.utf8_chunks().flat_map(|chunk| {
        let broken = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        chunk.valid().chars().chain(broken)
    })
}

fn line_starts(text: &[u8]) -> Vec<u32> {
    let behind_line_ends = text
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at as u32 + 1);
    std::iter::once(0).chain(behind_line_ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns() {
        let mut map = SourceMap::new();
        let file = map.add(
            "a.conf",
            b"one\r\n\xc3\xa9t\xc3\xa9 \xff x\n".to_vec(),
            None,
        );
        let cases = [
            ((0, (1, 1)), "first byte"),
            ((2, (1, 3)), "same line"),
            ((4, (1, 5)), "the line end belongs to its line"),
            ((5, (2, 1)), "second line"),
            ((7, (2, 2)), "two-byte character counts once"),
            ((13, (2, 7)), "a broken byte counts once"),
            ((15, (3, 1)), "behind the last line end"),
        ];
        for ((start, expected), what) in cases {
            assert_eq!(
                map.line_column(Span {
                    file,
                    start,
                    end: start
                }),
                expected,
                "{what}"
            );
        }
        assert_eq!(map.get(file).line_range(1), (0, 3));
        assert_eq!(map.get(file).line_range(9), (15, 15));
    }

    #[test]
    fn included_text_sorts_at_its_include() {
        let mut map = SourceMap::new();
        let main = map.add("main", b"Include a\nx\n".to_vec(), None);
        let include = Span {
            file: main,
            start: 0,
            end: 9,
        };
        let inner = map.add("a", b"y\n".to_vec(), Some(include));
        let at = |file, start| {
            map.order_key(Span {
                file,
                start,
                end: start,
            })
        };
        assert!(at(main, 0) < at(inner, 0));
        assert!(at(inner, 0) < at(inner, 1));
        assert!(at(inner, 1) < at(main, 10));
    }
}
