//! Health checks of members: `hcmethod=` and its relatives, and the templates
//! that hold them under a name (mod_proxy_hcheck).

use std::sync::Arc;
use std::time::Duration;

use relais_conf::Text;
use relais_expr::Expression;
use relais_policy::{HealthCondition, HealthMethod, HealthSpec, Problem, SetResult, Slot};

use super::Proxy;
use super::params::key_value;
use crate::values;

/// What can be said about a member's health check; `None` while unset.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct HealthParams {
    /// `Some(None)` is `NONE`.
    method: Option<Option<HealthMethod>>,
    uri: Option<String>,
    interval: Option<Duration>,
    passes: Option<u32>,
    fails: Option<u32>,
    condition: Option<HealthCondition>,
}

/// Its parameters.
pub(super) const NAMES: &[&str] = &[
    "hcmethod",
    "hcuri",
    "hcinterval",
    "hcpasses",
    "hcfails",
    "hctemplate",
    "hcexpr",
];

impl HealthParams {
    /// Takes one parameter.
    pub(super) fn set(
        &mut self,
        slot: &Slot<'_, Proxy>,
        name: &str,
        value: &Text,
    ) -> Result<(), Problem> {
        match name {
            "hcmethod" => self.method = Some(method(value)?),
            "hcuri" => self.uri = Some(uri(value)?),
            "hcinterval" => self.interval = Some(interval(value)?),
            "hcpasses" => self.passes = Some(values::small(value, name, 1..=u32::MAX)?),
            "hcfails" => self.fails = Some(values::small(value, name, 1..=u32::MAX)?),
            "hcexpr" => {
                let conditions = slot.host.health_conditions.iter();
                let named = conditions
                    .clone()
                    .find(|have| value.eq_ignore_case(&have.name));
                let unknown = || {
                    let message = format!("no ProxyHCExpr before this is named {}", value.lossy());
                    Problem::at(value.span(), message)
                };
                self.condition = Some(named.ok_or_else(unknown)?.clone());
            }
            _ => {
                let templates = &slot.host.health_templates;
                let named = templates
                    .iter()
                    .find(|(have, _)| value.eq_ignore_case(have));
                let (_, template) = named.ok_or_else(|| {
                    let message =
                        format!("no ProxyHCTemplate before this is named {}", value.lossy());
                    Problem::at(value.span(), message)
                })?;
                *self = template.clone();
            }
        }
        Ok(())
    }

    /// What the upstream crate needs; `path` is that of the member's URL.
    pub(super) fn spec(&self, path: &str) -> Option<HealthSpec> {
        let uri = self.uri.as_deref().unwrap_or_default();
        let target = format!("{path}{uri}");
        Some(HealthSpec {
            method: self.method.flatten()?,
            target: if target.is_empty() {
                "/".to_owned()
            } else {
                target
            },
            interval: self.interval.unwrap_or(Duration::from_secs(30)),
            passes: self.passes.unwrap_or(1),
            fails: self.fails.unwrap_or(1),
            condition: self.condition.clone(),
        })
    }
}

/// The handler of `ProxyHCTemplate`.
pub(super) fn set_template(slot: &mut Slot<'_, Proxy>, words: &[Text]) -> SetResult {
    let Some((name, options)) = words
        .split_first()
        .filter(|(_, options)| !options.is_empty())
    else {
        return Err(Problem::new("ProxyHCTemplate needs a name and parameters"));
    };
    let mut params = HealthParams::default();
    for option in options {
        let (key, value) = key_value(option)?;
        let known = NAMES.iter().find(|have| key.eq_ignore_case(have));
        let known = known.ok_or_else(|| {
            let message = format!("`{}` is no parameter of a health check", key.lossy());
            Problem::at(key.span(), message)
        })?;
        params.set(slot, known, &value)?;
    }
    let template = (name.lossy().into_owned(), params);
    slot.host.health_templates.push(template);
    Ok(())
}

/// The handler of `ProxyHCExpr`.
pub(super) fn set_condition(slot: &mut Slot<'_, Proxy>, args: &Text) -> SetResult {
    let needs = || Problem::new("ProxyHCExpr needs a name and an expression");
    let (name, rest) = args.split_word().ok_or_else(needs)?;
    let word = braced(&rest.trim())?.ok_or_else(needs)?;
    let expression =
        Expression::parse_health(word.bytes()).map_err(|error| values::blame(&word, 0, error))?;
    slot.host.health_conditions.push(HealthCondition {
        name: name.lossy().into_owned(),
        text: word.lossy().into_owned(),
        expression: Arc::new(expression),
    });
    Ok(())
}

/// The only word of a text; braces quote too (`ap_getword_conf2`).
fn braced(text: &Text) -> Result<Option<Text>, Problem> {
    if !text.bytes().starts_with(b"{") {
        return match text.words().as_slice() {
            [] => Ok(None),
            [word] => Ok(Some(word.clone())),
            [_, more, ..] => Err(Problem::at(
                more.span(),
                "the expression is one word: quote it",
            )),
        };
    }
    let mut depth = 0_usize;
    let mut bytes = text.bytes().iter();
    let end = bytes.position(|byte| {
        depth = match byte {
            b'{' => depth + 1,
            b'}' => depth - 1,
            _ => depth,
        };
        depth == 0
    });
    match end {
        Some(end) if end + 1 == text.len() => Ok(Some(text.slice(1..end))),
        Some(end) => {
            let rest = text.span_of(end + 1..text.len());
            Err(Problem::at(rest, "there is more behind the expression"))
        }
        None => Err(Problem::at(text.span_of(0..1), "the brace is not closed")),
    }
}

fn method(value: &Text) -> Result<Option<HealthMethod>, Problem> {
    let known = HealthMethod::NAMES
        .iter()
        .find(|(name, _)| value.eq_ignore_case(name));
    match known {
        Some((_, method)) => Ok(Some(*method)),
        None if value.eq_ignore_case("NONE") => Ok(None),
        None if value.eq_ignore_case("CPING") => Err(Problem::at(
            value.span(),
            "CPING belongs to AJP, which relais does not speak",
        )),
        None => Err(Problem::at(
            value.span(),
            format!("there is no hcmethod `{}`", value.lossy()),
        )
        .with_help("TCP, OPTIONS, HEAD, GET, the same with 11 for HTTP/1.1, WS, or NONE")),
    }
}

/// A path that can stand in a request line as it is.
fn uri(value: &Text) -> Result<String, Problem> {
    let text = value
        .as_str()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    match text {
        Some(text) => Ok(text.to_owned()),
        None => Err(Problem::at(
            value.span(),
            "hcuri takes a path and query without spaces",
        )),
    }
}

fn interval(value: &Text) -> Result<Duration, Problem> {
    let time = values::duration(value, "hcinterval", Duration::from_secs(1))?;
    if time < LEAST {
        return Err(Problem::at(
            value.span(),
            "hcinterval must be at least 100ms",
        ));
    }
    Ok(time)
}

/// httpd's watchdog wakes no more often.
const LEAST: Duration = Duration::from_millis(100);
