//! The system calls of the tunnel engine, behind one small trait.
//!
//! A tunnel is a pair of sockets. [`Io`] reads them, writes them, shuts them down, closes them, waits for readiness,
//! can be woken from another thread, and tells the time. There are two implementations: [`epoll::Epoll`] talks to the
//! kernel, [`sim::Sim`] is a deterministic network that misbehaves on purpose and replays a failure from one number.
//!
//! This crate never looks at what the bytes mean. It is the only one of the tunnel's crates that reads a clock or makes
//! a system call.

pub mod epoll;
pub mod sim;

use std::io;

/// Which of the two sockets of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The socket towards the client, which asked for the tunnel.
    Client,
    /// The socket towards the origin, which agreed to it.
    Origin,
}

impl Side {
    /// Both sides, client first.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Origin];

    /// The opposite end of the pair.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Origin,
            Self::Origin => Self::Client,
        }
    }
}

/// Names one socket of one pair in events.
///
/// The generation makes a token unique over the reuse of a slot, so that an event that was already on its way when a
/// pair was closed cannot hit the pair that took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The place of the pair in its owner's table.
    pub slot: u32,
    /// Counts the uses of places; 31 bits, higher bits are dropped.
    pub generation: u32,
    /// Which socket of the pair.
    pub side: Side,
}

impl Token {
    /// The largest generation that survives a round trip; the next one is 0.
    pub const GENERATION_MAX: u32 = u32::MAX >> 1;

    /// A token for one socket of the pair in `slot`.
    #[must_use]
    pub const fn new(slot: u32, generation: u32, side: Side) -> Self {
        Self {
            slot,
            generation: generation & Self::GENERATION_MAX,
            side,
        }
    }

    /// The token as the 64 bits that a kernel event carries: generation, slot, side.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        ((self.generation as u64) << 33) | ((self.slot as u64) << 1) | self.side as u64
    }

    /// The inverse of [`Token::to_bits`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        let side = if bits & 1 == 0 {
            Side::Client
        } else {
            Side::Origin
        };
        Self::new((bits >> 1) as u32, (bits >> 33) as u32, side)
    }
}

/// What one readiness event says about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The socket.
    pub token: Token,
    /// Bytes, the end of the stream or an error may be read.
    pub readable: bool,
    /// A write may be taken again.
    pub writable: bool,
    /// The peer is done sending, or the connection failed: a reader must go on until it meets the end, because no
    /// further event announces it.
    pub hangup: bool,
}

/// Why a socket can no longer be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer reset the connection, or is gone so that a write has no taker.
    Reset,
    /// The stream ended before the peer had said that its content was over (RFC 8446 section 6.1): some of it may be
    /// missing.
    Truncated,
    /// The encryption failed: what came does not open, or the peer said so.
    Tls,
    /// The connection failed in another way, such as a time-out in the kernel; nobody in particular is at fault.
    Other(io::ErrorKind),
}

/// The outcome of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// This many bytes, at least one, are at the front of the buffer. When they do not fill it, nothing more was there
    /// at that moment, and whatever comes later raises an event of its own.
    Bytes(usize),
    /// Nothing is there; an event will tell.
    Blocked,
    /// The peer will send no more bytes.
    End,
    /// The connection is broken.
    Broken(Fault),
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// This many bytes, at least one, were taken. When that is fewer than offered, an event tells when to go on.
    Bytes(usize),
    /// Nothing was taken; an event will tell.
    Blocked,
    /// The connection is broken.
    Broken(Fault),
}

/// Ends the wait of an [`Io`] from another thread.
pub trait Wake: Clone + Send + Sync + 'static {
    /// Makes the current wait, or else the next one, return at once. Never blocks.
    fn wake(&self);
}

/// What the tunnel engine needs from the outside world.
///
/// Readiness is edge-triggered: an event tells of a change. After [`Read::Blocked`], a read that does not fill its
/// buffer, [`Write::Blocked`] or a partial write, the next change is announced. No call but [`Io::wait`] blocks.
pub trait Io {
    /// One end of a pair.
    type Socket;
    /// Wakes this `Io`.
    type Waker: Wake;
    /// Holds bytes on their way from one socket to another.
    type Pipe;

    /// Starts to report readiness of `socket` under `token`. What is ready already is reported by the next wait.
    ///
    /// # Errors
    /// The kernel may lack memory or watch slots.
    fn register(&mut self, socket: &Self::Socket, token: Token) -> io::Result<()>;

    /// Hears of an event before its owner acts on it. A transport with bytes of its own, such as records of TLS that
    /// wait for room, moves them here.
    fn note(&mut self, _socket: &mut Self::Socket, _event: Event) {}

    /// Whether the bytes of a read are those that the peer sent, so that they can be peeked at.
    fn is_direct(&self, _socket: &Self::Socket) -> bool {
        true
    }

    /// Whether a read would find something that no event tells of, after a read that did not fill its buffer or before
    /// the first.
    fn has_more(&self, _socket: &Self::Socket) -> bool {
        false
    }

    /// Bytes on their way to the peer that are kept here, because the socket underneath takes nothing. An event tells
    /// when there are fewer; a socket is not to be closed before it is none.
    fn backlog(&self, _socket: &Self::Socket) -> usize {
        0
    }

    /// Bytes of memory that are kept for this socket beyond what it holds when nothing moves.
    fn held(&self, _socket: &Self::Socket) -> usize {
        0
    }

    /// Reads into `buffer`, which is not empty.
    fn read(&mut self, socket: &mut Self::Socket, buffer: &mut [u8]) -> Read;

    /// As [`Io::read`], but the bytes stay in the socket until [`Io::consume`] takes them away.
    fn peek(&mut self, socket: &mut Self::Socket, buffer: &mut [u8]) -> Read;

    /// Takes away the first `bytes.len()` of the bytes that were peeked at; `bytes` is where they may be written to.
    fn consume(&mut self, socket: &mut Self::Socket, bytes: &mut [u8]);

    /// Writes from `bytes`, which is not empty.
    fn write(&mut self, socket: &mut Self::Socket, bytes: &[u8]) -> Write;

    /// Whether bytes may go from one of these sockets to the other through a pipe; readies both for it.
    fn can_splice(&mut self, from: &Self::Socket, to: &Self::Socket) -> bool;

    /// A pipe that moves bytes between sockets within the kernel, or `None` when there is none to be had.
    fn pipe(&mut self) -> Option<Self::Pipe>;

    /// Moves up to `most` bytes from `socket` into `pipe`, which is empty. `None` when the socket's bytes cannot go
    /// that way and have to be read.
    fn fill(
        &mut self,
        socket: &mut Self::Socket,
        pipe: &mut Self::Pipe,
        most: usize,
    ) -> Option<Read>;

    /// Moves up to `most` bytes, all of which `pipe` has, into `socket`. `None` when this socket takes no bytes that
    /// way, which for a socket that [`Io::fill`] and the engine paired is a fault of the system: the bytes are lost.
    fn drain(
        &mut self,
        socket: &mut Self::Socket,
        pipe: &mut Self::Pipe,
        most: usize,
    ) -> Option<Write>;

    /// Ends the stream towards the peer, behind the bytes written so far. Failure means that the peer is gone, which
    /// reading will tell.
    fn shutdown(&mut self, socket: &mut Self::Socket);

    /// Gives the socket back.
    fn close(&mut self, socket: Self::Socket);

    /// Waits until something is ready, the waker was used or `timeout_ms` milliseconds are over; `None` waits for ever.
    /// `events` is emptied first; waking adds none.
    ///
    /// # Errors
    /// Only for reasons that make the instance unusable.
    fn wait(&mut self, events: &mut Vec<Event>, timeout_ms: Option<u64>) -> io::Result<()>;

    /// A waker for this instance.
    fn waker(&self) -> Self::Waker;

    /// Milliseconds since the instance was made; never goes back.
    fn now_ms(&self) -> u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for (slot, generation, side) in [
            (0, 0, Side::Client),
            (0, 0, Side::Origin),
            (u32::MAX, 0, Side::Client),
            (7, Token::GENERATION_MAX, Side::Origin),
            (u32::MAX, Token::GENERATION_MAX, Side::Client),
        ] {
            let token = Token::new(slot, generation, side);
            assert_eq!(Token::from_bits(token.to_bits()), token);
        }
    }

    #[test]
    fn a_generation_wraps_instead_of_spilling() {
        assert_eq!(
            Token::new(3, Token::GENERATION_MAX + 1, Side::Client),
            Token::new(3, 0, Side::Client)
        );
    }
}
