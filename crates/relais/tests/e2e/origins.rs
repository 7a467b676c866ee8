//! Origins that are down, slow or wrong, and clients that do not wait.

use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::harness::PATIENCE;
use crate::harness::origin::{Origin, Then};
use crate::harness::program::{Running, dead_address};
use crate::harness::wire::{Conn, Kind, field, status};

/// A handshake with the key of RFC 6455 section 1.3.
pub(crate) const HANDSHAKE: &str = "GET /ws/x HTTP/1.1\nHost: app.example\nConnection: Upgrade\nUpgrade: websocket\n\
    Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n";

/// The right answer to [`HANDSHAKE`].
pub(crate) const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n\n";

/// A message with the line ends of HTTP.
pub(crate) fn message(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

#[test]
fn a_failing_origin_has_its_status() {
    let origin = Origin::start();
    let proxy = Running::relais(&format!(
        "Timeout 1\nProxyPass /dead http://{dead}/\nProxyPass /wsdead ws://{dead}/\n\
         ProxyPass /ws ws://{live}/ws\nProxyPass / http://{live}/",
        dead = dead_address(),
        live = origin.address,
    ));
    let wrong_accept = ACCEPTED.replace("s3pP", "AAAA");
    // The request target, what the origin does, the status, and what the error log says of it at least.
    let rows: [(&str, &str, Then, u16, &str); 8] = [
        ("/dead/x", "", Then::Silence, 503, "127.0.0.9"),
        ("/wsdead/x", "", Then::Silence, 503, "127.0.0.9"),
        ("/silent", "", Then::Silence, 504, ""),
        ("/ws/silent", "", Then::Silence, 504, ""),
        ("/gone", "", Then::Close, 502, ""),
        ("/ws/gone", "", Then::Close, 502, ""),
        (
            "/ws/accept",
            &wrong_accept,
            Then::Silence,
            502,
            "Sec-WebSocket-Accept",
        ),
        ("/garbage", "this is not HTTP\n\n", Then::Close, 502, ""),
    ];
    for (target, reply, then, expected, logged) in rows {
        origin.script([(message(reply), then)]);
        let mut client = proxy.connect();
        let request = if target.starts_with("/ws") {
            HANDSHAKE.replace("/ws/x", target)
        } else {
            PLAIN.replace("/x", target)
        };
        client.send(&message(&request));
        let answer = client.message(Kind::Response);
        assert_eq!(
            status(&answer),
            expected,
            "{target}: {}",
            String::from_utf8_lossy(&answer)
        );
        assert!(
            proxy.says(logged),
            "{target}: {logged} is not in the error log"
        );
    }
}

#[test]
fn bytes_behind_the_handshake_wait_for_the_101() {
    let (listener, proxy) = own_origin();
    let mut client = proxy.connect();
    client.send(&[&message(HANDSHAKE)[..], b"\x81\x80abcd"].concat());
    let mut origin = accepted(&listener);
    let head = origin.head().expect("the handshake");
    assert!(head.starts_with(b"GET /ws/x HTTP/1.1\r\n"));
    origin.patience(Duration::from_millis(300));
    assert_eq!(
        origin.exactly(1),
        b"",
        "the client's bytes came before the 101"
    );
    origin.patience(PATIENCE);
    origin.send(&message(ACCEPTED));
    assert_eq!(origin.exactly(6), b"\x81\x80abcd");
    assert_eq!(status(&client.head().expect("the 101")), 101);
}

#[test]
fn bytes_behind_a_refused_handshake_are_the_next_request() {
    let (listener, proxy) = own_origin();
    let mut client = proxy.connect();
    client.send(
        &[
            message(HANDSHAKE),
            message(&PLAIN.replace("/x", "/ws/next")),
        ]
        .concat(),
    );
    let mut origin = accepted(&listener);
    origin.head().expect("the handshake");
    origin.patience(Duration::from_millis(300));
    assert_eq!(
        origin.exactly(1),
        b"",
        "the next request came before the answer"
    );
    origin.patience(PATIENCE);
    origin.send(&message(
        "HTTP/1.1 403 Forbidden\nContent-Length: 0\nConnection: close\n\n",
    ));
    origin.finish();
    assert_eq!(status(&client.message(Kind::Response)), 403);
    let mut origin = accepted(&listener);
    let next = origin.head().expect("the next request");
    assert!(
        next.starts_with(b"GET /ws/next HTTP/1.1\r\n"),
        "{}",
        String::from_utf8_lossy(&next)
    );
    assert_eq!(field(&next, "upgrade"), None);
    origin.send(&message("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"));
    assert!(client.message(Kind::Response).ends_with(b"\r\n\r\nok"));
}

#[test]
fn a_reader_that_stops_does_not_fill_the_memory() {
    let (listener, proxy) = own_origin();
    let mut client = proxy.connect();
    client.send(&message(HANDSHAKE));
    let mut origin = accepted(&listener);
    origin.head().expect("the handshake");
    origin.send(&message(ACCEPTED));
    assert_eq!(status(&client.head().expect("the 101")), 101);
    let before = proxy.resident_kib();
    let sent = flood(&mut origin, 1 << 30);
    assert!(
        sent < 64 << 20,
        "{sent} bytes went to a client that reads nothing"
    );
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more for one tunnel");
    origin.finish();
    client.patience(PATIENCE);
    let arrived = client.rest().len();
    assert_eq!(
        arrived, sent,
        "what the kernel took arrives when the client reads on"
    );
}

/// Sends binary frames of 64 KiB until the peer takes nothing for a second, at most `limit` bytes. Returns the number
/// of bytes that were taken.
fn flood(origin: &mut Conn, limit: usize) -> usize {
    let mut frame = b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00".to_vec();
    frame.resize(frame.len() + (64 << 10), b'x');
    let mut stream = origin.stream();
    stream
        .set_write_timeout(Some(Duration::from_secs(1)))
        .expect("set the write timeout");
    let mut sent = 0;
    while sent < limit {
        match stream.write(&frame[sent % frame.len()..]) {
            Ok(length) => sent += length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => panic!("the tunnel broke: {error}"),
        }
    }
    sent
}

fn own_origin() -> (TcpListener, Running) {
    origin_behind("ProxyPass /ws ws://ORIGIN/ws")
}

/// A listener for a test that plays the origin itself, and relais in front of it.
pub(crate) fn origin_behind(configuration: &str) -> (TcpListener, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen as the origin");
    let address = listener.local_addr().expect("the origin's address");
    let proxy = Running::relais(&configuration.replace("ORIGIN", &address.to_string()));
    (listener, proxy)
}

pub(crate) fn accepted(listener: &TcpListener) -> Conn {
    Conn::new(listener.accept().expect("a connection from relais").0)
}

/// A plain request.
const PLAIN: &str = "GET /x HTTP/1.1\nHost: app.example\n\n";
