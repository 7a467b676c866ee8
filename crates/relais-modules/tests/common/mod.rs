//! Reading configurations.

use std::path::PathBuf;

use relais_conf::{MemoryFiles, Options};
use relais_modules::{Configuration, configure};
use relais_policy::{Decision, Exchange, SectionSets, Step};

/// Runs the phases, with look-ups done on the spot.
#[allow(dead_code, reason = "not every test binary serves requests")]
pub(crate) fn decide(exchange: &mut Exchange<'_>, sets: &SectionSets) -> Decision {
    loop {
        match exchange.decide(sets) {
            Step::Decided(decision) => return decision,
            Step::Wait(lookup) => exchange.answered(lookup.key, (lookup.work)()),
        }
    }
}

/// Reads a configuration that stands in `/srv/main.conf`.
pub(crate) fn read(config: &str) -> Configuration {
    let files = MemoryFiles::new()
        .with("/srv/main.conf", config)
        .with("/srv/extra.conf", "Timeout 5\n");
    let options = Options {
        main_file: PathBuf::from("/srv/main.conf"),
        server_root: PathBuf::from("/srv"),
        defines: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
        environment: Box::new(|_| None),
        version: (2, 4, 71),
    };
    configure(options, &files, &|_| Vec::new())
}
