//! The tree of `Require` lines of one place, and what it says of a request
//! (`apply_authz_sections` of mod_authz_core).

use std::sync::Arc;

use relais_conf::{Span, Text};
use relais_policy::{Exchange, Limit, Problem};
use relais_telemetry::Level;

use crate::address::AddressRange;
use crate::methods;

/// What a line or a group says of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Granted,
    Denied,
    /// It has no say: a negative one never grants.
    Neutral,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Neutral => "neutral",
        }
    }

    fn negated(self) -> Self {
        match self {
            Self::Granted => Self::Denied,
            Self::Denied | Self::Neutral => Self::Neutral,
        }
    }
}

/// How a group joins what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Logic {
    /// None may fail and one has to succeed.
    All,
    /// One has to succeed.
    Any,
}

/// `<RequireAll>`, `<RequireAny>`, `<RequireNone>`, or the lines of a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Group {
    pub(super) logic: Logic,
    pub(super) negate: bool,
    /// Made by `AuthMerging`, as log lines show it.
    pub(super) merged: bool,
    pub(super) members: Vec<Member>,
    /// The opening line; for the lines of a section, its first.
    pub(super) span: Span,
}

/// One member of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Member {
    Line(Line),
    Group(Arc<Group>),
}

/// One `Require` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    pub(super) negate: bool,
    /// What follows `Require [not]`, as log lines show it.
    text: String,
    provider: Provider,
    /// `<Limit>` around it.
    limit: Option<Limit>,
}

impl Member {
    /// Whether requests of this method are spoken of at all.
    fn covers(&self, method: &[u8]) -> bool {
        match self {
            Self::Line(line) => line.limit.as_ref().is_none_or(|limit| limit.covers(method)),
            Self::Group(group) => group.covers(method),
        }
    }

    /// What the member of a group of this logic says; one for other methods
    /// stands in nobody's way.
    fn apply(&self, exchange: &mut Exchange<'_>, logic: Logic) -> Verdict {
        if !self.covers(exchange.head.method()) {
            return match logic {
                Logic::All => Verdict::Granted,
                Logic::Any => Verdict::Neutral,
            };
        }
        match self {
            Self::Line(line) => line.apply(exchange),
            Self::Group(group) => group.apply(exchange),
        }
    }
}

/// What a line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Provider {
    All(bool),
    /// mod_authz_host.html#reqip
    Ip(Vec<AddressRange>),
    /// mod_authz_host.html#reqlocal
    Local,
    Env(Vec<Vec<u8>>),
    Method(Vec<&'static str>),
}

impl Line {
    /// What stands behind `Require`.
    pub(super) fn parse(args: &Text, limit: Option<&Limit>) -> Result<Self, Problem> {
        let (first, rest) = args.split_word().ok_or_else(|| {
            Problem::new("Require names what is asked for: `all granted`, `ip 10.0.0.0/8`, …")
        })?;
        let negate = first.eq_ignore_case("not");
        let (name, rest) = if negate {
            rest.split_word()
                .ok_or_else(|| Problem::at(first.span(), "`not` of what?"))?
        } else {
            (first, rest)
        };
        let rest = rest.trim();
        Ok(Self {
            negate,
            text: format!("{} {}", name.lossy(), rest.lossy()),
            provider: Provider::parse(&name, &rest)?,
            limit: limit.cloned(),
        })
    }

    fn apply(&self, exchange: &mut Exchange<'_>) -> Verdict {
        let verdict = self.provider.check(exchange);
        let verdict = if self.negate {
            verdict.negated()
        } else {
            verdict
        };
        note(exchange, &self.shown(), verdict);
        verdict
    }

    fn shown(&self) -> String {
        let not = if self.negate { "not " } else { "" };
        format!("Require {not}{}", self.text)
    }
}

impl Provider {
    fn parse(name: &Text, rest: &Text) -> Result<Self, Problem> {
        let words = rest.words();
        match &*name.lossy() {
            "all" => match &*rest.lossy().to_ascii_lowercase() {
                "granted" => Ok(Self::All(true)),
                "denied" => Ok(Self::All(false)),
                _ => Err(Problem::at(
                    rest.span(),
                    "Argument for 'Require all' must be 'granted' or 'denied'",
                )),
            },
            "ip" if words.is_empty() => Err(Problem::at(
                name.span(),
                "'Require ip' requires an argument",
            )),
            "ip" => Ok(Self::Ip(
                words
                    .iter()
                    .map(AddressRange::parse)
                    .collect::<Result<_, _>>()?,
            )),
            // httpd takes anything behind it.
            "local" => Ok(Self::Local),
            "env" => Ok(Self::Env(
                words.iter().map(|word| word.bytes().to_vec()).collect(),
            )),
            "method" => Ok(Self::Method(
                words
                    .iter()
                    .map(methods::method)
                    .collect::<Result<_, _>>()?,
            )),
            "expr" | "host" | "forward-dns" | "user" | "valid-user" | "group" | "ssl"
            | "ssl-verify-client" | "file-owner" | "file-group" => Err(Problem::not_yet(
                name.span(),
                format!("Require {} is not implemented yet", name.lossy()),
            )),
            other => Err(Problem::at(
                name.span(),
                format!("Unknown Authz provider: {other}"),
            )),
        }
    }

    fn check(&self, exchange: &Exchange<'_>) -> Verdict {
        let client = exchange.client.ip();
        let granted = match self {
            Self::All(granted) => *granted,
            Self::Ip(ranges) => ranges.iter().any(|range| range.contains(client)),
            Self::Local => client.is_loopback() || client == exchange.connection.local.ip(),
            Self::Env(names) => names
                .iter()
                .any(|name| exchange.environment.get(name).is_some()),
            Self::Method(names) => methods::covers(names, exchange.head.method()),
        };
        if granted {
            Verdict::Granted
        } else {
            Verdict::Denied
        }
    }
}

impl Group {
    /// The lines of a place without a group around them.
    pub(super) fn any(span: Span) -> Self {
        Self::new(Logic::Any, false, span)
    }

    pub(super) fn new(logic: Logic, negate: bool, span: Span) -> Self {
        Self {
            logic,
            negate,
            merged: false,
            members: Vec::new(),
            span,
        }
    }

    /// What the group's opening line looks like.
    pub(super) fn shown(&self) -> &'static str {
        match (self.merged, self.negate, self.logic) {
            (true, _, Logic::All) => "AuthMerging All",
            (true, _, Logic::Any) => "AuthMerging Any",
            (false, true, _) => "<RequireNone>",
            (false, false, Logic::All) => "<RequireAll>",
            (false, false, Logic::Any) => "<RequireAny>",
        }
    }

    /// Whether a line in it speaks of requests of this method.
    pub(super) fn covers(&self, method: &[u8]) -> bool {
        self.members.iter().any(|member| member.covers(method))
    }

    /// Whether nothing in it can grant, which httpd refuses.
    pub(super) fn only_negative(&self) -> bool {
        self.members.iter().all(|member| match member {
            Member::Line(line) => line.negate,
            Member::Group(group) => group.negate,
        })
    }

    /// What the group says of a request. A member that settles it ends it, so
    /// that the rest is not asked.
    pub(super) fn apply(&self, exchange: &mut Exchange<'_>) -> Verdict {
        let settles = match self.logic {
            Logic::All => Verdict::Denied,
            Logic::Any => Verdict::Granted,
        };
        let mut verdict = Verdict::Neutral;
        for member in &self.members {
            let one = member.apply(exchange, self.logic);
            if one == settles {
                verdict = one;
                break;
            }
            if verdict == Verdict::Neutral {
                verdict = one;
            }
        }
        if self.negate {
            verdict = verdict.negated();
        }
        note(exchange, self.shown(), verdict);
        verdict
    }
}

fn note(exchange: &mut Exchange<'_>, shown: &str, verdict: Verdict) {
    exchange.note("authz_core", Level::Debug, || {
        format!(
            "AH01626: authorization result of {shown}: {}",
            verdict.name()
        )
    });
}
