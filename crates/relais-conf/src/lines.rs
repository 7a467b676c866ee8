//! Raw text to logical lines: continuation lines joined, blanks at both ends dropped.

use crate::source::{FileId, Span};
use crate::text::Text;

/// Bytes a logical line may have, before and after variables are replaced; httpd's own limit.
pub(crate) const LINE_MAX: usize = 16 << 20;

/// A logical line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its text, or an empty one if it was too long.
    pub text: Text,
    /// Its place from the first byte to the last, comments included.
    pub span: Span,
    /// Whether it was longer than [`LINE_MAX`] and is dropped.
    pub too_long: bool,
    /// The backslash of a continuation that has blanks behind it and so is none.
    pub broken_continuation: Option<Span>,
}

/// The logical line that starts at `*at`, which is moved behind it. `None` at the end of the text.
///
/// As in httpd's `ap_cfg_getline`, a backslash before the line end joins the next line as it is, even in a comment; a
/// backslash at the very end of the file stays.
pub(crate) fn next_line(file: FileId, source: &[u8], at: &mut usize) -> Option<Line> {
    let start = *at;
    if start >= source.len() {
        return None;
    }
    let mut raw = Text::empty(Span {
        file,
        start: start as u32,
        end: start as u32,
    });
    let mut too_long = false;
    loop {
        let rest = source.get(*at..).unwrap_or_default();
        let physical = PhysicalLine::first_of(rest);
        too_long |= raw.len() + physical.text.len() > LINE_MAX;
        if !too_long {
            raw.push_copied(physical.text, *at as u32);
        }
        *at += physical.length;
        if !physical.continued || *at >= source.len() {
            break;
        }
    }
    Some(finish(
        raw,
        too_long,
        Span {
            file,
            start: start as u32,
            end: *at as u32,
        },
    ))
}

fn finish(raw: Text, too_long: bool, read: Span) -> Line {
    let text = if too_long {
        Text::empty(read)
    } else {
        raw.trim()
    };
    let is_comment = text.bytes().first() == Some(&b'#');
    let has_blanks_behind = raw.len() > text.len() && !raw.bytes().ends_with(b"\\");
    let backslash = text.bytes().ends_with(b"\\") && has_blanks_behind && !is_comment;
    let broken_continuation = backslash.then(|| text.span_of(text.len() - 1..text.len()));
    let span = if too_long { read.start() } else { text.span() };
    Line {
        text,
        span,
        too_long,
        broken_continuation,
    }
}

struct PhysicalLine<'a> {
    /// Without line end and continuation backslash.
    text: &'a [u8],
    /// With them.
    length: usize,
    continued: bool,
}

impl<'a> PhysicalLine<'a> {
    fn first_of(rest: &'a [u8]) -> Self {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Self {
                text: rest,
                length: rest.len(),
                continued: false,
            };
        };
        let line = rest.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let joined = line.strip_suffix(b"\\");
        Self {
            text: joined.unwrap_or(line),
            length: end + 1,
            continued: joined.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceMap;

    fn lines(source: &str) -> Vec<String> {
        let file = SourceMap::new().add("", Vec::new(), None);
        let mut at = 0;
        std::iter::from_fn(|| next_line(file, source.as_bytes(), &mut at))
            .map(|line| line.text.lossy().into())
            .collect()
    }

    #[test]
    fn logical_lines() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("a", &["a"]),
            ("a\nb\n", &["a", "b"]),
            ("  a b \t\r\n\r\n b", &["a b", "", "b"]),
            ("a \\\n  b\nc", &["a   b", "c"]),
            ("a\\\r\nb\r\n", &["ab"]),
            ("a\\\\\nb", &["a\\b"]),
            ("a \\ \nb", &["a \\", "b"]),
            ("a\\", &["a\\"]),
            ("a\\\n", &["a"]),
            ("# x \\\nb\nc", &["# x b", "c"]),
            ("\\\n\\\n\nb", &["", "b"]),
            ("a\rb\n", &["a\rb"]),
        ];
        for (source, expected) in cases {
            assert_eq!(lines(source), *expected, "{source:?}");
        }
    }

    #[test]
    fn a_backslash_before_blanks_is_noticed() {
        let cases = [
            ("a \\ \nb", Some(2)),
            ("a \\\n b", None),
            ("a\\", None),
            ("# a \\ \n", None),
            ("a \\\t\r\n", Some(2)),
        ];
        for (source, expected) in cases {
            let file = SourceMap::new().add("", Vec::new(), None);
            let line = next_line(file, source.as_bytes(), &mut 0).expect("a line");
            assert_eq!(
                line.broken_continuation.map(|span| span.start),
                expected,
                "{source:?}"
            );
        }
    }

    #[test]
    fn too_long_is_dropped_whole() {
        let mut source = vec![b'x'; LINE_MAX];
        source.extend(b"\\\nyy\nz\n");
        let file = SourceMap::new().add("", Vec::new(), None);
        let mut at = 0;
        let first = next_line(file, &source, &mut at).expect("first line");
        assert!(first.too_long && first.text.is_empty());
        assert_eq!(
            next_line(file, &source, &mut at)
                .expect("second line")
                .text
                .bytes(),
            b"z"
        );
    }
}
