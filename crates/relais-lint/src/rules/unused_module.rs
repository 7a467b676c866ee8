//! A module is loaded and not used.

use relais_conf::{Diagnostic, Diagnostics, Text};

use crate::Rule;
use crate::view::{View, has_scheme};

pub(super) const RULE: Rule = Rule {
    code: "RC0423",
    name: "unused-module",
    summary: "a module is loaded and not used",
    doc: "The module does nothing unless one of its directives or targets is there, and none is. Judged are \
          only modules for which this can be said for certain.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    if view.incomplete {
        return;
    }
    for line in view.lines().filter(|line| line.is("LoadModule")) {
        let words = line.words();
        let Some(name) = words.first() else { continue };
        if let Some(what) = BY_DIRECTIVE
            .iter()
            .find(|(module, _)| name.eq_ignore_case(module))
            && !view.lines().any(|line| {
                what.1
                    .iter()
                    .any(|start| starts_with(&line.directive.name, start))
            })
        {
            found.push(unused(name));
        }
        if let Some((_, schemes)) = BY_TARGET
            .iter()
            .find(|(module, _)| name.eq_ignore_case(module))
            && !uses_scheme(view, schemes)
        {
            found.push(unused(name));
        }
    }
}

fn unused(name: &Text) -> Diagnostic {
    RULE.note(
        name.span(),
        format!("nothing in this configuration uses {}", name.lossy()),
    )
}

fn uses_scheme(view: &View<'_>, schemes: &[&str]) -> bool {
    let by_route = view
        .servers
        .iter()
        .flat_map(|server| server.targets())
        .any(|target| has_scheme(target, schemes));
    by_route
        || view
            .passes()
            .any(|pass| schemes.contains(&"ws://") && pass.carries_websockets())
        || view.lines().any(|line| {
            (line.is("BalancerMember") || line.is("SetHandler") || line.is("ProxyRemote"))
                && schemes
                    .iter()
                    .any(|scheme| line.directive.args.lossy().contains(scheme))
        })
}

fn starts_with(name: &Text, start: &str) -> bool {
    name.bytes()
        .get(..start.len())
        .is_some_and(|have| have.eq_ignore_ascii_case(start.as_bytes()))
}

/// Modules that do nothing without a directive whose name starts so.
const BY_DIRECTIVE: [(&str, &[&str]); 11] = [
    ("rewrite_module", &["Rewrite"]),
    ("headers_module", &["Header", "RequestHeader"]),
    ("env_module", &["SetEnv", "PassEnv", "UnsetEnv"]),
    ("setenvif_module", &["SetEnvIf", "BrowserMatch"]),
    ("expires_module", &["Expires"]),
    ("substitute_module", &["Substitute"]),
    ("proxy_html_module", &["ProxyHTML"]),
    ("remoteip_module", &["RemoteIP"]),
    ("ssl_module", &["SSL"]),
    ("ext_filter_module", &["ExtFilter"]),
    (
        "proxy_balancer_module",
        &["BalancerMember", "ProxyPass", "SetHandler"],
    ),
];

/// Modules that do nothing without a target of such a scheme.
const BY_TARGET: [(&str, &[&str]); 4] = [
    ("proxy_wstunnel_module", &["ws://", "wss://"]),
    ("proxy_fcgi_module", &["fcgi://", "unix:"]),
    ("proxy_ajp_module", &["ajp://"]),
    ("proxy_uwsgi_module", &["uwsgi://", "unix:"]),
];
