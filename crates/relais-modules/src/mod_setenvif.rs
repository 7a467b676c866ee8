//! mod_setenvif: environment variables by what a request looks like.
//!
//! Directives of a server run when its head has been read, those of a section
//! when the path has been mapped, each in file order so that a later one sees
//! what an earlier one has set (mod_setenvif.html).

use std::sync::Arc;

use relais_conf::Text;
use relais_expr::{
    Expression, Groups, Lookup as _, Regex, RegexFlags, State, Variable, substitute,
};
use relais_policy::{
    Context, Directive, Exchange, Flow, Module, Problem, Set, SetResult, Slot, uri,
};

use crate::values;

/// mod_setenvif.
pub struct SetEnvIf;

/// The conditions of a server or a section, in file order.
#[derive(Clone, Default, Debug)]
pub struct Conditions(Vec<Arc<Condition>>);

/// The conditions of a section: a type of its own, so that settings are found
/// by it.
#[derive(Clone, Default, Debug)]
pub struct Section(Conditions);

/// One directive.
#[derive(Debug)]
struct Condition {
    test: Test,
    changes: Vec<Change>,
}

/// What has to be so.
#[derive(Debug)]
enum Test {
    Attribute(Attribute, Regex),
    Expression(Expression),
}

/// What is looked at.
#[derive(Debug)]
enum Attribute {
    /// A server variable's equivalent among the special names.
    Variable(Variable),
    /// The path, as far as it is known.
    Path,
    /// A request field, else an environment variable.
    Named(Box<[u8]>),
    /// The first request field whose name matches.
    Matching(Regex),
}

#[derive(Debug)]
struct Change {
    name: Box<[u8]>,
    /// `None` takes the variable away.
    value: Option<Box<[u8]>>,
}

impl Module for SetEnvIf {
    const NAME: &'static str = "mod_setenvif";
    const IDENTIFIER: &'static str = "setenvif_module";
    type Host = Conditions;
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "SetEnvIf",
            syntax: "SetEnvIf attribute regex [!]env-variable[=value] [[!]env-variable[=value]] ...",
            context: Context::ANY,
            default: None,
            doc: "Sets variables when an attribute of the request matches; `$0` to `$9` in a value are groups.",
            accepts: &[
                "SetEnvIf Request_URI \"\\.gif$\" image",
                "SetEnvIf Referer ^https?://([^/]+) from=$1 !other",
                "SetEnvIf ^X-Fo* . fo",
            ],
            refuses: &[
                "SetEnvIf",
                "SetEnvIf Host",
                "SetEnvIf Host x",
                "SetEnvIf Host ( x",
                "SetEnvIf ^X( . x",
                "SetEnvIf Host . !",
            ],
            set: Set::Words(|slot, words| by_attribute(slot, words, false)),
        },
        Directive {
            name: "SetEnvIfNoCase",
            syntax: "SetEnvIfNoCase attribute regex [!]env-variable[=value] [[!]env-variable[=value]] ...",
            context: Context::ANY,
            default: None,
            doc: "SetEnvIf without regard to case.",
            accepts: &["SetEnvIfNoCase Host Example\\.Org site=example"],
            refuses: &["SetEnvIfNoCase", "SetEnvIfNoCase Host x"],
            set: Set::Words(|slot, words| by_attribute(slot, words, true)),
        },
        Directive {
            name: "SetEnvIfExpr",
            syntax: "SetEnvIfExpr expr [!]env-variable[=value] [[!]env-variable[=value]] ...",
            context: Context::ANY,
            default: None,
            doc: "Sets variables when an expression holds; `$0` to `$9` are the groups of its last match.",
            accepts: &["SetEnvIfExpr \"%{REQUEST_URI} =~ m#^/(a|b)#\" part=$1"],
            refuses: &["SetEnvIfExpr", "SetEnvIfExpr true", "SetEnvIfExpr TRUE x"],
            set: Set::Words(by_expression),
        },
        Directive {
            name: "BrowserMatch",
            syntax: "BrowserMatch regex [!]env-variable[=value] [[!]env-variable[=value]] ...",
            context: Context::ANY,
            default: None,
            doc: "SetEnvIf on the User-Agent.",
            accepts: &["BrowserMatch \"MSIE [2-6]\" nokeepalive downgrade-1.0"],
            refuses: &["BrowserMatch", "BrowserMatch x"],
            set: Set::Words(|slot, words| by_agent(slot, words, false)),
        },
        Directive {
            name: "BrowserMatchNoCase",
            syntax: "BrowserMatchNoCase regex [!]env-variable[=value] [[!]env-variable[=value]] ...",
            context: Context::ANY,
            default: None,
            doc: "BrowserMatch without regard to case.",
            accepts: &["BrowserMatchNoCase mac platform=macintosh"],
            refuses: &["BrowserMatchNoCase"],
            set: Set::Words(|slot, words| by_agent(slot, words, true)),
        },
    ];

    fn merge_host(outer: &Conditions, inner: &Conditions) -> Conditions {
        Conditions(outer.0.iter().chain(&inner.0).cloned().collect())
    }

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section(Self::merge_host(&outer.0, &inner.0))
    }
}

fn by_attribute(slot: &mut Slot<'_, SetEnvIf>, words: &[Text], caseless: bool) -> SetResult {
    let [attribute, regex, changes @ ..] = words else {
        return Err(few(slot));
    };
    let attribute = Attribute::parse(attribute)?;
    add(slot, attribute, regex, changes, caseless)
}

fn by_agent(slot: &mut Slot<'_, SetEnvIf>, words: &[Text], caseless: bool) -> SetResult {
    let [regex, changes @ ..] = words else {
        return Err(few(slot));
    };
    let attribute = Attribute::Named(Box::from(&b"User-Agent"[..]));
    add(slot, attribute, regex, changes, caseless)
}

fn by_expression(slot: &mut Slot<'_, SetEnvIf>, words: &[Text]) -> SetResult {
    let [expression, changes @ ..] = words else {
        return Err(few(slot));
    };
    if changes.is_empty() {
        return Err(Problem::new("SetEnvIfExpr names no variable to set"));
    }
    let test = Test::Expression(values::expression(expression, 0)?);
    push(slot, test, changes)
}

fn few(slot: &Slot<'_, SetEnvIf>) -> Problem {
    Problem::new(format!("{} has too few arguments", slot.place.name.lossy()))
}

fn add(
    slot: &mut Slot<'_, SetEnvIf>,
    attribute: Attribute,
    regex: &Text,
    changes: &[Text],
    caseless: bool,
) -> SetResult {
    if changes.is_empty() {
        let name = slot.place.name.lossy();
        return Err(Problem::new(format!("{name} names no variable to set")));
    }
    let regex = values::regex(regex, RegexFlags::caseless(caseless))?;
    push(slot, Test::Attribute(attribute, regex), changes)
}

fn push(slot: &mut Slot<'_, SetEnvIf>, test: Test, changes: &[Text]) -> SetResult {
    let changes = changes
        .iter()
        .map(Change::parse)
        .collect::<Result<_, _>>()?;
    let condition = Condition { test, changes };
    let list = match slot.place.section {
        Some(_) => &mut slot.section.0,
        None => &mut *slot.host,
    };
    list.0.push(Arc::new(condition));
    Ok(())
}

impl Attribute {
    fn parse(word: &Text) -> Result<Self, Problem> {
        let special = SPECIAL.iter().find(|(name, _)| word.eq_ignore_case(name));
        if let Some((_, variable)) = special {
            return Ok(Self::Variable(variable.clone()));
        }
        if word.eq_ignore_case("Request_URI") {
            return Ok(Self::Path);
        }
        if word
            .bytes()
            .iter()
            .any(|byte| b"^$.*+?[](){}|\\".contains(byte))
        {
            let flags = RegexFlags::caseless(true);
            return Ok(Self::Matching(values::regex(word, flags)?));
        }
        Ok(Self::Named(word.bytes().into()))
    }

    /// Appends the attribute's value; one that is not there is empty.
    fn write(&self, exchange: &Exchange<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Variable(variable) => exchange.variable(variable, out),
            // Before the path has been decoded, httpd looks at what was sent.
            Self::Path if exchange.path.is_empty() => {
                let (path, _) = uri::split_target(exchange.head.target());
                out.extend_from_slice(uri::without_double_slash(path));
            }
            Self::Path => out.extend_from_slice(&exchange.path),
            Self::Matching(regex) => {
                // Of several fields that fit it is the last one, in httpd's loop.
                let fields = exchange.fields().iter();
                let found = fields
                    .filter(|(name, _)| exchange.matches(regex, name, &"SetEnvIf"))
                    .last();
                out.extend_from_slice(found.map(|(_, value)| value).unwrap_or_default());
            }
            Self::Named(name) => {
                if exchange.fields().contains(name) {
                    exchange.variable(&Variable::Header(name.clone()), out);
                } else {
                    out.extend_from_slice(exchange.environment.get(name).unwrap_or_default());
                }
            }
        }
    }
}

/// The special names (mod_setenvif.html#setenvif).
const SPECIAL: [(&str, Variable); 5] = [
    ("Remote_Host", Variable::RemoteHost),
    ("Remote_Addr", Variable::RemoteAddr),
    ("Server_Addr", Variable::ServerAddr),
    ("Request_Method", Variable::RequestMethod),
    ("Request_Protocol", Variable::ServerProtocol),
];

impl Change {
    fn parse(word: &Text) -> Result<Self, Problem> {
        let (name, value) = match word.bytes() {
            [b'!', name @ ..] => (name, None),
            bytes => {
                let mut parts = bytes.splitn(2, |&byte| byte == b'=');
                let name = parts.next().unwrap_or_default();
                (name, Some(parts.next().unwrap_or(b"1").into()))
            }
        };
        if name.is_empty() {
            return Err(Problem::at(word.span(), "a variable without a name"));
        }
        Ok(Self {
            name: name.into(),
            value,
        })
    }
}

/// httpd: mod_setenvif's post_read_request, for what stands in a server.
pub(crate) fn post_read(exchange: &mut Exchange<'_>) -> Flow {
    let conditions: &Conditions = exchange.host_settings();
    apply(exchange, conditions);
    Flow::Declined
}

/// httpd: mod_setenvif's header_parser, for what stands in a section.
pub(crate) fn header_parser(exchange: &mut Exchange<'_>) -> Flow {
    let section = Arc::clone(&exchange.section);
    apply(exchange, &section.get::<Section>().0);
    Flow::Declined
}

/// Whether a pattern is only text. httpd looks for such a one without its
/// regular expressions, has no groups then, and takes `$1` as it is
/// (`non_regex_pattern`).
fn is_plain(pattern: &[u8]) -> bool {
    let mut escaped = false;
    for &byte in pattern {
        let special = b"^$.|()[]*+?{}".contains(&byte);
        if byte == b'\\' {
            escaped = !escaped;
        } else if special != escaped {
            return false;
        } else {
            escaped = false;
        }
    }
    !escaped
}

fn apply(exchange: &mut Exchange<'_>, conditions: &Conditions) {
    let (mut subject, mut value) = (Vec::new(), Vec::new());
    let mut state = State::default();
    for condition in &conditions.0 {
        let (groups, as_it_is) = match &condition.test {
            Test::Attribute(attribute, regex) => {
                subject.clear();
                attribute.write(exchange, &mut subject);
                let Some(captures) = exchange.captures(regex, &subject, &"SetEnvIf") else {
                    continue;
                };
                (Groups::new(&subject, captures), is_plain(regex.source()))
            }
            Test::Expression(expression) => {
                state.reset();
                let holds = expression.eval(exchange, &mut state).unwrap_or(false);
                state.headers_read().for_each(|name| exchange.vary_on(name));
                if !holds {
                    continue;
                }
                let (captures, source) = state.matched();
                (Groups::new(source, captures), captures.get(0).is_none())
            }
        };
        for change in &condition.changes {
            value.clear();
            match &change.value {
                Some(text) if as_it_is => value.extend_from_slice(text),
                Some(template) => substitute(template, &groups, &mut value),
                None => {}
            }
            let set = change.value.is_some().then_some(value.as_slice());
            exchange.environment.set(&change.name, set);
        }
    }
}
