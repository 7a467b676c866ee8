//! Rewrite maps while requests run: programs that end, say nothing or are waited for, and files that change.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::eventually;
use crate::harness::program::{Program, Running, Site};
use crate::harness::wire::{Conn, Kind, field};

/// A key is answered with itself and the number of the process; one is never answered, and one ends it.
const PROGRAM: &str = "#!/bin/sh
while read -r key; do
  case $key in
    mute) ;;
    end) exit ;;
    none) echo NULL ;;
    *) echo $key-$$ ;;
  esac
done
";

const CONFIGURATION: &str = "\
Timeout 2
RewriteEngine On
RewriteMap names txt:DIR/names.txt
RewriteMap ask PRG:DIR/ask.sh
RewriteRule ^/names/(.*) /got/${names:$1|none} [R,L]
RewriteRule ^/ask/(.*) /got/${ask:$1|none} [R,L]
RewriteRule ^/plain /got/plain [R,L]
";

fn start() -> Running {
    let site = Site::new(Program::Relais, CONFIGURATION);
    fs::write(site.dir.join("names.txt"), "a one\n").expect("a map");
    let program = site.dir.join("ask.sh");
    fs::write(&program, PROGRAM).expect("a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(site.dir.join("."), open).expect("the folder is open to the server's user");
    site.start()
}

fn send(running: &Running, path: &str) -> Conn {
    let mut client = running.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n").as_bytes());
    client
}

/// What the map has said, by where the client is sent to; the status otherwise.
fn answer(mut client: Conn) -> String {
    let response = client.message(Kind::Response);
    let location = field(&response, "location");
    match location.as_deref().and_then(|url| url.split_once("/got/")) {
        Some((_, value)) => value.to_owned(),
        None => String::from_utf8_lossy(&response[9..12]).into_owned(),
    }
}

fn get(running: &Running, path: &str) -> String {
    answer(send(running, path))
}

#[test]
fn a_map_program_runs_once_until_it_ends() {
    let running = start();
    let first = get(&running, "/ask/a");
    let (_, process) = first.split_once('-').expect("the number of the process");
    assert_eq!(get(&running, "/ask/b"), format!("b-{process}"));
    assert_eq!(get(&running, "/ask/none"), "none");
    // It ends, is started anew, and ends again.
    assert_eq!(get(&running, "/ask/end"), "none");
    assert!(running.says("ask.sh"), "the log names the program");
    let other = get(&running, "/ask/a");
    assert!(other.starts_with("a-") && other != first, "{first} {other}");
    // The old program belongs to the old configuration.
    running.control("graceful");
    assert!(eventually(|| {
        let now = get(&running, "/ask/a");
        now.starts_with("a-") && now != other
    }));
}

#[test]
fn a_map_program_that_says_nothing_holds_up_nobody_else() {
    let running = start();
    let first = get(&running, "/ask/a");
    let mute = send(&running, "/ask/mute");
    // All workers go on, whichever has the client.
    for _ in 0..20 {
        assert_eq!(get(&running, "/plain"), "plain");
        assert_eq!(get(&running, "/names/a"), "one");
    }
    assert_eq!(answer(mute), "500");
    assert!(running.says("no answer within 2 s"));
    let second = get(&running, "/ask/a");
    assert!(
        second.starts_with("a-") && second != first,
        "{first} {second}"
    );
}

#[test]
fn a_map_file_is_read_anew_and_whole() {
    let running = start();
    assert_eq!(get(&running, "/names/a"), "one");
    assert_eq!(get(&running, "/names/b"), "none");
    let file = running.site.dir.join("names.txt");
    for round in 0..20 {
        // As editors and deployments do it: another file takes the name.
        let new = running.site.dir.join("names.new");
        let filler: String = (0..2000).map(|n| format!("k{n} {round}\n")).collect();
        fs::write(&new, format!("a {round}\n{filler}z {round}\n")).expect("a map");
        fs::rename(&new, &file).expect("the new map");
        assert_eq!(get(&running, "/names/a"), round.to_string());
        assert_eq!(get(&running, "/names/z"), round.to_string());
    }
    fs::write(&file, "a last\n").expect("a map");
    assert_eq!(get(&running, "/names/a"), "last");
    fs::remove_file(&file).expect("no map");
    assert_eq!(get(&running, "/names/a"), "none");
}
