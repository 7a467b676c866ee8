//! WebSockets are carried, and nothing says how long they may be idle.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::{View, has_scheme, is_websocket};

pub(super) const RULE: Rule = Rule {
    code: "RC0421",
    name: "no-tunnel-timeout",
    summary: "WebSockets are carried, and nothing says how long they may be idle",
    doc: "A tunnel ends when nothing came for the longer of the two sockets' time-outs, 60 seconds unless \
          something says otherwise. Applications that send less often lose their connection. Say it with \
          `ProxyWebsocketIdleTimeout`, `timeout=` on the `ProxyPass`, `ProxyTimeout`, `Timeout`, or \
          `TunnelIdleTimeout`.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    const SAYING: [&str; 4] = [
        "Timeout",
        "ProxyTimeout",
        "ProxyWebsocketIdleTimeout",
        "TunnelIdleTimeout",
    ];
    let by_name = view
        .lines()
        .any(|line| SAYING.iter().any(|name| line.is(name)));
    let by_option = view.lines().filter(|line| {
        ["ProxyPass", "ProxyPassMatch", "ProxySet", "BalancerMember"]
            .iter()
            .any(|name| line.is(name))
    });
    let by_option = by_option.into_iter().any(|line| {
        let mut words = line.words().into_iter();
        words.any(|word| has_scheme(&word, &["timeout="]))
    });
    if by_name || by_option || view.incomplete {
        return;
    }
    let pass = view
        .passes()
        .find(|pass| pass.carries_websockets())
        .map(|pass| &pass.target);
    let rule = view
        .rules()
        .map(|rule| &rule.substitution)
        .find(|target| is_websocket(target));
    if let Some(target) = pass.or(rule) {
        let message =
            "WebSockets go this way, and nothing says how long they may be idle: 60 seconds";
        found.push(
            RULE.note(target.span(), message)
                .with_help("say it with `ProxyWebsocketIdleTimeout` or `timeout=`"),
        );
    }
}
