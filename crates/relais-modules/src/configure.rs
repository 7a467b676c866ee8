//! From configuration text to a site.

use std::net::IpAddr;
use std::sync::Arc;

use relais_conf::{Diagnostic, Diagnostics, Files, Loaded, Options};
use relais_policy::Site;
use relais_policy::build::Builder;

use crate::files::Htaccess;
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
    read(options, files, resolve, &[])
}

/// Reads a configuration on a machine that lacks some of what belongs to it: a file that cannot be opened and a host
/// name that cannot be looked up are notes.
pub fn configure_offline(options: Options, files: &dyn Files) -> Configuration {
    let mut found = read(options, files, &|_| Vec::new(), &ELSEWHERE);
    for span in &found.loaded.absent {
        let message = "nothing is found here, and what is there elsewhere is not judged";
        let note = Diagnostic::note("RC0134", *span, message);
        found.diagnostics.push(note);
    }
    found.diagnostics.sort(&found.loaded.sources);
    found
}

/// Codes for what another machine may have: files, directories, and the addresses of host names.
const ELSEWHERE: [&str; 5] = ["RC0101", "RC0102", "RC0122", "RC0209", "RC0324"];

fn read(
    options: Options,
    files: &dyn Files,
    resolve: &dyn Fn(&str) -> Vec<IpAddr>,
    elsewhere: &[&str],
) -> Configuration {
    let mut host = ModuleHost::default();
    let version = options.version;
    let mut loaded = relais_conf::load(options, files, &mut host);
    let mut diagnostics = std::mem::take(&mut loaded.diagnostics);
    diagnostics.soften(elsewhere);
    let site = builder(files, resolve).build(&loaded, &mut diagnostics);
    let site = site.map(|mut site| {
        site.shared = Some(Arc::new(Htaccess::new(&host, &loaded, version)));
        site
    });
    diagnostics.soften(elsewhere);
    diagnostics.sort(&loaded.sources);
    Configuration {
        site,
        loaded,
        diagnostics,
        modules_loaded: host.modules(),
    }
}

/// What sites, and files in folders, are built with.
pub(crate) fn builder<'a>(
    files: &'a dyn Files,
    resolve: &'a dyn Fn(&str) -> Vec<IpAddr>,
) -> Builder<'a> {
    Builder {
        modules: MODULES,
        phases: &PHASES,
        known: &known,
        names: names(),
        files,
        resolve,
        proxy_parameters: "ProxySet",
        host_spec: &default_host_spec,
    }
}
