//! Typographic quotes do not group words.

use relais_conf::Diagnostics;

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0438",
    name: "typographic-quotes",
    summary: "typographic quotes do not group words",
    doc: "Text copied from a web page may hold `“` and `”`. They are ordinary characters: they do not group \
          words, and become part of the argument.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    const QUOTES: [char; 6] = [
        '\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{ab}',
    ];
    for line in view.lines() {
        let args = &line.directive.args;
        if args.bytes().is_ascii() {
            continue;
        }
        let Some(text) = args.as_str() else { continue };
        // Inside of quotes they are text.
        let word = text
            .split_whitespace()
            .find(|word| word.starts_with(QUOTES));
        if let Some(at) = word
            .and_then(|word| text.find(word))
            .filter(|at| !text.get(..*at).unwrap_or("").contains('"'))
        {
            let length = text
                .get(at..)
                .and_then(|rest| rest.chars().next())
                .map_or(1, char::len_utf8);
            let warning = RULE.warning(
                args.span_of(at..at + length),
                "a typographic quote is an ordinary character",
            );
            found.push(warning.with_suggestion(args.span_of(at..at + length), "\""));
        }
    }
}
