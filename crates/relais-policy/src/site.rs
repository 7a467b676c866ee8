//! The configuration as requests see it: immutable, shared, swapped on reload.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use relais_conf::Span;

use crate::exchange::Phases;
use crate::lookup::Lookup;
use crate::module::{AnyModule, Drafts, Settings};
use crate::section::{SectionHead, wildcard};
use crate::spec::{HostSpec, ServerSpec};
use crate::uri::PathRules;
use crate::walk::{GaveUp, HostPart, Judge, SectionSets, Sections, Subject};

/// A configuration while it is read: drafts of all hosts, the main server
/// first.
pub struct SiteDraft {
    /// The main server, then the virtual hosts in file order.
    pub hosts: Vec<HostDraft>,
}

/// A server or virtual host while it is read.
pub struct HostDraft {
    /// `<VirtualHost>` arguments; empty for the main server.
    pub addresses: Vec<HostAddress>,
    /// The opening line; `None` for the main server.
    pub span: Option<Span>,
    /// Per-server drafts.
    pub host: Drafts,
    /// Per-directory drafts outside of every section.
    pub base: Drafts,
    /// The sections, in file order.
    pub sections: Vec<SectionDraft>,
}

/// A section while it is read.
pub struct SectionDraft {
    /// Its opening line.
    pub head: SectionHead,
    /// Its drafts.
    pub settings: Drafts,
    /// The sections inside of it, in file order.
    pub inner: Vec<Self>,
}

/// One address of a `<VirtualHost>`; `None` is `*`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostAddress {
    /// The local address.
    pub ip: Option<IpAddr>,
    /// The local port.
    pub port: Option<u16>,
    /// How the line names it, in lower case: requests that no `ServerName`
    /// answers are for the host that has their name here (vhosts/details.html).
    pub name: Option<Box<str>>,
}

/// A name that a virtual host answers to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostName {
    /// Lower case.
    pub name: String,
    /// Whether it holds `*` or `?`.
    pub wild: bool,
    /// As it is written, where that is not in lower case.
    pub written: Option<Box<str>>,
}

impl HostName {
    /// A name as the configuration has it.
    #[must_use]
    pub fn new(written: &str) -> Self {
        let name = written.to_ascii_lowercase();
        Self {
            wild: name.contains(['*', '?']),
            written: (name != written).then(|| written.into()),
            name,
        }
    }

    /// As the configuration has it.
    #[must_use]
    pub fn written(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.name)
    }
}

/// A server or virtual host, ready for requests.
pub struct Host {
    /// Its place in [`Site::hosts`].
    pub index: usize,
    /// What the front needs.
    pub spec: HostSpec,
    /// Merged per-server settings.
    pub settings: Settings,
    /// Where it is defined, as `FILE:LINE`; the main server's file otherwise.
    pub defined: String,
    /// `ServerName`, if there is one, then every `ServerAlias`.
    pub names: Vec<HostName>,
    /// How many of them are `ServerName`.
    pub(crate) named: usize,
    /// `<VirtualHost>` arguments.
    pub addresses: Vec<HostAddress>,
    pub(crate) base: Arc<Settings>,
    pub(crate) sections: Sections,
    pub(crate) modules: &'static [&'static dyn AnyModule],
}

impl Host {
    /// The settings outside of every section.
    #[must_use]
    pub fn base(&self) -> Arc<Settings> {
        Arc::clone(&self.base)
    }

    /// How paths are read.
    #[must_use]
    pub fn path_rules(&self) -> PathRules {
        self.spec.paths
    }

    /// Every `ServerAlias`.
    #[must_use]
    pub fn aliases(&self) -> &[HostName] {
        self.names.get(self.named..).unwrap_or_default()
    }

    /// Whether the host answers to this name (lower case, no port).
    #[must_use]
    pub fn answers_to(&self, name: &[u8]) -> bool {
        self.names.iter().any(|have| {
            if have.wild {
                wildcard(have.name.as_bytes(), name, false)
            } else {
                have.name.as_bytes() == name
            }
        })
    }

    /// Whether its `<VirtualHost>` line has this name (lower case) for an
    /// address.
    #[must_use]
    pub fn is_written_as(&self, name: &[u8]) -> bool {
        let mut written = self.addresses.iter().flat_map(|address| &address.name);
        written.any(|have| have.as_bytes() == name)
    }

    /// The opening lines of the sections that match, in the order of their
    /// merge.
    pub(crate) fn matching_sections<'h>(
        &'h self,
        subject: Subject<'h>,
        judge: Judge<'_>,
    ) -> impl Iterator<Item = &'h SectionHead> + use<'h> {
        self.sections.heads(subject, judge)
    }

    /// The merged settings of the sections that match; `judge` says whether
    /// the expression of an `<If>` holds.
    pub(crate) fn section_set(
        &self,
        sets: &SectionSets,
        subject: Subject<'_>,
        judge: Judge<'_>,
    ) -> Result<Arc<Settings>, GaveUp> {
        self.sections.merged(&self.part(), sets, subject, judge)
    }

    /// The variables that sections with named groups in their patterns set.
    pub(crate) fn match_variables(&self, subject: Subject<'_>) -> Vec<(String, Vec<u8>)> {
        self.sections.named_groups(subject)
    }

    /// The settings of `/` and of each folder on the way to `folder` and with
    /// it, as far as `<Directory>` sections say them without a pattern.
    #[must_use]
    pub fn folder_settings(&self, folder: &[u8]) -> Vec<Arc<Settings>> {
        self.sections.along(&self.part(), folder)
    }

    fn part(&self) -> HostPart<'_> {
        HostPart {
            index: self.index,
            base: &self.base,
            modules: self.modules,
        }
    }
}

/// A whole configuration.
pub struct Site {
    /// What the program needs.
    pub server: ServerSpec,
    /// The main server first, then the virtual hosts in file order.
    pub hosts: Vec<Host>,
    /// The order of phase functions.
    pub phases: &'static Phases,
    /// What the modules keep for all hosts; they know the type.
    pub shared: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) lookup: Lookup,
}

impl Site {
    /// The main server.
    #[must_use]
    pub fn main(&self) -> &Host {
        &self.hosts[0]
    }

    /// The virtual hosts of the most specific address set of a connection, in
    /// file order; the main server alone where none matches.
    pub fn candidates(&self, local: SocketAddr) -> impl Iterator<Item = &Host> {
        let set = self.lookup.set(local);
        let virtual_hosts = set.into_iter().flat_map(|set| &set.hosts);
        let virtual_hosts = virtual_hosts.filter_map(|&index| self.hosts.get(index));
        let main = self.hosts.iter().take(usize::from(set.is_none()));
        main.chain(virtual_hosts)
    }

    /// The host for a request: by address, then by the lower-case name of its
    /// `Host`, else the first of the set (vhosts/details.html).
    #[must_use]
    pub fn host_for(&self, local: SocketAddr, name: Option<&[u8]>) -> &Host {
        let set = self.lookup.set(local);
        let index = set.and_then(|set| match name {
            Some(name) => set.named(name),
            None => set.hosts.first().copied(),
        });
        index
            .and_then(|index| self.hosts.get(index))
            .unwrap_or_else(|| self.main())
    }
}
