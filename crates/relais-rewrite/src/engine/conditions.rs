//! The conditions of a rule: which hold, what their groups are and which headers the answer varies with.

use std::mem;

use relais_expr::{Captures, Expression, Groups, Lookup as _, PieceKind, State, leading_integer};

use super::{Early, gave_up};
use crate::condition::{Condition, ConditionKind, text_order};
use crate::context::{Context, Tried, View};

/// The state of the conditions of one rule.
#[derive(Default)]
pub(super) struct Tests {
    /// The expanded test string.
    pub(super) input: Vec<u8>,
    /// The test string that `captures` belongs to: what `%N` are cut from.
    pub(super) source: Vec<u8>,
    pub(super) captures: Captures,
    /// Indices of the conditions that held and whose headers the response varies with.
    held: Vec<usize>,
    /// What expressions leave behind.
    state: State,
    /// Headers that expressions have read.
    pub(super) read: Vec<Vec<u8>>,
}

impl Tests {
    /// Evaluates conditions in order: all must hold, of a group joined by `[OR]` one is enough.
    pub(super) fn all_hold(
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
        let mut is_source = false;
        let found = match &condition.kind {
            ConditionKind::Regex(regex) => {
                let captures = regex
                    .captures(&input)
                    .map_err(|_| gave_up("RewriteCond", regex.source()))?;
                if let (Some(captures), false) = (captures, condition.negated) {
                    self.captures = captures;
                    self.source.clone_from(&input);
                    is_source = true;
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
                let holds = self.expression_holds(condition, expression, view)?;
                is_source = holds && !condition.negated;
                holds
            }
        };
        let holds = found != condition.negated;
        if view.context.trace_level() >= Tried::CONDITION {
            view.context.tried(&Tried {
                condition: Some(&condition.test_source),
                line: condition.line,
                input: &input,
                pattern: &condition.pattern,
                caseless: condition.caseless,
                holds: Some(holds),
                groups: is_source.then(|| Groups::new(&self.source, self.captures)),
            });
        }
        self.input = input;
        Ok(holds)
    }

    /// Tells which of the rule's headers the answer varies with: those of conditions that held and had a value.
    pub(super) fn report_vary(
        &mut self,
        conditions: &[Condition],
        context: &mut dyn Context,
        value: &mut Vec<u8>,
    ) {
        let held = self.held.drain(..);
        for condition in held.filter_map(|index| conditions.get(index)) {
            for (name, variable) in headers(condition) {
                value.clear();
                context.variable(variable, value);
                if !value.is_empty() {
                    context.vary(name);
                }
            }
        }
    }

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
