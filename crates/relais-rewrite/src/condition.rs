//! `RewriteCond`: parsing, and the comparisons that need no state.

use std::cmp::Ordering;
use std::ops::Range;

use relais_conf::Span;
use relais_expr::{Expression, FileTest, Regex, RegexFlags, Template, leading_integer};

use crate::args::{self, Args};
use crate::error::RuleError;
use crate::flags;

/// A parsed `RewriteCond`. All ranges count from the start of the argument text.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The test string.
    pub test: Template,
    /// The test string as written.
    pub test_source: Vec<u8>,
    /// Where the test string stands.
    pub test_range: Range<usize>,
    /// The pattern as written, with `!` and operator.
    pub pattern: Vec<u8>,
    /// Where the pattern stands.
    pub pattern_range: Range<usize>,
    /// What is compared, and how.
    pub kind: ConditionKind,
    /// The result is inverted (`!`, or `-ne`).
    pub negated: bool,
    /// `[NC]`, where it has an effect.
    pub caseless: bool,
    /// `[OR]`: it is enough if this or a following condition holds.
    pub or_next: bool,
    /// `[NV]`: headers looked at are not added to `Vary`.
    pub no_vary: bool,
    /// A `[NC]` that has no effect on this kind of pattern (httpd warns with AH00665).
    pub useless_nocase: Option<Range<usize>>,
    /// What stands behind the flags; httpd ignores it.
    pub extra: Option<Range<usize>>,
    /// Where the line stands, if whoever reads the file says so.
    pub line: Option<Span>,
}

impl Condition {
    /// Whether it may need a sub-request.
    pub(crate) fn may_ask(&self) -> bool {
        self.test.looks_ahead()
            || matches!(
                self.kind,
                ConditionKind::Expression(_)
                    | ConditionKind::File(FileTest::FileByRequest | FileTest::UrlByRequest)
            )
    }
}

/// The kinds of condition patterns.
#[derive(Clone, Debug)]
pub enum ConditionKind {
    /// A regular expression, found anywhere in the test string.
    Regex(Regex),
    /// `=text`, `<text` and so on: a comparison of text, in httpd's order where longer is greater.
    Text(Comparison, Vec<u8>),
    /// `-eqN` and so on: both sides as C's `atoi` reads them.
    Integer(Comparison, i64),
    /// `-f` and so on: a question about the file or URL that the test string names.
    File(FileTest),
    /// The test string is `expr` and the pattern an expression.
    Expression(Box<Expression>),
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`, `-eq`, and negated `-ne`.
    Equal,
    /// `<`, `-lt`.
    Less,
    /// `<=`, `-le`.
    LessOrEqual,
    /// `>`, `-gt`.
    Greater,
    /// `>=`, `-ge`.
    GreaterOrEqual,
}

impl Comparison {
    pub(crate) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Parses the argument text of a `RewriteCond` line.
///
/// # Errors
///
/// [`RuleError`] with the bytes to blame.
pub fn parse_cond(text: &[u8]) -> Result<Condition, RuleError> {
    let args = args::split(text, "a test string and a pattern")?;
    let bytes = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    let flags_read = Flags::read(text, &args)?;
    let is_expression = bytes(&args.first).eq_ignore_ascii_case(b"expr");
    let test = Template::parse(bytes(&args.first), args.first.start)
        .map_err(|error| RuleError::map(&error))?;
    let (inverted, kind) = if is_expression {
        expression(text, &args.second)?
    } else {
        pattern(text, &args.second, flags_read.nocase.is_some())?
    };
    let useless = !matches!(kind, ConditionKind::Regex(_) | ConditionKind::Text(..));
    Ok(Condition {
        test,
        test_source: bytes(&args.first).to_vec(),
        test_range: args.first,
        pattern: bytes(&args.second).to_vec(),
        pattern_range: args.second,
        kind,
        negated: inverted,
        caseless: flags_read.nocase.is_some() && !useless,
        or_next: flags_read.or_next,
        no_vary: flags_read.no_vary,
        useless_nocase: flags_read.nocase.filter(|_| useless),
        extra: args.extra,
        line: None,
    })
}

/// The three flags of a condition.
#[derive(Default)]
struct Flags {
    nocase: Option<Range<usize>>,
    or_next: bool,
    no_vary: bool,
}

impl Flags {
    fn read(text: &[u8], args: &Args) -> Result<Self, RuleError> {
        let mut read = Self::default();
        for item in args
            .flags
            .iter()
            .flat_map(|list| flags::items(text, list.clone()))
        {
            let (name, _) = flags::name_and_value(text, &item);
            match text
                .get(name.clone())
                .unwrap_or_default()
                .to_ascii_lowercase()
                .as_slice()
            {
                b"nc" | b"nocase" => read.nocase = Some(item),
                b"or" | b"ornext" => read.or_next = true,
                b"nv" | b"novary" => read.no_vary = true,
                _ => return Err(flags::unknown(text, name)),
            }
        }
        Ok(read)
    }
}

fn pattern(
    text: &[u8],
    range: &Range<usize>,
    caseless: bool,
) -> Result<(bool, ConditionKind), RuleError> {
    let full = text.get(range.clone()).unwrap_or_default();
    let negated = full.first() == Some(&b'!');
    let start = range.start + usize::from(negated);
    let bare = text.get(start..range.end).unwrap_or_default();
    if let Some(test) = file_test(bare) {
        return Ok((negated, ConditionKind::File(test)));
    }
    if let Some((inverts, comparison, number)) = integer(bare) {
        return Ok((
            negated != inverts,
            ConditionKind::Integer(comparison, number),
        ));
    }
    if let Some((comparison, operand)) = comparison(bare) {
        return Ok((negated, ConditionKind::Text(comparison, operand.to_vec())));
    }
    let regex = Regex::new(bare, RegexFlags::caseless(caseless))
        .map_err(|error| RuleError::regex(&error, &(start..range.end)))?;
    Ok((negated, ConditionKind::Regex(regex)))
}

/// An expression; a leading `!` inverts all of it, as in httpd.
fn expression(text: &[u8], range: &Range<usize>) -> Result<(bool, ConditionKind), RuleError> {
    let negated = text.get(range.start) == Some(&b'!') && !range.is_empty();
    let start = range.start + usize::from(negated);
    let parsed = Expression::parse(text.get(start..range.end).unwrap_or_default())
        .map_err(|error| RuleError::expression(&error, start))?;
    Ok((negated, ConditionKind::Expression(Box::new(parsed))))
}

fn file_test(bare: &[u8]) -> Option<FileTest> {
    let [b'-', letter] = bare else {
        return None;
    };
    Some(match letter {
        b'd' => FileTest::Directory,
        b'f' => FileTest::Regular,
        b's' => FileTest::NotEmpty,
        b'h' | b'l' | b'L' => FileTest::Link,
        b'x' => FileTest::Executable,
        b'F' => FileTest::FileByRequest,
        b'U' => FileTest::UrlByRequest,
        _ => return None,
    })
}

/// `-eqN`; without a number it is a regular expression.
fn integer(bare: &[u8]) -> Option<(bool, Comparison, i64)> {
    let [b'-', first, second, number @ ..] = bare else {
        return None;
    };
    let comparison = match [*first, *second] {
        [b'e', b'q'] | [b'n', b'e'] => Comparison::Equal,
        [b'l', b't'] => Comparison::Less,
        [b'l', b'e'] => Comparison::LessOrEqual,
        [b'g', b't'] => Comparison::Greater,
        [b'g', b'e'] => Comparison::GreaterOrEqual,
        _ => return None,
    };
    (!number.is_empty()).then(|| (*first == b'n', comparison, leading_integer(number)))
}

/// `=text` and its like; the operator alone is a regular expression.
fn comparison(bare: &[u8]) -> Option<(Comparison, &[u8])> {
    match bare {
        [_] => None,
        b"=\"\"" => Some((Comparison::Equal, b"")),
        [b'=', operand @ ..] => Some((Comparison::Equal, operand)),
        [b'<', b'=', operand @ ..] => Some((Comparison::LessOrEqual, operand)),
        [b'<', operand @ ..] => Some((Comparison::Less, operand)),
        [b'>', b'=', operand @ ..] => Some((Comparison::GreaterOrEqual, operand)),
        [b'>', operand @ ..] => Some((Comparison::Greater, operand)),
        _ => None,
    }
}

/// httpd's order of text: the longer one is greater, of equally long ones the bytes decide; caseless it is the order
/// of the dictionary.
pub(crate) fn text_order(left: &[u8], right: &[u8], caseless: bool) -> Ordering {
    if caseless {
        let lower = |text: &[u8]| text.iter().map(u8::to_ascii_lowercase).collect::<Vec<u8>>();
        return lower(left).cmp(&lower(right));
    }
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: &ConditionKind) -> String {
        match kind {
            ConditionKind::Regex(regex) => format!("~ {}", regex.source().escape_ascii()),
            ConditionKind::Text(comparison, text) => {
                format!("{comparison:?} '{}'", text.escape_ascii())
            }
            ConditionKind::Integer(comparison, number) => format!("{comparison:?} {number}"),
            ConditionKind::File(test) => format!("{test:?}"),
            ConditionKind::Expression(_) => "expr".to_owned(),
        }
    }

    #[test]
    fn patterns() {
        for (pattern, negated, expected) in [
            ("websocket", false, "~ websocket"),
            ("!^x$", true, "~ ^x$"),
            ("!", true, "~ "),
            ("=a", false, "Equal 'a'"),
            ("!=a", true, "Equal 'a'"),
            ("=\"\"", false, "Equal ''"),
            ("=", false, "~ ="),
            ("<", false, "~ <"),
            ("<b", false, "Less 'b'"),
            ("<=", false, "LessOrEqual ''"),
            (">=b", false, "GreaterOrEqual 'b'"),
            (">b", false, "Greater 'b'"),
            ("-eq5", false, "Equal 5"),
            ("-ne5", true, "Equal 5"),
            ("!-ne5", false, "Equal 5"),
            ("-lt-1", false, "Less -1"),
            ("-le7x", false, "LessOrEqual 7"),
            ("-gt0", false, "Greater 0"),
            ("-gex", false, "GreaterOrEqual 0"),
            ("-ge", false, "~ -ge"),
            ("-", false, "~ -"),
            ("-n", false, "~ -n"),
            ("-da", false, "~ -da"),
        ] {
            let condition = parse_cond(format!("%{{X}} {pattern}").as_bytes()).unwrap();
            assert_eq!(
                (condition.negated, shown(&condition.kind).as_str()),
                (negated, expected),
                "{pattern}"
            );
        }
    }

    #[test]
    fn flags_and_ranges() {
        let condition =
            parse_cond(b" %{HTTP:Upgrade}  \"!web socket\" [nocase,OrNext,NV]").unwrap();
        assert!(condition.caseless && condition.or_next && condition.no_vary && condition.negated);
        assert_eq!(
            (condition.test_range, condition.pattern_range),
            (1..16, 19..30)
        );
        assert_eq!(condition.pattern, b"!web socket");
        let useless = parse_cond(b"%{X} -eq5 [OR,NC]").unwrap();
        assert_eq!(
            (useless.caseless, useless.useless_nocase),
            (false, Some(14..16))
        );
    }

    #[test]
    fn errors() {
        for (text, range, message) in [
            (
                "%{X}",
                0..4,
                "bad argument line: a test string and a pattern are needed",
            ),
            (
                "%{X} a [NC",
                7..10,
                "bad flag delimiters: the third word must end with `]`",
            ),
            ("%{X} a [NC,L]", 11..12, "unknown flag 'L'"),
            (
                "%{X} a(b",
                7..8,
                "cannot compile regular expression: missing closing parenthesis",
            ),
            (
                "%{X} !a[$b",
                9..10,
                "cannot compile regular expression: missing terminating ] for character class",
            ),
            (
                "Expr \"-n %{NOPE}\"",
                11..15,
                "cannot parse the condition's expression: Variable 'NOPE' does not exist",
            ),
            (
                "expr !1 [NC]",
                7..7,
                "cannot parse the condition's expression: syntax error, unexpected end of the expression, \
                 expecting a comparison operator",
            ),
        ] {
            let error = parse_cond(text.as_bytes()).unwrap_err();
            assert_eq!(
                (error.range, error.message.as_str()),
                (range, message),
                "{text}"
            );
        }
    }

    #[test]
    fn order_of_text() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, caseless, expected) in [
            ("b", "aa", false, Less),
            ("b", "aa", true, Greater),
            ("ab", "aa", false, Greater),
            ("A", "a", false, Less),
            ("A", "a", true, Equal),
            ("", "", false, Equal),
        ] {
            assert_eq!(
                text_order(left.as_bytes(), right.as_bytes(), caseless),
                expected,
                "{left} {right}"
            );
        }
    }
}
