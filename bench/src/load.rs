//! The load: requests and messages, one at a time on each of many connections.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use crate::origin::{BODY, HANDSHAKE, echo as echo_frame, message, wait};

/// How long nothing may happen before a run fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends `count` requests over `connections` connections that stay open.
pub(crate) fn get(address: SocketAddr, connections: usize, count: usize) -> io::Result<()> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        streams.push(connect(address)?);
    }
    let request =
        b"GET /page HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
    exchange(
        &mut streams,
        request,
        |answer| answer.ends_with(BODY),
        count,
    )
}

/// Opens tunnels, one after the other.
pub(crate) fn open(address: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count).map(|_| handshake(address)).collect()
}

/// Opens and closes tunnels, one after the other.
pub(crate) fn handshakes(address: SocketAddr, count: usize) -> io::Result<()> {
    (0..count).try_for_each(|_| handshake(address).map(drop))
}

/// Sends `count` messages over the tunnels and reads them back.
pub(crate) fn echo(tunnels: &mut [TcpStream], count: usize) -> io::Result<()> {
    let expected = echo_frame();
    exchange(
        tunnels,
        &message(),
        |answer| answer.len() >= expected.len(),
        count,
    )
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn handshake(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    stream.write_all(HANDSHAKE.as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => {
                return Err(io::Error::other(
                    "the connection ended during the handshake",
                ));
            }
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    if answer.starts_with(b"HTTP/1.1 101") {
        Ok(stream)
    } else {
        Err(io::Error::other("the handshake was refused"))
    }
}

/// Sends `request` and waits for a whole answer, `count` times over all streams together.
fn exchange(
    streams: &mut [TcpStream],
    request: &[u8],
    whole: impl Fn(&[u8]) -> bool,
    count: usize,
) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut peers = Vec::new();
    for (number, stream) in streams.iter().enumerate() {
        stream.set_nonblocking(true)?;
        let mut peer = mio::net::TcpStream::from_std(stream.try_clone()?);
        poll.registry()
            .register(&mut peer, Token(number), Interest::READABLE)?;
        peers.push((peer, Vec::new()));
    }
    let mut sent = 0;
    for (peer, _) in peers.iter_mut().take(count) {
        peer.write_all(request)?;
        sent += 1;
    }
    let (mut events, mut buffer, mut done) = (Events::with_capacity(1024), [0; 16384], 0);
    while done < count {
        wait(&mut poll, &mut events, Some(PATIENCE))?;
        if events.is_empty() {
            let part = peers
                .iter()
                .map(|(_, answer)| String::from_utf8_lossy(answer))
                .find(|part| !part.is_empty());
            let part = part.unwrap_or_default();
            return Err(io::Error::other(format!(
                "after {done} of {count} answers there is only: {part:?}"
            )));
        }
        for event in &events {
            let (peer, answer) = &mut peers[event.token().0];
            if !read_some(peer, answer, &mut buffer)? || !whole(answer) {
                continue;
            }
            answer.clear();
            done += 1;
            if sent < count {
                peer.write_all(request)?;
                sent += 1;
            }
        }
    }
    Ok(())
}

/// Reads all that is there; false when it is nothing.
fn read_some(
    peer: &mut mio::net::TcpStream,
    answer: &mut Vec<u8>,
    buffer: &mut [u8],
) -> io::Result<bool> {
    let mut some = false;
    loop {
        match peer.read(buffer) {
            Ok(0) => return Err(io::Error::other("the proxy ended a connection")),
            Ok(length) => {
                answer.extend_from_slice(&buffer[..length]);
                some = true;
                if length < buffer.len() {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(some),
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn the_load_and_the_origin_understand_each_other() {
    let origin = crate::origin::start().expect("start the origin");
    get(origin, 4, 100).expect("requests");
    let mut tunnels = open(origin, 3).expect("tunnels");
    echo(&mut tunnels, 100).expect("messages");
    echo(&mut tunnels, 1).expect("a single message");
    handshakes(origin, 10).expect("handshakes");
}
