//! mod_alias: redirects by path, and folders outside of the document root.
//!
//! Redirects of a server are tried when the path is mapped, behind rewriting
//! and `ProxyPass`, and aliases behind them; redirects of a section among the
//! fixups, where they win over both (mod_alias.html).

use std::sync::Arc;

use relais_conf::Text;
use relais_expr::{Groups, Regex, RegexFlags, State, StringExpression, substitute};
use relais_policy::{
    Context, Decision, Directive, Exchange, Flow, Module, Problem, Respond, Set, SetResult, Slot,
};

use crate::files::climbs;
use crate::mod_proxy::covered;
use crate::{own_url, values};

/// mod_alias.
pub struct Alias;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    redirects: Vec<Arc<Redirect>>,
    aliases: Vec<Arc<Place>>,
}

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    redirects: Vec<Arc<Redirect>>,
    relative: Option<bool>,
    alias: Option<Arc<Place>>,
}

/// An alias: paths and where their files are.
#[derive(Debug)]
struct Place {
    paths: Paths,
    /// Absolute; with `$1` and the like behind a pattern.
    file: Box<[u8]>,
}

#[derive(Debug)]
struct Redirect {
    paths: Paths,
    status: u16,
    /// Empty where the status is no redirect.
    url: Box<[u8]>,
}

#[derive(Debug)]
enum Paths {
    /// A path and all below it; what is below goes behind the URL.
    Below(Box<[u8]>),
    Match(Regex),
    /// All of the section; nothing goes behind the URL, which is a text with
    /// variables where there is one.
    Section(Option<StringExpression>),
}

impl Module for Alias {
    const NAME: &'static str = "mod_alias";
    const IDENTIFIER: &'static str = "alias_module";
    type Host = Host;
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "Alias",
            syntax: "Alias [URL-path] file-path|directory-path",
            context: Context::HOST.or(Context::DIRECTORY),
            default: None,
            doc: "Serves a path and what is below it from a file or folder outside of DocumentRoot.",
            accepts: &[
                "Alias /icons/ /usr/share/icons/",
                "Alias /one.txt files/one.txt",
            ],
            refuses: &["Alias", "Alias /icons", "Alias /a /b /c"],
            set: Set::Words(|slot, words| alias(slot, words, false)),
        },
        Directive {
            name: "AliasMatch",
            syntax: "AliasMatch regex file-path|directory-path",
            context: Context::HOST,
            default: None,
            doc: "Serves paths that match from files whose names `$0` to `$9` are put into.",
            accepts: &["AliasMatch ^/icons/(.*\\.png)$ /usr/share/icons/$1"],
            refuses: &["AliasMatch", "AliasMatch ^/x", "AliasMatch ( /x"],
            set: Set::Words(|slot, words| alias(slot, words, true)),
        },
        Directive {
            name: "Redirect",
            syntax: "Redirect [status] [URL-path] URL",
            context: Context::ANY,
            default: None,
            doc: "Redirects a path and what is below it, or answers it with a status.",
            accepts: &[
                "Redirect /a http://o.example/b",
                "Redirect permanent /a /b",
                "Redirect 307 /a https://o.example/",
                "Redirect gone /a",
                "Redirect 403 /a",
            ],
            refuses: &[
                "Redirect",
                "Redirect /a",
                "Redirect /a b",
                "Redirect gone /a http://o.example/",
                "Redirect 99 /a",
                "Redirect sometimes /a http://o.example/",
                "Redirect 301 /a /b /c",
            ],
            set: Set::Words(|slot, words| any(slot, words, false)),
        },
        Directive {
            name: "RedirectMatch",
            syntax: "RedirectMatch [status] regex URL",
            context: Context::ANY,
            default: None,
            doc: "Redirects paths that match; `$0` to `$9` in the URL are groups.",
            accepts: &[
                "RedirectMatch (.*)\\.gif$ http://o.example$1.jpg",
                "RedirectMatch 410 ^/gone/",
            ],
            refuses: &[
                "RedirectMatch ( http://o.example/",
                "RedirectMatch ^/x",
                "RedirectMatch 301 ^/x",
            ],
            set: Set::Words(|slot, words| any(slot, words, true)),
        },
        Directive {
            name: "RedirectPermanent",
            syntax: "RedirectPermanent URL-path URL",
            context: Context::ANY,
            default: None,
            doc: "Redirects a path and what is below it with 301.",
            accepts: &["RedirectPermanent /a http://o.example/b"],
            refuses: &[
                "RedirectPermanent",
                "RedirectPermanent /a",
                "RedirectPermanent 301 /a /b",
            ],
            set: Set::Words(|slot, words| fixed(slot, words, 301)),
        },
        Directive {
            name: "RedirectTemp",
            syntax: "RedirectTemp URL-path URL",
            context: Context::ANY,
            default: None,
            doc: "Redirects a path and what is below it with 302.",
            accepts: &["RedirectTemp /a http://o.example/b"],
            refuses: &["RedirectTemp", "RedirectTemp /a"],
            set: Set::Words(|slot, words| fixed(slot, words, 302)),
        },
        Directive {
            name: "RedirectRelative",
            syntax: "RedirectRelative On|Off",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Whether a redirect to a path of this server says only the path.",
            accepts: &["RedirectRelative On"],
            refuses: &["RedirectRelative", "RedirectRelative x"],
            set: Set::Flag(|slot, on| {
                slot.section.relative = Some(on);
                Ok(())
            }),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        let redirects = inner.redirects.iter().chain(&outer.redirects);
        let aliases = inner.aliases.iter().chain(&outer.aliases);
        Host {
            redirects: redirects.cloned().collect(),
            aliases: aliases.cloned().collect(),
        }
    }

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        let inner_first = inner.redirects.iter().chain(&outer.redirects);
        Section {
            redirects: inner_first.cloned().collect(),
            relative: inner.relative.or(outer.relative),
            alias: inner.alias.clone().or_else(|| outer.alias.clone()),
        }
    }
}

/// `Redirect` and `RedirectMatch`, whose first word may be a status
/// (`add_redirect_internal`).
fn any(slot: &mut Slot<'_, Alias>, words: &[Text], regex: bool) -> SetResult {
    match words {
        [first, rest @ ..] => match status(first) {
            Some(Ok(code)) => add(slot, code, rest, regex),
            Some(Err(problem)) => Err(problem),
            None if rest.len() > 1 => {
                let message = "invalid first argument (of three)";
                Err(Problem::at(first.span(), message))
            }
            None => add(slot, 302, words, regex),
        },
        [] => Err(Problem::new("a redirect needs a path and a URL")),
    }
}

fn fixed(slot: &mut Slot<'_, Alias>, words: &[Text], status: u16) -> SetResult {
    add(slot, status, words, false)
}

/// A status by name or number; `None` for a word that is neither.
fn status(word: &Text) -> Option<Result<u16, Problem>> {
    const NAMES: [(&str, u16); 4] = [
        ("permanent", 301),
        ("temp", 302),
        ("seeother", 303),
        ("gone", 410),
    ];
    if let Some((_, code)) = NAMES.iter().find(|(name, _)| word.eq_ignore_case(name)) {
        return Some(Ok(*code));
    }
    let digit = word.bytes().first().is_some_and(u8::is_ascii_digit);
    digit.then(|| {
        values::number(word, "the status of a redirect", 300..=599).map(|code| code as u16)
    })
}

fn add(slot: &mut Slot<'_, Alias>, status: u16, words: &[Text], regex: bool) -> SetResult {
    let redirects = (300..400).contains(&status);
    let in_section = slot.place.section.is_some();
    let (paths, url) = match (words, redirects) {
        ([path, url], true) => (Some(path), Some(url)),
        ([url], true) if in_section && !regex => (None, Some(url)),
        ([path], false) => (Some(path), None),
        ([], false) if in_section => (None, None),
        ([_, extra, ..], false) => {
            let message = format!("a URL has no place with status {status}");
            return Err(Problem::at(extra.span(), message));
        }
        ([_, _, extra, ..], true) => return Err(Problem::at(extra.span(), "too many arguments")),
        _ => return Err(Problem::new("a redirect needs a path and a URL")),
    };
    let made = |url: &Text| paths.is_none() && url.bytes().starts_with(b"%{");
    if let Some(url) = url.filter(|url| !is_url(url.bytes()) && !made(url)) {
        let message = format!("Redirect to non-URL `{}`", url.lossy());
        return Err(Problem::at(url.span(), message));
    }
    let paths = match paths {
        Some(pattern) if regex => Paths::Match(values::regex(pattern, RegexFlags::default())?),
        Some(path) => Paths::Below(path.bytes().into()),
        None => Paths::Section(url.map(|url| values::text(url, 0)).transpose()?),
    };
    let url = url.map(|url| url.bytes().into()).unwrap_or_default();
    let redirect = Arc::new(Redirect { paths, status, url });
    match in_section {
        true => {
            // A section has one redirect without a path of its own, the last.
            let redirects = &mut slot.section.redirects;
            if matches!(redirect.paths, Paths::Section(_)) {
                redirects.retain(|other| !matches!(other.paths, Paths::Section(_)));
            }
            redirects.push(redirect);
        }
        false => slot.host.redirects.push(redirect),
    }
    Ok(())
}

fn alias(slot: &mut Slot<'_, Alias>, words: &[Text], regex: bool) -> SetResult {
    let (paths, file) = match (slot.place.section, words) {
        (None, [pattern, file]) if regex => {
            let pattern = values::regex(pattern, RegexFlags::default())?;
            (Paths::Match(pattern), file)
        }
        (None, [path, file]) => (Paths::Below(path.bytes().into()), file),
        (Some(_), [file]) => (Paths::Section(None), file),
        (Some(_), [_, extra, ..]) => {
            let message = "inside of a section, Alias takes only the file";
            return Err(Problem::at(extra.span(), message));
        }
        _ => return Err(Problem::new("an alias needs a path and a file")),
    };
    let file = slot.place.path(file).into_os_string().into_encoded_bytes();
    let place = Arc::new(Place {
        paths,
        file: file.into(),
    });
    match slot.place.section {
        Some(_) => slot.section.alias = Some(place),
        None => slot.host.aliases.push(place),
    }
    Ok(())
}

/// A path of ours, or something with a scheme.
fn is_url(url: &[u8]) -> bool {
    let scheme = url
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    url.first() == Some(&b'/') || url.get(scheme.count()) == Some(&b':')
}

/// httpd: mod_alias' translate_name, for what stands in a server.
pub(crate) fn translate(exchange: &mut Exchange<'_>) -> Flow {
    // What a section says without a path goes before what the server says.
    match fixup(exchange) {
        Flow::Declined => {}
        decided => return decided,
    }
    let host: &Host = exchange.host_settings();
    match redirect(exchange, &host.redirects) {
        Flow::Declined => {}
        decided => return decided,
    }
    let own = exchange.section_settings::<Section>().alias.clone();
    let mut places = own.iter().chain(&host.aliases);
    let found = places.find_map(|place| Some((place, place.file(exchange)?)));
    let Some((place, file)) = found else {
        return Flow::Declined;
    };
    if climbs(&file) {
        let why = "the name of an alias's file climbs";
        return Flow::Decide(Decision::Respond(Respond::logged(403, why)));
    }
    exchange.alias = match &place.paths {
        Paths::Below(prefix) => Some((place.file.to_vec(), prefix.to_vec())),
        _ => None,
    };
    exchange.file = Some(file);
    Flow::Done
}

/// httpd: mod_alias' fixups, for what stands in a section.
pub(crate) fn fixup(exchange: &mut Exchange<'_>) -> Flow {
    let section = Arc::clone(&exchange.section);
    redirect(exchange, &section.get::<Section>().redirects)
}

fn redirect(exchange: &Exchange<'_>, redirects: &[Arc<Redirect>]) -> Flow {
    if exchange.path.first() != Some(&b'/') {
        return Flow::Declined;
    }
    let found = redirects
        .iter()
        .find_map(|redirect| Some((redirect.status, redirect.target(exchange)?)));
    let Some((status, mut target)) = found else {
        return Flow::Declined;
    };
    if !(300..400).contains(&status) {
        return Flow::Decide(Decision::Respond(Respond::status(status)));
    }
    let relative = exchange.section_settings::<Section>().relative;
    if target.first() == Some(&b'/') && !relative.unwrap_or(false) {
        target = own_url::absolute(exchange, &target);
    }
    if let Some(query) = exchange.query.as_ref().filter(|_| !target.contains(&b'?')) {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    if target.iter().any(u8::is_ascii_control) {
        let why = "AH02430: the target of a redirect contains invalid characters";
        return Flow::Decide(Decision::Respond(Respond::logged(500, why)));
    }
    Flow::Decide(Decision::Redirect {
        status,
        location: target,
    })
}

impl Place {
    /// The file of a path; `None` if it is another's.
    fn file(&self, exchange: &Exchange<'_>) -> Option<Vec<u8>> {
        let path = exchange.path.as_slice();
        match &self.paths {
            Paths::Section(_) => Some(self.file.to_vec()),
            Paths::Below(prefix) => {
                let rest = path.get(covered(prefix, path)?..)?;
                Some([&self.file, rest].concat())
            }
            Paths::Match(regex) => {
                let captures = exchange.captures(regex, path, &"AliasMatch")?;
                let mut file = Vec::new();
                substitute(&self.file, &Groups::new(path, captures), &mut file);
                Some(file)
            }
        }
    }
}

impl Redirect {
    /// Where a path is sent; `None` if it is another's.
    fn target(&self, exchange: &Exchange<'_>) -> Option<Vec<u8>> {
        let path = exchange.path.as_slice();
        match &self.paths {
            Paths::Section(text) => {
                let mut url = Vec::new();
                if let Some(text) = text {
                    text.eval(exchange, &mut State::default(), &mut url);
                }
                let query = url
                    .iter()
                    .position(|&byte| byte == b'?')
                    .unwrap_or(url.len());
                let mut escaped = Vec::with_capacity(url.len());
                escape_but(&url[..query], b"#[]", &mut escaped);
                escaped.extend_from_slice(&url[query..]);
                Some(escaped)
            }
            Paths::Below(prefix) => {
                let rest = path.get(covered(prefix, path)?..)?;
                let mut url = self.url.to_vec();
                escape(rest, &mut url);
                Some(url)
            }
            Paths::Match(regex) => {
                let captures = exchange.captures(regex, path, &"RedirectMatch")?;
                let mut url = Vec::new();
                substitute(&self.url, &Groups::new(path, captures), &mut url);
                let query = url
                    .iter()
                    .position(|&byte| byte == b'?')
                    .unwrap_or(url.len());
                let mut escaped = Vec::with_capacity(url.len());
                // `#` and the authority's brackets stay, as they are the author's.
                escape_but(&url[..query], b"#[]%", &mut escaped);
                escaped.extend_from_slice(&url[query..]);
                Some(escaped)
            }
        }
    }
}

/// `ap_os_escape_path`.
fn escape(path: &[u8], out: &mut Vec<u8>) {
    escape_but(path, b"", out);
}

fn escape_but(path: &[u8], also: &[u8], out: &mut Vec<u8>) {
    for byte in path {
        if byte.is_ascii_alphanumeric() || KEPT.contains(byte) || also.contains(byte) {
            out.push(*byte);
        } else {
            // Writing to memory cannot fail.
            let _ = std::io::Write::write_fmt(out, format_args!("%{byte:02x}"));
        }
    }
}

/// What stays in an escaped path besides letters and digits.
const KEPT: &[u8] = b"$-_.+!*'(),:;@&=/~";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let table = [
            ("/a", true),
            ("http://a", true),
            ("mailto:x", true),
            ("a/b", false),
            ("", false),
        ];
        for (url, expected) in table {
            assert_eq!(is_url(url.as_bytes()), expected, "{url}");
        }
    }
}
