//! [`Io`] on Linux: edge-triggered epoll, `recv` and `send`, through the safe interface of `rustix`.
//!
//! Both sockets of a tunnel are registered once, for everything, and never changed: in edge-triggered mode the kernel
//! reports a socket as writable again only after a write came short (epoll(7)), so that an echoed message costs two
//! `recv` and two `send` and its share of one `epoll_wait`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags, splice};

use crate::{Event, Fault, Io, Read, Token, Wake, Write};

/// Events taken from the kernel in one wait. More of them only grow the latency of the last.
const EVENTS_PER_WAIT: usize = 512;

/// The size of a pipe, and the least with which moving bytes through it pays.
const PIPE_BYTES: usize = 1 << 20;
const PIPE_BYTES_MIN: usize = 64 << 10;

const SPLICE: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// The event of the wake-up counter. No [`Token`] has these bits before four thousand million slots are in use.
const WAKE_BITS: u64 = u64::MAX;

/// An epoll instance with its wake-up counter.
pub struct Epoll {
    poll: OwnedFd,
    wake: Arc<OwnedFd>,
    started: Instant,
}

impl Epoll {
    /// Makes an instance, which takes two descriptors.
    ///
    /// # Errors
    /// The process or the system is out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &poll,
            &wake,
            EventData::new_u64(WAKE_BITS),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(Self {
            poll,
            wake: Arc::new(wake),
            started: Instant::now(),
        })
    }
}

impl Io for Epoll {
    type Socket = OwnedFd;
    type Waker = EpollWaker;
    type Pipe = Pipe;

    fn register(&mut self, socket: &OwnedFd, token: Token) -> io::Result<()> {
        let interest =
            EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI | EventFlags::ET;
        Ok(epoll::add(
            &self.poll,
            socket,
            EventData::new_u64(token.to_bits()),
            interest,
        )?)
    }

    fn read(&mut self, socket: &mut OwnedFd, buffer: &mut [u8]) -> Read {
        receive(socket, buffer, RecvFlags::empty())
    }

    fn peek(&mut self, socket: &mut OwnedFd, buffer: &mut [u8]) -> Read {
        receive(socket, buffer, RecvFlags::PEEK)
    }

    fn consume(&mut self, socket: &mut OwnedFd, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            // The bytes are there, so that nothing but their removal can happen; tcp(7): with this flag they are
            // discarded without a copy.
            let Read::Bytes(count) = receive(socket, rest, RecvFlags::TRUNC) else {
                return;
            };
            rest = rest.get_mut(count..).unwrap_or_default();
        }
    }

    fn can_splice(&mut self, from: &OwnedFd, to: &OwnedFd) -> bool {
        // Unlike recv and send, splice has no flag for a single call that is not to wait for a socket.
        [from, to]
            .into_iter()
            .all(|socket| rustix::io::ioctl_fionbio(socket, true).is_ok())
    }

    fn pipe(&mut self) -> Option<Pipe> {
        Pipe::new()
    }

    fn fill(&mut self, socket: &mut OwnedFd, pipe: &mut Pipe, most: usize) -> Option<Read> {
        loop {
            let most = most.min(pipe.capacity);
            return Some(
                match splice(&*socket, None, &pipe.enter, None, most, SPLICE) {
                    Ok(0) => Read::End,
                    Ok(count) => Read::Bytes(count),
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => Read::Blocked,
                    // Not a socket that can be spliced, or no memory for it: reading tells what else is wrong.
                    Err(Errno::INVAL | Errno::NOMEM) => return None,
                    Err(errno) => Read::Broken(fault(errno)),
                },
            );
        }
    }

    fn drain(&mut self, socket: &mut OwnedFd, pipe: &mut Pipe, most: usize) -> Option<Write> {
        loop {
            return Some(
                match splice(&pipe.leave, None, &*socket, None, most, SPLICE) {
                    Ok(0) | Err(Errno::AGAIN) => Write::Blocked,
                    Ok(count) => Write::Bytes(count),
                    Err(Errno::INTR) => continue,
                    Err(Errno::INVAL) => return None,
                    Err(errno) => Write::Broken(fault(errno)),
                },
            );
        }
    }

    fn write(&mut self, socket: &mut OwnedFd, bytes: &[u8]) -> Write {
        loop {
            match rustix::net::send(&*socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(0) | Err(Errno::AGAIN) => return Write::Blocked,
                Ok(count) => return Write::Bytes(count),
                Err(Errno::INTR) => {}
                Err(errno) => return Write::Broken(fault(errno)),
            }
        }
    }

    fn shutdown(&mut self, socket: &mut OwnedFd) {
        // The only expected failure is ENOTCONN, after a reset, which the next read reports.
        let _ = rustix::net::shutdown(&*socket, Shutdown::Write);
    }

    fn close(&mut self, socket: OwnedFd) {
        // Closing the last descriptor of a socket also takes it out of the epoll set, which saves a call. A child
        // process between fork and exec may hold it open a little longer; the token's generation covers that.
        drop(socket);
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout_ms: Option<u64>) -> io::Result<()> {
        events.clear();
        let timeout = timeout_ms.map(timespec);
        let mut ready = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS_PER_WAIT];
        match epoll::wait(&self.poll, &mut ready[..], timeout.as_ref()) {
            Ok((ready, _)) => events.extend(ready.iter().filter_map(translate)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    fn waker(&self) -> EpollWaker {
        EpollWaker {
            wake: Arc::clone(&self.wake),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Bytes in the kernel, on their way from one socket to another.
#[derive(Debug)]
pub struct Pipe {
    leave: OwnedFd,
    enter: OwnedFd,
    capacity: usize,
}

impl Pipe {
    /// A pipe of a mebibyte, or of what the system allows (`pipe-user-pages-soft` in proc(5)) where that is worth it.
    fn new() -> Option<Self> {
        let (leave, enter) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A refusal leaves the pipe as it is.
        let _ = rustix::pipe::fcntl_setpipe_size(&enter, PIPE_BYTES);
        let capacity = rustix::pipe::fcntl_getpipe_size(&enter).ok()?;
        (capacity >= PIPE_BYTES_MIN).then_some(Self {
            leave,
            enter,
            capacity,
        })
    }
}

/// Wakes an [`Epoll`]; any number of clones share one counter.
#[derive(Clone, Debug)]
pub struct EpollWaker {
    wake: Arc<OwnedFd>,
}

impl Wake for EpollWaker {
    fn wake(&self) {
        // Every write raises an edge, so that the counter is never read. It would be full after 2^64 wakes.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// The kernel's event in our words, or `None` for the wake-up counter.
fn translate(event: &epoll::Event) -> Option<Event> {
    let (bits, flags) = (event.data.u64(), event.flags);
    if bits == WAKE_BITS {
        return None;
    }
    // A read stops short in front of urgent data (tcp(7)) although more bytes follow, hence `PRI` among the reasons to
    // read until nothing is left.
    let hangup =
        flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR | EventFlags::PRI);
    Some(Event {
        token: Token::from_bits(bits),
        readable: hangup || flags.contains(EventFlags::IN),
        writable: flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP),
        hangup,
    })
}

fn receive(socket: &OwnedFd, buffer: &mut [u8], flags: RecvFlags) -> Read {
    loop {
        // The flag makes this one call non-blocking, whatever mode the socket was handed over in.
        match rustix::net::recv(socket, &mut *buffer, flags | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Read::End,
            Ok((_, count)) => return Read::Bytes(count.min(buffer.len())),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Read::Blocked,
            Err(errno) => return Read::Broken(fault(errno)),
        }
    }
}

fn fault(errno: Errno) -> Fault {
    match errno {
        Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED | Errno::NOTCONN => Fault::Reset,
        other => Fault::Other(other.kind()),
    }
}

fn timespec(timeout_ms: u64) -> Timespec {
    // An i32 of milliseconds is what every kernel's epoll_wait accepts; 24 days early is soon enough to look again.
    let timeout = Duration::from_millis(timeout_ms.min(i32::MAX as u64));
    Timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        (peer, ours.into())
    }

    fn wait_for(io: &mut Epoll, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut events = Vec::new();
        loop {
            io.wait(&mut events, None).unwrap();
            if let Some(event) = events.iter().find(|event| wanted(event)) {
                return *event;
            }
        }
    }

    #[test]
    fn bytes_end_and_room_are_told() {
        let (mut peer, mut ours) = pair();
        let mut io = Epoll::new().unwrap();
        let token = Token::new(4, 9, Side::Origin);
        io.register(&ours, token).unwrap();
        assert!(wait_for(&mut io, |event| event.writable).token == token);

        let mut buffer = [0; 16];
        assert_eq!(io.read(&mut ours, &mut buffer), Read::Blocked);
        peer.write_all(b"hello").unwrap();
        wait_for(&mut io, |event| event.readable && !event.hangup);
        assert_eq!(io.read(&mut ours, &mut buffer), Read::Bytes(5));

        assert_eq!(io.write(&mut ours, b"world"), Write::Bytes(5));
        io.shutdown(&mut ours);
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "world");
        drop(peer);
        wait_for(&mut io, |event| event.hangup);
        assert_eq!(io.read(&mut ours, &mut buffer), Read::End);
        io.close(ours);
    }

    #[test]
    fn a_blocked_write_is_announced_when_there_is_room() {
        let (mut peer, mut ours) = pair();
        let mut io = Epoll::new().unwrap();
        io.register(&ours, Token::new(0, 0, Side::Client)).unwrap();
        let block = vec![7; 1 << 20];
        let mut sent = 0;
        while let Write::Bytes(count) = io.write(&mut ours, &block) {
            sent += count;
        }
        assert_eq!(io.write(&mut ours, &block), Write::Blocked);
        let mut events = Vec::new();
        io.wait(&mut events, Some(0)).unwrap();
        io.wait(&mut events, Some(0)).unwrap();
        assert!(events.is_empty(), "no room, no event: {events:?}");
        peer.read_exact(&mut vec![0; sent]).unwrap();
        wait_for(&mut io, |event| event.writable);
        assert!(matches!(io.write(&mut ours, &block), Write::Bytes(_)));
    }

    #[test]
    fn a_peer_that_is_gone_is_a_reset() {
        let (peer, mut ours) = pair();
        let mut io = Epoll::new().unwrap();
        io.register(&ours, Token::new(0, 0, Side::Client)).unwrap();
        assert_eq!(io.write(&mut ours, b"unread"), Write::Bytes(6));
        assert_eq!(peer.peek(&mut [0]).unwrap(), 1);
        // Closing with unread bytes makes the kernel send a reset.
        drop(peer);
        wait_for(&mut io, |event| event.hangup);
        assert_eq!(io.read(&mut ours, &mut [0; 8]), Read::Broken(Fault::Reset));
        assert_eq!(io.write(&mut ours, b"more"), Write::Broken(Fault::Reset));
    }

    #[test]
    fn bytes_that_were_peeked_at_stay_until_they_are_consumed() {
        let (mut peer, mut ours) = pair();
        let mut io = Epoll::new().unwrap();
        io.register(&ours, Token::new(0, 0, Side::Client)).unwrap();
        peer.write_all(b"hello").unwrap();
        wait_for(&mut io, |event| event.readable);
        let mut buffer = [0; 16];
        assert_eq!(io.peek(&mut ours, &mut buffer), Read::Bytes(5));
        io.consume(&mut ours, &mut buffer[..2]);
        assert_eq!(io.peek(&mut ours, &mut buffer), Read::Bytes(3));
        assert_eq!(io.read(&mut ours, &mut buffer), Read::Bytes(3));
        assert_eq!(&buffer[..3], b"llo");
        assert_eq!(io.peek(&mut ours, &mut buffer), Read::Blocked);
    }

    #[test]
    fn a_pipe_moves_bytes_from_socket_to_socket() {
        let ((mut peer, mut ours), (mut far, mut towards)) = (pair(), pair());
        let mut io = Epoll::new().unwrap();
        io.register(&ours, Token::new(0, 0, Side::Client)).unwrap();
        assert!(io.can_splice(&ours, &towards));
        let mut pipe = io.pipe().unwrap();
        assert_eq!(io.fill(&mut ours, &mut pipe, 9), Some(Read::Blocked));
        peer.write_all(b"hello world").unwrap();
        wait_for(&mut io, |event| event.readable);
        assert_eq!(io.fill(&mut ours, &mut pipe, 9), Some(Read::Bytes(9)));
        assert_eq!(io.drain(&mut towards, &mut pipe, 9), Some(Write::Bytes(9)));
        let mut received = [0; 9];
        far.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"hello wor");
        drop(peer);
        wait_for(&mut io, |event| event.hangup);
        assert_eq!(io.fill(&mut ours, &mut pipe, 9), Some(Read::Bytes(2)));
        assert_eq!(io.drain(&mut towards, &mut pipe, 2), Some(Write::Bytes(2)));
        assert_eq!(io.fill(&mut ours, &mut pipe, 9), Some(Read::End));
    }

    #[test]
    fn a_waker_ends_a_wait_for_ever_each_time() {
        let mut io = Epoll::new().unwrap();
        let mut events = Vec::new();
        for _ in 0..3 {
            let waker = io.waker();
            let thread = std::thread::spawn(move || waker.wake());
            io.wait(&mut events, None).unwrap();
            assert!(events.is_empty());
            thread.join().unwrap();
        }
    }

    #[test]
    fn timeouts_fit_every_kernel() {
        for (timeout_ms, seconds, nanoseconds) in [
            (0, 0, 0),
            (1, 0, 1_000_000),
            (1500, 1, 500_000_000),
            (u64::MAX, 2_147_483, 647_000_000),
        ] {
            let timeout = timespec(timeout_ms);
            assert_eq!(
                (timeout.tv_sec, timeout.tv_nsec),
                (seconds, nanoseconds),
                "{timeout_ms}"
            );
        }
    }
}
