//! What is to be done with a request: a closed set that the front carries out.
//!
//! The [`fmt::Display`] form is the language of the decision fixtures.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use crate::balancer::Balanced;
use crate::route::RouteSpec;
use crate::spec::WorkerSpec;
use crate::tunnel::TunnelSpec;

/// The outcome of all phases for one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// relais answers by itself with the standard page of a status.
    Respond(Respond),
    /// relais answers with a `Location`.
    Redirect {
        /// 3xx.
        status: u16,
        /// The absolute URL, free of control characters.
        location: Vec<u8>,
    },
    /// The request goes to an origin and its response comes back.
    Proxy(Box<Forward>),
    /// The request is an upgrade: on the origin's 101 a tunnel opens.
    Tunnel(Box<Forward>),
    /// One of a balancer's members gets the request, as a request or as an
    /// upgrade.
    Balance(Box<Balanced>),
}

/// An answer of relais' own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Respond {
    /// The status.
    pub status: u16,
    /// The reason phrase where it is not the status's usual one
    /// (`Proxy Error`).
    pub reason: Option<&'static str>,
    /// What the page says went wrong, beside the status's own text.
    pub detail: Option<String>,
    /// Fields besides `Date`, `Server` and those that frame the page.
    pub fields: Vec<(&'static str, Vec<u8>)>,
    /// A body in place of the standard page; its type is among `fields`.
    pub body: Option<Vec<u8>>,
    /// It answers a request without TLS on a port of TLS, and its page says so.
    pub plain_on_tls: bool,
    /// A file, or a part of one, that follows in place of the body.
    pub file: Option<Box<FileBody>>,
    /// What the error log says.
    pub log: Option<Box<str>>,
}

/// A part of an open file.
#[derive(Clone, Debug)]
pub struct FileBody {
    /// The file.
    pub file: Arc<File>,
    /// The first byte that is sent.
    pub offset: u64,
    /// How many bytes are.
    pub length: u64,
}

impl PartialEq for FileBody {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
            && (self.offset, self.length) == (other.offset, other.length)
    }
}

impl Eq for FileBody {}

impl Respond {
    /// The standard page of a status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            reason: None,
            detail: None,
            fields: Vec::new(),
            body: None,
            plain_on_tls: false,
            file: None,
            log: None,
        }
    }

    /// Whether this is an error, for which there may be an `ErrorDocument`.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.status >= 400
    }

    /// Whether this is an error or a redirect, which httpd generates apart
    /// from other answers.
    #[must_use]
    pub fn is_generated(&self) -> bool {
        self.status >= 300
    }

    /// The same with a line for the error log.
    #[must_use]
    pub fn logged(status: u16, log: impl Into<Box<str>>) -> Self {
        Self {
            log: Some(log.into()),
            ..Self::status(status)
        }
    }
}

/// A request on its way to an origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forward {
    /// The origin.
    pub worker: Arc<WorkerSpec>,
    /// The whole target URL with its query, as logs show it.
    pub url: Vec<u8>,
    /// The request head to send, complete with its empty line.
    pub head: Vec<u8>,
    /// For a tunnel, the protocols that were asked for and that the rule
    /// allows, as a list: a 101 has to name one of them.
    pub upgrade: Option<Vec<u8>>,
    /// What is done about the connection and the answer.
    pub treatment: Treatment,
    /// What that tunnel may do.
    pub tunnel: TunnelSpec,
    /// The rule that led here, of a tunnel.
    pub route: Option<Arc<RouteSpec>>,
}

/// What the configuration says about a request's connection to its origin and
/// about the answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Treatment {
    /// `ProxyErrorOverride`: which answers make room for relais' own.
    pub overrides: Overrides,
    /// `proxy-interim-response`: which interim responses are passed on.
    pub interim: Interim,
    /// `proxy-initial-not-pooled`: only a fresh connection will do.
    pub fresh: bool,
    /// `Proxy100Continue Off`: relais itself tells the client to go on.
    pub continue_here: bool,
    /// `ProxyBadHeader Ignore`: a response's line without a colon is left out.
    pub skip_bad_fields: bool,
}

/// `ProxyErrorOverride`
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Overrides {
    /// None.
    #[default]
    None,
    /// Those with a status from 400 on.
    Errors,
    /// Those with one of these statuses.
    Listed(Arc<[u16]>),
}

impl Overrides {
    /// Whether an answer with this status makes room.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        match self {
            Self::None => false,
            Self::Errors => status >= 400,
            Self::Listed(statuses) => statuses.contains(&status),
        }
    }
}

/// Which interim responses are passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Interim {
    /// All but a 100 that the client did not ask for.
    #[default]
    Asked,
    /// All (`RFC`).
    All,
    /// None (`Suppress`).
    None,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Respond(respond) => write!(f, "respond {}", respond.status),
            Self::Redirect { status, location } => {
                write!(f, "redirect {status} {}", location.escape_ascii())
            }
            Self::Proxy(forward) => write!(f, "proxy {}", forward.url.escape_ascii()),
            Self::Tunnel(forward) => write!(f, "tunnel {}", forward.url.escape_ascii()),
            Self::Balance(balanced) => {
                let (name, path) = (&balanced.balancer.name, balanced.path.escape_ascii());
                write!(f, "balance {name} {path}")
            }
        }
    }
}
