//! Where two readers could disagree on what a byte belongs to.

use std::time::Duration;

use crate::harness::PATIENCE;
use crate::harness::program::Running;
use crate::harness::wire::{Kind, field, status};
use crate::origins::{HANDSHAKE, accepted, message, origin_behind};

#[test]
fn an_answer_without_content_has_none() {
    let proxy = Running::relais(
        "RewriteEngine On\nRewriteRule ^/none - [R=204]\nRewriteRule ^/same /x [R=304]\n\
         RewriteRule ^/reset - [R=205]",
    );
    for (target, expected) in [("/none", 204), ("/same", 304), ("/reset", 205)] {
        let mut client = proxy.connect();
        let two = format!(
            "GET {target} HTTP/1.1\nHost: a\n\nGET /gone HTTP/1.1\nHost: a\nConnection: close\n\n"
        );
        client.send(&message(&two));
        let first = client.head().expect("the answer");
        assert_eq!(status(&first), expected, "{target}");
        let length = field(&first, "content-length");
        assert!(matches!(length.as_deref(), None | Some("0")), "{target}");
        assert_eq!(status(&client.message(Kind::Response)), 404, "{target}");
    }
}

#[test]
fn a_body_behind_an_unasked_101_is_no_request() {
    let (listener, proxy) = origin_behind("ProxyPass / http://ORIGIN/");
    let mut client = proxy.connect();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = format!(
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        smuggled.len()
    );
    client.send(head.as_bytes());
    let mut origin = accepted(&listener);
    origin.head().expect("the request");
    origin.send(&message(
        "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: x\n\n",
    ));
    let answer = client.message(Kind::Response);
    assert_eq!(status(&answer), 502);
    assert_eq!(field(&answer, "connection").as_deref(), Some("close"));
    client.send(smuggled.as_bytes());
    assert_eq!(client.rest(), b"", "the body was read as a request");
}

#[test]
fn an_origin_may_not_choose_a_protocol_that_the_rule_does_not_name() {
    let (listener, proxy) = origin_behind("ProxyPass / http://ORIGIN/ upgrade=websocket");
    for (answered, expected) in [("h2c", 502), ("websocket", 101)] {
        let mut client = proxy.connect();
        client.send(&message(
            &HANDSHAKE.replace("websocket\n", "websocket, h2c\n"),
        ));
        let mut origin = accepted(&listener);
        origin.head().expect("the handshake");
        origin.send(&message(&format!(
            "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: {answered}\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n\n"
        )));
        assert_eq!(
            status(&client.head().expect("an answer")),
            expected,
            "{answered}"
        );
    }
}

#[test]
fn the_origins_time_does_not_run_while_the_client_sends() {
    let (listener, proxy) = origin_behind("Timeout 10\nProxyPass / http://ORIGIN/ timeout=1");
    let mut client = proxy.connect();
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    let mut origin = accepted(&listener);
    origin.patience(PATIENCE);
    origin.head().expect("the request");
    for byte in [b"a", b"b", b"c", b"d"] {
        std::thread::sleep(Duration::from_millis(500));
        client.send(byte);
    }
    assert_eq!(origin.exactly(4), b"abcd");
    origin.send(&message("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"));
    assert_eq!(status(&client.message(Kind::Response)), 200);
}

#[test]
fn a_bad_key_opens_no_tunnel() {
    let (listener, proxy) = origin_behind("ProxyPass / ws://ORIGIN/");
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
    let rows = [
        ("short", "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\n".to_owned()),
        ("repeated", key.repeat(2)),
        (
            "no base64",
            "Sec-WebSocket-Key: ????????????????????????\n".to_owned(),
        ),
    ];
    listener
        .set_nonblocking(true)
        .expect("look without waiting");
    for (what, keys) in rows {
        let mut client = proxy.connect();
        client.send(&message(&HANDSHAKE.replace(key, &keys)));
        assert_eq!(status(&client.message(Kind::Response)), 400, "{what}");
        assert!(listener.accept().is_err(), "{what}: the origin was asked");
    }
}

#[test]
fn trailers_of_a_request_arrive_but_those_that_could_be_taken_for_fields() {
    let (listener, proxy) = origin_behind("ProxyPass / http://ORIGIN/");
    let mut client = proxy.connect();
    client.send(&message(
        "POST /x HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\nhello\n0\nX-Sum: 1\nHost: evil\n\n",
    ));
    let mut origin = accepted(&listener);
    let head = origin.head().expect("the request");
    assert_eq!(
        field(&head, "transfer-encoding").as_deref(),
        Some("chunked")
    );
    let body = message("5\nhello\n0\nX-Sum: 1\n\n");
    assert_eq!(origin.exactly(body.len()), body);
    origin.send(&message("HTTP/1.1 204 No Content\n\n"));
    assert_eq!(status(&client.message(Kind::Response)), 204);
    client.send(&message("GET /next HTTP/1.1\nHost: a\n\n"));
    let next = origin
        .head()
        .expect("the next request on the same connection");
    assert!(next.starts_with(b"GET /next HTTP/1.1\r\n"));
}
