//! The tree that reading gives: directives and sections, with their arguments as written.

use std::fmt::Write as _;

use crate::source::Span;
use crate::text::Text;

/// All of a configuration, with includes, macros and true conditional sections in place.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// What stands outside all sections, in order.
    pub items: Vec<Item>,
}

/// One entry of a tree.
#[derive(Clone, Debug)]
pub enum Item {
    /// A line that is not a section.
    Directive(Directive),
    /// `<Name …>` to `</Name>`.
    Section(Section),
}

/// A line with a directive.
#[derive(Clone, Debug)]
pub struct Directive {
    /// The name in the spelling of the file.
    pub name: Text,
    /// The rest of the line without blanks at its ends.
    pub args: Text,
    /// The whole logical line.
    pub span: Span,
}

/// A section with what it holds.
#[derive(Clone, Debug)]
pub struct Section {
    /// The name in the spelling of the file, without the `<`.
    pub name: Text,
    /// What stands between the name and the closing `>`, without blanks at its ends.
    pub args: Text,
    /// The line that opens the section.
    pub span: Span,
    /// The line that closes it, unless that is missing.
    pub close: Option<Span>,
    /// What is inside, in order.
    pub items: Vec<Item>,
}

impl Tree {
    /// The tree as text for tests and for people: one entry a line, words in quotes where they need them.
    pub fn dump(&self) -> String {
        let mut out = String::new();
        dump_items(&self.items, 0, &mut out);
        out
    }
}

fn dump_items(items: &[Item], depth: usize, out: &mut String) {
    for item in items {
        let indent = "  ".repeat(depth);
        // Writing to a string cannot fail.
        let _ = match item {
            Item::Directive(directive) => writeln!(
                out,
                "{indent}{}{}",
                directive.name.lossy(),
                words(&directive.args)
            ),
            Item::Section(section) => writeln!(
                out,
                "{indent}<{}{}>",
                section.name.lossy(),
                words(&section.args)
            ),
        };
        if let Item::Section(section) = item {
            dump_items(&section.items, depth + 1, out);
        }
    }
}

fn words(args: &Text) -> String {
    args.words()
        .iter()
        .map(|word| format!(" [{}]", word.lossy().escape_debug()))
        .collect()
}
