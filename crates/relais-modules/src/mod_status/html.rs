//! `server-status` as a page for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use relais_http1::escape_html;
use relais_policy::{BalancerStatus, ConnectionStatus, Mode, ThreadStatus, TunnelStatus};

use super::auto::uptime;
use super::numbers::{bytes, general, kilobytes, moment, significant, words};
use super::{Facts, Totals, busy, count, letter, scoreboard};
use crate::mod_proxy::{status_words, sticky_words, traffic_words};

/// Tunnels that are shown one by one; the rest is in the sums.
const TUNNELS_SHOWN: usize = 500;

/// The page in httpd's words, then the tunnels.
pub(super) fn page(facts: &Facts<'_>, table: bool) -> Vec<u8> {
    let mut out = String::new();
    top(&mut out, facts);
    if facts.extended {
        details(&mut out, facts, table);
    } else {
        out.push_str("<hr />To obtain a full report with current status information you need to use the <code>ExtendedStatus On</code> directive.\n");
    }
    if !facts.balancers.is_empty() {
        facts
            .balancers
            .iter()
            .for_each(|one| balancer(&mut out, one));
        out.push_str(BALANCER_KEY);
    }
    tunnels(&mut out, &facts.status.tunnels, facts.extended);
    out.push_str("</body></html>\n");
    out.into_bytes()
}

/// A text with what HTML reserves replaced.
pub(crate) fn safe(text: impl AsRef<[u8]>) -> String {
    let mut out = Vec::new();
    escape_html(text.as_ref(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn top(out: &mut String, facts: &Facts<'_>) {
    let status = facts.status;
    let totals = Totals::of(&status.threads);
    let [one, five, fifteen] = status.load.averages;
    let generation = status.reloads;
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        out,
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">\n\
         <html><head>\n<title>Apache Status</title>\n</head><body>\n\
         <h1>Apache Server Status for {name} (via {via})</h1>\n\n\
         <dl><dt>Server Version: {version}</dt>\n<dt>Server MPM: relais</dt>\n<dt>Server Built: {built}\n</dt></dl><hr /><dl>\n\
         <dt>Current Time: {now}</dt>\n<dt>Restart Time: {restarted}</dt>\n\
         <dt>Parent Server Config. Generation: {config}</dt>\n<dt>Parent Server MPM Generation: {generation}</dt>\n\
         <dt>Server uptime: {uptime}</dt>\n<dt>Server load: {one:.2} {five:.2} {fifteen:.2}</dt>\n",
        name = safe(&facts.name),
        via = facts.via,
        version = safe(facts.version),
        built = crate::BUILT,
        now = moment(facts.now),
        restarted = moment(status.configured.unwrap_or(facts.now)),
        config = generation + 1,
        uptime = words(uptime(facts)),
    );
    if facts.extended {
        sums(out, facts, &totals);
    }
    let _ = write!(
        out,
        "<dt>{} requests currently being processed, 0 workers gracefully restarting, {} idle workers</dt>\n</dl>\n\n",
        totals.busy, totals.idle
    );
    threads(out, &status.threads, &totals);
    board(out, &scoreboard(&status.threads));
}

fn sums(out: &mut String, facts: &Facts<'_>, totals: &Totals) {
    let [user, system] = facts.status.cpu.map(|time| time.as_secs_f64());
    let seconds = uptime(facts).as_secs();
    let _ = write!(
        out,
        "<dt>Total accesses: {} - Total Traffic: {} - Total Duration: {}</dt>\n<dt>CPU Usage: u{} s{} cu0 cs0",
        totals.accesses,
        kilobytes(totals.bytes / 1024),
        totals.milliseconds,
        general(user),
        general(system),
    );
    if seconds > 0 && user + system > 0.0 {
        let load = significant((user + system) / seconds as f64 * 100.0, 3);
        let _ = write!(out, " - {load}% CPU load");
    }
    out.push_str("</dt>\n<dt>");
    if seconds > 0 {
        let rate = significant(totals.accesses as f64 / seconds as f64, 3);
        let _ = write!(
            out,
            "{rate} requests/sec - {}/second - ",
            bytes(totals.bytes / seconds)
        );
    }
    if let Some(each) = totals.bytes.checked_div(totals.accesses) {
        let each = bytes(each);
        let time = general(totals.milliseconds as f64 / totals.accesses as f64);
        let _ = write!(out, "{each}/request - {time} ms/request");
    }
    out.push_str("</dt>\n");
}

fn threads(out: &mut String, threads: &[ThreadStatus], totals: &Totals) {
    out.push_str(THREADS_HEAD);
    let pid = std::process::id();
    for (slot, thread) in threads.iter().enumerate() {
        let (stopping, accepting) = if thread.stopping {
            ("yes", "no")
        } else {
            ("no", "yes")
        };
        let (busy, idle) = (busy(thread), u8::from(busy(thread) == 0));
        let _ = writeln!(
            out,
            "<tr><td>{slot}</td><td>{pid}</td><td>{stopping}</td><td>{}</td><td>{accepting}</td><td>{busy}</td>\
             <td>0</td><td>{idle}</td><td>0</td><td>0</td><td>{}</td><td>{}</td></tr>",
            thread.connections.len(),
            count(thread, Mode::KeepAlive),
            count(thread, Mode::Close),
        );
    }
    let stopping = threads.iter().filter(|thread| thread.stopping).count();
    let _ = write!(
        out,
        "<tr><td>Sum</td><td>{}</td><td>{stopping}</td><td>{}</td><td>&nbsp;</td><td>{}</td><td>0</td><td>{}</td>\
         <td>0</td><td>0</td><td>{}</td><td>{}</td></tr>\n</table>\n",
        threads.len(),
        totals.connections,
        totals.busy,
        totals.idle,
        totals.kept,
        totals.closing,
    );
}

fn board(out: &mut String, board: &str) {
    out.push_str("<pre>");
    for (at, letter) in board.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            out.push('\n');
        }
        out.push(letter);
    }
    out.push_str("</pre>\n");
    out.push_str(BOARD_KEY);
}

fn details(out: &mut String, facts: &Facts<'_>, table: bool) {
    out.push_str(if table {
        TABLE_HEAD
    } else {
        "<hr /><h2>Server Details</h2>\n\n"
    });
    let generation = facts.status.reloads;
    for (slot, thread) in facts.status.threads.iter().enumerate() {
        for connection in &thread.connections {
            let server = format!("{slot}-{generation}");
            if table {
                row(out, &server, thread, connection);
            } else {
                paragraph(out, &server, thread, connection);
            }
        }
    }
    if table {
        out.push_str(TABLE_KEY);
    }
}

fn row(out: &mut String, server: &str, thread: &ThreadStatus, one: &ConnectionStatus) {
    let megabytes = thread.bytes as f64 / 1_048_576.0;
    let _ = write!(
        out,
        "<tr><td><b>{server}</b></td><td>{pid}</td><td>{own}/{all}/{all}</td><td><b>{mode}</b>\n\
         </td><td>0.00</td><td>{since}</td><td>{took}</td><td>{sum}</td><td>{sent:.1}</td><td>{megabytes:.2}</td>\
         <td>{megabytes:.2}\n</td><td>{client}</td><td>http/1.1</td><td nowrap>{host}</td><td nowrap>{line}</td></tr>\n\n",
        pid = std::process::id(),
        own = one.requests,
        all = thread.accesses,
        mode = letter(one.mode),
        since = one.since.as_secs(),
        took = one.took.as_millis(),
        sum = thread.took.as_millis(),
        sent = one.bytes as f64 / 1024.0,
        client = one.peer.ip(),
        host = safe(&one.host),
        line = safe(&one.line),
    );
}

fn paragraph(out: &mut String, server: &str, thread: &ThreadStatus, one: &ConnectionStatus) {
    let mode = match one.mode {
        Mode::Read => "<b>Read</b>",
        Mode::Write => "<b>Write</b>",
        Mode::KeepAlive => "<b>Keepalive</b>",
        Mode::Close => "<b>Closing</b>",
    };
    let _ = write!(
        out,
        "<b>Server {server}</b> ({pid}): {own}|{all}|{all} [{mode}] u0 s0 cu0 cs0\n {since} {took} {sum}({sent}|{each}|{each})\n \
         <i>{client} {{{line}}}</i> <i>(http/1.1)</i> <b>[{host}]</b><br />\n\n",
        pid = std::process::id(),
        own = one.requests,
        all = thread.accesses,
        since = one.since.as_secs(),
        took = one.took.as_millis(),
        sum = thread.took.as_millis(),
        sent = bytes(one.bytes),
        each = bytes(thread.bytes),
        client = one.peer.ip(),
        host = safe(&one.host),
        line = safe(&one.line),
    );
}

/// mod_proxy's part, with `ProxyStatus On`.
fn balancer(out: &mut String, balancer: &BalancerStatus) {
    let settings = &balancer.settings;
    let _ = write!(
        out,
        "<hr />\n<h1>Proxy LoadBalancer Status for {name}</h1>\n\n\n\n\
         <table border=\"0\"><tr><th>SSes</th><th>Timeout</th><th>Method</th></tr>\n\
         <tr><td>{sticky}</td><td>{timeout}</td><td>{method}</td>\n</table>\n\n\n\
         <table border=\"0\"><tr><th>Sch</th><th>Host</th><th>Stat</th><th>Route</th><th>Redir</th><th>F</th><th>Set</th>\
         <th>Acc</th><th>Busy</th><th>Wr</th><th>Rd</th></tr>\n",
        name = safe(&balancer.name),
        sticky = sticky_words(settings.sticky.as_ref(), " | ", " - "),
        timeout = settings.timeout.as_secs(),
        method = settings.method.as_str(),
    );
    for member in &balancer.members {
        let [scheme, host] = &member.origin;
        let _ = write!(
            out,
            "<tr>\n<td>{scheme}</td><td>{host}</td><td>{status}</td><td>{route}</td><td>{redirect}</td><td>{factor:.2}</td>\
             <td>{set}</td><td>{elected}</td><td>{busy}</td><td>{to}</td><td>{from}</td>\n</tr>\n",
            host = safe(host),
            status = status_words(member.status),
            route = safe(&member.route),
            redirect = safe(&member.redirect),
            factor = f64::from(member.factor) / 100.0,
            set = member.set,
            elected = member.elected,
            busy = member.busy,
            to = traffic_words(member.traffic[0]),
            from = traffic_words(member.traffic[1]),
        );
    }
    out.push_str("</table>\n");
}

/// Tunnels that were opened for the same.
pub(super) struct RouteSum<'t> {
    pub(super) host: &'t str,
    pub(super) rule: &'t str,
    pub(super) open: usize,
    pub(super) draining: usize,
    pub(super) from_client: [u64; 2],
    pub(super) from_origin: [u64; 2],
}

/// The tunnels by virtual host and rule.
pub(super) fn routes(tunnels: &[TunnelStatus]) -> Vec<RouteSum<'_>> {
    let mut sums: BTreeMap<(&str, &str), RouteSum<'_>> = BTreeMap::new();
    for tunnel in tunnels {
        let (host, rule) = (tunnel.host.as_str(), tunnel.rule.as_str());
        let sum = sums.entry((host, rule)).or_insert(RouteSum {
            host,
            rule,
            open: 0,
            draining: 0,
            from_client: [0; 2],
            from_origin: [0; 2],
        });
        sum.open += 1;
        sum.draining += usize::from(tunnel.draining);
        for (into, from) in [
            (&mut sum.from_client, tunnel.from_client),
            (&mut sum.from_origin, tunnel.from_origin),
        ] {
            into.iter_mut().zip(from).for_each(|(sum, one)| *sum += one);
        }
    }
    sums.into_values().collect()
}

fn tunnels(out: &mut String, tunnels: &[TunnelStatus], extended: bool) {
    let _ = write!(out, "<hr />\n<h1>Tunnels: {} open</h1>\n\n", tunnels.len());
    if tunnels.is_empty() {
        return;
    }
    out.push_str("<table border=\"0\"><tr><th>VHost</th><th>Rule</th><th>Open</th><th>Ending</th><th>From clients</th><th>To clients</th></tr>\n");
    for route in routes(tunnels) {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} in {} messages</td><td>{} in {} messages</td></tr>",
            safe(route.host),
            safe(route.rule),
            route.open,
            route.draining,
            bytes(route.from_client[1]),
            route.from_client[0],
            bytes(route.from_origin[1]),
            route.from_origin[0],
        );
    }
    out.push_str("</table>\n");
    if !extended {
        return;
    }
    out.push_str("<table border=\"0\"><tr><th>Tunnel</th><th>Client</th><th>VHost</th><th>Origin</th><th>Via</th><th>Age</th><th>Idle</th><th>From client</th><th>To client</th><th></th></tr>\n");
    for tunnel in tunnels.iter().take(TUNNELS_SHOWN) {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            tunnel.id,
            tunnel.client,
            safe(&tunnel.host),
            safe(&tunnel.origin),
            tunnel.via,
            tunnel.age.as_secs(),
            tunnel.idle.as_secs(),
            bytes(tunnel.from_client[1]),
            bytes(tunnel.from_origin[1]),
            if tunnel.draining { "ending" } else { "" },
        );
    }
    out.push_str("</table>\n");
    if let Some(more) = tunnels
        .len()
        .checked_sub(TUNNELS_SHOWN)
        .filter(|more| *more > 0)
    {
        let _ = writeln!(out, "<p>and {more} more; `relais tunnels` lists all</p>");
    }
}

const THREADS_HEAD: &str = "<table rules=\"all\" cellpadding=\"1%\">
<tr><th rowspan=\"2\">Slot</th><th rowspan=\"2\">PID</th><th rowspan=\"2\">Stopping</th><th colspan=\"2\">Connections</th>
<th colspan=\"3\">Threads</th><th colspan=\"4\">Async connections</th></tr>
<tr><th>total</th><th>accepting</th><th>busy</th><th>graceful</th><th>idle</th><th>wait-io</th><th>writing</th><th>keep-alive</th><th>closing</th></tr>
";

const BOARD_KEY: &str = "<p>Scoreboard Key:<br />
\"<b><code>_</code></b>\" Waiting for Connection, 
\"<b><code>R</code></b>\" Reading Request, 
\"<b><code>W</code></b>\" Sending Reply,<br />
\"<b><code>C</code></b>\" Closing connection<br />
</p>
";

const TABLE_HEAD: &str = "

<table border=\"0\"><tr><th>Srv</th><th>PID</th><th>Acc</th><th>M</th><th>CPU
</th><th>SS</th><th>Req</th><th>Dur</th><th>Conn</th><th>Child</th><th>Slot</th><th>Client</th><th>Protocol</th><th>VHost</th><th>Request</th></tr>

";

const TABLE_KEY: &str = "</table>
 <hr /> <table>
 <tr><th>Srv</th><td>Thread number - generation</td></tr>
 <tr><th>PID</th><td>OS process ID</td></tr>
 <tr><th>Acc</th><td>Number of accesses this connection / this thread / this slot</td></tr>
 <tr><th>M</th><td>Mode of operation</td></tr>
<tr><th>CPU</th><td>CPU usage, number of seconds (not counted by connection)</td></tr>
<tr><th>SS</th><td>Seconds since beginning of most recent request</td></tr>
 <tr><th>Req</th><td>Milliseconds required to process most recent request</td></tr>
 <tr><th>Dur</th><td>Sum of milliseconds required to process all requests</td></tr>
 <tr><th>Conn</th><td>Kilobytes transferred this connection</td></tr>
 <tr><th>Child</th><td>Megabytes transferred this thread</td></tr>
 <tr><th>Slot</th><td>Total megabytes transferred this slot</td></tr>
 </table>
";

const BALANCER_KEY: &str = "<hr /><table>
<tr><th>SSes</th><td>Sticky session name</td></tr>
<tr><th>Timeout</th><td>Balancer Timeout</td></tr>
<tr><th>Sch</th><td>Connection scheme</td></tr>
<tr><th>Host</th><td>Backend Hostname</td></tr>
<tr><th>Stat</th><td>Worker status</td></tr>
<tr><th>Route</th><td>Session Route</td></tr>
<tr><th>Redir</th><td>Session Route Redirection</td></tr>
<tr><th>F</th><td>Load Balancer Factor</td></tr>
<tr><th>Acc</th><td>Number of uses</td></tr>
<tr><th>Wr</th><td>Number of bytes transferred</td></tr>
<tr><th>Rd</th><td>Number of bytes read</td></tr>
</table>
";
