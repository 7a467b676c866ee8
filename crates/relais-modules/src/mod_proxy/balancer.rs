//! `balancer://`: its members and how one of them is chosen.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use relais_conf::{Diagnostic, Text};
use relais_expr::Template;
use relais_policy::{
    BalancerSettings, BalancerSpec, Matcher, MemberSpec, MemberStatus, Method, Nonce, Problem,
    SetResult, Slot, Sticky,
};

use super::params::{Of, Params, key_value};
use super::worker::{Defaults, Worker};
use super::{Host, Proxy, last_span, url};
use crate::values;

/// A balancer as the configuration has it.
#[derive(Clone, Debug)]
pub(crate) struct Balancer {
    /// `balancer://name`, lower case.
    name: Vec<u8>,
    members: Vec<Worker>,
    params: BalancerParams,
    /// Whether a virtual host has it from the main server.
    inherited: bool,
    spec: OnceLock<Arc<BalancerSpec>>,
}

/// What can be said about a balancer; `None` while unset.
#[derive(Clone, Default, Debug)]
struct BalancerParams {
    method: Option<Method>,
    attempts_max: Option<u32>,
    timeout: Option<Duration>,
    no_failover: Option<bool>,
    sticky: Option<String>,
    separator: Option<Option<u8>>,
    semicolon: Option<bool>,
    fail_on_status: Option<Vec<u16>>,
    fail_on_timeout: Option<bool>,
    force_recovery: Option<bool>,
    key: Option<Template>,
    nonce: Nonce,
    growth: Option<u32>,
}

/// The parameters of a balancer; all others are those of workers.
const NAMES: &[&str] = &[
    "lbmethod",
    "lbkey",
    "maxattempts",
    "nofailover",
    "stickysession",
    "stickysessionsep",
    "scolonpathdelim",
    "failonstatus",
    "failontimeout",
    "forcerecovery",
    "timeout",
    "nonce",
    "growth",
];

impl Balancer {
    fn new(name: &[u8]) -> Self {
        Self {
            name: name.to_vec(),
            members: Vec::new(),
            params: BalancerParams::default(),
            inherited: false,
            spec: OnceLock::new(),
        }
    }

    /// `balancer://name`
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The same as a virtual host has it from the main server.
    pub(crate) fn inherited(&self) -> Self {
        Self {
            inherited: true,
            ..self.clone()
        }
    }

    /// The URLs of its members.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &[u8]> {
        self.members.iter().map(Worker::name)
    }

    /// The expression that a request's key is made from.
    pub(crate) fn key(&self) -> Option<&Template> {
        self.params.key.as_ref()
    }

    /// What the upstream crate has been given.
    pub(crate) fn spec(&self) -> Option<&Arc<BalancerSpec>> {
        self.spec.get()
    }

    /// Makes what the upstream crate needs.
    pub(crate) fn finish(&self, index: usize, defaults: &Defaults) -> Arc<BalancerSpec> {
        let spec = self.spec.get_or_init(|| {
            let members = self.members.iter();
            Arc::new(BalancerSpec {
                name: String::from_utf8_lossy(&self.name).into_owned(),
                inherited: self.inherited,
                index,
                members: members
                    .map(|member| member_spec(member, defaults))
                    .collect(),
                settings: self.params.settings(),
                nonce: self.params.nonce.clone(),
                growth: self.params.growth.unwrap_or(0),
            })
        });
        Arc::clone(spec)
    }
}

fn member_spec(member: &Worker, defaults: &Defaults) -> MemberSpec {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let own = &member.params().member;
    MemberSpec {
        url: shown(member.name()),
        worker: Arc::clone(member.spec(defaults)),
        path: shown(member.path()),
        route: own.route.clone().unwrap_or_default(),
        redirect: own.redirect.clone().unwrap_or_default(),
        factor: own.factor.unwrap_or(100),
        set: own.set.unwrap_or(0),
        status: own.status.unwrap_or(0),
        retry: own.retry.unwrap_or(RETRY),
        health: own.health.spec(&shown(member.path())),
    }
}

/// How long a member rests without `retry=`.
const RETRY: Duration = Duration::from_secs(60);

impl BalancerParams {
    fn settings(&self) -> BalancerSettings {
        let (separator, semicolon) = (self.separator.unwrap_or(Some(b'.')), self.semicolon);
        let sticky = self.sticky.as_deref();
        let sticky = sticky.map(|names| sticky_by(names, separator, semicolon.unwrap_or(false)));
        BalancerSettings {
            method: self.method.unwrap_or(Method::ByRequests),
            attempts_max: self.attempts_max,
            timeout: self.timeout.unwrap_or_default(),
            no_failover: self.no_failover.unwrap_or(false),
            sticky,
            fail_on_status: self.fail_on_status.clone().unwrap_or_default(),
            fail_on_timeout: self.fail_on_timeout.unwrap_or(false),
            force_recovery: self.force_recovery.unwrap_or(true),
        }
    }

    fn set(&mut self, slot: &mut Slot<'_, Proxy>, word: &Text) -> SetResult {
        let (key, value) = key_value(word)?;
        let name = key.lossy().to_ascii_lowercase();
        match name.as_str() {
            "lbmethod" => self.method = Some(method(&value)?),
            "lbkey" => self.key = Some(template(&value)?),
            "maxattempts" => {
                self.attempts_max = Some(values::small(&value, &name, 0..=u32::MAX)?);
            }
            "nofailover" => self.no_failover = Some(values::on_off(&value, &name)?),
            "stickysession" => {
                let text = value.lossy().into_owned();
                self.sticky = (!text.is_empty()).then_some(text);
            }
            "stickysessionsep" => self.separator = Some(separator(&value)?),
            "scolonpathdelim" => self.semicolon = Some(values::on_off(&value, &name)?),
            "failonstatus" => self.fail_on_status = Some(statuses(&value)?),
            "failontimeout" => self.fail_on_timeout = Some(values::on_off(&value, &name)?),
            "forcerecovery" => self.force_recovery = Some(values::on_off(&value, &name)?),
            "timeout" => {
                self.timeout = Some(values::seconds(&value, &name, 0)?);
                note(
                    slot,
                    &key,
                    "a member is chosen or there is none; nobody waits for one",
                );
            }
            "nonce" => self.nonce = nonce(&value)?,
            "growth" => self.growth = Some(values::small(&value, &name, 1..=GROWTH_MAX)?),
            _ => {
                let problem = Problem::at(
                    key.span(),
                    format!("unknown balancer parameter `{}`", key.lossy()),
                );
                let near = relais_conf::value::did_you_mean(&name, NAMES.iter().copied());
                return Err(match near {
                    Some(near) => problem.with_help(format!("did you mean `{near}`?")),
                    None => {
                        problem.with_help("parameters of a member stand on its BalancerMember line")
                    }
                });
            }
        }
        Ok(())
    }
}

/// What `stickysession=` names.
pub(crate) fn sticky_by(names: &str, separator: Option<u8>, semicolon: bool) -> Sticky {
    if names.eq_ignore_ascii_case("sockjs") {
        return Sticky::SockJs;
    }
    let (cookie, parameter) = names.split_once('|').unwrap_or((names, names));
    Sticky::Route {
        cookie: cookie.to_owned(),
        parameter: parameter.to_owned(),
        separator,
        semicolon,
    }
}

/// A member that is added while relais runs: as in httpd it is not used before
/// somebody says so. `None` where this is no origin's URL.
pub(crate) fn new_member(target: &str, defaults: &Defaults) -> Option<MemberSpec> {
    let worker = Worker::new(target.as_bytes(), true, Params::default())?;
    Some(MemberSpec {
        status: MemberStatus::DISABLED,
        ..member_spec(&worker, defaults)
    })
}

/// `growth=` of httpd goes from 1 to 100.
const GROWTH_MAX: u32 = 100;

/// httpd keeps it in 37 bytes.
fn nonce(value: &Text) -> Result<Nonce, Problem> {
    if value.eq_ignore_case("none") {
        return Ok(Nonce::None);
    }
    if value.len() > 36 {
        let message = "nonce may have at most 36 characters";
        return Err(Problem::at(value.span(), message));
    }
    Ok(Nonce::Given(value.lossy().into_owned()))
}

fn note(slot: &mut Slot<'_, Proxy>, key: &Text, why: &str) {
    let message = format!("{} has no effect here: {why}", key.lossy());
    let note = Diagnostic::note("RC0308", key.span(), message);
    slot.diagnostics.push(note);
}

fn method(value: &Text) -> Result<Method, Problem> {
    let known = Method::NAMES
        .iter()
        .find(|(name, _)| value.eq_ignore_case(name));
    match known {
        Some((_, method)) => Ok(*method),
        None if value.eq_ignore_case("heartbeat") => Err(Problem::at(
            value.span(),
            "lbmethod heartbeat needs mod_heartmonitor's multicast, which relais has not",
        )
        .with_help("bybusyness counts what relais itself has at each member")),
        None => Err(Problem::at(
            value.span(),
            format!("there is no lbmethod `{}`", value.lossy()),
        )
        .with_help("byrequests, bytraffic, bybusyness or rendezvous")),
    }
}

fn template(value: &Text) -> Result<Template, Problem> {
    Template::parse(value.bytes(), 0)
        .map_err(|_| Problem::at(value.span(), "lbkey cannot ask a RewriteMap"))
}

fn separator(value: &Text) -> Result<Option<u8>, Problem> {
    if value.eq_ignore_case("off") {
        return Ok(None);
    }
    match value.bytes() {
        [byte] => Ok(Some(*byte)),
        _ => Err(Problem::at(
            value.span(),
            "stickysessionsep takes one character or Off",
        )),
    }
}

fn statuses(value: &Text) -> Result<Vec<u16>, Problem> {
    let text = value.lossy();
    let parsed = text.split(',').map(|code| {
        let code: Option<u16> = code.trim().parse().ok();
        code.filter(|code| (100..=599).contains(code))
    });
    parsed
        .collect::<Option<Vec<u16>>>()
        .ok_or_else(|| Problem::at(value.span(), "failonstatus takes statuses such as 500,503"))
}

/// `balancer://name` of a target, lower case.
pub(super) fn balancer_name(target: &[u8]) -> Option<Vec<u8>> {
    let parts = url::split(target).filter(|parts| is_balancer(parts.scheme))?;
    let name = [b"balancer://", parts.authority].concat();
    (!parts.authority.is_empty()).then(|| name.to_ascii_lowercase())
}

/// Whether this is the scheme of a balancer.
pub(crate) fn is_balancer(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"balancer")
}

impl Host {
    /// The balancer of a URL.
    pub(crate) fn balancer_for(&self, url: &[u8]) -> Option<&Balancer> {
        let name = balancer_name(url)?;
        self.balancers.iter().find(|balancer| balancer.name == name)
    }
}

/// The balancer that a target names, made when it is named first.
fn named<'h>(host: &'h mut Host, target: &[u8]) -> Option<&'h mut Balancer> {
    let name = balancer_name(target)?;
    let known = host.balancers.iter().position(|have| have.name == name);
    let index = known.unwrap_or_else(|| {
        host.balancers.push(Balancer::new(&name));
        host.balancers.len() - 1
    });
    host.balancers.get_mut(index)
}

/// Takes the parameters of a balancer; false when the target is none.
pub(crate) fn set_params(
    slot: &mut Slot<'_, Proxy>,
    target: &Text,
    options: &[Text],
) -> Result<bool, Problem> {
    let Some(balancer) = named(slot.host, target.bytes()) else {
        return Ok(false);
    };
    let mut params = balancer.params.clone();
    for option in options {
        params.set(slot, option)?;
    }
    if let Some(balancer) = named(slot.host, target.bytes()) {
        balancer.params = params;
    }
    Ok(true)
}

/// The handler of `BalancerMember`.
pub(crate) fn set_member(slot: &mut Slot<'_, Proxy>, words: &[Text]) -> SetResult {
    let (balancer, rest) = match (slot.place.section, words) {
        (Some(section), rest) if matches!(section.matcher, Matcher::Prefix(_)) => {
            (section.argument.clone(), rest)
        }
        (None, [balancer, rest @ ..]) => (balancer.clone(), rest),
        _ => {
            return Err(Problem::at(
                slot.place.line,
                "BalancerMember needs a <Proxy balancer://name> around it",
            ));
        }
    };
    if balancer_name(balancer.bytes()).is_none() {
        return Err(Problem::at(
            balancer.span(),
            "a balancer is named as balancer://name",
        ));
    }
    let Some((target, options)) = rest.split_first() else {
        return Err(Problem::at(
            last_span(words, slot.place.line),
            "BalancerMember needs the member's URL",
        ));
    };
    url::check_target(target, target.len())?;
    let mut params = Params::default();
    for option in options {
        params.set(slot, Of::Member, option)?;
    }
    let member = Worker::new(target.bytes(), true, params);
    let member = member.ok_or_else(|| {
        Problem::at(
            target.span(),
            "a member of a balancer is an http:// or ws:// origin",
        )
    })?;
    if let Some(balancer) = named(slot.host, balancer.bytes()) {
        // A member that is named twice has the parameters of the later line.
        balancer.members.retain(|have| have.name() != member.name());
        balancer.members.push(member);
    }
    Ok(())
}
