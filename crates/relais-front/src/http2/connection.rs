//! A connection of HTTP/2, from its preface to its end.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use relais_policy::{Connection, HostSpec, Mode};
use relais_telemetry::Level;
use relais_tls::Facts;
use tokio::time::Instant;

use crate::client::Client;
use crate::connection::{Http1, arrival, first_byte_limit, first_spec, limits, linger};
use crate::handshake;
use crate::http2::guard::PREFACE;
use crate::http2::io::{Io, Seen};
use crate::http2::request::{self, Refusal};
use crate::http2::stream::{self, Stream};
use crate::http2::tunnel;
use crate::status::Seat;
use crate::turn::{self, Arrived, Next, Refused};
use crate::worker::Worker;

/// Streams that the client has reset and that still wait for their turn; more is a rapid reset (CVE-2023-44487).
const RESET_WAITING_MAX: usize = 20;

/// Streams that relais has reset and still keeps in mind.
const RESET_KEPT_MAX: usize = 10;

/// The least window of a whole connection: what all its streams may have under way together.
const WINDOW_MIN: u32 = 1 << 20;

/// Room for the header list beyond what the limits on fields let in, so that a list that is a little too large is
/// answered and logged.
const HEADERS_SPARE: usize = 16 * 1024;

/// The largest header list, whatever the limits say.
const HEADERS_MAX: usize = 256 * 1024;

/// How long a connection that is told to end may stay without a stream.
const LINGER: Duration = Duration::from_secs(2);

/// How often a connection is looked at, at the least.
const LOOK_MAX: Duration = Duration::from_secs(60);

type Frames = h2::server::Connection<Io, Bytes>;

/// What the streams of a connection share.
struct Session {
    worker: Rc<Worker>,
    facts: Connection,
    tls: Option<Rc<Facts>>,
    seat: Rc<Seat>,
    open: Cell<u32>,
    requests: Cell<u32>,
    /// When a stream was last opened or ended.
    active: Cell<Instant>,
}

/// Counts a stream while it lives.
pub(super) struct Open(Rc<Session>);

impl Open {
    fn new(session: &Rc<Session>) -> Self {
        session.open.set(session.open.get() + 1);
        session.active.set(Instant::now());
        Self(Rc::clone(session))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.active.set(Instant::now());
    }
}

/// Whether the client speaks HTTP/2: it was agreed on in the handshake, or the connection begins with its preface where
/// that is allowed. Waits for as many bytes as that takes.
pub(crate) async fn spoken(worker: &Worker, client: &mut Http1) -> bool {
    if client.http2 {
        return true;
    }
    let (generation, _) = worker.generation();
    let spec = first_spec(&generation.site, client.facts.local);
    if !spec.protocols.direct(client.facts.secure) || client.misdirected {
        return false;
    }
    let end = Instant::now() + first_byte_limit(spec);
    if !client.wait(worker).await {
        return false;
    }
    loop {
        let bytes = client.input.bytes();
        let length = bytes.len().min(PREFACE.len());
        if bytes[..length] != PREFACE[..length] {
            return false;
        }
        if length == PREFACE.len() {
            return true;
        }
        let more = client.input.fill(&mut client.stream, &worker.buffers);
        match crate::time::until(end, more).await {
            Ok(1..) => {}
            // What HTTP/1 makes of it is its affair.
            _ => return false,
        }
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, mut client: Http1) {
    let early = client.input.take(&worker.buffers);
    let seen = Seen::new();
    let stream = Rc::new(RefCell::new(client.stream));
    let io = Io::new(Rc::clone(&stream), early, Rc::clone(&seen));
    let (builder, limit) = {
        let (generation, _) = worker.generation();
        let spec = first_spec(&generation.site, client.facts.local);
        (builder(spec), first_byte_limit(spec))
    };
    let Ok(Ok(frames)) = tokio::time::timeout(limit, builder.handshake(io)).await else {
        return;
    };
    let session = Rc::new(Session {
        worker,
        facts: client.facts,
        tls: client.tls,
        seat: client.seat,
        open: Cell::new(0),
        requests: Cell::new(0),
        active: Cell::new(Instant::now()),
    });
    run(&session, frames, &seen).await;
    // The frames are gone, so that nobody else has the socket.
    if let Some(stream) = Rc::into_inner(stream) {
        linger(stream.into_inner()).await;
    }
}

fn builder(spec: &HostSpec) -> Builder {
    let http2 = &spec.http2;
    let mut builder = Builder::new();
    builder
        .initial_window_size(http2.window)
        .initial_connection_window_size(http2.window.max(WINDOW_MIN))
        .max_concurrent_streams(http2.streams_max)
        .max_send_buffer_size(http2.memory)
        .max_header_list_size(headers_max(spec))
        .max_concurrent_reset_streams(RESET_KEPT_MAX)
        .max_pending_accept_reset_streams(RESET_WAITING_MAX)
        .max_local_error_reset_streams(Some(http2.errors_max));
    if http2.websockets {
        builder.enable_connect_protocol();
    }
    builder
}

/// The largest header list that is read at all.
fn headers_max(spec: &HostSpec) -> u32 {
    let limits = &spec.limits;
    let fields = if limits.fields == 0 {
        100
    } else {
        limits.fields
    };
    // Many fields of the largest size each are no request; the sum is bounded by what a few of them take.
    let sum = limits.line + limits.field * fields.min(8) + HEADERS_SPARE;
    u32::try_from(sum.min(HEADERS_MAX)).unwrap_or(u32::MAX)
}

/// How a connection stands.
enum Stage {
    Serving,
    /// The client was told that no new stream is served.
    Leaving(Instant),
    /// The client was told that it goes too far.
    Ended(Instant),
}

async fn run(session: &Rc<Session>, mut frames: Frames, seen: &Seen) {
    let worker = &session.worker;
    let begun_with = worker.reloads.get();
    let mut stage = Stage::Serving;
    // Kept from one request to the next, which has no need of any of them.
    let mut changed = pin!(worker.changed.notified());
    let mut reloaded = pin!(worker.reloaded.notified());
    let mut flood = pin!(seen.flood.notified());
    let mut look = pin!(tokio::time::sleep(Limit::of(session).look(session)));
    loop {
        let ends = worker.draining() || worker.reloads.get() != begun_with;
        if ends && matches!(stage, Stage::Serving) {
            frames.graceful_shutdown();
            stage = Stage::Leaving(Instant::now());
        }
        if seen.flooded() && !matches!(stage, Stage::Ended(_)) {
            worker.log(
                Level::Info,
                &format!(
                    "HTTP/2: {} sends frames without end; GOAWAY",
                    session.facts.peer
                ),
            );
            frames.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            stage = Stage::Ended(Instant::now());
        }
        tokio::select! {
            biased;
            () = &mut changed => changed.set(worker.changed.notified()),
            () = &mut reloaded => reloaded.set(worker.reloaded.notified()),
            accepted = frames.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    if begin(session, request, respond) == 0 {
                        // From now on another limit holds.
                        let next = Limit::of(session).look(session);
                        look.as_mut().reset(Instant::now() + next);
                    }
                }
                // A clean end, or an error that the client was told of.
                Some(Err(_)) | None => return,
            },
            () = &mut flood => flood.set(seen.flood.notified()),
            () = &mut look => {
                let limits = Limit::of(session);
                look.as_mut().reset(Instant::now() + limits.look(session));
                if limits.is_over(session, seen, &stage) {
                    return;
                }
                if matches!(stage, Stage::Serving) && limits.is_idle(session) {
                    frames.graceful_shutdown();
                    stage = Stage::Leaving(Instant::now());
                }
            }
        }
    }
}

/// How long a connection may take for what.
struct Limit {
    idle: Duration,
    stall: Duration,
}

impl Limit {
    fn of(session: &Session) -> Self {
        let (generation, _) = session.worker.generation();
        let spec = first_spec(&generation.site, session.facts.local);
        let idle = if session.requests.get() > 0 {
            spec.keep_alive.timeout
        } else {
            first_byte_limit(spec)
        };
        Self {
            idle,
            stall: spec.timeout,
        }
    }

    /// When to look again. Nothing wakes the connection when its last stream ends, so that an idle one may be found up to
    /// one limit later.
    fn look(&self, session: &Session) -> Duration {
        let rest = match session.open.get() {
            0 => self.idle.saturating_sub(session.active.get().elapsed()),
            _ => self.idle,
        };
        rest.min(self.stall)
            .min(LOOK_MAX)
            .max(Duration::from_millis(10))
    }

    fn is_idle(&self, session: &Session) -> bool {
        session.open.get() == 0 && session.active.get().elapsed() >= self.idle
    }

    /// Whether a connection is dropped: its client takes nothing, or does not close after it was told to.
    fn is_over(&self, session: &Session, seen: &Seen, stage: &Stage) -> bool {
        let lingers = match stage {
            Stage::Serving => false,
            Stage::Leaving(since) => {
                let last = session.active.get().max(*since);
                session.open.get() == 0 && last.elapsed() >= LINGER
            }
            Stage::Ended(since) => since.elapsed() >= LINGER,
        };
        lingers || seen.blocked() >= self.stall
    }
}

/// Has a request served. The answer is how many there were before it.
fn begin(session: &Rc<Session>, request: Request<RecvStream>, respond: SendResponse<Bytes>) -> u32 {
    let open = Open::new(session);
    let number = session.requests.replace(session.requests.get() + 1);
    tokio::task::spawn_local(exchange(open, number, request, respond));
    number
}

/// One request.
async fn exchange(
    open: Open,
    number: u32,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let session = Rc::clone(&open.0);
    let worker = &session.worker;
    let (generation, sets) = worker.generation();
    let spec = first_spec(&generation.site, session.facts.local);
    let limits = limits(spec);
    let moment = arrival();
    let (parts, body) = request.into_parts();
    let ended = body.is_end_stream();
    let id = u32::from(body.stream_id());
    let piece = spec.http2.frame_max.unwrap_or(stream::PIECE);
    let opens = parts.extensions.get::<Protocol>().is_some();
    let mut stream = Stream::new(body, respond, piece, opens);
    let mut head = worker.requests.lend();
    let connection = Connection {
        requests: number,
        stream: Some(id),
        ..session.facts
    };
    let read = request::read(&parts, ended, &limits, worker.nonce(), &mut head);
    drop(parts);
    let next = match read {
        Ok((meta, received)) => {
            let arrived = Arrived {
                head: &head,
                meta: &meta,
                connection,
                tls: session.tls.as_deref(),
                moment,
                received,
                seat: Rc::clone(&session.seat),
            };
            let client = &mut Client::Http2(&mut stream);
            turn::answer(worker, (&generation, &sets), client, arrived).await
        }
        Err(Refusal::Answer(respond)) => {
            let client = &mut Client::Http2(&mut stream);
            let refused = Refused {
                connection,
                head: &head,
                moment,
                received: head.line().len() as u64,
                seat: Rc::clone(&session.seat),
            };
            turn::refuse(worker, &generation, client, refused, respond).await
        }
        Err(Refusal::Malformed) => return stream.sender.reset(Reason::PROTOCOL_ERROR),
    };
    drop(head);
    let idle = session.open.get() == 1;
    session
        .seat
        .set(if idle { Mode::KeepAlive } else { Mode::Write });
    match next {
        Next::Request | Next::Close => {}
        Next::Drop => stream.sender.reset(Reason::INTERNAL_ERROR),
        Next::Tunnel(plan) => {
            let socket = tunnel::socket(worker, stream, open);
            handshake::hand_off_stream(worker, socket, *plan);
        }
    }
}
