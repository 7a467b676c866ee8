//! `ProxyPassReverse`: from an origin's URL to ours.

use relais_conf::Text;
use relais_http1::{Fields, ResponseHead};
use relais_policy::{Environment, Exchange, Problem, SetResult, Slot};

use super::pass::interpolate;
use super::{Host, Proxy, Section, cookies, last_span, url, via};
use crate::{core, own_url};

/// One mapping.
#[derive(Clone, Debug)]
pub(crate) struct Reverse {
    /// Our path.
    path: Vec<u8>,
    /// The origin's URL or path.
    url: Vec<u8>,
    /// Whether both may hold variables of the request.
    interpolate: bool,
}

/// The fields that name a URL of the origin (mod_proxy.html#proxypassreverse).
const FIELDS: [&str; 4] = ["Location", "Content-Location", "URI", "Destination"];

/// The handler of `ProxyPassReverse`.
pub(crate) fn set(slot: &mut Slot<'_, Proxy>, words: &[Text]) -> SetResult {
    let interpolate = words
        .iter()
        .skip(1)
        .any(|word| word.eq_ignore_case("interpolate"));
    let words = &words[..words.len() - usize::from(interpolate)];
    let (path, url) = match (slot.place.section, words) {
        (Some(section), [url]) => (&section.argument, url),
        (Some(_), [_, extra, ..]) => {
            return Err(Problem::at(
                extra.span(),
                "ProxyPassReverse takes no path inside of a section",
            ));
        }
        (None, [path, url]) => (path, url),
        (None, [_, _, extra, ..]) => {
            return Err(Problem::at(
                extra.span(),
                "ProxyPassReverse takes a path and a URL",
            ));
        }
        _ => {
            return Err(Problem::at(
                last_span(words, slot.place.line),
                "ProxyPassReverse needs a path and a URL",
            ));
        }
    };
    let reverse = Reverse {
        path: path.bytes().to_vec(),
        url: url.bytes().to_vec(),
        interpolate,
    };
    slot.section.reverses.push(reverse);
    Ok(())
}

/// Maps the fields of an origin's response back.
pub(crate) fn respond_head(exchange: &Exchange<'_>, head: &mut ResponseHead) {
    cookies::reverse(exchange, &mut head.fields);
    describe(exchange, &mut head.fields);
    let version = head.version();
    via::apply_to_answer(exchange, version, &mut head.fields);
    let reverses = &exchange.section_settings::<Section>().reverses;
    if reverses.is_empty() {
        return;
    }
    for name in FIELDS {
        let Some(index) = head.fields.position(name) else {
            continue;
        };
        let mapped = head
            .fields
            .at(index)
            .and_then(|(_, value)| map(exchange, reverses, value));
        if let Some(mapped) = mapped {
            // A value from the origin holds no control character, and our
            // own part neither; if it did, the field stays as it is.
            let _ = head.fields.set_value(index, mapped);
        }
    }
}

/// Adds what the name of the URL says of the content (mod_mime), and `ForceType`.
/// One that cannot be sent is left out.
fn describe(exchange: &Exchange<'_>, fields: &mut Fields) {
    let forced = exchange.section_settings::<core::Section>().forced_type();
    for (name, value) in &exchange.described {
        let _ = match *name {
            "Content-Type" if forced.is_some() || fields.contains(name) => Ok(()),
            "Content-Language" => {
                let languages: Vec<Vec<u8>> = fields.get_all(name).map(<[u8]>::to_vec).collect();
                let all = [vec![value.clone()], languages].concat();
                fields.set(name, all.join(&b','))
            }
            _ => fields.set(name, value),
        };
    }
    if let Some(kind) = forced.filter(|_| !fields.contains("Content-Type")) {
        let _ = fields.push("Content-Type", kind);
    }
}

/// The first mapping that fits (`ap_proxy_location_reverse_map`).
fn map(exchange: &Exchange<'_>, reverses: &[Reverse], value: &[u8]) -> Option<Vec<u8>> {
    let host: &Host = exchange.host_settings();
    let on = exchange.section_settings::<Section>().interpolates();
    let mapped = reverses.iter().find_map(|reverse| {
        if reverse.interpolate && on {
            return reverse.filled(&exchange.environment).apply_to(host, value);
        }
        reverse.apply_to(host, value)
    })?;
    Some(if mapped.starts_with(b"/") {
        own_url::absolute(exchange, &mapped)
    } else {
        mapped
    })
}

impl Reverse {
    /// The same with the request's variables in it.
    fn filled(&self, environment: &Environment) -> Self {
        Self {
            path: interpolate(&self.path, environment),
            url: interpolate(&self.url, environment),
            interpolate: false,
        }
    }

    /// A URL of a balancer stands for that of every member, with what is behind
    /// the balancer's name after the member's own path.
    fn apply_to(&self, host: &Host, value: &[u8]) -> Option<Vec<u8>> {
        let Some(balancer) = host.balancer_for(&self.url) else {
            return self.apply(value);
        };
        let rest = url::split(&self.url)?.path;
        balancer.urls().find_map(|member| {
            let member = member
                .strip_suffix(b"/")
                .filter(|_| rest.starts_with(b"/"))
                .unwrap_or(member);
            let of_member = Self {
                path: self.path.clone(),
                url: [member, rest].concat(),
                interpolate: false,
            };
            of_member.apply(value)
        })
    }

    fn apply(&self, value: &[u8]) -> Option<Vec<u8>> {
        let subject = if self.url.starts_with(b"/") {
            path_of(value)
        } else {
            value
        };
        let head = subject
            .get(..self.url.len())
            .filter(|head| !head.is_empty())?;
        head.eq_ignore_ascii_case(&self.url)
            .then(|| [self.path.as_slice(), &subject[self.url.len()..]].concat())
    }
}

/// The path of an absolute URL; a path as it is.
fn path_of(url: &[u8]) -> &[u8] {
    let authority = url.windows(3).position(|w| w == b"://").map(|at| at + 3);
    let slash = authority.and_then(|at| {
        url[at..]
            .iter()
            .position(|&byte| byte == b'/')
            .map(|slash| at + slash)
    });
    slash.map_or(url, |slash| &url[slash..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings() {
        let table: &[(&str, &str, &str, Option<&str>)] = &[
            ("/app", "http://o/app", "http://o/app/x?q", Some("/app/x?q")),
            ("/app", "http://o/foo", "http://o/foobar", Some("/appbar")),
            ("/app", "http://o/foo", "HTTP://O/Foo/x", Some("/app/x")),
            ("/app", "http://o/foo", "http://other/foo/x", None),
            ("/app", "http://o/foo", "/foo/x", None),
            ("/app", "/x", "/x/z", Some("/app/z")),
            ("/app", "/x", "http://o/x/z", Some("/app/z")),
            ("/app", "/x", "http://o", None),
            ("/app", "http://o/foo", "http://o/fo", None),
        ];
        for &(path, url, value, expected) in table {
            let reverse = Reverse {
                path: path.into(),
                url: url.into(),
                interpolate: false,
            };
            let found = reverse
                .apply(value.as_bytes())
                .map(|mapped| String::from_utf8_lossy(&mapped).into_owned());
            assert_eq!(found.as_deref(), expected, "{path} {url} {value}");
        }
    }
}
