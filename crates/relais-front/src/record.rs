//! The access log's view of a request.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use relais_expr::State;
use relais_http1::Fields;
use relais_policy::{Answered, LogCondition};
use relais_telemetry::{
    AccessLog, ConnectionState, Entry, ErrorLog, Level, LineEnd, PendingLine, Record, TunnelFacts,
    TunnelKinds,
};
use relais_tunnel::{Counters, EndReason, Label, Permit, TunnelEnd};
use relais_upstream::{Counted, Use};

use crate::generation::HostAccessLog;
use crate::turn::{Next, Sent, Turn};

/// A request that is over, or a tunnel that begins.
struct Line<'a> {
    turn: &'a Turn<'a>,
    sent: &'a Sent,
    state: ConnectionState,
    duration: Duration,
    /// The request as it was before the internal redirect to an error's page.
    original: Option<Box<Self>>,
}

/// Writes a request's access log lines.
pub(crate) fn write(turn: &Turn<'_>, sent: &Sent, next: &Next, duration: Duration) {
    let logs = &turn.logs().access;
    if logs.is_empty() {
        return;
    }
    let state = match next {
        Next::Request => ConnectionState::KeepAlive,
        Next::Close | Next::Tunnel(_) => ConnectionState::Close,
        Next::Drop => ConnectionState::Aborted,
    };
    let line = Line {
        turn,
        sent,
        state,
        duration,
        original: None,
    };
    let refused = Sent {
        status: turn.first.map_or(0, |first| first.respond.status),
        ..Sent::default()
    };
    let line = Line {
        original: turn.first.map(|first| {
            Box::new(Line {
                turn: first.turn,
                sent: &refused,
                original: None,
                ..line
            })
        }),
        ..line
    };
    let mut text = Vec::with_capacity(256);
    for log in wanted(turn, sent, logs) {
        text.clear();
        log.format.write(&line, &mut text);
        log.log.write(&text);
    }
}

/// Renders a tunnel's lines as far as they are known at its beginning.
pub(crate) fn prepare(turn: &Turn<'_>, sent: &Sent, permit: Permit) -> TunnelRecord {
    let state = ConnectionState::Close;
    let line = Line {
        turn,
        sent,
        state,
        duration: Duration::ZERO,
        original: None,
    };
    let lines = wanted(turn, sent, &turn.logs().access)
        .map(|log| (Arc::clone(&log.log), log.format.prepare(&line)))
        .collect();
    TunnelRecord {
        lines,
        begun: turn.exchange.now,
        before: turn.begun.elapsed(),
        received: turn.received,
        sent: sent.bytes,
        counted: None,
        member: None,
        permit,
        error: Arc::clone(&turn.logs().error),
        loudest: LEVELS
            .into_iter()
            .find(|level| turn.spec().levels.enabled("tunnel", *level)),
    }
}

/// The levels of lines about tunnels, the least important first.
const LEVELS: [Level; 3] = [Level::Info, Level::Notice, Level::Warn];

fn wanted<'a>(
    turn: &'a Turn<'_>,
    sent: &'a Sent,
    logs: &'a [HostAccessLog],
) -> impl Iterator<Item = &'a HostAccessLog> {
    logs.iter().filter(move |log| match &log.condition {
        None => true,
        Some(LogCondition::Variable(name, set)) => {
            turn.exchange.environment.get(name.as_bytes()).is_some() == *set
        }
        Some(LogCondition::Expression(expression)) => {
            let answered = Answered {
                exchange: &turn.exchange,
                status: sent.status,
                fields: [&sent.fields, &NO_FIELDS],
            };
            // As in httpd, what cannot be said is false.
            let holds = expression.eval(&answered, &mut State::default());
            holds.unwrap_or(false)
        }
    })
}

static NO_FIELDS: Fields = Fields::new();

/// What a tunnel keeps of its request: log lines with holes for its end.
pub(crate) struct TunnelRecord {
    lines: Box<[(Arc<AccessLog>, PendingLine)]>,
    begun: SystemTime,
    /// Time from the request's arrival to the hand-off.
    before: Duration,
    received: u64,
    sent: u64,
    /// Counts the origin's connection while the tunnel lives.
    counted: Option<Counted>,
    /// Counts the tunnel at its balancer's member.
    member: Option<Use>,
    /// The tunnel's place within `MaxTunnels`.
    permit: Permit,
    error: Arc<ErrorLog>,
    /// The least important level that is logged, if any of [`LEVELS`] is.
    loudest: Option<Level>,
}

impl TunnelRecord {
    /// The same, holding what counts the tunnel while it lives.
    pub(crate) fn holding(self, counted: Counted, member: Option<Use>) -> Self {
        Self {
            counted: Some(counted),
            member,
            ..self
        }
    }
}

impl TunnelRecord {
    /// Says in the error log why relais ended a tunnel. What a peer may bring about at will is no louder than `info`.
    fn log(&self, end: &TunnelEnd) {
        let level = match end.reason {
            EndReason::EngineFailed => Level::Warn,
            EndReason::Drained | EndReason::Kicked | EndReason::Stopped => Level::Notice,
            _ => Level::Info,
        };
        if !end.reason.is_ours() || self.loudest.is_none_or(|loudest| level > loudest) {
            return;
        }
        let message = format!(
            "tunnel {} to {} ended: {}; {} bytes in {} messages from the client, {} in {} to it, {:.3} s",
            end.id,
            end.route.names().origin,
            end.reason.as_str(),
            end.client_to_origin,
            end.messages_to_origin,
            end.origin_to_client,
            end.messages_to_client,
            end.duration.as_secs_f64(),
        );
        let entry = Entry {
            client: Some(end.client),
            ..Entry::new(level, "tunnel", message.as_bytes())
        };
        self.error.log(&entry);
    }
}

fn kinds(counters: &Counters) -> TunnelKinds {
    TunnelKinds {
        text: counters.text.messages,
        text_bytes: counters.text.bytes,
        binary: counters.binary.messages,
        binary_bytes: counters.binary.bytes,
        pings: counters.pings.into(),
        pongs: counters.pongs.into(),
        violations: counters.violations.into(),
    }
}

impl Label for TunnelRecord {
    fn ended(mut self: Box<Self>, end: &TunnelEnd) {
        self.counted = None;
        if let Some(member) = self.member.take() {
            member.count(end.client_to_origin, end.origin_to_client);
        }
        drop(std::mem::take(&mut self.permit));
        self.log(end);
        let duration = self.before + end.duration;
        let facts = TunnelFacts {
            end: end.reason.as_str(),
            messages_in: end.messages_to_origin,
            messages_out: end.messages_to_client,
            close_code: end.close_code,
            bytes_in: end.client_to_origin,
            bytes_out: end.origin_to_client,
            id: end.id.0,
            duration: end.duration,
            kinds_in: kinds(&end.from_client),
            kinds_out: kinds(&end.from_origin),
        };
        let end = LineEnd {
            duration,
            bytes_in: self.received + end.client_to_origin,
            bytes_out: self.sent + end.origin_to_client,
            tunnel: Some(facts),
            end_time: self.begun.checked_add(duration).unwrap_or(self.begun),
        };
        let mut text = Vec::with_capacity(256);
        for (log, line) in self.lines {
            text.clear();
            line.finish(&end, &mut text);
            log.write(&text);
        }
    }
}

impl Record for Line<'_> {
    fn original(&self) -> Option<&dyn Record> {
        let original = self.original.as_deref();
        original.map(|line| line as &dyn Record)
    }

    fn client_addr(&self) -> IpAddr {
        self.turn.exchange.client.ip()
    }

    fn client_host(&self) -> Option<&[u8]> {
        self.turn.exchange.client_name.as_deref()
    }

    fn ssl_variable(&self, name: &[u8], found: &mut dyn FnMut(&[u8])) {
        let name = std::str::from_utf8(name).unwrap_or_default();
        let tls = self.turn.exchange.tls;
        if let Some(value) = tls.and_then(|tls| tls.variable(name)) {
            found(value.as_bytes());
        }
    }

    fn client_port(&self) -> u16 {
        self.turn.exchange.client.port()
    }

    fn peer_addr(&self) -> IpAddr {
        self.turn.connection().peer.ip()
    }

    fn local_addr(&self) -> SocketAddr {
        self.turn.connection().local
    }

    fn canonical_port(&self) -> u16 {
        let default = if self.turn.connection().secure {
            443
        } else {
            80
        };
        self.turn.spec().server_port.unwrap_or(default)
    }

    fn canonical_name(&self) -> &[u8] {
        self.turn.spec().server_name.as_bytes()
    }

    fn server_name(&self) -> Cow<'_, [u8]> {
        self.turn.own_name()
    }

    fn log_id(&self) -> Option<&[u8]> {
        self.turn.log_id.get().map(|id| id.as_bytes())
    }

    fn request_line(&self) -> Option<&[u8]> {
        Some(self.turn.exchange.head.line()).filter(|line| !line.is_empty())
    }

    fn method(&self) -> &[u8] {
        self.turn.exchange.head.method()
    }

    fn path(&self) -> Option<&[u8]> {
        // `%U` is of the request as it came (mod_log_config, Modifiers).
        let exchange = &self.turn.exchange;
        let path = exchange.first_path.as_ref().unwrap_or(&exchange.path);
        Some(path.as_slice()).filter(|path| !path.is_empty())
    }

    fn query(&self) -> Option<&[u8]> {
        self.turn.exchange.query.as_deref()
    }

    fn protocol(&self) -> &[u8] {
        self.turn.exchange.head.version().as_str().as_bytes()
    }

    fn status(&self) -> u16 {
        self.sent.status
    }

    fn handler(&self) -> Option<&[u8]> {
        self.turn.exchange.handler.as_deref()
    }

    fn filename(&self) -> Option<Cow<'_, [u8]>> {
        if self.turn.url.is_empty() {
            return self.turn.exchange.file.as_deref().map(Cow::Borrowed);
        }
        Some(Cow::Owned([b"proxy:", self.turn.url.as_slice()].concat()))
    }

    fn body_bytes(&self) -> u64 {
        self.sent.body
    }

    fn bytes_in(&self) -> u64 {
        self.turn.received
    }

    fn bytes_out(&self) -> u64 {
        self.sent.bytes
    }

    fn start(&self) -> SystemTime {
        self.turn.exchange.now
    }

    fn duration(&self) -> Duration {
        self.duration
    }

    fn keepalive_number(&self) -> u32 {
        self.turn.connection().requests
    }

    fn connection_state(&self) -> ConnectionState {
        self.state
    }

    fn request_header(&self, name: &[u8], each: &mut dyn FnMut(&[u8])) {
        each_value(self.turn.exchange.fields(), name, each);
    }

    fn response_header(&self, name: &[u8], each: &mut dyn FnMut(&[u8])) {
        each_value(&self.sent.fields, name, each);
    }

    fn first_byte(&self) -> Option<Duration> {
        self.sent.first_byte
    }

    fn note(&self, name: &[u8]) -> Option<&[u8]> {
        let notes = &self.turn.exchange.notes;
        self.sent.notes.get(name).or_else(|| notes.get(name))
    }

    fn user(&self) -> Option<&[u8]> {
        self.turn.exchange.user.as_deref()
    }

    fn env(&self, name: &[u8]) -> Option<&[u8]> {
        self.turn.exchange.environment.get(name)
    }
}

fn each_value(fields: &Fields, name: &[u8], each: &mut dyn FnMut(&[u8])) {
    for value in fields.get_all(name) {
        each(value);
    }
}
