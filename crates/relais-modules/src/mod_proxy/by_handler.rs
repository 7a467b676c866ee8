//! `SetHandler "proxy:URL"`: a request is proxied for who answers it, and not
//! for its path (mod_proxy.html#handler).
//!
//! As in httpd the name of the file that the request is mapped to is added to
//! the URL, and what follows a file in the path is left out.

use relais_conf::Text;
use relais_policy::{Exchange, Flow, Problem, ProxyUrl, SetResult};

use super::{canonical, url};

/// Refuses a target that relais does not speak to; `word` is the whole
/// argument, whose last part `target` is.
pub(crate) fn check(word: &Text, target: &[u8]) -> SetResult {
    let target = word.slice(word.len() - target.len()..word.len());
    url::check_target(&target, target.len()).map_err(|problem| {
        if problem.help.is_some() {
            return problem;
        }
        Problem {
            not_yet: problem.not_yet,
            ..problem.with_help("the form is `SetHandler \"proxy:http://host:port\"`")
        }
    })
}

/// Sends the request to the URL that its handler names.
pub(crate) fn respond(exchange: &mut Exchange<'_>) -> Flow {
    let target = match exchange.handler.as_deref() {
        Some(handler) if exchange.proxy.is_none() => handler.strip_prefix(b"proxy:"),
        _ => None,
    };
    let Some(target) = target.map(<[u8]>::to_vec) else {
        return Flow::Declined;
    };
    let file = match &exchange.file {
        // Without a DocumentRoot the path is all that there is.
        None => exchange.path.clone(),
        Some(file) => file.clone(),
    };
    exchange.proxy = Some(ProxyUrl {
        url: [target, file].concat(),
        no_canonical: false,
        rule: None,
        has_query: false,
    });
    canonical::canonicalise(exchange)
}
