//! Clients that do not read or hardly send, an origin that is killed, and descriptors that run out.

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{LOGGED, asked};
use crate::harness::crowd::{self, frame_head};
use crate::harness::program::{Program, Running, Site};
use crate::harness::wire::{Conn, status};
use crate::harness::{PATIENCE, eventually, installed, within};
use crate::origins::{HANDSHAKE, message, origin_behind};

/// Clients that never read.
const SILENT: usize = 4000;

/// Threads that relais has at the most here, each of which may hold 32 MiB for peers that do not read.
const HELD_KIB: u64 = 32 << 10;

/// What an open tunnel may cost beside what it holds.
const TUNNEL_KIB: u64 = 4;

/// Threads that open tunnels.
const OPENERS: usize = 8;

/// What one of the clients reads in the end.
const READ_LATE: usize = 128 << 10;

#[test]
fn clients_that_never_read_do_not_fill_the_memory() {
    let _turn = crowd::turn();
    let count = crowd::affordable(SILENT);
    let flood = crowd::origin(flood);
    let proxy = Running::relais(&format!("ProxyPass /ws ws://{flood}/ws"));
    let before = proxy.resident_kib();
    let open = |count| -> Vec<Conn> { (0..count).map(|_| never_reads(&proxy)).collect() };
    let mut clients: Vec<Conn> = std::thread::scope(|scope| {
        let some = (0..OPENERS).map(|at| (count + at) / OPENERS);
        let threads: Vec<_> = some.map(|some| scope.spawn(move || open(some))).collect();
        let opened = threads
            .into_iter()
            .map(|thread| thread.join().expect("tunnels"));
        opened.flatten().collect()
    });
    let tunnels = || asked(&proxy, &["status"])["tunnels"] == count;
    assert!(within(Duration::from_secs(60), tunnels));
    // Memory has to stand still below the bound, however long the origin goes on.
    let engines = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let bound = before + engines * HELD_KIB + count as u64 * TUNNEL_KIB;
    let mut peak = 0;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(200));
        peak = peak.max(proxy.resident_kib());
    }
    eprintln!(
        "{count} clients that never read: {before} KiB before, {peak} KiB at most, the bound is {bound} KiB"
    );
    assert!(peak <= bound, "{peak} KiB of {bound}");
    // Nothing is lost, and nobody else waits.
    let mut reader = clients.pop().expect("a client");
    let start = reader.exactly(READ_LATE);
    let frame = flood_frame();
    assert!(
        start.len() == READ_LATE
            && start
                .chunks(frame.len())
                .all(|part| frame.starts_with(part))
    );
}

/// A tunnel whose client reads no more than the 101, over a connection whose window holds little.
fn never_reads(proxy: &Running) -> Conn {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        // Programs that other tests start must not have it.
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .expect("a socket");
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 16 << 10).expect("a small buffer");
    let connected = eventually(|| rustix::net::connect(&socket, &proxy.address()).is_ok());
    assert!(connected, "connect");
    let mut client = Conn::new(std::net::TcpStream::from(socket));
    client.send(&message(HANDSHAKE));
    assert_eq!(status(&client.head().expect("the 101")), 101);
    client
}

fn flood_frame() -> Vec<u8> {
    let length = 16 << 10;
    [frame_head(0x82, length, 0), vec![b'x'; length]].concat()
}

/// Sends frames for as long as they are taken.
async fn flood(mut stream: TcpStream) {
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, 16 << 10);
    if crowd::accept(&mut stream).await.is_some() {
        let frame = flood_frame();
        while stream.write_all(&frame).await.is_ok() {}
    }
}

#[test]
fn a_byte_a_second_is_a_tunnel_in_use() {
    let (listener, proxy) = origin_behind(&format!(
        "{LOGGED}TunnelIdleTimeout 4\nProxyPass /ws ws://ORIGIN/ws"
    ));
    let (mut client, mut origin) = super::open(&listener, &proxy, "/ws/x");
    let frame = b"\x81\x84\0\0\0\0slow";
    for (at, byte) in frame.iter().enumerate() {
        client.send(&[*byte]);
        assert_eq!(origin.exactly(1), [*byte], "byte {at} passes at once");
        std::thread::sleep(Duration::from_secs(1));
    }
    super::passes(&mut client, &mut origin);
    let rest = client.rest();
    assert_eq!(rest, super::GOING_AWAY, "silence is what ends it");
    drop((client, origin));
    assert!(eventually(
        || proxy.site.dir.read("named.log") == "101 idle\n"
    ));
}

#[test]
fn an_origin_that_is_killed_ends_its_tunnels_and_no_other() {
    if !installed(&[("python3", "python3")]) {
        return;
    }
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/e2e/python/silent_origin.py"
    );
    let mut killed = Command::new("python3")
        .arg(script)
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the origin");
    let mut port = String::new();
    let mut output = std::io::BufReader::new(killed.stdout.take().expect("its output"));
    std::io::BufRead::read_line(&mut output, &mut port).expect("its port");
    let routes = format!(
        "{LOGGED}ProxyPass /killed ws://127.0.0.1:{}/\nProxyPass /ws ws://ORIGIN/ws",
        port.trim()
    );
    let (listener, proxy) = origin_behind(&routes);
    let (mut kept, mut kept_origin) = super::open(&listener, &proxy, "/ws/x");
    let mut clients: Vec<Conn> = (0..50)
        .map(|_| {
            let mut client = proxy.connect();
            client.send(&message(&HANDSHAKE.replace("/ws/x", "/killed/x")));
            assert_eq!(status(&client.head().expect("the 101")), 101);
            // What the origin has not read when it is killed makes the kernel reset the connection.
            client.send(b"\x81\x81\0\0\0\0!");
            client
        })
        .collect();
    killed.kill().expect("kill the origin");
    killed.wait().expect("its end");
    for client in &mut clients {
        client.rest();
        assert!(client.is_ended(), "every client hears of it");
    }
    drop(clients);
    let ends = proxy.log("named.log", 50);
    let named = ["101 origin-close", "101 origin-reset"];
    assert!(
        ends.iter().all(|end| named.contains(&end.as_str())),
        "{ends:?}"
    );
    assert_eq!(ends.len(), 50);
    super::passes(&mut kept, &mut kept_origin);
    let mut late = proxy.connect();
    late.send(&message(&HANDSHAKE.replace("/ws/x", "/killed/x")));
    assert_eq!(status(&late.head().expect("an answer")), 503);
}

/// Descriptors of relais in the next test.
const DESCRIPTORS: u32 = 120;

#[test]
fn descriptors_run_out_and_come_back() {
    let echo = crowd::origin(crowd::echo);
    let site = Site::new(Program::Relais, &format!("ProxyPass /ws ws://{echo}/ws"));
    let proxy = site.with_descriptors(DESCRIPTORS).start();
    assert!(proxy.says("the limit of 120 descriptors allows 28 tunnels"));
    let mut open = Vec::new();
    let mut waiting = loop {
        let mut client = proxy.connect();
        client.send(&message(HANDSHAKE));
        client.patience(Duration::from_secs(3));
        match client.head() {
            Some(head) => assert_eq!(status(&head), 101, "{}", head.escape_ascii()),
            None => break client,
        }
        open.push(client);
        assert!(open.len() < DESCRIPTORS as usize);
    };
    assert!(open.len() >= 20, "{} tunnels", open.len());
    assert!(proxy.says("raise LimitNOFILE= of the service"));
    for client in &mut open {
        client.patience(PATIENCE);
        client.send(b"\x81\x81\0\0\0\0!");
        assert_eq!(client.exactly(3), b"\x81\x01!", "no tunnel has died");
    }
    // The reserve is there for the operator: the table, a reload, a log.
    assert_eq!(asked(&proxy, &["status"])["tunnels"], open.len());
    proxy.control("graceful");
    assert!(proxy.says("AH00493"));
    open.truncate(open.len() / 2);
    waiting.patience(PATIENCE);
    assert_eq!(status(&waiting.head().expect("its turn comes")), 101);
    for client in &mut open {
        client.send(b"\x81\x81\0\0\0\0!");
        assert_eq!(client.exactly(3), b"\x81\x01!");
    }
    let said = proxy.site.dir.read("error.log");
    assert!(
        said.matches("LimitNOFILE= of the service or").count() <= 4,
        "not for each try:\n{said}"
    );
}
