//! `RewriteRule`: parsing, and the parsed form.

use std::ops::Range;
use std::sync::OnceLock;

use relais_conf::Span;
use relais_expr::{Escape, Quick, Regex, RegexFlags, Template};

use crate::args;
use crate::condition::Condition;
use crate::error::RuleError;
use crate::flags::{Flag, FlagKind, Settings};

/// A parsed `RewriteRule` line, still without its conditions. All ranges count from the start of the argument text.
#[derive(Clone, Debug)]
pub struct RuleDraft {
    /// The pattern.
    pub pattern: Pattern,
    /// The substitution.
    pub substitution: Substitution,
    /// What stands behind the flags; httpd ignores it.
    pub extra: Option<Range<usize>>,
    /// Its line, if whoever parsed it says so; [`crate::Context::proxied`] hears it.
    pub line: Option<Span>,
    pub(crate) settings: Settings,
    pub(crate) query: QueryFlags,
}

/// The pattern of a rule.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Where it stands, with its `!`.
    pub range: Range<usize>,
    /// The rule applies where the pattern does not match; `$N` are empty then.
    pub negated: bool,
    /// The compiled pattern without its `!`.
    pub regex: Regex,
}

/// The substitution of a rule.
#[derive(Clone, Debug)]
pub struct Substitution {
    /// Where it stands, as written.
    pub range: Range<usize>,
    /// Its parts. A question mark at the very end is not among them unless there is `QSA`.
    pub template: Template,
    /// It is `-`: nothing is substituted.
    pub is_dash: bool,
    /// It as written, without a question mark at its end that means "no query".
    pub(crate) written: Box<[u8]>,
}

/// How the query of a rule's result comes about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueryFlags {
    pub(crate) append: bool,
    pub(crate) discard: bool,
    /// Split at the last question mark instead of the first.
    pub(crate) last: bool,
    /// Drop the query and do not look for a question mark at all.
    pub(crate) none: bool,
}

/// A rule with the conditions that were written in front of it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The `RewriteRule` line.
    pub draft: RuleDraft,
    /// The `RewriteCond` lines, in order.
    pub conditions: Vec<Condition>,
}

/// The rules of one server, virtual host or section, in order.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// What the first run makes of them.
    gates: OnceLock<Box<[Gate]>>,
    may_ask: bool,
}

/// What is looked at before a rule: most rules of a large set are passed without touching them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    /// Nothing passes where the rule's pattern is negated.
    pub(crate) quick: Quick,
    /// How many rules of a chain are left out with this one.
    pub(crate) chained: u32,
}

impl RuleSet {
    /// Rules in their order.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            may_ask: rules.iter().any(Rule::may_ask),
            rules,
            gates: OnceLock::new(),
        }
    }

    /// The rules in their order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Adds a rule behind the others.
    pub fn push(&mut self, rule: Rule) {
        self.may_ask |= rule.may_ask();
        self.rules.push(rule);
        self.gates = OnceLock::new();
    }

    /// Whether something in the rules may need a sub-request: a look-ahead, `-U`, `-F`, or an expression, in which they
    /// may be.
    #[must_use]
    pub const fn may_ask(&self) -> bool {
        self.may_ask
    }

    pub(crate) fn gates(&self) -> &[Gate] {
        self.gates.get_or_init(|| {
            let gates = self.rules.iter().enumerate().map(|(at, rule)| {
                let pattern = &rule.draft.pattern;
                Gate {
                    quick: if pattern.negated {
                        Quick::default()
                    } else {
                        pattern.regex.quick()
                    },
                    chained: u32::try_from(self.chained(at)).unwrap_or(u32::MAX),
                }
            });
            gates.collect()
        })
    }

    /// How many rules a chain that did not match takes with it.
    pub(crate) fn chained(&self, at: usize) -> usize {
        let rest = self.rules.get(at..).unwrap_or_default();
        rest.iter()
            .take_while(|rule| rule.draft.has(FlagKind::Chain))
            .count()
    }
}

impl Rule {
    fn may_ask(&self) -> bool {
        self.draft.looks_ahead() || self.conditions.iter().any(Condition::may_ask)
    }
}

impl RuleDraft {
    /// The flags as written, in order.
    #[must_use]
    pub fn flags(&self) -> &[Flag] {
        &self.settings.written
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn has(&self, kind: FlagKind) -> bool {
        self.settings.has(kind)
    }

    /// The status of `R`, `F` or `G` if the request ends with it instead of a redirect.
    #[must_use]
    pub fn response_status(&self) -> Option<u16> {
        self.settings.responds.then_some(self.settings.status)
    }

    /// Takes the conditions written since the previous rule.
    #[must_use]
    pub fn with_conditions(self, conditions: Vec<Condition>) -> Rule {
        Rule {
            draft: self,
            conditions,
        }
    }

    fn looks_ahead(&self) -> bool {
        let settings = &self.settings;
        let others = settings.env.iter().chain(&settings.cookies);
        let mut all = others
            .chain(&settings.kind)
            .chain(&settings.handler)
            .chain([&self.substitution.template]);
        all.any(Template::looks_ahead)
    }

    pub(crate) fn escape(&self) -> Option<&Escape> {
        self.settings.escape.as_ref()
    }

    /// Whether a match leaves the URI alone.
    pub(crate) fn keeps_uri(&self) -> bool {
        self.substitution.is_dash || self.settings.responds
    }
}

/// Parses the argument text of a `RewriteRule` line.
///
/// # Errors
///
/// [`RuleError`] with the bytes to blame, for a wrong line and for a flag that is not supported yet.
pub fn parse_rule(text: &[u8]) -> Result<RuleDraft, RuleError> {
    let args = args::split(text, "a pattern and a substitution")?;
    let settings = match args.flags {
        Some(list) => Settings::parse(text, list)?,
        None => Settings::none(),
    };
    let pattern = pattern(text, args.first, settings.has(FlagKind::NoCase))?;
    let written = text.get(args.second.clone()).unwrap_or_default();
    let (kept, query) = query_flags(written, &settings);
    let template =
        Template::parse(kept, args.second.start).map_err(|error| RuleError::map(&error))?;
    let substitution = Substitution {
        range: args.second,
        template,
        is_dash: written == b"-",
        written: kept.into(),
    };
    Ok(RuleDraft {
        pattern,
        substitution,
        extra: args.extra,
        line: None,
        settings,
        query,
    })
}

fn pattern(text: &[u8], range: Range<usize>, caseless: bool) -> Result<Pattern, RuleError> {
    let negated = text.get(range.start) == Some(&b'!') && !range.is_empty();
    let bare = range.start + usize::from(negated)..range.end;
    let source = text.get(bare.clone()).unwrap_or_default();
    let regex = Regex::new(source, RegexFlags::caseless(caseless))
        .map_err(|error| RuleError::regex(&error, &bare))?;
    Ok(Pattern {
        range,
        negated,
        regex,
    })
}

/// A question mark at the very end means "no query" and is cut off; with `QSA` it stays, to be split off at.
fn query_flags<'a>(written: &'a [u8], settings: &Settings) -> (&'a [u8], QueryFlags) {
    let mut query = QueryFlags {
        append: settings.has(FlagKind::QueryAppend),
        discard: settings.has(FlagKind::QueryDiscard),
        last: settings.has(FlagKind::QueryLast),
        none: false,
    };
    match written.split_last() {
        Some((b'?', _)) if query.append => query.last = true,
        Some((b'?', kept)) => {
            query.none = true;
            return (kept, query);
        }
        _ => query.none = query.discard && !written.contains(&b'?'),
    }
    (written, query)
}

#[cfg(test)]
mod tests {
    use relais_expr::PieceKind;

    use super::*;

    #[test]
    fn structure_for_lints() {
        let rule = parse_rule(b" !^/a/(.*)$  \"ws://h:1/b$1\" [proxy,last] # note").unwrap();
        assert_eq!(
            (rule.pattern.range.clone(), rule.pattern.negated),
            (1..11, true)
        );
        assert_eq!(rule.pattern.regex.source(), b"^/a/(.*)$");
        assert_eq!(rule.substitution.range, 14..26);
        let pieces = rule.substitution.template.pieces();
        assert_eq!(pieces[0].kind, PieceKind::Literal(b"ws://h:1/b"[..].into()));
        assert_eq!(
            (pieces[1].kind.clone(), pieces[1].range.clone()),
            (PieceKind::Rule(1), 24..26)
        );
        let flags: Vec<_> = rule
            .flags()
            .iter()
            .map(|flag| (flag.kind, flag.range.clone()))
            .collect();
        assert_eq!(flags, [(FlagKind::Proxy, 29..34), (FlagKind::Last, 35..39)]);
        assert_eq!(rule.extra, Some(41..47));
    }

    #[test]
    fn what_becomes_of_the_query() {
        let flags = |append, discard, last, none| QueryFlags {
            append,
            discard,
            last,
            none,
        };
        for (text, expected) in [
            ("a /b", flags(false, false, false, false)),
            ("a /b?", flags(false, false, false, true)),
            ("a /b?x", flags(false, false, false, false)),
            ("a /b? [QSA]", flags(true, false, true, false)),
            ("a /b [QSD]", flags(false, true, false, true)),
            ("a /b?x [QSD]", flags(false, true, false, false)),
            ("a /b?x [QSL]", flags(false, false, true, false)),
        ] {
            assert_eq!(
                parse_rule(text.as_bytes()).unwrap().query,
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn errors_point_at_bytes() {
        for (text, range, message) in [
            (
                "",
                0..0,
                "bad argument line: a pattern and a substitution are needed",
            ),
            (
                "^/a",
                0..3,
                "bad argument line: a pattern and a substitution are needed",
            ),
            (
                "^/a b c",
                6..7,
                "bad flag delimiters: the third word must start with `[`",
            ),
            (
                "^/a /b [L, R]",
                7..10,
                "bad flag delimiters: the third word must end with `]`",
            ),
            ("^/a /b [L,ZZ]", 10..12, "unknown flag 'ZZ'"),
            (
                "^/a /b [R=999]",
                10..13,
                "invalid HTTP response code '999' for flag 'R'",
            ),
            (
                "^/(a$ /b",
                4..5,
                "cannot compile regular expression: missing closing parenthesis",
            ),
            (
                "!*a /b",
                1..2,
                "cannot compile regular expression: quantifier does not follow a repeatable item",
            ),
        ] {
            let error = parse_rule(text.as_bytes()).unwrap_err();
            assert_eq!(
                (error.range, error.message.as_str()),
                (range, message),
                "{text}"
            );
        }
    }
}
