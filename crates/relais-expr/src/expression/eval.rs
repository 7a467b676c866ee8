//! Evaluation. Words are written one behind the other into one buffer, so that a request that finds it warm allocates
//! nothing.

use std::cmp::Ordering;

use super::{Condition, EvalError, Order, State, Word};
use crate::regex::RegexError;
use crate::variable::{Lookup, Variable};

pub(super) fn condition(
    condition: &Condition,
    lookup: &dyn Lookup,
    state: &mut State,
) -> Result<bool, EvalError> {
    let mut run = Run { lookup, state };
    run.holds(condition)
}

pub(super) fn text(word: &Word, lookup: &dyn Lookup, state: &mut State, out: &mut Vec<u8>) {
    let mut run = Run { lookup, state };
    run.append(word, out);
}

struct Run<'a> {
    lookup: &'a dyn Lookup,
    state: &'a mut State,
}

impl Run<'_> {
    fn holds(&mut self, condition: &Condition) -> Result<bool, EvalError> {
        Ok(match condition {
            Condition::Constant(value) => *value,
            Condition::Not(inner) => !self.holds(inner)?,
            Condition::All(parts) => {
                for part in parts {
                    if !self.holds(part)? {
                        return Ok(false);
                    }
                }
                true
            }
            Condition::Any(parts) => {
                for part in parts {
                    if self.holds(part)? {
                        return Ok(true);
                    }
                }
                false
            }
            Condition::Text(order, left, right) => {
                self.pair(left, right, |left, right| order.holds(left.cmp(right)))
            }
            Condition::ByLength(order, left, right) => self.pair(left, right, |left, right| {
                order.holds(left.len().cmp(&right.len()).then_with(|| left.cmp(right)))
            }),
            Condition::Integer(order, left, right) => self.pair(left, right, |left, right| {
                order.holds(leading_integer(left).cmp(&leading_integer(right)))
            }),
            Condition::In(word, list) => list
                .iter()
                .any(|element| self.pair(word, element, |left, right| left == right)),
            Condition::Match {
                word,
                regex,
                negated,
            } => self.matches(word, regex)? != *negated,
            Condition::Empty(word) => self.one(word, <[u8]>::is_empty),
            Condition::NotEmpty(word) => self.one(word, |text| !text.is_empty()),
            Condition::True(word) => self.one(word, is_true),
            Condition::ClientIn(network) => {
                let client = Word::Variable {
                    variable: Variable::RemoteAddr,
                    vary: false,
                };
                self.one(&client, |address| network.contains(address))
            }
            Condition::File(test, word) => {
                let lookup = self.lookup;
                self.one(word, |path| lookup.file_test(*test, path))
            }
            Condition::AddressIn(word, network) => {
                self.one(word, |address| network.contains(address))
            }
            Condition::Wildcard(rules, text, pattern) => {
                self.pair(text, pattern, |text, pattern| rules.matches(pattern, text))
            }
        })
    }

    fn matches(&mut self, word: &Word, regex: &crate::Regex) -> Result<bool, EvalError> {
        if regex.group_count() == 0 {
            return self
                .one(word, |text| regex.is_match(text))
                .map_err(|error| given_up(&error));
        }
        let mut scratch = std::mem::take(&mut self.state.scratch);
        let start = scratch.len();
        self.append(word, &mut scratch);
        let text = scratch.get(start..).unwrap_or_default();
        let captures = regex.captures(text);
        if let Ok(captures) = &captures {
            let text = if captures.is_some() { text } else { b"" };
            self.state.set_groups(text, captures.unwrap_or_default());
        }
        scratch.truncate(start);
        self.state.scratch = scratch;
        captures
            .map(|captures| captures.is_some())
            .map_err(|error| given_up(&error))
    }

    fn one<T>(&mut self, word: &Word, test: impl FnOnce(&[u8]) -> T) -> T {
        if let Word::Literal(text) = word {
            return test(text);
        }
        let mut scratch = std::mem::take(&mut self.state.scratch);
        let start = scratch.len();
        self.append(word, &mut scratch);
        let result = test(scratch.get(start..).unwrap_or_default());
        scratch.truncate(start);
        self.state.scratch = scratch;
        result
    }

    fn pair<T>(&mut self, left: &Word, right: &Word, test: impl FnOnce(&[u8], &[u8]) -> T) -> T {
        if let Word::Literal(right) = right {
            return self.one(left, |left| test(left, right));
        }
        let mut scratch = std::mem::take(&mut self.state.scratch);
        let start = scratch.len();
        self.append(left, &mut scratch);
        let middle = scratch.len();
        self.append(right, &mut scratch);
        let (left, right) = scratch
            .get(start..)
            .unwrap_or_default()
            .split_at(middle - start);
        let result = test(left, right);
        scratch.truncate(start);
        self.state.scratch = scratch;
        result
    }

    fn append(&mut self, word: &Word, out: &mut Vec<u8>) {
        match word {
            Word::Literal(text) => out.extend_from_slice(text),
            Word::Group(n) => {
                out.extend_from_slice(self.state.groups().get(usize::from(*n)));
            }
            Word::Variable { variable, vary } => self.variable(variable, *vary, out),
            Word::Named(source, name) => {
                let mut spelled = Vec::new();
                self.append(name, &mut spelled);
                let (variable, vary) = source.variable(&spelled);
                self.variable(&variable, vary, out);
            }
            Word::Call(function, argument) => {
                let from = out.len();
                self.append(argument, out);
                function.apply(self.lookup, out, from);
            }
            Word::Concat(parts) => parts.iter().for_each(|part| self.append(part, out)),
        }
    }

    fn variable(&mut self, variable: &Variable, vary: bool, out: &mut Vec<u8>) {
        self.lookup.variable(variable, out);
        if let (true, Variable::Header(name)) = (vary, variable) {
            self.note_header(name);
        }
    }

    fn note_header(&mut self, name: &[u8]) {
        let known = self
            .state
            .headers_read()
            .any(|known| known.eq_ignore_ascii_case(name));
        // A comma cannot be in the name of a header that exists.
        if !known && !name.eq_ignore_ascii_case(b"Host") && !name.contains(&b',') {
            self.state.headers.extend_from_slice(name);
            self.state.headers.push(b',');
        }
    }
}

impl Order {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

fn given_up(error: &RegexError) -> EvalError {
    match error {
        RegexError::Limit => EvalError::Limit,
        RegexError::Subject | RegexError::Syntax { .. } => EvalError::Subject,
    }
}

fn is_true(text: &[u8]) -> bool {
    !text.is_empty()
        && ![&b"0"[..], b"off", b"false", b"no"]
            .iter()
            .any(|no| text.eq_ignore_ascii_case(no))
}

/// The number that C's `atoi` reads, within 64 bits: white space, a sign, digits, then anything.
#[must_use]
pub fn leading_integer(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0_i64, |sum, byte| {
            sum.saturating_mul(10)
                .saturating_add(i64::from(byte - b'0'))
        });
    if negative { -value } else { value }
}
