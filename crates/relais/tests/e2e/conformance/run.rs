//! Runs a case with one program and writes down the bytes at the origin and at the client.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::case::{Case, Exchange, Sent, Step};
use crate::harness::origin::Origin;
use crate::harness::program::{Program, Running, Site, dead_address};
use crate::harness::text::escape;
use crate::harness::wire::{self, Conn, Kind, field};

/// How long a response may take. It passes in full only where a program sends none.
const RESPONSE: Duration = Duration::from_secs(3);

/// How long a connection that nothing announced to be closed is watched.
const WATCH: Duration = Duration::from_millis(60);

/// What one exchange brought, in the form of the recordings.
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) text: String,
}

impl Outcome {
    /// The part of a recording for this exchange.
    pub(super) fn to_text(&self) -> String {
        format!("==== {}\n{}", self.name, self.text)
    }

    /// All exchanges of a recording.
    pub(super) fn read_all(file: &Path) -> Vec<Self> {
        let text = fs::read_to_string(file).unwrap_or_default();
        let parts = text.split("==== ").skip(1);
        parts
            .filter_map(|part| part.split_once('\n'))
            .map(|(name, text)| Self {
                name: name.to_owned(),
                text: text.to_owned(),
            })
            .collect()
    }
}

/// Runs all exchanges of the case.
pub(super) fn run(program: Program, case: &Case) -> Vec<Outcome> {
    let origin = Origin::start();
    let dead = dead_address();
    let origin_name = origin.address.to_string();
    let body = case
        .configuration
        .replace("ORIGIN", &origin_name)
        .replace("DEAD", &dead);
    let running = Site::new(program, &body).start();
    let listen_name = running.address().to_string();
    let names = Names(vec![
        (origin_name, "ORIGIN"),
        (listen_name, "LISTEN"),
        (dead, "DEAD"),
    ]);
    let mut logged = 0;
    let mut outcomes = Vec::new();
    for exchange in &case.exchanges {
        let (mut text, answered) = drive(&running, &origin, exchange, &names);
        let log = running.access_log(logged + answered);
        text += "---- access log\n";
        text.extend(
            log.iter()
                .skip(logged)
                .map(|line| names.forget(line) + "\n"),
        );
        logged = log.len();
        outcomes.push(Outcome {
            name: exchange.name.clone(),
            text,
        });
    }
    outcomes
}

/// The addresses of this run, which stand under their names in the recordings.
struct Names(Vec<(String, &'static str)>);

impl Names {
    fn forget(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (address, name)| {
                text.replace(address, name)
            })
    }

    fn recall(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for (address, name) in &self.0 {
            while let Some(at) = wire::find(&out, name.as_bytes()) {
                out.splice(at..at + name.len(), address.bytes());
            }
        }
        out
    }

    /// A section of an outcome: its title, and the bytes without what differs from run to run.
    fn section(&self, title: &str, bytes: &[u8]) -> String {
        let lines = escape(bytes)
            .into_iter()
            .map(|line| normal(&self.forget(&line)) + "\n");
        format!("---- {title}\n") + &lines.collect::<String>()
    }
}

/// Leaves out the time and the program's own name. Dates and names that the origin sends in the cases are older and
/// others, and stay.
fn normal(line: &str) -> String {
    match line.split_once(": ") {
        Some(("Date", value)) if !value.contains("1994") => "Date: NOW".to_owned(),
        Some(("Server", value)) if value.starts_with("Apache") || value.starts_with("relais") => {
            "Server: OWN".to_owned()
        }
        _ => line.to_owned(),
    }
}

/// Carries out one exchange. Returns what was seen, and how many requests were answered and so are to be logged.
fn drive(
    running: &Running,
    origin: &Origin,
    exchange: &Exchange,
    names: &Names,
) -> (String, usize) {
    origin.script(
        exchange
            .replies
            .iter()
            .map(|(bytes, then)| (names.recall(bytes), *then)),
    );
    let mut client = running.connect();
    client.patience(RESPONSE);
    let responses: Vec<Vec<u8>> = exchange
        .steps
        .iter()
        .flat_map(|step| ask(&mut client, step, names))
        .collect();
    let (mut tunnelled, mut end) = (String::new(), "");
    let answered = responses
        .iter()
        .filter(|response| !response.is_empty())
        .count();
    let last = responses.last().map_or(&[] as &[u8], Vec::as_slice);
    let tunnels = !exchange.tunnel.is_empty() || wire::find(last, b" 101 ").is_some();
    if tunnels {
        tunnelled = tunnel(client, origin, &exchange.tunnel, names);
    } else {
        end = ending(&mut client, last);
    }
    let mut text = String::new();
    for request in origin.received() {
        text += &names.section(
            &format!("origin, connection {}", request.connection),
            &request.bytes,
        );
    }
    for response in responses {
        text += &names.section("client", &response);
    }
    (text + &tunnelled + end, answered.max(usize::from(tunnels)))
}

fn ask(client: &mut Conn, step: &Step, names: &Names) -> Vec<Vec<u8>> {
    client.send(&names.recall(&step.bytes));
    if step.finish {
        client.finish();
    }
    let kind = if step.bytes.starts_with(b"HEAD ") {
        Kind::ResponseToHead
    } else {
        Kind::Response
    };
    (0..step.responses).map(|_| client.message(kind)).collect()
}

/// Says whether the server ended the connection. Where the response announces it, it has time for it.
fn ending(client: &mut Conn, response: &[u8]) -> &'static str {
    let connection = field(response, "connection");
    let announced = connection.as_deref() == Some("close") || response.starts_with(b"HTTP/1.0");
    client.patience(if announced || response.is_empty() {
        RESPONSE
    } else {
        WATCH
    });
    if client.is_ended() {
        "---- closed\n"
    } else {
        "---- open\n"
    }
}

/// Sends the tunnelled bytes, ends the client's direction, then the origin's, and says what arrived at either side.
fn tunnel(mut client: Conn, origin: &Origin, sent: &[Sent], names: &Names) -> String {
    let Some(mut far) = origin.upgraded() else {
        return "---- no tunnel\n".to_owned();
    };
    far.patience(RESPONSE);
    for one in sent {
        match one {
            Sent::ByClient(bytes) => client.send(bytes),
            Sent::ByOrigin(bytes) => far.send(bytes),
        }
    }
    client.finish();
    let at_origin = names.section("tunnel to the origin", &far.rest());
    far.finish();
    let at_client = names.section("tunnel to the client", &client.rest());
    at_origin + &at_client
}
