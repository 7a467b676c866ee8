//! mod_filter: output filters that are chosen by what an answer says.

use std::sync::Arc;

use relais_conf::Text;
use relais_expr::{Expression, State};
use relais_policy::{Answered, Context, Directive, Module, Problem, Set, SetResult, Slot};

use crate::filters::{self, OutputFilter};
use crate::values;

/// mod_filter.
pub struct FilterModule;

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    /// Filters by the name that FilterDeclare, FilterProvider or
    /// AddOutputFilterByType gives them; an inner section's goes over an outer
    /// one's of the same name.
    smart: Vec<(Name, Vec<Provider>)>,
    chain: Vec<Name>,
    /// Whether the chains of outer sections do not count.
    cleared: bool,
}

/// What a filter of mod_filter is called.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Name {
    Declared(Box<[u8]>),
    ByType(OutputFilter),
}

/// A filter and when it is the one.
#[derive(Clone, Debug)]
struct Provider {
    filter: OutputFilter,
    when: When,
}

#[derive(Clone, Debug)]
enum When {
    Holds(Arc<Expression>),
    /// The type of the content is one of these, to the letter.
    Types(Vec<Box<[u8]>>),
}

impl Module for FilterModule {
    const NAME: &'static str = "mod_filter";
    const IDENTIFIER: &'static str = "filter_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "AddOutputFilterByType",
            syntax: "AddOutputFilterByType filter[;filter...] media-type [media-type] ...",
            context: Context::ANY,
            default: None,
            doc: "Filters that content of these types goes through.",
            accepts: &[
                "AddOutputFilterByType DEFLATE text/html text/css",
                "AddOutputFilterByType INFLATE;SUBSTITUTE;DEFLATE text/html",
            ],
            refuses: &[
                "AddOutputFilterByType DEFLATE",
                "AddOutputFilterByType NOSUCH text/html",
            ],
            set: Set::Words(by_type),
        },
        Directive {
            name: "FilterDeclare",
            syntax: "FilterDeclare filter-name [type]",
            context: Context::ANY,
            default: None,
            doc: "Names a filter that providers are given to; its type has no effect, the providers' own counts.",
            accepts: &[
                "FilterDeclare compress",
                "FilterDeclare compress CONTENT_SET",
            ],
            refuses: &["FilterDeclare", "FilterDeclare compress EARLY"],
            set: Set::Take12(|slot, name, kind| {
                let kinds = [
                    "RESOURCE",
                    "CONTENT_SET",
                    "PROTOCOL",
                    "TRANSCODE",
                    "CONNECTION",
                    "NETWORK",
                ];
                if let Some(kind) = kind {
                    values::choice(kind, "The type", &kinds)?;
                }
                let name = Name::Declared(name.bytes().into());
                slot.section.smart.retain(|(have, _)| *have != name);
                slot.section.smart.push((name, Vec::new()));
                Ok(())
            }),
        },
        Directive {
            name: "FilterProvider",
            syntax: "FilterProvider filter-name provider-name expression",
            context: Context::ANY,
            default: None,
            doc: "What a declared filter is where an expression about the answer holds; the first provider that fits counts.",
            accepts: &[
                "FilterProvider compress DEFLATE \"%{CONTENT_TYPE} =~ m#^text/#\"",
                "FilterProvider compress BROTLI_COMPRESS \"%{resp:X-Kind} == 'a'\"",
            ],
            refuses: &[
                "FilterProvider compress DEFLATE",
                "FilterProvider compress NOSUCH true",
                "FilterProvider compress DEFLATE %{",
            ],
            set: Set::Words(provider),
        },
        Directive {
            name: "FilterChain",
            syntax: "FilterChain [+=-@!]filter-name ...",
            context: Context::ANY,
            default: None,
            doc: "Which declared filters content goes through: `+` adds one, `@` in front, `-` takes out one of this section's, `=` has it alone and `!` none, of outer sections' either.",
            accepts: &[
                "FilterChain compress",
                "FilterChain +a @b -c",
                "FilterChain =a",
                "FilterChain !",
            ],
            refuses: &["FilterChain", "FilterChain +"],
            set: Set::Iterate(chain),
        },
        Directive {
            name: "FilterProtocol",
            syntax: "FilterProtocol filter-name [provider-name] proto-flags",
            context: Context::ANY,
            default: None,
            doc: "How a filter changes what HTTP says of the content.",
            accepts: &["FilterProtocol compress change=yes"],
            refuses: &[],
            set: Set::Ignored("each filter corrects the fields of the answer by itself"),
        },
        Directive {
            name: "FilterTrace",
            syntax: "FilterTrace filter-name level",
            context: Context::ANY,
            default: None,
            doc: "Debugging output.",
            accepts: &["FilterTrace compress 1"],
            refuses: &[],
            set: Set::Ignored("relais explain shows which filters are chosen"),
        },
    ];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        let kept = outer
            .smart
            .iter()
            .filter(|(name, _)| inner.find(name).is_none());
        Section {
            smart: kept.chain(&inner.smart).cloned().collect(),
            chain: match inner.cleared {
                true => inner.chain.clone(),
                false => [outer.chain.as_slice(), &inner.chain].concat(),
            },
            cleared: inner.cleared || outer.cleared,
        }
    }
}

fn by_type(slot: &mut Slot<'_, FilterModule>, words: &[Text]) -> SetResult {
    let [names, types @ ..] = words else {
        return Ok(());
    };
    if types.is_empty() {
        return Err(Problem::at(names.span(), "for content of which type?"));
    }
    for filter in filters::names(names)? {
        let name = Name::ByType(filter);
        if slot.section.find(&name).is_none() {
            slot.section.chain.push(name.clone());
        }
        slot.section.provide(
            name,
            Provider {
                filter,
                when: When::Types(types.iter().map(|word| word.bytes().into()).collect()),
            },
        );
    }
    Ok(())
}

fn provider(slot: &mut Slot<'_, FilterModule>, words: &[Text]) -> SetResult {
    let [name, filter, expression] = words else {
        let message = "FilterProvider takes a name, a provider and an expression";
        return Err(Problem::new(message));
    };
    let provider = Provider {
        filter: OutputFilter::parse(filter)?,
        when: When::Holds(Arc::new(values::expression(expression, 0)?)),
    };
    slot.section
        .provide(Name::Declared(name.bytes().into()), provider);
    Ok(())
}

fn chain(slot: &mut Slot<'_, FilterModule>, word: &Text) -> SetResult {
    let (sign, name) = match word.bytes() {
        [sign @ (b'+' | b'-' | b'@' | b'=' | b'!'), name @ ..] => (*sign, name),
        name => (b'+', name),
    };
    if sign != b'!' && name.is_empty() {
        return Err(Problem::at(word.span(), "the name of a filter is missing"));
    }
    let name = Name::Declared(name.into());
    let section = &mut *slot.section;
    match sign {
        b'+' => section.chain.push(name),
        b'@' => section.chain.insert(0, name),
        b'-' => section.chain.retain(|have| *have != name),
        b'=' => (section.chain, section.cleared) = (vec![name], true),
        _ => (section.chain, section.cleared) = (Vec::new(), true),
    }
    Ok(())
}

impl Section {
    fn find(&self, name: &Name) -> Option<&[Provider]> {
        let mut smart = self.smart.iter();
        smart
            .find(|(have, _)| have == name)
            .map(|(_, providers)| providers.as_slice())
    }

    fn provide(&mut self, name: Name, provider: Provider) {
        match self.smart.iter_mut().find(|(have, _)| *have == name) {
            Some((_, providers)) => providers.push(provider),
            None => self.smart.push((name, vec![provider])),
        }
    }
}

/// Adds the filters of the chain whose providers fit the answer.
pub(crate) fn chosen(answered: &Answered<'_>, filters: &mut Vec<OutputFilter>) {
    let section: &Section = answered.exchange.section_settings();
    for (place, name) in section.chain.iter().enumerate() {
        // What sections repeat is there once.
        if section
            .chain
            .iter()
            .take(place)
            .any(|before| before == name)
        {
            continue;
        }
        let provider = section.find(name).unwrap_or_default().iter();
        let fitting = provider
            .clone()
            .find(|provider| provider.when.holds(answered));
        filters.extend(fitting.map(|provider| provider.filter));
    }
}

impl When {
    fn holds(&self, answered: &Answered<'_>) -> bool {
        match self {
            // As in httpd, what cannot be said is false.
            Self::Holds(expression) => expression
                .eval(answered, &mut State::default())
                .unwrap_or(false),
            Self::Types(types) => {
                let mut lists = answered.fields.iter();
                let value = lists.find_map(|fields| fields.get("Content-Type"));
                let mut parts = value.unwrap_or_default().split(|&byte| byte == b';');
                let media_type = parts.next().unwrap_or_default().trim_ascii();
                types.iter().any(|one| &**one == media_type)
            }
        }
    }
}
