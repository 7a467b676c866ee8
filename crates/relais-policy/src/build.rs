//! From the tree to a site: `read` makes drafts of it, and here they are
//! checked, merged and sealed.

use std::net::IpAddr;
use std::sync::Arc;

use relais_conf::{Diagnostics, Loaded, SourceMap, Span};

use crate::exchange::Phases;
use crate::module::{AnyModule, Drafts, Settings};
use crate::read;
use crate::site::{Host, HostAddress, HostDraft, SectionDraft, Site, SiteDraft};
use crate::spec::{HostSpec, ServerSpec};
use crate::walk::Sections;

/// What httpd knows about a name that no module here has a row for.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The name in httpd's spelling, with `<` in front for a section.
    pub name: &'static str,
    /// httpd's module, `mod_ssl`.
    pub module: &'static str,
    /// What relais makes of it.
    pub state: KnownState,
    /// Why, or what it maps to; may be empty.
    pub note: &'static str,
}

/// What relais makes of a directive that it has no row for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KnownState {
    /// Accepted: it has nothing to do here.
    Harmless,
    /// To come: an error that says so.
    NotYet,
    /// Refused for good.
    Refused,
}

/// What a site is built with.
pub struct Builder<'a> {
    /// The modules, in the order of their phases.
    pub modules: &'static [&'static dyn AnyModule],
    /// The order of phase functions.
    pub phases: &'static Phases,
    /// httpd's whole list of directives.
    pub known: &'a dyn Fn(&str) -> Option<Known>,
    /// Every name that a misspelt one may have meant.
    pub names: &'a [&'static str],
    /// Looks up the host names of `<VirtualHost>` lines.
    pub resolve: &'a dyn Fn(&str) -> Vec<IpAddr>,
    /// What a host has where no directive says otherwise.
    pub host_spec: &'a dyn Fn() -> HostSpec,
}

impl Builder<'_> {
    /// Builds the site of a tree. Problems are added to `diagnostics`; with an
    /// error among them there is no site.
    pub fn build(&self, loaded: &Loaded, diagnostics: &mut Diagnostics) -> Option<Site> {
        let hosts = read::read(self, &loaded.tree.items, &loaded.server_root, diagnostics);
        let draft = SiteDraft { hosts };
        for module in self.modules {
            module.check(&draft, diagnostics);
        }
        (!diagnostics.has_errors()).then(|| self.seal(draft, &loaded.sources))
    }

    pub(crate) fn host_draft(&self, addresses: Vec<HostAddress>, span: Option<Span>) -> HostDraft {
        HostDraft {
            addresses,
            span,
            host: Drafts(
                self.modules
                    .iter()
                    .map(|module| module.draft_host())
                    .collect(),
            ),
            base: self.section_drafts(),
            sections: Vec::new(),
        }
    }

    pub(crate) fn section_drafts(&self) -> Drafts {
        Drafts(
            self.modules
                .iter()
                .map(|module| module.draft_section())
                .collect(),
        )
    }

    fn seal(&self, draft: SiteDraft, sources: &SourceMap) -> Site {
        let mut hosts: Vec<Host> = Vec::with_capacity(draft.hosts.len());
        let mut server = ServerSpec::default();
        for (index, host) in draft.hosts.iter().enumerate() {
            hosts.push(self.seal_host(index, host, &draft.hosts[0], sources));
        }
        for module in self.modules {
            module.finish_server(&hosts[0].settings, &mut server);
        }
        Site {
            server,
            hosts,
            phases: self.phases,
        }
    }

    fn seal_host(
        &self,
        index: usize,
        host: &HostDraft,
        main: &HostDraft,
        sources: &SourceMap,
    ) -> Host {
        let mut settings = Settings::default();
        let mut base = Settings::default();
        for (position, module) in self.modules.iter().enumerate() {
            if index == 0 {
                module.seal_host(&host.host.0[position], &mut settings);
                module.seal_section(&host.base.0[position], &mut base);
            } else {
                module.seal_host(
                    &module.merge_host(&main.host.0[position], &host.host.0[position]),
                    &mut settings,
                );
                module.seal_section(
                    &module.merge_section(&main.base.0[position], &host.base.0[position]),
                    &mut base,
                );
            }
        }
        let mut spec = (self.host_spec)();
        for module in self.modules {
            module.finish_host(&settings, &base, &mut spec);
        }
        let outer = if index == 0 { &[][..] } else { &main.sections };
        let sections = self.seal_sections(outer.iter().chain(&host.sections));
        Host {
            index,
            names: spec.names.clone(),
            spec,
            settings,
            defined: host
                .span
                .map_or_else(String::new, |span| position(sources, span)),
            addresses: host.addresses.clone(),
            sections,
            base: Arc::new(base),
            modules: self.modules,
        }
    }

    fn seal_sections<'d>(&self, drafts: impl Iterator<Item = &'d SectionDraft>) -> Sections {
        let mut sections = Sections::default();
        for draft in drafts {
            self.seal_section(draft, None, &mut sections);
        }
        sections.finish();
        sections
    }

    fn seal_section(&self, draft: &SectionDraft, outer: Option<u32>, sections: &mut Sections) {
        let mut settings = Settings::default();
        for (module, draft) in self.modules.iter().zip(&draft.settings.0) {
            module.seal_section(draft, &mut settings);
        }
        let own = sections.push(draft.head.clone(), settings, outer);
        for inner in &draft.inner {
            self.seal_section(inner, Some(own), sections);
        }
    }
}

fn position(sources: &SourceMap, span: Span) -> String {
    format!(
        "{}:{}",
        sources.get(span.file).name,
        sources.line_column(span).0
    )
}
