//! The target in the spelling that goes out (`ap_proxy_canon_netloc`,
//! `proxy_http_canon`).

use relais_policy::uri::EncodedSlashes;
use relais_policy::{Decision, Exchange, Flow, ProxyUrl, Respond};

use super::url;

/// mod_proxy's part of `fixups`: the target in the spelling that goes out,
/// with the query.
pub(crate) fn canonicalise(exchange: &mut Exchange<'_>) -> Flow {
    let Some(proxy) = exchange.proxy.take() else {
        return Flow::Declined;
    };
    match canonical(exchange, &proxy) {
        Ok(url) => {
            exchange.proxy = Some(ProxyUrl {
                url,
                no_canonical: true,
                rule: proxy.rule,
                has_query: true,
            });
            Flow::Declined
        }
        Err(respond) => Flow::Decide(Decision::Respond(respond)),
    }
}

fn canonical(exchange: &Exchange<'_>, proxy: &ProxyUrl) -> Result<Vec<u8>, Respond> {
    let Some(parts) = url::split(&proxy.url) else {
        return Err(Respond::logged(
            400,
            format!("error parsing URL {}", proxy.url.escape_ascii()),
        ));
    };
    let path = parts.path.strip_prefix(b"/").unwrap_or(parts.path);
    let mut out =
        Vec::with_capacity(proxy.url.len() + exchange.query.as_ref().map_or(0, Vec::len) + 8);
    if let Some(socket) = parts.socket {
        out.extend_from_slice(b"unix:");
        out.extend_from_slice(socket);
        out.push(b'|');
    }
    out.extend(parts.scheme.iter().map(u8::to_ascii_lowercase));
    out.extend_from_slice(b"://");
    out.extend_from_slice(without_default_port(parts.scheme, parts.authority));
    out.push(b'/');
    if proxy.no_canonical {
        if url::has_control_or_space(path) {
            return Err(Respond::logged(
                403,
                "To be forwarded path contains control characters or spaces",
            ));
        }
        out.extend_from_slice(path);
    } else {
        let keep = exchange.host.path_rules().encoded_slashes == EncodedSlashes::NoDecode;
        url::encode_path(path, keep, &mut out);
    }
    if let Some(query) = exchange.query.as_ref().filter(|_| !proxy.has_query) {
        if url::has_control_or_space(query) {
            return Err(Respond::logged(
                403,
                "To be forwarded query string contains control characters or spaces",
            ));
        }
        out.push(b'?');
        out.extend_from_slice(query);
    }
    Ok(out)
}

fn without_default_port<'a>(scheme: &[u8], authority: &'a [u8]) -> &'a [u8] {
    let default = relais_policy::Scheme::parse(scheme).map(|scheme| scheme.port());
    let colon = authority.iter().rposition(|&byte| byte == b':');
    let host = colon.map(|colon| authority.split_at(colon));
    host.filter(|(_, port)| default.is_some() && decimal(&port[1..]) == default)
        .map(|(host, _)| host)
        .filter(|host| !host.is_empty())
        .unwrap_or(authority)
}

/// The number that digits spell without a zero in front.
fn decimal(digits: &[u8]) -> Option<u16> {
    let plain = !digits.starts_with(b"0") && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()
}
