//! Rotating logs: SIGUSR2, and `-k reopen`, open them again by their names without a reload, and no line is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;

use crate::harness::eventually;
use crate::harness::program::Running;
use crate::harness::wire::{Conn, Kind, status};

/// How often the log is rotated while requests come in.
const ROTATIONS: usize = 12;

#[test]
fn no_line_is_lost_when_logs_are_rotated() {
    let proxy = Running::relais("CustomLog DIR/rotated.log \"%U\"\nRedirect gone /");
    let address = proxy.address();
    let (done, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..3)
        .map(|client| {
            let (done, asked) = (Arc::clone(&done), Arc::clone(&asked));
            std::thread::spawn(move || {
                let mut count = 0;
                while !done.load(Ordering::Relaxed) {
                    let mut connection = Conn::connect(address);
                    for _ in 0..50 {
                        let line = format!("GET /{client}/{count} HTTP/1.1\r\nHost: a\r\n\r\n");
                        connection.send(line.as_bytes());
                        assert_eq!(status(&connection.message(Kind::Response)), 410);
                        count += 1;
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
                count
            })
        })
        .collect();
    let current = proxy.site.dir.join("rotated.log");
    for rotation in 0..ROTATIONS {
        let before = asked.load(Ordering::Relaxed);
        assert!(eventually(|| asked.load(Ordering::Relaxed) > before + 20));
        let old = proxy.site.dir.join(&format!("rotated.log.{rotation}"));
        std::fs::rename(&current, old).expect("rotate");
        if rotation % 2 == 0 {
            proxy.signal(Signal::SIGUSR2);
        } else {
            proxy.control("reopen");
        }
        assert!(eventually(|| current.exists()), "the log is opened again");
    }
    done.store(true, Ordering::Relaxed);
    let counts: Vec<usize> = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    let lines = || -> Vec<String> {
        let names = (0..ROTATIONS).map(|rotation| format!("rotated.log.{rotation}"));
        let names = names.chain(["rotated.log".to_owned()]);
        let text: String = names.map(|name| proxy.site.dir.read(&name)).collect();
        text.lines().map(str::to_owned).collect()
    };
    assert!(eventually(|| lines().len() >= counts.iter().sum()));
    let mut found = lines();
    found.sort();
    let each = |(client, count): (usize, &usize)| {
        (0..*count).map(move |number| format!("/{client}/{number}"))
    };
    let mut expected: Vec<String> = counts.iter().enumerate().flat_map(each).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert!(
        !proxy.site.said().contains("AH00493"),
        "nothing was reloaded"
    );
}
