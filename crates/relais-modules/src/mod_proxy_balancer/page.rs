//! The manager's page for people, in httpd's words.

use std::fmt::Write as _;

use relais_expr::escape_path;
use relais_policy::{
    BalancerStatus, HealthCondition, HealthMethod, HealthSpec, MemberStatus, MemberStatusNow,
    Method,
};

use crate::mod_proxy::{status_words, sticky_words, traffic_words};
use crate::mod_status::safe;

/// What the page is made from.
pub(super) struct Facts<'p> {
    /// The name by which the server was asked for.
    pub(super) name: Vec<u8>,
    /// `ServerTokens`.
    pub(super) version: &'p str,
    /// The page's own path.
    pub(super) path: &'p [u8],
    /// The page's own URL, which forms are sent to.
    pub(super) action: Vec<u8>,
    pub(super) balancers: &'p [BalancerStatus],
    /// The balancer and the member that can be changed below.
    pub(super) chosen: Option<(usize, Option<usize>)>,
    /// The path that leads to a balancer.
    pub(super) path_of: &'p dyn Fn(&str) -> String,
    /// Whether balancers, and rules, come from the main server.
    pub(super) inherits: [bool; 2],
    /// The conditions of health checks.
    pub(super) conditions: &'p [HealthCondition],
}

/// The page.
pub(super) fn page(facts: &Facts<'_>) -> Vec<u8> {
    let mut out = HEAD.to_owned();
    let [balancers, rules] = facts.inherits.map(|on| if on { "" } else { "NOT " });
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        out,
        "<body><h1>Load Balancer Manager for {}</h1>\n\n<dl><dt>Server Version: {}</dt>\n<dt>Server Built: {}</dt>\n\
         <dt>Balancer changes will NOT be persisted on restart.</dt><dt>Balancers are {balancers}inherited from main server.</dt>\
         <dt>ProxyPass settings are {rules}inherited from main server.</dt></dl>\n",
        safe(&facts.name),
        safe(facts.version),
        crate::BUILT,
    );
    for one in facts.balancers {
        balancer(&mut out, facts, one);
    }
    out.push_str("<hr />\n");
    conditions(&mut out, facts.conditions);
    if let Some((index, member)) = facts.chosen
        && let Some(balancer) = facts.balancers.get(index)
    {
        match member.and_then(|member| balancer.members.get(member)) {
            Some(member) => edit_member(&mut out, facts, balancer, member),
            None => edit_balancer(&mut out, facts, balancer),
        }
    }
    out.push_str("</body></html>\n");
    out.into_bytes()
}

/// What answers to health checks can be judged by.
fn conditions(out: &mut String, conditions: &[HealthCondition]) {
    if conditions.is_empty() {
        return;
    }
    out.push_str(
        "<table><tr><th colspan='2'>Health check cond. expressions:</th></tr>\n\
         <tr><th>Expr name</th><th>Expression</th></tr>\n",
    );
    for condition in conditions {
        let (name, text) = (safe(&condition.name), safe(&condition.text));
        let _ = writeln!(out, "<tr><td>{name}</td><td>{text}</td></tr>");
    }
    out.push_str("</table><hr/>\n");
}

/// A text for a link.
fn linked(text: &str) -> String {
    let mut escaped = Vec::new();
    escape_path(text.as_bytes(), &mut escaped);
    let text = String::from_utf8_lossy(&escaped)
        .replace('&', "%26")
        .replace('+', "%2b");
    safe(text)
}

/// A balancer's name behind `balancer://`.
fn short(name: &str) -> &str {
    name.strip_prefix("balancer://").unwrap_or(name)
}

fn on_off(on: bool) -> &'static str {
    if on { "On" } else { "Off" }
}

fn balancer(out: &mut String, facts: &Facts<'_>, balancer: &BalancerStatus) {
    let settings = &balancer.settings;
    let has_health = balancer
        .members
        .iter()
        .any(|member| member.health.is_some());
    let _ = write!(
        out,
        "<hr />\n<h3>LoadBalancer Status for <a href=\"{path}?b={name}&amp;nonce={nonce}\">{shown}</a></h3>\n\n\n\
         <table><tr><th>MaxMembers</th><th>StickySession</th><th>DisableFailover</th><th>Timeout</th>\
         <th>FailoverAttempts</th><th>Method</th><th>Path</th><th>Active</th></tr>\n\
         <tr><td>{most} [{used} Used]</td>\n<td>{sticky}</td><td>{failover}</td>\n<td>{timeout}</td><td>{attempts}</td>\n\
         <td>{method}</td>\n<td>{way}</td>\n<td>Yes</td>\n</tr>\n</table>\n<br />\n\n\
         <table><tr><th>Worker URL</th><th>Route</th><th>RouteRedir</th><th>Factor</th><th>Set</th><th>Status</th>\
         <th>Elected</th><th>Busy</th><th>Load</th><th>To</th><th>From</th>{health}</tr>\n",
        path = safe(facts.path),
        name = linked(short(&balancer.name)),
        nonce = safe(&balancer.nonce),
        shown = safe(&balancer.name),
        most = balancer.members_max,
        used = balancer.members.len(),
        sticky = safe(sticky_words(settings.sticky.as_ref(), "|", " (None) ")),
        failover = on_off(settings.no_failover),
        timeout = settings.timeout.as_secs(),
        attempts = attempts(balancer),
        method = settings.method.as_str(),
        way = safe((facts.path_of)(&balancer.name)),
        health = if has_health { HEALTH_HEAD } else { "" },
    );
    for one in &balancer.members {
        member(out, facts, balancer, one, has_health);
    }
    out.push_str("</table>\n");
}

/// How many other members are tried.
fn attempts(balancer: &BalancerStatus) -> usize {
    let others = balancer.members.len().saturating_sub(1);
    balancer
        .settings
        .attempts_max
        .map_or(others, |most| most as usize)
}

fn member(
    out: &mut String,
    facts: &Facts<'_>,
    balancer: &BalancerStatus,
    member: &MemberStatusNow,
    with_health: bool,
) {
    let _ = write!(
        out,
        "<tr>\n<td><a href=\"{path}?b={name}&amp;w={url}&amp;nonce={nonce}\">{shown}</a></td><td>{route}</td><td>{redirect}</td>\
         <td>{factor:.2}</td><td>{set}</td><td>{status}</td><td>{elected}</td><td>{busy}</td><td>{load}</td><td>{to}</td><td>{from}</td>",
        path = safe(facts.path),
        name = linked(short(&balancer.name)),
        url = linked(&member.url),
        nonce = safe(&balancer.nonce),
        shown = safe(&member.url),
        route = safe(&member.route),
        redirect = safe(&member.redirect),
        factor = f64::from(member.factor) / 100.0,
        set = member.set,
        status = status_words(member.status),
        elected = member.elected,
        busy = member.busy,
        load = member.load,
        to = traffic_words(member.traffic[0]),
        from = traffic_words(member.traffic[1]),
    );
    match &member.health {
        _ if !with_health => {}
        None => out.push_str("<td>NONE</td><td></td><td></td><td></td><td></td><td></td>"),
        Some(health) => {
            let [passed, failed] = member.checks;
            let _ = write!(
                out,
                "<td>{}</td><td>{}ms</td><td>{} ({passed})</td><td>{} ({failed})</td><td>{}</td><td>{}</td>",
                method_name(health),
                health.interval.as_millis(),
                health.passes,
                health.fails,
                safe(&health.target),
                safe(
                    health
                        .condition
                        .as_ref()
                        .map_or("", |condition| &condition.name)
                ),
            );
        }
    }
    out.push_str("</tr>\n");
}

fn method_name(health: &HealthSpec) -> &'static str {
    let known = HealthMethod::NAMES
        .iter()
        .find(|(_, method)| *method == health.method);
    known.map_or("NONE", |(name, _)| name)
}

fn begin_form(out: &mut String, facts: &Facts<'_>) {
    let _ = write!(
        out,
        "<form method='POST' enctype='application/x-www-form-urlencoded' action=\"{}\">\n<table>",
        safe(&facts.action)
    );
}

fn hidden(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(
        out,
        "<input type=hidden name='{name}' id='{name}' value=\"{}\">",
        safe(value)
    );
}

fn text(out: &mut String, label: &str, name: &str, value: &str) {
    let _ = writeln!(
        out,
        "<tr><td>{label}:</td><td><input name='{name}' id='{name}' type=text value=\"{}\"></td></tr>",
        safe(value)
    );
}

fn radio(out: &mut String, name: &str, on: bool) {
    let (yes, no) = if on {
        (" checked", "")
    } else {
        ("", " checked")
    };
    let _ = write!(
        out,
        "<label for='{name}1'>On</label> <input name='{name}' id='{name}1' value='1' type=radio{yes}> <br/> \
         <label for='{name}0'>Off</label> <input name='{name}' id='{name}0' value='0' type=radio{no}>"
    );
}

/// The bits of a status in the order of httpd's form.
const STATUSES: &[(&str, &str, u16)] = &[
    ("I", "Ignore Errors", MemberStatus::IGNORE_ERRORS),
    ("N", "Draining Mode", MemberStatus::DRAIN),
    ("D", "Disabled", MemberStatus::DISABLED),
    ("H", "Hot Standby", MemberStatus::STANDBY),
    ("R", "Hot Spare", MemberStatus::SPARE),
    ("C", "HC Fail", MemberStatus::UNHEALTHY),
    ("S", "Stopped", MemberStatus::STOPPED),
];

fn edit_member(
    out: &mut String,
    facts: &Facts<'_>,
    balancer: &BalancerStatus,
    member: &MemberStatusNow,
) {
    let _ = writeln!(
        out,
        "<h3>Edit worker settings for {}</h3>",
        safe(&member.url)
    );
    begin_form(out, facts);
    text(
        out,
        "Load factor",
        "w_lf",
        &format!("{:.2}", f64::from(member.factor) / 100.0),
    );
    text(out, "LB Set", "w_ls", &member.set.to_string());
    text(out, "Route", "w_wr", &member.route);
    text(out, "Route Redirect", "w_rr", &member.redirect);
    out.push_str("<tr><td>Status:</td><td><table><tr>");
    for (_, label, _) in STATUSES {
        let _ = write!(out, "<th>{label}</th>");
    }
    out.push_str("</tr>\n<tr>");
    for (letter, _, bit) in STATUSES {
        out.push_str("<td>");
        radio(out, &format!("w_status_{letter}"), member.status & bit != 0);
        out.push_str("</td>\n");
    }
    out.push_str("</tr></table></td></tr>\n");
    if let Some(health) = &member.health {
        edit_health(out, health, facts.conditions);
    }
    out.push_str(
        "<tr><td>Tunnels:</td><td><label for='w_tunnels'>end them over TunnelDrainWindow</label> \
         <input name='w_tunnels' id='w_tunnels' value='drain' type=checkbox></td></tr>\n",
    );
    out.push_str("<tr><td colspan='2'><input type=submit value='Submit'></td></tr>\n</table>\n");
    hidden(out, "w", &member.url);
    end_form(out, balancer);
}

fn edit_health(out: &mut String, health: &HealthSpec, conditions: &[HealthCondition]) {
    out.push_str("<tr><td>Health check method:</td><td><select name='w_hm'>\n");
    for (name, method) in HealthMethod::NAMES {
        let selected = if method == health.method {
            "selected"
        } else {
            ""
        };
        let _ = writeln!(out, "<option value='{name}' {selected} >{name}</option>");
    }
    out.push_str("</select>\n</td></tr>\n");
    if !conditions.is_empty() {
        edit_condition(out, health, conditions);
    }
    text(
        out,
        "Interval (ms)",
        "w_hi",
        &health.interval.as_millis().to_string(),
    );
    text(out, "Passes trigger", "w_hp", &health.passes.to_string());
    text(out, "Fails trigger", "w_hf", &health.fails.to_string());
    text(out, "HC uri", "w_hu", &health.target);
}

fn edit_condition(out: &mut String, health: &HealthSpec, conditions: &[HealthCondition]) {
    out.push_str("<tr><td>Expr:</td><td><select name='w_he'>\n");
    for condition in conditions {
        let selected = if health.condition.as_ref() == Some(condition) {
            "selected"
        } else {
            ""
        };
        let name = safe(&condition.name);
        let _ = writeln!(out, "<option value=\"{name}\" {selected} >{name}</option>");
    }
    out.push_str("</select>\n</td></tr>\n");
}

fn edit_balancer(out: &mut String, facts: &Facts<'_>, balancer: &BalancerStatus) {
    let settings = &balancer.settings;
    let _ = writeln!(
        out,
        "<h3>Edit balancer settings for {}</h3>",
        safe(&balancer.name)
    );
    begin_form(out, facts);
    out.push_str("\n<tr><td>LBmethod:</td><td>\n<select name='b_lbm' id='b_lbm'>");
    for (name, method) in Method::NAMES {
        let selected = if method == settings.method {
            " selected "
        } else {
            ""
        };
        let _ = writeln!(out, "<option value='{name}'{selected}>{name}");
    }
    out.push_str("</select>\n</td></tr>\n");
    text(
        out,
        "Timeout",
        "b_tmo",
        &settings.timeout.as_secs().to_string(),
    );
    text(
        out,
        "Failover Attempts",
        "b_max",
        &attempts(balancer).to_string(),
    );
    out.push_str("<tr><td>Disable Failover:</td><td>");
    radio(out, "b_sforce", settings.no_failover);
    out.push_str("</td></tr>\n");
    text(
        out,
        "Sticky Session (use '-' to delete)",
        "b_ss",
        &sticky_words(settings.sticky.as_ref(), "|", ""),
    );
    if balancer.members.len() < balancer.members_max {
        text(out, "Add New Worker", "b_nwrkr", "");
        out.push_str(
            "<tr><td>Are you sure?</td><td><input name='b_wyes' id='b_wyes' type=checkbox value='1'></td></tr>\n",
        );
    }
    out.push_str("<tr><td colspan=2><input type=submit value='Submit'></td></tr>\n</table>\n");
    end_form(out, balancer);
}

fn end_form(out: &mut String, balancer: &BalancerStatus) {
    hidden(out, "b", short(&balancer.name));
    hidden(out, "nonce", &balancer.nonce);
    out.push_str("</form>\n<hr />\n");
}

const HEALTH_HEAD: &str = "<th>HC Method</th><th>HC Interval</th><th>Passes</th><th>Fails</th><th>HC uri</th><th>HC Expr</th>";

const HEAD: &str =
    "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">
<html><head><title>Balancer Manager</title>
<style type='text/css'>
table {
 border-width: 1px;
 border-spacing: 3px;
 border-style: solid;
 border-color: gray;
 border-collapse: collapse;
 background-color: white;
 text-align: center;
}
th, td {
 border-width: 1px;
 padding: 2px;
 border-style: dotted;
 border-color: gray;
 text-align: center;
}
th {
 background-color: lightgray;
}
</style>
</head>
";
