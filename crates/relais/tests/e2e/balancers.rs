//! Balancers on the wire: turns, sessions, failover, tunnels that count, and what a reload keeps.

use nix::sys::signal::Signal;

use crate::harness::origin::{Origin, Then};
use crate::harness::program::{Running, dead_address};
use crate::harness::wire::{Kind, field, status};
use crate::origins::{ACCEPTED, HANDSHAKE, message};

/// Two origins that say who they are, and a configuration in which `A` and `B` stand for their addresses.
fn start(config: &str) -> (Origin, Origin, Running) {
    let a = Origin::with(|_| message("HTTP/1.1 200 OK\nX-Origin: a\nContent-Length: 0\n\n"));
    let b = Origin::with(|_| message("HTTP/1.1 200 OK\nX-Origin: b\nContent-Length: 0\n\n"));
    let proxy = Running::relais(&fill_in(config, &a, &b));
    (a, b, proxy)
}

fn fill_in(config: &str, a: &Origin, b: &Origin) -> String {
    let (a, b) = (a.address.to_string(), b.address.to_string());
    config.replace("ORIGIN_A", &a).replace("ORIGIN_B", &b)
}

/// Who answers requests that come one after the other on one connection, with a status where nobody does.
fn answers(proxy: &Running, request: &str, count: usize) -> String {
    let mut out = String::new();
    for _ in 0..count {
        let mut client = proxy.connect();
        client.send(&message(request));
        let answer = client.message(Kind::Response);
        out += &field(&answer, "x-origin").unwrap_or_else(|| status(&answer).to_string());
    }
    out
}

const PLAIN: &str = "GET /x HTTP/1.1\nHost: a\n\n";

#[test]
fn turns_follow_the_factors_and_paths_are_joined() {
    let (a, _b, proxy) = start(
        "ProxyPass / balancer://c/y/\n<Proxy balancer://c>\n\
         BalancerMember http://ORIGIN_A/mem loadfactor=2\nBalancerMember http://ORIGIN_B\n</Proxy>",
    );
    assert_eq!(answers(&proxy, PLAIN, 9), "abaabaaba");
    let request = &a.received()[0].bytes;
    let begin = format!("GET /mem/y/x HTTP/1.1\r\nHost: {}\r\n", a.address);
    assert!(
        request.starts_with(begin.as_bytes()),
        "{}",
        String::from_utf8_lossy(request)
    );
}

#[test]
fn a_session_stays_and_the_log_names_its_route() {
    let (_a, _b, proxy) = start(
        "LogFormat \"%{BALANCER_WORKER_ROUTE}e %{BALANCER_SESSION_ROUTE}e %{BALANCER_ROUTE_CHANGED}e\" route\n\
         CustomLog DIR/route.log route\n\
         ProxyPass / balancer://c/ stickysession=R|r\n<Proxy balancer://c>\n\
         BalancerMember http://ORIGIN_A route=a\nBalancerMember http://ORIGIN_B route=b\n</Proxy>",
    );
    let cookie = "GET /x HTTP/1.1\nHost: a\nCookie: z=1; R=1.b\n\n";
    assert_eq!(answers(&proxy, cookie, 3), "bbb");
    assert_eq!(
        answers(&proxy, "GET /x;r=1.a HTTP/1.1\nHost: a\n\n", 2),
        "aa"
    );
    assert_eq!(answers(&proxy, PLAIN, 1).len(), 1);
    let lines = || proxy.site.dir.read("route.log");
    assert!(
        crate::harness::eventually(|| lines().lines().count() == 6),
        "{}",
        lines()
    );
    let log: Vec<String> = lines().lines().map(str::to_owned).collect();
    // Every worker thread writes its own lines, so their order is open.
    let count = |line: &str| log.iter().filter(|have| *have == line).count();
    assert_eq!((count("b b -"), count("a a -")), (3, 2), "{log:?}");
    assert!(log.iter().any(|line| line.ends_with(" - 1")), "{log:?}");
}

#[test]
fn a_member_that_is_down_costs_no_request_and_rests() {
    let dead = dead_address();
    let (_a, _b, proxy) = start(&format!(
        "ProxyPass / balancer://c/\n<Proxy balancer://c>\n\
         BalancerMember http://{dead} retry=600\nBalancerMember http://ORIGIN_B\n</Proxy>"
    ));
    let post = "POST /x HTTP/1.1\nHost: a\nContent-Length: 1\n\nb";
    assert_eq!(answers(&proxy, post, 4), "bbbb");
    let tries = proxy.site.said().matches("AH01114").count();
    assert_eq!(
        tries,
        1,
        "a member that rests is not tried: {}",
        proxy.site.said()
    );
}

#[test]
fn nobody_is_left_without_failover_and_standbys() {
    let dead = dead_address();
    let (_a, _b, proxy) = start(&format!(
        "ProxyPass /strict balancer://strict/ stickysession=R nofailover=On\n\
         ProxyPass /standby balancer://standby/\n\
         ProxyPass /none balancer://none/\n\
         <Proxy balancer://strict>\nBalancerMember http://{dead} route=a\nBalancerMember http://ORIGIN_B route=b\n</Proxy>\n\
         <Proxy balancer://standby>\nBalancerMember http://{dead}\nBalancerMember http://ORIGIN_A status=+H\n</Proxy>"
    ));
    let strict = "GET /strict HTTP/1.1\nHost: a\nCookie: R=1.a\n\n";
    assert_eq!(answers(&proxy, strict, 2), "503503");
    assert_eq!(
        answers(&proxy, "GET /standby HTTP/1.1\nHost: a\n\n", 2),
        "aa"
    );
    assert_eq!(answers(&proxy, "GET /none HTTP/1.1\nHost: a\n\n", 1), "503");
    assert!(proxy.says("AH01170"));
}

#[test]
fn statuses_put_a_member_to_rest_and_a_reload_keeps_that() {
    let config = "ProxyPass / balancer://c/ failonstatus=500,503\n<Proxy balancer://c>\n\
         BalancerMember http://ORIGIN_A\nBalancerMember http://ORIGIN_B\n</Proxy>";
    let (a, b, mut proxy) = start(config);
    let failing = message("HTTP/1.1 500 Broken\nContent-Length: 0\n\n");
    a.reply([(failing, Then::Keep)]);
    assert_eq!(answers(&proxy, PLAIN, 4), "500bbb");
    proxy
        .site
        .configure(&(fill_in(config, &a, &b) + "\nTimeout 59"));
    proxy.signal(Signal::SIGHUP);
    assert!(proxy.says("AH00493"));
    assert_eq!(
        answers(&proxy, PLAIN, 2),
        "bb",
        "the members are the same as before"
    );
    proxy.signal(Signal::SIGTERM);
    assert!(proxy.wait().is_some());
}

#[test]
fn tunnels_count_as_busy() {
    let (a, _b, proxy) = start(
        "ProxyPass / balancer://c/ lbmethod=bybusyness\n<Proxy balancer://c>\n\
         BalancerMember ws://ORIGIN_A\nBalancerMember ws://ORIGIN_B\n</Proxy>",
    );
    a.reply([(message(ACCEPTED), Then::Keep)]);
    let mut tunnel = proxy.connect();
    tunnel.send(&message(HANDSHAKE));
    assert_eq!(status(&tunnel.head().expect("the 101")), 101);
    // On one connection each request is over before the next one is read.
    let mut client = proxy.connect();
    for _ in 0..4 {
        client.send(&message(PLAIN));
        let answer = client.message(Kind::Response);
        assert_eq!(field(&answer, "x-origin").as_deref(), Some("b"));
    }
    tunnel.finish();
    drop(tunnel);
    drop(a.upgraded());
    assert!(crate::harness::eventually(
        || answers(&proxy, PLAIN, 2).contains('a')
    ));
}

#[test]
fn sockjs_transports_of_a_session_reach_one_origin() {
    let (_a, _b, proxy) = start(
        "ProxyPass /eventbus balancer://c/eventbus stickysession=sockjs\n<Proxy balancer://c>\n\
         BalancerMember http://ORIGIN_A\nBalancerMember http://ORIGIN_B\n</Proxy>",
    );
    let mut seen = String::new();
    for session in 0..12 {
        let ask = |transport: &str| {
            format!("GET /eventbus/000/s{session}/{transport} HTTP/1.1\nHost: a\n\n")
        };
        let one = answers(&proxy, &ask("xhr_streaming"), 1);
        assert_eq!(answers(&proxy, &ask("xhr_send"), 2), one.repeat(2));
        seen += &one;
    }
    assert!(seen.contains('a') && seen.contains('b'), "{seen}");
}

#[test]
fn health_checks_take_members_out_and_bring_them_back() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    let (_a, b, proxy) = start(&format!(
        "ProxyHCTemplate quick hcinterval=100ms hcfails=2\n\
         ProxyPass / balancer://c/\n<Proxy balancer://c>\n\
         BalancerMember http://{address} hctemplate=quick hcmethod=GET11 hcuri=/up?x\n\
         BalancerMember http://ORIGIN_B status=+H\n</Proxy>"
    ));
    let answer_check = |code: u16| {
        let (stream, _) = listener.accept().expect("a check");
        let mut conn = crate::harness::wire::Conn::new(stream);
        let head = String::from_utf8_lossy(&conn.head().expect("a request")).into_owned();
        assert_eq!(
            head,
            format!("GET /up?x HTTP/1.1\r\nHost: {address}\r\n\r\n")
        );
        conn.send(format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n").as_bytes());
    };
    answer_check(503);
    answer_check(503);
    assert!(proxy.says("health check disabling"));
    assert_eq!(answers(&proxy, PLAIN, 2), "bb", "the standby serves");
    assert_eq!(b.received().len(), 2);
    answer_check(302);
    assert!(proxy.says("health check enabling"));
}

#[test]
fn a_websocket_check_wants_the_right_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    let (_a, _b, proxy) = start(&format!(
        "ProxyPass / balancer://c/\n<Proxy balancer://c>\n\
         BalancerMember ws://{address}/ws hcmethod=WS hcinterval=100ms\n</Proxy>"
    ));
    let answer_check = |accept: Option<&str>| {
        let (stream, _) = listener.accept().expect("a check");
        let mut conn = crate::harness::wire::Conn::new(stream);
        let head = conn.head().expect("a handshake");
        assert!(head.starts_with(b"GET /ws HTTP/1.1\r\n"));
        let text = String::from_utf8_lossy(&head).into_owned();
        let key = text
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let nonce = key.expect("a key").as_bytes();
        let own = tungstenite::handshake::derive_accept_key(nonce);
        let accept = accept.unwrap_or(&own);
        conn.send(&message(&format!(
            "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\n\
             Sec-WebSocket-Accept: {accept}\n\n"
        )));
        conn.exactly(8)
    };
    answer_check(Some("AAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    assert!(proxy.says("health check disabling"));
    let close = answer_check(None);
    assert_eq!(close[..2], [0x88, 0x82], "a masked Close frame");
    assert!(proxy.says("health check enabling"));
}
