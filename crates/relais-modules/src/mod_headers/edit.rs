//! One `Header` or `RequestHeader`: what is done to which field, and when.

use relais_conf::Text;
use relais_expr::{Expression, Groups, Lookup, Regex, RegexFlags, State, substitute};
use relais_http1::{FieldError, Fields};
use relais_policy::{Environment, Exchange, Problem, Unfit};

use super::format::Format;
use super::problem;
use crate::values;

/// One edit.
#[derive(Debug)]
pub(super) struct Edit {
    action: Action,
    /// The field; for `echo` the pattern is in the action.
    name: Box<[u8]>,
    /// What is set, or the replacement of an edit.
    pub(super) value: Format,
    when: When,
    condition: Condition,
}

#[derive(Debug)]
enum Condition {
    Always,
    /// `env=`: the variable, and whether it has to be set.
    Variable(Box<[u8]>, bool),
    /// `expr=`.
    Expression(Expression),
}

/// When an edit is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    /// Before any other module sees the request.
    Early,
    /// In its turn.
    Late,
}

#[derive(Debug)]
enum Action {
    Set,
    SetIfEmpty,
    Add,
    Append,
    Merge,
    Unset,
    Note,
    Echo(Regex),
    Edit { regex: Regex, all: bool },
}

impl Edit {
    /// Reads what stands behind the directive's name (`header_inout_cmd`).
    pub(super) fn parse(words: &[Text], directive: &str, response: bool) -> Result<Self, Problem> {
        let [action, name, rest @ ..] = words else {
            return Err(Problem::new(format!(
                "{directive} needs an action and a field"
            )));
        };
        let verb = action.lossy().to_ascii_lowercase();
        if !response && matches!(verb.as_str(), "echo" | "note") {
            let message = format!("{verb} is an action of Header only");
            return Err(Problem::at(action.span(), message));
        }
        let (action, value, rest) = match (verb.as_str(), rest) {
            ("echo", rest) => {
                let regex = values::regex(name, RegexFlags::caseless(true))?;
                (Action::Echo(regex), None, rest)
            }
            ("unset", rest) => (Action::Unset, None, rest),
            ("edit" | "edit*", [pattern, value, rest @ ..]) => {
                let regex = values::regex(pattern, RegexFlags::default())?;
                let all = verb == "edit*";
                (Action::Edit { regex, all }, Some(value), rest)
            }
            ("edit" | "edit*", _) => {
                let message = format!("{directive} edit requires a match and a substitution");
                return Err(problem(rest.last(), message));
            }
            (_, [value, rest @ ..]) => (plain(&verb, action)?, Some(value), rest),
            (_, []) => {
                plain(&verb, action)?;
                let message = format!("{directive} {verb} needs a value");
                return Err(Problem::at(name.span(), message));
            }
        };
        let (when, condition) = condition(rest)?;
        Ok(Self {
            name: field_name(name, &action)?,
            action,
            value: value.map(Format::parse).transpose()?.unwrap_or_default(),
            when,
            condition,
        })
    }

    /// Whether the edit is made at this time for this request.
    pub(super) fn holds(
        &self,
        exchange: &Exchange<'_>,
        lookup: &dyn Lookup,
        state: &mut State,
        when: When,
    ) -> bool {
        match &self.condition {
            _ if self.when != when => false,
            Condition::Always => true,
            Condition::Variable(name, set) => exchange.environment.get(name).is_some() == *set,
            // As in httpd, what cannot be said is false.
            Condition::Expression(expression) => expression.eval(lookup, state).unwrap_or(false),
        }
    }

    /// Whether it copies fields of the request.
    pub(super) fn is_echo(&self) -> bool {
        matches!(self.action, Action::Echo(_))
    }

    /// Makes an edit that needs nothing but the field list.
    pub(super) fn apply(&self, value: &[u8], fields: &mut Fields) -> Result<(), FieldError> {
        let name = &*self.name;
        match &self.action {
            Action::Set => fields.set(name, value),
            Action::SetIfEmpty if fields.contains(name) => Ok(()),
            Action::SetIfEmpty | Action::Add => fields.push(name, value),
            Action::Append => fields.append(name, value),
            Action::Merge => {
                let lists = fields.get_all(name);
                let mut members = lists.flat_map(|list| list.split(|&byte| byte == b','));
                if members.any(|one| one.trim_ascii() == value) {
                    return Ok(());
                }
                drop(members);
                fields.append(name, value)
            }
            Action::Unset => {
                fields.remove(name);
                Ok(())
            }
            Action::Edit { regex, all } => self.edit(regex, *all, value, fields),
            Action::Note | Action::Echo(_) => Ok(()),
        }
    }

    /// Makes an edit of a response.
    pub(super) fn respond(
        &self,
        exchange: &Exchange<'_>,
        value: &[u8],
        fields: &mut Fields,
        notes: &mut Environment,
    ) -> Result<(), Unfit> {
        match &self.action {
            Action::Echo(regex) => {
                // Fields of the same name are one in httpd's list of the request's.
                let mut done: Vec<&[u8]> = Vec::new();
                for (name, _) in exchange.fields() {
                    let is_new = !done.iter().any(|known| known.eq_ignore_ascii_case(name));
                    if is_new && regex.is_match(name).unwrap_or(false) {
                        let values: Vec<&[u8]> = exchange.fields().get_all(name).collect();
                        fields
                            .push(name, values.join(&b", "[..]))
                            .map_err(|_| Unfit)?;
                        done.push(name);
                    }
                }
            }
            Action::Note => notes.set(value, fields.get(&self.name)),
            _ => self.apply(value, fields).map_err(|_| Unfit)?,
        }
        Ok(())
    }

    /// Edits each line of a field; as in httpd they are the last ones then.
    fn edit(
        &self,
        regex: &Regex,
        all: bool,
        template: &[u8],
        fields: &mut Fields,
    ) -> Result<(), FieldError> {
        let Some(first) = fields.position(&self.name) else {
            return Ok(());
        };
        let name = fields.at(first).map(|(name, _)| name.to_vec());
        let edited: Vec<Vec<u8>> = fields
            .get_all(&self.name)
            .map(|value| replaced(regex, all, template, value))
            .collect();
        fields.remove(&self.name);
        for value in edited {
            fields.push(name.as_deref().unwrap_or_default(), value)?;
        }
        Ok(())
    }
}

/// The value with its first match, or all of them, replaced.
fn replaced(regex: &Regex, all: bool, template: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Ok(Some(captures)) = regex.captures(rest) {
        let range = captures.get(0).unwrap_or_default();
        out.extend_from_slice(&rest[..range.start]);
        substitute(template, &Groups::new(rest, captures), &mut out);
        rest = &rest[range.end..];
        if !all || range.is_empty() || rest.is_empty() {
            break;
        }
    }
    out.extend_from_slice(rest);
    out
}

fn plain(verb: &str, word: &Text) -> Result<Action, Problem> {
    Ok(match verb {
        "set" => Action::Set,
        "setifempty" => Action::SetIfEmpty,
        "add" => Action::Add,
        "append" => Action::Append,
        "merge" => Action::Merge,
        "note" => Action::Note,
        _ => {
            let message = "the action is add, append, merge, set, setifempty, unset, edit, edit*, or for responses echo or note";
            return Err(Problem::at(word.span(), message));
        }
    })
}

/// A field's name; a colon at its end is httpd's own tolerance.
fn field_name(word: &Text, action: &Action) -> Result<Box<[u8]>, Problem> {
    let name = word
        .bytes()
        .strip_suffix(b":")
        .unwrap_or_else(|| word.bytes());
    let is_pattern = matches!(action, Action::Echo(_));
    if !is_pattern && Fields::new().push(name, "").is_err() {
        return Err(Problem::at(word.span(), "not the name of a field"));
    }
    Ok(name.into())
}

/// The last argument.
fn condition(rest: &[Text]) -> Result<(When, Condition), Problem> {
    let word = match rest {
        [] => return Ok((When::Late, Condition::Always)),
        [word] => word,
        [_, extra, ..] => return Err(Problem::at(extra.span(), "too many arguments")),
    };
    match word.bytes() {
        bytes if bytes.eq_ignore_ascii_case(b"early") => Ok((When::Early, Condition::Always)),
        [b'e', b'n', b'v', b'=', b'!', name @ ..] if !name.is_empty() => {
            Ok((When::Late, Condition::Variable(name.into(), false)))
        }
        [b'e', b'n', b'v', b'=', name @ ..] if !name.is_empty() && name != b"!" => {
            Ok((When::Late, Condition::Variable(name.into(), true)))
        }
        [b'e', b'x', b'p', b'r', b'=', ..] => {
            let expression = values::expression(word, "expr=".len())?;
            Ok((When::Late, Condition::Expression(expression)))
        }
        _ => {
            let message = format!("Unknown parameter: {}", word.lossy());
            let help = "the last argument is early, env=[!]NAME or expr=EXPRESSION; a value with spaces needs quotes";
            Err(Problem::at(word.span(), message).with_help(help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements() {
        let table: &[(&str, bool, &str, &str, &str)] = &[
            ("a", false, "b", "banana", "bbnana"),
            ("a", true, "o", "banana", "bonono"),
            ("^(.*)$", false, "$1; Secure", "a=b", "a=b; Secure"),
            ("(x)(y)?", true, "<$1$2$9>", "xyx", "<xy><x>"),
            ("z", true, "o", "banana", "banana"),
            ("", true, "<", "ab", "<ab"),
            ("a", false, r"\$0", "a", "$0"),
        ];
        for &(pattern, all, template, value, expected) in table {
            let regex = Regex::new(pattern.as_bytes(), RegexFlags::default()).unwrap();
            let found = replaced(&regex, all, template.as_bytes(), value.as_bytes());
            assert_eq!(found, expected.as_bytes(), "{pattern} in {value}");
        }
    }
}
