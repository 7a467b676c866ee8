//! `ProxyPass` and `ProxyPassMatch`: from a path to a target URL.

use std::fmt;
use std::sync::Arc;

use relais_conf::{Diagnostic, Span, Text};
use relais_expr::{Groups, Regex, RegexFlags};
use relais_policy::{
    Decision, Environment, Exchange, Flow, Matcher, Problem, ProxyUrl, Remark, RouteSpec,
    SectionKind, SetResult, Slot, Topic, numbered_values, uri,
};

use super::PROXY_SERVER;
use super::balancer;
use super::params::{Of, Params, key_value};
use super::servlet;
use super::worker::{self, Worker};
use super::{Host, Proxy, Section, last_span, url};
use crate::values;

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    /// The paths it is for.
    paths: Paths,
    /// Its line.
    line: Span,
    /// The target; `None` for `!`.
    target: Option<Text>,
    /// Whether the raw path goes out.
    no_canonical: bool,
    /// `interpolate`: variables in the target are those of the request.
    interpolate: bool,
    /// Which spelling of the path it looks at.
    mapping: Mapping,
}

/// `mapping=`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mapping {
    /// The decoded path.
    Decoded,
    /// The path as it was written; it goes out like that too.
    Encoded,
    /// So it does, and parameters of segments count for nothing.
    Servlet,
}

#[derive(Clone, Debug)]
enum Paths {
    /// A path and all below it.
    Below(Text),
    /// Paths that match.
    Match(Regex),
}

/// The handler of `ProxyPass`.
pub(crate) fn set(slot: &mut Slot<'_, Proxy>, words: &[Text]) -> SetResult {
    let (paths, rest) = match (slot.place.section, words) {
        (Some(_), _) => (of_section(slot, words)?, words),
        (None, [tilde, pattern, rest @ ..]) if tilde.bytes() == b"~" => (
            Paths::Match(values::regex(pattern, RegexFlags::default())?),
            rest,
        ),
        (None, [path, rest @ ..]) => (Paths::Below(path.clone()), rest),
        (None, []) => return Err(Problem::new("ProxyPass needs a path and a target")),
    };
    add(slot, paths, words, rest)
}

/// The handler of `ProxyPassMatch`.
pub(crate) fn set_match(slot: &mut Slot<'_, Proxy>, words: &[Text]) -> SetResult {
    let (paths, rest) = match (slot.place.section, words) {
        (Some(_), _) => (of_section(slot, words)?, words),
        (None, [pattern, rest @ ..]) => (
            Paths::Match(values::regex(pattern, RegexFlags::default())?),
            rest,
        ),
        (None, []) => return Err(Problem::new("ProxyPassMatch needs a pattern and a target")),
    };
    add(slot, paths, words, rest)
}

/// The paths that a section implies.
fn of_section(slot: &Slot<'_, Proxy>, words: &[Text]) -> Result<Paths, Problem> {
    // httpd: NOT_IN_DIRECTORY and NOT_IN_FILES, which <If> is taken for too.
    if let Some(section) = slot
        .place
        .section
        .filter(|section| section.kind != SectionKind::Location)
    {
        let message = format!(
            "{} cannot occur within {} section",
            slot.place.name.lossy(),
            section.kind.name()
        );
        return Err(Problem::at(slot.place.name.span(), message));
    }
    if let [path, target, ..] = words
        && (target.bytes() == b"!" || url::split(target.bytes()).is_some())
    {
        return Err(Problem::at(
            path.span(),
            format!(
                "{} takes no path inside of <Location>",
                slot.place.name.lossy()
            ),
        ));
    }
    let plain = slot.place.name.eq_ignore_case("ProxyPass");
    let section = slot.place.section;
    match section.map(|section| (&section.matcher, &section.argument)) {
        Some((Matcher::Prefix(_), argument)) => Ok(Paths::Below(argument.clone())),
        // httpd takes a pattern for a path unless it looks like one with wildcards (`apr_fnmatch_test`), so that
        // `ProxyPass` in <LocationMatch ^/a> is for no path at all.
        Some((Matcher::Regex(_), argument)) if plain && !has_wildcards(argument) => {
            Ok(Paths::Below(argument.clone()))
        }
        Some((Matcher::Regex(regex), _)) => Ok(Paths::Match(regex.clone())),
        // The whole path goes behind the target, whatever the section has matched.
        _ => Regex::new(b"", RegexFlags::default())
            .map(Paths::Match)
            .map_err(|error| Problem::at(slot.place.name.span(), error.to_string())),
    }
}

fn has_wildcards(text: &Text) -> bool {
    text.bytes().iter().any(|byte| b"*?[".contains(byte))
}

fn add(slot: &mut Slot<'_, Proxy>, paths: Paths, words: &[Text], rest: &[Text]) -> SetResult {
    let Some((target, options)) = rest.split_first() else {
        let message = format!("{} needs a path and a target", slot.place.name.lossy());
        return Err(Problem::at(last_span(words, slot.place.line), message));
    };
    let pass = if target.bytes() == b"!" {
        Pass {
            paths,
            line: slot.place.line,
            target: None,
            no_canonical: false,
            interpolate: false,
            mapping: Mapping::Decoded,
        }
    } else {
        target_pass(slot, paths, target, options)?
    };
    slot.host.routes.extend(pass.route().map(Arc::new));
    if slot.place.section.is_some() {
        slot.section.pass = Some(pass);
    } else {
        slot.host.passes.push(pass);
    }
    Ok(())
}

fn target_pass(
    slot: &mut Slot<'_, Proxy>,
    paths: Paths,
    target: &Text,
    options: &[Text],
) -> Result<Pass, Problem> {
    let literal = match paths {
        Paths::Below(_) => target.len(),
        Paths::Match(_) => url::before_group(target.bytes()).unwrap_or(target.len()),
    };
    let interpolate = options
        .iter()
        .any(|option| option.eq_ignore_case("interpolate"));
    let literal = match before_variable(target.bytes()).filter(|_| interpolate) {
        Some(at) => at.min(literal),
        None => literal,
    };
    url::check_target(target, literal)?;
    // The worker of a target with groups is that of what stands before them.
    let fixed = target.bytes().get(..literal).unwrap_or_default();
    let whole_host =
        url::split(fixed).is_some_and(|parts| literal == target.len() || !parts.path.is_empty());
    if let (false, [option, ..]) = (whole_host, options) {
        return Err(Problem::not_yet(
            option.span(),
            "parameters of a target whose host holds a group are not implemented yet",
        ));
    }
    // What follows a variable is known only with a request.
    let named = if interpolate { fixed } else { target.bytes() };
    let of_balancer = url::split(fixed).is_some_and(|parts| balancer::is_balancer(parts.scheme));
    let shared = worker::longest(&slot.host.workers, fixed)
        .map(|worker| String::from_utf8_lossy(worker.name()).into_owned());
    let mut pass = Pass {
        paths,
        line: slot.place.line,
        target: Some(target.clone()),
        no_canonical: false,
        interpolate,
        mapping: Mapping::Decoded,
    };
    let mut params = Params::default();
    for option in options {
        match option.lossy().to_ascii_lowercase().as_str() {
            "nocanon" => pass.no_canonical = true,
            // It matters to handlers only that relais does not have.
            "noquery" | "interpolate" => {}
            _ if is_mapping(option) => {
                pass.mapping = mapping(option)?;
                slot.host.maps_written = true;
            }
            _ if of_balancer => {
                balancer::set_params(slot, target, std::slice::from_ref(option))?;
            }
            _ => {
                params.set(slot, Of::Worker, option)?;
                if let Some(worker) = &shared {
                    let message = format!(
                        "this parameter is ignored: the target belongs to the worker {worker}, which is defined before"
                    );
                    let warning = Diagnostic::warning("RC0305", option.span(), message);
                    slot.diagnostics.push(warning.with_help("put the rule with the longer URL first, or the parameters on the first rule"));
                }
            }
        }
    }
    if of_balancer {
        balancer::set_params(slot, target, &[])?;
    } else if shared.is_none() {
        slot.host.workers.extend(Worker::new(named, true, params));
    }
    Ok(pass)
}

fn is_mapping(option: &Text) -> bool {
    let name = option.bytes().get(..b"mapping=".len());
    name.is_some_and(|name| name.eq_ignore_ascii_case(b"mapping="))
}

fn mapping(option: &Text) -> Result<Mapping, Problem> {
    let (_, value) = key_value(option)?;
    let index = values::choice(&value, "mapping", &["encoded", "servlet"])?;
    Ok([Mapping::Encoded, Mapping::Servlet][index])
}

/// The handler of `ProxySet`.
pub(crate) fn set_worker(slot: &mut Slot<'_, Proxy>, words: &[Text]) -> SetResult {
    let line = slot.place.line;
    let (target, options) = match (slot.place.section, words) {
        (Some(section), options) if matches!(section.matcher, Matcher::Prefix(_)) => {
            (&section.argument, options)
        }
        (Some(section), _) => {
            return Err(Problem::at(
                section.span,
                "ProxySet needs a <Proxy> whose URL has no pattern",
            ));
        }
        (None, [target, options @ ..]) => (target, options),
        (None, []) => return Err(Problem::new("ProxySet needs a URL")),
    };
    url::check_target(target, target.len())?;
    if options.is_empty() {
        return Err(Problem::at(
            last_span(words, line),
            "ProxySet needs at least one key=value",
        ));
    }
    if balancer::set_params(slot, target, options)? {
        return Ok(());
    }
    let Some(mut worker) = Worker::new(target.bytes(), true, Params::default()) else {
        return Ok(());
    };
    let known = slot
        .host
        .workers
        .iter()
        .position(|have| have.name() == worker.name());
    if let Some(known) = known.and_then(|index| slot.host.workers.get(index)) {
        worker = known.clone();
    }
    for option in options {
        worker.params_mut().set(slot, Of::Worker, option)?;
    }
    match known.and_then(|index| slot.host.workers.get_mut(index)) {
        Some(place) => *place = worker,
        None => slot.host.workers.push(worker),
    }
    Ok(())
}

/// `translate_name` of mod_proxy: the section's rule, else the first of the
/// host's that fits.
pub(crate) fn translate(exchange: &mut Exchange<'_>) -> Flow {
    map(exchange, false)
}

/// `pre_translate_name` of mod_proxy: the same for rules with `mapping=`, while
/// the path is as it was written.
pub(crate) fn pre_translate(exchange: &mut Exchange<'_>) -> Flow {
    map(exchange, true)
}

fn map(exchange: &mut Exchange<'_>, written: bool) -> Flow {
    if exchange.path.first() != Some(&b'/') || exchange.environment.get(b"no-proxy").is_some() {
        return Flow::Declined;
    }
    if exchange.is_explained() {
        remark_passes(exchange, written);
    }
    let section = exchange.section_settings::<Section>();
    let host = exchange.host_settings::<Host>();
    let mut passes = section.pass.iter().chain(&host.passes);
    let found = passes.find_map(|pass| {
        let asked = (pass.mapping == Mapping::Decoded) != written;
        asked.then(|| pass.apply(exchange))?
    });
    match found {
        None | Some(Applied::Exempt) => Flow::Declined,
        Some(Applied::Servlet(proxy, path)) => {
            exchange.path = path;
            exchange.proxy = Some(proxy);
            exchange.handler = Some(PROXY_SERVER);
            Flow::Done
        }
        Some(Applied::To(proxy)) => {
            exchange.proxy = Some(proxy);
            exchange.handler = Some(PROXY_SERVER);
            Flow::Done
        }
        Some(Applied::OtherHost(url)) => {
            let about = format!("{} (the path would change the host)", url.escape_ascii());
            let respond = url::proxy_error(500, "DNS lookup failure for", &about);
            Flow::Decide(Decision::Respond(respond))
        }
    }
}

/// Remarks on each rule up to the first that fits.
fn remark_passes(exchange: &mut Exchange<'_>, written: bool) {
    let host: &Host = exchange.host_settings();
    let own = exchange.section_settings::<Section>().pass.clone();
    let passes = own.iter().chain(&host.passes);
    for pass in passes.filter(|pass| (pass.mapping == Mapping::Decoded) != written) {
        let applied = pass.apply(exchange);
        let fits = applied.is_some();
        let verdict = match applied {
            None => "does not cover the path",
            Some(Applied::Exempt) => "exempts the path",
            Some(Applied::To(_) | Applied::Servlet(..)) => "covers the path",
            Some(Applied::OtherHost(_)) => "would change the host",
        };
        let span = match (&pass.target, &pass.paths) {
            (Some(target), _) => Some(target.span()),
            (None, Paths::Below(path)) => Some(path.span()),
            (None, Paths::Match(_)) => None,
        };
        let values = if fits {
            pass.groups(exchange)
        } else {
            Vec::new()
        };
        exchange.add_remark(Remark {
            topic: Topic::Pass,
            text: format!("{pass} {verdict}"),
            span,
            values,
        });
        if fits {
            return;
        }
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(path) => write!(f, "ProxyPass {}", path.lossy()),
            Self::Match(regex) => {
                let pattern = String::from_utf8_lossy(regex.source());
                write!(f, "ProxyPassMatch {pattern}")
            }
        }
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.paths.fmt(f)?;
        match &self.target {
            Some(target) => write!(f, " {}", target.lossy()),
            None => f.write_str(" !"),
        }
    }
}

impl Host {
    /// The paths that lead to a balancer, as the manager's page shows them.
    pub(crate) fn path_of_balancer(&self, name: &str) -> String {
        let leads = |pass: &&Pass| {
            let target = pass.target.as_ref()?;
            Some(balancer::balancer_name(target.bytes())? == name.as_bytes())
        };
        let passes = self.passes.iter().filter(|pass| leads(pass) == Some(true));
        let paths = passes.map(|pass| match &pass.paths {
            Paths::Below(path) => path.lossy().into_owned(),
            Paths::Match(regex) => regex.source().escape_ascii().to_string(),
        });
        paths.collect::<Vec<_>>().join(" ")
    }
}

/// What a rule makes of a request whose path fits.
enum Applied {
    /// `!`
    Exempt,
    To(ProxyUrl),
    /// The same, with the path that sections see from now on.
    Servlet(ProxyUrl, Vec<u8>),
    /// The target has no slash behind its host, and the rest of the path
    /// would be taken for more of the host or for a port.
    OtherHost(Vec<u8>),
}

impl Pass {
    /// The rule as others know it; `!` leads nowhere.
    fn route(&self) -> Option<RouteSpec> {
        let target = self.target.as_ref()?.lossy().into_owned();
        Some(RouteSpec::new(self.paths.to_string(), target, self.line))
    }

    /// What `$N` of the target stand for.
    fn groups(&self, exchange: &Exchange<'_>) -> Vec<(String, String)> {
        let Paths::Match(regex) = &self.paths else {
            return Vec::new();
        };
        let found = exchange.captures(regex, &exchange.path, &"ProxyPassMatch");
        found.map_or_else(Vec::new, |captures| {
            numbered_values('$', &Groups::new(&exchange.path, captures))
        })
    }

    fn apply(&self, exchange: &Exchange<'_>) -> Option<Applied> {
        let (raw, _) = uri::split_target(exchange.head.target());
        let is_path = exchange.head.target().starts_with(b"/");
        let written = self.mapping != Mapping::Decoded;
        let mut plain = None;
        let (path, no_canonical, found) = match &self.paths {
            Paths::Below(prefix) if self.mapping == Mapping::Servlet => {
                let found = servlet::covered(prefix.bytes(), &exchange.path)?;
                plain = Some(found.path);
                let rest = exchange.path.get(found.used..).unwrap_or_default();
                (rest, true, None)
            }
            Paths::Below(prefix) if written => {
                let used = covered(prefix.bytes(), &exchange.path)?;
                let rest = exchange.path.get(used..).unwrap_or_default();
                (rest, true, None)
            }
            Paths::Below(prefix) => {
                let used = covered(prefix.bytes(), &exchange.path)?;
                // A raw path that spells the prefix otherwise cannot be cut after it.
                let no_canonical =
                    self.no_canonical && is_path && covered(prefix.bytes(), raw) == Some(used);
                let path = if no_canonical { raw } else { &exchange.path };
                (path.get(used..).unwrap_or_default(), no_canonical, None)
            }
            Paths::Match(regex) => {
                let found = exchange.captures(regex, &exchange.path, &"ProxyPassMatch")?;
                // The pattern is asked about the whole target, as it was sent.
                let raw = exchange.head.target();
                let raw_found = if self.no_canonical {
                    exchange.captures(regex, raw, &"ProxyPassMatch")
                } else {
                    None
                };
                let path = if raw_found.is_some() {
                    raw
                } else {
                    &exchange.path
                };
                (
                    path,
                    written || raw_found.is_some(),
                    Some(Groups::new(path, raw_found.unwrap_or(found))),
                )
            }
        };
        let Some(target) = &self.target else {
            return Some(Applied::Exempt);
        };
        let section = exchange.section_settings::<Section>();
        let interpolated;
        let target = if self.interpolate && section.interpolates() {
            interpolated = interpolate(target.bytes(), &exchange.environment);
            &interpolated
        } else {
            target.bytes()
        };
        let group = found.and_then(|groups| url::before_group(target).map(|at| (groups, at)));
        let (url, fixed) = match group {
            Some((groups, at)) => (url::expand(target, &groups), at),
            None => ([target, path].concat(), target.len()),
        };
        if url::changes_host(target, fixed, &url) {
            return Some(Applied::OtherHost(url));
        }
        let has_query = no_canonical && !written && matches!(self.paths, Paths::Match(_));
        let proxy = ProxyUrl {
            url,
            no_canonical,
            has_query,
            rule: Some(self.line),
        };
        Some(match plain {
            Some(path) => Applied::Servlet(proxy, path),
            None => Applied::To(proxy),
        })
    }
}

/// Where the first `${` of a target stands.
fn before_variable(target: &[u8]) -> Option<usize> {
    target.windows(2).position(|pair| pair == b"${")
}

/// A target with the request's variables in the place of `${NAME}`; one that is
/// not set leaves nothing (`ap_proxy_interpolate`).
pub(super) fn interpolate(target: &[u8], environment: &Environment) -> Vec<u8> {
    let mut out = Vec::with_capacity(target.len() + 32);
    let mut rest = target;
    while let Some(at) = before_variable(rest) {
        let (literal, tail) = rest.split_at(at);
        out.extend_from_slice(literal);
        let Some(end) = tail.iter().position(|&byte| byte == b'}') else {
            rest = tail;
            break;
        };
        let name = tail.get(2..end).unwrap_or_default();
        out.extend_from_slice(environment.get(name).unwrap_or_default());
        rest = tail.get(end + 1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// How much of a path a prefix covers: whole segments, where any number of
/// slashes counts as one (`alias_match`).
pub(crate) fn covered(prefix: &[u8], path: &[u8]) -> Option<usize> {
    let (mut p, mut at) = (0, 0);
    while let Some(&byte) = prefix.get(p) {
        if path.get(at) != Some(&byte) {
            return None;
        }
        if byte == b'/' {
            p += slashes(&prefix[p..]);
            at += slashes(&path[at..]);
        } else {
            p += 1;
            at += 1;
        }
    }
    let whole = prefix.last() == Some(&b'/') || matches!(path.get(at), None | Some(b'/'));
    whole.then_some(at)
}

fn slashes(path: &[u8]) -> usize {
    path.iter().take_while(|&&byte| byte == b'/').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let table: &[(&str, &str, Option<usize>)] = &[
            ("/app", "/app", Some(4)),
            ("/app", "/app/", Some(4)),
            ("/app", "/app/y", Some(4)),
            ("/app", "/apple", None),
            ("/app", "/ap", None),
            ("/app/", "/app", None),
            ("/app/", "/app/y", Some(5)),
            ("/app/", "/app//y", Some(6)),
            ("/", "/x", Some(1)),
            ("//a", "/a", Some(2)),
            ("/a/b", "/a//b/c", Some(5)),
            ("/App", "/app", None),
        ];
        for &(prefix, path, expected) in table {
            assert_eq!(
                covered(prefix.as_bytes(), path.as_bytes()),
                expected,
                "{prefix} {path}"
            );
        }
    }
}
