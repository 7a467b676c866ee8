//! What must hold for any bytes that a reader of relais is given: nothing panics, every span is inside its file, and
//! every diagnostic can be shown.
//!
//! One function per reader. `cargo xtask fuzz` runs them under libFuzzer, which looks for bytes that break them; the
//! tests run them over the corpora of earlier hunts, `corpus/`.

mod damage;
mod expression;
mod record;

use relais_conf::{
    Diagnostics, Host, Item, Loaded, MemoryFiles, Options, SourceMap, Span, Text, load, render_one,
};
use relais_expr::Template;
use relais_rewrite::{RuleError, parse_cond, parse_rule};

pub use damage::Damage;
pub use expression::expression;
pub use record::record;

/// A line of text is split into words.
///
/// # Panics
/// When a word is not where its span says.
pub fn lexer(data: &[u8]) {
    let mut sources = SourceMap::new();
    let file = sources.add("line", data.to_vec(), None);
    let text = sources.text(file);
    check_text(&text, &sources);
    check_text(&text.trim(), &sources);
    if let Some((word, rest)) = text.split_word() {
        check_text(&word, &sources);
        check_text(&rest, &sources);
    }
}

/// A configuration becomes a tree. What stands behind a line `----` is a second file, `extra.conf`.
///
/// # Panics
/// When a span of the tree or of a diagnostic is not inside its file.
pub fn parser(data: &[u8]) {
    let loaded = read(data);
    check_loaded(&loaded, &loaded.diagnostics);
}

/// The tree of a configuration, with what was said about it.
#[must_use]
pub fn read(data: &[u8]) -> Loaded {
    load(options(), &files(data), &mut Anything)
}

/// The arguments of a rule and of a condition, and a template are read.
///
/// # Panics
/// When a range is not inside the text.
pub fn rule(data: &[u8]) {
    match parse_rule(data) {
        Ok(rule) => {
            check_range(&rule.pattern.range, data);
            check_range(&rule.substitution.range, data);
            rule.extra.iter().for_each(|range| check_range(range, data));
        }
        Err(error) => check_error(&error, data),
    }
    match parse_cond(data) {
        Ok(condition) => {
            check_range(&condition.test_range, data);
            check_range(&condition.pattern_range, data);
        }
        Err(error) => check_error(&error, data),
    }
    if let Ok(template) = Template::parse(data, 0) {
        template
            .pieces()
            .iter()
            .for_each(|piece| check_range(&piece.range, data));
    }
}

/// A configuration goes the whole way to a site. What stands behind a line `----` is a second file, `extra.conf`.
///
/// # Panics
/// When a span of the tree or of a diagnostic is not inside its file.
pub fn configuration(data: &[u8]) {
    let read = relais_modules::configure(options(), &files(data), &|_| Vec::new());
    check_loaded(&read.loaded, &read.diagnostics);
}

/// A module list in which half of all names are there.
struct Anything;

impl Host for Anything {
    fn load_module(&mut self, _: &Text, _: &Text, _: &mut Diagnostics) {}

    fn module_present(&self, name: &str) -> bool {
        name.len().is_multiple_of(2)
    }

    fn directive_known(&self, name: &str) -> bool {
        name.len().is_multiple_of(2)
    }
}

fn files(data: &[u8]) -> MemoryFiles {
    let cut = data
        .windows(SEPARATOR.len())
        .position(|part| part == SEPARATOR);
    let (main, extra) = match cut {
        Some(at) => (&data[..at], &data[at + SEPARATOR.len()..]),
        None => (data, &b""[..]),
    };
    MemoryFiles::new()
        .with("/etc/main.conf", main)
        .with("/etc/extra.conf", extra)
}

fn options() -> Options {
    Options {
        defines: vec![("FLAG".to_owned(), None)],
        ..Options::new("/etc/main.conf")
    }
}

fn check_loaded(loaded: &Loaded, diagnostics: &Diagnostics) {
    check_items(&loaded.tree.items, &loaded.sources);
    for diagnostic in diagnostics.iter().take(50) {
        let spans = diagnostic
            .span
            .iter()
            .chain(diagnostic.labels.iter().map(|label| &label.span));
        spans.for_each(|span| check_span(*span, &loaded.sources));
        assert!(!render_one(diagnostic, &loaded.sources).is_empty());
    }
}

fn check_items(items: &[Item], sources: &SourceMap) {
    for item in items {
        let (name, args, span) = match item {
            Item::Directive(directive) => (&directive.name, &directive.args, directive.span),
            Item::Section(section) => (&section.name, &section.args, section.span),
        };
        check_span(span, sources);
        check_text(name, sources);
        check_text(args, sources);
        if let Item::Section(section) = item {
            check_items(&section.items, sources);
        }
    }
}

fn check_text(text: &Text, sources: &SourceMap) {
    check_span(text.span(), sources);
    for word in text.words() {
        check_span(word.span(), sources);
        check_span(word.span_of(1..word.len()), sources);
        check_span(word.slice(1..3).span(), sources);
    }
}

fn check_span(span: Span, sources: &SourceMap) {
    let length = sources.get(span.file).text.len();
    assert!(span.start <= span.end, "{span:?} ends before it starts");
    assert!(span.end as usize <= length, "{span:?} in {length} bytes");
}

fn check_error(error: &RuleError, data: &[u8]) {
    check_range(&error.range, data);
    assert!(!error.message.is_empty());
}

fn check_range(range: &std::ops::Range<usize>, data: &[u8]) {
    assert!(
        data.get(range.clone()).is_some(),
        "{range:?} in {} bytes",
        data.len()
    );
}

const SEPARATOR: &[u8] = b"\n----\n";
