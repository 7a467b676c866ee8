//! Engines on their own threads, with real sockets.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use relais_tunnel::{
    EndReason, Engine, EngineHandle, Handoff, Label, Settings, TunnelEnd, TunnelLimits,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use support::{Ends, handoff};

const GRACE: Duration = Duration::from_secs(60);
const CLOSE_1001: &[u8] = b"\x88\x02\x03\xe9";

/// A connection over loopback: the end of a test, and the end that the engine gets.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    for stream in [&ours, &theirs] {
        stream.set_nodelay(true).unwrap();
    }
    (ours, theirs)
}

/// A tunnel on its way, and what the client and the origin hold.
fn tunnel(label: Box<dyn Label>) -> (Handoff, TcpStream, TcpStream) {
    let ((client, towards_client), (origin, towards_origin)) = (connection(), connection());
    let handoff = handoff(
        OwnedFd::from(towards_client).into(),
        OwnedFd::from(towards_origin).into(),
        TunnelLimits::default(),
        label,
    );
    (handoff, client, origin)
}

fn limits(change: impl Fn(&mut TunnelLimits)) -> std::sync::Arc<TunnelLimits> {
    let mut limits = TunnelLimits::default();
    change(&mut limits);
    std::sync::Arc::new(limits)
}

fn engine() -> EngineHandle {
    Engine::spawn("tunnels", 2).unwrap()
}

/// Everything up to the end of the stream.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, expected);
}

/// Undoes the mask of a frame with a short payload.
fn unmasked(frame: &[u8]) -> Vec<u8> {
    let (head, payload) = frame.split_at(6);
    let plain = payload
        .iter()
        .zip(head[2..].iter().cycle())
        .map(|(byte, mask)| byte ^ mask);
    [head[0], head[1] & 0x7f].into_iter().chain(plain).collect()
}

#[test]
fn ten_megabytes_there_and_back_past_a_slow_reader() {
    let (engine, ends) = (engine(), Ends::default());
    let (mut handoff, mut client, mut origin) = tunnel(ends.label(0));
    handoff.websocket = false;
    engine.submit(handoff).unwrap();
    let sent: Vec<u8> = (0..10_u32 << 20)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();

    let echo = thread::spawn(move || {
        let mut writer = origin.try_clone().unwrap();
        std::io::copy(&mut origin, &mut writer).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut writer = client.try_clone().unwrap();
    let bytes = sent.clone();
    let feed = thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    let mut piece = [0; 3000];
    loop {
        let count = client.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        received.extend_from_slice(&piece[..count]);
        // Slower than the writer, so that every buffer on the way is full now and then.
        thread::yield_now();
    }
    feed.join().unwrap();
    echo.join().unwrap();
    assert!(received == sent);
    let (_, end) = ends.wait(1).remove(0);
    let size = sent.len() as u64;
    assert_eq!(
        (end.reason, end.client_to_origin, end.origin_to_client),
        (EndReason::ClientClose, size, size)
    );
}

#[test]
fn half_close_both_ways() {
    let (engine, ends) = (engine(), Ends::default());
    for client_first in [true, false] {
        let (handoff, client, origin) = tunnel(ends.label(usize::from(client_first)));
        engine.submit(handoff).unwrap();
        let (mut first, mut second) = if client_first {
            (client, origin)
        } else {
            (origin, client)
        };
        first.write_all(b"last words").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut second), b"last words");
        second.write_all(b"after-eof").unwrap();
        drop(second);
        assert_eq!(rest(&mut first), b"after-eof");
    }
    let mut reasons: Vec<_> = ends
        .wait(2)
        .into_iter()
        .map(|(number, end)| (number, end.reason))
        .collect();
    reasons.sort_by_key(|(number, _)| *number);
    assert_eq!(
        reasons,
        [(0, EndReason::OriginClose), (1, EndReason::ClientClose)]
    );
}

#[test]
fn without_half_close_the_first_end_is_the_end() {
    let (engine, ends) = (engine(), Ends::default());
    let (mut handoff, mut client, mut origin) = tunnel(ends.label(0));
    handoff.limits = limits(|limits| limits.half_close = false);
    engine.submit(handoff).unwrap();
    client.write_all(b"bye").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut origin), b"bye");
    assert_eq!(rest(&mut client), b"");
    drop(origin);
    assert_eq!(ends.wait(1)[0].1.reason, EndReason::ClientClose);
}

#[test]
fn the_head_and_what_came_along_go_first() {
    let (engine, ends) = (engine(), Ends::default());
    let (mut handoff, mut client, mut origin) = tunnel(ends.label(0));
    handoff.to_origin = b"\x81\x82maskhi".to_vec();
    handoff.to_client = b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02yo".to_vec();
    handoff.to_client_head = handoff.to_client.len() - 4;
    let head = handoff.to_client.clone();
    engine.submit(handoff).unwrap();
    expect(&mut origin, b"\x81\x82maskhi");
    expect(&mut client, &head);
    client.write_all(b"\x88\x80mask").unwrap();
    expect(&mut origin, b"\x88\x80mask");
    drop(origin);
    assert_eq!(rest(&mut client), b"");
    drop(client);
    let (_, end) = ends.wait(1).remove(0);
    let TunnelEnd {
        reason,
        client_to_origin,
        origin_to_client,
        messages_to_origin,
        messages_to_client,
        close_code,
        ..
    } = end;
    assert_eq!((reason, close_code), (EndReason::ClientClose, None));
    assert_eq!((client_to_origin, origin_to_client), (14, 4));
    assert_eq!((messages_to_origin, messages_to_client), (1, 1));
}

#[test]
fn a_clients_reset_reaches_the_origin_as_an_end() {
    let (engine, ends) = (engine(), Ends::default());
    let (mut handoff, mut client, mut origin) = tunnel(ends.label(0));
    handoff.websocket = false;
    engine.submit(handoff).unwrap();
    client.write_all(b"hello").unwrap();
    expect(&mut origin, b"hello");
    origin.write_all(b"unread").unwrap();
    assert!(client.peek(&mut [0; 8]).unwrap() > 0);
    // Closing with unread bytes makes the kernel send a reset.
    drop(client);
    assert_eq!(rest(&mut origin), b"");
    drop(origin);
    assert_eq!(ends.wait(1)[0].1.reason, EndReason::ClientReset);
}

#[test]
fn five_hundred_idle_tunnels_are_open_until_the_stop() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let (engine, ends) = (engine(), Ends::default());
    let mut peers = Vec::new();
    for number in 0..500 {
        let (mut handoff, client, origin) = tunnel(ends.label(number));
        handoff.limits = limits(|limits| limits.idle = Some(Duration::from_secs(3600)));
        engine.submit(handoff).unwrap();
        peers.push((client, origin));
    }
    assert_eq!(engine.open(), 500);
    for (client, origin) in &mut peers {
        client.write_all(b"\x89\x80mask").unwrap();
        expect(origin, b"\x89\x80mask");
    }
    let stopper = engine.clone();
    let stop = thread::spawn(move || stopper.stop(GRACE));
    for (client, origin) in &mut peers {
        assert_eq!(rest(client), CLOSE_1001);
        assert_eq!(unmasked(&rest(origin)), CLOSE_1001);
    }
    drop(peers);
    assert_eq!(stop.join().unwrap(), 500);
    let ends = ends.wait(500);
    assert!(
        ends.iter()
            .all(|(_, end)| (end.reason, end.client_to_origin) == (EndReason::Stopped, 6))
    );
    assert_eq!((engine.open(), engine.stop(GRACE)), (0, 0));
    let (handoff, ..) = tunnel(Box::new(Panics));
    assert!(engine.submit(handoff).is_err());
}

#[test]
fn no_close_frame_within_a_frame() {
    let (engine, ends) = (engine(), Ends::default());
    let (handoff, mut client, mut origin) = tunnel(ends.label(0));
    engine.submit(handoff).unwrap();
    origin.write_all(b"\x81\x05hel").unwrap();
    expect(&mut client, b"\x81\x05hel");

    let stop = thread::spawn(move || engine.stop(GRACE));
    assert_eq!(rest(&mut client), b"");
    assert_eq!(unmasked(&rest(&mut origin)), CLOSE_1001);
    drop((client, origin));
    assert_eq!(stop.join().unwrap(), 1);
}

#[test]
fn peers_that_do_not_answer_are_cut_off_after_the_grace() {
    let (engine, ends) = (engine(), Ends::default());
    let (handoff, mut client, _origin) = tunnel(ends.label(0));
    engine.submit(handoff).unwrap();
    assert_eq!(engine.stop(Duration::ZERO), 1);
    assert_eq!(rest(&mut client), CLOSE_1001);
    assert_eq!(ends.wait(1)[0].1.reason, EndReason::Stopped);
}

#[test]
fn silence_ends_a_tunnel() {
    let (engine, ends) = (engine(), Ends::default());
    let (mut handoff, mut client, mut origin) = tunnel(ends.label(0));
    handoff.limits = limits(|limits| limits.idle = Some(Duration::from_millis(150)));
    engine.submit(handoff).unwrap();
    assert_eq!(rest(&mut client), CLOSE_1001);
    assert_eq!(unmasked(&rest(&mut origin)), CLOSE_1001);
    drop((client, origin));
    assert_eq!(ends.wait(1)[0].1.reason, EndReason::Idle);
}

#[test]
fn other_protocols_get_no_close_frame() {
    let (engine, ends) = (engine(), Ends::default());
    let (mut handoff, mut client, mut origin) = tunnel(ends.label(0));
    handoff.websocket = false;
    handoff.limits = limits(|limits| limits.idle = Some(Duration::from_millis(1)));
    engine.submit(handoff).unwrap();
    assert_eq!(
        (rest(&mut client), rest(&mut origin)),
        (Vec::new(), Vec::new())
    );
}

/// A label that fails.
struct Panics;

impl Label for Panics {
    fn ended(self: Box<Self>, _: &TunnelEnd) {
        panic!("this label panics on purpose");
    }
}

#[test]
fn a_label_that_panics_takes_nobody_along() {
    let engine = Engine::spawn("tunnels", 1).unwrap();
    let ends = Ends::default();
    let (survivor, mut client, mut origin) = tunnel(ends.label(0));
    engine.submit(survivor).unwrap();
    let (handoff, doomed, mut its_origin) = tunnel(Box::new(Panics));
    engine.submit(handoff).unwrap();
    drop(doomed);
    assert_eq!(rest(&mut its_origin), b"");
    drop(its_origin);
    client.write_all(b"still here").unwrap();
    expect(&mut origin, b"still here");
    drop((client, origin));
    assert_eq!(ends.wait(1)[0].1.reason, EndReason::ClientClose);
}

#[test]
fn a_full_queue_gives_the_tunnel_back() {
    let settings = Settings {
        queue: 0,
        ..Settings::default()
    };
    let engine = Engine::spawn_with("tunnels", 2, settings).unwrap();
    let ends = Ends::default();
    let (handoff, mut client, _origin) = tunnel(ends.label(0));
    let back = engine.submit(handoff).unwrap_err();
    assert_eq!(engine.open(), 0);
    client
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let kind = client.read(&mut [0]).unwrap_err().kind();
    assert!(
        matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{kind:?}"
    );
    drop(back);
}

#[test]
fn tunnels_outlive_the_last_handle() {
    let (engine, ends) = (engine(), Ends::default());
    let (handoff, mut client, mut origin) = tunnel(ends.label(0));
    engine.submit(handoff).unwrap();
    drop(engine);
    client.write_all(b"alone").unwrap();
    expect(&mut origin, b"alone");
    drop(origin);
    assert_eq!(rest(&mut client), b"");
    drop(client);
    assert_eq!(ends.wait(1)[0].1.reason, EndReason::OriginClose);
}
