//! mod_usertrack: a cookie by which a visitor is known again in the logs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relais_conf::Text;
use relais_policy::{Context, Directive, Exchange, Flow, Module, Outgoing, Problem, Set, Unfit};
use relais_telemetry::httpdate;

use crate::mod_expires;
use crate::values;

/// mod_usertrack.
pub struct UserTrack;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    expires: Option<u64>,
}

/// Per-section settings. httpd merges none of it: a section with any of these
/// directives but CookieExpires starts anew.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Section {
    tracking: Option<bool>,
    name: Option<Vec<u8>>,
    domain: Option<Vec<u8>>,
    style: Option<Style>,
    same_site: Option<&'static str>,
    secure: Option<bool>,
    http_only: Option<bool>,
}

/// How the cookie is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Style {
    /// With the date of its end.
    #[default]
    Netscape,
    /// With the time it has left (RFC 2109).
    Cookie,
    /// As a `Set-Cookie2` (RFC 2965).
    Cookie2,
}

impl Module for UserTrack {
    const NAME: &'static str = "mod_usertrack";
    const IDENTIFIER: &'static str = "usertrack_module";
    type Host = Host;
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "CookieTracking",
            syntax: "CookieTracking on|off",
            context: Context::ANY,
            default: Some("off"),
            doc: "Whether a client without the cookie gets one; `%{cookie}n` in a log is its value.",
            accepts: &["CookieTracking on"],
            refuses: &["CookieTracking", "CookieTracking yes"],
            set: Set::Flag(|slot, on| {
                slot.section.tracking = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "CookieName",
            syntax: "CookieName token",
            context: Context::ANY,
            default: Some("Apache"),
            doc: "The cookie's name.",
            accepts: &["CookieName visitor"],
            refuses: &["CookieName", "CookieName a=b", "CookieName \"a b\""],
            set: Set::Take1(|slot, word| {
                slot.section.name = Some(token(word)?);
                Ok(())
            }),
        },
        Directive {
            name: "CookieExpires",
            syntax: "CookieExpires expiry-period",
            context: Context::ANY,
            default: None,
            doc: "How long the cookie is kept, in seconds or as `2 weeks 3 days`, for all cookies of the server; without it until the browser closes.",
            accepts: &["CookieExpires 3600", "CookieExpires \"2 weeks 3 days\""],
            refuses: &["CookieExpires", "CookieExpires soon"],
            set: Set::Take1(|slot, word| {
                slot.host.expires = Some(period(word)?);
                Ok(())
            }),
        },
        Directive {
            name: "CookieDomain",
            syntax: "CookieDomain domain",
            context: Context::ANY,
            default: None,
            doc: "The domain whose hosts get the cookie.",
            accepts: &["CookieDomain .example.com"],
            refuses: &[
                "CookieDomain",
                "CookieDomain example.com",
                "CookieDomain .com",
            ],
            set: Set::Take1(|slot, word| {
                slot.section.domain = Some(domain(word)?);
                Ok(())
            }),
        },
        Directive {
            name: "CookieStyle",
            syntax: "CookieStyle Netscape|Cookie|Cookie2|RFC2109|RFC2965",
            context: Context::ANY,
            default: Some("Netscape"),
            doc: "How the cookie is written.",
            accepts: &["CookieStyle Cookie", "CookieStyle rfc2965"],
            refuses: &["CookieStyle", "CookieStyle Cookie3"],
            set: Set::Take1(|slot, word| {
                const STYLES: [Style; 5] = [
                    Style::Netscape,
                    Style::Cookie,
                    Style::Cookie,
                    Style::Cookie2,
                    Style::Cookie2,
                ];
                let names = ["Netscape", "Cookie", "RFC2109", "Cookie2", "RFC2965"];
                let index = values::choice(word, "CookieStyle", &names)?;
                slot.section.style = STYLES.get(index).copied();
                Ok(())
            }),
        },
        Directive {
            name: "CookieSameSite",
            syntax: "CookieSameSite None|Lax|Strict",
            context: Context::ANY,
            default: None,
            doc: "The cookie's SameSite attribute.",
            accepts: &["CookieSameSite Lax", "CookieSameSite none"],
            refuses: &["CookieSameSite", "CookieSameSite Some"],
            set: Set::Take1(|slot, word| {
                const NAMES: [&str; 3] = ["None", "Lax", "Strict"];
                let index = values::choice(word, "CookieSameSite", &NAMES)?;
                slot.section.same_site = NAMES.get(index).copied();
                Ok(())
            }),
        },
        Directive {
            name: "CookieSecure",
            syntax: "CookieSecure on|off",
            context: Context::ANY,
            default: Some("off"),
            doc: "Whether the cookie is for encrypted connections only.",
            accepts: &["CookieSecure on"],
            refuses: &["CookieSecure"],
            set: Set::Flag(|slot, on| {
                slot.section.secure = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "CookieHTTPOnly",
            syntax: "CookieHTTPOnly on|off",
            context: Context::ANY,
            default: Some("off"),
            doc: "Whether scripts in pages are kept from the cookie.",
            accepts: &["CookieHTTPOnly on"],
            refuses: &["CookieHTTPOnly"],
            set: Set::Flag(|slot, on| {
                slot.section.http_only = Some(on);
                Ok(())
            }),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        Host {
            expires: inner.expires.or(outer.expires),
        }
    }

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        match *inner == Section::default() {
            true => outer.clone(),
            false => inner.clone(),
        }
    }
}

/// A name that can be a cookie's.
fn token(word: &Text) -> Result<Vec<u8>, Problem> {
    let fits = |&byte: &u8| byte.is_ascii_graphic() && !b"=;,\"".contains(&byte);
    match word.bytes() {
        name if !name.is_empty() && name.iter().all(fits) => Ok(name.to_vec()),
        _ => Err(Problem::at(word.span(), "not the name of a cookie")),
    }
}

fn domain(word: &Text) -> Result<Vec<u8>, Problem> {
    let why = match word.bytes() {
        [b'.', rest @ ..] if rest.contains(&b'.') => return Ok(word.bytes().to_vec()),
        [b'.', ..] => "CookieDomain values must contain at least one embedded dot",
        _ => "CookieDomain values must begin with a dot",
    };
    Err(Problem::at(word.span(), why))
}

/// Seconds, or numbers with units (`set_cookie_exp`).
fn period(word: &Text) -> Result<u64, Problem> {
    let text = word.lossy();
    let number = text
        .parse()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let mut words = text.split_ascii_whitespace().peekable();
    words.next_if_eq(&"plus");
    number
        .or_else(|| mod_expires::seconds(words))
        .ok_or_else(|| {
            let message = format!("CookieExpires takes seconds or `2 weeks 3 days`, not `{text}`");
            Problem::at(word.span(), message)
        })
}

/// The value of the visitor's cookie, if it has come.
fn presented<'e>(exchange: &'e Exchange<'_>, name: &[u8]) -> Option<&'e [u8]> {
    let lists = exchange.fields().get_all("Cookie");
    let mut cookies = lists.flat_map(|list| list.split(|&byte| byte == b';' || byte == b','));
    cookies.find_map(|cookie| {
        let value = cookie.trim_ascii().strip_prefix(name)?.strip_prefix(b"=")?;
        Some(value).filter(|value| !value.is_empty())
    })
}

impl Section {
    fn name(&self) -> &[u8] {
        self.name.as_deref().unwrap_or(b"Apache")
    }
}

/// httpd: mod_usertrack's fixups: the note `cookie` is the visitor's value, old
/// or new.
pub(crate) fn fixup(exchange: &mut Exchange<'_>) -> Flow {
    let section = exchange.section_settings::<Section>();
    if !section.tracking.unwrap_or(false) {
        return Flow::Declined;
    }
    let value = match presented(exchange, section.name()) {
        Some(value) => value.to_vec(),
        None => {
            let micros = exchange
                .now
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_micros();
            format!("{:08x}.{micros:x}", mixed(&exchange.identity)).into_bytes()
        }
    };
    exchange.notes.set(b"cookie", Some(&value));
    Flow::Declined
}

/// 32 bits of the request's identity, which no other request has (FNV-1a).
fn mixed(identity: &[u8]) -> u32 {
    let step = |hash: u32, &byte: &u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    identity.iter().fold(0x811c_9dc5, step)
}

/// A visitor without the cookie gets it with the answer, an error's too.
pub(crate) fn outgoing(exchange: &Exchange<'_>, outgoing: &mut Outgoing<'_>) -> Result<(), Unfit> {
    let section = exchange.section_settings::<Section>();
    let known = presented(exchange, section.name());
    let value = match (section.tracking, exchange.notes.get(b"cookie")) {
        (Some(true), Some(value)) if known != Some(value) => value,
        _ => return Ok(()),
    };
    let style = section.style.unwrap_or_default();
    let mut cookie = [section.name(), b"=", value, b"; path=/"].concat();
    if let Some(seconds) = exchange.host_settings::<Host>().expires {
        match style {
            Style::Netscape => {
                let end = exchange.now.checked_add(Duration::from_secs(seconds));
                cookie.extend_from_slice(b"; expires=");
                cookie.extend_from_slice(&old_date(end.unwrap_or(exchange.now)));
            }
            _ => cookie.extend_from_slice(format!("; max-age={seconds}").as_bytes()),
        }
    }
    if let Some(domain) = &section.domain {
        cookie.extend_from_slice(&[b"; domain=", domain.as_slice()].concat());
        if style == Style::Cookie2 {
            cookie.extend_from_slice(b"; version=1");
        }
    }
    if let Some(same_site) = section.same_site {
        cookie.extend_from_slice(format!("; SameSite={same_site}").as_bytes());
    }
    for (attribute, on) in [
        ("; Secure", section.secure),
        ("; HttpOnly", section.http_only),
    ] {
        if on.unwrap_or(false) {
            cookie.extend_from_slice(attribute.as_bytes());
        }
    }
    let field = match style {
        Style::Cookie2 => "Set-Cookie2",
        _ => "Set-Cookie",
    };
    outgoing.always.push(field, cookie).map_err(|_| Unfit)
}

/// `Wed, 25-Nov-26 14:23:47 GMT`, as the first cookies had it.
fn old_date(at: SystemTime) -> Vec<u8> {
    let date = httpdate::date_header(at);
    let [day, month, year, time] = [&date[..7], &date[8..11], &date[14..16], &date[17..]];
    [day, b"-", month, b"-", year, b" ", time].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_cookies() {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_616_627);
        assert_eq!(old_date(at), b"Wed, 25-Nov-26 14:23:47 GMT");
    }
}
