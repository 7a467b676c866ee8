//! A path with plain requests goes wholly to a ws:// target.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::{View, is_websocket};

pub(super) const RULE: Rule = Rule {
    code: "RC0435",
    name: "polling-to-websocket",
    summary: "a path with plain requests goes wholly to a ws:// target",
    doc: "Socket.IO and SockJS start with plain requests and only then upgrade. Since 2.4.48 httpd forwards \
          plain requests to a `ws://` target as HTTP, so this works; before it did not. `http://` with \
          `upgrade=websocket` says the same in plain words.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    for pass in view
        .passes()
        .filter(|pass| !pass.pattern && is_websocket(&pass.target))
    {
        let path = pass.path.lossy().to_ascii_lowercase();
        if path.contains("socket.io") || path.contains("sockjs") || path.contains("signalr") {
            let note = RULE.note(
                pass.target.span(),
                "plain requests to this path go to the ws:// target too, as HTTP",
            );
            let text = pass.target.lossy();
            let http = format!("http{}", text.get(2..).unwrap_or(""));
            found.push(
                note.with_suggestion(pass.target.span(), format!("{http} upgrade=websocket")),
            );
        }
    }
}
