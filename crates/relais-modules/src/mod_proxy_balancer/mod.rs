//! mod_proxy_balancer's manager: a page that shows balancers and changes them
//! while they run (mod_proxy_balancer.html#balancer_manager).
//!
//! As in httpd a change needs the balancer's nonce, which the page itself hands
//! out, and a `Referer` of this server, so that no other site can have a
//! browser make one; who may see the page is for `Require` to say. Names of
//! parameters are httpd's; `w_tunnels=drain`, which ends the tunnels to a
//! member, is relais' own.

mod form;
mod page;
mod xml;

use std::sync::Arc;

use relais_expr::{Lookup as _, Variable};
use relais_http1::split_host_port;
use relais_policy::{
    BalancerStatus, Change, Decision, Directive, Edit, Exchange, Flow, Lookup, Module, Respond,
    Running,
};
use relais_telemetry::Level;

use self::form::{Known, Params};
use crate::{core, mod_proxy, own_url};

/// mod_proxy_balancer.
pub struct ProxyBalancer;

impl Module for ProxyBalancer {
    const NAME: &'static str = "mod_proxy_balancer";
    const IDENTIFIER: &'static str = "proxy_balancer_module";
    type Host = ();
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(_outer: &(), _inner: &()) {}
}

/// The longest form that is read (httpd's `HUGE_STRING_LEN`).
const FORM_MAX: usize = 8192;

/// By what the answer of the running server is found.
const KEY: &[u8] = b"balancer-manager";

/// A balancer, and one of its members.
type Place = (usize, Option<usize>);

/// What was found and done.
#[derive(Default)]
struct Found {
    balancers: Vec<BalancerStatus>,
    /// The balancer and the member that the page is about; what they name is
    /// there, and the nonce was right.
    chosen: Option<Place>,
    done: Vec<String>,
}

/// The handler `balancer-manager`.
pub(crate) fn respond(exchange: &mut Exchange<'_>) -> Flow {
    let ours = exchange.handler.as_deref() == Some(core::MANAGER) && exchange.proxy.is_none();
    if !ours || !matches!(exchange.head.method(), b"GET" | b"HEAD" | b"POST") {
        return Flow::Declined;
    }
    if exchange.head.method() == b"POST" && exchange.body.is_none() {
        return Flow::Body(FORM_MAX);
    }
    let mut params = Params::read(exchange.query.as_deref().unwrap_or_default());
    params.extend(exchange.body.as_deref().unwrap_or_default());
    let Some(found) = exchange.answer::<Arc<Found>>(KEY) else {
        if !params.is_empty() && !is_own_page(exchange) {
            let log = "AH10187: ignoring params in balancer-manager cross-site access";
            exchange.note("proxy_balancer", Level::Error, || log.to_owned());
            params = Params::default();
        }
        return ask(exchange, params);
    };
    let found = Arc::clone(found);
    for line in &found.done {
        let client = exchange.client.ip();
        exchange.note("proxy_balancer", Level::Notice, || {
            format!("balancer-manager: {line}, as {client} has asked")
        });
    }
    // Without the right nonce nothing that was asked for is shown either.
    let wants_xml = found.chosen.is_some() && params.get("xml").is_some_and(|value| value == "1");
    let respond = if wants_xml {
        answer("text/xml", xml::page(&found.balancers))
    } else {
        answer("text/html; charset=ISO-8859-1", html(exchange, &found))
    };
    Flow::Decide(Decision::Respond(respond))
}

/// Has the running server asked and changed.
fn ask(exchange: &Exchange<'_>, params: Params) -> Flow {
    let host = exchange.host.index;
    let running = exchange.running.map(|running| running());
    let proxy = exchange.host_settings::<mod_proxy::Host>();
    let known = Known {
        defaults: proxy.defaults(exchange.host.spec.timeout),
        conditions: proxy.health_conditions().to_vec(),
    };
    Flow::Wait(Lookup::new(KEY, move || {
        let found = running.map(|running| manage(&*running, host, &params, &known));
        Arc::new(found.unwrap_or_default())
    }))
}

fn manage(running: &dyn Running, host: usize, params: &Params, known: &Known) -> Found {
    let balancers = running.balancers(host);
    let Some((chosen, edits)) = choose(&balancers, params, known) else {
        return Found {
            balancers,
            ..Found::default()
        };
    };
    let (balancer, member) = chosen;
    let of = balancers.get(balancer);
    let member = member.and_then(|member| of?.members.get(member));
    let change = of.map(|balancer| Change {
        balancer: balancer.name.clone(),
        member: member.map(|member| member.url.clone()),
        edits,
    });
    let done = match change {
        Some(change) if !change.edits.is_empty() => running.change(host, &change),
        _ => Vec::new(),
    };
    Found {
        balancers: if done.is_empty() {
            balancers
        } else {
            running.balancers(host)
        },
        chosen: Some(chosen),
        done,
    }
}

/// What the parameters name, and what they change of it; `None` where there is
/// no such thing or the nonce is wrong.
type Chosen = (Place, Vec<Edit>);

fn choose(balancers: &[BalancerStatus], params: &Params, known: &Known) -> Option<Chosen> {
    let nonce = params.get("nonce").unwrap_or_default();
    let Some(name) = params.get("b") else {
        // The XML of all balancers needs the nonce of one.
        let one = balancers
            .iter()
            .position(|balancer| balancer.nonce == nonce)?;
        return params.get("xml").map(|_| ((one, None), Vec::new()));
    };
    let name = format!("balancer://{}", name.to_ascii_lowercase());
    let index = balancers
        .iter()
        .position(|balancer| balancer.name == name)?;
    let balancer = balancers
        .get(index)
        .filter(|balancer| balancer.nonce == nonce)?;
    match params.get("w") {
        None => Some(((index, None), form::of_balancer(params, balancer, known))),
        Some(url) => {
            let at = balancer
                .members
                .iter()
                .position(|member| member.url == url)?;
            let edits = balancer
                .members
                .get(at)
                .map(|member| form::of_member(params, member, known));
            Some(((index, Some(at)), edits.unwrap_or_default()))
        }
    }
}

/// Whether the request comes from a page of this server (`safe_referer`).
fn is_own_page(exchange: &Exchange<'_>) -> bool {
    let text = |variable| {
        let mut text = Vec::new();
        exchange.variable(&variable, &mut text);
        text
    };
    let referer = exchange.fields().get("Referer").unwrap_or_default();
    let Some((scheme, rest)) = referer
        .windows(3)
        .position(|three| three == b"://")
        .map(|at| (&referer[..at], &referer[at + 3..]))
    else {
        return false;
    };
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let Some(host) = split_host_port(&rest[..end.unwrap_or(rest.len())]) else {
        return false;
    };
    let default = if scheme.eq_ignore_ascii_case(b"https") {
        443
    } else {
        80
    };
    let port = host.port.unwrap_or(default).to_string();
    host.host.eq_ignore_ascii_case(&text(Variable::ServerName))
        && port.as_bytes() == text(Variable::ServerPort)
}

fn html(exchange: &Exchange<'_>, found: &Found) -> Vec<u8> {
    let mut name = Vec::new();
    exchange.variable(&Variable::ServerName, &mut name);
    let host = exchange.host_settings::<mod_proxy::Host>();
    page::page(&page::Facts {
        name,
        version: &exchange.host.spec.server_tokens,
        path: &exchange.path,
        action: own_url::absolute(exchange, &exchange.path),
        balancers: &found.balancers,
        chosen: found.chosen,
        path_of: &|name| host.path_of_balancer(name),
        inherits: host.inherits(),
        conditions: host.health_conditions(),
    })
}

fn answer(kind: &str, body: Vec<u8>) -> Respond {
    Respond {
        fields: vec![("Content-Type", kind.as_bytes().to_vec())],
        body: Some(body),
        ..Respond::status(200)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relais_policy::BalancerSettings;

    fn balancer(name: &str, nonce: &str) -> BalancerStatus {
        BalancerStatus {
            name: format!("balancer://{name}"),
            nonce: nonce.to_owned(),
            members_max: 2,
            settings: BalancerSettings::default(),
            members: vec![form::tests::member("http://a/m")],
        }
    }

    #[test]
    fn who_may_change_what() {
        let balancers = [balancer("one", "secret"), balancer("open", "")];
        let table: &[(&str, Option<Place>)] = &[
            ("", None),
            ("b=one&nonce=secret", Some((0, None))),
            ("b=ONE&nonce=secret", Some((0, None))),
            ("b=one&nonce=other", None),
            ("b=one", None),
            ("b=none&nonce=secret", None),
            ("b=one&w=http://a/m&nonce=secret", Some((0, Some(0)))),
            (
                "b=one&w=http%3A%2F%2Fa%2Fm&nonce=secret",
                Some((0, Some(0))),
            ),
            ("b=one&w=http://a&nonce=secret", None),
            ("b=open", Some((1, None))),
            ("xml=1&nonce=secret", Some((0, None))),
            ("xml=1&nonce=x", None),
        ];
        for &(query, expected) in table {
            let params = Params::read(query.as_bytes());
            let chosen =
                choose(&balancers, &params, &form::tests::known()).map(|(chosen, _)| chosen);
            assert_eq!(chosen, expected, "{query}");
        }
    }
}
