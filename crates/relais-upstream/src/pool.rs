//! Idle connections, the most recently used first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use relais_policy::WorkerSpec;
use relais_stream::Stream;
use relais_tls::ClientTls;
use tokio::time::{Instant, timeout};

use crate::connect::connect;
use crate::error::ConnectError;
use crate::limit::{Limit, Limits, Permit};
use crate::resolve::Resolver;

/// Idle connections kept per origin and worker thread at the most.
const IDLE_MAX: usize = 256;

/// One worker thread's connections to origins.
#[derive(Default)]
pub struct Pool {
    idle: Rc<RefCell<IdleMap>>,
    names: RefCell<HashMap<String, Arc<str>>>,
    limits: Arc<Limits>,
    limited: RefCell<LimitMap>,
    resolver: Resolver,
}

type LimitMap = HashMap<(Arc<str>, u32), Arc<Limit>>;
type IdleMap = HashMap<Arc<str>, Vec<Idle>>;

struct Idle {
    connection: Connection,
    since: Instant,
    /// When it is too old to be used again.
    idle_max: Duration,
}

/// A connection with the right to be one.
struct Connection {
    stream: Stream,
    /// By what rules its origin was verified, so that no other's take it.
    tls: Option<Arc<ClientTls>>,
    permit: Option<Permit>,
}

/// A connection in use.
pub struct Lease {
    /// The connection.
    pub stream: Stream,
    /// Whether it has carried a request before: its origin may have closed it
    /// in the same moment, which a fresh one cannot have suffered.
    pub reused: bool,
    tls: Option<Arc<ClientTls>>,
    permit: Option<Permit>,
}

impl Lease {
    /// The connection and what counts it: whoever takes the stream keeps the
    /// other while the stream is open, so that a tunnel counts towards `max=`.
    #[must_use]
    pub fn into_parts(self) -> (Stream, Counted) {
        (self.stream, Counted(self.permit))
    }
}

/// Counts a connection towards its origin's `max=` while it lives.
pub struct Counted(#[expect(dead_code, reason = "held for its drop")] Option<Permit>);

impl Pool {
    /// A pool under limits that other threads share.
    #[must_use]
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// An idle connection to the worker's origin, or a new one.
    ///
    /// # Errors
    /// When the origin cannot be reached.
    pub async fn acquire(
        &self,
        worker: &WorkerSpec,
        tls: Option<&Arc<ClientTls>>,
    ) -> Result<Lease, ConnectError> {
        if worker.reuse
            && let Some(connection) = self.take_idle(worker, tls)
        {
            return Ok(Lease {
                stream: connection.stream,
                reused: true,
                tls: connection.tls,
                permit: connection.permit,
            });
        }
        self.connect(worker, tls).await
    }

    /// A new connection to the worker's origin.
    ///
    /// # Errors
    /// When no address accepts, or when `max=` connections are open and none
    /// ends within `acquire=`.
    pub async fn connect(
        &self,
        worker: &WorkerSpec,
        tls: Option<&Arc<ClientTls>>,
    ) -> Result<Lease, ConnectError> {
        let permit = match worker.connections_max {
            Some(most) => Some(self.permit(worker, most).await?),
            None => None,
        };
        Ok(Lease {
            stream: connect(&self.resolver, worker, tls).await?,
            reused: false,
            tls: tls.filter(|_| worker.scheme.is_tls()).cloned(),
            permit,
        })
    }

    async fn permit(&self, worker: &WorkerSpec, most: u32) -> Result<Permit, ConnectError> {
        let limit = self.limit(worker, most);
        let exhausted = |after| ConnectError::Exhausted { after };
        let permit = match worker.acquire {
            Some(patience) => timeout(patience, limit.acquire())
                .await
                .map_err(|_| exhausted(patience))?,
            None => limit.acquire().await,
        };
        permit.ok_or_else(|| exhausted(Duration::ZERO))
    }

    /// The limit of a worker; on its first use here, a task that gives up this
    /// thread's idle connections as soon as another request wants one.
    fn limit(&self, worker: &WorkerSpec, most: u32) -> Arc<Limit> {
        let key = (self.intern(&worker.name), most);
        if let Some(limit) = self.limited.borrow().get(&key) {
            return Arc::clone(limit);
        }
        let limit = self.limits.of(&worker.name, most);
        let (idle, watched) = (Rc::downgrade(&self.idle), Arc::clone(&limit));
        let name = Arc::clone(&key.0);
        tokio::task::spawn_local(async move {
            loop {
                watched.wanted().await;
                let Some(idle) = idle.upgrade() else { return };
                idle.borrow_mut().remove(&name);
            }
        });
        self.limited.borrow_mut().insert(key, Arc::clone(&limit));
        limit
    }

    /// Takes back a connection whose last message has ended cleanly.
    pub fn release(&self, worker: &WorkerSpec, lease: Lease) {
        if !worker.reuse || self.is_wanted(worker) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let list = match idle.get_mut(worker.name.as_str()) {
            Some(list) => list,
            None => idle.entry(self.intern(&worker.name)).or_default(),
        };
        if list.len() >= IDLE_MAX {
            list.remove(0);
        }
        list.push(Idle {
            connection: Connection {
                stream: lease.stream,
                tls: lease.tls,
                permit: lease.permit,
            },
            since: Instant::now(),
            idle_max: worker.idle_max,
        });
    }

    fn is_wanted(&self, worker: &WorkerSpec) -> bool {
        worker
            .connections_max
            .is_some_and(|most| self.limit(worker, most).is_wanted())
    }

    /// Closes connections that have been idle for too long or that their
    /// origin has closed; to be called now and then.
    pub fn sweep(&self, idle_max: Duration) {
        self.idle.borrow_mut().retain(|_, list| {
            list.retain(|idle| idle.is_good(idle_max));
            !list.is_empty()
        });
    }

    /// Number of idle connections.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    fn take_idle(&self, worker: &WorkerSpec, tls: Option<&Arc<ClientTls>>) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(worker.name.as_str())?;
        let tls = tls.filter(|_| worker.scheme.is_tls());
        let same = |idle: &Idle| match (&idle.connection.tls, tls) {
            (Some(have), Some(want)) => Arc::ptr_eq(have, want),
            (None, None) => true,
            _ => false,
        };
        while let Some(last) = list.iter().rposition(same) {
            let idle = list.remove(last);
            if idle.is_good(worker.idle_max) {
                return Some(idle.connection);
            }
        }
        None
    }

    /// One shared copy of each worker name, so that giving a connection back
    /// allocates nothing.
    fn intern(&self, name: &str) -> Arc<str> {
        let mut names = self.names.borrow_mut();
        match names.get(name) {
            Some(shared) => Arc::clone(shared),
            None => {
                let shared: Arc<str> = name.into();
                names.insert(name.to_owned(), Arc::clone(&shared));
                shared
            }
        }
    }
}

impl Idle {
    fn is_good(&self, idle_max: Duration) -> bool {
        let limit = idle_max.min(self.idle_max);
        self.since.elapsed() < limit && self.connection.stream.is_quiet()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relais_policy::Scheme;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    fn worker(port: u16) -> WorkerSpec {
        WorkerSpec::new(Scheme::Http, "127.0.0.1", port, Duration::from_secs(5))
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map(|runtime| tokio::task::LocalSet::new().block_on(&runtime, test))
            .unwrap();
    }

    fn local_port(lease: &Lease) -> u16 {
        match &lease.stream {
            Stream::Tcp(stream) => stream.local_addr().unwrap().port(),
            Stream::Unix(_) | Stream::Tls(_) => 0,
        }
    }

    #[test]
    fn a_limit_is_waited_for_and_idle_connections_make_room() {
        run(async {
            let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let limited = WorkerSpec {
                connections_max: Some(1),
                acquire: Some(Duration::from_millis(50)),
                ..worker(origin.local_addr().unwrap().port())
            };
            let limits = Arc::new(Limits::default());
            // Two pools stand for two threads.
            let (one, other) = (Pool::new(Arc::clone(&limits)), Pool::new(limits));
            let lease = one.acquire(&limited, None).await.unwrap();
            let error = other.acquire(&limited, None).await.err().unwrap();
            assert!(matches!(error, ConnectError::Exhausted { .. }), "{error}");
            assert_eq!(error.status(), 503);
            one.release(&limited, lease);
            assert_eq!(one.idle(), 1);
            let patient = WorkerSpec {
                acquire: None,
                ..limited
            };
            let lease = other.acquire(&patient, None).await.unwrap();
            assert_eq!(one.idle(), 0, "the idle one has made room");
            // A connection that a tunnel has taken over still counts.
            let (_stream, counted) = lease.into_parts();
            let impatient = WorkerSpec {
                acquire: Some(Duration::from_millis(20)),
                ..patient
            };
            assert!(one.acquire(&impatient, None).await.is_err());
            drop(counted);
            assert!(one.acquire(&impatient, None).await.is_ok());
        });
    }

    #[test]
    fn unix_sockets() {
        run(async {
            let path = std::env::temp_dir().join(format!("relais-pool-{}", std::process::id()));
            let origin = tokio::net::UnixListener::bind(&path).unwrap();
            let worker = WorkerSpec {
                socket: Some(path.clone()),
                ..worker(9)
            };
            let pool = Pool::default();
            let lease = pool.acquire(&worker, None).await.unwrap();
            assert!(matches!(lease.stream, Stream::Unix(_)));
            pool.release(&worker, lease);
            assert!(pool.acquire(&worker, None).await.unwrap().reused);
            drop(origin);
            std::fs::remove_file(&path).unwrap();
            let error = pool.connect(&worker, None).await.err().unwrap();
            assert_eq!(error.status(), 503);
            assert!(error.to_string().contains("relais-pool-"), "{error}");
        });
    }

    #[test]
    fn a_released_connection_is_reused_until_the_origin_closes_it() {
        run(async {
            let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let worker = worker(origin.local_addr().unwrap().port());
            let pool = Pool::default();
            let lease = pool.acquire(&worker, None).await.unwrap();
            let (mut far, _) = origin.accept().await.unwrap();
            let near = local_port(&lease);
            assert!(!lease.reused);
            pool.release(&worker, lease);
            let lease = pool.acquire(&worker, None).await.unwrap();
            assert!(lease.reused);
            assert_eq!(local_port(&lease), near);
            pool.release(&worker, lease);
            far.shutdown().await.unwrap();
            drop(far);
            // The reactor has to see the end before the pool can know of it.
            while pool.idle() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                pool.sweep(Duration::from_secs(60));
            }
            assert!(!pool.acquire(&worker, None).await.unwrap().reused);
        });
    }

    #[test]
    fn a_worker_without_reuse_keeps_nothing() {
        run(async {
            let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let worker = WorkerSpec {
                reuse: false,
                ..worker(origin.local_addr().unwrap().port())
            };
            let pool = Pool::default();
            let lease = pool.acquire(&worker, None).await.unwrap();
            pool.release(&worker, lease);
            assert_eq!(pool.idle(), 0);
        });
    }

    #[test]
    fn an_origin_that_is_down_says_so() {
        run(async {
            let port = TcpListener::bind("127.0.0.1:0")
                .await
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let error = Pool::default()
                .acquire(&worker(port), None)
                .await
                .err()
                .unwrap();
            assert_eq!(error.status(), 503);
            assert!(error.to_string().contains("refused"), "{error}");
            let nowhere = WorkerSpec {
                host: "relais.invalid".to_owned(),
                ..worker(port)
            };
            let error = Pool::default().acquire(&nowhere, None).await.err().unwrap();
            assert_eq!(error.status(), 500);
        });
    }
}
