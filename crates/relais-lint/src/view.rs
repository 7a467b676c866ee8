//! A configuration as the rules look at it: servers with their lines, and the routes among these taken apart.

use std::rc::Rc;

use relais_conf::{Diagnostic, Directive, Item, Section, Severity, Text, Tree};

/// A configuration.
pub(crate) struct View<'a> {
    /// The main server, then the virtual hosts in file order.
    pub(crate) servers: Vec<Server<'a>>,
    /// A file that belongs to it could not be read, so that nothing can be said about what is missing.
    pub(crate) incomplete: bool,
    /// Nobody listens: it is a file that a main file includes.
    is_part: bool,
}

/// The main server or a virtual host.
pub(crate) struct Server<'a> {
    /// `<VirtualHost …>`; `None` for the main server.
    pub(crate) section: Option<&'a Section>,
    /// All directives, those in sections among them, in file order.
    pub(crate) lines: Vec<Line<'a>>,
    /// `ProxyPass` and `ProxyPassMatch` that name a target.
    pub(crate) passes: Vec<Pass<'a>>,
    /// `RewriteRule`.
    pub(crate) rules: Vec<Rewrite<'a>>,
}

/// A directive.
#[derive(Clone)]
pub(crate) struct Line<'a> {
    pub(crate) directive: &'a Directive,
    /// The sections around it inside of its server, outermost first.
    pub(crate) sections: Rc<[&'a Section]>,
}

/// A `ProxyPass` or `ProxyPassMatch`.
pub(crate) struct Pass<'a> {
    pub(crate) line: Line<'a>,
    /// The path or pattern, of the line or of the section around it.
    pub(crate) path: Text,
    /// Whether `path` is a pattern.
    pub(crate) pattern: bool,
    /// The target, or `!`.
    pub(crate) target: Text,
    /// `key=value` and the like.
    pub(crate) options: Vec<Text>,
}

/// A `RewriteRule` with the conditions in front of it.
pub(crate) struct Rewrite<'a> {
    pub(crate) line: Line<'a>,
    pub(crate) pattern: Text,
    pub(crate) substitution: Text,
    /// The flags in lower case, without their values.
    pub(crate) flags: Vec<String>,
    pub(crate) conditions: Vec<Condition>,
}

/// A `RewriteCond`.
#[derive(Clone)]
pub(crate) struct Condition {
    /// The arguments.
    pub(crate) args: Text,
    pub(crate) test: Text,
    pub(crate) pattern: Text,
    /// The flags in lower case.
    pub(crate) flags: Vec<String>,
}

impl<'a> View<'a> {
    pub(crate) fn new(tree: &'a Tree, incomplete: bool) -> Self {
        let mut servers = vec![Server::empty(None)];
        gather(&tree.items, &mut servers, 0, &Rc::from([]));
        servers.iter_mut().for_each(Server::find_routes);
        let is_part = !servers[0].lines.iter().any(|line| line.is("Listen"));
        Self {
            servers,
            incomplete,
            is_part,
        }
    }

    /// What is said about something that is missing: a main file may have it.
    pub(crate) fn missing(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        if self.is_part {
            diagnostic.severity = Severity::Note;
            let help = diagnostic.help.unwrap_or_default();
            diagnostic.help = Some(format!("{help}, or the main file may say it"));
        }
        diagnostic
    }

    /// The virtual hosts, or the main server if there are none.
    pub(crate) fn hosts(&self) -> &[Server<'a>] {
        match self.servers.as_slice() {
            [_, hosts @ ..] if !hosts.is_empty() => hosts,
            all => all,
        }
    }

    /// The lines of a server, then those of the main server that hold for it too.
    pub(crate) fn in_force<'s>(
        &'s self,
        server: &'s Server<'a>,
    ) -> impl Iterator<Item = &'s Line<'a>> {
        let outer = self.servers.first().filter(|_| server.section.is_some());
        server
            .lines
            .iter()
            .chain(outer.into_iter().flat_map(|main| &main.lines))
    }

    /// All lines of all servers.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line<'a>> {
        self.servers.iter().flat_map(|server| &server.lines)
    }

    /// All passes of all servers.
    pub(crate) fn passes(&self) -> impl Iterator<Item = &Pass<'a>> {
        self.servers.iter().flat_map(|server| &server.passes)
    }

    /// All rules of all servers.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rewrite<'a>> {
        self.servers.iter().flat_map(|server| &server.rules)
    }
}

fn gather<'a>(
    items: &'a [Item],
    servers: &mut Vec<Server<'a>>,
    server: usize,
    sections: &Rc<[&'a Section]>,
) {
    for item in items {
        match item {
            Item::Directive(directive) => {
                let sections = Rc::clone(sections);
                servers[server].lines.push(Line {
                    directive,
                    sections,
                });
            }
            Item::Section(section) if section.name.eq_ignore_case("VirtualHost") => {
                servers.push(Server::empty(Some(section)));
                let inner = servers.len() - 1;
                gather(&section.items, servers, inner, &Rc::from([]));
            }
            Item::Section(section) => {
                let inner: Rc<[_]> = sections.iter().copied().chain([section]).collect();
                gather(&section.items, servers, server, &inner);
            }
        }
    }
}

impl<'a> Server<'a> {
    fn empty(section: Option<&'a Section>) -> Self {
        Self {
            section,
            lines: Vec::new(),
            passes: Vec::new(),
            rules: Vec::new(),
        }
    }

    /// The lines with a directive.
    pub(crate) fn named(&self, name: &'static str) -> impl Iterator<Item = &Line<'a>> {
        self.lines.iter().filter(move |line| line.is(name))
    }

    /// Whether an address of the virtual host has this port.
    pub(crate) fn has_port(&self, port: &str) -> bool {
        let Some(section) = self.section else {
            return false;
        };
        let has = |word: &Text| {
            word.lossy()
                .rsplit_once(':')
                .is_some_and(|(_, have)| have == port)
        };
        section.args.words().iter().any(has)
    }

    /// Whether something is proxied.
    pub(crate) fn proxies(&self) -> bool {
        self.targets().any(is_url)
    }

    /// All targets of passes and of rules with `[P]`.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Text> {
        let rules = self
            .rules
            .iter()
            .filter(|rule| rule.proxies())
            .map(|rule| &rule.substitution);
        self.passes.iter().map(|pass| &pass.target).chain(rules)
    }

    fn find_routes(&mut self) {
        let mut conditions: Vec<(Rc<[&'a Section]>, Condition)> = Vec::new();
        for line in &self.lines {
            if line.is("RewriteCond") {
                conditions
                    .extend(Condition::read(line).map(|found| (Rc::clone(&line.sections), found)));
            } else if line.is("RewriteRule") {
                // Conditions wait for the next rule of their own section.
                let (own, others) = conditions.drain(..).partition(|(at, _)| line.is_beside(at));
                conditions = others;
                let own: Vec<_> = own;
                self.rules.extend(Rewrite::read(
                    line,
                    own.into_iter().map(|(_, one)| one).collect(),
                ));
            } else if line.is("ProxyPass") || line.is("ProxyPassMatch") {
                self.passes.extend(Pass::read(line));
            }
        }
    }
}

impl<'a> Line<'a> {
    pub(crate) fn is(&self, name: &str) -> bool {
        let have = &self.directive.name;
        have.len() == name.len() && have.eq_ignore_case(name)
    }

    pub(crate) fn words(&self) -> Vec<Text> {
        self.directive.args.words()
    }

    /// Whether it is `NAME VALUE`, by its first word.
    pub(crate) fn says(&self, name: &str, value: &str) -> bool {
        self.is(name)
            && self
                .words()
                .first()
                .is_some_and(|word| word.eq_ignore_case(value))
    }

    /// The innermost section.
    pub(crate) fn section(&self) -> Option<&'a Section> {
        self.sections.last().copied()
    }

    /// Whether it stands directly in the same section as others.
    pub(crate) fn is_beside(&self, sections: &[&Section]) -> bool {
        self.sections.len() == sections.len()
            && self
                .sections
                .iter()
                .zip(sections)
                .all(|(a, b)| a.span == b.span)
    }
}

impl<'a> Pass<'a> {
    fn read(line: &Line<'a>) -> Option<Self> {
        let words = line.words();
        let section = line.section().filter(|section| {
            section.name.eq_ignore_case("Location") || section.name.eq_ignore_case("LocationMatch")
        });
        let (path, pattern, rest) = match (section, words.as_slice()) {
            (Some(section), [first, ..]) if first.bytes() == b"!" || is_url(first) => {
                let arguments = section.args.words();
                let regex = arguments.first().is_some_and(|word| word.bytes() == b"~");
                let path = arguments.last()?.clone();
                (
                    path,
                    regex || section.name.eq_ignore_case("LocationMatch"),
                    words.as_slice(),
                )
            }
            (_, [tilde, path, rest @ ..]) if tilde.bytes() == b"~" => (path.clone(), true, rest),
            (_, [path, rest @ ..]) => (path.clone(), line.is("ProxyPassMatch"), rest),
            _ => return None,
        };
        let (target, options) = rest.split_first()?;
        Some(Self {
            line: line.clone(),
            path,
            pattern,
            target: target.clone(),
            options: options.to_vec(),
        })
    }

    /// Whether it is in no section, so that its place among the others counts.
    pub(crate) fn is_listed(&self) -> bool {
        self.line.sections.is_empty()
    }

    pub(crate) fn is_exclusion(&self) -> bool {
        self.target.bytes() == b"!"
    }

    /// The value of a parameter.
    pub(crate) fn option(&self, key: &str) -> Option<String> {
        self.options.iter().find_map(|option| {
            let text = option.lossy().to_ascii_lowercase();
            let (have, value) = text.split_once('=')?;
            (have == key).then(|| value.to_owned())
        })
    }

    /// Whether WebSockets may go this way.
    pub(crate) fn carries_websockets(&self) -> bool {
        is_websocket(&self.target)
            || self
                .option("upgrade")
                .is_some_and(|value| !value.eq_ignore_ascii_case("none"))
    }
}

impl<'a> Rewrite<'a> {
    fn read(line: &Line<'a>, conditions: Vec<Condition>) -> Option<Self> {
        let args = &line.directive.args;
        let found = relais_rewrite::split(args.bytes(), "a pattern and a substitution").ok()?;
        Some(Self {
            line: line.clone(),
            pattern: args.slice(found.first),
            substitution: args.slice(found.second),
            flags: found
                .flags
                .map(|range| flags(&args.slice(range)))
                .unwrap_or_default(),
            conditions,
        })
    }

    pub(crate) fn has(&self, short: &str, long: &str) -> bool {
        self.flags.iter().any(|flag| flag == short || flag == long)
    }

    pub(crate) fn proxies(&self) -> bool {
        self.has("p", "proxy")
    }
}

impl Condition {
    fn read(line: &Line<'_>) -> Option<Self> {
        let args = &line.directive.args;
        let found = relais_rewrite::split(args.bytes(), "a test string and a pattern").ok()?;
        Some(Self {
            args: args.clone(),
            test: args.slice(found.first),
            pattern: args.slice(found.second),
            flags: found
                .flags
                .map(|range| flags(&args.slice(range)))
                .unwrap_or_default(),
        })
    }

    /// Whether its test string names a variable.
    pub(crate) fn tests(&self, variable: &str) -> bool {
        self.test
            .lossy()
            .to_ascii_lowercase()
            .contains(&variable.to_ascii_lowercase())
    }

    pub(crate) fn ignores_case(&self) -> bool {
        self.flags
            .iter()
            .any(|flag| flag == "nc" || flag == "nocase")
    }
}

fn flags(text: &Text) -> Vec<String> {
    let name = |flag: &str| {
        flag.split('=')
            .next()
            .unwrap_or("")
            .trim()
            .to_ascii_lowercase()
    };
    text.lossy().split(',').map(name).collect()
}

/// Whether a word is a URL of any scheme.
pub(crate) fn is_url(word: &Text) -> bool {
    word.bytes().windows(3).any(|part| part == b"://") || word.bytes().starts_with(b"unix:")
}

/// Whether a URL has one of these schemes, each with its `://`.
pub(crate) fn has_scheme(word: &Text, schemes: &[&str]) -> bool {
    let text = word.lossy();
    schemes.iter().any(|scheme| {
        text.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// Whether a URL is for WebSockets.
pub(crate) fn is_websocket(word: &Text) -> bool {
    has_scheme(word, &["ws://", "wss://"])
}

/// Where the path of a URL starts: behind its authority, which ends at a slash or at what is put in.
pub(crate) fn authority_end(text: &str) -> Option<usize> {
    let start = text.find("://")? + 3;
    let rest = text.get(start..)?;
    Some(start + rest.find(['/', '$', '%', '?']).unwrap_or(rest.len()))
}

/// The number of capturing groups of a pattern.
pub(crate) fn groups(pattern: &str) -> usize {
    let bytes = pattern.as_bytes();
    let (mut at, mut count, mut class) = (0, 0, false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' if !class => {
                class = true;
                // A bracket right behind the opening one is a member.
                at += usize::from(bytes.get(at + 1) == Some(&b'^'));
                at += usize::from(bytes.get(at + 1) == Some(&b']'));
            }
            b']' => class = false,
            b'(' if !class => {
                let rest = bytes.get(at + 1..).unwrap_or_default();
                let named = rest.starts_with(b"?P<")
                    || rest.starts_with(b"?'")
                    || (rest.starts_with(b"?<") && !matches!(rest.get(2), Some(b'=' | b'!')));
                let verb = rest.starts_with(b"?") || rest.starts_with(b"*");
                count += usize::from(named || !verb);
            }
            _ => {}
        }
        at += 1;
    }
    count
}

/// Whether a pattern matches every path of a server.
pub(crate) fn matches_all(pattern: &str) -> bool {
    const ALL: [&str; 18] = [
        "", "^", "/", "^/", ".*", "^.*", "^.*$", ".*$", "(.*)", "^(.*)", "^(.*)$", "(.*)$",
        "/(.*)", "^/(.*)", "^/(.*)$", "/(.*)$", "^/?(.*)", "^/?(.*)$",
    ];
    ALL.contains(&pattern) || matches!(pattern, "/.*" | "^/.*" | "^/.*$" | "." | "^.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capturing_groups() {
        let table: &[(&str, usize)] = &[
            ("^/a", 0),
            ("^/(.*)$", 1),
            ("(a)(?:b)(c)", 2),
            (r"\((a)", 1),
            ("[(](a)", 1),
            ("[]()](a)", 1),
            ("[^]()](a)", 1),
            ("(?<n>a)(?'m'b)(?P<o>c)", 3),
            ("(?<=a)(?<!b)(?=c)(?!d)(*MARK:x)", 0),
            ("((a)b)", 2),
        ];
        for &(pattern, expected) in table {
            assert_eq!(groups(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn authorities() {
        let table: &[(&str, Option<usize>)] = &[
            ("http://h/x", Some(8)),
            ("http://h:80$1", Some(11)),
            ("ws://h", Some(6)),
            ("/x", None),
        ];
        for &(url, expected) in table {
            assert_eq!(authority_end(url), expected, "{url}");
        }
    }
}
