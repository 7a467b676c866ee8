//! mod_authn_core: by which scheme a user proves to be one, and what for.

use relais_conf::Text;
use relais_expr::{State, StringExpression};
use relais_policy::{Context, Directive, Exchange, Module, Problem, Set, SetResult, Slot};

/// mod_authn_core.
pub struct AuthnCore;

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    scheme: Option<Scheme>,
    realm: Option<StringExpression>,
}

/// `AuthType`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    None,
    Basic,
}

const PLACES: Context = Context::DIRECTORY.or(Context::PROXY);

impl Module for AuthnCore {
    const NAME: &'static str = "mod_authn_core";
    const IDENTIFIER: &'static str = "authn_core_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "AuthType",
            syntax: "AuthType None|Basic|Digest|Form",
            context: PLACES,
            default: None,
            doc: "The scheme by which clients say who they are.",
            accepts: &["AuthType Basic", "AuthType none", "AuthType basic"],
            refuses: &[
                "AuthType",
                "AuthType Digest",
                "AuthType Form",
                "AuthType x y",
            ],
            set: Set::Take1(auth_type),
        },
        Directive {
            name: "AuthName",
            syntax: "AuthName auth-domain",
            context: PLACES,
            default: None,
            doc: "What users log in to, as their clients show it; it may hold variables.",
            accepts: &["AuthName \"Members only\"", "AuthName %{HTTP_HOST}"],
            refuses: &[
                "AuthName",
                "AuthName members only",
                "AuthName %{NOTHING_LIKE_IT}",
            ],
            set: Set::Take1(auth_name),
        },
    ];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section {
            scheme: inner.scheme.or(outer.scheme),
            realm: inner.realm.clone().or_else(|| outer.realm.clone()),
        }
    }
}

fn auth_type(slot: &mut Slot<'_, AuthnCore>, word: &Text) -> SetResult {
    slot.section.scheme = Some(match &*word.lossy().to_ascii_lowercase() {
        "none" => Scheme::None,
        "basic" => Scheme::Basic,
        "digest" | "form" => {
            return Err(Problem::not_yet(
                word.span(),
                format!("AuthType {} is not implemented yet", word.lossy()),
            ));
        }
        other if other.contains("%{") => {
            return Err(Problem::not_yet(
                word.span(),
                "AuthType by expression is not implemented yet",
            ));
        }
        _ => {
            return Err(Problem::at(
                word.span(),
                format!("no module of httpd has the scheme `{}`", word.lossy()),
            ));
        }
    });
    Ok(())
}

fn auth_name(slot: &mut Slot<'_, AuthnCore>, word: &Text) -> SetResult {
    let name = StringExpression::parse(word.bytes())
        .map_err(|error| Problem::at(word.span_of(error.range), error.message))?;
    slot.section.realm = Some(name);
    Ok(())
}

/// The scheme that is configured; `AuthType None` is none.
pub(crate) fn scheme(exchange: &Exchange<'_>) -> Option<Scheme> {
    let scheme = exchange.section_settings::<Section>().scheme;
    scheme.filter(|scheme| *scheme != Scheme::None)
}

/// The realm, with what would end a quoted string escaped.
pub(crate) fn realm(exchange: &Exchange<'_>) -> Option<Vec<u8>> {
    let realm = exchange.section_settings::<Section>().realm.as_ref()?;
    let mut text = Vec::new();
    realm.eval(exchange, &mut State::default(), &mut text);
    let mut quoted = Vec::with_capacity(text.len());
    let mut bytes = text.into_iter();
    // httpd's `ap_escape_quotes`: what is escaped already stays.
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                quoted.push(byte);
                quoted.push(bytes.next().unwrap_or(b'\\'));
            }
            b'"' => quoted.extend_from_slice(b"\\\""),
            // A field holds no control characters.
            0..32 | 127 => quoted.push(b' '),
            _ => quoted.push(byte),
        }
    }
    Some(quoted)
}
