//! Time limits on waiting.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

/// Waits for an operation on a socket at most this long; the error is then of
/// the kind `TimedOut`.
pub(crate) async fn within<T>(
    limit: Duration,
    operation: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
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
    match tokio::time::timeout_at(end, operation).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
