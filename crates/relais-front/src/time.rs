//! Time limits on waiting.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// Waits for an operation on a socket at most this long; the error is then of
/// the kind `TimedOut`.
pub(crate) async fn within<T>(
    limit: Duration,
    operation: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let mut operation = pin!(operation);
    // Most operations need no timer: the socket takes what is written.
    if let Poll::Ready(result) = poll_once(operation.as_mut()).await {
        return result;
    }
    match tokio::time::timeout(limit, operation).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// As [`within`], up to a moment.
pub(crate) async fn until<T>(
    end: Instant,
    operation: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let mut operation = pin!(operation);
    if let Poll::Ready(result) = poll_once(operation.as_mut()).await {
        return result;
    }
    match tokio::time::timeout_at(end, operation).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn poll_once<F: Future>(mut operation: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(operation.as_mut().poll(context))).await
}

/// A write that failed, and how much the system had taken by then.
pub(crate) struct WriteFailure {
    pub(crate) error: io::Error,
    pub(crate) taken: usize,
}

/// Writes all bytes; the limit counts from the last byte that was taken, as
/// httpd's `Timeout` does, so that a slow reader is not a silent one.
pub(crate) async fn write_all_within(
    limit: Duration,
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> io::Result<()> {
    let result = write_counted(limit, to, bytes).await;
    result.map_err(|failure| failure.error)
}

/// The same; a failure tells how much may have arrived.
pub(crate) async fn write_counted(
    limit: Duration,
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> Result<(), WriteFailure> {
    let mut taken = 0;
    while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
        match within(limit, to.write(rest)).await {
            Ok(0) => {
                let error = io::ErrorKind::WriteZero.into();
                return Err(WriteFailure { error, taken });
            }
            Ok(count) => taken += count,
            Err(error) => return Err(WriteFailure { error, taken }),
        }
    }
    // An encrypted connection may hold sealed bytes that its socket did not
    // take; on a clear one this does nothing.
    let flushed = within(limit, to.flush()).await;
    flushed.map_err(|error| WriteFailure { error, taken })
}
