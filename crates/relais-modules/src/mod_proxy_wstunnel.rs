//! mod_proxy_wstunnel: only its switch, since mod_proxy_http does its work.

use relais_policy::{Context, Directive, Module, Problem, Set};

use crate::values;

/// mod_proxy_wstunnel.
pub struct Wstunnel;

impl Module for Wstunnel {
    const NAME: &'static str = "mod_proxy_wstunnel";
    const IDENTIFIER: &'static str = "proxy_wstunnel_module";
    type Host = ();
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[Directive {
        name: "ProxyWebsocketFallbackToProxyHttp",
        syntax: "ProxyWebsocketFallbackToProxyHttp On|Off",
        context: Context::ANY,
        default: Some("On"),
        doc: "Whether ws:// targets are handled as http:// with upgrade=websocket.",
        accepts: &["ProxyWebsocketFallbackToProxyHttp On"],
        refuses: &[
            "ProxyWebsocketFallbackToProxyHttp Off",
            "ProxyWebsocketFallbackToProxyHttp",
            "ProxyWebsocketFallbackToProxyHttp x",
        ],
        set: Set::Take1(|_, word| {
            if values::on_off(word, "ProxyWebsocketFallbackToProxyHttp")? {
                return Ok(());
            }
            Err(Problem::not_yet(
                word.span(),
                "ProxyWebsocketFallbackToProxyHttp Off is not implemented yet",
            ))
        }),
    }];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(_outer: &(), _inner: &()) {}
}
