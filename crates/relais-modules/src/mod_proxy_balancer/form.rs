//! The manager's parameters, and what they ask for. As in httpd a value that
//! makes no sense changes nothing.

use std::time::Duration;

use relais_expr::unescape;
use relais_policy::{
    BalancerSettings, BalancerStatus, Edit, HealthCondition, HealthMethod, HealthSpec,
    MemberStatus, MemberStatusNow, Method, Sticky,
};

use crate::mod_proxy::{self, Defaults};

/// What the configuration says that a change may need.
pub(super) struct Known {
    /// What a new member has.
    pub(super) defaults: Defaults,
    /// The conditions of health checks.
    pub(super) conditions: Vec<HealthCondition>,
}

/// Names and values, of the query and of a form.
#[derive(Default, Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query.
    pub(super) fn read(query: &[u8]) -> Self {
        let mut params = Self::default();
        params.extend(query);
        params
    }

    /// Adds what a form or a query holds; of a name that comes again the last
    /// value counts.
    pub(super) fn extend(&mut self, text: &[u8]) {
        for pair in text
            .split(|&byte| byte == b'&')
            .filter(|pair| !pair.is_empty())
        {
            let equals = pair.iter().position(|&byte| byte == b'=');
            let (name, value) = match equals {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &b""[..]),
            };
            self.0.push((decoded(name), decoded(value)));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter().rev();
        let found = pairs.find(|(have, _)| have == name);
        found.map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }
}

fn decoded(text: &[u8]) -> String {
    let spaced: Vec<u8> = text
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    let mut out = Vec::new();
    unescape(&spaced, false, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Parameters of a member's status with the letters of its bits.
const STATUSES: &[(&str, u16)] = &[
    ("w_status_I", MemberStatus::IGNORE_ERRORS),
    ("w_status_N", MemberStatus::DRAIN),
    ("w_status_D", MemberStatus::DISABLED),
    ("w_status_H", MemberStatus::STANDBY),
    ("w_status_R", MemberStatus::SPARE),
    ("w_status_S", MemberStatus::STOPPED),
    ("w_status_C", MemberStatus::UNHEALTHY),
];

/// The longest route (`PROXY_WORKER_MAX_ROUTE_SIZE` less its final zero).
const ROUTE_MAX: usize = 63;

/// What is changed of a member; what stays as it is is not among it.
pub(super) fn of_member(params: &Params, member: &MemberStatusNow, known: &Known) -> Vec<Edit> {
    let mut edits = Vec::new();
    let factor = params.get("w_lf").and_then(|text| text.parse::<f64>().ok());
    if let Some(factor) = factor.filter(|factor| (1.0..=100.0).contains(factor)) {
        let hundredths = (factor * 100.0).round() as u32;
        edits.extend((hundredths != member.factor).then_some(Edit::Factor(hundredths)));
    }
    if let Some(set) = params.number("w_ls").filter(|set| *set <= 99) {
        let set = set as u8;
        edits.extend((set != member.set).then_some(Edit::Set(set)));
    }
    for (name, now, edit) in [
        ("w_wr", &member.route, Edit::Route as fn(String) -> Edit),
        ("w_rr", &member.redirect, Edit::Redirect),
    ] {
        let route = params
            .get(name)
            .filter(|route| route.len() <= ROUTE_MAX && *route != now);
        edits.extend(route.map(|route| edit(route.to_owned())));
    }
    for &(name, bit) in STATUSES {
        let on = params.number(name).map(|number| number != 0);
        let on = on.filter(|on| *on != (member.status & bit != 0));
        edits.extend(on.map(|on| Edit::Status(bit, on)));
    }
    let health = member.health.as_ref().and_then(|now| {
        let health = health(params, now, known);
        (health != *now).then_some(Edit::Health(health))
    });
    edits.extend(health);
    if params.get("w_tunnels") == Some("drain") {
        edits.push(Edit::DrainTunnels);
    }
    edits
}

/// A health check with what the parameters change of it.
fn health(params: &Params, now: &HealthSpec, known: &Known) -> HealthSpec {
    let mut health = now.clone();
    let method = |name: &str| HealthMethod::NAMES.iter().find(|(have, _)| *have == name);
    if let Some((_, method)) = params.get("w_hm").and_then(method) {
        health.method = *method;
    }
    if let Some(interval) = params.number("w_hi").filter(|interval| *interval >= 100) {
        health.interval = Duration::from_millis(u64::from(interval));
    }
    health.passes = params
        .number("w_hp")
        .filter(|count| *count >= 1)
        .unwrap_or(now.passes);
    health.fails = params
        .number("w_hf")
        .filter(|count| *count >= 1)
        .unwrap_or(now.fails);
    let target = params.get("w_hu").filter(|target| {
        target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic())
    });
    if let Some(target) = target {
        health.target = target.to_owned();
    }
    let condition = params.get("w_he").and_then(|name| {
        let mut conditions = known.conditions.iter();
        conditions.find(|condition| condition.name == name)
    });
    if let Some(condition) = condition {
        health.condition = Some(condition.clone());
    }
    health
}

/// What is changed of a balancer.
pub(super) fn of_balancer(params: &Params, balancer: &BalancerStatus, known: &Known) -> Vec<Edit> {
    let mut settings = balancer.settings.clone();
    let method = |name: &str| Method::NAMES.iter().find(|(have, _)| *have == name);
    if let Some((_, method)) = params.get("b_lbm").and_then(method) {
        settings.method = *method;
    }
    if let Some(seconds) = params.number("b_tmo") {
        settings.timeout = Duration::from_secs(u64::from(seconds));
    }
    settings.attempts_max = params.number("b_max").or(settings.attempts_max);
    if let Some(on) = params.number("b_sforce") {
        settings.no_failover = on != 0;
    }
    if let Some(names) = params.get("b_ss").filter(|names| !names.is_empty()) {
        settings.sticky = sticky(names, &settings);
    }
    let mut edits = Vec::new();
    edits.extend((settings != balancer.settings).then_some(Edit::Settings(settings)));
    if params.get("b_wyes") == Some("1") {
        let url = params.get("b_nwrkr").unwrap_or_default();
        edits.extend(
            mod_proxy::new_member(url, &known.defaults).map(|spec| Edit::Add(Box::new(spec))),
        );
    }
    edits
}

/// `cookie` or `cookie|parameter`; `-` is none.
fn sticky(names: &str, settings: &BalancerSettings) -> Option<Sticky> {
    if names == "-" {
        return None;
    }
    let (separator, semicolon) = match settings.sticky {
        Some(Sticky::Route {
            separator,
            semicolon,
            ..
        }) => (separator, semicolon),
        _ => (Some(b'.'), false),
    };
    Some(mod_proxy::sticky_by(names, separator, semicolon))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn member(url: &str) -> MemberStatusNow {
        MemberStatusNow {
            url: url.to_owned(),
            origin: ["http".to_owned(), "a".to_owned()],
            port: 80,
            status: MemberStatus::DRAIN,
            route: "r".to_owned(),
            redirect: String::new(),
            factor: 100,
            set: 0,
            elected: 0,
            busy: 0,
            load: 0,
            traffic: [0; 2],
            health: None,
            checks: [0; 2],
        }
    }

    pub(in super::super) fn known() -> Known {
        Known {
            defaults: Defaults::within(Duration::from_secs(1)),
            conditions: Vec::new(),
        }
    }

    #[test]
    fn members() {
        let one = |edit| vec![edit];
        let table: Vec<(&str, Vec<Edit>)> = vec![
            ("w_lf=2.5", one(Edit::Factor(250))),
            ("w_lf=1.00&w_ls=0&w_wr=r&w_rr=&w_status_N=1", vec![]),
            ("w_lf=0.5&w_ls=100&w_status_D=x", vec![]),
            (
                "w_ls=3&w_wr=other+one",
                vec![Edit::Set(3), Edit::Route("other one".to_owned())],
            ),
            ("w_rr=b%2fc", one(Edit::Redirect("b/c".to_owned()))),
            ("w_wr=", one(Edit::Route(String::new()))),
            (
                "w_status_N=0&w_status_D=1&w_status_H=1",
                vec![
                    Edit::Status(MemberStatus::DRAIN, false),
                    Edit::Status(MemberStatus::DISABLED, true),
                    Edit::Status(MemberStatus::STANDBY, true),
                ],
            ),
            ("w_status_N=1&w_tunnels=drain", one(Edit::DrainTunnels)),
            ("w_hi=500&w_hu=/x", vec![]),
        ];
        for (text, expected) in table {
            let params = Params::read(text.as_bytes());
            assert_eq!(
                of_member(&params, &member("http://a"), &known()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn health_checks() {
        let health = HealthSpec {
            method: HealthMethod::Tcp,
            target: "/".to_owned(),
            interval: Duration::from_secs(30),
            passes: 1,
            fails: 1,
            condition: None,
        };
        let member = MemberStatusNow {
            health: Some(health.clone()),
            ..member("http://a")
        };
        let params = Params::read(b"w_hm=WS&w_hi=500&w_hp=2&w_hf=0&w_hu=/x&w_status_N=1");
        let expected = HealthSpec {
            method: HealthMethod::WebSocket,
            target: "/x".to_owned(),
            interval: Duration::from_millis(500),
            passes: 2,
            ..health
        };
        assert_eq!(
            of_member(&params, &member, &known()),
            [Edit::Health(expected)]
        );
    }

    #[test]
    fn balancers() {
        let balancer = BalancerStatus {
            name: "balancer://b".to_owned(),
            nonce: String::new(),
            members_max: 2,
            settings: BalancerSettings::default(),
            members: Vec::new(),
        };
        let edits = |text: &str| of_balancer(&Params::read(text.as_bytes()), &balancer, &known());
        assert!(edits("b_lbm=none&b_ss=&b_tmo=x").is_empty());
        let changed = edits("b_lbm=bybusyness&b_tmo=7&b_max=2&b_sforce=1&b_ss=C%7cp");
        let expected = BalancerSettings {
            method: Method::ByBusyness,
            timeout: Duration::from_secs(7),
            attempts_max: Some(2),
            no_failover: true,
            sticky: Some(Sticky::Route {
                cookie: "C".to_owned(),
                parameter: "p".to_owned(),
                separator: Some(b'.'),
                semicolon: false,
            }),
            ..BalancerSettings::default()
        };
        assert_eq!(changed, [Edit::Settings(expected)]);
        let added = edits("b_wyes=1&b_nwrkr=http://h:81/x");
        let [Edit::Add(spec)] = added.as_slice() else {
            panic!("{added:?}")
        };
        assert_eq!(
            (spec.url.as_str(), spec.status),
            ("http://h:81/x", MemberStatus::DISABLED)
        );
        assert!(edits("b_nwrkr=http://h:81/x").is_empty());
        assert!(edits("b_wyes=1&b_nwrkr=nothing").is_empty());
    }
}
