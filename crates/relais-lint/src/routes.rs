//! The ways that a configuration has from clients to origins.

use relais_conf::{Loaded, Span};

use crate::view::{Server, View, is_websocket};

/// One way from clients to an origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// `ServerName`, else the addresses of the virtual host, else `main server`.
    pub host: String,
    /// The path or pattern of clients' requests.
    pub path: String,
    /// The origin's URL, with its back-references.
    pub target: String,
    /// Whether WebSockets may go this way.
    pub websocket: bool,
    /// The line that says so.
    pub span: Span,
}

/// All routes, by servers in file order: first rewriting rules, which are asked first, then `ProxyPass`.
#[must_use]
pub fn routes(loaded: &Loaded) -> Vec<Route> {
    let view = View::new(&loaded.tree, false);
    view.servers.iter().flat_map(of_server).collect()
}

fn of_server(server: &Server<'_>) -> Vec<Route> {
    let host = name(server);
    let rules = server.rules.iter().filter(|rule| rule.proxies());
    let rules = rules.map(|rule| Route {
        host: host.clone(),
        path: rule.pattern.lossy().into_owned(),
        target: rule.substitution.lossy().into_owned(),
        websocket: is_websocket(&rule.substitution),
        span: rule.line.directive.span,
    });
    let passes = server.passes.iter().filter(|pass| !pass.is_exclusion());
    let passes = passes.map(|pass| Route {
        host: host.clone(),
        path: pass.path.lossy().into_owned(),
        target: pass.target.lossy().into_owned(),
        websocket: pass.carries_websockets(),
        span: pass.line.directive.span,
    });
    rules.chain(passes).collect()
}

fn name(server: &Server<'_>) -> String {
    let named = server.named("ServerName").last();
    let word = named.and_then(|line| line.words().into_iter().next());
    match (word, server.section) {
        (Some(word), _) => word.lossy().into_owned(),
        (None, Some(section)) => section.args.lossy().into_owned(),
        (None, None) => "main server".to_owned(),
    }
}
