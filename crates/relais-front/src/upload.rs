//! The request's body on its way to the origin.

use std::cell::Cell;
use std::fmt;
use std::io;

use relais_http1::{BodyDecoder, BodyEncoder, BodyError, Step};
use relais_policy::WorkerSpec;
use relais_stream::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::forward::{Shared, is_timeout};
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
        from: &mut ReadHalf<'_>,
        input: &mut Input,
        to: &mut WriteHalf<'_>,
    ) -> Result<(), UploadError> {
        let body = self.turn.exchange.meta.body;
        while self.shared.held.get() {
            self.shared.go.notified().await;
        }
        let mut decoder = BodyDecoder::new(body);
        let mut encoder = BodyEncoder::new(body);
        let mut out = Vec::new();
        let begun = Instant::now();
        loop {
            let consumed = match decoder.step(input.bytes()).map_err(UploadError::Body)? {
                Step::Data { bytes, consumed } => {
                    self.send(&mut encoder, bytes, &mut out, to).await?;
                    consumed
                }
                Step::NeedMore { consumed } => {
                    input.consume(consumed);
                    self.count(consumed);
                    self.write(&mut out, to).await?;
                    self.fill(from, input, begun).await?;
                    0
                }
                Step::End { consumed } => {
                    input.consume(consumed);
                    self.count(consumed);
                    break;
                }
            };
            input.consume(consumed);
            self.count(consumed);
        }
        // The decoder has minded the length, so the encoder agrees.
        encoder
            .end(Some(&decoder.trailers), &mut out)
            .map_err(|_| UploadError::Body(BodyError::Truncated))?;
        self.write(&mut out, to).await?;
        self.shared.sent_at.set(Some(Instant::now()));
        self.shared.upload_done.set(true);
        Ok(())
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

    async fn fill(
        &self,
        from: &mut ReadHalf<'_>,
        input: &mut Input,
        begun: Instant,
    ) -> Result<(), UploadError> {
        let spec = self.turn.spec();
        let now = Instant::now();
        let stage = spec
            .body_timeout
            .and_then(|stage| stage.after(self.received.get()));
        let end = stage.map_or(now + spec.timeout, |limit| {
            (begun + limit).min(now + spec.timeout)
        });
        match until(end, input.fill(from, &self.turn.worker.buffers)).await {
            Ok(0) => Err(UploadError::Gone),
            Ok(_) => Ok(()),
            Err(error) if is_timeout(&error) => Err(UploadError::TimedOut),
            Err(_) => Err(UploadError::Gone),
        }
    }
}
