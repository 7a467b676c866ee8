//! The tree of `Require` lines of one place, and what it says of a request
//! (`apply_authz_sections` of mod_authz_core).

use std::sync::Arc;

use relais_conf::{Span, Text};
use relais_expr::{Expression, State};
use relais_policy::{Exchange, Flow, Limit, Problem};
use relais_telemetry::Level;

use crate::address::AddressRange;
use crate::client_name;
use crate::methods;
use crate::mod_authz_groupfile;

/// What a line or a group says of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Granted,
    Denied,
    /// Denied, unless there were a user.
    NoUser,
    /// It has no say: a negative one never grants.
    Neutral,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::NoUser => "denied (no authenticated user yet)",
            Self::Neutral => "neutral",
        }
    }

    fn negated(self) -> Self {
        match self {
            Self::Granted => Self::Denied,
            Self::Denied | Self::NoUser | Self::Neutral => Self::Neutral,
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
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub(super) enum Member {
    Line(Line),
    Group(Arc<Group>),
}

/// One `Require` line.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
enum Provider {
    All(bool),
    /// mod_authz_host.html#reqip
    Ip(Vec<AddressRange>),
    /// mod_authz_host.html#reqlocal
    Local,
    /// mod_authz_host.html#reqhost
    Host(Vec<Vec<u8>>),
    /// mod_authz_host.html#reqforwarddns
    ForwardDns(Vec<String>),
    Env(Vec<Vec<u8>>),
    Method(Vec<&'static str>),
    /// A condition, and whether it asks for the user.
    Expr(Arc<Expression>, bool),
    /// mod_ssl.html#authzproviders: the connection is encrypted.
    Ssl,
    /// The client has shown a certificate that was found good.
    SslVerifyClient,
    User(Vec<Vec<u8>>),
    ValidUser,
    Group(Vec<Vec<u8>>),
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
            "expr" => Self::expression(rest),
            "user" => names(rest).map(Self::User),
            "group" => names(rest).map(Self::Group),
            "valid-user" => Ok(Self::ValidUser),
            "ssl" | "ssl-verify-client" if !words.is_empty() => Err(Problem::at(
                rest.span(),
                format!("Require {} takes no argument", name.lossy()),
            )),
            "ssl" => Ok(Self::Ssl),
            "ssl-verify-client" => Ok(Self::SslVerifyClient),
            "host" if words.is_empty() => Err(Problem::at(
                name.span(),
                "'Require host' requires an argument",
            )),
            "host" => names(rest).map(Self::Host),
            "forward-dns" if words.is_empty() => Err(Problem::at(
                name.span(),
                "'Require forward-dns' requires an argument",
            )),
            "forward-dns" => {
                let names = names(rest)?.into_iter();
                let names = names.map(|name| String::from_utf8_lossy(&name).into_owned());
                Ok(Self::ForwardDns(names.collect()))
            }
            "file-owner" | "file-group" => Err(Problem::not_yet(
                name.span(),
                format!("Require {} is not implemented yet", name.lossy()),
            )),
            other => Err(Problem::at(
                name.span(),
                format!("Unknown Authz provider: {other}"),
            )),
        }
    }

    /// The rest of the line, with or without quotes around it.
    fn expression(rest: &Text) -> Result<Self, Problem> {
        let quoted =
            rest.len() > 1 && rest.bytes().starts_with(b"\"") && rest.bytes().ends_with(b"\"");
        let text = if quoted {
            rest.slice(1..rest.len() - 1)
        } else {
            rest.clone()
        };
        let expression = Expression::parse(text.bytes()).map_err(|error| {
            let message = format!("Cannot parse expression in require line: {}", error.message);
            Problem::at(text.span_of(error.range), message)
        })?;
        let upper = text.lossy().to_ascii_uppercase();
        Ok(Self::Expr(
            Arc::new(expression),
            upper.contains("REMOTE_USER"),
        ))
    }

    fn check(&self, exchange: &mut Exchange<'_>) -> Verdict {
        let client = exchange.client.ip();
        let granted = match self {
            Self::All(granted) => *granted,
            Self::Ip(ranges) => ranges.iter().any(|range| range.contains(client)),
            Self::Local => client.is_loopback() || client == exchange.connection.local.ip(),
            Self::Host(names) => names.iter().any(|name| client_name::is_in(exchange, name)),
            Self::ForwardDns(names) => client_name::has_client(exchange, names),
            Self::Env(names) => names
                .iter()
                .any(|name| exchange.environment.get(name).is_some()),
            Self::Method(names) => methods::covers(names, exchange.head.method()),
            Self::Expr(expression, _) => holds(exchange, expression),
            Self::Ssl => exchange.connection.secure,
            Self::SslVerifyClient => exchange.tls.is_some_and(|tls| tls.is_verified()),
            Self::User(_) | Self::ValidUser | Self::Group(_) => {
                return match exchange.user.clone() {
                    Some(user) => self.check_user(exchange, &user),
                    None => Verdict::NoUser,
                };
            }
        };
        match self {
            _ if granted => Verdict::Granted,
            Self::Expr(_, true) => Verdict::NoUser,
            _ => Verdict::Denied,
        }
    }

    fn check_user(&self, exchange: &mut Exchange<'_>, user: &[u8]) -> Verdict {
        let granted = match self {
            Self::User(names) => names.iter().any(|name| name == user),
            Self::Group(names) => mod_authz_groupfile::is_member(exchange, names),
            _ => true,
        };
        if granted {
            return Verdict::Granted;
        }
        if matches!(self, Self::User(_)) {
            let line = format!(
                "AH01663: access to {} failed, reason: user '{}' does not meet 'require'ments for user to be allowed access",
                String::from_utf8_lossy(&exchange.path),
                String::from_utf8_lossy(user)
            );
            exchange.note("authz_user", Level::Debug, || line);
        }
        Verdict::Denied
    }
}

/// The names of users or groups.
fn names(rest: &Text) -> Result<Vec<Vec<u8>>, Problem> {
    if rest.bytes().windows(2).any(|pair| pair == b"%{") {
        return Err(Problem::not_yet(
            rest.span(),
            "names by expression are not implemented yet",
        ));
    }
    Ok(rest
        .words()
        .iter()
        .map(|word| word.bytes().to_vec())
        .collect())
}

/// Whether a condition holds; one that cannot be decided does not.
fn holds(exchange: &mut Exchange<'_>, expression: &Expression) -> bool {
    let result = expression.eval(exchange, &mut State::default());
    result.unwrap_or_else(|error| {
        exchange.note("authz_core", Level::Error, || {
            format!("AH02320: Error evaluating expression in 'Require expr': {error}")
        });
        false
    })
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

    /// Has looked up what its lines ask of the resolver.
    pub(super) fn look_up(&self, exchange: &mut Exchange<'_>) -> Option<Flow> {
        self.members.iter().find_map(|member| match member {
            Member::Line(line) => match &line.provider {
                Provider::Host(_) => client_name::prepare(exchange),
                Provider::ForwardDns(names) => client_name::prepare_forward(exchange, names),
                _ => None,
            },
            Member::Group(group) => group.look_up(exchange),
        })
    }

    /// Whether a line in it asks for a group.
    pub(super) fn asks_for_groups(&self) -> bool {
        self.members.iter().any(|member| match member {
            Member::Line(line) => matches!(line.provider, Provider::Group(_)),
            Member::Group(group) => group.asks_for_groups(),
        })
    }

    /// What a member that settles nothing makes of what was said before it: a
    /// user is worth asking for where one could change the outcome.
    fn joined(&self, before: Verdict, one: Verdict) -> Verdict {
        match (self.logic, before, one) {
            (_, _, Verdict::Neutral) => before,
            (_, Verdict::Neutral, _) => one,
            (Logic::All, _, Verdict::NoUser) => one,
            (Logic::Any, Verdict::Denied, Verdict::NoUser) => one,
            _ => before,
        }
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
            verdict = self.joined(verdict, one);
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
