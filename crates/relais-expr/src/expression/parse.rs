//! The grammar of expressions (manual page expr, Grammar in Backus-Naur Form), read by descent.

use std::ops::Range;

use super::function::{Function, Source};
use super::network::Network;
use super::wildcard::Rules;
use super::{Condition, ExprError, Order, Word};
use crate::regex::{Regex, RegexError, RegexFlags};
use crate::variable::{FileTest, Variable};

type Parsed<T> = Result<T, ExprError>;

pub(super) fn condition(text: &[u8]) -> Parsed<Condition> {
    whole(Parser::new(text))
}

fn whole(mut parser: Parser<'_>) -> Parsed<Condition> {
    let condition = parser.any()?;
    match parser.token()? {
        (Token::End, _) => Ok(condition),
        (token, range) => Err(unexpected(&token, range, "the end of the expression")),
    }
}

/// A condition of a health check, which knows the answer's body besides.
pub(super) fn health_condition(text: &[u8]) -> Parsed<Condition> {
    let mut parser = Parser::new(text);
    parser.of_health = true;
    whole(parser)
}

/// The dialect of `SSLRequire`: every comparison is one of texts, and the longer text is the greater one.
pub(super) fn ssl_condition(text: &[u8]) -> Parsed<Condition> {
    condition(text).map(by_length)
}

fn by_length(condition: Condition) -> Condition {
    let all = |list: Vec<Condition>| list.into_iter().map(by_length).collect();
    match condition {
        Condition::Text(order, left, right) | Condition::Integer(order, left, right) => {
            Condition::ByLength(order, left, right)
        }
        Condition::Not(inner) => Condition::Not(Box::new(by_length(*inner))),
        Condition::All(list) => Condition::All(all(list)),
        Condition::Any(list) => Condition::Any(all(list)),
        other => other,
    }
}

pub(super) fn text(text: &[u8]) -> Parsed<Word> {
    Parser::new(text).string(None)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    End,
    /// A quote that begins a string.
    Quote(u8),
    /// `%{`.
    Variable,
    /// `$N`.
    Group(u8),
    Digits,
    /// A word of letters.
    Name,
    /// `-x`.
    Unary(u8),
    /// `-xx`.
    Binary,
    Text(Order),
    Integer(Order),
    /// `=~`, or `!~` if true.
    Match(bool),
    In,
    And,
    Or,
    Not,
    Dot,
    Comma,
    Open,
    Close,
    ListOpen,
    ListClose,
    /// Where a pattern may begin: `/`.
    Slash,
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// Whether `hc('body')` and `%{HC_BODY}` are known.
    of_health: bool,
}

impl<'a> Parser<'a> {
    const fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            of_health: false,
        }
    }

    fn any(&mut self) -> Parsed<Condition> {
        let first = self.all()?;
        let mut parts = vec![first];
        while self.take(&Token::Or)? {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Condition::Any))
    }

    fn all(&mut self) -> Parsed<Condition> {
        let first = self.not()?;
        let mut parts = vec![first];
        while self.take(&Token::And)? {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn not(&mut self) -> Parsed<Condition> {
        let mut negated = false;
        while self.take(&Token::Not)? {
            negated = !negated;
        }
        let inner = self.primary()?;
        Ok(if negated {
            Condition::Not(Box::new(inner))
        } else {
            inner
        })
    }

    fn primary(&mut self) -> Parsed<Condition> {
        let (token, range) = self.token()?;
        match token {
            Token::Open => {
                self.at = range.end;
                let inner = self.nested(range, Self::any)?;
                self.expect(&Token::Close, "`)`")?;
                Ok(inner)
            }
            Token::Name if self.slice(&range) == b"true" => {
                self.at = range.end;
                Ok(Condition::Constant(true))
            }
            Token::Name if self.slice(&range) == b"false" => {
                self.at = range.end;
                Ok(Condition::Constant(false))
            }
            Token::Unary(letter) => {
                self.at = range.end;
                self.unary(letter, range)
            }
            _ => self.comparison(),
        }
    }

    fn unary(&mut self, letter: u8, operator: Range<usize>) -> Parsed<Condition> {
        let file = match letter {
            b'z' => return Ok(Condition::Empty(self.word()?)),
            b'n' => return Ok(Condition::NotEmpty(self.word()?)),
            b'T' => return Ok(Condition::True(self.word()?)),
            b'R' => return Ok(Condition::ClientIn(self.network("-R")?)),
            b'e' => FileTest::Exists,
            b'd' => FileTest::Directory,
            b'f' => FileTest::Regular,
            b's' => FileTest::NotEmpty,
            b'L' | b'h' => FileTest::Link,
            b'x' => FileTest::Executable,
            b'F' => FileTest::FileByRequest,
            b'U' | b'A' => FileTest::UrlByRequest,
            _ => return Err(self.missing("Unary operator", operator)),
        };
        Ok(Condition::File(file, self.word()?))
    }

    fn comparison(&mut self) -> Parsed<Condition> {
        let left = self.word()?;
        let (token, range) = self.token()?;
        let operator = "a comparison operator";
        if !matches!(
            token,
            Token::Text(_) | Token::Integer(_) | Token::Match(_) | Token::In | Token::Binary
        ) {
            return Err(unexpected(&token, range, operator));
        }
        self.at = range.end;
        match token {
            Token::Text(order) => Ok(Condition::Text(order, left, self.word()?)),
            Token::Integer(order) => Ok(Condition::Integer(order, left, self.word()?)),
            Token::Match(negated) => Ok(Condition::Match {
                word: left,
                regex: self.pattern()?,
                negated,
            }),
            Token::In => Ok(Condition::In(left, self.list()?)),
            _ => self.binary(left, range),
        }
    }

    fn binary(&mut self, left: Word, operator: Range<usize>) -> Parsed<Condition> {
        let (caseless, pathname) = match self.slice(&operator) {
            b"-ipmatch" => {
                return Ok(Condition::AddressIn(left, self.network("-ipmatch")?));
            }
            b"-strmatch" => (false, false),
            b"-strcmatch" => (true, false),
            b"-fnmatch" => (false, true),
            _ => return Err(self.missing("Binary operator", operator)),
        };
        let rules = Rules { caseless, pathname };
        Ok(Condition::Wildcard(rules, left, self.word()?))
    }

    fn network(&mut self, operator: &str) -> Parsed<Network> {
        let (_, range) = self.token()?;
        let word = self.word()?;
        let range = range.start..self.at;
        let Word::Literal(text) = word else {
            let message = format!("{operator} requires subnet/netmask as constant argument");
            return Err(ExprError { range, message });
        };
        Network::parse(&text).ok_or_else(|| ExprError {
            range,
            message: "parsing of subnet/netmask failed".to_owned(),
        })
    }

    fn list(&mut self) -> Parsed<Vec<Word>> {
        let (token, range) = self.token()?;
        if token == Token::Name {
            return Err(self.missing("List-returning function", range));
        }
        self.expect(&Token::ListOpen, "`{`")?;
        let mut words = vec![self.word()?];
        while self.take(&Token::Comma)? {
            words.push(self.word()?);
        }
        self.expect(&Token::ListClose, "`}`")?;
        Ok(words)
    }

    /// Words joined by full stops.
    fn word(&mut self) -> Parsed<Word> {
        let mut parts = vec![self.part()?];
        while self.take(&Token::Dot)? {
            parts.push(self.part()?);
        }
        Ok(joined(parts))
    }

    fn part(&mut self) -> Parsed<Word> {
        let (token, range) = self.token()?;
        let start = range.start;
        self.at = range.end;
        match token {
            Token::Digits => Ok(Word::Literal(self.slice(&range).into())),
            Token::Group(n) => Ok(Word::Group(n)),
            Token::Variable => self.nested(range, Self::variable),
            Token::Quote(quote) => self.string(Some((quote, start))),
            Token::Name => self.call(range),
            _ => {
                self.at = start;
                Err(unexpected(&token, range, "a word"))
            }
        }
    }

    fn call(&mut self, name: Range<usize>) -> Parsed<Word> {
        if self.token()?.0 != Token::Open {
            let (token, range) = self.token()?;
            // A bare word is no text; the name is what has to be quoted.
            let mut error = unexpected(&token, range, "`(`");
            error.message = format!(
                "{} behind `{}`: text has to be quoted",
                error.message,
                String::from_utf8_lossy(self.slice(&name))
            );
            error.range = name;
            return Err(error);
        }
        self.expect(&Token::Open, "`(`")?;
        let argument = self.nested(name.clone(), Self::word)?;
        self.expect(&Token::Close, "`)`")?;
        self.function(name, argument)
    }

    fn function(&self, name: Range<usize>, argument: Word) -> Parsed<Word> {
        let spelled = self.slice(&name);
        if let Some(function) = Function::named(spelled) {
            return Ok(Word::Call(function, Box::new(argument)));
        }
        if self.of_health
            && spelled.eq_ignore_ascii_case(b"hc")
            && matches!(&argument, Word::Literal(text) if text.eq_ignore_ascii_case(b"body"))
        {
            return Ok(Word::Variable {
                variable: Variable::HealthBody,
                vary: false,
            });
        }
        let Some(source) = Source::named(spelled) else {
            return Err(self.missing("Function", name));
        };
        Ok(match argument {
            Word::Literal(text) => {
                let (variable, vary) = source.variable(&text);
                Word::Variable { variable, vary }
            }
            argument => Word::Named(source, Box::new(argument)),
        })
    }

    /// Behind `%{`.
    fn variable(&mut self) -> Parsed<Word> {
        let start = self.at;
        let len = name_len(self.rest());
        let name = start..start + len;
        self.at = name.end;
        match self.text.get(self.at) {
            Some(b'}') if len > 0 => {
                self.at += 1;
                self.plain_variable(name)
            }
            Some(b':') if len > 0 => {
                self.at += 1;
                let argument = self.string(Some((b'}', start.saturating_sub(2))))?;
                if matches!(&argument, Word::Literal(text) if text.is_empty()) {
                    return Err(ExprError {
                        range: start..self.at,
                        message: "syntax error, the argument behind the colon is empty".to_owned(),
                    });
                }
                self.function(name, argument)
            }
            Some(&byte) => Err(ExprError {
                range: self.at..self.at + 1,
                message: format!(
                    "Invalid character in variable name '{}'",
                    byte.escape_ascii()
                ),
            }),
            None => Err(self.unterminated(start.saturating_sub(2))),
        }
    }

    fn plain_variable(&self, name: Range<usize>) -> Parsed<Word> {
        let spelled = self.slice(&name);
        let body = self.of_health && spelled.eq_ignore_ascii_case(b"HC_BODY");
        let variable = body
            .then_some(Variable::HealthBody)
            .or_else(|| Variable::in_expression(spelled))
            .ok_or_else(|| self.missing("Variable", name))?;
        let vary = matches!(variable, Variable::Header(_));
        Ok(Word::Variable { variable, vary })
    }

    /// Text up to the closing byte, or to the end if there is none. `stop` also says where the text began.
    fn string(&mut self, stop: Option<(u8, usize)>) -> Parsed<Word> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        loop {
            let rest = self.rest();
            let piece = match *rest {
                [] => match stop {
                    Some((_, start)) => return Err(self.unterminated(start)),
                    None => break,
                },
                [byte, ..] if stop.is_some_and(|(stop, _)| stop == byte) => {
                    self.at += 1;
                    break;
                }
                [b'\\', ..] => {
                    let (byte, len) = self.escape()?;
                    literal.push(byte);
                    self.at += len;
                    continue;
                }
                [b'$', digit @ b'0'..=b'9', ..] => {
                    self.at += 2;
                    Word::Group(digit - b'0')
                }
                [b'%', b'{', ..] => {
                    let range = self.at..self.at + 2;
                    self.at += 2;
                    self.nested(range, Self::variable)?
                }
                [byte, ..] => {
                    literal.push(byte);
                    self.at += 1;
                    continue;
                }
            };
            push_literal(&mut parts, &mut literal);
            parts.push(piece);
        }
        push_literal(&mut parts, &mut literal);
        Ok(joined(parts))
    }

    /// The byte that an escape stands for, and the length of the escape.
    fn escape(&self) -> Parsed<(u8, usize)> {
        let rest = self.rest().get(1..).unwrap_or_default();
        let octal = rest
            .iter()
            .take(3)
            .take_while(|byte| matches!(byte, b'0'..=b'7'))
            .count();
        let fail = |len: usize, message: &str| ExprError {
            range: self.at..(self.at + len).min(self.text.len()),
            message: message.to_owned(),
        };
        match *rest {
            [b'0'..=b'7', ..] => {
                let value = rest
                    .iter()
                    .take(octal)
                    .fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                let byte = u8::try_from(value)
                    .map_err(|_| fail(1 + octal, "Escape sequence out of bound"))?;
                Ok((byte, 1 + octal))
            }
            [b'8' | b'9', ..] => Err(fail(2, "Bad escape sequence")),
            [letter, ..] => {
                let byte = match letter {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'f' => 12,
                    _ => letter,
                };
                Ok((byte, 2))
            }
            [] => Err(fail(1, "a backslash at the very end escapes nothing")),
        }
    }

    fn pattern(&mut self) -> Parsed<Regex> {
        let (token, range) = self.token()?;
        let (delimiter, start) = match (&token, self.text.get(range.start..)) {
            (Token::Slash, _) => (b'/', range.start + 1),
            (_, Some([b'm', delimiter, ..])) if DELIMITERS.contains(delimiter) => {
                (*delimiter, range.start + 2)
            }
            _ => return Err(unexpected(&token, range, "a regular expression")),
        };
        let body = self.text.get(start..).unwrap_or_default();
        let Some(len) = memchr::memchr(delimiter, body) else {
            return Err(ExprError {
                range: range.start..self.text.len(),
                message: "Unterminated regular expression".to_owned(),
            });
        };
        let end = start + len;
        let caseless = self.text.get(end + 1) == Some(&b'i');
        self.at = end + 1 + usize::from(caseless);
        let source = self.slice(&(start..end));
        Regex::new(source, RegexFlags::caseless(caseless)).map_err(|error| match error {
            RegexError::Syntax { offset, message } => {
                let at = (start + offset).min(end.saturating_sub(1)).max(start);
                ExprError {
                    range: at..(at + 1).min(end).max(at),
                    message: format!("Failed to compile regular expression: {message}"),
                }
            }
            other => ExprError {
                range: start..end,
                message: other.to_string(),
            },
        })
    }

    fn nested<T>(
        &mut self,
        range: Range<usize>,
        inner: impl FnOnce(&mut Self) -> Parsed<T>,
    ) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            return Err(ExprError {
                range,
                message: format!("the expression is nested more than {DEPTH_MAX} levels deep"),
            });
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn expect(&mut self, wanted: &Token, shown: &str) -> Parsed<()> {
        if self.take(wanted)? {
            return Ok(());
        }
        let (token, range) = self.token()?;
        Err(unexpected(&token, range, shown))
    }

    fn take(&mut self, wanted: &Token) -> Parsed<bool> {
        let (token, range) = self.token()?;
        let found = token == *wanted;
        if found {
            self.at = range.end;
        }
        Ok(found)
    }

    /// The next token without taking it.
    fn token(&self) -> Parsed<(Token, Range<usize>)> {
        let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\n');
        let start = self.at + self.rest().iter().take_while(blank).count();
        let rest = self.text.get(start..).unwrap_or_default();
        let Some((token, len)) = token(rest) else {
            let shown = rest.first().copied().unwrap_or_default().escape_ascii();
            return Err(ExprError {
                range: start..start + 1,
                message: format!("Parse error near '{shown}'"),
            });
        };
        Ok((token, start..start + len))
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn slice(&self, range: &Range<usize>) -> &'a [u8] {
        self.text.get(range.clone()).unwrap_or_default()
    }

    fn missing(&self, what: &str, range: Range<usize>) -> ExprError {
        let name = String::from_utf8_lossy(self.slice(&range));
        ExprError {
            message: format!("{what} '{name}' does not exist"),
            range,
        }
    }

    fn unterminated(&self, start: usize) -> ExprError {
        ExprError {
            range: start..self.text.len(),
            message: "Unterminated string or variable".to_owned(),
        }
    }
}

fn token(rest: &[u8]) -> Option<(Token, usize)> {
    use Order::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let Some(&first) = rest.first() else {
        return Some((Token::End, 0));
    };
    let two = |token| Some((token, 2));
    match (first, rest.get(1)) {
        (b'=', Some(b'~')) => two(Token::Match(false)),
        (b'!', Some(b'~')) => two(Token::Match(true)),
        (b'=', Some(b'=')) => two(Token::Text(Equal)),
        (b'!', Some(b'=')) => two(Token::Text(NotEqual)),
        (b'<', Some(b'=')) => two(Token::Text(LessOrEqual)),
        (b'>', Some(b'=')) => two(Token::Text(GreaterOrEqual)),
        (b'&', Some(b'&')) => two(Token::And),
        (b'|', Some(b'|')) => two(Token::Or),
        (b'%', Some(b'{')) => two(Token::Variable),
        (b'$', Some(digit @ b'0'..=b'9')) => two(Token::Group(digit - b'0')),
        (b'-', Some(b'0'..=b'9')) => Some((Token::Digits, 1 + digits_len(&rest[1..]))),
        (b'-', Some(b'a'..=b'z' | b'A'..=b'Z' | b'_')) => Some(dashed(rest)),
        (b'0'..=b'9', _) => Some((Token::Digits, digits_len(rest))),
        (b'a'..=b'z' | b'A'..=b'Z', _) => Some(named(rest)),
        _ => {
            let token = match first {
                b'=' => Token::Text(Equal),
                b'<' => Token::Text(Less),
                b'>' => Token::Text(Greater),
                b'!' => Token::Not,
                b'.' => Token::Dot,
                b',' => Token::Comma,
                b'(' => Token::Open,
                b')' => Token::Close,
                b'{' => Token::ListOpen,
                b'}' => Token::ListClose,
                b'/' => Token::Slash,
                b'"' | b'\'' => Token::Quote(first),
                _ => return None,
            };
            Some((token, 1))
        }
    }
}

/// An operator that begins with a dash.
fn dashed(rest: &[u8]) -> (Token, usize) {
    let len = 1 + word_len(&rest[1..]);
    let token = match &rest[1..len] {
        [letter] => Token::Unary(*letter),
        name => operator_word(name).unwrap_or(Token::Binary),
    };
    (token, len)
}

fn named(rest: &[u8]) -> (Token, usize) {
    let len = name_len(rest);
    let token = match &rest[..len] {
        b"and" => Token::And,
        b"or" => Token::Or,
        b"not" => Token::Not,
        name => operator_word(name).unwrap_or(Token::Name),
    };
    (token, len)
}

/// The operators that are written with and without a dash.
fn operator_word(name: &[u8]) -> Option<Token> {
    Some(match name {
        b"in" => Token::In,
        b"eq" => Token::Integer(Order::Equal),
        b"ne" => Token::Integer(Order::NotEqual),
        b"lt" => Token::Integer(Order::Less),
        b"le" => Token::Integer(Order::LessOrEqual),
        b"gt" => Token::Integer(Order::Greater),
        b"ge" => Token::Integer(Order::GreaterOrEqual),
        _ => return None,
    })
}

fn digits_len(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn word_len(text: &[u8]) -> usize {
    let in_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    text.iter().take_while(in_word).count()
}

fn name_len(text: &[u8]) -> usize {
    if text.first().is_some_and(u8::is_ascii_alphabetic) {
        word_len(text)
    } else {
        0
    }
}

fn push_literal(parts: &mut Vec<Word>, literal: &mut Vec<u8>) {
    if !literal.is_empty() {
        parts.push(Word::Literal(std::mem::take(literal).into()));
    }
}

/// One word of several, in which no two literals are neighbours.
fn joined(parts: Vec<Word>) -> Word {
    let mut joined: Vec<Word> = Vec::with_capacity(parts.len());
    let flat = parts.into_iter().flat_map(|part| match part {
        Word::Concat(inner) => inner,
        other => vec![other],
    });
    for part in flat {
        match (joined.last_mut(), part) {
            (Some(Word::Literal(before)), Word::Literal(text)) => {
                *before = [&**before, &*text].concat().into();
            }
            (_, part) => joined.push(part),
        }
    }
    match joined.len() {
        0 => Word::Literal(Box::default()),
        1 => joined.swap_remove(0),
        _ => Word::Concat(joined),
    }
}

fn one_or(mut parts: Vec<Condition>, several: fn(Vec<Condition>) -> Condition) -> Condition {
    if parts.len() == 1 {
        parts.swap_remove(0)
    } else {
        several(parts)
    }
}

fn unexpected(token: &Token, range: Range<usize>, wanted: &str) -> ExprError {
    let shown = match token {
        Token::End => "end of the expression",
        Token::Quote(_) => "string",
        Token::Variable => "variable",
        Token::Group(_) => "back reference",
        Token::Digits => "number",
        Token::Name => "name",
        Token::Slash => "regular expression",
        _ => "operator",
    };
    ExprError {
        range,
        message: format!("syntax error, unexpected {shown}, expecting {wanted}"),
    }
}

/// What may stand around a pattern behind `m`.
const DELIMITERS: &[u8] = b"/#$%^|?!'\",;:.-";
/// httpd gives an expression up at run time beyond 20 levels; no author needs more than this.
const DEPTH_MAX: usize = 50;
