//! The host name of a client, asked of the resolver by its address.
//!
//! httpd asks when `HostnameLookups` says so and when an access rule names a
//! host; a rule believes a name only if it has the address
//! (`ap_get_useragent_host`).

use std::net::{IpAddr, ToSocketAddrs as _};

use relais_policy::{Exchange, Flow, Lookup};

/// `HostnameLookups`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Lookups {
    #[default]
    Off,
    On,
    /// Only a name that has the address counts.
    Double,
}

/// What the resolver says of an address.
struct Found {
    name: Option<Vec<u8>>,
    /// Whether the name has the address; not asked where it does not matter.
    confirmed: bool,
}

/// Has the client's name looked up if the configuration wants to know it.
pub(crate) fn look_up(exchange: &mut Exchange<'_>, lookups: Lookups) -> Flow {
    if lookups == Lookups::Off || exchange.client_name.is_some() {
        return Flow::Declined;
    }
    let double = lookups == Lookups::Double;
    match found(exchange, double) {
        Err(wait) => wait,
        Ok(found) => {
            let name = found.name.clone().filter(|_| found.confirmed || !double);
            exchange.client_name = name;
            Flow::Declined
        }
    }
}

/// Has the client's name looked up for an access rule. What one rule has
/// asked for, logs and variables show too.
pub(crate) fn prepare(exchange: &mut Exchange<'_>) -> Option<Flow> {
    match found(exchange, true) {
        Err(wait) => Some(wait),
        Ok(found) => {
            let name = found.name.clone().filter(|_| found.confirmed);
            exchange.client_name = name.or_else(|| exchange.client_name.take());
            None
        }
    }
}

/// Whether the client, whose name has been looked up, is one of these hosts or
/// in one of these domains.
pub(crate) fn is_in(exchange: &Exchange<'_>, domain: &[u8]) -> bool {
    let name = match found(exchange, true) {
        Ok(found) if found.confirmed => found.name.as_deref(),
        _ => None,
    };
    name.is_some_and(|name| in_domain(domain, name))
}

fn found<'e>(exchange: &'e Exchange<'_>, double: bool) -> Result<&'e Found, Flow> {
    let client = exchange.client.ip().to_canonical();
    let key = format!("client-name {double} {client}").into_bytes();
    match exchange.answer(&key) {
        Some(found) => Ok(found),
        None => Err(Flow::Wait(Lookup::new(key, move || ask(client, double)))),
    }
}

/// Asks the resolver; it blocks.
fn ask(client: IpAddr, double: bool) -> Found {
    let name = dns_lookup::lookup_addr(&client).ok();
    // The resolver writes an address without a name as an address.
    let name = name.filter(|name| name.parse::<IpAddr>().is_err());
    let confirmed = double
        && name
            .as_deref()
            .is_some_and(|name| has_address(name, client));
    Found {
        name: name.map(|name| name.to_ascii_lowercase().into_bytes()),
        confirmed,
    }
}

/// Whether a name has an address; it blocks.
fn has_address(name: &str, address: IpAddr) -> bool {
    let addresses = (name, 0).to_socket_addrs();
    addresses.is_ok_and(|mut all| all.any(|one| one.ip().to_canonical() == address))
}

/// Whether the domain, or host, holds this name (`in_domain` of
/// mod_authz_host): the same name, or one below it.
fn in_domain(domain: &[u8], name: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(domain.len()) else {
        return false;
    };
    let (below, tail) = name.split_at(start);
    tail.eq_ignore_ascii_case(domain)
        && (below.is_empty() || domain.starts_with(b".") || below.ends_with(b"."))
}

/// Has these names looked up for `Require forward-dns`, if that has not been
/// done.
pub(crate) fn prepare_forward(exchange: &Exchange<'_>, names: &[String]) -> Option<Flow> {
    let key = forward_key(names);
    if exchange.answer::<Vec<IpAddr>>(&key).is_some() {
        return None;
    }
    let names = names.to_vec();
    let work = move || {
        let addresses = names
            .iter()
            .filter_map(|name| (name.as_str(), 0).to_socket_addrs().ok());
        let addresses = addresses.flatten().map(|one| one.ip().to_canonical());
        addresses.collect::<Vec<IpAddr>>()
    };
    Some(Flow::Wait(Lookup::new(key, work)))
}

/// Whether one of these names, which have been looked up, has the client's
/// address.
pub(crate) fn has_client(exchange: &Exchange<'_>, names: &[String]) -> bool {
    let addresses = exchange.answer::<Vec<IpAddr>>(&forward_key(names));
    let client = exchange.client.ip().to_canonical();
    addresses.is_some_and(|addresses| addresses.contains(&client))
}

fn forward_key(names: &[String]) -> Vec<u8> {
    format!("forward-dns {}", names.join(" ")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        let table = [
            ("example.com", "example.com", true),
            ("example.com", "www.EXAMPLE.com", true),
            ("example.com", "badexample.com", false),
            (".example.com", "www.example.com", true),
            (".example.com", "example.com", false),
            ("com", "example.com", true),
            ("www.example.com", "example.com", false),
        ];
        for (domain, name, expected) in table {
            assert_eq!(
                in_domain(domain.as_bytes(), name.as_bytes()),
                expected,
                "{domain} {name}"
            );
        }
    }
}
