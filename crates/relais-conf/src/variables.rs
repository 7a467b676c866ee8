//! `${NAME}`: names from `Define`, then from the environment.

use std::collections::BTreeMap;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::lines::LINE_MAX;
use crate::load::Environment;
use crate::text::Text;

/// What is defined, and the environment behind it.
pub(crate) struct Variables {
    pub defines: BTreeMap<String, Option<Vec<u8>>>,
    pub environment: Environment,
}

impl Variables {
    /// Whether `<IfDefine NAME>` holds; case matters.
    pub(crate) fn is_defined(&self, name: &str) -> bool {
        self.defines.contains_key(name)
    }

    /// `Define NAME [VALUE]`. Without a value the name only becomes defined and keeps the value that it may have.
    pub(crate) fn define(&mut self, name: &str, value: Option<Vec<u8>>) {
        if value.is_some() {
            self.forget_values(name);
        }
        let slot = self.defines.entry(name.to_owned()).or_default();
        *slot = value.or_else(|| slot.take());
    }

    /// `UnDefine NAME`.
    pub(crate) fn undefine(&mut self, name: &str) {
        self.forget_values(name);
        self.defines.remove(name);
    }

    /// Case does not matter to values, though it does to `<IfDefine>`: httpd keeps them in a table that ignores it. So
    /// of the spellings of a name only one has a value.
    fn forget_values(&mut self, name: &str) {
        let same = self
            .defines
            .iter_mut()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name));
        same.for_each(|(_, value)| *value = None);
    }

    /// Replaces every `${NAME}` of a line, once: values are not looked into again. An unknown name stays as it is.
    pub(crate) fn expand(&self, line: Text, diagnostics: &mut Diagnostics) -> Text {
        if !line.bytes().windows(2).any(|pair| pair == b"${") {
            return line;
        }
        let mut out = Text::empty(line.span());
        let mut at = 0;
        while let Some((start, end)) = next_variable(line.bytes(), at) {
            out.push_range(&line, at..start);
            at = self.expand_one(&line, start, end, &mut out, diagnostics);
            if out.len() > LINE_MAX {
                let message = "the line is longer than 16 MiB once its variables are replaced";
                diagnostics.push(Diagnostic::error(
                    "RC0115",
                    line.span_of(start..end),
                    message,
                ));
                return Text::empty(line.span());
            }
        }
        out.push_range(&line, at..line.len());
        out
    }

    /// Handles the `${…}` at start..end and returns where to go on.
    fn expand_one(
        &self,
        line: &Text,
        start: usize,
        end: usize,
        out: &mut Text,
        found: &mut Diagnostics,
    ) -> usize {
        let name = line.slice(start + 2..end - 1);
        let span = line.span_of(start..end);
        if let Some(value) = self.value(&name.lossy()) {
            out.push_standing_for(&value, span.start, span.end);
            return end;
        }
        // A colon marks text that only looks like a variable, such as a RewriteMap lookup; httpd says nothing there.
        if !name.bytes().contains(&b':') {
            let message = format!("Config variable ${{{}}} is not defined", name.lossy());
            let help = format!(
                "set it with `Define {} VALUE` before this line, or in the environment",
                name.lossy()
            );
            found.push(Diagnostic::warning("RC0111", span, message).with_help(help));
        }
        // All of it stays: httpd gives a `${` inside an unknown name no chance of its own.
        out.push_range(line, start..end);
        end
    }

    fn value(&self, name: &str) -> Option<Vec<u8>> {
        let exact = self.defines.get(name).and_then(Option::as_ref);
        let defined = exact.or_else(|| {
            let mut others = self
                .defines
                .iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(name));
            others.find_map(|(_, value)| value.as_ref())
        });
        defined.cloned().or_else(|| (self.environment)(name))
    }
}

/// The range of the next `${…}` from an offset on.
fn next_variable(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let rest = bytes.get(from..)?;
    let start = from + rest.windows(2).position(|pair| pair == b"${")?;
    let close = bytes
        .get(start + 2..)?
        .iter()
        .position(|byte| *byte == b'}')?;
    Some((start, start + 2 + close + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceMap;

    fn variables() -> Variables {
        let defines = [
            ("A", Some("one")),
            ("Two", Some("b c")),
            ("FLAG", None),
            ("NEST", Some("${A}")),
            ("a{b", Some("x")),
        ];
        let defines = defines.map(|(name, value)| {
            (
                name.to_owned(),
                value.map(|value| value.as_bytes().to_vec()),
            )
        });
        let environment = |name: &str| {
            matches!(name, "HOME" | "A" | "FLAG").then(|| format!("env-{name}").into_bytes())
        };
        Variables {
            defines: defines.into(),
            environment: Box::new(environment),
        }
    }

    fn expand(line: &str) -> (Text, usize) {
        let mut sources = SourceMap::new();
        let file = sources.add("", line.as_bytes().to_vec(), None);
        let mut found = Diagnostics::new();
        (
            variables().expand(sources.text(file), &mut found),
            found.len(),
        )
    }

    #[test]
    fn values() {
        let cases = [
            ("no variable $A $ {A}", "no variable $A $ {A}", 0),
            ("x ${A} y", "x one y", 0),
            ("${A}${Two}", "oneb c", 0),
            ("${two}", "b c", 0),
            ("${FLAG}", "env-FLAG", 0),
            ("${HOME}", "env-HOME", 0),
            ("${home}", "${home}", 1),
            ("${NEST}", "${A}", 0),
            ("${a{b}", "x", 0),
            ("${nope}", "${nope}", 1),
            ("${n:o} ${A:-x}", "${n:o} ${A:-x}", 0),
            ("${A", "${A", 0),
            ("$${A}$", "$one$", 0),
            ("${V${A}", "${V${A}", 1),
            ("${}", "${}", 1),
            ("%{A} ${", "%{A} ${", 0),
        ];
        for (line, expected, warnings) in cases {
            let (text, found) = expand(line);
            assert_eq!(
                (text.lossy().as_ref(), found),
                (expected, warnings),
                "{line}"
            );
        }
    }

    #[test]
    fn values_stand_for_their_variable() {
        let (text, _) = expand("x ${Two} y");
        let spans = text.words().into_iter().map(|word| {
            (
                word.lossy().into_owned(),
                word.span().start,
                word.span().end,
            )
        });
        let expected = [("x", 0, 1), ("b", 2, 8), ("c", 2, 8), ("y", 9, 10)];
        assert!(spans.eq(expected.map(|(word, start, end)| (word.to_owned(), start, end))));
    }

    #[test]
    fn definitions() {
        let mut variables = Variables {
            defines: BTreeMap::new(),
            environment: Box::new(|_| None),
        };
        variables.define("A", Some(b"1".to_vec()));
        variables.define("A", None);
        assert_eq!(
            variables.value("a").as_deref(),
            Some(&b"1"[..]),
            "a definition without value leaves the value"
        );
        variables.define("a", Some(b"2".to_vec()));
        assert_eq!(
            variables.value("A").as_deref(),
            Some(&b"2"[..]),
            "the latest spelling counts"
        );
        assert!(variables.is_defined("A") && variables.is_defined("a"));
        variables.undefine("a");
        assert_eq!(
            (
                variables.value("A"),
                variables.is_defined("A"),
                variables.is_defined("a")
            ),
            (None, true, false)
        );
    }

    #[test]
    fn growth_is_bounded() {
        let mut variables = variables();
        variables
            .defines
            .insert("BIG".to_owned(), Some(vec![b'x'; LINE_MAX / 2]));
        let mut sources = SourceMap::new();
        let file = sources.add("", b"${BIG}${BIG}${BIG}".to_vec(), None);
        let mut found = Diagnostics::new();
        assert!(variables.expand(sources.text(file), &mut found).is_empty());
        assert!(found.has_errors());
    }
}
