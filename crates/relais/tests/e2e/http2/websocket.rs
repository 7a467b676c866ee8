//! WebSockets on streams (RFC 8441), for origins that know HTTP/1.1 alone.

use std::net::{SocketAddr, TcpListener};

use nix::sys::signal::Signal;

use super::clear;
use super::frames::{Client, DATA, END_STREAM, HEADERS, PROTOCOL_ERROR, RST_STREAM, SETTINGS};
use crate::harness::origin::{Origin, Then};
use crate::harness::program::Running;

/// The fields of an extended CONNECT, without a key and a version.
const CONNECT: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/ws/echo"),
    (":authority", "main.example"),
];

/// SETTINGS_ENABLE_CONNECT_PROTOCOL.
const ENABLE: [u8; 6] = [0, 8, 0, 0, 0, 1];

/// A server of tungstenite's that sends messages back.
pub(super) fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut socket = tungstenite::accept(stream).expect("a handshake");
                while let Ok(message) = socket.read() {
                    if message.is_text() || message.is_binary() {
                        let _ = socket.send(message);
                    }
                }
            });
        }
    });
    address
}

/// A text message of a client's, masked with nothing.
fn text(words: &str) -> Vec<u8> {
    let length = u8::try_from(words.len()).expect("a short text") | 0x80;
    [&[0x81, length, 0, 0, 0, 0], words.as_bytes()].concat()
}

fn opened(proxy: &Running) -> Client {
    let mut client = Client::new(proxy);
    client.open(1, &CONNECT);
    let head = client.next(HEADERS).expect("an answer");
    assert_eq!((head.status(), head.ends()), (200, false));
    client
}

/// The content of the next frame with some.
fn content(client: &mut Client) -> Vec<u8> {
    client.next(DATA).expect("content").payload
}

#[test]
fn a_stream_carries_messages_and_its_end() {
    let proxy = clear(
        &format!("http://{}", echo()),
        "LogFormat \"%r %>s %{Upgrade}i %{tunnel-end}x\" ws\nCustomLog DIR/ws.log ws",
    );
    let mut client = opened(&proxy);
    for words in ["hello", "and again"] {
        client.send(DATA, 0, 1, &text(words));
        let expected = [&[0x81, words.len() as u8], words.as_bytes()].concat();
        assert_eq!(content(&mut client), expected);
    }
    // A Close frame, its answer, and both ends of the stream.
    client.send(DATA, 0, 1, &[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]);
    assert_eq!(content(&mut client), [0x88, 2, 3, 0xe8]);
    client.send(DATA, END_STREAM, 1, &[]);
    let end = client.next(DATA).expect("the end");
    assert!(end.ends());
    let line = proxy.log("ws.log", 1).pop().unwrap_or_default();
    assert!(
        line.starts_with("GET /ws/echo HTTP/2.0 101 websocket"),
        "{line}"
    );
    // The connection goes on.
    client.open(3, &CONNECT);
    assert_eq!(client.next(HEADERS).map(|head| head.status()), Some(200));
}

#[test]
fn the_origin_is_asked_as_by_http_1() {
    let origin = Origin::start();
    let rules = "RewriteEngine on\nRewriteCond %{HTTP:Upgrade} =websocket\nRewriteCond %{REQUEST_METHOD} =GET\n\
                 RewriteRule ^/ws/(.*) ws://ORIGIN/chat/$1 [P]"
        .replace("ORIGIN", &origin.address.to_string());
    let proxy = Running::relais(&format!("Protocols h2c http/1.1\n{rules}"));
    let mut client = Client::new(&proxy);
    let more = [
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("origin", "http://a"),
    ];
    client.open(1, &[&CONNECT[..], &more].concat());
    // Without proof of having seen the key, nothing is opened.
    assert_eq!(client.answer(1).map(|(status, _)| status), Ok(502));
    let request = origin.received().pop().expect("a request");
    let request = String::from_utf8_lossy(&request.bytes).into_owned();
    assert!(
        request.starts_with("GET /chat/echo HTTP/1.1\r\n"),
        "{request}"
    );
    for line in [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Origin: http://a",
    ] {
        assert!(
            request.contains(&format!("\r\n{line}\r\n")),
            "{line}: {request}"
        );
    }
    assert!(
        !request.contains("AAAAAAAAAAAAAAAA"),
        "the key is a fresh one: {request}"
    );
}

#[test]
fn what_opens_no_websocket_is_no_success() {
    let origin = Origin::start();
    let proxy = clear(
        &format!("http://{}", origin.address),
        "Alias /file DIR/test.conf",
    );
    let rows: [(&[u8], u16); 5] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 502),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 502),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 502),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
        (b"HTTP/1.1 302 Found\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n", 302),
    ];
    for (reply, status) in rows {
        origin.script([(reply.to_vec(), Then::Close)]);
        let mut client = Client::new(&proxy);
        client.open(1, &CONNECT);
        // What the client sends too early is for nobody.
        client.send(DATA, 0, 1, &text("early"));
        assert_eq!(
            client.answer(1).map(|(status, _)| status),
            Ok(status),
            "{}",
            reply.escape_ascii()
        );
        let request = origin.received().pop().expect("a request");
        assert!(
            request.bytes.ends_with(b"\r\n\r\n"),
            "no content was sent on"
        );
    }
    let mut client = Client::new(&proxy);
    let other = CONNECT.map(|(name, value)| {
        (
            name,
            if name == ":protocol" {
                "webtransport"
            } else {
                value
            },
        )
    });
    client.open(1, &other);
    assert_eq!(client.answer(1).map(|(status, _)| status), Ok(501));
}

#[test]
fn it_can_be_turned_off() {
    for (more, offered) in [("", true), ("H2WebSockets off", false)] {
        let proxy = clear(&format!("http://{}", echo()), more);
        let mut client = Client::new(&proxy);
        let settings = client.next(SETTINGS).expect("settings");
        let found = settings.payload.chunks(6).any(|one| one == ENABLE);
        assert_eq!(found, offered, "{more}");
        client.open(1, &CONNECT);
        if offered {
            assert_eq!(client.next(HEADERS).map(|head| head.status()), Some(200));
        } else {
            let reset = client.next(RST_STREAM).expect("a reset");
            assert_eq!((reset.stream, reset.code()), (1, PROTOCOL_ERROR));
        }
    }
}

#[test]
fn the_table_limits_and_drains_are_those_of_all_tunnels() {
    let proxy = clear(
        &format!("http://{}", echo()),
        "MaxTunnels 1\nTunnelMaxMessageSize 100 client",
    );
    let mut client = opened(&proxy);
    client.send(DATA, 0, 1, &text("hello"));
    content(&mut client);
    let listed = said(&proxy, &["tunnels"]);
    assert!(listed.contains("h2"), "{listed}");
    client.open(3, &CONNECT);
    assert_eq!(client.answer(3).map(|(status, _)| status), Ok(503));
    // A message that is too long ends the tunnel with 1009 (RFC 6455 §7.4.1).
    client.send(DATA, 0, 1, &text(&"x".repeat(120)));
    assert_eq!(content(&mut client)[..4], [0x88, 2, 3, 0xf1]);
}

#[test]
fn a_drain_says_goodbye() {
    let proxy = clear(&format!("http://{}", echo()), "");
    let mut client = opened(&proxy);
    said(&proxy, &["tunnels", "drain", "--all", "--spread", "0"]);
    let close = content(&mut client);
    assert_eq!(close[0], 0x88, "{close:?}");
}

#[test]
fn a_reload_tells_the_client_to_go_and_drops_no_tunnel() {
    let proxy = clear(&format!("http://{}", echo()), "KeepAliveTimeout 1");
    let mut client = opened(&proxy);
    proxy.signal(Signal::SIGUSR1);
    assert_eq!(client.goaway(), Some(0));
    // Longer than a connection without streams would be left open.
    for _ in 0..4 {
        client.send(DATA, 0, 1, &text("still here"));
        assert_eq!(content(&mut client)[2..], *b"still here");
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    client.send(DATA, 0, 1, &[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]);
    assert_eq!(content(&mut client), [0x88, 2, 3, 0xe8]);
    client.send(DATA, END_STREAM, 1, &[]);
    assert!(
        client.conn.is_ended(),
        "the last stream ends the connection"
    );
}

#[test]
fn a_reset_ends_the_origin_s_side_and_the_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    let ended = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let mut socket = tungstenite::accept(stream).expect("a handshake");
        socket.read().is_err()
    });
    let proxy = clear(&format!("http://{address}"), "");
    let mut client = opened(&proxy);
    client.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    assert!(ended.join().expect("the origin"));
    assert_eq!(proxy.access_log(1).len(), 1);
}

/// What a subcommand of relais says about a running one.
fn said(proxy: &Running, command: &[&str]) -> String {
    let output = proxy.site.run(command);
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
