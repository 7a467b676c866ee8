//! What runs, as the server's own pages show and change it: plain data, and
//! the one trait by which a phase reaches it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::balancer::{BalancerSettings, HealthSpec, MemberSpec};
use crate::exchange::Load;

/// The running server. Whoever calls may have to wait for other threads, so
/// that phases do it in a [`crate::Lookup`].
pub trait Running: Send + Sync {
    /// What the status page shows.
    fn status(&self) -> ServerStatus;

    /// What tunnels have come to, in the text format of Prometheus.
    fn tunnel_metrics(&self) -> String;

    /// The balancers of a host, by its place in the site.
    fn balancers(&self, host: usize) -> Vec<BalancerStatus>;

    /// Changes a balancer of a host or one of its members, on all threads at
    /// once. What it did, in words for the log; nothing for what is not there.
    fn change(&self, host: usize, change: &Change) -> Vec<String>;
}

/// A change of one balancer.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// `balancer://name`
    pub balancer: String,
    /// The URL of the member that the edits of members are for.
    pub member: Option<String>,
    /// What is changed, in order.
    pub edits: Vec<Edit>,
}

/// One thing that is changed.
#[derive(Clone, PartialEq, Debug)]
pub enum Edit {
    /// A member's `loadfactor=` in hundredths.
    Factor(u32),
    /// A member's `lbset=`.
    Set(u8),
    /// A member's `route=`.
    Route(String),
    /// A member's `redirect=`.
    Redirect(String),
    /// A bit of a member's [`crate::MemberStatus`], on or off.
    Status(u16, bool),
    /// How a member is looked after.
    Health(HealthSpec),
    /// Ends a member's tunnels, spread over `TunnelDrainWindow`.
    DrainTunnels,
    /// How members are chosen.
    Settings(BalancerSettings),
    /// One more member.
    Add(Box<MemberSpec>),
}

/// Gives access to the running server.
pub type AskRunning<'a> = &'a dyn Fn() -> Arc<dyn Running>;

/// The state of the whole server.
#[derive(Clone, Default, Debug)]
pub struct ServerStatus {
    /// When the process began to serve; `None` before it has.
    pub started: Option<SystemTime>,
    /// When the configuration in force was read.
    pub configured: Option<SystemTime>,
    /// How often the configuration has been read again.
    pub reloads: u64,
    /// The machine's load.
    pub load: Load,
    /// Processor time of the process in user code, and in the kernel.
    pub cpu: [Duration; 2],
    /// The threads that serve HTTP.
    pub threads: Vec<ThreadStatus>,
    /// The open tunnels.
    pub tunnels: Vec<TunnelStatus>,
}

/// One thread that serves HTTP.
#[derive(Clone, Default, Debug)]
pub struct ThreadStatus {
    /// Requests that it has answered.
    pub accesses: u64,
    /// Bytes that it has sent to clients.
    pub bytes: u64,
    /// The time that its requests have taken, all together.
    pub took: Duration,
    /// Whether it takes no new connections.
    pub stopping: bool,
    /// Its connections, tunnels excepted.
    pub connections: Vec<ConnectionStatus>,
}

/// What a connection is at.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Mode {
    /// It has not sent a request yet, or is sending one.
    #[default]
    Read,
    /// A request is answered.
    Write,
    /// It waits for another request.
    KeepAlive,
    /// It is being closed.
    Close,
}

/// One client connection.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// What it is at.
    pub mode: Mode,
    /// The client.
    pub peer: SocketAddr,
    /// Requests that have come on it.
    pub requests: u32,
    /// Bytes that were sent on it.
    pub bytes: u64,
    /// Time since the last request began, or since it was opened.
    pub since: Duration,
    /// How long the last request took.
    pub took: Duration,
    /// The virtual host of the last request as `name:port`.
    pub host: String,
    /// The beginning of the last request's line; empty where it is not kept
    /// (`ExtendedStatus Off`).
    pub line: Vec<u8>,
}

/// One open tunnel.
#[derive(Clone, Debug)]
pub struct TunnelStatus {
    /// Its number.
    pub id: u64,
    /// The client.
    pub client: SocketAddr,
    /// The virtual host.
    pub host: String,
    /// The worker that its rule names.
    pub rule: String,
    /// The origin's address.
    pub origin: String,
    /// How the client came.
    pub via: &'static str,
    /// Time since it opened.
    pub age: Duration,
    /// Time since the last byte.
    pub idle: Duration,
    /// Messages and bytes from the client.
    pub from_client: [u64; 2],
    /// Messages and bytes from the origin.
    pub from_origin: [u64; 2],
    /// Whether it is about to be ended.
    pub draining: bool,
}

/// A balancer as it is now.
#[derive(Clone, Debug)]
pub struct BalancerStatus {
    /// `balancer://name`
    pub name: String,
    /// What a change has to know; empty where none is asked for.
    pub nonce: String,
    /// How many members there may be.
    pub members_max: usize,
    /// How members are chosen.
    pub settings: BalancerSettings,
    /// Its members, in file order.
    pub members: Vec<MemberStatusNow>,
}

/// A member as it is now.
#[derive(Clone, Debug)]
pub struct MemberStatusNow {
    /// Its URL.
    pub url: String,
    /// Scheme and host of its origin.
    pub origin: [String; 2],
    /// Port of its origin.
    pub port: u16,
    /// The bits of [`crate::MemberStatus`].
    pub status: u16,
    /// `route=`
    pub route: String,
    /// `redirect=`
    pub redirect: String,
    /// `loadfactor=` in hundredths.
    pub factor: u32,
    /// `lbset=`
    pub set: u8,
    /// How often it was chosen.
    pub elected: u64,
    /// Requests and tunnels at it.
    pub busy: u64,
    /// What the method has put down for it.
    pub load: i64,
    /// Bytes sent to it and received from it.
    pub traffic: [u64; 2],
    /// How it is looked after.
    pub health: Option<HealthSpec>,
    /// Health checks that have passed and failed one after the other.
    pub checks: [u32; 2],
}
