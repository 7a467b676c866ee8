//! mod_authz_core: who may have what, by `Require` lines and groups of them.
//!
//! The providers of mod_authz_host are in `requirement`, with those of
//! mod_authz_core itself.

mod requirement;

use std::sync::Arc;

use relais_conf::{Diagnostic, Diagnostics, Text};
use relais_policy::{
    Context, Decision, Directive, Exchange, Flow, Module, Problem, Respond, Set, SetResult,
    SiteDraft, Slot,
};
use relais_telemetry::Level;

use self::requirement::{Group, Line, Logic, Member, Verdict};
use crate::mod_access_compat::{self, Satisfy};
use crate::values;
use crate::{mod_auth_basic, mod_authn_core, mod_authz_groupfile};

/// mod_authz_core.
pub struct AuthzCore;

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    require: Option<Arc<Group>>,
    /// Groups that are open while the section is read, with those around them.
    open: Vec<Option<Arc<Group>>>,
    merging: Option<Merging>,
    forbidden: Option<bool>,
}

/// `AuthMerging`: what becomes of the lines of outer sections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Merging {
    Off,
    And,
    Or,
}

/// Where httpd's `OR_AUTHCFG` allows it.
const PLACES: Context = Context::DIRECTORY.or(Context::PROXY);

impl Module for AuthzCore {
    const NAME: &'static str = "mod_authz_core";
    const IDENTIFIER: &'static str = "authz_core_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "Require",
            syntax: "Require [not] entity-name [entity-name] ...",
            context: PLACES,
            default: None,
            doc: "Who is allowed here; one line of several has to be met.",
            accepts: &[
                "Require all granted",
                "require all Denied",
                "Require ip 10 192.168.0.0/16 10.1.2.0/255.255.255.0 2001:db8::/32",
                "Require local",
                "Require host example.com .example.net",
                "Require forward-dns office.example.com",
                "Require env one two",
                "Require method GET HEAD",
                "Require expr %{HTTP_HOST} == 'a' && -n req('X')",
                "Require valid-user",
                "Require user ann bob",
                "Require group staff",
            ],
            refuses: &[
                "Require",
                "Require all",
                "Require all granted denied",
                "Require ip",
                "Require ip 10.1/16",
                "Require method get",
                "Require nobody",
                "Require not",
                "Require not ip 10.1.2.3",
                "Require host",
                "Require forward-dns",
                "Require expr %{NOTHING_LIKE_IT} == 1",
            ],
            set: Set::Raw(|slot, args| {
                let line = Line::parse(args, slot.place.limit)?;
                let negate = line.negate;
                add(slot, Member::Line(line), negate, "Require")
            }),
        },
        block(
            "<RequireAll>",
            "None of the lines inside may fail, and one has to be met.",
            &["<RequireAll>\nRequire all granted\nRequire not ip 10.1\n</RequireAll>"],
            &[
                "<RequireAll>\n</RequireAll>",
                "<RequireAll>\nRequire not local\n</RequireAll>",
            ],
            |slot, args| open(slot, args, Logic::All, false),
        ),
        block(
            "<RequireAny>",
            "One of the lines inside has to be met.",
            &["<RequireAny>\nRequire local\nRequire ip 10\n</RequireAny>"],
            &[
                "<RequireAny>\n</RequireAny>",
                "<RequireAny x>\nRequire local\n</RequireAny>",
            ],
            |slot, args| open(slot, args, Logic::Any, false),
        ),
        block(
            "<RequireNone>",
            "None of the lines inside may be met.",
            &[
                "<RequireAll>\nRequire all granted\n<RequireNone>\nRequire ip 10\n</RequireNone>\n</RequireAll>",
            ],
            &["<RequireNone>\nRequire ip 10\n</RequireNone>"],
            |slot, args| open(slot, args, Logic::Any, true),
        ),
        Directive {
            name: "AuthMerging",
            syntax: "AuthMerging Off | And | Or",
            context: PLACES,
            default: Some("Off"),
            doc: "How the Require lines of a section go together with those of sections around it.",
            accepts: &["AuthMerging Off", "AuthMerging and", "AuthMerging OR"],
            refuses: &["AuthMerging", "AuthMerging x"],
            set: Set::Take1(|slot, word| {
                const CHOICES: [Merging; 3] = [Merging::Off, Merging::And, Merging::Or];
                let index = values::choice(word, "AuthMerging", &["Off", "And", "Or"])?;
                slot.section.merging = CHOICES.get(index).copied();
                Ok(())
            }),
        },
        Directive {
            name: "AuthzSendForbiddenOnFailure",
            syntax: "AuthzSendForbiddenOnFailure On|Off",
            context: PLACES,
            default: Some("Off"),
            doc: "Whether a user who may not get in is told 403 instead of 401.",
            accepts: &["AuthzSendForbiddenOnFailure On"],
            refuses: &["AuthzSendForbiddenOnFailure maybe"],
            set: Set::Flag(|slot, on| {
                slot.section.forbidden = Some(on);
                Ok(())
            }),
        },
    ];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        let (require, merging) = match (inner.merging, &inner.require) {
            (None, None) => (outer.require.clone(), outer.merging),
            (None | Some(Merging::Off), _) => (inner.require.clone(), inner.merging),
            (Some(merging), _) => (merged(outer, inner, merging), inner.merging),
        };
        Section {
            require,
            merging,
            open: Vec::new(),
            forbidden: inner.forbidden.or(outer.forbidden),
        }
    }

    fn check(draft: &SiteDraft, diagnostics: &mut Diagnostics) {
        let sections = draft.hosts.iter().flat_map(|host| &host.sections);
        for section in sections {
            let require = section.settings.get::<Section>();
            if let Some(group) = require.and_then(|section| section.require.as_ref()) {
                check_group(group, true, diagnostics);
            }
        }
    }
}

type Open = fn(&mut Slot<'_, AuthzCore>, &Text) -> SetResult;

const fn block(
    name: &'static str,
    doc: &'static str,
    accepts: &'static [&'static str],
    refuses: &'static [&'static str],
    open: Open,
) -> Directive<AuthzCore> {
    Directive {
        name,
        syntax: name,
        context: PLACES,
        default: None,
        doc,
        accepts,
        refuses,
        set: Set::Block { open, close },
    }
}

fn merged(outer: &Section, inner: &Section, merging: Merging) -> Option<Arc<Group>> {
    match (&outer.require, &inner.require) {
        (Some(first), Some(second)) => Some(Arc::new(Group {
            logic: match merging {
                Merging::And => Logic::All,
                _ => Logic::Any,
            },
            negate: false,
            merged: true,
            members: vec![
                Member::Group(Arc::clone(first)),
                Member::Group(Arc::clone(second)),
            ],
            span: second.span,
        })),
        (first, second) => second.clone().or_else(|| first.clone()),
    }
}

/// Adds a line or a group to the group that is being read.
fn add(slot: &mut Slot<'_, AuthzCore>, member: Member, negate: bool, name: &str) -> SetResult {
    let line = slot.place.line;
    let outer = slot.section.require.as_ref();
    let (logic, shown) = outer.map_or((Logic::Any, "<RequireAny>"), |group| {
        (group.logic, group.shown())
    });
    if negate && logic == Logic::Any {
        let message = match member {
            Member::Line(_) => {
                format!("negative {name} directive has no effect in {shown} directive")
            }
            Member::Group(_) => {
                format!("{name} directive has no effect in {shown} directive")
            }
        };
        return Err(Problem::new(message)
            .with_help("put it into <RequireAll> together with what is to be granted"));
    }
    let group = slot
        .section
        .require
        .get_or_insert_with(|| Arc::new(Group::any(line)));
    let members = &mut Arc::make_mut(group).members;
    match member {
        // As in httpd: a group of the same kind is no group.
        Member::Group(inner) if !inner.negate && inner.logic == logic => {
            members.extend_from_slice(&inner.members);
        }
        member => members.push(member),
    }
    Ok(())
}

fn open(slot: &mut Slot<'_, AuthzCore>, args: &Text, logic: Logic, negate: bool) -> SetResult {
    if !args.trim().is_empty() {
        let message = format!("<{}> takes no argument", slot.place.name.lossy());
        return Err(Problem::at(args.span(), message));
    }
    let group = Arc::new(Group::new(logic, negate, slot.place.line));
    let outer = slot.section.require.replace(group);
    slot.section.open.push(outer);
    Ok(())
}

fn close(slot: &mut Slot<'_, AuthzCore>) -> SetResult {
    let outer = slot.section.open.pop().flatten();
    let Some(group) = std::mem::replace(&mut slot.section.require, outer) else {
        return Ok(());
    };
    if group.members.is_empty() {
        let message = format!(
            "{} directive contains no authorization directives",
            group.shown()
        );
        return Err(Problem::new(message));
    }
    let (negate, name) = (group.negate, group.shown());
    add(slot, Member::Group(group), negate, name)
}

/// What httpd refuses when it starts (AH01624): a group that can never grant.
fn check_group(group: &Group, outermost: bool, diagnostics: &mut Diagnostics) {
    for member in &group.members {
        if let Member::Group(inner) = member {
            check_group(inner, false, diagnostics);
        }
    }
    if group.only_negative() {
        let name = if outermost {
            "this section"
        } else {
            group.shown()
        };
        let message = format!("{name} contains only negative authorization directives");
        diagnostics.push(
            Diagnostic::error("RC0320", group.span, message)
                .with_help("nobody would get in: add `Require all granted`"),
        );
    }
}

/// The access checkers in httpd's order: what may be asked without a user
/// (`ap_process_request_internal` with `Satisfy`).
pub(crate) fn access(exchange: &mut Exchange<'_>) -> Flow {
    let lines = exchange.log.len();
    let flow = check(exchange);
    if matches!(flow, Flow::Wait(_)) {
        // All will be said again.
        exchange.log.truncate(lines);
    }
    flow
}

fn check(exchange: &mut Exchange<'_>) -> Flow {
    if let Some(wait) = mod_access_compat::look_up(exchange) {
        return wait;
    }
    let allowed = mod_access_compat::allows(exchange);
    match mod_access_compat::satisfy(exchange) {
        Satisfy::All if !allowed => forbidden(),
        Satisfy::Any if allowed => Flow::Declined,
        _ => authorize(exchange),
    }
}

/// Without a user first, then with one if that may help.
fn authorize(exchange: &mut Exchange<'_>) -> Flow {
    let Some(group) = exchange.section_settings::<Section>().require.clone() else {
        if mod_authn_core::scheme(exchange).is_none() {
            return Flow::Declined;
        }
        let line = "AH01627: AuthType configured with no corresponding authorization directives";
        exchange.note("authz_core", Level::Error, || line.to_owned());
        return Flow::Decide(Decision::Respond(Respond::status(500)));
    };
    if !group.covers(exchange.head.method()) {
        return Flow::Declined;
    }
    if let Some(wait) = group.look_up(exchange) {
        return wait;
    }
    // The phase is entered again while the user is being looked up.
    let known = exchange.user.take();
    match group.apply(exchange) {
        Verdict::Granted => {
            exchange.user = known;
            return Flow::Declined;
        }
        Verdict::Denied | Verdict::Neutral => return denied(exchange),
        Verdict::NoUser => {}
    }
    if let Err(flow) = mod_auth_basic::check_user(exchange) {
        return flow;
    }
    if group.asks_for_groups()
        && let Some(wait) = mod_authz_groupfile::prepare(exchange)
    {
        return wait;
    }
    match group.apply(exchange) {
        Verdict::Granted => Flow::Declined,
        verdict => refused(exchange, verdict),
    }
}

/// A refusal that no user could turn.
fn denied(exchange: &mut Exchange<'_>) -> Flow {
    let line = format!(
        "AH01630: client denied by server configuration: {}",
        subject(exchange)
    );
    exchange.note("authz_core", Level::Error, || line);
    forbidden()
}

/// A refusal of a user: another one may try.
fn refused(exchange: &mut Exchange<'_>, verdict: Verdict) -> Flow {
    let path = String::from_utf8_lossy(&exchange.path).into_owned();
    let user = exchange.user.clone().unwrap_or_default();
    let user = String::from_utf8_lossy(&user).into_owned();
    exchange.note("authz_core", Level::Error, || match verdict {
        Verdict::NoUser => {
            format!("AH01629: authorization failure (no authenticated user): {path}")
        }
        _ => format!("AH01631: user {user}: authorization failure for \"{path}\": "),
    });
    let section = exchange.section_settings::<Section>();
    if section.forbidden == Some(true) && verdict != Verdict::NoUser {
        return forbidden();
    }
    mod_auth_basic::unauthorized(exchange)
}

fn forbidden() -> Flow {
    Flow::Decide(Decision::Respond(Respond::status(403)))
}

/// What a refusal's log line names: the URL behind the proxy, the file, or
/// the path.
pub(crate) fn subject(exchange: &Exchange<'_>) -> String {
    match &exchange.proxy {
        Some(proxy) => format!("proxy:{}", String::from_utf8_lossy(&proxy.url)),
        None => match &exchange.file {
            Some(file) => String::from_utf8_lossy(file).into_owned(),
            None => format!("uri {}", String::from_utf8_lossy(&exchange.path)),
        },
    }
}
