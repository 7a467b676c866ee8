//! What a request becomes, and what an answer becomes (RFC 9113 §8).

use super::clear;
use super::frames::{
    Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PROTOCOL_ERROR, RST_STREAM, block, get,
};
use crate::harness::eventually;
use crate::harness::origin::{Origin, Then};
use crate::harness::program::Running;
use nix::sys::signal::Signal;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The fields of a request.
type Fields<'a> = Vec<(&'a str, &'a str)>;

/// A status and content, or the code of a reset.
type Outcome<'a> = Result<(u16, &'a [u8]), u32>;

fn started(more: &str) -> (Origin, Running) {
    let origin = Origin::with(|_| OK.to_vec());
    let proxy = clear(&format!("http://{}", origin.address), more);
    (origin, proxy)
}

fn last(origin: &Origin) -> String {
    let request = origin.received().pop().expect("a request");
    String::from_utf8_lossy(&request.bytes).into_owned()
}

#[test]
fn a_request_leaves_as_one_of_http_1() {
    let (origin, proxy) = started("RequestHeader set X-Stream \"%{H2_STREAM_ID}e\"");
    let mut client = Client::new(&proxy);
    let fields = [
        ("x-some-name", "1"),
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("cookie", "b=2"),
    ];
    client.request(1, &get("/page?q", &fields));
    assert_eq!(client.answer(1), Ok((200, b"ok".to_vec())));
    let request = last(&origin);
    assert!(request.starts_with("GET /page?q HTTP/1.1\r\n"), "{request}");
    for line in ["X-Some-Name: 1", "Cookie: a=1; b=2", "X-Stream: 1"] {
        assert!(
            request.contains(&format!("\r\n{line}\r\n")),
            "{line}: {request}"
        );
    }
    assert!(
        !request.to_ascii_lowercase().contains("\r\nte:"),
        "{request}"
    );
    let line = proxy.access_log(1).pop().unwrap_or_default();
    assert!(line.starts_with("\"GET /page?q HTTP/2.0\" 200 2"), "{line}");
}

#[test]
fn bodies_have_a_length_or_are_chunked_with_their_trailers() {
    let (origin, proxy) = started("");
    let mut client = Client::new(&proxy);
    let post = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ];
    client.open(1, &[&post[..], &[("content-length", "5")]].concat());
    client.send(DATA, 0, 1, b"hel");
    client.send(DATA, END_STREAM, 1, b"lo");
    assert_eq!(client.answer(1), Ok((200, b"ok".to_vec())));
    let request = last(&origin);
    assert!(request.contains("\r\nContent-Length: 5\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\nhello"), "{request}");
    client.open(3, &post);
    client.send(DATA, 0, 3, b"hello");
    let trailers = block(&[("x-sum", "9"), ("host", "evil")]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 3, &trailers);
    assert_eq!(client.answer(3), Ok((200, b"ok".to_vec())));
    let request = last(&origin);
    assert!(
        request.contains("\r\nTransfer-Encoding: chunked\r\n"),
        "{request}"
    );
    assert!(
        request.contains("hello\r\n0\r\nx-sum: 9\r\n\r\n"),
        "{request}"
    );
}

#[test]
fn malformed_requests_are_reset_or_refused_and_reach_nobody() {
    let (origin, proxy) = started("LimitRequestFieldSize 200\nLimitRequestFields 10");
    let long = "x".repeat(300);
    let many: Vec<(&str, &str)> = (0..20).map(|_| ("cookie", "a=1")).collect();
    let method = |method| {
        vec![
            (":method", method),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
        ]
    };
    let rows: [(Fields<'_>, Result<u16, u32>); 13] = [
        (get("/", &[("connection", "close")]), Err(PROTOCOL_ERROR)),
        (
            get("/", &[("transfer-encoding", "chunked")]),
            Err(PROTOCOL_ERROR),
        ),
        (get("/", &[("te", "gzip")]), Err(PROTOCOL_ERROR)),
        (get("/", &[("X-Upper", "1")]), Err(PROTOCOL_ERROR)),
        (get("/", &[("x-a", "b\r\nx-c: d")]), Err(PROTOCOL_ERROR)),
        (get("/", &[("content-length", "3")]), Err(PROTOCOL_ERROR)),
        (get("/ HTTP/1.1\r\nx: y", &[]), Err(PROTOCOL_ERROR)),
        (method("GET /x HTTP/1.1\r\nHost:"), Err(PROTOCOL_ERROR)),
        (get("/", &[("host", "other.example")]), Ok(400)),
        (get("/", &[("x-long", &long)]), Ok(431)),
        (get("/", &many), Ok(431)),
        (
            vec![(":method", "CONNECT"), (":authority", "a:443")],
            Ok(405),
        ),
        (
            vec![(":method", "GET"), (":scheme", "http"), (":path", "/")],
            Ok(400),
        ),
    ];
    for (fields, expected) in rows {
        let mut client = Client::new(&proxy);
        client.request(1, &fields);
        let answer = client.answer(1).map(|(status, _)| status);
        assert_eq!(answer, expected, "{fields:?}");
    }
    assert!(origin.received().is_empty());
}

#[test]
fn answers_without_content_end_with_their_head_and_lengths_hold() {
    let (origin, proxy) = started("");
    let rows: [(&str, &[u8], Outcome<'_>); 5] = [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Ok((200, b""))),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", Ok((204, b""))),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Ok((304, b""))),
        (
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n",
            Ok((200, b"ab")),
        ),
        // Less than was promised is no whole answer.
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", Err(2)),
    ];
    for (method, reply, expected) in rows {
        origin.script([(reply.to_vec(), Then::Close)]);
        let mut client = Client::new(&proxy);
        let fields = [
            (":method", method),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
        ];
        client.request(1, &fields);
        let expected = expected.map(|(status, content)| (status, content.to_vec()));
        assert_eq!(
            client.answer(1),
            expected,
            "{method} {}",
            reply.escape_ascii()
        );
    }
}

#[test]
fn trailers_follow_the_content() {
    let (origin, proxy) = started("");
    let reply =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n";
    origin.script([(reply.to_vec(), Then::Keep)]);
    let mut client = Client::new(&proxy);
    client.request(1, &get("/", &[]));
    let data = client.next(DATA).expect("content");
    assert_eq!((data.payload.as_slice(), data.ends()), (&b"ab"[..], false));
    assert!(client.next(HEADERS).expect("trailers").ends());
}

#[test]
fn failures_have_the_statuses_of_http_1() {
    let origin = Origin::start();
    let dead = crate::harness::program::dead_address();
    let proxy = clear(
        &format!("http://{}", origin.address),
        &format!("Timeout 1\nProxyPass /dead http://{dead}/"),
    );
    let answer = |path: &str| {
        let mut client = Client::new(&proxy);
        client.request(1, &get(path, &[]));
        client.answer(1).map(|(status, _)| status)
    };
    assert_eq!(answer("/dead"), Ok(503));
    for (reply, then, status) in [
        (&b""[..], Then::Close, 502),
        (b"no HTTP at all\r\n\r\n", Then::Close, 502),
        (b"HTTP/1.1 200", Then::Silence, 504),
    ] {
        origin.script([(reply.to_vec(), then)]);
        assert_eq!(answer("/x"), Ok(status), "{}", reply.escape_ascii());
    }
    // A body that does not come.
    let mut client = Client::new(&proxy);
    let post = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ];
    client.open(1, &post);
    client.send(DATA, 0, 1, b"some of it");
    assert_eq!(client.answer(1).map(|(status, _)| status), Ok(408));
}

#[test]
fn a_stream_that_the_client_resets_ends_its_connection_to_the_origin() {
    let (origin, proxy) = started("");
    origin.script([(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab".to_vec(),
        Then::Silence,
    )]);
    let mut client = Client::new(&proxy);
    client.request(1, &get("/", &[]));
    client.next(DATA).expect("the beginning");
    client.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    let line = proxy.access_log(1).pop().unwrap_or_default();
    assert!(line.contains("200 2"), "the request is logged: {line}");
    client.request(3, &get("/", &[]));
    assert_eq!(client.answer(3), Ok((200, b"ok".to_vec())));
    let connections: Vec<usize> = origin.received().iter().map(|one| one.connection).collect();
    assert_eq!(
        connections,
        [0, 1],
        "the first connection is not used again"
    );
}

#[test]
fn a_reload_and_a_stop_let_streams_finish() {
    for signal in [Signal::SIGUSR1, Signal::SIGWINCH] {
        let (origin, proxy) = started("");
        let slow = b"HTTP/1.1 200 OK\r\nX: 1\r\nX: 2\r\nX: 3\r\nX: 4\r\nX: 5\r\nX: 6\r\nX: 7\r\nX: 8\r\nContent-Length: 2\r\n\r\nok";
        origin.script([(slow.to_vec(), Then::Slow)]);
        let mut client = Client::new(&proxy);
        client.request(1, &get("/", &[]));
        assert!(eventually(|| !origin.received().is_empty()));
        proxy.signal(signal);
        let (mut told, mut status) = (false, 0);
        while let Some(frame) = client.frame() {
            match frame.kind {
                GOAWAY => {
                    assert_eq!(frame.code(), 0);
                    told = true;
                }
                // The PING that comes with a graceful GOAWAY.
                6 if frame.flags == 0 => client.send(6, 1, 0, &frame.payload),
                HEADERS => status = frame.status(),
                _ => {}
            }
        }
        assert!(told && status == 200, "{signal}: {told} {status}");
    }
}

#[test]
fn early_hints_pass_where_they_are_wanted() {
    for (more, hinted) in [("", false), ("H2EarlyHints on", true)] {
        let (origin, proxy) = started(&format!("{more}\nSetEnv proxy-interim-response RFC"));
        let reply = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        origin.script([(reply.to_vec(), Then::Keep)]);
        let mut client = Client::new(&proxy);
        client.request(1, &get("/", &[]));
        let mut statuses = Vec::new();
        loop {
            let head = client.next(HEADERS).expect("a head");
            statuses.push(head.status());
            if head.ends() {
                break;
            }
        }
        let expected: &[u16] = if hinted { &[103, 200] } else { &[200] };
        assert_eq!(statuses, expected, "{more}");
    }
}
