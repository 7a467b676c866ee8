//! mod_ssl's variables (mod_ssl.html#envvars).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relais_policy::tls::{CipherSuite, TlsFacts};
use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate, X509Name};

use crate::ServerTls;

/// What is known of one client's connection.
pub struct Facts {
    /// The host that answered the handshake.
    pub server: Arc<ServerTls>,
    /// The name that the client asked for.
    pub name: Option<String>,
    /// TLS 1.2 or 1.3.
    pub version: ProtocolVersion,
    /// IANA's number of the cipher suite.
    pub suite: u16,
    /// Whether an earlier session was taken up again.
    pub resumed: bool,
    /// The client's certificates, its own first.
    pub peer: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl TlsFacts for Facts {
    fn variable(&self, name: &str) -> Option<String> {
        if let Some(rest) = name.strip_prefix("SSL_CLIENT_")
            && let Some(value) = self.of_client(rest)
        {
            return Some(value);
        }
        if let Some(rest) = name.strip_prefix("SSL_SERVER_") {
            return of_certificate(self.server.certificate()?, rest);
        }
        let suite = CipherSuite::by_id(self.suite);
        let text = match name {
            "HTTPS" => "on".to_owned(),
            "SSL_PROTOCOL" => match self.version {
                ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
                _ => "TLSv1.2".to_owned(),
            },
            "SSL_CIPHER" => suite?.name.to_owned(),
            "SSL_CIPHER_USEKEYSIZE" | "SSL_CIPHER_ALGKEYSIZE" => suite?.bits.to_string(),
            "SSL_CIPHER_EXPORT" => "false".to_owned(),
            "SSL_SESSION_RESUMED" if self.resumed => "Resumed".to_owned(),
            "SSL_SESSION_RESUMED" => "Initial".to_owned(),
            "SSL_TLS_SNI" => self.name.clone()?,
            "SSL_COMPRESS_METHOD" => "NULL".to_owned(),
            "SSL_SECURE_RENEG" => "true".to_owned(),
            "SSL_VERSION_INTERFACE" => "mod_ssl/2.4.71".to_owned(),
            "SSL_VERSION_LIBRARY" => "rustls/0.23".to_owned(),
            _ => return None,
        };
        Some(text)
    }

    fn is_verified(&self) -> bool {
        !self.peer.is_empty()
    }

    fn subject_line(&self) -> Option<String> {
        let (_, parsed) = X509Certificate::from_der(self.peer.first()?).ok()?;
        let parts = attributes(parsed.subject()).into_iter();
        Some(
            parts
                .map(|(short, value)| format!("/{short}={value}"))
                .collect(),
        )
    }

    fn host(&self) -> usize {
        self.server.host()
    }

    fn server_name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl Facts {
    fn of_client(&self, rest: &str) -> Option<String> {
        if rest == "VERIFY" {
            let outcome = if self.is_verified() {
                "SUCCESS"
            } else {
                "NONE"
            };
            return Some(outcome.to_owned());
        }
        if let Some(index) = rest.strip_prefix("CERT_CHAIN_") {
            let index: usize = index.parse().ok()?;
            return self.peer.get(index + 1).map(|der| pem(der));
        }
        of_certificate(self.peer.first()?, rest)
    }
}

fn of_certificate(der: &[u8], rest: &str) -> Option<String> {
    if rest == "CERT" {
        return Some(pem(der));
    }
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    if let Some(part) = rest.strip_prefix("S_DN_") {
        return name_part(parsed.subject(), part);
    }
    if let Some(part) = rest.strip_prefix("I_DN_") {
        return name_part(parsed.issuer(), part);
    }
    if let Some(part) = rest.strip_prefix("SAN_") {
        return alternative(&parsed, part);
    }
    let validity = parsed.validity();
    Some(match rest {
        "M_VERSION" => (parsed.version().0 + 1).to_string(),
        "M_SERIAL" => serial(parsed.raw_serial()),
        "S_DN" => distinguished(parsed.subject()),
        "I_DN" => distinguished(parsed.issuer()),
        "CERT_RFC4523_CEA" => format!(
            "{{ serialNumber {}, issuer rdnSequence:\"{}\" }}",
            parsed.serial,
            distinguished(parsed.issuer())
        ),
        "V_START" => date(validity.not_before),
        "V_END" => date(validity.not_after),
        "V_REMAIN" => remaining_days(validity.not_after).to_string(),
        "A_KEY" => algorithm(&parsed.public_key().algorithm.algorithm.to_id_string()),
        "A_SIG" => algorithm(&parsed.signature_algorithm.algorithm.to_id_string()),
        _ => return None,
    })
}

fn serial(bytes: &[u8]) -> String {
    let significant = bytes
        .iter()
        .position(|&byte| byte != 0)
        .unwrap_or(bytes.len());
    let bytes = &bytes[significant..];
    if bytes.is_empty() {
        return "00".to_owned();
    }
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    })
}

/// OpenSSL's short names by object identifier.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// mod_ssl's names where they differ from OpenSSL's.
const PARTS: &[(&str, &str)] = &[
    ("Email", "emailAddress"),
    ("T", "title"),
    ("I", "initials"),
    ("G", "GN"),
    ("S", "SN"),
    ("D", "description"),
    ("SERIALNUMBER", "serialNumber"),
    ("SerialNumber", "serialNumber"),
];

fn attributes(name: &X509Name<'_>) -> Vec<(String, String)> {
    name.iter_attributes()
        .map(|attribute| {
            let oid = attribute.attr_type().to_id_string();
            let known = ATTRIBUTES.iter().find(|(id, _)| *id == oid);
            let short = known.map_or_else(|| oid.clone(), |(_, short)| (*short).to_owned());
            let value = attribute.as_str().map_or_else(
                |_| String::from_utf8_lossy(attribute.attr_value().data).into_owned(),
                str::to_owned,
            );
            (short, value)
        })
        .collect()
}

/// RFC 2253: the last part first, commas between, special characters escaped.
fn distinguished(name: &X509Name<'_>) -> String {
    let parts = attributes(name).into_iter().rev();
    let parts = parts.map(|(short, value)| format!("{short}={}", escaped(&value)));
    parts.collect::<Vec<_>>().join(",")
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (index, character) in value.char_indices() {
        let edge =
            character == ' ' && (index == 0 || index == last) || character == '#' && index == 0;
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', character]),
            _ if edge => out.extend(['\\', character]),
            control if control.is_ascii_control() => {
                let _ = write!(out, "\\{:02X}", u32::from(control));
            }
            _ => out.push(character),
        }
    }
    out
}

/// `S_DN_CN`, and `S_DN_OU_1` for the second of several.
fn name_part(name: &X509Name<'_>, part: &str) -> Option<String> {
    let (part, index) = match part.rsplit_once('_') {
        Some((part, index)) => (part, index.parse::<usize>().ok()?),
        None => (part, 0),
    };
    let renamed = PARTS.iter().find(|(ours, _)| *ours == part);
    let wanted = renamed.map_or(part, |(_, openssl)| openssl);
    let mut found = attributes(name)
        .into_iter()
        .filter(|(short, _)| short == wanted);
    found.nth(index).map(|(_, value)| value)
}

fn alternative(certificate: &X509Certificate<'_>, part: &str) -> Option<String> {
    let (kind, index) = part.rsplit_once('_')?;
    let index: usize = index.parse().ok()?;
    let names = certificate.subject_alternative_name().ok().flatten()?;
    let mut values = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match (kind, name) {
            ("DNS", GeneralName::DNSName(value)) | ("Email", GeneralName::RFC822Name(value)) => {
                Some((*value).to_owned())
            }
            _ => None,
        });
    values.nth(index)
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `Nov 19 11:37:46 2036 GMT`, as `ASN1_TIME_print` writes it.
fn date(time: ASN1Time) -> String {
    let at = time.to_datetime();
    let month = MONTHS
        .get(usize::from(u8::from(at.month())) - 1)
        .unwrap_or(&"Jan");
    format!(
        "{month} {:2} {:02}:{:02}:{:02} {} GMT",
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.year()
    )
}

fn remaining_days(end: ASN1Time) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    (end.timestamp() - now).max(0) / 86_400
}

/// OpenSSL's long names by object identifier.
fn algorithm(oid: &str) -> String {
    const NAMES: &[(&str, &str)] = &[
        ("1.2.840.113549.1.1.1", "rsaEncryption"),
        ("1.2.840.10045.2.1", "id-ecPublicKey"),
        ("1.3.101.112", "ED25519"),
        ("1.2.840.113549.1.1.5", "sha1WithRSAEncryption"),
        ("1.2.840.113549.1.1.10", "rsassaPss"),
        ("1.2.840.113549.1.1.11", "sha256WithRSAEncryption"),
        ("1.2.840.113549.1.1.12", "sha384WithRSAEncryption"),
        ("1.2.840.113549.1.1.13", "sha512WithRSAEncryption"),
        ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256"),
        ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384"),
        ("1.2.840.10045.4.3.4", "ecdsa-with-SHA512"),
    ];
    let known = NAMES.iter().find(|(id, _)| *id == oid);
    known.map_or(oid, |(_, name)| name).to_owned()
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(std::str::from_utf8(line).unwrap_or_default());
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}
