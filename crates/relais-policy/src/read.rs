//! From the tree to drafts: every directive finds its row and every section
//! its place, and all that is wrong is reported in one pass.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use relais_conf::{
    Diagnostic, Diagnostics, Directive as DirectiveNode, Item, Section as SectionNode, Span, Text,
};
use relais_expr::{Expression, Regex, RegexError, RegexFlags};

use crate::build::{Builder, Known, KnownState};
use crate::directive::{Context, Place};
use crate::module::{AnyModule, Drafts};
use crate::section::{Condition, Limit, Matcher, SectionHead, SectionKind, is_wildcard};
use crate::site::{HostAddress, HostDraft, SectionDraft};

/// Where a directive's row is.
struct Row {
    module: usize,
    row: usize,
    context: Context,
    name: &'static str,
}

/// Lower-case name to row; a module's own section has `<` in front.
type Rows = HashMap<String, Row>;

fn rows(modules: &[&dyn AnyModule]) -> Rows {
    let mut rows = HashMap::new();
    for (module, rest) in modules.iter().enumerate() {
        for (row, info) in rest.directives().into_iter().enumerate() {
            let key = info.name.trim_end_matches('>').to_ascii_lowercase();
            let row = Row {
                module,
                row,
                context: info.context,
                name: info.name,
            };
            rows.insert(key, row);
        }
    }
    rows
}

/// Reads a tree into drafts, the main server first.
pub(crate) fn read(
    builder: &Builder<'_>,
    items: &[Item],
    server_root: &Path,
    diagnostics: &mut Diagnostics,
) -> Vec<HostDraft> {
    let mut reader = Reader {
        builder,
        rows: rows(builder.modules),
        server_root,
        virtual_hosts: Vec::new(),
        allows: None,
        diagnostics,
    };
    let mut main = builder.host_draft(Vec::new(), None);
    reader.host_items(items, &mut main, Context::SERVER);
    let mut hosts = vec![main];
    hosts.append(&mut reader.virtual_hosts);
    hosts
}

/// Says whether a directive or section, by its name in httpd's spelling, may
/// stand in a folder's file with these arguments.
pub type Allows<'a> = &'a dyn Fn(&str, &Text) -> bool;

/// Reads what stands in a file of a folder (`.htaccess`) as a section for it.
pub(crate) fn read_fragment(
    builder: &Builder<'_>,
    items: &[Item],
    server_root: &Path,
    head: SectionHead,
    allows: Allows<'_>,
    diagnostics: &mut Diagnostics,
) -> SectionDraft {
    let mut reader = Reader {
        builder,
        rows: rows(builder.modules),
        server_root,
        virtual_hosts: Vec::new(),
        allows: Some(allows),
        diagnostics,
    };
    // What belongs to a host is not for a folder to say.
    let mut host = Drafts::default();
    let mut draft = SectionDraft {
        head,
        settings: Drafts::default(),
        inner: Vec::new(),
    };
    let mut level = Level {
        context: Context::DIRECTORY,
        host: &mut host,
        section: &mut draft.settings,
        inner: &mut draft.inner,
        head: Some(&draft.head),
        limit: None,
    };
    reader.items(items, &mut level);
    draft
}

struct Reader<'a, 'b> {
    builder: &'a Builder<'b>,
    rows: Rows,
    server_root: &'a Path,
    virtual_hosts: Vec<HostDraft>,
    /// What may stand in the file of a folder, if this is one.
    allows: Option<Allows<'a>>,
    diagnostics: &'a mut Diagnostics,
}

/// The drafts that directives of one place go to.
struct Level<'d> {
    context: Context,
    host: &'d mut Drafts,
    section: &'d mut Drafts,
    /// Where sections inside of this place go.
    inner: &'d mut Vec<SectionDraft>,
    head: Option<&'d SectionHead>,
    limit: Option<&'d Limit>,
}

impl Level<'_> {
    fn reborrow(&mut self) -> Level<'_> {
        Level {
            context: self.context,
            host: self.host,
            section: self.section,
            inner: self.inner,
            head: self.head,
            limit: self.limit,
        }
    }

    /// What messages call this place.
    fn name(&self) -> &'static str {
        match (self.limit, self.head.map(|head| head.kind)) {
            (Some(_), _) => "<Limit> context",
            (None, Some(kind)) => kind.context_name(),
            (None, None) if self.context == Context::VHOST => "<VirtualHost> context",
            (None, None) => "the server context",
        }
    }
}

impl<'a> Reader<'a, '_> {
    fn host_items(&mut self, items: &[Item], draft: &mut HostDraft, context: Context) {
        let mut level = Level {
            context,
            host: &mut draft.host,
            section: &mut draft.base,
            inner: &mut draft.sections,
            head: None,
            limit: None,
        };
        self.items(items, &mut level);
    }

    fn items(&mut self, items: &[Item], level: &mut Level<'_>) {
        for item in items {
            match item {
                Item::Directive(directive) => {
                    self.directive(directive, level);
                }
                Item::Section(section) => self.section(section, level),
            }
        }
    }

    fn section(&mut self, node: &SectionNode, level: &mut Level<'_>) {
        let name = node.name.lossy().to_ascii_lowercase();
        if self.forbids(&format!("<{}", node.name.lossy()), &node.name, &node.args) {
            return;
        }
        match name.as_str() {
            "virtualhost" => self.virtual_host(node, level),
            "limit" | "limitexcept" => self.limit(node, level, name == "limitexcept"),
            _ => match SectionKind::named(&name) {
                Some(kind) => self.settings_section(node, kind, &name, level),
                None => self.block(node, &name, level),
            },
        }
    }

    fn virtual_host(&mut self, node: &SectionNode, level: &Level<'_>) {
        if level.context != Context::SERVER || level.limit.is_some() {
            let outer = match level.head {
                Some(head) => head.kind.name(),
                None => "<VirtualHost>",
            };
            self.misplaced(node, outer);
            return;
        }
        let words = node.args.words();
        if words.is_empty() {
            self.error(
                "RC0206",
                node.span,
                "<VirtualHost> needs at least one address",
            );
        }
        let mut addresses = Vec::new();
        for word in &words {
            self.address(word, &mut addresses);
        }
        let mut draft = self.builder.host_draft(addresses, Some(node.span));
        self.host_items(&node.items, &mut draft, Context::VHOST);
        self.virtual_hosts.push(draft);
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
            addresses.push(HostAddress {
                ip: None,
                port,
                name: None,
            });
            return;
        }
        let name = Some(Box::from(host.to_ascii_lowercase()));
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
                name: name.clone(),
            });
        }
        addresses.extend(resolved.into_iter().map(|ip| HostAddress {
            ip: Some(ip),
            port,
            name: name.clone(),
        }));
    }

    /// `<Limit>` and `<LimitExcept>`: what is inside belongs to the place
    /// around it, for these methods (core.html#limit).
    fn limit(&mut self, node: &SectionNode, level: &mut Level<'_>, inverted: bool) {
        if level.limit.is_some() {
            self.misplaced(node, "<Limit>");
            return;
        }
        let words = node.args.words();
        if words.is_empty() {
            let message = format!("<{}> needs at least one method", node.name.lossy());
            self.error("RC0206", node.span, message);
        }
        for word in &words {
            if word.bytes().eq_ignore_ascii_case(b"TRACE") {
                self.error(
                    "RC0206",
                    word.span(),
                    "TRACE cannot be controlled by <Limit>, see TraceEnable",
                );
            }
        }
        let limit = Limit {
            methods: words.iter().map(|word| word.bytes().to_vec()).collect(),
            inverted,
        };
        let mut inner = level.reborrow();
        inner.limit = Some(&limit);
        self.items(&node.items, &mut inner);
    }

    /// A section that holds settings of its own.
    fn settings_section(
        &mut self,
        node: &SectionNode,
        kind: SectionKind,
        name: &str,
        level: &mut Level<'_>,
    ) {
        if let Some(outer) = Self::refuses(level, kind) {
            self.misplaced(node, outer);
            return;
        }
        let parameters = match (name, node.args.split_word()) {
            ("proxy", Some((url, rest))) if url.bytes() != b"~" && !rest.is_empty() => Some(rest),
            _ => None,
        };
        let head = match kind {
            SectionKind::If => self.conditional_head(node, name, level.inner),
            _ => self.head(node, kind, name, parameters.as_ref()),
        };
        let Some(head) = head else { return };
        let mut draft = SectionDraft {
            head,
            settings: Drafts::default(),
            inner: Vec::new(),
        };
        let context = match kind {
            SectionKind::Proxy => Context::PROXY,
            _ => Context::DIRECTORY,
        };
        let mut inside = Level {
            context,
            host: level.host,
            section: &mut draft.settings,
            inner: &mut draft.inner,
            head: Some(&draft.head),
            limit: None,
        };
        if let Some(args) = parameters {
            let directive = DirectiveNode {
                name: Text::new(node.span, self.builder.proxy_parameters),
                args,
                span: node.span,
            };
            self.directive(&directive, &mut inside);
        }
        self.items(&node.items, &mut inside);
        level.inner.push(draft);
    }

    /// The name of the section around, if it may not hold one of this kind:
    /// `<If>` may stand in all, `<Files>` not in `<Location>`, the others
    /// nowhere.
    fn refuses(level: &Level<'_>, kind: SectionKind) -> Option<&'static str> {
        if level.limit.is_some() {
            return Some("<Limit>");
        }
        let outer = level.head?.kind;
        let allowed = match kind {
            SectionKind::If => true,
            SectionKind::Files => outer != SectionKind::Location,
            _ => false,
        };
        (!allowed).then(|| outer.name())
    }

    /// A section that belongs to a module, like `<RequireAll>`.
    fn block(&mut self, node: &SectionNode, name: &str, level: &mut Level<'_>) {
        let key = format!("<{name}");
        let Some(row) = self.rows.get(&key) else {
            self.unknown(&node.name, node.span, true);
            return;
        };
        let (module, index) = (row.module, row.row);
        if !self.check_context(&key, &node.name, level) {
            return;
        }
        let place = self.place(level, node.span, &node.name);
        let module_ref = self.builder.modules[module];
        let of = self.builder.modules[module];
        let host = level.host.of(module, || of.draft_host());
        let section = level.section.of(module, || of.draft_section());
        let opened = module_ref.apply(index, host, section, place, &node.args, self.diagnostics);
        self.items(&node.items, level);
        if opened {
            let place = self.place(level, node.span, &node.name);
            let of = self.builder.modules[module];
            let host = level.host.of(module, || of.draft_host());
            let section = level.section.of(module, || of.draft_section());
            module_ref.close(index, host, section, place, self.diagnostics);
        }
    }

    /// The opening line of `<If>`, `<ElseIf>` or `<Else>`; `before` are the
    /// sections in front of it in the same place.
    fn conditional_head(
        &mut self,
        node: &SectionNode,
        name: &str,
        before: &[SectionDraft],
    ) -> Option<SectionHead> {
        let words = node.args.words();
        let matcher = match (name, words.as_slice()) {
            ("else", []) => Condition::Else,
            ("else", [word, ..]) => {
                self.error("RC0206", word.span(), "<Else> does not take an argument");
                return None;
            }
            (_, [expression]) => {
                let parsed = Arc::new(self.expression(expression)?);
                match name {
                    "if" => Condition::If(parsed),
                    _ => Condition::ElseIf(parsed),
                }
            }
            _ => {
                let message = format!(
                    "<{}> takes one argument, an expression in quotes",
                    node.name.lossy()
                );
                self.error("RC0206", node.span, message);
                return None;
            }
        };
        if !matches!(matcher, Condition::If(_)) && !ends_with_alternative(before) {
            self.error(
                "RC0207",
                node.span,
                "<Else> or <ElseIf> section without previous <If> or <ElseIf> section in same scope",
            );
            return None;
        }
        Some(SectionHead {
            kind: SectionKind::If,
            matcher: Matcher::Condition(matcher),
            argument: words.first().unwrap_or(&node.args).clone(),
            span: node.span,
        })
    }

    fn expression(&mut self, text: &Text) -> Option<Expression> {
        match Expression::parse(text.bytes()) {
            Ok(expression) => Some(expression),
            Err(error) => {
                let message = format!("cannot parse the condition: {}", error.message);
                self.error("RC0206", text.span_of(error.range), message);
                None
            }
        }
    }

    /// The opening line of any other section; `parameters` is what may stand
    /// behind a <Proxy>'s URL (`proxysection` in mod_proxy.c).
    fn head(
        &mut self,
        node: &SectionNode,
        kind: SectionKind,
        name: &str,
        parameters: Option<&Text>,
    ) -> Option<SectionHead> {
        let mut words = node.args.words();
        if let (Some(parameters), Some(url)) = (parameters, words.first()) {
            if is_wildcard(url.bytes()) || !url.bytes().contains(&b':') {
                let message = "parameters are for a <Proxy> that names one URL";
                self.error("RC0206", parameters.span(), message);
                return None;
            }
            words.truncate(1);
        }
        let regex =
            name.ends_with("match") || words.first().is_some_and(|word| word.bytes() == b"~");
        let skip = usize::from(!name.ends_with("match") && regex);
        let [argument] = words.get(skip..).unwrap_or_default() else {
            self.error(
                "RC0206",
                node.span,
                format!("<{}> takes one argument", node.name.lossy()),
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
            span: node.span,
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

    fn directive(&mut self, directive: &DirectiveNode, level: &mut Level<'_>) {
        let (name, args, line) = (&directive.name, &directive.args, directive.span);
        let key = name.lossy().to_ascii_lowercase();
        let Some(row) = self.rows.get(&key) else {
            self.unknown(name, line, false);
            return;
        };
        let (module, index, proper) = (row.module, row.row, row.name);
        if !self.check_context(&key, name, level) || self.forbids(proper, name, args) {
            return;
        }
        let place = self.place(level, line, name);
        let of = self.builder.modules[module];
        let host = level.host.of(module, || of.draft_host());
        let section = level.section.of(module, || of.draft_section());
        self.builder.modules[module].apply(index, host, section, place, args, self.diagnostics);
    }

    fn place<'p>(&self, level: &Level<'p>, line: Span, name: &'p Text) -> Place<'p>
    where
        'a: 'p,
    {
        Place {
            context: level.context,
            section: level.head,
            limit: level.limit,
            line,
            name,
            server_root: self.server_root,
            files: self.builder.files,
        }
    }

    /// Whether the row of this key may stand here; an error says so if not.
    fn check_context(&mut self, key: &str, name: &Text, level: &Level<'_>) -> bool {
        let Some(row) = self.rows.get(key) else {
            return false;
        };
        let (allowed, proper) = (row.context, row.name);
        if allowed.allows(level.context) {
            return true;
        }
        let message = format!("{proper} not allowed in {}", level.name());
        let diagnostic = Diagnostic::error("RC0202", name.span(), message)
            .with_help(format!("allowed in: {allowed}"));
        self.diagnostics.push(diagnostic);
        false
    }

    /// Whether the file of a folder may not say this; an error tells so.
    fn forbids(&mut self, proper: &str, name: &Text, args: &Text) -> bool {
        let forbidden = self.allows.is_some_and(|allows| !allows(proper, args));
        if forbidden {
            let message = format!("{} not allowed here", name.lossy());
            let diagnostic = Diagnostic::error("RC0202", name.span(), message)
                .with_help("AllowOverride says what may stand in the file of a folder");
            self.diagnostics.push(diagnostic);
        }
        forbidden
    }

    fn misplaced(&mut self, node: &SectionNode, outer: &str) {
        let message = format!(
            "<{}> cannot occur within {outer} section",
            node.name.lossy()
        );
        self.error("RC0207", node.span, message);
    }

    fn unknown(&mut self, name: &Text, line: Span, section: bool) {
        let bare = name.lossy();
        let (shown, key) = if section {
            (format!("<{bare}>"), format!("<{bare}"))
        } else {
            (bare.to_string(), bare.to_string())
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

/// Whether the last conditional section of a place may have an alternative.
fn ends_with_alternative(sections: &[SectionDraft]) -> bool {
    let mut conditions = sections
        .iter()
        .rev()
        .filter_map(|section| match &section.head.matcher {
            Matcher::Condition(condition) => Some(condition),
            _ => None,
        });
    conditions
        .next()
        .is_some_and(|last| !matches!(last, Condition::Else))
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
