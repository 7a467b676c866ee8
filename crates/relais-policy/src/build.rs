//! From the tree to a site: every directive finds its row, every section its
//! settings, and all that is wrong is reported in one pass.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use relais_conf::{
    Diagnostic, Diagnostics, Directive as DirectiveNode, Item, Loaded, Section as SectionNode,
    SourceMap, Span, Text,
};
use relais_expr::{Regex, RegexError, RegexFlags};

use crate::directive::{Context, Place};
use crate::exchange::Phases;
use crate::module::{AnyModule, Drafts, Settings};
use crate::section::{Matcher, SectionHead, SectionKind, is_wildcard};
use crate::site::{Host, HostAddress, HostDraft, Section, SectionDraft, Site, SiteDraft};
use crate::spec::{HostSpec, ServerSpec};

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
        let mut reader = Reader {
            builder: self,
            rows: rows(self.modules),
            server_root: &loaded.server_root,
            hosts: vec![self.host_draft(Vec::new(), None)],
            diagnostics,
        };
        reader.host_items(&loaded.tree.items, 0);
        let draft = SiteDraft {
            hosts: reader.hosts,
        };
        for module in self.modules {
            module.check(&draft, diagnostics);
        }
        (!diagnostics.has_errors()).then(|| self.seal(draft, &loaded.sources))
    }

    fn host_draft(&self, addresses: Vec<HostAddress>, span: Option<Span>) -> HostDraft {
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

    fn section_drafts(&self) -> Drafts {
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
        let sealed = |kind| self.seal_sections(outer.iter().chain(&host.sections), kind);
        Host {
            index,
            names: spec.names.clone(),
            spec,
            settings,
            defined: host
                .span
                .map_or_else(String::new, |span| position(sources, span)),
            addresses: host.addresses.clone(),
            locations: sealed(SectionKind::Location),
            proxies: sealed(SectionKind::Proxy),
            base: Arc::new(base),
            modules: self.modules,
        }
    }

    fn seal_sections<'d>(
        &self,
        drafts: impl Iterator<Item = &'d SectionDraft>,
        kind: SectionKind,
    ) -> Vec<Section> {
        drafts
            .filter(|section| section.head.kind == kind)
            .map(|section| {
                let mut settings = Settings::default();
                for (module, draft) in self.modules.iter().zip(&section.settings.0) {
                    module.seal_section(draft, &mut settings);
                }
                Section {
                    head: section.head.clone(),
                    settings,
                }
            })
            .collect()
    }
}

fn position(sources: &SourceMap, span: Span) -> String {
    format!(
        "{}:{}",
        sources.get(span.file).name,
        sources.line_column(span).0
    )
}

/// Lower-case directive name to module and row.
fn rows(modules: &[&dyn AnyModule]) -> HashMap<String, (usize, usize, Context, &'static str)> {
    let mut rows = HashMap::new();
    for (index, module) in modules.iter().enumerate() {
        for (row, info) in module.directives().into_iter().enumerate() {
            rows.insert(
                info.name.to_ascii_lowercase(),
                (index, row, info.context, info.name),
            );
        }
    }
    rows
}

struct Reader<'a, 'b> {
    builder: &'a Builder<'b>,
    rows: HashMap<String, (usize, usize, Context, &'static str)>,
    server_root: &'a Path,
    hosts: Vec<HostDraft>,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_, '_> {
    fn host_items(&mut self, items: &[Item], host: usize) {
        let context = if host == 0 {
            Context::SERVER
        } else {
            Context::VHOST
        };
        for item in items {
            match item {
                Item::Directive(directive) => {
                    self.directive(directive, host, None, context);
                }
                Item::Section(section) => self.host_section(section, host),
            }
        }
    }

    fn host_section(&mut self, section: &SectionNode, host: usize) {
        let name = section.name.lossy().to_ascii_lowercase();
        match name.as_str() {
            "virtualhost" if host == 0 => self.virtual_host(section),
            "virtualhost" => self.error(
                "RC0207",
                section.span,
                "<VirtualHost> cannot occur within <VirtualHost> section",
            ),
            "location" | "locationmatch" | "proxy" | "proxymatch" => {
                self.section(section, &name, host)
            }
            _ => self.unknown(&section.name, section.span, true),
        }
    }

    fn virtual_host(&mut self, section: &SectionNode) {
        let words = section.args.words();
        if words.is_empty() {
            self.error(
                "RC0206",
                section.span,
                "<VirtualHost> needs at least one address",
            );
        }
        let mut addresses = Vec::new();
        for word in &words {
            self.address(word, &mut addresses);
        }
        let draft = self.builder.host_draft(addresses, Some(section.span));
        self.hosts.push(draft);
        let host = self.hosts.len() - 1;
        self.host_items(&section.items, host);
    }

    fn address(&mut self, word: &Text, addresses: &mut Vec<HostAddress>) {
        let text = word.lossy();
        let Some((host, port)) = split_address(&text) else {
            self.error(
                "RC0206",
                word.span(),
                "not an address: ADDRESS, ADDRESS:PORT, *:PORT or [IPV6]:PORT",
            );
            return;
        };
        if matches!(host, "*" | "_default_") {
            addresses.push(HostAddress { ip: None, port });
            return;
        }
        let resolved = match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => (self.builder.resolve)(host),
        };
        if resolved.is_empty() {
            let message = format!(
                "could not resolve host name {host}; no request reaches this <VirtualHost> by this address"
            );
            self.diagnostics
                .push(Diagnostic::warning("RC0209", word.span(), message));
            // An address that nothing is local to, so that the host stays
            // apart from those that answer everywhere.
            addresses.push(HostAddress {
                ip: Some(IpAddr::from([255, 255, 255, 255])),
                port,
            });
        }
        addresses.extend(
            resolved
                .into_iter()
                .map(|ip| HostAddress { ip: Some(ip), port }),
        );
    }

    fn section(&mut self, section: &SectionNode, name: &str, host: usize) {
        let Some(head) = self.head(section, name) else {
            return;
        };
        let context = if head.kind == SectionKind::Proxy {
            Context::PROXY
        } else {
            Context::DIRECTORY
        };
        let index = self.hosts[host].sections.len();
        let settings = self.builder.section_drafts();
        self.hosts[host]
            .sections
            .push(SectionDraft { head, settings });
        for item in &section.items {
            match item {
                Item::Directive(directive) => {
                    self.directive(directive, host, Some(index), context);
                }
                Item::Section(inner) => self.nested(inner, section),
            }
        }
    }

    fn nested(&mut self, inner: &SectionNode, outer: &SectionNode) {
        let name = inner.name.lossy().to_ascii_lowercase();
        if matches!(
            name.as_str(),
            "virtualhost"
                | "location"
                | "locationmatch"
                | "proxy"
                | "proxymatch"
                | "directory"
                | "directorymatch"
        ) {
            let message = format!(
                "<{}> cannot occur within <{}> section",
                inner.name.lossy(),
                outer.name.lossy()
            );
            self.error("RC0207", inner.span, message);
        } else {
            self.unknown(&inner.name, inner.span, true);
        }
    }

    fn head(&mut self, section: &SectionNode, name: &str) -> Option<SectionHead> {
        let kind = if name.starts_with("proxy") {
            SectionKind::Proxy
        } else {
            SectionKind::Location
        };
        let words = section.args.words();
        let regex =
            name.ends_with("match") || words.first().is_some_and(|word| word.bytes() == b"~");
        let skip = usize::from(!name.ends_with("match") && regex);
        let [argument] = words.get(skip..).unwrap_or_default() else {
            self.error(
                "RC0206",
                section.span,
                format!("<{}> takes one argument", section.name.lossy()),
            );
            return None;
        };
        let matcher = if regex {
            Matcher::Regex(self.regex(argument)?)
        } else if is_wildcard(argument.bytes()) {
            Matcher::Wildcard(argument.bytes().to_vec())
        } else {
            Matcher::Prefix(argument.bytes().to_vec())
        };
        Some(SectionHead {
            kind,
            matcher,
            argument: argument.clone(),
            span: section.span,
        })
    }

    fn regex(&mut self, argument: &Text) -> Option<Regex> {
        match Regex::new(argument.bytes(), RegexFlags::default()) {
            Ok(regex) => Some(regex),
            Err(error) => {
                let span = match &error {
                    RegexError::Syntax { offset, .. } => {
                        let at = (*offset).min(argument.len().saturating_sub(1));
                        argument.span_of(at..at + 1)
                    }
                    _ => argument.span(),
                };
                let message = match error {
                    RegexError::Syntax { message, .. } => message,
                    other => other.to_string(),
                };
                self.error(
                    "RC0206",
                    span,
                    format!("cannot compile regular expression: {message}"),
                );
                None
            }
        }
    }

    fn directive(
        &mut self,
        directive: &DirectiveNode,
        host: usize,
        section: Option<usize>,
        context: Context,
    ) {
        let (name, args, line) = (&directive.name, &directive.args, directive.span);
        let Some(&(module, row, allowed, proper)) =
            self.rows.get(&name.lossy().to_ascii_lowercase())
        else {
            self.unknown(name, line, false);
            return;
        };
        if !allowed.allows(context) {
            let place = match section.and_then(|index| self.hosts[host].sections.get(index)) {
                Some(section) if section.head.kind == SectionKind::Proxy => "<Proxy> context",
                Some(_) => "<Location> context",
                None if context == Context::VHOST => "<VirtualHost> context",
                None => "the server context",
            };
            let diagnostic = Diagnostic::error(
                "RC0202",
                name.span(),
                format!("{proper} not allowed in {place}"),
            )
            .with_help(format!("allowed in: {allowed}"));
            self.diagnostics.push(diagnostic);
            return;
        }
        let draft = &mut self.hosts[host];
        let (settings, head) = match section {
            Some(index) => {
                let section = &mut draft.sections[index];
                (&mut section.settings, Some(&section.head))
            }
            None => (&mut draft.base, None),
        };
        let place = Place {
            context,
            section: head,
            line,
            name,
            server_root: self.server_root,
        };
        let (host, section) = (&mut draft.host.0[module], &mut settings.0[module]);
        self.builder.modules[module].apply(row, host, section, place, args, self.diagnostics);
    }

    fn unknown(&mut self, name: &Text, line: Span, section: bool) {
        let bare = name.lossy();
        let shown = if section {
            format!("<{bare}>")
        } else {
            bare.to_string()
        };
        let key = if section {
            format!("<{bare}")
        } else {
            bare.to_string()
        };
        let diagnostic = match (self.builder.known)(&key) {
            Some(known) => known_diagnostic(&shown, name.span(), line, known),
            None => {
                let message = format!("Invalid command '{shown}': no module of httpd 2.4 has it");
                let diagnostic = Diagnostic::error("RC0205", name.span(), message);
                match relais_conf::value::did_you_mean(&key, self.builder.names.iter().copied()) {
                    Some(near) => {
                        let close = if near.starts_with('<') { ">" } else { "" };
                        diagnostic.with_help(format!("did you mean `{near}{close}`?"))
                    }
                    None => diagnostic,
                }
            }
        };
        self.diagnostics.push(diagnostic);
    }

    fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>) {
        self.diagnostics
            .push(Diagnostic::error(code, span, message));
    }
}

fn known_diagnostic(shown: &str, name: Span, line: Span, known: Known) -> Diagnostic {
    let because = if known.note.is_empty() {
        String::new()
    } else {
        format!(": {}", known.note)
    };
    match known.state {
        KnownState::Harmless => Diagnostic::note(
            "RC0203",
            line,
            format!("{shown} has no effect here{because}"),
        ),
        KnownState::NotYet => Diagnostic::error(
            "RC0204",
            name,
            format!("{shown} ({}) is not implemented yet", known.module),
        ),
        KnownState::Refused => Diagnostic::error(
            "RC0208",
            name,
            format!("{shown} ({}) is not supported{because}", known.module),
        ),
    }
}

/// `host[:port]`, `[v6][:port]`; a port of `*` is every port.
fn split_address(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (
                host,
                after
                    .strip_prefix(':')
                    .or_else(|| after.is_empty().then_some("*"))?,
            )
        }
        None => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => (text, "*"),
            Some((host, port)) => (host, port),
            None => (text, "*"),
        },
    };
    let port = match port {
        "*" => None,
        number => Some(number.parse().ok().filter(|&port| port != 0)?),
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_host_addresses() {
        type Address = (&'static str, Option<u16>);
        let table: &[(&str, Option<Address>)] = &[
            ("*:80", Some(("*", Some(80)))),
            ("*", Some(("*", None))),
            ("*:*", Some(("*", None))),
            ("_default_:443", Some(("_default_", Some(443)))),
            ("10.0.0.1:8080", Some(("10.0.0.1", Some(8080)))),
            ("[::1]:80", Some(("::1", Some(80)))),
            ("[::1]", Some(("::1", None))),
            ("::1", Some(("::1", None))),
            ("a.example:80", Some(("a.example", Some(80)))),
            ("*:0", None),
            ("*:http", None),
            (":80", None),
            ("[::1", None),
            ("[::1]x", None),
        ];
        for &(text, expected) in table {
            assert_eq!(split_address(text), expected, "{text}");
        }
    }
}
