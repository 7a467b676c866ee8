//! An encrypted connection.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use relais_record::{Control, Opened, Opener, RecordError, Records, Sealer, TlsParts};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp;

use crate::shelf::{self, ROOM};

/// Content that is sealed in one go: four records, one call.
const BATCH: usize = 64 * 1024;

/// An encrypted connection after its handshake.
pub struct TlsStream {
    tcp: TcpStream,
    input: Input,
    output: Output,
    control: Control,
    failure: Cell<Option<RecordError>>,
}

struct Input {
    opener: Opener,
    /// Content from the end of the handshake.
    early: Vec<u8>,
    /// Empty, or a buffer of the shelf.
    buffer: Vec<u8>,
    /// Opened content that is still to be read, in `buffer`.
    content: Range<usize>,
    /// Received bytes that are still sealed, in `buffer`.
    sealed: Range<usize>,
    ended: bool,
}

struct Output {
    sealer: Sealer,
    /// Sealed bytes from `sent` on.
    pending: Vec<u8>,
    sent: usize,
}

/// The reading half.
pub struct TlsRead<'a> {
    tcp: tcp::ReadHalf<'a>,
    input: &'a mut Input,
    control: &'a Control,
    failure: &'a Cell<Option<RecordError>>,
}

/// The writing half.
pub struct TlsWrite<'a> {
    tcp: tcp::WriteHalf<'a>,
    output: &'a mut Output,
    control: &'a Control,
    failure: &'a Cell<Option<RecordError>>,
}

impl TlsStream {
    /// A connection whose handshake is over: `early` is content that came with
    /// it, `sealed` what came behind and has not been opened.
    pub(crate) fn new(tcp: TcpStream, records: Records, early: Vec<u8>, sealed: &[u8]) -> Self {
        let mut input = Input {
            opener: records.opener,
            early,
            buffer: Vec::new(),
            content: 0..0,
            sealed: 0..0,
            ended: false,
        };
        if !sealed.is_empty() {
            input.buffer = shelf::take();
            if input.buffer.len() < sealed.len() {
                input.buffer.resize(sealed.len(), 0);
            }
            input.buffer[..sealed.len()].copy_from_slice(sealed);
            input.sealed = 0..sealed.len();
        }
        Self {
            tcp,
            input,
            output: Output {
                sealer: records.sealer,
                pending: Vec::new(),
                sent: 0,
            },
            control: records.control,
            failure: Cell::new(None),
        }
    }

    pub(crate) const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Whether bytes have been received that nobody has read.
    pub(crate) fn has_input(&self) -> bool {
        !self.input.early.is_empty()
            || !self.input.content.is_empty()
            || !self.input.sealed.is_empty()
    }

    pub(crate) fn split(&mut self) -> (TlsRead<'_>, TlsWrite<'_>) {
        let (read, write) = self.tcp.split();
        let read = TlsRead {
            tcp: read,
            input: &mut self.input,
            control: &self.control,
            failure: &self.failure,
        };
        let write = TlsWrite {
            tcp: write,
            output: &mut self.output,
            control: &self.control,
            failure: &self.failure,
        };
        (read, write)
    }

    pub(crate) fn into_parts(self) -> (TcpStream, TlsParts) {
        let Self {
            tcp,
            mut input,
            output,
            control,
            ..
        } = self;
        let of =
            |range: &Range<usize>| input.buffer.get(range.clone()).unwrap_or_default().to_vec();
        let mut content = std::mem::take(&mut input.early);
        content.extend_from_slice(input.buffer.get(input.content.clone()).unwrap_or_default());
        let parts = TlsParts {
            content,
            sealed: of(&input.sealed),
            unsent: output
                .pending
                .get(output.sent..)
                .unwrap_or_default()
                .to_vec(),
            records: Records {
                opener: input.opener,
                sealer: output.sealer,
                control,
            },
        };
        shelf::give(std::mem::take(&mut input.buffer));
        (tcp, parts)
    }
}

impl Input {
    /// Gives opened content to a reader; false when there is none.
    fn serve(&mut self, into: &mut ReadBuf<'_>) -> bool {
        if !self.early.is_empty() {
            let count = self.early.len().min(into.remaining());
            into.put_slice(&self.early[..count]);
            self.early.drain(..count);
            if self.early.is_empty() {
                self.early = Vec::new();
            }
            return true;
        }
        if self.content.is_empty() {
            return false;
        }
        let count = self.content.len().min(into.remaining());
        let start = self.content.start;
        into.put_slice(&self.buffer[start..start + count]);
        self.content.start += count;
        if self.content.is_empty() && self.sealed.is_empty() {
            self.park();
        }
        true
    }

    /// Gives the buffer back to the thread.
    fn park(&mut self) {
        shelf::give(std::mem::take(&mut self.buffer));
        self.sealed = 0..0;
        self.content = 0..0;
    }

    /// Sees to it that a record of `total` bytes fits behind what there is.
    fn make_room(&mut self, total: usize) {
        if self.buffer.is_empty() {
            self.buffer = shelf::take();
        }
        let length = self.sealed.len();
        if self.sealed.start > 0 {
            self.buffer.copy_within(self.sealed.clone(), 0);
            self.sealed = 0..length;
        }
        if self.buffer.len() < total.max(length + 1) {
            self.buffer.resize(total.max(ROOM), 0);
        }
    }
}

impl AsyncRead for TlsRead<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.input.serve(into) || this.input.ended {
                return Poll::Ready(Ok(()));
            }
            let sealed = this.input.sealed.clone();
            let opened = {
                let bytes = this
                    .input
                    .buffer
                    .get_mut(sealed.clone())
                    .unwrap_or_default();
                this.input.opener.open(bytes, this.control)
            };
            match opened {
                Ok(Opened::Needs(total)) => ready!(this.poll_fill(context, total))?,
                Ok(Opened::Content { content, used }) => {
                    let from = sealed.start;
                    this.input.content = from + content.start..from + content.end;
                    this.input.sealed.start += used;
                }
                Ok(Opened::Quiet { used }) => this.input.sealed.start += used,
                Ok(Opened::Closed { .. }) => {
                    this.input.ended = true;
                    this.input.park();
                }
                Err(error) => {
                    this.failure.set(Some(error));
                    this.input.ended = true;
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }
}

impl TlsRead<'_> {
    /// Reads once from the socket. An end without a close_notify is an error:
    /// what came before it may not be all (RFC 8446 §6.1).
    fn poll_fill(&mut self, context: &mut Context<'_>, total: usize) -> Poll<io::Result<()>> {
        self.input.make_room(total);
        let end = self.input.sealed.end;
        let mut room = ReadBuf::new(&mut self.input.buffer[end..]);
        match Pin::new(&mut self.tcp).poll_read(context, &mut room) {
            Poll::Pending => {
                if self.input.sealed.is_empty() {
                    self.input.park();
                }
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let count = room.filled().len();
                if count == 0 {
                    self.input.ended = true;
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                self.input.sealed.end += count;
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl TlsWrite<'_> {
    fn seal(&mut self, content: &[u8]) -> io::Result<()> {
        let records = content.len().div_ceil(16 * 1024).max(1);
        let output = &mut *self.output;
        let room = content.len() + records * relais_record::overhead();
        output.pending.reserve(room);
        let sealed = output
            .sealer
            .seal(content, self.control, &mut output.pending);
        sealed.map_err(io::Error::from)
    }

    /// What the socket does not take now goes with the next call; the bytes
    /// are sealed and belong to this connection either way.
    fn sealed(&mut self, context: &mut Context<'_>, count: usize) -> Poll<io::Result<usize>> {
        match self.poll_drain(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    /// Writes what has been sealed.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.output.sent < self.output.pending.len() {
            let bytes = &self.output.pending[self.output.sent..];
            let count = ready!(Pin::new(&mut self.tcp).poll_write(context, bytes))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.sent += count;
        }
        self.output.sent = 0;
        self.output.pending = Vec::new();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsWrite<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        let count = bytes.len().min(BATCH);
        this.seal(&bytes[..count])?;
        this.sealed(context, count)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total > 16 * 1024 {
            let first = parts.iter().find(|part| !part.is_empty());
            return Pin::new(this).poll_write(context, first.map_or(&[], |part| part));
        }
        // A small head and its content share a record.
        ready!(this.poll_drain(context))?;
        let mut whole = Vec::with_capacity(total);
        parts.iter().for_each(|part| whole.extend_from_slice(part));
        this.seal(&whole)?;
        this.sealed(context, total)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.failure.get() {
            Some(error) => this.output.sealer.fail(error, &mut this.output.pending),
            None => this.output.sealer.close(&mut this.output.pending),
        }
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.tcp).poll_shutdown(context)
    }
}
