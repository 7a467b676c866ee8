//! mod_mime: what a file's name says of its content.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use relais_conf::{Diagnostic, Text};
use relais_policy::{
    Context, Directive, Exchange, Flow, Lookup, Module, Problem, Set, SetResult, Slot,
};

use crate::filters::{self, OutputFilter};
use crate::{core, mod_rewrite};

/// mod_mime.
pub struct Mime;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    types: Option<TypesFile>,
}

/// A file of media types, read once when a file is first served.
#[derive(Clone, Debug)]
pub(crate) struct TypesFile {
    path: PathBuf,
    types: Arc<OnceLock<HashMap<Vec<u8>, Vec<u8>>>>,
}

/// Per-section settings: values by lower-case extension.
#[derive(Clone, Default, Debug)]
pub struct Section {
    types: Map,
    charsets: Map,
    encodings: Map,
    languages: Map,
    handlers: Map,
    /// `DefaultLanguage`.
    language: Option<Vec<u8>>,
    output_filters: Map<Vec<OutputFilter>>,
}

/// What is said of extensions, the last that is said of one counts; `None`
/// takes back what is said outside.
type Map<T = Vec<u8>> = Vec<(Vec<u8>, Option<T>)>;

impl Module for Mime {
    const NAME: &'static str = "mod_mime";
    const IDENTIFIER: &'static str = "mime_module";
    type Host = Host;
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "TypesConfig",
            syntax: "TypesConfig file-path",
            context: Context::SERVER,
            default: None,
            doc: "The file with a line `type extension extension` for each media type.",
            accepts: &["TypesConfig /etc/mime.types"],
            refuses: &["TypesConfig", "TypesConfig a b"],
            set: Set::Take1(|slot, word| {
                slot.host.types = Some(TypesFile::new(slot.place.path(word)));
                Ok(())
            }),
        },
        row(
            "AddType",
            "AddType media-type extension [extension] ...",
            "The media type of files with these extensions.",
            &["AddType text/html .html htm"],
            &["AddType", "AddType text/html"],
            |slot, words| add(&mut slot.section.types, words),
        ),
        row(
            "AddCharset",
            "AddCharset charset extension [extension] ...",
            "The character set of files with these extensions.",
            &["AddCharset UTF-8 .utf8"],
            &["AddCharset UTF-8"],
            |slot, words| add(&mut slot.section.charsets, words),
        ),
        row(
            "AddEncoding",
            "AddEncoding encoding extension [extension] ...",
            "The content coding of files with these extensions.",
            &["AddEncoding x-gzip .gz .tgz"],
            &["AddEncoding x-gzip"],
            |slot, words| add(&mut slot.section.encodings, words),
        ),
        row(
            "AddLanguage",
            "AddLanguage language-tag extension [extension] ...",
            "The language of files with these extensions.",
            &["AddLanguage en .en"],
            &["AddLanguage en"],
            |slot, words| add(&mut slot.section.languages, words),
        ),
        row(
            "AddHandler",
            "AddHandler handler-name extension [extension] ...",
            "Who answers for files with these extensions.",
            &[
                "AddHandler default-handler .html",
                "AddHandler \"proxy:http://127.0.0.1:8080\" app",
                "AddHandler type-map var",
            ],
            &[
                "AddHandler default-handler",
                "AddHandler cgi-script .cgi",
                "AddHandler \"proxy:fcgi://localhost\" .php",
            ],
            add_handler,
        ),
        row(
            "RemoveHandler",
            "RemoveHandler extension [extension] ...",
            "Takes back what AddHandler says of these extensions.",
            &["RemoveHandler .html"],
            &["RemoveHandler"],
            |slot, words| remove(&mut slot.section.handlers, words),
        ),
        row(
            "RemoveType",
            "RemoveType extension [extension] ...",
            "Takes back what AddType says of these extensions.",
            &["RemoveType .cgi"],
            &["RemoveType"],
            |slot, words| remove(&mut slot.section.types, words),
        ),
        row(
            "RemoveCharset",
            "RemoveCharset extension [extension] ...",
            "Takes back what AddCharset says of these extensions.",
            &["RemoveCharset .utf8"],
            &["RemoveCharset"],
            |slot, words| remove(&mut slot.section.charsets, words),
        ),
        row(
            "RemoveEncoding",
            "RemoveEncoding extension [extension] ...",
            "Takes back what AddEncoding says of these extensions.",
            &["RemoveEncoding .gz"],
            &["RemoveEncoding"],
            |slot, words| remove(&mut slot.section.encodings, words),
        ),
        row(
            "RemoveLanguage",
            "RemoveLanguage extension [extension] ...",
            "Takes back what AddLanguage says of these extensions.",
            &["RemoveLanguage .en"],
            &["RemoveLanguage"],
            |slot, words| remove(&mut slot.section.languages, words),
        ),
        row(
            "AddOutputFilter",
            "AddOutputFilter filter[;filter...] extension [extension] ...",
            "Filters that content goes through whose path has these extensions, an origin's too.",
            &["AddOutputFilter DEFLATE .html css"],
            &["AddOutputFilter DEFLATE", "AddOutputFilter INCLUDES shtml"],
            |slot, words| {
                let filters = words.first().map(filters::names).transpose()?;
                let filters = filters.unwrap_or_default();
                add_value(&mut slot.section.output_filters, words, &filters)
            },
        ),
        row(
            "RemoveOutputFilter",
            "RemoveOutputFilter extension [extension] ...",
            "Takes back what AddOutputFilter says of these extensions.",
            &["RemoveOutputFilter .html"],
            &["RemoveOutputFilter"],
            |slot, words| remove(&mut slot.section.output_filters, words),
        ),
        row(
            "DefaultLanguage",
            "DefaultLanguage language-tag",
            "The language of files whose names say none.",
            &["DefaultLanguage en"],
            &["DefaultLanguage", "DefaultLanguage en de"],
            default_language,
        ),
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        Host {
            types: inner.types.clone().or_else(|| outer.types.clone()),
        }
    }

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        // The last of an extension holds.
        fn join<T: Clone>(outer: &Map<T>, inner: &Map<T>) -> Map<T> {
            [outer.as_slice(), inner].concat()
        }
        Section {
            types: join(&outer.types, &inner.types),
            charsets: join(&outer.charsets, &inner.charsets),
            encodings: join(&outer.encodings, &inner.encodings),
            languages: join(&outer.languages, &inner.languages),
            handlers: join(&outer.handlers, &inner.handlers),
            output_filters: join(&outer.output_filters, &inner.output_filters),
            language: inner.language.clone().or_else(|| outer.language.clone()),
        }
    }
}

const fn row(
    name: &'static str,
    syntax: &'static str,
    doc: &'static str,
    accepts: &'static [&'static str],
    refuses: &'static [&'static str],
    set: fn(&mut Slot<'_, Mime>, &[Text]) -> SetResult,
) -> Directive<Mime> {
    Directive {
        name,
        syntax,
        context: Context::ANY,
        default: None,
        doc,
        accepts,
        refuses,
        set: Set::Words(set),
    }
}

fn add(map: &mut Map, words: &[Text]) -> SetResult {
    let value = words.first().map(|word| word.bytes().to_vec());
    add_value(map, words, &value.unwrap_or_default())
}

/// The first word has been read as `value`; extensions follow.
fn add_value<T: Clone + PartialEq>(map: &mut Map<T>, words: &[Text], value: &T) -> SetResult {
    let [first, extensions @ ..] = words else {
        return Ok(());
    };
    if extensions.is_empty() {
        return Err(Problem::at(first.span(), "for files with which extension?"));
    }
    for extension in extensions {
        let name = extension_name(extension);
        // What is removed in the same place stays removed, whichever came
        // first (mod_mime.html#removetype).
        if !map.contains(&(name.clone(), None)) {
            map.push((name, Some(value.clone())));
        }
    }
    Ok(())
}

fn extension_name(word: &Text) -> Vec<u8> {
    let name = word.bytes();
    name.strip_prefix(b".").unwrap_or(name).to_ascii_lowercase()
}

fn remove<T>(map: &mut Map<T>, words: &[Text]) -> SetResult {
    map.extend(words.iter().map(|word| (extension_name(word), None)));
    Ok(())
}

fn add_handler(slot: &mut Slot<'_, Mime>, words: &[Text]) -> SetResult {
    if let Some(name) = words.first() {
        if name.eq_ignore_case("type-map") {
            let message = "there is no content negotiation: a type map is sent as it is";
            let note = Diagnostic::note("RC0203", name.span(), message);
            slot.diagnostics.push(note);
        } else {
            core::check_handler(slot, name, name.bytes())?;
        }
    }
    add(&mut slot.section.handlers, words)
}

fn default_language(slot: &mut Slot<'_, Mime>, words: &[Text]) -> SetResult {
    let [word] = words else {
        return Err(Problem::new("DefaultLanguage takes one argument"));
    };
    slot.section.language = Some(word.bytes().to_vec());
    Ok(())
}

/// Says who answers for a file of this name (`AddHandler`); it comes in front
/// of `SetHandler`.
pub(crate) fn fixup(exchange: &mut Exchange<'_>) -> Flow {
    if let Some(proxy) = &exchange.proxy {
        return describe(exchange, proxy.url.clone());
    }
    let section = exchange.section_settings::<Section>();
    if section.handlers.is_empty() {
        return Flow::Declined;
    }
    let Some(file) = exchange.file.as_deref() else {
        return Flow::Declined;
    };
    let named = |name: &[u8]| {
        let known = extensions(name).filter_map(|name| last(&section.handlers, &name));
        known.last().map(|handler| handler.to_ascii_lowercase())
    };
    let found = named(file);
    if let Some(handler) = found.filter(|handler| handler != b"none") {
        exchange.handler = Some(handler.into());
    }
    Flow::Declined
}

/// What the name of a proxied URL says of the answer, for fields that the origin
/// leaves out: to httpd that URL is a file like any other.
fn describe(exchange: &mut Exchange<'_>, url: Vec<u8>) -> Flow {
    let name = url.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    if !name.contains(&b'.') && exchange.section_settings::<Section>().language.is_none() {
        return Flow::Declined;
    }
    let file = exchange.host_settings::<Host>().types.as_ref();
    if let Some(file) = file.filter(|file| file.types.get().is_none()) {
        let file = file.clone();
        return Flow::Wait(Lookup::new(b"media types", move || {
            file.load();
            Arc::new(())
        }));
    }
    exchange.described = fields(exchange, name);
    Flow::Declined
}

/// The extensions of a file's name in lower case, in order.
fn extensions(file: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let base = file.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    base.split(|&byte| byte == b'.')
        .skip(1)
        .map(<[u8]>::to_ascii_lowercase)
}

impl TypesFile {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            types: Arc::default(),
        }
    }

    /// Reads the file if that has not been done; it blocks. Without the file
    /// no type is known.
    pub(crate) fn load(&self) {
        self.types.get_or_init(|| {
            let text = std::fs::read(&self.path).unwrap_or_default();
            parse(&text)
        });
    }
}

fn parse(text: &[u8]) -> HashMap<Vec<u8>, Vec<u8>> {
    let mut types = HashMap::new();
    for line in text.split(|&byte| byte == b'\n') {
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        match words.next() {
            Some(kind) if !kind.starts_with(b"#") => {
                types.extend(words.map(|word| (word.to_ascii_lowercase(), kind.to_vec())));
            }
            _ => {}
        }
    }
    types
}

/// The file of media types of a request's host.
pub(crate) fn types_file(exchange: &Exchange<'_>) -> TypesFile {
    let types = exchange.host_settings::<Host>().types.clone();
    types.unwrap_or_else(|| TypesFile::new(PathBuf::new()))
}

/// The fields that describe a file of this name. Each extension may say
/// something, the last one that does has the word (mod_mime.html#multipleext).
pub(crate) fn fields(exchange: &Exchange<'_>, name: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let section = exchange.section_settings::<Section>();
    let file = exchange.host_settings::<Host>().types.as_ref();
    let known = file.and_then(|file| file.types.get());
    let (mut kind, mut charset, mut encodings, mut language) = (None, None, Vec::new(), None);
    for extension in extensions(name) {
        let by_file = known.and_then(|types| types.get(&extension));
        kind = last(&section.types, &extension).or(by_file).or(kind);
        charset = last(&section.charsets, &extension).or(charset);
        language = last(&section.languages, &extension).or(language);
        encodings.extend(last(&section.encodings, &extension).cloned());
    }
    let language = language.or(section.language.as_ref());
    let mut fields = Vec::new();
    let by_section = exchange.section_settings::<core::Section>().forced_type();
    if let Some(forced) = mod_rewrite::forced_type(exchange).or(by_section) {
        fields.push(("Content-Type", forced.to_vec()));
    } else if let Some(kind) = kind {
        let mut value = kind.clone();
        if let Some(charset) = charset {
            value.extend_from_slice(b"; charset=");
            value.extend_from_slice(&charset.to_ascii_lowercase());
        }
        fields.push(("Content-Type", value));
    }
    if !encodings.is_empty() {
        fields.push(("Content-Encoding", encodings.join(b", ".as_slice())));
    }
    fields.extend(language.map(|language| ("Content-Language", language.clone())));
    fields
}

/// The output filters for content of a path, those of each of its extensions.
pub(crate) fn output_filters(exchange: &Exchange<'_>, path: &[u8]) -> Vec<OutputFilter> {
    let map = &exchange.section_settings::<Section>().output_filters;
    if map.is_empty() {
        return Vec::new();
    }
    let found = extensions(path).filter_map(|extension| last(map, &extension));
    found.flatten().copied().collect()
}

fn last<'m, T>(map: &'m Map<T>, extension: &[u8]) -> Option<&'m T> {
    let mut entries = map.iter().rev();
    let found = entries.find(|(name, _)| name == extension)?;
    found.1.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_a_file() {
        let types = parse(b"# types\ntext/html\thtml htm\n\nimage/png png\r\napplication/x\n");
        let table: &[(&str, Option<&str>)] = &[
            ("html", Some("text/html")),
            ("htm", Some("text/html")),
            ("png", Some("image/png")),
            ("types", None),
        ];
        for &(extension, expected) in table {
            let found = types.get(extension.as_bytes()).map(Vec::as_slice);
            assert_eq!(found, expected.map(str::as_bytes), "{extension}");
        }
    }
}
