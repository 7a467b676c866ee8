//! mod_auth_basic: the Basic scheme of RFC 7617.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use relais_conf::Text;
use relais_policy::{
    Context, Decision, Directive, Exchange, Flow, Lookup, Module, Problem, Respond, Set, SetResult,
    Slot,
};
use relais_telemetry::Level;

use crate::mod_authn_core::{self, Scheme};
use crate::mod_authn_file::{self, Outcome};

/// mod_auth_basic.
pub struct AuthBasic;

/// Per-section settings.
#[derive(Clone, Copy, Default, Debug)]
pub struct Section {
    authoritative: Option<bool>,
}

const PLACES: Context = Context::DIRECTORY.or(Context::PROXY);

impl Module for AuthBasic {
    const NAME: &'static str = "mod_auth_basic";
    const IDENTIFIER: &'static str = "auth_basic_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "AuthBasicProvider",
            syntax: "AuthBasicProvider provider-name [provider-name] ...",
            context: PLACES,
            default: Some("file"),
            doc: "Where passwords are looked up; relais has `file`.",
            accepts: &["AuthBasicProvider file"],
            refuses: &[
                "AuthBasicProvider",
                "AuthBasicProvider ldap",
                "AuthBasicProvider anon file",
            ],
            set: Set::Iterate(provider),
        },
        Directive {
            name: "AuthBasicAuthoritative",
            syntax: "AuthBasicAuthoritative On|Off",
            context: PLACES,
            default: Some("On"),
            doc: "Whether a user who is in no file is refused; with Off a module behind would be asked, and since there is none the answer is 500.",
            accepts: &["AuthBasicAuthoritative On", "AuthBasicAuthoritative Off"],
            refuses: &["AuthBasicAuthoritative", "AuthBasicAuthoritative x"],
            set: Set::Flag(|slot, on| {
                slot.section.authoritative = Some(on);
                Ok(())
            }),
        },
    ];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section {
            authoritative: inner.authoritative.or(outer.authoritative),
        }
    }
}

fn provider(_slot: &mut Slot<'_, AuthBasic>, word: &Text) -> SetResult {
    if word.bytes() == b"file" {
        return Ok(());
    }
    Err(Problem::not_yet(
        word.span(),
        format!("the provider `{}` is not implemented yet", word.lossy()),
    ))
}

/// Who the client says to be, and the proof.
struct Credentials {
    user: Vec<u8>,
    password: Vec<u8>,
}

/// Finds out who the client is (httpd's `check_user_id`): `Ok` when it is
/// known, else what is to be done.
pub(crate) fn check_user(exchange: &mut Exchange<'_>) -> Result<(), Flow> {
    if mod_authn_core::scheme(exchange) != Some(Scheme::Basic) {
        let line = format!(
            "AH00027: No authentication done but request not allowed without authentication for {}. Authentication not configured?",
            String::from_utf8_lossy(&exchange.path)
        );
        exchange.note("core", Level::Error, || line);
        return Err(respond(500));
    }
    if mod_authn_core::realm(exchange).is_none() {
        let line = format!("AH01615: need AuthName: {}", shown_path(exchange));
        exchange.note("auth_basic", Level::Error, || line);
        return Err(respond(500));
    }
    let Some(credentials) = credentials(exchange) else {
        return Err(unauthorized(exchange));
    };
    exchange.user = Some(credentials.user.clone());
    exchange.auth_type = Some("Basic");
    check_password(exchange, credentials)
}

fn check_password(exchange: &mut Exchange<'_>, credentials: Credentials) -> Result<(), Flow> {
    let Some(file) = mod_authn_file::user_file(exchange).cloned() else {
        let line = "AH01619: AuthUserFile not specified in the configuration";
        exchange.note("authn_file", Level::Error, || line.to_owned());
        return Err(respond(500));
    };
    let key = key(&file, &credentials);
    let Some(outcome) = exchange.answer::<Outcome>(&key).cloned() else {
        let Credentials { user, password } = credentials;
        return Err(Flow::Wait(Lookup::new(key, move || {
            mod_authn_file::verify(&file, &user, &password)
        })));
    };
    let user = String::from_utf8_lossy(&credentials.user).into_owned();
    let path = shown_path(exchange);
    let section = exchange.section_settings::<Section>();
    let authoritative = section.authoritative.unwrap_or(true);
    let (line, flow) = match outcome {
        Outcome::Granted => return Ok(()),
        Outcome::Mismatch => {
            let line = format!(
                "AH01617: user {user}: authentication failure for \"{path}\": Password Mismatch"
            );
            (line, unauthorized(exchange))
        }
        Outcome::NoUser if authoritative => (
            format!("AH01618: user {user} not found: {path}"),
            unauthorized(exchange),
        ),
        Outcome::NoUser => (
            format!("AH01618: user {user} not found: {path}, and nobody else to ask"),
            respond(500),
        ),
        Outcome::Unusable(why) => (
            format!("AH01617: user {user}: authentication failure for \"{path}\": {why}"),
            unauthorized(exchange),
        ),
        Outcome::NoFile(why) => (
            format!(
                "AH01620: Could not open password file: {}: {why}",
                file.display()
            ),
            respond(500),
        ),
    };
    exchange.note("auth_basic", Level::Error, || line);
    Err(flow)
}

/// One answer per file and credentials, so that an internal redirect asks
/// again only for another file.
fn key(file: &std::path::Path, credentials: &Credentials) -> Vec<u8> {
    let parts = [
        b"auth_basic".as_slice(),
        file.as_os_str().as_encoded_bytes(),
        &credentials.user,
        &credentials.password,
    ];
    parts.join(&0)
}

/// The credentials of the request. An unreadable one is that of nobody.
fn credentials(exchange: &mut Exchange<'_>) -> Option<Credentials> {
    let field = exchange.fields().get("Authorization")?.to_vec();
    let space = field.iter().position(|&byte| byte == b' ');
    let (scheme, rest) = field.split_at(space.unwrap_or(field.len()));
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        let line = format!(
            "AH01614: client used wrong authentication scheme: {}",
            shown_path(exchange)
        );
        exchange.note("auth_basic", Level::Error, || line);
        return None;
    }
    let decoded = BASE64.decode(rest.trim_ascii()).unwrap_or_default();
    let colon = decoded.iter().position(|&byte| byte == b':');
    let (user, password) = decoded.split_at(colon.unwrap_or(decoded.len()));
    Some(Credentials {
        user: user.to_vec(),
        password: password.get(1..).unwrap_or_default().to_vec(),
    })
}

/// As lenient about the end as httpd's `ap_pbase64decode`.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// 401 with what the client has to prove (RFC 7617 §2).
pub(crate) fn unauthorized(exchange: &Exchange<'_>) -> Flow {
    let mut fields = Vec::new();
    if mod_authn_core::scheme(exchange) == Some(Scheme::Basic)
        && let Some(realm) = mod_authn_core::realm(exchange)
    {
        let value = [b"Basic realm=\"".as_slice(), &realm, b"\""].concat();
        fields.push(("WWW-Authenticate", value));
    }
    Flow::Decide(Decision::Respond(Respond {
        fields,
        ..Respond::status(401)
    }))
}

fn respond(status: u16) -> Flow {
    Flow::Decide(Decision::Respond(Respond::status(status)))
}

fn shown_path(exchange: &Exchange<'_>) -> String {
    String::from_utf8_lossy(&exchange.path).into_owned()
}
