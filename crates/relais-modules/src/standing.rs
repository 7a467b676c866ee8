//! What relais makes of a directive or section, for reports about a whole
//! configuration.

use relais_policy::build::KnownState;

use crate::{MODULES, known};

/// What becomes of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It does what httpd does.
    Honoured {
        /// What it does otherwise, in one phrase; empty for nothing.
        difference: &'static str,
    },
    /// Accepted, with nothing to do; why.
    Harmless(&'static str),
    /// httpd has it, relais does not yet.
    NotYet,
    /// httpd has it, relais will not; why.
    Refused(&'static str),
    /// Nobody has it.
    Unknown,
}

/// What becomes of a directive, or of a section with its angle brackets, and
/// its name in httpd's spelling where it is known.
#[must_use]
pub fn standing(name: &str) -> (Option<&'static str>, Standing) {
    let same = |have: &str| have.eq_ignore_ascii_case(name);
    if let Some(section) = SECTIONS.iter().find(|section| same(section)) {
        return (Some(section), honoured(section));
    }
    let mut rows = MODULES.iter().flat_map(|module| module.directives());
    if let Some(row) = rows.find(|row| same(row.name)) {
        let standing = row
            .ignored
            .map_or_else(|| honoured(row.name), Standing::Harmless);
        return (Some(row.name), standing);
    }
    let Some(known) = known(name.trim_end_matches('>')) else {
        return (None, Standing::Unknown);
    };
    let standing = match known.state {
        KnownState::Harmless => Standing::Harmless(known.note),
        KnownState::NotYet => Standing::NotYet,
        KnownState::Refused => Standing::Refused(known.note),
    };
    (None, standing)
}

fn honoured(name: &'static str) -> Standing {
    let difference = DIFFERENCES.iter().find(|(have, _)| *have == name);
    Standing::Honoured {
        difference: difference.map_or("", |(_, difference)| difference),
    }
}

/// The sections that no module owns.
const SECTIONS: &[&str] = &[
    "<VirtualHost>",
    "<Directory>",
    "<DirectoryMatch>",
    "<Files>",
    "<FilesMatch>",
    "<Location>",
    "<LocationMatch>",
    "<Proxy>",
    "<ProxyMatch>",
    "<If>",
    "<ElseIf>",
    "<Else>",
    "<Limit>",
    "<LimitExcept>",
];

/// What is honoured and still not the same in httpd, of those differences that
/// `conformance/known-differences.toml`, `docs/tls.md` and the changelog have.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "AliasMatch",
        "a file's name that climbs through a group is a 403",
    ),
    (
        "DocumentRoot",
        "there are no listings, and one range of a file at a time",
    ),
    (
        "ErrorDocument",
        "an error on the way to the page ends with the first error's standard page",
    ),
    (
        "Group",
        "a log that is reopened later needs the rights of this group",
    ),
    (
        "HttpProtocolOptions",
        "requests are read strictly, and HTTP/0.9 is not spoken, whatever is said here",
    ),
    (
        "Options",
        "only the options about symbolic links count: there are no listings, no negotiation, no programs",
    ),
    (
        "ProxyErrorOverride",
        "for a HEAD the page of the error is asked for by HEAD, where httpd uses GET",
    ),
    ("ProxyIOBufferSize", "buffers are sized by what arrives"),
    (
        "ProxyTimeout",
        "an origin that is silent for so long is answered with 504, where httpd says 502",
    ),
    (
        "RewriteRule",
        "the origin of [P] is spoken to on kept connections; httpd opens one for each request",
    ),
    (
        "SSLCipherSuite",
        "the list chooses among the nine suites that there are",
    ),
    (
        "SSLProtocol",
        "TLS 1.2 and 1.3 are all there is to choose from",
    ),
    (
        "SSLProxyCheckPeerCN",
        "on, it checks the name as SSLProxyCheckPeerName does",
    ),
    (
        "SSLProxyCipherSuite",
        "the list chooses among the nine suites that there are",
    ),
    (
        "SSLProxyVerifyDepth",
        "the limit is not enforced: rustls has its own",
    ),
    (
        "SSLSessionCache",
        "any type is a cache in memory, whose size is a number of sessions",
    ),
    (
        "SSLSessionCacheTimeout",
        "the time is not enforced: rustls has its own",
    ),
    (
        "SSLSessionTickets",
        "the keys are made and rotated by relais",
    ),
    (
        "SSLVerifyDepth",
        "the limit is not enforced: rustls has its own",
    ),
    (
        "ServerTokens",
        "relais' own answers name relais in their Server field, not Apache",
    ),
    (
        "Timeout",
        "an origin that is silent for so long is answered with 504, where httpd says 502",
    ),
    (
        "User",
        "afterwards a reload cannot open a port below 1024 that was not open before",
    ),
];

/// What differs from httpd whatever a configuration says.
pub const EVERYWHERE: &[&str] = &[
    "an upgrade that RFC 6455 calls invalid is a 400 (426 for a foreign version), and a 101 that does not fit it is a 502; httpd opens a tunnel",
    "an ambiguous request (a folded field, a Content-Length beside Transfer-Encoding) is a 400; httpd takes it in one of two ways",
    "bytes from an origin that are no HTTP/1 answer are a 502; httpd sends them on as HTTP/0.9",
    "trailers that may go on do, and a chunked request body stays chunked; httpd drops trailers and may send a length",
    "CONNECT is a 405; httpd forwards it as if it were any other method",
    "a reload, by HUP too, cuts no connection and no tunnel whose route is still there; tunnels that relais ends get a Close frame",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_becomes_of_them() {
        let plain = Standing::Honoured { difference: "" };
        let table: &[(&str, Option<&str>, bool)] = &[
            ("proxypass", Some("ProxyPass"), true),
            ("<location>", Some("<Location>"), true),
            ("ServerAlias", Some("ServerAlias"), true),
            ("NoSuchThing", None, false),
        ];
        for &(name, proper, honoured) in table {
            let (found, standing) = standing(name);
            assert_eq!(found, proper, "{name}");
            assert_eq!(standing == plain, honoured, "{name}");
        }
        assert_eq!(standing("NoSuchThing").1, Standing::Unknown);
        assert!(matches!(
            standing("MaxRequestWorkers").1,
            Standing::Harmless(_)
        ));
        assert!(matches!(
            standing("ProxyExpressEnable").1,
            Standing::Refused(_)
        ));
    }

    #[test]
    fn differences_are_of_names_that_are_honoured() {
        for (name, difference) in DIFFERENCES {
            assert_eq!(
                standing(name).1,
                Standing::Honoured { difference },
                "{name}"
            );
        }
    }
}
