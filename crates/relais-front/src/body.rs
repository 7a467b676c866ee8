//! A request's body that relais itself reads, for a page with a form.

use std::future::poll_fn;
use std::io;

use relais_http1::{BodyDecoder, BodyLength, Expect, RequestMeta, Step};
use relais_policy::Respond;
use relais_stream::ReadHalf;
use tokio::time::{Duration, Instant};

use crate::client::{Client, Incoming};
use crate::forward;
use crate::http2;
use crate::input::{Buffers, Input};
use crate::time::until;
use crate::worker::Worker;

/// Reads the body whole.
///
/// # Errors
/// The answer to give instead: 413 where it is longer than `most`, 408 where it
/// takes longer than `timeout`, 400 where it is malformed or ends early.
pub(crate) async fn read(
    worker: &Worker,
    client: &mut Client<'_>,
    meta: &RequestMeta,
    timeout: Duration,
    most: usize,
) -> Result<Vec<u8>, Respond> {
    if let BodyLength::Length(length) = meta.body
        && length > most as u64
    {
        return Err(too_long());
    }
    let whole = async {
        if meta.expect == Expect::Continue {
            forward::go_on(timeout, client).await?;
        }
        match client.split().0 {
            Incoming::Http1(from, input) => {
                framed(from, input, meta.body, &worker.buffers, most).await
            }
            Incoming::Http2(from) => stream(from, most).await,
        }
    };
    match until(Instant::now() + timeout, whole).await {
        Ok(Some(body)) => Ok(body),
        Ok(None) => Err(too_long()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(Respond::logged(408, "a request's body takes too long"))
        }
        Err(error) => {
            let log = format!("a request's body did not arrive: {error}");
            Err(Respond::logged(400, log))
        }
    }
}

/// Content in the framing of HTTP/1; `None` where it is longer than `most`.
async fn framed(
    mut from: ReadHalf<'_>,
    input: &mut Input,
    length: BodyLength,
    buffers: &Buffers,
    most: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut decoder = BodyDecoder::new(length);
    let mut body = Vec::new();
    while !decoder.is_done() {
        let (consumed, more) = match decoder.step(input.bytes()) {
            Ok(Step::Data { bytes, consumed }) => {
                body.extend_from_slice(bytes);
                (consumed, false)
            }
            Ok(Step::End { consumed }) => (consumed, false),
            Ok(Step::NeedMore { consumed }) => (consumed, true),
            Err(error) => return Err(io::Error::other(error.reason())),
        };
        input.consume(consumed);
        if body.len() > most {
            return Ok(None);
        }
        if more && input.fill(&mut from, buffers).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(body))
}

/// The content of a stream; `None` where it is longer than `most`.
async fn stream(from: &mut http2::Body, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(bytes) = poll_fn(|context| from.poll_data(context)).await {
        let bytes = bytes.map_err(io::Error::other)?;
        from.release(bytes.len());
        body.extend_from_slice(&bytes);
        if body.len() > most {
            return Ok(None);
        }
    }
    Ok(Some(body))
}

fn too_long() -> Respond {
    Respond::logged(413, "a request's body is longer than its page takes")
}
