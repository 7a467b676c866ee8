//! PEM files: certificates, keys, revocation lists.

use std::path::PathBuf;
use std::sync::Arc;

use relais_conf::Span;
use relais_policy::tls::FileSpec;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Problem;
use crate::secret::{self, PassPhrase};

/// A certificate of our own with its chain and its key.
///
/// # Errors
/// When a file is missing or wrong, or the key belongs to another certificate.
pub(crate) fn certified_key(
    file: &FileSpec,
    key: Option<&FileSpec>,
    chain: Option<&FileSpec>,
    phrase: PassPhrase<'_>,
) -> Result<CertifiedKey, Problem> {
    let text = read(file)?;
    let mut certificates = certificates_of(&text, file)?;
    if let Some(chain) = chain {
        certificates.extend(certificates_of(&read(chain)?, chain)?);
    }
    let key_file = key.unwrap_or(file);
    let key_text = if key.is_some() { read(key_file)? } else { text };
    let der = private_key(&key_text, key_file, phrase)?;
    let signing = any_supported_type(&der).map_err(|error| {
        Problem::new(
            "RC0511",
            key_file.span,
            format!(
                "{}: the private key cannot be used: {error}",
                shown(key_file)
            ),
        )
    })?;
    let certified = CertifiedKey::new(certificates, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(Problem::new(
            "RC0512",
            key_file.span,
            format!(
                "the private key in {} does not belong to the certificate in {}",
                shown(key_file),
                shown(file)
            ),
        )),
        Err(error) => Err(Problem::new(
            "RC0511",
            file.span,
            format!("{}: the certificate cannot be used: {error}", shown(file)),
        )),
    }
}

fn private_key(
    text: &[u8],
    file: &FileSpec,
    phrase: PassPhrase<'_>,
) -> Result<PrivateKeyDer<'static>, Problem> {
    if secret::is_encrypted(text) {
        return secret::decrypt(text, file, phrase);
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|_| {
        Problem::new(
            "RC0511",
            file.span,
            format!(
                "{} holds no private key (PKCS#8, PKCS#1 or SEC1, as PEM)",
                shown(file)
            ),
        )
    })
}

/// All certificates of a file, of which there must be one.
pub(crate) fn certificates(file: &FileSpec) -> Result<Vec<CertificateDer<'static>>, Problem> {
    certificates_of(&read(file)?, file)
}

fn certificates_of(text: &[u8], file: &FileSpec) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let wrong = |what: &str| Problem::new("RC0511", file.span, format!("{} {what}", shown(file)));
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| wrong(&format!("is not PEM: {error}")))?;
    if found.is_empty() {
        return Err(wrong("holds no certificate"));
    }
    Ok(found)
}

/// The trusted certificates of files and folders. Nothing to trust is an error:
/// it must never mean that everything is trusted.
pub(crate) fn roots(files: &[FileSpec], folders: &[FileSpec]) -> Result<RootCertStore, Problem> {
    let mut store = RootCertStore::empty();
    for file in all(files, folders)? {
        for certificate in certificates(&file)? {
            store.add(certificate).map_err(|error| {
                Problem::new(
                    "RC0511",
                    file.span,
                    format!("{}: a certificate cannot be trusted: {error}", shown(&file)),
                )
            })?;
        }
    }
    Ok(store)
}

/// Those of the trusted certificates that sign themselves.
pub(crate) fn self_signed(
    files: &[FileSpec],
    folders: &[FileSpec],
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let mut found = Vec::new();
    for file in all(files, folders)? {
        let all = certificates(&file)?.into_iter();
        found.extend(all.filter(|der| match X509Certificate::from_der(der) {
            Ok((_, parsed)) => parsed.subject() == parsed.issuer(),
            Err(_) => false,
        }));
    }
    Ok(found)
}

fn all(files: &[FileSpec], folders: &[FileSpec]) -> Result<Vec<FileSpec>, Problem> {
    Ok(files.iter().cloned().chain(members(folders)?).collect())
}

/// The revocation lists of files and folders.
pub(crate) fn revocations(
    files: &[FileSpec],
    folders: &[FileSpec],
) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let mut lists = Vec::new();
    for file in all(files, folders)? {
        let found: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(&read(&file)?).collect();
        match found {
            Ok(found) if !found.is_empty() => lists.extend(found),
            _ => {
                let message = format!("{} holds no revocation list", shown(&file));
                return Err(Problem::new("RC0511", file.span, message));
            }
        }
    }
    Ok(lists)
}

/// The files of folders that OpenSSL would find by their hash (`c_rehash`):
/// names that end in `.0`, `.r0` and so on; a folder without any is taken whole.
pub(crate) fn members(folders: &[FileSpec]) -> Result<Vec<FileSpec>, Problem> {
    let mut files = Vec::new();
    for folder in folders {
        let entries =
            std::fs::read_dir(&folder.path).map_err(|error| unreadable(folder, &error))?;
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_file())
            .collect();
        paths.sort();
        let hashed = |path: &PathBuf| {
            let extension = path.extension().and_then(|text| text.to_str());
            extension.is_some_and(|text| text.trim_start_matches('r').parse::<u8>().is_ok())
        };
        if paths.iter().any(hashed) {
            paths.retain(hashed);
        }
        files.extend(paths.into_iter().map(|path| FileSpec {
            path,
            span: folder.span,
        }));
    }
    Ok(files)
}

fn read(file: &FileSpec) -> Result<Vec<u8>, Problem> {
    std::fs::read(&file.path).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &FileSpec, error: &std::io::Error) -> Problem {
    Problem {
        denied: error.kind() == std::io::ErrorKind::PermissionDenied,
        ..Problem::new(
            "RC0510",
            file.span,
            format!("cannot read {}: {error}", shown(file)),
        )
    }
}

pub(crate) fn shown(file: &FileSpec) -> std::path::Display<'_> {
    file.path.display()
}

/// A setting that rustls refuses.
pub(crate) fn refused(span: Span, error: impl std::fmt::Display) -> Problem {
    Problem::new("RC0514", span, format!("TLS cannot be set up: {error}"))
}

/// Certified keys, shared.
pub(crate) type Keys = Vec<Arc<CertifiedKey>>;
