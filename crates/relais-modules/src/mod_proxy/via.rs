//! `Via`: which proxies a message has come through (RFC 9110 §7.6.3).

use relais_http1::{FieldError, Fields, Version};
use relais_policy::Exchange;

use super::Host;
use crate::own_url;

/// `ProxyVia`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Via {
    /// Fields are left as they are.
    Off,
    /// This server adds itself.
    On,
    /// So it does, with its version.
    Full,
    /// All fields are removed from requests and answers.
    Block,
}

/// Adds this server to a request's `Via`, or takes the field away. `version`
/// is the one in which the message was received.
///
/// # Errors
/// When the fields are full.
pub(crate) fn apply(
    exchange: &Exchange<'_>,
    version: Version,
    fields: &mut Fields,
) -> Result<(), FieldError> {
    match own(exchange, version, fields) {
        Some(own) => fields.append("Via", own),
        None => Ok(()),
    }
}

/// The same for an answer, where httpd adds a field of its own.
pub(super) fn apply_to_answer(exchange: &Exchange<'_>, version: Version, fields: &mut Fields) {
    if let Some(own) = own(exchange, version, fields) {
        // An answer whose fields are full is passed on without.
        let _ = fields.push("Via", own);
    }
}

fn own(exchange: &Exchange<'_>, version: Version, fields: &mut Fields) -> Option<Vec<u8>> {
    match exchange.host_settings::<Host>().via() {
        Via::Off => None,
        Via::Block => {
            fields.remove("Via");
            None
        }
        via => Some(pseudonym(exchange, version, via == Via::Full)),
    }
}

fn pseudonym(exchange: &Exchange<'_>, version: Version, full: bool) -> Vec<u8> {
    let number = match version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
        Version::Http2 => "2.0",
    };
    let spec = &exchange.host.spec;
    let default = if own_url::scheme(exchange) == "https" {
        443
    } else {
        80
    };
    let mut value = format!("{number} {}", spec.server_name);
    let (_, port) = own_url::host_port(exchange);
    if let Some(port) = port.filter(|&port| port != default) {
        value.push_str(&format!(":{port}"));
    }
    if full {
        value.push_str(&format!(" ({})", spec.server_tokens));
    }
    value.into_bytes()
}
