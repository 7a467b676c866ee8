//! The reader of expressions (`ap_expr`), and the evaluation of what it takes for one.

use relais_expr::{
    Expression, FileTest, Lookup, Regex, RegexFlags, State, StringExpression, Variable,
};

use crate::check_range;

/// A text is read as a condition, as a text with variables and as a pattern, and evaluated where it is one.
///
/// # Panics
/// When an error blames bytes outside of the text, or says nothing.
pub fn expression(data: &[u8]) {
    let mut state = State::default();
    match Expression::parse(data) {
        Ok(expression) => {
            let _ = expression.eval(&Values, &mut state);
            assert!(state.headers_read().all(|name| !name.is_empty()));
        }
        Err(error) => {
            check_range(&error.range, data);
            assert!(!error.message.is_empty());
        }
    }
    match StringExpression::parse(data) {
        Ok(expression) => expression.eval(&Values, &mut state, &mut Vec::new()),
        Err(error) => check_range(&error.range, data),
    }
    if let Ok(regex) = Regex::new(data, RegexFlags::default()) {
        let _ = regex.captures(b"/a/b\xff");
    }
}

/// A request in which headers and variables hold their own names.
struct Values;

impl Lookup for Values {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        match variable {
            Variable::Header(name) | Variable::Env(name) => out.extend_from_slice(name),
            _ => out.extend_from_slice(b"/a\xff%2F%zz$1"),
        }
    }

    fn file_test(&self, _test: FileTest, path: &[u8]) -> bool {
        path.len().is_multiple_of(2)
    }

    fn file_contents(&self, path: &[u8]) -> Option<Vec<u8>> {
        path.len().is_multiple_of(3).then(|| path.to_vec())
    }

    fn file_size(&self, path: &[u8]) -> Option<u64> {
        path.len().is_multiple_of(3).then_some(path.len() as u64)
    }
}
