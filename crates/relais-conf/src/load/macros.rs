//! `<Macro>`, `Use` and `UndefMacro` (mod_macro): plain text substitution.

use std::collections::HashMap;
use std::rc::Rc;

use super::sections::Tag;
use super::{Frame, Lines, Loader, Mode, Reading};
use crate::diagnostics::Diagnostic;
use crate::lines::{LINE_MAX, Line};
use crate::source::{FileId, Span};
use crate::text::Text;
use crate::tree::Directive;
use crate::value::did_you_mean;

/// Uses of macros in one load, and bytes of text they may give: macros that use macros grow exponentially.
const USES_MAX: usize = 100_000;
const BYTES_MAX: usize = 64 << 20;

/// What macros have been used for so far.
#[derive(Default)]
pub(super) struct Budget {
    uses: usize,
    bytes: usize,
    reported: bool,
}

/// A macro that is defined.
pub(super) struct Macro {
    /// In lower case, as httpd keeps it.
    name: String,
    parameters: Vec<Text>,
    lines: Vec<Text>,
    /// The line of `<Macro>`.
    span: Span,
}

/// A macro whose end has not been seen.
pub(super) struct Collecting {
    pub tag: Tag,
    lines: Vec<Text>,
    /// How many `<Macro>` are open inside.
    nested: usize,
}

impl Loader<'_> {
    pub(super) fn begin_macro(&mut self, tag: Tag) {
        self.mode = Mode::Collecting(Collecting {
            tag,
            lines: Vec::new(),
            nested: 0,
        });
    }

    pub(super) fn collect_line(&mut self, mut collecting: Collecting, line: Line) {
        let first = line.text.split_word().map(|(word, _)| word);
        let is = |name: &str| first.as_ref().is_some_and(|word| word.eq_ignore_case(name));
        if is("</Macro>") && collecting.nested == 0 {
            return self.define_macro(collecting);
        }
        if is("</Macro>") {
            collecting.nested -= 1;
        } else if is("<Macro") {
            collecting.nested += 1;
        }
        if !line.text.is_empty() {
            self.check_bytes(&line);
            collecting.lines.push(line.text);
        }
        self.mode = Mode::Collecting(collecting);
    }

    fn define_macro(&mut self, collecting: Collecting) {
        let Collecting { tag, lines, .. } = collecting;
        let mut parameters = tag.args.words();
        if parameters.first().is_none_or(Text::is_empty) {
            self.error("RC0126", tag.span, "<Macro> definition without a name");
            return;
        }
        let name = parameters.remove(0);
        let definition = Macro {
            name: name.lossy().to_ascii_lowercase(),
            parameters,
            lines,
            span: tag.span,
        };
        self.check_parameters(&definition);
        self.check_contents(&definition);
        if let Some(earlier) = self.macros.get(&definition.name) {
            let message = format!("macro '{}' multiply defined", definition.name);
            let warning = Diagnostic::warning("RC0127", name.span(), message);
            let warning = warning.with_label(earlier.span, "defined before here");
            self.push(warning);
        }
        self.macros
            .insert(definition.name.clone(), Rc::new(definition));
    }

    fn check_parameters(&mut self, definition: &Macro) {
        let mut seen: HashMap<&[u8], Span> = HashMap::new();
        for (index, parameter) in definition.parameters.iter().enumerate() {
            let (name, span) = (parameter.lossy(), parameter.span());
            if parameter.is_empty() {
                let message = format!(
                    "macro '{}': empty argument #{} name",
                    definition.name,
                    index + 1
                );
                self.error("RC0126", span, message);
            } else if parameter.bytes().starts_with(b"${") {
                let message = format!("parameter '{name}' clashes with 'Define' syntax '${{...}}'");
                self.push(
                    Diagnostic::warning("RC0131", span, message).with_help("better use '$(...)'"),
                );
            } else if !matches!(parameter.bytes().first(), Some(b'$' | b'%' | b'@')) {
                let message = format!(
                    "parameter '{name}' replaces that text wherever it stands in the macro"
                );
                let help = "better prefix parameter names with one of '$%@'";
                self.push(Diagnostic::warning("RC0131", span, message).with_help(help));
            }
            if let Some(first) = seen
                .insert(parameter.bytes(), span)
                .filter(|_| !parameter.is_empty())
            {
                let message = format!(
                    "argument name conflict in macro '{}': '{name}' stands twice",
                    definition.name
                );
                self.push(Diagnostic::error("RC0126", span, message).with_label(first, "here too"));
            }
        }
    }

    fn check_contents(&mut self, definition: &Macro) {
        if definition.lines.is_empty() {
            self.warning(
                "RC0128",
                definition.span,
                format!("macro '{}': empty contents", definition.name),
            );
            return;
        }
        let used = |parameter: &[u8]| {
            let mut lines = definition.lines.iter();
            lines.any(|line| {
                line.bytes()
                    .windows(parameter.len())
                    .any(|part| part == parameter)
            })
        };
        for parameter in definition
            .parameters
            .iter()
            .filter(|parameter| !parameter.is_empty())
        {
            if !used(parameter.bytes()) {
                let message = format!(
                    "macro '{}': argument '{}' never used",
                    definition.name,
                    parameter.lossy()
                );
                self.warning("RC0129", parameter.span(), message);
            }
        }
    }

    pub(super) fn use_macro(&mut self, directive: &Directive) {
        let Some((name, rest)) = directive.args.split_word() else {
            self.error("RC0106", directive.span, "no macro name specified with Use");
            return;
        };
        let lower = name.lossy().to_ascii_lowercase();
        let Some(definition) = self.macros.get(&lower).cloned() else {
            return self.unknown_macro(&name, &lower);
        };
        if self.is_in_use(&lower) {
            return self.error(
                "RC0125",
                directive.span,
                format!("recursive use of macro '{lower}' is invalid"),
            );
        }
        let values = rest.words();
        if values.len() != definition.parameters.len() {
            let (given, wanted) = (values.len(), definition.parameters.len());
            let message =
                format!("macro '{lower}' used with {given} arguments instead of {wanted}");
            let error = Diagnostic::error("RC0124", directive.span, message);
            return self.push(error.with_label(definition.span, "defined here"));
        }
        self.expand_macro(&definition, &values, directive.span);
    }

    fn unknown_macro(&mut self, name: &Text, lower: &str) {
        let message = format!("macro '{lower}' undefined");
        let mut error = Diagnostic::error("RC0123", name.span(), message);
        error.help = did_you_mean(lower, self.macros.keys().map(String::as_str))
            .map(|near| format!("did you mean `{near}`?"));
        self.push(error);
    }

    fn is_in_use(&self, lower: &str) -> bool {
        // An included file is read before the macro goes on, but what it uses is still inside of that macro.
        self.reading.iter().any(|reading| match reading {
            Reading::Frame(Frame {
                lines: Lines::Macro { name, .. },
                ..
            }) => name == lower,
            _ => false,
        })
    }

    /// Puts the text of a macro in the place of its use.
    fn expand_macro(&mut self, definition: &Macro, values: &[Text], used_at: Span) {
        if self.uses.uses >= USES_MAX || self.uses.bytes > BYTES_MAX {
            if !std::mem::replace(&mut self.uses.reported, true) {
                let message = format!(
                    "macros are used more than {USES_MAX} times or give more than 64 MiB of text"
                );
                self.push(
                    Diagnostic::error("RC0130", used_at, message)
                        .with_help("no further macro is used"),
                );
            }
            return;
        }
        let Some(first) = definition.lines.first() else {
            return;
        };
        let file = self
            .sources
            .add_expansion(first.file(), &definition.name, used_at);
        let mut lines = Vec::with_capacity(definition.lines.len());
        for line in &definition.lines {
            let line = substitute(line, &definition.parameters, values, file);
            self.uses.bytes += line.len();
            if line.len() > LINE_MAX || self.uses.bytes > BYTES_MAX {
                self.error(
                    "RC0115",
                    line.span(),
                    "the line is too long once the macro's parameters are replaced",
                );
                break;
            }
            lines.push(line);
        }
        self.uses.uses += 1;
        let (base, depth) = self.frame();
        let lines = Lines::Macro {
            lines: lines.into_iter(),
            name: definition.name.clone(),
        };
        self.reading.push(Reading::Frame(Frame {
            file,
            lines,
            base,
            depth,
        }));
    }

    pub(super) fn undefine_macro(&mut self, directive: &Directive) {
        let Some(words) = self.arguments(directive, 1..=1, "one argument, the name of a macro")
        else {
            return;
        };
        for word in words {
            let name = word.lossy().to_ascii_lowercase();
            if self.macros.remove(&name).is_none() {
                self.error(
                    "RC0123",
                    word.span(),
                    format!("cannot remove undefined macro '{name}'"),
                );
            }
        }
    }
}

/// Replaces the parameters in a line: from left to right, the longest that fits, and values are not looked into again.
fn substitute(line: &Text, parameters: &[Text], values: &[Text], file: FileId) -> Text {
    let mut out = Text::empty(line.span());
    let (mut at, mut kept_from) = (0, 0);
    while at < line.len() {
        let rest = line.bytes().get(at..).unwrap_or_default();
        let fitting = parameters
            .iter()
            .zip(values)
            .filter(|(parameter, _)| !parameter.is_empty());
        let fitting = fitting.filter(|(parameter, _)| rest.starts_with(parameter.bytes()));
        if let Some((parameter, value)) = fitting.max_by_key(|(parameter, _)| parameter.len()) {
            let span = line.span_of(at..at + parameter.len());
            out.push_range(line, kept_from..at);
            out.push_standing_for(value.bytes(), span.start, span.end);
            at += parameter.len();
            kept_from = at;
        } else {
            at += 1;
        }
        if out.len() > LINE_MAX {
            break;
        }
    }
    out.push_range(line, kept_from..line.len());
    out.in_file(file)
}
