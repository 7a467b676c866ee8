//! Substitutions and test strings: text with `$N`, `%N`, `%{NAME}`, `${map:key|default}` and `\c` in it.

use std::ops::Range;

use crate::captures::Groups;
use crate::escape::Escape;
use crate::variable::{Lookup, Variable};

/// A parsed substitution or test string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// One part of a template and where it stands in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: PieceKind,
    /// Byte range in the source, counted from the `base` given to [`Template::parse`].
    pub range: Range<usize>,
}

/// What a part of a template stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Text that is taken as it is.
    Literal(Box<[u8]>),
    /// The byte behind a backslash, taken as it is.
    Escaped(u8),
    /// `$N`: a group of the rule's pattern.
    Rule(u8),
    /// `%N`: a group of the last condition.
    Condition(u8),
    /// `%{NAME}`.
    Variable(Variable),
    /// `${map:key|default}`.
    Map(Box<MapLookup>),
}

/// `${map:key|default}`: the default stands where the map has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapLookup {
    /// The map's name; case matters.
    pub map: Box<[u8]>,
    /// What is looked up.
    pub key: Template,
    /// What stands for a missing value.
    pub default: Template,
}

/// Maps are nested too deeply in each other's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// From the innermost `${` to its closing bracket, counted from the `base` given to [`Template::parse`].
    pub range: Range<usize>,
}

/// Whether a part of an expansion was typed by the author or came from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The author typed it.
    Literal,
    /// It came with a group or a variable.
    Expanded,
}

/// Where the first and the last question mark of an expansion came from.
///
/// An escaped one, `\?`, does not count, as in httpd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuestionMarks {
    /// The origin of the first one.
    pub first: Option<Origin>,
    /// The origin of the last one.
    pub last: Option<Origin>,
}

impl Template {
    /// Parses `text`. `base` is added to every range, so that ranges can count from the start of a line.
    ///
    /// Whatever is not complete, such as a lone `%` or `%{` without end, is literal.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] if maps are nested too deeply.
    pub fn parse(text: &[u8], base: usize) -> Result<Self, TemplateError> {
        Self::parse_nested(text, base, 0)
    }

    /// Whether a variable in it is a look-ahead.
    #[must_use]
    pub fn looks_ahead(&self) -> bool {
        self.pieces.iter().any(|piece| match &piece.kind {
            PieceKind::Variable(variable) => matches!(variable, Variable::LookAhead { .. }),
            PieceKind::Map(lookup) => lookup.key.looks_ahead() || lookup.default.looks_ahead(),
            _ => false,
        })
    }

    fn parse_nested(text: &[u8], base: usize, depth: usize) -> Result<Self, TemplateError> {
        let mut parser = Parser {
            text,
            base,
            depth,
            at: 0,
            literal: Vec::new(),
            pieces: Vec::new(),
        };
        while parser.at < text.len() {
            parser.step()?;
        }
        parser.flush();
        Ok(Self {
            pieces: parser.pieces,
        })
    }

    /// The parts in order. No two literals are neighbours.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Appends the expansion to `out`, which is never expanded again. Groups are escaped with `escape` if given;
    /// variables are not.
    pub fn expand(
        &self,
        rule: &Groups<'_>,
        condition: &Groups<'_>,
        lookup: &dyn Lookup,
        escape: Option<&Escape>,
        out: &mut Vec<u8>,
    ) -> QuestionMarks {
        let mut marks = QuestionMarks::default();
        for piece in &self.pieces {
            let start = out.len();
            let origin = match &piece.kind {
                PieceKind::Literal(text) => {
                    out.extend_from_slice(text);
                    Origin::Literal
                }
                PieceKind::Escaped(byte) => {
                    out.push(*byte);
                    continue;
                }
                PieceKind::Rule(n) => push_group(rule, *n, escape, out),
                PieceKind::Condition(n) => push_group(condition, *n, escape, out),
                PieceKind::Variable(variable) => {
                    lookup.variable(variable, out);
                    Origin::Expanded
                }
                // To httpd even a default is what came with the request.
                PieceKind::Map(of) => {
                    of.expand(rule, condition, lookup, escape, out);
                    Origin::Expanded
                }
            };
            if out
                .get(start..)
                .is_some_and(|added| memchr::memchr(b'?', added).is_some())
            {
                marks.first.get_or_insert(origin);
                marks.last = Some(origin);
            }
        }
        marks
    }
}

impl MapLookup {
    fn expand(
        &self,
        rule: &Groups<'_>,
        condition: &Groups<'_>,
        lookup: &dyn Lookup,
        escape: Option<&Escape>,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let mut key = Vec::new();
        self.key.expand(rule, condition, lookup, escape, &mut key);
        if !lookup.map(&self.map, &key, out) {
            out.truncate(start);
            self.default.expand(rule, condition, lookup, escape, out);
        }
    }
}

fn push_group(groups: &Groups<'_>, n: u8, escape: Option<&Escape>, out: &mut Vec<u8>) -> Origin {
    let text = groups.get(usize::from(n));
    match escape {
        Some(escape) => escape.write(text, out),
        None => out.extend_from_slice(text),
    }
    Origin::Expanded
}

struct Parser<'a> {
    text: &'a [u8],
    base: usize,
    depth: usize,
    at: usize,
    literal: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Parser<'_> {
    fn step(&mut self) -> Result<(), TemplateError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        match *rest {
            [b'\\', byte, ..] => self.piece(PieceKind::Escaped(byte), 2),
            [b'%', b'{', ..] => self.variable(rest),
            [b'$', b'{', ..] => self.map(rest)?,
            [b'$', digit @ b'0'..=b'9', ..] => self.piece(PieceKind::Rule(digit - b'0'), 2),
            [b'%', digit @ b'0'..=b'9', ..] => self.piece(PieceKind::Condition(digit - b'0'), 2),
            _ => self.take_literal(1),
        }
        Ok(())
    }

    fn variable(&mut self, rest: &[u8]) {
        match closing_curly(rest) {
            Some(end) => {
                let name = rest.get(2..end).unwrap_or_default();
                self.piece(PieceKind::Variable(Variable::parse(name)), end + 1);
            }
            None => self.take_literal(2),
        }
    }

    /// `${` is a map look-up only with a colon and a closing bracket; anything else is text.
    fn map(&mut self, rest: &[u8]) -> Result<(), TemplateError> {
        let inner = closing_curly(rest).and_then(|end| rest.get(2..end));
        let colon = inner.and_then(|inner| outside_curlies(inner, b':'));
        let (Some(inner), Some(colon)) = (inner, colon) else {
            self.take_literal(2);
            return Ok(());
        };
        let start = self.base + self.at;
        if self.depth >= MAP_DEPTH_MAX {
            let range = start..start + inner.len() + 3;
            return Err(TemplateError { range });
        }
        let (map, argument) = inner.split_at(colon);
        let argument = argument.get(1..).unwrap_or_default();
        let bar = outside_curlies(argument, b'|').unwrap_or(argument.len());
        let (key, default) = argument.split_at(bar);
        let key_start = start + 2 + colon + 1;
        let lookup = MapLookup {
            map: map.into(),
            key: Template::parse_nested(key, key_start, self.depth + 1)?,
            default: Template::parse_nested(
                default.get(1..).unwrap_or_default(),
                key_start + bar + 1,
                self.depth + 1,
            )?,
        };
        self.piece(PieceKind::Map(Box::new(lookup)), inner.len() + 3);
        Ok(())
    }

    fn piece(&mut self, kind: PieceKind, len: usize) {
        self.flush();
        let start = self.base + self.at;
        self.pieces.push(Piece {
            kind,
            range: start..start + len,
        });
        self.at += len;
    }

    fn take_literal(&mut self, len: usize) {
        let end = (self.at + len).min(self.text.len());
        self.literal
            .extend_from_slice(self.text.get(self.at..end).unwrap_or_default());
        self.at = end;
    }

    fn flush(&mut self) {
        if !self.literal.is_empty() {
            let text = std::mem::take(&mut self.literal);
            let end = self.base + self.at;
            let range = end - text.len()..end;
            self.pieces.push(Piece {
                kind: PieceKind::Literal(text.into()),
                range,
            });
        }
    }
}

/// The offset of the bracket that closes the one at offset 1.
fn closing_curly(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn outside_curlies(text: &[u8], wanted: u8) -> Option<usize> {
    let mut depth = 0_usize;
    text.iter().position(|byte| {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        *byte == wanted && depth == 0
    })
}

/// Maps inside the keys of maps.
const MAP_DEPTH_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Captures, Regex, RegexFlags};

    struct Values;

    impl Lookup for Values {
        fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
            match variable {
                Variable::RequestUri => out.extend_from_slice(b"/u?$1%{HTTPS}"),
                Variable::Env(name) => out.extend_from_slice(name),
                _ => {}
            }
        }

        fn map(&self, map: &[u8], key: &[u8], out: &mut Vec<u8>) -> bool {
            let value: &[u8] = match (map, key) {
                (b"m", b"42") => b"<?>",
                (b"m", b"<?>") => b"inner",
                _ => return false,
            };
            out.extend_from_slice(value);
            true
        }
    }

    fn captures(pattern: &[u8], subject: &[u8]) -> Captures {
        Regex::new(pattern, RegexFlags::default())
            .unwrap()
            .captures(subject)
            .unwrap()
            .unwrap()
    }

    fn expand(text: &str, escape: Option<&Escape>) -> (String, QuestionMarks) {
        let rule = Groups::new(b"/a b/c?d", captures(b"^/(.*?)/(x)?(.*)$", b"/a b/c?d"));
        let condition = Groups::new(b"id=42", captures(b"id=(.*)", b"id=42"));
        let mut out = b"<".to_vec();
        let template = Template::parse(text.as_bytes(), 0).unwrap();
        let marks = template.expand(&rule, &condition, &Values, escape, &mut out);
        (String::from_utf8(out).unwrap(), marks)
    }

    #[test]
    fn expansion() {
        for (text, expected) in [
            ("plain", "<plain"),
            ("", "<"),
            ("$1-$2-$3-$9", "<a b--c?d-"),
            ("%1 %0 %2", "<42 id=42 "),
            ("%{REQUEST_URI}", "</u?$1%{HTTPS}"),
            ("%{env:A}%{NOPE}%{}.", "<A."),
            (r"\$1 \%{X} \\", r"<$1 %{X} \"),
            ("$a % $ %z", "<$a % $ %z"),
            ("%{X", "<%{X"),
            ("${X}", "<${X}"),
            ("${a:b", "<${a:b"),
            ("end\\", "<end\\"),
            ("100%", "<100%"),
            ("%{ENV:{a}}b", "<{a}b"),
            ("$10", "<a b0"),
            ("[${m:%1}]", "<[<?>]"),
            ("[${m:$1}]", "<[]"),
            ("[${m:$1|d-$1}]", "<[d-a b]"),
            ("[${M:42|${m:42}}]", "<[<?>]"),
            ("${m:${m:%1}|x}", "<inner"),
            ("${none:a|b|c}", "<b|c"),
            ("${m:%{ENV:42}}", "<<?>"),
        ] {
            assert_eq!(expand(text, None).0, expected, "{text}");
        }
    }

    #[test]
    fn only_groups_are_escaped() {
        assert_eq!(
            expand("$1/?%1 %{ENV:a b}", Some(&Escape::default())).0,
            "<a+b/?42 a b"
        );
    }

    #[test]
    fn question_marks_know_their_origin() {
        let (literal, expanded) = (Some(Origin::Literal), Some(Origin::Expanded));
        for (text, first, last) in [
            ("a", None, None),
            ("a?b", literal, literal),
            ("$3", expanded, expanded),
            ("a?$3", literal, expanded),
            ("$3?a", expanded, literal),
            (r"\?$1", None, None),
            ("${m:42}a?", expanded, literal),
            (r"\?$3", expanded, expanded),
            ("%{REQUEST_URI}", expanded, expanded),
        ] {
            assert_eq!(
                expand(text, None).1,
                QuestionMarks { first, last },
                "{text}"
            );
        }
        assert_eq!(
            expand("$3", Some(&Escape::default())).1,
            QuestionMarks::default()
        );
    }

    #[test]
    fn pieces_know_their_place() {
        let template = Template::parse(br"ab$1\c%{HTTPS}%", 10).unwrap();
        let ranges: Vec<_> = template
            .pieces()
            .iter()
            .map(|piece| piece.range.clone())
            .collect();
        assert_eq!(ranges, [10..12, 12..14, 14..16, 16..24, 24..25]);
        assert_eq!(
            template.pieces()[3].kind,
            PieceKind::Variable(Variable::Https)
        );
    }

    #[test]
    fn maps_know_their_place() {
        let template = Template::parse(b"/a/${m:$1|d}/x", 100).unwrap();
        assert_eq!(template.pieces()[1].range, 103..112);
        let PieceKind::Map(lookup) = &template.pieces()[1].kind else {
            panic!("{template:?}")
        };
        assert_eq!(&*lookup.map, b"m");
        assert_eq!(lookup.key.pieces()[0].range, 107..109);
        assert_eq!(lookup.default.pieces()[0].range, 110..111);
        let deep = format!("{}x{}", "${m:".repeat(30), "}".repeat(30));
        let error = Template::parse(deep.as_bytes(), 0).unwrap_err();
        assert_eq!(error.range, 80..131);
    }
}
