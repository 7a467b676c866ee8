//! One request's turn on a connection: read, decide, carry out, log.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use relais_http1::{
    BodyLength, Expect, Fields, RequestHead, RequestMeta, TargetForm, Version, connection_lists,
    split_host_port, write_field,
};
use relais_policy::tls::TlsFacts;
use relais_policy::{
    Connection, Decision, Environment, Exchange, Filters, HostSpec, Load, LogLine, Lookup, Respond,
    Running, SectionSets, Step,
};
use relais_telemetry::{Entry, Level, Subject};
use relais_tls::{ClientTls, Facts};
use relais_upstream::Use;
use tokio::time::Instant;

use crate::answer::{self, Body};
use crate::balance;
use crate::body;
use crate::client::{Client, HeadOut};
use crate::connection::{Arrival, Http1, arrival, first_spec};
use crate::forward;
use crate::generation::{Generation, HostLogs};
use crate::handshake::{self, Plan};
use crate::record;
use crate::status::Seat;
use crate::worker::Worker;

/// What happens to the connection next.
pub(crate) enum Next {
    /// It waits for another request.
    Request,
    /// It is closed so that what was sent arrives.
    Close,
    /// It is dropped: nobody is there, or what was sent must not look whole.
    Drop,
    /// It becomes a tunnel.
    Tunnel(Box<Plan>),
}

/// What went to the client.
#[derive(Default)]
pub(crate) struct Sent {
    /// The final status; 0 before there is one.
    pub(crate) status: u16,
    /// The final head's fields.
    pub(crate) fields: Fields,
    /// When its first byte went out, since the request's arrival.
    pub(crate) first_byte: Option<Duration>,
    /// Notes that `Header note` has left.
    pub(crate) notes: Environment,
    /// What is done to the content.
    pub(crate) filters: Filters,
    /// Bytes of content.
    pub(crate) body: u64,
    /// All bytes, heads and framing included.
    pub(crate) bytes: u64,
}

/// One request with all that is known of it.
pub(crate) struct Turn<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) generation: &'a Generation,
    pub(crate) exchange: Exchange<'a>,
    pub(crate) begun: Instant,
    /// Bytes received so far, the head included.
    pub(crate) received: u64,
    /// The URL the request was proxied to.
    pub(crate) url: Vec<u8>,
    /// The member of a balancer that has the request.
    pub(crate) member: Option<Use>,
    /// What the origin made of it.
    pub(crate) verdict: Cell<Verdict>,
    /// Merged sections that are remembered.
    pub(crate) sets: &'a SectionSets,
    /// The name by which logs mention it, once the error log does.
    pub(crate) log_id: OnceCell<String>,
    /// For the request of an `ErrorDocument`, the one whose error it is for.
    pub(crate) first: Option<First<'a>>,
    /// The connection as the status page shows it.
    pub(crate) seat: Rc<Seat>,
}

/// What a balancer wants to know of a member's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Verdict {
    /// Nothing yet.
    #[default]
    None,
    /// A final response with this status.
    Status(u16),
    /// Nothing in time.
    TimedOut,
}

/// A request that ended in an error, while the page for it is fetched.
#[derive(Clone, Copy)]
pub(crate) struct First<'a> {
    /// The request.
    pub(crate) turn: &'a Turn<'a>,
    /// Its answer.
    pub(crate) respond: &'a Respond,
}

/// Serves the request whose first bytes have arrived.
pub(crate) async fn serve(worker: &Rc<Worker>, client: &mut Http1) -> Next {
    let (generation, sets) = worker.generation();
    let spec = first_spec(&generation.site, client.facts.local);
    let mut head = worker.requests.lend();
    let (now, begun) = arrival();
    let consumed = match client.read_head(worker, spec, begun, &mut head).await {
        Arrival::Head(consumed) => consumed,
        Arrival::Gone => return Next::Drop,
        Arrival::TimedOut => {
            let respond = Respond::logged(408, "request head timed out");
            return refuse1(worker, &generation, client, &head, (now, begun), respond).await;
        }
        Arrival::Bad(error) => {
            let respond = Respond::logged(error.status(), error.reason());
            return refuse1(worker, &generation, client, &head, (now, begun), respond).await;
        }
    };
    client.input.consume(consumed);
    client.input.park(&worker.buffers);
    if client.misdirected {
        let respond = Respond {
            plain_on_tls: true,
            ..Respond::logged(400, "speaking plain HTTP to an SSL-enabled server port")
        };
        return refuse1(worker, &generation, client, &head, (now, begun), respond).await;
    }
    let tls = client.tls.clone();
    let meta = match head.check() {
        Ok(meta) => meta,
        Err(error) => {
            let respond = Respond::logged(error.status(), error.reason());
            return refuse1(worker, &generation, client, &head, (now, begun), respond).await;
        }
    };
    let arrived = Arrived {
        head: &head,
        meta: &meta,
        connection: client.facts,
        tls: tls.as_deref(),
        moment: (now, begun),
        received: consumed as u64,
        seat: Rc::clone(&client.seat),
    };
    answer(
        worker,
        (&generation, &sets),
        &mut Client::Http1(client),
        arrived,
    )
    .await
}

/// A request whose head is sound.
pub(crate) struct Arrived<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) meta: &'a RequestMeta,
    pub(crate) connection: Connection,
    pub(crate) tls: Option<&'a Facts>,
    /// The moment of its arrival by both clocks.
    pub(crate) moment: (SystemTime, Instant),
    /// Bytes of the head.
    pub(crate) received: u64,
    /// Where the status page finds its connection.
    pub(crate) seat: Rc<Seat>,
}

/// Decides on a request and carries that out.
pub(crate) async fn answer(
    worker: &Worker,
    (generation, sets): (&Arc<Generation>, &SectionSets),
    client: &mut Client<'_>,
    arrived: Arrived<'_>,
) -> Next {
    let Arrived {
        head,
        meta,
        connection,
        moment: (now, begun),
        received,
        tls,
        seat,
    } = arrived;
    let name = host_name(head);
    let host = generation.site.host_for(connection.local, name.as_deref());
    let status = &generation.site.server.status;
    seat.begin(head, host.index, begun, status);
    let running = || -> Arc<dyn Running> { Arc::<Generation>::clone(generation) };
    let mut exchange = Exchange::new(&generation.site, host, connection, head, meta, now);
    exchange.running = Some(&running);
    exchange.identity = worker.identity(now);
    exchange.load = load;
    exchange.tls = tls.map(|facts| facts as &dyn TlsFacts);
    let decision = match meta.expect {
        Expect::Other => Decision::Respond(Respond::logged(
            417,
            "an expectation other than 100-continue",
        )),
        _ => decide_with_body(worker, client, &mut exchange, sets).await,
    };
    let turn = Turn {
        worker,
        generation,
        exchange,
        begun,
        received,
        url: Vec::new(),
        member: None,
        verdict: Cell::default(),
        log_id: OnceCell::new(),
        sets,
        first: None,
        seat,
    };
    carry_out(turn, client, decision).await
}

/// Runs the phases, and reads the request's body where one of them wants it.
async fn decide_with_body(
    worker: &Worker,
    client: &mut Client<'_>,
    exchange: &mut Exchange<'_>,
    sets: &SectionSets,
) -> Decision {
    loop {
        let most = match decide(exchange, sets).await {
            Reached::Decision(decision) => return decision,
            Reached::Body(most) => most,
        };
        let timeout = exchange.host.spec.timeout;
        match body::read(worker, client, exchange.meta, timeout, most).await {
            Ok(body) => exchange.body = Some(body),
            Err(respond) => return Decision::Respond(respond),
        }
    }
}

/// How far the phases have come.
pub(crate) enum Reached {
    /// To their end.
    Decision(Decision),
    /// One wants the request's body, of so many bytes at most.
    Body(usize),
}

/// Runs the phases; what would block is done on another thread.
pub(crate) async fn decide(exchange: &mut Exchange<'_>, sets: &SectionSets) -> Reached {
    loop {
        let Lookup { key, work } = match exchange.decide(sets) {
            Step::Decided(decision) => return Reached::Decision(decision),
            Step::Body(most) => return Reached::Body(most),
            Step::Wait(lookup) => lookup,
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(answer) => exchange.answered(key, answer),
            Err(error) => {
                let log = format!("a look-up failed: {error}");
                return Reached::Decision(Decision::Respond(Respond::logged(500, log)));
            }
        }
    }
}

/// Answers a request of HTTP/1 that could not be read; the connection closes.
async fn refuse1(
    worker: &Worker,
    generation: &Generation,
    client: &mut Http1,
    head: &RequestHead,
    moment: (SystemTime, Instant),
    respond: Respond,
) -> Next {
    let connection = client.facts;
    let received = client.input.bytes().len() as u64;
    let refused = Refused {
        connection,
        head,
        moment,
        received,
        seat: Rc::clone(&client.seat),
    };
    refuse(
        worker,
        generation,
        &mut Client::Http1(client),
        refused,
        respond,
    )
    .await
}

/// A request that is not taken, as far as it is known.
pub(crate) struct Refused<'a> {
    pub(crate) connection: Connection,
    pub(crate) head: &'a RequestHead,
    /// The moment of its arrival by both clocks.
    pub(crate) moment: (SystemTime, Instant),
    /// Bytes of it that have arrived.
    pub(crate) received: u64,
    /// Where the status page finds its connection.
    pub(crate) seat: Rc<Seat>,
}

/// Answers a request that is not taken.
pub(crate) async fn refuse(
    worker: &Worker,
    generation: &Generation,
    client: &mut Client<'_>,
    refused: Refused<'_>,
    respond: Respond,
) -> Next {
    let Refused {
        connection,
        head,
        moment: (now, begun),
        received,
        seat,
    } = refused;
    let meta = RequestMeta {
        form: TargetForm::Origin,
        body: BodyLength::None,
        keep_alive: false,
        connection_upgrade: false,
        expect: Expect::None,
    };
    let host = generation.site.host_for(connection.local, None);
    let exchange = Exchange::new(&generation.site, host, connection, head, &meta, now);
    let mut turn = Turn {
        worker,
        generation,
        exchange,
        begun,
        received,
        url: Vec::new(),
        member: None,
        verdict: Cell::default(),
        log_id: OnceCell::new(),
        sets: &SectionSets::default(),
        first: None,
        seat,
    };
    answer::own(&mut turn, client, &respond, Body::Unread).await
}

/// The host that a request names: lower case, without port and trailing dot.
fn host_name(head: &RequestHead) -> Option<Vec<u8>> {
    let host = relais_http1::split_host_port(head.host()?)?.host;
    let host = host.strip_suffix(b".").unwrap_or(host);
    Some(host.to_ascii_lowercase())
}

pub(crate) async fn carry_out(
    mut turn: Turn<'_>,
    client: &mut Client<'_>,
    decision: Decision,
) -> Next {
    turn.write_log_lines();
    let body = match turn.exchange.body {
        Some(_) => Body::Done,
        None => Body::Unread,
    };
    match decision {
        Decision::Respond(respond) => answer::own(&mut turn, client, &respond, body).await,
        Decision::Redirect { status, location } => {
            let respond = Respond {
                fields: vec![("Location", location)],
                ..Respond::status(status)
            };
            answer::own(&mut turn, client, &respond, Body::Unread).await
        }
        Decision::Proxy(forward) => forward::run(&mut turn, client, &forward, None).await,
        Decision::Balance(balanced) => balance::run(turn, client, &balanced).await,
        Decision::Tunnel(forward) => match handshake::check(&turn, &forward) {
            Ok(asked) => forward::run(&mut turn, client, &forward, Some(asked)).await,
            Err(respond) => answer::own(&mut turn, client, &respond, Body::Unread).await,
        },
    }
}

/// The machine's load, from the kernel; nothing where it does not say.
pub(crate) fn load() -> Load {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut numbers = text.split(' ').map_while(|word| word.parse().ok());
    let averages = std::array::from_fn(|_| numbers.next().unwrap_or_default());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Load {
        averages,
        processors: u32::try_from(processors).unwrap_or(1),
    }
}

impl Subject for Turn<'_> {
    fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        self.exchange.environment.get(name)
    }

    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.exchange.fields().get(name)
    }

    fn note(&self, name: &[u8]) -> Option<&[u8]> {
        self.exchange.notes.get(name)
    }

    fn log_id(&self) -> &[u8] {
        let spell = || {
            let bytes = self.exchange.identity.iter();
            bytes.map(|byte| format!("{byte:02x}")).collect()
        };
        self.log_id.get_or_init(spell).as_bytes()
    }

    fn requests_before(&self) -> u32 {
        self.connection().requests
    }

    fn local(&self) -> SocketAddr {
        self.connection().local
    }

    fn peer(&self) -> SocketAddr {
        self.connection().peer
    }

    fn server_name(&self) -> &str {
        &self.spec().server_name
    }

    fn canonical_name(&self) -> Cow<'_, [u8]> {
        self.own_name()
    }
}

impl Turn<'_> {
    /// The host's settings.
    pub(crate) fn spec(&self) -> &HostSpec {
        &self.exchange.host.spec
    }

    /// How the server calls itself to this client (`UseCanonicalName`).
    pub(crate) fn own_name(&self) -> Cow<'_, [u8]> {
        let spec = self.spec();
        let asked = self.exchange.head.host().and_then(split_host_port);
        match asked.filter(|_| !spec.canonical_name) {
            Some(asked) => Cow::Owned(asked.host.to_ascii_lowercase()),
            None => Cow::Borrowed(spec.server_name.as_bytes()),
        }
    }

    /// How long the client may send or take nothing.
    pub(crate) fn client_timeout(&self) -> Duration {
        let spec = self.spec();
        let stream = self.connection().stream.and(spec.http2.timeout);
        stream.unwrap_or(spec.timeout)
    }

    /// What TLS towards the host's origins needs.
    pub(crate) fn client_tls(&self) -> Option<&Arc<ClientTls>> {
        self.generation.tls.client(self.exchange.host.index)
    }

    /// The client's connection.
    pub(crate) fn connection(&self) -> Connection {
        self.exchange.connection
    }

    /// The host's logs.
    pub(crate) fn logs(&self) -> &HostLogs {
        self.generation.logs_of(self.exchange.host.index)
    }

    /// Whether the connection may carry another request after an answer with
    /// this status. Some statuses close it, as in httpd: after them it is in
    /// doubt where the next request begins.
    pub(crate) fn may_keep_alive(&self, status: u16) -> bool {
        if self.connection().stream.is_some() {
            // The end of a stream is in doubt for nobody.
            return true;
        }
        let spec = self.spec().keep_alive;
        let left = spec.requests_max == 0 || self.connection().requests < spec.requests_max;
        // What follows a CONNECT was meant for a tunnel, not for relais.
        let tunnelled = self.exchange.head.method() == b"CONNECT";
        let closing = matches!(status, 400 | 408 | 411 | 413 | 414 | 500 | 501 | 503);
        self.exchange.meta.keep_alive
            && spec.on
            && left
            && !closing
            && !tunnelled
            && !self.worker.draining()
    }

    /// Writes the fields that speak of the connection, as httpd's
    /// `ap_set_keepalive` does: a client that asked for keep-alive in words is
    /// answered in words.
    pub(crate) fn write_connection(&self, keep: bool, out: &mut HeadOut<'_>) {
        let Some(out) = out.text() else {
            return;
        };
        if !keep {
            out.extend_from_slice(b"Connection: close\r\n");
            return;
        }
        let asked = connection_lists(&self.exchange.head.fields, b"keep-alive");
        if !asked && self.exchange.head.version() == Version::Http11 {
            return;
        }
        let spec = self.spec().keep_alive;
        let mut line = format!("Keep-Alive: timeout={}", spec.timeout.as_secs());
        if spec.requests_max > 0 {
            line.push_str(&format!(
                ", max={}",
                spec.requests_max - self.connection().requests
            ));
        }
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\nConnection: Keep-Alive\r\n");
    }

    /// The same for an answer that names a protocol to switch to (RFC 9110
    /// §7.8: `Upgrade` is a field of the connection).
    pub(crate) fn write_upgrade(&self, protocol: &[u8], keep: bool, out: &mut HeadOut<'_>) {
        let Some(out) = out.text() else {
            return;
        };
        let options: &[u8] = if keep { b"Upgrade" } else { b"Upgrade, close" };
        write_field(out, b"Connection", options);
        write_field(out, b"Upgrade", protocol);
    }

    /// Adds a line to the host's error log.
    pub(crate) fn log(&self, module: &'static str, level: Level, message: &str) {
        if self.spec().levels.enabled(module, level) {
            let spec = self.spec();
            let log = &self.logs().error;
            let entry = Entry {
                client: Some(self.exchange.client),
                referer: self.exchange.head.fields.get("Referer"),
                subject: Some(self),
                format: spec.error_format.as_deref(),
                ..Entry::new(level, module, message.as_bytes())
            };
            if self.log_id.get().is_none() {
                Subject::log_id(self);
                for format in &*spec.request_formats {
                    let format = Some(format);
                    log.log(&Entry { format, ..entry });
                }
            }
            log.log(&entry);
        }
    }

    fn write_log_lines(&mut self) {
        for LogLine {
            module,
            level,
            message,
        } in std::mem::take(&mut self.exchange.log)
        {
            self.log(module, level, &message);
        }
    }

    /// Writes the access log lines of a request that is over.
    pub(crate) fn finish(&self, sent: &Sent, next: &Next) {
        if let Some(member) = &self.member {
            member.count(self.received, sent.bytes);
        }
        let took = self.begun.elapsed();
        self.worker.seats.count(sent.bytes, took);
        self.seat.ended(sent.bytes, took);
        record::write(self, sent, next, took);
    }
}
