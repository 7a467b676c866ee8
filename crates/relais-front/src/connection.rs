//! A client's connection: one request after the other, until somebody closes.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use relais_http1::{Limits, Parse, RequestError, RequestHead};
use relais_policy::{Connection, HostSpec, Mode};
use relais_stream::{Failure, Stream};
use relais_telemetry::{Entry, Level};
use relais_tls::Facts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::generation::Generation;
use crate::handshake;
use crate::http2;
use crate::input::Input;
use crate::proxy_protocol;
use crate::status::Seat;
use crate::time::{until, within};
use crate::turn::{self, Next};
use crate::worker::Worker;

/// How long a client may go on sending after an answer that ends its
/// connection, so that the answer is not lost to a reset (httpd's
/// `MAX_SECS_TO_LINGER`).
const LINGER: Duration = Duration::from_secs(2);

/// Bytes that are thrown away in that time at the most.
const LINGER_BYTES: usize = 1 << 20;

/// One client's connection between two requests.
pub(crate) struct Http1 {
    pub(crate) stream: Stream,
    pub(crate) input: Input,
    pub(crate) facts: Connection,
    /// What is known of its TLS.
    pub(crate) tls: Option<Rc<Facts>>,
    /// The client speaks plain HTTP on a port of TLS.
    pub(crate) misdirected: bool,
    /// What the status page shows of it.
    pub(crate) seat: Rc<Seat>,
    /// HTTP/2 was agreed on in the handshake.
    pub(crate) http2: bool,
}

/// A request head as it came, or why none did.
pub(crate) enum Arrival {
    /// A whole head of this many bytes.
    Head(usize),
    /// The client closed, reset or said nothing for too long.
    Gone,
    /// The head did not arrive in time.
    TimedOut,
    /// The head is refused.
    Bad(RequestError),
}

/// Serves a connection to its end; `local` is our end's address where it is
/// known. Its listener has set `TCP_NODELAY`.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    mut stream: TcpStream,
    peer: SocketAddr,
    local: Option<SocketAddr>,
) {
    let Some(local) = local.or_else(|| stream.local_addr().ok()) else {
        return;
    };
    let mut facts = Connection {
        peer: plain(peer),
        local: plain(local),
        secure: false,
        requests: 0,
        stream: None,
    };
    if !introduced(&worker, &mut stream, &mut facts).await {
        return;
    }
    let Some(mut client) = secured(&worker, stream, facts).await else {
        return;
    };
    if http2::spoken(&worker, &mut client).await {
        // Boxed, since a connection of HTTP/1 is to have no room for it.
        return Box::pin(http2::serve(worker, client)).await;
    }
    loop {
        if !client.wait(&worker).await {
            return;
        }
        client.seat.set(Mode::Read);
        // Not boxed: an idle connection holds the 4 KiB that a request needs,
        // for as long as KeepAliveTimeout lets it, and a request is spared the
        // allocation of them, a tenth of relais' own time for it. A tunnel
        // leaves them behind.
        match turn::serve(&worker, &mut client).await {
            Next::Request => {
                client.facts.requests += 1;
                client.seat.set(Mode::KeepAlive);
            }
            Next::Close => {
                client.seat.set(Mode::Close);
                return linger(client.stream).await;
            }
            Next::Drop => return,
            Next::Tunnel(plan) => return handshake::hand_off(&worker, client, *plan),
        }
    }
}

/// Does the handshake on a port of TLS; `None` when it failed.
async fn secured(worker: &Worker, tcp: TcpStream, facts: Connection) -> Option<Http1> {
    let client = |stream| Http1 {
        stream,
        input: Input::default(),
        facts,
        tls: None,
        misdirected: false,
        seat: worker.seats.take(facts.peer),
        http2: false,
    };
    let (generation, _) = worker.generation();
    let site = &generation.site;
    let first = site
        .candidates(facts.local)
        .next()
        .unwrap_or_else(|| site.main());
    let Some(mut server) = generation.tls.server(first.index) else {
        return Some(client(Stream::Tcp(tcp)));
    };
    let handshake = relais_stream::accept(tcp, |asked| {
        let host = site.host_for(facts.local, asked.name.as_deref().map(str::as_bytes));
        if let Some(own) = generation.tls.server(host.index) {
            server = own;
        }
        Some(server.config(&asked.alpn))
    });
    let end = Instant::now() + first.spec.timeout;
    match tokio::time::timeout_at(end, handshake).await {
        Ok(Ok((stream, settled))) => {
            let mut client = client(Stream::Tls(Box::new(stream)));
            client.facts.secure = true;
            client.http2 = settled.alpn.as_deref() == Some(b"h2");
            client.tls = Some(Rc::new(Facts {
                server,
                name: settled.name,
                version: settled.version,
                suite: u16::from(settled.suite.suite()),
                resumed: settled.resumed,
                peer: settled.peer,
            }));
            Some(client)
        }
        Ok(Err(Failure::Plain(tcp, bytes))) => {
            let mut client = client(Stream::Tcp(tcp));
            client.input = Input::holding(bytes);
            client.misdirected = true;
            Some(client)
        }
        Ok(Err(failure)) => {
            log_handshake(&generation, first.index, facts, &failure.to_string());
            None
        }
        Err(_) => {
            log_handshake(&generation, first.index, facts, "it took too long");
            None
        }
    }
}

fn log_handshake(generation: &Generation, host: usize, facts: Connection, why: &str) {
    let spec = &generation.site.hosts[host].spec;
    if spec.levels.enabled("ssl", Level::Info) {
        let name = &spec.server_name;
        let message = format!("AH02008: TLS handshake failed (server {name}): {why}");
        generation.logs_of(host).error.log(&Entry {
            client: Some(facts.peer),
            ..Entry::new(Level::Info, "ssl", message.as_bytes())
        });
    }
}

/// An IPv4 address as such, also where it came through an IPv6 listener.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Reads who the client is, where a balancer in front says it; false when
/// the connection is to be closed without a word, as httpd does.
async fn introduced(worker: &Worker, tcp: &mut TcpStream, facts: &mut Connection) -> bool {
    let limit = {
        let (generation, _) = worker.generation();
        let mut hosts = generation.site.candidates(facts.local);
        let asks = |spec: &HostSpec| {
            let protocol = spec.proxy_protocol.as_ref();
            protocol.is_some_and(|protocol| !(protocol.excepted)(facts.peer.ip()))
        };
        match hosts.find(|host| asks(&host.spec)) {
            Some(host) => first_byte_limit(&host.spec),
            None => return true,
        }
    };
    match within(limit, proxy_protocol::read(tcp)).await {
        Ok(client) => {
            facts.peer = client.unwrap_or(facts.peer);
            true
        }
        Err(error) => {
            let peer = facts.peer;
            let message = format!("PROXY protocol: {error}; the connection from {peer} is closed");
            worker.log(Level::Error, &message);
            false
        }
    }
}

impl Http1 {
    /// Waits for the first byte of a request without holding a buffer; false
    /// when there will be none.
    pub(crate) async fn wait(&mut self, worker: &Worker) -> bool {
        if !self.input.is_empty() {
            return true;
        }
        self.input.park(&worker.buffers);
        if worker.draining() && self.facts.requests > 0 {
            return false;
        }
        let limit = {
            let (generation, _) = worker.generation();
            let spec = first_spec(&generation.site, self.facts.local);
            if self.facts.requests > 0 {
                spec.keep_alive.timeout
            } else {
                first_byte_limit(spec)
            }
        };
        tokio::select! {
            biased;
            ready = timeout(limit, self.stream.readable()) => matches!(ready, Ok(Ok(()))),
            () = worker.changed.notified(), if self.facts.requests > 0 => false,
        }
    }

    /// Reads a request head, which began to come at `begun`, into `head`.
    pub(crate) async fn read_head(
        &mut self,
        worker: &Worker,
        spec: &HostSpec,
        begun: Instant,
        head: &mut RequestHead,
    ) -> Arrival {
        let limits = limits(spec);
        let mut received = self.input.bytes().len();
        loop {
            if received > 0 {
                match head.parse_into(self.input.bytes(), &limits) {
                    Ok(Parse::Complete { consumed }) => return Arrival::Head(consumed),
                    Ok(Parse::Partial) => {}
                    Err(error) => return Arrival::Bad(error),
                }
            }
            let end = begun + head_limit(spec, received);
            match until(end, self.input.fill(&mut self.stream, &worker.buffers)).await {
                Ok(0) => return Arrival::Gone,
                Ok(count) => received += count,
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut && received > 0 => {
                    return Arrival::TimedOut;
                }
                Err(_) => return Arrival::Gone,
            }
        }
    }
}

/// Ends the connection so that what was sent arrives: FIN first, then what
/// the client still sends is thrown away for a while.
pub(crate) async fn linger(mut stream: Stream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut scratch = Vec::with_capacity(4096);
    let mut thrown = 0;
    let end = Instant::now() + LINGER;
    while thrown < LINGER_BYTES {
        scratch.clear();
        match until(end, stream.read_buf(&mut scratch)).await {
            Ok(count) if count > 0 => thrown += count,
            _ => return,
        }
    }
}

/// The settings that hold before a request has named its host.
pub(crate) fn first_spec(site: &relais_policy::Site, local: SocketAddr) -> &HostSpec {
    &site
        .candidates(local)
        .next()
        .unwrap_or_else(|| site.main())
        .spec
}

/// What a head may hold.
pub(crate) const fn limits(spec: &HostSpec) -> Limits {
    Limits {
        line: spec.limits.line,
        field: spec.limits.field,
        fields: spec.limits.fields,
    }
}

pub(crate) fn first_byte_limit(spec: &HostSpec) -> Duration {
    let header = spec.header_timeout.and_then(|stage| stage.after(0));
    header.map_or(spec.timeout, |limit| limit.min(spec.timeout))
}

/// How long a head may take in all. httpd's `Timeout` is per read, which lets
/// a dripping client stay for hours; without mod_reqtimeout relais takes it
/// for the whole head.
fn head_limit(spec: &HostSpec, received: usize) -> Duration {
    let stage = spec
        .header_timeout
        .and_then(|stage| stage.after(received as u64));
    stage.unwrap_or(spec.timeout)
}

/// The moment of a request's arrival by both clocks.
pub(crate) fn arrival() -> (SystemTime, Instant) {
    (SystemTime::now(), Instant::now())
}
