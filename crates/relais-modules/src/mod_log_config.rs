//! mod_log_config: which requests are logged, where and how.

use std::sync::Arc;

use relais_conf::{Diagnostic, Diagnostics, Span, Text};
use relais_policy::{
    AccessLogSpec, Context, Directive, HostSpec, LogCondition, Module, Problem, Set, SetResult,
    SiteDraft, Slot,
};
use relais_telemetry::{LogFormat, Target};

use crate::values;

/// mod_log_config.
pub struct LogConfig;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    formats: Vec<(String, Arc<LogFormat>)>,
    /// The last `LogFormat` without a nickname, for `TransferLog`.
    unnamed: Option<Arc<LogFormat>>,
    logs: Vec<Log>,
    /// `GlobalLog`: of the main server, for all hosts.
    global: Vec<Log>,
}

#[derive(Clone, Debug)]
struct Log {
    target: Target,
    format: Format,
    condition: Option<LogCondition>,
}

#[derive(Clone, Debug)]
enum Format {
    /// A word without `%`: a nickname where one is defined, else itself.
    Named {
        name: String,
        literal: Arc<LogFormat>,
        span: Span,
    },
    Literal(Arc<LogFormat>),
    /// `TransferLog`'s.
    Unnamed,
}

impl Module for LogConfig {
    const NAME: &'static str = "mod_log_config";
    const IDENTIFIER: &'static str = "log_config_module";
    type Host = Host;
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "LogFormat",
            syntax: "LogFormat format|nickname [nickname]",
            context: Context::HOST,
            default: Some("\"%h %l %u %t \\\"%r\\\" %>s %b\""),
            doc: "Names a log format, or sets the one that TransferLog uses.",
            accepts: &[
                "LogFormat \"%h %t \\\"%r\\\" %>s\" short",
                "LogFormat \"%h\"",
            ],
            refuses: &[
                "LogFormat",
                "LogFormat %q x y",
                "LogFormat \"%h %Z\" bad",
                "LogFormat \"%{User-Agenti\"",
            ],
            set: Set::Take12(log_format),
        },
        Directive {
            name: "CustomLog",
            syntax: "CustomLog file|\"|command\" format|nickname [env=[!]environment-variable|expr=expression]",
            context: Context::HOST,
            default: None,
            doc: "Writes a line per request to a file or program.",
            accepts: &[
                "CustomLog logs/access.log combined",
                "CustomLog \"|/usr/bin/cat\" \"%h %>s\"",
                "CustomLog logs/a %h env=!dontlog",
                "CustomLog logs/a %h env=log",
                "CustomLog logs/a %h \"expr=%{REQUEST_STATUS} -ge 400\"",
            ],
            refuses: &[
                "CustomLog",
                "CustomLog logs/a",
                "CustomLog logs/a %h expr=TRUE",
                "CustomLog logs/a %h dontlog",
                "CustomLog logs/a %h env=",
                "CustomLog logs/a %Z",
                "CustomLog logs/a %h env=a b",
            ],
            set: Set::Words(|slot, words| {
                let log = custom_log(slot, words)?;
                slot.host.logs.push(log);
                Ok(())
            }),
        },
        Directive {
            name: "GlobalLog",
            syntax: "GlobalLog file|\"|command\" format|nickname [env=[!]environment-variable|expr=expression]",
            context: Context::SERVER,
            default: None,
            doc: "CustomLog for all hosts, also for those with a CustomLog of their own.",
            accepts: &["GlobalLog logs/all.log \"%v %h %>s\" env=!dontlog"],
            refuses: &["GlobalLog", "GlobalLog logs/a"],
            set: Set::Words(|slot, words| {
                let log = custom_log(slot, words)?;
                slot.host.global.push(log);
                Ok(())
            }),
        },
        Directive {
            name: "BufferedLogs",
            syntax: "BufferedLogs On|Off",
            context: Context::SERVER,
            default: Some("Off"),
            doc: "Whether lines are gathered before they are written.",
            accepts: &["BufferedLogs On"],
            refuses: &[],
            set: Set::Ignored(
                "lines are always gathered for some milliseconds, and written with one call",
            ),
        },
        Directive {
            name: "TransferLog",
            syntax: "TransferLog file|\"|command\"",
            context: Context::HOST,
            default: None,
            doc: "CustomLog with the format of the last LogFormat that has no nickname.",
            accepts: &["TransferLog logs/access.log"],
            refuses: &["TransferLog", "TransferLog a b"],
            set: Set::Take1(|slot, word| {
                let target = Target::parse(word.bytes(), slot.place.server_root);
                slot.host.logs.push(Log {
                    target,
                    format: Format::Unnamed,
                    condition: None,
                });
                Ok(())
            }),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        // A nickname of the inner host is found first.
        let formats = inner
            .formats
            .iter()
            .chain(&outer.formats)
            .cloned()
            .collect();
        let logs = if inner.logs.is_empty() {
            &outer.logs
        } else {
            &inner.logs
        };
        Host {
            formats,
            unnamed: inner.unnamed.clone().or_else(|| outer.unnamed.clone()),
            logs: logs.clone(),
            global: outer.global.clone(),
        }
    }

    fn merge_section(_outer: &(), _inner: &()) {}

    fn check(draft: &SiteDraft, diagnostics: &mut Diagnostics) {
        let hosts: Vec<&Host> = draft
            .hosts
            .iter()
            .filter_map(|host| host.host.get())
            .collect();
        let Some(main) = hosts.first() else { return };
        for (host, log) in hosts.iter().flat_map(|host| {
            host.logs
                .iter()
                .chain(&host.global)
                .map(move |log| (host, log))
        }) {
            if let Format::Named { name, span, .. } = &log.format
                && host
                    .nickname(name)
                    .or_else(|| main.nickname(name))
                    .is_none()
            {
                let message =
                    format!("no LogFormat has the nickname `{name}`; every line will be this word");
                let near = relais_conf::value::did_you_mean(
                    name,
                    host.formats
                        .iter()
                        .chain(&main.formats)
                        .map(|(name, _)| name.as_str()),
                );
                let warning = Diagnostic::warning("RC0309", *span, message);
                diagnostics.push(match near {
                    Some(near) => warning.with_help(format!("did you mean `{near}`?")),
                    None => warning,
                });
            }
        }
    }

    fn finish_host(host: &Host, _section: &(), spec: &mut HostSpec) {
        let logs = host.logs.iter().chain(&host.global);
        spec.access_logs = logs.map(|log| host.log_spec(log)).collect();
    }
}

impl Host {
    fn nickname(&self, name: &str) -> Option<&Arc<LogFormat>> {
        self.formats
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, format)| format)
    }

    fn log_spec(&self, log: &Log) -> AccessLogSpec {
        let format = match &log.format {
            Format::Literal(format) => Arc::clone(format),
            Format::Named { name, literal, .. } => {
                Arc::clone(self.nickname(name).unwrap_or(literal))
            }
            Format::Unnamed => self
                .unnamed
                .clone()
                .unwrap_or_else(|| Arc::new(LogFormat::common())),
        };
        AccessLogSpec {
            target: log.target.clone(),
            format,
            condition: log.condition.clone(),
        }
    }
}

fn log_format(slot: &mut Slot<'_, LogConfig>, format: &Text, nickname: Option<&Text>) -> SetResult {
    let format = match slot.host.nickname(&format.lossy()) {
        Some(known) => Arc::clone(known),
        None => parse(format)?,
    };
    match nickname {
        Some(nickname) => {
            let name = nickname.lossy().into_owned();
            slot.host.formats.retain(|(have, _)| *have != name);
            slot.host.formats.push((name, format));
        }
        None => slot.host.unnamed = Some(format),
    }
    Ok(())
}

fn custom_log(slot: &Slot<'_, LogConfig>, words: &[Text]) -> Result<Log, Problem> {
    let (target, format, condition) = match words {
        [target, format] => (target, format, None),
        [target, format, condition] => (target, format, Some(log_condition(condition)?)),
        _ => {
            let name = slot.place.name.lossy();
            return Err(Problem::new(format!("{name} takes two or three arguments")));
        }
    };
    let parsed = parse(format)?;
    let format = if format.bytes().contains(&b'%') {
        Format::Literal(parsed)
    } else {
        Format::Named {
            name: format.lossy().into_owned(),
            literal: parsed,
            span: format.span(),
        }
    };
    let target = Target::parse(target.bytes(), slot.place.server_root);
    Ok(Log {
        target,
        format,
        condition,
    })
}

fn log_condition(word: &Text) -> Result<LogCondition, Problem> {
    let text = word.lossy();
    if text.starts_with("expr=") {
        let expression = values::expression(word, "expr=".len())?;
        return Ok(LogCondition::Expression(Arc::new(expression)));
    }
    let name = text.strip_prefix("env=").map(|name| {
        name.strip_prefix('!')
            .map_or((name, true), |name| (name, false))
    });
    match name {
        Some((name, wanted)) if !name.is_empty() => {
            Ok(LogCondition::Variable(name.to_owned(), wanted))
        }
        _ => Err(Problem::at(
            word.span(),
            "the condition is env=NAME, env=!NAME or expr=EXPRESSION",
        )),
    }
}

fn parse(format: &Text) -> Result<Arc<LogFormat>, Problem> {
    LogFormat::parse(format.bytes())
        .map(Arc::new)
        .map_err(|error| {
            let problem = Problem::at(format.span_of(error.range), error.message);
            match error.help {
                Some(help) => problem.with_help(help),
                None => problem,
            }
        })
}
