//! mod_rewrite: rules in server and per-directory context.
//!
//! `relais-rewrite` knows what rules mean; here they are collected per host and
//! per section, run in `translate_name` and in `fixups`, and their outcome is
//! carried out. Maps are read and asked here.

mod cookie;
mod kind;
mod log;
mod maps;
mod options;
mod run;
mod targets;

use std::ops::Range;
use std::sync::Arc;

use relais_conf::{Diagnostic, Text};
use relais_expr::PieceKind;
use relais_policy::{
    Context, Directive, HostSpec, Module, Problem, RouteSpec, SectionHead, SectionKind, Set,
    SetResult, Slot,
};
use relais_rewrite::{Condition, FlagKind, RuleDraft, RuleError, RuleSet};

use crate::mod_proxy::{self, Worker};
use maps::Map;
use options::Options;
use targets::Target;

pub(crate) use kind::{fixup as fixup_kind, forced_type};
pub(crate) use run::{fixup, outgoing, translate};

/// mod_rewrite.
pub struct Rewrite;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    /// Whether a directive of this module stands in the server itself or in one
    /// of its sections.
    used: bool,
    options: Option<Options>,
    maps: Vec<Map>,
    /// Conditions since the last rule.
    conditions: Vec<Condition>,
    rules: RuleSet,
    /// Where rules send requests to.
    targets: Vec<Target>,
    /// The origins among these that are known without a request.
    workers: Vec<Worker>,
    /// The rules with `[P]`, as others know them.
    routes: Vec<Arc<RouteSpec>>,
}

/// Per-directory settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    engine: Option<bool>,
    options: Option<Options>,
    /// Conditions since the last rule.
    conditions: Vec<Condition>,
    rules: Arc<RuleSet>,
    /// `RewriteBase`.
    base: Option<Vec<u8>>,
    /// The path of the section around, with a slash at its end.
    directory: Arc<[u8]>,
    /// Whether it is a folder, so that patterns see only what is below it.
    is_folder: bool,
    /// Where the rules of a section send requests to that the host does not
    /// know of (`.htaccess`).
    targets: Vec<Target>,
}

impl Section {
    /// Whether anything of this module stands in the section.
    fn is_used(&self) -> bool {
        self.engine.is_some()
            || self.options.is_some()
            || self.base.is_some()
            || !self.rules.rules().is_empty()
    }

    fn enter(&mut self, head: &SectionHead) {
        self.is_folder = head.kind == SectionKind::Directory;
        let mut path = match head.kind {
            // What httpd calls them, so that no path begins with it.
            SectionKind::If => b"*If".to_vec(),
            _ => head.argument.bytes().to_vec(),
        };
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        self.directory = path.into();
    }
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
    type Section = Section;
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
                // The state of a server is that of its sections too.
                enter(slot);
                slot.section.engine = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "RewriteOptions",
            syntax: "RewriteOptions option [option] …",
            context: Context::ANY,
            default: None,
            doc: "How rules of outer levels are taken over, and which requests rules see.",
            accepts: &[
                "RewriteOptions Inherit",
                "RewriteOptions inheritdown IgnoreInherit",
                "RewriteOptions AllowNoSlash AllowAnyURI MergeBase IgnoreContextInfo",
                "RewriteOptions LegacyPrefixDocRoot UnsafePrefixStat LongURLOptimization",
                "RewriteOptions MaxRedirects=5",
            ],
            refuses: &["RewriteOptions", "RewriteOptions Foo"],
            set: Set::Iterate(options::set),
        },
        Directive {
            name: "RewriteBase",
            syntax: "RewriteBase URL-path",
            context: Context::DIRECTORY,
            default: None,
            doc: "The URL path that stands for a section's own path in what its rules make.",
            accepts: &[],
            refuses: &["RewriteBase", "RewriteBase x"],
            set: Set::Take1(|slot, base| {
                if slot.place.section.is_none() {
                    return Err(Problem::new(
                        "RewriteBase: only valid in per-directory config files",
                    ));
                }
                if base.bytes().first() != Some(&b'/') {
                    let message = "RewriteBase: argument is not a valid URL";
                    return Err(Problem::at(base.span(), message));
                }
                enter(slot);
                slot.section.base = Some(base.bytes().to_vec());
                Ok(())
            }),
        },
        Directive {
            name: "RewriteMap",
            syntax: "RewriteMap name type:source",
            context: Context::HOST,
            default: None,
            doc: "A table, a program or an internal function for ${name:key|default}.",
            accepts: &[
                "RewriteMap lc int:tolower",
                "RewriteMap p \"prg:/bin/sh -c x\"",
            ],
            refuses: &[
                "RewriteMap",
                "RewriteMap m",
                "RewriteMap m int:foo",
                "RewriteMap m txt:/nonexistent/map",
                "RewriteMap m prg:/nonexistent/program",
                "RewriteMap m dbm:/nonexistent/map",
            ],
            set: Set::Words(maps::set),
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
                "RewriteRule ^/a - [H=server-status,T=text/plain]",
            ],
            refuses: &[
                "RewriteRule",
                "RewriteRule ^/a",
                "RewriteRule ^/a( /b",
                "RewriteRule ^/a /b [ZZ]",
                "RewriteRule ^/a /b L",
                "RewriteRule ^/a h2://o.example/ [P]",
                "RewriteRule ^/a http://o.example:x/ [P]",
            ],
            set: Set::Raw(rule),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        // The state and the options are inherited; rules and maps only where
        // the options say so.
        let options = inner.options.or(outer.options).unwrap_or_default();
        let how = options.inherited(outer.options.unwrap_or_default());
        Host {
            used: inner.used,
            options: Some(options),
            maps: how.join(&outer.maps, &inner.maps),
            conditions: inner.conditions.clone(),
            rules: RuleSet::new(how.join(outer.rules.rules(), inner.rules.rules())),
            targets: how.join(&outer.targets, &inner.targets),
            workers: how.join(&outer.workers, &inner.workers),
            // Those of sections are always inherited; what leads nowhere is never found.
            routes: [&inner.routes[..], &outer.routes].concat(),
        }
    }

    fn finish_host(host: &Host, _section: &Section, spec: &mut HostSpec) {
        spec.routes.extend_from_slice(&host.routes);
    }

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        if !inner.is_used() {
            return outer.clone();
        }
        let options = inner.options.or(outer.options).unwrap_or_default();
        let how = options.inherited(outer.options.unwrap_or_default());
        let outer_base = outer.base.as_ref().filter(|_| options.merge_base);
        Section {
            engine: inner.engine.or(outer.engine),
            options: Some(options),
            conditions: Vec::new(),
            rules: match how {
                options::Inherited::No => Arc::clone(&inner.rules),
                _ => Arc::new(RuleSet::new(
                    how.join(outer.rules.rules(), inner.rules.rules()),
                )),
            },
            base: inner.base.as_ref().or(outer_base).cloned(),
            directory: Arc::clone(&inner.directory),
            is_folder: inner.is_folder,
            targets: how.join(&outer.targets, &inner.targets),
        }
    }
}

/// Notes that something of this module stands here.
fn enter(slot: &mut Slot<'_, Rewrite>) {
    slot.host.used = true;
    if let Some(head) = slot.place.section {
        slot.section.enter(head);
    }
}

fn condition(slot: &mut Slot<'_, Rewrite>, args: &Text) -> SetResult {
    let mut condition =
        relais_rewrite::parse_cond(args.bytes()).map_err(|error| problem(args, error))?;
    condition.line = Some(slot.place.line);
    if let Some(range) = condition.useless_nocase.clone() {
        let message = "NC has no effect on this kind of condition";
        slot.diagnostics
            .push(Diagnostic::warning("RC0312", args.span_of(range), message));
    }
    ignored_text(slot, args, condition.extra.clone());
    match slot.place.section {
        Some(_) => slot.section.conditions.push(condition),
        None => slot.host.conditions.push(condition),
    }
    enter(slot);
    Ok(())
}

fn rule(slot: &mut Slot<'_, Rewrite>, args: &Text) -> SetResult {
    let mut rule =
        relais_rewrite::parse_rule(args.bytes()).map_err(|error| problem(args, error))?;
    rule.line = Some(slot.place.line);
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
        let pattern = args.slice(rule.pattern.range.clone());
        slot.host.routes.push(Arc::new(RouteSpec::new(
            format!("RewriteRule {}", pattern.lossy()),
            substitution.lossy().into_owned(),
            slot.place.line,
        )));
    }
    enter(slot);
    if slot.place.section.is_some() {
        slot.section.targets.extend(target.clone());
    }
    slot.host.targets.extend(target);
    if slot.place.section.is_some() {
        let conditions = std::mem::take(&mut slot.section.conditions);
        let rules = Arc::make_mut(&mut slot.section.rules);
        rules.push(rule.with_conditions(conditions));
    } else {
        let conditions = std::mem::take(&mut slot.host.conditions);
        slot.host.rules.push(rule.with_conditions(conditions));
    }
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
    let problem = Problem::at(span, error.message);
    match error.help {
        Some(help) => problem.with_help(help),
        None => problem,
    }
}
