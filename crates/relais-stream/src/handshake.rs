//! Handshakes over a socket.

use std::io;
use std::sync::Arc;

use relais_record::{ClientName, Established, Handshake, Hello, Progress};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, Error, ProtocolVersion, ServerConfig, SupportedCipherSuite};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::tls::TlsStream;

/// Room for one read of a handshake.
const ROOM: usize = 4 * 1024;

/// The first byte of a TLS handshake record (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// Why there is no encrypted connection.
#[derive(Debug)]
pub enum Failure {
    /// The socket failed, or the peer has gone.
    Io(io::Error),
    /// TLS failed; the peer was told.
    Tls(Error),
    /// The client does not speak TLS; these are its first bytes.
    Plain(TcpStream, Vec<u8>),
    /// No host with TLS answers.
    NoHost,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the peer closed the connection during the TLS handshake")
            }
            Self::Io(error) => write!(f, "{error}"),
            Self::Tls(error) => write!(f, "{error}"),
            Self::Plain(..) => f.write_str("the client does not speak TLS"),
            Self::NoHost => f.write_str("no virtual host with TLS answers"),
        }
    }
}

/// What a handshake has settled besides the keys.
#[derive(Debug)]
pub struct Settled {
    /// The host that a client asked for, lower case.
    pub name: Option<String>,
    /// TLS 1.2 or 1.3.
    pub version: ProtocolVersion,
    /// The cipher suite.
    pub suite: SupportedCipherSuite,
    /// The application protocol, if one was agreed on.
    pub alpn: Option<Vec<u8>>,
    /// Whether an earlier session was taken up again.
    pub resumed: bool,
    /// The peer's certificates, its own first.
    pub peer: Vec<CertificateDer<'static>>,
}

/// The server's side: `choose` gives the configuration for the name that the
/// client asks for.
///
/// # Errors
/// When the handshake fails, or the client does not speak TLS.
pub async fn accept(
    mut tcp: TcpStream,
    choose: impl FnOnce(&ClientName) -> Option<Arc<ServerConfig>>,
) -> Result<(TlsStream, Settled), Failure> {
    let mut hello = Hello::default();
    let mut incoming = Vec::with_capacity(ROOM);
    let client = loop {
        let before = incoming.len();
        read_more(&mut tcp, &mut incoming).await?;
        if incoming.first() != Some(&HANDSHAKE) {
            return Err(Failure::Plain(tcp, incoming));
        }
        match hello.read(&incoming[before..]) {
            Ok(Some(client)) => break client,
            Ok(None) => {}
            Err((error, alert)) => {
                let _ = tcp.write_all(&alert).await;
                return Err(Failure::Tls(error));
            }
        }
    };
    let config = choose(&client).ok_or(Failure::NoHost)?;
    let handshake = Handshake::server(config).map_err(Failure::Tls)?;
    run(tcp, handshake, incoming, client.name).await
}

/// The client's side.
///
/// # Errors
/// When the handshake fails.
pub async fn connect(
    tcp: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<(TlsStream, Settled), Failure> {
    let handshake = Handshake::client(config, name).map_err(Failure::Tls)?;
    run(tcp, handshake, Vec::with_capacity(ROOM), None).await
}

async fn run(
    mut tcp: TcpStream,
    mut handshake: Handshake,
    mut incoming: Vec<u8>,
    name: Option<String>,
) -> Result<(TlsStream, Settled), Failure> {
    let (mut outgoing, mut early) = (Vec::new(), Vec::new());
    loop {
        let progress = handshake.advance(&mut incoming, &mut outgoing, &mut early);
        // The alert that tells the peer of a failure is worth one try.
        let written = tcp.write_all(&outgoing).await;
        outgoing.clear();
        match progress.map_err(Failure::Tls)? {
            Progress::Done => {
                written?;
                break;
            }
            Progress::Reads => {
                written?;
                read_more(&mut tcp, &mut incoming).await?;
            }
        }
    }
    let established = handshake.finish(early).map_err(Failure::Tls)?;
    let Established {
        records,
        version,
        suite,
        alpn,
        resumed,
        peer,
        early,
    } = established;
    let settled = Settled {
        name,
        version,
        suite,
        alpn,
        resumed,
        peer,
    };
    Ok((TlsStream::new(tcp, records, early, &incoming), settled))
}

async fn read_more(tcp: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<()> {
    into.reserve(ROOM);
    match tcp.read_buf(into).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
