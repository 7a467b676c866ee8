//! Worker parameters on the wire: Unix sockets, limits, pings, and connections that an origin has closed.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use crate::harness::origin::{Origin, Then};
use crate::harness::program::Running;
use crate::harness::wire::{Kind, status};
use crate::origins::{ACCEPTED, HANDSHAKE, message};

const PLAIN: &str = "GET /x HTTP/1.1\nHost: app.example\n\n";

#[test]
fn a_unix_socket_is_an_origin_for_http_and_for_tunnels() {
    let proxy = Running::relais(
        "ProxyPass /ws unix:DIR/origin.sock|ws://localhost/ws\n\
         ProxyPass / unix:DIR/origin.sock|http://localhost/",
    );
    let mut client = proxy.connect();
    client.send(&message(PLAIN));
    assert_eq!(
        status(&client.message(Kind::Response)),
        503,
        "no socket yet"
    );
    assert!(proxy.says("origin.sock"), "the log names the socket");
    let listener = UnixListener::bind(proxy.site.dir.join("origin.sock")).expect("listen");
    let path = proxy.site.dir.join("origin.sock");
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(path, everyone).expect("let relais connect");
    let origin = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let head = read_head(&mut stream);
        assert!(
            head.starts_with("GET /x HTTP/1.1\r\nHost: localhost\r\n"),
            "{head}"
        );
        stream
            .write_all(&message("HTTP/1.1 200 OK\nContent-Length: 0\n\n"))
            .expect("answer");
        let (mut tunnel, _) = listener.accept().expect("the handshake's connection");
        read_head(&mut tunnel);
        tunnel.write_all(&message(ACCEPTED)).expect("switch");
        let mut bytes = [0; 6];
        tunnel.read_exact(&mut bytes).expect("a frame");
        tunnel.write_all(b"\x81\x00").expect("a frame back");
    });
    let mut client = proxy.connect();
    client.send(&message(PLAIN));
    assert_eq!(status(&client.message(Kind::Response)), 200);
    client.send(&message(HANDSHAKE));
    assert_eq!(status(&client.head().expect("the 101")), 101);
    client.send(b"\x81\x80abcd");
    assert_eq!(client.exactly(2), b"\x81\x00");
    origin.join().expect("the origin saw what it should");
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

#[test]
fn more_requests_than_max_wait_no_longer_than_acquire() {
    let origin = Origin::start();
    let proxy = Running::relais(&format!(
        "ProxyPass / http://{}/ max=1 acquire=300",
        origin.address
    ));
    origin.script([(Vec::new(), Then::Silence)]);
    let mut first = proxy.connect();
    first.send(&message(PLAIN));
    assert!(crate::harness::eventually(|| origin.received().len() == 1));
    let mut second = proxy.connect();
    second.send(&message(PLAIN));
    assert_eq!(status(&second.message(Kind::Response)), 503);
    assert!(proxy.says("acquire"));
    assert_eq!(origin.received().len(), 1, "no second connection was made");
    drop(first);
}

#[test]
fn an_origin_that_answers_no_ping_is_tried_twice_and_gets_no_body() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    let proxy = Running::relais(&format!("ProxyPass / http://{address}/ ping=200ms"));
    let mut client = proxy.connect();
    client.send(&message(
        "POST /x HTTP/1.1\nHost: app.example\nContent-Length: 4\n\nbody",
    ));
    let mut silent = Vec::new();
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().expect("a try");
        let head = read_head(&mut stream);
        assert!(head.contains("\r\nExpect: 100-Continue\r\n"), "{head}");
        silent.push(stream);
    }
    assert_eq!(status(&client.message(Kind::Response)), 503);
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"", "no body went to an origin that does not answer");
    }
    let mut client = proxy.connect();
    client.send(&message(
        "POST /x HTTP/1.1\nHost: app.example\nContent-Length: 4\n\nbody",
    ));
    let (mut stream, _) = listener.accept().expect("a try");
    read_head(&mut stream);
    let answer = message("HTTP/1.1 100 Continue\n\n");
    stream.write_all(&answer).expect("continue");
    let mut body = [0; 4];
    stream.read_exact(&mut body).expect("the body");
    assert_eq!(&body, b"body");
    let answer = message("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    stream.write_all(&answer).expect("answer");
    let answer = client.message(Kind::Response);
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "no unasked 100");
}

/// A POST on a connection that the origin closes while the request is on its way may have been acted on.
#[test]
fn a_request_that_may_have_been_acted_on_is_not_sent_twice() {
    let origin = Origin::start();
    let proxy = Running::relais(&format!("ProxyPass / http://{}/", origin.address));
    for (request, expected, times) in [
        ("GET /x HTTP/1.1\nHost: a\n\n", 200, 3),
        ("POST /x HTTP/1.1\nHost: a\nContent-Length: 1\n\nb", 502, 2),
    ] {
        let ok = message("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
        origin.script([(ok, Then::Keep), (Vec::new(), Then::Close)]);
        let mut client = proxy.connect();
        client.send(&message(PLAIN));
        assert_eq!(status(&client.message(Kind::Response)), 200);
        client.send(&message(request));
        assert_eq!(
            status(&client.message(Kind::Response)),
            expected,
            "{request}"
        );
        assert_eq!(origin.received().len(), times, "{request}");
    }
}

#[test]
fn an_origins_errors_make_room_for_our_own() {
    let origin = Origin::start();
    let proxy = Running::relais(&format!(
        "<Location /all>\nProxyErrorOverride On\n</Location>\n\
         <Location /some>\nProxyErrorOverride On 404 500\n</Location>\nProxyPass / http://{}/",
        origin.address
    ));
    // The target, the origin's status, and whether the client gets our page.
    let rows = [
        ("/all", 404, true),
        ("/all", 401, true),
        ("/all", 302, false),
        ("/some", 500, true),
        ("/some", 503, false),
        ("/none", 404, false),
    ];
    for (target, code, ours) in rows {
        let answer = format!(
            "HTTP/1.1 {code} Theirs\nWWW-Authenticate: Basic realm=x\nContent-Length: 6\n\ntheirs"
        );
        origin.script([(message(&answer), Then::Keep)]);
        let mut client = proxy.connect();
        client.send(&message(&PLAIN.replace("/x", target)));
        let answer = client.message(Kind::Response);
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(status(&answer), code, "{target} {code}");
        assert_eq!(!text.contains("theirs"), ours, "{target} {code}: {text}");
        assert!(text.contains("WWW-Authenticate") || code != 401, "{text}");
    }
}

#[test]
fn a_line_without_a_colon_is_an_error_or_left_out() {
    let origin = Origin::start();
    let answer = message("HTTP/1.1 200 OK\nContent-Length: 2\nno colon here\nX-Next: 1\n\nok");
    for (setting, expected) in [("IsError", 502), ("Ignore", 200)] {
        let proxy = Running::relais(&format!(
            "ProxyBadHeader {setting}\nProxyPass / http://{}/",
            origin.address
        ));
        origin.script([(answer.clone(), Then::Keep)]);
        let mut client = proxy.connect();
        client.send(&message(PLAIN));
        let answer = client.message(Kind::Response);
        assert_eq!(status(&answer), expected, "{setting}");
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(!text.contains("no colon"), "{text}");
        assert_eq!(text.contains("X-Next: 1"), expected == 200, "{text}");
    }
}

#[test]
fn relais_tells_a_client_to_go_on_by_itself() {
    let origin = Origin::start();
    let proxy = Running::relais(&format!(
        "Proxy100Continue Off\nProxyPass / http://{}/",
        origin.address
    ));
    let mut client = proxy.connect();
    client.send(&message(
        "POST /x HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 4\n\n",
    ));
    let interim = client.head().expect("an interim response");
    assert_eq!(status(&interim), 100);
    client.send(b"body");
    assert_eq!(status(&client.message(Kind::Response)), 200);
    let request = String::from_utf8_lossy(&origin.received()[0].bytes).into_owned();
    assert!(!request.contains("Expect"), "{request}");
    assert!(request.ends_with("body"), "{request}");
}
