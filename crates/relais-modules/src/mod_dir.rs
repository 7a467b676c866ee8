//! mod_dir: what stands for a folder, and what for a file that is missing.

use relais_conf::Text;
use relais_policy::{Context, Directive, Exchange, Flow, Module, Set, SetResult, Slot};

use crate::files;

/// mod_dir.
pub struct Dir;

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    indexes: Option<Vec<Vec<u8>>>,
    slash: Option<bool>,
    /// `FallbackResource`; `disabled` is an empty one.
    fallback: Option<Vec<u8>>,
}

const PLACES: Context = Context::ANY;

impl Module for Dir {
    const NAME: &'static str = "mod_dir";
    const IDENTIFIER: &'static str = "dir_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "DirectoryIndex",
            syntax: "DirectoryIndex disabled | local-url [local-url] ...",
            context: PLACES,
            default: Some("index.html"),
            doc: "The files that are sent for a folder, the first that is there.",
            accepts: &[
                "DirectoryIndex index.html index.htm",
                "DirectoryIndex disabled",
            ],
            refuses: &["DirectoryIndex"],
            set: Set::Words(directory_index),
        },
        Directive {
            name: "DirectorySlash",
            syntax: "DirectorySlash On|Off",
            context: PLACES,
            default: Some("On"),
            doc: "Whether the name of a folder without a slash behind it is redirected to one with it.",
            accepts: &["DirectorySlash On", "DirectorySlash Off"],
            refuses: &["DirectorySlash", "DirectorySlash x"],
            set: Set::Flag(|slot, on| {
                slot.section.slash = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "FallbackResource",
            syntax: "FallbackResource disabled | local-url",
            context: PLACES,
            default: Some("disabled"),
            doc: "The path that answers in the place of a file that is not there.",
            accepts: &["FallbackResource /index.html", "FallbackResource disabled"],
            refuses: &["FallbackResource", "FallbackResource a b"],
            set: Set::Take1(|slot, word| {
                let disabled = word.eq_ignore_case("disabled");
                let path = if disabled { &[] } else { word.bytes() };
                slot.section.fallback = Some(path.to_vec());
                Ok(())
            }),
        },
    ];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section {
            indexes: inner.indexes.clone().or_else(|| outer.indexes.clone()),
            slash: inner.slash.or(outer.slash),
            fallback: inner.fallback.clone().or_else(|| outer.fallback.clone()),
        }
    }
}

fn directory_index(slot: &mut Slot<'_, Dir>, words: &[Text]) -> SetResult {
    let names = slot.section.indexes.get_or_insert_default();
    if let [word] = words
        && word.eq_ignore_case("disabled")
    {
        names.clear();
    } else {
        names.extend(words.iter().map(|word| word.bytes().to_vec()));
    }
    Ok(())
}

/// The names of `DirectoryIndex`. One that begins with a slash is a path of the
/// site, which the folder's own files come before.
pub(crate) fn indexes(exchange: &Exchange<'_>) -> Vec<Vec<u8>> {
    let section = exchange.section_settings::<Section>();
    let names = section.indexes.clone();
    names.unwrap_or_else(|| vec![b"index.html".to_vec()])
}

/// Answers for a folder without a slash behind its name.
pub(crate) fn add_slash(exchange: &Exchange<'_>) -> Flow {
    let section = exchange.section_settings::<Section>();
    if section.slash.unwrap_or(true) {
        return files::to_folder(exchange);
    }
    files::not_found()
}

/// Where a request for a missing file goes, if it is not there already.
pub(crate) fn fallback(exchange: &Exchange<'_>) -> Option<Vec<u8>> {
    let section = exchange.section_settings::<Section>();
    let path = section.fallback.as_ref().filter(|path| !path.is_empty())?;
    (exchange.path != *path).then(|| path.clone())
}
