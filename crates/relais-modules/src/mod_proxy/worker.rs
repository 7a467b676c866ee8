//! Workers: the origins that the configuration names.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use relais_policy::{Scheme, Upgrade, WorkerSpec};

use super::params::Params;
use super::url;

/// An origin, with what the configuration says about reaching it.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    /// Its URL in lower case up to the path, without a default port.
    name: Vec<u8>,
    scheme: Scheme,
    host: String,
    port: u16,
    /// The Unix socket in front of its URL.
    socket: Option<PathBuf>,
    params: Params,
    spec: OnceLock<Arc<WorkerSpec>>,
}

/// Reads the value of `upgrade=`.
pub(crate) fn parse_upgrade(value: &str) -> Upgrade {
    if value.eq_ignore_ascii_case("ANY") || value == "*" {
        return Upgrade::Any;
    }
    // NONE names no protocol.
    let words = value.split(|c: char| !c.is_ascii_graphic() || "()<>@,;\\\"/[]?={}".contains(c));
    let words = words.filter(|word| !word.is_empty() && !word.eq_ignore_ascii_case("NONE"));
    Upgrade::Prefixes(words.map(str::to_ascii_lowercase).collect())
}

/// What a host says about all its workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    /// `ProxyTimeout`, else `Timeout`.
    pub(crate) timeout: Duration,
    /// `ProxyReceiveBufferSize`.
    pub(crate) receive_buffer: Option<u32>,
    /// `ProxySourceAddress`.
    pub(crate) source: Option<IpAddr>,
}

impl Defaults {
    /// Those of a host that says nothing but how long it waits.
    #[cfg(test)]
    pub(crate) const fn within(timeout: Duration) -> Self {
        Self {
            timeout,
            receive_buffer: None,
            source: None,
        }
    }
}

impl Worker {
    /// A worker for a target URL. `whole` keeps the path in its name, as the
    /// workers of `ProxyPass` have it; others stand for the whole origin.
    pub(crate) fn new(target: &[u8], whole: bool, params: Params) -> Option<Self> {
        let parts = url::split(target)?;
        let scheme = Scheme::parse(parts.scheme)?;
        let (host, port) = url::host_port(parts.authority)?;
        let host = host.to_ascii_lowercase();
        let port = port.unwrap_or_else(|| scheme.port());
        let socket = match parts.socket {
            Some(path) => Some(url::socket_path(path)?),
            None => None,
        };
        let mut name = match parts.socket {
            Some(path) => [b"unix:", path, b"|"].concat(),
            None => Vec::new(),
        };
        name.extend(origin(scheme, &host, port).into_bytes());
        if whole {
            name.extend_from_slice(parts.path);
        }
        Some(Self {
            name,
            scheme,
            host,
            port,
            socket,
            params,
            spec: OnceLock::new(),
        })
    }

    /// The worker of a target that comes from a request alone: as with httpd's
    /// `proxy:reverse`, its connections serve one request, since nothing bounds
    /// how many such origins there are.
    pub(crate) fn unshared(target: &[u8]) -> Option<Self> {
        Self::new(
            target,
            false,
            Params {
                reuse: Some(false),
                ..Params::default()
            },
        )
    }

    /// The path of its URL.
    pub(crate) fn path(&self) -> &[u8] {
        url::split(&self.name).map_or(b"", |parts| parts.path)
    }

    /// What the configuration says about it.
    pub(crate) fn params(&self) -> &Params {
        &self.params
    }

    /// Its URL.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// What the configuration says about it.
    pub(crate) fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// What the upstream crate needs, made on first use with what the host that
    /// uses it says.
    pub(crate) fn spec(&self, defaults: &Defaults) -> &Arc<WorkerSpec> {
        self.spec.get_or_init(|| {
            let timeout = self.params.timeout.unwrap_or(defaults.timeout);
            let plain = WorkerSpec::new(self.scheme, &self.host, self.port, timeout);
            let name = match &self.socket {
                Some(path) => format!("unix:{}|{}", path.display(), plain.name),
                None => plain.name.clone(),
            };
            let params = &self.params;
            Arc::new(WorkerSpec {
                name,
                socket: self.socket.clone(),
                connect_timeout: params.connect_timeout.unwrap_or(timeout),
                reuse: params.reuse.unwrap_or(true),
                idle_max: params.ttl.unwrap_or(WorkerSpec::IDLE_MAX),
                address_ttl: params.address_ttl,
                connections_max: params.max,
                acquire: params.acquire,
                keep_alive: params.keep_alive.unwrap_or(false),
                ping: params.ping,
                field_max: params
                    .field_max
                    .map_or(WorkerSpec::FIELD_MAX, |bytes| bytes as usize),
                receive_buffer: params.receive_buffer.or(defaults.receive_buffer),
                source: defaults.source,
                upgrade: params.upgrade.clone().unwrap_or_default(),
                ..plain
            })
        })
    }
}

/// `scheme://host[:port]` without a default port.
fn origin(scheme: Scheme, host: &str, port: u16) -> String {
    WorkerSpec::new(scheme, host, port, Duration::ZERO).name
}

/// The worker with the longest name that a URL begins with; its name covers at
/// least scheme, host and port (`ap_proxy_get_worker`).
pub(crate) fn longest<'a>(workers: &'a [Worker], url: &[u8]) -> Option<&'a Worker> {
    let parts = url::split(url)?;
    let (origin, path) = url.split_at(parts.origin_len());
    let least = origin.len();
    let fits = |worker: &&Worker| {
        worker.socket.as_deref() == parts.socket.and_then(url::socket_path).as_deref()
            && worker
                .name
                .get(..least)
                .is_some_and(|name| name.eq_ignore_ascii_case(origin))
            && worker
                .name
                .get(least..)
                .is_some_and(|rest| path.starts_with(rest))
    };
    // Of equally long names the first one counts.
    workers
        .iter()
        .filter(fits)
        .rev()
        .max_by_key(|worker| worker.name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrades() {
        let table: &[(&str, Option<&str>, &str, bool)] = &[
            ("http://h/", None, "websocket", false),
            ("ws://h/", None, "WebSocket", true),
            ("ws://h/", None, "websocket, foo", false),
            ("ws://h/", None, "h2c, websocket", false),
            ("http://h/", Some("websocket"), "WebSOCKET", true),
            ("http://h/", Some("websocket"), "websocket, foo", true),
            ("http://h/", Some("WebSocket"), "foo", false),
            ("http://h/", Some("websocket"), "web", false),
            ("http://h/", Some("foo, websocket"), "websocket", true),
            ("http://h/", Some("foo, websocket"), "foo/1", true),
            ("http://h/", Some("ANY"), "foo", true),
            ("http://h/", Some("any"), "foo", true),
            ("ws://h/", Some("NONE"), "websocket", false),
            ("http://h/", Some("NONE"), "NONE", false),
        ];
        for &(target, upgrade, value, expected) in table {
            let params = Params {
                upgrade: upgrade.map(parse_upgrade),
                ..Params::default()
            };
            let worker = Worker::new(target.as_bytes(), true, params).expect("a good target");
            let spec = worker.spec(&Defaults::within(Duration::from_secs(1)));
            assert_eq!(
                spec.upgrade(value.as_bytes()).is_some(),
                expected,
                "{target} {upgrade:?} {value}"
            );
        }
    }

    #[test]
    fn longest_prefix() {
        let targets = [
            "http://h/",
            "http://h/app",
            "http://H:80/app/deep/",
            "ws://h:81/app",
            "http://h:8080/",
            "unix:/run/A|http://h/",
        ];
        let workers: Vec<Worker> = targets
            .iter()
            .filter_map(|target| Worker::new(target.as_bytes(), true, Params::default()))
            .collect();
        let table: &[(&str, Option<&str>)] = &[
            ("http://h/x", Some("http://h/")),
            ("http://H/x", Some("http://h/")),
            ("http://h/apple", Some("http://h/app")),
            ("http://h/app/deep", Some("http://h/app")),
            ("http://h/app/deep/x", Some("http://h/app/deep/")),
            ("ws://h:81/app", Some("ws://h:81/app")),
            ("ws://h:81/", None),
            ("http://h:80/", None),
            ("http://h:8080x/", None),
            ("http://hx/", None),
            ("unix:/run/A|http://h/x", Some("unix:/run/A|http://h/")),
            ("unix:/run/a|http://h/x", None),
        ];
        for &(url, expected) in table {
            let found = longest(&workers, url.as_bytes())
                .map(|worker| String::from_utf8_lossy(worker.name()));
            assert_eq!(found.as_deref(), expected, "{url}");
        }
    }
}
