//! Tunnels in the text format of Prometheus (exposition format 0.0.4). The names of ends are those of the access log,
//! directions are the client's: `in` is what it sent.

use std::fmt::Write as _;

use relais_tunnel::{EndReason, EngineHandle, Sum};

/// What the tunnels have come to, and how many are open by route.
#[must_use]
pub fn tunnels(engine: &EngineHandle) -> String {
    let totals = engine.totals();
    let mut text = String::with_capacity(4096);
    family(
        &mut text,
        "open",
        "gauge",
        "Tunnels that are open, by route.",
    );
    for route in engine.routes() {
        let names = route.names();
        let labels = [
            ("host", names.host),
            ("route", names.rule),
            ("place", names.place),
            ("origin", names.origin),
        ];
        line(&mut text, "open", &labels, route.live() as u64);
    }
    family(
        &mut text,
        "opened_total",
        "counter",
        "Tunnels that were opened.",
    );
    line(&mut text, "opened_total", &[], totals.opened);
    family(
        &mut text,
        "ended_total",
        "counter",
        "Tunnels that have ended, by how.",
    );
    for (reason, count) in EndReason::ALL.iter().zip(totals.ended) {
        line(&mut text, "ended_total", &[("end", reason.as_str())], count);
    }
    let help = "Time that ended tunnels were open.";
    family(&mut text, "seconds_total", "counter", help);
    let _ = writeln!(
        text,
        "relais_tunnels_seconds_total {}.{:03}",
        totals.milliseconds / 1000,
        totals.milliseconds % 1000
    );
    for (name, help, kinds) in FAMILIES {
        family(&mut text, name, "counter", help);
        for (direction, sum) in [("in", totals.from_client), ("out", totals.from_origin)] {
            for (kind, count) in *kinds {
                let labels = [("direction", direction), ("kind", *kind)];
                let labels = &labels[..if kind.is_empty() { 1 } else { 2 }];
                line(&mut text, name, labels, count(&sum));
            }
        }
    }
    text
}

type Kind = (&'static str, fn(&Sum) -> u64);

const FAMILIES: &[(&str, &str, &[Kind])] = &[
    (
        "bytes_total",
        "Bytes of ended tunnels.",
        &[("", |sum| sum.bytes)],
    ),
    (
        "messages_total",
        "Messages of ended tunnels.",
        &[("text", |sum| sum.text), ("binary", |sum| sum.binary)],
    ),
    (
        "control_frames_total",
        "Pings and Pongs of ended tunnels.",
        &[("ping", |sum| sum.pings), ("pong", |sum| sum.pongs)],
    ),
    (
        "violations_total",
        "Breaches of RFC 6455 in ended tunnels.",
        &[("", |sum| sum.violations)],
    ),
];

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP relais_tunnels_{name} {help}");
    let _ = writeln!(text, "# TYPE relais_tunnels_{name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let _ = write!(text, "relais_tunnels_{name}");
    for (at, (label, of)) in labels.iter().enumerate() {
        let open = if at == 0 { '{' } else { ',' };
        let _ = write!(text, "{open}{label}=\"{}\"", escaped(of));
    }
    let close = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(text, "{close} {value}");
}

/// A label's value: backslash, quote and line feed are escaped.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = String::new();
        let labels = [("route", "RewriteRule ^/\\d+\"(.*)$"), ("host", "a")];
        line(&mut text, "open", &labels, 3);
        assert_eq!(
            text,
            "relais_tunnels_open{route=\"RewriteRule ^/\\\\d+\\\"(.*)$\",host=\"a\"} 3\n"
        );
    }
}
