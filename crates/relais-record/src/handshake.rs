//! The handshake: rustls' unbuffered connection, driven until it is done.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    ClientConfig, CommonState, Error, HandshakeKind, ProtocolVersion, ServerConfig,
    SupportedCipherSuite,
};

use crate::records::{Kernel, Records};

/// A connection whose keys are still being agreed on. Its configuration must
/// allow the extraction of secrets (`enable_secret_extraction`).
pub struct Handshake(Side);

enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// How far a handshake is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// More bytes of the peer are needed.
    Reads,
    /// It is over; what there is to send is still to be sent.
    Done,
}

/// What a handshake has settled.
pub struct Established {
    /// Both directions' keys.
    pub records: Records,
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
    /// Content that came along with the peer's last message.
    pub early: Vec<u8>,
}

impl Handshake {
    /// The server's side.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config).map(|inner| Self(Side::Server(Box::new(inner))))
    }

    /// The client's side.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        UnbufferedClientConnection::new(config, name)
            .map(|inner| Self(Side::Client(Box::new(inner))))
    }

    /// Takes what it can of `incoming`, appends what is to be sent to
    /// `outgoing` and content to `early`.
    ///
    /// # Errors
    /// The handshake has failed; `outgoing` holds the alert for the peer.
    pub fn advance(
        &mut self,
        incoming: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
        early: &mut Vec<u8>,
    ) -> Result<Progress, Error> {
        match &mut self.0 {
            Side::Server(inner) => drive(&mut **inner, incoming, outgoing, early),
            Side::Client(inner) => drive(&mut **inner, incoming, outgoing, early),
        }
    }

    /// What was settled, after [`Progress::Done`].
    ///
    /// # Errors
    /// When the handshake is not over.
    pub fn finish(self, early: Vec<u8>) -> Result<Established, Error> {
        match self.0 {
            Side::Server(inner) => {
                let facts = Facts::of(&inner)?;
                let (secrets, kernel) = inner.dangerous_into_kernel_connection()?;
                facts.establish(&secrets, Kernel::Server(Box::new(kernel)), early)
            }
            Side::Client(inner) => {
                let facts = Facts::of(&inner)?;
                let (secrets, kernel) = inner.dangerous_into_kernel_connection()?;
                facts.establish(&secrets, Kernel::Client(Box::new(kernel)), early)
            }
        }
    }
}

struct Facts {
    version: ProtocolVersion,
    suite: SupportedCipherSuite,
    alpn: Option<Vec<u8>>,
    resumed: bool,
    peer: Vec<CertificateDer<'static>>,
}

impl Facts {
    fn of(state: &CommonState) -> Result<Self, Error> {
        Ok(Self {
            version: state
                .protocol_version()
                .ok_or(Error::HandshakeNotComplete)?,
            suite: state
                .negotiated_cipher_suite()
                .ok_or(Error::HandshakeNotComplete)?,
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            peer: state.peer_certificates().unwrap_or_default().to_vec(),
        })
    }

    fn establish(
        self,
        secrets: &rustls::ExtractedSecrets,
        kernel: Kernel,
        early: Vec<u8>,
    ) -> Result<Established, Error> {
        let tls13 = self.version == ProtocolVersion::TLSv1_3;
        let records = Records::new(secrets, tls13.then_some(kernel))
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Established {
            records,
            version: self.version,
            suite: self.suite,
            alpn: self.alpn,
            resumed: self.resumed,
            peer: self.peer,
            early,
        })
    }
}

/// The one call that differs between the two sides.
trait Process {
    type Data;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Process for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Process for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

fn drive<P: Process>(
    inner: &mut P,
    incoming: &mut Vec<u8>,
    outgoing: &mut Vec<u8>,
    early: &mut Vec<u8>,
) -> Result<Progress, Error> {
    let mut failure = None;
    loop {
        let UnbufferedStatus { discard, state } = inner.process(incoming);
        let progress = match state {
            Err(error) if failure.is_none() => {
                // The next call gives the alert, if there is one to send.
                failure = Some(error);
                None
            }
            Err(_) => return Err(failure.unwrap_or(Error::HandshakeNotComplete)),
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(outgoing, |room| data.encode(room))?;
                None
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                None
            }
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                let mut used = 0;
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    used += record.discard;
                    early.extend_from_slice(record.payload);
                }
                discard_front(incoming, discard + used);
                continue;
            }
            Ok(ConnectionState::BlockedHandshake) => Some(Progress::Reads),
            Ok(ConnectionState::WriteTraffic(_)) => Some(Progress::Done),
            Ok(_) => {
                // A close before the first byte of content is none to serve.
                discard_front(incoming, discard);
                return Err(Error::AlertReceived(rustls::AlertDescription::CloseNotify));
            }
        };
        discard_front(incoming, discard);
        match (progress, &failure) {
            (None, _) => {}
            (Some(_), Some(error)) => return Err(error.clone()),
            (Some(progress), None) => return Ok(progress),
        }
    }
}

/// Appends what `write` gives, with as much room as it asks for.
fn encode(
    outgoing: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), Error> {
    let start = outgoing.len();
    let needed = match write(&mut []) {
        Ok(_) => return Ok(()),
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Err(EncodeError::AlreadyEncoded) => return Ok(()),
    };
    outgoing.resize(start + needed, 0);
    let written = write(&mut outgoing[start..])
        .map_err(|error| Error::General(format!("a handshake message is lost: {error}")))?;
    outgoing.truncate(start + written);
    Ok(())
}

fn discard_front(bytes: &mut Vec<u8>, count: usize) {
    if count > 0 {
        bytes.drain(..count.min(bytes.len()));
    }
}
