//! The record path of TLS behind a handshake, driven by a peer that has the keys and seals whatever it is told to.
//!
//! The peer is rustls for the handshake and this file for the records, so that a record may hold what no sound
//! implementation sends: any type, half a message, padding without content.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce};
use aws_lc_rs::aead::{Algorithm, UnboundKey};
use relais_record::{Handshake, Opened, Progress, RecordError, Records};
use rustls::client::{ClientConnectionData, Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs::{cipher_suite as suites, default_provider};
use rustls::kernel::KernelConnection;
use rustls::pki_types::PrivateKeyDer;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, ConnectionTrafficSecrets, RootCertStore, ServerConfig};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

/// What a peer with the keys does after the handshake. The first byte chooses version, cipher suite and whether the
/// records come byte by byte; each step is a byte that names it, one that counts its bytes, and these.
///
/// # Panics
/// When content arrives that the peer has not sealed, in another order or after an error; when content is missing
/// although the peer has kept to the rules; when more is remembered than a message may be long; when the answer is not
/// one that the peer can open.
pub fn record(data: &[u8]) {
    let Some((&choice, steps)) = data.split_first() else {
        return;
    };
    let suite = &SUITES[usize::from(choice) % SUITES.len()];
    let (records, peer) = connect(suite);
    let mut run = Run {
        records,
        peer,
        is_bytewise: choice & 0x80 != 0,
        wire: Vec::new(),
        told: Vec::new(),
        content: Vec::new(),
        is_fair: true,
    };
    let mut steps = steps;
    while let [step, count, rest @ ..] = steps {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*count)));
        steps = rest;
        run.take(*step, bytes);
        let wire = std::mem::take(&mut run.wire);
        if let Err(error) = run.deliver(&wire) {
            assert!(!run.is_fair, "{error} though the peer kept to the rules");
            return run.fail(error);
        }
        if run.records.opener.is_closed() {
            break;
        }
    }
    assert!(
        !run.is_fair || run.content == run.told,
        "content is missing"
    );
    run.answer();
}

/// A connection between relais and the peer.
struct Run {
    records: Records,
    peer: Peer,
    is_bytewise: bool,
    /// What the peer has sent and relais not yet opened.
    wire: Vec<u8>,
    /// The content of all records that the peer has sealed as content.
    told: Vec<u8>,
    /// The content that has arrived.
    content: Vec<u8>,
    /// Whether the peer has only done what the standards allow.
    is_fair: bool,
}

impl Run {
    fn take(&mut self, step: u8, bytes: &[u8]) {
        let first = bytes.first().copied().unwrap_or_default();
        match step % 8 {
            0 | 1 => self.send_content(bytes, usize::from(step / 8)),
            2 => {
                let kind = if first & 0x80 == 0 {
                    20 + first % 5
                } else {
                    first
                };
                self.is_fair = false;
                if kind == DATA {
                    self.told.extend_from_slice(&bytes[1..]);
                }
                self.peer
                    .seal(kind, bytes.get(1..).unwrap_or_default(), 0, &mut self.wire);
            }
            3 if self.peer.kernel.is_some() => {
                self.peer
                    .seal(HANDSHAKE, &[24, 0, 0, 1, first & 1], 0, &mut self.wire);
                self.peer.renew();
                // Many of them without content between are refused.
                self.send_content(b"k", 0);
            }
            3 | 4 => {
                self.is_fair = false;
                self.peer.seal(HANDSHAKE, bytes, 0, &mut self.wire);
            }
            5 => {
                self.is_fair = false;
                self.wire.extend_from_slice(bytes);
            }
            6 => {
                self.is_fair = false;
                self.send_content(bytes, 0);
                let at = self.wire.len() - 1 - usize::from(first) % self.wire.len();
                self.wire[at] ^= step | 1;
            }
            _ => {
                let length = (usize::from(step / 8) << 10) + usize::from(first);
                self.is_fair &= length <= CONTENT_MAX;
                self.send_content(&vec![step; length], 0);
            }
        }
    }

    /// Content, with zeros behind it where the version has such padding. Records without content are few, if there are
    /// any: too many in a row are refused.
    fn send_content(&mut self, bytes: &[u8], padding: usize) {
        self.is_fair &= !bytes.is_empty();
        self.told.extend_from_slice(bytes);
        self.peer.seal(DATA, bytes, padding, &mut self.wire);
    }

    fn deliver(&mut self, wire: &[u8]) -> Result<(), RecordError> {
        let mut input = std::mem::take(&mut self.wire);
        let step = if self.is_bytewise {
            1
        } else {
            wire.len().max(1)
        };
        for part in wire.chunks(step) {
            input.extend_from_slice(part);
            self.open(&mut input)?;
        }
        self.wire = input;
        Ok(())
    }

    fn open(&mut self, input: &mut Vec<u8>) -> Result<(), RecordError> {
        loop {
            let used = match self.records.opener.open(input, &self.records.control)? {
                Opened::Needs(length) => {
                    assert!(length > input.len() && length <= RECORD_MAX);
                    return Ok(());
                }
                Opened::Content { content, used } => {
                    assert!(!content.is_empty() && content.end <= used);
                    self.content.extend_from_slice(&input[content]);
                    assert!(self.told.starts_with(&self.content), "foreign content");
                    used
                }
                Opened::Quiet { used } => used,
                Opened::Closed { .. } => return Ok(()),
            };
            input.drain(..used);
            assert!(self.records.opener.held() <= HELD_MAX, "too much is held");
        }
    }

    /// What relais sends at the end of a connection that goes well can be opened by the peer.
    fn answer(mut self) {
        let mut out = Vec::new();
        let sealer = &mut self.records.sealer;
        let sealed = sealer.seal(b"answer", &self.records.control, &mut out);
        sealed.expect("the keys are new");
        sealer.close(&mut out);
        let records = self.peer.open_all(&out);
        assert!(records.contains(&(DATA, b"answer".to_vec())));
        assert_eq!(records.last(), Some(&(ALERT, vec![1, 0])));
    }

    /// The alert for the peer, which it can open.
    fn fail(mut self, error: RecordError) {
        let mut out = Vec::new();
        self.records.sealer.fail(error, &mut out);
        let expected = error.alert().map(|alert| (ALERT, vec![2, alert]));
        assert_eq!(self.peer.open_all(&out), Vec::from_iter(expected));
    }
}

/// The client, with the keys of both directions.
struct Peer {
    ours: Key,
    theirs: Key,
    /// Where the next keys come from: TLS 1.3 only.
    kernel: Option<KernelConnection<ClientConnectionData>>,
}

impl Peer {
    fn seal(&mut self, kind: u8, content: &[u8], padding: usize, out: &mut Vec<u8>) {
        self.ours.seal(kind, content, padding, out);
    }

    fn renew(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            let (sequence, secrets) = kernel.update_tx_secret().expect("the next key");
            self.ours = Key::new(&secrets, sequence, true);
        }
    }

    /// The records of `wire`: types and contents.
    fn open_all(&mut self, mut wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut records = Vec::new();
        while let &[_, _, _, high, low, ..] = wire {
            let end = HEAD + usize::from(u16::from_be_bytes([high, low]));
            let (record, rest) = wire.split_at(end);
            wire = rest;
            let (kind, content) = self.theirs.open(record);
            if kind == HANDSHAKE {
                let kernel = self.kernel.as_mut().expect("new keys in TLS 1.3 only");
                let (sequence, secrets) = kernel.update_rx_secret().expect("the next key");
                self.theirs = Key::new(&secrets, sequence, true);
            }
            records.push((kind, content));
        }
        records
    }
}

/// The key of one direction (RFC 8446 §5.2 and 5.3, RFC 5246 §6.2.3.3 with RFC 5288 §3 and RFC 7905 §2).
struct Key {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    is_tls13: bool,
    /// Eight bytes of the nonce are sent.
    is_explicit: bool,
}

impl Key {
    fn new(secrets: &ConnectionTrafficSecrets, sequence: u64, is_tls13: bool) -> Self {
        let (algorithm, key, iv): (&'static Algorithm, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => unreachable!("no such suite is offered"),
        };
        let unbound = UnboundKey::new(algorithm, key.as_ref()).expect("a key of the right length");
        Self {
            key: LessSafeKey::new(unbound),
            iv: iv.as_ref().try_into().expect("twelve bytes"),
            sequence,
            is_tls13,
            is_explicit: !is_tls13 && *algorithm != CHACHA20_POLY1305,
        }
    }

    /// The next record's nonce, and its additional data for a content of this type and length.
    fn next(&mut self, kind: u8, length: usize) -> ([u8; 12], Vec<u8>) {
        let number = self.sequence.to_be_bytes();
        self.sequence += 1;
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(number) {
            *byte ^= number;
        }
        let sent = if self.is_tls13 { length + TAG } else { length };
        let [high, low] = u16::try_from(sent).expect("a record").to_be_bytes();
        let head = [kind, 3, 3, high, low];
        let number: &[u8] = if self.is_tls13 { &[] } else { &number };
        (nonce, [number, &head].concat())
    }

    fn seal(&mut self, kind: u8, content: &[u8], padding: usize, out: &mut Vec<u8>) {
        let mut body = content.to_vec();
        let mut outer = kind;
        if self.is_tls13 {
            body.push(kind);
            body.resize(body.len() + padding, 0);
            outer = DATA;
        }
        let (nonce, additional) = self.next(outer, body.len());
        let explicit: &[u8] = if self.is_explicit { &nonce[4..] } else { &[] };
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(unique, Aad::from(additional), &mut body)
            .expect("a record is sealed");
        let length = u16::try_from(explicit.len() + body.len()).expect("a record");
        let [high, low] = length.to_be_bytes();
        out.extend([outer, 3, 3, high, low]);
        out.extend_from_slice(explicit);
        out.extend(body);
    }

    fn open(&mut self, record: &[u8]) -> (u8, Vec<u8>) {
        let explicit = if self.is_explicit { 8 } else { 0 };
        let mut body = record[HEAD + explicit..].to_vec();
        let (mut nonce, additional) = self.next(record[0], body.len() - TAG);
        if self.is_explicit {
            nonce[4..].copy_from_slice(&record[HEAD..HEAD + explicit]);
        }
        let unique = Nonce::assume_unique_for_key(nonce);
        let opened = self
            .key
            .open_in_place(unique, Aad::from(additional), &mut body)
            .expect("what relais has sealed opens");
        let mut content = opened.to_vec();
        let kind = if self.is_tls13 {
            content.pop().expect("a type")
        } else {
            record[0]
        };
        (kind, content)
    }
}

/// A version and a suite that relais offers, with the configurations of both sides.
struct Suite {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    is_tls13: bool,
}

static SUITES: LazyLock<Vec<Suite>> = LazyLock::new(|| {
    let tls13 = [
        suites::TLS13_AES_128_GCM_SHA256,
        suites::TLS13_AES_256_GCM_SHA384,
        suites::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    let tls12 = [
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    let tls13 = tls13.map(|suite| Suite::new(suite, &version::TLS13, true));
    let tls12 = tls12.map(|suite| Suite::new(suite, &version::TLS12, false));
    tls13.into_iter().chain(tls12).collect()
});

impl Suite {
    fn new(
        suite: SupportedCipherSuite,
        version: &'static SupportedProtocolVersion,
        is_tls13: bool,
    ) -> Self {
        let mut provider = default_provider();
        provider.cipher_suites = vec![suite];
        let provider = Arc::new(provider);
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()])
            .expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let chain = vec![made.cert.der().clone()];
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).expect("a root");
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate with its key");
        server.enable_secret_extraction = true;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        // Every handshake is to be like the first.
        client.resumption = Resumption::disabled();
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
            is_tls13,
        }
    }
}

/// A finished handshake. The tickets that end it have been read by the peer.
fn connect(suite: &Suite) -> (Records, Peer) {
    let name = "a.example".try_into().expect("a name");
    let mut client =
        UnbufferedClientConnection::new(Arc::clone(&suite.client), name).expect("a client");
    let mut server = Handshake::server(Arc::clone(&suite.server)).expect("a server");
    let (mut to_server, mut to_client, mut early) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        turn(&mut client, &mut to_client, &mut to_server);
        let progress = server
            .advance(&mut to_server, &mut to_client, &mut early)
            .expect("a handshake");
        if progress == Progress::Done {
            break;
        }
    }
    turn(&mut client, &mut to_client, &mut to_server);
    let records = server.finish(early).expect("a finished handshake").records;
    let (secrets, kernel) = client
        .dangerous_into_kernel_connection()
        .expect("a finished handshake");
    let peer = Peer {
        ours: Key::new(&secrets.tx.1, secrets.tx.0, suite.is_tls13),
        theirs: Key::new(&secrets.rx.1, secrets.rx.0, suite.is_tls13),
        kernel: suite.is_tls13.then_some(kernel),
    };
    (records, peer)
}

/// Lets the client take what has come and say what it has to.
fn turn(client: &mut UnbufferedClientConnection, input: &mut Vec<u8>, out: &mut Vec<u8>) {
    loop {
        let UnbufferedStatus { discard, state } = client.process_tls_records(input);
        let goes_on = match state.expect("a handshake") {
            ConnectionState::EncodeTlsData(mut data) => {
                let start = out.len();
                out.resize(start + HANDSHAKE_ROOM, 0);
                let written = data.encode(&mut out[start..]).expect("room enough");
                out.truncate(start + written);
                true
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                true
            }
            _ => false,
        };
        input.drain(..discard);
        if !goes_on {
            return;
        }
    }
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
/// Bytes of a record's head.
const HEAD: usize = 5;
/// Bytes of an authentication tag.
const TAG: usize = 16;
/// The most content of one record (RFC 8446 §5.1).
const CONTENT_MAX: usize = 1 << 14;
/// The longest record that may be waited for (RFC 8446 §5.2).
const RECORD_MAX: usize = HEAD + CONTENT_MAX + 256;
/// A message that is put together is at most 32 KiB long; its buffer may have grown to twice that and a record.
const HELD_MAX: usize = 1 << 17;
/// Room for one flight of the client.
const HANDSHAKE_ROOM: usize = 4096;
