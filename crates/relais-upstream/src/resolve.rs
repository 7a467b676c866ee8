//! Host names to addresses, remembered for a while.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

/// How long an answer is used without `addressttl=`. httpd resolves a worker's name once per start
/// (`addressttl=-1`), which strands an origin that moves; asking for each
/// connection would put the resolver on the path of every request.
const KEPT: Duration = Duration::from_secs(30);

/// Names remembered at the most: targets may come from a request's own words.
const MOST: usize = 1024;

/// Answers of the system's resolver.
#[derive(Default)]
pub(crate) struct Resolver {
    known: RefCell<HashMap<String, Answer>>,
}

/// When a name was looked up, and what for.
type Answer = (Instant, Rc<[IpAddr]>);

impl Resolver {
    /// All addresses of a host. An address literal is its own answer, without
    /// a system call.
    pub(crate) async fn lookup(
        &self,
        host: &str,
        ttl: Option<Duration>,
    ) -> io::Result<Rc<[IpAddr]>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Rc::new([ip]));
        }
        if let Some(known) = self.fresh(host, ttl.unwrap_or(KEPT)) {
            return Ok(known);
        }
        let found: Vec<IpAddr> = tokio::net::lookup_host((host, 0))
            .await?
            .map(|address: SocketAddr| address.ip())
            .collect();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
        }
        let found: Rc<[IpAddr]> = found.into();
        self.remember(host, &found);
        Ok(found)
    }

    fn fresh(&self, host: &str, ttl: Duration) -> Option<Rc<[IpAddr]>> {
        let known = self.known.borrow();
        let (since, addresses) = known.get(host)?;
        (since.elapsed() < ttl).then(|| Rc::clone(addresses))
    }

    fn remember(&self, host: &str, found: &Rc<[IpAddr]>) {
        let mut known = self.known.borrow_mut();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(host.to_owned(), (Instant::now(), Rc::clone(found)));
    }

    /// Forgets a name whose addresses did not answer.
    pub(crate) fn forget(&self, host: &str) {
        self.known.borrow_mut().remove(host);
    }
}
