//! From the tree to a site: `read` makes drafts of it, and here they are
//! checked, merged and sealed.

use std::net::IpAddr;
use std::sync::Arc;

use relais_conf::{Diagnostics, Files, Loaded, SourceMap, Span};

use crate::exchange::Phases;
use crate::lookup::Lookup;
use crate::module::{AnyModule, Drafts, Settings};
use crate::read;
use crate::section::{Matcher, SectionHead, SectionKind};
use crate::site::{Host, HostAddress, HostDraft, HostName, SectionDraft, Site, SiteDraft};
use crate::spec::{HostSpec, ServerSpec};
use crate::walk::{Fragment, Sections};

pub use crate::read::Allows;

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
    /// Where files are that directives read.
    pub files: &'a dyn Files,
    /// Looks up the host names of `<VirtualHost>` lines.
    pub resolve: &'a dyn Fn(&str) -> Vec<IpAddr>,
    /// The directive that takes what stands behind a <Proxy>'s URL.
    pub proxy_parameters: &'static str,
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

    /// Builds the settings of a folder from a file in it, in which only what
    /// `allows` says may stand. Problems are added to `diagnostics`.
    pub fn fragment(
        &self,
        loaded: &mut Loaded,
        folder: &[u8],
        allows: Allows<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Fragment {
        let file = loaded.sources.add("folder", folder.to_vec(), None);
        let argument = loaded.sources.text(file);
        let head = SectionHead {
            kind: SectionKind::Directory,
            matcher: Matcher::Prefix(folder.to_vec()),
            span: argument.span(),
            argument,
        };
        let (items, root) = (&loaded.tree.items, &loaded.server_root);
        let draft = read::read_fragment(self, items, root, head, allows, diagnostics);
        let mut untouched = Untouched::default();
        for module in self.modules {
            module.seal_section(None, &mut untouched.section);
        }
        let mut sections = Sections::default();
        self.seal_section(&draft, None, &untouched, &mut sections);
        Fragment { sections }
    }

    pub(crate) fn host_draft(&self, addresses: Vec<HostAddress>, span: Option<Span>) -> HostDraft {
        HostDraft {
            addresses,
            span,
            host: Drafts::default(),
            base: Drafts::default(),
            sections: Vec::new(),
        }
    }

    fn seal(&self, mut draft: SiteDraft, sources: &SourceMap) -> Site {
        let mut hosts: Vec<Host> = Vec::with_capacity(draft.hosts.len());
        let mut server = ServerSpec::default();
        // Settings are merged over nothing too, which is not the same as taking them as they are: what is not
        // inherited, for one, goes.
        for (position, module) in self.modules.iter().enumerate() {
            draft.hosts[0].host.of(position, || module.draft_host());
            draft.hosts[0].base.of(position, || module.draft_section());
        }
        let untouched = self.untouched(&draft.hosts[0]);
        let mut drafts = draft.hosts.into_iter();
        let main = drafts
            .next()
            .unwrap_or_else(|| self.host_draft(Vec::new(), None));
        hosts.push(self.seal_host(0, &main, &main, &untouched, sources));
        // Each draft goes as soon as it is sealed, so that the next one gets its memory.
        for (index, host) in (1..).zip(drafts) {
            hosts.push(self.seal_host(index, &host, &main, &untouched, sources));
        }
        for module in self.modules {
            module.finish_server(&hosts[0].settings, &mut server);
        }
        Site {
            server,
            lookup: Lookup::new(&hosts),
            hosts,
            phases: self.phases,
            shared: None,
        }
    }

    /// What the modules have where none of their directives stands.
    fn untouched(&self, main: &HostDraft) -> Untouched {
        let mut untouched = Untouched::default();
        for (position, module) in self.modules.iter().enumerate() {
            module.seal_host(main.host.at(position), None, &mut untouched.host);
            module.seal_base(main.base.at(position), None, &mut untouched.base);
            module.seal_section(None, &mut untouched.section);
        }
        untouched
    }

    fn seal_host(
        &self,
        index: usize,
        host: &HostDraft,
        main: &HostDraft,
        untouched: &Untouched,
        sources: &SourceMap,
    ) -> Host {
        let mut settings = Settings::with_capacity(self.modules.len());
        let mut base = Settings::with_capacity(self.modules.len());
        for (position, module) in self.modules.iter().enumerate() {
            let (inner, outer) = (host.host.at(position), main.host.at(position));
            match (index, inner) {
                (0, _) => module.seal_host(None, inner, &mut settings),
                (_, None) => settings.share(&untouched.host, position),
                (_, Some(_)) => module.seal_host(outer, inner, &mut settings),
            }
            let (inner, outer) = (host.base.at(position), main.base.at(position));
            match (index, inner) {
                (0, _) => module.seal_base(None, inner, &mut base),
                (_, None) => base.share(&untouched.base, position),
                (_, Some(_)) => module.seal_base(outer, inner, &mut base),
            }
        }
        let mut spec = (self.host_spec)();
        for module in self.modules {
            module.finish_host(&settings, &base, &mut spec);
        }
        for route in &spec.routes {
            route.put(|| position(sources, route.span));
        }
        let outer = if index == 0 { &[][..] } else { &main.sections };
        let sections = self.seal_sections(outer.iter().chain(&host.sections), untouched);
        // httpd: a host for all addresses takes the main server's name, one for
        // some the name that they have in the DNS, which is not asked here.
        let everywhere = host.addresses.iter().any(|address| address.ip.is_none());
        let name = spec.name.take();
        let mut names: Vec<HostName> = name
            .filter(|_| everywhere || !spec.name_inherited)
            .into_iter()
            .collect();
        let named = names.len();
        names.append(&mut spec.aliases);
        Host {
            index,
            names,
            named,
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

    fn seal_sections<'d>(
        &self,
        drafts: impl Iterator<Item = &'d SectionDraft>,
        untouched: &Untouched,
    ) -> Sections {
        let mut sections = Sections::default();
        for draft in drafts {
            self.seal_section(draft, None, untouched, &mut sections);
        }
        sections.finish();
        sections
    }

    fn seal_section(
        &self,
        draft: &SectionDraft,
        outer: Option<u32>,
        untouched: &Untouched,
        sections: &mut Sections,
    ) {
        let mut settings = Settings::with_capacity(self.modules.len());
        for (position, module) in self.modules.iter().enumerate() {
            match draft.settings.at(position) {
                None => settings.share(&untouched.section, position),
                own => module.seal_section(own, &mut settings),
            }
        }
        let own = sections.push(draft.head.clone(), settings, outer);
        for inner in &draft.inner {
            self.seal_section(inner, Some(own), untouched, sections);
        }
    }
}

/// Sealed settings of modules without a directive, shared by all hosts and
/// sections where that is so.
#[derive(Default)]
struct Untouched {
    /// Of a virtual host: the main server's under nothing.
    host: Settings,
    /// Outside of every section of a virtual host.
    base: Settings,
    /// Of a section.
    section: Settings,
}

fn position(sources: &SourceMap, span: Span) -> String {
    format!(
        "{}:{}",
        sources.get(span.file).name,
        sources.line_column(span).0
    )
}
