//! A connection as the `h2` crate sees it, with an eye on what passes.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use relais_stream::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::http2::guard::Guard;

/// A connection's socket, which whoever minds the connection ends. What was read before it was known to be one of HTTP/2
/// comes first.
pub(super) struct Io {
    stream: Rc<RefCell<Stream>>,
    early: Vec<u8>,
    seen: Rc<Seen>,
}

/// What is known of the bytes that passed, for the task that minds the connection.
pub(super) struct Seen {
    guard: RefCell<Guard>,
    begun: Instant,
    flooded: Cell<bool>,
    /// Told when it is.
    pub(super) flood: Notify,
    /// Since when the socket takes nothing.
    blocked: Cell<Option<Instant>>,
}

impl Seen {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            guard: RefCell::default(),
            begun: Instant::now(),
            flooded: Cell::new(false),
            flood: Notify::new(),
            blocked: Cell::new(None),
        })
    }

    /// Whether the client has sent too much that carries nothing.
    pub(super) const fn flooded(&self) -> bool {
        self.flooded.get()
    }

    /// For how long the client has not taken what is to be sent.
    pub(super) fn blocked(&self) -> Duration {
        let since = self.blocked.get();
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn received(&self, bytes: &[u8]) {
        let seconds = || self.begun.elapsed().as_secs();
        if !self.guard.borrow_mut().received(bytes, seconds) {
            self.flooded.set(true);
            self.flood.notify_one();
        }
    }

    fn written(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(count)) => {
                self.blocked.set(None);
                self.guard.borrow_mut().sent(*count);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending if self.blocked.get().is_some() => {}
            Poll::Pending => self.blocked.set(Some(Instant::now())),
        }
    }
}

impl Io {
    pub(super) const fn new(stream: Rc<RefCell<Stream>>, early: Vec<u8>, seen: Rc<Seen>) -> Self {
        Self {
            stream,
            early,
            seen,
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            stream,
            early,
            seen,
        } = self.get_mut();
        if seen.flooded() {
            // The connection is being ended; what else comes is of no interest.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let result = if early.is_empty() {
            Pin::new(&mut *stream.borrow_mut()).poll_read(context, buffer)
        } else {
            let count = early.len().min(buffer.remaining());
            buffer.put_slice(&early[..count]);
            early.drain(..count);
            Poll::Ready(Ok(()))
        };
        if let Some(bytes) = buffer.filled().get(before..) {
            seen.received(bytes);
        }
        result
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, seen, .. } = self.get_mut();
        let result = Pin::new(&mut *stream.borrow_mut()).poll_write(context, bytes);
        seen.written(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, seen, .. } = self.get_mut();
        let result = Pin::new(&mut *stream.borrow_mut()).poll_write_vectored(context, parts);
        seen.written(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(context)
    }
}
