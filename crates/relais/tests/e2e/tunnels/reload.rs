//! What a reload does to live tunnels, what it would do, and what it leaves behind.

use std::net::TcpListener;

use nix::sys::signal::Signal;

use super::{LOGGED, RESTARTS, asked, open, passes, run};
use crate::harness::eventually;
use crate::harness::program::Running;
use crate::harness::wire::{Conn, Kind, status};
use crate::origins::origin_behind;

/// relais with two routes, of which a test changes the second.
struct Routes {
    listener: TcpListener,
    proxy: Running,
}

impl Routes {
    fn new(second: &str) -> Self {
        let (listener, proxy) = origin_behind("");
        let routes = Self { listener, proxy };
        routes.configure(second);
        routes.proxy.control("graceful");
        assert!(routes.proxy.says("AH00493"));
        routes
    }

    /// Writes a file with these lines behind those of the first route.
    fn configure(&self, second: &str) {
        let port = self.listener.local_addr().expect("an address").port();
        let body =
            format!("{LOGGED}TunnelDrainWindow 0\nProxyPass /ws ws://127.0.0.1:PORT/ws\n{second}");
        self.proxy
            .site
            .configure(&body.replace("PORT", &port.to_string()));
    }

    fn open(&self, target: &str) -> (Conn, Conn) {
        open(&self.listener, &self.proxy, target)
    }
}

#[test]
fn a_removed_route_is_drained_and_another_stays() {
    let routes = Routes::new("ProxyPass /b ws://localhost:PORT/b");
    let (mut kept, mut kept_origin) = routes.open("/ws/x");
    let (mut gone, _gone_origin) = routes.open("/b/x");
    routes.configure("");
    routes.proxy.control("graceful");
    assert_eq!(gone.rest(), RESTARTS);
    drop(gone);
    let log = || routes.proxy.site.dir.read("named.log");
    assert!(eventually(|| log() == "101 drained\n"));
    passes(&mut kept, &mut kept_origin);
}

#[test]
fn a_dry_run_says_what_a_reload_then_does() {
    let routes = Routes::new(
        "ProxyPass /gone ws://localhost:PORT/gone\nProxyPass /moved ws://localhost:PORT/moved",
    );
    let mut kept = routes.open("/ws/x");
    let mut gone = routes.open("/gone/x");
    let mut moved = [routes.open("/moved/x"), routes.open("/moved/y")];
    routes.configure("ProxyPass /moved ws://127.0.0.2:PORT/moved\nTunnelOnReload changed=close");
    let fates = |answer: &serde_json::Value| -> Vec<(String, u64, String, String)> {
        let rows = answer["routes"].as_array().expect("routes").iter();
        let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_owned();
        let mut rows: Vec<_> = rows
            .map(|row| {
                let tunnels = row["tunnels"].as_u64().expect("a number");
                let route = text(row, "route");
                (route, tunnels, text(row, "fate"), text(row, "action"))
            })
            .collect();
        rows.sort();
        rows
    };
    let row = |route: &str, tunnels, fate: &str, action: &str| {
        let route = format!("ProxyPass {route}");
        (route, tunnels, fate.to_owned(), action.to_owned())
    };
    let expected = [
        row("/gone", 1, "removed", "drain"),
        row("/moved", 2, "changed", "close"),
        row("/ws", 1, "unchanged", "keep"),
    ];
    assert_eq!(
        fates(&asked(&routes.proxy, &["reload", "--dry-run"])),
        expected
    );
    let text = run(&routes.proxy, &["-k", "graceful", "--dry-run"]);
    assert!(
        text.ends_with("1 tunnels would stay, 1 drain, 2 close.\n"),
        "{text}"
    );
    // Nothing has happened.
    for (client, origin) in moved.iter_mut().chain([&mut kept, &mut gone]) {
        passes(client, origin);
    }
    assert_eq!(fates(&asked(&routes.proxy, &["reload"])), expected);
    for (client, _) in moved.iter_mut().chain([&mut gone]) {
        assert_eq!(client.rest(), RESTARTS);
    }
    passes(&mut kept.0, &mut kept.1);
}

#[test]
fn a_wrong_file_changes_nothing_and_is_told() {
    let routes = Routes::new("");
    let mut kept = routes.open("/ws/x");
    routes.configure("ProxyPass");
    for arguments in [&["reload"][..], &["reload", "--dry-run"]] {
        // The configuration that says where the socket is cannot be read either.
        let output = routes.proxy.site.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("test.conf:"),
            "{said}"
        );
        assert!(said.contains("--socket"), "{said}");
    }
    // With the socket's name relais is asked all the same, and says what it has read.
    let socket = routes
        .proxy
        .site
        .dir
        .join("test.sock")
        .display()
        .to_string();
    for arguments in [&["reload"][..], &["reload", "--dry-run"]] {
        let arguments = [arguments, &["--socket", &socket]].concat();
        let output = routes.proxy.site.run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("test.conf:"), "{said}");
        assert!(said.contains("the configuration was not changed"), "{said}");
        assert!(!output.status.success());
    }
    assert_eq!(
        asked(&routes.proxy, &["status", "--socket", &socket])["tunnels"],
        1
    );
    routes.proxy.signal(Signal::SIGUSR1);
    assert!(routes.proxy.says("the configuration was not changed"));
    passes(&mut kept.0, &mut kept.1);
}

#[test]
fn a_section_says_what_a_reload_does_to_its_tunnels() {
    let section = "<Location /own>\nTunnelOnReload unchanged=drain\nTunnelDrainWindow 0\n\
                   ProxyPass ws://127.0.0.1:PORT/own\n</Location>";
    let routes = Routes::new(section);
    let mut kept = routes.open("/ws/x");
    let (mut own, _origin) = routes.open("/own/x");
    let answer = asked(&routes.proxy, &["reload"]);
    assert!(answer.to_string().contains("\"drain\""), "{answer}");
    assert_eq!(own.rest(), RESTARTS);
    passes(&mut kept.0, &mut kept.1);
}

#[test]
fn no_configuration_outlives_its_last_request() {
    let routes = Routes::new("ProxyPass /slow http://localhost:PORT/");
    let snapshots = || asked(&routes.proxy, &["status"])["snapshots"].clone();
    let mut kept = routes.open("/ws/x");
    assert!(eventually(|| snapshots() == 1), "{}", snapshots());
    // A request that is under way keeps what it began with, and so does nothing else: not the tunnel, not a connection
    // that waits for its next request.
    let mut idle = routes.proxy.connect();
    idle.send(b"GET /none HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(status(&idle.message(Kind::Response)), 404);
    let mut slow = routes.proxy.connect();
    slow.send(b"GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut origin = crate::origins::accepted(&routes.listener);
    origin.head().expect("the slow request");
    for _ in 0..10 {
        run(&routes.proxy, &["reload"]);
    }
    assert!(eventually(|| snapshots() == 2), "{}", snapshots());
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(status(&slow.message(Kind::Response)), 200);
    assert!(eventually(|| snapshots() == 1), "{}", snapshots());
    passes(&mut kept.0, &mut kept.1);
    let status = asked(&routes.proxy, &["status"]);
    assert_eq!(
        (&status["reloads"], &status["tunnels"]),
        (&11.into(), &1.into())
    );
}

#[test]
fn a_drain_lets_go_of_its_configuration_too() {
    let routes = Routes::new("ProxyPass /gone ws://localhost:PORT/gone");
    let snapshots = || asked(&routes.proxy, &["status"])["snapshots"].clone();
    let (mut gone, origin) = routes.open("/gone/x");
    routes.configure("");
    run(&routes.proxy, &["reload"]);
    assert_eq!(gone.rest(), RESTARTS);
    drop((gone, origin));
    assert!(eventually(|| snapshots() == 1), "{}", snapshots());
}

#[test]
fn listeners_come_and_go_and_tunnels_stay() {
    let [first, second] = [0; 2].map(|_| crate::harness::program::free_address());
    let routes = Routes::new(&format!("Listen {first}"));
    let answers = |address| match std::net::TcpStream::connect(address) {
        Err(_) => false,
        Ok(stream) => {
            let mut client = Conn::new(stream);
            client.send(b"GET /none HTTP/1.1\r\nHost: a.example\r\n\r\n");
            status(&client.message(Kind::Response)) == 404
        }
    };
    assert!(eventually(|| answers(first)));
    let (mut client, mut origin) = routes.open("/ws/x");
    routes.configure(&format!("Listen {second}"));
    run(&routes.proxy, &["reload"]);
    assert!(eventually(|| answers(second) && !answers(first)));
    assert!(
        answers(routes.proxy.address()),
        "what both files have stays"
    );
    passes(&mut client, &mut origin);
}

#[test]
fn a_graceful_stop_has_an_end() {
    let mut routes = Routes::new("TunnelDrainWindow 600\nGracefulShutdownTimeout 1");
    let (mut client, mut origin) = routes.open("/ws/x");
    routes.proxy.control("graceful-stop");
    passes(&mut client, &mut origin);
    assert_eq!(client.rest(), super::GOING_AWAY);
    drop((client, origin));
    assert!(routes.proxy.wait().expect("an end").success());
    assert_eq!(routes.proxy.site.dir.read("named.log"), "101 stopped\n");
}
