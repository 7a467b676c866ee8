//! `relais tunnels`: the table of a running relais, and orders to end some of
//! its tunnels.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Parser, ValueExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Choice, Chosen, How, Refusal, Request, Row};
use crate::cli::Arguments;
use crate::{Failure, Outcome, configuration, report};

/// By what the table is sorted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Sort {
    /// The oldest first.
    #[default]
    Age,
    /// The longest silent first.
    Idle,
    /// The most messages first.
    Messages,
    /// The most bytes first.
    Bytes,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Verb {
    #[default]
    List,
    Close,
    Drain,
}

/// The words behind `tunnels`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Inquiry {
    verb: Verb,
    choice: Choice,
    all: bool,
    json: bool,
    sort: Sort,
    code: Option<u16>,
    spread: Option<Duration>,
    rate: u32,
}

impl Inquiry {
    /// Takes `--json` alone.
    pub(crate) fn take_form(&mut self, word: &str) -> bool {
        let is_it = word == "--json";
        self.json |= is_it;
        is_it
    }

    /// Whether the answer is for programs.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// Takes a word of the command line; false if it is none of `tunnels`.
    ///
    /// # Errors
    /// When an option has no value, or one that it does not take.
    pub(crate) fn take(&mut self, parser: &mut Parser, word: &str) -> Result<bool, lexopt::Error> {
        match word {
            "close" => self.verb = Verb::Close,
            "drain" => self.verb = Verb::Drain,
            "--all" => self.all = true,
            "--json" => self.json = true,
            "--host" => self.choice.host = Some(parser.value()?.string()?),
            "--route" => self.choice.route = Some(parser.value()?.string()?),
            "--origin" => self.choice.origin = Some(parser.value()?.string()?),
            "--client" => self.choice.client = Some(parser.value()?.parse()?),
            "--idle" => self.choice.idle_s = Some(duration(&parser.value()?.string()?)?.as_secs()),
            "--sort" => self.sort = sort(&parser.value()?.string()?)?,
            "--code" => self.code = Some(code(&parser.value()?.string()?)?),
            "--spread" => self.spread = Some(duration(&parser.value()?.string()?)?),
            "--rate" => self.rate = parser.value()?.parse()?,
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.choice.ids.push(
                    number.parse().map_err(|_| {
                        lexopt::Error::from(format!("{number} is no tunnel's number"))
                    })?,
                );
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn how(&self) -> How {
        let drain = self.verb == Verb::Drain;
        let (code, spread) = if drain { DRAIN } else { CLOSE };
        let spread = self.spread.unwrap_or(spread);
        How {
            drain,
            code: self.code.unwrap_or(code),
            spread_ms: u64::try_from(spread.as_millis()).unwrap_or(u64::MAX),
            rate: self.rate,
        }
    }
}

/// What `close` does without options: at once, and the client may come again
/// (1000, RFC 6455 §7.4.1).
const CLOSE: (u16, Duration) = (1000, Duration::ZERO);

/// What `drain` does without options: 1012 is "service restart" in the
/// registry of close codes.
const DRAIN: (u16, Duration) = (1012, Duration::from_secs(30));

fn sort(word: &str) -> Result<Sort, lexopt::Error> {
    Ok(match word {
        "age" => Sort::Age,
        "idle" => Sort::Idle,
        "messages" => Sort::Messages,
        "bytes" => Sort::Bytes,
        other => {
            return Err(format!("--sort takes age, idle, messages or bytes, not {other}").into());
        }
    })
}

/// A code that an endpoint may send (RFC 6455 §7.4.2).
fn code(word: &str) -> Result<u16, lexopt::Error> {
    word.parse()
        .ok()
        .filter(|code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999))
        .ok_or_else(|| format!("{word} is no code that a Close frame may have").into())
}

/// `500ms`, `30s`, `5m`, `2h`, or seconds.
fn duration(word: &str) -> Result<Duration, lexopt::Error> {
    let digits = word.trim_end_matches(|byte: char| byte.is_ascii_alphabetic());
    let unit = match &word[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{word} is no time: 500ms, 30s, 5m or 2h").into()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("{word} is no time: 500ms, 30s, 5m or 2h"))?;
    Ok(Duration::from_millis(number.saturating_mul(unit)))
}

/// `relais tunnels`.
///
/// # Errors
/// When no relais answers, or tunnels are to be ended and none is named.
pub(crate) fn run(arguments: &Arguments, inquiry: &Inquiry) -> Outcome {
    let choice = inquiry.choice.clone();
    if inquiry.verb == Verb::List {
        let mut rows = rows(arguments, choice)?;
        order(&mut rows, inquiry.sort);
        report::print(&if inquiry.json {
            json(rows.as_slice())
        } else {
            table(&rows)
        });
        return Ok(());
    }
    if choice.is_all() && !inquiry.all {
        return Err(
            "say which tunnels: numbers, --host, --route, --origin, --client, --idle or --all"
                .into(),
        );
    }
    let how = inquiry.how();
    let answers: Vec<Chosen> = ask(arguments, &Request::End { choice, how })?;
    let count: usize = answers.iter().map(|answer| answer.chosen).sum();
    let over = match how.spread() {
        Duration::ZERO => String::new(),
        spread => format!(" over {} s", spread.as_secs_f64()),
    };
    report::print(&format!(
        "{count} tunnels will be closed{over} with {}\n",
        how.code
    ));
    Ok(())
}

/// The tunnels of the running relais.
pub(super) fn rows(arguments: &Arguments, choice: Choice) -> Result<Vec<Row>, Failure> {
    let parts: Vec<Vec<Row>> = ask(arguments, &Request::Tunnels { choice })?;
    Ok(parts.into_iter().flatten().collect())
}

pub(super) fn ask<T: DeserializeOwned>(
    arguments: &Arguments,
    request: &Request,
) -> Result<Vec<T>, Failure> {
    let path = socket(arguments)?;
    let failed =
        |error: std::io::Error| format!("no relais answers on {}: {error}", path.display());
    let mut socket = UnixStream::connect(&path).map_err(failed)?;
    let mut line = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    line.push(b'\n');
    socket.write_all(&line).map_err(failed)?;
    let mut answers = Vec::new();
    for line in BufReader::new(socket).lines() {
        let line = line.map_err(failed)?;
        match serde_json::from_str(&line) {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                let refusal = serde_json::from_str(&line).map(|Refusal { error }| error);
                return Err(refusal
                    .unwrap_or_else(|_| format!("the answer cannot be read: {error}"))
                    .into());
            }
        }
    }
    Ok(answers)
}

/// Where the running relais answers: beside the PidFile of a configuration
/// that can be read.
fn socket(arguments: &Arguments) -> Result<PathBuf, Failure> {
    if let Some(path) = &arguments.socket {
        return Ok(path.clone());
    }
    let configuration = configuration::read(arguments)?;
    let Some(site) = &configuration.site else {
        configuration::print(&configuration, arguments);
        let help = "the configuration says where the running relais answers; --socket FILE does without it";
        return Err(help.into());
    };
    let pid_file = site.server.pid_file.as_ref().ok_or("there is no PidFile")?;
    Ok(super::path(pid_file))
}

pub(super) fn order(rows: &mut [Row], sort: Sort) {
    rows.sort_by_key(|row| {
        std::cmp::Reverse(match sort {
            Sort::Age => row.age_ms,
            Sort::Idle => row.idle_ms,
            Sort::Messages => row.messages_in + row.messages_out,
            Sort::Bytes => row.bytes_in + row.bytes_out,
        })
    });
}

pub(super) fn json(rows: &(impl Serialize + ?Sized)) -> String {
    let mut text = serde_json::to_string_pretty(rows).unwrap_or_default();
    text.push('\n');
    text
}

/// The table for a person: one line a tunnel.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:>8} {:<21} {:>8} {:>8} {:>15} {:>17}  {}\n",
        "ID", "CLIENT", "AGE", "IDLE", "MESSAGES IN/OUT", "BYTES IN/OUT", "HOST ROUTE ORIGIN VIA"
    );
    for row in rows {
        let messages = format!("{}/{}", row.messages_in, row.messages_out);
        let bytes = format!("{}/{}", size(row.bytes_in), size(row.bytes_out));
        let draining = if row.draining { " draining" } else { "" };
        let _ = writeln!(
            text,
            "{:>8} {:<21} {:>8} {:>8} {messages:>15} {bytes:>17}  {} {} {} {}{draining}",
            row.id,
            row.client,
            time(row.age_ms),
            time(row.idle_ms),
            row.host,
            route(row),
            row.origin,
            row.via
        );
    }
    text
}

/// A rule as an operator finds it; what no rule names has its origin only.
pub(super) fn route(row: &Row) -> String {
    match row.route.as_str() {
        "" => "-".to_owned(),
        rule => format!("{rule} ({})", short(&row.place)),
    }
}

/// `file:line` without the folders.
pub(super) fn short(place: &str) -> &str {
    place.rsplit('/').next().unwrap_or(place)
}

pub(super) fn time(milliseconds: u64) -> String {
    match milliseconds / 1000 {
        seconds @ 0..=9 => format!("{seconds}.{}s", milliseconds % 1000 / 100),
        seconds @ 10..=119 => format!("{seconds}s"),
        seconds @ 120..=7199 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => bytes.to_string(),
        10_000..=9_999_999 => format!("{}K", bytes / 1000),
        10_000_000..=9_999_999_999 => format!("{}M", bytes / 1_000_000),
        _ => format!("{}G", bytes / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        let times: &[(u64, &str)] = &[
            (0, "0.0s"),
            (1_234, "1.2s"),
            (59_999, "59s"),
            (125_000, "2m05s"),
            (7_260_000, "2h01m"),
        ];
        for &(milliseconds, expected) in times {
            assert_eq!(time(milliseconds), expected);
        }
        let sizes: &[(u64, &str)] = &[(9_999, "9999"), (12_345, "12K"), (12_345_678, "12M")];
        for &(bytes, expected) in sizes {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn values_of_options() {
        let milliseconds = |word| duration(word).ok().map(|time| time.as_millis());
        for (word, expected) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("30", Some(30_000)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("x", None),
            ("5d", None),
            ("", None),
        ] {
            assert_eq!(milliseconds(word), expected, "{word}");
        }
        for (word, allowed) in [
            ("1000", true),
            ("1005", false),
            ("1006", false),
            ("4000", true),
        ] {
            assert_eq!(code(word).is_ok(), allowed, "{word}");
        }
    }

    #[test]
    fn requests_go_both_ways() {
        let request = Request::End {
            choice: Choice {
                ids: vec![1, 2],
                route: Some("/ws".to_owned()),
                ..Choice::default()
            },
            how: How {
                drain: true,
                code: 1012,
                spread_ms: 30_000,
                rate: 5,
            },
        };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
        let short = r#"{"do":"tunnels","choice":{}}"#;
        let choice = Choice::default();
        assert_eq!(
            serde_json::from_str::<Request>(short).unwrap(),
            Request::Tunnels { choice }
        );
    }
}
