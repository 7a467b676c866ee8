//! The load: requests and messages, one at a time on each of many connections.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::origin::{READ, Talk, receive};
use crate::payload::{Expected, body, frame};
use crate::wire::{Head, Wire};

/// A kind of request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) path: &'static str,
    /// Length of its body; a GET has none.
    pub(crate) up: usize,
    /// Length of the answer's.
    pub(crate) down: usize,
}

/// Who sends the load, and to whom.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    /// How to encrypt, where the proxy's port is one of TLS.
    pub(crate) tls: Option<TlsConnector>,
}

/// How to encrypt for either version of HTTP.
pub(crate) struct Connectors {
    pub(crate) http1: TlsConnector,
    pub(crate) http2: TlsConnector,
}

/// Operations that are left to do, shared by the connections that do them.
struct Left<'a>(&'a Cell<usize>);

impl Left<'_> {
    fn take(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

/// Runs a load to its end; one that stands still fails.
pub(crate) fn run<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let late = io::Error::other("the load did not come to its end in time");
        tokio::time::timeout(PATIENCE, work)
            .await
            .unwrap_or(Err(late))
    })
}

impl Client {
    /// Sends `count` requests over `connections` connections that stay open.
    pub(crate) async fn requests(
        &self,
        connections: usize,
        request: Request,
        count: usize,
    ) -> io::Result<()> {
        self.each(connections, count, async move |client, left| {
            let mut wire = client.connect().await?;
            let mut scratch = vec![0; READ];
            let text = request.text();
            while left.take() {
                wire.stream.write_all(&text).await?;
                // What TLS holds back goes out too.
                wire.stream.flush().await?;
                let head = answered(&mut wire, "200").await?;
                if head.length() != request.down {
                    return Err(io::Error::other("the answer has another length"));
                }
                receive(&mut wire, &mut scratch, request.down).await?;
            }
            Ok(())
        })
        .await
    }

    /// Sends `count` requests over HTTP/2, `streams` at a time on each connection.
    pub(crate) async fn streams(
        &self,
        connections: usize,
        streams: usize,
        request: Request,
        count: usize,
    ) -> io::Result<()> {
        let mut requests = Vec::new();
        for _ in 0..connections {
            let (sender, connection) = h2::client::handshake(self.connect().await?.stream)
                .await
                .map_err(io::Error::other)?;
            tokio::task::spawn_local(connection);
            requests.extend(std::iter::repeat_n(sender, streams));
        }
        let requests = Cell::new(requests);
        self.each(connections * streams, count, async move |_, left| {
            let mut all = requests.take();
            let sender = all.pop();
            requests.set(all);
            let mut sender = sender.ok_or_else(|| io::Error::other("no connection"))?;
            while left.take() {
                sender = http2(sender, request).await.map_err(io::Error::other)?;
            }
            Ok(())
        })
        .await
    }

    /// Opens tunnels.
    pub(crate) async fn open(&self, count: usize, talk: Talk) -> io::Result<Vec<Wire>> {
        let mut tunnels = Vec::with_capacity(count);
        for _ in 0..count {
            tunnels.push(self.handshake(&talk.path()).await?);
        }
        Ok(tunnels)
    }

    /// Opens and closes `count` tunnels, `at_once` at a time.
    pub(crate) async fn handshakes(&self, at_once: usize, count: usize) -> io::Result<()> {
        let path = Talk::echo(64).path();
        self.each(at_once, count, async move |client, left| {
            while left.take() {
                client.handshake(&path).await?;
            }
            Ok(())
        })
        .await
    }

    async fn connect(&self) -> io::Result<Wire> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Wire::new(tcp));
        };
        let name = ServerName::try_from("bench.example").map_err(io::Error::other)?;
        Ok(Wire::new(tls.connect(name, tcp).await?))
    }

    async fn handshake(&self, path: &str) -> io::Result<Wire> {
        let mut wire = self.connect().await?;
        let text = format!("GET {path} HTTP/1.1\r\n{HANDSHAKE}");
        wire.stream.write_all(text.as_bytes()).await?;
        wire.stream.flush().await?;
        answered(&mut wire, "101").await?;
        Ok(wire)
    }

    /// Does `work` on many connections at a time, until `count` operations are taken.
    async fn each<W>(&self, connections: usize, count: usize, work: W) -> io::Result<()>
    where
        W: AsyncFn(&Self, &Left<'_>) -> io::Result<()> + 'static,
    {
        let shared = std::rc::Rc::new((self.clone(), Cell::new(count), work));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let shared = std::rc::Rc::clone(&shared);
            tasks.spawn_local(async move {
                let (client, left, work) = &*shared;
                work(client, &Left(left)).await
            });
        }
        joined(tasks).await
    }
}

/// Talks `count` times over all the tunnels together.
pub(crate) async fn talk(tunnels: &mut Vec<Wire>, talk: Talk, count: usize) -> io::Result<()> {
    let left = std::rc::Rc::new(Cell::new(count));
    let mut tasks = JoinSet::new();
    for wire in tunnels.drain(..) {
        let left = std::rc::Rc::clone(&left);
        tasks.spawn_local(one_tunnel(wire, talk, left));
    }
    while let Some(done) = tasks.join_next().await {
        tunnels.push(done.map_err(io::Error::other)??);
    }
    Ok(())
}

async fn one_tunnel(
    mut wire: Wire,
    talk: Talk,
    left: std::rc::Rc<Cell<usize>>,
) -> io::Result<Wire> {
    let own = frame(talk.up, true);
    let mut expected = Expected::new(frame(talk.down, false));
    let mut scratch = vec![0; if talk.down > 4096 { READ } else { 8192 }];
    while Left(&left).take() {
        for _ in 0..talk.ups {
            wire.stream.write_all(&own).await?;
            wire.stream.flush().await?;
        }
        let mut whole = 0;
        wire.read_until(&mut scratch, |bytes| {
            whole += expected.take(bytes)?;
            Ok(whole >= talk.downs)
        })
        .await?;
    }
    Ok(wire)
}

async fn joined(mut tasks: JoinSet<io::Result<()>>) -> io::Result<()> {
    while let Some(done) = tasks.join_next().await {
        done.map_err(io::Error::other)??;
    }
    Ok(())
}

async fn answered(wire: &mut Wire, status: &str) -> io::Result<Head> {
    let head = wire.head().await?;
    let head = head.ok_or_else(|| io::Error::other("the proxy closed a connection"))?;
    if head.line().split(' ').nth(1) == Some(status) {
        Ok(head)
    } else {
        Err(io::Error::other(format!("the answer is {:?}", head.line())))
    }
}

type Sender = h2::client::SendRequest<bytes::Bytes>;

async fn http2(sender: Sender, request: Request) -> Result<Sender, h2::Error> {
    let mut sender = sender.ready().await?;
    let head = http::Request::get(format!("https://bench.example{}", request.path))
        .body(())
        .map_err(|_| h2::Reason::INTERNAL_ERROR)?;
    let (response, _) = sender.send_request(head, true)?;
    let mut arriving = response.await?.into_body();
    let mut expected = Expected::new(body(request.down).to_vec());
    let mut whole = 0;
    while let Some(bytes) = arriving.data().await {
        let bytes = bytes?;
        whole += expected
            .take(&bytes)
            .map_err(|_| h2::Reason::PROTOCOL_ERROR)?;
        arriving.flow_control().release_capacity(bytes.len())?;
    }
    if whole == 1 {
        Ok(sender)
    } else {
        Err(h2::Reason::PROTOCOL_ERROR.into())
    }
}

impl Request {
    /// A GET of a small page.
    pub(crate) const fn get(path: &'static str) -> Self {
        Self {
            path,
            up: 0,
            down: crate::origin::SMALL,
        }
    }

    fn text(self) -> Vec<u8> {
        let Self { path, up, .. } = self;
        let common = "Host: bench.example\r\nUser-Agent: bench\r\nAccept: */*\r\n";
        if up == 0 {
            return format!("GET {path} HTTP/1.1\r\n{common}\r\n").into_bytes();
        }
        let head = format!("POST {path} HTTP/1.1\r\n{common}Content-Length: {up}\r\n\r\n");
        [head.as_bytes(), body(up)].concat()
    }
}

/// How long a load may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// The rest of a handshake, with the key of RFC 6455 section 1.3: one answer fits all.
const HANDSHAKE: &str = "Host: bench.example\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
