//! Idle connections, the most recently used first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use relais_policy::WorkerSpec;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::error::ConnectError;
use crate::resolve::Resolver;

/// Idle connections kept per origin and worker thread at the most.
const IDLE_MAX: usize = 256;

/// One worker thread's connections to origins.
#[derive(Default)]
pub struct Pool {
    idle: RefCell<HashMap<Arc<str>, Vec<Idle>>>,
    names: RefCell<HashMap<String, Arc<str>>>,
    resolver: Resolver,
}

struct Idle {
    stream: TcpStream,
    since: Instant,
}

/// A connection in use.
pub struct Lease {
    /// The connection.
    pub stream: TcpStream,
    /// Whether it has carried a request before: its origin may have closed it
    /// in the same moment, which a fresh one cannot have suffered.
    pub reused: bool,
}

impl Pool {
    /// An idle connection to the worker's origin, or a new one.
    ///
    /// # Errors
    /// When the origin cannot be reached.
    pub async fn acquire(&self, worker: &WorkerSpec) -> Result<Lease, ConnectError> {
        if worker.reuse
            && let Some(stream) = self.take_idle(worker)
        {
            return Ok(Lease {
                stream,
                reused: true,
            });
        }
        self.connect(worker).await
    }

    /// A new connection to the worker's origin: every address is tried, each
    /// for a fair part of the time that is left.
    ///
    /// # Errors
    /// When no address accepts.
    pub async fn connect(&self, worker: &WorkerSpec) -> Result<Lease, ConnectError> {
        if worker.scheme.is_tls() {
            return Err(ConnectError::Tls);
        }
        let lookup = self.resolver.lookup(&worker.host);
        let addresses = match timeout(worker.connect_timeout, lookup).await {
            Ok(answer) => answer,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        let addresses = addresses.map_err(|error| ConnectError::Resolve {
            host: worker.host.clone(),
            error,
        })?;
        let end = Instant::now() + worker.connect_timeout;
        let mut failure = None;
        for (tried, &ip) in addresses.iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
            match connect_one(ip, worker, share).await {
                Ok(stream) => {
                    return Ok(Lease {
                        stream,
                        reused: false,
                    });
                }
                Err(error) => failure = Some(error),
            }
        }
        self.resolver.forget(&worker.host);
        Err(failure.unwrap_or_else(|| ConnectError::Resolve {
            host: worker.host.clone(),
            error: std::io::Error::other("no address"),
        }))
    }

    /// Takes back a connection whose last message has ended cleanly.
    pub fn release(&self, worker: &WorkerSpec, lease: Lease) {
        if !worker.reuse {
            return;
        }
        let name = self.intern(&worker.name);
        let mut idle = self.idle.borrow_mut();
        let list = idle.entry(name).or_default();
        if list.len() >= IDLE_MAX {
            list.remove(0);
        }
        list.push(Idle {
            stream: lease.stream,
            since: Instant::now(),
        });
    }

    /// Closes connections that have been idle for too long or that their
    /// origin has closed; to be called now and then.
    pub fn sweep(&self, idle_max: Duration) {
        self.idle.borrow_mut().retain(|_, list| {
            list.retain(|idle| idle.since.elapsed() < idle_max && is_quiet(&idle.stream));
            !list.is_empty()
        });
    }

    /// Number of idle connections.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    fn take_idle(&self, worker: &WorkerSpec) -> Option<TcpStream> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(worker.name.as_str())?;
        while let Some(Idle { stream, since }) = list.pop() {
            if since.elapsed() < worker.idle_max && is_quiet(&stream) {
                return Some(stream);
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

async fn connect_one(
    ip: IpAddr,
    worker: &WorkerSpec,
    within: Duration,
) -> Result<TcpStream, ConnectError> {
    let address = SocketAddr::new(ip, worker.port);
    match timeout(within, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // Small messages must not wait for an acknowledgement; a socket
            // that refuses the option still works.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(ConnectError::Connect { address, error }),
        Err(_) => Err(ConnectError::TimedOut {
            address,
            after: within,
        }),
    }
}

/// Whether nothing has happened on an idle connection. Bytes or an end would
/// have raised its readiness, which costs no system call to look at.
fn is_quiet(stream: &TcpStream) -> bool {
    let ready = pin!(stream.ready(Interest::READABLE));
    matches!(
        ready.poll(&mut Context::from_waker(Waker::noop())),
        Poll::Pending
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use relais_policy::Scheme;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    fn worker(port: u16) -> WorkerSpec {
        WorkerSpec {
            name: format!("http://127.0.0.1:{port}"),
            scheme: Scheme::Http,
            host: "127.0.0.1".to_owned(),
            port,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            reuse: true,
            idle_max: Duration::from_secs(60),
        }
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test);
    }

    #[test]
    fn a_released_connection_is_reused_until_the_origin_closes_it() {
        run(async {
            let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let worker = worker(origin.local_addr().unwrap().port());
            let pool = Pool::default();
            let lease = pool.acquire(&worker).await.unwrap();
            let (mut far, _) = origin.accept().await.unwrap();
            let near = lease.stream.local_addr().unwrap();
            assert!(!lease.reused);
            pool.release(&worker, lease);
            let lease = pool.acquire(&worker).await.unwrap();
            assert!(lease.reused);
            assert_eq!(lease.stream.local_addr().unwrap(), near);
            pool.release(&worker, lease);
            far.shutdown().await.unwrap();
            drop(far);
            // The reactor has to see the end before the pool can know of it.
            while pool.idle() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                pool.sweep(Duration::from_secs(60));
            }
            assert!(!pool.acquire(&worker).await.unwrap().reused);
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
            let lease = pool.acquire(&worker).await.unwrap();
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
            let error = Pool::default().acquire(&worker(port)).await.err().unwrap();
            assert_eq!(error.status(), 503);
            assert!(error.to_string().contains("refused"), "{error}");
            let nowhere = WorkerSpec {
                host: "relais.invalid".to_owned(),
                ..worker(port)
            };
            let error = Pool::default().acquire(&nowhere).await.err().unwrap();
            assert_eq!(error.status(), 500);
        });
    }
}
