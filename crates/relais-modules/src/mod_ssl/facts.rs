//! What a request is told of its connection's TLS, and what it may do with it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as STANDARD_BASE64;
use relais_expr::State;
use relais_policy::tls::{SniPolicy, TlsSpec};
use relais_policy::{Decision, Exchange, Flow, Respond};
use relais_telemetry::Level;

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
    let policy = exchange.host.spec.sni_policy;
    match (shown, exchange.host.spec.tls.as_deref()) {
        _ if policy == SniPolicy::Insecure => Flow::Declined,
        (Some(shown), Some(asked)) if compatible(shown, asked, policy) => Flow::Declined,
        _ => {
            let message = "AH02032: the host of the request and that of the TLS handshake have no compatible SSL setup";
            Flow::Decide(Decision::Respond(Respond::logged(421, message)))
        }
    }
}

/// Whether the certificate and the demands of one host do for another.
fn compatible(shown: &TlsSpec, asked: &TlsSpec, policy: SniPolicy) -> bool {
    match policy {
        SniPolicy::Strict => return false,
        SniPolicy::AuthOnly => return shown.client == asked.client,
        SniPolicy::Secure | SniPolicy::Insecure => {}
    }
    let files = |spec: &TlsSpec| -> Vec<std::path::PathBuf> {
        let pairs = spec.certificates.iter();
        pairs.map(|(file, _)| file.path.clone()).collect()
    };
    files(shown) == files(asked)
        && shown.protocols == asked.protocols
        && shown.suites == asked.suites
        && shown.client == asked.client
}

/// `ssl_hook_Access`: `SSLRequireSSL`, and `SSLRequire` where there is TLS.
pub(crate) fn access(exchange: &mut Exchange<'_>) -> Flow {
    let section: &Section = exchange.section_settings();
    if section.require_ssl && !exchange.connection.secure {
        let message = "AH02219: access failed, reason: SSL connection required";
        return Flow::Decide(Decision::Respond(Respond::logged(403, message)));
    }
    if exchange.tls.is_none() {
        return Flow::Declined;
    }
    let section: &Section = exchange.section_settings();
    let requires = section.requires.clone();
    let failed = requires.into_iter().find(|(expression, _)| {
        let result = expression.eval(exchange, &mut State::default());
        !result.unwrap_or(false)
    });
    match failed {
        None => Flow::Declined,
        Some((_, text)) => {
            exchange.note("ssl", Level::Info, || {
                format!("AH02228: Failed expression: {text}")
            });
            let message =
                "AH02229: access failed, reason: SSL requirement expression not fulfilled";
            Flow::Decide(Decision::Respond(Respond::logged(403, message)))
        }
    }
}

/// `ssl_hook_UserCheck`, for `SSLOptions +FakeBasicAuth`: the subject of the client's certificate stands for a user
/// whose password is `password`.
pub(crate) fn identify(exchange: &mut Exchange<'_>) -> Flow {
    let section: &Section = exchange.section_settings();
    if !section.fake_basic.unwrap_or(false) {
        return Flow::Declined;
    }
    let Some(tls) = exchange.tls else {
        return Flow::Declined;
    };
    if claims_a_subject(exchange.fields().get("Authorization").unwrap_or_default()) {
        let message = "AH02036: the client tries to pass a certificate's subject as a user name";
        return Flow::Decide(Decision::Respond(Respond::logged(403, message)));
    }
    let Some(subject) = tls.subject_line() else {
        return Flow::Declined;
    };
    let credentials = STANDARD_BASE64.encode(format!("{subject}:password"));
    let value = format!("Basic {credentials}").into_bytes();
    // Base64 has nothing that a field must not have.
    let _ = exchange.fields_mut().set("Authorization", value);
    Flow::Declined
}

/// Whether credentials are of the kind that [`identify`] makes, which nobody may send.
fn claims_a_subject(field: &[u8]) -> bool {
    let Some((scheme, rest)) = field.split_at_checked(6) else {
        return false;
    };
    let decoded = STANDARD_BASE64
        .decode(rest.trim_ascii())
        .unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"basic ")
        && decoded.starts_with(b"/")
        && decoded.ends_with(b":password")
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
const CERTIFICATES: &[&str] = &[
    "SSL_SERVER_CERT",
    "SSL_CLIENT_CERT",
    "SSL_CLIENT_CERT_CHAIN_0",
    "SSL_CLIENT_CERT_CHAIN_1",
    "SSL_CLIENT_CERT_CHAIN_2",
    "SSL_CLIENT_CERT_CHAIN_3",
    "SSL_CLIENT_CERT_CHAIN_4",
];
