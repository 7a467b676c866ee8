//! wss in front and behind, with clients and servers of other people: Python's `websockets`, Node's `ws`, OpenSSL.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::signal::Signal;

use crate::harness::program::Running;
use crate::harness::{installed, tools};
use crate::python::{Server, has, python};
use crate::tls::{available, secure};

/// What every host here logs of a tunnel.
const LOG: &str = "CustomLog DIR/tunnels.log \"%{tunnel-end}x %{tunnel-close-code}x\"";

fn echo() -> Server {
    Server::start("websockets_server.py")
}

/// The server behind a relais of its own, which speaks TLS.
fn behind_tls(echo: &Server) -> Running {
    secure(&format!("ws://{}", echo.address), "").start()
}

fn client(url: &str, authority: &Path, what: &str) -> Command {
    let mut command = python("wss_client.py");
    command.arg(url).arg(authority).arg(what);
    command
}

#[test]
fn clear_and_encrypted_on_either_side() {
    if !available() || !has("websockets.asyncio.client") {
        return;
    }
    let echo = echo();
    let behind = behind_tls(&echo);
    let authority = behind.site.dir.join("ca.crt");
    let clear = format!("ProxyPass /ws ws://{}/ws", echo.address);
    let encrypted = |version: &str| {
        let address = behind.address();
        format!("SSLProxyEngine on\nSSLProxyProtocol {version}\nProxyPass /ws wss://{address}/ws")
    };
    let [old, new] = ["TLSv1.2", "TLSv1.3"];
    for (front, to_origin) in [
        (None, clear.clone()),
        (None, encrypted(old)),
        (None, encrypted(new)),
        (Some(old), clear.clone()),
        (Some(new), clear),
        (Some(old), encrypted(new)),
        (Some(new), encrypted(old)),
    ] {
        let tls = front.is_some();
        let (front, scheme) = if let Some(version) = front {
            let site = secure("http://127.0.0.1:9", "");
            site.configure(&site_body(&format!("SSLProtocol {version}\n{to_origin}")));
            (site.start(), "wss")
        } else {
            (Running::relais(&format!("{to_origin}\n{LOG}")), "ws")
        };
        let authority = if tls {
            front.site.dir.join("ca.crt")
        } else {
            authority.clone()
        };
        let url = format!("{scheme}://{}/ws/echo", front.address());
        let output = client(&url, &authority, "echo").output();
        let output = output.expect("run the client");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            said.trim(),
            "14 messages, closed with 1000",
            "{to_origin} {tls}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(
            front.log("tunnels.log", 1),
            ["client-close 1000"],
            "{to_origin} {tls}"
        );
    }
}

/// A host with TLS and these routes.
fn site_body(routes: &str) -> String {
    format!(
        "SSLEngine on\nSSLCertificateFile DIR/a.crt\nSSLCertificateKeyFile DIR/a.key\nServerName a.example\n{LOG}\n{routes}"
    )
}

#[test]
fn clients_of_wss_are_told_when_relais_stops() {
    if !available() || !has("websockets.asyncio.client") {
        return;
    }
    let echo = echo();
    let site = secure("http://127.0.0.1:9", "");
    site.configure(&site_body(&format!(
        "ProxyPass /ws ws://{}/ws",
        echo.address
    )));
    let mut front = site.start();
    let url = format!("wss://{}/ws/echo", front.address());
    let mut child = client(&url, &front.site.dir.join("ca.crt"), "wait")
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the client");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    front.signal(Signal::SIGTERM);
    line.clear();
    output.read_line(&mut line).expect("a line");
    assert_eq!(line, "closed with 1001\n");
    assert!(child.wait().expect("its end").success());
    assert!(front.wait().expect("relais' end").success());
    assert_eq!(front.log("tunnels.log", 1), ["stopped 1001"]);
}

#[test]
fn nodes_ws_goes_through() {
    if !available() || !has("websockets.asyncio.client") || !installed(&[("node", "nodejs")]) {
        return;
    }
    let modules = tools().join("node/node_modules");
    if !modules.join("ws").is_dir() {
        let message = "Node's package ws is missing; `cargo xtask test` installs it";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
        eprintln!("skipped: {message}");
        return;
    }
    let echo = echo();
    let behind = behind_tls(&echo);
    let site = secure("http://127.0.0.1:9", "");
    site.configure(&site_body(&format!(
        "SSLProxyEngine on\nProxyPass /ws wss://{}/ws",
        behind.address()
    )));
    let front = site.start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/node/client.js");
    let output = Command::new("node")
        .env("NODE_PATH", modules)
        .arg(script)
        .arg(format!("wss://{}/ws/echo", front.address()))
        .arg(front.site.dir.join("ca.crt"))
        .output()
        .expect("run node");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        said.trim(),
        "8 messages over no subprotocol, closed with 1000",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// OpenSSL at one end of a connection, its standard streams as the content.
struct OpenSsl {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl OpenSsl {
    fn connect(front: &Running, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-brief", "-CAfile", "ca.crt"])
            .args(["-servername", "a.example", "-verify_return_error"])
            .args(["-connect", &front.address().to_string()])
            .args(arguments)
            .current_dir(front.site.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("run s_client");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self {
            child,
            input,
            output,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).expect("write to s_client");
        self.input.flush().expect("write to s_client");
    }

    /// Asks for a WebSocket and reads the answer's head.
    fn upgrade(&mut self) {
        self.send(
            b"GET /ws/echo HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let count = self.output.read_line(&mut head).expect("the answer's head");
            assert!(count > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.output
            .read_exact(&mut bytes)
            .expect("bytes of the tunnel");
        bytes
    }
}

/// `s_client` changes keys, and asks for the same, when a line of its input begins with `K`.
#[test]
fn openssl_changes_keys_in_the_middle_of_a_message() {
    if !available() || !has("websockets.asyncio.client") {
        return;
    }
    let echo = echo();
    let site = secure("http://127.0.0.1:9", "");
    site.configure(&site_body(&format!(
        "ProxyPass /ws ws://{}/ws",
        echo.address
    )));
    let front = site.start();
    let mut client = OpenSsl::connect(&front, &["-tls1_3"]);
    client.upgrade();
    for round in 0..3 {
        // A text message of ten bytes in two halves, with new keys between them.
        client.send(b"\x81\x8a\0\0\0\0hello");
        std::thread::sleep(std::time::Duration::from_millis(100));
        client.send(b"K\n");
        std::thread::sleep(std::time::Duration::from_millis(100));
        client.send(b"world");
        assert_eq!(client.exactly(12), b"\x81\x0ahelloworld", "round {round}");
    }
    // It is killed: its stream ends without close_notify and without a Close frame.
    client.child.kill().expect("end it");
    let _ = client.child.wait();
    assert_eq!(front.log("tunnels.log", 1), ["client-truncated -"]);
}

#[test]
fn openssl_ends_its_content_as_tls_asks() {
    if !available() || !has("websockets.asyncio.client") {
        return;
    }
    let echo = echo();
    let site = secure("http://127.0.0.1:9", "");
    site.configure(&site_body(&format!(
        "ProxyPass /ws ws://{}/ws",
        echo.address
    )));
    let front = site.start();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = OpenSsl::connect(&front, &[version]);
        client.upgrade();
        client.send(b"\x81\x85\0\0\0\0hello");
        assert_eq!(client.exactly(7), b"\x81\x05hello", "{version}");
        client.send(b"\x88\x82\0\0\0\0\x03\xe8");
        assert_eq!(client.exactly(4), b"\x88\x02\x03\xe8", "{version}");
        drop(client.input);
        let _ = client.child.wait();
    }
    let ends = front.log("tunnels.log", 2);
    assert_eq!(ends, ["client-close 1000", "client-close 1000"]);
}
