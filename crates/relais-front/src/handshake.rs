//! Upgrades: what is asked for, what was answered, and the hand-off.
//!
//! A connection becomes a tunnel only when the request was a valid upgrade,
//! was forwarded as such, and the origin's own 101 names that protocol. Until
//! then what the client sends behind its request stays here, unread by the
//! origin.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use relais_http1::{BodyLength, ResponseBody, ResponseHead, Version, strip_hop_by_hop};
use relais_policy::{Forward, Respond, RouteSpec, TunnelRate, TunnelSize, TunnelTime};
use relais_stream::Parts;
use relais_telemetry::Level;
use relais_tunnel::{Handoff, PerSide, Permit, Quota, Rate, Route, RouteNames, TunnelLimits, Wire};
use relais_upstream::{Lease, Stream};
use relais_websocket::Key;

use crate::client::Outlet;
use crate::connection::Http1;
use crate::download::{put_in_httpd_order, status_line};
use crate::input::Input;
use crate::record::{self, TunnelRecord};
use crate::turn::{Next, Sent, Turn};
use crate::worker::Worker;

/// How often a full engine queue is tried again before the tunnel is given up.
const SUBMIT_TRIES: u32 = 100;

/// Pause between two tries.
const SUBMIT_PAUSE: Duration = Duration::from_millis(10);

/// A valid upgrade request: the key that the answer must prove to have seen,
/// if a WebSocket is among what it asks for, and its place within `MaxTunnels`.
pub(crate) struct Asked {
    key: Option<Key>,
    permit: Permit,
}

/// A tunnel that is to be handed to an engine.
pub(crate) struct Plan {
    origin: Stream,
    to_client: Vec<u8>,
    to_client_head: usize,
    websocket: bool,
    compressed: bool,
    limits: Arc<TunnelLimits>,
    peer: SocketAddr,
    route: Arc<Route>,
    record: TunnelRecord,
}

/// Checks an upgrade request by RFC 6455 §4.2.1 before anything is sent to the
/// origin. httpd tunnels invalid ones; relais answers 400, or 426 to a foreign
/// version.
///
/// # Errors
/// The answer to give instead.
pub(crate) fn check(turn: &Turn<'_>, forward: &Forward) -> Result<Asked, Respond> {
    let list = forward.upgrade.as_deref().unwrap_or_default();
    let head = turn.exchange.head;
    let has_body = !matches!(
        turn.exchange.meta.body,
        BodyLength::None | BodyLength::Length(0)
    );
    let is_11 = head.version() != Version::Http10;
    if !protocols(list).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket")) {
        let sound = is_11 && !has_body && turn.exchange.meta.connection_upgrade;
        return if sound {
            let permit = enter(turn)?;
            Ok(Asked { key: None, permit })
        } else {
            let why = "upgrade refused: it needs HTTP/1.1, no body, and `upgrade` in Connection";
            Err(Respond::logged(400, why))
        };
    }
    match relais_websocket::check_request(
        head.method(),
        is_11,
        turn.exchange.fields().iter(),
        has_body,
    ) {
        Ok(key) => {
            let permit = enter(turn)?;
            Ok(Asked {
                key: Some(key),
                permit,
            })
        }
        Err(error) => {
            let mut respond = Respond::logged(
                error.status(),
                format!("upgrade refused: {}", error.reason()),
            );
            if respond.status == 426 {
                respond.fields.push(("Upgrade", b"websocket".to_vec()));
                respond
                    .fields
                    .push(("Sec-WebSocket-Version", b"13".to_vec()));
            }
            Err(respond)
        }
    }
}

/// Takes a place within `MaxTunnels` and `MaxTunnelsPerClient`.
fn enter(turn: &Turn<'_>) -> Result<Permit, Respond> {
    let spec = turn.spec();
    let host = || format!("{}:{}", spec.server_name, spec.server_port.unwrap_or(0));
    let limits = [
        (spec.tunnels.tunnels_max_server, Quota::Server),
        (
            spec.tunnels.tunnels_max_client,
            Quota::Client(turn.exchange.client.ip()),
        ),
    ];
    let mut limits: Vec<(Quota, u64)> = limits
        .into_iter()
        .filter(|(most, _)| *most > 0)
        .map(|(most, quota)| (quota, most))
        .collect();
    if spec.tunnels.tunnels_max > 0 {
        limits.push((Quota::Host(host().into()), spec.tunnels.tunnels_max));
    }
    if limits.is_empty() {
        return Ok(Permit::default());
    }
    turn.worker.engine.enter(&limits).map_err(|quota| {
        let what = match quota {
            Quota::Server | Quota::Host(_) => "MaxTunnels",
            Quota::Client(_) => "MaxTunnelsPerClient",
        };
        Respond::logged(503, format!("no tunnel is opened: {what} is reached"))
    })
}

/// Judges a 101. The answer is whether the tunnel carries WebSocket frames.
///
/// # Errors
/// What is wrong with it, for the error log and the page.
pub(crate) fn accept(
    forward: &Forward,
    asked: Option<Asked>,
    head: &ResponseHead,
) -> Result<(bool, Permit), String> {
    let answered = head.fields.get("Upgrade").unwrap_or(b"n/a");
    let unexpected = |expected: &[u8]| {
        let (answered, expected) = (answered.escape_ascii(), expected.escape_ascii());
        format!("Unexpected Upgrade: {answered} (expecting {expected})")
    };
    let (Some(asked), Some(list)) = (asked, &forward.upgrade) else {
        return Err(unexpected(b"n/a"));
    };
    if !protocols(list).any(|protocol| protocol.eq_ignore_ascii_case(answered)) {
        return Err(unexpected(list));
    }
    match asked.key {
        Some(key) if answered.eq_ignore_ascii_case(b"websocket") => {
            let checked = relais_websocket::check_response(head.fields.iter(), &key);
            checked.map_err(|error| format!("the origin's 101 is refused: {error}"))?;
            Ok((true, asked.permit))
        }
        _ => Ok((false, asked.permit)),
    }
}

/// The protocols of an `Upgrade` value.
fn protocols(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Writes the 101 as httpd does (the origin's fields in order, then
/// `Connection` and `Upgrade`) and gathers what the engine needs.
pub(crate) fn plan(
    turn: &mut Turn<'_>,
    forward: &Forward,
    head: &ResponseHead,
    outlet: Outlet<'_>,
    (websocket, permit): (bool, Permit),
    lease: Lease,
    mut input: Input,
) -> Next {
    let mut fields = head.fields.clone();
    // A 101 has no content; a length in it would belong to nothing.
    fields.remove("Content-Length");
    let protocol = fields.get("Upgrade").unwrap_or_default().to_vec();
    strip_hop_by_hop(&mut fields);
    if turn.connection().stream.is_some() {
        // The key was relais' own (RFC 8441 §5).
        fields.remove("Sec-WebSocket-Accept");
    }
    let mut to_client = Vec::with_capacity(512);
    let mut out = outlet.head(&mut to_client);
    if let Err(trouble) = status_line(head, &mut out) {
        turn.log("proxy_http", Level::Error, &trouble.to_string());
        return Next::Drop;
    }
    put_in_httpd_order(&mut fields);
    for (name, value) in &fields {
        out.field(name, value);
    }
    out.field(b"Connection", b"Upgrade");
    out.field(b"Upgrade", &protocol);
    let head_size = out.size();
    // RFC 8441 §5: where HTTP/1.1 switches, a stream says 200.
    if outlet.begin(200, out, ResponseBody::UntilClose).is_err() {
        return Next::Drop;
    }
    let to_client_head = to_client.len();
    to_client.extend_from_slice(&input.take(&turn.worker.buffers));
    let sent = Sent {
        status: 101,
        fields,
        first_byte: turn.spec().first_byte.then(|| turn.begun.elapsed()),
        bytes: to_client_head as u64 + head_size,
        ..Sent::default()
    };
    // Any byte in either direction resets it; the larger of both sides' limits
    // counts, as in httpd.
    let idle = turn.spec().timeout.max(forward.worker.timeout);
    let extensions = head.fields.get_all("Sec-WebSocket-Extensions");
    let compressed = extensions
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|name| name.trim_ascii().starts_with(b"permessage-deflate"));
    let route = route(turn, forward);
    let (origin, counted) = lease.into_parts();
    let member = turn.member.take();
    Next::Tunnel(Box::new(Plan {
        origin,
        to_client,
        to_client_head,
        websocket,
        compressed,
        limits: turn.worker.tunnel_limits(limits(forward, idle)),
        peer: turn.exchange.client,
        route,
        record: record::prepare(turn, &sent, permit).holding(counted, member),
    }))
}

/// What the table of tunnels and a reload know the tunnel by.
fn route(turn: &Turn<'_>, forward: &Forward) -> Arc<Route> {
    let (spec, worker) = (turn.spec(), &forward.worker);
    let rule = forward.route.as_deref();
    // A section's own words about reloads are kept with the tunnel; those of its host are asked then.
    let drain = forward.tunnel.drain;
    let own = (drain != spec.tunnel.drain).then(|| drain.to_string());
    turn.worker.engine.route(RouteNames {
        host: &spec.server_name,
        rule: rule.map_or("", |route| &route.rule),
        place: rule.map_or("", RouteSpec::place),
        target: rule.map_or("", |route| &route.target),
        worker: &worker.name,
        origin: &format!("{}:{}", worker.host, worker.port),
        via: match turn.connection().stream {
            Some(_) => "h2",
            None => "http/1.1",
        },
        note: own.as_deref().unwrap_or_default(),
    })
}

/// The limits of a tunnel, where `idle` holds without a `TunnelIdleTimeout`.
fn limits(forward: &Forward, idle: Duration) -> TunnelLimits {
    let spec = &forward.tunnel;
    let time = |time: Option<TunnelTime>| time.and_then(TunnelTime::limit);
    TunnelLimits {
        idle: spec.idle.map_or(Some(idle), TunnelTime::limit),
        half_close: !spec.no_half_close,
        lifetime: time(spec.lifetime),
        half_close_timeout: time(spec.half_close),
        write_timeout: time(spec.write),
        ping: time(spec.ping),
        frame_size: per_side(spec.frame_size),
        message_size: per_side(spec.message_size),
        message_rate: rate(spec.message_rate),
        byte_rate: rate(spec.byte_rate),
        end_on_violation: spec.end_on_violation.unwrap_or(false),
    }
}

fn per_side(size: Option<TunnelSize>) -> PerSide {
    let Some((size, bytes)) = size.and_then(|size| Some((size, size.bytes?))) else {
        return PerSide::UNLIMITED;
    };
    PerSide {
        client: if size.client { bytes } else { u64::MAX },
        origin: if size.origin { bytes } else { u64::MAX },
    }
}

fn rate(rate: Option<TunnelRate>) -> Option<Rate> {
    let rate = rate.filter(|rate| rate.per_second > 0)?;
    Some(Rate {
        per_second: rate.per_second,
        burst: rate.burst,
    })
}

/// Hands both sockets to an engine; from here on no HTTP code touches them.
pub(crate) fn hand_off(worker: &Rc<Worker>, mut client: Http1, plan: Plan) {
    let to_origin = client.input.take(&worker.buffers);
    submit(worker, wire(client.stream), to_origin, plan);
}

/// The same for a stream, whose content passes over a socket of its own.
pub(crate) fn hand_off_stream(worker: &Rc<Worker>, near: io::Result<OwnedFd>, plan: Plan) {
    submit(worker, near.map(Wire::from), Vec::new(), plan);
}

fn submit(worker: &Rc<Worker>, near: io::Result<Wire<OwnedFd>>, to_origin: Vec<u8>, plan: Plan) {
    let sockets = near.and_then(|near| Ok((near, wire(plan.origin)?)));
    let (near, far) = match sockets {
        Ok(sockets) => sockets,
        Err(error) => {
            return worker.log(
                Level::Error,
                &format!("a tunnel's sockets cannot be handed over: {error}"),
            );
        }
    };
    let handoff = Handoff {
        client: near,
        origin: far,
        to_origin,
        to_client: plan.to_client,
        to_client_head: plan.to_client_head,
        websocket: plan.websocket,
        compressed: plan.compressed,
        limits: plan.limits,
        peer: plan.peer,
        route: plan.route,
        label: Box::new(plan.record),
    };
    match worker.engine.queue(handoff) {
        // What else this thread hands over in its turn goes with the same wake.
        Ok(Some(wake)) => {
            tokio::task::spawn_local(async move { drop(wake) });
        }
        Ok(None) => {}
        Err(handoff) => {
            tokio::task::spawn_local(try_again(Rc::clone(worker), handoff));
        }
    }
}

/// The socket of one side of a tunnel, with its keys if it is encrypted.
fn wire(stream: Stream) -> io::Result<Wire<OwnedFd>> {
    let Parts { socket, tls } = stream.into_parts()?;
    Ok(match tls {
        Some(tls) => Wire::encrypted(socket, tls),
        None => Wire::clear(socket),
    })
}

/// A full queue is emptied by the engine's next turn.
async fn try_again(worker: Rc<Worker>, mut handoff: Handoff) {
    for _ in 0..SUBMIT_TRIES {
        tokio::time::sleep(SUBMIT_PAUSE).await;
        match worker.engine.submit(handoff) {
            Ok(()) => return,
            Err(back) => handoff = back,
        }
    }
    worker.log(
        Level::Error,
        "the tunnel engines take no more tunnels; one was closed",
    );
}
