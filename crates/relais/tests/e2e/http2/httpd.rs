//! The same requests to relais and to httpd's mod_http2: what the client gets, what the origin gets, and what the log says.

use std::process::Command;

use super::frames::{Client, get};
use crate::harness::installed;
use crate::harness::origin::Origin;
use crate::harness::program::{Program, Running, Site};

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nX-Name: a\r\nKeep-Alive: timeout=9\r\n\
    Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok";

fn start(program: Program, origin: &Origin) -> Running {
    let body = format!(
        "LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so\nProtocols h2c http/1.1\nH2WebSockets on\nTraceEnable off\n\
         LogFormat \"%r|%>s|%b|%H|%{{HTTP2}}e|%{{H2PUSH}}e|%{{H2_STREAM_ID}}e|%{{Host}}i\" h2\nCustomLog DIR/h2.log h2\n\
         Redirect /moved http://other.example/\nHeader set X-Set here\nRequestHeader set X-Stream \"%{{H2_STREAM_ID}}e\"\n\
         Redirect gone /gone\nErrorDocument 410 /page\n<Location /denied>\nRequire all denied\n</Location>\nErrorDocument 403 gone\n\
         ProxyPass /ws ws://{address}/ws\nProxyPass / http://{address}/",
        address = origin.address
    );
    Site::new(program, &body).start()
}

/// The head and the content that curl gets, in an order that both servers share, without what names the server and the time.
fn curl(proxy: &Running, arguments: &[&str], path: &str) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "-m", "30", "-i", "--http2-prior-knowledge"]);
    let url = format!("http://{}{path}", proxy.address());
    let output = command.args(arguments).arg(url).output().expect("run curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, content) = text.rsplit_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines: Vec<&str> = head.lines().collect();
    lines.retain(|line| !line.starts_with("server:") && !line.starts_with("date:"));
    lines.sort_unstable();
    let text = format!("{}\n\n{content}", lines.join("\n"));
    text.replace(&proxy.address().port().to_string(), "PORT")
}

/// What the origin was asked since the last time.
fn asked(origin: &Origin, proxy: &Running) -> String {
    let requests = origin.received();
    origin.script([]);
    let text: Vec<_> = requests
        .iter()
        .map(|one| String::from_utf8_lossy(&one.bytes).into_owned())
        .collect();
    text.concat().replace(&proxy.address().to_string(), "PROXY")
}

#[test]
fn requests_of_http_2_are_served_as_by_mod_http2() {
    if !installed(&[("/usr/sbin/apache2", "apache2-bin"), ("curl", "curl")]) {
        return;
    }
    let origin = Origin::with(|_| REPLY.to_vec());
    let (ours, theirs) = (
        start(Program::Relais, &origin),
        start(Program::Httpd, &origin),
    );
    let rows: [(&[&str], &str); 13] = [
        (&[], "/page?a=b"),
        (&["-I"], "/page"),
        (&["-X", "DELETE"], "/page"),
        (&["-d", "key=value"], "/form"),
        (&["-X", "POST"], "/empty"),
        (
            &[
                "-H",
                "X-Mixed-CASE: 1",
                "-H",
                "cookie: a=1",
                "-H",
                "te: trailers",
            ],
            "/names",
        ),
        (
            &["-H", "Accept-Encoding: gzip", "-H", "Accept-Language: de"],
            "/more",
        ),
        (&[], "/moved/there"),
        (&[], "/denied"),
        (&[], "/gone"),
        (&["-X", "TRACE"], "/trace"),
        (&["--path-as-is"], "/a/../b/%41?x"),
        (
            &["-H", "Expect: 100-continue", "-d", "key=value"],
            "/expect",
        ),
    ];
    for (arguments, path) in rows {
        let expected = (curl(&theirs, arguments, path), asked(&origin, &theirs));
        let found = (curl(&ours, arguments, path), asked(&origin, &ours));
        assert_eq!(found, expected, "{arguments:?} {path}");
    }
    let count = 3;
    let lines = |proxy: &Running| {
        proxy.log("h2.log", count)[..count]
            .join("\n")
            .replace(&proxy.address().to_string(), "PROXY")
    };
    assert_eq!(lines(&ours), lines(&theirs));
}

#[test]
fn what_mod_http2_refuses_is_refused_alike() {
    if !installed(&[("/usr/sbin/apache2", "apache2-bin")]) {
        return;
    }
    let origin = Origin::with(|_| REPLY.to_vec());
    let (ours, theirs) = (
        start(Program::Relais, &origin),
        start(Program::Httpd, &origin),
    );
    let long = "x".repeat(9000);
    let many: Vec<(&str, &str)> = (0..150).map(|_| ("x-many", "a")).collect();
    let connect = |protocol, path| {
        vec![
            (":method", "CONNECT"),
            (":protocol", protocol),
            (":scheme", "http"),
            (":path", path),
            (":authority", "main.example"),
        ]
    };
    let rows = [
        get("/", &[("connection", "close")]),
        get("/", &[("transfer-encoding", "chunked")]),
        get("/", &[("X-Upper", "1")]),
        get("/", &[("x-long", &long)]),
        get("/", &many),
        get("/", &[("upgrade", "websocket")]),
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/")],
        vec![(":method", "CONNECT"), (":authority", "a:443")],
        connect("websocket", "/ws/x"),
        connect("websocket", "/plain"),
        connect("other", "/ws/x"),
    ];
    let mut differing = Vec::new();
    for fields in rows {
        let answer = |proxy: &Running| {
            let mut client = Client::new(proxy);
            client.request(1, &fields);
            client.answer(1).map(|(status, _)| status)
        };
        let (expected, found) = (answer(&theirs), answer(&ours));
        if expected != found {
            let shown: Vec<String> = fields
                .iter()
                .take(7)
                .map(|(name, value)| format!("{name}={}", &value[..value.len().min(20)]))
                .collect();
            differing.push(format!(
                "{}: httpd {expected:?}, relais {found:?}",
                shown.join(" ")
            ));
        }
    }
    // relais answers where nghttp2 resets, and opens nothing for a forward proxy's client.
    let known = [
        ":method=GET :scheme=http :path=/: httpd Err(1), relais Ok(400)",
        ":method=CONNECT :authority=a:443: httpd Ok(200), relais Ok(405)",
    ];
    assert_eq!(differing, known);
}
