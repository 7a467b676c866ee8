//! URLs of this server: what redirects and mapped-back fields say
//! (`ap_construct_url`, core.html#usecanonicalname).

use relais_http1::split_host_port;
use relais_policy::Exchange;

use crate::core;

/// The absolute URL of a path of ours.
pub(crate) fn absolute(exchange: &Exchange<'_>, path: &[u8]) -> Vec<u8> {
    let scheme = scheme(exchange);
    let (host, port) = host_port(exchange);
    let mut url = scheme.as_bytes().to_vec();
    url.extend_from_slice(b"://");
    url.extend(host);
    let default = if scheme == "https" { 443 } else { 80 };
    if let Some(port) = port.filter(|&port| port != default) {
        url.extend_from_slice(format!(":{port}").as_bytes());
    }
    url.extend_from_slice(path);
    url
}

/// `http` or `https`, as `ServerName` or the connection says.
pub(crate) fn scheme<'a>(exchange: &'a Exchange<'_>) -> &'a str {
    let by_connection = if exchange.connection.secure {
        "https"
    } else {
        "http"
    };
    exchange
        .host
        .spec
        .server_scheme
        .as_deref()
        .unwrap_or(by_connection)
}

/// The name and the port that the server calls itself: the client's, or with
/// `UseCanonicalName On` those of `ServerName`.
pub(crate) fn host_port(exchange: &Exchange<'_>) -> (Vec<u8>, Option<u16>) {
    let spec = &exchange.host.spec;
    let own = || (spec.server_name.clone().into_bytes(), spec.server_port);
    if exchange
        .section_settings::<core::Section>()
        .canonical_name()
    {
        return own();
    }
    match exchange.fields().get("Host").and_then(split_host_port) {
        Some(client) => (
            client.host.to_ascii_lowercase(),
            client.port.or(spec.server_port),
        ),
        None => own(),
    }
}
