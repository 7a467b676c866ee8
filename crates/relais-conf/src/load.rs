//! Reading a configuration: from the main file to the tree.
//!
//! One loop takes logical lines from a stack of what is being read: files, and macro expansions on top of them. Each
//! line is a directive or a tag; what acts while reading is carried out at once, the rest goes into the tree. Nothing
//! here recurses, so that neither nested sections nor nested includes can exhaust the stack.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::files::Files;
use crate::lines::{Line, next_line};
use crate::source::{FileId, SourceMap, Span};
use crate::text::Text;
use crate::tree::{Directive, Item, Tree};
use crate::variables::Variables;

mod conditional;
mod directives;
mod include;
mod macros;
mod sections;

use macros::{Collecting, Macro};
use sections::{Open, Skipping};

/// What the reader must ask whoever knows modules.
pub trait Host {
    /// Carries out `LoadModule name path`; problems go to `diagnostics`.
    fn load_module(&mut self, name: &Text, path: &Text, diagnostics: &mut Diagnostics);

    /// Whether a module is there, by `mod_rewrite.c` or by `rewrite_module`.
    fn module_present(&self, name: &str) -> bool;

    /// Whether a module that is there has a directive of this name, or a section if the name begins with its `<`.
    fn directive_known(&self, name: &str) -> bool;
}

/// Answers the value of an environment variable.
pub type Environment = Box<dyn Fn(&str) -> Option<Vec<u8>>>;

/// What to read, and how.
pub struct Options {
    /// The file to start with; a relative path is under `server_root`.
    pub main_file: PathBuf,
    /// What relative paths are under, until a `ServerRoot` line says otherwise.
    pub server_root: PathBuf,
    /// Names from `-D`, with a value if one was given.
    pub defines: Vec<(String, Option<String>)>,
    /// Lines to read before the main file, from `-C`.
    pub before: Vec<String>,
    /// Lines to read after it, from `-c`.
    pub after: Vec<String>,
    /// Where `${NAME}` looks when nothing of that name is defined.
    pub environment: Environment,
    /// What `<IfVersion>` compares with.
    pub version: (u32, u32, u32),
}

impl Options {
    /// To read a main file by its absolute name: relative paths are under its folder, nothing is defined but by the
    /// file, and the version is that of the httpd which relais follows.
    #[must_use]
    pub fn new(main_file: impl Into<PathBuf>) -> Self {
        let main_file = main_file.into();
        Self {
            server_root: main_file.parent().map(PathBuf::from).unwrap_or_default(),
            main_file,
            defines: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            environment: Box::new(|_| None),
            version: HTTPD_VERSION,
        }
    }
}

/// The version of httpd that relais follows.
pub const HTTPD_VERSION: (u32, u32, u32) = (2, 4, 71);

/// A file that was read, and the place it was included from: the file and the line in it.
pub type Include = (FileId, Option<(FileId, u32)>);

/// Everything that reading gave.
#[derive(Debug)]
pub struct Loaded {
    /// The directives and sections.
    pub tree: Tree,
    /// The text they point into.
    pub sources: SourceMap,
    /// What was found, in source order.
    pub diagnostics: Diagnostics,
    /// What relative paths are under.
    pub server_root: PathBuf,
    /// What is defined at the end.
    pub defines: BTreeMap<String, Option<Vec<u8>>>,
    /// The files read, in order.
    pub includes: Vec<Include>,
    /// The arguments of `IncludeOptional` for which there was nothing.
    pub absent: Vec<Span>,
}

/// Reads a configuration with everything it includes. All problems are in the diagnostics; the tree has what could be
/// understood.
pub fn load(options: Options, files: &dyn Files, host: &mut dyn Host) -> Loaded {
    let mut loader = Loader::new(&options, files, host);
    loader.variables.environment = options.environment;
    loader.read_lines(&options.before);
    loader.read_main(&options.main_file);
    loader.read_lines(&options.after);
    loader.diagnostics.sort(&loader.sources);
    Loaded {
        tree: Tree {
            items: loader.items,
        },
        sources: loader.sources,
        diagnostics: loader.diagnostics,
        server_root: loader.server_root,
        defines: loader.variables.defines,
        includes: loader.includes,
        absent: loader.absent,
    }
}

struct Loader<'a> {
    files: &'a dyn Files,
    host: &'a mut dyn Host,
    version: (u32, u32, u32),
    server_root: PathBuf,
    variables: Variables,
    sources: SourceMap,
    diagnostics: Diagnostics,
    includes: Vec<Include>,
    absent: Vec<Span>,
    /// What is being read; the last entry is the current one.
    reading: Vec<Reading>,
    /// The sections that are open, outermost first.
    open: Vec<Open>,
    /// What stands outside all sections.
    items: Vec<Item>,
    mode: Mode,
    /// By lower-case name.
    macros: BTreeMap<String, Rc<Macro>>,
    uses: macros::Budget,
    /// Files read before, so that one that is included often is kept once.
    read: HashMap<PathBuf, FileId>,
    /// Set when a bound on includes was hit; from then on no more files are included, which ends any recursion.
    no_more_includes: bool,
}

/// What to do with a line.
enum Mode {
    Normal,
    /// Inside a conditional section that does not hold.
    Skipping(Skipping),
    /// Inside `<Macro>`.
    Collecting(Collecting),
}

enum Reading {
    /// A file that has its turn but is not open yet.
    Waiting(include::Waiting),
    Frame(Frame),
}

/// A file or a macro expansion with the lines that are left.
struct Frame {
    file: FileId,
    lines: Lines,
    /// How many sections were open when it began: those it must leave alone.
    base: usize,
    /// How many includes deep it is.
    depth: usize,
}

enum Lines {
    File {
        text: Arc<Vec<u8>>,
        at: usize,
    },
    Macro {
        lines: std::vec::IntoIter<Text>,
        name: String,
    },
}

impl Frame {
    fn next_line(&mut self) -> Option<Line> {
        match &mut self.lines {
            Lines::File { text, at } => next_line(self.file, text, at),
            Lines::Macro { lines, .. } => lines.next().map(|text| Line {
                span: text.span(),
                text,
                too_long: false,
                broken_continuation: None,
            }),
        }
    }
}

impl<'a> Loader<'a> {
    fn new(options: &Options, files: &'a dyn Files, host: &'a mut dyn Host) -> Self {
        let defines = options
            .defines
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().map(String::into_bytes)));
        Self {
            files,
            host,
            version: options.version,
            server_root: options.server_root.clone(),
            variables: Variables {
                defines: defines.collect(),
                environment: Box::new(|_| None),
            },
            sources: SourceMap::new(),
            diagnostics: Diagnostics::new(),
            includes: Vec::new(),
            absent: Vec::new(),
            reading: Vec::new(),
            open: Vec::new(),
            items: Vec::new(),
            mode: Mode::Normal,
            macros: BTreeMap::new(),
            uses: macros::Budget::default(),
            read: HashMap::new(),
            no_more_includes: false,
        }
    }

    /// Reads the lines of the command line.
    fn read_lines(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let file = self
            .sources
            .add("command line", lines.join("\n").into_bytes(), None);
        self.push_file(file, 0, 0);
        self.run();
    }

    fn read_main(&mut self, path: &std::path::Path) {
        let path = self.server_root.join(path);
        self.reading.push(Reading::Waiting(include::Waiting {
            path,
            from: None,
            depth: 0,
        }));
        self.run();
    }

    fn run(&mut self) {
        while let Some(reading) = self.reading.pop() {
            match reading {
                Reading::Waiting(waiting) => self.open_file(waiting),
                Reading::Frame(mut frame) => match frame.next_line() {
                    Some(line) => {
                        self.reading.push(Reading::Frame(frame));
                        self.line(line);
                    }
                    None => self.end_of(&frame),
                },
            }
        }
    }

    /// A macro's sections may be closed outside of it, as its text stands in place of the `Use` line; a file's must not.
    fn end_of(&mut self, frame: &Frame) {
        if let Lines::File { .. } = frame.lines {
            self.end_mode();
            self.close_down_to(frame.base);
        }
    }

    fn push_file(&mut self, file: FileId, at: usize, depth: usize) {
        let text = Arc::clone(&self.sources.get(file).text);
        let base = self.open.len();
        self.reading.push(Reading::Frame(Frame {
            file,
            lines: Lines::File { text, at },
            base,
            depth,
        }));
    }

    /// The frame the current line is from: how many sections it must leave alone, and how many includes deep it is.
    fn frame(&self) -> (usize, usize) {
        match self.reading.last() {
            Some(Reading::Frame(frame)) => (frame.base, frame.depth),
            _ => (0, 0),
        }
    }

    fn line(&mut self, line: Line) {
        if line.too_long {
            self.diagnostics.push(Diagnostic::error(
                "RC0115",
                line.span,
                "the line is longer than 16 MiB",
            ));
            return;
        }
        match std::mem::replace(&mut self.mode, Mode::Normal) {
            Mode::Normal => self.normal_line(line),
            Mode::Skipping(skipping) => self.skip_line(skipping, &line),
            Mode::Collecting(collecting) => self.collect_line(collecting, line),
        }
    }

    fn normal_line(&mut self, line: Line) {
        if matches!(line.text.bytes().first(), None | Some(b'#')) {
            return;
        }
        self.check_bytes(&line);
        let text = self.variables.expand(line.text, &mut self.diagnostics);
        let Some((name, args)) = text.split_word() else {
            return;
        };
        let text = text.trim();
        if text.bytes().starts_with(b"</") {
            self.close_tag(&text, line.span);
        } else if text.bytes().starts_with(b"<") {
            self.open_tag(&text, line.span);
        } else {
            self.directive(Directive {
                name,
                args,
                span: line.span,
            });
        }
    }

    fn check_bytes(&mut self, line: &Line) {
        if let Some(at) = line.text.bytes().iter().position(|byte| *byte == 0) {
            let message = "the line holds a NUL byte, which ends it for httpd";
            self.diagnostics.push(Diagnostic::error(
                "RC0116",
                line.text.span_of(at..at + 1),
                message,
            ));
        }
        if let Some(backslash) = line.broken_continuation {
            let message = "the backslash does not continue the line, as blanks follow it";
            let warning = Diagnostic::warning("RC0132", backslash, message);
            self.diagnostics
                .push(warning.with_help("remove the blanks at the end of the line"));
        }
    }

    /// Adds to the innermost open section.
    fn add(&mut self, item: Item) {
        self.innermost_items().push(item);
    }

    fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>) {
        self.diagnostics
            .push(Diagnostic::error(code, span, message));
    }

    fn warning(&mut self, code: &'static str, span: Span, message: impl Into<String>) {
        self.diagnostics
            .push(Diagnostic::warning(code, span, message));
    }
}
