//! The origin: a small answer to GET, and an echo in tunnels.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// The length of every message's payload.
const PAYLOAD: usize = 64;

/// The key of RFC 6455 section 1.3, which every handshake of the benchmark has, and so one answer fits all.
pub(crate) const HANDSHAKE: &str = "GET /ws/x HTTP/1.1\r\nHost: bench.example\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The end of the answer to every GET.
pub(crate) const BODY: &[u8] = b"hello, world\n";

/// A message of the client: a text frame whose masking key is zero.
pub(crate) fn message() -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | PAYLOAD as u8, 0, 0, 0, 0];
    frame.resize(frame.len() + PAYLOAD, b'x');
    frame
}

/// The same message from the origin.
pub(crate) fn echo() -> Vec<u8> {
    let mut frame = vec![0x81, PAYLOAD as u8];
    frame.resize(frame.len() + PAYLOAD, b'x');
    frame
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    tunnel: bool,
}

/// Starts the origin in a thread of its own; it ends with the process.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    std::thread::spawn(move || serve(&mut poll, &listener));
    Ok(address)
}

fn serve(poll: &mut Poll, listener: &TcpListener) {
    let mut events = Events::with_capacity(1024);
    let mut connections = HashMap::new();
    let mut next = 1;
    let answers = Answers::new();
    while wait(poll, &mut events, None).is_ok() {
        for event in &events {
            if event.token() == LISTENER {
                accept(poll, listener, &mut connections, &mut next);
            } else if let Some(connection) = connections.get_mut(&event.token())
                && (!connection.advance(&answers) || event.is_read_closed())
            {
                connections.remove(&event.token());
            }
        }
    }
}

/// Waits for events, and goes on waiting after a signal.
pub(crate) fn wait(
    poll: &mut Poll,
    events: &mut Events,
    limit: Option<Duration>,
) -> io::Result<()> {
    loop {
        match poll.poll(events, limit) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn accept(
    poll: &Poll,
    listener: &TcpListener,
    connections: &mut HashMap<Token, Connection>,
    next: &mut usize,
) {
    while let Ok((mut stream, _)) = listener.accept() {
        let token = Token(*next);
        *next += 1;
        let _ = stream.set_nodelay(true);
        if poll
            .registry()
            .register(&mut stream, token, Interest::READABLE)
            .is_ok()
        {
            connections.insert(
                token,
                Connection {
                    stream,
                    input: Vec::new(),
                    tunnel: false,
                },
            );
        }
    }
}

/// What the origin sends.
struct Answers {
    plain: Vec<u8>,
    echo: Vec<u8>,
    message_length: usize,
}

impl Answers {
    fn new() -> Self {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            BODY.len()
        );
        Self {
            plain: [head.as_bytes(), BODY].concat(),
            echo: echo(),
            message_length: message().len(),
        }
    }
}

impl Connection {
    /// Reads what is there and answers it; false when the connection is over.
    fn advance(&mut self, answers: &Answers) -> bool {
        let mut buffer = [0; 16384];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    self.input.extend_from_slice(&buffer[..length]);
                    if !self.answer(answers) {
                        return false;
                    }
                    if length < buffer.len() {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
    }

    fn answer(&mut self, answers: &Answers) -> bool {
        let mut output = Vec::new();
        while let Some(end) = self.next_end(answers) {
            let whole = &self.input[..end];
            if self.tunnel {
                output.extend_from_slice(&answers.echo);
            } else if contains(whole, b"upgrade: websocket") {
                self.tunnel = true;
                output.extend_from_slice(ACCEPTED);
            } else {
                output.extend_from_slice(&answers.plain);
            }
            self.input.drain(..end);
        }
        // A few answers always fit into the socket, since nobody sends more before they are read.
        output.is_empty() || self.stream.write_all(&output).is_ok()
    }

    fn next_end(&self, answers: &Answers) -> Option<usize> {
        if self.tunnel {
            return (self.input.len() >= answers.message_length).then_some(answers.message_length);
        }
        self.input
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|at| at + 4)
    }
}

/// True when `text` contains `needle`, which is in lower case, in any case.
fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len())
        .any(|window| window.eq_ignore_ascii_case(needle))
}

const LISTENER: Token = Token(0);
