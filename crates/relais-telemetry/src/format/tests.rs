//! Formats and the lines made from them.
//!
//! The request in [`Facts::default`], the fields and cookies, the odd arguments and the times were sent to httpd 2.4 and
//! the expected text is what it printed, but for durations. Rows with facts that request cannot have (a user, IPv6, an
//! aborted connection, TLS, differing redirects) follow the manual pages.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::zone::tests::zone;

type Pairs = &'static [(&'static str, &'static [u8])];

/// A request as data.
#[derive(Clone)]
struct Facts {
    original: Option<Box<Self>>,
    client: IpAddr,
    host: Option<&'static [u8]>,
    line: Option<&'static [u8]>,
    path: &'static [u8],
    query: Option<&'static [u8]>,
    status: u16,
    user: Option<&'static [u8]>,
    handler: Option<&'static [u8]>,
    filename: Option<&'static [u8]>,
    body: u64,
    bytes: (u64, u64),
    state: ConnectionState,
    first_byte: Option<u64>,
    request: Pairs,
    response: Pairs,
    env: Pairs,
    tunnel: Option<TunnelFacts<'static>>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            original: None,
            client: Ipv4Addr::new(127, 0, 0, 1).into(),
            host: None,
            line: Some(b"GET /p/q?z=1 HTTP/1.1"),
            path: b"/p/q",
            query: Some(b"z=1"),
            status: 200,
            user: None,
            handler: Some(b"proxy-server"),
            filename: Some(b"proxy:http://127.0.0.1:18973//q?z=1"),
            body: 2,
            bytes: (47, 224),
            state: ConnectionState::KeepAlive,
            first_byte: Some(1261),
            request: &[("Host", b"h.example:99")],
            response: &[],
            env: &[],
            tunnel: None,
        }
    }
}

fn find(pairs: Pairs, name: &[u8], each: &mut dyn FnMut(&[u8])) {
    let matching = pairs
        .iter()
        .filter(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
    matching.for_each(|(_, value)| each(value));
}

impl Record for Facts {
    fn original(&self) -> Option<&dyn Record> {
        self.original.as_deref().map(|facts| facts as &dyn Record)
    }
    fn client_addr(&self) -> IpAddr {
        self.client
    }
    fn client_port(&self) -> u16 {
        40000
    }
    fn client_host(&self) -> Option<&[u8]> {
        self.host
    }
    fn peer_addr(&self) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, 9).into()
    }
    fn local_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 18972))
    }
    fn canonical_port(&self) -> u16 {
        81
    }
    fn canonical_name(&self) -> &[u8] {
        b"srv.example"
    }
    fn server_name(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(b"h.example")
    }
    fn request_line(&self) -> Option<&[u8]> {
        self.line
    }
    fn method(&self) -> &[u8] {
        b"GET"
    }
    fn path(&self) -> Option<&[u8]> {
        Some(self.path)
    }
    fn query(&self) -> Option<&[u8]> {
        self.query
    }
    fn protocol(&self) -> &[u8] {
        b"HTTP/1.1"
    }
    fn status(&self) -> u16 {
        self.status
    }
    fn user(&self) -> Option<&[u8]> {
        self.user
    }
    fn handler(&self) -> Option<&[u8]> {
        self.handler
    }
    fn filename(&self) -> Option<Cow<'_, [u8]>> {
        self.filename.map(Cow::Borrowed)
    }
    fn body_bytes(&self) -> u64 {
        self.body
    }
    fn bytes_in(&self) -> u64 {
        self.bytes.0
    }
    fn bytes_out(&self) -> u64 {
        self.bytes.1
    }
    fn start(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(1_795_532_725_439_353)
    }
    fn duration(&self) -> Duration {
        Duration::from_nanos(61_234_567_890)
    }
    fn first_byte(&self) -> Option<Duration> {
        self.first_byte.map(Duration::from_micros)
    }
    fn keepalive_number(&self) -> u32 {
        1
    }
    fn connection_state(&self) -> ConnectionState {
        self.state
    }
    fn request_header(&self, name: &[u8], each: &mut dyn FnMut(&[u8])) {
        find(self.request, name, each);
    }
    fn response_header(&self, name: &[u8], each: &mut dyn FnMut(&[u8])) {
        find(self.response, name, each);
    }
    fn env(&self, name: &[u8]) -> Option<&[u8]> {
        let mut pairs = self.env.iter();
        pairs
            .find(|(known, _)| known.as_bytes() == name)
            .map(|(_, value)| *value)
    }
    fn ssl_variable(&self, name: &[u8], found: &mut dyn FnMut(&[u8])) {
        find(
            &[
                ("SSL_PROTOCOL", b"TLSv1.3"),
                ("SSL_CLIENT_S_DN", b"CN=a\nb"),
                ("SSL_EMPTY", b""),
            ],
            name,
            found,
        );
    }
    fn pid(&self) -> u32 {
        7814
    }
    fn tid(&self) -> u64 {
        0x7f00_4fff_f6c0
    }
    fn tunnel(&self) -> Option<TunnelFacts<'_>> {
        self.tunnel
    }
}

fn check(facts: &Facts, cases: &[(&str, &str)]) {
    for (format, expected) in cases {
        assert_eq!(line(format, facts), format!("{expected}\n"), "{format}");
    }
}

fn parse(format: &str) -> LogFormat {
    LogFormat::parse_in(format.as_bytes(), zone("America/St_Johns")).expect(format)
}

fn line(format: &str, facts: &Facts) -> String {
    let mut out = Vec::new();
    parse(format).write(facts, &mut out);
    String::from_utf8(out).expect("escaping leaves ASCII")
}

#[test]
fn request_and_connection() {
    check(
        &Facts::default(),
        &[
            ("", ""),
            (
                "%h %{c}h %a %{c}a %A",
                "127.0.0.1 10.0.0.9 127.0.0.1 10.0.0.9 127.0.0.1",
            ),
            ("%l %u", "- -"),
            ("%r", "GET /p/q?z=1 HTTP/1.1"),
            ("%>s %<s %s", "200 200 200"),
            ("%b %B", "2 2"),
            ("%f %R", "proxy:http://127.0.0.1:18973//q?z=1 proxy-server"),
            ("%m %U%q %H", "GET /p/q?z=1 HTTP/1.1"),
            ("%k %X", "1 +"),
            ("%v %V", "srv.example h.example"),
            (
                "%p %{canonical}p %{LOCAL}p %{remote}p %{bogus}p",
                "81 81 18972 40000 bogus",
            ),
            (
                "%P %{pid}P %{tid}P %{hextid}P %{bogus}P",
                "7814 7814 139639318902464 7f004ffff6c0 bogus",
            ),
            ("%I %O %S %^FB", "47 224 271 1261"),
            (
                "%D %T %{s}T %{MS}T %{us}T %{bogus}T",
                "61234567 61 61 61234 61234567 bogus",
            ),
            ("%L %{c}L", "- -"),
            (
                "%i %e %{a}n %{x}C %{x}o %{X-A}^ti %{X-A}^to",
                "- - - - - - -",
            ),
            (
                "%x %{SSL_PROTOCOL}x %{version}c %{cipher}c %{subjectdn}c",
                r"- TLSv1.3 TLSv1.3 - CN=a\nb",
            ),
            ("%{SSL_EMPTY}x", "-"),
            ("%{x}u %{x}r", "- GET /p/q?z=1 HTTP/1.1"),
        ],
    );
}

#[test]
fn absent_and_odd_facts() {
    let facts = Facts {
        client: "::ffff:192.0.2.7".parse().unwrap(),
        host: Some(b"na\"me"),
        line: None,
        path: b"/\xe9\"",
        query: None,
        status: 0,
        user: Some(b""),
        handler: None,
        filename: None,
        body: 0,
        state: ConnectionState::Aborted,
        first_byte: None,
        ..Facts::default()
    };
    check(
        &facts,
        &[
            ("%a %h", "192.0.2.7 na\\\"me"),
            ("%r", "-"),
            ("[%U] [%q]", "[/\\xe9\\\"] []"),
            ("%s %b %B", "- - 0"),
            ("%u %f %R %^FB %X", "\"\" - - - X"),
        ],
    );
    let facts = Facts {
        user: Some(b"a b\n"),
        client: "2001:db8::1".parse().unwrap(),
        state: ConnectionState::Close,
        ..Facts::default()
    };
    check(&facts, &[("%u %a %X", r"a b\n 2001:db8::1 -")]);
}

#[test]
fn fields_and_variables() {
    let facts = Facts {
        request: &[
            ("X-A", b"a\"b\\c\td\xe9 z"),
            ("X-A", b"second"),
            ("Cookie", b"foo=bar; Baz= 1 2 ;bar=\"q=1\""),
            ("Cookie", b"nix="),
            ("X-B", b"bb"),
            ("a%b", b"pc"),
            ("Empty", b""),
        ],
        response: &[
            ("X-Two", b"one"),
            ("X-Two", b"two"),
            ("Set-Cookie", b"a=1"),
            ("Set-Cookie", b"b=2"),
            ("Content-Type", b"text/plain ; charset=utf-8"),
        ],
        env: &[("MYENV", b"q\"b\\s"), ("EMPTY", b"")],
        ..Facts::default()
    };
    check(
        &facts,
        &[
            ("%{X-A}i", r#"a\"b\\c\td\xe9 z, second"#),
            ("%{x-a}i", r#"a\"b\\c\td\xe9 z, second"#),
            ("%{X-A}{X-B}i", "bb"),
            ("%{a%b}i", "pc"),
            ("[%{Empty}i]", "[]"),
            ("%{Cookie}i", r#"foo=bar; Baz= 1 2 ;bar=\"q=1\", nix="#),
            ("%{foo}C|%{FOO}C|%{baz}C|%{nix}C", "bar|bar|1 2|-"),
            ("%{bar}C", r#"\"q=1\", nix="#),
            ("%{X-Two}o", "one"),
            ("%{set-cookie}o", "a=1, b=2"),
            ("%{Content-Type}o", "text/plain"),
            ("%{MYENV}e [%{EMPTY}e] %{NONE}e", r#"q\"b\\s [] -"#),
        ],
    );
}

#[test]
fn literal_text() {
    check(
        &Facts::default(),
        &[
            ("%%", "%"),
            ("100%% of %m", "100% of GET"),
            (r#"\n.\t.\\.\".\x.\r.\v"#, "\n.\t.\\.\\\".\\x.\r.\\v"),
            (r"\%m\", "\\GET\\"),
            (r"\\%m", "\\GET"),
            ("é", "é"),
        ],
    );
}

#[test]
fn status_lists() {
    let ok = Facts {
        request: &[("X-A", b"a")],
        ..Facts::default()
    };
    let not_found = Facts {
        status: 404,
        ..ok.clone()
    };
    // (format, for 200, for 404)
    let cases = [
        ("%400,501{X-A}i", "-", "-"),
        ("%!200s", "-", "404"),
        ("%200s", "200", "-"),
        ("%!400,500{X-A}i", "a", "a"),
        ("%,,200s", "200", "-"),
        ("%!!200s", "200", "-"),
        ("%{X-A}404,200i", "a", "a"),
        ("%!s", "200", "404"),
        ("%99999999999200s", "-", "-"),
        ("%!200D", "-", "61234567"),
    ];
    for (format, for_ok, for_not_found) in cases {
        check(&ok, &[(format, for_ok)]);
        check(&not_found, &[(format, for_not_found)]);
    }
}

#[test]
fn internal_redirects() {
    let original = Facts {
        path: b"/none",
        filename: Some(b"/www/none"),
        status: 404,
        handler: None,
        ..Facts::default()
    };
    let facts = Facts {
        original: Some(Box::new(original)),
        line: Some(b"other"),
        path: b"/a.php",
        filename: Some(b"/www/a.php"),
        status: 200,
        handler: Some(b"static"),
        ..Facts::default()
    };
    check(
        &facts,
        &[
            ("%U %>U %<U", "/none /a.php /none"),
            ("%f %<f", "/www/a.php /www/none"),
            ("%s %>s", "404 200"),
            ("%R %>R", "- static"),
            ("%r", "GET /p/q?z=1 HTTP/1.1"),
            ("%<>s", "200"),
            ("%200s", "404"),
        ],
    );
}

#[test]
fn times() {
    check(
        &Facts::default(),
        &[
            ("%t", "[24/Nov/2026:11:35:25 -0330]"),
            (
                "%{begin}t|%{begin:}t",
                "[24/Nov/2026:11:35:25 -0330]|[24/Nov/2026:11:35:25 -0330]",
            ),
            (
                "%{end}t|%{end:}t",
                "[24/Nov/2026:11:36:26 -0330]|[24/Nov/2026:11:36:26 -0330]",
            ),
            (
                "%{sec}t %{msec}t %{usec}t",
                "1795532725 1795532725439 1795532725439353",
            ),
            ("%{msec_frac}t %{usec_frac}t", "439 439353"),
            ("%{end:sec}t %{end:usec}t", "1795532786 1795532786673920"),
            ("%{end:msec_frac}t %{begin:usec_frac}t", "673 439353"),
            (
                "%{beginning}t %{endx}t %{msecs}t %{SEC}t",
                "beginning endx msecs SEC",
            ),
            ("%{begin:begin:sec}t", "begin:sec"),
            (
                "%{%d/%b/%Y %T}t.%{msec_frac}t %{%z}t",
                "24/Nov/2026 11:35:25.439 -0330",
            ),
            ("%{end:%T}t", "11:36:26"),
            ("%{foo\"\\x}t", "foo\"\\x"),
        ],
    );
}

#[test]
fn tunnel_fields() {
    let format = "%{tunnel-end}x %{tunnel-messages-in}x %{tunnel-messages-out}x %{tunnel-close-code}x \
                  %{tunnel-bytes-in}x %{tunnel-bytes-out}x";
    let tunnel = TunnelFacts {
        end: "client-close",
        messages_in: 1,
        messages_out: 2,
        close_code: Some(1001),
        bytes_in: 3,
        bytes_out: 4,
        id: 17,
        duration: Duration::from_millis(1500),
        kinds_in: TunnelKinds {
            text: 5,
            text_bytes: 6,
            binary: 7,
            binary_bytes: 8,
            pings: 9,
            pongs: 10,
            violations: 11,
        },
        kinds_out: TunnelKinds::default(),
    };
    let with = |tunnel| Facts {
        tunnel: Some(tunnel),
        ..Facts::default()
    };
    check(&Facts::default(), &[(format, "- - - - - -")]);
    check(&with(tunnel), &[(format, "client-close 1 2 1001 3 4")]);
    let kinds = "%{tunnel-id}x %{tunnel-duration}x %{tunnel-text-in}x %{tunnel-text-bytes-in}x %{tunnel-binary-in}x \
                 %{tunnel-binary-bytes-in}x %{tunnel-pings-in}x %{tunnel-pongs-in}x %{tunnel-violations-in}x \
                 %{tunnel-text-out}x";
    check(&with(tunnel), &[(kinds, "17 1500 5 6 7 8 9 10 11 0")]);
    let abrupt = TunnelFacts {
        close_code: None,
        messages_in: 0,
        ..tunnel
    };
    check(&with(abrupt), &[(format, "client-close 0 2 - 3 4")]);
}

#[test]
fn the_default_format() {
    let facts = Facts {
        body: 0,
        user: Some(b"ann"),
        ..Facts::default()
    };
    let mut out = Vec::new();
    let common = LogFormat::parse_in(LogFormat::COMMON, zone("UTC")).unwrap();
    common.write(&facts, &mut out);
    let expected = "127.0.0.1 - ann [24/Nov/2026:15:05:25 +0000] \"GET /p/q?z=1 HTTP/1.1\" 200 -\n";
    assert_eq!(String::from_utf8_lossy(&out), expected);
    assert_eq!(LogFormat::common().shared.items, common.shared.items);
}

/// What a pending line says at the end is what a line written then would have said.
#[test]
fn pending_lines_equal_lines_written_at_the_end() {
    let formats = [
        "",
        "no holes %h",
        "%D",
        "%D%T%I%O%S",
        "%h %t %{end}t \"%r\" %>s %b %I %O %S %D %T %{ms}T %X",
        "%!101D %101D %{end:%H:%M}t%{begin:%H:%M}t",
        "%{tunnel-end}x %{tunnel-close-code}x %{tunnel-bytes-in}x",
        "%{Referer}i %{tunnel-messages-in}x|%{tunnel-messages-out}x|%{tunnel-bytes-out}x %{SSL_PROTOCOL}x",
    ];
    let tunnel = TunnelFacts {
        end: "idle",
        messages_in: 10,
        messages_out: 20,
        close_code: Some(1000),
        bytes_in: 1000,
        bytes_out: 1005,
        id: 1,
        duration: Duration::from_secs(9),
        kinds_in: TunnelKinds::default(),
        kinds_out: TunnelKinds::default(),
    };
    let at_hand_off = Facts {
        status: 101,
        body: 0,
        bytes: (141, 77),
        ..Facts::default()
    };
    let at_end = Facts {
        bytes: (1141, 1082),
        tunnel: Some(tunnel),
        ..at_hand_off.clone()
    };
    for format in formats {
        let pending = parse(format).prepare(&at_hand_off);
        let mut out = Vec::new();
        pending.finish(&LineEnd::of(&at_end), &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            line(format, &at_end),
            "{format}"
        );
    }
}

#[test]
fn pending_lines_are_small() {
    let facts = Facts {
        client: "2001:db8:1234:5678::1".parse().unwrap(),
        line: Some(b"GET /socket.io/?EIO=4&transport=websocket&sid=lv_VI97HAXpY6yYWAAAC HTTP/1.1"),
        request: &[(
            "User-Agent",
            b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        )],
        status: 101,
        ..Facts::default()
    };
    let format = "%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\" %D %{tunnel-end}x \
                  %{tunnel-messages-in}x %{tunnel-messages-out}x %{tunnel-close-code}x";
    let pending = parse(format).prepare(&facts);
    assert!(pending.heap_bytes() < 400, "{}", pending.heap_bytes());
}
