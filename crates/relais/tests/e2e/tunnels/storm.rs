//! Thousands of tunnels that talk while the configuration is read again and again.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::asked;
use crate::harness::crowd::{self, Crowd};
use crate::harness::eventually;
use crate::harness::program::Running;

/// Tunnels that are open all the time.
const TUNNELS: usize = 5000;

/// How often the configuration is read.
const RELOADS: usize = 100;

/// What resident memory may differ by, before and after: KiB for what is allocated and freed meanwhile.
const SLACK_KIB: u64 = 8 << 10;

#[test]
fn tunnels_outlive_a_hundred_reloads() {
    let _turn = crowd::turn();
    let count = crowd::affordable(TUNNELS);
    let echo = crowd::origin(crowd::echo);
    let body = |other: &str| {
        format!(
            "LogFormat \"%{{tunnel-end}}x %{{tunnel-bytes-in}}x %{{tunnel-bytes-out}}x\" ends\n\
             CustomLog DIR/ends.log ends\nProxyPass /ws ws://{echo}/ws\n{other}"
        )
    };
    let proxy = Running::relais(&body(""));
    let crowd = Crowd::open(proxy.address(), "/ws/storm", count);
    // Every size of message has been there once, and all that grows has grown.
    crowd.waits_for(count * 2);
    let before = proxy.resident_kib();
    let begun = Instant::now();
    let (mut read, mut refused) = (0, 0);
    for reload in 0..RELOADS {
        // Half of them change routes of others, one in ten is no configuration at all.
        let (other, told) = match reload % 10 {
            9 => ("ProxyPass\n".to_owned(), &mut refused),
            even if even % 2 == 0 => (
                format!("ProxyPass /other{reload} http://127.0.0.1:9/\n"),
                &mut read,
            ),
            _ => (String::new(), &mut read),
        };
        *told += 1;
        proxy.site.configure(&body(&other));
        proxy.signal(Signal::SIGUSR1);
        let log = || proxy.site.dir.read("error.log");
        let done = || {
            let log = log();
            log.matches("AH00493").count() == read
                && log.matches("the configuration was not changed").count() == refused
        };
        assert!(eventually(done), "reload {reload}");
    }
    let took = begun.elapsed();
    crowd.waits_for(count);
    let after = proxy.resident_kib();
    proxy.site.configure(&body(""));
    let status = asked(&proxy, &["status"]);
    let totals = crowd.finish();
    eprintln!(
        "{count} tunnels, {RELOADS} reloads in {took:?}, {refused} of them refused: {} dropped, {} bytes sent, {} back, \
         {before} KiB before, {after} KiB after",
        count - totals.whole,
        totals.sent,
        totals.received
    );
    assert!(totals.troubles.is_empty(), "{:?}", totals.troubles);
    assert_eq!(totals.whole, count);
    assert_eq!(status["tunnels"], count);
    assert_eq!(status["snapshots"], 1, "{status}");
    assert!(
        after <= before + SLACK_KIB,
        "{before} KiB before, {after} KiB after"
    );
    check_log(&proxy, count, totals.sent, totals.received);
}

/// The log knows every tunnel's end, and no byte is missing there either.
fn check_log(proxy: &Running, count: usize, sent: u64, received: u64) {
    let lines = proxy.log("ends.log", count);
    let sum = |column: usize| -> u64 {
        let words = lines.iter().filter_map(|line| line.split(' ').nth(column));
        words.filter_map(|word| word.parse::<u64>().ok()).sum()
    };
    let ends = lines
        .iter()
        .filter(|line| line.starts_with("client-close "));
    assert_eq!(ends.count(), count);
    assert_eq!((sum(1), sum(2)), (sent, received));
    let patient = Duration::from_secs(1);
    assert!(crate::harness::within(patient, || asked(
        proxy,
        &["status"]
    )["tunnels"]
        == 0));
}
