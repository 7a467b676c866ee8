//! The same file and the same client under httpd and under relais, where the outcome is the opposite: what tunnels do
//! to httpd is why relais is here. Each test says what both did, so that neither can change unseen.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::crowd;
use crate::harness::program::{Program, Running, Site};
use crate::harness::wire::{Conn, Kind, status};
use crate::harness::{PATIENCE, eventually, installed};
use crate::origins::{HANDSHAKE, message};

/// How long an answer may take before there is none. httpd's are at hand or do not come.
const NO_ANSWER: Duration = Duration::from_secs(3);

/// Debian's `mpm_event.conf`.
const DEBIAN: &str = "StartServers 2\nMinSpareThreads 25\nMaxSpareThreads 75\nThreadLimit 64\n\
    ThreadsPerChild 25\nServerLimit 16\nMaxRequestWorkers 150\nMaxConnectionsPerChild 0\n";

/// Runs `test` under httpd and under relais, in front of an origin that sends back what it gets: what each did.
fn under_both<T>(body: &str, test: impl Fn(Running) -> T) -> Option<[T; 2]> {
    if !installed(&[("apache2", "apache2-bin")]) {
        return None;
    }
    let echo = crowd::origin(crowd::echo);
    let body =
        format!("{body}ProxyPass /ws ws://{echo}/ws\nCustomLog DIR/tunnels.log \"%>s %U\"\n");
    Some([Program::Httpd, Program::Relais].map(|program| test(Site::new(program, &body).start())))
}

/// Opens a tunnel; `None` if there is none to be had in this time.
fn tunnel(server: &Running, patience: Duration) -> Option<Conn> {
    let mut client = server.connect();
    client.patience(patience);
    client.send(&message(HANDSHAKE));
    let head = client.head()?;
    client.patience(PATIENCE);
    (status(&head) == 101).then_some(client)
}

/// Whether a message through the tunnel comes back.
fn passes(client: &mut Conn) -> bool {
    client.send(b"\x81\x81\0\0\0\0!");
    client.exactly(3) == b"\x81\x01!"
}

/// The status for a plain request; 0 without an answer.
fn get(server: &Running, patience: Duration) -> u16 {
    let mut client = server.connect();
    client.patience(patience);
    client.send(b"GET /nothing HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    status(&client.message(Kind::Response))
}

#[test]
fn a_hundred_and_fifty_idle_tunnels_and_a_request() {
    let outcomes = under_both(DEBIAN, |server| {
        // httpd starts more processes once a second, while clients wait.
        let tunnels = (0..150).map(|_| tunnel(&server, PATIENCE));
        let tunnels: Vec<Conn> = tunnels.flatten().collect();
        (tunnels.len(), get(&server, NO_ANSWER))
    });
    if let Some(outcomes) = outcomes {
        let [(_, httpd), relais] = outcomes;
        // Its last thread may be taken by a connection that ends.
        assert_eq!((httpd, relais), (0, (150, 404)), "httpd, relais");
    }
}

#[test]
fn eight_graceful_reloads_with_a_tunnel_in_each() {
    let outcomes = under_both("", |server| {
        let mut tunnels = Vec::new();
        for round in 1..=8 {
            tunnels.extend(tunnel(&server, NO_ANSWER));
            server.control("graceful");
            // Both log a reload under the same number.
            assert!(eventually(
                || server.site.said().matches("AH00493").count() == round
            ));
        }
        let alive = tunnels
            .iter_mut()
            .map(passes)
            .filter(|passes| *passes)
            .count();
        (alive == 8, get(&server, NO_ANSWER))
    });
    if let Some(outcomes) = outcomes {
        // httpd has no place left for a new generation: its tunnels go on, and nobody else is served.
        assert_eq!(outcomes, [(false, 0), (true, 404)], "httpd, relais");
    }
}

#[test]
fn stop_with_sixty_five_tunnels() {
    let outcomes = under_both("", |mut server| {
        let tunnels = (0..65).map(|_| tunnel(&server, PATIENCE));
        let mut tunnels: Vec<Conn> = tunnels.map(|tunnel| tunnel.expect("a tunnel")).collect();
        server.signal(Signal::SIGTERM);
        let rests: Vec<Vec<u8>> = tunnels.iter_mut().map(Conn::rest).collect();
        drop(tunnels);
        server.wait();
        let closes = rests
            .iter()
            .filter(|rest| *rest == super::GOING_AWAY)
            .count();
        let log = server.site.dir.read("tunnels.log");
        (closes, log.matches("101 /ws/x\n").count())
    });
    if let Some(outcomes) = outcomes {
        assert_eq!(
            outcomes,
            [(0, 0), (65, 65)],
            "httpd, relais: Close frames, lines"
        );
    }
}

#[test]
fn a_restart_with_one_open_tunnel() {
    let outcomes = under_both("", |server| {
        let mut tunnel = tunnel(&server, PATIENCE).expect("a tunnel");
        server.signal(Signal::SIGHUP);
        assert!(server.says("SIGHUP received") || server.says("AH00493"));
        // Both answer in the end: httpd when it has killed the process with the tunnel.
        let answered = get(&server, PATIENCE * 2);
        (answered, passes(&mut tunnel))
    });
    if let Some(outcomes) = outcomes {
        assert_eq!(outcomes, [(404, false), (404, true)], "httpd, relais");
    }
}

#[test]
fn what_a_client_hears_of_the_idle_time_out() {
    let outcomes = under_both("Timeout 1\n", |server| {
        let mut tunnel = tunnel(&server, PATIENCE).expect("a tunnel");
        (tunnel.rest(), tunnel.is_ended())
    });
    if let Some(outcomes) = outcomes {
        let expected = [(Vec::new(), true), (super::GOING_AWAY.to_vec(), true)];
        assert_eq!(outcomes, expected, "httpd, relais");
    }
}
