//! mod_remoteip: the client behind trusted proxies, by a request field or by
//! the PROXY protocol (mod_remoteip.html).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use relais_conf::{Diagnostic, Text};
use relais_policy::{
    Context, Directive, Exchange, Flow, HostSpec, Module, Problem, ProxyProtocol, Set, SetResult,
    Slot,
};

use crate::address::{AddressRange, looks_like_address};

/// mod_remoteip.
pub struct RemoteIp;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    header: Option<Vec<u8>>,
    proxies_header: Option<Vec<u8>>,
    proxies: Vec<Proxy>,
    protocol: Option<bool>,
    exceptions: Vec<AddressRange>,
}

#[derive(Clone, Copy, Debug)]
struct Proxy {
    range: AddressRange,
    /// Whether it may present private addresses.
    internal: bool,
}

impl Module for RemoteIp {
    const NAME: &'static str = "mod_remoteip";
    const IDENTIFIER: &'static str = "remoteip_module";
    type Host = Host;
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "RemoteIPHeader",
            syntax: "RemoteIPHeader header-field",
            context: Context::HOST,
            default: None,
            doc: "The request field that names the client behind a proxy.",
            accepts: &["RemoteIPHeader X-Forwarded-For"],
            refuses: &["RemoteIPHeader", "RemoteIPHeader \"X Y\""],
            set: Set::Take1(|slot, word| {
                slot.host.header = Some(field_name(word)?);
                Ok(())
            }),
        },
        Directive {
            name: "RemoteIPProxiesHeader",
            syntax: "RemoteIPProxiesHeader HeaderFieldName",
            context: Context::HOST,
            default: None,
            doc: "The request field that gets the proxies between the client and this server.",
            accepts: &["RemoteIPProxiesHeader X-Forwarded-By"],
            refuses: &["RemoteIPProxiesHeader"],
            set: Set::Take1(|slot, word| {
                slot.host.proxies_header = Some(field_name(word)?);
                Ok(())
            }),
        },
        Directive {
            name: "RemoteIPInternalProxy",
            syntax: "RemoteIPInternalProxy proxy-ip|proxy-ip/subnet ...",
            context: Context::HOST,
            default: None,
            doc: "Proxies that are believed, also when they name a private address.",
            accepts: &["RemoteIPInternalProxy 10.0.0.0/8 fd00::/8"],
            refuses: &[
                "RemoteIPInternalProxy",
                "RemoteIPInternalProxy proxy.example",
            ],
            set: Set::Iterate(|slot, word| proxy(slot, word, true)),
        },
        Directive {
            name: "RemoteIPTrustedProxy",
            syntax: "RemoteIPTrustedProxy proxy-ip|proxy-ip/subnet ...",
            context: Context::HOST,
            default: None,
            doc: "Proxies that are believed, unless they name a private address.",
            accepts: &["RemoteIPTrustedProxy 203.0.113.7 2001:db8::/32"],
            refuses: &["RemoteIPTrustedProxy", "RemoteIPTrustedProxy 300.1.1.1"],
            set: Set::Iterate(|slot, word| proxy(slot, word, false)),
        },
        list(
            "RemoteIPInternalProxyList",
            "RemoteIPInternalProxyList filename",
            &["RemoteIPInternalProxyList proxies"],
            &[
                "RemoteIPInternalProxyList missing",
                "RemoteIPInternalProxyList extra.conf",
            ],
            "A file of proxies that are believed, also when they name a private address; one a line.",
            |slot, word| proxies(slot, word, true),
        ),
        list(
            "RemoteIPTrustedProxyList",
            "RemoteIPTrustedProxyList filename",
            &["RemoteIPTrustedProxyList /srv/proxies"],
            &[
                "RemoteIPTrustedProxyList",
                "RemoteIPTrustedProxyList missing",
            ],
            "A file of proxies that are believed, unless they name a private address; one a line.",
            |slot, word| proxies(slot, word, false),
        ),
        Directive {
            name: "RemoteIPProxyProtocol",
            syntax: "RemoteIPProxyProtocol On|Off",
            context: Context::HOST,
            default: Some("Off"),
            doc: "Whether connections to the addresses of this host begin with a PROXY protocol header, version 1 or 2; without one they are closed.",
            accepts: &["RemoteIPProxyProtocol On", "RemoteIPProxyProtocol Off"],
            refuses: &["RemoteIPProxyProtocol", "RemoteIPProxyProtocol Optional"],
            set: Set::Flag(|slot, on| {
                slot.host.protocol = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "RemoteIPProxyProtocolExceptions",
            syntax: "RemoteIPProxyProtocolExceptions range [range] ...",
            context: Context::HOST,
            default: None,
            doc: "Clients whose connections have no PROXY protocol header.",
            accepts: &["RemoteIPProxyProtocolExceptions 127.0.0.1 10.0.0.0/8"],
            refuses: &[
                "RemoteIPProxyProtocolExceptions",
                "RemoteIPProxyProtocolExceptions x",
            ],
            set: Set::Iterate(|slot, word| {
                slot.host.exceptions.push(range(word)?);
                Ok(())
            }),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        let joined = |outer: &[Proxy], inner: &[Proxy]| [outer, inner].concat();
        let own = inner.clone();
        Host {
            header: own.header.or_else(|| outer.header.clone()),
            proxies_header: own.proxies_header.or_else(|| outer.proxies_header.clone()),
            proxies: joined(&outer.proxies, &inner.proxies),
            protocol: own.protocol.or(outer.protocol),
            exceptions: [outer.exceptions.as_slice(), &inner.exceptions].concat(),
        }
    }

    fn merge_section(_outer: &(), _inner: &()) {}

    fn finish_host(host: &Host, _section: &(), spec: &mut HostSpec) {
        if host.protocol.unwrap_or(false) {
            let exceptions = host.exceptions.clone();
            spec.proxy_protocol = Some(ProxyProtocol {
                excepted: Arc::new(move |client| {
                    exceptions.iter().any(|range| range.contains(client))
                }),
            });
        }
    }
}

const fn list(
    name: &'static str,
    syntax: &'static str,
    accepts: &'static [&'static str],
    refuses: &'static [&'static str],
    doc: &'static str,
    set: fn(&mut Slot<'_, RemoteIp>, &Text) -> SetResult,
) -> Directive<RemoteIp> {
    Directive {
        name,
        syntax,
        context: Context::HOST,
        default: None,
        doc,
        accepts,
        refuses,
        set: Set::Take1(set),
    }
}

/// Adds the proxies of a file: addresses, with comments behind `#`.
fn proxies(slot: &mut Slot<'_, RemoteIp>, word: &Text, internal: bool) -> SetResult {
    let path = slot.place.path(word);
    let text = match slot.place.files.read(&path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot open {}: {error}", path.display());
            let diagnostic = Diagnostic::error("RC0324", word.span(), message);
            slot.diagnostics.push(diagnostic);
            return Ok(());
        }
    };
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        let address = String::from_utf8_lossy(line.trim_ascii());
        if address.is_empty() {
            continue;
        }
        let range = AddressRange::read(&address).map_err(|_| {
            let message = format!(
                "line {number} of {}: `{address}` is no address",
                path.display()
            );
            Problem::at(word.span(), message)
        })?;
        slot.host.proxies.push(Proxy { range, internal });
    }
    Ok(())
}

fn field_name(word: &Text) -> Result<Vec<u8>, Problem> {
    match relais_http1::Fields::new().push(word.bytes(), "") {
        Ok(()) => Ok(word.bytes().to_vec()),
        Err(_) => Err(Problem::at(word.span(), "not the name of a field")),
    }
}

fn range(word: &Text) -> Result<AddressRange, Problem> {
    let text = word.lossy();
    if !looks_like_address(text.split('/').next().unwrap_or_default()) {
        let message =
            format!("`{text}`: host names of proxies are not implemented yet, addresses are");
        return Err(Problem::not_yet(word.span(), message));
    }
    AddressRange::parse(word)
}

fn proxy(slot: &mut Slot<'_, RemoteIp>, word: &Text, internal: bool) -> SetResult {
    let range = range(word)?;
    slot.host.proxies.push(Proxy { range, internal });
    Ok(())
}

/// httpd: mod_remoteip's post_read_request (`remoteip_modify_request`).
pub(crate) fn post_read(exchange: &mut Exchange<'_>) -> Flow {
    let host: &Host = exchange.host_settings();
    let Some(header) = &host.header else {
        return Flow::Declined;
    };
    let lines: Vec<&[u8]> = exchange.fields().get_all(header).collect();
    if lines.is_empty() {
        return Flow::Declined;
    }
    let value = lines.join(&b", "[..]);
    let mut walk = Walk {
        client: exchange.client.ip().to_canonical(),
        rest: Some(&value),
        skipped: Vec::new(),
    };
    let mut moved = false;
    while walk.step(&host.proxies) {
        moved = true;
    }
    if !moved {
        return Flow::Declined;
    }
    let rest = walk.rest.map(<[u8]>::to_vec);
    let skipped = walk.skipped.join(", ");
    exchange.client = SocketAddr::new(walk.client, 0);
    let fields = exchange.fields_mut();
    // What stays was in the field before, and addresses are plain text.
    let _ = match rest {
        Some(rest) => fields.set(header, rest),
        None => {
            fields.remove(header);
            Ok(())
        }
    };
    if !skipped.is_empty() {
        if let Some(name) = &host.proxies_header {
            let _ = exchange.fields_mut().set(name, &skipped);
        }
        exchange
            .notes
            .set(b"remoteip-proxy-ip-list", Some(skipped.as_bytes()));
    }
    Flow::Declined
}

/// The way back from the peer to the client, a proxy at a time.
struct Walk<'v> {
    client: IpAddr,
    /// What is left of the field; `None` when it is used up.
    rest: Option<&'v [u8]>,
    /// Proxies that are passed and not internal.
    skipped: Vec<String>,
}

impl Walk<'_> {
    /// Takes the last address of the field if the one before it is trusted.
    fn step(&mut self, proxies: &[Proxy]) -> bool {
        let found = proxies
            .iter()
            .find(|proxy| proxy.range.contains(self.client));
        if !proxies.is_empty() && found.is_none() {
            return false;
        }
        let internal = found.is_some_and(|proxy| proxy.internal);
        let Some(rest) = self.rest else { return false };
        let comma = rest.iter().rposition(|&byte| byte == b',');
        let last = comma.map_or(rest, |at| &rest[at + 1..]).trim_ascii();
        let address = std::str::from_utf8(last)
            .ok()
            .and_then(|text| text.parse::<IpAddr>().ok());
        let Some(address) = address.map(|address| address.to_canonical()) else {
            return false;
        };
        if !internal && is_private(address) {
            return false;
        }
        if !internal {
            self.skipped.push(self.client.to_string());
        }
        self.client = address;
        self.rest = comma.map(|at| &rest[..at]);
        true
    }
}

/// Addresses that no proxy outside can know: private, loopback and link-local
/// ones, and of IPv6 all that are not global unicast.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.octets()[0] & 0xe0 != 0x20,
    }
}
