//! Balancers as the configuration has them, and the request before a member is
//! chosen for it. The choice is made by `relais-upstream`, from what the
//! members are doing at that moment.

use std::sync::Arc;
use std::time::Duration;

use relais_expr::{Expression, Lookup, State, Variable};
use relais_http1::{ResponseHead, Version, write_field, write_request_line};

use crate::decision::{Forward, Treatment};
use crate::spec::WorkerSpec;

/// One `balancer://name`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BalancerSpec {
    /// `balancer://name`, lower case.
    pub name: String,
    /// Whether a virtual host has it from the main server, with which it then
    /// shares all that is live.
    pub inherited: bool,
    /// Its place in [`crate::HostSpec::balancers`].
    pub index: usize,
    /// Its members, in file order.
    pub members: Vec<MemberSpec>,
    /// How a member is chosen.
    pub settings: BalancerSettings,
    /// `nonce=`
    pub nonce: Nonce,
    /// `growth=`: members that may be added while relais runs.
    pub growth: u32,
}

/// `nonce=`: what a change by the manager's page has to know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Nonce {
    /// A text that is made at random.
    #[default]
    Random,
    /// Nothing.
    None,
    /// This text.
    Given(String),
}

/// How members are chosen, as it can be changed while relais runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BalancerSettings {
    /// `lbmethod=`
    pub method: Method,
    /// `maxattempts=`: how many other members are tried; without it, all.
    pub attempts_max: Option<u32>,
    /// `timeout=` of the balancer, as pages show it.
    pub timeout: Duration,
    /// `nofailover=`: a session whose member is down gets 503.
    pub no_failover: bool,
    /// `stickysession=`
    pub sticky: Option<Sticky>,
    /// `failonstatus=`: final statuses after which a member rests.
    pub fail_on_status: Vec<u16>,
    /// `failontimeout=`: so does one that is silent for too long.
    pub fail_on_timeout: bool,
    /// `forcerecovery=`: when all members rest, none does.
    pub force_recovery: bool,
}

impl Default for BalancerSettings {
    fn default() -> Self {
        Self {
            method: Method::ByRequests,
            attempts_max: None,
            timeout: Duration::ZERO,
            no_failover: false,
            sticky: None,
            fail_on_status: Vec::new(),
            fail_on_timeout: false,
            force_recovery: true,
        }
    }
}

/// `lbmethod=`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Each in turn, by weight.
    ByRequests,
    /// The one with the fewest bytes by weight.
    ByTraffic,
    /// The one with the fewest requests and tunnels.
    ByBusyness,
    /// The same one for the same key, for as long as it can be used
    /// (rendezvous hashing); relais' own.
    Rendezvous,
}

impl Method {
    /// The methods by their names.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("byrequests", Self::ByRequests),
        ("bytraffic", Self::ByTraffic),
        ("bybusyness", Self::ByBusyness),
        ("rendezvous", Self::Rendezvous),
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let known = Self::NAMES.iter().find(|(_, method)| *method == self);
        known.map_or("", |(name, _)| name)
    }
}

/// `stickysession=`
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sticky {
    /// A route behind a separator in a cookie or in a parameter of the URL.
    Route {
        /// The cookie's name.
        cookie: String,
        /// The parameter's name in the URL.
        parameter: String,
        /// `stickysessionsep=`; `None` takes the whole value for the route.
        separator: Option<u8>,
        /// `scolonpathdelim=`: `;` ends a parameter too.
        semicolon: bool,
    },
    /// The `<server>/<session>` part of a SockJS path; relais' own.
    SockJs,
}

/// One `BalancerMember`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberSpec {
    /// Its URL with its path, as logs and the manager show it.
    pub url: String,
    /// Its origin.
    pub worker: Arc<WorkerSpec>,
    /// The path of its URL.
    pub path: String,
    /// `route=`
    pub route: String,
    /// `redirect=`: the route that takes its sessions while it is down.
    pub redirect: String,
    /// `loadfactor=` in hundredths.
    pub factor: u32,
    /// `lbset=`
    pub set: u8,
    /// `status=`, as bits of [`MemberStatus`].
    pub status: u16,
    /// `retry=`: how long it rests after an error.
    pub retry: Duration,
    /// `hcmethod=` and its relatives.
    pub health: Option<HealthSpec>,
}

/// How a member is looked after (mod_proxy_hcheck).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthSpec {
    /// What is asked of it.
    pub method: HealthMethod,
    /// Path and query of the request.
    pub target: String,
    /// `hcinterval=`: the time between two checks.
    pub interval: Duration,
    /// `hcpasses=`: checks that have to succeed one after the other before it
    /// is used again.
    pub passes: u32,
    /// `hcfails=`: checks that have to fail one after the other before it is
    /// used no more.
    pub fails: u32,
    /// `hcexpr=`: what has to hold for an answer; its status decides without.
    pub condition: Option<HealthCondition>,
}

/// `ProxyHCExpr`: when an answer to a check is good.
#[derive(Clone, Debug)]
pub struct HealthCondition {
    /// Its name.
    pub name: String,
    /// It as it is written.
    pub text: String,
    /// It as it is evaluated.
    pub expression: Arc<Expression>,
}

impl PartialEq for HealthCondition {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for HealthCondition {}

impl HealthCondition {
    /// Whether it holds for an answer and the body that came with it. One that
    /// cannot be evaluated does not.
    #[must_use]
    pub fn holds(&self, head: &ResponseHead, body: &[u8]) -> bool {
        let result = self
            .expression
            .eval(&Checked { head, body }, &mut State::default());
        result.unwrap_or(false)
    }
}

/// The answer to a health check, as conditions see it.
struct Checked<'a> {
    head: &'a ResponseHead,
    body: &'a [u8],
}

impl Lookup for Checked<'_> {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        match variable {
            Variable::HealthBody => out.extend_from_slice(self.body),
            Variable::RequestStatus => out.extend(self.head.status().to_string().into_bytes()),
            Variable::ResponseHeader(name) => {
                let value = self.head.fields.get(&**name);
                out.extend_from_slice(value.unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// `hcmethod=`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HealthMethod {
    /// A connection.
    Tcp,
    /// A request whose answer is 2xx or 3xx.
    Http {
        /// The request's method.
        method: &'static str,
        /// Its version: HTTP/1.1, or 1.0.
        modern: bool,
    },
    /// A WebSocket handshake that is accepted as RFC 6455 has it; relais' own.
    WebSocket,
}

impl HealthMethod {
    /// The methods by their names.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("TCP", Self::Tcp),
        ("OPTIONS", Self::http("OPTIONS", false)),
        ("HEAD", Self::http("HEAD", false)),
        ("GET", Self::http("GET", false)),
        ("OPTIONS11", Self::http("OPTIONS", true)),
        ("HEAD11", Self::http("HEAD", true)),
        ("GET11", Self::http("GET", true)),
        ("WS", Self::WebSocket),
    ];

    const fn http(method: &'static str, modern: bool) -> Self {
        Self::Http { method, modern }
    }
}

/// The bits of a member's status, with httpd's letters and words.
#[derive(Debug)]
pub enum MemberStatus {}

impl MemberStatus {
    /// `D`: not used.
    pub const DISABLED: u16 = 1;
    /// `S`: not used, by its administrator.
    pub const STOPPED: u16 = 2;
    /// `I`: errors do not make it rest.
    pub const IGNORE_ERRORS: u16 = 4;
    /// `H`: used when no other can be.
    pub const STANDBY: u16 = 8;
    /// `R`: used in place of one that cannot be.
    pub const SPARE: u16 = 16;
    /// `E`: rests after an error.
    pub const ERROR: u16 = 32;
    /// `N`: only sessions that name it.
    pub const DRAIN: u16 = 64;
    /// `C`: its health check failed.
    pub const UNHEALTHY: u16 = 128;
    /// What keeps a member from being used.
    pub const UNUSABLE: u16 = Self::DISABLED | Self::STOPPED | Self::ERROR | Self::UNHEALTHY;

    /// Every bit with its letter and httpd's word for it.
    pub const ALL: [(u8, u16, &'static str); 8] = [
        (b'D', Self::DISABLED, "Dis"),
        (b'S', Self::STOPPED, "Stop"),
        (b'I', Self::IGNORE_ERRORS, "Ign"),
        (b'H', Self::STANDBY, "Stby"),
        (b'R', Self::SPARE, "Spar"),
        (b'E', Self::ERROR, "Err"),
        (b'N', Self::DRAIN, "Drn"),
        (b'C', Self::UNHEALTHY, "HcFl"),
    ];

    /// The bit of a letter, in any case.
    #[must_use]
    pub fn of(letter: u8) -> Option<u16> {
        let letter = letter.to_ascii_uppercase();
        let known = Self::ALL.iter().find(|(have, ..)| *have == letter);
        known.map(|(_, bit, _)| *bit)
    }
}

/// A request for a balancer: all of its head but what depends on the member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Balanced {
    /// The balancer.
    pub balancer: Arc<BalancerSpec>,
    /// The method.
    pub method: Vec<u8>,
    /// Path and query behind the member's own path.
    pub path: Vec<u8>,
    /// The `Host` to send; the member's own where there is none.
    pub host: Option<Vec<u8>>,
    /// Whole field lines, without those of the connection.
    pub fields: Vec<u8>,
    /// Whether `ping=` adds an expectation.
    pub may_ping: bool,
    /// The client's `Upgrade`.
    pub asked: Option<Vec<u8>>,
    /// What a tunnel may do, if it becomes one.
    pub tunnel: crate::TunnelSpec,
    /// The rule that led here, if it may become a tunnel.
    pub route: Option<Arc<crate::RouteSpec>>,
    /// Whether the connection may be kept (`proxy-nokeepalive`).
    pub reuse: bool,
    /// The request's key, for [`Method::Rendezvous`].
    pub key: Vec<u8>,
    /// HTTP/1.0 where `force-proxy-request-1.0` says so.
    pub version: Version,
    /// What is done about the connection and the answer.
    pub treatment: Treatment,
}

impl Balanced {
    /// The request for one member; `None` if its head cannot be written.
    #[must_use]
    pub fn forward(&self, worker: &Arc<WorkerSpec>, path: &str) -> Option<Forward> {
        let target = [path.as_bytes(), &self.path].concat();
        let target: &[u8] = if target.is_empty() { b"/" } else { &target };
        let mut worker = Arc::clone(worker);
        if worker.reuse && !self.reuse {
            Arc::make_mut(&mut worker).reuse = false;
        }
        let mut head = Vec::with_capacity(self.fields.len() + target.len() + 128);
        write_request_line(&mut head, &self.method, target, self.version).ok()?;
        let own = worker.authority().as_bytes();
        write_field(&mut head, b"Host", self.host.as_deref().unwrap_or(own));
        if self.may_ping && worker.ping.is_some() {
            write_field(&mut head, b"Expect", b"100-Continue");
        }
        head.extend_from_slice(&self.fields);
        let upgrade = self
            .asked
            .as_deref()
            .and_then(|asked| worker.upgrade(asked));
        let asked = self.asked.as_deref().filter(|_| upgrade.is_some());
        if self.version == Version::Http11 {
            write_connection(asked, worker.reuse, &mut head);
        }
        head.extend_from_slice(b"\r\n");
        Some(Forward {
            head,
            url: [worker.name.as_bytes(), target].concat(),
            upgrade,
            worker,
            treatment: self.treatment.clone(),
            tunnel: self.tunnel,
            route: self.route.clone(),
        })
    }
}

/// The fields that speak of the connection to an origin.
pub fn write_connection(upgrade: Option<&[u8]>, reuse: bool, out: &mut Vec<u8>) {
    match (upgrade, reuse) {
        (Some(upgrade), _) => {
            write_field(out, b"Connection", b"Upgrade");
            write_field(out, b"Upgrade", upgrade);
        }
        (None, true) => write_field(out, b"Connection", b"Keep-Alive"),
        (None, false) => write_field(out, b"Connection", b"close"),
    }
}
