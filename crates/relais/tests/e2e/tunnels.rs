//! The table of tunnels, orders to end some of them, and what reloads and drains do to them.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::harness::eventually;
use crate::harness::program::Running;
use crate::harness::wire::{Conn, status};
use crate::origins::{ACCEPTED, HANDSHAKE, accepted, message, origin_behind};

/// A Close frame of relais to a client: the code 1012.
const RESTARTS: &[u8] = b"\x88\x02\x03\xf4";

/// The same with 1000.
const NORMAL: &[u8] = b"\x88\x02\x03\xe8";

fn open(listener: &TcpListener, proxy: &Running, target: &str) -> (Conn, Conn) {
    let mut client = proxy.connect();
    client.send(&message(&HANDSHAKE.replace("/ws/x", target)));
    let mut origin = accepted(listener);
    origin.head().expect("the handshake");
    origin.send(&message(ACCEPTED));
    assert_eq!(status(&client.head().expect("the 101")), 101);
    (client, origin)
}

fn run(proxy: &Running, arguments: &[&str]) -> String {
    let output = proxy.site.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

fn table(proxy: &Running, arguments: &[&str]) -> Vec<serde_json::Value> {
    let arguments = [&["tunnels", "--json"], arguments].concat();
    let rows = serde_json::from_str(&run(proxy, &arguments)).expect("JSON");
    match rows {
        serde_json::Value::Array(rows) => rows,
        other => panic!("no list: {other}"),
    }
}

const LOGGED: &str = "LogFormat \"%>s %{tunnel-end}x\" named\nCustomLog DIR/named.log named\n";

#[test]
fn the_table_shows_tunnels_and_closes_those_that_are_named() {
    let body = format!("{LOGGED}ProxyPass /ws ws://ORIGIN/ws");
    let (listener, proxy) = origin_behind(&body);
    let (mut first, mut first_origin) = open(&listener, &proxy, "/ws/1");
    let (mut second, _second_origin) = open(&listener, &proxy, "/ws/2");
    first.send(b"\x81\x85\0\0\0\0hello");
    assert_eq!(first_origin.exactly(11), b"\x81\x85\0\0\0\0hello");
    let mut rows = Vec::new();
    assert!(eventually(|| {
        rows = table(&proxy, &["--sort", "messages"]);
        rows.len() == 2 && rows[0]["messages_in"] == 1
    }));
    assert_eq!(rows[0]["bytes_in"], 11);
    assert_eq!(rows[0]["route"], rows[1]["route"]);
    let origin = listener.local_addr().expect("an address").to_string();
    assert_eq!(rows[0]["origin"], origin.as_str());
    let client = first.stream().local_addr().expect("an address");
    assert_eq!(rows[0]["client"], client.to_string());
    assert!(run(&proxy, &["tunnels"]).contains(&origin));
    assert!(run(&proxy, &["top"]).starts_with("2 tunnels"));

    let id = rows[1]["id"].to_string();
    assert_eq!(table(&proxy, &["--origin", "no.such.origin"]).len(), 0);
    run(&proxy, &["tunnels", "close", &id]);
    assert_eq!(second.rest(), NORMAL);
    drop(second);
    assert!(eventually(|| table(&proxy, &[]).len() == 1));
    assert!(eventually(
        || proxy.site.dir.read("named.log") == "101 kicked\n"
    ));
    first.send(b"\x81\x81\0\0\0\0!");
    assert_eq!(
        first_origin.exactly(7),
        b"\x81\x81\0\0\0\0!",
        "the other goes on"
    );
}

#[test]
fn tunnels_are_not_closed_by_accident() {
    let (_listener, proxy) = origin_behind("ProxyPass /ws ws://ORIGIN/ws");
    for arguments in [
        &["tunnels", "close"][..],
        &["tunnels", "drain", "--code", "1006", "--all"],
        &["tunnels", "--sort", "name"],
    ] {
        assert!(!proxy.site.run(arguments).status.success(), "{arguments:?}");
    }
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_the_process() {
    let (_listener, mut proxy) = origin_behind("ProxyPass /ws ws://ORIGIN/ws");
    let folder = proxy.site.dir.path().to_owned();
    let sockets = || -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(&folder).expect("the folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "sock"))
            .collect()
    };
    let [socket] = sockets().try_into().expect("one socket");
    let mode = std::fs::metadata(socket)
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    proxy.control("stop");
    assert!(proxy.wait().expect("an end").success());
    assert!(sockets().is_empty());
}

#[test]
fn a_removed_route_is_drained_and_another_stays() {
    let routes = |second: &str| {
        format!("{LOGGED}TunnelDrainWindow 0\nProxyPass /ws ws://ORIGIN/ws\n{second}")
    };
    let (listener, proxy) = origin_behind(&routes(""));
    let port = listener.local_addr().expect("an address").port();
    let origin = format!("127.0.0.1:{port}");
    let configure = |second: &str| {
        proxy
            .site
            .configure(&routes(second).replace("ORIGIN", &origin));
        proxy.control("graceful");
    };
    configure(&format!("ProxyPass /b ws://localhost:{port}/b"));
    assert!(proxy.says("AH00493"));
    let (mut kept, mut kept_origin) = open(&listener, &proxy, "/ws/x");
    let (mut gone, _gone_origin) = open(&listener, &proxy, "/b/x");
    configure("");
    assert_eq!(gone.rest(), RESTARTS);
    drop(gone);
    assert!(eventually(
        || proxy.site.dir.read("named.log") == "101 drained\n"
    ));
    kept.send(b"\x81\x81\0\0\0\0!");
    assert_eq!(kept_origin.exactly(7), b"\x81\x81\0\0\0\0!");
}

#[test]
fn a_graceful_stop_drains_tunnels_within_its_window() {
    let (listener, mut proxy) = origin_behind("TunnelDrainWindow 0\nProxyPass /ws ws://ORIGIN/ws");
    let (mut client, origin) = open(&listener, &proxy, "/ws/x");
    proxy.control("graceful-stop");
    assert_eq!(client.rest(), RESTARTS);
    drop((client, origin));
    assert!(proxy.wait().expect("an end").success());
}
