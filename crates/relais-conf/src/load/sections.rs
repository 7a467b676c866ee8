//! Tags: opening and closing sections, skipping those whose condition does not hold, and what to do when tags do not
//! match.

use super::{Loader, Mode};
use crate::diagnostics::Diagnostic;
use crate::lines::Line;
use crate::source::Span;
use crate::text::{Text, is_blank};
use crate::tree::{Item, Section};
use crate::value::distance;

/// Levels of sections in the tree, so that whoever walks it may recurse.
const NESTING_MAX: usize = 200;

/// A section that is open.
pub(super) struct Open {
    pub name: Text,
    args: Text,
    span: Span,
    pub items: Vec<Item>,
    kind: OpenKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenKind {
    /// Goes into the tree.
    Section,
    /// A condition that holds, or a section nested too deep: what is inside goes to the section around it.
    Transparent,
}

/// A conditional section that does not hold.
pub(super) struct Skipping {
    name: Text,
    span: Span,
    /// How many sections of the same name are open inside.
    nested: usize,
}

/// `<Name args>`, taken apart.
pub(super) struct Tag {
    pub name: Text,
    pub args: Text,
    pub span: Span,
}

impl Loader<'_> {
    pub(super) fn open_tag(&mut self, text: &Text, span: Span) {
        let (name, rest) = split_name(text, 1);
        if name.is_empty() {
            self.error(
                "RC0113",
                text.span_of(0..1),
                "the section has no name directly behind its '<'",
            );
            return;
        }
        let args = self.tag_arguments(text, &name, &rest);
        let tag = Tag { name, args, span };
        match tag.name.lossy().to_ascii_lowercase().as_str() {
            "macro" => self.begin_macro(tag),
            "ifmodule" | "ifdefine" | "iffile" | "ifdirective" | "ifsection" | "ifversion" => {
                self.conditional(tag)
            }
            _ => self.open_section(tag, OpenKind::Section),
        }
    }

    /// What stands before the closing `>`, which is the last one of the line.
    fn tag_arguments(&mut self, text: &Text, name: &Text, rest: &Text) -> Text {
        let first = rest.bytes().first() == Some(&b'>');
        let close = if first {
            Some(0)
        } else {
            rest.bytes().iter().rposition(|byte| *byte == b'>')
        };
        let Some(close) = close else {
            let message = format!("<{}> directive missing closing '>'", name.lossy());
            self.error("RC0110", text.span_of(text.len()..text.len()), message);
            return rest.trim();
        };
        self.check_behind_tag(&rest.slice(close + 1..rest.len()));
        rest.slice(0..close).trim()
    }

    fn check_behind_tag(&mut self, behind: &Text) {
        let behind = behind.trim();
        if !behind.is_empty() {
            let warning = Diagnostic::warning(
                "RC0112",
                behind.span(),
                "the text behind the '>' is ignored",
            );
            self.push(warning.with_help("a comment needs a line of its own"));
        }
    }

    pub(super) fn open_section(&mut self, tag: Tag, kind: OpenKind) {
        let depth = self.open.len();
        if depth == NESTING_MAX {
            self.error(
                "RC0114",
                tag.span,
                format!("sections are nested more than {NESTING_MAX} deep"),
            );
        }
        let kind = if depth >= NESTING_MAX {
            OpenKind::Transparent
        } else {
            kind
        };
        self.open.push(Open {
            name: tag.name,
            args: tag.args,
            span: tag.span,
            items: Vec::new(),
            kind,
        });
    }

    pub(super) fn skip(&mut self, tag: &Tag) {
        self.mode = Mode::Skipping(Skipping {
            name: tag.name.clone(),
            span: tag.span,
            nested: 0,
        });
    }

    /// A line inside a condition that does not hold: only tags of the same name count.
    pub(super) fn skip_line(&mut self, mut skipping: Skipping, line: &Line) {
        let text = &line.text;
        if text.bytes().starts_with(b"</") {
            let (name, _) = split_name(text, 2);
            if same_name(&name, &skipping.name) {
                if skipping.nested == 0 {
                    self.check_close_tag(text, &name);
                    return;
                }
                skipping.nested -= 1;
            }
        } else if text.bytes().starts_with(b"<")
            && same_name(&split_name(text, 1).0, &skipping.name)
        {
            skipping.nested += 1;
        }
        self.mode = Mode::Skipping(skipping);
    }

    pub(super) fn close_tag(&mut self, text: &Text, span: Span) {
        let (name, _) = split_name(text, 2);
        self.check_close_tag(text, &name);
        let base = self.frame().0.min(self.open.len());
        let within = self.open.get(base..).unwrap_or_default();
        // Looking no further out than sections may be nested bounds the work for tags that match nothing.
        let outwards = within
            .iter()
            .rev()
            .take(NESTING_MAX)
            .position(|open| same_name(&open.name, &name));
        match outwards {
            Some(0) => self.close_innermost(Some(span)),
            Some(levels) => self.close_outer(levels, &name, span),
            None if within.is_empty() => {
                let name = name.lossy();
                self.error(
                    "RC0108",
                    span,
                    format!("</{name}> without matching <{name}> section"),
                );
            }
            None => self.close_other(&name, span),
        }
    }

    fn check_close_tag(&mut self, text: &Text, name: &Text) {
        let behind = 2 + name.len();
        if text.bytes().get(behind) != Some(&b'>') {
            let message = format!("</{}> directive missing closing '>'", name.lossy());
            self.error("RC0110", text.span_of(behind..behind), message);
        } else {
            self.check_behind_tag(&text.slice(behind + 1..text.len()));
        }
    }

    /// The tag closes a section further out: those inside it were not closed.
    fn close_outer(&mut self, levels: usize, name: &Text, span: Span) {
        self.expected(name, span);
        for _ in 0..levels {
            self.close_innermost(None);
        }
        self.close_innermost(Some(span));
    }

    /// The tag closes no open section. It is taken for a misspelled end of the innermost one, unless only one of the
    /// two is conditional, in which case it is more likely to be left over.
    fn close_other(&mut self, name: &Text, span: Span) {
        self.expected(name, span);
        let conditional = |name: &Text| {
            name.bytes()
                .get(..2)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"if"))
        };
        let Some(open) = self.open.last() else { return };
        let typo = distance(&open.name.lossy(), &name.lossy()) <= 2;
        if typo || conditional(&open.name) == conditional(name) {
            self.close_innermost(Some(span));
        }
    }

    fn expected(&mut self, name: &Text, span: Span) {
        let Some(open) = self.open.last() else { return };
        let message = format!(
            "Expected </{}> but saw </{}>",
            open.name.lossy(),
            name.lossy()
        );
        let label = format!("<{}> is opened here", open.name.lossy());
        let diagnostic = Diagnostic::error("RC0109", span, message).with_label(open.span, label);
        self.push(diagnostic);
    }

    /// Where an item goes: into the innermost open section that the tree may hold. Sections nested deeper than that
    /// hold nothing themselves, so that closing them does not move their items level by level.
    pub(super) fn innermost_items(&mut self) -> &mut Vec<Item> {
        let depth = self.open.len().min(NESTING_MAX);
        self.open
            .get_mut(..depth)
            .and_then(<[Open]>::last_mut)
            .map_or(&mut self.items, |open| &mut open.items)
    }

    pub(super) fn close_innermost(&mut self, close: Option<Span>) {
        let Some(Open {
            name,
            args,
            span,
            mut items,
            kind,
        }) = self.open.pop()
        else {
            return;
        };
        if kind == OpenKind::Section {
            self.add(Item::Section(Section {
                name,
                args,
                span,
                close,
                items,
            }));
        } else {
            self.innermost_items().append(&mut items);
        }
    }

    /// Closes what a file leaves open at its end.
    pub(super) fn close_down_to(&mut self, base: usize) {
        while self.open.len() > base {
            if let Some(open) = self.open.last().filter(|_| self.open.len() <= NESTING_MAX) {
                let (name, span) = (open.name.clone(), open.span);
                self.not_closed(&name, span);
            }
            self.close_innermost(None);
        }
    }

    /// Ends the skipping or collecting that a file leaves unfinished at its end.
    pub(super) fn end_mode(&mut self) {
        match std::mem::replace(&mut self.mode, Mode::Normal) {
            Mode::Normal => {}
            Mode::Skipping(Skipping { name, span, .. }) => self.not_closed(&name, span),
            Mode::Collecting(collecting) => {
                self.not_closed(&collecting.tag.name, collecting.tag.span)
            }
        }
    }

    fn not_closed(&mut self, name: &Text, span: Span) {
        let name = name.lossy();
        let error = Diagnostic::error("RC0107", span, format!("<{name}> was not closed"));
        self.push(error.with_help(format!("`</{name}>` must stand in the same file")));
    }
}

/// The name of a tag whose name starts at an offset, and what follows it.
fn split_name(text: &Text, start: usize) -> (Text, Text) {
    let rest = text.bytes().get(start..).unwrap_or_default();
    let length = rest
        .iter()
        .position(|byte| is_blank(*byte) || *byte == b'>')
        .unwrap_or(rest.len());
    (
        text.slice(start..start + length),
        text.slice(start + length..text.len()),
    )
}

fn same_name(a: &Text, b: &Text) -> bool {
    a.bytes().eq_ignore_ascii_case(b.bytes())
}
