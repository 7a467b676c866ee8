//! What the tests of several modules need.

use relais_conf::{SourceMap, Text};

/// A piece of configuration text.
pub(crate) fn text(word: &str) -> Text {
    let mut sources = SourceMap::new();
    let file = sources.add("test", word.into(), None);
    sources.text(file)
}
