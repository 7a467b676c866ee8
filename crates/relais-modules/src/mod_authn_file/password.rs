//! Hashed passwords as `htpasswd` and crypt(3) write them
//! (misc/password_encryptions.html).
//!
//! Libraries do the hashing: `bcrypt` for `$2y$`, `pwhash` for what crypt(3)
//! has otherwise, `sha1` for `{SHA}`. Only the way in which `$apr1$` calls MD5
//! is written out here, since no kept library has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha1::Sha1;

use super::Outcome;

/// Whether a password has this hash (`apr_password_validate`).
pub(super) fn verify(password: &[u8], hash: &[u8]) -> Outcome {
    let Ok(hash) = std::str::from_utf8(hash) else {
        return Outcome::Unusable("the hash is no text");
    };
    let matches = if let Some(rest) = hash.strip_prefix("$apr1$") {
        let salt = rest.split('$').next().unwrap_or_default();
        same(apr1(password, salt.as_bytes()).as_bytes(), hash.as_bytes())
    } else if let Some(digest) = hash.strip_prefix("{SHA}") {
        same(
            STANDARD.encode(Sha1::digest(password)).as_bytes(),
            digest.as_bytes(),
        )
    } else if hash.starts_with("$2") {
        bcrypt::verify(password, hash).unwrap_or(false)
    } else if hash.starts_with("$y$") || hash.starts_with("$7$") {
        return Outcome::Unusable("yescrypt and scrypt hashes are not supported");
    } else if is_crypt(hash) {
        pwhash::unix::verify(password, hash)
    } else {
        // As on any Unix a plain password is no hash and matches nothing.
        false
    };
    if matches {
        Outcome::Granted
    } else {
        Outcome::Mismatch
    }
}

/// crypt(3): MD5, SHA-256 and SHA-512 by their prefix, DES by its length.
fn is_crypt(hash: &str) -> bool {
    let prefixed = ["$1$", "$5$", "$6$"].iter();
    prefixed.into_iter().any(|prefix| hash.starts_with(prefix))
        || (hash.len() == 13 && hash.bytes().all(|byte| ALPHABET.contains(&byte)))
}

/// Compares without telling by the time taken where two texts differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .fold(0, |different, (a, b)| different | (a ^ b))
            == 0
}

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Salt bytes that count.
const SALT_MAX: usize = 8;

/// `apr_md5_encode`: MD5 a thousand times over the password, the salt and the
/// digest so far, in an order that depends on the round.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    let salt = &salt[..salt.len().min(SALT_MAX)];
    let inner = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    let mut first = Md5::new()
        .chain_update(password)
        .chain_update(b"$apr1$")
        .chain_update(salt);
    let mut left = password.len();
    while left > 0 {
        first.update(&inner[..left.min(16)]);
        left -= left.min(16);
    }
    let mut bits = password.len();
    while bits > 0 {
        let byte = if bits & 1 == 1 { 0 } else { password[0] };
        first.update([byte]);
        bits >>= 1;
    }
    let mut digest = first.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round % 2 == 1 { password } else { &digest });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if round % 2 == 1 {
            &digest[..]
        } else {
            password
        });
        digest = next.finalize();
    }
    encoded(&digest, salt)
}

/// The digest in crypt's own base 64, with its bytes in crypt's order.
fn encoded(digest: &[u8], salt: &[u8]) -> String {
    let mut text = format!("$apr1${}$", String::from_utf8_lossy(salt));
    let mut push = |mut number: u32, digits: u32| {
        for _ in 0..digits {
            text.push(char::from(ALPHABET[(number & 63) as usize]));
            number >>= 6;
        }
    };
    for [high, middle, low] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let byte = |index: usize| u32::from(digest[index]);
        push(byte(high) << 16 | byte(middle) << 8 | byte(low), 4);
    }
    push(u32::from(digest[11]), 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes by htpasswd 2.4.71 and by openssl passwd.
    const HASHES: &[(&str, &str)] = &[
        ("secret", "$apr1$yv0Zw1PU$EvX.3mhnR3GTd7ydjVT25/"),
        ("secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="),
        (
            "secret",
            "$2y$05$9vrZyz0E7myWs8OGYeVr3eeXH418zkPfQCbdxa2bPZmOyj3/5SkgS",
        ),
        ("secret", "P8eBPzFBwIkz6"),
        ("secret", "$1$5ppT7WWE$zjcRwBeTWVyDgfHG4He150"),
        (
            "secret",
            "$5$5ydanvrbsZEIxOiF$N0nXsULLLH8yeEvyZ.nTDN/j.HNOZHdHncZZN1t7941",
        ),
        (
            "secret",
            "$6$UWqgN9EyDK6ZbG6a$vrvzPQo4LspMMvYrKRLsl/3QjXmcEw/vUSsafYhs2Xab1Oxg98CWNyZrcP8FYtZU6qrXXpBfCYBL8U0gLEGV.0",
        ),
        ("", "$apr1$bh8k6S0C$0Nix3dlWyO8YPYces40ec1"),
        ("", "{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
        (
            "",
            "$2y$05$iiG9QFHs0D16k2HfSd7aiOSQvQDkBPg9SxqBUpukTLTV09eDnlXJO",
        ),
        ("", "9j2O6sPnhK.oQ"),
        (
            "a longer password with spaces, 40 bytes long",
            "$apr1$k4yWhTQP$N09gJWAqL.e5y9XZkFbrw.",
        ),
        (
            "a longer password with spaces, 40 bytes long",
            "{SHA}AOsJ73f83lDnV4tBuDCh3BLiBNo=",
        ),
        (
            "a longer password with spaces, 40 bytes long",
            "$2y$05$u4JlYC0UWTZ8hxKJ5XGrZuz9dddGDj7uB9ThLwN3D3nqG098dJy1m",
        ),
        (
            "a longer password with spaces, 40 bytes long",
            "7akqH13ZK2.2M",
        ),
        (
            "a longer password with spaces, 40 bytes long",
            "$1$9STFLSra$qouzvVPJ1MrVSSsgHXP5d/",
        ),
        (
            "a longer password with spaces, 40 bytes long",
            "$5$8xMdSjEmOKuBvzXD$a.uvAjtI15eyKRc8oYgXrB5EY5qLpCpzqkDeMpbdoO7",
        ),
        (
            "a longer password with spaces, 40 bytes long",
            "$6$G4C9iNJ/TufTzLYO$zmp94S5sNweyzV3r/n5yYIGR6YpHysB3VYD5jIBlY1ge.rR4SnmaONNyN2XEWso6NtPk4it4XT0MdKr1D6Zl0/",
        ),
        ("zwölf", "$apr1$PLG5bmkE$TBO1wumBOudi/GvKrZC2.."),
        ("zwölf", "{SHA}hz7wL7tnZnZ58IKrf1Iv1KOfeGg="),
        (
            "zwölf",
            "$2y$05$ULhj6HRf72LH3dSJsQhj.eeF1Y5mQnRID4yktklbOB/R8C8euGwuK",
        ),
        ("zwölf", "b1DPxoz9b0KJc"),
        ("zwölf", "$1$Q8/qPKUR$Wn20K0daskmUfGSXVIAcZ1"),
        (
            "zwölf",
            "$5$n01DYtI/KXiARcUL$QL6LAklntOnggBzJJ/lrpid5Vxl9d1bqKT2zA7d5UkD",
        ),
        (
            "zwölf",
            "$6$z5Fmsy87hrSbCX51$.q5htu.UsIkVUs3KCdO9IQDMZY6F8sqvuWV5HY6uSWd2xzhjGqmQt54hc8C2HySd2w8hk17yk4f555XwJ6Sv3.",
        ),
    ];

    #[test]
    fn hashes_of_other_programs() {
        for &(password, hash) in HASHES {
            let outcome = verify(password.as_bytes(), hash.as_bytes());
            assert_eq!(outcome, Outcome::Granted, "{password} {hash}");
            let other = format!("{password}x");
            let outcome = verify(other.as_bytes(), hash.as_bytes());
            // DES looks at eight bytes only.
            let expected = if hash.len() == 13 && password.len() >= 8 {
                Outcome::Granted
            } else {
                Outcome::Mismatch
            };
            assert_eq!(outcome, expected, "{other} {hash}");
        }
    }

    #[test]
    fn what_matches_nothing() {
        for hash in [
            "",
            "secret",
            "secret secret",
            "$2y$05$short",
            "$apr1$",
            "{SHA}",
            "$9$x$y",
        ] {
            let outcome = verify(b"secret", hash.as_bytes());
            assert_eq!(outcome, Outcome::Mismatch, "{hash}");
        }
        assert!(matches!(
            verify(b"secret", b"$y$j9T$salt$hash"),
            Outcome::Unusable(_)
        ));
        assert!(matches!(verify(b"secret", b"\xff"), Outcome::Unusable(_)));
    }
}
