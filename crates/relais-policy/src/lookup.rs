//! Which virtual host a request is for: by local address, then by name
//! (vhosts/details.html). Neither is linear in the number of hosts.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::section::wildcard;
use crate::site::Host;

/// The virtual hosts of a site by their addresses.
pub(crate) struct Lookup {
    sets: HashMap<Address, Set>,
}

/// An address of a `<VirtualHost>`; `None` stands for all.
type Address = (Option<IpAddr>, Option<u16>);

/// The hosts of one address.
#[derive(Default)]
pub(crate) struct Set {
    /// Their places among all hosts, in file order.
    pub(crate) hosts: Vec<usize>,
    /// By name, the first host in `hosts` that has it.
    names: HashMap<Vec<u8>, usize>,
    /// Names with wildcards, and the place in `hosts` of the host that has
    /// it, in file order.
    wild: Vec<(usize, Vec<u8>)>,
    /// By the name that a `<VirtualHost>` line has for the address.
    written: HashMap<Box<str>, usize>,
}

impl Lookup {
    pub(crate) fn new(hosts: &[Host]) -> Self {
        let mut sets: HashMap<Address, Set> = HashMap::new();
        for host in hosts {
            for address in &host.addresses {
                let set = sets.entry((address.ip, address.port)).or_default();
                set.add(host, address.name.as_deref());
            }
        }
        Self { sets }
    }

    /// The hosts of the most specific address that a connection came in by.
    pub(crate) fn set(&self, local: SocketAddr) -> Option<&Set> {
        let (ip, port) = (Some(local.ip().to_canonical()), Some(local.port()));
        let from_specific = [(ip, port), (ip, None), (None, port), (None, None)];
        from_specific
            .iter()
            .find_map(|address| self.sets.get(address))
    }
}

impl Set {
    fn add(&mut self, host: &Host, written: Option<&str>) {
        // An address may stand twice on one line.
        let known = self.hosts.last() == Some(&host.index);
        let place = self.hosts.len() - usize::from(known);
        if let Some(name) = written {
            self.written.entry(name.into()).or_insert(place);
        }
        if known {
            return;
        }
        self.hosts.push(host.index);
        for name in &host.names {
            let text = name.name.as_bytes().to_vec();
            if name.wild {
                self.wild.push((place, text));
            } else {
                self.names.entry(text).or_insert(place);
            }
        }
    }

    /// The first host in file order that answers to a name, else the one whose
    /// line has this name for the address, else the first.
    pub(crate) fn named(&self, name: &[u8]) -> Option<usize> {
        let exact = self.names.get(name).copied();
        let before = self
            .wild
            .iter()
            .take_while(|(place, _)| exact.is_none_or(|exact| *place < exact));
        let wild = before
            .into_iter()
            .find(|(_, pattern)| wildcard(pattern, name, false))
            .map(|(place, _)| *place);
        let written = || {
            let name = std::str::from_utf8(name).ok()?;
            self.written.get(name).copied()
        };
        let place = wild.or(exact).or_else(written).unwrap_or(0);
        self.hosts.get(place).copied()
    }
}
