//! rustls' names for what the specs speak of.

use relais_policy::tls::{CipherSuite, Protocols};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::{SupportedProtocolVersion, version};

/// The cryptography for a choice of suites and groups, in their order.
pub(crate) fn provider(suites: &[CipherSuite], groups: &[&str]) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let offered = |wanted: &CipherSuite| {
        let mut all = aws_lc_rs::ALL_CIPHER_SUITES.iter();
        all.find(|suite| u16::from(suite.suite()) == wanted.id)
            .copied()
    };
    provider.cipher_suites = suites.iter().filter_map(offered).collect();
    if !groups.is_empty() {
        let named = groups.iter().filter_map(|name| match *name {
            "X25519" => Some(kx_group::X25519),
            "P-256" => Some(kx_group::SECP256R1),
            "P-384" => Some(kx_group::SECP384R1),
            "X25519MLKEM768" => Some(kx_group::X25519MLKEM768),
            _ => None,
        });
        provider.kx_groups = named.collect();
    }
    provider
}

/// The protocol versions of a choice.
pub(crate) fn versions(protocols: Protocols) -> Vec<&'static SupportedProtocolVersion> {
    let all = [
        (protocols.tls13, &version::TLS13),
        (protocols.tls12, &version::TLS12),
    ];
    all.into_iter()
        .filter(|(on, _)| *on)
        .map(|(_, version)| version)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_of_the_policy_is_offered() {
        let provider = provider(CipherSuite::ALL, &[]);
        assert_eq!(provider.cipher_suites.len(), CipherSuite::ALL.len());
    }
}
