//! From configuration text to a site.

use std::net::IpAddr;

use relais_conf::{Diagnostics, Files, Loaded, Options};
use relais_policy::Site;
use relais_policy::build::Builder;

use crate::{MODULES, ModuleHost, PHASES, default_host_spec, known, names};

/// A configuration that has been read.
pub struct Configuration {
    /// What requests are served by; `None` if there are errors.
    pub site: Option<Site>,
    /// The tree and the text it came from.
    pub loaded: Loaded,
    /// Everything that was found, in source order.
    pub diagnostics: Diagnostics,
    /// The modules by identifier, and whether `LoadModule` named them, in the
    /// order of `httpd -M`.
    pub modules_loaded: Vec<(String, bool)>,
}

/// Reads a configuration with everything it includes and builds its site.
/// `resolve` looks up host names of `<VirtualHost>` lines.
pub fn configure(
    options: Options,
    files: &dyn Files,
    resolve: &dyn Fn(&str) -> Vec<IpAddr>,
) -> Configuration {
    let mut host = ModuleHost::default();
    let mut loaded = relais_conf::load(options, files, &mut host);
    let mut diagnostics = std::mem::take(&mut loaded.diagnostics);
    let builder = Builder {
        modules: MODULES,
        phases: &PHASES,
        known: &known,
        names: names(),
        resolve,
        host_spec: &default_host_spec,
    };
    let site = builder.build(&loaded, &mut diagnostics);
    diagnostics.sort(&loaded.sources);
    Configuration {
        site,
        loaded,
        diagnostics,
        modules_loaded: host.modules(),
    }
}
