//! Every directive of httpd 2.4 that no module here has a row for.
//!
//! The facts are in `directives.tsv`: name, module, tier and a note. A name of
//! tier `P` is accepted and has nothing to do, `1` to `3` are to come, and `X`
//! is refused for good.

use std::collections::HashMap;
use std::sync::LazyLock;

use relais_policy::build::{Known, KnownState};

use crate::MODULES;

static TABLE: &str = include_str!("../directives.tsv");

/// Names of httpd 2.2 and of third parties that configurations still have,
/// with what to do about them.
static FORMER: &str = include_str!("../former.tsv");

/// Names without a row that reading itself carries out.
pub const LANGUAGE: &[&str] = &[
    "<Directory>",
    "<DirectoryMatch>",
    "<Else>",
    "<ElseIf>",
    "<Files>",
    "<FilesMatch>",
    "<If>",
    "<IfDefine>",
    "<IfDirective>",
    "<IfFile>",
    "<IfModule>",
    "<IfSection>",
    "<IfVersion>",
    "<Limit>",
    "<LimitExcept>",
    "<Location>",
    "<LocationMatch>",
    "<Macro>",
    "<Proxy>",
    "<ProxyMatch>",
    "<VirtualHost>",
    "UndefMacro",
    "Use",
];

static KNOWN: LazyLock<HashMap<String, Known>> = LazyLock::new(|| {
    let ours: std::collections::HashSet<String> = MODULES
        .iter()
        .flat_map(|module| module.directives())
        .map(|row| row.name.trim_end_matches('>').to_ascii_lowercase())
        .collect();
    let facts = TABLE
        .lines()
        .skip(1)
        .filter_map(fact)
        .map(|known| (known.name.trim_end_matches('>').to_ascii_lowercase(), known));
    let former = FORMER.lines().skip(1).filter_map(former);
    let former = former.map(|known| (known.name.to_ascii_lowercase(), known));
    former
        .chain(facts)
        .filter(|(name, _)| !ours.contains(name))
        .collect()
});

static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let ours = MODULES
        .iter()
        .flat_map(|module| module.directives())
        .map(|row| row.name.trim_end_matches('>'));
    let mut names: Vec<&'static str> = ours.chain(facts().map(|known| known.name)).collect();
    names.sort_unstable();
    names.dedup();
    names
});

/// What httpd knows about a name (`<` in front for a section) without a row
/// here.
#[must_use]
pub fn known(name: &str) -> Option<Known> {
    KNOWN.get(&name.to_ascii_lowercase()).copied()
}

/// Every name that a misspelt one may have meant, with and without rows here.
#[must_use]
pub fn names() -> &'static [&'static str] {
    &NAMES
}

/// Every directive of httpd 2.4 with what relais makes of those that it has no
/// row for, in the order of the modules.
pub fn facts() -> impl Iterator<Item = Known> {
    TABLE.lines().skip(1).filter_map(fact)
}

fn former(line: &'static str) -> Option<Known> {
    let mut columns = line.split('\t');
    Some(Known {
        name: columns.next()?,
        module: columns.next()?,
        state: KnownState::Refused,
        note: columns.next()?,
    })
}

fn fact(line: &'static str) -> Option<Known> {
    let mut columns = line.split('\t');
    let (name, module, tier) = (columns.next()?, columns.next()?, columns.next()?);
    let note = columns.next().unwrap_or("");
    let state = match tier {
        "P" => KnownState::Harmless,
        "X" => KnownState::Refused,
        _ => KnownState::NotYet,
    };
    Some(Known {
        name: name.trim_end_matches('>'),
        module,
        state,
        note,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_by_tier() {
        let table: &[(&str, Option<KnownState>)] = &[
            ("maxrequestworkers", Some(KnownState::Harmless)),
            ("SSLOCSPEnable", Some(KnownState::NotYet)),
            ("<Directory", Some(KnownState::NotYet)),
            ("ProxyExpressEnable", Some(KnownState::Refused)),
            ("Timeout", None),
            ("NoSuchThing", None),
        ];
        for &(name, expected) in table {
            assert_eq!(known(name).map(|known| known.state), expected, "{name}");
        }
    }

    #[test]
    fn what_is_refused_or_without_effect_says_why() {
        let silent: Vec<&str> = KNOWN
            .values()
            .filter(|known| known.state != KnownState::NotYet && known.note.is_empty())
            .map(|known| known.name)
            .collect();
        assert!(silent.is_empty(), "{silent:?}");
        let lines = FORMER.lines().skip(1);
        assert!(lines.clone().count() == lines.filter_map(former).count());
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = TABLE.lines().skip(1).count();
        assert_eq!(TABLE.lines().skip(1).filter_map(fact).count(), lines);
        assert!(lines > 500);
    }

    #[test]
    fn names_hold_rows_and_facts() {
        for name in ["Timeout", "ProxyPass", "SSLEngine", "<Directory"] {
            assert!(names().contains(&name), "{name}");
        }
    }
}
