//! What is asked of an origin's certificate, as mod_ssl asks it (`ssl_callback_SSLVerify`, `ssl_io_filter_handshake`).

use std::sync::Arc;

use relais_policy::tls::{CrlCheck, ProxyTlsSpec, Verify};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::Problem;
use crate::files::{self, refused};

/// Checks the chain if it is to be checked, the name, and the dates. httpd
/// looks at name and dates also where it trusts every chain.
#[derive(Debug)]
pub(crate) struct OriginVerifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Trusted as they are. OpenSSL takes one of them from the origin itself also where it says that it signs others,
    /// as self-signed ones do; webpki does not.
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    name: bool,
    expire: bool,
}

impl OriginVerifier {
    pub(crate) fn load(
        spec: &ProxyTlsSpec,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Problem> {
        let trust = &spec.trust;
        let chain = match trust.verify {
            Verify::None | Verify::OptionalNoCa => None,
            Verify::Optional | Verify::Require => {
                let roots = files::roots(&trust.ca_files, &trust.ca_paths)?;
                if roots.is_empty() {
                    let message = "SSLProxyVerify asks for trusted certificates, and no SSLProxyCACertificateFile or SSLProxyCACertificatePath names them";
                    return Err(Problem::new("RC0514", spec.span, message));
                }
                let mut builder = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(provider),
                );
                if let Some(check) = trust.crl_check {
                    let lists = files::revocations(&trust.crl_files, &trust.crl_paths)?;
                    builder = builder.with_crls(lists);
                    if check == CrlCheck::Leaf {
                        builder = builder.only_check_end_entity_revocation();
                    }
                }
                Some(builder.build().map_err(|error| refused(spec.span, error))?)
            }
        };
        let trusted = match chain {
            Some(_) if trust.crl_check.is_none() => {
                files::self_signed(&trust.ca_files, &trust.ca_paths)?
            }
            _ => Vec::new(),
        };
        Ok(Self {
            chain,
            trusted,
            provider: Arc::clone(provider),
            name: spec.check_name,
            expire: spec.check_expire,
        })
    }

    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let expire = self.expire || self.chain.is_some();
        if expire && seconds > parsed.validity().not_after.timestamp() {
            return Err(CertificateError::Expired);
        }
        if expire && seconds < parsed.validity().not_before.timestamp() {
            return Err(CertificateError::NotValidYet);
        }
        if self.name && !is_named(&parsed, &name.to_str()) {
            return Err(CertificateError::NotValidForName);
        }
        Ok(())
    }
}

/// Whether a certificate is for a name: one of its alternative names, or its
/// common name (`modssl_X509_match_name`).
fn is_named(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let listed = alternatives
        .iter()
        .flat_map(|names| &names.value.general_names);
    let mut matching = listed.filter(|one| match one {
        GeneralName::DNSName(pattern) => covers(pattern, name),
        GeneralName::IPAddress(bytes) => is_address(bytes, name),
        _ => false,
    });
    if matching.next().is_some() {
        return true;
    }
    let mut common = certificate.subject().iter_common_name();
    common.any(|one| one.as_str().is_ok_and(|pattern| covers(pattern, name)))
}

fn is_address(bytes: &[u8], name: &str) -> bool {
    let address = match *bytes {
        [a, b, c, d] => std::net::IpAddr::from([a, b, c, d]),
        _ => match <[u8; 16]>::try_from(bytes) {
            Ok(bytes) => std::net::IpAddr::from(bytes),
            Err(_) => return false,
        },
    };
    name.parse() == Ok(address)
}

/// A pattern may begin with `*.`, which stands for one label (RFC 9525 §6.3).
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => name
            .split_once('.')
            .is_some_and(|(label, tail)| !label.is_empty() && tail.eq_ignore_ascii_case(rest)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

impl ServerCertVerifier for OriginVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_trusted = self.trusted.iter().any(|one| one == certificate);
        if let Some(chain) = self.chain.as_ref().filter(|_| !is_trusted) {
            match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
                Ok(_) => {}
                // The name is looked at last, and by our own rule below.
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )) => {}
                Err(error) => return Err(error),
            }
        }
        self.check(certificate, name, now)
            .map(|()| ServerCertVerified::assertion())
            .map_err(Error::InvalidCertificate)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("a.example", "A.example", true),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", ".example", false),
            ("*.example", "example", false),
            ("a.example\0.evil", "a.example", false),
        ] {
            assert_eq!(covers(pattern, name), expected, "{pattern} {name}");
        }
    }
}
