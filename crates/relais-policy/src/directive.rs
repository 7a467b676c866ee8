//! One row per directive: name, help, arity, contexts and what it sets.
//!
//! A module's table is the single place that knows a directive: parsing, the
//! `-L` listing, "did you mean" and the row tests all read it. The shapes of
//! [`Set`] are httpd's `FLAG`, `TAKE1`, `TAKE12`, `ITERATE` and `RAW_ARGS`
//! (`http_config.h`), each holding its handler so that arity and code agree.

use std::fmt;
use std::path::Path;

use relais_conf::{Diagnostic, Diagnostics, Files, Span, Text};

use crate::module::Module;
use crate::section::{Limit, SectionHead};

/// The places in which a directive may stand, as a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context(u8);

impl Context {
    /// The main server, outside of every section.
    pub const SERVER: Self = Self(1);
    /// Directly inside `<VirtualHost>`.
    pub const VHOST: Self = Self(2);
    /// Inside `<Location>`, `<Directory>`, `<Files>` and their relatives
    /// (httpd's "directory" context); [`Place::section`] tells them apart.
    pub const DIRECTORY: Self = Self(4);
    /// Inside `<Proxy>` and `<ProxyMatch>`; part of httpd's directory context,
    /// apart here because some directives are meant for it alone.
    pub const PROXY: Self = Self(8);
    /// Server and virtual host.
    pub const HOST: Self = Self(3);
    /// Everywhere.
    pub const ANY: Self = Self(15);

    /// Both sets together.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every place of `other` belongs to this set.
    #[must_use]
    pub const fn allows(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::SERVER, "server config"),
            (Self::VHOST, "virtual host"),
            (Self::DIRECTORY, "<Location>"),
            (Self::PROXY, "<Proxy>"),
        ];
        let mut first = true;
        for (context, name) in names {
            if self.allows(context) {
                if !first {
                    f.write_str(", ")?;
                }
                f.write_str(name)?;
                first = false;
            }
        }
        Ok(())
    }
}

/// What a handler answers: `Err` becomes a diagnostic at the named place.
pub type SetResult = Result<(), Problem>;

/// Why a directive's arguments are refused.
#[derive(Debug)]
pub struct Problem {
    /// Where, when it is narrower than the whole directive.
    pub span: Option<Span>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// How to mend it; when `None`, the directive's syntax, unless it is only
    /// not implemented yet.
    pub help: Option<String>,
    /// Whether httpd knows this and relais does not yet.
    pub not_yet: bool,
}

impl Problem {
    /// A problem of the whole directive.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            span: None,
            message: message.into(),
            help: None,
            not_yet: false,
        }
    }

    /// A problem of one place in the arguments.
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            ..Self::new(message)
        }
    }

    /// Something that httpd knows and relais does not have yet.
    pub fn not_yet(span: Span, message: impl Into<String>) -> Self {
        Self {
            not_yet: true,
            ..Self::at(span, message)
        }
    }

    /// Adds how to mend it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What a handler may change and ask while it sets a directive.
pub struct Slot<'a, M: Module> {
    /// The settings of the server or virtual host around the directive.
    pub host: &'a mut M::Host,
    /// The settings of the section around the directive (of the host itself
    /// outside of every section), as httpd's per-directory configuration.
    pub section: &'a mut M::Section,
    /// Facts about the place and the file.
    pub place: Place<'a>,
    /// For warnings and notes; errors are returned.
    pub diagnostics: &'a mut Diagnostics,
}

/// Where a directive stands.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The kind of place.
    pub context: Context,
    /// The innermost enclosing section, if there is one.
    pub section: Option<&'a SectionHead>,
    /// The `<Limit>` or `<LimitExcept>` around the directive.
    pub limit: Option<&'a Limit>,
    /// The whole line.
    pub line: Span,
    /// The directive's name as written.
    pub name: &'a Text,
    /// `ServerRoot` as far as it has been read.
    pub server_root: &'a Path,
    /// The files that it may read while it is set.
    pub files: &'a dyn Files,
}

impl Place<'_> {
    /// A file argument, relative to `ServerRoot` as httpd has it.
    #[must_use]
    pub fn path(&self, argument: &Text) -> std::path::PathBuf {
        self.server_root.join(argument.lossy().as_ref())
    }
}

/// How a directive's arguments are taken, with the code that takes them.
pub enum Set<M: Module> {
    /// `On` or `Off`.
    Flag(fn(&mut Slot<'_, M>, bool) -> SetResult),
    /// Exactly one word.
    Take1(fn(&mut Slot<'_, M>, &Text) -> SetResult),
    /// Exactly two words.
    Take2(fn(&mut Slot<'_, M>, &Text, &Text) -> SetResult),
    /// One or two words.
    Take12(fn(&mut Slot<'_, M>, &Text, Option<&Text>) -> SetResult),
    /// One or more words, the handler is called for each.
    Iterate(fn(&mut Slot<'_, M>, &Text) -> SetResult),
    /// One or more words, all at once.
    Words(fn(&mut Slot<'_, M>, &[Text]) -> SetResult),
    /// The rest of the line untouched; the handler splits it.
    Raw(fn(&mut Slot<'_, M>, &Text) -> SetResult),
    /// A section of the module's own, like `<RequireAll>`, named with its
    /// angle brackets. What is inside goes to the same settings, between the
    /// two calls; the first gets the rest of the opening line.
    Block {
        /// The section begins. After an error it is not closed.
        open: fn(&mut Slot<'_, M>, &Text) -> SetResult,
        /// It has been read.
        close: fn(&mut Slot<'_, M>) -> SetResult,
    },
    /// Carried out while reading (`Define`, `Include`, `LoadModule`…).
    ReadTime,
    /// Accepted and without effect here, for this reason (a note says so).
    Ignored(&'static str),
}

/// One directive of a module.
pub struct Directive<M: Module> {
    /// The name in httpd's spelling; matching ignores case.
    pub name: &'static str,
    /// The syntax as httpd's manual writes it.
    pub syntax: &'static str,
    /// Where it may stand.
    pub context: Context,
    /// The value that holds without it.
    pub default: Option<&'static str>,
    /// One sentence for the handbook and `-L`.
    pub doc: &'static str,
    /// Lines that must be accepted; the row test runs them.
    pub accepts: &'static [&'static str],
    /// Lines that must be refused; the row test runs them.
    pub refuses: &'static [&'static str],
    /// What it does.
    pub set: Set<M>,
}

/// A directive without its module's types: what listings and tests need.
#[derive(Clone, Copy, Debug)]
pub struct DirectiveInfo {
    /// See [`Directive::name`].
    pub name: &'static str,
    /// See [`Directive::syntax`].
    pub syntax: &'static str,
    /// See [`Directive::context`].
    pub context: Context,
    /// See [`Directive::default`].
    pub default: Option<&'static str>,
    /// See [`Directive::doc`].
    pub doc: &'static str,
    /// See [`Directive::accepts`].
    pub accepts: &'static [&'static str],
    /// See [`Directive::refuses`].
    pub refuses: &'static [&'static str],
    /// The reason when the directive is accepted without effect.
    pub ignored: Option<&'static str>,
}

impl<M: Module> Directive<M> {
    /// The row without its handler.
    pub(crate) fn info(&self) -> DirectiveInfo {
        DirectiveInfo {
            name: self.name,
            syntax: self.syntax,
            context: self.context,
            default: self.default,
            doc: self.doc,
            accepts: self.accepts,
            refuses: self.refuses,
            ignored: match self.set {
                Set::Ignored(why) => Some(why),
                _ => None,
            },
        }
    }

    /// Splits the arguments as the row's shape asks and calls its handler;
    /// what is refused becomes diagnostics. False if it was refused.
    pub(crate) fn apply(&self, slot: &mut Slot<'_, M>, args: &Text) -> bool {
        let result = self.call(slot, args);
        self.report(slot, result)
    }

    /// Ends a section of the module's own.
    pub(crate) fn close(&self, slot: &mut Slot<'_, M>) {
        if let Set::Block { close, .. } = &self.set {
            let result = close(slot);
            self.report(slot, result);
        }
    }

    fn report(&self, slot: &mut Slot<'_, M>, result: SetResult) -> bool {
        let Err(problem) = result else { return true };
        let diagnostic = self.diagnostic(slot, problem);
        slot.diagnostics.push(diagnostic);
        false
    }

    fn call(&self, slot: &mut Slot<'_, M>, args: &Text) -> SetResult {
        match &self.set {
            Set::ReadTime => Ok(()),
            Set::Ignored(why) => {
                let note = Diagnostic::note(
                    "RC0203",
                    slot.place.line,
                    format!("{} has no effect here: {why}", self.name),
                );
                slot.diagnostics.push(note);
                Ok(())
            }
            Set::Raw(handler) | Set::Block { open: handler, .. } => handler(slot, args),
            _ => self.call_words(slot, &args.words()),
        }
    }

    fn call_words(&self, slot: &mut Slot<'_, M>, words: &[Text]) -> SetResult {
        match (&self.set, words) {
            (Set::Flag(handler), [word]) => match relais_conf::value::flag(&word.lossy()) {
                Ok(on) => handler(slot, on),
                Err(_) => Err(Problem::at(
                    word.span(),
                    format!("{} takes On or Off", self.name),
                )),
            },
            // httpd takes an empty word for none (`invoke_cmd` in config.c).
            (Set::Take1(_) | Set::Take2(_) | Set::Take12(_), [first, ..]) if first.is_empty() => {
                Err(self.arity(words))
            }
            (Set::Take1(handler), [word]) => handler(slot, word),
            (Set::Take2(_), [_, second]) if second.is_empty() => Err(self.arity(words)),
            (Set::Take2(handler), [first, second]) => handler(slot, first, second),
            (Set::Take12(handler), [first]) => handler(slot, first, None),
            (Set::Take12(handler), [first, second]) => handler(slot, first, Some(second)),
            (Set::Iterate(handler), [_, ..]) => self.call_each(slot, words, *handler),
            (Set::Words(handler), [_, ..]) => handler(slot, words),
            (Set::Flag(_), []) => Err(Problem::new(format!("{} takes On or Off", self.name))),
            _ => Err(self.arity(words)),
        }
    }

    fn call_each(
        &self,
        slot: &mut Slot<'_, M>,
        words: &[Text],
        handler: fn(&mut Slot<'_, M>, &Text) -> SetResult,
    ) -> SetResult {
        for word in words {
            if let Err(problem) = handler(slot, word) {
                let diagnostic = self.diagnostic(slot, problem);
                slot.diagnostics.push(diagnostic);
            }
        }
        Ok(())
    }

    fn arity(&self, words: &[Text]) -> Problem {
        let wanted = match self.set {
            Set::Flag(_) => "takes On or Off",
            Set::Take1(_) => "takes one argument",
            Set::Take2(_) => "takes two arguments",
            Set::Take12(_) => "takes one or two arguments",
            _ => "requires at least one argument",
        };
        let most = match self.set {
            Set::Take2(_) | Set::Take12(_) => 2,
            _ => 1,
        };
        // The caret goes to the first word too many, where there is one.
        let message = format!("{} {wanted}", self.name);
        let problem = match words.get(most) {
            Some(extra) => Problem::at(extra.span(), message),
            None => Problem::new(message),
        };
        match words.iter().find(|word| word.bytes().starts_with(b"#")) {
            Some(_) => problem.with_help(
                "a comment stands on a line of its own: `#` in the middle of a line is an argument",
            ),
            None => problem,
        }
    }

    fn diagnostic(&self, slot: &Slot<'_, M>, problem: Problem) -> Diagnostic {
        let span = problem.span.unwrap_or(slot.place.line);
        let code = if problem.not_yet { "RC0204" } else { "RC0201" };
        let diagnostic = Diagnostic::error(code, span, problem.message);
        match problem.help {
            Some(help) => diagnostic.with_help(help),
            // What is to come is written correctly.
            None if problem.not_yet => diagnostic,
            None => diagnostic.with_help(format!("syntax is `{}`", self.syntax)),
        }
    }
}
