//! Diagnostics as text for a terminal: message, place, the line with carets, notes and help.

use std::fmt::Write as _;

use crate::diagnostics::Diagnostic;
use crate::source::{FileId, SourceMap, Span, characters};

/// Columns of source text shown at most; a longer line is shown around its caret.
const COLUMNS_MAX: usize = 140;
/// Columns kept in front of the caret when a long line is cut.
const COLUMNS_BEFORE: usize = 60;
/// How many levels of `included from` are listed.
const ORIGINS_MAX: usize = 8;

/// One diagnostic as text, ending with a line end.
pub fn render_one(diagnostic: &Diagnostic, sources: &SourceMap) -> String {
    let mut out = format!(
        "{}[{}]: {}\n",
        diagnostic.severity.name(),
        diagnostic.code,
        printable(&diagnostic.message)
    );
    let marks = marks(diagnostic, sources);
    let width = marks
        .iter()
        .map(|mark| digits(mark.line))
        .max()
        .unwrap_or(0);
    let mut shown = None;
    for mark in &marks {
        mark.render(width, shown, sources, &mut out);
        shown = Some((mark.span.file, mark.line));
    }
    for (kind, text) in footer(diagnostic, sources) {
        let _ = writeln!(out, "{:width$} = {kind}: {}", "", printable(&text));
    }
    out
}

/// A place with carets.
struct Mark {
    span: Span,
    line: u32,
    text: String,
}

impl Mark {
    fn new(span: Span, text: &str, sources: &SourceMap) -> Self {
        Self {
            span,
            line: sources.line_column(span).0,
            text: printable(text),
        }
    }

    /// Writes the carets, with the line above them unless it is the one that was shown last.
    fn render(
        &self,
        width: usize,
        shown: Option<(FileId, u32)>,
        sources: &SourceMap,
        out: &mut String,
    ) {
        let file = sources.get(self.span.file);
        if shown.is_none_or(|(id, _)| sources.get(id).name != file.name) {
            let (line, column) = sources.line_column(self.span);
            let _ = writeln!(
                out,
                "{:width$}--> {}:{line}:{column}",
                "",
                printable(&file.name)
            );
        }
        let excerpt = self.excerpt(sources);
        if shown != Some((self.span.file, self.line)) || excerpt.cut {
            let _ = writeln!(out, "{:width$} | {}", self.line, excerpt.line);
        }
        let carets = "^".repeat(excerpt.length);
        let marked = format!(
            "{:width$} | {:before$}{carets} {}",
            "",
            "",
            self.text,
            before = excerpt.before
        );
        out.push_str(marked.trim_end());
        out.push('\n');
    }

    fn excerpt(&self, sources: &SourceMap) -> Excerpt {
        let file = sources.get(self.span.file);
        let (start, end) = file.line_range(self.line);
        let caret = self.span.start.clamp(start, end);
        let caret_end = self.span.end.clamp(caret, end);
        let before = characters(file.bytes(start, caret)).count();
        let marked = characters(file.bytes(caret, caret_end)).count().max(1);
        let characters: Vec<char> = characters(file.bytes(start, end)).map(shown_as).collect();
        Excerpt::new(&characters, before, marked)
    }
}

/// The part of a line that is shown.
struct Excerpt {
    line: String,
    before: usize,
    length: usize,
    cut: bool,
}

impl Excerpt {
    fn new(characters: &[char], before: usize, marked: usize) -> Self {
        if characters.len() <= COLUMNS_MAX {
            return Self {
                line: String::from_iter(characters).trim_end().to_owned(),
                before,
                length: marked,
                cut: false,
            };
        }
        let first = before
            .saturating_sub(COLUMNS_BEFORE)
            .min(characters.len() - COLUMNS_MAX);
        let last = first + COLUMNS_MAX;
        let head = if first > 0 { "…" } else { "" };
        let tail = if last < characters.len() { "…" } else { "" };
        let middle: String = characters.iter().skip(first).take(COLUMNS_MAX).collect();
        Self {
            line: format!("{head}{middle}{tail}"),
            before: before - first + head.chars().count(),
            length: marked.min((last + 1).saturating_sub(before)).max(1),
            cut: true,
        }
    }
}

/// The place of the problem, then its labels, then the uses of the macros the place is in.
fn marks(diagnostic: &Diagnostic, sources: &SourceMap) -> Vec<Mark> {
    let primary = diagnostic
        .span
        .iter()
        .map(|span| Mark::new(*span, "", sources));
    let labels = diagnostic
        .labels
        .iter()
        .map(|label| Mark::new(label.span, &label.text, sources));
    let uses = origins(diagnostic, sources)
        .into_iter()
        .filter_map(|(file, from)| {
            let name = sources.get(file).expansion_of.as_ref()?;
            Some(Mark::new(
                from,
                &format!("macro '{name}' used here"),
                sources,
            ))
        });
    primary
        .chain(labels)
        .chain(uses.take(ORIGINS_MAX))
        .collect()
}

fn footer(diagnostic: &Diagnostic, sources: &SourceMap) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let origins = origins(diagnostic, sources);
    let includes: Vec<_> = origins
        .iter()
        .filter(|(file, _)| sources.get(*file).expansion_of.is_none())
        .collect();
    for (_, from) in includes.iter().take(ORIGINS_MAX) {
        lines.push((
            "note",
            format!("included from {}", sources.file_line(*from)),
        ));
    }
    if includes.len() > ORIGINS_MAX {
        lines.push((
            "note",
            format!(
                "and {} more levels of inclusion",
                includes.len() - ORIGINS_MAX
            ),
        ));
    }
    if let Some(help) = &diagnostic.help {
        lines.push(("help", help.clone()));
    }
    if let Some((_, replacement)) = &diagnostic.suggestion {
        lines.push(("help", format!("write `{replacement}`")));
    }
    lines
}

/// The files the place is in, innermost first, each with the line that brought it in.
fn origins(diagnostic: &Diagnostic, sources: &SourceMap) -> Vec<(FileId, Span)> {
    let first = diagnostic
        .span
        .and_then(|span| Some((span.file, sources.get(span.file).included_from?)));
    std::iter::successors(first, |(_, from)| {
        Some((from.file, sources.get(from.file).included_from?))
    })
    .collect()
}

/// Tabs become one blank, and what has no width or turns the direction of writing becomes visible: either would put the
/// carets in the wrong place, or hide what is wrong.
fn shown_as(character: char) -> char {
    match character {
        '\t' => ' ',
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => char::REPLACEMENT_CHARACTER,
        control if control.is_control() => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

fn printable(text: &str) -> String {
    text.chars().map(shown_as).collect()
}

fn digits(line: u32) -> usize {
    line.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Diagnostics;

    /// Text, the place with its labels, and what is shown.
    type Case = (
        &'static [u8],
        &'static [(u32, u32, &'static str)],
        &'static str,
    );

    fn render(text: &[u8], ranges: &[(u32, u32, &str)]) -> String {
        let mut sources = SourceMap::new();
        let file = sources.add("f.conf", text.to_vec(), None);
        let span = |(start, end, _): (u32, u32, &str)| Span { file, start, end };
        let mut diagnostic = Diagnostic::error("RC0101", span(ranges[0]), "wrong");
        for label in &ranges[1..] {
            diagnostic = diagnostic.with_label(span(*label), label.2);
        }
        render_one(&diagnostic, &sources)
    }

    #[test]
    fn forms() {
        #[rustfmt::skip]
        let cases: &[Case] = &[
            (b"\tA b", &[(3, 4, "")], "error[RC0101]: wrong\n --> f.conf:1:4\n1 |  A b\n  |    ^\n"),
            (b"A \x01\xff b", &[(2, 4, "")], "error[RC0101]: wrong\n --> f.conf:1:3\n1 | A \u{fffd}\u{fffd} b\n  |   ^^\n"),
            ("A\u{200b}b".as_bytes(), &[(1, 4, "")], "error[RC0101]: wrong\n --> f.conf:1:2\n1 | A\u{fffd}b\n  |  ^\n"),
            (b"A b", &[(3, 3, "")], "error[RC0101]: wrong\n --> f.conf:1:4\n1 | A b\n  |    ^\n"),
            (b"A \\\n b", &[(0, 6, "")], "error[RC0101]: wrong\n --> f.conf:1:1\n1 | A \\\n  | ^^^\n"),
            (b"A b c", &[(0, 1, ""), (2, 3, "x"), (4, 5, "y")],
             "error[RC0101]: wrong\n --> f.conf:1:1\n1 | A b c\n  | ^\n  |   ^ x\n  |     ^ y\n"),
            (b"A\nB", &[(2, 3, ""), (0, 1, "x")], "error[RC0101]: wrong\n --> f.conf:2:1\n2 | B\n  | ^\n1 | A\n  | ^ x\n"),
        ];
        for (text, ranges, expected) in cases {
            assert_eq!(render(text, ranges), *expected);
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        for (start, end) in [(500, 501), (0, 1000), (999, 1001), (0, 1), (400, 900)] {
            let out = render(text.as_bytes(), &[(start, end, "")]);
            assert!(
                out.lines().all(|line| line.chars().count() < 160),
                "{start}..{end}:\n{out}"
            );
        }
        let out = render(text.as_bytes(), &[(500, 501, "")]);
        let lines: Vec<Vec<char>> = out.lines().map(|line| line.chars().collect()).collect();
        let caret = lines[3].iter().position(|c| *c == '^').expect("caret");
        assert_eq!(lines[2][caret], 'X');
    }

    #[test]
    fn without_a_place_and_several() {
        let mut all = Diagnostics::new();
        all.push(Diagnostic::warning("RC0101", None, "one").with_help("two"));
        all.push(Diagnostic::note("RC0102", None, "three"));
        assert_eq!(
            all.render(&SourceMap::new()),
            "warning[RC0101]: one\n = help: two\n\nnote[RC0102]: three\n"
        );
    }
}
