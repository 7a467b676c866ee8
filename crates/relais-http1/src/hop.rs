//! Which fields belong to one hop, and which may stand in trailers.

use crate::Fields;
use crate::chars::list;
use crate::meta::has_option;

/// Fields that concern one connection only (RFC 9110 §7.6.1), and those that can only do so.
const HOP_BY_HOP: [&[u8]; 8] = [
    b"connection",
    b"http2-settings",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// Fields that stay even if Connection names them: a client must not be able to remove what the next hop needs to find
/// the host, the end of the message or who asks.
const NOT_REMOVABLE: [&[u8]; 5] = [
    b"authorization",
    b"content-length",
    b"cookie",
    b"expect",
    b"host",
];

/// Fields that must not be sent as trailers (RFC 9110 §6.5.1): framing, routing, request modifiers, authentication,
/// response control and the description of the content. Names in lower case; see [`trailer_allowed`] for prefixes.
const NOT_IN_TRAILERS: [&[u8]; 33] = [
    b"accept",
    b"accept-charset",
    b"accept-encoding",
    b"accept-language",
    b"age",
    b"authentication-info",
    b"authorization",
    b"cache-control",
    b"cookie",
    b"date",
    b"expect",
    b"expires",
    b"forwarded",
    b"host",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"location",
    b"max-forwards",
    b"origin",
    b"pragma",
    b"range",
    b"referer",
    b"retry-after",
    b"set-cookie",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
    b"x-http-method-override",
    b"x-real-ip",
];

/// Beginnings of names that must not be sent as trailers.
const NOT_IN_TRAILERS_PREFIX: [&[u8]; 5] = [
    b"content-",
    b"proxy-",
    b"sec-",
    b"x-forwarded-",
    b"x-original-",
];

/// Whether `name` is a field of one hop, to be removed before a message goes on.
///
/// Proxy-Authorization and Proxy-Authenticate are not among them: httpd forwards the first and removes the second
/// from responses only.
#[must_use]
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    contains(&HOP_BY_HOP, name)
}

/// Whether a Connection field lists `name`.
#[must_use]
pub fn connection_lists(fields: &Fields, name: &[u8]) -> bool {
    has_option(fields, name)
}

/// Removes the fields of one hop, and those that Connection names, from a message that goes on.
///
/// Fields that the configuration adds must be added after this, so that a sender cannot name and so remove them.
/// Host, Content-Length, Authorization and Cookie stay even if named.
pub fn strip_hop_by_hop(fields: &mut Fields) {
    strip_named(fields);
    strip_unnamed(fields);
}

/// Removes the fields that Connection names, without those that are of one hop by themselves.
pub fn strip_named(fields: &mut Fields) {
    let named = Named::by(fields);
    if !named.is_empty() {
        fields.retain(|name, _| !named.contains(name));
    }
}

/// The names in Connection that are those of fields which go because of it.
#[derive(Debug, Default)]
pub struct Named(Vec<u8>);

impl Named {
    /// What Connection names in a message, without fields of one hop and those that must stay.
    #[must_use]
    pub fn by(fields: &Fields) -> Self {
        let mut named = Vec::new();
        for option in fields.get_all("Connection").flat_map(list) {
            // The usual options name fields that go or cannot be there, so most messages need no memory here.
            if !is_hop_by_hop(option)
                && !option.eq_ignore_ascii_case(b"close")
                && !contains(&NOT_REMOVABLE, option)
            {
                named.extend_from_slice(option);
                named.push(b',');
            }
        }
        Self(named)
    }

    /// Whether it names none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it names this one.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        !self.is_empty() && list(&self.0).any(|option| option.eq_ignore_ascii_case(name))
    }
}

/// Removes the fields that are of one hop by themselves. What Connection names must have gone before.
pub fn strip_unnamed(fields: &mut Fields) {
    fields.retain(|name, _| !is_hop_by_hop(name));
}

/// Whether a field called `name` may be forwarded in a trailer section.
#[must_use]
pub fn trailer_allowed(name: &[u8]) -> bool {
    let has_prefix = |prefix: &&[u8]| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    !is_hop_by_hop(name)
        && !contains(&NOT_IN_TRAILERS, name)
        && !NOT_IN_TRAILERS_PREFIX.iter().any(has_prefix)
}

fn contains(names: &[&[u8]], name: &[u8]) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripping() {
        for (input, expected) in [
            ("Host|X-A", "Host|X-A"),
            ("Host|CONNECTION=foo , x-a|X-A|X-B", "Host|X-B"),
            (
                "Host|Connection=Host, content-length|Content-Length",
                "Host|Content-Length",
            ),
            ("Connection=x-a|Connection=X-B|X-A|x-b|X-C", "X-C"),
            (
                "Keep-Alive|TE|Trailer|Upgrade|Proxy-Connection|Transfer-Encoding|HTTP2-Settings|X",
                "X",
            ),
            ("Connection=,,, ,|X", "X"),
            (
                "Proxy-Authorization|Authorization",
                "Proxy-Authorization|Authorization",
            ),
        ] {
            let mut fields = Fields::new();
            for item in input.split('|') {
                let (name, value) = item.split_once('=').unwrap_or((item, "v"));
                fields.push(name, value).unwrap();
            }
            strip_hop_by_hop(&mut fields);
            let names: Vec<_> = fields
                .iter()
                .map(|(name, _)| String::from_utf8_lossy(name))
                .collect();
            assert_eq!(names.join("|"), expected, "{input}");
        }
    }

    #[test]
    fn connection_tokens() {
        let mut fields = Fields::new();
        fields.push("Connection", "keep-alive").unwrap();
        fields.push("connection", "Upgrade, x-a").unwrap();
        for (name, expected) in [
            ("upgrade", true),
            ("X-A", true),
            ("Keep-Alive", true),
            ("x", false),
            ("", false),
        ] {
            assert_eq!(
                connection_lists(&fields, name.as_bytes()),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn trailers() {
        for (name, expected) in [
            ("X-Checksum", true),
            ("grpc-status", true),
            ("Server-Timing", true),
            ("ETag", true),
            ("Transfer-Encoding", false),
            ("CONTENT-LENGTH", false),
            ("Content-MD5", false),
            ("hOST", false),
            ("Trailer", false),
            ("Authorization", false),
            ("Set-Cookie", false),
            ("X-Forwarded-Proto", false),
            ("Proxy-Authorization", false),
            ("Sec-WebSocket-Accept", false),
        ] {
            assert_eq!(trailer_allowed(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn tables_are_in_order_and_in_lower_case() {
        for table in [
            &HOP_BY_HOP[..],
            &NOT_REMOVABLE,
            &NOT_IN_TRAILERS,
            &NOT_IN_TRAILERS_PREFIX,
        ] {
            assert!(
                table.is_sorted() && table.iter().all(|name| name.to_ascii_lowercase() == *name)
            );
        }
    }
}
