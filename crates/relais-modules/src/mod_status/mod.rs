//! mod_status: what the server is doing, as a page and for machines (`?auto`).
//!
//! The words, keys and their order are httpd's (`mod_status.c`), so that what
//! reads them goes on to; what relais has besides, its tunnels, follows at the
//! end. A line of the scoreboard is a connection with a request under way, or
//! a thread without any.

mod auto;
mod html;
mod numbers;

use std::sync::Arc;
use std::time::SystemTime;

use relais_expr::{Lookup as _, Variable};
use relais_policy::{
    Decision, Directive, Exchange, Flow, Lookup, Mode, Module, Respond, ServerStatus, ThreadStatus,
};

pub(crate) use html::safe;

use crate::core;
use crate::mod_proxy;

/// mod_status.
pub struct Status;

impl Module for Status {
    const NAME: &'static str = "mod_status";
    const IDENTIFIER: &'static str = "status_module";
    type Host = ();
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(_outer: &(), _inner: &()) {}
}

/// What the page is made from.
struct Facts<'x> {
    /// The name by which the server was asked for.
    name: Vec<u8>,
    /// Our address.
    via: String,
    /// `ServerTokens`.
    version: &'x str,
    now: SystemTime,
    /// `ExtendedStatus On`.
    extended: bool,
    status: &'x ServerStatus,
    balancers: &'x [relais_policy::BalancerStatus],
}

/// What was found out for a page.
type Found = Arc<(ServerStatus, Vec<relais_policy::BalancerStatus>)>;

/// What the query asks for: httpd looks for these words anywhere in it.
struct Wishes {
    auto: bool,
    table: bool,
    /// Seconds of `refresh`.
    refresh: Option<u64>,
}

impl Wishes {
    fn read(query: &[u8]) -> Self {
        let find = |word: &[u8]| query.windows(word.len()).position(|part| part == word);
        let refresh = find(b"refresh").map(|at| {
            let rest = query.get(at + b"refresh".len()..).unwrap_or_default();
            let digits = rest.strip_prefix(b"=").unwrap_or_default();
            let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
            let number = digits.fold(0_u64, |number, digit| {
                number
                    .saturating_mul(10)
                    .saturating_add(u64::from(digit - b'0'))
            });
            if number == 0 { 10 } else { number }
        });
        Self {
            auto: find(b"auto").is_some(),
            table: find(b"notable").is_none(),
            refresh,
        }
    }
}

/// The handler `server-status`.
pub(crate) fn respond(exchange: &mut Exchange<'_>) -> Flow {
    let ours = exchange.handler.as_deref() == Some(core::STATUS) && exchange.proxy.is_none();
    if !ours || !matches!(exchange.head.method(), b"GET" | b"HEAD") {
        return Flow::Declined;
    }
    let Some(running) = exchange.running else {
        let log = "nothing runs whose status could be shown";
        return Flow::Decide(Decision::Respond(Respond::logged(503, log)));
    };
    let Some(found) = exchange.answer::<Found>(KEY) else {
        let (running, host) = (running(), exchange.host.index);
        let balancers = exchange
            .host_settings::<mod_proxy::Host>()
            .shows_balancers();
        return Flow::Wait(Lookup::new(KEY, move || -> Found {
            let balancers = if balancers {
                running.balancers(host)
            } else {
                Vec::new()
            };
            Arc::new((running.status(), balancers))
        }));
    };
    let found = Arc::clone(found);
    Flow::Decide(Decision::Respond(page(exchange, &found.0, &found.1)))
}

/// By what the answer of the running server is found.
const KEY: &[u8] = b"server-status";

fn page(
    exchange: &Exchange<'_>,
    status: &ServerStatus,
    balancers: &[relais_policy::BalancerStatus],
) -> Respond {
    let wishes = Wishes::read(exchange.query.as_deref().unwrap_or_default());
    let mut name = Vec::new();
    exchange.variable(&Variable::ServerName, &mut name);
    let facts = Facts {
        name,
        via: exchange.connection.local.ip().to_canonical().to_string(),
        version: &exchange.host.spec.server_tokens,
        now: exchange.now,
        extended: !exchange.site.server.status.terse,
        status,
        balancers,
    };
    let mut fields = Vec::new();
    fields.extend(
        wishes
            .refresh
            .map(|seconds| ("Refresh", seconds.to_string().into_bytes())),
    );
    let (kind, body) = if wishes.auto {
        ("text/plain", auto::page(&facts))
    } else {
        ("text/html", html::page(&facts, wishes.table))
    };
    let kind = format!("{kind}; charset=ISO-8859-1").into_bytes();
    fields.push(("Content-Type", kind));
    Respond {
        fields,
        body: Some(body),
        ..Respond::status(200)
    }
}

/// What all threads have done together.
#[derive(Default)]
struct Totals {
    accesses: u64,
    bytes: u64,
    milliseconds: u128,
    connections: usize,
    kept: usize,
    closing: usize,
    busy: usize,
    idle: usize,
}

impl Totals {
    fn of(threads: &[ThreadStatus]) -> Self {
        let mut totals = Self::default();
        for thread in threads {
            totals.accesses += thread.accesses;
            totals.bytes += thread.bytes;
            totals.milliseconds += thread.took.as_millis();
            totals.connections += thread.connections.len();
            totals.kept += count(thread, Mode::KeepAlive);
            totals.closing += count(thread, Mode::Close);
            totals.busy += busy(thread);
            totals.idle += usize::from(busy(thread) == 0);
        }
        totals
    }
}

fn count(thread: &ThreadStatus, mode: Mode) -> usize {
    let connections = thread.connections.iter();
    connections
        .filter(|connection| connection.mode == mode)
        .count()
}

/// Connections of a thread with a request under way.
fn busy(thread: &ThreadStatus) -> usize {
    count(thread, Mode::Read) + count(thread, Mode::Write)
}

/// A letter per connection with a request under way, and one per thread that
/// has none.
fn scoreboard(threads: &[ThreadStatus]) -> String {
    let mut board = String::new();
    for thread in threads {
        if busy(thread) == 0 {
            board.push('_');
        }
        let connections = thread.connections.iter();
        let letters = connections.filter(|connection| connection.mode != Mode::KeepAlive);
        board.extend(letters.map(|connection| letter(connection.mode)));
    }
    board
}

fn letter(mode: Mode) -> char {
    match mode {
        Mode::Read => 'R',
        Mode::Write => 'W',
        Mode::KeepAlive => 'K',
        Mode::Close => 'C',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let table: &[(&str, bool, bool, Option<u64>)] = &[
            ("", false, true, None),
            ("auto", true, true, None),
            ("x=1&auto", true, true, None),
            ("refresh=7&notable", false, false, Some(7)),
            ("refresh", false, true, Some(10)),
            ("refresh=0", false, true, Some(10)),
            ("refresh=x", false, true, Some(10)),
            (
                "refresh=99999999999999999999999",
                false,
                true,
                Some(u64::MAX),
            ),
        ];
        for &(query, auto, table, refresh) in table {
            let wishes = Wishes::read(query.as_bytes());
            assert_eq!(
                (wishes.auto, wishes.table, wishes.refresh),
                (auto, table, refresh),
                "{query}"
            );
        }
    }
}
