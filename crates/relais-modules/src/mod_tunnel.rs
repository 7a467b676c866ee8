//! mod_tunnel: what upgraded connections may do, and for how long.
//!
//! httpd has no such module. Inside `<IfModule tunnel_module>` the same file
//! still loads there. Without its directives tunnels behave as httpd's do.

use std::time::Duration;

use relais_conf::{Diagnostic, Diagnostics, Text};
use relais_policy::{
    Context, Decision, Directive, Exchange, Flow, HostSpec, Module, OnReload, Problem,
    ReloadAction, Respond, Set, SetResult, SiteDraft, Slot, TunnelHostSpec, TunnelRate, TunnelSize,
    TunnelSpec, TunnelTime,
};
use relais_telemetry::Level;

use crate::{core, values};

/// mod_tunnel.
pub struct Tunnel;

/// Per-server settings.
#[derive(Clone, Copy, Default, Debug)]
pub struct Host {
    tunnels_max: Option<u64>,
    /// The main server's, in a merged virtual host.
    tunnels_max_server: Option<u64>,
    tunnels_max_client: Option<u64>,
}

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    spec: TunnelSpec,
    origins: Option<Origins>,
    /// Where `TunnelPing` stands.
    ping_span: Option<relais_conf::Span>,
}

/// `TunnelOrigin`.
#[derive(Clone, Debug)]
struct Origins {
    /// Whether others are only logged.
    log_only: bool,
    /// The request's own host.
    same: bool,
    /// Lower-case hosts, some with a port, some as `*.example.org`.
    hosts: Vec<Vec<u8>>,
}

impl Module for Tunnel {
    const NAME: &'static str = "mod_tunnel";
    const IDENTIFIER: &'static str = "tunnel_module";
    type Host = Host;
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "TunnelIdleTimeout",
            syntax: "TunnelIdleTimeout time|Off",
            context: Context::ANY,
            default: None,
            doc: "Ends a tunnel when no byte went either way for this long, with a Close frame 1001; without it the larger of Timeout and the worker's timeout counts, as in httpd.",
            accepts: &[
                "TunnelIdleTimeout 300",
                "TunnelIdleTimeout 500ms",
                "TunnelIdleTimeout 1h",
                "tunnelidletimeout off",
            ],
            refuses: TIME_REFUSES_IDLE,
            set: Set::Take1(|slot, word| {
                slot.section.spec.idle = Some(time(word, "TunnelIdleTimeout")?);
                Ok(())
            }),
        },
        Directive {
            name: "TunnelMaxLifetime",
            syntax: "TunnelMaxLifetime time|Off",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Ends a tunnel that has been open for this long, with a Close frame 1001.",
            accepts: &["TunnelMaxLifetime 12h", "TunnelMaxLifetime Off"],
            refuses: &[
                "TunnelMaxLifetime",
                "TunnelMaxLifetime 0",
                "TunnelMaxLifetime x",
            ],
            set: Set::Take1(|slot, word| {
                slot.section.spec.lifetime = Some(time(word, "TunnelMaxLifetime")?);
                Ok(())
            }),
        },
        Directive {
            name: "TunnelHalfCloseTimeout",
            syntax: "TunnelHalfCloseTimeout time|Off",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Ends a tunnel when one side has ended its stream and the other has not for this long.",
            accepts: &["TunnelHalfCloseTimeout 30", "TunnelHalfCloseTimeout off"],
            refuses: &["TunnelHalfCloseTimeout", "TunnelHalfCloseTimeout 0"],
            set: Set::Take1(|slot, word| {
                slot.section.spec.half_close = Some(time(word, "TunnelHalfCloseTimeout")?);
                Ok(())
            }),
        },
        Directive {
            name: "TunnelWriteTimeout",
            syntax: "TunnelWriteTimeout time|Off",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Ends a tunnel when one side takes nothing of what waits for it for this long.",
            accepts: &["TunnelWriteTimeout 20", "TunnelWriteTimeout Off"],
            refuses: &[
                "TunnelWriteTimeout",
                "TunnelWriteTimeout 0",
                "TunnelWriteTimeout -1",
            ],
            set: Set::Take1(|slot, word| {
                slot.section.spec.write = Some(time(word, "TunnelWriteTimeout")?);
                Ok(())
            }),
        },
        Directive {
            name: "TunnelPing",
            syntax: "TunnelPing time|Off",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Sends a client that has been silent for this long a Ping frame, and ends the tunnel when it stays silent as long again; the client's Pong goes on to the origin.",
            accepts: &["TunnelPing 30", "TunnelPing Off"],
            refuses: &["TunnelPing", "TunnelPing 0", "TunnelPing x"],
            set: Set::Take1(|slot, word| {
                slot.section.spec.ping = Some(time(word, "TunnelPing")?);
                slot.section.ping_span = Some(word.span());
                Ok(())
            }),
        },
        Directive {
            name: "MaxTunnels",
            syntax: "MaxTunnels number",
            context: Context::HOST,
            default: Some("0"),
            doc: "How many tunnels may be open: of all hosts together in the main server, of that host alone in a virtual host; 0 is no limit. A request too many gets 503.",
            accepts: &["MaxTunnels 10000", "MaxTunnels 0"],
            refuses: &["MaxTunnels", "MaxTunnels x", "MaxTunnels -1"],
            set: Set::Take1(|slot, word| {
                let most = values::number(word, "MaxTunnels", 0..=u64::from(u32::MAX))?;
                if slot.place.context == Context::SERVER {
                    slot.host.tunnels_max_server = Some(most);
                } else {
                    slot.host.tunnels_max = Some(most);
                }
                Ok(())
            }),
        },
        Directive {
            name: "MaxTunnelsPerClient",
            syntax: "MaxTunnelsPerClient number",
            context: Context::HOST,
            default: Some("0"),
            doc: "How many tunnels one client address may have open; 0 is no limit. A request too many gets 503.",
            accepts: &["MaxTunnelsPerClient 50"],
            refuses: &["MaxTunnelsPerClient", "MaxTunnelsPerClient x"],
            set: Set::Take1(|slot, word| {
                let range = 0..=u64::from(u32::MAX);
                slot.host.tunnels_max_client =
                    Some(values::number(word, "MaxTunnelsPerClient", range)?);
                Ok(())
            }),
        },
        Directive {
            name: "TunnelMaxMessageSize",
            syntax: "TunnelMaxMessageSize bytes[K|M|G] [client|origin|both]",
            context: Context::ANY,
            default: Some("0"),
            doc: "Ends a tunnel in front of a message with a larger payload, with a Close frame 1009 to its sender; 0 is no limit, and without the second word it holds for clients.",
            accepts: &[
                "TunnelMaxMessageSize 65536",
                "TunnelMaxMessageSize 1M both",
                "TunnelMaxMessageSize 16m origin",
                "TunnelMaxMessageSize 0",
            ],
            refuses: &[
                "TunnelMaxMessageSize",
                "TunnelMaxMessageSize 1X",
                "TunnelMaxMessageSize 1M server",
                "TunnelMaxMessageSize K",
            ],
            set: Set::Take12(|slot, bytes, whose| {
                slot.section.spec.message_size = Some(size(bytes, whose, "TunnelMaxMessageSize")?);
                Ok(())
            }),
        },
        Directive {
            name: "TunnelMaxFrameSize",
            syntax: "TunnelMaxFrameSize bytes[K|M|G] [client|origin|both]",
            context: Context::ANY,
            default: Some("0"),
            doc: "The same for the payload of one frame.",
            accepts: &["TunnelMaxFrameSize 64K", "TunnelMaxFrameSize 1M client"],
            refuses: &["TunnelMaxFrameSize", "TunnelMaxFrameSize -1"],
            set: Set::Take12(|slot, bytes, whose| {
                slot.section.spec.frame_size = Some(size(bytes, whose, "TunnelMaxFrameSize")?);
                Ok(())
            }),
        },
        Directive {
            name: "TunnelMessageRate",
            syntax: "TunnelMessageRate number [burst]",
            context: Context::ANY,
            default: Some("0"),
            doc: "Ends a tunnel whose client begins more messages a second, with a Close frame 1008; so many as the second number, or as the first, may come at once. 0 is no limit.",
            accepts: &[
                "TunnelMessageRate 20",
                "TunnelMessageRate 20 100",
                "TunnelMessageRate 0",
            ],
            refuses: &[
                "TunnelMessageRate",
                "TunnelMessageRate x",
                "TunnelMessageRate 20 0",
            ],
            set: Set::Take12(|slot, number, burst| {
                let per_second =
                    values::number(number, "TunnelMessageRate", 0..=u64::from(u32::MAX))?;
                let burst = burst.map(|burst| {
                    values::number(burst, "TunnelMessageRate", 1..=u64::from(u32::MAX))
                });
                let burst = burst.transpose()?.unwrap_or(per_second);
                slot.section.spec.message_rate = Some(TunnelRate { per_second, burst });
                Ok(())
            }),
        },
        Directive {
            name: "TunnelByteRate",
            syntax: "TunnelByteRate bytes[K|M|G] [burst[K|M|G]]",
            context: Context::ANY,
            default: Some("0"),
            doc: "How many bytes a second are read from a client; one that sends more has to wait. 0 is no limit.",
            accepts: &[
                "TunnelByteRate 64K",
                "TunnelByteRate 64K 1M",
                "TunnelByteRate 0",
            ],
            refuses: &[
                "TunnelByteRate",
                "TunnelByteRate fast",
                "TunnelByteRate 1K 0",
            ],
            set: Set::Take12(|slot, bytes, burst| {
                let per_second = byte_count(bytes, "TunnelByteRate", 0)?;
                let burst = burst.map(|burst| byte_count(burst, "TunnelByteRate", 1));
                let burst = burst.transpose()?.unwrap_or(per_second);
                slot.section.spec.byte_rate = Some(TunnelRate { per_second, burst });
                Ok(())
            }),
        },
        Directive {
            name: "TunnelOnViolation",
            syntax: "TunnelOnViolation pass|close",
            context: Context::ANY,
            default: Some("pass"),
            doc: "What happens to a frame that breaks RFC 6455: it is counted and passed on, or the tunnel ends with a Close frame 1002 to its sender.",
            accepts: &["TunnelOnViolation pass", "TunnelOnViolation Close"],
            refuses: &["TunnelOnViolation", "TunnelOnViolation drop"],
            set: Set::Take1(|slot, word| {
                let choice = values::choice(word, "TunnelOnViolation", &["pass", "close"])?;
                slot.section.spec.end_on_violation = Some(choice == 1);
                Ok(())
            }),
        },
        Directive {
            name: "TunnelOrigin",
            syntax: "TunnelOrigin [deny|log] same|host[:port]|*.domain ...",
            context: Context::ANY,
            default: None,
            doc: "Which pages may open tunnels, by the host of their Origin field; others get 403, or a line in the error log. A request without Origin comes from no browser and passes.",
            accepts: &[
                "TunnelOrigin same",
                "TunnelOrigin deny same chat.example *.example.org",
                "TunnelOrigin log app.example:8443",
            ],
            refuses: &[
                "TunnelOrigin",
                "TunnelOrigin deny",
                "TunnelOrigin https://chat.example",
                "TunnelOrigin *",
            ],
            set: Set::Words(origins),
        },
        Directive {
            name: "TunnelOnReload",
            syntax: "TunnelOnReload keep|drain|close | [unchanged=|changed=|removed=]keep|drain|close ...",
            context: Context::ANY,
            default: Some("unchanged=keep changed=keep removed=drain"),
            doc: "What a reload does to live tunnels, by what became of their route; one word counts for all.",
            accepts: &[
                "TunnelOnReload keep",
                "TunnelOnReload changed=drain removed=close",
            ],
            refuses: &[
                "TunnelOnReload",
                "TunnelOnReload restart",
                "TunnelOnReload gone=keep",
            ],
            set: Set::Iterate(on_reload),
        },
        Directive {
            name: "TunnelDrainWindow",
            syntax: "TunnelDrainWindow time",
            context: Context::ANY,
            default: Some("30"),
            doc: "Over how long tunnels that are drained end, each at a moment of its own; 0 ends them at once.",
            accepts: &["TunnelDrainWindow 5min", "TunnelDrainWindow 0"],
            refuses: &["TunnelDrainWindow", "TunnelDrainWindow x"],
            set: Set::Take1(|slot, word| {
                let window = values::duration(word, "TunnelDrainWindow", Duration::from_secs(1))?;
                slot.section.spec.drain.window = Some(window);
                Ok(())
            }),
        },
        Directive {
            name: "TunnelDrainRate",
            syntax: "TunnelDrainRate number",
            context: Context::ANY,
            default: Some("0"),
            doc: "How many tunnels end in a second of a drain at the most, for which the window is exceeded; 0 is no cap.",
            accepts: &["TunnelDrainRate 200", "TunnelDrainRate 0"],
            refuses: &["TunnelDrainRate", "TunnelDrainRate x"],
            set: Set::Take1(|slot, word| {
                slot.section.spec.drain.rate =
                    Some(values::small(word, "TunnelDrainRate", 0..=u32::MAX)?);
                Ok(())
            }),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        Host {
            tunnels_max: inner.tunnels_max,
            tunnels_max_server: outer.tunnels_max_server,
            tunnels_max_client: inner.tunnels_max_client.or(outer.tunnels_max_client),
        }
    }

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        let (above, below) = (&outer.spec, &inner.spec);
        Section {
            spec: TunnelSpec {
                idle: below.idle.or(above.idle),
                lifetime: below.lifetime.or(above.lifetime),
                half_close: below.half_close.or(above.half_close),
                write: below.write.or(above.write),
                ping: below.ping.or(above.ping),
                message_size: below.message_size.or(above.message_size),
                frame_size: below.frame_size.or(above.frame_size),
                message_rate: below.message_rate.or(above.message_rate),
                byte_rate: below.byte_rate.or(above.byte_rate),
                end_on_violation: below.end_on_violation.or(above.end_on_violation),
                // The request says so.
                no_half_close: false,
                drain: below.drain.over(above.drain),
            },
            origins: inner.origins.clone().or_else(|| outer.origins.clone()),
            ping_span: inner.ping_span.or(outer.ping_span),
        }
    }

    fn check(draft: &SiteDraft, diagnostics: &mut Diagnostics) {
        for host in &draft.hosts {
            let sections = host.sections.iter().map(|section| &section.settings);
            for settings in sections.chain([&host.base]) {
                diagnostics.extend(settings.get::<Section>().and_then(idle_ping));
            }
        }
    }

    fn finish_host(host: &Host, section: &Section, spec: &mut HostSpec) {
        spec.tunnels = TunnelHostSpec {
            tunnels_max: host.tunnels_max.unwrap_or(0),
            tunnels_max_server: host.tunnels_max_server.unwrap_or(0),
            tunnels_max_client: host.tunnels_max_client.unwrap_or(0),
        };
        spec.tunnel = section.spec;
    }
}

/// What a tunnel for this request may do, or why there is none.
pub(crate) fn judge(exchange: &mut Exchange<'_>) -> Result<TunnelSpec, Respond> {
    let section: &Section = exchange.section_settings();
    let spec = TunnelSpec {
        no_half_close: exchange.environment.get(b"proxy-nohalfclose").is_some(),
        ..section.spec
    };
    let Some(origins) = &section.origins else {
        return Ok(spec);
    };
    let fields = exchange.fields();
    let host = fields.get("Host").unwrap_or_default();
    let stranger = fields
        .get_all("Origin")
        .find(|origin| !origins.allow(origin, host));
    let Some(stranger) = stranger else {
        return Ok(spec);
    };
    let message = format!(
        "TunnelOrigin: no tunnels for pages of {}",
        stranger.escape_ascii()
    );
    if !origins.log_only {
        return Err(Respond::logged(403, message));
    }
    exchange.note("tunnel", Level::Warn, || message);
    Ok(spec)
}

/// The handler `tunnel-metrics`.
pub(crate) fn respond(exchange: &mut Exchange<'_>) -> Flow {
    let ours = exchange.handler.as_deref() == Some(core::TUNNEL_METRICS);
    if !ours || exchange.proxy.is_some() || !matches!(exchange.head.method(), b"GET" | b"HEAD") {
        return Flow::Declined;
    }
    let Some(running) = exchange.running else {
        let log = "nothing runs whose tunnels could be counted";
        return Flow::Decide(Decision::Respond(Respond::logged(503, log)));
    };
    let kind = b"text/plain; version=0.0.4; charset=utf-8".to_vec();
    Flow::Decide(Decision::Respond(Respond {
        fields: vec![("Content-Type", kind)],
        body: Some(running().tunnel_metrics().into_bytes()),
        ..Respond::status(200)
    }))
}

impl Origins {
    fn allow(&self, origin: &[u8], host: &[u8]) -> bool {
        // RFC 6454 section 6.1: scheme, `://`, host, and the port where it is not the scheme's.
        let Some(at) = origin.windows(3).position(|three| three == b"://") else {
            return false;
        };
        let authority = origin
            .get(at + 3..)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let name = without_port(&authority);
        (self.same && authority.eq_ignore_ascii_case(host))
            || self
                .hosts
                .iter()
                .any(|allowed| match allowed.strip_prefix(b"*") {
                    Some(domain) => name.len() > domain.len() && name.ends_with(domain),
                    None => *allowed == authority || *allowed == name,
                })
    }
}

/// The host of `host:port`; a port has no `]` and no colon.
fn without_port(authority: &[u8]) -> &[u8] {
    let colon = authority.iter().rposition(|&byte| byte == b':');
    match colon {
        Some(at) if !authority.get(at..).unwrap_or_default().contains(&b']') => {
            authority.get(..at).unwrap_or_default()
        }
        _ => authority,
    }
}

fn origins(slot: &mut Slot<'_, Tunnel>, words: &[Text]) -> SetResult {
    let mode = words
        .first()
        .filter(|word| word.eq_ignore_case("log") || word.eq_ignore_case("deny"));
    let rest = words.get(usize::from(mode.is_some())..).unwrap_or_default();
    if rest.is_empty() {
        return Err(Problem::new("TunnelOrigin names no host"));
    }
    let mut origins = Origins {
        log_only: mode.is_some_and(|word| word.eq_ignore_case("log")),
        same: false,
        hosts: Vec::new(),
    };
    for word in rest {
        let host = word.bytes().to_ascii_lowercase();
        let plain = host.strip_prefix(b"*.").unwrap_or(&host);
        if plain.is_empty() || plain.iter().any(|byte| b"/*? ".contains(byte)) {
            let problem = Problem::at(word.span(), format!("`{}` is no host", word.lossy()));
            return Err(problem.with_help(
                "a host such as chat.example, chat.example:8443 or *.example.org, or `same`",
            ));
        }
        if host == b"same" {
            origins.same = true;
        } else {
            origins.hosts.push(host);
        }
    }
    slot.section.origins = Some(origins);
    Ok(())
}

fn on_reload(slot: &mut Slot<'_, Tunnel>, word: &Text) -> SetResult {
    let equals = word.bytes().iter().position(|&byte| byte == b'=');
    let action = word.slice(equals.map_or(0, |at| at + 1)..word.len());
    let action = match values::choice(&action, "TunnelOnReload", &["keep", "drain", "close"])? {
        0 => ReloadAction::Keep,
        1 => ReloadAction::Drain,
        _ => ReloadAction::Close,
    };
    let on_reload = &mut slot.section.spec.drain.on_reload;
    let Some(equals) = equals else {
        *on_reload = OnReload {
            unchanged: Some(action),
            changed: Some(action),
            removed: Some(action),
        };
        return Ok(());
    };
    let routes = ["unchanged", "changed", "removed"];
    match values::choice(&word.slice(0..equals), "TunnelOnReload", &routes)? {
        0 => on_reload.unchanged = Some(action),
        1 => on_reload.changed = Some(action),
        _ => on_reload.removed = Some(action),
    }
    Ok(())
}

/// A time of at least a millisecond, or `Off`.
fn time(word: &Text, name: &str) -> Result<TunnelTime, Problem> {
    if word.eq_ignore_case("off") {
        return Ok(TunnelTime::Off);
    }
    let time = values::duration(word, name, Duration::from_secs(1))?;
    if time.is_zero() {
        let problem = Problem::at(
            word.span(),
            format!("{name} takes a time above zero, or Off"),
        );
        return Err(problem);
    }
    Ok(TunnelTime::After(time))
}

fn size(bytes: &Text, whose: Option<&Text>, name: &str) -> Result<TunnelSize, Problem> {
    let whose = whose.map(|word| values::choice(word, name, &["client", "origin", "both"]));
    let whose = whose.transpose()?.unwrap_or(0);
    let bytes = byte_count(bytes, name, 0)?;
    Ok(TunnelSize {
        bytes: (bytes > 0).then_some(bytes),
        client: whose != 1,
        origin: whose != 0,
    })
}

/// A number of bytes with `K`, `M`, `G` or nothing behind it.
fn byte_count(word: &Text, name: &str, least: u64) -> Result<u64, Problem> {
    let (length, unit) = match word.bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (word.len() - 1, 1 << 10),
        Some(b'm') => (word.len() - 1, 1 << 20),
        Some(b'g') => (word.len() - 1, 1 << 30),
        _ => (word.len(), 1),
    };
    let count = values::number(&word.slice(0..length), name, least..=u64::from(u32::MAX));
    let refused = |_| {
        let message = format!(
            "{name} takes bytes such as 65536, 64K or 1M, not `{}`",
            word.lossy()
        );
        Problem::at(word.span(), message)
    };
    Ok(count.map_err(refused)? * unit)
}

/// The warning about a ping that comes too late.
fn idle_ping(section: &Section) -> Option<Diagnostic> {
    let ping = section.spec.ping?.limit()?;
    let idle = section.spec.idle?.limit()?;
    let span = section.ping_span.filter(|_| ping >= idle)?;
    let message = "TunnelPing is not shorter than TunnelIdleTimeout, so that the tunnel ends first";
    Some(Diagnostic::warning("RC0601", span, message))
}

const TIME_REFUSES_IDLE: &[&str] = &[
    "TunnelIdleTimeout",
    "TunnelIdleTimeout 0",
    "TunnelIdleTimeout 5 5",
    "TunnelIdleTimeout soon",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_by_host() {
        let origins = Origins {
            log_only: false,
            same: true,
            hosts: ["chat.example", "app.example:8443", "*.example.org"]
                .map(|host| host.as_bytes().to_vec())
                .to_vec(),
        };
        for (origin, host, allowed) in [
            ("https://chat.example", "x", true),
            ("https://CHAT.example:81", "x", true),
            ("https://chat.example.evil", "x", false),
            ("https://evil-chat.example", "x", false),
            ("https://app.example:8443", "x", true),
            ("https://app.example", "x", false),
            ("https://a.example.org", "x", true),
            ("https://a.b.example.org:9", "x", true),
            ("https://example.org", "x", false),
            ("https://evilexample.org", "x", false),
            ("http://own.example:8080", "own.example:8080", true),
            ("http://own.example", "own.example:8080", false),
            ("http://[::1]:80", "[::1]:80", true),
            ("null", "null", false),
            ("", "", false),
        ] {
            let found = origins.allow(origin.as_bytes(), host.as_bytes());
            assert_eq!(found, allowed, "{origin} {host}");
        }
    }
}
