//! mod_proxy_http: the request as the origin gets it.
//!
//! The order of fields, their spelling and what is added or removed follow
//! `ap_proxy_create_hdrbrgd` (mod_proxy.html#x-headers; RFC 9110 §7.6).

use std::net::IpAddr;
use std::sync::Arc;

use relais_expr::{Groups, Lookup, Variable};
use relais_http1::{
    BodyLength, Expect, Fields, Named, Version, is_hop_by_hop, write_field, write_request_line,
};
use relais_policy::{
    Balanced, Decision, Directive, Exchange, Flow, Forward, Interim, Module, ProxyUrl, Respond,
    RouteSpec, Scheme, Treatment, WorkerSpec, write_connection,
};

use crate::mod_proxy::{self, Worker, proxy_error};
use crate::mod_rewrite;
use crate::mod_tunnel;

/// mod_proxy_http.
pub struct ProxyHttp;

impl Module for ProxyHttp {
    const NAME: &'static str = "mod_proxy_http";
    const IDENTIFIER: &'static str = "proxy_http_module";
    type Host = ();
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(_outer: &(), _inner: &()) {}
}

/// mod_proxy's handler with mod_proxy_http as the scheme's.
pub(crate) fn respond(exchange: &mut Exchange<'_>) -> Flow {
    let Some(proxy) = exchange.proxy.take() else {
        return Flow::Declined;
    };
    Flow::Decide(forward(exchange, &proxy).unwrap_or_else(Decision::Respond))
}

fn forward(exchange: &mut Exchange<'_>, proxy: &ProxyUrl) -> Result<Decision, Respond> {
    let url = proxy.url.as_slice();
    let Some(parts) = mod_proxy::split(url) else {
        let shown = url.escape_ascii().to_string();
        return Err(proxy_error(500, "error parsing URL", &shown));
    };
    if mod_proxy::is_balancer(parts.scheme) {
        return balance(exchange, proxy, parts);
    }
    match Scheme::parse(parts.scheme) {
        Some(_) => {}
        None => {
            let scheme = parts.scheme.escape_ascii();
            return Err(Respond::logged(
                500,
                format!("No protocol handler was valid for the URL (scheme '{scheme}')"),
            ));
        }
    }
    let hops = hops_left(exchange)?;
    let (worker, upgrade) = origin(exchange, url, parts.authority)?;
    let tunnel = match upgrade {
        Some(_) => mod_tunnel::judge(exchange)?,
        None => relais_policy::TunnelSpec::default(),
    };
    let head = Head {
        exchange,
        parts,
        hops,
        version: version(exchange),
        reuse: worker.reuse,
        ping: worker.ping.is_some(),
        upgrade: upgrade.as_ref().map(|asked| asked.value.as_slice()),
    };
    let head = head.write()?;
    let upgrades = upgrade.is_some();
    let forward = Box::new(Forward {
        head,
        worker,
        url: url.to_vec(),
        upgrade: upgrade.map(|asked| asked.allowed),
        treatment: treatment(exchange),
        tunnel,
        route: upgrades.then(|| route(exchange, proxy)).flatten(),
    });
    Ok(if forward.upgrade.is_some() {
        Decision::Tunnel(forward)
    } else {
        Decision::Proxy(forward)
    })
}

/// The protocols of an upgrade: the client's `Upgrade`, and those of its
/// members that the worker allows.
struct Protocols {
    value: Vec<u8>,
    allowed: Vec<u8>,
}

/// A request for a balancer, as far as it does not depend on the member.
fn balance(
    exchange: &mut Exchange<'_>,
    target: &ProxyUrl,
    parts: mod_proxy::Parts<'_>,
) -> Result<Decision, Respond> {
    let url = target.url.as_slice();
    let proxy: &mod_proxy::Host = exchange.host_settings();
    let found = proxy.balancer_for(url);
    let Some((balancer, spec)) = found.and_then(|found| Some((found, found.spec()?))) else {
        let log = format!("AH01170: no balancer is named {}", url.escape_ascii());
        return Err(Respond::logged(500, log));
    };
    let asked = asked_upgrade(exchange);
    let tunnel = match asked {
        Some(_) => mod_tunnel::judge(exchange)?,
        None => relais_policy::TunnelSpec::default(),
    };
    let hops = hops_left(exchange)?;
    let mut key = Vec::new();
    match balancer.key() {
        Some(template) => {
            let none = Groups::empty();
            template.expand(&none, &none, &Key(exchange), None, &mut key);
        }
        None => key.extend_from_slice(&exchange.path),
    }
    let exchange = &*exchange;
    let head = Head {
        exchange,
        parts,
        hops,
        version: version(exchange),
        reuse: true,
        ping: false,
        upgrade: None,
    };
    let unfit = |_| proxy_error(500, "a request field cannot be sent on", "");
    let fields = head.fields().map_err(unfit)?;
    let mut lines = Vec::with_capacity(512);
    fields.write_to(&mut lines);
    head.write_length(&mut lines);
    Ok(Decision::Balance(Box::new(Balanced {
        balancer: Arc::clone(spec),
        method: exchange.head.method().to_vec(),
        path: parts.path.to_vec(),
        host: head.section().preserve_host().then(|| head.host().to_vec()),
        fields: lines,
        route: asked.is_some().then(|| route(exchange, target)).flatten(),
        may_ping: exchange.meta.body != BodyLength::None && !fields.contains("Expect"),
        asked,
        tunnel,
        reuse: !closes(exchange),
        key,
        version: head.version,
        treatment: treatment(exchange),
    })))
}

/// The rule that has made a target.
fn route(exchange: &Exchange<'_>, proxy: &ProxyUrl) -> Option<Arc<RouteSpec>> {
    let routes = &exchange.host.spec.routes;
    let found = routes.iter().find(|route| Some(route.span) == proxy.rule);
    found.cloned()
}

/// What the variables of a request say about its connection and its answer
/// (mod_proxy.html#envsettings).
fn treatment(exchange: &Exchange<'_>) -> Treatment {
    let set = |name: &[u8]| exchange.environment.get(name);
    let interim = match set(b"proxy-interim-response") {
        Some(value) if value.eq_ignore_ascii_case(b"Suppress") => Interim::None,
        Some(value) if value.eq_ignore_ascii_case(b"RFC") => Interim::All,
        _ => Interim::Asked,
    };
    let section = exchange.section_settings::<mod_proxy::Section>();
    Treatment {
        overrides: section.overrides(),
        interim,
        fresh: set(b"proxy-initial-not-pooled").is_some() && exchange.connection.requests == 0,
        continue_here: !section.forward_continue(),
        skip_bad_fields: exchange
            .host_settings::<mod_proxy::Host>()
            .skip_bad_fields(),
    }
}

/// Whether the connection to the origin ends with this request.
fn closes(exchange: &Exchange<'_>) -> bool {
    exchange.environment.get(b"proxy-nokeepalive").is_some() || version(exchange) == Version::Http10
}

/// The version of the request line. A chunked body needs HTTP/1.1, whatever
/// `force-proxy-request-1.0` says.
fn version(exchange: &Exchange<'_>) -> Version {
    let forced = exchange
        .environment
        .get(b"force-proxy-request-1.0")
        .is_some();
    if forced && exchange.meta.body != BodyLength::Chunked {
        Version::Http10
    } else {
        Version::Http11
    }
}

/// The variables of a balancer's key.
struct Key<'x, 'a>(&'x Exchange<'a>);

impl Lookup for Key<'_, '_> {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        self.0.variable(variable, out);
    }
}

/// The worker of a target and, for an upgrade that it takes, its protocols.
fn origin(
    exchange: &Exchange<'_>,
    url: &[u8],
    authority: &[u8],
) -> Result<(Arc<WorkerSpec>, Option<Protocols>), Respond> {
    let proxy: &mod_proxy::Host = exchange.host_settings();
    let rewrite: &mod_rewrite::Host = exchange.host_settings();
    let made;
    let worker = match proxy.worker_for(url).or_else(|| rewrite.worker_for(url)) {
        Some(worker) => worker,
        None => {
            made = Worker::unshared(url);
            made.as_ref().ok_or_else(|| {
                let host = authority.escape_ascii().to_string();
                proxy_error(500, "DNS lookup failure for", &host)
            })?
        }
    };
    let spec = Arc::clone(worker.spec(&proxy.defaults(exchange.host.spec.timeout)));
    let upgrade = asked_upgrade(exchange).and_then(|value| {
        let allowed = spec.upgrade(&value)?;
        Some(Protocols { value, allowed })
    });
    if closes(exchange) && spec.reuse {
        return Ok((
            Arc::new(WorkerSpec {
                reuse: false,
                ..(*spec).clone()
            }),
            upgrade,
        ));
    }
    Ok((spec, upgrade))
}

/// The client's `Upgrade`. One in HTTP/1.0 is handed on too, so that the front
/// can refuse it: a client that asks for a WebSocket in a version that has none
/// is better told than answered with something else.
fn asked_upgrade(exchange: &Exchange<'_>) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = exchange.fields().get_all("Upgrade").collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]))
}

/// `Max-Forwards` less one. At zero the request ends here (RFC 9110 §7.6.2).
fn hops_left(exchange: &Exchange<'_>) -> Result<Option<u64>, Respond> {
    let Some(value) = exchange.fields().get("Max-Forwards") else {
        return Ok(exchange.host_settings::<mod_proxy::Host>().max_forwards());
    };
    let number = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    match (number, exchange.head.method()) {
        (None, _) => Err(proxy_error(
            400,
            "Max-Forwards request header could not be parsed",
            "",
        )),
        (Some(0), b"TRACE") => Err(trace(exchange)),
        (Some(0), b"OPTIONS") => {
            let fields = vec![("Allow", b"TRACE".to_vec())];
            Err(Respond {
                fields,
                body: Some(Vec::new()),
                ..Respond::status(200)
            })
        }
        (Some(0), _) => Err(proxy_error(
            400,
            "Max-Forwards has reached zero - proxy loop?",
            "",
        )),
        (Some(hops), _) => Ok(Some(hops - 1)),
    }
}

/// The request as it came, for a TRACE that ends here (RFC 9110 §9.3.8).
fn trace(exchange: &Exchange<'_>) -> Respond {
    let mut body = exchange.head.line().to_vec();
    body.extend_from_slice(b"\r\n");
    exchange.fields().write_to(&mut body);
    body.extend_from_slice(b"\r\n");
    let fields = vec![("Content-Type", b"message/http".to_vec())];
    Respond {
        fields,
        body: Some(body),
        ..Respond::status(200)
    }
}

/// An address as text. The standard library's way of writing it can pad and
/// align and takes longer than to parse a request.
fn address(ip: IpAddr) -> Vec<u8> {
    let IpAddr::V4(ip) = ip else {
        return ip.to_string().into_bytes();
    };
    let mut text = Vec::with_capacity("255.255.255.255".len());
    for octet in ip.octets() {
        if !text.is_empty() {
            text.push(b'.');
        }
        if octet >= 100 {
            text.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            text.push(b'0' + octet / 10 % 10);
        }
        text.push(b'0' + octet % 10);
    }
    text
}

/// Fields that mod_proxy adds, and the bytes that they usually have.
const ADDED: usize = 6;
const ADDED_BYTES: usize = 192;

/// What a request head for an origin is made from.
struct Head<'a> {
    exchange: &'a Exchange<'a>,
    parts: mod_proxy::Parts<'a>,
    hops: Option<u64>,
    version: Version,
    reuse: bool,
    /// Whether the origin has to say that it is there before a body is sent.
    ping: bool,
    upgrade: Option<&'a [u8]>,
}

impl Head<'_> {
    fn write(&self) -> Result<Vec<u8>, Respond> {
        let refused = || {
            Respond::logged(
                403,
                "the target URL holds characters that may not stand in a request line",
            )
        };
        let mut out = Vec::with_capacity(512);
        write_request_line(
            &mut out,
            self.exchange.head.method(),
            self.parts.path,
            self.version,
        )
        .map_err(|_| refused())?;
        let unfit = || proxy_error(500, "a request field cannot be sent on", "");
        write_field(&mut out, b"Host", self.host());
        self.fields().map_err(|_| unfit())?.write_to(&mut out);
        self.write_framing(&mut out);
        out.extend_from_slice(b"\r\n");
        Ok(out)
    }

    fn host(&self) -> &[u8] {
        if !self.section().preserve_host() {
            return self.parts.authority;
        }
        let own = self.exchange.host.spec.server_name.as_bytes();
        self.exchange.fields().get("Host").unwrap_or(own)
    }

    fn section(&self) -> &mod_proxy::Section {
        self.exchange.section_settings()
    }

    /// The client's fields, each name once at its first place, without those
    /// of one hop, then what the proxy adds. What `Connection` lists is gone
    /// before that, so that no client can take away what is added.
    fn fields(&self) -> Result<Fields, relais_http1::FieldError> {
        let own = self.exchange.fields();
        let edited = self.exchange.has_edited_fields();
        let named = if edited {
            Named::default()
        } else {
            Named::by(own)
        };
        let mut fields = Fields::with_capacity(own.text_len() + ADDED_BYTES, own.len() + ADDED);
        fields.copy_from(own, !edited, |name| {
            let framing =
                name.eq_ignore_ascii_case(b"Host") || name.eq_ignore_ascii_case(b"Content-Length");
            !framing && !is_hop_by_hop(name) && !named.contains(name)
        })?;
        let has_body = self.exchange.meta.body != BodyLength::None;
        if self.ping && has_body && !fields.contains("Expect") {
            fields.append("Expect", "100-Continue")?;
        }
        if let Some(hops) = self.hops {
            fields.set("Max-Forwards", hops.to_string())?;
        }
        if self.exchange.meta.expect == Expect::Continue && !self.section().forward_continue() {
            fields.remove("Expect");
        }
        mod_proxy::apply_via(self.exchange, self.exchange.head.version(), &mut fields)?;
        if self.section().add_headers() {
            self.add_forwarded(&mut fields)?;
        }
        Ok(fields)
    }

    fn add_forwarded(&self, fields: &mut Fields) -> Result<(), relais_http1::FieldError> {
        let client = self.exchange.client.ip().to_canonical();
        fields.append("X-Forwarded-For", address(client))?;
        if let Some(host) = self.exchange.fields().get("Host") {
            fields.append("X-Forwarded-Host", host)?;
        }
        fields.append("X-Forwarded-Server", &self.exchange.host.spec.server_name)
    }

    /// The body's framing, then the connection's own fields.
    fn write_framing(&self, out: &mut Vec<u8>) {
        self.write_length(out);
        // HTTP/1.0 has no connection to speak of.
        if self.version == Version::Http11 {
            write_connection(self.upgrade, self.reuse, out);
        }
    }

    fn write_length(&self, out: &mut Vec<u8>) {
        match self.exchange.meta.body {
            BodyLength::None => {}
            BodyLength::Length(length) => {
                out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
            }
            BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
    }
}
