//! Records against rustls' own: both versions, every split, key updates in the middle of a message, both kinds of end.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use relais_record::{Handshake, Opened, Progress, RecordError, Records};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, version};

/// A finished handshake: our server's records and rustls' client.
fn pair(tls13: bool) -> (Records, ClientConnection) {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let versions: &[_] = if tls13 {
        &[&version::TLS13]
    } else {
        &[&version::TLS12]
    };
    let server = ServerConfig::builder_with_protocol_versions(versions).with_no_client_auth();
    let mut server = server
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.enable_secret_extraction = true;
    let client = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "a.example".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut handshake = Handshake::server(Arc::new(server)).unwrap();
    let (mut incoming, mut outgoing, mut early) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        while client.wants_write() {
            client.write_tls(&mut incoming).unwrap();
        }
        let progress = handshake
            .advance(&mut incoming, &mut outgoing, &mut early)
            .unwrap();
        feed(&mut client, &outgoing);
        outgoing.clear();
        if progress == Progress::Done {
            break;
        }
    }
    assert!(incoming.is_empty() && early.is_empty());
    (handshake.finish(early).unwrap().records, client)
}

fn feed(client: &mut ClientConnection, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets().unwrap();
    }
}

fn sent(client: &mut ClientConnection) -> Vec<u8> {
    let mut out = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut out).unwrap();
    }
    out
}

fn received(client: &mut ClientConnection, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    client.reader().read_exact(&mut out).unwrap();
    out
}

/// Opens all whole records of `input` and leaves the rest.
fn open(
    records: &mut Records,
    input: &mut Vec<u8>,
    content: &mut Vec<u8>,
) -> Result<bool, RecordError> {
    loop {
        match records.opener.open(input, &records.control)? {
            Opened::Needs(_) => return Ok(false),
            Opened::Closed { .. } => return Ok(true),
            Opened::Quiet { used } => drop(input.drain(..used)),
            Opened::Content { content: at, used } => {
                content.extend_from_slice(&input[at]);
                input.drain(..used);
            }
        }
    }
}

#[test]
fn every_split_gives_the_same_content_and_the_end_is_told() {
    for tls13 in [true, false] {
        let (mut records, mut client) = pair(tls13);
        client.writer().write_all(b"hello").unwrap();
        client.writer().write_all(&[7; 300]).unwrap();
        client.send_close_notify();
        let bytes = sent(&mut client);
        let (mut input, mut content, mut closed) = (Vec::new(), Vec::new(), false);
        for byte in bytes {
            assert!(!closed);
            input.push(byte);
            closed = open(&mut records, &mut input, &mut content).unwrap();
        }
        assert!(closed && records.opener.is_closed());
        assert_eq!(content, [&b"hello"[..], &[7; 300]].concat());
        let mut out = Vec::new();
        records
            .sealer
            .seal(&[9; 15_000], &records.control, &mut out)
            .unwrap();
        records.sealer.close(&mut out);
        feed(&mut client, &out);
        assert_eq!(received(&mut client, 15_000), [9; 15_000]);
        assert_eq!(client.reader().read(&mut [0]).unwrap(), 0, "a clean end");
    }
}

#[test]
fn keys_change_in_the_middle_of_a_message() {
    let (mut records, mut client) = pair(true);
    let (mut input, mut content) = (Vec::new(), Vec::new());
    for part in [&b"one "[..], b"two "] {
        client.writer().write_all(part).unwrap();
        client.refresh_traffic_keys().unwrap();
    }
    client.writer().write_all(b"three").unwrap();
    input.extend(sent(&mut client));
    assert!(!open(&mut records, &mut input, &mut content).unwrap());
    assert_eq!(content, b"one two three");
    assert!(
        records.control.has_answer(),
        "the peer asked for our new keys"
    );
    let mut out = Vec::new();
    records
        .sealer
        .seal(b"answer", &records.control, &mut out)
        .unwrap();
    records
        .sealer
        .seal(b" more", &records.control, &mut out)
        .unwrap();
    feed(&mut client, &out);
    assert_eq!(received(&mut client, 11), b"answer more");
}

#[test]
fn what_was_changed_on_the_way_ends_the_connection() {
    for tls13 in [true, false] {
        for position in 0..40 {
            let (mut records, mut client) = pair(tls13);
            client.writer().write_all(&[1; 20]).unwrap();
            let mut input = sent(&mut client);
            let Some(byte) = input.get_mut(position) else {
                break;
            };
            *byte ^= 0x55;
            let mut content = Vec::new();
            let result = open(&mut records, &mut input, &mut content);
            assert!(content.is_empty(), "{position}");
            // A length that grew waits for bytes that never come.
            assert!(
                result.is_err() || matches!(position, 3 | 4),
                "{position}: {result:?}"
            );
        }
    }
}
