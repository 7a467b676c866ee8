//! A request's way to an origin and the response's way back.
//!
//! Both directions run at the same time in one task, so that an origin may
//! answer before it has the whole body. Whoever ends first decides what the
//! connections are good for afterwards.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use relais_http1::{BodyDecoder, BodyError, BodyLength, Expect, Step, Version};
use relais_policy::{Forward, Interim, Respond, WorkerSpec};
use relais_telemetry::Level;
use relais_upstream::{ConnectError, Lease};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::answer::{self, Body};
use crate::client::Client;
use crate::download::{Download, Finished, Trouble};
use crate::handshake::{self, Asked};
use crate::http2;
use crate::input::Input;
use crate::time::{write_all_within, write_counted};
use crate::turn::{Next, Sent, Turn, Verdict};
use crate::upload::{Upload, UploadError};

/// What the two directions tell each other.
#[derive(Default)]
pub(crate) struct Shared {
    /// The request's body has been sent whole.
    pub(crate) upload_done: Cell<bool>,
    /// No more of it will be sent, for whatever reason.
    pub(crate) upload_over: Cell<bool>,
    /// When its last byte went out; `None` where there is none.
    pub(crate) sent_at: Cell<Option<Instant>>,
    /// Bytes of the final response have been sent.
    pub(crate) started: Cell<bool>,
    /// The final response ends with the client's connection.
    pub(crate) until_close: Cell<bool>,
    /// The body waits until the origin has said anything (`ping=`).
    pub(crate) held: Cell<bool>,
    /// Tells the upload that it is held no more.
    pub(crate) go: Notify,
}

impl Shared {
    /// Whether the origin is still being sent the request, or has had it whole
    /// for less than its limit.
    pub(crate) fn is_uploading(&self, limit: Duration) -> bool {
        !self.upload_over.get() || self.sent_at.get().is_some_and(|at| at.elapsed() < limit)
    }
}

/// How one attempt at an origin ended.
enum Attempt {
    Finished(Finished),
    Failed(Trouble),
    /// The client is at fault.
    Client(UploadError),
}

/// Forwards a request; `asked` holds what a valid upgrade asks for.
pub(crate) async fn run(
    turn: &mut Turn<'_>,
    client: &mut Client<'_>,
    forward: &Forward,
    asked: Option<Asked>,
) -> Next {
    if let Err(error) = check_arrived(turn, client) {
        return broken(turn, client, &error).await;
    }
    match connection(turn, forward).await {
        Ok(lease) => carry(turn, client, forward, asked, lease).await,
        Err(error) => {
            turn.url.clone_from(&forward.url);
            unreachable(turn, client, &forward.worker, &error).await
        }
    }
}

/// A connection for a request, kept or fresh.
pub(crate) async fn connection(turn: &Turn<'_>, forward: &Forward) -> Result<Lease, ConnectError> {
    let pool = &turn.worker.pool;
    if forward.treatment.fresh {
        pool.connect(&forward.worker, turn.client_tls()).await
    } else {
        pool.acquire(&forward.worker, turn.client_tls()).await
    }
}

/// Answers a request whose body is broken from the start.
pub(crate) async fn broken(
    turn: &mut Turn<'_>,
    client: &mut Client<'_>,
    error: &BodyError,
) -> Next {
    let message = format!("request body: {}", error.reason());
    turn.log("core", Level::Info, &message);
    answer::own(turn, client, &Respond::status(400), Body::Lost).await
}

/// Sends a request on a connection to its origin, and what comes back to the
/// client.
pub(crate) async fn carry(
    turn: &mut Turn<'_>,
    client: &mut Client<'_>,
    forward: &Forward,
    asked: Option<Asked>,
    mut lease: Lease,
) -> Next {
    turn.url.clone_from(&forward.url);
    let worker = &forward.worker;
    let limit = turn.client_timeout();
    if forward.treatment.continue_here
        && turn.exchange.meta.expect == Expect::Continue
        && go_on(limit, client).await.is_err()
    {
        return Next::Drop;
    }
    let mut pinged = false;
    loop {
        let mut input = Input::default();
        let home = turn.worker;
        let mut sent = home.sents.lend();
        let shared = Shared::default();
        let no_body = matches!(
            turn.exchange.meta.body,
            BodyLength::None | BodyLength::Length(0)
        );
        shared.upload_done.set(no_body);
        shared.upload_over.set(no_body);
        shared.held.set(!no_body && worker.ping.is_some());
        let reused = lease.reused;
        let attempt = attempt(
            turn, client, &mut lease, &mut input, forward, &shared, &mut sent,
        )
        .await;
        match attempt {
            Attempt::Failed(trouble) if repeats(turn, &trouble, reused, &mut pinged) => {
                lease = match turn.worker.pool.connect(worker, turn.client_tls()).await {
                    Ok(lease) => lease,
                    Err(error) => return unreachable(turn, client, worker, &error).await,
                };
            }
            Attempt::Finished(finished) => {
                let exchange = Ended {
                    lease,
                    input,
                    sent: &sent,
                    shared,
                };
                return conclude(turn, client, forward, asked, finished, exchange).await;
            }
            Attempt::Failed(trouble) => {
                return failed(turn, client, worker, trouble, &sent, &shared).await;
            }
            Attempt::Client(error) => {
                return client_failed(turn, client, error, &sent, &shared).await;
            }
        }
    }
}

/// Tells the client to send its body.
pub(crate) async fn go_on(limit: Duration, client: &mut Client<'_>) -> io::Result<()> {
    let mut outlet = client.outlet();
    let mut text = Vec::new();
    let mut head = outlet.head(&mut text);
    head.status_line(100, b"Continue")
        .map_err(io::Error::other)?;
    outlet.interim(100, head)?;
    write_all_within(limit, &mut outlet, &text).await
}

/// Looks through what has arrived of a chunked body, so that a request whose
/// framing is broken from the start costs its origin nothing.
pub(crate) fn check_arrived(turn: &Turn<'_>, client: &mut Client<'_>) -> Result<(), BodyError> {
    if turn.exchange.meta.body != BodyLength::Chunked {
        return Ok(());
    }
    let Some(client) = client.http1() else {
        return Ok(());
    };
    let mut decoder = BodyDecoder::new(BodyLength::Chunked);
    let mut rest = client.input.bytes();
    while let Step::Data { consumed, .. } = decoder.step(rest)? {
        rest = rest.get(consumed..).unwrap_or_default();
    }
    Ok(())
}

/// What is left of an exchange whose response has ended.
struct Ended<'s> {
    lease: Lease,
    input: Input,
    sent: &'s Sent,
    shared: Shared,
}

/// Whether a request is sent a second time, on a fresh connection: the first
/// one carried an earlier request, was found closed before any byte of an
/// answer, and took nothing of this request or only what may be repeated; or
/// the origin did not answer a `ping=`, which is tried once more.
fn repeats(turn: &Turn<'_>, trouble: &Trouble, reused: bool, pinged: &mut bool) -> bool {
    match trouble {
        Trouble::Unsent(_) => reused,
        Trouble::Silent(_) => reused && may_repeat(turn),
        // The body is still here, and a head that promises one is no request.
        Trouble::NoPing => !std::mem::replace(pinged, true),
        _ => false,
    }
}

/// Whether the origin may have acted on a request without harm in acting on it
/// again: one that changes nothing (RFC 9110 §9.2.2) and has no body.
fn may_repeat(turn: &Turn<'_>) -> bool {
    turn.exchange.meta.body == BodyLength::None
        && matches!(
            turn.exchange.head.method(),
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
        )
}

async fn attempt(
    turn: &mut Turn<'_>,
    client: &mut Client<'_>,
    lease: &mut Lease,
    input: &mut Input,
    forward: &Forward,
    shared: &Shared,
    sent: &mut Sent,
) -> Attempt {
    let (incoming, mut outlet, watch) = client.split();
    let (mut origin_read, mut origin_write) = lease.stream.split();
    let limit = forward.worker.timeout;
    // An origin that refuses the rest of a head may have answered its start, so
    // only a time-out ends here; a broken connection shows when it is read.
    match write_counted(limit, &mut origin_write, &forward.head).await {
        Err(error) if is_timeout(&error.error) => return Attempt::Failed(Trouble::TimedOut),
        Err(error) if error.taken == 0 => return Attempt::Failed(Trouble::Unsent(error.error)),
        _ => {}
    }
    let received = Cell::new(0);
    let outcome = {
        let turn = &*turn;
        let download = Download {
            turn,
            shared,
            forward,
            sent,
            pace: None,
        };
        let download = download.run(&mut origin_read, input, &mut outlet);
        if shared.upload_done.get() {
            unless_gone(watch, pin!(download)).await
        } else {
            let upload = Upload {
                turn,
                shared,
                worker: &forward.worker,
                received: &received,
            };
            let upload = upload.run(incoming, &mut origin_write);
            both(shared, watch, pin!(upload), pin!(download)).await
        }
    };
    turn.received += received.get();
    outcome
}

fn finish(result: Result<Finished, Trouble>) -> Attempt {
    match result {
        Ok(finished) => Attempt::Finished(finished),
        Err(trouble) => Attempt::Failed(trouble),
    }
}

/// Receives the response, as long as the client wants it.
async fn unless_gone(
    watch: Option<&http2::Sender>,
    mut download: Pin<&mut impl Future<Output = Result<Finished, Trouble>>>,
) -> Attempt {
    poll_fn(|context: &mut Context<'_>| {
        let result = download.as_mut().poll(context).map(finish);
        if result.is_pending() && has_gone(watch, context) {
            return Poll::Ready(Attempt::Failed(Trouble::Client));
        }
        result
    })
    .await
}

/// Whether the client has given the request up. Asked last, so that a full window is told from a reset by the same waker.
fn has_gone(watch: Option<&http2::Sender>, context: &mut Context<'_>) -> bool {
    watch.is_some_and(|sender| sender.poll_gone(context).is_ready())
}

/// Runs both directions until the response has ended or the client failed. An
/// origin that takes no more of the body may still have an answer to give.
async fn both(
    shared: &Shared,
    watch: Option<&http2::Sender>,
    mut upload: Pin<&mut impl Future<Output = Result<(), UploadError>>>,
    mut download: Pin<&mut impl Future<Output = Result<Finished, Trouble>>>,
) -> Attempt {
    let mut uploading = true;
    poll_fn(|context: &mut Context<'_>| {
        if uploading && let Poll::Ready(result) = upload.as_mut().poll(context) {
            uploading = false;
            shared.upload_over.set(true);
            match result {
                Ok(()) | Err(UploadError::Origin(_)) => {}
                Err(error) => return Poll::Ready(Attempt::Client(error)),
            }
        }
        let result = download.as_mut().poll(context).map(finish);
        if result.is_pending() && has_gone(watch, context) {
            return Poll::Ready(Attempt::Failed(Trouble::Client));
        }
        result
    })
    .await
}

async fn conclude(
    turn: &mut Turn<'_>,
    client: &mut Client<'_>,
    forward: &Forward,
    asked: Option<Asked>,
    finished: Finished,
    ended: Ended<'_>,
) -> Next {
    let Ended {
        lease,
        mut input,
        sent,
        shared,
    } = ended;
    let whole = shared.upload_done.get();
    match finished {
        Finished::Switching(mut head) => match handshake::accept(forward, asked, &head) {
            Ok(accepted) => {
                for phase in turn.exchange.site.phases.response {
                    phase(&turn.exchange, &mut head);
                }
                let answer = client.outlet();
                handshake::plan(turn, forward, &head, answer, accepted, lease, input)
            }
            Err(message) => {
                turn.log("proxy_http", Level::Error, &format!("AH00898: {message}"));
                let body = if whole { Body::Done } else { Body::Lost };
                answer::own(turn, client, &proxy_error(502, message), body).await
            }
        },
        Finished::Overridden(respond) => {
            // The origin's own page is not read, so its connection ends.
            let body = if whole { Body::Done } else { Body::Lost };
            answer::own(turn, client, &respond, body).await
        }
        Finished::Response {
            reusable,
            keep_alive,
        } => {
            if reusable && whole && input.is_empty() {
                turn.worker.pool.release(&forward.worker, lease);
                input.park(&turn.worker.buffers);
            }
            let next = if keep_alive && whole {
                Next::Request
            } else {
                Next::Close
            };
            turn.finish(sent, &next);
            next
        }
    }
}

/// An answer in mod_proxy's own words, with what went wrong on its page.
pub(crate) fn proxy_error(status: u16, detail: impl Into<String>) -> Respond {
    Respond {
        reason: Some("Proxy Error"),
        detail: Some(detail.into()),
        ..Respond::status(status)
    }
}

pub(crate) async fn unreachable(
    turn: &mut Turn<'_>,
    client: &mut Client<'_>,
    worker: &WorkerSpec,
    error: &ConnectError,
) -> Next {
    log_unreachable(turn, worker, error);
    let respond = match error.status() {
        _ if error.is_handshake() => {
            proxy_error(500, "Error during SSL Handshake with remote server")
        }
        500 if matches!(error, ConnectError::Tls) => Respond::status(500),
        500 => proxy_error(500, format!("DNS lookup failure for: {}", worker.host)),
        status => Respond::status(status),
    };
    answer::own(turn, client, &respond, Body::Unread).await
}

/// Says why there is no connection to an origin.
pub(crate) fn log_unreachable(turn: &Turn<'_>, worker: &WorkerSpec, error: &ConnectError) {
    let name = &worker.name;
    let message = format!("AH01114: failed to make connection to backend {name}: {error}");
    turn.log("proxy", Level::Error, &message);
}

async fn failed(
    turn: &mut Turn<'_>,
    client: &mut Client<'_>,
    worker: &WorkerSpec,
    trouble: Trouble,
    sent: &Sent,
    shared: &Shared,
) -> Next {
    if matches!(trouble, Trouble::TimedOut) {
        turn.verdict.set(Verdict::TimedOut);
    }
    let Some(respond) = trouble.answer() else {
        turn.finish(sent, &Next::Drop);
        return Next::Drop;
    };
    let path = turn.exchange.path.escape_ascii().to_string();
    turn.log(
        "proxy_http",
        Level::Error,
        &format!("{trouble}: {} returned by {path}", worker.name),
    );
    if shared.started.get() {
        if shared.until_close.get()
            && let Some(client) = client.http1()
        {
            // A plain end would make the part look like the whole; the client
            // gets a reset.
            let descriptor = client.stream.as_fd();
            let socket = socket2::SockRef::from(&descriptor);
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
        turn.finish(sent, &Next::Drop);
        return Next::Drop;
    }
    let body = if shared.upload_done.get() {
        Body::Done
    } else {
        Body::Lost
    };
    answer::own(turn, client, &respond, body).await
}

async fn client_failed(
    turn: &mut Turn<'_>,
    client: &mut Client<'_>,
    error: UploadError,
    sent: &Sent,
    shared: &Shared,
) -> Next {
    turn.log("core", Level::Info, &format!("request body: {error}"));
    match error.status() {
        Some(status) if !shared.started.get() => {
            answer::own(turn, client, &Respond::status(status), Body::Lost).await
        }
        _ => {
            turn.finish(sent, &Next::Drop);
            Next::Drop
        }
    }
}

/// Whether an interim response may go to the client: HTTP/1.0 has none,
/// `100 Continue` goes only to a client that waits for it, and 103 goes by
/// HTTP/2 where `H2EarlyHints` says so.
pub(crate) fn interim_allowed(turn: &Turn<'_>, interim: Interim, status: u16) -> bool {
    let wanted = match interim {
        Interim::None => false,
        Interim::All => true,
        Interim::Asked => status != 100 || turn.exchange.meta.expect == Expect::Continue,
    };
    let hint = status == 103 && turn.connection().stream.is_some();
    wanted
        && turn.exchange.head.version() != Version::Http10
        && (!hint || turn.spec().http2.early_hints)
}

/// The kinds of failure that mean the other end has gone.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}
