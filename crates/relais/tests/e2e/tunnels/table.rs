//! The table of tunnels, orders to end some of them, and what drains do to them.

use std::os::unix::fs::PermissionsExt;

use super::{LOGGED, NORMAL, RESTARTS, asked, open, run};
use crate::harness::eventually;
use crate::harness::program::Running;
use crate::origins::origin_behind;

fn table(proxy: &Running, arguments: &[&str]) -> Vec<serde_json::Value> {
    match asked(proxy, &[&["tunnels"], arguments].concat()) {
        serde_json::Value::Array(rows) => rows,
        other => panic!("no list: {other}"),
    }
}

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
    assert_eq!(rows[0]["route"], "ProxyPass /ws");
    assert_eq!(rows[0]["route"], rows[1]["route"]);
    let place = rows[0]["place"].as_str().expect("a place");
    let line = place.rsplit_once("test.conf:").expect("file and line").1;
    let text = proxy.site.dir.read("test.conf");
    let line = text
        .lines()
        .nth(line.parse::<usize>().expect("a number") - 1);
    assert_eq!(
        line,
        Some(format!("ProxyPass /ws {}", rows[0]["target"].as_str().unwrap()).as_str())
    );
    let origin = listener.local_addr().expect("an address").to_string();
    assert_eq!(rows[0]["origin"], origin.as_str());
    let client = first.stream().local_addr().expect("an address");
    assert_eq!(rows[0]["client"], client.to_string());
    assert!(run(&proxy, &["tunnels"]).contains(&origin));
    assert!(run(&proxy, &["top"]).starts_with("2 tunnels"));

    let id = rows[1]["id"].to_string();
    for (option, value, count) in [
        ("--origin", "no.such.origin", 0),
        ("--origin", origin.as_str(), 2),
        ("--route", "ProxyPass /ws", 2),
        ("--route", "test.conf:", 2),
        ("--route", "/elsewhere", 0),
        ("--host", "MAIN.example", 2),
        ("--host", "main", 0),
        ("--client", "127.0.0.1", 2),
        ("--client", "127.0.0.2", 0),
        ("--idle", "1h", 0),
        ("--idle", "0", 2),
    ] {
        let rows = table(&proxy, &[option, value]);
        assert_eq!(rows.len(), count, "{option} {value}");
    }
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
    // Connections are taken by the kernel before relais has it.
    assert!(eventually(|| sockets().len() == 1));
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
fn a_graceful_stop_drains_tunnels_within_its_window() {
    let (listener, mut proxy) = origin_behind("TunnelDrainWindow 0\nProxyPass /ws ws://ORIGIN/ws");
    let (mut client, origin) = open(&listener, &proxy, "/ws/x");
    proxy.control("graceful-stop");
    assert_eq!(client.rest(), RESTARTS);
    drop((client, origin));
    assert!(proxy.wait().expect("an end").success());
}

#[test]
fn a_route_is_closed_with_a_code_over_a_time() {
    let body = format!("{LOGGED}ProxyPass /ws ws://ORIGIN/ws\nProxyPass /other ws://ORIGIN/other");
    let (listener, proxy) = origin_behind(&body);
    let mut tunnels: Vec<_> = (0..5).map(|_| open(&listener, &proxy, "/ws/x")).collect();
    let mut other = open(&listener, &proxy, "/other/x");
    let order = [
        "tunnels",
        "close",
        "--route",
        "ProxyPass /ws",
        "--code",
        "4001",
        "--spread",
        "300ms",
    ];
    assert!(run(&proxy, &order).starts_with("5 tunnels will be closed over 0.3 s with 4001"));
    for (client, _) in &mut tunnels {
        assert_eq!(client.rest(), b"\x88\x02\x0f\xa1");
    }
    drop(tunnels);
    assert!(eventually(
        || proxy.site.dir.read("named.log") == "101 kicked\n".repeat(5)
    ));
    super::passes(&mut other.0, &mut other.1);
    let origin = listener.local_addr().expect("an address").to_string();
    run(
        &proxy,
        &["tunnels", "drain", "--origin", &origin, "--spread", "0"],
    );
    assert_eq!(other.0.rest(), RESTARTS);
}
