//! A peer that speaks TLS: rustls' own buffered connection, which shares no code with the records under test.

use std::io::Read as _;
use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use relais_record::{Handshake, Progress, TlsParts};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion, version,
};

/// The versions of TLS that relais speaks.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

const NAME: &str = "a.example";

static IDENTITY: LazyLock<(CertificateDer<'static>, Vec<u8>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    (made.cert.der().clone(), made.signing_key.serialize_der())
});

/// The far end of an encrypted socket.
pub(crate) struct Peer(Connection);

/// How the content for a peer ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// It goes on.
    Open,
    /// A close_notify came.
    Notified,
    /// The connection failed, with an alert or otherwise.
    Failed(rustls::Error),
}

impl Peer {
    /// A client, and relais' end of its connection.
    pub(crate) fn client(version: &'static SupportedProtocolVersion) -> (Self, TlsParts) {
        let name = NAME.try_into().unwrap();
        let client = ClientConnection::new(client_config(version), name).unwrap();
        let ours = Handshake::server(server_config(version)).unwrap();
        Self::meet(Connection::Client(client), ours)
    }

    /// An origin, and relais' end of its connection. In TLS 1.3 it sends tickets behind the handshake.
    pub(crate) fn origin(version: &'static SupportedProtocolVersion) -> (Self, TlsParts) {
        let name = NAME.try_into().unwrap();
        let ours = Handshake::client(client_config(version), name).unwrap();
        let server = ServerConnection::new(server_config(version)).unwrap();
        Self::meet(Connection::Server(server), ours)
    }

    fn meet(peer: Connection, mut ours: Handshake) -> (Self, TlsParts) {
        let mut peer = Self(peer);
        let (mut incoming, mut outgoing, mut early) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let progress = ours
                .advance(&mut incoming, &mut outgoing, &mut early)
                .unwrap();
            assert_eq!(peer.hear(&outgoing), (Vec::new(), End::Open));
            outgoing.clear();
            if progress == Progress::Done {
                break;
            }
            incoming.extend(peer.sends());
        }
        assert!(!peer.0.is_handshaking() && early.is_empty());
        let parts = TlsParts {
            records: ours.finish(early).unwrap().records,
            content: Vec::new(),
            sealed: incoming,
            unsent: Vec::new(),
        };
        (peer, parts)
    }

    /// Says `content`, to be sent in records of its own.
    pub(crate) fn say(&mut self, content: &[u8]) {
        self.0.writer().write_all(content).unwrap();
    }

    /// Changes its keys, and asks for the same of us.
    pub(crate) fn update_keys(&mut self) {
        self.0.refresh_traffic_keys().unwrap();
    }

    /// Ends its content.
    pub(crate) fn notify(&mut self) {
        self.0.send_close_notify();
    }

    /// The bytes that it sends now.
    pub(crate) fn sends(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut out).unwrap();
        }
        out
    }

    /// Hears what it is sent: the content, and how it ended.
    pub(crate) fn hear(&mut self, mut bytes: &[u8]) -> (Vec<u8>, End) {
        let mut content = Vec::new();
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes).unwrap();
            match self.0.process_new_packets() {
                Err(error) => return (content, End::Failed(error)),
                Ok(state) => {
                    let start = content.len();
                    content.resize(start + state.plaintext_bytes_to_read(), 0);
                    self.0.reader().read_exact(&mut content[start..]).unwrap();
                    if state.peer_has_closed() {
                        assert!(bytes.is_empty(), "nothing follows a close_notify");
                        return (content, End::Notified);
                    }
                }
            }
        }
        (content, End::Open)
    }
}

fn server_config(version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    let (certificate, key) = &*IDENTITY;
    let key = PrivateKeyDer::Pkcs8(key.clone().into());
    let builder = ServerConfig::builder_with_protocol_versions(&[version]).with_no_client_auth();
    let mut config = builder
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.enable_secret_extraction = true;
    Arc::new(config)
}

fn client_config(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(IDENTITY.0.clone()).unwrap();
    let mut config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    Arc::new(config)
}
