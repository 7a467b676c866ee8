//! Encrypted private keys, and the program that tells their pass phrase.

use std::path::Path;
use std::process::{Command, Stdio};

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use relais_policy::tls::FileSpec;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Problem;
use crate::files::shown;

/// Who is asked for a pass phrase, and on whose behalf.
#[derive(Clone, Copy)]
pub(crate) struct PassPhrase<'a> {
    /// `SSLPassPhraseDialog exec:`.
    pub(crate) program: Option<&'a Path>,
    /// The host as `name:port`, the program's first argument.
    pub(crate) host: &'a str,
}

impl PassPhrase<'_> {
    /// For keys that no host's program knows.
    pub(crate) const NONE: Self = Self {
        program: None,
        host: "",
    };
}

/// Whether a file has an encrypted key.
pub(crate) fn is_encrypted(text: &[u8]) -> bool {
    find(text, BEGIN).is_some() || is_legacy(text)
}

/// The key of a file that has an encrypted one.
///
/// # Errors
/// When nobody tells the pass phrase, it is wrong, or the encryption is not one of PKCS#8's (RFC 5958, RFC 8018).
pub(crate) fn decrypt(
    text: &[u8],
    file: &FileSpec,
    phrase: PassPhrase<'_>,
) -> Result<PrivateKeyDer<'static>, Problem> {
    let wrong = |what: String| Problem::new("RC0513", file.span, what);
    let name = shown(file);
    let block = match find(text, BEGIN).zip(find(text, END)) {
        Some((start, end)) if start < end => text.get(start..end + END.len()).unwrap_or_default(),
        _ => {
            return Err(wrong(format!(
                "the private key in {name} is encrypted in OpenSSL's old way: `openssl pkcs8 -topk8 -in {name}` writes \
                 it as PKCS#8, which can be read"
            )));
        }
    };
    let Some(program) = phrase.program else {
        return Err(wrong(format!(
            "the private key in {name} is encrypted, and nobody can be asked for its pass phrase: \
             `SSLPassPhraseDialog exec:PROGRAM` names a program that tells it"
        )));
    };
    let secret = ask(program, phrase.host).map_err(wrong)?;
    let malformed = || wrong(format!("the encrypted private key in {name} is malformed"));
    let block = std::str::from_utf8(block).map_err(|_| malformed())?;
    let (_, document) = SecretDocument::from_pem(block).map_err(|_| malformed())?;
    let sealed =
        EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| malformed())?;
    let opened = sealed.decrypt(&secret).map_err(|_| {
        let program = program.display();
        wrong(format!(
            "the private key in {name} does not decrypt with the pass phrase that {program} tells"
        ))
    })?;
    Ok(PrivatePkcs8KeyDer::from(opened.as_bytes().to_vec()).into())
}

const BEGIN: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &[u8] = b"-----END ENCRYPTED PRIVATE KEY-----";

/// RFC 1421's header, which OpenSSL wrote before it had PKCS#8.
fn is_legacy(text: &[u8]) -> bool {
    find(text, b"Proc-Type: 4,ENCRYPTED").is_some()
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window == needle)
}

/// Runs the program as httpd does, with the host and `RSA` whatever the key is, and takes the first line that it prints.
fn ask(program: &Path, host: &str) -> Result<Vec<u8>, String> {
    let name = program.display();
    let output = Command::new(program)
        .args([host, "RSA"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("the pass phrase program {name} cannot be run: {error}"))?;
    let line = output.stdout.split(|&byte| byte == b'\n').next();
    match line.map(<[u8]>::trim_ascii_end) {
        Some(line) if output.status.success() && !line.is_empty() => Ok(line.to_vec()),
        _ => Err(format!(
            "the pass phrase program {name} tells nothing ({})",
            output.status
        )),
    }
}
