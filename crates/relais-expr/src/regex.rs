//! PCRE2 patterns with httpd's default options (`RegexDefaultOptions DOTALL DOLLAR_ENDONLY`).

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pcre2::bytes::{CaptureLocations, RegexBuilder};

use crate::captures::{Captures, GROUPS};
use crate::pattern;
use crate::prefilter::{Quick, Required};

/// How a pattern is compiled. The default is httpd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegexFlags {
    /// Letters match without regard to case (`NC`).
    pub caseless: bool,
    /// `.` matches a newline too.
    pub dotall: bool,
    /// `$` matches at the very end only, not before a final newline.
    pub dollar_end_only: bool,
}

impl Default for RegexFlags {
    fn default() -> Self {
        Self {
            caseless: false,
            dotall: true,
            dollar_end_only: true,
        }
    }
}

impl RegexFlags {
    /// httpd's defaults, caseless or not.
    #[must_use]
    pub fn caseless(yes: bool) -> Self {
        Self {
            caseless: yes,
            ..Self::default()
        }
    }
}

/// Why a pattern could not be compiled or matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegexError {
    /// The pattern is wrong: the author's fault.
    Syntax {
        /// Where in the author's pattern, in bytes; may be the pattern's length.
        offset: usize,
        /// PCRE2's own words.
        message: String,
    },
    /// Matching was given up because it took too many steps or too much memory: nobody knows whether it matches.
    Limit,
    /// The subject cannot be matched, for example text that is not UTF-8 against a `(*UTF)` pattern.
    Subject,
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { offset, message } => write!(f, "{message} (at byte {offset})"),
            Self::Limit => f.write_str("the match was given up at its limit"),
            Self::Subject => f.write_str("the subject cannot be matched"),
        }
    }
}

impl std::error::Error for RegexError {}

/// A compiled pattern, usable from several threads at once.
///
/// A subject without text that the pattern needs is refused before PCRE2 is asked. Matching allocates nothing once each thread that matches at the same moment has matched once. A clone shares the
/// compiled code but not the scratch memory, so a clone per worker keeps workers out of each other's way.
pub struct Regex {
    source: Box<[u8]>,
    flags: RegexFlags,
    /// Made by the first match: machine code takes some 4 KiB a pattern and most of the time that compiling takes, and
    /// of the many patterns of a large configuration few are ever used.
    code: Arc<OnceLock<pcre2::bytes::Regex>>,
    required: Required,
    groups: usize,
    /// The groups that have a name, by number.
    names: Box<[(usize, Box<str>)]>,
    spare: Mutex<Vec<CaptureLocations>>,
}

/// The named groups of one match: a name, and what it stands for.
pub type NamedGroups<'s> = Vec<(&'s str, Vec<u8>)>;

impl Regex {
    /// Checks `source`. The first match compiles it, with JIT where the machine has it.
    ///
    /// # Errors
    ///
    /// [`RegexError::Syntax`] if PCRE2 refuses the pattern.
    pub fn new(source: &[u8], flags: RegexFlags) -> Result<Self, RegexError> {
        let translated = pattern::translate(source, flags.dollar_end_only, MATCH_STEPS_MAX);
        let code = builder(flags)
            .build(&translated.text)
            .map_err(|error| RegexError::Syntax {
                offset: translated
                    .source_offset(error.offset().unwrap_or(0))
                    .min(source.len()),
                message: message(&error),
            })?;
        Ok(Self {
            source: source.into(),
            flags,
            required: Required::of(source, flags.caseless),
            code: Arc::default(),
            groups: code.captures_len(),
            names: names(code.capture_names()),
            spare: Mutex::default(),
        })
    }

    /// Whether some group has a name.
    #[must_use]
    pub const fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// The named groups of the first match in `subject` that took part in it, `None` if there is no match.
    ///
    /// # Errors
    ///
    /// [`RegexError::Limit`] or [`RegexError::Subject`] if that cannot be said.
    pub fn named_groups(&self, subject: &[u8]) -> Result<Option<NamedGroups<'_>>, RegexError> {
        let code = self.code()?;
        let mut locations = code.capture_locations();
        let matched = code.captures_read(&mut locations, subject);
        if matched.map_err(|error| failure(&error))?.is_none() {
            return Ok(None);
        }
        let groups = self.names.iter().filter_map(|(number, name)| {
            let (start, end) = locations.get(*number)?;
            Some((&**name, subject.get(start..end)?.to_vec()))
        });
        Ok(Some(groups.collect()))
    }

    /// The pattern as its author wrote it.
    #[must_use]
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// How the pattern was compiled.
    #[must_use]
    pub const fn flags(&self) -> RegexFlags {
        self.flags
    }

    /// What tells cheaply that the pattern does not match, for going through many patterns.
    #[must_use]
    pub fn quick(&self) -> Quick {
        if self.flags.caseless || !self.flags.dollar_end_only {
            return Quick::default();
        }
        Quick::of(&self.source)
    }

    /// The number of parentheses that capture, not counting the whole match.
    #[must_use]
    pub const fn group_count(&self) -> usize {
        self.groups.saturating_sub(1)
    }

    /// Whether the pattern matches somewhere in `subject`.
    ///
    /// # Errors
    ///
    /// [`RegexError::Limit`] or [`RegexError::Subject`] if that cannot be said.
    pub fn is_match(&self, subject: &[u8]) -> Result<bool, RegexError> {
        if !self.required.may_match(subject) {
            return Ok(false);
        }
        self.code()?
            .is_match(subject)
            .map_err(|error| failure(&error))
    }

    #[cfg(test)]
    pub(crate) fn matches_unfiltered(&self, subject: &[u8]) -> bool {
        self.code()
            .is_ok_and(|code| code.is_match(subject).unwrap_or(false))
    }

    /// Groups 0 to 9 of the first match in `subject`, `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`RegexError::Limit`] or [`RegexError::Subject`] if that cannot be said.
    pub fn captures(&self, subject: &[u8]) -> Result<Option<Captures>, RegexError> {
        if !self.required.may_match(subject) {
            return Ok(None);
        }
        if self.groups == 1 {
            return self.whole_match(subject);
        }
        let code = self.code()?;
        let mut locations = self
            .spare()
            .pop()
            .unwrap_or_else(|| code.capture_locations());
        let matched = code.captures_read(&mut locations, subject);
        let result = match matched {
            Ok(Some(_)) => Ok(Some(read(&locations))),
            Ok(None) => Ok(None),
            Err(error) => Err(failure(&error)),
        };
        self.spare().push(locations);
        result
    }

    fn whole_match(&self, subject: &[u8]) -> Result<Option<Captures>, RegexError> {
        let found = self
            .code()?
            .find(subject)
            .map_err(|error| failure(&error))?;
        Ok(found.map(|whole| {
            let mut captures = Captures::default();
            captures.set(0, Some((whole.start(), whole.end())));
            captures
        }))
    }

    /// The compiled pattern. What compiled once without JIT does not fail later but for want of memory.
    fn code(&self) -> Result<&pcre2::bytes::Regex, RegexError> {
        if let Some(code) = self.code.get() {
            return Ok(code);
        }
        let translated =
            pattern::translate(&self.source, self.flags.dollar_end_only, MATCH_STEPS_MAX);
        let code = builder(self.flags)
            .jit_if_available(true)
            .max_jit_stack_size(Some(JIT_STACK_BYTES_MAX))
            .build(&translated.text)
            .map_err(|_| RegexError::Limit)?;
        Ok(self.code.get_or_init(|| code))
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Vec<CaptureLocations>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Regex {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            flags: self.flags,
            required: self.required.clone(),
            code: Arc::clone(&self.code),
            groups: self.groups,
            names: self.names.clone(),
            spare: Mutex::default(),
        }
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Regex({}{})",
            self.source.escape_ascii(),
            if self.flags.caseless {
                ", caseless"
            } else {
                ""
            }
        )
    }
}

fn builder(flags: RegexFlags) -> RegexBuilder {
    let mut builder = RegexBuilder::new();
    builder.caseless(flags.caseless).dotall(flags.dotall);
    builder
}

fn names(all: &[Option<String>]) -> Box<[(usize, Box<str>)]> {
    let named = all.iter().enumerate();
    named
        .filter_map(|(number, name)| Some((number, name.as_deref()?.into())))
        .collect()
}

fn read(locations: &CaptureLocations) -> Captures {
    let mut captures = Captures::default();
    for n in 0..locations.len().min(GROUPS) {
        captures.set(n, locations.get(n));
    }
    captures
}

fn failure(error: &pcre2::Error) -> RegexError {
    if LIMIT_CODES.contains(&error.code()) {
        RegexError::Limit
    } else {
        RegexError::Subject
    }
}

/// The crate's message repeats the offset in its translated pattern, which would mislead the author.
fn message(error: &pcre2::Error) -> String {
    let full = error.to_string();
    let prefix = error.offset().map(|offset| format!("at offset {offset}: "));
    let cut = prefix.and_then(|prefix| full.find(&prefix).map(|at| at + prefix.len()));
    cut.and_then(|at| full.get(at..))
        .unwrap_or(&full)
        .to_owned()
}

/// PCRE2's default is ten times as much, which is about a second of one core for each hostile request.
const MATCH_STEPS_MAX: u32 = 1_000_000;
/// Enough for `(.|x)*` over the longest request target; memory is only touched when it is needed.
const JIT_STACK_BYTES_MAX: usize = 256 * 1024;
/// `PCRE2_ERROR_JIT_STACKLIMIT`, `MATCHLIMIT`, `NOMEMORY`, `RECURSELOOP`, `DEPTHLIMIT` and `HEAPLIMIT`.
const LIMIT_CODES: [i32; 6] = [-46, -47, -48, -52, -53, -63];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_with_names() {
        let table: &[(&[u8], &[u8], Option<NamedGroups<'_>>)] = &[
            (
                b"^/(?<what>[a-z]+)",
                b"/abc/d",
                Some(vec![("what", b"abc".to_vec())]),
            ),
            (b"^/(x)?(?<a>y)?", b"/", Some(vec![])),
            (
                b"(?<a>.)(.)(?<b>.)",
                b"xyz",
                Some(vec![("a", b"x".to_vec()), ("b", b"z".to_vec())]),
            ),
            (b"(?<a>q)", b"xyz", None),
        ];
        for (pattern, subject, expected) in table {
            let regex = regex(pattern);
            assert!(regex.has_names());
            assert_eq!(&regex.named_groups(subject).unwrap(), expected, "{regex:?}");
        }
        assert!(!regex(b"(a)").has_names());
    }

    fn regex(pattern: &[u8]) -> Regex {
        Regex::new(pattern, RegexFlags::default()).expect("pattern compiles")
    }

    #[test]
    fn dollar_is_the_end_and_dot_is_any_byte() {
        for (pattern, subject, expected) in [
            (&br"\.php$"[..], &b"/x.php"[..], true),
            (br"\.php$", b"/x.php\n", false),
            (br"^/(.*)$", b"/a\nb", true),
            (br"^/(.*)$", b"/a\nb\n", true),
            (br"^/[^x]*y$", b"/a\ny\n", false),
            (br"a\$", b"a$", true),
            (br"a\$", b"a", false),
            (br"a[$]", b"a$", true),
            (br"a[^$]\z", b"a$", false),
            (br"a[]$]\z", b"a$", true),
            (br"a[^]$]\z", b"a$", false),
            (br"a[[:alpha:]$]\z", b"a$", true),
            (br"a[\]$]\z", b"a$", true),
            (br"\Qa$\E$", b"a$", true),
            (br"\Qa$\E$", b"a$\n", false),
            (br"\Qa$", b"a$b", true),
            (br"a\\$", b"a\\\n", false),
            (br"a\\$", b"a\\", true),
            (br"(a|b$)c?$", b"b\n", false),
            (br"(?m)a$", b"a\nb", true),
            (br"(?m)a$", b"a\n", true),
            (br"(?m:a$)", b"a\nb", true),
            (br"(?m:x)?a$", b"a\n", false),
            (br"((?m)x)?a$", b"a\n", false),
            (br"(?m-m)a$", b"a\n", false),
            (br"(?im)A$", b"a\nb", true),
            (br"(?m)(?^)a$", b"a\n", false),
            (br"(?i-m)A$", b"a\n", false),
            (br"(?#$)a$", b"a\n", false),
            (br"(?x)a # $ (", b"a", true),
            (br"(?x)a $", b"a\n", false),
            (br"(*UTF)\x{e9}$", "\u{e9}".as_bytes(), true),
            (br"(?<n>a)$", b"a\n", false),
            (br"(?=a$)a", b"a\n", false),
            (br"(?(?=a)a$|b)", b"a\n", false),
            (br"a\c$", b"a\x64", true),
        ] {
            let shown = pattern.escape_ascii();
            assert_eq!(
                regex(pattern).is_match(subject),
                Ok(expected),
                "{shown} on {}",
                subject.escape_ascii()
            );
        }
    }

    #[test]
    fn dollar_may_match_before_a_final_newline_when_asked() {
        let flags = RegexFlags {
            dollar_end_only: false,
            dotall: false,
            caseless: false,
        };
        let regex = Regex::new(b"^a.$", flags).expect("pattern compiles");
        assert_eq!(
            (regex.is_match(b"ab\n"), regex.is_match(b"a\n")),
            (Ok(true), Ok(false))
        );
    }

    #[test]
    fn groups_are_ranges() {
        let captures = regex(br"^/(a)(x)?(.*)$")
            .captures(b"/abc")
            .unwrap()
            .unwrap();
        let ranges: Vec<_> = (0..5).map(|n| captures.get(n)).collect();
        assert_eq!(ranges, [Some(0..4), Some(1..2), None, Some(2..4), None]);
        let many = regex(br"(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)")
            .captures(b"abcdefghijk")
            .unwrap()
            .unwrap();
        assert_eq!((many.get(9), many.get(10)), (Some(8..9), None));
        assert_eq!(
            regex(b"b+").captures(b"abbc").unwrap().unwrap().get(0),
            Some(1..3)
        );
        assert_eq!(regex(b"b+").captures(b"ac"), Ok(None));
        assert_eq!(
            regex(b"").captures(b"").unwrap().unwrap().get(0),
            Some(0..0)
        );
    }

    #[test]
    fn caseless_and_bytes_that_are_not_utf8() {
        let caseless =
            Regex::new(b"^WebSocket$", RegexFlags::caseless(true)).expect("pattern compiles");
        assert_eq!(caseless.is_match(b"websocKET"), Ok(true));
        assert_eq!(regex(b"^WebSocket$").is_match(b"websocket"), Ok(false));
        assert_eq!(regex(b"^\xe9+$").is_match(b"\xe9\xe9"), Ok(true));
        assert_eq!(regex(b"^[\xe0-\xef]$").is_match(b"\xe9"), Ok(true));
        assert_eq!(regex(b"^\\Q\xe9$\\E$").is_match(b"\xe9$"), Ok(true));
        assert_eq!(
            regex("^\u{e9}$".as_bytes()).is_match("\u{e9}".as_bytes()),
            Ok(true)
        );
    }

    #[test]
    fn errors_point_into_the_authors_pattern() {
        for (pattern, expected) in [
            (&b"a("[..], 2),
            (b"a)", 1),
            (b"a$b$c(", 6),
            (b"\xe9$[a", 4),
            (b"*", 0),
            (b"(?<n>a)$(?<9>b)", 11),
            (b"a$*", 2),
        ] {
            let error = Regex::new(pattern, RegexFlags::default()).expect_err("pattern is wrong");
            let RegexError::Syntax { offset, message } = error else {
                panic!("{error:?}")
            };
            assert_eq!(offset, expected, "{}: {message}", pattern.escape_ascii());
            assert!(!message.contains("offset"), "{message}");
        }
    }

    #[test]
    fn names_may_be_used_twice() {
        assert_eq!(
            regex(b"(?<n>a)|(?<n>b)")
                .captures(b"b")
                .unwrap()
                .unwrap()
                .get(2),
            Some(0..1)
        );
    }

    #[test]
    fn a_runaway_pattern_ends() {
        let runaway = regex(b"^(a|aa)+$");
        let mut subject = vec![b'a'; 60];
        subject.push(b'!');
        assert_eq!(runaway.captures(&subject), Err(RegexError::Limit));
        assert_eq!(runaway.is_match(&subject), Err(RegexError::Limit));
        assert_eq!(runaway.captures(b"aa!"), Ok(None));
    }

    #[test]
    fn a_subject_must_suit_the_pattern() {
        assert_eq!(
            regex(b"(*UTF)a").is_match(b"\xff"),
            Err(RegexError::Subject)
        );
    }

    #[test]
    fn a_clone_matches_the_same() {
        let original = regex(b"(b)");
        assert_eq!(original.clone().captures(b"ab"), original.captures(b"ab"));
        assert_eq!(
            (original.group_count(), original.source()),
            (1, &b"(b)"[..])
        );
    }
}
