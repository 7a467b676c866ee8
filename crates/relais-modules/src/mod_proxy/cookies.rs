//! `ProxyPassReverseCookieDomain` and `ProxyPassReverseCookiePath`: an
//! origin's cookies as ours.

use relais_conf::Text;
use relais_http1::Fields;
use relais_policy::{Environment, Exchange, Problem, SetResult, Slot};

use super::pass::interpolate;
use super::{Proxy, Section};

/// What is replaced, and by what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pair {
    from: Vec<u8>,
    to: Vec<u8>,
    /// Whether both may hold variables of the request.
    interpolate: bool,
}

impl Pair {
    fn read(slot: &Slot<'_, Proxy>, words: &[Text]) -> Result<Self, Problem> {
        let name = slot.place.name.lossy();
        let (from, to, interpolate) = match words {
            [from, to] => (from, to, false),
            [from, to, word] if word.eq_ignore_case("interpolate") => (from, to, true),
            [_, _, word, ..] => {
                let message = format!("{name} takes only `interpolate` behind its two values");
                return Err(Problem::at(word.span(), message));
            }
            _ => return Err(Problem::new(format!("{name} takes two values"))),
        };
        Ok(Self {
            from: from.bytes().to_vec(),
            to: to.bytes().to_vec(),
            interpolate,
        })
    }

    /// The same with the request's variables in it.
    fn filled(&self, environment: &Environment) -> Self {
        if !self.interpolate {
            return self.clone();
        }
        Self {
            from: interpolate(&self.from, environment),
            to: interpolate(&self.to, environment),
            interpolate: false,
        }
    }
}

/// The handler of `ProxyPassReverseCookieDomain`.
pub(crate) fn set_domain(slot: &mut Slot<'_, Proxy>, words: &[Text]) -> SetResult {
    let pair = Pair::read(slot, words)?;
    slot.section.cookie_domains.push(pair);
    Ok(())
}

/// The handler of `ProxyPassReverseCookiePath`.
pub(crate) fn set_path(slot: &mut Slot<'_, Proxy>, words: &[Text]) -> SetResult {
    let pair = Pair::read(slot, words)?;
    slot.section.cookie_paths.push(pair);
    Ok(())
}

/// Maps the cookies of an origin's response (`proxy_cookie_reverse_map`).
pub(super) fn reverse(exchange: &Exchange<'_>, fields: &mut Fields) {
    let section = exchange.section_settings::<Section>();
    if section.cookie_domains.is_empty() && section.cookie_paths.is_empty() {
        return;
    }
    let filled = |pairs: &[Pair]| -> Vec<Pair> {
        let pairs = pairs.iter();
        pairs
            .map(|pair| pair.filled(&exchange.environment))
            .collect()
    };
    let is_open = |pair: &Pair| pair.interpolate;
    let opens = section
        .cookie_domains
        .iter()
        .chain(&section.cookie_paths)
        .any(is_open);
    let made;
    let section = if opens && section.interpolates() {
        made = Section {
            cookie_domains: filled(&section.cookie_domains),
            cookie_paths: filled(&section.cookie_paths),
            ..Section::default()
        };
        &made
    } else {
        section
    };
    for index in 0..fields.len() {
        let mapped = fields
            .at(index)
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"Set-Cookie"))
            .map(|(_, value)| map(section, value));
        if let Some(mapped) = mapped {
            // Made of the origin's value and the configuration's words; one
            // that does not fit leaves the field as it is.
            let _ = fields.set_value(index, mapped);
        }
    }
}

fn map(section: &Section, cookie: &[u8]) -> Vec<u8> {
    let parts = cookie.split(|&byte| byte == b';').enumerate();
    let parts: Vec<Vec<u8>> = parts
        .map(|(number, part)| match (number, attribute(part)) {
            (1.., Some((head, name, value))) => {
                let replaced = if name.eq_ignore_ascii_case(b"domain") {
                    domain(&section.cookie_domains, value)
                } else if name.eq_ignore_ascii_case(b"path") {
                    path(&section.cookie_paths, value)
                } else {
                    None
                };
                replaced.map_or_else(|| part.to_vec(), |public| [head, public].concat())
            }
            _ => part.to_vec(),
        })
        .collect();
    parts.join(&b';')
}

/// `name=` with what is in front of it, the name, and the value.
fn attribute(part: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = part.iter().position(|&byte| byte == b'=')?;
    let (head, value) = part.split_at(equals + 1);
    Some((head, part[..equals].trim_ascii(), value.trim_ascii()))
}

/// The public domain in place of the whole of an internal one.
fn domain<'a>(pairs: &'a [Pair], value: &[u8]) -> Option<&'a [u8]> {
    let found = pairs
        .iter()
        .find(|pair| value.eq_ignore_ascii_case(&pair.from));
    found.map(|pair| pair.to.as_slice())
}

/// The public path in place of one that begins with an internal one; as httpd
/// has it, the rest of the path is gone.
fn path<'a>(pairs: &'a [Pair], value: &[u8]) -> Option<&'a [u8]> {
    let found = pairs.iter().find(|pair| value.starts_with(&pair.from));
    found.map(|pair| pair.to.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes() {
        let pair = |from: &str, to: &str| Pair {
            from: from.into(),
            to: to.into(),
            interpolate: false,
        };
        let section = Section {
            cookie_domains: vec![pair("be.internal", "pub.example")],
            cookie_paths: vec![pair("/x", "/rev")],
            ..Section::default()
        };
        let table: &[(&str, &str)] = &[
            ("a=b; Path=/x/p; Secure", "a=b; Path=/rev; Secure"),
            ("a=b;path=/x", "a=b;path=/rev"),
            ("a=b; Path=/y", "a=b; Path=/y"),
            (
                "a=b; DOMAIN=BE.internal; HttpOnly",
                "a=b; DOMAIN=pub.example; HttpOnly",
            ),
            ("a=b; Domain=x.be.internal", "a=b; Domain=x.be.internal"),
            ("path=/x; Path=/x", "path=/x; Path=/rev"),
            ("a=b", "a=b"),
        ];
        for &(cookie, expected) in table {
            let mapped = map(&section, cookie.as_bytes());
            assert_eq!(String::from_utf8_lossy(&mapped), expected, "{cookie}");
        }
    }
}
