//! relais' own answers: error pages and redirects, as httpd words them.

use relais_http1::{
    BodyDecoder, BodyLength, Expect, PageExtra, Step, Version, error_page, reason, write_field,
    write_status_line,
};
use relais_policy::Respond;
use relais_telemetry::{Level, httpdate};
use tokio::time::{Duration, Instant};

use crate::connection::Client;
use crate::time::{until, write_all_within};
use crate::turn::{Next, Sent, Turn};

/// Bytes of a request body that are read and thrown away so that the
/// connection can go on; a longer rest closes it.
const DISCARD_MAX: u64 = 256 * 1024;

/// How long that may take.
const DISCARD_TIME: Duration = Duration::from_secs(2);

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
    client: &mut Client,
    respond: &Respond,
    body: Body,
) -> Next {
    if let Some(line) = &respond.log {
        let level = if respond.status >= 500 {
            Level::Error
        } else {
            Level::Info
        };
        turn.log("core", level, line);
    }
    let readable = match body {
        Body::Unread => may_discard(turn),
        Body::Done => true,
        Body::Lost => false,
    };
    let keep = turn.may_keep_alive(respond.status) && readable;
    let home = turn.worker;
    let mut sent = home.sents.lend();
    let out = compose(turn, respond, keep, &mut sent);
    sent.bytes = out.len() as u64;
    let written = write_all_within(turn.spec().timeout, &mut client.stream, &out).await;
    let next = match written {
        Err(_) => Next::Drop,
        Ok(()) if keep && (body == Body::Done || discard(turn, client).await) => Next::Request,
        Ok(()) => Next::Close,
    };
    turn.finish(&sent, &next);
    next
}

fn compose(turn: &Turn<'_>, respond: &Respond, keep: bool, sent: &mut Sent) -> Vec<u8> {
    let status = respond.status;
    let own;
    let page = match &respond.body {
        Some(body) => body,
        None => {
            own = standard_page(turn, respond);
            &own
        }
    };
    let mut out = Vec::with_capacity(512 + page.len());
    let phrase = respond.reason.unwrap_or_else(|| reason(status));
    // Both parts are relais' own words, so the line cannot be refused.
    let _ = write_status_line(&mut out, Version::Http11, status, phrase.as_bytes());
    let mut field = |out: &mut Vec<u8>, name: &str, value: &[u8]| {
        write_field(out, name.as_bytes(), value);
        // Only for the log, which does without a field that does not fit.
        let _ = sent.fields.push(name, value);
    };
    field(&mut out, "Date", &httpdate::date_header(turn.exchange.now));
    field(&mut out, "Server", turn.spec().server_tokens.as_bytes());
    let upgrade = respond.fields.iter().find(|(name, _)| *name == "Upgrade");
    let fields = respond.fields.iter();
    for (name, value) in fields.filter(|(name, _)| *name != "Upgrade") {
        field(&mut out, name, value);
    }
    if status == 405 && !respond.fields.iter().any(|(name, _)| *name == "Allow") {
        // Required by RFC 9110 §15.5.6; TRACE is what httpd itself answers.
        let allowed: &[u8] = if turn.spec().trace_enabled {
            b"TRACE"
        } else {
            b""
        };
        field(&mut out, "Allow", allowed);
    }
    // RFC 9110 §6.4.1: these statuses have no content, and a page behind them
    // would be read as the next response.
    let bodiless = matches!(status, 204 | 304);
    let page: &[u8] = if status == 205 { b"" } else { page };
    let is_head = turn.exchange.head.method() == b"HEAD";
    if !is_head && !bodiless {
        let length = page.len().to_string();
        field(&mut out, "Content-Length", length.as_bytes());
    }
    match upgrade {
        Some((_, protocol)) => turn.write_upgrade(protocol, keep, &mut out),
        None => turn.write_connection(keep, &mut out),
    }
    if respond.body.is_none() && !bodiless && !page.is_empty() {
        field(&mut out, "Content-Type", b"text/html; charset=iso-8859-1");
    }
    out.extend_from_slice(b"\r\n");
    if !is_head && !bodiless {
        out.extend_from_slice(page);
        sent.body = page.len() as u64;
    }
    sent.status = status;
    out
}

/// The page of a status in httpd's words.
fn standard_page(turn: &Turn<'_>, respond: &Respond) -> Vec<u8> {
    let location = respond
        .fields
        .iter()
        .find(|(name, _)| *name == "Location")
        .map(|(_, value)| value.as_slice());
    let extra = PageExtra {
        title: respond.reason,
        method: turn.exchange.head.method(),
        location: location.unwrap_or_default(),
        expectation: turn.exchange.head.fields.get("Expect").unwrap_or_default(),
        proxy_reason: respond.detail.as_deref().map(str::as_bytes),
        admin: Some(&turn.spec().server_admin),
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
async fn discard(turn: &mut Turn<'_>, client: &mut Client) -> bool {
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
