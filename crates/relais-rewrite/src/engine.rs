//! Runs a rule set for one request.

use std::borrow::Cow;
use std::cell::Cell;
use std::mem;

use relais_expr::{ByteMask, Groups, Origin, PieceKind, Template};

use crate::condition::Condition;
use crate::context::{Context, Show, Tried, View, trace, trace_bare};
use crate::flags::FlagKind;
use crate::outcome::{Input, Outcome, Prefix};
use crate::rule::{Rule, RuleDraft, RuleSet};
use crate::uri;

mod conditions;
mod finish;
mod query;
mod settle;

use conditions::Tests;
use query::Query;

/// Runs `rules` for `input`.
///
/// Nothing is allocated as long as no rule changes the path, once a thread has run rules before.
pub fn run(rules: &RuleSet, input: &Input<'_>, context: &mut dyn Context) -> Outcome {
    if input.path.first() != Some(&b'/') && input.directory.is_none() {
        trace!(
            context,
            8,
            "Declining, request-URI '{}' is not a URL-path",
            Show(input.path)
        );
        return Outcome::Declined;
    }
    let buffers = BUFFERS.take();
    let mut engine = Engine::new(input, context, buffers);
    if input.directory.is_none() {
        let line = "init rewrite engine with requested uri";
        trace!(engine.context, 2, "{line} {}", Show(input.path));
    }
    let outcome = match engine.apply_all(rules) {
        Ok(()) => engine.finish(),
        Err(early) => engine.finish_early(early),
    };
    BUFFERS.set(engine.into_buffers());
    outcome
}

thread_local! {
    /// Room that one run leaves to the next.
    static BUFFERS: Cell<Buffers> = Cell::default();
}

/// Buffers larger than this are not kept between runs.
const BUFFER_BYTES_KEPT_MAX: usize = 64 * 1024;

#[derive(Default)]
struct Buffers {
    uri: Vec<u8>,
    expanded: Vec<u8>,
    query: Vec<u8>,
    tests: Tests,
}

/// The path or file name before a rule changes it.
#[derive(Clone, Copy)]
struct Text<'t> {
    uri: &'t [u8],
    /// What the rule's pattern saw of it.
    subject: &'t [u8],
}

struct Engine<'a> {
    input: &'a Input<'a>,
    context: &'a mut dyn Context,
    /// The path or absolute URL as rewritten so far.
    uri: Vec<u8>,
    /// The length of our own `scheme://host` in front of `uri`, put there by an `[R]`.
    own_prefix: usize,
    query: Query,
    expanded: Vec<u8>,
    /// The file's name with what leads beyond it.
    whole: Vec<u8>,
    /// Whether `[DPI]` has taken away what leads beyond the file.
    drops_path_info: bool,
    /// The type and the handler that the rule at hand names.
    forced: [Vec<u8>; 2],
    prefix: Prefix,
    tests: Tests,
    /// The status that a redirect will have.
    status: u16,
    result: Kind,
    no_escape: bool,
}

/// What the URI has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unchanged,
    /// A path or an absolute URL.
    Rewritten,
    Proxy,
    PassThrough,
}

/// Ends a run before its last rule.
enum Early {
    /// A rule answers with this status.
    Status(u16),
    /// Something is wrong.
    Error {
        status: u16,
        reason: Cow<'static, str>,
    },
}

/// What one rule did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applied {
    NoMatch,
    /// It matched and left the URI alone.
    Kept,
    /// It matched and changed the URI.
    Replaced,
}

/// Which rule comes after a match.
enum Next {
    Following { skip: usize },
    First { rounds_max: i64 },
    Stop,
}

impl<'a> Engine<'a> {
    fn new(input: &'a Input<'a>, context: &'a mut dyn Context, buffers: Buffers) -> Self {
        let Buffers {
            mut uri,
            expanded,
            query,
            tests,
        } = buffers;
        uri.clear();
        uri.extend_from_slice(input.path);
        Self {
            input,
            context,
            uri,
            own_prefix: 0,
            query: Query::new(query),
            expanded,
            whole: Vec::new(),
            drops_path_info: false,
            forced: Default::default(),
            prefix: Prefix::default(),
            tests,
            status: 200,
            result: Kind::Unchanged,
            no_escape: false,
        }
    }

    fn into_buffers(self) -> Buffers {
        let mut buffers = Buffers {
            uri: self.uri,
            expanded: self.expanded,
            query: self.query.into_buffer(),
            tests: self.tests,
        };
        let Buffers {
            uri,
            expanded,
            query,
            tests,
        } = &mut buffers;
        for buffer in [uri, expanded, query, &mut tests.input, &mut tests.source] {
            if buffer.capacity() > BUFFER_BYTES_KEPT_MAX {
                *buffer = Vec::new();
            }
        }
        buffers
    }

    fn apply_all(&mut self, set: &RuleSet) -> Result<(), Early> {
        let rules = set.rules();
        let mut at = 0;
        let mut round = 1_i64;
        loop {
            at = self.pass_gates(set, at);
            let Some(rule) = rules.get(at) else { break };
            if self.skipped_in_subrequest(&rule.draft) {
                at += 1;
                continue;
            }
            at += match self.apply(rule)? {
                Applied::NoMatch => 1 + set.chained(at),
                applied => match self.after_match(rule, applied)? {
                    Next::Following { skip } => skip.saturating_add(1),
                    Next::Stop => break,
                    Next::First { rounds_max } => {
                        round += 1;
                        if round >= rounds_max {
                            return Err(TOO_MANY_ROUNDS);
                        }
                        at = 0;
                        0
                    }
                },
            };
        }
        Ok(())
    }

    /// The first rule from `at` on that may match. Whoever reads the log sees each rule tried.
    fn pass_gates(&self, set: &RuleSet, mut at: usize) -> usize {
        if self.context.trace_level() >= 3
            || self.input.is_subrequest
            || !self.path_info().is_empty()
        {
            return at;
        }
        let subject = self.uri.get(self.stripped(&self.uri)..).unwrap_or_default();
        let bytes = ByteMask::of(subject);
        let gates = set.gates();
        while let Some(gate) = gates.get(at) {
            if !gate.quick.rejects(subject, bytes) {
                break;
            }
            at += 1 + usize::try_from(gate.chained).unwrap_or(0);
        }
        at
    }

    fn skipped_in_subrequest(&self, rule: &RuleDraft) -> bool {
        self.input.is_subrequest
            && (rule.has(FlagKind::NoSubrequest) || rule.has(FlagKind::Redirect))
    }

    /// Carries out what follows from a match whatever the substitution did.
    fn after_match(&mut self, rule: &Rule, applied: Applied) -> Result<Next, Early> {
        let draft = &rule.draft;
        if self.uri.len().max(self.query.added_len()) > self.input.uri_bytes_max {
            return Err(TOO_LONG);
        }
        self.report_vary(&rule.conditions);
        if let Some(status) = draft.response_status() {
            return Err(Early::Status(status));
        }
        if applied == Applied::Replaced {
            trace!(
                self.context,
                2,
                "setting lastsub to rule with output {}",
                Show(&draft.substitution.written)
            );
            self.no_escape = draft.has(FlagKind::NoEscape);
        }
        if draft.has(FlagKind::PassThrough) && self.input.directory.is_some() {
            return Ok(Next::Stop);
        }
        if draft.has(FlagKind::PassThrough) {
            let line = "to get passed through to next API URI-to-filename handler";
            trace!(self.context, 2, "forcing '{}' {line}", Show(&self.uri));
            self.no_escape = false;
            // The combination with `[P]` gives httpd a path `proxy:…` that nothing maps, so it ends as a 400.
            self.result = if self.result == Kind::Proxy {
                return Err(NOT_A_PATH);
            } else {
                Kind::PassThrough
            };
            return Ok(Next::Stop);
        }
        Ok(self.next(draft))
    }

    fn next(&mut self, draft: &RuleDraft) -> Next {
        if draft.has(FlagKind::End) {
            trace!(
                self.context,
                8, "Rule has END flag, no further rewriting for this request"
            );
            self.context.end_rewriting();
            return Next::Stop;
        }
        if draft.has(FlagKind::Proxy) || draft.has(FlagKind::Last) {
            return Next::Stop;
        }
        if draft.has(FlagKind::Next) {
            return Next::First {
                rounds_max: draft.settings.rounds_max,
            };
        }
        Next::Following {
            skip: usize::try_from(draft.settings.skip).unwrap_or(0),
        }
    }

    fn apply(&mut self, rule: &Rule) -> Result<Applied, Early> {
        // What the groups and the test strings borrow stays where it is while the new URI is built.
        let uri = mem::take(&mut self.uri);
        let mut whole = mem::take(&mut self.whole);
        let mut expanded = mem::take(&mut self.expanded);
        let subject = self.subject(&uri, &mut whole);
        let applied = self.apply_to(rule, &uri, subject, &mut expanded);
        self.whole = whole;
        if matches!(applied, Ok(Applied::Replaced)) {
            (self.uri, self.expanded) = (expanded, uri);
            self.settle(&rule.draft);
        } else {
            (self.uri, self.expanded) = (uri, expanded);
        }
        applied
    }

    /// What a pattern sees of `uri`: in per-directory context with what leads beyond the file, for which there is room
    /// in `whole`, and without the folder.
    fn subject<'s>(&self, uri: &'s [u8], whole: &'s mut Vec<u8>) -> &'s [u8] {
        let info = self.path_info();
        let mut subject = uri;
        if !info.is_empty() {
            trace!(
                self.context,
                3,
                "add path info postfix: {0} -> {0}{1}",
                Show(uri),
                Show(info)
            );
            whole.clear();
            whole.extend_from_slice(uri);
            whole.extend_from_slice(info);
            subject = whole;
        }
        let stripped = self.stripped(subject);
        let rest = subject.get(stripped..).unwrap_or_default();
        if stripped > 0 {
            trace!(
                self.context,
                3,
                "strip per-dir prefix: {} -> {}",
                Show(subject),
                Show(rest)
            );
        }
        rest
    }

    /// What leads beyond the file; it stays behind the name until a rule has `[DPI]`, whatever the rules make of that.
    fn path_info(&self) -> &'a [u8] {
        if self.input.directory.is_some() && !self.drops_path_info {
            self.input.path_info
        } else {
            b""
        }
    }

    /// How much of the URI patterns of a folder's rules do not see.
    fn stripped(&self, uri: &[u8]) -> usize {
        match self.input.directory {
            Some(directory)
                if directory.strips && !directory.proxied && uri.starts_with(directory.prefix) =>
            {
                directory.prefix.len()
            }
            _ => 0,
        }
    }

    fn apply_to(
        &mut self,
        rule: &Rule,
        uri: &[u8],
        subject: &[u8],
        expanded: &mut Vec<u8>,
    ) -> Result<Applied, Early> {
        let pattern = &rule.draft.pattern;
        let found = pattern.regex.captures(subject);
        if self.context.trace_level() >= Tried::RULE {
            let matched = found.as_ref().ok().copied();
            self.context.tried(&Tried {
                condition: None,
                line: rule.draft.line,
                input: subject,
                pattern: pattern.regex.source(),
                caseless: false,
                holds: matched.map(|matched| matched.is_some() != pattern.negated),
                groups: matched
                    .flatten()
                    .filter(|_| !pattern.negated)
                    .map(|captures| Groups::new(subject, captures)),
            });
        }
        let matched = found.map_err(|_| gave_up("RewriteRule", pattern.regex.source()))?;
        if matched.is_some() == pattern.negated {
            return Ok(Applied::NoMatch);
        }
        let groups = matched.map_or_else(Groups::empty, |captures| Groups::new(subject, captures));
        let mut tests = mem::take(&mut self.tests);
        let text = Text { uri, subject };
        let applied = self.apply_matched(rule, text, &groups, &mut tests, expanded);
        self.tests = tests;
        applied
    }

    fn apply_matched(
        &mut self,
        rule: &Rule,
        text: Text<'_>,
        groups: &Groups<'_>,
        tests: &mut Tests,
        expanded: &mut Vec<u8>,
    ) -> Result<Applied, Early> {
        let hold = tests.all_hold(&rule.conditions, groups, &self.view(text));
        for header in tests.read.drain(..) {
            self.context.vary(&header);
        }
        if !hold? {
            return Ok(Applied::NoMatch);
        }
        let draft = &rule.draft;
        let tested = Groups::new(&tests.source, tests.captures);
        if !draft.keeps_uri() {
            self.substitute(draft, text, groups, &tested, expanded)?;
        }
        self.set_env(draft, text, groups, &tested);
        self.set_cookies(draft, text, groups, &tested);
        self.note_kind(draft, text, groups, &tested);
        if draft.keeps_uri() {
            self.force_kind(text.uri);
            if let Some(status) = draft.response_status() {
                trace!(
                    self.context,
                    2,
                    "forcing responsecode {status} for {}",
                    Show(text.uri)
                );
            }
            return Ok(Applied::Kept);
        }
        self.drops_path_info |= draft.has(FlagKind::DiscardPath);
        Ok(Applied::Replaced)
    }

    fn substitute(
        &self,
        draft: &RuleDraft,
        text: Text<'_>,
        groups: &Groups<'_>,
        tested: &Groups<'_>,
        expanded: &mut Vec<u8>,
    ) -> Result<(), Early> {
        expanded.clear();
        let template = &draft.substitution.template;
        let marks = template.expand(groups, tested, &self.view(text), draft.escape(), expanded);
        trace!(
            self.context,
            2,
            "rewrite '{}' -> '{}'",
            Show(text.subject),
            Show(expanded)
        );
        let mark = if draft.query.last {
            marks.last
        } else {
            marks.first
        };
        if mark == Some(Origin::Expanded) && !draft.has(FlagKind::UnsafeAllow3F) {
            return Err(UNSAFE_QUESTION_MARK);
        }
        if draft.has(FlagKind::Proxy) && scheme_is_from_path(draft, groups, expanded) {
            return Err(SCHEME_FROM_PATH);
        }
        Ok(())
    }

    fn set_env(
        &mut self,
        draft: &RuleDraft,
        at: Text<'_>,
        groups: &Groups<'_>,
        tested: &Groups<'_>,
    ) {
        for template in &draft.settings.env {
            let mut text = Vec::new();
            template.expand(groups, tested, &self.view(at), None, &mut text);
            if let [b'!', name @ ..] = text.as_slice() {
                self.context.set_env(name, None);
                trace_bare!(self.context, 5, "unsetting env variable '{}'", Show(name));
                continue;
            }
            let colon = text
                .iter()
                .position(|byte| *byte == b':')
                .unwrap_or(text.len());
            let (name, rest) = text.split_at(colon);
            let value = rest.get(1..).unwrap_or_default();
            if !name.is_empty() {
                self.context.set_env(name, Some(value));
                trace_bare!(
                    self.context,
                    5,
                    "setting env variable '{}' to '{}'",
                    Show(name),
                    Show(value)
                );
            }
        }
    }

    fn set_cookies(
        &mut self,
        draft: &RuleDraft,
        at: Text<'_>,
        groups: &Groups<'_>,
        tested: &Groups<'_>,
    ) {
        for template in &draft.settings.cookies {
            let mut text = Vec::new();
            template.expand(groups, tested, &self.view(at), None, &mut text);
            self.context.set_cookie(&text);
        }
    }

    /// Expands `[T]` and `[H]`, which count once it is known that the result is a path.
    fn note_kind(
        &mut self,
        draft: &RuleDraft,
        at: Text<'_>,
        groups: &Groups<'_>,
        tested: &Groups<'_>,
    ) {
        let expand = |template: &Template| {
            let mut text = Vec::new();
            template.expand(groups, tested, &self.view(at), None, &mut text);
            text.make_ascii_lowercase();
            text
        };
        let kind = draft.settings.kind.as_ref().map(expand);
        let handler = draft.settings.handler.as_ref().map(expand);
        self.forced = [kind.unwrap_or_default(), handler.unwrap_or_default()];
    }

    /// Carries out `[T]` and `[H]` of the rule at hand; an empty value says nothing.
    fn force_kind(&mut self, uri: &[u8]) {
        let [kind, handler] = mem::take(&mut self.forced);
        if !kind.is_empty() {
            trace!(
                self.context,
                2,
                "remember {} to have MIME-type '{}'",
                Show(uri),
                Show(&kind)
            );
            self.context.set_type(&kind);
        }
        if !handler.is_empty() {
            trace!(
                self.context,
                2,
                "remember {} to have Content-handler '{}'",
                Show(uri),
                Show(&handler)
            );
            self.context.set_handler(&handler);
        }
    }

    fn report_vary(&mut self, conditions: &[Condition]) {
        let mut value = mem::take(&mut self.expanded);
        self.tests
            .report_vary(conditions, &mut *self.context, &mut value);
        self.expanded = value;
    }

    fn view<'v>(&'v self, text: Text<'v>) -> View<'v> {
        View {
            context: &*self.context,
            input: self.input,
            uri: text.uri,
            subject: text.subject,
            query: self.query.get(self.input),
        }
    }
}

/// A pattern took too many steps; the line in the log has to say which, so that it can be mended.
fn gave_up(directive: &str, pattern: &[u8]) -> Early {
    let reason = format!(
        "matching was given up at its limit: {directive} with the pattern '{}'",
        Show(pattern)
    );
    Early::Error {
        status: 500,
        reason: Cow::Owned(reason),
    }
}

/// Whether the client typed the scheme of a target: the substitution starts with `$N`, and that alone is absolute.
/// Then it could choose the host, or a Unix socket, to connect to.
fn scheme_is_from_path(draft: &RuleDraft, groups: &Groups<'_>, expanded: &[u8]) -> bool {
    let first = draft
        .substitution
        .template
        .pieces()
        .first()
        .map(|piece| &piece.kind);
    let (Some(PieceKind::Rule(n)), Some(scheme)) = (first, uri::scheme(expanded)) else {
        return false;
    };
    groups.get(usize::from(*n)).len() >= scheme.len
}

const TOO_MANY_ROUNDS: Early = Early::Error {
    status: 500,
    reason: Cow::Borrowed("a rule with the N flag exceeded its number of rounds"),
};
const TOO_LONG: Early = Early::Error {
    status: 500,
    reason: Cow::Borrowed("the rewritten URI is too long"),
};
const NOT_A_PATH: Early = Early::Error {
    status: 400,
    reason: Cow::Borrowed("the rewritten URI to pass through is not a path"),
};
const UNSAFE_QUESTION_MARK: Early = Early::Error {
    status: 403,
    reason: Cow::Borrowed(
        "an encoded question mark of the request would start a query, and the rule has no UnsafeAllow3F",
    ),
};
const SCHEME_FROM_PATH: Early = Early::Error {
    status: 403,
    reason: Cow::Borrowed(
        "the request itself would choose the scheme and host of a proxied target",
    ),
};

#[cfg(test)]
mod tests;
