//! The server's side: one rustls configuration per host.

use std::fmt;
use std::sync::Arc;

use relais_policy::tls::{CrlCheck, TlsSpec, Verify};
use relais_policy::{Host, HostSpec, ProtocolsSpec};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureAlgorithm};

use crate::files::{self, Keys, refused};
use crate::secret::PassPhrase;
use crate::{Problem, names};

/// What the handshakes with a host's clients need.
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// The same with the protocols the other way round, where the client's order counts.
    reversed: Option<Arc<ServerConfig>>,
    wanted: Wanted,
    keys: Keys,
}

/// What the configuration says about a host's TLS.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) spec: TlsSpec,
    pub(crate) protocols: ProtocolsSpec,
    /// The host's place in the site.
    pub(crate) host: usize,
    /// The host as `name:port`.
    pub(crate) name: String,
}

impl Wanted {
    /// `None` for a host without TLS.
    pub(crate) fn of(host: &Host) -> Option<Self> {
        let HostSpec {
            tls,
            protocols,
            server_name,
            server_port,
            ..
        } = &host.spec;
        Some(Self {
            spec: TlsSpec::clone(tls.as_ref()?),
            protocols: protocols.clone(),
            host: host.index,
            name: format!("{server_name}:{}", server_port.unwrap_or(443)),
        })
    }

    /// Whether another configuration says the same, wherever in a file it does.
    fn is_same(&self, other: &Self) -> bool {
        let moved = TlsSpec {
            span: self.spec.span,
            ..other.spec.clone()
        };
        self.name == other.name && self.protocols == other.protocols && self.spec == moved
    }
}

impl ServerTls {
    /// Reads a host's files. Where sessions need not be asked again who the client is, those of `before` can be
    /// resumed.
    pub(crate) fn load(wanted: &Wanted, before: Option<&Self>) -> Result<Self, Problem> {
        let Wanted {
            spec, protocols, ..
        } = wanted;
        if spec.certificates.is_empty() {
            let message = "SSLEngine is on, and no SSLCertificateFile says who the server is";
            return Err(Problem::new("RC0501", spec.span, message));
        }
        let mut keys = Keys::new();
        for (file, key) in &spec.certificates {
            let certified = files::certified_key(
                file,
                key.as_ref(),
                spec.chain.as_ref(),
                PassPhrase {
                    program: spec.pass_phrase.as_deref(),
                    host: &wanted.name,
                },
            )?;
            keys.push(Arc::new(certified));
        }
        // Smaller and faster where the client takes both.
        keys.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
        let provider = Arc::new(names::provider(&spec.suites, &spec.groups));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&names::versions(spec.protocols))
            .map_err(|error| refused(spec.span, error))?;
        let builder = match verifier(spec, &provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Chooser(keys.clone())));
        config.ignore_client_order = spec.honor_order;
        config.enable_secret_extraction = true;
        config.alpn_protocols = protocols.alpn().into_iter().map(<[u8]>::to_vec).collect();
        remember(spec, &mut config, before)?;
        let reversed = (!protocols.honor_order).then(|| {
            let mut reversed = config.clone();
            reversed.alpn_protocols.reverse();
            Arc::new(reversed)
        });
        Ok(Self {
            config: Arc::new(config),
            reversed,
            wanted: wanted.clone(),
            keys,
        })
    }

    /// Whether this is what a host wants now.
    pub(crate) fn is_for(&self, wanted: &Wanted) -> bool {
        self.wanted.is_same(wanted)
    }

    /// The same at another place of the site.
    pub(crate) fn at(&self, host: usize) -> Self {
        Self {
            config: Arc::clone(&self.config),
            reversed: self.reversed.clone(),
            wanted: Wanted {
                host,
                ..self.wanted.clone()
            },
            keys: self.keys.clone(),
        }
    }

    /// For a handshake with a client that names these protocols (RFC 7301), the one it prefers first.
    #[must_use]
    pub fn config(&self, asked: &[Vec<u8>]) -> Arc<ServerConfig> {
        let own = &self.config.alpn_protocols;
        let preferred = asked.iter().find(|name| own.contains(name));
        match &self.reversed {
            Some(reversed) if preferred.is_some_and(|name| own.first() != Some(name)) => {
                Arc::clone(reversed)
            }
            _ => Arc::clone(&self.config),
        }
    }

    /// The host's place in the site.
    #[must_use]
    pub fn host(&self) -> usize {
        self.wanted.host
    }

    /// The host's own certificate, as it is shown first.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        let key = self.keys.first()?;
        key.cert.first().map(|certificate| &**certificate)
    }
}

/// How sessions are resumed. The keys of tickets and the sessions themselves go on over a reload; rustls makes new keys
/// every six hours and takes the last ones as long again. A session of a client that had to prove who it is starts
/// anew, because a certificate may have been revoked meanwhile.
fn remember(
    spec: &TlsSpec,
    config: &mut ServerConfig,
    before: Option<&ServerTls>,
) -> Result<(), Problem> {
    if let Some(before) = before.filter(|_| spec.client.verify == Verify::None) {
        config.session_storage = Arc::clone(&before.config.session_storage);
        config.ticketer = Arc::clone(&before.config.ticketer);
        config.send_tls13_tickets = before.config.send_tls13_tickets;
        return Ok(());
    }
    match spec.cache {
        Some(sessions) => config.session_storage = ServerSessionMemoryCache::new(sessions),
        None => config.session_storage = Arc::new(NoServerSessionStorage {}),
    }
    if spec.tickets {
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()
            .map_err(|error| refused(spec.span, error))?;
    } else if spec.cache.is_none() {
        config.send_tls13_tickets = 0;
    }
    Ok(())
}

/// How clients prove who they are; `None` where they are not asked.
fn verifier(
    spec: &TlsSpec,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Problem> {
    let trust = &spec.client;
    if trust.verify == Verify::None {
        return Ok(None);
    }
    if trust.verify == Verify::OptionalNoCa {
        let message = "SSLVerifyClient optional_no_ca is not implemented yet";
        return Err(Problem::new("RC0514", spec.span, message));
    }
    let roots = files::roots(&trust.ca_files, &trust.ca_paths)?;
    if roots.is_empty() {
        let message = "SSLVerifyClient asks for certificates, and no SSLCACertificateFile or SSLCACertificatePath says which to trust";
        return Err(Problem::new("RC0514", spec.span, message));
    }
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if let Some(check) = trust.crl_check {
        builder = builder.with_crls(files::revocations(&trust.crl_files, &trust.crl_paths)?);
        if check == CrlCheck::Leaf {
            builder = builder.only_check_end_entity_revocation();
        }
    }
    if !spec.hints.is_empty() {
        let hints = files::roots(&spec.hints, &[])?;
        builder = builder.clear_root_hint_subjects();
        builder = builder.add_root_hint_subjects(hints.subjects());
    }
    if trust.verify == Verify::Optional {
        builder = builder.allow_unauthenticated();
    }
    let verifier = builder.build().map_err(|error| refused(spec.span, error))?;
    Ok(Some(verifier))
}

/// The first certificate whose key the client can check.
struct Chooser(Keys);

impl fmt::Debug for Chooser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chooser({})", self.0.len())
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let fitting = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let key = self.0.iter().find(fitting).or_else(|| self.0.first());
        key.cloned()
    }
}
