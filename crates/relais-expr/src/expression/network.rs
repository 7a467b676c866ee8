//! Address ranges of `-R` and `-ipmatch`.

use std::net::{IpAddr, Ipv4Addr};

/// An address with the bits of it that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: u128,
    mask: u128,
    v6: bool,
}

impl Network {
    /// Reads `a.b.c.d`, a shorter `a.b`, an IPv6 address, each with `/bits`, or IPv4 with `/netmask`.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (address, mask) = match text.split_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        if address.contains(':') {
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            let mask = prefix(mask.unwrap_or("128"), 128)?;
            return Some(Self::new(address.to_bits(), mask, true));
        }
        let (address, counted) = v4(address)?;
        let mask = match mask {
            None => prefix_bits(counted, 32),
            Some(mask) => match prefix(mask, 32) {
                Some(bits) => bits,
                None => u128::from(mask.parse::<Ipv4Addr>().ok()?.to_bits()),
            },
        };
        Some(Self::new(u128::from(address.to_bits()), mask, false))
    }

    const fn new(address: u128, mask: u128, v6: bool) -> Self {
        Self {
            address: address & mask,
            mask,
            v6,
        }
    }

    /// Whether the text is an address in this range.
    pub(super) fn contains(&self, address: &[u8]) -> bool {
        let address = std::str::from_utf8(address)
            .ok()
            .and_then(|text| text.parse::<IpAddr>().ok());
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) if !self.v6 => {
                u128::from(address.to_bits()) & self.mask == self.address
            }
            Some(IpAddr::V6(address)) if self.v6 => address.to_bits() & self.mask == self.address,
            _ => false,
        }
    }
}

/// An address of which the last parts may be missing, and how many bits are there.
fn v4(text: &str) -> Option<(Ipv4Addr, u32)> {
    let mut octets = [0; 4];
    let mut counted = 0;
    for part in text.strip_suffix('.').unwrap_or(text).split('.') {
        *octets.get_mut(counted)? = part.parse().ok()?;
        counted += 1;
    }
    Some((octets.into(), u32::try_from(counted).ok()? * 8))
}

fn prefix(text: &str, width: u32) -> Option<u128> {
    let bits: u32 = text.parse().ok()?;
    (1..=width)
        .contains(&bits)
        .then(|| prefix_bits(bits, width))
}

const fn prefix_bits(bits: u32, width: u32) -> u128 {
    let all = if width == 128 {
        u128::MAX
    } else {
        (1 << width) - 1
    };
    if bits == 0 {
        0
    } else {
        all & (all << (width - bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (range, address, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.0/8", "127.9.9.9", true),
            ("10.1", "10.1.2.3", true),
            ("10.1.", "10.2.0.1", false),
            ("10.0.0.0/255.0.0.0", "10.9.9.9", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("10.0.0.0/8", "y", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::1", "::1", true),
            ("::1", "127.0.0.1", false),
        ] {
            let network = Network::parse(range.as_bytes()).expect(range);
            assert_eq!(network.contains(address.as_bytes()), expected, "{range}");
        }
        for bad in [
            "",
            "x",
            "1.2.3.4.5",
            "10.0.0.0/33",
            "::1/129",
            "256.0.0.1",
            "1/x",
        ] {
            assert_eq!(Network::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
