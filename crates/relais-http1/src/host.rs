//! The value of a Host field.

use std::net::Ipv6Addr;

/// A host name and port taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// The name as sent, without a trailing dot; IPv6 addresses keep their brackets.
    pub host: &'a [u8],
    /// The port, if one was named.
    pub port: Option<u16>,
}

/// Takes `host[:port]` apart; `None` if it is not what httpd accepts in a Host field: letters, digits, `-`, `_` and
/// `.` in labels that are not empty, or an IPv6 address in brackets; the port 1 to 65535 in decimal.
#[must_use]
pub fn split_host_port(value: &[u8]) -> Option<HostPort<'_>> {
    if value.first() == Some(&b'[') {
        let close = value.iter().position(|&b| b == b']')?;
        let (host, rest) = value.split_at(close + 1);
        let address = std::str::from_utf8(host.get(1..close)?).ok()?;
        address.parse::<Ipv6Addr>().ok()?;
        return Some(HostPort {
            host,
            port: port_after(rest)?,
        });
    }
    let end = value.iter().position(|&b| b == b':').unwrap_or(value.len());
    let (host, rest) = value.split_at(end);
    let host = host.strip_suffix(b".").unwrap_or(host);
    if !is_name(host) {
        return None;
    }
    Some(HostPort {
        host,
        port: port_after(rest)?,
    })
}

/// Whether every label has at least one byte and only bytes that httpd takes.
fn is_name(host: &[u8]) -> bool {
    let mut previous = b'.';
    for &byte in host {
        let good = match byte {
            b'.' => previous != b'.',
            _ => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        };
        if !good {
            return false;
        }
        previous = byte;
    }
    previous != b'.'
}

/// The port in `rest`, which is empty or starts with a colon; the outer `None` says that it is invalid.
fn port_after(rest: &[u8]) -> Option<Option<u16>> {
    let Some(digits) = rest.strip_prefix(b":") else {
        return rest.is_empty().then_some(None);
    };
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    u16::try_from(number)
        .ok()
        .filter(|&port| port != 0)
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        type Case = (&'static str, Option<(&'static str, Option<u16>)>);
        let table: [Case; 31] = [
            ("bench.example", Some(("bench.example", None))),
            ("Bench.Example:8080", Some(("Bench.Example", Some(8080)))),
            ("bench.example.", Some(("bench.example", None))),
            ("bench.example.:80", Some(("bench.example", Some(80)))),
            ("a_b-c.1", Some(("a_b-c.1", None))),
            ("127.0.0.1:1", Some(("127.0.0.1", Some(1)))),
            ("[::1]", Some(("[::1]", None))),
            ("[2001:db8::1]:443", Some(("[2001:db8::1]", Some(443)))),
            ("h:65535", Some(("h", Some(65535)))),
            ("h:00080", Some(("h", Some(80)))),
            ("", None),
            (".", None),
            ("..", None),
            ("a..b", None),
            (".a", None),
            ("a..", None),
            ("a b", None),
            ("x,y", None),
            ("a%2eb", None),
            ("u@h", None),
            ("h/", None),
            ("h:", None),
            ("h:x", None),
            ("h:+1", None),
            ("h:0", None),
            ("h:65536", None),
            ("h:80:80", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[::g]", None),
            ("[127.0.0.1]", None),
        ];
        for (value, expected) in table {
            let found = split_host_port(value.as_bytes()).map(|h| (h.host, h.port));
            assert_eq!(
                found,
                expected.map(|(host, port)| (host.as_bytes(), port)),
                "{value}"
            );
        }
    }
}
