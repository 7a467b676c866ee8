//! Tunnels as operators see them: the table and orders, reloads, limits, what happens under load, and the same file
//! under httpd.

mod against_httpd;
mod limits;
mod load;
mod metrics;
mod reload;
mod rotation;
mod storm;
mod table;

use std::net::TcpListener;

use crate::harness::program::Running;
use crate::harness::wire::{Conn, status};
use crate::origins::{ACCEPTED, HANDSHAKE, accepted, message};

/// A Close frame of relais to a client: the code 1012.
const RESTARTS: &[u8] = b"\x88\x02\x03\xf4";

/// The same with 1000.
const NORMAL: &[u8] = b"\x88\x02\x03\xe8";

/// The same with 1001.
const GOING_AWAY: &[u8] = b"\x88\x02\x03\xe9";

/// A log that says how tunnels have ended.
const LOGGED: &str = "LogFormat \"%>s %{tunnel-end}x\" named\nCustomLog DIR/named.log named\n";

/// Both ends of a new tunnel: the client's and the origin's.
pub(crate) fn open(listener: &TcpListener, proxy: &Running, target: &str) -> (Conn, Conn) {
    let mut client = proxy.connect();
    client.send(&message(&HANDSHAKE.replace("/ws/x", target)));
    let mut origin = accepted(listener);
    origin.head().expect("the handshake");
    origin.send(&message(ACCEPTED));
    assert_eq!(status(&client.head().expect("the 101")), 101);
    (client, origin)
}

/// Sends a short message and checks that it arrives.
fn passes(client: &mut Conn, origin: &mut Conn) {
    client.send(b"\x81\x81\0\0\0\0!");
    assert_eq!(origin.exactly(7), b"\x81\x81\0\0\0\0!", "to the origin");
    origin.send(b"\x81\x01?");
    assert_eq!(client.exactly(3), b"\x81\x01?", "to the client");
}

/// What the program says on its standard output; it has to succeed.
fn run(proxy: &Running, arguments: &[&str]) -> String {
    let output = proxy.site.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// The JSON that the program says.
fn asked(proxy: &Running, arguments: &[&str]) -> serde_json::Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&run(proxy, &arguments)).expect("JSON")
}
