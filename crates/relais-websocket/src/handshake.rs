//! The two halves of the opening handshake (RFC 6455 §4).

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

/// What is hashed behind the key (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The last character of a key carries four bits that mean nothing, and some clients set them.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The value of a valid Sec-WebSocket-Key, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; 24]);

/// Why a request opens no WebSocket. The client is at fault for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The method is not GET.
    Method,
    /// The request is HTTP/1.0.
    HttpVersion,
    /// The request has a body, which the peers could take for frames.
    Body,
    /// Upgrade does not name websocket.
    Upgrade,
    /// Connection does not list upgrade.
    Connection,
    /// There is no Sec-WebSocket-Version.
    VersionMissing,
    /// There is more than one Sec-WebSocket-Version.
    VersionRepeated,
    /// Sec-WebSocket-Version is not 13; the answer must say that 13 is spoken.
    VersionForeign,
    /// There is no Sec-WebSocket-Key.
    KeyMissing,
    /// There is more than one Sec-WebSocket-Key.
    KeyRepeated,
    /// Sec-WebSocket-Key is not 16 bytes in base64.
    KeyInvalid,
}

/// Why a 101 opens no WebSocket. The origin is at fault for all of them; the client gets 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// There is no Upgrade.
    UpgradeMissing,
    /// Upgrade is not websocket alone.
    UpgradeForeign,
    /// There is no Sec-WebSocket-Accept.
    AcceptMissing,
    /// There is more than one Sec-WebSocket-Accept.
    AcceptRepeated,
    /// Sec-WebSocket-Accept does not belong to the key.
    AcceptWrong,
}

impl Key {
    /// The key in base64, as it was sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 24] {
        &self.0
    }

    /// A key made from 16 random bytes, for a handshake that relais begins itself.
    #[must_use]
    pub fn from_nonce(nonce: [u8; 16]) -> Self {
        let mut text = [0; 24];
        // 16 bytes always make 24 characters, so this cannot fail.
        let _ = BASE64.encode_slice(nonce, &mut text);
        Self(text)
    }

    /// Reads the value of Sec-WebSocket-Key.
    fn parse(value: &[u8]) -> Option<Self> {
        let text: [u8; 24] = value.try_into().ok()?;
        let mut nonce = [0; 18];
        let len = BASE64.decode_slice(text, &mut nonce).ok()?;
        (len == 16).then_some(Self(text))
    }
}

/// Checks a request that is to open a WebSocket (RFC 6455 §4.2.1). Host is not looked at.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_request<'a>(
    method: &[u8],
    version_is_11: bool,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    has_body: bool,
) -> Result<Key, HandshakeError> {
    if method != b"GET" {
        return Err(HandshakeError::Method);
    }
    if !version_is_11 {
        return Err(HandshakeError::HttpVersion);
    }
    if has_body {
        return Err(HandshakeError::Body);
    }
    if !lists(fields.clone(), b"Upgrade", b"websocket") {
        return Err(HandshakeError::Upgrade);
    }
    if !lists(fields.clone(), b"Connection", b"upgrade") {
        return Err(HandshakeError::Connection);
    }
    match only(fields.clone(), b"Sec-WebSocket-Version") {
        Only::One(b"13") => {}
        Only::One(_) => return Err(HandshakeError::VersionForeign),
        Only::None => return Err(HandshakeError::VersionMissing),
        Only::Many => return Err(HandshakeError::VersionRepeated),
    }
    match only(fields, b"Sec-WebSocket-Key") {
        Only::One(value) => Key::parse(value).ok_or(HandshakeError::KeyInvalid),
        Only::None => Err(HandshakeError::KeyMissing),
        Only::Many => Err(HandshakeError::KeyRepeated),
    }
}

/// Checks the fields of a 101 (RFC 6455 §4.2.2). A missing Connection is forgiven, as httpd does.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_response<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    key: &Key,
) -> Result<(), AnswerError> {
    match only(fields.clone(), b"Upgrade") {
        Only::One(value) if value.eq_ignore_ascii_case(b"websocket") => {}
        Only::One(_) | Only::Many => return Err(AnswerError::UpgradeForeign),
        Only::None => return Err(AnswerError::UpgradeMissing),
    }
    match only(fields, b"Sec-WebSocket-Accept") {
        Only::One(value) if value == accept_for(key) => Ok(()),
        Only::One(_) => Err(AnswerError::AcceptWrong),
        Only::None => Err(AnswerError::AcceptMissing),
        Only::Many => Err(AnswerError::AcceptRepeated),
    }
}

/// The value of Sec-WebSocket-Accept that answers `key` (RFC 6455 §4.2.2 step 5.4).
#[must_use]
pub fn accept_for(key: &Key) -> [u8; 28] {
    let hash = Sha1::new()
        .chain_update(key.0)
        .chain_update(GUID)
        .finalize();
    let mut text = [0; 28];
    // 20 bytes always make 28 characters, so this cannot fail.
    let _ = BASE64.encode_slice(hash, &mut text);
    text
}

impl HandshakeError {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        if self.wants_version_field() { 426 } else { 400 }
    }

    /// Whether the answer must carry `Sec-WebSocket-Version: 13` (RFC 6455 §4.4).
    #[must_use]
    pub const fn wants_version_field(self) -> bool {
        matches!(self, Self::VersionForeign)
    }

    /// What is wrong, for the error log; holds nothing that the client sent.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Method => "method is not GET",
            Self::HttpVersion => "HTTP version is below 1.1",
            Self::Body => "request has a body",
            Self::Upgrade => "Upgrade does not name websocket",
            Self::Connection => "Connection does not list upgrade",
            Self::VersionMissing => "no Sec-WebSocket-Version",
            Self::VersionRepeated => "more than one Sec-WebSocket-Version",
            Self::VersionForeign => "Sec-WebSocket-Version is not 13",
            Self::KeyMissing => "no Sec-WebSocket-Key",
            Self::KeyRepeated => "more than one Sec-WebSocket-Key",
            Self::KeyInvalid => "Sec-WebSocket-Key is not 16 bytes in base64",
        }
    }
}

impl AnswerError {
    /// The status of the answer to the client.
    #[must_use]
    pub const fn status(self) -> u16 {
        502
    }

    /// What is wrong, for the error log; holds nothing that the origin sent.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::UpgradeMissing => "101 without Upgrade",
            Self::UpgradeForeign => "101 whose Upgrade is not websocket",
            Self::AcceptMissing => "101 without Sec-WebSocket-Accept",
            Self::AcceptRepeated => "101 with more than one Sec-WebSocket-Accept",
            Self::AcceptWrong => "101 whose Sec-WebSocket-Accept does not belong to the key",
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for HandshakeError {}
impl std::error::Error for AnswerError {}

/// The field of a name that may stand once.
enum Only<'a> {
    None,
    One(&'a [u8]),
    Many,
}

fn only<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, name: &[u8]) -> Only<'a> {
    let mut values = values(fields, name);
    match (values.next(), values.next()) {
        (None, _) => Only::None,
        (Some(value), None) => Only::One(trim(value)),
        (Some(_), Some(_)) => Only::Many,
    }
}

/// Whether a field called `name` lists `token`, in any case of letters.
fn lists<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    name: &[u8],
    token: &[u8],
) -> bool {
    values(fields, name).any(|value| {
        value
            .split(|&b| b == b',')
            .any(|item| trim(item).eq_ignore_ascii_case(token))
    })
}

fn values<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    name: &[u8],
) -> impl Iterator<Item = &'a [u8]> {
    fields
        .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// `value` without SP and HTAB at both ends.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// Fields written as `Name: value|Name: value`.
    fn fields(text: &str) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        text.split('|')
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }

    fn request(text: &str) -> Result<(), HandshakeError> {
        check_request(b"GET", true, fields(text), false)
            .map(|key| assert_eq!(key.as_bytes().len(), 24))
    }

    #[test]
    fn requests() {
        use HandshakeError as E;
        let good = format!(
            "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Version: 13|Sec-WebSocket-Key: {KEY}"
        );
        let table = [
            ("Upgrade", "Upgrade", Ok(())),
            ("websocket|", "WebSOCKET|", Ok(())),
            (
                "Connection: Upgrade",
                "cONNECTION: keep-alive, uPGRADE",
                Ok(()),
            ),
            (
                "Connection: Upgrade",
                "Connection: keep-alive|Connection: upgrade",
                Ok(()),
            ),
            ("websocket|", "foo, websocket|", Ok(())),
            ("websocket|", "foo|Upgrade:websocket|", Ok(())),
            ("Q==", "R==", Ok(())),
            ("Upgrade: websocket|", "", Err(E::Upgrade)),
            ("websocket|", "h2c|", Err(E::Upgrade)),
            ("websocket|", "websocketx|", Err(E::Upgrade)),
            ("Connection: Upgrade|", "", Err(E::Connection)),
            (
                "Connection: Upgrade",
                "Connection: close",
                Err(E::Connection),
            ),
            ("|Sec-WebSocket-Version: 13", "", Err(E::VersionMissing)),
            (
                ": 13",
                ": 13|Sec-WebSocket-Version: 13",
                Err(E::VersionRepeated),
            ),
            (": 13", ": 8", Err(E::VersionForeign)),
            (": 13", ": 777", Err(E::VersionForeign)),
            (": 13", ": 13, 8", Err(E::VersionForeign)),
            (": 13", ": 013", Err(E::VersionForeign)),
            (": 13", ":", Err(E::VersionForeign)),
            ("Sec-WebSocket-Key", "X", Err(E::KeyMissing)),
            (
                "Q==",
                "Q==|sec-websocket-key: AQIDBAUGBwgJCgsMDQ4PEC==",
                Err(E::KeyRepeated),
            ),
            ("Q==", "Q", Err(E::KeyInvalid)),
            ("Q==", "QAA", Err(E::KeyInvalid)),
            ("Q==", "QA=", Err(E::KeyInvalid)),
            ("dGhl", "dGh!", Err(E::KeyInvalid)),
            ("dGhl", "dGhlAAAA", Err(E::KeyInvalid)),
            (KEY, "", Err(E::KeyInvalid)),
        ];
        for (from, to, expected) in table {
            let text = good.replace(from, to);
            assert_eq!(request(&text), expected, "{text}");
        }
        for (method, version_is_11, has_body, expected) in [
            ("GET", true, false, Ok(())),
            ("POST", true, false, Err(E::Method)),
            ("get", true, false, Err(E::Method)),
            ("GET", false, false, Err(E::HttpVersion)),
            ("GET", true, true, Err(E::Body)),
        ] {
            let found = check_request(method.as_bytes(), version_is_11, fields(&good), has_body);
            assert_eq!(
                found.map(|_| ()),
                expected,
                "{method} {version_is_11} {has_body}"
            );
        }
    }

    #[test]
    fn only_a_foreign_version_is_426() {
        use HandshakeError as E;
        for (error, status) in [
            (E::VersionForeign, 426),
            (E::VersionMissing, 400),
            (E::KeyInvalid, 400),
            (E::Body, 400),
        ] {
            assert_eq!(
                (error.status(), error.wants_version_field()),
                (status, status == 426)
            );
        }
    }

    #[test]
    fn accept_is_the_example_of_the_rfc() {
        let key = Key::parse(KEY.as_bytes()).unwrap();
        assert_eq!(&accept_for(&key), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(Key::from_nonce(*b"the sample nonce"), key);
    }

    #[test]
    fn answers() {
        use AnswerError as E;
        let key = Key::from_nonce(*b"the sample nonce");
        let good = "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        for (from, to, expected) in [
            ("Connection", "Connection", Ok(())),
            ("websocket", "WebSocket", Ok(())),
            ("|Connection: Upgrade", "", Ok(())),
            ("Upgrade: websocket", "X: y", Err(E::UpgradeMissing)),
            ("websocket", "foo", Err(E::UpgradeForeign)),
            ("websocket", "websocket, foo", Err(E::UpgradeForeign)),
            (
                "websocket",
                "websocket|Upgrade: websocket",
                Err(E::UpgradeForeign),
            ),
            ("Sec-WebSocket-Accept", "X", Err(E::AcceptMissing)),
            (
                "Oo=",
                "Oo=|Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                Err(E::AcceptRepeated),
            ),
            (
                "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                Err(E::AcceptWrong),
            ),
            ("s3pP", "S3pP", Err(E::AcceptWrong)),
            ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "", Err(E::AcceptWrong)),
        ] {
            let text = good.replace(from, to);
            assert_eq!(check_response(fields(&text), &key), expected, "{text}");
        }
    }
}
