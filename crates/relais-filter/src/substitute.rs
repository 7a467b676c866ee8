//! Replacing texts in lines (mod_substitute.html).

use std::sync::Arc;

use memchr::{memchr, memmem};
use relais_expr::{Groups, Regex, substitute};

use crate::{Ending, FilterError};

/// The `Substitute` rules of a place, in order.
#[derive(Clone, Debug)]
pub struct Substitution {
    /// The rules. Each works on what those before it have made.
    pub rules: Vec<Arc<Rule>>,
    /// How long a line may be, in bytes (`SubstituteMaxLineLength`).
    pub line_max: usize,
}

/// One `Substitute s/search/replacement/`.
#[derive(Debug)]
pub struct Rule {
    /// What is looked for.
    pub search: Search,
    /// What takes its place, with `$0` to `$9` for a regular expression's
    /// groups.
    pub replacement: Vec<u8>,
    /// Whether the line is one text again for the rules behind this one;
    /// without (flag `q`) they see the parts that it has left apart.
    pub flatten: bool,
}

/// What a rule looks for.
#[derive(Debug)]
pub enum Search {
    /// This regular expression.
    Regex(Regex),
    /// This text (flag `n`).
    Literal(Box<memmem::Finder<'static>>),
    /// This text, in small letters, whatever the case (flags `n` and `i`).
    Caseless(Vec<u8>),
}

impl Search {
    /// A text that is no regular expression.
    #[must_use]
    pub fn literal(text: &[u8], caseless: bool) -> Self {
        match caseless {
            true => Self::Caseless(text.to_ascii_lowercase()),
            false => Self::Literal(Box::new(memmem::Finder::new(text).into_owned())),
        }
    }
}

/// Edits one response, line by line.
pub(crate) struct Editor {
    rules: Arc<Substitution>,
    /// A line whose end has not come.
    line: Vec<u8>,
}

impl Editor {
    pub(crate) fn new(rules: &Arc<Substitution>) -> Self {
        Self {
            rules: Arc::clone(rules),
            line: Vec::new(),
        }
    }

    /// A pause does not end a line: a text may go on behind it.
    pub(crate) fn run(
        &mut self,
        mut input: &[u8],
        ending: Ending,
        out: &mut Vec<u8>,
    ) -> Result<(), FilterError> {
        while let Some(end) = memchr(b'\n', input) {
            let (line, rest) = input.split_at(end + 1);
            input = rest;
            if self.line.is_empty() {
                self.rules.edit(line, out)?;
            } else {
                self.line.extend_from_slice(line);
                self.rules.edit(&self.line, out)?;
                self.line.clear();
            }
        }
        if self.line.len() + input.len() > self.rules.line_max {
            return Err(FilterError::LineTooLong);
        }
        self.line.extend_from_slice(input);
        if ending == Ending::End && !self.line.is_empty() {
            self.rules.edit(&self.line, out)?;
            self.line.clear();
        }
        Ok(())
    }
}

impl Substitution {
    fn edit(&self, line: &[u8], out: &mut Vec<u8>) -> Result<(), FilterError> {
        if line.len() > self.line_max {
            return Err(FilterError::LineTooLong);
        }
        let mut parts = vec![line.to_vec()];
        for rule in &self.rules {
            let mut made = Vec::with_capacity(parts.len());
            for part in &parts {
                rule.edit(part, &mut made, self.line_max)?;
            }
            parts = match rule.flatten {
                true => vec![made.concat()],
                false => made,
            };
        }
        out.extend(parts.iter().flatten());
        Ok(())
    }
}

impl Rule {
    /// Puts a text in parts behind `parts`: what is left, and what is put in.
    fn edit(
        &self,
        text: &[u8],
        parts: &mut Vec<Vec<u8>>,
        length_max: usize,
    ) -> Result<(), FilterError> {
        let (mut rest, mut length) = (text, text.len());
        let lower = match &self.search {
            Search::Caseless(_) => text.to_ascii_lowercase(),
            _ => Vec::new(),
        };
        while !rest.is_empty() {
            let mut put = Vec::new();
            let found = match &self.search {
                Search::Regex(regex) => {
                    let captures = regex.captures(rest).map_err(|_| FilterError::Pattern)?;
                    captures.map(|captures| {
                        let range = captures.get(0).unwrap_or_default();
                        substitute(&self.replacement, &Groups::new(rest, captures), &mut put);
                        range
                    })
                }
                Search::Literal(finder) => {
                    let at = finder.find(rest);
                    at.map(|start| start..start + finder.needle().len())
                }
                Search::Caseless(needle) => {
                    let at = memmem::find(&lower[text.len() - rest.len()..], needle);
                    at.map(|start| start..start + needle.len())
                }
            };
            // As in httpd, what matches nothing replaces nothing.
            let Some(range) = found.filter(|range| !range.is_empty()) else {
                break;
            };
            if !matches!(self.search, Search::Regex(_)) {
                put.extend_from_slice(&self.replacement);
            }
            length = length - range.len() + put.len();
            if length > length_max {
                return Err(FilterError::LineTooLong);
            }
            parts.push(rest[..range.start].to_vec());
            parts.push(put);
            rest = &rest[range.end..];
        }
        parts.push(rest.to_vec());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relais_expr::RegexFlags;

    fn rule(pattern: &str, replacement: &str, flags: &str) -> Arc<Rule> {
        let (pattern, caseless) = (pattern.as_bytes(), flags.contains('i'));
        let search = match flags.contains('n') {
            true => Search::literal(pattern, caseless),
            false => {
                let flags = RegexFlags::caseless(caseless);
                Search::Regex(Regex::new(pattern, flags).expect("a pattern"))
            }
        };
        Arc::new(Rule {
            search,
            replacement: replacement.as_bytes().to_vec(),
            flatten: !flags.contains('q'),
        })
    }

    fn edited(rules: &[Arc<Rule>], pieces: &[&str]) -> Result<String, FilterError> {
        let substitution = Substitution {
            rules: rules.to_vec(),
            line_max: 40,
        };
        let mut editor = Editor::new(&Arc::new(substitution));
        let mut out = Vec::new();
        for piece in pieces {
            editor.run(piece.as_bytes(), Ending::Pause, &mut out)?;
        }
        editor.run(b"", Ending::End, &mut out)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    /// Rules, pieces of content, and what becomes of them.
    type Row<'a> = (&'a [Arc<Rule>], &'a [&'a str], &'a str);

    #[test]
    fn rules_on_lines() {
        let table: &[Row<'_>] = &[
            (&[rule("a", "bb", "")], &["banana\n"], "bbbnbbnbb\n"),
            (&[rule("a.c", "x", "n")], &["a.c abc"], "x abc"),
            (&[rule("AB", "x", "ni")], &["abAB", "aB\n"], "xxx\n"),
            (&[rule("h(el)lo", "[$1]", "")], &["hel", "lo"], "[el]"),
            (&[rule("h", "$0", "n")], &["h"], "$0"),
            (&[rule("^", "x", "")], &["a\nb"], "a\nb"),
            // Flattened, a later rule sees what an earlier one has joined.
            (&[rule("b", "c", ""), rule("ac", "!", "")], &["ab"], "!"),
            (&[rule("b", "c", "q"), rule("ac", "!", "")], &["ab"], "ac"),
            (&[rule("x", "y", "")], &[], ""),
        ];
        for (rules, pieces, expected) in table {
            assert_eq!(
                edited(rules, pieces).as_deref(),
                Ok(*expected),
                "{pieces:?}"
            );
        }
    }

    #[test]
    fn long_lines_are_refused() {
        let rules = [rule("a", "aaaa", "")];
        let long = "b".repeat(41);
        assert_eq!(edited(&rules, &[&long]), Err(FilterError::LineTooLong));
        assert_eq!(
            edited(&rules, &[&"a".repeat(20)]),
            Err(FilterError::LineTooLong)
        );
        let lines = "b".repeat(39) + "\n";
        assert_eq!(edited(&rules, &[&lines, &lines]), Ok(lines.repeat(2)));
    }
}
