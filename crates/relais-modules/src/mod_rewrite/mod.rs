//! mod_rewrite: rules in server context.
//!
//! `relais-rewrite` knows what rules mean; here they are collected per host,
//! run in `translate_name`, and their outcome is carried out. In sections they
//! are still to come.

mod run;
mod targets;

use std::ops::Range;

use relais_conf::{Diagnostic, Text};
use relais_expr::PieceKind;
use relais_policy::{Context, Directive, Module, Problem, Set, SetResult, Slot};
use relais_rewrite::{Condition, FlagKind, RuleDraft, RuleError, RuleErrorKind, RuleSet};

use crate::mod_proxy::{self, Worker};
use targets::Target;

pub(crate) use run::translate;

/// mod_rewrite.
pub struct Rewrite;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    engine: Option<bool>,
    /// Conditions since the last rule.
    conditions: Vec<Condition>,
    rules: RuleSet,
    /// Where rules send requests to.
    targets: Vec<Target>,
    /// The origins among these that are known without a request.
    workers: Vec<Worker>,
}

impl Host {
    /// The origin of a rule's target.
    pub(crate) fn worker_for(&self, url: &[u8]) -> Option<&Worker> {
        mod_proxy::longest(&self.workers, url)
    }
}

impl Module for Rewrite {
    const NAME: &'static str = "mod_rewrite";
    const IDENTIFIER: &'static str = "rewrite_module";
    type Host = Host;
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "RewriteEngine",
            syntax: "RewriteEngine On|Off",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Whether the rules of this server or virtual host run; virtual hosts inherit it.",
            accepts: &["RewriteEngine On", "RewriteEngine off"],
            refuses: &["RewriteEngine", "RewriteEngine maybe"],
            set: Set::Flag(|slot, on| {
                outside_of_sections(slot)?;
                slot.host.engine = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "RewriteCond",
            syntax: "RewriteCond TestString CondPattern [flags]",
            context: Context::ANY,
            default: None,
            doc: "A condition of the next RewriteRule.",
            accepts: &[
                "RewriteCond %{HTTP:Upgrade} websocket [NC]",
                "RewriteCond %{REQUEST_METHOD} =GET [OR]",
                "RewriteCond %{QUERY_STRING} !^$",
            ],
            refuses: &[
                "RewriteCond",
                "RewriteCond %{HTTP:Upgrade}",
                "RewriteCond %{HTTP:Upgrade} (",
                "RewriteCond a b [ZZ]",
            ],
            set: Set::Raw(condition),
        },
        Directive {
            name: "RewriteRule",
            syntax: "RewriteRule Pattern Substitution [flags]",
            context: Context::ANY,
            default: None,
            doc: "Rewrites, redirects or proxies requests whose path matches.",
            accepts: &[
                "RewriteRule ^/a/(.*)$ ws://127.0.0.1:8080/$1 [P,L]",
                "RewriteRule ^/a$ /b [R=301,L]",
                "RewriteRule ^/a - [F]",
            ],
            refuses: &[
                "RewriteRule",
                "RewriteRule ^/a",
                "RewriteRule ^/a( /b",
                "RewriteRule ^/a /b [ZZ]",
                "RewriteRule ^/a /b L",
                "RewriteRule ^/a https://o.example/ [P]",
                "RewriteRule ^/a http://o.example:x/ [P]",
            ],
            set: Set::Raw(rule),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        // The state is inherited, rules are not.
        Host {
            engine: inner.engine.or(outer.engine),
            ..inner.clone()
        }
    }

    fn merge_section(_outer: &(), _inner: &()) {}
}

fn outside_of_sections(slot: &Slot<'_, Rewrite>) -> SetResult {
    match slot.place.section {
        None => Ok(()),
        Some(_) => {
            let name = slot.place.name;
            let message = format!(
                "{} inside of a section is not implemented yet",
                name.lossy()
            );
            Err(Problem::not_yet(name.span(), message)
                .with_help("rules of the server or virtual host see the whole path"))
        }
    }
}

fn condition(slot: &mut Slot<'_, Rewrite>, args: &Text) -> SetResult {
    outside_of_sections(slot)?;
    let condition =
        relais_rewrite::parse_cond(args.bytes()).map_err(|error| problem(args, error))?;
    if let Some(range) = condition.useless_nocase.clone() {
        let message = "NC has no effect on this kind of condition";
        slot.diagnostics
            .push(Diagnostic::warning("RC0312", args.span_of(range), message));
    }
    ignored_text(slot, args, condition.extra.clone());
    slot.host.conditions.push(condition);
    Ok(())
}

fn rule(slot: &mut Slot<'_, Rewrite>, args: &Text) -> SetResult {
    outside_of_sections(slot)?;
    let rule = relais_rewrite::parse_rule(args.bytes()).map_err(|error| problem(args, error))?;
    ignored_text(slot, args, rule.extra.clone());
    let substitution = args.slice(rule.substitution.range.clone());
    let target = Target::new(&rule.substitution.template);
    if rule.has(FlagKind::Proxy) {
        if target.is_some() {
            check_target(&substitution, &rule)?;
        }
        slot.host
            .workers
            .extend(target.as_ref().and_then(Target::worker));
    }
    slot.host.targets.extend(target);
    let conditions = std::mem::take(&mut slot.host.conditions);
    slot.host.rules.rules.push(rule.with_conditions(conditions));
    Ok(())
}

/// Checks as much of a proxying rule's target as is known without a request.
fn check_target(substitution: &Text, rule: &RuleDraft) -> SetResult {
    let mut pieces = rule.substitution.template.pieces().iter();
    let group =
        pieces.find(|piece| !matches!(piece.kind, PieceKind::Literal(_) | PieceKind::Escaped(_)));
    let start = rule.substitution.range.start;
    let literal = group.map_or(substitution.len(), |piece| {
        piece.range.start.saturating_sub(start)
    });
    mod_proxy::check_target(substitution, literal)
}

fn ignored_text(slot: &mut Slot<'_, Rewrite>, args: &Text, extra: Option<Range<usize>>) {
    if let Some(range) = extra {
        let warning = Diagnostic::warning(
            "RC0311",
            args.span_of(range),
            "text behind the flags is ignored",
        );
        slot.diagnostics.push(warning);
    }
}

fn problem(args: &Text, error: RuleError) -> Problem {
    let span = args.span_of(error.range);
    let problem = match error.kind {
        RuleErrorKind::NotYet => Problem::not_yet(span, error.message),
        RuleErrorKind::Invalid => Problem::at(span, error.message),
    };
    match error.help {
        Some(help) => problem.with_help(help),
        None => problem,
    }
}
