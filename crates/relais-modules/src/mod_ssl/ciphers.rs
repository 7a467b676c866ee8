//! OpenSSL's cipher list language (`openssl-ciphers(1)`), over the suites that relais can offer.

use relais_policy::tls::CipherSuite;

/// Evaluates a list for TLS 1.2: what it leaves of [`CipherSuite::ALL`], in
/// order of preference. Names of suites that relais does not have match nothing.
pub(super) fn evaluate(list: &str) -> Vec<CipherSuite> {
    let mut chosen: Vec<CipherSuite> = Vec::new();
    let mut killed: Vec<CipherSuite> = Vec::new();
    for word in list
        .split([':', ',', ' ', ';'])
        .filter(|word| !word.is_empty())
    {
        if word == "@STRENGTH" {
            chosen.sort_by_key(|suite| std::cmp::Reverse(suite.bits));
            continue;
        }
        let (operator, name) = match word.split_at_checked(1) {
            Some((operator @ ("!" | "-" | "+"), name)) => (operator, name),
            _ => ("", word),
        };
        let matching: Vec<CipherSuite> = tls12().filter(|suite| matches(suite, name)).collect();
        match operator {
            "!" => {
                chosen.retain(|suite| !matching.contains(suite));
                killed.extend(matching);
            }
            "-" => chosen.retain(|suite| !matching.contains(suite)),
            "+" => {
                let moved: Vec<_> = chosen
                    .iter()
                    .copied()
                    .filter(|suite| matching.contains(suite))
                    .collect();
                chosen.retain(|suite| !matching.contains(suite));
                chosen.extend(moved);
            }
            _ => {
                let fresh = matching.into_iter().filter(|suite| !killed.contains(suite));
                for suite in fresh {
                    if !chosen.contains(&suite) {
                        chosen.push(suite);
                    }
                }
            }
        }
    }
    chosen
}

/// Evaluates a list for TLS 1.3, which holds names only; the answer is what it
/// names, or the first name that is none.
pub(super) fn evaluate_tls13(list: &str) -> Result<Vec<CipherSuite>, String> {
    let names = list.split([':', ',']).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut suites = CipherSuite::ALL.iter().filter(|suite| suite.tls13);
            suites
                .find(|suite| suite.name.eq_ignore_ascii_case(name))
                .copied()
                .ok_or_else(|| name.to_owned())
        })
        .collect()
}

/// The suite that has most in common with what a list asks for.
pub(super) fn nearest(list: &str) -> &'static str {
    let asked: Vec<String> = list
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(str::to_ascii_uppercase)
        .collect();
    let shared = |suite: &CipherSuite| {
        let parts = suite.name.split('-');
        parts
            .filter(|part| asked.iter().any(|word| word == part))
            .count()
    };
    // Of equals the last wins, the one that most clients have.
    tls12().max_by_key(shared).map_or("", |suite| suite.name)
}

fn tls12() -> impl Iterator<Item = CipherSuite> {
    CipherSuite::ALL
        .iter()
        .copied()
        .filter(|suite| !suite.tls13)
}

/// Whether a suite is what `A+B` names.
fn matches(suite: &CipherSuite, name: &str) -> bool {
    name.split('+').all(|word| word_matches(suite, word))
}

fn word_matches(suite: &CipherSuite, word: &str) -> bool {
    let has = |part: &str| suite.name.contains(part);
    match word {
        "ALL" | "DEFAULT" | "HIGH" | "FIPS" | "TLSv1.2" | "AEAD" | "ECDH" | "ECDHE" | "EECDH"
        | "kECDHE" | "kEECDH" => word != "FIPS" || has("GCM"),
        "aRSA" => has("-RSA-"),
        "ECDSA" | "aECDSA" => has("-ECDSA-"),
        "AES" | "AESGCM" => has("-GCM-"),
        "AES128" => has("AES128"),
        "AES256" => has("AES256"),
        "CHACHA20" => has("CHACHA20"),
        // Of an AEAD suite they name the hash of its key schedule, not its MAC.
        "SHA256" | "SHA384" => false,
        // What Red Hat's packages write: the system's policy, which relais' suites satisfy.
        "PROFILE=SYSTEM" => true,
        name => suite.name == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(list: &str) -> String {
        let names: Vec<String> = evaluate(list)
            .iter()
            .map(|suite| {
                suite
                    .name
                    .trim_start_matches("ECDHE-")
                    .replace("-SHA384", "")
                    .replace("-SHA256", "")
            })
            .collect();
        names.join(" ")
    }

    #[test]
    fn lists_that_people_have() {
        let all = "ECDSA-AES256-GCM RSA-AES256-GCM ECDSA-CHACHA20-POLY1305 RSA-CHACHA20-POLY1305 ECDSA-AES128-GCM RSA-AES128-GCM";
        let gcm = "ECDSA-AES256-GCM RSA-AES256-GCM ECDSA-AES128-GCM RSA-AES128-GCM";
        let table: &[(&str, &str)] = &[
            ("HIGH:!aNULL:!MD5", all),
            ("ALL:!ADH:RC4+RSA:+HIGH:+MEDIUM:+LOW:+EXP", all),
            ("HIGH:MEDIUM:!MD5:!RC4:!3DES", all),
            ("EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH", gcm),
            (
                "ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:AES128-SHA",
                "RSA-AES128-GCM",
            ),
            ("PROFILE=SYSTEM", all),
            ("AES128-SHA:DES-CBC3-SHA", ""),
            ("ALL:!ECDHE", ""),
            ("ALL:-CHACHA20:-AES256", "ECDSA-AES128-GCM RSA-AES128-GCM"),
            (
                "AES128:AES256:+AES128:!ECDSA",
                "RSA-AES256-GCM RSA-AES128-GCM",
            ),
            (
                "!AES256:HIGH:@STRENGTH",
                "ECDSA-CHACHA20-POLY1305 RSA-CHACHA20-POLY1305 ECDSA-AES128-GCM RSA-AES128-GCM",
            ),
        ];
        for &(list, expected) in table {
            assert_eq!(short(list), expected, "{list}");
        }
    }

    #[test]
    fn the_nearest_suite_shares_most_words() {
        for (list, expected) in [
            ("ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
            ("AES128-SHA", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("RC4", "ECDHE-RSA-AES128-GCM-SHA256"),
        ] {
            assert_eq!(nearest(list), expected, "{list}");
        }
    }

    #[test]
    fn names_of_tls13() {
        assert_eq!(
            evaluate_tls13("TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384")
                .unwrap()
                .len(),
            2
        );
        assert_eq!(
            evaluate_tls13("TLS_AES_128_CCM_SHA256").unwrap_err(),
            "TLS_AES_128_CCM_SHA256"
        );
    }
}
