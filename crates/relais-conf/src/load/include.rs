//! `Include` and `IncludeOptional`: which files a path means, and opening them.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Loader, Reading};
use crate::diagnostics::Diagnostic;
use crate::files::{Files, Kind};
use crate::fnmatch;
use crate::source::{FileId, Span};
use crate::tree::Directive;

/// Levels of files including files, as in httpd.
const DEPTH_MAX: usize = 128;
/// Levels of directories below an included one, as in httpd.
const DIRECTORY_DEPTH_MAX: usize = 20;
/// Files that may be included altogether. Far above any real configuration; it ends what would otherwise grow
/// exponentially, since reading goes on after a recursion.
const FILES_MAX: usize = 10_000;
/// Bytes of a file that are read; spans count in 32 bits.
const FILE_BYTES_MAX: usize = 1 << 30;

/// A file to be opened.
pub(super) struct Waiting {
    pub path: PathBuf,
    pub from: Option<Span>,
    pub depth: usize,
}

/// Why a path cannot be included: code and message.
type Refusal = (&'static str, String);

impl Loader<'_> {
    pub(super) fn include(&mut self, directive: &Directive, required: bool) {
        let Some(words) = self.arguments(
            directive,
            1..=1,
            "one argument, a file, directory or wildcard",
        ) else {
            return;
        };
        let depth = self.frame().1 + 1;
        for word in words {
            if self.no_more_includes {
                continue;
            }
            if depth > DEPTH_MAX {
                self.no_more_includes = true;
                let message =
                    "Exceeded maximum include depth of 128, There appears to be a recursion.";
                let help = "no further file is included";
                self.push(Diagnostic::error("RC0103", word.span(), message).with_help(help));
                continue;
            }
            let mut search = Search {
                files: self.files,
                required,
                found: Vec::new(),
                refusals: Vec::new(),
            };
            search.path(&self.under_server_root(&word));
            if search.found.is_empty() && search.refusals.is_empty() {
                self.absent.push(word.span());
            }
            for (code, message) in search.refusals {
                self.error(code, word.span(), message);
            }
            let from = Some(directive.span);
            let waiting = search
                .found
                .into_iter()
                .rev()
                .map(|path| Reading::Waiting(Waiting { path, from, depth }));
            self.reading.extend(waiting);
        }
    }

    pub(super) fn open_file(&mut self, waiting: Waiting) {
        if self.no_more_includes {
            return;
        }
        if self.includes.len() > FILES_MAX {
            self.no_more_includes = true;
            let message = format!("more than {FILES_MAX} files are included");
            self.push(
                Diagnostic::error("RC0105", waiting.from, message)
                    .with_help("no further file is included"),
            );
            return;
        }
        match self.source_of(&waiting) {
            Ok(file) => self.begin_file(file, &waiting),
            Err(error) => {
                let message = could_not_open(&waiting.path, &error);
                self.push(Diagnostic::error("RC0101", waiting.from, message));
            }
        }
    }

    fn source_of(&mut self, waiting: &Waiting) -> io::Result<FileId> {
        if let Some(earlier) = self.read.get(&waiting.path) {
            return Ok(self.sources.add_again(*earlier, waiting.from));
        }
        let text = self.files.read(&waiting.path)?;
        if text.len() > FILE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "File too large",
            ));
        }
        let file = self
            .sources
            .add(waiting.path.to_string_lossy(), text, waiting.from);
        self.read.insert(waiting.path.clone(), file);
        Ok(file)
    }

    fn begin_file(&mut self, file: FileId, waiting: &Waiting) {
        let from = waiting
            .from
            .map(|from| (from.file, self.sources.line_column(from).0));
        self.includes.push((file, from));
        let mark = self.sources.get(file).text.starts_with(b"\xef\xbb\xbf");
        let start = if mark { 3 } else { 0 };
        if mark {
            let span = Span {
                file,
                start: 0,
                end: 3,
            };
            let message = "the byte order mark at the start of the file is skipped";
            self.push(
                Diagnostic::note("RC0117", span, message)
                    .with_help("save the file without one for httpd's sake"),
            );
        }
        self.push_file(file, start, waiting.depth);
    }
}

fn could_not_open(path: &Path, error: &io::Error) -> String {
    format!(
        "Could not open configuration file {}: {}",
        path.display(),
        reason(error)
    )
}

/// The error as httpd words it, without the number that the standard library adds.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Looks up the files that a path with or without wildcards means.
struct Search<'a> {
    files: &'a dyn Files,
    required: bool,
    found: Vec<PathBuf>,
    refusals: Vec<Refusal>,
}

impl Search<'_> {
    fn path(&mut self, path: &Path) {
        let names: Vec<&[u8]> = path.iter().map(OsStrExt::as_bytes).collect();
        let (root, names) = match names.split_first() {
            Some((&b"/", rest)) => ("/", rest),
            _ => ("", names.as_slice()),
        };
        self.components(PathBuf::from(root), names);
    }

    /// Goes through the components that are left; the recursion is as deep as the path has wildcards.
    fn components(&mut self, mut base: PathBuf, names: &[&[u8]]) {
        for (index, name) in names.iter().enumerate() {
            if fnmatch::has_wildcards(name) {
                return self.wildcard(&base, name, names.get(index + 1..).unwrap_or_default());
            }
            base.push(super::directives::path_of(name));
        }
        self.plain(base, 0);
    }

    fn wildcard(&mut self, base: &Path, pattern: &[u8], rest: &[&[u8]]) {
        let Some(names) = self.list(base, "Include/IncludeOptional: Could not open directory")
        else {
            return;
        };
        let matching = names
            .into_iter()
            .filter(|name| fnmatch::matches(pattern, name.as_bytes()));
        let mut paths: Vec<PathBuf> = matching.map(|name| base.join(name)).collect();
        if !rest.is_empty() {
            paths.retain(|path| self.files.kind(path) == Some(Kind::Directory));
        }
        if paths.is_empty() && self.required {
            let pattern = String::from_utf8_lossy(pattern);
            let message = format!(
                "No matches for the wildcard '{pattern}' in '{}', failing",
                base.display()
            );
            self.refusals.push((
                "RC0102",
                format!("{message} (use IncludeOptional if required)"),
            ));
        }
        for path in paths {
            if rest.is_empty() {
                self.plain(path, 0);
            } else {
                self.components(path, rest);
            }
        }
    }

    /// A file, or all files in and below a directory.
    fn plain(&mut self, path: PathBuf, depth: usize) {
        if self.found.len() > FILES_MAX {
            return;
        }
        match self.files.kind(&path) {
            Some(Kind::Directory) => self.directory(&path, depth),
            Some(Kind::File) => self.found.push(path),
            None if self.required => self.missing(&path),
            None => {}
        }
    }

    fn missing(&mut self, path: &Path) {
        // Asking for the content gives the system's own reason.
        let reason = self
            .files
            .read(path)
            .err()
            .map(|error| could_not_open(path, &error));
        let unknown = || format!("Could not open configuration file {}", path.display());
        self.refusals
            .push(("RC0101", reason.unwrap_or_else(unknown)));
    }

    fn directory(&mut self, path: &Path, depth: usize) {
        if depth >= DIRECTORY_DEPTH_MAX {
            let message = format!(
                "Directory {} exceeds the maximum include directory nesting level",
                path.display()
            );
            self.refusals
                .push(("RC0104", format!("{message} of {DIRECTORY_DEPTH_MAX}")));
            return;
        }
        for name in self
            .list(path, "Could not open config directory")
            .unwrap_or_default()
        {
            self.plain(path.join(name), depth + 1);
        }
    }

    /// The names in a directory in byte order.
    fn list(&mut self, path: &Path, problem: &str) -> Option<Vec<OsString>> {
        match self.files.list(path) {
            Ok(mut names) => {
                names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
                Some(names)
            }
            Err(error) => {
                let absent = matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                );
                if self.required || !absent {
                    self.refusals.push((
                        "RC0101",
                        format!("{problem} {}: {}", path.display(), reason(&error)),
                    ));
                }
                None
            }
        }
    }
}
