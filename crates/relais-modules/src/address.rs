//! Sets of client addresses, as `Require ip` and `Allow from` write them
//! (mod_authz_host.html#reqip, `apr_ipsubnet_create`).

use std::net::{IpAddr, Ipv4Addr};

use relais_conf::Text;
use relais_policy::Problem;

/// Addresses that begin alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AddressRange {
    /// The address, 0 where the mask is; IPv4 in the lower half.
    network: u128,
    mask: u128,
    v4: bool,
}

impl AddressRange {
    /// An address, the first parts of an IPv4 address, or an address with `/`
    /// and a number of bits or, for IPv4, a mask.
    pub(crate) fn parse(word: &Text) -> Result<Self, Problem> {
        let text = word.lossy();
        Self::read(&text).map_err(|why| {
            let message = format!("ip address '{text}' appears to be invalid{why}");
            Problem::at(word.span(), message)
        })
    }

    /// The same of any text; the error is why it is none.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        let (address, mask) = match text.split_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        if !looks_like_address(address) {
            return Err("");
        }
        let whole = address.parse::<IpAddr>().ok();
        match (whole, mask) {
            (Some(address), None) => Ok(Self::bits(address, u32::MAX)),
            (Some(address), Some(mask)) => {
                Self::masked(address, mask).ok_or(": the mask is no mask")
            }
            (None, None) => Self::partial(address).ok_or(": no IP address"),
            (None, Some(_)) => Err(": no IP address"),
        }
    }

    /// Whether an address is one of these; an IPv4 address that comes as IPv6
    /// is the same address.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (number, v4) = number(address.to_canonical());
        v4 == self.v4 && number & self.mask == self.network
    }

    fn new(address: IpAddr, mask: u128) -> Self {
        let (number, v4) = number(address);
        Self {
            network: number & mask,
            mask,
            v4,
        }
    }

    fn bits(address: IpAddr, bits: u32) -> Self {
        let width = if address.is_ipv4() { 32 } else { 128 };
        let mask = u128::MAX.checked_shl(width - bits.min(width)).unwrap_or(0);
        Self::new(address, mask)
    }

    fn masked(address: IpAddr, mask: &str) -> Option<Self> {
        let width = if address.is_ipv4() { 32 } else { 128 };
        match mask.parse::<u32>() {
            // httpd refuses /0 too: `all granted` says it.
            Ok(bits) => (1..=width)
                .contains(&bits)
                .then(|| Self::bits(address, bits)),
            Err(_) => {
                let mask: Ipv4Addr = mask.parse().ok()?;
                address
                    .is_ipv4()
                    .then(|| Self::new(address, u128::from(u32::from(mask))))
            }
        }
    }

    /// `10.1` or `10.1.`: the addresses that begin so.
    fn partial(text: &str) -> Option<Self> {
        let mut octets = [0; 4];
        let mut count = 0;
        for part in text.strip_suffix('.').unwrap_or(text).split('.') {
            *octets.get_mut(count)? = part.parse().ok()?;
            count += 1;
        }
        Some(Self::bits(
            IpAddr::from(octets),
            u32::try_from(count * 8).unwrap_or(32),
        ))
    }
}

/// Whether a word is meant as an address, though it may be a wrong one; any
/// other is a name.
pub(crate) fn looks_like_address(text: &str) -> bool {
    !text.is_empty()
        && (text.contains(':')
            || text
                .bytes()
                .all(|byte| byte == b'.' || byte.is_ascii_digit()))
}

fn number(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), true),
        IpAddr::V6(address) => (u128::from(address), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::text;

    #[test]
    fn ranges() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("10.1.2.3", &["10.1.2.3", "::ffff:10.1.2.3"], &["10.1.2.4"]),
            ("10", &["10.0.0.1", "10.255.9.9"], &["11.0.0.1"]),
            ("10.1.", &["10.1.0.0"], &["10.2.0.0"]),
            ("10.1.2.3/8", &["10.9.9.9"], &["11.1.2.3"]),
            ("10.1.2.3/255.255.0.0", &["10.1.9.9"], &["10.2.2.3"]),
            ("::1", &["::1"], &["::2", "0.0.0.1"]),
            ("2001:db8::/32", &["2001:db8:1::9"], &["2001:db9::1"]),
            ("1.2.3.4/32", &["1.2.3.4"], &["1.2.3.5"]),
        ];
        for (range, inside, outside) in table {
            let range = AddressRange::parse(&text(range)).expect(range);
            for address in *inside {
                assert!(range.contains(address.parse().expect(address)), "{address}");
            }
            for address in *outside {
                assert!(
                    !range.contains(address.parse().expect(address)),
                    "{address}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_range() {
        for word in [
            "0.0.0.0/0",
            "10.1/16",
            "2001:db8::/200",
            "2001:db8",
            "300.1.1.1",
            "foo",
            "10..1",
            "1.2.3.4.5",
            "1.2.3.4/33",
            "1.2.3/x",
            "::1/255.0.0.0",
            "",
            "/8",
        ] {
            assert!(AddressRange::parse(&text(word)).is_err(), "{word}");
        }
    }
}
