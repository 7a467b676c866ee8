//! Runs a rule set for one request.

use std::borrow::Cow;
use std::cell::Cell;
use std::mem;

use relais_expr::{
    ByteMask, Captures, Expression, Groups, Lookup as _, Origin, PieceKind, State, leading_integer,
};

use crate::condition::{Condition, ConditionKind, text_order};
use crate::context::{Context, Show, View, trace};
use crate::flags::FlagKind;
use crate::outcome::{Input, Outcome};
use crate::rule::{Rule, RuleDraft, RuleSet};
use crate::uri;

mod finish;
mod query;

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
    trace!(
        engine.context,
        2,
        "init rewrite engine with requested uri {}",
        Show(input.path)
    );
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

/// The state of the conditions of one rule.
#[derive(Default)]
struct Tests {
    /// The expanded test string.
    input: Vec<u8>,
    /// The test string that `captures` belongs to: what `%N` are cut from.
    source: Vec<u8>,
    captures: Captures,
    /// Indices of the conditions that held and whose headers the response varies with.
    held: Vec<usize>,
    /// What expressions leave behind.
    state: State,
    /// Headers that expressions have read.
    read: Vec<Vec<u8>>,
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
        if self.context.trace_level() >= 3 || self.input.is_subrequest {
            return at;
        }
        let subject = self.uri.get(self.stripped()..).unwrap_or_default();
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
        let pattern = &rule.draft.pattern;
        let stripped = self.strip_prefix();
        let source = Show(pattern.regex.source());
        trace!(
            self.context,
            3,
            "applying pattern '{source}' to uri '{}'",
            Show(&self.uri[stripped..])
        );
        let matched = pattern
            .regex
            .captures(&self.uri[stripped..])
            .map_err(|_| gave_up("RewriteRule", pattern.regex.source()))?;
        if matched.is_some() == pattern.negated {
            return Ok(Applied::NoMatch);
        }
        // The groups borrow the old URI and the test strings while the new one is built.
        let uri = mem::take(&mut self.uri);
        let mut tests = mem::take(&mut self.tests);
        let mut expanded = mem::take(&mut self.expanded);
        let groups = matched.map_or_else(Groups::empty, |captures| {
            Groups::new(&uri[stripped..], captures)
        });
        let applied = self.apply_matched(rule, &uri, &groups, &mut tests, &mut expanded);
        (self.uri, self.expanded) = if matches!(applied, Ok(Applied::Replaced)) {
            (expanded, uri)
        } else {
            (uri, expanded)
        };
        self.tests = tests;
        if matches!(applied, Ok(Applied::Replaced)) {
            self.settle(&rule.draft);
        }
        applied
    }

    /// How much of the URI patterns of a folder's rules do not see.
    fn stripped(&self) -> usize {
        match self.input.directory {
            Some(directory)
                if directory.strips
                    && !directory.proxied
                    && self.uri.starts_with(directory.prefix) =>
            {
                directory.prefix.len()
            }
            _ => 0,
        }
    }

    fn strip_prefix(&self) -> usize {
        let stripped = self.stripped();
        if stripped == 0 {
            return 0;
        }
        trace!(
            self.context,
            3,
            "strip per-dir prefix: {} -> {}",
            Show(&self.uri),
            Show(&self.uri[stripped..])
        );
        stripped
    }

    fn apply_matched(
        &mut self,
        rule: &Rule,
        uri: &[u8],
        groups: &Groups<'_>,
        tests: &mut Tests,
        expanded: &mut Vec<u8>,
    ) -> Result<Applied, Early> {
        let hold = tests.all_hold(&rule.conditions, groups, &self.view(uri));
        for header in tests.read.drain(..) {
            self.context.vary(&header);
        }
        if !hold? {
            return Ok(Applied::NoMatch);
        }
        let draft = &rule.draft;
        let tested = Groups::new(&tests.source, tests.captures);
        if !draft.keeps_uri() {
            self.substitute(draft, uri, groups, &tested, expanded)?;
        }
        self.set_env(draft, uri, groups, &tested);
        self.set_cookies(draft, uri, groups, &tested);
        if draft.keeps_uri() {
            if let Some(status) = draft.response_status() {
                trace!(
                    self.context,
                    2,
                    "forcing responsecode {status} for {}",
                    Show(uri)
                );
            }
            return Ok(Applied::Kept);
        }
        Ok(Applied::Replaced)
    }

    fn substitute(
        &self,
        draft: &RuleDraft,
        uri: &[u8],
        groups: &Groups<'_>,
        tested: &Groups<'_>,
        expanded: &mut Vec<u8>,
    ) -> Result<(), Early> {
        expanded.clear();
        let template = &draft.substitution.template;
        let marks = template.expand(groups, tested, &self.view(uri), draft.escape(), expanded);
        trace!(
            self.context,
            2,
            "rewrite '{}' -> '{}'",
            Show(uri),
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

    fn set_env(&mut self, draft: &RuleDraft, uri: &[u8], groups: &Groups<'_>, tested: &Groups<'_>) {
        for template in &draft.settings.env {
            let mut text = Vec::new();
            template.expand(groups, tested, &self.view(uri), None, &mut text);
            if let [b'!', name @ ..] = text.as_slice() {
                self.context.set_env(name, None);
                trace!(self.context, 5, "unsetting env variable '{}'", Show(name));
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
                trace!(
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
        uri: &[u8],
        groups: &Groups<'_>,
        tested: &Groups<'_>,
    ) {
        for template in &draft.settings.cookies {
            let mut text = Vec::new();
            template.expand(groups, tested, &self.view(uri), None, &mut text);
            self.context.set_cookie(&text);
        }
    }

    /// Splits off the query of a fresh substitution and decides what kind of result it is.
    fn settle(&mut self, draft: &RuleDraft) {
        self.own_prefix = 0;
        self.result = Kind::Rewritten;
        let root_added = self.complete(draft);
        self.query
            .split_off(&mut self.uri, draft.query, self.input, self.context);
        if draft.has(FlagKind::Proxy) {
            self.settle_proxy();
            self.context.proxied(draft.line);
        } else if draft.has(FlagKind::Redirect) {
            self.settle_redirect(draft);
        } else {
            self.reduce();
            self.settle_path(draft, root_added);
        }
    }

    /// Puts the folder or a slash in front of a relative result; tells whether it did.
    fn complete(&mut self, draft: &RuleDraft) -> bool {
        let fetched = draft.has(FlagKind::Proxy) || draft.has(FlagKind::Redirect);
        let relative = self.uri.first() != Some(&b'/') && uri::scheme(&self.uri).is_none();
        match self.input.directory {
            _ if !relative => false,
            Some(directory) if directory.proxied => false,
            Some(directory) => {
                trace!(
                    self.context,
                    3,
                    "add per-dir prefix: {0} -> {1}{0}",
                    Show(&self.uri),
                    Show(directory.prefix)
                );
                self.uri.splice(..0, directory.prefix.iter().copied());
                true
            }
            None if fetched => false,
            None => {
                trace!(
                    self.context,
                    3,
                    "add root prefix: {0} -> /{0}",
                    Show(&self.uri)
                );
                self.uri.insert(0, b'/');
                true
            }
        }
    }

    fn settle_proxy(&mut self) {
        if uri::scheme(&self.uri).is_none() {
            self.root();
        }
        trace!(
            self.context,
            2,
            "forcing proxy-throughput with {}",
            Show(&self.uri)
        );
        self.result = Kind::Proxy;
    }

    fn settle_redirect(&mut self, draft: &RuleDraft) {
        if uri::scheme(&self.uri).is_none() {
            self.root();
            let mut full = mem::take(&mut self.expanded);
            full.clear();
            self.push_own_origin(&mut full);
            self.own_prefix = full.len();
            full.extend_from_slice(&self.uri);
            self.expanded = mem::replace(&mut self.uri, full);
        }
        trace!(
            self.context,
            2,
            "explicitly forcing redirect with {}",
            Show(&self.uri)
        );
        self.status = draft.settings.status;
    }

    fn settle_path(&mut self, draft: &RuleDraft, root_added: bool) {
        if uri::scheme(&self.uri).is_some() {
            let status = draft.settings.status;
            trace!(
                self.context,
                2,
                "implicitly forcing redirect (rc={status}) with {}",
                Show(&self.uri)
            );
            self.status = status;
        } else if !root_added
            && !draft.substitution.starts_with_slashes
            && !draft.has(FlagKind::KeepSlashes)
        {
            let slashes = self.uri.iter().take_while(|byte| **byte == b'/').count();
            self.uri.drain(..slashes.saturating_sub(1));
        }
    }

    fn root(&mut self) {
        if self.uri.first() != Some(&b'/') {
            self.uri.insert(0, b'/');
        }
    }

    /// Cuts our own `scheme://host:port` off, so that a rule naming this very virtual host stays internal.
    fn reduce(&mut self) {
        let Some(own) = OwnUrl::parse(&self.uri) else {
            return;
        };
        if !self.context.own_host(own.scheme, own.host, own.port) {
            return;
        }
        let path_at = own.path_at;
        let mut path = self.uri.split_off(path_at);
        if path.is_empty() {
            path.push(b'/');
        }
        trace!(
            self.context,
            3,
            "reduce {}{1} -> {1}",
            Show(&self.uri),
            Show(&path)
        );
        self.uri = path;
    }

    fn push_own_origin(&self, out: &mut Vec<u8>) {
        use relais_expr::Variable::{RequestScheme, ServerName, ServerPort};
        self.context.variable(&RequestScheme, out);
        if out.is_empty() {
            out.extend_from_slice(b"http");
        }
        let default_port: &[u8] = if out.eq_ignore_ascii_case(b"https") {
            b"443"
        } else {
            b"80"
        };
        out.extend_from_slice(b"://");
        self.context.variable(&ServerName, out);
        let mut port = Vec::new();
        self.context.variable(&ServerPort, &mut port);
        if !port.is_empty() && port != default_port {
            out.push(b':');
            out.extend_from_slice(&port);
        }
    }

    fn report_vary(&mut self, conditions: &[Condition]) {
        let mut value = mem::take(&mut self.expanded);
        for condition in self
            .tests
            .held
            .drain(..)
            .filter_map(|index| conditions.get(index))
        {
            for header in headers(condition) {
                value.clear();
                self.context.variable(header.1, &mut value);
                if !value.is_empty() {
                    self.context.vary(header.0);
                }
            }
        }
        self.expanded = value;
    }

    fn view<'v>(&'v self, uri: &'v [u8]) -> View<'v> {
        View {
            context: &*self.context,
            input: self.input,
            uri,
            query: self.query.get(self.input),
        }
    }
}

impl Tests {
    /// Evaluates conditions in order: all must hold, of a group joined by `[OR]` one is enough.
    fn all_hold(
        &mut self,
        conditions: &[Condition],
        rule: &Groups<'_>,
        view: &View<'_>,
    ) -> Result<bool, Early> {
        self.captures = Captures::default();
        self.held.clear();
        let mut at = 0;
        while let Some(condition) = conditions.get(at) {
            let holds = self.holds(condition, rule, view)?;
            if holds && !condition.no_vary {
                self.held.push(at);
            }
            if !holds && !condition.or_next {
                return Ok(false);
            }
            if holds {
                let rest = conditions.get(at..).unwrap_or_default();
                at += rest
                    .iter()
                    .take_while(|condition| condition.or_next)
                    .count();
            }
            at += 1;
        }
        Ok(true)
    }

    fn holds(
        &mut self,
        condition: &Condition,
        rule: &Groups<'_>,
        view: &View<'_>,
    ) -> Result<bool, Early> {
        let mut input = mem::take(&mut self.input);
        input.clear();
        let tested = Groups::new(&self.source, self.captures);
        condition.test.expand(rule, &tested, view, None, &mut input);
        let found = match &condition.kind {
            ConditionKind::Regex(regex) => {
                let captures = regex
                    .captures(&input)
                    .map_err(|_| gave_up("RewriteCond", regex.source()))?;
                if let (Some(captures), false) = (captures, condition.negated) {
                    self.captures = captures;
                    self.source.clone_from(&input);
                }
                captures.is_some()
            }
            ConditionKind::Text(comparison, text) => {
                comparison.holds(text_order(&input, text, condition.caseless))
            }
            ConditionKind::Integer(comparison, number) => {
                comparison.holds(leading_integer(&input).cmp(number))
            }
            ConditionKind::File(test) => view.file_test(*test, &input),
            ConditionKind::Expression(expression) => {
                self.expression_holds(condition, expression, view)?
            }
        };
        let holds = found != condition.negated;
        trace!(
            view.context,
            4,
            "RewriteCond: input='{}' pattern='{}'{} => {}",
            Show(&input),
            Show(&condition.pattern),
            if condition.caseless { " [NC]" } else { "" },
            if holds { "matched" } else { "not-matched" }
        );
        self.input = input;
        Ok(holds)
    }
}

impl Tests {
    /// Evaluates an expression; its groups become `%N` if it holds and is not negated.
    fn expression_holds(
        &mut self,
        condition: &Condition,
        expression: &Expression,
        view: &View<'_>,
    ) -> Result<bool, Early> {
        self.state.reset();
        let holds = expression
            .eval(view, &mut self.state)
            .map_err(|_| gave_up("RewriteCond expr", &condition.pattern))?;
        if holds && !condition.negated {
            let (captures, source) = self.state.matched();
            self.captures = captures;
            self.source.clear();
            self.source.extend_from_slice(source);
        }
        if !condition.no_vary {
            self.read
                .extend(self.state.headers_read().map(<[u8]>::to_vec));
        }
        Ok(holds)
    }
}

/// `scheme://host[:port]` at the start of an http or https URL.
struct OwnUrl<'a> {
    scheme: &'a [u8],
    host: &'a [u8],
    port: u16,
    path_at: usize,
}

impl<'a> OwnUrl<'a> {
    fn parse(url: &'a [u8]) -> Option<Self> {
        let colon = url.iter().position(|byte| *byte == b':')?;
        let (scheme, rest) = url.split_at(colon);
        let rest = rest.strip_prefix(b"://")?;
        let default_port = match scheme.to_ascii_lowercase().as_slice() {
            b"http" => 80,
            b"https" => 443,
            _ => return None,
        };
        let authority_len = rest
            .iter()
            .position(|byte| *byte == b'/')
            .unwrap_or(rest.len());
        let authority = rest.get(..authority_len)?;
        let (host, port) = match authority.iter().position(|byte| *byte == b':') {
            Some(at) => (
                authority.get(..at)?,
                u16::try_from(leading_integer(authority.get(at + 1..)?)).ok()?,
            ),
            None => (authority, default_port),
        };
        Some(Self {
            scheme,
            host,
            port,
            path_at: colon + 3 + authority_len,
        })
    }
}

/// The headers that a condition looks at, with the variables that give their values. `Host` is left out, as
/// RFC 9110 section 12.5.5 has no use for it.
fn headers(condition: &Condition) -> impl Iterator<Item = (&[u8], &relais_expr::Variable)> {
    condition
        .test
        .pieces()
        .iter()
        .filter_map(|piece| match &piece.kind {
            PieceKind::Variable(variable @ relais_expr::Variable::Header(name)) => {
                (!name.eq_ignore_ascii_case(b"host")).then_some((&**name, variable))
            }
            _ => None,
        })
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
