//! Start, check, reload and stop, with tunnels open.

use std::net::TcpStream;
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::harness::eventually;
use crate::harness::origin::{Origin, Then};
use crate::harness::program::{Program, Running, Site};
use crate::harness::wire::{Conn, Kind, status};
use crate::origins::{ACCEPTED, HANDSHAKE, accepted, message, origin_behind};

#[test]
fn the_check_accepts_a_good_file() {
    let site = Site::new(Program::Relais, "ProxyPass /ws ws://127.0.0.1:7018/ws");
    let output = site.run(&["-t"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("Syntax OK"));
}

#[test]
fn the_check_shows_where_a_file_is_wrong() {
    let site = Site::new(
        Program::Relais,
        "ProxyPreserveHost maybe\nProxyPas /ws ws://127.0.0.1:7018/ws",
    );
    let output = site.run(&["-t"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for expected in [
        "test.conf:",
        "ProxyPreserveHost maybe",
        "^^^^^",
        "ProxyPas ",
        "ProxyPass",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
}

#[test]
fn the_check_warns_of_a_lost_slash() {
    let site = Site::new(
        Program::Relais,
        "RewriteEngine On\nRewriteRule /eventbus/(.*)$ http://127.0.0.1:7018/eventbus$1 [proxy,last]",
    );
    let output = site.run(&["-t"]);
    assert!(output.status.success(), "a warning is no error");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for expected in [
        "warning",
        "test.conf:",
        "^",
        "http://127.0.0.1:7018/eventbus/$1",
        "Syntax OK",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
}

#[test]
fn a_wrong_file_does_not_start() {
    let site = Site::new(Program::Relais, "ProxyPreserveHost maybe");
    let output = site.run(&["-DFOREGROUND"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("ProxyPreserveHost"));
}

#[test]
fn the_pid_file_names_the_process_and_goes_with_it() {
    let mut proxy = Tunnels::new().proxy;
    let own = proxy.pid().to_string();
    assert!(eventually(|| proxy.site.dir.read("test.pid").trim() == own));
    proxy.control("stop");
    assert!(proxy.wait().expect("an end").success());
    // As root relais becomes another user, who may not remove the file: then its number is stale, and neither relais nor
    // httpd minds that.
    assert!(["", &own].contains(&proxy.site.dir.read("test.pid").trim()));
    let again = proxy.site.run(&["-k", "stop"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("no relais runs"));
}

#[test]
fn term_stops_at_once_with_a_tunnel_open() {
    let mut site = Tunnels::new();
    let mut tunnel = site.open("/ws/x");
    site.proxy.signal(Signal::SIGTERM);
    assert!(site.proxy.wait().expect("an end").success());
    tunnel.client.rest();
    assert!(tunnel.client.is_ended());
    tunnel.origin.rest();
    assert!(tunnel.origin.is_ended());
    assert!(TcpStream::connect(site.proxy.address()).is_err());
}

#[test]
fn a_graceful_reload_keeps_tunnels_and_serves_the_new_file() {
    let site = Tunnels::new();
    let mut tunnel = site.open("/ws/x");
    tunnel.check("before");
    site.proxy.site.configure(&format!(
        "{}\nRewriteEngine On\nRewriteRule ^/new http://other.example/ [R]",
        site.configuration()
    ));
    assert_eq!(site.get("/new"), 404);
    site.proxy.control("graceful");
    assert!(
        eventually(|| site.get("/new") == 302),
        "{}",
        site.proxy.site.said()
    );
    tunnel.check("after");
    site.open("/ws/y").check("a tunnel under the new file");
    site.proxy.control("graceful");
    tunnel.check("after another reload");
}

#[test]
fn usr1_reloads_as_well() {
    let site = Tunnels::new();
    site.proxy
        .site
        .configure("RewriteEngine On\nRewriteRule ^/new http://other.example/ [R]");
    site.proxy.signal(Signal::SIGUSR1);
    assert!(
        eventually(|| site.get("/new") == 302),
        "{}",
        site.proxy.site.said()
    );
}

#[test]
fn a_route_that_is_gone_lets_its_tunnels_go_in_time() {
    let site = Tunnels::new();
    let mut tunnel = site.open("/ws/x");
    site.proxy.site.configure(&format!(
        "RewriteEngine On\nRewriteRule ^/new http://other.example/ [R]\n{PATIENT}"
    ));
    site.proxy.control("graceful");
    assert!(
        eventually(|| site.get("/new") == 302),
        "{}",
        site.proxy.site.said()
    );
    tunnel.check("the route is gone");
}

#[test]
fn a_wrong_file_at_a_reload_leaves_the_old_one_in_force() {
    let site = Tunnels::new();
    let mut tunnel = site.open("/ws/x");
    site.proxy.site.configure("ProxyPreserveHost maybe");
    let output = site.proxy.site.run(&["-k", "graceful"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("ProxyPreserveHost"));
    site.proxy.signal(Signal::SIGUSR1);
    assert!(
        site.proxy.says("ProxyPreserveHost"),
        "the reason is not in the error log"
    );
    tunnel.check("the old file is in force");
    site.open("/ws/y").check("for new tunnels too");
}

#[test]
fn graceful_stop_lets_tunnels_end() {
    let mut site = Tunnels::new();
    let mut tunnel = site.open("/ws/x");
    site.proxy.control("graceful-stop");
    assert!(eventually(
        || TcpStream::connect(site.proxy.address()).is_err()
    ));
    tunnel.check("after the last accept");
    drop(tunnel);
    assert!(site.proxy.wait().expect("an end").success());
}

#[test]
fn a_drain_can_be_cut_short() {
    let mut site = Tunnels::new();
    let mut tunnel = site.open("/ws/x");
    site.proxy.control("graceful-stop");
    assert!(eventually(
        || TcpStream::connect(site.proxy.address()).is_err()
    ));
    tunnel.check("the drain waits for this tunnel");
    site.proxy.signal(Signal::SIGTERM);
    assert!(site.proxy.wait().expect("an end").success());
}

#[test]
fn start_detaches_and_stop_ends_it() {
    let origin = Origin::start();
    let site = Site::new(
        Program::Relais,
        &format!("ProxyPass / http://{}/", origin.address),
    );
    let mut command = std::process::Command::new(Program::Relais.path());
    let status = command
        .arg("-f")
        .arg(site.file())
        .args(["-k", "start"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(status.status().expect("run the program").success());
    assert!(
        eventually(|| TcpStream::connect(site.address).is_ok()),
        "{}",
        site.said()
    );
    let mut client = Conn::connect(site.address);
    client.send(b"GET / HTTP/1.1\r\nHost: app.example\r\n\r\n");
    assert_eq!(status_of(&mut client), 200);
    assert!(site.run(&["-k", "stop"]).status.success());
    assert!(eventually(|| TcpStream::connect(site.address).is_err()));
}

#[test]
fn the_access_log_has_a_tunnel_when_it_ends() {
    let site = Tunnels::new();
    let mut tunnel = site.open("/ws/x?y");
    tunnel.check("some bytes");
    site.get("/nothing");
    assert_eq!(
        site.proxy.access_log(1),
        ["\"GET /nothing HTTP/1.1\" 404 236 -"]
    );
    drop(tunnel);
    assert_eq!(
        site.proxy.access_log(2)[1..],
        ["\"GET /ws/x?y HTTP/1.1\" 101 - websocket"]
    );
}

#[test]
fn an_idle_tunnel_ends_with_close_frames_and_its_reason() {
    let (listener, proxy) = origin_behind(
        "Timeout 1\nLogFormat \"%>s %{tunnel-end}x\" named\nCustomLog DIR/named.log named\n\
         ProxyPass /ws ws://ORIGIN/ws",
    );
    let mut client = proxy.connect();
    client.send(&message(HANDSHAKE));
    let mut origin = accepted(&listener);
    origin.head().expect("the handshake");
    origin.send(&message(ACCEPTED));
    assert_eq!(status(&client.head().expect("the 101")), 101);
    assert_eq!(client.rest(), b"\x88\x02\x03\xe9", "1001, unmasked");
    let to_origin = origin.rest();
    assert!(to_origin.starts_with(b"\x88\x82") && to_origin.len() == 8);
    drop((client, origin));
    assert!(eventually(
        || proxy.site.dir.read("named.log") == "101 idle\n"
    ));
}

/// relais in front of an origin that accepts every handshake.
struct Tunnels {
    origin: Origin,
    proxy: Running,
}

/// Both ends of an open tunnel.
struct Tunnel {
    client: Conn,
    origin: Conn,
}

impl Tunnels {
    fn new() -> Self {
        let origin = Origin::start();
        let proxy = Running::relais(&route(&origin));
        Self { origin, proxy }
    }

    fn configuration(&self) -> String {
        route(&self.origin)
    }

    fn open(&self, target: &str) -> Tunnel {
        self.origin.reply([(message(ACCEPTED), Then::Keep)]);
        let mut client = self.proxy.connect();
        client.send(&message(&HANDSHAKE.replace("/ws/x", target)));
        assert_eq!(status(&client.head().expect("an answer")), 101);
        Tunnel {
            client,
            origin: self.origin.upgraded().expect("a tunnel at the origin"),
        }
    }

    /// The status for a plain request on a connection of its own; 0 when there is no answer.
    fn get(&self, target: &str) -> u16 {
        let mut client = self.proxy.connect();
        client.send(
            format!("GET {target} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        );
        status_of(&mut client)
    }
}

impl Tunnel {
    /// Sends a frame in each direction and checks that it arrives.
    fn check(&mut self, text: &str) {
        let frame = [&[0x81, text.len() as u8], text.as_bytes()].concat();
        let masked = [
            &[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0],
            text.as_bytes(),
        ]
        .concat();
        self.client.send(&masked);
        assert_eq!(
            self.origin.exactly(masked.len()),
            masked,
            "{text}: to the origin"
        );
        self.origin.send(&frame);
        assert_eq!(
            self.client.exactly(frame.len()),
            frame,
            "{text}: to the client"
        );
    }
}

fn route(origin: &Origin) -> String {
    format!("ProxyPass /ws ws://{}/ws\n{PATIENT}", origin.address)
}

/// Drains take longer than a test.
const PATIENT: &str = "<IfModule tunnel_module>\nTunnelDrainWindow 600\n</IfModule>";

fn status_of(client: &mut Conn) -> u16 {
    status(&client.message(Kind::Response))
}
