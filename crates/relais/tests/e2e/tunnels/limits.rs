//! mod_tunnel's directives, each where it may stand: what both sides hear, and what the log says of the end.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::program::Running;
use crate::harness::wire::{Conn, Kind, status};
use crate::harness::{PATIENCE, eventually};
use crate::origins::{HANDSHAKE, message, origin_behind};

/// What the log says of a tunnel: its end, the first Close frame's code, and breaches of the protocol.
const ENDS: &str = "LogFormat \"%{tunnel-end}x %{tunnel-close-code}x %{tunnel-violations-in}x\" ends\n\
    CustomLog DIR/ends.log ends\n";

/// The places in which directives of tunnels may stand.
const PLACES: [&str; 3] = [
    "DIRECTIVES\nProxyPass /ws ws://ORIGIN/ws",
    "<VirtualHost LISTEN>\nServerName app.example\nDIRECTIVES\nProxyPass /ws ws://ORIGIN/ws\n</VirtualHost>",
    "ProxyPass /ws ws://ORIGIN/ws\n<Location /ws>\nDIRECTIVES\n</Location>",
];

/// An open tunnel and the program around it.
struct Site {
    proxy: Running,
    listener: TcpListener,
    client: Conn,
    origin: Conn,
}

impl Site {
    fn new(place: &str, directives: &str) -> Self {
        let (listener, proxy) = origin_behind(&format!(
            "{ENDS}{}",
            place.replace("DIRECTIVES", directives)
        ));
        let (client, origin) = super::open(&listener, &proxy, "/ws/x");
        Self {
            proxy,
            listener,
            client,
            origin,
        }
    }

    /// Lets go of both sides and gives the line of the log.
    fn end(self) -> String {
        drop((self.client, self.origin));
        self.proxy.log("ends.log", 1).concat()
    }
}

/// One way to be ended.
struct Row {
    directives: &'static str,
    /// What the peers do.
    act: fn(&mut Site),
    /// The code that the client hears, and the origin.
    codes: [u16; 2],
    logged: &'static str,
}

fn nothing(_: &mut Site) {}

/// Eleven bytes of payload from the client, where ten are allowed.
fn large_from_client(site: &mut Site) {
    site.client.send(b"\x81\x8b\0\0\0\0hello world");
}

fn large_from_origin(site: &mut Site) {
    site.origin.send(b"\x81\x0bhello world");
}

/// Two fragments, each of which is small enough.
fn large_in_parts(site: &mut Site) {
    site.client.send(b"\x01\x86\0\0\0\0hello ");
    assert_eq!(site.origin.exactly(12).len(), 12);
    site.client.send(b"\x80\x85\0\0\0\0world");
}

fn many(site: &mut Site) {
    site.client.send(&b"\x81\x81\0\0\0\0!".repeat(4));
}

/// A frame of a kind that nobody has defined.
fn unknown_opcode(site: &mut Site) {
    site.client.send(b"\x83\x80\0\0\0\0");
}

fn half_close(site: &mut Site) {
    site.client.finish();
}

/// What relais ends, both sides hear with a code.
const ROWS: &[Row] = &[
    Row {
        directives: "TunnelIdleTimeout 500ms",
        act: nothing,
        codes: [1001, 1001],
        logged: "idle 1001 0",
    },
    Row {
        directives: "TunnelMaxLifetime 500ms",
        act: nothing,
        codes: [1001, 1001],
        logged: "lifetime 1001 0",
    },
    Row {
        directives: "TunnelMaxMessageSize 10",
        act: large_from_client,
        codes: [1009, 1001],
        logged: "limit-message-size 1009 0",
    },
    Row {
        directives: "TunnelMaxMessageSize 10",
        act: large_in_parts,
        // The origin is within a message, where a Close frame may stand (RFC 6455 section 5.4).
        codes: [1009, 1001],
        logged: "limit-message-size 1009 0",
    },
    Row {
        directives: "TunnelMaxMessageSize 10 origin",
        act: large_from_origin,
        codes: [1011, 1009],
        logged: "limit-message-size 1009 0",
    },
    Row {
        directives: "TunnelMaxFrameSize 10",
        act: large_from_client,
        codes: [1009, 1001],
        logged: "limit-frame-size 1009 0",
    },
    Row {
        directives: "TunnelMessageRate 1 2",
        act: many,
        codes: [1008, 1001],
        logged: "limit-message-rate 1008 0",
    },
    Row {
        directives: "TunnelOnViolation close",
        act: unknown_opcode,
        codes: [1002, 1001],
        logged: "protocol-error 1002 1",
    },
];

#[test]
fn a_limit_ends_a_tunnel_with_codes_and_a_name() {
    for place in PLACES {
        for row in ROWS {
            let name = format!("{} in\n{place}", row.directives);
            let mut site = Site::new(place, row.directives);
            (row.act)(&mut site);
            let to_client = close_code(&site.client.rest());
            let to_origin = close_code(&site.origin.rest());
            assert_eq!([to_client, to_origin], row.codes.map(Some), "{name}");
            assert_eq!(site.end(), row.logged, "{name}");
        }
    }
}

/// The code of the Close frame at the end of a stream.
fn close_code(stream: &[u8]) -> Option<u16> {
    let (head, code) = match stream {
        [.., first, 0x02, high, low] if *first == 0x88 => (*first, [*high, *low]),
        [.., first, 0x82, a, b, _, _, high, low] => (*first, [high ^ a, low ^ b]),
        _ => return None,
    };
    (head == 0x88).then(|| u16::from_be_bytes(code))
}

#[test]
fn a_breach_of_the_protocol_passes_and_is_counted() {
    for place in PLACES {
        let mut site = Site::new(place, "TunnelOnViolation pass");
        unknown_opcode(&mut site);
        assert_eq!(site.origin.exactly(6), b"\x83\x80\0\0\0\0");
        super::passes(&mut site.client, &mut site.origin);
        assert_eq!(site.end(), "client-close - 1");
    }
}

#[test]
fn half_a_tunnel_ends_in_time() {
    for place in PLACES {
        let mut site = Site::new(place, "TunnelHalfCloseTimeout 500ms");
        half_close(&mut site);
        assert_eq!(site.origin.rest(), b"", "the end is passed on");
        assert_eq!(close_code(&site.client.rest()), Some(1001));
        assert_eq!(site.end(), "half-close-timeout 1001 0");
    }
}

#[test]
fn without_half_close_the_first_end_is_the_end() {
    for (variable, both) in [("", false), ("SetEnv proxy-nohalfclose 1", true)] {
        let mut site = Site::new(PLACES[2], variable);
        half_close(&mut site);
        assert_eq!(site.origin.rest(), b"");
        site.origin.send(b"\x81\x01?");
        let expected: &[u8] = if both { b"" } else { b"\x81\x01?" };
        site.client.patience(if both {
            PATIENCE
        } else {
            Duration::from_secs(2)
        });
        assert_eq!(site.client.exactly(3), expected, "{variable}");
        assert_eq!(site.end(), "client-close - 0");
    }
}

#[test]
fn a_side_that_takes_nothing_is_let_go() {
    for place in PLACES {
        let site = Site::new(place, "TunnelWriteTimeout 1");
        let mut stream = site.origin.stream();
        let frame = [&b"\x82\x7f\0\0\0\0\0\x01\0\0"[..], &[b'x'; 65_536]].concat();
        while std::io::Write::write_all(&mut stream, &frame).is_ok() {}
        assert!(site.end().starts_with("client-stall "), "{place}");
    }
}

#[test]
fn bytes_are_paced_and_none_is_lost() {
    for place in PLACES {
        let mut site = Site::new(place, "TunnelByteRate 2K 1K");
        let frame = [&b"\x82\xfe\x0c\0\0\0\0\0"[..], &[b'x'; 3072]].concat();
        let begun = Instant::now();
        site.client.send(&frame);
        assert!(site.origin.exactly(frame.len()) == frame);
        // The last of them waits until those before it are paid for: more than two thirds of a second.
        super::passes(&mut site.client, &mut site.origin);
        assert!(begun.elapsed() > Duration::from_millis(600), "{place}");
        assert_eq!(site.end(), "client-close - 0");
    }
}

#[test]
fn a_client_that_does_not_answer_a_ping_is_gone() {
    for place in PLACES {
        let mut site = Site::new(place, "TunnelPing 500ms");
        assert_eq!(site.client.exactly(2), b"\x89\x00");
        site.client.send(b"\x8a\x80\0\0\0\0");
        assert_eq!(
            site.origin.exactly(6),
            b"\x8a\x80\0\0\0\0",
            "the Pong goes on"
        );
        assert_eq!(
            site.client.exactly(2),
            b"\x89\x00",
            "and the next Ping comes"
        );
        assert_eq!(close_code(&site.client.rest()), Some(1001));
        assert_eq!(site.end(), "ping-timeout 1001 0");
    }
}

#[test]
fn so_many_tunnels_and_no_more() {
    // In the main server it holds for all hosts, in a virtual host for that one.
    for (place, directives) in [
        (PLACES[0], "MaxTunnels 2"),
        (PLACES[1], "MaxTunnels 2"),
        (PLACES[0], "MaxTunnelsPerClient 2"),
        (PLACES[1], "MaxTunnelsPerClient 2"),
    ] {
        let mut site = Site::new(place, directives);
        let _second = super::open(&site.listener, &site.proxy, "/ws/x");
        assert_eq!(ask(&site.proxy, ""), 503, "{directives}");
        let reason = directives.split(' ').next().expect("a name");
        assert!(site.proxy.says(&format!("{reason} is reached")));
        super::passes(&mut site.client, &mut site.origin);
        drop((site.client, site.origin));
        assert!(eventually(|| {
            let mut client = site.proxy.connect();
            client.send(&message(HANDSHAKE));
            client.patience(Duration::from_millis(500));
            // A handshake that is let through waits for its origin.
            client.head().is_none()
        }));
    }
}

/// The status for a handshake with one more field, where it is refused.
fn ask(proxy: &Running, field: &str) -> u16 {
    let mut client = proxy.connect();
    let request = HANDSHAKE.replacen("\n\n", &format!("\n{field}\n"), 1);
    client.send(&message(&request.replace("\n\n\n", "\n\n")));
    status(&client.message(Kind::Response))
}

#[test]
fn pages_of_others_open_no_tunnels() {
    for place in PLACES {
        for (directives, origin, refused) in [
            ("TunnelOrigin same", "http://evil.example", true),
            ("TunnelOrigin same", "http://app.example", false),
            (
                "TunnelOrigin deny chat.example",
                "https://app.example",
                true,
            ),
            (
                "TunnelOrigin deny chat.example",
                "https://chat.example",
                false,
            ),
            (
                "TunnelOrigin log chat.example",
                "https://app.example",
                false,
            ),
        ] {
            let body = place.replace("DIRECTIVES", directives);
            let (listener, proxy) = origin_behind(&body);
            let field = format!("Origin: {origin}\n");
            if refused {
                assert_eq!(ask(&proxy, &field), 403, "{directives} {origin}");
                assert!(proxy.says(&format!("no tunnels for pages of {origin}")));
                continue;
            }
            let mut client = proxy.connect();
            client.send(&message(&HANDSHAKE.replacen(
                "\n\n",
                &format!("\n{field}\n"),
                1,
            )));
            let mut peer = crate::origins::accepted(&listener);
            assert!(peer.head().is_some(), "{directives} {origin}");
            if directives.contains("log") {
                assert!(proxy.says(&format!("no tunnels for pages of {origin}")));
            }
        }
    }
}

#[test]
fn a_drain_has_a_pace() {
    for place in PLACES {
        let mut site = Site::new(place, "TunnelDrainWindow 0\nTunnelDrainRate 4");
        let mut others: Vec<_> = (0..4)
            .map(|_| super::open(&site.listener, &site.proxy, "/ws/x"))
            .collect();
        let begun = Instant::now();
        site.proxy.control("graceful-stop");
        for (client, _) in &mut others {
            assert_eq!(close_code(&client.rest()), Some(1012), "{place}");
        }
        assert_eq!(close_code(&site.client.rest()), Some(1012));
        // Each engine has its part of the rate, so that five take a second over all of them.
        assert!(
            begun.elapsed() > Duration::from_millis(450),
            "{:?} {place}",
            begun.elapsed()
        );
    }
}
