//! The client's side: what the handshakes with origins need.

use std::sync::Arc;

use relais_policy::tls::{ProxyTlsSpec, Verify};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::files::{self, refused};
use crate::secret::PassPhrase;
use crate::verify::OriginVerifier;
use crate::{Problem, names};

/// What the handshakes of a host with its origins need.
pub struct ClientTls {
    spec: ProxyTlsSpec,
    config: Arc<ClientConfig>,
}

/// The certificates that relais shows to origins.
#[derive(Debug)]
struct Machine(Vec<Candidate>);

#[derive(Debug)]
struct Candidate {
    key: Arc<CertifiedKey>,
    /// The names, as DER, of who signed it and the certificates behind it.
    issuers: Vec<Vec<u8>>,
}

impl Machine {
    fn new(keys: Vec<CertifiedKey>) -> Self {
        let candidate = |key: CertifiedKey| Candidate {
            issuers: key.cert.iter().filter_map(|der| issuer(der)).collect(),
            key: Arc::new(key),
        };
        Self(keys.into_iter().map(candidate).collect())
    }
}

fn issuer(der: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(parsed.issuer().as_raw().to_vec())
}

impl ResolvesClientCert for Machine {
    /// The first one that the origin's list of authorities allows (`ssl_callback_proxy_cert`); an origin without a list
    /// takes any.
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let is_known = |candidate: &Candidate| {
            let mut issuers = candidate.issuers.iter();
            hints.is_empty() || issuers.any(|issuer| hints.contains(&&**issuer))
        };
        let mut fitting = self.0.iter().filter(|candidate| {
            candidate.key.key.choose_scheme(schemes).is_some() && is_known(candidate)
        });
        fitting.next().map(|candidate| Arc::clone(&candidate.key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ClientTls {
    pub(crate) fn load(spec: &ProxyTlsSpec) -> Result<Self, Problem> {
        let provider = Arc::new(names::provider(&spec.suites, &[]));
        let verifier = OriginVerifier::load(spec, &provider)?;
        let span = spec.span;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&names::versions(spec.protocols))
            .map_err(|error| refused(span, error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let machine = spec.machine.iter().cloned();
        let files: Vec<_> = machine
            .chain(files::members(&spec.machine_paths)?)
            .collect();
        let mut config = if files.is_empty() {
            builder.with_no_client_auth()
        } else {
            let chain = spec.machine_chain.as_ref();
            let key = |file| files::certified_key(file, None, chain, PassPhrase::NONE);
            let keys: Result<Vec<_>, _> = files.iter().map(key).collect();
            builder.with_client_cert_resolver(Arc::new(Machine::new(keys?)))
        };
        config.enable_secret_extraction = true;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            spec: spec.clone(),
            config: Arc::new(config),
        })
    }

    /// For a handshake.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The name that an origin is asked for and must show.
    #[must_use]
    pub fn name(&self, host: &str) -> Option<ServerName<'static>> {
        ServerName::try_from(host.to_owned()).ok()
    }

    pub(crate) fn spec(&self) -> &ProxyTlsSpec {
        &self.spec
    }

    /// Whether origins must prove who they are.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.spec.trust.verify != Verify::None
    }
}
