//! Sections whose condition is decided while reading: `<IfModule>`, `<IfDefine>`, `<IfFile>`, `<IfDirective>`,
//! `<IfSection>` and `<IfVersion>`.

use super::Loader;
use super::sections::{OpenKind, Tag};
use crate::diagnostics::Diagnostic;
use crate::text::Text;
use crate::version;

impl Loader<'_> {
    /// Opens the section if its condition holds, and otherwise has it skipped.
    pub(super) fn conditional(&mut self, tag: Tag) {
        let holds = if tag.name.eq_ignore_case("IfVersion") {
            self.version_holds(&tag)
        } else {
            self.word_holds(&tag)
        };
        match holds {
            Some(true) => self.open_section(tag, OpenKind::Transparent),
            // A condition that cannot be understood is an error already; its body would only add misleading ones.
            Some(false) | None => self.skip(&tag),
        }
    }

    /// `[!]word`; as in httpd, blanks may follow the `!` and further words do not count.
    fn word_holds(&mut self, tag: &Tag) -> Option<bool> {
        let negated = tag.args.bytes().first() == Some(&b'!');
        let condition = tag.args.slice(usize::from(negated)..tag.args.len());
        let Some((word, rest)) = condition.split_word().filter(|(word, _)| !word.is_empty()) else {
            self.no_condition(tag);
            return None;
        };
        if !rest.is_empty() {
            let message = format!(
                "<{}> goes by its first word, the rest is ignored",
                tag.name.lossy()
            );
            self.warning("RC0133", rest.span(), message);
        }
        Some(self.is_true(&tag.name, &word) != negated)
    }

    fn is_true(&self, section: &Text, word: &Text) -> bool {
        let lossy = word.lossy();
        match section.lossy().to_ascii_lowercase().as_str() {
            "ifmodule" => self.host.module_present(&lossy),
            "ifdefine" => self.variables.is_defined(&lossy),
            "iffile" => self.files.kind(&self.under_server_root(word)).is_some(),
            // The section names of httpd's table start with a bracket, so this is where IfDirective finds those.
            "ifdirective" => self.host.directive_known(&lossy),
            _ => self.host.directive_known(&format!("<{lossy}")),
        }
    }

    fn version_holds(&mut self, tag: &Tag) -> Option<bool> {
        let words: Vec<String> = tag
            .args
            .words()
            .iter()
            .map(|word| word.lossy().into_owned())
            .collect();
        if words.is_empty() {
            self.no_condition(tag);
            return None;
        }
        match version::holds(&words, self.version) {
            Ok(holds) => Some(holds),
            Err(message) => {
                let help = "operators are = == > >= < <= ~, each also with ! in front";
                self.push(Diagnostic::error("RC0120", tag.args.span(), message).with_help(help));
                None
            }
        }
    }

    fn no_condition(&mut self, tag: &Tag) {
        let message = format!(
            "<{}> directive requires additional arguments",
            tag.name.lossy()
        );
        self.error("RC0119", tag.span, message);
    }
}
