//! `SetHandler` and `ForceType`: who answers a request, and as what.
//!
//! httpd's `core_override_type` (core.html#sethandler): the value is a text
//! with variables, in lower case unless it names a Unix socket, and `none`
//! leaves things as they are. A name that no module has is no error in httpd:
//! the file is sent as it is. Here a name whose module would not have sent the
//! file is refused, since its source would go out instead of what it makes.

use std::borrow::Cow;
use std::sync::Arc;

use relais_conf::{Diagnostic, Text};
use relais_expr::{State, StringExpression};
use relais_policy::{Decision, Exchange, Flow, Module, Problem, Respond, SetResult, Slot};

use super::{Core, Section};
use crate::{mod_proxy, values};

/// The handler of the server's status page.
pub(crate) const STATUS: &[u8] = b"server-status";

/// The handler of the tunnels' metrics.
pub(crate) const TUNNEL_METRICS: &[u8] = b"tunnel-metrics";

/// The handler of the page that changes balancers.
pub(crate) const MANAGER: &[u8] = b"balancer-manager";

/// The handler of files.
const DEFAULT: &[u8] = b"default-handler";

/// Handlers of modules that relais has not, with the reason. A name that ends
/// in `*` stands for all that begin with it.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cgi-script", "relais runs no programs for requests"),
    ("fcgid-script", "relais runs no programs for requests"),
    ("lsapi-script", "relais runs no programs for requests"),
    ("isapi-handler", "there is no code inside of the server"),
    ("lua-script", "there are no scripts inside of the server"),
    ("modperl", "there are no scripts inside of the server"),
    ("perl-script", "there are no scripts inside of the server"),
    ("mod_python", "there are no scripts inside of the server"),
    (
        "python-program",
        "there are no scripts inside of the server",
    ),
    ("wsgi-script", "there are no scripts inside of the server"),
    ("php*", "there are no scripts inside of the server"),
    ("x-httpd-php*", "there are no scripts inside of the server"),
    (
        "application/x-httpd-php*",
        "there are no scripts inside of the server",
    ),
    (
        "application/x-httpd-lsphp",
        "there are no scripts inside of the server",
    ),
    ("server-parsed", "relais has no server-side includes"),
    (
        "send-as-is",
        "relais sends no files that hold their own header fields",
    ),
    ("imap-file", "relais has no image maps"),
    ("ldap-status", "relais has no LDAP"),
    (
        "server-info",
        "it would show the whole configuration to whoever can ask; `relais -S` and `relais explain` say more on the machine itself",
    ),
];

/// The handler of `SetHandler`.
pub(super) fn set(slot: &mut Slot<'_, Core>, word: &Text) -> SetResult {
    let text = values::text(word, 0)?;
    if let Some(name) = text.as_literal() {
        check(slot, word, name)?;
    }
    slot.section.handler = Some(Arc::new(text));
    Ok(())
}

/// The handler of `ForceType`.
pub(super) fn set_type(slot: &mut Slot<'_, Core>, word: &Text) -> SetResult {
    let kind = word.bytes().to_ascii_lowercase();
    slot.section.forced_type = Some(if kind == b"none" { Vec::new() } else { kind });
    Ok(())
}

/// Refuses a handler whose absence would do harm; warns of a name that nobody
/// has.
pub(crate) fn check<M: Module>(slot: &mut Slot<'_, M>, word: &Text, name: &[u8]) -> SetResult {
    let name = normal(name.to_vec());
    if let Some(target) = name.strip_prefix(b"proxy:") {
        return mod_proxy::check_handler(word, target);
    }
    if let Some(why) = elsewhere(&name) {
        let message = format!("there is no handler `{}`: {why}", name.escape_ascii());
        return Err(Problem::at(word.span(), message).with_help(
            "ProxyPass or SetHandler \"proxy:http://…\" send such requests to a server that has it",
        ));
    }
    let known: [&[u8]; 6] = [
        b"none",
        DEFAULT,
        STATUS,
        MANAGER,
        TUNNEL_METRICS,
        b"proxy-server",
    ];
    if !known.contains(&name.as_slice()) {
        let message = format!(
            "no module here has a handler `{}`: files are sent as they are",
            name.escape_ascii()
        );
        slot.diagnostics
            .push(Diagnostic::warning("RC0323", word.span(), message));
    }
    Ok(())
}

fn elsewhere(name: &[u8]) -> Option<&'static str> {
    let same = |have: &str| match have.strip_suffix('*') {
        Some(start) => name.starts_with(start.as_bytes()),
        None => name == have.as_bytes(),
    };
    let found = ELSEWHERE.iter().find(|(have, _)| same(have));
    found.map(|(_, why)| *why)
}

/// A handler's name as it is compared: in lower case, but for a path of a
/// socket, whose case counts.
fn normal(mut name: Vec<u8>) -> Vec<u8> {
    if !name.starts_with(b"proxy:unix") {
        name.make_ascii_lowercase();
    }
    name
}

impl Section {
    /// `ForceType`; `None` leaves a file's type to its name.
    pub(crate) fn forced_type(&self) -> Option<&[u8]> {
        self.forced_type.as_deref().filter(|kind| !kind.is_empty())
    }
}

/// Says who answers where `SetHandler` does; it comes before all other fixups.
pub(crate) fn fixup(exchange: &mut Exchange<'_>) -> Flow {
    let Some(text) = exchange.section_settings::<Section>().handler.clone() else {
        return Flow::Declined;
    };
    let name = normal(value(exchange, &text));
    if name != b"none" {
        exchange.handler = Some(Cow::Owned(name));
    }
    Flow::Declined
}

fn value(exchange: &Exchange<'_>, text: &StringExpression) -> Vec<u8> {
    let mut name = Vec::new();
    text.eval(exchange, &mut State::default(), &mut name);
    name
}

/// Refuses a file whose handler relais has not: `SetHandler` with variables
/// can ask for one that could not be refused beforehand.
pub(crate) fn respond(exchange: &mut Exchange<'_>) -> Flow {
    let missing = exchange.handler.as_deref().and_then(elsewhere);
    match missing {
        None => Flow::Declined,
        Some(why) => {
            let name = exchange
                .handler
                .as_deref()
                .unwrap_or_default()
                .escape_ascii();
            let log = format!("there is no handler `{name}`: {why}");
            Flow::Decide(Decision::Respond(Respond::logged(500, log)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let table: &[(&str, &str)] = &[
            ("Server-Status", "server-status"),
            ("proxy:HTTP://O", "proxy:http://o"),
            ("proxy:unix:/Run/S|http://o", "proxy:unix:/Run/S|http://o"),
        ];
        for &(name, expected) in table {
            assert_eq!(normal(name.into()), expected.as_bytes(), "{name}");
        }
        assert!(elsewhere(b"php8.2-script").is_some());
        assert!(elsewhere(b"cgi-scripts").is_none());
    }
}
