//! The directives that act while the configuration is read.

use std::path::{Path, PathBuf};

use super::Loader;
use crate::diagnostics::Diagnostic;
use crate::files::Kind;
use crate::text::Text;
use crate::tree::{Directive, Item};

impl Loader<'_> {
    /// Carries out a directive that acts while reading; every other one, and those that say something to later stages
    /// as well, go into the tree.
    pub(super) fn directive(&mut self, directive: Directive) {
        match directive.name.lossy().to_ascii_lowercase().as_str() {
            "include" => self.include(&directive, true),
            "includeoptional" => self.include(&directive, false),
            "define" => self.define(&directive),
            "undefine" => self.undefine(&directive),
            "use" => self.use_macro(&directive),
            "undefmacro" => self.undefine_macro(&directive),
            "error" => self.error_directive(&directive),
            "serverroot" => self.server_root(directive),
            "loadmodule" => self.load_module(directive),
            _ => self.add(Item::Directive(directive)),
        }
    }

    /// The words of a directive, if their number is allowed; `takes` ends the message if it is not.
    pub(super) fn arguments(
        &mut self,
        directive: &Directive,
        allowed: std::ops::RangeInclusive<usize>,
        takes: &str,
    ) -> Option<Vec<Text>> {
        let words = directive.args.words();
        if allowed.contains(&words.len()) {
            return Some(words);
        }
        let first_too_many = words.get(*allowed.end()).map(Text::span);
        let span = first_too_many.unwrap_or_else(|| directive.name.span());
        self.error(
            "RC0106",
            span,
            format!("{} takes {takes}", directive.name.lossy()),
        );
        None
    }

    fn define(&mut self, directive: &Directive) {
        let Some(words) = self.arguments(directive, 1..=2, "a name and optionally a value") else {
            return;
        };
        let [name, value @ ..] = words.as_slice() else {
            return;
        };
        if self.check_variable_name(name) {
            self.variables.define(
                &name.lossy(),
                value.first().map(|value| value.bytes().to_vec()),
            );
        }
    }

    fn undefine(&mut self, directive: &Directive) {
        let Some(words) = self.arguments(directive, 1..=1, "one argument, a name") else {
            return;
        };
        for name in words {
            if self.check_variable_name(&name) {
                self.variables.undefine(&name.lossy());
            }
        }
    }

    fn check_variable_name(&mut self, name: &Text) -> bool {
        let colon = name.bytes().iter().position(|byte| *byte == b':');
        if let Some(at) = colon {
            self.error(
                "RC0118",
                name.span_of(at..at + 1),
                "Variable name must not contain ':'",
            );
        }
        colon.is_none()
    }

    fn error_directive(&mut self, directive: &Directive) {
        let unquoted = directive.args.words().into_iter().next();
        let single = unquoted.filter(|_| directive.args.words().len() == 1);
        let message = single.unwrap_or_else(|| directive.args.clone());
        if message.is_empty() {
            self.error(
                "RC0121",
                directive.span,
                "The Error directive was used with no message.",
            );
        } else {
            self.error("RC0121", directive.span, message.lossy());
        }
    }

    fn server_root(&mut self, directive: Directive) {
        if let Some(words) = self.arguments(
            &directive,
            1..=1,
            "one argument, the common directory of the server",
        ) {
            for word in &words {
                let path = self.under_server_root(word);
                if self.files.kind(&path) != Some(Kind::Directory) {
                    self.error(
                        "RC0122",
                        word.span(),
                        "ServerRoot must be a valid directory",
                    );
                }
                self.server_root = path;
            }
        }
        self.add(Item::Directive(directive));
    }

    fn load_module(&mut self, directive: Directive) {
        let takes =
            "two arguments, a module name and the name of a shared object file to load it from";
        let words = self.arguments(&directive, 2..=2, takes);
        if let Some([name, path]) = words.as_deref() {
            self.host.load_module(name, path, &mut self.diagnostics);
        }
        self.add(Item::Directive(directive));
    }

    /// A path as httpd reads it: relative ones are under ServerRoot, and `.`, `..` and double slashes are resolved in
    /// the text, without asking the file system.
    pub(super) fn under_server_root(&self, path: &Text) -> PathBuf {
        normalized(&self.server_root.join(path_of(path.bytes())))
    }

    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}

pub(super) fn path_of(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

fn normalized(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if out.file_name().is_some() => drop(out.pop()),
            Component::ParentDir if out.has_root() => {}
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let cases = [
            ("/a/b", "/a/b"),
            ("/a//b/./c/", "/a/b/c"),
            ("/a/../b", "/b"),
            ("/../../b", "/b"),
            ("a/../../b", "../b"),
            ("../../b", "../../b"),
        ];
        for (path, expected) in cases {
            assert_eq!(normalized(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
