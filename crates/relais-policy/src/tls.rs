//! What a server or virtual host says about TLS: plain data, files unopened.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use relais_conf::Span;

/// A file that a directive names, and where. Two of them are the same when the
/// path is.
#[derive(Clone, Debug)]
pub struct FileSpec {
    /// The file, or a folder of files; absolute.
    pub path: PathBuf,
    /// The argument.
    pub span: Span,
}

impl PartialEq for FileSpec {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for FileSpec {}

/// The cipher suites that relais can offer, all of them AEAD with a key
/// exchange that keeps the past secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CipherSuite {
    /// OpenSSL's name.
    pub name: &'static str,
    /// IANA's number.
    pub id: u16,
    /// Whether it belongs to TLS 1.3.
    pub tls13: bool,
    /// Bits of its key.
    pub bits: u16,
}

const fn suite(name: &'static str, id: u16, tls13: bool, bits: u16) -> CipherSuite {
    CipherSuite {
        name,
        id,
        tls13,
        bits,
    }
}

impl CipherSuite {
    /// All of them, in OpenSSL's order of preference.
    pub const ALL: &'static [Self] = &[
        suite("TLS_AES_256_GCM_SHA384", 0x1302, true, 256),
        suite("TLS_CHACHA20_POLY1305_SHA256", 0x1303, true, 256),
        suite("TLS_AES_128_GCM_SHA256", 0x1301, true, 128),
        suite("ECDHE-ECDSA-AES256-GCM-SHA384", 0xc02c, false, 256),
        suite("ECDHE-RSA-AES256-GCM-SHA384", 0xc030, false, 256),
        suite("ECDHE-ECDSA-CHACHA20-POLY1305", 0xcca9, false, 256),
        suite("ECDHE-RSA-CHACHA20-POLY1305", 0xcca8, false, 256),
        suite("ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02b, false, 128),
        suite("ECDHE-RSA-AES128-GCM-SHA256", 0xc02f, false, 128),
    ];

    /// The suite of an IANA number.
    #[must_use]
    pub fn by_id(id: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|suite| suite.id == id)
    }
}

/// The protocol versions of `SSLProtocol` that relais can speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocols {
    /// TLS 1.2.
    pub tls12: bool,
    /// TLS 1.3.
    pub tls13: bool,
}

impl Default for Protocols {
    fn default() -> Self {
        Self {
            tls12: true,
            tls13: true,
        }
    }
}

/// `SSLVerifyClient`, `SSLProxyVerify`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Verify {
    /// Nothing is asked for.
    #[default]
    None,
    /// A certificate may be shown; one that is shown must be good.
    Optional,
    /// A good certificate must be shown.
    Require,
    /// A certificate may be shown, good or not.
    OptionalNoCa,
}

/// Whom to trust, and how far.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Trust {
    /// Whether a certificate is asked for.
    pub verify: Verify,
    /// How many certificates may stand between it and a trusted one.
    pub depth: u32,
    /// Files of trusted certificates.
    pub ca_files: Vec<FileSpec>,
    /// Folders of trusted certificates.
    pub ca_paths: Vec<FileSpec>,
    /// Files of revocation lists.
    pub crl_files: Vec<FileSpec>,
    /// Folders of revocation lists.
    pub crl_paths: Vec<FileSpec>,
    /// `SSLCARevocationCheck`: `None` is none.
    pub crl_check: Option<CrlCheck>,
}

/// How far revocation is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrlCheck {
    /// The peer's own certificate.
    Leaf,
    /// All of the chain.
    Chain,
}

/// `SSLVHostSNIPolicy`: whether a request may be for another host than its handshake.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum SniPolicy {
    /// Never.
    Strict,
    /// When both hosts have the same certificates, protocols, suites and demands on clients.
    #[default]
    Secure,
    /// When both hosts demand the same of clients.
    AuthOnly,
    /// Always.
    Insecure,
}

/// The server's side of TLS, for a host with `SSLEngine on`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsSpec {
    /// The `SSLEngine` line.
    pub span: Span,
    /// `SSLCertificateFile`, with the key file of the same place.
    pub certificates: Vec<(FileSpec, Option<FileSpec>)>,
    /// `SSLCertificateChainFile`.
    pub chain: Option<FileSpec>,
    /// `SSLPassPhraseDialog exec:`.
    pub pass_phrase: Option<PathBuf>,
    /// `SSLProtocol`.
    pub protocols: Protocols,
    /// `SSLCipherSuite`, in order of preference.
    pub suites: Vec<CipherSuite>,
    /// `SSLHonorCipherOrder`.
    pub honor_order: bool,
    /// `SSLSessionTickets`.
    pub tickets: bool,
    /// `SSLSessionCache` and its size; `None` without one.
    pub cache: Option<usize>,
    /// `SSLSessionCacheTimeout`.
    pub session_timeout: Duration,
    /// `SSLVerifyClient` and its relatives.
    pub client: Trust,
    /// `SSLCADNRequestFile`, `SSLCADNRequestPath`.
    pub hints: Vec<FileSpec>,
    /// `SSLOpenSSLConfCmd Curves`, by name and in order; empty for the default.
    pub groups: Vec<&'static str>,
    /// `SSLCertificateWatch`, of relais' own: files that change are read again.
    pub watch: bool,
}

/// The client's side of TLS, for a host with `SSLProxyEngine on`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyTlsSpec {
    /// The `SSLProxyEngine` line.
    pub span: Span,
    /// `SSLProxyVerify` and its relatives.
    pub trust: Trust,
    /// `SSLProxyCheckPeerName`.
    pub check_name: bool,
    /// `SSLProxyCheckPeerExpire`.
    pub check_expire: bool,
    /// `SSLProxyProtocol`.
    pub protocols: Protocols,
    /// `SSLProxyCipherSuite`.
    pub suites: Vec<CipherSuite>,
    /// `SSLProxyMachineCertificateFile`: certificates with their keys.
    pub machine: Vec<FileSpec>,
    /// `SSLProxyMachineCertificatePath`: folders of such files.
    pub machine_paths: Vec<FileSpec>,
    /// `SSLProxyMachineCertificateChainFile`.
    pub machine_chain: Option<FileSpec>,
}

/// What is known of an encrypted connection, asked for by mod_ssl's names.
pub trait TlsFacts: fmt::Debug {
    /// The value of `SSL_PROTOCOL` and its relatives.
    fn variable(&self, name: &str) -> Option<String>;
    /// Whether a client has shown a certificate that was found good.
    fn is_verified(&self) -> bool;
    /// The subject of the client's certificate in OpenSSL's old form, `/C=DE/O=Org/CN=name`.
    fn subject_line(&self) -> Option<String>;
    /// The host whose certificate was shown, as its place in the site.
    fn host(&self) -> usize;
    /// The host that the client asked for in the handshake, lower case.
    fn server_name(&self) -> Option<&str>;
}
