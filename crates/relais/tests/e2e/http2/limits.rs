//! What a client may not do: floods, slow windows, large heads (CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316,
//! CVE-2025-8671). After each of them others are served as before.

use std::io::Write;
use std::time::Duration;

use super::clear;
use super::frames::{
    ACK, CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use crate::harness::origin::{Origin, Then};
use crate::harness::program::Running;

/// Frames of a flood.
const FLOOD: usize = 20_000;

fn started(more: &str) -> (Origin, Running) {
    let origin = Origin::start();
    let proxy = clear(&format!("http://{}", origin.address), more);
    (origin, proxy)
}

/// Sends bytes as fast as they are taken; what is not taken any more does not matter.
fn flood(client: &Client, bytes: &[u8]) {
    let mut stream = client.conn.stream();
    for part in bytes.chunks(64 * 1024) {
        if stream.write_all(part).is_err() {
            return;
        }
    }
}

#[test]
fn floods_of_frames_end_the_connection_and_nothing_else() {
    let (_origin, proxy) = started("");
    let reset = |stream| {
        [
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                stream,
                &block(&get("/", &[])),
            ),
            frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
        ]
        .concat()
    };
    let streams = (0..2000).map(|number| 2 * number + 1);
    let open = frame(HEADERS, END_HEADERS, 1, &block(&get("/", &[])));
    let begun = frame(HEADERS, 0, 1, &block(&get("/", &[])));
    let floods: [(&str, Vec<u8>, u32); 8] = [
        (
            "PING",
            frame(PING, 0, 0, &[0; 8]).repeat(FLOOD),
            ENHANCE_YOUR_CALM,
        ),
        (
            "PING answers",
            frame(PING, ACK, 0, &[0; 8]).repeat(FLOOD),
            ENHANCE_YOUR_CALM,
        ),
        (
            "SETTINGS",
            frame(SETTINGS, 0, 0, &[]).repeat(FLOOD),
            ENHANCE_YOUR_CALM,
        ),
        (
            "PRIORITY",
            frame(2, 0, 1, &[0, 0, 0, 3, 9]).repeat(FLOOD),
            ENHANCE_YOUR_CALM,
        ),
        (
            "unknown frames",
            frame(0x77, 0, 0, b"x").repeat(FLOOD),
            ENHANCE_YOUR_CALM,
        ),
        (
            "empty DATA",
            [open, frame(DATA, 0, 1, &[]).repeat(FLOOD)].concat(),
            ENHANCE_YOUR_CALM,
        ),
        (
            "CONTINUATION",
            [begun, frame(CONTINUATION, 0, 1, &[]).repeat(FLOOD)].concat(),
            ENHANCE_YOUR_CALM,
        ),
        (
            "rapid reset",
            streams.flat_map(reset).collect(),
            ENHANCE_YOUR_CALM,
        ),
    ];
    let before = proxy.resident_kib();
    for (name, bytes, code) in floods {
        let mut client = Client::new(&proxy);
        flood(&client, &bytes);
        assert_eq!(client.goaway(), Some(code), "{name}");
        let mut other = Client::new(&proxy);
        other.request(1, &get("/", &[]));
        assert_eq!(other.answer(1).map(|(status, _)| status), Ok(200), "{name}");
    }
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more than before the floods");
}

#[test]
fn errors_of_the_client_s_are_counted() {
    let (_origin, proxy) = started("H2MaxStreamErrors 5");
    let mut client = Client::new(&proxy);
    for number in 0..20 {
        // A field of a connection makes a request malformed (RFC 9113 §8.2.2).
        client.request(2 * number + 1, &get("/", &[("connection", "close")]));
    }
    assert_eq!(client.goaway(), Some(ENHANCE_YOUR_CALM));
}

#[test]
fn a_header_list_without_end_costs_no_memory() {
    let (origin, proxy) = started("");
    let mut client = Client::new(&proxy);
    let crumbs: Vec<(&str, &str)> = (0..100_000).map(|_| ("cookie", "a")).collect();
    let bytes = block(&crumbs);
    let mut frames = frame(HEADERS, END_STREAM, 1, &block(&get("/", &[])));
    for part in bytes.chunks(16_000) {
        frames.extend_from_slice(&frame(CONTINUATION, 0, 1, part));
    }
    frames.extend_from_slice(&frame(CONTINUATION, END_HEADERS, 1, &[]));
    let before = proxy.resident_kib();
    flood(&client, &frames);
    let answer = client.answer(1).map(|(status, _)| status);
    assert!(matches!(answer, Ok(431) | Err(_)), "{answer:?}");
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB");
    assert!(origin.received().is_empty());
}

#[test]
fn a_client_that_opens_no_window_is_left() {
    let (origin, proxy) = started("H2StreamTimeout 1");
    let body = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_vec(),
        vec![b'x'; 1_000_000],
    ];
    origin.script([(body.concat(), Then::Keep)]);
    let mut client = Client::with(&proxy, &[(4, 0)]);
    client.request(1, &get("/", &[]));
    assert_eq!(client.next(HEADERS).map(|head| head.status()), Some(200));
    let reset = client.next(RST_STREAM).expect("a reset");
    assert_eq!(reset.stream, 1);
    let line = proxy.access_log(1).pop().unwrap_or_default();
    assert!(line.contains("\"GET / HTTP/2.0\" 200"), "{line}");
}

#[test]
fn a_client_that_reads_nothing_is_left() {
    let (origin, proxy) = started("Timeout 1");
    let body = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 64000000\r\n\r\n".to_vec(),
        vec![b'x'; 64_000_000],
    ];
    origin.script([(body.concat(), Then::Keep)]);
    let most = 0x7fff_ffff_u32 - 65_535;
    let mut client = Client::with(&proxy, &[(4, most)]);
    client.send(WINDOW_UPDATE, 0, 0, &most.to_be_bytes());
    client.request(1, &get("/", &[]));
    // The request ends by itself, and with what the sockets hold is the end of the connection.
    let line = proxy.access_log(1).pop().unwrap_or_default();
    assert!(line.contains("\"GET / HTTP/2.0\" 200"), "{line}");
    std::thread::sleep(Duration::from_secs(3));
    assert!(client.conn.is_ended());
    assert!(proxy.resident_kib() < 64 * 1024);
}

#[test]
fn uploads_go_at_the_pace_of_the_origin() {
    // An origin that takes the head and nothing of the body.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    let held = std::thread::spawn(move || listener.accept().map(|(stream, _)| stream));
    let proxy = clear(&format!("http://{address}"), "");
    let mut client = Client::new(&proxy);
    let post = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ];
    client.open(1, &post);
    client.patience(Duration::from_secs(3));
    let (mut window, mut sent) = (65_535_usize, 0);
    // No more than the client's window, what the sockets between hold, and a buffer of relais'.
    while sent < 64 << 20 {
        while window >= 16_000 {
            client.send(DATA, 0, 1, &[b'x'; 16_000]);
            (window, sent) = (window - 16_000, sent + 16_000);
        }
        loop {
            match client.next(WINDOW_UPDATE) {
                Some(update) if update.stream == 1 => {
                    window +=
                        u32::from_be_bytes(update.payload.try_into().expect("four bytes")) as usize;
                    break;
                }
                Some(_) => {}
                None => {
                    let _origin = held.join();
                    assert!(proxy.resident_kib() < 64 * 1024);
                    return;
                }
            }
        }
    }
    panic!("{sent} bytes were taken for an origin that reads none");
}

#[test]
fn no_more_streams_than_allowed_are_served_at_once() {
    let (origin, proxy) = started("H2MaxSessionStreams 3");
    origin.script((0..3).map(|_| {
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n".to_vec(),
            Then::Silence,
        )
    }));
    let mut client = Client::new(&proxy);
    for stream in [1, 3, 5, 7] {
        client.request(stream, &get("/", &[]));
    }
    let refused = client.next(RST_STREAM).expect("a reset");
    // RFC 9113 §5.1.2.
    assert_eq!((refused.stream, refused.code()), (7, 7));
}

#[test]
fn an_idle_connection_is_told_to_go() {
    let (_origin, proxy) = started("KeepAliveTimeout 1");
    let mut client = Client::new(&proxy);
    client.request(1, &get("/", &[]));
    assert_eq!(client.answer(1).map(|(status, _)| status), Ok(200));
    assert_eq!(client.goaway(), Some(0));
    assert!(client.conn.is_ended());
}
