//! `relais reload`: the running relais reads its configuration again, or says
//! what that would do to the live tunnels.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Request;
use super::client::{ask, json, short};
use crate::cli::Arguments;
use crate::{Failure, Outcome, report};

/// What a reload did, or would do.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Reloaded {
    /// The routes with live tunnels, those with the most first.
    pub(crate) routes: Vec<RouteFate>,
    /// Why nothing has changed.
    pub(crate) error: Option<String>,
}

/// What becomes of the tunnels of one route.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct RouteFate {
    /// The virtual host.
    pub(crate) host: String,
    /// The rule: `ProxyPass /ws`.
    pub(crate) route: String,
    /// Where it stood when the tunnels were opened: `file:line`.
    pub(crate) place: String,
    /// Its target as written.
    pub(crate) target: String,
    /// The origin.
    pub(crate) origin: String,
    /// How many tunnels are open.
    pub(crate) tunnels: usize,
    /// `unchanged`, `changed` or `removed`.
    pub(crate) fate: String,
    /// `keep`, `drain` or `close`.
    pub(crate) action: String,
    /// Over how long they end, in milliseconds.
    pub(crate) window_ms: u64,
}

/// `relais reload [--dry-run] [--json]`.
///
/// # Errors
/// When no relais answers, or the configuration is wrong.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let dry_run = arguments.dry_run;
    let answers: Vec<Reloaded> = ask(arguments, &Request::Reload { dry_run })?;
    let Some(reloaded) = answers.into_iter().next() else {
        return Err("relais has ended without an answer".into());
    };
    if let Some(error) = &reloaded.error {
        eprintln!("{}", error.trim_end());
        eprintln!("relais: the configuration was not changed");
        return Err(Failure::Told);
    }
    report::print(&if arguments.inquiry.is_json() {
        json(&reloaded)
    } else {
        table(&reloaded.routes, dry_run)
    });
    Ok(())
}

fn table(routes: &[RouteFate], dry_run: bool) -> String {
    let mut text = String::new();
    if !routes.is_empty() {
        let _ = writeln!(
            text,
            "{:>8} {:<9} {:<11} HOST RULE TARGET",
            "TUNNELS", "ROUTE", "ACTION"
        );
    }
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    for route in routes {
        let over = match route.window_ms {
            0 => String::new(),
            window => format!(" {}s", window.div_ceil(1000)),
        };
        let rule = match route.route.as_str() {
            "" => format!("- {}", route.origin),
            rule => format!("{rule} ({}) {}", short(&route.place), route.target),
        };
        let _ = writeln!(
            text,
            "{:>8} {:<9} {:<11} {} {rule}",
            route.tunnels,
            route.fate,
            format!("{}{over}", route.action),
            route.host,
        );
        *sums.entry(&route.action).or_default() += route.tunnels;
    }
    let of = |action: &str| sums.get(action).copied().unwrap_or(0);
    let (done, stay) = if dry_run {
        ("A reload would change the configuration", "would stay")
    } else {
        ("The configuration was read again", "stay")
    };
    let _ = writeln!(
        text,
        "{done}: {} tunnels {stay}, {} drain, {} close.",
        of("keep"),
        of("drain"),
        of("close")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_route_and_the_sums() {
        let route = |tunnels, fate: &str, action: &str, window_ms| RouteFate {
            host: "a.example".to_owned(),
            route: "ProxyPass /ws".to_owned(),
            place: "/etc/relais/sites/a.conf:7".to_owned(),
            target: "ws://10.0.0.1/".to_owned(),
            origin: "10.0.0.1:80".to_owned(),
            tunnels,
            fate: fate.to_owned(),
            action: action.to_owned(),
            window_ms,
        };
        let text = table(
            &[
                route(4812, "unchanged", "keep", 0),
                route(30, "removed", "drain", 30_000),
                route(2, "changed", "close", 0),
            ],
            true,
        );
        assert_eq!(
            text,
            "\x20TUNNELS ROUTE     ACTION      HOST RULE TARGET
    4812 unchanged keep        a.example ProxyPass /ws (a.conf:7) ws://10.0.0.1/
      30 removed   drain 30s   a.example ProxyPass /ws (a.conf:7) ws://10.0.0.1/
       2 changed   close       a.example ProxyPass /ws (a.conf:7) ws://10.0.0.1/
A reload would change the configuration: 4812 tunnels would stay, 30 drain, 2 close.
"
        );
        let none = "The configuration was read again: 0 tunnels stay, 0 drain, 0 close.\n";
        assert_eq!(table(&[], false), none);
    }
}
