//! The request's body on its way to the origin.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use bytes::Bytes;
use relais_http1::{BodyDecoder, BodyEncoder, BodyError, Fields, Step};
use relais_policy::WorkerSpec;
use relais_stream::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::client::Incoming;
use crate::forward::{Shared, is_timeout};
use crate::http2::Body;
use crate::input::Input;
use crate::time::{until, write_all_within};
use crate::turn::Turn;

/// Content from this size on is written from where it was read.
pub(crate) const COPY_MAX: usize = 8 * 1024;

/// Why the body did not arrive whole.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The client's framing is broken.
    Body(BodyError),
    /// The client closed or reset.
    Gone,
    /// The client sent nothing for too long.
    TimedOut,
    /// The origin does not take it.
    Origin(io::Error),
}

impl UploadError {
    /// What the client is answered; `None` where nobody listens.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Body(_) => Some(400),
            Self::TimedOut => Some(408),
            Self::Gone | Self::Origin(_) => None,
        }
    }
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => f.write_str(error.reason()),
            Self::Gone => f.write_str("the client closed the connection"),
            Self::TimedOut => f.write_str("the client sent nothing for too long"),
            Self::Origin(error) => write!(f, "the origin takes no more: {error}"),
        }
    }
}

/// One body.
pub(crate) struct Upload<'t, 'e> {
    pub(crate) turn: &'t Turn<'e>,
    pub(crate) shared: &'t Shared,
    pub(crate) worker: &'t WorkerSpec,
    pub(crate) received: &'t Cell<u64>,
}

impl Upload<'_, '_> {
    /// Decodes the client's framing and writes the origin's.
    pub(crate) async fn run(
        self,
        from: Incoming<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Result<(), UploadError> {
        while self.shared.held.get() {
            self.shared.go.notified().await;
        }
        let mut encoder = BodyEncoder::new(self.turn.exchange.meta.body);
        let mut out = Vec::new();
        let trailers = match from {
            Incoming::Http1(mut from, input) => {
                self.framed(&mut from, input, &mut encoder, &mut out, to)
                    .await?
            }
            Incoming::Http2(body) => self.stream(body, &mut encoder, &mut out, to).await?,
        };
        // The decoder has minded the length, so the encoder agrees.
        encoder
            .end(Some(&trailers), &mut out)
            .map_err(|_| UploadError::Body(BodyError::Truncated))?;
        self.write(&mut out, to).await?;
        self.shared.sent_at.set(Some(Instant::now()));
        self.shared.upload_done.set(true);
        Ok(())
    }

    /// Content in the framing of HTTP/1. The answer is the trailers.
    async fn framed(
        &self,
        from: &mut ReadHalf<'_>,
        input: &mut Input,
        encoder: &mut BodyEncoder,
        out: &mut Vec<u8>,
        to: &mut WriteHalf<'_>,
    ) -> Result<Fields, UploadError> {
        let mut decoder = BodyDecoder::new(self.turn.exchange.meta.body);
        let begun = Instant::now();
        loop {
            let consumed = match decoder.step(input.bytes()).map_err(UploadError::Body)? {
                Step::Data { bytes, consumed } => {
                    self.send(encoder, bytes, out, to).await?;
                    consumed
                }
                Step::NeedMore { consumed } => {
                    input.consume(consumed);
                    self.count(consumed);
                    self.write(out, to).await?;
                    self.fill(from, input, begun).await?;
                    0
                }
                Step::End { consumed } => {
                    input.consume(consumed);
                    self.count(consumed);
                    return Ok(decoder.trailers);
                }
            };
            input.consume(consumed);
            self.count(consumed);
        }
    }

    /// Content of a stream. The client's window opens again by what the origin has taken. The answer is the trailers.
    async fn stream(
        &self,
        from: &mut Body,
        encoder: &mut BodyEncoder,
        out: &mut Vec<u8>,
        to: &mut WriteHalf<'_>,
    ) -> Result<Fields, UploadError> {
        let begun = Instant::now();
        let mut taken = 0;
        loop {
            let ready = poll_fn(|context| Poll::Ready(from.poll_data(context))).await;
            let next = match ready {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    self.write(out, to).await?;
                    from.release(std::mem::take(&mut taken));
                    self.wait(from, begun).await?
                }
            };
            let Some(bytes) = next else { break };
            let bytes = bytes.map_err(|_| UploadError::Gone)?;
            self.count(bytes.len());
            self.send(encoder, &bytes, out, to).await?;
            taken += bytes.len();
            if out.is_empty() {
                from.release(std::mem::take(&mut taken));
            }
        }
        from.trailers().await.map_err(|_| UploadError::Gone)
    }

    fn count(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }

    async fn send(
        &self,
        encoder: &mut BodyEncoder,
        bytes: &[u8],
        out: &mut Vec<u8>,
        to: &mut WriteHalf<'_>,
    ) -> Result<(), UploadError> {
        let length = bytes.len() as u64;
        encoder
            .begin(length, out)
            .map_err(|_| UploadError::Body(BodyError::Truncated))?;
        if bytes.len() < COPY_MAX {
            out.extend_from_slice(bytes);
        } else {
            self.write(out, to).await?;
            write_all_within(self.worker.timeout, to, bytes)
                .await
                .map_err(UploadError::Origin)?;
        }
        encoder.end_run(length, out);
        if out.len() >= COPY_MAX {
            self.write(out, to).await
        } else {
            Ok(())
        }
    }

    async fn write(&self, out: &mut Vec<u8>, to: &mut WriteHalf<'_>) -> Result<(), UploadError> {
        if out.is_empty() {
            return Ok(());
        }
        let result = write_all_within(self.worker.timeout, to, out)
            .await
            .map_err(UploadError::Origin);
        out.clear();
        result
    }

    async fn wait(
        &self,
        from: &mut Body,
        begun: Instant,
    ) -> Result<Option<Result<Bytes, h2::Error>>, UploadError> {
        let data = poll_fn(|context| from.poll_data(context));
        let next = tokio::time::timeout_at(self.end(begun), data).await;
        next.map_err(|_| UploadError::TimedOut)
    }

    /// Until when the next bytes have to come.
    fn end(&self, begun: Instant) -> Instant {
        let spec = self.turn.spec();
        let now = Instant::now();
        let stage = spec
            .body_timeout
            .and_then(|stage| stage.after(self.received.get()));
        let end = now + self.turn.client_timeout();
        stage.map_or(end, |limit| (begun + limit).min(end))
    }

    async fn fill(
        &self,
        from: &mut ReadHalf<'_>,
        input: &mut Input,
        begun: Instant,
    ) -> Result<(), UploadError> {
        match until(self.end(begun), input.fill(from, &self.turn.worker.buffers)).await {
            Ok(0) => Err(UploadError::Gone),
            Ok(_) => Ok(()),
            Err(error) if is_timeout(&error) => Err(UploadError::TimedOut),
            Err(_) => Err(UploadError::Gone),
        }
    }
}
