//! A host's TLS, and its files when they change (`SSLCertificateWatch`).

use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use relais_policy::tls::{FileSpec, TlsSpec};

use crate::server::Wanted;
use crate::{Problem, ServerTls};

/// What the handshakes of one host use now.
pub(crate) struct Watched {
    current: RwLock<Arc<ServerTls>>,
    /// `None` without `SSLCertificateWatch on`.
    looks: Option<Mutex<Looks>>,
}

/// What the files looked like.
struct Looks {
    wanted: Wanted,
    /// When they were read.
    read: Vec<Look>,
    /// At the last look.
    last: Vec<Look>,
}

/// A file, by what changes with its content; `None` where there is none.
type Look = Option<(i64, i64, u64, u64)>;

/// A host whose files were read again because they had changed.
#[derive(Debug)]
pub struct Renewal {
    /// The host's place in the site.
    pub host: usize,
    /// The host as `name:port`.
    pub name: String,
    /// What was wrong with the new files, in which case the old ones stay in use.
    pub problem: Option<Problem>,
}

impl Watched {
    /// Reads a host's files. What the process may not read any more stays what it was in `before`, and that is told.
    pub(crate) fn load(
        wanted: Wanted,
        before: Option<&ServerTls>,
    ) -> Result<(Self, Option<Problem>), Problem> {
        // Before they are read: a change in between is seen by the next look.
        let read = look(&wanted.spec);
        let (server, kept) = match (ServerTls::load(&wanted, before), before) {
            (Ok(server), _) => (server, None),
            (Err(problem), Some(before)) if problem.denied => {
                (before.at(wanted.host), Some(problem))
            }
            (Err(problem), _) => return Err(problem),
        };
        let looks = wanted.spec.watch.then(|| {
            Mutex::new(Looks {
                wanted,
                last: read.clone(),
                read,
            })
        });
        let current = RwLock::new(Arc::new(server));
        Ok((Self { current, looks }, kept))
    }

    pub(crate) fn current(&self) -> Arc<ServerTls> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) const fn watches(&self) -> bool {
        self.looks.is_some()
    }

    pub(crate) fn look(&self) -> Option<Renewal> {
        let mut looks = lock(self.looks.as_ref()?);
        let now = look(&looks.wanted.spec);
        let settled = std::mem::replace(&mut looks.last, now.clone()) == now;
        if !settled || now == looks.read {
            return None;
        }
        // Files that are wrong are read once, and again when they have changed again.
        looks.read = now;
        let loaded = ServerTls::load(&looks.wanted, Some(&self.current()));
        let problem = match loaded {
            Ok(server) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::new(server);
                None
            }
            Err(problem) => Some(problem),
        };
        Some(Renewal {
            host: looks.wanted.host,
            name: looks.wanted.name.clone(),
            problem,
        })
    }
}

fn lock(looks: &Mutex<Looks>) -> MutexGuard<'_, Looks> {
    looks.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look(spec: &TlsSpec) -> Vec<Look> {
    let keys = spec.certificates.iter().filter_map(|(_, key)| key.as_ref());
    let client = &spec.client;
    let files = spec.certificates.iter().map(|(file, _)| file).chain(keys);
    let files = files.chain(&spec.chain).chain(&client.ca_files);
    let files = files.chain(&client.ca_paths).chain(&client.crl_files);
    files
        .chain(&client.crl_paths)
        .chain(&spec.hints)
        .map(|FileSpec { path, .. }| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
        })
        .collect()
}
