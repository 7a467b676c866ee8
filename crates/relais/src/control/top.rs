//! `relais top`: the tunnels of a running relais, drawn again every second.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::client::{Sort, order, rows, table};
use super::{Choice, Row};
use crate::Outcome;
use crate::cli::Arguments;

/// Between two pictures.
const PAUSE: Duration = Duration::from_secs(1);

/// Tunnels shown at the most.
const ROWS: usize = 40;

/// `relais top`, until it is interrupted. Where there is no terminal one
/// picture is printed.
///
/// # Errors
/// When no relais answers.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let terminal = std::io::stdout().is_terminal();
    let mut before = HashMap::new();
    loop {
        let mut now = rows(arguments, Choice::default())?;
        let text = picture(&mut now, &before);
        let clear = if terminal { "\x1b[H\x1b[2J" } else { "" };
        let mut out = std::io::stdout().lock();
        if write!(out, "{clear}{text}")
            .and_then(|()| out.flush())
            .is_err()
            || !terminal
        {
            return Ok(());
        }
        drop(out);
        before = now.iter().map(|row| (row.id, traffic(row))).collect();
        std::thread::sleep(PAUSE);
    }
}

fn traffic(row: &Row) -> u64 {
    row.bytes_in + row.bytes_out
}

/// The busiest tunnels of the last second first, below the sums by route.
fn picture(rows: &mut [Row], before: &HashMap<u64, u64>) -> String {
    let mut text = String::new();
    let draining = rows.iter().filter(|row| row.draining).count();
    let _ = writeln!(text, "{} tunnels, {draining} draining\n", rows.len());
    let mut routes: HashMap<(&str, &str), (usize, u64)> = HashMap::new();
    for row in rows.iter() {
        let sum = routes.entry((&row.route, &row.origin)).or_default();
        sum.0 += 1;
        sum.1 += traffic(row);
    }
    let mut routes: Vec<_> = routes.into_iter().collect();
    routes.sort_by_key(|(name, (count, _))| (std::cmp::Reverse(*count), *name));
    for ((route, origin), (count, bytes)) in routes.iter().take(ROWS) {
        let _ = writeln!(
            text,
            "{count:>8} tunnels {bytes:>14} bytes  {route} {origin}"
        );
    }
    order(rows, Sort::Bytes);
    let since =
        |row: &Row| traffic(row) - before.get(&row.id).copied().unwrap_or(0).min(traffic(row));
    rows.sort_by_key(|row| std::cmp::Reverse(since(row)));
    text.push('\n');
    text.push_str(&table(&rows[..rows.len().min(ROWS)]));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, route: &str, bytes: u64) -> Row {
        Row {
            id,
            client: "127.0.0.1:1".to_owned(),
            host: "a.example".to_owned(),
            route: route.to_owned(),
            place: "a.conf:1".to_owned(),
            target: String::new(),
            origin: "ws://10.0.0.1:80".to_owned(),
            via: "http/1.1".to_owned(),
            age_ms: 1000,
            idle_ms: 0,
            messages_in: 1,
            messages_out: 2,
            bytes_in: bytes,
            bytes_out: 0,
            websocket: true,
            draining: false,
        }
    }

    #[test]
    fn the_busiest_come_first() {
        let mut rows = vec![row(1, "/a", 5000), row(2, "/a", 300), row(3, "/b", 10)];
        let before = HashMap::from([(1, 5000), (2, 100), (3, 10)]);
        let text = picture(&mut rows, &before);
        assert!(text.starts_with("3 tunnels, 0 draining\n"), "{text}");
        assert!(text.contains("       2 tunnels           5300 bytes  /a ws://10.0.0.1:80"));
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [2, 1, 3]);
    }
}
