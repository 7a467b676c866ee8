//! The embedded demonstration: a configuration like those that people bring, and an origin for it to point at.
//!
//! It shows a browser's message on its way through a tunnel and back without anything to install or write first.

mod http;
mod origin;
mod sockjs;

use std::net::SocketAddr;

pub(crate) use origin::Origin;

/// The configuration, with places for the two addresses.
const TEMPLATE: &str = include_str!("demo.conf");

/// An ordinary httpd configuration that listens on `listen` and passes everything on to `origin`.
pub(crate) fn configuration(listen: SocketAddr, origin: SocketAddr) -> String {
    TEMPLATE
        .replace("@LISTEN@", &listen.to_string())
        .replace("@ORIGIN@", &origin.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_filled_in() {
        let text = configuration(([127, 0, 0, 1], 8080).into(), ([127, 0, 0, 1], 4711).into());
        for line in [
            "Listen 127.0.0.1:8080",
            "RewriteRule /eventbus/(.*)$ ws://127.0.0.1:4711/eventbus/$1 [proxy,last]",
            "RewriteRule /eventbus/(.*)$ http://127.0.0.1:4711/eventbus/$1 [proxy,last]",
            "ProxyPassReverse /eventbus http://127.0.0.1:4711/eventbus",
            "ProxyPass / http://127.0.0.1:4711/",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(!text.contains('@'), "{text}");
    }
}
