//! Worker parameters: the `key=value` words behind a target.

use std::time::Duration;

use relais_conf::{Diagnostic, Text};
use relais_policy::{MemberStatus, Problem, Slot, Upgrade};

use super::Proxy;
use super::health::{self, HealthParams};
use super::worker::parse_upgrade;
use crate::values;

/// What can be said about a worker; `None` while unset.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Params {
    pub(crate) timeout: Option<Duration>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) reuse: Option<bool>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) address_ttl: Option<Duration>,
    pub(crate) max: Option<u32>,
    pub(crate) acquire: Option<Duration>,
    pub(crate) keep_alive: Option<bool>,
    pub(crate) ping: Option<Duration>,
    pub(crate) field_max: Option<u32>,
    pub(crate) receive_buffer: Option<u32>,
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) member: MemberParams,
}

/// What matters to members of a balancer only.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct MemberParams {
    pub(crate) route: Option<String>,
    pub(crate) redirect: Option<String>,
    /// In hundredths.
    pub(crate) factor: Option<u32>,
    pub(crate) set: Option<u8>,
    pub(crate) status: Option<u16>,
    pub(crate) retry: Option<Duration>,
    pub(crate) health: HealthParams,
}

/// What a list of parameters belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Of {
    /// An origin of its own.
    Worker,
    /// A member of a balancer.
    Member,
}

/// How a value is checked where it has no effect.
enum Shape {
    Number,
    Flush,
}

/// Parameters without effect here, with the reason.
const IGNORED: &[(&str, Shape, &str)] = &[
    (
        "min",
        Shape::Number,
        "connections are opened when they are needed",
    ),
    (
        "smax",
        Shape::Number,
        "idle connections are kept by age, not by number",
    ),
    (
        "flushpackets",
        Shape::Flush,
        "what arrives is sent on at once",
    ),
    (
        "flushwait",
        Shape::Number,
        "what arrives is sent on at once",
    ),
    ("iobuffersize", Shape::Number, "buffers have one size"),
    (
        "flusher",
        Shape::Flush,
        "it belongs to a protocol that relais does not speak",
    ),
];

const MILLISECOND: Duration = Duration::from_millis(1);

/// More connections than a machine has ports are no limit.
const PERMITS_MAX: u32 = 1 << 20;

/// The largest size of a socket's or of a field line's buffer.
const BUFFER_MAX: u32 = 1 << 30;

const OURS: &[&str] = &[
    "timeout",
    "connectiontimeout",
    "disablereuse",
    "enablereuse",
    "ttl",
    "addressttl",
    "max",
    "acquire",
    "keepalive",
    "ping",
    "responsefieldsize",
    "receivebuffersize",
    "upgrade",
];

/// What members of a balancer have besides.
const MEMBERS: &[&str] = &[
    "route",
    "redirect",
    "loadfactor",
    "lbset",
    "status",
    "retry",
];

impl Params {
    /// Takes one `key=value` word.
    pub(crate) fn set(
        &mut self,
        slot: &mut Slot<'_, Proxy>,
        of: Of,
        word: &Text,
    ) -> Result<(), Problem> {
        let (key, value) = key_value(word)?;
        if let Some(name) = MEMBERS.iter().find(|name| key.eq_ignore_case(name)) {
            self.member.set(name, &value)?;
            if of == Of::Worker {
                slot.diagnostics.push(Diagnostic::note(
                    "RC0308",
                    key.span(),
                    format!("{name} has no effect here: it is for members of a balancer"),
                ));
            }
            return Ok(());
        }
        if let Some(name) = health::NAMES.iter().find(|name| key.eq_ignore_case(name)) {
            if of == Of::Worker {
                let message = "only members of a balancer are checked";
                return Err(Problem::at(key.span(), message));
            }
            return self.member.health.set(slot, name, &value);
        }
        match key.lossy().to_ascii_lowercase().as_str() {
            "timeout" => self.timeout = Some(values::seconds(&value, "timeout", 1)?),
            "connectiontimeout" => {
                self.connect_timeout = Some(at_least_1ms(&value, "connectiontimeout")?)
            }
            "ttl" => self.ttl = Some(values::seconds(&value, "ttl", 1)?),
            "disablereuse" => self.reuse = Some(!values::on_off(&value, "disablereuse")?),
            "enablereuse" => self.reuse = Some(values::on_off(&value, "enablereuse")?),
            "addressttl" => self.address_ttl = address_ttl(&value)?,
            // Zero opens none in httpd too, where it means its default.
            "max" => {
                let most = values::small(&value, "max", 0..=PERMITS_MAX)?;
                self.max = (most > 0).then_some(most);
            }
            "acquire" => self.acquire = Some(at_least_1ms_of(&value, "acquire", MILLISECOND)?),
            "keepalive" => self.keep_alive = Some(values::on_off(&value, "keepalive")?),
            "ping" => self.ping = Some(at_least_1ms(&value, "ping")?),
            "responsefieldsize" => self.field_max = buffer(&value, "responsefieldsize")?,
            "receivebuffersize" => self.receive_buffer = buffer(&value, "receivebuffersize")?,
            "upgrade" => self.upgrade = upgrade(&value)?,
            other => return without_effect(slot, other, &key, &value),
        }
        Ok(())
    }
}

impl MemberParams {
    fn set(&mut self, name: &str, value: &Text) -> Result<(), Problem> {
        match name {
            "route" => self.route = Some(route(value, name)?),
            "redirect" => self.redirect = Some(route(value, name)?),
            "loadfactor" => self.factor = Some(factor(value)?),
            "lbset" => self.set = u8::try_from(values::small(value, name, 0..=99)?).ok(),
            "status" => self.status = Some(status(self.status.unwrap_or(0), value)?),
            _ => self.retry = Some(values::duration(value, name, Duration::from_secs(1))?),
        }
        Ok(())
    }
}

/// Takes `key=value` apart.
pub(crate) fn key_value(word: &Text) -> Result<(Text, Text), Problem> {
    match word.bytes().iter().position(|&byte| byte == b'=') {
        Some(equals) => Ok((word.slice(0..equals), word.slice(equals + 1..word.len()))),
        None => Err(Problem::at(
            word.span(),
            format!(
                "`{}` is not a parameter of the form key=value",
                word.lossy()
            ),
        )),
    }
}

/// httpd keeps routes in 64 bytes.
fn route(value: &Text, name: &str) -> Result<String, Problem> {
    if value.len() > 63 {
        let message = format!("{name} may have at most 63 bytes");
        return Err(Problem::at(value.span(), message));
    }
    Ok(value.lossy().into_owned())
}

/// 1 to 100 with up to two decimals, as hundredths.
fn factor(value: &Text) -> Result<u32, Problem> {
    let text = value.lossy();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = format!("{whole}{part:0<2}");
    let hundredths = (digits(whole) && digits(part) && part.len() <= 2)
        .then(|| padded.parse::<u32>().ok())
        .flatten();
    hundredths
        .filter(|factor| (100..=10_000).contains(factor))
        .ok_or_else(|| {
            Problem::at(
                value.span(),
                "loadfactor takes a number from 1 to 100 with up to two decimals",
            )
        })
}

/// Letters of the status, `-` in front of one takes it away.
fn status(mut bits: u16, value: &Text) -> Result<u16, Problem> {
    let mut on = true;
    for (index, &letter) in value.bytes().iter().enumerate() {
        match (letter, MemberStatus::of(letter)) {
            (b'+', _) => on = true,
            (b'-', _) => on = false,
            (_, Some(bit)) if on => bits |= bit,
            (_, Some(bit)) => bits &= !bit,
            (_, None) => {
                return Err(Problem::at(
                    value.span_of(index..index + 1),
                    "the letters of status are D, S, I, H, R, E, N and C, with + or - in front",
                ));
            }
        }
    }
    Ok(bits)
}

fn at_least_1ms(value: &Text, name: &str) -> Result<Duration, Problem> {
    at_least_1ms_of(value, name, Duration::from_secs(1))
}

fn at_least_1ms_of(value: &Text, name: &str, unit: Duration) -> Result<Duration, Problem> {
    let time = values::duration(value, name, unit)?;
    if time.is_zero() {
        return Err(Problem::at(
            value.span(),
            format!("{name} must be at least 1ms"),
        ));
    }
    Ok(time)
}

/// Seconds; -1 is httpd's default, where relais' own limit holds.
fn address_ttl(value: &Text) -> Result<Option<Duration>, Problem> {
    if value.bytes() == b"-1" {
        return Ok(None);
    }
    values::seconds(value, "addressttl", 0).map(Some)
}

/// A size in bytes of at least 512; zero is the default.
pub(super) fn buffer(value: &Text, name: &str) -> Result<Option<u32>, Problem> {
    match values::small(value, name, 0..=BUFFER_MAX)? {
        0 => Ok(None),
        bytes @ 1..512 => Err(Problem::at(
            value.span(),
            format!("{name} must be at least 512 bytes, or 0 for the default; not {bytes}"),
        )),
        bytes => Ok(Some(bytes)),
    }
}

/// httpd keeps the value in 16 bytes; an empty one is none.
fn upgrade(value: &Text) -> Result<Option<Upgrade>, Problem> {
    if value.len() > 15 {
        return Err(Problem::at(
            value.span(),
            "the value of upgrade may have at most 15 characters",
        ));
    }
    Ok((!value.is_empty()).then(|| parse_upgrade(&value.lossy())))
}

fn without_effect(
    slot: &mut Slot<'_, Proxy>,
    name: &str,
    key: &Text,
    value: &Text,
) -> Result<(), Problem> {
    if let Some((name, shape, why)) = IGNORED.iter().find(|(have, ..)| *have == name) {
        check(shape, name, value)?;
        slot.diagnostics.push(Diagnostic::note(
            "RC0308",
            key.span(),
            format!("{name} has no effect here: {why}"),
        ));
        return Ok(());
    }
    if name == "secret" {
        return Err(Problem::at(
            key.span(),
            "secret belongs to AJP, which relais does not speak",
        ));
    }
    let known = OURS
        .iter()
        .chain(IGNORED.iter().map(|(name, ..)| name))
        .chain(MEMBERS)
        .chain(health::NAMES)
        .copied();
    let problem = Problem::at(
        key.span(),
        format!("unknown worker parameter `{}`", key.lossy()),
    );
    Err(match relais_conf::value::did_you_mean(name, known) {
        Some(near) => problem.with_help(format!("did you mean `{near}`?")),
        None => problem,
    })
}

fn check(shape: &Shape, name: &str, value: &Text) -> Result<(), Problem> {
    match shape {
        Shape::Number => values::number(
            &value.slice(usize::from(value.bytes().starts_with(b"-"))..value.len()),
            name,
            0..=u64::MAX,
        )
        .map(|_| ()),
        Shape::Flush => values::choice(value, name, &["On", "Off", "auto", "flush"]).map(|_| ()),
    }
}
