//! The sockets of tunnels, clear or encrypted, over any [`Io`].
//!
//! [`Wires`] is an [`Io`] that opens and seals the records of TLS where a [`Wire`] has keys, and passes everything else
//! on; so the pump, the limits and the ends are one code for both kinds, and the simulation runs the very code of the
//! program. Records are read into the buffer that the engine lends, opened where they are, and moved together. What is
//! sealed goes into one buffer per thread. A wire keeps bytes only while a record is incomplete (no more than that
//! record), while content that a small buffer had no room for waits (no more than a record of it), and while its socket
//! takes nothing (what one call of [`Io::write`] was given, sealed). Between two messages it owns its keys.

use std::io;
use std::mem;

use relais_io::{Event, Fault, Io, Read, Token, Write};
use relais_record::{Opened, RecordError, Records, TlsParts};

/// Room for any record: head, content, and 256 bytes that a sender may add (RFC 8446 section 5.2).
const RECORD_MAX: usize = 5 + (1 << 14) + 256;

/// A socket of a tunnel.
#[derive(Debug)]
pub struct Wire<S> {
    socket: S,
    tls: Option<Box<Tls>>,
}

impl<S> Wire<S> {
    /// A socket that carries the tunnel's bytes as they are.
    pub const fn clear(socket: S) -> Self {
        Self { socket, tls: None }
    }

    /// A socket that carries them in records of TLS.
    #[must_use]
    pub fn encrypted(socket: S, parts: TlsParts) -> Self {
        Self {
            socket,
            tls: Some(Box::new(Tls::new(parts))),
        }
    }

    /// The socket.
    pub const fn socket(&self) -> &S {
        &self.socket
    }
}

impl<S> From<S> for Wire<S> {
    fn from(socket: S) -> Self {
        Self::clear(socket)
    }
}

/// What an encrypted wire has besides its socket.
struct Tls {
    records: Records,
    /// Received, and not a whole record yet.
    partial: Vec<u8>,
    /// Opened, and not read yet.
    content: Vec<u8>,
    /// Sealed bytes from `sent` on that the socket has not taken.
    pending: Vec<u8>,
    sent: usize,
    /// The socket may have more, and no event will tell.
    more: bool,
    /// The peer's content is over.
    ended: bool,
    /// Our stream ends behind `pending`.
    shut: bool,
    /// Why the records cannot go on.
    failure: Option<RecordError>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("partial", &self.partial.len())
            .field("content", &self.content.len())
            .field("pending", &self.backlog())
            .field("ended", &self.ended)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl Tls {
    fn new(parts: TlsParts) -> Self {
        Self {
            more: !parts.sealed.is_empty(),
            ended: parts.records.opener.is_closed(),
            records: parts.records,
            partial: parts.sealed,
            content: parts.content,
            pending: parts.unsent,
            sent: 0,
            shut: false,
            failure: None,
        }
    }

    const fn backlog(&self) -> usize {
        self.pending.len() - self.sent
    }

    fn held(&self) -> usize {
        self.partial.capacity()
            + self.content.capacity()
            + self.pending.capacity()
            + self.records.opener.held()
    }

    /// Gives content that has been opened before.
    fn serve(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.content.len().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(self.content.drain(..count)) {
            *place = byte;
        }
        if self.content.is_empty() {
            self.content = Vec::new();
        }
        // The event that led here may have told of the socket, which has not been asked.
        self.more = true;
        count
    }

    /// Reads until there is content, which is at the front of `buffer` then. `buffer` has room for any record.
    fn fetch<I: Io>(&mut self, io: &mut I, socket: &mut I::Socket, buffer: &mut [u8]) -> Read {
        loop {
            if let Some(end) = self.end() {
                return end;
            }
            let kept = self.partial.len();
            let (front, room) = buffer.split_at_mut(kept);
            front.copy_from_slice(&self.partial);
            // Whole records that came along with the handshake need no read.
            let read = if self.has_record() {
                self.more = true;
                0
            } else {
                self.more = false;
                match io.read(socket, room) {
                    Read::Bytes(count) => {
                        self.more = count == room.len();
                        count
                    }
                    Read::Blocked => return Read::Blocked,
                    Read::End => return Read::Broken(Fault::Truncated),
                    Read::Broken(fault) => return Read::Broken(fault),
                }
            };
            let filled = self.open(buffer, kept, kept + read);
            self.reply(io, socket);
            if filled > 0 {
                return Read::Bytes(filled);
            }
            // A read that brought no content goes on until the socket itself is empty or ends: only that is what the
            // pump takes for "blocked".
        }
    }

    /// Whether `partial` begins with a whole record.
    fn has_record(&self) -> bool {
        match *self.partial {
            [_, _, _, high, low, ref body @ ..] => {
                body.len() >= usize::from(u16::from_be_bytes([high, low]))
            }
            _ => false,
        }
    }

    /// Opens the whole records of `buffer[..total]`, of which the first `kept` bytes are `partial`, moves their content
    /// to the front, and keeps what is left. Returns how much content there is.
    fn open(&mut self, buffer: &mut [u8], kept: usize, total: usize) -> usize {
        let (mut at, mut filled) = (0, 0);
        let Records {
            opener, control, ..
        } = &mut self.records;
        while let Some(input) = buffer.get_mut(at..total) {
            match opener.open(input, control) {
                Ok(Opened::Needs(_)) => break,
                Ok(Opened::Content { content, used }) => {
                    let length = content.len();
                    buffer.copy_within(at + content.start..at + content.end, filled);
                    filled += length;
                    at += used;
                }
                Ok(Opened::Quiet { used }) => at += used,
                Ok(Opened::Closed { .. }) => {
                    self.ended = true;
                    at = total;
                    break;
                }
                Err(error) => {
                    self.failure = Some(error);
                    at = total;
                    break;
                }
            }
        }
        if at == 0 {
            let new = buffer.get(kept..total).unwrap_or_default();
            self.partial.reserve_exact(new.len());
            self.partial.extend_from_slice(new);
        } else {
            self.partial = buffer.get(at..total).unwrap_or_default().to_vec();
        }
        filled
    }

    /// What there is to say without content: all content before it has been read.
    const fn end(&self) -> Option<Read> {
        match self.failure {
            Some(_) => Some(Read::Broken(Fault::Tls)),
            None if self.ended => Some(Read::End),
            None => None,
        }
    }

    /// Sends what the records that came have asked for.
    fn reply<I: Io>(&mut self, io: &mut I, socket: &mut I::Socket) {
        let Records {
            sealer, control, ..
        } = &mut self.records;
        if let Some(error) = self.failure {
            sealer.fail(error, &mut self.pending);
        } else if control.has_answer() && self.pending.is_empty() {
            // Where something waits, one answer behind it serves for any number of requests, so that a peer that
            // asks and never listens costs nothing.
            if let Err(error) = sealer.answer(control, &mut self.pending) {
                self.failure = Some(error);
            }
        }
        // That the peer is gone is told by reading.
        let _ = self.flush(io, socket);
    }

    fn write<I: Io>(
        &mut self,
        io: &mut I,
        socket: &mut I::Socket,
        bytes: &[u8],
        sealed: &mut Vec<u8>,
    ) -> Write {
        if let Some(stop) = self.flush(io, socket) {
            return stop;
        }
        sealed.clear();
        let Records {
            sealer, control, ..
        } = &mut self.records;
        if let Err(error) = sealer.seal(bytes, control, sealed) {
            self.failure = Some(error);
            return Write::Broken(Fault::Tls);
        }
        let taken = match io.write(socket, sealed) {
            Write::Bytes(count) => count,
            Write::Blocked => 0,
            Write::Broken(fault) => return Write::Broken(fault),
        };
        let rest = sealed.get(taken..).unwrap_or_default();
        if !rest.is_empty() {
            self.pending = rest.to_vec();
        }
        // Sealed bytes belong to this wire, whether the socket has taken them or not.
        Write::Bytes(bytes.len())
    }

    /// Writes what waits, and then the end of the stream if that is due. `None` when all has gone.
    fn flush<I: Io>(&mut self, io: &mut I, socket: &mut I::Socket) -> Option<Write> {
        let rest = self.pending.get(self.sent..).unwrap_or_default();
        if !rest.is_empty() {
            match io.write(socket, rest) {
                Write::Bytes(count) => self.sent += count,
                Write::Blocked => return Some(Write::Blocked),
                Write::Broken(fault) => {
                    self.drop_pending();
                    return Some(Write::Broken(fault));
                }
            }
            if self.backlog() > 0 {
                return Some(Write::Blocked);
            }
            self.drop_pending();
        }
        if mem::take(&mut self.shut) {
            io.shutdown(socket);
        }
        None
    }

    fn drop_pending(&mut self) {
        self.pending = Vec::new();
        self.sent = 0;
    }

    fn shutdown<I: Io>(&mut self, io: &mut I, socket: &mut I::Socket) {
        // RFC 8446 section 6.1: the end of the content is said before the stream ends.
        self.records.sealer.close(&mut self.pending);
        self.shut = true;
        let _ = self.flush(io, socket);
    }
}

/// Room for any record behind what has come of it, or for what came along with a handshake.
fn room(tls: &Tls) -> usize {
    RECORD_MAX.max(tls.partial.len() + 1)
}

/// An [`Io`] whose sockets may be encrypted.
#[derive(Debug)]
pub struct Wires<I> {
    io: I,
    /// Where records are sealed.
    sealed: Vec<u8>,
    /// Where records are opened for a reader with little room; empty until there is one.
    opened: Vec<u8>,
}

impl<I: Io> Wires<I> {
    /// Over `io`.
    #[must_use]
    pub const fn new(io: I) -> Self {
        Self {
            io,
            sealed: Vec::new(),
            opened: Vec::new(),
        }
    }

    /// The system underneath.
    pub const fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// Opens one read's worth of records elsewhere, because `buffer` may be too small for a record.
    fn read_aside(&mut self, socket: &mut I::Socket, tls: &mut Tls, buffer: &mut [u8]) -> Read {
        self.opened.resize(room(tls), 0);
        let outcome = tls.fetch(&mut self.io, socket, &mut self.opened);
        let Read::Bytes(count) = outcome else {
            return outcome;
        };
        let here = count.min(buffer.len());
        let (taken, left) = self.opened.get(..count).unwrap_or_default().split_at(here);
        for (place, byte) in buffer.iter_mut().zip(taken) {
            *place = *byte;
        }
        tls.content.extend_from_slice(left);
        Read::Bytes(here)
    }
}

impl<I: Io> Io for Wires<I> {
    type Socket = Wire<I::Socket>;
    type Waker = I::Waker;
    type Pipe = I::Pipe;

    fn register(&mut self, wire: &Self::Socket, token: Token) -> io::Result<()> {
        self.io.register(&wire.socket, token)
    }

    fn note(&mut self, wire: &mut Self::Socket, event: Event) {
        self.io.note(&mut wire.socket, event);
        if let Some(tls) = wire.tls.as_mut().filter(|_| event.writable) {
            // What is wrong with the socket is told by its next use.
            let _ = tls.flush(&mut self.io, &mut wire.socket);
            tls.reply(&mut self.io, &mut wire.socket);
        }
    }

    fn is_direct(&self, wire: &Self::Socket) -> bool {
        wire.tls.is_none()
    }

    fn has_more(&self, wire: &Self::Socket) -> bool {
        wire.tls
            .as_ref()
            .is_some_and(|tls| tls.more || !tls.content.is_empty() || tls.end().is_some())
    }

    fn backlog(&self, wire: &Self::Socket) -> usize {
        wire.tls.as_ref().map_or(0, |tls| tls.backlog())
    }

    fn held(&self, wire: &Self::Socket) -> usize {
        wire.tls.as_ref().map_or(0, |tls| tls.held())
    }

    fn read(&mut self, wire: &mut Self::Socket, buffer: &mut [u8]) -> Read {
        let Some(tls) = &mut wire.tls else {
            return self.io.read(&mut wire.socket, buffer);
        };
        if !tls.content.is_empty() {
            return Read::Bytes(tls.serve(buffer));
        }
        if buffer.len() < room(tls) {
            return self.read_aside(&mut wire.socket, tls, buffer);
        }
        tls.fetch(&mut self.io, &mut wire.socket, buffer)
    }

    fn peek(&mut self, wire: &mut Self::Socket, buffer: &mut [u8]) -> Read {
        match wire.tls {
            None => self.io.peek(&mut wire.socket, buffer),
            // The engine reads what cannot be peeked at.
            Some(_) => Read::Blocked,
        }
    }

    fn consume(&mut self, wire: &mut Self::Socket, bytes: &mut [u8]) {
        self.io.consume(&mut wire.socket, bytes);
    }

    fn write(&mut self, wire: &mut Self::Socket, bytes: &[u8]) -> Write {
        match &mut wire.tls {
            None => self.io.write(&mut wire.socket, bytes),
            Some(tls) => tls.write(&mut self.io, &mut wire.socket, bytes, &mut self.sealed),
        }
    }

    fn can_splice(&mut self, from: &Self::Socket, to: &Self::Socket) -> bool {
        from.tls.is_none() && to.tls.is_none() && self.io.can_splice(&from.socket, &to.socket)
    }

    fn pipe(&mut self) -> Option<I::Pipe> {
        self.io.pipe()
    }

    fn fill(&mut self, wire: &mut Self::Socket, pipe: &mut I::Pipe, most: usize) -> Option<Read> {
        self.io.fill(&mut wire.socket, pipe, most)
    }

    fn drain(&mut self, wire: &mut Self::Socket, pipe: &mut I::Pipe, most: usize) -> Option<Write> {
        self.io.drain(&mut wire.socket, pipe, most)
    }

    fn shutdown(&mut self, wire: &mut Self::Socket) {
        match &mut wire.tls {
            None => self.io.shutdown(&mut wire.socket),
            Some(tls) => tls.shutdown(&mut self.io, &mut wire.socket),
        }
    }

    fn close(&mut self, wire: Self::Socket) {
        self.io.close(wire.socket);
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout_ms: Option<u64>) -> io::Result<()> {
        self.io.wait(events, timeout_ms)
    }

    fn waker(&self) -> I::Waker {
        self.io.waker()
    }

    fn now_ms(&self) -> u64 {
        self.io.now_ms()
    }
}
