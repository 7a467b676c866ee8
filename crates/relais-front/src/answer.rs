//! relais' own answers: error pages, redirects and files, as httpd words them.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use relais_http1::{
    BodyDecoder, BodyEncoder, BodyLength, Expect, Fields, PageExtra, RequestHead, ResponseBody,
    Step, Version, error_page, reason,
};
use relais_policy::{Content, ErrorDocument, Exchange, FileBody, Filters, Outgoing, Respond};
use relais_telemetry::{Level, httpdate};
use tokio::time::{Duration, Instant};

use crate::client::{Client, HeadOut, Outlet};
use crate::content::{Pace, Refiner, refined};
use crate::download::is_managed;
use crate::time::{until, write_all_within};
use crate::turn::{self, First, Next, Reached, Sent, Turn};

/// Bytes of a request body that are read and thrown away so that the
/// connection can go on; a longer rest closes it.
const DISCARD_MAX: u64 = 256 * 1024;

/// How long that may take.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// What mod_ssl adds to the page of a request without TLS on a port of TLS.
const PLAIN_ON_TLS: &str = "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n Instead use the HTTPS scheme to access this URL, please.<br />\n";

/// What is left of the request's body when relais answers by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing of it has been read.
    Unread,
    /// It has been read whole, or there is none.
    Done,
    /// Some of it has gone to an origin: where it ends can't be found again.
    Lost,
}

/// Sends an answer of relais' own and sees to the request's body.
pub(crate) async fn own(
    turn: &mut Turn<'_>,
    client: &mut Client<'_>,
    respond: &Respond,
    body: Body,
) -> Next {
    let unopened;
    let respond = if client.outlet().opens() && (200..300).contains(&respond.status) {
        unopened = Respond::logged(502, "what answers opens no WebSocket");
        &unopened
    } else {
        respond
    };
    if let Some(line) = &respond.log {
        let level = if respond.status >= 500 {
            Level::Error
        } else {
            Level::Info
        };
        turn.log("core", level, line);
    }
    let body = match client {
        Client::Http1(_) => body,
        // What is left of a stream's body is in nobody's way (RFC 9113 §8.1).
        Client::Http2(_) => Body::Done,
    };
    let document = error_document(turn, respond);
    if let Some(ErrorDocument::Local(path)) = &document {
        return local_document(turn, client, respond, path, body).await;
    }
    let readable = match body {
        Body::Unread => may_discard(turn),
        Body::Done => true,
        Body::Lost => false,
    };
    let keep = turn.may_keep_alive(respond.status) && readable;
    let home = turn.worker;
    let mut sent = home.sents.lend();
    let replaced = document.map(|document| in_place_of(respond, document));
    // A redirect on the way to an error's page leads nowhere either (`ap_die`).
    let failed = turn.first.filter(|_| respond.is_generated());
    let (respond, nested) = match failed {
        // The page for the first error cannot be had either.
        Some(first) => (first.respond, Some(respond.status)),
        None => (replaced.as_ref().unwrap_or(respond), None),
    };
    let is_head = turn.exchange.head.method() == b"HEAD";
    let mut outlet = client.outlet();
    let mut out = Vec::with_capacity(512);
    let mut head = outlet.head(&mut out);
    let page = compose(turn, respond, nested, keep, &mut head, &mut sent);
    if turn.spec().first_byte {
        sent.first_byte = Some(turn.begun.elapsed());
    }
    sent.bytes = head.size();
    let framing = match file_framing(turn, respond, &sent) {
        Some(framing) => framing,
        None => ResponseBody::Length(page.len() as u64),
    };
    let keep = keep && framing != ResponseBody::UntilClose;
    let mut written = outlet.begin(sent.status, head, framing);
    out.extend_from_slice(&page);
    sent.bytes += out.len() as u64;
    if written.is_ok() {
        written = write_all_within(turn.client_timeout(), &mut outlet, &out).await;
    }
    if let (Ok(()), Some(file)) = (&written, respond.file.as_ref().filter(|_| !is_head)) {
        written = send_file(turn, &mut outlet, file, framing, &mut sent).await;
    }
    let next = match written {
        Err(_) => Next::Drop,
        Ok(()) if keep && (body == Body::Done || discard(turn, client).await) => Next::Request,
        Ok(()) => Next::Close,
    };
    turn.finish(&sent, &next);
    next
}

/// Bytes of a file that are read and sent at a time.
const PIECE: usize = 64 * 1024;

/// Sends a file in pieces that are read off this thread. One that has become
/// shorter than was announced is an error, on which the connection ends.
async fn send_file(
    turn: &Turn<'_>,
    outlet: &mut Outlet<'_>,
    body: &FileBody,
    framing: ResponseBody,
    sent: &mut Sent,
) -> io::Result<()> {
    let limit = turn.client_timeout();
    let mut refiner = Refiner::of(&sent.filters);
    let mut pace = sent.filters.rate.map(|rate| Pace::new(rate, 0));
    let mut encoder = BodyEncoder::new(framing);
    let (mut piece, mut out) = (Vec::new(), Vec::new());
    let (mut offset, mut left) = (body.offset, body.length);
    while left > 0 {
        let file = Arc::clone(&body.file);
        let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        piece.resize(length, 0);
        let read = tokio::task::spawn_blocking(move || {
            let count = file.read_at(&mut piece, offset);
            count.map(|count| (count, piece))
        });
        let (count, bytes) = read.await.map_err(io::Error::other)??;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += count as u64;
        left -= count as u64;
        let mut part = bytes.get(..count).unwrap_or_default();
        if let Some(refiner) = &mut refiner {
            out.clear();
            let content = refiner.push(part).map_err(io::Error::other)?;
            sent.body += content.len() as u64;
            encoder.data(content, &mut out).map_err(io::Error::other)?;
            if left == 0 {
                let rest = refiner.end().map_err(io::Error::other)?;
                sent.body += rest.len() as u64;
                encoder.data(rest, &mut out).map_err(io::Error::other)?;
                encoder.end(None, &mut out).map_err(io::Error::other)?;
                refiner.note(&sent.filters, &mut sent.notes);
            }
            part = &out;
        } else {
            sent.body += count as u64;
        }
        match &mut pace {
            Some(pace) => pace.write_all(limit, outlet, part).await?,
            None => write_all_within(limit, outlet, part).await?,
        }
        sent.bytes += part.len() as u64;
        piece = bytes;
    }
    outlet.finish(None)
}

/// How a file's content is framed; `None` without one that is sent. Filters
/// make something of it whose length is not known.
fn file_framing(turn: &Turn<'_>, respond: &Respond, sent: &Sent) -> Option<ResponseBody> {
    let file = respond.file.as_ref()?;
    let head = turn.exchange.head;
    match (head.method(), head.version()) {
        (b"HEAD", _) => None,
        _ if sent.filters.chain.is_empty() => Some(ResponseBody::Length(file.length)),
        (_, Version::Http11) => Some(ResponseBody::Chunked),
        _ => Some(ResponseBody::UntilClose),
    }
}

/// What the configuration puts in the place of an error's page.
fn error_document(turn: &Turn<'_>, respond: &Respond) -> Option<ErrorDocument> {
    if turn.first.is_some() || !respond.is_error() {
        return None;
    }
    let exchange = &turn.exchange;
    (exchange.site.phases.error_document)(exchange, respond.status)
}

/// The answer with a text or a redirect in place of its page.
fn in_place_of(respond: &Respond, document: ErrorDocument) -> Respond {
    match document {
        ErrorDocument::Text(text) => Respond {
            body: Some(text),
            ..respond.clone()
        },
        ErrorDocument::Local(url) | ErrorDocument::Elsewhere(url) => Respond {
            fields: vec![("Location", url)],
            ..Respond::status(302)
        },
    }
}

/// Answers an error with what answers at a path of ours: an internal redirect
/// to it by GET (httpd's `ap_die`).
async fn local_document(
    turn: &mut Turn<'_>,
    client: &mut Client<'_>,
    respond: &Respond,
    path: &[u8],
    body: Body,
) -> Next {
    let known = match body {
        Body::Unread => may_discard(turn) && discard(turn, client).await,
        Body::Done => true,
        Body::Lost => false,
    };
    let mut meta = *turn.exchange.meta;
    meta.keep_alive = known && turn.may_keep_alive(respond.status);
    meta.body = BodyLength::None;
    let version = turn.exchange.head.version();
    // httpd asks by GET and keeps in mind that the client wants no content.
    let method: &[u8] = match turn.exchange.head.method() {
        b"HEAD" => b"HEAD",
        _ => b"GET",
    };
    let head = match RequestHead::from_parts(method, path, version) {
        Ok(mut head) => {
            head.fields.clone_from(turn.exchange.fields());
            head.fields.remove("Content-Length");
            head
        }
        // A path that no request line could hold leads nowhere.
        Err(_) => turn.exchange.head.clone(),
    };
    let first = &*turn;
    let old = &first.exchange;
    let mut exchange = Exchange::new(old.site, old.host, old.connection, &head, &meta, old.now);
    exchange.redirected_from(old, respond.status);
    exchange.tls = old.tls;
    exchange.running = old.running;
    let decision = loop {
        match turn::decide(&mut exchange, first.sets).await {
            Reached::Decision(decision) => break decision,
            // What is fetched by GET has none.
            Reached::Body(_) => exchange.body = Some(Vec::new()),
        }
    };
    let next = Turn {
        worker: first.worker,
        generation: first.generation,
        exchange,
        begun: first.begun,
        received: first.received,
        url: Vec::new(),
        member: None,
        verdict: std::cell::Cell::default(),
        log_id: std::cell::OnceCell::new(),
        sets: first.sets,
        first: Some(First {
            turn: first,
            respond,
        }),
        seat: std::rc::Rc::clone(&first.seat),
    };
    // Boxed, since carrying it out may come here again by its type, though
    // never in fact: an error on the way to an error's page ends it.
    Box::pin(turn::carry_out(next, client, decision)).await
}

fn compose(
    turn: &Turn<'_>,
    respond: &Respond,
    nested: Option<u16>,
    keep: bool,
    out: &mut HeadOut<'_>,
    sent: &mut Sent,
) -> Vec<u8> {
    let (mut always, mut fields) = lists(turn, respond);
    let mut outgoing = Outgoing {
        status: respond.status,
        own_error: respond.is_generated(),
        elapsed: turn.begun.elapsed(),
        always: &mut always,
        fields: &mut fields,
        notes: &mut sent.notes,
        content: content(turn, respond),
        filters: &mut sent.filters,
    };
    // httpd answers `OPTIONS *` before its filters are there.
    let filtered = turn.exchange.path != b"*";
    if !filtered || turn.exchange.finish_head(&mut outgoing).is_ok() {
        return write(turn, respond, nested, keep, (&always, &fields), out, sent);
    }
    turn.log(
        "http",
        Level::Error,
        "AH02430: a response header from the configuration contains invalid characters",
    );
    sent.filters = Filters::default();
    let respond = Respond::status(500);
    let (always, fields) = lists(turn, &respond);
    write(turn, &respond, nested, false, (&always, &fields), out, sent)
}

/// What filters may count on.
fn content(turn: &Turn<'_>, respond: &Respond) -> Content {
    let bodiless = turn.exchange.head.method() == b"HEAD" || matches!(respond.status, 204 | 304);
    match (&respond.file, &respond.body) {
        _ if bodiless => Content::None,
        (Some(file), _) => Content::Length(file.length),
        (None, Some(body)) => Content::Length(body.len() as u64),
        (None, None) => Content::Unknown,
    }
}

/// The fields of an answer as httpd's two lists have them.
fn lists(turn: &Turn<'_>, respond: &Respond) -> (Fields, Fields) {
    let (mut always, mut fields) = (Fields::new(), Fields::new());
    // What rules and expressions have asked for; generated pages do without it.
    let vary = turn.exchange.vary();
    if let Some(vary) = vary.filter(|_| !is_page(respond) && !respond.is_error()) {
        // Names of fields can be part of one.
        let _ = fields.append("Vary", vary);
    }
    for (name, value) in respond.fields.iter().filter(|(name, _)| *name != "Upgrade") {
        let list = if *name == "WWW-Authenticate" {
            &mut always
        } else {
            &mut fields
        };
        if list.push(name, value).is_err() {
            turn.log(
                "http",
                Level::Error,
                "AH02430: a field of an answer is left out",
            );
        }
    }
    if respond.status == 405 && !fields.contains("Allow") {
        // Required by RFC 9110 §15.5.6; TRACE is what httpd itself answers.
        let allowed = if turn.spec().trace_enabled {
            "TRACE"
        } else {
            ""
        };
        let _ = fields.push("Allow", allowed);
    }
    if respond.is_generated() {
        // httpd has one list when its error filters begin (`ap_send_error_response`).
        for (name, value) in &std::mem::take(&mut always) {
            let _ = fields.push(name, value);
        }
    }
    (always, fields)
}

fn write(
    turn: &Turn<'_>,
    respond: &Respond,
    nested: Option<u16>,
    keep: bool,
    (always, fields): (&Fields, &Fields),
    out: &mut HeadOut<'_>,
    sent: &mut Sent,
) -> Vec<u8> {
    let status = match turn.first {
        // What answers in the place of an error's page keeps its status.
        Some(first) if respond.status == 200 => first.respond.status,
        _ => respond.status,
    };
    let framing = file_framing(turn, respond, sent);
    let mut page = match &respond.body {
        // A file's content follows.
        Some(_) if respond.file.is_some() => Vec::new(),
        // What is in memory is well-formed, so that no filter fails on it.
        Some(body) => refined(&sent.filters, body.clone()).unwrap_or_default(),
        None => standard_page(turn, respond, nested),
    };
    let phrase = respond.reason.unwrap_or_else(|| reason(status));
    // Both parts are relais' own words, so the line cannot be refused.
    let _ = out.status_line(status, phrase.as_bytes());
    let mut field = |out: &mut HeadOut<'_>, name: &[u8], value: &[u8]| {
        out.field(name, value);
        // Only for the log, which does without a field that does not fit.
        let _ = sent.fields.push(name, value);
    };
    field(out, b"Date", &httpdate::date_header(turn.exchange.now));
    field(out, b"Server", turn.spec().server_tokens.as_bytes());
    let is_type = |name: &[u8]| name.eq_ignore_ascii_case(b"Content-Type");
    let sent_here = |(name, _): &(&[u8], &[u8])| !is_managed(name) && !is_type(name);
    // httpd's order: what describes a file is there before modules add their
    // fields.
    let (described, added): (Vec<_>, Vec<_>) = fields
        .iter()
        .filter(sent_here)
        .partition(|(name, _)| respond.file.is_none() || describes_file(name));
    for (name, value) in always.iter().filter(sent_here).chain(described) {
        field(out, name, value);
    }
    // RFC 9110 §6.4.1: these statuses have no content, and a page behind them
    // would be read as the next response.
    let bodiless = matches!(status, 204 | 304);
    if status == 205 {
        page.clear();
    }
    // Of a head that is refused the method has not been taken.
    let head = turn.exchange.head;
    let is_head = head.method() == b"HEAD" || head.line().starts_with(b"HEAD ");
    let length = match (&respond.file, framing) {
        (Some(_), Some(ResponseBody::Chunked | ResponseBody::UntilClose)) => None,
        (Some(file), _) => Some(file.length),
        (None, _) => (!is_head).then_some(page.len() as u64),
    };
    let keep = keep && framing != Some(ResponseBody::UntilClose);
    if let Some(length) = length.filter(|_| !bodiless) {
        field(out, b"Content-Length", length.to_string().as_bytes());
    }
    for (name, value) in added {
        field(out, name, value);
    }
    if framing == Some(ResponseBody::Chunked) {
        field(out, b"Transfer-Encoding", b"chunked");
    }
    let upgrade = respond.fields.iter().find(|(name, _)| *name == "Upgrade");
    match upgrade {
        Some((_, protocol)) => turn.write_upgrade(protocol, keep, out),
        None => turn.write_connection(keep, out),
    }
    // httpd says what the content is behind all else.
    let mut types = always
        .iter()
        .chain(fields)
        .filter(|(name, _)| is_type(name));
    if let Some((name, value)) = types.next() {
        field(out, name, value);
    } else if (respond.is_generated() || is_page(respond)) && !bodiless && !page.is_empty() {
        field(out, b"Content-Type", b"text/html; charset=iso-8859-1");
    }
    if is_head || bodiless {
        page.clear();
    }
    sent.body = page.len() as u64;
    sent.status = status;
    page
}

/// Whether a field is one that httpd's default handler sets.
fn describes_file(name: &[u8]) -> bool {
    let own: [&[u8]; 5] = [
        b"Vary",
        b"Last-Modified",
        b"ETag",
        b"Accept-Ranges",
        b"Content-Range",
    ];
    own.iter().any(|have| have.eq_ignore_ascii_case(name))
}

/// Whether what is sent is the page of a status, or a text in its place.
fn is_page(respond: &Respond) -> bool {
    respond.body.is_none() && respond.file.is_none()
}

/// The page of a status in httpd's words.
fn standard_page(turn: &Turn<'_>, respond: &Respond, nested: Option<u16>) -> Vec<u8> {
    let location = respond
        .fields
        .iter()
        .find(|(name, _)| *name == "Location")
        .map(|(_, value)| value.as_slice());
    let extra = PageExtra {
        title: respond.reason,
        method: turn.exchange.head.method(),
        location: location.unwrap_or_default(),
        expectation: turn.exchange.fields().get("Expect").unwrap_or_default(),
        note: respond.plain_on_tls.then_some(PLAIN_ON_TLS),
        proxy_reason: respond.detail.as_deref().map(str::as_bytes),
        admin: Some(&turn.spec().server_admin),
        nested,
        ..PageExtra::default()
    };
    error_page(respond.status, &extra)
}

/// Whether the rest of the body is worth reading: a client that waits for
/// `100 Continue` may or may not send it, and a long one is cheaper to cut.
fn may_discard(turn: &Turn<'_>) -> bool {
    match turn.exchange.meta.body {
        BodyLength::None | BodyLength::Length(0) => true,
        BodyLength::Length(length) => {
            length <= DISCARD_MAX && turn.exchange.meta.expect == Expect::None
        }
        BodyLength::Chunked => turn.exchange.meta.expect == Expect::None,
    }
}

/// Reads the request's body to its end; false when it is too long, too slow or
/// malformed.
async fn discard(turn: &mut Turn<'_>, client: &mut Client<'_>) -> bool {
    let Some(client) = client.http1() else {
        return true;
    };
    let mut decoder = BodyDecoder::new(turn.exchange.meta.body);
    let mut left = DISCARD_MAX;
    let end = Instant::now() + DISCARD_TIME;
    while !decoder.is_done() {
        let consumed = match decoder.step(client.input.bytes()) {
            Ok(Step::Data { consumed, .. } | Step::End { consumed }) => consumed,
            Ok(Step::NeedMore { consumed }) => {
                client.input.consume(consumed);
                match until(
                    end,
                    client.input.fill(&mut client.stream, &turn.worker.buffers),
                )
                .await
                {
                    Ok(count) if count > 0 => 0,
                    _ => return false,
                }
            }
            Err(_) => return false,
        };
        client.input.consume(consumed);
        turn.received += consumed as u64;
        left = match left.checked_sub(consumed as u64) {
            Some(left) => left,
            None => return false,
        };
    }
    true
}
