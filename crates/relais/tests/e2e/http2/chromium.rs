//! Chromium opens `wss://` through relais, by HTTP/1.1 and on a stream of HTTP/2. Which one it was is what its own network
//! log says, and relais' access log.

use std::net::SocketAddr;

use crate::browser::Browser;
use crate::harness::origin::Origin;
use crate::harness::program::Running;
use crate::harness::{Dir, eventually, installed};
use crate::http2::websocket::echo;
use crate::tls::secure;

/// Opens a WebSocket where it came from, says hello, and shows what comes back.
const PAGE: &str = "<!doctype html><title>t</title><p id=log>waiting</p><script>
const log = document.getElementById('log');
const socket = new WebSocket('wss://' + location.host + '/ws/echo');
socket.onopen = () => socket.send('hello from chromium');
socket.onmessage = event => { log.textContent = 'echo: ' + event.data; socket.close(1000); };
socket.onclose = event => { log.textContent += ', closed ' + event.code; };
socket.onerror = () => { log.textContent = 'error'; };
</script>";

fn page(_: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n",
        PAGE.len()
    );
    [head.as_bytes(), PAGE.as_bytes()].concat()
}

/// relais with TLS in front of the page and an echo server.
fn site(protocols: &str, origin: SocketAddr, echo: SocketAddr) -> Running {
    let more = format!("Protocols {protocols}\nProxyPass /ws ws://{echo}/ws");
    // The rule for the WebSocket has to come first.
    let site = secure("http://ORIGIN", &more);
    let file = site.file();
    let text = std::fs::read_to_string(&file).expect("read the configuration");
    let text = text.replace("ProxyPass / http://ORIGIN/\n", "");
    let text = format!("{text}ProxyPass / http://{origin}/\n");
    std::fs::write(&file, text).expect("write the configuration");
    site.start()
}

/// What Chromium shows, and its network log.
fn visit(proxy: &Running) -> (String, String) {
    let dir = Dir::new();
    let log = dir.join("net.json");
    let browser = Browser::start(&[
        "--ignore-certificate-errors",
        &format!("--log-net-log={}", log.display()),
    ]);
    browser.open_tab(&format!("https://{}/", proxy.address()));
    eventually(|| browser.text("#log").contains("closed"));
    let shown = browser.text("#log");
    drop(browser);
    // It is complete when the browser has ended.
    eventually(|| dir.read("net.json").trim_end().ends_with('}'));
    (shown, dir.read("net.json"))
}

fn available() -> bool {
    installed(&[
        ("chromium", "chromium"),
        ("chromedriver", "chromium-driver"),
        ("openssl", "openssl"),
    ])
}

#[test]
fn chromium_opens_wss_by_http_1_and_on_a_stream() {
    if !available() {
        return;
    }
    let (origin, echo) = (Origin::with(page), echo());
    for (protocols, version, on_a_stream) in [
        ("http/1.1", "HTTP/1.1", false),
        ("h2 http/1.1", "HTTP/2.0", true),
    ] {
        let proxy = site(protocols, origin.address, echo);
        let (shown, log) = visit(&proxy);
        assert_eq!(
            shown, "echo: hello from chromium, closed 1000",
            "{protocols}"
        );
        // RFC 8441's pseudo-header in a HEADERS frame that Chromium sent, or the upgrade of HTTP/1.1.
        assert_eq!(
            log.contains(":protocol: websocket"),
            on_a_stream,
            "{protocols}"
        );
        let upgraded = log.contains("HTTP/1.1 101 Switching Protocols");
        assert_eq!(upgraded, !on_a_stream, "{protocols}");
        let lines = proxy.access_log(2);
        let opened = format!("\"GET /ws/echo {version}\" 101");
        assert!(
            lines.iter().any(|line| line.starts_with(&opened)),
            "{lines:?}"
        );
    }
}
