//! The client's side: what the handshakes with origins need.

use std::sync::Arc;

use relais_policy::tls::{ProxyTlsSpec, Verify};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::files::{self, refused};
use crate::verify::OriginVerifier;
use crate::{Problem, names};

/// What the handshakes of a host with its origins need.
pub struct ClientTls {
    spec: ProxyTlsSpec,
    config: Arc<ClientConfig>,
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
        let mut config = match spec.machine.first() {
            Some(file) => {
                let key = files::certified_key(file, None, spec.machine_chain.as_ref(), None)?;
                builder
                    .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
            }
            None => builder.with_no_client_auth(),
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
