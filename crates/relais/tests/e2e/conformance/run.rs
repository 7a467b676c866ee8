//! Runs a case with one program and writes down the bytes at the origin and at the client.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::case::{Case, Exchange, ORIGINS, Sent, Step};
use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::program::{Program, Running, Site, dead_address};
use crate::harness::text::escape;
use crate::harness::wire::{self, Conn, Kind, field};

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

/// How patiently connections are watched: a comparison that fails is made again by the patient.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// How long a response may take. It passes in full only where a program sends none.
    response: Duration,
    /// How long a connection that nothing announced to be closed is watched.
    watch: Duration,
}

impl Patience {
    pub(super) const FIRST: Self = Self {
        response: Duration::from_secs(4),
        watch: Duration::from_millis(60),
    };
    pub(super) const SECOND: Self = Self {
        response: Duration::from_secs(12),
        watch: Duration::from_millis(400),
    };
}

/// A program that runs the cases as virtual hosts, or one case alone.
pub(super) struct Stage<'a> {
    site: Site,
    places: Vec<Place<'a>>,
    patience: Patience,
}

/// Where one case runs.
struct Place<'a> {
    case: &'a Case,
    origins: [Origin; ORIGINS.len()],
    dead: String,
    address: SocketAddr,
    folder: String,
}

impl<'a> Stage<'a> {
    /// Writes the configuration and the files of the cases.
    pub(super) fn new(program: Program, cases: &[&'a Case], patience: Patience) -> Self {
        let mut stage = Self {
            site: Site::at(quiet_address(), program, ""),
            places: Vec::new(),
            patience,
        };
        for (index, case) in cases.iter().enumerate() {
            let place = Place::new(case, index, &stage.site);
            place.write(&stage.site);
            stage.places.push(place);
        }
        stage.include(|_| true);
        stage
    }

    /// Writes the main file, with those cases that `take` names.
    fn include(&self, take: impl Fn(&str) -> bool) {
        let mut body = loads();
        for place in self.places.iter().filter(|place| take(&place.case.name)) {
            body += &format!("Include DIR/{}.conf\n", place.folder);
        }
        self.site.configure(&body);
    }

    /// Asks relais which cases it refuses: by name, the codes of its errors.
    pub(super) fn refused(&self) -> BTreeMap<String, Vec<String>> {
        let output = self.site.run(&["-t"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for block in said.split("\n\n") {
            let Some(at) = block.find("error[") else {
                continue;
            };
            let place = self
                .places
                .iter()
                .find(|place| block.contains(&format!("/{}.conf:", place.folder)));
            let name = place.map_or("", |place| &place.case.name);
            refused
                .entry(name.to_owned())
                .or_default()
                .push(block[at..].to_owned());
        }
        refused
    }

    /// Starts the program without the cases in `without`, and runs all exchanges of the others, several cases at a time.
    pub(super) fn run(self, without: &[String]) -> BTreeMap<String, Vec<Outcome>> {
        self.include(|name| !without.iter().any(|other| other == name));
        let Self {
            site,
            places,
            patience,
        } = self;
        let running = site.start();
        let places: Vec<Place<'_>> = places
            .into_iter()
            .filter(|place| !without.contains(&place.case.name))
            .collect();
        for place in &places {
            let accepts = eventually(|| TcpStream::connect(place.address).is_ok());
            assert!(accepts, "nobody listens for {}", place.case.name);
        }
        let next = AtomicUsize::new(0);
        let outcomes = Mutex::new(BTreeMap::new());
        // The origins are shared with no other thread, each place is handed to one.
        let places: Vec<Mutex<Place<'_>>> = places.into_iter().map(Mutex::new).collect();
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME {
                scope.spawn(|| {
                    while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let place = place.lock().expect("a place of its own");
                        let seen = place.run(&running, patience);
                        let mut outcomes = outcomes.lock().expect("the outcomes");
                        outcomes.insert(place.case.name.clone(), seen);
                    }
                });
            }
        });
        outcomes.into_inner().expect("the outcomes")
    }
}

impl<'a> Place<'a> {
    fn new(case: &'a Case, index: usize, site: &Site) -> Self {
        // Hosts of the loopback network that nobody connects from, so that no connection takes the port.
        let address = if case.is_alone() {
            site.address
        } else {
            let host = u8::try_from(100 + index).expect("at most 150 cases in one program");
            SocketAddr::from(([127, 0, 1, host], site.address.port()))
        };
        Self {
            case,
            origins: std::array::from_fn(|_| Origin::start()),
            dead: dead_address(),
            address,
            folder: format!("{index:03}"),
        }
    }

    /// Writes the case's files and its part of the configuration.
    fn write(&self, site: &Site) {
        let folder = site.dir.join(&self.folder);
        fs::create_dir_all(&folder).expect("create the case's folder");
        let names = self.names(site);
        for file in &self.case.files {
            let path = folder.join(&file.name);
            fs::create_dir_all(path.parent().unwrap_or(&folder)).expect("create a folder");
            fs::write(&path, names.recall(file.text.as_bytes())).expect("write a case's file");
            let written = fs::File::options().write(true).open(&path);
            let written =
                written.and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH + CHANGED));
            written.expect("set the time of a case's file");
            if file.is_program {
                let mode = PermissionsExt::from_mode(0o755);
                fs::set_permissions(&path, mode).expect("make the file executable");
            }
        }
        let mut text = self.case.configuration.clone();
        if !self.case.is_alone() {
            let log = if text.contains("CustomLog") || text.contains("TransferLog") {
                ""
            } else {
                "CustomLog DIR/access.log test\n"
            };
            text = format!(
                "Listen LISTEN\n<VirtualHost LISTEN>\nServerName main.example\n{log}{text}\n</VirtualHost>\n"
            );
        } else {
            // The main server's log is in the folder above.
            text = text.replace("DIR/access.log", "DIR/../access.log");
        }
        let bytes = names.recall(text.as_bytes());
        fs::write(site.dir.join(&format!("{}.conf", self.folder)), bytes)
            .expect("write a case's configuration");
    }

    fn names(&self, site: &Site) -> Names {
        let folder = site.dir.join(&self.folder).display().to_string();
        let mut names: Vec<(String, &'static str)> = vec![(folder, "DIR")];
        let origins = ["ORIGIN", "ORIGIN2", "ORIGIN3"];
        let addresses = self.origins.iter().map(|origin| origin.address.to_string());
        // The longer names first, since the shortest is the beginning of the others.
        names.extend(addresses.zip(origins).collect::<Vec<_>>().into_iter().rev());
        names.push((self.address.to_string(), "LISTEN"));
        names.push((self.dead.clone(), "DEAD"));
        names.push((self.address.ip().to_string(), "ADDRESS"));
        Names(names)
    }

    fn run(&self, running: &Running, patience: Patience) -> Vec<Outcome> {
        let names = self.names(&running.site);
        let log_name = if self.case.is_alone() {
            "access.log".to_owned()
        } else {
            format!("{}/access.log", self.folder)
        };
        let mut logged = 0;
        let mut outcomes = Vec::new();
        for exchange in &self.case.exchanges {
            let (mut text, answered) = self.drive(exchange, &names, patience);
            if answered == 0 {
                // Whether a request without an answer is logged is seen only by waiting.
                std::thread::sleep(patience.watch);
            }
            let log = running.log(&log_name, logged + answered);
            text += "---- access log\n";
            text.extend(
                log.iter()
                    .skip(logged)
                    .map(|line| normal(&names.forget(line)) + "\n"),
            );
            logged = log.len();
            outcomes.push(Outcome {
                name: exchange.name.clone(),
                text,
            });
        }
        outcomes
    }

    /// Carries out one exchange. Returns what was seen, and how many requests were answered and so are to be logged.
    fn drive(&self, exchange: &Exchange, names: &Names, patience: Patience) -> (String, usize) {
        for (origin, replies) in self.origins.iter().zip(&exchange.replies) {
            let replies = replies
                .iter()
                .map(|(bytes, then)| (names.recall(bytes), *then));
            origin.script(replies);
        }
        let mut client = Conn::connect(self.address);
        client.patience(patience.response);
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
            tunnelled = tunnel(client, &self.origins[0], &exchange.tunnel, names, patience);
        } else {
            end = ending(&mut client, last, patience);
        }
        let mut text = String::new();
        for (origin, name) in self.origins.iter().zip(ORIGINS) {
            for request in origin.received() {
                text += &names.section(
                    &format!("{name}, connection {}", request.connection),
                    &request.bytes,
                );
            }
        }
        for response in responses {
            text += &names.section("client", &response);
        }
        (text + &tunnelled + end, answered.max(usize::from(tunnels)))
    }
}

/// A free address at a host of the loopback network from which nobody connects, so that no connection takes its port
/// before the program does.
pub(super) fn quiet_address() -> SocketAddr {
    TcpListener::bind("127.0.1.99:0")
        .and_then(|listener| listener.local_addr())
        .expect("ask the kernel for a port")
}

/// The modules that cases use beside those of every test; what a case does not configure has no effect on it.
pub(super) fn loads() -> String {
    let modules = [
        "access_compat",
        "allowmethods",
        "auth_basic",
        "authn_core",
        "authn_file",
        "authz_groupfile",
        "authz_user",
        "lbmethod_bybusyness",
        "lbmethod_byrequests",
        "lbmethod_bytraffic",
        "macro",
        "proxy_balancer",
        "remoteip",
        "slotmem_shm",
        "unique_id",
    ];
    let lines = modules
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
    lines.concat()
}

/// When the files of cases were changed, as both programs show it: 1994-11-06 08:49:37.
const CHANGED: Duration = Duration::from_secs(784_111_777);

/// How many cases run at the same time in each program.
const AT_A_TIME: usize = 12;

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
            let mut from = 0;
            while let Some(at) = wire::find(&out[from..], name.as_bytes()) {
                out.splice(from + at..from + at + name.len(), address.bytes());
                from += at + address.len();
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
pub(super) fn normal(line: &str) -> String {
    match line.split_once(": ") {
        Some((name @ ("Date" | "Expires"), value))
            if value.ends_with(" GMT") && !value.contains("1994") =>
        {
            format!("{name}: NOW")
        }
        Some(("Server", value)) if value.starts_with("Apache") || value.starts_with("relais") => {
            "Server: OWN".to_owned()
        }
        // httpd lists methods in the order of a table that is seeded at its start.
        Some(("Allow", value)) => {
            let mut methods: Vec<&str> = value.split(',').collect();
            methods.sort_unstable();
            format!("Allow: {}", methods.join(","))
        }
        // mod_usertrack's value is random and has the time in it.
        Some((name @ ("Set-Cookie" | "Set-Cookie2"), value))
            if value.contains("; path=/") && is_track(value) =>
        {
            let (cookie, _) = value.split_once('=').unwrap_or_default();
            let (_, attributes) = value.split_once(';').unwrap_or_default();
            normal(&format!("{name}: {cookie}=VISITOR;{attributes}"))
        }
        // The end of a cookie's life, which a rule gives in minutes from now.
        Some(("Set-Cookie", value)) if !value.contains("1994") => {
            let Some((start, rest)) = value.split_once("expires=") else {
                return line.to_owned();
            };
            let rest = rest.split_once(" GMT").map_or("", |(_, rest)| rest);
            format!("Set-Cookie: {start}expires=THEN{rest}")
        }
        _ => line.to_owned(),
    }
}

/// Whether a cookie's value is two hexadecimal numbers with a dot between them.
fn is_track(value: &str) -> bool {
    let value = value.split_once('=').map_or("", |(_, rest)| rest);
    let value = value.split(';').next().unwrap_or_default();
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    value
        .split_once('.')
        .is_some_and(|(random, time)| is_hex(random) && is_hex(time))
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
fn ending(client: &mut Conn, response: &[u8], patience: Patience) -> &'static str {
    let connection = field(response, "connection");
    let announced = connection.as_deref() == Some("close") || response.starts_with(b"HTTP/1.0");
    client.patience(if announced || response.is_empty() {
        patience.response
    } else {
        patience.watch
    });
    if client.is_ended() {
        "---- closed\n"
    } else {
        "---- open\n"
    }
}

/// Sends the tunnelled bytes, ends the client's direction, then the origin's, and says what arrived at either side.
fn tunnel(
    mut client: Conn,
    origin: &Origin,
    sent: &[Sent],
    names: &Names,
    patience: Patience,
) -> String {
    let Some(mut far) = origin.upgraded() else {
        return "---- no tunnel\n".to_owned();
    };
    far.patience(patience.response);
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
