//! `SSLProtocol` and `SSLProxyProtocol`.

use relais_conf::{Diagnostic, Diagnostics, Text};
use relais_policy::Problem;
use relais_policy::tls::Protocols;

/// Evaluates the words of one line: `+` adds, `-` takes away, and a word
/// without a sign stands for all before it, as httpd has it.
pub(super) fn protocols(
    name: &str,
    words: &[Text],
    diagnostics: &mut Diagnostics,
) -> Result<Protocols, Problem> {
    const NONE: Protocols = Protocols {
        tls12: false,
        tls13: false,
    };
    let mut set = NONE;
    let mut said = false;
    for word in words {
        let text = word.lossy();
        let (sign, protocol) = match text.as_bytes().first() {
            Some(b'+') => (Some(true), &text[1..]),
            Some(b'-') => (Some(false), &text[1..]),
            _ => (None, &*text),
        };
        let named = meaning(name, word, protocol, sign != Some(false))?;
        match sign {
            Some(on) => {
                set.tls12 = if named.tls12 { on } else { set.tls12 };
                set.tls13 = if named.tls13 { on } else { set.tls13 };
            }
            None => {
                if said {
                    let message = format!(
                        "{name}: `{protocol}` overrides what stands before it; a `+` or `-` may be missing"
                    );
                    diagnostics.push(Diagnostic::warning("RC0502", word.span(), message));
                }
                set = named;
            }
        }
        said = true;
    }
    if set == NONE {
        return Err(
            Problem::new(format!("{name} leaves no protocol that relais speaks"))
                .with_help("TLS 1.2 and 1.3 can be offered: `all -SSLv3`, `-all +TLSv1.3`"),
        );
    }
    Ok(set)
}

/// What a word stands for. Old protocols may be taken away, but not asked for.
fn meaning(name: &str, word: &Text, protocol: &str, wanted: bool) -> Result<Protocols, Problem> {
    let (tls12, tls13) = match protocol.to_ascii_lowercase().as_str() {
        "all" => (true, true),
        "tlsv1.2" => (true, false),
        "tlsv1.3" => (false, true),
        "sslv2" | "sslv3" | "tlsv1" | "tlsv1.1" if wanted => {
            return Err(Problem::at(
                word.span(),
                format!("{name}: {protocol} is broken or deprecated (RFC 7568, RFC 8996), and relais has no code for it"),
            )
            .with_help("offer TLSv1.2 and TLSv1.3: `SSLProtocol all -SSLv3`"));
        }
        "sslv2" | "sslv3" | "tlsv1" | "tlsv1.1" => (false, false),
        _ => {
            return Err(Problem::at(
                word.span(),
                format!("{name}: Illegal protocol '{protocol}'"),
            ));
        }
    };
    Ok(Protocols { tls12, tls13 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::text;

    #[test]
    fn lines_that_people_have() {
        type Set = Option<(bool, bool)>;
        let table: &[(&str, Set, usize)] = &[
            ("all -SSLv3", Some((true, true)), 0),
            ("all -SSLv3 -TLSv1 -TLSv1.1", Some((true, true)), 0),
            ("-all +TLSv1.2 +TLSv1.3", Some((true, true)), 0),
            ("TLSv1.2", Some((true, false)), 0),
            ("TLSv1.2 TLSv1.3", Some((false, true)), 1),
            ("+TLSv1.3", Some((false, true)), 0),
            ("all -TLSv1.2", Some((false, true)), 0),
            ("TLSv1", None, 0),
            ("all +SSLv3", None, 0),
            ("-all", None, 0),
            ("all -TLSv1.4", None, 0),
        ];
        for &(line, expected, warnings) in table {
            let words: Vec<Text> = text(line).words();
            let mut diagnostics = Diagnostics::new();
            let found = protocols("SSLProtocol", &words, &mut diagnostics).ok();
            assert_eq!(found.map(|set| (set.tls12, set.tls13)), expected, "{line}");
            assert_eq!(diagnostics.len(), warnings, "{line}");
        }
    }
}
