//! A new connection to a worker's origin: the only place that makes one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use relais_policy::WorkerSpec;
use relais_stream::Stream;
use relais_tls::ClientTls;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use crate::error::ConnectError;
use crate::resolve::Resolver;

/// Connects to a worker's origin: to its Unix socket, or to its addresses one
/// after the other, each for a fair part of the time that is left.
///
/// # Errors
/// When nothing accepts.
pub(crate) async fn connect(
    resolver: &Resolver,
    worker: &WorkerSpec,
    tls: Option<&Arc<ClientTls>>,
) -> Result<Stream, ConnectError> {
    if worker.scheme.is_tls() {
        let tls = tls.ok_or(ConnectError::Tls)?;
        let stream = match &worker.socket {
            Some(_) => {
                let why = "TLS over a Unix socket is not implemented yet".to_owned();
                return Err(ConnectError::Handshake { why });
            }
            None => tcp(resolver, worker).await?,
        };
        return secure(stream, worker, tls).await;
    }
    match &worker.socket {
        Some(path) => unix(worker, path).await,
        None => tcp(resolver, worker).await.map(Stream::Tcp),
    }
}

/// The handshake, within the time that an answer may take.
async fn secure(
    tcp: TcpStream,
    worker: &WorkerSpec,
    tls: &ClientTls,
) -> Result<Stream, ConnectError> {
    let failed = |why: String| ConnectError::Handshake { why };
    let name = tls.name(&worker.host);
    let name = name.ok_or_else(|| failed(format!("`{}` is no name for TLS", worker.host)))?;
    let handshake = relais_stream::connect(tcp, tls.config(), name);
    match timeout(worker.timeout, handshake).await {
        Ok(Ok((stream, _))) => Ok(Stream::Tls(Box::new(stream))),
        Ok(Err(failure)) => Err(failed(failure.to_string())),
        Err(_) => Err(failed("it took too long".to_owned())),
    }
}

async fn unix(worker: &WorkerSpec, path: &Path) -> Result<Stream, ConnectError> {
    let limit = worker.connect_timeout;
    let failed = |error| ConnectError::Connect {
        address: path.display().to_string(),
        error,
    };
    match timeout(limit, UnixStream::connect(path)).await {
        Ok(result) => result.map(Stream::Unix).map_err(failed),
        Err(_) => Err(ConnectError::TimedOut {
            address: path.display().to_string(),
            after: limit,
        }),
    }
}

async fn tcp(resolver: &Resolver, worker: &WorkerSpec) -> Result<TcpStream, ConnectError> {
    let unresolved = |error| ConnectError::Resolve {
        host: worker.host.clone(),
        error,
    };
    let end = Instant::now() + worker.connect_timeout;
    let lookup = resolver.lookup(&worker.host, worker.address_ttl);
    let addresses = match timeout(worker.connect_timeout, lookup).await {
        Ok(answer) => answer.map_err(unresolved)?,
        Err(_) => return Err(unresolved(io::ErrorKind::TimedOut.into())),
    };
    let mut failure = None;
    for (tried, &ip) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
        match one(ip, worker, share).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
    }
    resolver.forget(&worker.host);
    Err(failure.unwrap_or_else(|| unresolved(io::Error::other("no address"))))
}

async fn one(ip: IpAddr, worker: &WorkerSpec, within: Duration) -> Result<TcpStream, ConnectError> {
    let address = SocketAddr::new(ip, worker.port);
    let failed = |error| ConnectError::Connect {
        address: address.to_string(),
        error,
    };
    let socket = socket(address, worker).map_err(failed)?;
    match timeout(within, socket.connect(address)).await {
        Ok(Ok(stream)) => {
            // Small messages must not wait for an acknowledgement; a socket
            // that refuses the option still works.
            let _ = stream.set_nodelay(true);
            if worker.keep_alive {
                let _ = SockRef::from(&stream).set_keepalive(true);
            }
            Ok(stream)
        }
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(ConnectError::TimedOut {
            address: address.to_string(),
            after: within,
        }),
    }
}

/// A socket with what has to be set before it connects.
fn socket(address: SocketAddr, worker: &WorkerSpec) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(bytes) = worker.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    match worker.source {
        // An address of the other family cannot be one end of this connection.
        Some(source) if source.is_ipv4() == address.is_ipv4() => {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        _ => {}
    }
    Ok(socket)
}
