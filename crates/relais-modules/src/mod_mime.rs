//! mod_mime: what a file's name says of its content.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use relais_conf::Text;
use relais_policy::{Context, Directive, Exchange, Module, Problem, Set, SetResult, Slot};

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
}

type Map = Vec<(Vec<u8>, Vec<u8>)>;

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
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        Host {
            types: inner.types.clone().or_else(|| outer.types.clone()),
        }
    }

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        // The last of an extension holds.
        let join = |outer: &Map, inner: &Map| [outer.as_slice(), inner].concat();
        Section {
            types: join(&outer.types, &inner.types),
            charsets: join(&outer.charsets, &inner.charsets),
            encodings: join(&outer.encodings, &inner.encodings),
            languages: join(&outer.languages, &inner.languages),
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
    let [value, extensions @ ..] = words else {
        return Ok(());
    };
    if extensions.is_empty() {
        return Err(Problem::at(value.span(), "for files with which extension?"));
    }
    for extension in extensions {
        let name = extension.bytes();
        let name = name.strip_prefix(b".").unwrap_or(name);
        map.push((name.to_ascii_lowercase(), value.bytes().to_vec()));
    }
    Ok(())
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
    let base = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let (mut kind, mut charset, mut encodings, mut language) = (None, None, Vec::new(), None);
    for extension in base.split(|&byte| byte == b'.').skip(1) {
        let extension = extension.to_ascii_lowercase();
        let by_file = known.and_then(|types| types.get(&extension));
        kind = last(&section.types, &extension).or(by_file).or(kind);
        charset = last(&section.charsets, &extension).or(charset);
        language = last(&section.languages, &extension).or(language);
        encodings.extend(last(&section.encodings, &extension).cloned());
    }
    let mut fields = Vec::new();
    if let Some(kind) = kind {
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

fn last<'m>(map: &'m Map, extension: &[u8]) -> Option<&'m Vec<u8>> {
    let mut entries = map.iter().rev();
    entries
        .find(|(name, _)| name == extension)
        .map(|(_, value)| value)
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
