//! What httpd's multi-processing modules share: ports and the process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use relais_conf::{Diagnostic, Diagnostics, Span, Text};
use relais_policy::{
    Context, Directive, ListenerSpec, Module, Problem, ServerSpec, Set, SetResult, SiteDraft, Slot,
};

use crate::values;

/// The directives that httpd's documentation lists under *mpm_common*.
pub struct MpmCommon;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    listeners: Vec<(ListenerSpec, Span)>,
    pid_file: Option<PathBuf>,
    backlog: Option<u32>,
    graceful_shutdown_timeout: Option<Duration>,
}

impl Module for MpmCommon {
    const NAME: &'static str = "mpm_event";
    const IDENTIFIER: &'static str = "mpm_event_module";
    type Host = Host;
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "Listen",
            syntax: "Listen [IP-address:]portnumber [protocol]",
            context: Context::SERVER,
            default: None,
            doc: "An address and port to accept connections on; a port alone is all IPv6 and IPv4 addresses by one socket.",
            accepts: &[
                "Listen 80",
                "Listen 10.0.0.1:80",
                "Listen [::1]:8080",
                "Listen *:80",
                "Listen 80 http",
                "Listen 443 https",
            ],
            refuses: &[
                "Listen",
                "Listen 0",
                "Listen 65536",
                "Listen abc",
                "Listen ::1:80:",
                "Listen a.example:80",
            ],
            set: Set::Take12(listen),
        },
        Directive {
            name: "PidFile",
            syntax: "PidFile filename",
            context: Context::SERVER,
            default: Some("logs/httpd.pid"),
            doc: "The file that holds the process id, relative to ServerRoot.",
            accepts: &["PidFile /run/relais.pid", "PidFile logs/pid"],
            refuses: &["PidFile", "PidFile a b"],
            set: Set::Take1(|slot, path| {
                slot.host.pid_file = Some(slot.place.path(path));
                Ok(())
            }),
        },
        Directive {
            name: "ListenBacklog",
            syntax: "ListenBacklog backlog",
            context: Context::SERVER,
            default: Some("511"),
            doc: "How many connections may wait to be accepted.",
            accepts: &["ListenBacklog 1", "ListenBacklog 4096"],
            refuses: &["ListenBacklog", "ListenBacklog 0", "ListenBacklog x"],
            set: Set::Take1(|slot, word| {
                slot.host.backlog = Some(values::small(word, "ListenBacklog", 1..=u32::MAX)?);
                Ok(())
            }),
        },
        Directive {
            name: "GracefulShutdownTimeout",
            syntax: "GracefulShutdownTimeout seconds",
            context: Context::SERVER,
            default: Some("0"),
            doc: "How long a graceful stop waits for open requests and tunnels; zero waits for the last one.",
            accepts: &["GracefulShutdownTimeout 0", "GracefulShutdownTimeout 30"],
            refuses: &["GracefulShutdownTimeout", "GracefulShutdownTimeout soon"],
            set: Set::Take1(|slot, word| {
                slot.host.graceful_shutdown_timeout =
                    Some(values::seconds(word, "GracefulShutdownTimeout", 0)?);
                Ok(())
            }),
        },
    ];

    fn merge_host(outer: &Host, _inner: &Host) -> Host {
        outer.clone()
    }

    fn merge_section(_outer: &(), _inner: &()) {}

    fn check(draft: &SiteDraft, diagnostics: &mut Diagnostics) {
        let main = draft.hosts.first().and_then(|host| host.host.get::<Host>());
        for (index, (listener, span)) in main
            .iter()
            .flat_map(|host| host.listeners.iter().enumerate())
        {
            let earlier = main
                .iter()
                .flat_map(|host| &host.listeners)
                .take(index)
                .find(|(other, _)| other == listener);
            if let Some((_, first)) = earlier {
                let message = format!(
                    "Cannot define multiple Listeners on the same IP:port: {}",
                    listener.address
                );
                diagnostics.push(
                    Diagnostic::error("RC0310", *span, message)
                        .with_label(*first, "first defined here"),
                );
            }
        }
    }

    fn finish_server(host: &Host, spec: &mut ServerSpec) {
        spec.listeners = host
            .listeners
            .iter()
            .map(|(listener, _)| *listener)
            .collect();
        spec.pid_file.clone_from(&host.pid_file);
        spec.backlog = host.backlog;
        spec.graceful_shutdown_timeout = host.graceful_shutdown_timeout.unwrap_or_default();
    }
}

fn listen(slot: &mut Slot<'_, MpmCommon>, address: &Text, protocol: Option<&Text>) -> SetResult {
    if let Some(protocol) = protocol {
        listen_protocol(protocol)?;
    }
    let address = listen_address(address)?;
    slot.host
        .listeners
        .push((ListenerSpec { address }, slot.place.line));
    Ok(())
}

fn listen_protocol(protocol: &Text) -> SetResult {
    // As in httpd the word only informs: SSLEngine is what speaks TLS.
    if protocol.eq_ignore_case("http") || protocol.eq_ignore_case("https") {
        Ok(())
    } else {
        Err(Problem::at(
            protocol.span(),
            format!("Listen has no protocol `{}`", protocol.lossy()),
        ))
    }
}

/// `port`, `addr:port`, `*:port` or `[v6]:port`. A port alone and `*` are the
/// unspecified IPv6 address, which takes IPv4 connections too, as httpd's
/// single socket does where the system allows it.
fn listen_address(word: &Text) -> Result<SocketAddr, Problem> {
    let text = word.lossy();
    let start = text.rfind(':').map_or(0, |colon| colon + 1);
    let port =
        values::small(&word.slice(start..word.len()), "Listen", 1..=65535).map_err(|problem| {
            problem.with_help("the port comes last: `Listen 80` or `Listen 10.0.0.1:80`")
        })?;
    let host = text.get(..start.saturating_sub(1)).unwrap_or("");
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip = match (host, bare) {
        ("" | "*", _) => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        (_, Some(v6)) => v6.parse().ok().map(IpAddr::V6),
        (v4, None) => v4.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    let port = u16::try_from(port).unwrap_or(u16::MAX);
    match ip {
        Some(ip) if start != 1 => Ok(SocketAddr::new(ip, port)),
        _ => Err(Problem::at(
            word.slice(0..start.saturating_sub(1)).span(),
            format!("`{host}` is not a numeric address"),
        )
        .with_help("an IPv6 address stands in brackets: `Listen [::1]:80`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::text;

    #[test]
    fn addresses() {
        let table: &[(&str, Option<&str>)] = &[
            ("80", Some("[::]:80")),
            ("*:81", Some("[::]:81")),
            ("0.0.0.0:80", Some("0.0.0.0:80")),
            ("127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("[::1]:80", Some("[::1]:80")),
            ("[::]:80", Some("[::]:80")),
            ("::1:80", None),
            (":80", None),
            ("[::1]", None),
            ("1.2.3:80", None),
            ("a.example:80", None),
        ];
        for &(word, expected) in table {
            let found = listen_address(&text(word))
                .ok()
                .map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{word}");
        }
    }
}
