//! mod_access_compat: `Order`, `Allow`, `Deny` and `Satisfy` of httpd 2.2.

use relais_conf::Text;
use relais_policy::{
    Context, Directive, Exchange, Flow, Limit, Module, Problem, Set, SetResult, Slot,
};
use relais_telemetry::Level;

use crate::address::{AddressRange, looks_like_address};
use crate::client_name;
use crate::mod_authz_core::subject;
use crate::values;

/// mod_access_compat.
pub struct AccessCompat;

/// Per-section settings. httpd merges none of it: a section with any of these
/// directives starts anew.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Section {
    order: Vec<Limited<Order>>,
    allow: Vec<Limited<From>>,
    deny: Vec<Limited<From>>,
    satisfy: Vec<Limited<Satisfy>>,
}

/// A setting with the `<Limit>` around it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Limited<T> {
    limit: Option<Limit>,
    value: T,
}

impl<T> Limited<T> {
    fn new(slot: &Slot<'_, AccessCompat>, value: T) -> Self {
        Self {
            limit: slot.place.limit.cloned(),
            value,
        }
    }

    /// The settings of a list that hold for requests of this method.
    fn of<'l>(list: &'l [Self], method: &'l [u8]) -> impl DoubleEndedIterator<Item = &'l T> {
        list.iter()
            .filter(|one| one.limit.as_ref().is_none_or(|limit| limit.covers(method)))
            .map(|one| &one.value)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    AllowDeny,
    DenyAllow,
    MutualFailure,
}

/// `Satisfy`: whether the address and the Require lines both have to allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Satisfy {
    All,
    Any,
}

/// What `Allow from` and `Deny from` name.
#[derive(Clone, PartialEq, Eq, Debug)]
enum From {
    All,
    /// `env=NAME` or `env=!NAME`: the name and whether it has to be set.
    Env(Vec<u8>, bool),
    Ip(AddressRange),
    /// A host, or all hosts of a domain.
    Host(Vec<u8>),
}

const PLACES: Context = Context::DIRECTORY.or(Context::PROXY);

impl Module for AccessCompat {
    const NAME: &'static str = "mod_access_compat";
    const IDENTIFIER: &'static str = "access_compat_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "Order",
            syntax: "Order Allow,Deny|Deny,Allow|Mutual-failure",
            context: PLACES,
            default: Some("Deny,Allow"),
            doc: "Which of Allow and Deny has the last word, and what holds where neither matches.",
            accepts: &[
                "Order deny,allow",
                "Order Allow,Deny",
                "Order mutual-failure",
            ],
            refuses: &["Order", "Order deny, allow", "Order allow"],
            set: Set::Take1(|slot, word| {
                const CHOICES: [Order; 3] =
                    [Order::AllowDeny, Order::DenyAllow, Order::MutualFailure];
                let names = ["Allow,Deny", "Deny,Allow", "Mutual-failure"];
                let index = values::choice(word, "Order", &names)?;
                let order = CHOICES.get(index).copied();
                let order = order.map(|order| Limited::new(slot, order));
                slot.section.order.extend(order);
                Ok(())
            }),
        },
        Directive {
            name: "Allow",
            syntax: "Allow from all|host|env=[!]env-variable [host|env=[!]env-variable] ...",
            context: PLACES,
            default: None,
            doc: "Which clients may come in, as Order has it.",
            accepts: &[
                "Allow from all",
                "Allow from example.com localhost",
                "Allow from 10.1 192.168.0.0/16 env=inside env=!outside",
            ],
            refuses: &[
                "Allow",
                "Allow from",
                "Allow 10.1.2.3",
                "Allow from 10.1.2.3#home",
                "Allow from 10.1/16",
            ],
            set: Set::Words(|slot, words| {
                let from = from(words, "Allow")?;
                let from = from.into_iter().map(|from| Limited::new(slot, from));
                let from: Vec<_> = from.collect();
                slot.section.allow.extend(from);
                Ok(())
            }),
        },
        Directive {
            name: "Deny",
            syntax: "Deny from all|host|env=[!]env-variable [host|env=[!]env-variable] ...",
            context: PLACES,
            default: None,
            doc: "Which clients may not come in, as Order has it.",
            accepts: &["Deny from all", "Deny from 10.1.2.3 env=outside"],
            refuses: &["Deny from", "Deny all"],
            set: Set::Words(|slot, words| {
                let from = from(words, "Deny")?;
                let from = from.into_iter().map(|from| Limited::new(slot, from));
                let from: Vec<_> = from.collect();
                slot.section.deny.extend(from);
                Ok(())
            }),
        },
        Directive {
            name: "Satisfy",
            syntax: "Satisfy Any|All",
            context: PLACES,
            default: Some("All"),
            doc: "Whether Allow and Require both have to let a client in, or one of them.",
            accepts: &["Satisfy any", "Satisfy All"],
            refuses: &["Satisfy", "Satisfy none"],
            set: Set::Take1(satisfied_by),
        },
    ];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        if *inner == Section::default() {
            outer.clone()
        } else {
            inner.clone()
        }
    }
}

fn satisfied_by(slot: &mut Slot<'_, AccessCompat>, word: &Text) -> SetResult {
    let any = values::choice(word, "Satisfy", &["All", "Any"])? == 1;
    let satisfy = if any { Satisfy::Any } else { Satisfy::All };
    slot.section.satisfy.push(Limited::new(slot, satisfy));
    Ok(())
}

/// The words behind `Allow` or `Deny`.
fn from(words: &[Text], name: &str) -> Result<Vec<From>, Problem> {
    match words {
        [first, rest @ ..] if first.eq_ignore_case("from") && !rest.is_empty() => {
            rest.iter().map(From::parse).collect()
        }
        [first, ..] => Err(Problem::at(
            first.span(),
            format!("{name} takes `from` and at least one client"),
        )),
        [] => Err(Problem::new(format!(
            "{name} takes `from` and at least one client"
        ))),
    }
}

impl From {
    fn parse(word: &Text) -> Result<Self, Problem> {
        let text = word.lossy();
        if word.eq_ignore_case("all") {
            return Ok(Self::All);
        }
        if text.len() >= 4 && word.slice(0..4).eq_ignore_case("env=") {
            let name = word.bytes().get(4..).unwrap_or_default();
            return Ok(match name.strip_prefix(b"!") {
                Some(name) => Self::Env(name.to_vec(), false),
                None => Self::Env(name.to_vec(), true),
            });
        }
        if text.contains('/') || looks_like_address(&text) {
            return AddressRange::parse(word).map(Self::Ip);
        }
        if text.contains('#') {
            return Err(Problem::at(word.span(), "No comments are allowed here"));
        }
        Ok(Self::Host(word.bytes().to_vec()))
    }

    fn matches(&self, exchange: &Exchange<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Env(name, set) => exchange.environment.get(name).is_some() == *set,
            Self::Ip(range) => range.contains(exchange.client.ip()),
            Self::Host(domain) => client_name::is_in(exchange, domain),
        }
    }
}

/// What `Satisfy` says.
pub(crate) fn satisfy(exchange: &Exchange<'_>) -> Satisfy {
    let section = exchange.section_settings::<Section>();
    let last = Limited::of(&section.satisfy, exchange.head.method()).next_back();
    last.copied().unwrap_or(Satisfy::All)
}

/// Has the client's name looked up if a line asks for it.
pub(crate) fn look_up(exchange: &mut Exchange<'_>) -> Option<Flow> {
    let section = exchange.section_settings::<Section>();
    let mut lines = section.allow.iter().chain(&section.deny);
    let asks = lines.any(|line| matches!(line.value, From::Host(_)));
    asks.then(|| client_name::prepare(exchange)).flatten()
}

/// Whether Order, Allow and Deny let the client in; a refusal is logged.
pub(crate) fn allows(exchange: &mut Exchange<'_>) -> bool {
    let section = exchange.section_settings::<Section>();
    let method = exchange.head.method();
    let any = |list| Limited::of(list, method).any(|from: &From| from.matches(exchange));
    let order = Limited::of(&section.order, method).next_back();
    let allowed = match order.copied().unwrap_or(Order::DenyAllow) {
        Order::AllowDeny | Order::MutualFailure => any(&section.allow) && !any(&section.deny),
        Order::DenyAllow => !any(&section.deny) || any(&section.allow),
    };
    if !allowed {
        let line = format!(
            "AH01797: client denied by server configuration: {}",
            subject(exchange)
        );
        exchange.note("access_compat", Level::Error, || line);
    }
    allowed
}
