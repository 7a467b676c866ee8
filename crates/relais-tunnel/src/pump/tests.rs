//! A pump driven by scripts: what happens to it, and what it asks for.

use super::*;
use std::io::ErrorKind;

const ROOM: usize = 8;

fn pump(half_close: bool) -> Pump {
    let limits = TunnelLimits {
        half_close,
        ..TunnelLimits::default()
    };
    Pump::new(false, false, Arc::new(limits), [0; 4])
}

/// Runs a script against a pump and tells what it wanted.
///
/// `c+r` says that the client became readable, `o+w` that the origin became writable, `h` adds a hangup. What
/// follows are the outcomes of the reads and writes that the pump asks for: a count, `-` blocked, `.` end, `!`
/// reset, `?` another fault. In the answer `Rc` is a read from the client, `Fo` an offer of the bytes just read to
/// the origin, `Wo` a write of kept bytes, `So` the end of the stream to the origin, and then `wait` or `done`.
fn run(pump: &mut Pump, script: &str) -> String {
    let mut words = script.split_whitespace().peekable();
    let mut told = Vec::new();
    while let Some(word) = words.next() {
        if let Some((side, what)) = word.split_once('+') {
            let has = |flag| what.contains(flag);
            pump.ready(side_of(side), has('r') || has('h'), has('w'), has('h'));
        }
        drive(pump, &mut words, &mut told);
    }
    told.join(" ")
}

fn drive<'a>(pump: &mut Pump, words: &mut impl Iterator<Item = &'a str>, told: &mut Vec<String>) {
    let mut outcome = || {
        words
            .next()
            .expect("the script has an outcome for each step")
    };
    loop {
        match pump.step() {
            Step::Read(from) => {
                told.push(format!("R{}", letter(from)));
                let got = read_of(outcome());
                let buffer = [b'x'; ROOM];
                let count = pump.read(from, got, &buffer);
                if count > 0 {
                    told.push(format!("F{}", letter(from.other())));
                    pump.forwarded(from, &buffer[..count], write_of(outcome()));
                }
            }
            Step::Write(to) => {
                assert!(!pump.unsent(to).is_empty());
                told.push(format!("W{}", letter(to)));
                pump.wrote(to, write_of(outcome()));
            }
            Step::Shutdown(to) => told.push(format!("S{}", letter(to))),
            // Copying is what these scripts are about.
            Step::Fill(from, _) => pump.copy(from),
            Step::Drain(..) => unreachable!("nothing is in a pipe"),
            Step::Wait => return told.push("wait".to_owned()),
            Step::Done => return told.push("done".to_owned()),
        }
    }
}

fn side_of(word: &str) -> Side {
    if word == "c" {
        Side::Client
    } else {
        Side::Origin
    }
}

fn letter(side: Side) -> char {
    if side == Side::Client { 'c' } else { 'o' }
}

fn read_of(word: &str) -> Read {
    match word {
        "-" => Read::Blocked,
        "." => Read::End,
        "!" => Read::Broken(Fault::Reset),
        "?" => Read::Broken(Fault::Other(ErrorKind::TimedOut)),
        count => Read::Bytes(count.parse().unwrap()),
    }
}

fn write_of(word: &str) -> Write {
    match word {
        "-" => Write::Blocked,
        "!" => Write::Broken(Fault::Reset),
        "?" => Write::Broken(Fault::Other(ErrorKind::TimedOut)),
        count => Write::Bytes(count.parse().unwrap()),
    }
}

#[test]
fn bytes_and_ends() {
    for (script, expected) in [
        // A short read is not followed by another one, a full one is.
        ("c+r 5 5", "Rc Fo wait"),
        ("o+r 5 5", "Ro Fc wait"),
        ("c+r 8 8 3 3", "Rc Fo Rc Fo wait"),
        ("c+r 8 8 -", "Rc Fo Rc wait"),
        ("c+r - c+r 1 1", "Rc wait Rc Fo wait"),
        ("c+w o+w", "wait wait"),
        // Back-pressure: nothing is read while bytes wait for the other side.
        (
            "c+r 5 2 c+r c+r o+w 3 1 1",
            "Rc Fo wait wait wait Wo Rc Fo wait",
        ),
        (
            "c+r 5 - o+w 2 o+w - o+w 3",
            "Rc Fo wait Wo wait Wo wait Wo wait",
        ),
        ("c+r 5 2 o+r 4 4", "Rc Fo wait Ro Fc wait"),
        // Two busy directions take turns.
        (
            "c+ o+r 8 8 5 5 c+r 8 8 2 2",
            "wait Ro Fc Ro Fc wait Rc Fo Rc Fo wait",
        ),
        // A hangup makes reading go on to the end, which is passed on behind the last byte.
        ("c+h 5 5 .", "Rc Fo Rc So wait"),
        ("c+h 5 5 - c+r 1 1", "Rc Fo Rc wait Rc Fo wait"),
        ("c+h 5 2 o+w 3 .", "Rc Fo wait Wo Rc So wait"),
        ("c+h 8 8 5 1 o+w 4 .", "Rc Fo Rc Fo wait Wo Rc So wait"),
        // The opposite direction goes on after an end.
        (
            "c+h . o+r 5 5 o+h 1 1 .",
            "Rc So wait Ro Fc wait Ro Fc Ro Sc done",
        ),
        ("o+h . c+r 5 5 c+h .", "Ro Sc wait Rc Fo wait Rc So done"),
        // A reset is an end for the other side, whose own bytes are then dropped.
        ("c+h ! o+h 5 .", "Rc So wait Ro Ro done"),
        ("c+h 5 2 o+w 3 ! o+h .", "Rc Fo wait Wo Rc So wait Ro done"),
        ("o+h ! c+h .", "Ro Sc wait Rc done"),
        // A side that takes no more is still read to its end.
        ("o+r 5 ! 4 4 . o+h .", "Ro Fc Rc Fo Rc So wait Ro done"),
        (
            "o+r 5 2 c+w ! . o+r 7 o+h .",
            "Ro Fc wait Wc Rc So wait Ro wait Ro done",
        ),
        ("o+r 5 ? - c+h . o+h .", "Ro Fc Rc wait Rc So wait Ro done"),
    ] {
        assert_eq!(run(&mut pump(true), script), expected, "{script}");
    }
}

#[test]
fn without_half_close_the_first_end_is_the_end() {
    for (script, expected) in [
        ("c+h . o+h 5 . ", "Rc Sc So wait Ro Ro done"),
        (
            "c+h 5 2 o+w 3 . o+h .",
            "Rc Fo wait Wo Rc Sc So wait Ro done",
        ),
        (
            "o+r 5 2 c+h . c+w 3 o+h .",
            "Ro Fc wait Rc So wait Wc Sc wait Ro done",
        ),
    ] {
        let mut pump = pump(false);
        assert_eq!(run(&mut pump, script), expected, "{script}");
        assert!(pump.is_lingering());
    }
}

#[test]
fn reasons_and_counts() {
    for (script, reason, to_origin, to_client) in [
        ("c+r 5 5", None, 5, 0),
        ("c+r 5 2", None, 2, 0),
        ("c+h . o+h .", Some("client-close"), 0, 0),
        ("o+h 3 3 . c+h 4 4 .", Some("origin-close"), 4, 3),
        ("o+h . c+h 4 4 !", Some("origin-close"), 4, 0),
        ("c+h 5 5 !", Some("client-reset"), 5, 0),
        ("o+h !", Some("origin-reset"), 0, 0),
        ("o+r 5 ! .", Some("client-reset"), 0, 0),
        ("c+r 8 8 5 1 o+w ! .", Some("origin-reset"), 9, 0),
        ("c+r 8 8 5 1 o+w ? .", Some("origin-down"), 9, 0),
        ("c+r ?", Some("client-lost"), 0, 0),
    ] {
        let mut pump = pump(true);
        run(&mut pump, script);
        let bytes = Side::BOTH.map(|side| pump.traffic(side).bytes);
        assert_eq!(
            (pump.reason().map(EndReason::as_str), bytes),
            (reason, [to_origin, to_client]),
            "{script}"
        );
    }
}

#[test]
fn memory_is_held_only_while_a_side_does_not_take_it() {
    for (script, held) in [
        ("c+r 8 8 8 8 -", 0),
        ("c+r 8 3", 5),
        ("c+r 8 3 o+w 4", 5),
        ("c+r 8 3 o+w 5 -", 0),
        ("c+r 8 - o+r 8 -", 16),
    ] {
        let mut pump = pump(true);
        run(&mut pump, script);
        assert_eq!(pump.held(), held, "{script}");
    }
}

#[test]
fn what_came_along_goes_first_and_its_head_is_not_counted() {
    for (head, script, expected, counted) in [
        (4, "c+ 7 o+r 2 2", "Wc wait Ro Fc wait", 5),
        (4, "c+ 3 c+w 4", "Wc wait Wc wait", 3),
        (4, "c+ 2", "Wc wait", 0),
        (4, "c+ 5", "Wc wait", 1),
        (4, "c+ ! .", "Wc Rc So wait", 0),
        (9, "c+ 7", "Wc wait", 0),
    ] {
        let mut pump = pump(true);
        pump.preload(Side::Origin, b"HEADxyz".to_vec(), head);
        assert_eq!(run(&mut pump, script), expected, "{script}");
        assert_eq!(pump.traffic(Side::Origin).bytes, counted, "{script}");
    }
}

#[test]
fn an_end_by_us_flushes_and_drops() {
    for (script, expected) in [
        ("c+", "So Sc wait"),
        ("c+ o+h 5 . c+h .", "So Sc wait Ro Ro wait Rc done"),
    ] {
        let mut pump = pump(true);
        pump.close(EndReason::Idle, [1001; 2]);
        assert_eq!(run(&mut pump, script), expected, "{script}");
        pump.close(EndReason::Stopped, [1001; 2]);
        assert_eq!(pump.reason(), Some(EndReason::Idle), "the first reason");
    }
    let mut pump = pump(true);
    run(&mut pump, "c+r 5 2");
    pump.close(EndReason::Stopped, [1001; 2]);
    assert_eq!(
        run(&mut pump, "c+r 8 8 - o+w 3"),
        "Sc Rc Rc Rc wait Wo So wait"
    );
    assert_eq!(pump.traffic(Side::Client).bytes, 5);
}
