//! The origin: bodies of any length for requests, and messages of any length in tunnels.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::payload::{Expected, body, frame};
use crate::wire::{Head, Wire};

/// What is said in a tunnel: so many messages of the client, then so many of the origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    /// Length of the client's messages.
    pub(crate) up: usize,
    /// How many of them there are before the origin speaks.
    pub(crate) ups: usize,
    /// Length of the origin's messages.
    pub(crate) down: usize,
    /// How many of them it sends.
    pub(crate) downs: usize,
}

impl Talk {
    /// Every message comes back as it is.
    pub(crate) const fn echo(length: usize) -> Self {
        Self {
            up: length,
            ups: 1,
            down: length,
            downs: 1,
        }
    }

    /// Bytes of payload in both directions.
    pub(crate) const fn bytes(self) -> usize {
        self.up * self.ups + self.down * self.downs
    }

    /// The path at which the origin talks like this.
    pub(crate) fn path(self) -> String {
        let Self {
            up,
            ups,
            down,
            downs,
        } = self;
        format!("/ws/{up}/{ups}/{down}/{downs}")
    }

    fn parse(path: &str) -> Option<Self> {
        let mut numbers = path.strip_prefix("/ws/")?.split('/').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self {
            up: next()?,
            ups: next()?,
            down: next()?,
            downs: next()?,
        })
    }
}

/// Starts the origin in a thread of its own; it ends with the process.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    std::thread::spawn(move || {
        let result = LocalSet::new().block_on(&runtime, accept(listener));
        eprintln!("relais-bench: the origin ended: {result:?}");
    });
    Ok(address)
}

async fn accept(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that breaks shows at the load's end of it.
        tokio::task::spawn_local(serve(stream));
    }
}

async fn serve(stream: TcpStream) -> io::Result<()> {
    let mut wire = Wire::new(stream);
    let mut scratch = Vec::new();
    while let Some(head) = wire.head().await? {
        let path = head.line().split(' ').nth(1).unwrap_or_default();
        if head.field("upgrade").is_some() {
            let talk = Talk::parse(path).ok_or(io::ErrorKind::InvalidInput)?;
            wire.stream.write_all(ACCEPTED).await?;
            return converse(wire, talk).await;
        }
        let length = head.length();
        if length > 0 {
            scratch.resize(READ, 0);
            receive(&mut wire, &mut scratch, length).await?;
        }
        answer(&mut wire, &head, path).await?;
    }
    Ok(())
}

/// Reads a body and sees whether it is right.
pub(crate) async fn receive(wire: &mut Wire, scratch: &mut [u8], length: usize) -> io::Result<()> {
    let mut expected = Expected::new(body(length).to_vec());
    wire.read_until(scratch, |bytes| Ok(expected.take(bytes)? > 0))
        .await
}

/// Answers with as many bytes as the path's last part says.
async fn answer(wire: &mut Wire, head: &Head, path: &str) -> io::Result<()> {
    let length = path.rsplit('/').next().and_then(|text| text.parse().ok());
    let length = length.unwrap_or(SMALL);
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n")
            .into_bytes();
    if head.line().starts_with("HEAD ") {
        return wire.stream.write_all(&answer).await;
    }
    answer.extend_from_slice(body(length));
    wire.stream.write_all(&answer).await
}

async fn converse(mut wire: Wire, talk: Talk) -> io::Result<()> {
    let mut expected = Expected::new(frame(talk.up, true));
    let own = frame(talk.down, false);
    let mut whole = 0;
    // A tunnel that waits has no room to read into: there are thousands of them.
    let mut scratch = vec![0; if talk.up > 4096 { READ } else { 8192 }];
    if talk.up <= 64 {
        scratch.truncate(1024);
    }
    loop {
        let length = wire.stream.read(&mut scratch).await?;
        if length == 0 {
            return Ok(());
        }
        whole += expected.take(&scratch[..length])?;
        while whole >= talk.ups {
            whole -= talk.ups;
            for _ in 0..talk.downs {
                wire.stream.write_all(&own).await?;
            }
        }
    }
}

/// The length of a small answer.
pub(crate) const SMALL: usize = 13;

/// Bytes read at once where there are many.
pub(crate) const READ: usize = 256 * 1024;

/// The answer to the key of RFC 6455 section 1.3, which every handshake of the benchmark has.
const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
