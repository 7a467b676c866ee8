//! What relais makes of a directive or section, for reports about a whole
//! configuration.

use relais_policy::build::KnownState;

use crate::{MODULES, known};

/// What becomes of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It does what httpd does.
    Honoured {
        /// What it does otherwise, in one phrase; empty for nothing.
        difference: &'static str,
    },
    /// Accepted, with nothing to do; why.
    Harmless(&'static str),
    /// httpd has it, relais does not yet.
    NotYet,
    /// httpd has it, relais will not; why.
    Refused(&'static str),
    /// Nobody has it.
    Unknown,
}

/// What becomes of a directive, or of a section with its angle brackets, and
/// its name in httpd's spelling where it is known.
#[must_use]
pub fn standing(name: &str) -> (Option<&'static str>, Standing) {
    let same = |have: &str| have.eq_ignore_ascii_case(name);
    if let Some(section) = SECTIONS.iter().find(|section| same(section)) {
        return (Some(section), honoured(section));
    }
    let mut rows = MODULES.iter().flat_map(|module| module.directives());
    if let Some(row) = rows.find(|row| same(row.name)) {
        let standing = row
            .ignored
            .map_or_else(|| honoured(row.name), Standing::Harmless);
        return (Some(row.name), standing);
    }
    let Some(known) = known(name.trim_end_matches('>')) else {
        return (None, Standing::Unknown);
    };
    let standing = match known.state {
        KnownState::Harmless => Standing::Harmless(known.note),
        KnownState::NotYet => Standing::NotYet,
        KnownState::Refused => Standing::Refused(known.note),
    };
    (None, standing)
}

fn honoured(name: &'static str) -> Standing {
    let difference = DIFFERENCES.iter().find(|(have, _)| *have == name);
    Standing::Honoured {
        difference: difference.map_or("", |(_, difference)| difference),
    }
}

/// The sections that no module owns.
const SECTIONS: &[&str] = &[
    "<VirtualHost>",
    "<Directory>",
    "<DirectoryMatch>",
    "<Files>",
    "<FilesMatch>",
    "<Location>",
    "<LocationMatch>",
    "<Proxy>",
    "<ProxyMatch>",
    "<If>",
    "<ElseIf>",
    "<Else>",
    "<Limit>",
    "<LimitExcept>",
];

/// What is honoured and still not the same in httpd.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "Group",
        "a log that is reopened later needs the rights of this group",
    ),
    (
        "ProxyTimeout",
        "an origin that is silent for so long is answered with 504, where httpd says 502",
    ),
    (
        "ServerTokens",
        "relais' own answers name relais in their Server field, not Apache",
    ),
    (
        "User",
        "afterwards a reload cannot open a port below 1024 that was not open before",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_becomes_of_them() {
        let plain = Standing::Honoured { difference: "" };
        let table: &[(&str, Option<&str>, bool)] = &[
            ("proxypass", Some("ProxyPass"), true),
            ("<location>", Some("<Location>"), true),
            ("ServerAlias", Some("ServerAlias"), true),
            ("NoSuchThing", None, false),
        ];
        for &(name, proper, honoured) in table {
            let (found, standing) = standing(name);
            assert_eq!(found, proper, "{name}");
            assert_eq!(standing == plain, honoured, "{name}");
        }
        assert_eq!(standing("NoSuchThing").1, Standing::Unknown);
        assert!(matches!(
            standing("MaxRequestWorkers").1,
            Standing::Harmless(_)
        ));
        assert!(matches!(
            standing("ProxyExpressEnable").1,
            Standing::Refused(_)
        ));
    }

    #[test]
    fn differences_are_of_names_that_are_honoured() {
        for (name, difference) in DIFFERENCES {
            assert_eq!(
                standing(name).1,
                Standing::Honoured { difference },
                "{name}"
            );
        }
    }
}
