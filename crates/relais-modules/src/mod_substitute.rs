//! mod_substitute: texts in content are replaced, line by line.

use std::sync::Arc;

use relais_conf::Text;
use relais_expr::RegexFlags;
use relais_filter::{Filter, Rule, Search, Substitution};
use relais_policy::{
    Context, Directive, Exchange, Module, Outgoing, Problem, Set, SetResult, Slot,
};

use crate::filters::{self, Notes};
use crate::values;

/// mod_substitute.
pub struct Substitutions;

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    rules: Vec<Arc<Rule>>,
    line_max: Option<usize>,
    outer_first: Option<bool>,
}

impl Module for Substitutions {
    const NAME: &'static str = "mod_substitute";
    const IDENTIFIER: &'static str = "substitute_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "Substitute",
            syntax: "Substitute s/pattern/substitution/[infq]",
            context: Context::DIRECTORY.or(Context::PROXY),
            default: None,
            doc: "Replaces what a pattern matches in content that goes through the filter SUBSTITUTE; flags: `i` any case, `n` a text and no pattern, `f` and `q` whether later rules see one text or parts.",
            accepts: &[
                "Substitute s/foo/bar/ni",
                "Substitute \"s|src=\\\"/|src=\\\"/app/|in\"",
                "Substitute \"s/h(el)lo/[$1]/q\"",
                "Substitute s/a/b",
            ],
            refuses: &[
                "Substitute",
                "Substitute x/a/b/",
                "Substitute s/a",
                "Substitute s//b/",
                "Substitute s/(/b/",
                "Substitute s/a/b/z",
            ],
            set: Set::Take1(rule),
        },
        Directive {
            name: "SubstituteMaxLineLength",
            syntax: "SubstituteMaxLineLength bytes[b|k|m|g]",
            context: Context::DIRECTORY.or(Context::PROXY),
            default: Some("1m"),
            doc: "The longest line that SUBSTITUTE works on; a longer one breaks the response off.",
            accepts: &[
                "SubstituteMaxLineLength 2000K",
                "SubstituteMaxLineLength 10m",
            ],
            refuses: &["SubstituteMaxLineLength", "SubstituteMaxLineLength x"],
            set: Set::Take1(|slot, word| {
                slot.section.line_max = Some(length(word)?);
                Ok(())
            }),
        },
        Directive {
            name: "SubstituteInheritBefore",
            syntax: "SubstituteInheritBefore on|off",
            context: Context::DIRECTORY.or(Context::PROXY),
            default: Some("off"),
            doc: "Whether the rules of outer sections come before those of this one.",
            accepts: &["SubstituteInheritBefore On"],
            refuses: &["SubstituteInheritBefore x"],
            set: Set::Flag(|slot, on| {
                slot.section.outer_first = Some(on);
                Ok(())
            }),
        },
    ];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        let outer_first = inner.outer_first.or(outer.outer_first);
        let order = match outer_first.unwrap_or(false) {
            true => [outer.rules.as_slice(), &inner.rules],
            false => [inner.rules.as_slice(), &outer.rules],
        };
        Section {
            rules: order.concat(),
            line_max: inner.line_max.or(outer.line_max),
            outer_first,
        }
    }
}

/// `s/pattern/substitution/flags` with any byte for the slash (`set_pattern`).
fn rule(slot: &mut Slot<'_, Substitutions>, word: &Text) -> SetResult {
    let bytes = word.bytes();
    let (Some(b's' | b'S'), Some(&delimiter)) = (bytes.first(), bytes.get(1)) else {
        let message = "Bad Substitute format, must be an s/// pattern";
        return Err(Problem::at(word.span(), message));
    };
    let end = |from: usize| {
        let rest = bytes.get(from..)?;
        rest.iter()
            .position(|&byte| byte == delimiter)
            .map(|at| from + at)
    };
    let Some(middle) = end(2).filter(|&middle| middle > 2) else {
        let message = "Bad Substitute format, must be a complete s/// pattern";
        return Err(Problem::at(word.span(), message));
    };
    let close = end(middle + 1).unwrap_or(bytes.len());
    let mut flags = Flags::default();
    for (at, byte) in bytes.iter().enumerate().skip(close + 1) {
        match byte.to_ascii_lowercase() {
            b'i' => flags.caseless = true,
            b'n' => flags.literal = true,
            b'f' => flags.flatten = true,
            b'q' => flags.flatten = false,
            _ => {
                let message = "Bad Substitute flag, only s///[infq] are supported";
                return Err(Problem::at(word.span_of(at..at + 1), message));
            }
        }
    }
    let pattern = word.slice(2..middle);
    let search = match flags.literal {
        true => Search::literal(pattern.bytes(), flags.caseless),
        false => Search::Regex(values::regex(
            &pattern,
            RegexFlags::caseless(flags.caseless),
        )?),
    };
    slot.section.rules.push(Arc::new(Rule {
        search,
        replacement: bytes[middle + 1..close].to_vec(),
        flatten: flags.flatten,
    }));
    Ok(())
}

struct Flags {
    caseless: bool,
    literal: bool,
    flatten: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            caseless: false,
            literal: false,
            flatten: true,
        }
    }
}

/// Bytes, with a unit behind them.
fn length(word: &Text) -> Result<usize, Problem> {
    let digits = word
        .bytes()
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let unit = match word.bytes()[digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1 << 10,
        b"m" => 1 << 20,
        b"g" => 1 << 30,
        _ => {
            let message =
                "SubstituteMaxLineLength takes a number of bytes with b, k, m or g behind it";
            return Err(Problem::at(word.span(), message));
        }
    };
    let number = word.slice(0..digits);
    let count = values::number(&number, "SubstituteMaxLineLength", 0..=u64::from(u32::MAX))
        .map_err(|problem| Problem::at(word.span(), problem.message))?;
    Ok(usize::try_from(count * unit).unwrap_or(usize::MAX))
}

/// httpd: the filter `SUBSTITUTE`.
pub(crate) fn substitute(exchange: &Exchange<'_>, outgoing: &mut Outgoing<'_>) {
    let section: &Section = exchange.section_settings();
    if section.rules.is_empty() {
        return;
    }
    let rules = Substitution {
        rules: section.rules.clone(),
        line_max: section.line_max.unwrap_or(LINE_MAX),
    };
    let filter = Filter::Substitute(Arc::new(rules));
    filters::push(outgoing, filter, &Notes::default());
}

/// Without SubstituteMaxLineLength.
const LINE_MAX: usize = 1 << 20;
