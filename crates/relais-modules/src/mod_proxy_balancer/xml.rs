//! `?xml=1`: the balancers for machines.

use std::fmt::Write as _;

use relais_policy::{BalancerStatus, MemberStatusNow, Sticky};

use crate::mod_proxy::status_words;
use crate::mod_status::safe;

/// The page, with httpd's elements.
pub(super) fn page(balancers: &[BalancerStatus]) -> Vec<u8> {
    let mut out = "<?xml version='1.0' encoding='UTF-8' ?>\n<httpd:manager xmlns:httpd='http://httpd.apache.org'>\n  \
                   <httpd:balancers>\n"
        .to_owned();
    for one in balancers {
        balancer(&mut out, one);
    }
    out.push_str("  </httpd:balancers>\n</httpd:manager>");
    out.into_bytes()
}

fn element(out: &mut String, depth: usize, name: &str, value: impl ToString) {
    let indent = "  ".repeat(depth);
    let value = safe(value.to_string());
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{indent}<httpd:{name}>{value}</httpd:{name}>");
}

fn on_off(on: bool) -> &'static str {
    if on { "On" } else { "Off" }
}

fn balancer(out: &mut String, balancer: &BalancerStatus) {
    let settings = &balancer.settings;
    out.push_str("    <httpd:balancer>\n");
    element(out, 3, "name", &balancer.name);
    element(out, 3, "nonce", &balancer.nonce);
    let mut semicolon = false;
    match &settings.sticky {
        Some(Sticky::Route {
            cookie,
            semicolon: on,
            ..
        }) => {
            element(out, 3, "stickysession", cookie);
            semicolon = *on;
        }
        Some(Sticky::SockJs) => element(out, 3, "stickysession", "sockjs"),
        None => {}
    }
    element(out, 3, "nofailover", on_off(settings.no_failover));
    element(out, 3, "timeout", settings.timeout.as_secs());
    if let Some(attempts) = settings.attempts_max {
        element(out, 3, "maxattempts", attempts);
    }
    element(out, 3, "lbmethod", settings.method.as_str());
    element(out, 3, "scolonpathdelim", on_off(semicolon));
    out.push_str("      <httpd:workers>\n");
    for one in &balancer.members {
        member(out, one);
    }
    out.push_str("      </httpd:workers>\n    </httpd:balancer>\n");
}

fn member(out: &mut String, member: &MemberStatusNow) {
    let factor = format!("{:.2}", f64::from(member.factor) / 100.0);
    out.push_str("        <httpd:worker>\n");
    let mut line = |name: &str, value: &dyn ToString| element(out, 5, name, value.to_string());
    line("name", &member.url);
    line("scheme", &member.origin[0]);
    line("hostname", &member.origin[1]);
    line("port", &member.port);
    line("status", &status_words(member.status));
    line("lbstatus", &member.load);
    line("loadfactor", &factor);
    line("transferred", &member.traffic[0]);
    line("read", &member.traffic[1]);
    line("elected", &member.elected);
    line("route", &member.route);
    line("redirect", &member.redirect);
    line("busy", &member.busy);
    line("lbset", &member.set);
    out.push_str("        </httpd:worker>\n");
}
