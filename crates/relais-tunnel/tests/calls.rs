//! What a message costs in system calls, counted at the seam below the engine.

mod support;

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use relais_io::epoll::{Epoll, EpollWaker, Pipe};
use relais_io::{Event, Io, Read, Token, Write};
use relais_tunnel::{Engine, Settings, TunnelLimits};

/// The kernel, with each call counted.
struct Counting {
    io: Epoll,
    calls: Calls,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Calls {
    reads: usize,
    writes: usize,
    waits: usize,
    others: usize,
}

impl Io for Counting {
    type Socket = OwnedFd;
    type Waker = EpollWaker;
    type Pipe = Pipe;

    fn register(&mut self, socket: &OwnedFd, token: Token) -> io::Result<()> {
        self.calls.others += 1;
        self.io.register(socket, token)
    }

    fn read(&mut self, socket: &mut OwnedFd, buffer: &mut [u8]) -> Read {
        self.calls.reads += 1;
        self.io.read(socket, buffer)
    }

    fn write(&mut self, socket: &mut OwnedFd, bytes: &[u8]) -> Write {
        self.calls.writes += 1;
        self.io.write(socket, bytes)
    }

    fn peek(&mut self, socket: &mut OwnedFd, buffer: &mut [u8]) -> Read {
        self.calls.others += 1;
        self.io.peek(socket, buffer)
    }

    fn consume(&mut self, socket: &mut OwnedFd, bytes: &mut [u8]) {
        self.calls.others += 1;
        self.io.consume(socket, bytes);
    }

    fn can_splice(&mut self, from: &OwnedFd, to: &OwnedFd) -> bool {
        self.calls.others += 1;
        self.io.can_splice(from, to)
    }

    fn pipe(&mut self) -> Option<Pipe> {
        self.calls.others += 1;
        self.io.pipe()
    }

    fn fill(&mut self, socket: &mut OwnedFd, pipe: &mut Pipe, most: usize) -> Option<Read> {
        self.calls.others += 1;
        self.io.fill(socket, pipe, most)
    }

    fn drain(&mut self, socket: &mut OwnedFd, pipe: &mut Pipe, most: usize) -> Option<Write> {
        self.calls.others += 1;
        self.io.drain(socket, pipe, most)
    }

    fn shutdown(&mut self, socket: &mut OwnedFd) {
        self.calls.others += 1;
        self.io.shutdown(socket);
    }

    fn close(&mut self, socket: OwnedFd) {
        self.calls.others += 1;
        self.io.close(socket);
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout_ms: Option<u64>) -> io::Result<()> {
        self.calls.waits += 1;
        self.io.wait(events, timeout_ms)
    }

    fn waker(&self) -> EpollWaker {
        self.io.waker()
    }

    fn now_ms(&self) -> u64 {
        self.io.now_ms()
    }
}

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    ours.set_nodelay(true).unwrap();
    theirs.set_nodelay(true).unwrap();
    (ours, theirs)
}

/// An engine with `count` tunnels that have settled, and the peers of each.
fn tunnels(count: usize) -> (Engine<Counting>, Vec<(TcpStream, TcpStream)>) {
    let io = Counting {
        io: Epoll::new().unwrap(),
        calls: Calls::default(),
    };
    let mut engine = Engine::new(io, &Settings::default());
    let mut peers = Vec::new();
    for _ in 0..count {
        let ((client, towards_client), (origin, towards_origin)) = (connection(), connection());
        let limits = TunnelLimits {
            idle: Some(std::time::Duration::from_secs(3600)),
            ..TunnelLimits::default()
        };
        engine.adopt(support::handoff(
            towards_client.into(),
            towards_origin.into(),
            limits,
            support::Ends::default().label(0),
        ));
        peers.push((client, origin));
    }
    // Every socket is reported as writable once.
    engine.turn().unwrap();
    engine.io().calls = Calls::default();
    (engine, peers)
}

/// Passes one message of each tunnel on, and returns when all have been read and written.
fn relay(engine: &mut Engine<Counting>, messages: usize) {
    let wanted = engine.io().calls.writes + messages;
    while engine.io().calls.writes < wanted {
        engine.turn().unwrap();
    }
}

fn echo(engine: &mut Engine<Counting>, peers: &mut [(TcpStream, TcpStream)]) {
    let message = [&b"\x81\xc0mask"[..], &[b'x'; 64]].concat();
    let mut received = [0; 70];
    for (client, _) in peers.iter_mut() {
        client.write_all(&message).unwrap();
    }
    relay(engine, peers.len());
    for (_, origin) in peers.iter_mut() {
        origin.read_exact(&mut received).unwrap();
        origin.write_all(b"\x81\x02ok").unwrap();
    }
    relay(engine, peers.len());
    for (client, _) in peers.iter_mut() {
        client.read_exact(&mut received[..4]).unwrap();
        assert_eq!(&received[..4], b"\x81\x02ok");
    }
}

#[test]
fn an_echo_is_two_reads_two_writes_and_a_share_of_a_wait() {
    for (tunnels_open, waits_per_round) in [(1, 2), (32, 8)] {
        let (mut engine, mut peers) = tunnels(tunnels_open);
        let rounds = 50;
        for _ in 0..rounds {
            echo(&mut engine, &mut peers);
        }
        let calls = engine.io().calls;
        let echoes = rounds * tunnels_open;
        assert_eq!(
            (calls.reads, calls.writes, calls.others),
            (2 * echoes, 2 * echoes, 0)
        );
        assert!(
            calls.waits <= rounds * waits_per_round,
            "{calls:?} for {rounds} rounds"
        );
    }
}

#[test]
fn a_large_message_is_read_in_full_buffers() {
    let (mut engine, mut peers) = tunnels(1);
    let (client, origin) = &mut peers[0];
    let buffer = Settings::default().read_buffer;
    let mut received = vec![0; buffer];
    client.write_all(&received).unwrap();
    relay(&mut engine, 1);
    // The buffer was full, so that there may be more: one more read finds that there is not.
    origin.read_exact(&mut received).unwrap();
    let calls = engine.io().calls;
    assert!(calls.reads <= calls.writes + 1, "{calls:?}");
}

#[test]
fn setting_up_and_tearing_down() {
    let (mut engine, peers) = tunnels(1);
    drop(peers);
    while engine.open() > 0 {
        engine.turn().unwrap();
    }
    let Calls {
        reads,
        writes,
        others,
        ..
    } = engine.io().calls;
    // One read per side meets its end; each socket is shut down and closed.
    assert_eq!((reads, writes, others), (2, 0, 4));
}
