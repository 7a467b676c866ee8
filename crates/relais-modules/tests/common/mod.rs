//! Reading configurations.

use relais_conf::{MemoryFiles, Options};
use relais_modules::{Configuration, configure};
use relais_policy::{Decision, Exchange, SectionSets, Step};

/// Runs the phases, with look-ups done on the spot.
#[allow(dead_code, reason = "not every test binary serves requests")]
pub(crate) fn decide(exchange: &mut Exchange<'_>, sets: &SectionSets) -> Decision {
    loop {
        match exchange.decide(sets) {
            Step::Decided(decision) => return decision,
            Step::Body(_) => exchange.body = Some(Vec::new()),
            Step::Wait(lookup) => exchange.answered(lookup.key, (lookup.work)()),
        }
    }
}

/// Reads a configuration that stands in `/srv/main.conf`.
pub(crate) fn read(config: &str) -> Configuration {
    let files = MemoryFiles::new()
        .with("/srv/main.conf", config)
        .with("/srv/extra.conf", "Timeout 5\n")
        .with(
            "/srv/proxies",
            "# ours\n10.0.0.0/8\n2001:db8::/32 # more\n\n",
        );
    configure(Options::new("/srv/main.conf"), &files, &|_| Vec::new())
}
