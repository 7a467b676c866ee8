//! Where a log goes, as `CustomLog`, `TransferLog` and `ErrorLog` name it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Appended to a file, which is created with mode 0644.
    File(PathBuf),
    /// Given to the standard input of a program: its words, run without a shell.
    Program(Vec<OsString>),
    /// Given to the standard input of a command that `/bin/sh -c` runs.
    Shell(OsString),
    /// Our standard error.
    Stderr,
    /// The system log, with facility and tag as `ErrorLog` writes them; it cannot be opened yet.
    Syslog(OsString),
}

impl Target {
    /// Reads the argument of `CustomLog` or `TransferLog`; relative paths are below `server_root`.
    ///
    /// As in httpd 2.4, `|program` and `||program` run without a shell, `|$command` with one (httpd manual page `logs`,
    /// "Piped Logs").
    pub fn parse(word: &[u8], server_root: &Path) -> Self {
        let Some(piped) = word.strip_prefix(b"|") else {
            return Self::File(server_root.join(OsStr::from_bytes(word)));
        };
        match piped.strip_prefix(b"$") {
            Some(command) => Self::Shell(OsString::from_vec(command.trim_ascii_start().to_vec())),
            None => Self::Program(words(piped.strip_prefix(b"|").unwrap_or(piped))),
        }
    }

    /// Reads the argument of `ErrorLog`, which may also be `syslog` or `syslog:facility:tag`.
    pub fn parse_error_log(word: &[u8], server_root: &Path) -> Self {
        match word.strip_prefix(b"syslog") {
            Some(b"") => Self::Syslog(OsString::new()),
            Some([b':', rest @ ..]) => Self::Syslog(OsString::from_vec(rest.to_vec())),
            _ => Self::parse(word, server_root),
        }
    }

    /// The command to run, if a program is to receive the log.
    pub(crate) fn command(&self) -> Option<Command> {
        match self {
            Self::Program(words) => {
                let (program, arguments) = words.split_first()?;
                let mut command = Command::new(program);
                command.args(arguments);
                Some(command)
            }
            Self::Shell(text) => {
                let mut command = Command::new("/bin/sh");
                command.arg("-c").arg(text);
                Some(command)
            }
            _ => None,
        }
    }
}

/// The target as a message names it.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Program(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                write!(f, "|{}", words.join(" "))
            }
            Self::Shell(command) => write!(f, "|${}", command.to_string_lossy()),
            Self::Stderr => f.write_str("standard error"),
            Self::Syslog(_) => f.write_str("syslog"),
        }
    }
}

/// Splits a command as httpd's portable runtime does: at blanks, but for those in quotes or after a backslash. A quote
/// counts only where a word begins.
fn words(command: &[u8]) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut rest = command.trim_ascii_start();
    while let Some(&first) = rest.first() {
        let quote = Some(first).filter(|byte| matches!(byte, b'"' | b'\''));
        let body = rest.get(usize::from(quote.is_some())..).unwrap_or_default();
        let (word, after) = take_word(body, quote);
        words.push(OsString::from_vec(word));
        rest = after.trim_ascii_start();
    }
    words
}

fn take_word(body: &[u8], quote: Option<u8>) -> (Vec<u8>, &[u8]) {
    let mut word = Vec::new();
    let mut bytes = body.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        let ends = match quote {
            Some(quote) => byte == quote,
            None => byte.is_ascii_whitespace(),
        };
        if ends {
            return (word, body.get(at + 1..).unwrap_or_default());
        }
        let escaped = if byte == b'\\' { bytes.next() } else { None };
        word.push(escaped.map_or(byte, |(_, &next)| next));
    }
    (word, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(words: &[&str]) -> Target {
        Target::Program(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn arguments() {
        let cases = [
            (
                "logs/access.log",
                Target::File("/srv/logs/access.log".into()),
            ),
            ("/var/log/a b.log", Target::File("/var/log/a b.log".into())),
            ("syslog", Target::File("/srv/syslog".into())),
            (
                "|/bin/rotate -l logs/a 86400",
                program(&["/bin/rotate", "-l", "logs/a", "86400"]),
            ),
            ("||/bin/rotate  a", program(&["/bin/rotate", "a"])),
            (
                "| /bin/sh -c 'cat > \"x y\"' z",
                program(&["/bin/sh", "-c", "cat > \"x y\"", "z"]),
            ),
            (
                r#"|p a\ b "c\"d" e"f g"#,
                program(&["p", "a b", "c\"d", "e\"f", "g"]),
            ),
            ("|p '' x", program(&["p", "", "x"])),
            ("|$cat > x", Target::Shell("cat > x".into())),
            ("|", program(&[])),
        ];
        for (word, expected) in cases {
            assert_eq!(
                Target::parse(word.as_bytes(), Path::new("/srv")),
                expected,
                "{word}"
            );
        }
    }

    #[test]
    fn error_log_arguments() {
        let cases = [
            ("syslog", Target::Syslog("".into())),
            (
                "syslog:local1:relais",
                Target::Syslog("local1:relais".into()),
            ),
            ("syslogs", Target::File("/srv/syslogs".into())),
            ("|p", program(&["p"])),
        ];
        for (word, expected) in cases {
            assert_eq!(
                Target::parse_error_log(word.as_bytes(), Path::new("/srv")),
                expected,
                "{word}"
            );
        }
    }
}
