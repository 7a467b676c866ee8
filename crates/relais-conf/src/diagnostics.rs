//! What can be said about a configuration: one [`Diagnostic`] per problem, all of them kept.

use crate::render::render_one;
use crate::source::{SourceMap, Span};

/// Every code of this crate with its meaning. Codes are stable and never used again for something else.
pub const CODES: &[(&str, &str)] = &[
    (
        "RC0101",
        "a configuration file or directory cannot be opened",
    ),
    ("RC0102", "a wildcard of Include matches nothing"),
    ("RC0103", "files include each other more than 128 deep"),
    (
        "RC0104",
        "an included directory holds directories more than 20 deep",
    ),
    ("RC0105", "more than 10000 files are included"),
    (
        "RC0106",
        "a directive that acts while reading has the wrong number of arguments",
    ),
    (
        "RC0107",
        "a section is not closed in the file that opens it",
    ),
    ("RC0108", "a closing tag stands outside of any section"),
    (
        "RC0109",
        "a closing tag names another section than the one that is open",
    ),
    ("RC0110", "a tag lacks its closing '>'"),
    ("RC0111", "a configuration variable is not defined"),
    ("RC0112", "text behind the '>' of a tag is ignored"),
    ("RC0113", "a tag has no name"),
    ("RC0114", "sections are nested more than 200 deep"),
    ("RC0115", "a logical line is longer than 16 MiB"),
    ("RC0116", "a line holds a NUL byte"),
    (
        "RC0117",
        "a byte order mark at the start of a file is skipped",
    ),
    (
        "RC0118",
        "the name of a variable holds a character that it must not",
    ),
    ("RC0119", "a conditional section has no condition"),
    ("RC0120", "the condition of IfVersion cannot be understood"),
    (
        "RC0121",
        "the configuration asks for an error with the Error directive",
    ),
    ("RC0122", "ServerRoot is not a directory"),
    (
        "RC0123",
        "Use or UndefMacro names a macro that is not defined",
    ),
    (
        "RC0124",
        "a macro is used with the wrong number of arguments",
    ),
    ("RC0125", "a macro uses itself"),
    ("RC0126", "the definition of a macro is faulty"),
    ("RC0127", "a macro is defined a second time"),
    ("RC0128", "a macro is empty"),
    ("RC0129", "a macro does not use one of its parameters"),
    (
        "RC0130",
        "more than 100000 macro uses or more than 64 MiB of macro text",
    ),
    (
        "RC0131",
        "the name of a macro parameter may replace text by accident",
    ),
    (
        "RC0132",
        "a backslash before blanks at the end of a line does not continue it",
    ),
    (
        "RC0133",
        "a conditional section goes by its first word only",
    ),
    (
        "RC0134",
        "IncludeOptional finds nothing on this machine, which is not that of the configuration",
    ),
];

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word in front of a message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A further place that belongs to a problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What about it.
    pub text: String,
}

/// One problem, or one thing worth knowing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// The stable code, such as `RC0101`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One line saying what is wrong.
    pub message: String,
    /// Where; `None` if no text of the configuration is to blame.
    pub span: Option<Span>,
    /// Further places.
    pub labels: Vec<Label>,
    /// What to do.
    pub help: Option<String>,
    /// A replacement for some text that would put it right.
    pub suggestion: Option<(Span, String)>,
}

impl Diagnostic {
    /// A problem because of which the configuration cannot be used.
    pub fn error(
        code: &'static str,
        span: impl Into<Option<Span>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Error, code, span.into(), message.into())
    }

    /// A problem that leaves the configuration usable.
    pub fn warning(
        code: &'static str,
        span: impl Into<Option<Span>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, code, span.into(), message.into())
    }

    /// Something worth knowing.
    pub fn note(
        code: &'static str,
        span: impl Into<Option<Span>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Note, code, span.into(), message.into())
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    /// Adds a further place.
    #[must_use]
    pub fn with_label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// Adds a replacement that would put it right.
    #[must_use]
    pub fn with_suggestion(self, span: Span, replacement: impl Into<String>) -> Self {
        Self {
            suggestion: Some((span, replacement.into())),
            ..self
        }
    }

    fn new(severity: Severity, code: &'static str, span: Option<Span>, message: String) -> Self {
        Self {
            code,
            severity,
            message,
            span,
            labels: Vec::new(),
            help: None,
            suggestion: None,
        }
    }
}

/// All that was found.
#[derive(Clone, Default, Debug)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Turns errors and warnings with these codes into notes, when they have a place in the configuration.
    pub fn soften(&mut self, codes: &[&str]) {
        let matching = self
            .list
            .iter_mut()
            .filter(|one| codes.contains(&one.code) && one.span.is_some());
        matching.for_each(|one| one.severity = Severity::Note);
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the configuration cannot be used.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many errors, warnings and notes there are.
    pub fn counts(&self) -> (usize, usize, usize) {
        (
            self.count(Severity::Error),
            self.count(Severity::Warning),
            self.count(Severity::Note),
        )
    }

    /// Puts them into the order in which the text was read; those without a place come first. Those of one place keep
    /// their order.
    pub fn sort(&mut self, sources: &SourceMap) {
        self.list
            .sort_by_cached_key(|diagnostic| diagnostic.span.map(|span| sources.order_key(span)));
    }

    /// All of them as text, with an empty line between two.
    pub fn render(&self, sources: &SourceMap) -> String {
        let rendered: Vec<String> = self
            .iter()
            .map(|diagnostic| render_one(diagnostic, sources))
            .collect();
        rendered.join("\n")
    }

    fn count(&self, severity: Severity) -> usize {
        self.iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, diagnostics: T) {
        self.list.extend(diagnostics);
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The codes in string literals of a source text, the table's own lines left out.
    fn codes_in(text: &str) -> Vec<&str> {
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("(\"RC"));
        lines
            .flat_map(|line| line.split('"'))
            .filter(|part| part.len() == 6 && part.starts_with("RC01"))
            .collect()
    }

    fn sources(directory: &Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).expect("source directory") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                sources(&path, into);
            } else {
                into.push(std::fs::read_to_string(&path).expect("source"));
            }
        }
    }

    #[test]
    fn codes_in_use_are_those_of_the_table() {
        let mut texts = Vec::new();
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut texts,
        );
        let used: BTreeSet<&str> = texts.iter().flat_map(|text| codes_in(text)).collect();
        let listed: BTreeSet<&str> = CODES.iter().map(|(code, _)| *code).collect();
        assert_eq!(used, listed);
        assert_eq!(listed.len(), CODES.len(), "a code is listed twice");
        assert!(CODES.is_sorted_by_key(|(code, _)| *code));
    }

    #[test]
    fn counts_by_severity() {
        let mut all = Diagnostics::new();
        assert!(all.is_empty() && !all.has_errors());
        all.push(Diagnostic::warning("RC0111", None, "w"));
        assert!(!all.has_errors());
        all.extend([
            Diagnostic::error("RC0101", None, "e"),
            Diagnostic::note("RC0117", None, "n"),
        ]);
        assert_eq!(
            (all.counts(), all.len(), all.has_errors()),
            ((1, 1, 1), 3, true)
        );
    }
}
