//! The command line: httpd's options, and relais' own subcommands
//! (programs/httpd.html).

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};
use relais_telemetry::Level;

use crate::control::Inquiry;
use crate::explain::Question;

/// Where the demonstration listens without `--listen`.
const DEMO: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// `-f FILE`: run in the foreground.
    Run,
    /// `-k start`: run in the background.
    Background,
    /// `-k stop` and its relatives.
    Signal(Order),
    /// `-t`, `-S`, `-M`: read the configuration and tell.
    Check,
    /// `check`: everything that can be said about a configuration.
    Report(Form),
    /// `-h`, `--help`.
    Help,
    /// `-v`.
    Version,
    /// `-V`.
    BuildSettings,
    /// `-l`.
    Modules,
    /// `-L`.
    Directives,
    /// No arguments, or `demo`.
    Demo(SocketAddr),
    /// `explain METHOD URL`.
    Explain,
    /// `tunnels`: the tunnels of a running relais.
    Tunnels,
    /// `top`: the same, live.
    Top,
    /// `reload`, and `-k graceful --dry-run`: reads the configuration again, or
    /// says what that would do.
    Reload,
    /// `status`: how the running relais is.
    Status,
    /// `metrics`: the same and its tunnels, for Prometheus.
    Metrics,
    /// `migrate`: what becomes of a whole configuration.
    Migrate,
}

/// How `check` tells what it found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// For people: the line with a caret.
    Human,
    /// One JSON object.
    Json,
    /// SARIF 2.1.0, for code hosts and editors.
    Sarif,
}

/// What `-k` asks of a running relais.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// End now.
    Stop,
    /// Read the configuration again.
    Graceful,
    /// The same: nothing is cut in either case.
    Restart,
    /// End when the last request and tunnel have.
    GracefulStop,
    /// Open the log files again.
    Reopen,
}

/// The command line, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Arguments {
    pub(crate) action: Action,
    /// `-f`.
    pub(crate) file: Option<PathBuf>,
    /// `-d`.
    pub(crate) root: Option<PathBuf>,
    /// `-D`.
    pub(crate) defines: Vec<(String, Option<String>)>,
    /// `-C`.
    pub(crate) before: Vec<String>,
    /// `-c`.
    pub(crate) after: Vec<String>,
    /// `-S`.
    pub(crate) show_hosts: bool,
    /// `-M`.
    pub(crate) show_modules: bool,
    /// `--offline`: files and addresses of another machine are not expected here.
    pub(crate) offline: bool,
    /// `--deny warnings`.
    pub(crate) deny_warnings: bool,
    /// `-X`: one worker thread.
    pub(crate) single: bool,
    /// `-E`: errors before the log is open go to this file.
    pub(crate) startup_log: Option<PathBuf>,
    /// `-e`: the log level while starting.
    pub(crate) startup_level: Option<Level>,
    /// Set by `-k start` for the process it leaves behind.
    pub(crate) detached: bool,
    /// `--dry-run`: only say what a reload would do.
    pub(crate) dry_run: bool,
    /// `--socket`: where the control socket is, whatever the configuration says.
    pub(crate) socket: Option<PathBuf>,
    /// What `explain` is asked.
    pub(crate) question: Question,
    /// What `tunnels` is asked.
    pub(crate) inquiry: Inquiry,
}

impl Arguments {
    fn new() -> Self {
        Self {
            action: Action::Run,
            file: None,
            root: None,
            defines: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            show_hosts: false,
            show_modules: false,
            offline: false,
            deny_warnings: false,
            single: false,
            startup_log: None,
            startup_level: None,
            detached: false,
            dry_run: false,
            socket: None,
            question: Question::default(),
            inquiry: Inquiry::default(),
        }
    }

    /// Whether `-D NAME` was given.
    pub(crate) fn defined(&self, name: &str) -> bool {
        self.defines.iter().any(|(have, _)| have == name)
    }
}

/// Parses the arguments behind the program's name.
///
/// # Errors
/// What is wrong, for the terminal.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Arguments, String> {
    let arguments: Vec<OsString> = arguments.collect();
    let mut parsed = Arguments::new();
    if arguments.is_empty() {
        parsed.action = Action::Demo(DEMO);
        return Ok(parsed);
    }
    let mut parser = Parser::from_args(arguments);
    while let Some(word) = next(&mut parser).map_err(|error| error.to_string())? {
        take(&mut parsed, &mut parser, &word).map_err(|error| error.to_string())?;
    }
    // httpd's other names for the reports.
    parsed.show_hosts |= parsed.defined("DUMP_VHOSTS") || parsed.defined("DUMP_RUN_CFG");
    parsed.show_modules |= parsed.defined("DUMP_MODULES");
    if parsed.action == Action::Run
        && (parsed.show_hosts || parsed.show_modules || parsed.defined("DUMP_INCLUDES"))
    {
        parsed.action = Action::Check;
    }
    rehearse(&mut parsed)?;
    Ok(parsed)
}

/// `--dry-run` with what it belongs to.
fn rehearse(parsed: &mut Arguments) -> Result<(), String> {
    let reloads = matches!(
        parsed.action,
        Action::Reload | Action::Signal(Order::Graceful | Order::Restart)
    );
    match (parsed.dry_run, reloads) {
        (false, _) => {}
        (true, true) => parsed.action = Action::Reload,
        (true, false) => {
            return Err("--dry-run belongs to reload, -k graceful or -k restart".to_owned());
        }
    }
    Ok(())
}

/// The next word, apart from the parser that its value will be asked of: an
/// option with its dashes, or a bare word.
fn next(parser: &mut Parser) -> Result<Option<String>, lexopt::Error> {
    Ok(match parser.next()? {
        Some(Arg::Short(letter)) => Some(format!("-{letter}")),
        Some(Arg::Long(name)) => Some(format!("--{name}")),
        Some(Arg::Value(word)) => Some(word.string()?),
        None => None,
    })
}

fn take(parsed: &mut Arguments, parser: &mut Parser, word: &str) -> Result<(), lexopt::Error> {
    match word {
        "-f" => parsed.file = Some(parser.value()?.into()),
        "-d" => parsed.root = Some(parser.value()?.into()),
        "-D" => parsed.defines.push(define(&parser.value()?.string()?)),
        "-C" => parsed.before.push(parser.value()?.string()?),
        "-c" => parsed.after.push(parser.value()?.string()?),
        "-E" => parsed.startup_log = Some(parser.value()?.into()),
        "-e" => parsed.startup_level = Some(level(&parser.value()?.string()?)?),
        "-k" => parsed.action = order(&parser.value()?.string()?)?,
        "-t" | "-T" => parsed.action = Action::Check,
        "-S" => {
            parsed.action = Action::Check;
            parsed.show_hosts = true;
        }
        "-M" => {
            parsed.action = Action::Check;
            parsed.show_modules = true;
        }
        "-X" => parsed.single = true,
        "-v" | "--version" => parsed.action = Action::Version,
        "-V" => parsed.action = Action::BuildSettings,
        "-l" => parsed.action = Action::Modules,
        "-L" => parsed.action = Action::Directives,
        "-h" | "-?" | "--help" => parsed.action = Action::Help,
        "--detached" => parsed.detached = true,
        "--dry-run" => parsed.dry_run = true,
        "--socket" => parsed.socket = Some(parser.value()?.into()),
        "check" => parsed.action = Action::Report(Form::Human),
        "--offline" if is_report(parsed) || parsed.action == Action::Migrate => {
            parsed.offline = true
        }
        "--deny" if is_report(parsed) => parsed.deny_warnings = deny(&parser.value()?.string()?)?,
        "--format" if is_report(parsed) => parsed.action = form(&parser.value()?.string()?)?,
        "demo" => parsed.action = demo(parser)?,
        "explain" => return explain(parsed, parser),
        "tunnels" => return words_of(parsed, parser, Action::Tunnels),
        "top" => parsed.action = Action::Top,
        "reload" => return words_of(parsed, parser, Action::Reload),
        "metrics" => return words_of(parsed, parser, Action::Metrics),
        "status" => return words_of(parsed, parser, Action::Status),
        "migrate" => parsed.action = Action::Migrate,
        other => return Err(format!("unexpected argument {other}").into()),
    }
    Ok(())
}

/// The words behind `explain`: its own, and those that say which configuration
/// is meant.
fn explain(parsed: &mut Arguments, parser: &mut Parser) -> Result<(), lexopt::Error> {
    parsed.action = Action::Explain;
    while let Some(word) = next(parser)? {
        if !parsed.question.take(parser, &word)? {
            take(parsed, parser, &word)?;
        }
    }
    Ok(())
}

fn is_report(parsed: &Arguments) -> bool {
    matches!(parsed.action, Action::Report(_))
}

fn deny(word: &str) -> Result<bool, lexopt::Error> {
    match word {
        "warnings" => Ok(true),
        other => Err(format!("--deny takes warnings, not {other}").into()),
    }
}

fn form(word: &str) -> Result<Action, lexopt::Error> {
    match word {
        "human" => Ok(Action::Report(Form::Human)),
        "json" => Ok(Action::Report(Form::Json)),
        "sarif" => Ok(Action::Report(Form::Sarif)),
        other => Err(format!("--format takes human, json or sarif, not {other}").into()),
    }
}

/// The words behind `tunnels` and its relatives, likewise.
fn words_of(
    parsed: &mut Arguments,
    parser: &mut Parser,
    action: Action,
) -> Result<(), lexopt::Error> {
    parsed.action = action;
    while let Some(word) = next(parser)? {
        let own = match action {
            Action::Tunnels => parsed.inquiry.take(parser, &word)?,
            _ => parsed.inquiry.take_form(&word),
        };
        if !own {
            take(parsed, parser, &word)?;
        }
    }
    Ok(())
}

fn level(word: &str) -> Result<Level, lexopt::Error> {
    Level::parse(word).ok_or_else(|| format!("-e takes a log level, not {word}").into())
}

fn define(argument: &str) -> (String, Option<String>) {
    match argument.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (argument.to_owned(), None),
    }
}

fn order(word: &str) -> Result<Action, lexopt::Error> {
    match word {
        "start" => Ok(Action::Background),
        "stop" => Ok(Action::Signal(Order::Stop)),
        "graceful" => Ok(Action::Signal(Order::Graceful)),
        "restart" => Ok(Action::Signal(Order::Restart)),
        "graceful-stop" => Ok(Action::Signal(Order::GracefulStop)),
        "reopen" => Ok(Action::Signal(Order::Reopen)),
        other => Err(format!(
            "-k takes start, stop, graceful, restart, graceful-stop or reopen, not {other}"
        )
        .into()),
    }
}

fn demo(parser: &mut Parser) -> Result<Action, lexopt::Error> {
    let mut listen = DEMO;
    while let Some(word) = next(parser)? {
        match word.as_str() {
            "--listen" => listen = parser.value()?.parse()?,
            other => return Err(format!("unexpected argument {other}").into()),
        }
    }
    Ok(Action::Demo(listen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(line: &str) -> Result<Arguments, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_as_httpd_has_them() {
        let table: &[(&str, Action)] = &[
            ("", Action::Demo(DEMO)),
            (
                "demo --listen 127.0.0.1:0",
                Action::Demo(SocketAddr::from(([127, 0, 0, 1], 0))),
            ),
            ("-f a.conf", Action::Run),
            ("-f a.conf -DFOREGROUND", Action::Run),
            ("-f a.conf -X", Action::Run),
            ("-t -f a.conf", Action::Check),
            ("-tf a.conf", Action::Check),
            ("-S", Action::Check),
            ("-D DUMP_VHOSTS", Action::Check),
            ("-M", Action::Check),
            ("check -f a.conf", Action::Report(Form::Human)),
            (
                "check --offline --deny warnings --format sarif",
                Action::Report(Form::Sarif),
            ),
            ("check -f a.conf --format json", Action::Report(Form::Json)),
            ("-k start", Action::Background),
            ("-k stop", Action::Signal(Order::Stop)),
            ("-k graceful -f a.conf", Action::Signal(Order::Graceful)),
            ("-k restart", Action::Signal(Order::Restart)),
            ("-k graceful-stop", Action::Signal(Order::GracefulStop)),
            ("-k reopen", Action::Signal(Order::Reopen)),
            ("-k graceful --dry-run", Action::Reload),
            ("--dry-run -k restart -f a.conf", Action::Reload),
            ("reload --dry-run --json", Action::Reload),
            ("status -f a.conf", Action::Status),
            ("metrics --socket run/relais.sock", Action::Metrics),
            ("-v", Action::Version),
            ("-V", Action::BuildSettings),
            ("-l", Action::Modules),
            ("-L", Action::Directives),
            ("-h", Action::Help),
            ("--help", Action::Help),
        ];
        for (line, expected) in table {
            assert_eq!(
                actions(line).map(|parsed| parsed.action).as_ref(),
                Ok(expected),
                "{line}"
            );
        }
    }

    #[test]
    fn values() {
        let parsed = actions("-f a.conf -d /srv -DONE -D TWO=2 -C Timeout -c Listen -X").unwrap();
        assert_eq!(parsed.file.as_deref(), Some(std::path::Path::new("a.conf")));
        assert_eq!(parsed.root.as_deref(), Some(std::path::Path::new("/srv")));
        assert_eq!(
            parsed.defines,
            [
                ("ONE".to_owned(), None),
                ("TWO".to_owned(), Some("2".to_owned()))
            ]
        );
        assert_eq!(
            (parsed.before.len(), parsed.after.len(), parsed.single),
            (1, 1, true)
        );
    }

    #[test]
    fn mistakes() {
        for line in [
            "-k reload",
            "-k stop --dry-run",
            "--dry-run -f a.conf",
            "-e loud",
            "--offline -f a.conf",
            "check --format xml",
            "check --deny notes",
            "-q",
            "--listen 1",
            "demo --listen here",
            "-f",
            "surprise",
        ] {
            assert!(actions(line).is_err(), "{line}");
        }
    }
}
