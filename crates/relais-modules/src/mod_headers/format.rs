//! The value of a field: text with format specifiers in it.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use relais_conf::Text;
use relais_expr::{Lookup, State, StringExpression, Variable};
use relais_policy::{Exchange, Problem};

use crate::values;

/// A parsed value.
#[derive(Default, Debug)]
pub(super) struct Format(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(Vec<u8>),
    /// `%t`: the request's arrival in microseconds since 1970.
    Time,
    /// `%D`: microseconds since then.
    Duration,
    /// `%l`, `%i`, `%b`.
    Load,
    Idle,
    Busy,
    /// `%{NAME}e`.
    Environment(Vec<u8>),
    /// `expr=…`, the whole value.
    Expression(StringExpression),
    /// `%{NAME}s`: mod_ssl's variables, which a clear connection has none of.
    Ssl(Variable),
}

impl Format {
    /// Parses a value (`parse_format_string`).
    pub(super) fn parse(word: &Text) -> Result<Self, Problem> {
        let text = word.bytes();
        if text.starts_with(b"expr=") {
            let expression = values::text(word, "expr=".len())?;
            return Ok(Self(vec![Part::Expression(expression)]));
        }
        let (mut parts, mut at) = (Self::default(), 0);
        while let Some(&byte) = text.get(at) {
            let rest = text.get(at + 1..).unwrap_or_default();
            at += match (byte, rest.first()) {
                (b'%', Some(b'%')) => parts.text(b'%', 2),
                (b'%', Some(_)) => {
                    let (part, length) = specifier(rest).ok_or_else(|| {
                        let end = (at + 2).min(text.len());
                        let message = "Unrecognized header format %";
                        Problem::at(word.span_of(at..end), message)
                            .with_help("the specifiers are %t %D %l %i %b %{NAME}e %{NAME}s and %%")
                    })?;
                    parts.0.push(part);
                    1 + length
                }
                (b'\\', Some(b'\\')) => parts.text(b'\\', 2),
                (b'\\', Some(b'n')) => parts.text(b'\n', 2),
                (b'\\', Some(b'r')) => parts.text(b'\r', 2),
                (b'\\', Some(b't')) => parts.text(b'\t', 2),
                _ => parts.text(byte, 1),
            };
        }
        Ok(parts)
    }

    fn text(&mut self, byte: u8, length: usize) -> usize {
        match self.0.last_mut() {
            Some(Part::Text(text)) => text.push(byte),
            _ => self.0.push(Part::Text(vec![byte])),
        }
        length
    }

    /// Appends the value.
    pub(super) fn write(
        &self,
        exchange: &Exchange<'_>,
        lookup: &dyn Lookup,
        state: &mut State,
        elapsed: Duration,
        out: &mut Vec<u8>,
    ) {
        for part in &self.0 {
            // Writing to memory cannot fail.
            let _ = match part {
                Part::Text(text) => out.write_all(text),
                Part::Time => write!(out, "t={}", micros(exchange.now)),
                Part::Duration => write!(out, "D={}", elapsed.as_micros()),
                Part::Load => {
                    let [one, five, fifteen] = (exchange.load)().averages;
                    write!(out, "l={one:.2}/{five:.2}/{fifteen:.2}")
                }
                Part::Idle => write!(out, "i={}", 100 - busy(exchange)),
                Part::Busy => write!(out, "b={}", busy(exchange)),
                Part::Environment(name) => {
                    let start = out.len();
                    let value = exchange.environment.get(name).unwrap_or(b"(null)");
                    let written = out.write_all(value);
                    unfold(&mut out[start..]);
                    written
                }
                Part::Expression(expression) => {
                    expression.eval(lookup, state, out);
                    Ok(())
                }
                Part::Ssl(variable) => {
                    let start = out.len();
                    lookup.variable(variable, out);
                    unfold(&mut out[start..]);
                    let missing = out.len() == start;
                    out.write_all(if missing { b"(null)" } else { b"" })
                }
            };
        }
    }
}

/// A value may have many lines, a header has one (`unwrap_header`).
fn unfold(value: &mut [u8]) {
    let newlines = value.iter_mut().filter(|byte| **byte == b'\n');
    newlines.for_each(|byte| *byte = b' ');
}

/// One specifier without its `%`, and its length.
fn specifier(text: &[u8]) -> Option<(Part, usize)> {
    let (argument, at) = match text {
        [b'{', rest @ ..] => {
            let end = rest.iter().position(|&byte| byte == b'}')?;
            (rest.get(..end)?, end + 2)
        }
        _ => (&b""[..], 0),
    };
    let part = match text.get(at)? {
        b't' => Part::Time,
        b'D' => Part::Duration,
        b'l' => Part::Load,
        b'i' => Part::Idle,
        b'b' => Part::Busy,
        b'e' => Part::Environment(argument.to_vec()),
        b's' => Part::Ssl(Variable::Ssl(argument.into())),
        _ => return None,
    };
    Some((part, at + 1))
}

fn micros(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros()
}

/// httpd counts its busy workers here. relais' threads are never all busy, so
/// the machine's load per processor stands for them, in percent.
fn busy(exchange: &Exchange<'_>) -> u64 {
    let load = (exchange.load)();
    let percent = 100.0 * load.averages[0] / f64::from(load.processors.max(1));
    // The bounds are those of a percentage.
    percent.clamp(0.0, 100.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::text;

    #[test]
    fn values() {
        let table: &[(&str, Option<&str>)] = &[
            ("plain", Some("\"plain\"")),
            ("", Some("")),
            ("100%", Some("\"100%\"")),
            ("%%t", Some("\"%t\"")),
            ("a%tb", Some("\"a\" Time \"b\"")),
            ("%{X-Req}i", Some("Idle")),
            ("%{A}e", Some("Environment(A)")),
            (r"a\n\\b\x", Some(r#""a\n\\b\\x""#)),
            ("expr=%{REQUEST_URI}", Some("Expression")),
            ("expr=%{NO_SUCH}", None),
            ("%h", None),
            ("%{x}n", None),
            ("%{x", None),
        ];
        let shown = |part: &Part| match part {
            Part::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
            Part::Environment(name) => format!("Environment({})", String::from_utf8_lossy(name)),
            Part::Expression(_) => "Expression".to_owned(),
            other => format!("{other:?}"),
        };
        for (value, expected) in table {
            let found = Format::parse(&text(value)).ok();
            let found =
                found.map(|format| format.0.iter().map(shown).collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), *expected, "{value}");
        }
    }
}
