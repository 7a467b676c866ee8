//! What a request is told of its connection's TLS, and what it may do with it.

use relais_policy::tls::TlsSpec;
use relais_policy::{Decision, Exchange, Flow, Respond};

use super::Section;

/// `ssl_hook_ReadReq`: a request for a host that another certificate belongs to is misdirected (RFC 9110 §15.5.20).
pub(crate) fn post_read(exchange: &mut Exchange<'_>) -> Flow {
    let Some(tls) = exchange.tls else {
        return Flow::Declined;
    };
    if tls.server_name().is_none() && exchange.host.spec.strict_sni {
        let message = "AH02033: No hostname was provided via SNI for a name based virtual host";
        return Flow::Decide(Decision::Respond(Respond::logged(403, message)));
    }
    if tls.host() == exchange.host.index {
        return Flow::Declined;
    }
    let shown = exchange.site.hosts.get(tls.host());
    let shown = shown.and_then(|host| host.spec.tls.as_deref());
    match (shown, exchange.host.spec.tls.as_deref()) {
        (Some(shown), Some(asked)) if compatible(shown, asked) => Flow::Declined,
        _ => {
            let message = "AH02032: the host of the request and that of the TLS handshake have no compatible SSL setup";
            Flow::Decide(Decision::Respond(Respond::logged(421, message)))
        }
    }
}

/// Whether the certificate and the demands of one host do for another
/// (`SSLVHostSNIPolicy secure`).
fn compatible(shown: &TlsSpec, asked: &TlsSpec) -> bool {
    let files = |spec: &TlsSpec| -> Vec<std::path::PathBuf> {
        let pairs = spec.certificates.iter();
        pairs.map(|(file, _)| file.path.clone()).collect()
    };
    files(shown) == files(asked)
        && shown.protocols == asked.protocols
        && shown.suites == asked.suites
        && shown.client == asked.client
}

/// `ssl_hook_Access`: `SSLRequireSSL`.
pub(crate) fn access(exchange: &mut Exchange<'_>) -> Flow {
    let section: &Section = exchange.section_settings();
    if section.require_ssl && !exchange.connection.secure {
        let message = "AH02219: access failed, reason: SSL connection required";
        return Flow::Decide(Decision::Respond(Respond::logged(403, message)));
    }
    Flow::Declined
}

/// `ssl_hook_Fixup`: variables of the environment, and `SSLUserName`.
pub(crate) fn fixup(exchange: &mut Exchange<'_>) -> Flow {
    let Some(tls) = exchange.tls else {
        return Flow::Declined;
    };
    let section: &Section = exchange.section_settings();
    let (standard, certificates) = (
        section.std_env.unwrap_or(false),
        section.export_certificates.unwrap_or(false),
    );
    let user = section
        .user_name
        .as_deref()
        .and_then(|name| tls.variable(name))
        .filter(|value| !value.is_empty());
    if let Some(user) = user {
        exchange.user = Some(user.into_bytes());
    }
    exchange.environment.set(b"HTTPS", Some(b"on"));
    if let Some(name) = tls.server_name() {
        exchange
            .environment
            .set(b"SSL_TLS_SNI", Some(name.as_bytes()));
    }
    let names = STANDARD.iter().filter(|_| standard);
    let more = CERTIFICATES.iter().filter(|_| certificates);
    for name in names.chain(more) {
        if let Some(value) = tls.variable(name) {
            exchange
                .environment
                .set(name.as_bytes(), Some(value.as_bytes()));
        }
    }
    Flow::Declined
}

/// `SSLOptions +StdEnvVars`.
const STANDARD: &[&str] = &[
    "SSL_VERSION_INTERFACE",
    "SSL_VERSION_LIBRARY",
    "SSL_PROTOCOL",
    "SSL_SECURE_RENEG",
    "SSL_COMPRESS_METHOD",
    "SSL_CIPHER",
    "SSL_CIPHER_EXPORT",
    "SSL_CIPHER_USEKEYSIZE",
    "SSL_CIPHER_ALGKEYSIZE",
    "SSL_CLIENT_VERIFY",
    "SSL_CLIENT_M_VERSION",
    "SSL_CLIENT_M_SERIAL",
    "SSL_CLIENT_V_START",
    "SSL_CLIENT_V_END",
    "SSL_CLIENT_V_REMAIN",
    "SSL_CLIENT_S_DN",
    "SSL_CLIENT_S_DN_CN",
    "SSL_CLIENT_S_DN_O",
    "SSL_CLIENT_S_DN_OU",
    "SSL_CLIENT_S_DN_C",
    "SSL_CLIENT_S_DN_ST",
    "SSL_CLIENT_S_DN_L",
    "SSL_CLIENT_S_DN_Email",
    "SSL_CLIENT_I_DN",
    "SSL_CLIENT_I_DN_CN",
    "SSL_CLIENT_I_DN_O",
    "SSL_CLIENT_I_DN_OU",
    "SSL_CLIENT_I_DN_C",
    "SSL_CLIENT_A_KEY",
    "SSL_CLIENT_A_SIG",
    "SSL_SERVER_M_VERSION",
    "SSL_SERVER_M_SERIAL",
    "SSL_SERVER_V_START",
    "SSL_SERVER_V_END",
    "SSL_SERVER_S_DN",
    "SSL_SERVER_S_DN_CN",
    "SSL_SERVER_I_DN",
    "SSL_SERVER_I_DN_CN",
    "SSL_SERVER_A_KEY",
    "SSL_SERVER_A_SIG",
    "SSL_SESSION_RESUMED",
];

/// `SSLOptions +ExportCertData`.
const CERTIFICATES: &[&str] = &["SSL_SERVER_CERT", "SSL_CLIENT_CERT"];
