//! Running the rules for a request, and what follows from them.

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;

use relais_conf::Span;
use relais_expr::{Ahead, FileTest, Lookup, Variable};
use relais_http1::Fields;
use relais_policy::{
    Decision, Exchange, Flow, HostAddress, Outgoing, ProxyUrl, Respond, Restart, SubRequest, Unfit,
};
use relais_rewrite::{Context, Directory, Input, Outcome, Prefix, RuleSet, Tried};
use relais_telemetry::Level;

use super::log::{Line, Said, log, log_in, trace_level};
use super::maps::{Answer, Found, Map};
use super::{Host, Section, cookie, kind, targets};
use crate::{core, files, mod_proxy, own_url};

/// mod_rewrite's `translate_name`, before mod_proxy's. Whether the engine is on
/// is said by the section that the path has met so far, as in httpd.
pub(crate) fn translate(exchange: &mut Exchange<'_>) -> Flow {
    let host: &Host = exchange.host_settings();
    let section: &Section = exchange.section_settings();
    if section.engine != Some(true) || !host.used {
        return Flow::Declined;
    }
    if is_over(exchange) {
        let line = "Declining, no further rewriting due to END flag";
        log(exchange, Level::Trace8, line);
        return Flow::Declined;
    }
    let any = section.options.is_some_and(|options| options.any_uri);
    if exchange.path.first() != Some(&b'/') && !any {
        return Flow::Declined;
    }
    set_script_variables(exchange);
    if host.rules.rules().is_empty() {
        return Flow::Declined;
    }
    let path = exchange.path.clone();
    match run(exchange, &host.rules, Input::new(&path, None)) {
        Ok((outcome, rule)) => server(exchange, outcome, rule),
        Err(lookup) => Flow::Wait(lookup),
    }
}

/// mod_rewrite's `fixups`: the rules of sections, before mod_proxy's.
pub(crate) fn fixup(exchange: &mut Exchange<'_>) -> Flow {
    let section: &Section = exchange.section_settings();
    if section.engine != Some(true) || section.directory.is_empty() {
        return Flow::Declined;
    }
    let section = section.clone();
    let options = section.options.unwrap_or_default();
    if !options.no_slash && is_folder_itself(exchange, &section.directory) {
        return Flow::Declined;
    }
    if is_over(exchange) {
        let line = "Declining, no further rewriting due to END flag";
        log_in(exchange, Level::Trace8, Some(&section.directory), line);
        return Flow::Declined;
    }
    if exchange.section_settings::<core::Section>().links() == files::Links::Refused {
        let why = "AH00670: Options FollowSymLinks and SymLinksIfOwnerMatch are both off, so the RewriteRule directive is also forbidden due to its similar ability to circumvent directory restrictions";
        return Flow::Decide(Decision::Respond(Respond::logged(403, why)));
    }
    if section.rules.rules().is_empty() {
        return Flow::Declined;
    }
    let (subject, path_info) = subject(exchange);
    let root = exchange.host.spec.document_root.as_deref();
    let root = root.map(|root| root.strip_suffix(b"/").unwrap_or(root));
    let alias = exchange.alias.clone();
    let alias = match &alias {
        _ if options.ignore_context => None,
        Some((folder, prefix)) => Some((folder.as_slice(), prefix.as_slice())),
        None => root.map(|root| (root, b"".as_slice())),
    };
    let input = Input {
        path_info: &path_info,
        directory: Some(Directory {
            prefix: &section.directory,
            // A section that is no folder has a name that a file's may begin with: `/` of `<Location />`.
            strips: section.is_folder || exchange.file.is_some(),
            base: section.base.as_deref(),
            root,
            alias,
            proxied: exchange.proxy.is_some(),
        }),
        ..Input::new(&subject, None)
    };
    match run(exchange, &section.rules, input) {
        Ok((outcome, rule)) => per_directory(exchange, outcome, rule),
        Err(lookup) => Flow::Wait(lookup),
    }
}

/// Whether a rule of this request had `[END]`.
fn is_over(exchange: &Exchange<'_>) -> bool {
    exchange.notes.get(END).is_some()
}

/// Whether the file is the folder of the rules without a slash behind it, which
/// mod_dir is to redirect first.
fn is_folder_itself(exchange: &Exchange<'_>, folder: &[u8]) -> bool {
    let file = exchange
        .file
        .as_deref()
        .filter(|_| exchange.proxy.is_none());
    file.is_some_and(|file| folder.strip_suffix(b"/") == Some(file))
}

/// What the rules of a section see: the file and what leads beyond it, or the
/// URL that the request is proxied to. Without files a path's first segment is
/// all that httpd would find of it.
fn subject(exchange: &Exchange<'_>) -> (Vec<u8>, Vec<u8>) {
    match (&exchange.proxy, &exchange.file) {
        (Some(proxy), _) => ([b"proxy:", proxy.url.as_slice()].concat(), Vec::new()),
        (None, Some(file)) => (file.clone(), exchange.path_info.clone()),
        (None, None) => {
            let path = exchange.path.as_slice();
            let rest = path.get(1..).unwrap_or_default();
            let slash = rest.iter().position(|&byte| byte == b'/');
            let (name, rest) = path.split_at(slash.map_or(path.len(), |at| at + 1));
            (name.to_vec(), rest.to_vec())
        }
    }
}

/// Sets `SCRIPT_URL` and `SCRIPT_URI`: the path that was asked for first, and
/// its whole URL.
fn set_script_variables(exchange: &mut Exchange<'_>) {
    let first = exchange.environment.get(b"REDIRECT_SCRIPT_URL");
    let path = first.unwrap_or(&exchange.path).to_vec();
    let url = own_url::absolute(exchange, &path);
    exchange.environment.set(b"SCRIPT_URL", Some(&path));
    exchange.environment.set(b"SCRIPT_URI", Some(&url));
}

/// Sends the cookies that rules have set with every answer.
pub(crate) fn outgoing(exchange: &Exchange<'_>, outgoing: &mut Outgoing<'_>) -> Result<(), Unfit> {
    // An error page has one list when the edits of `Header always` are made, and cookies are the first in it.
    let (fields, behind) = match outgoing.own_error {
        true => {
            let others = std::mem::take(&mut *outgoing.fields);
            (&mut *outgoing.fields, others)
        }
        false => (&mut *outgoing.always, Fields::new()),
    };
    let cookies = exchange
        .notes
        .iter()
        .filter(|(name, _)| name.ends_with(COOKIE));
    let cookies = cookies.map(|(_, cookie)| (&b"Set-Cookie"[..], cookie));
    for (name, value) in cookies.chain(&behind) {
        fields.push(name, value).map_err(|_| Unfit)?;
    }
    Ok(())
}

/// Runs rules; with the outcome comes the line of the last that proxies. `Err`
/// if something has to be asked first: nothing has happened then.
fn run(
    exchange: &mut Exchange<'_>,
    rules: &RuleSet,
    input: Input<'_>,
) -> Result<(Outcome, Option<Span>), relais_policy::Lookup> {
    let maps = &exchange.host_settings::<Host>().maps;
    let may_wait = !maps.is_empty() || rules.may_ask();
    let before = may_wait.then(|| (exchange.environment.clone(), exchange.notes.clone()));
    let query = exchange.query.clone();
    let input = Input {
        query: query.as_deref(),
        is_subrequest: exchange.is_subrequest(),
        uri_bytes_max: exchange.host.spec.limits.line.saturating_mul(2),
        ..input
    };
    let level = trace_level(exchange);
    let mut request = Request {
        maps,
        exchange,
        level,
        directory: input.directory,
        lines: RefCell::default(),
        problems: RefCell::default(),
        failure: RefCell::default(),
        pending: RefCell::default(),
        proxied: None,
    };
    let outcome = relais_rewrite::run(rules, &input, &mut request);
    let Request {
        lines,
        problems,
        failure,
        pending,
        proxied,
        ..
    } = request;
    let pending = pending.into_inner().or_else(|| exchange.awaited());
    if let Some(lookup) = pending {
        if let Some((environment, notes)) = before {
            exchange.environment = environment;
            exchange.notes = notes;
        }
        return Err(lookup);
    }
    let directory = input.directory.map(|directory| directory.prefix);
    for said in lines.into_inner() {
        said.write(exchange, directory);
    }
    for line in problems.into_inner() {
        exchange.note("rewrite", Level::Error, || line);
    }
    let outcome = match failure.into_inner() {
        None => outcome,
        Some(line) => Outcome::Error {
            status: 500,
            reason: line.into(),
        },
    };
    Ok((outcome, proxied))
}

/// What follows in server context.
fn server(exchange: &mut Exchange<'_>, outcome: Outcome, rule: Option<Span>) -> Flow {
    match outcome {
        Outcome::PassThrough { path, query } => {
            exchange.path = path;
            exchange.query = query;
            Flow::Declined
        }
        Outcome::Rewritten {
            path,
            query,
            prefix,
        } => match file(exchange, &path, prefix) {
            Some(file) => {
                let line = format!("go-ahead with {} [OK]", file.escape_ascii());
                log(exchange, Level::Trace1, &line);
                exchange.query = query;
                exchange.file = Some(file);
                Flow::Done
            }
            None => {
                let log = format!(
                    "rewritten to {} without [P], [PT] or [R], and no DocumentRoot has it",
                    path.escape_ascii()
                );
                Flow::Decide(Decision::Respond(Respond::logged(404, log)))
            }
        },
        other => carry_out(exchange, other, rule),
    }
}

/// The file that a rewritten path stands for (httpd's `prefix_stat`): the path
/// itself where its first segment is there, and is not the client's to choose
/// but for what is below `DocumentRoot`; else one below `DocumentRoot`. `None`
/// without a root, or where the path would climb.
fn file(exchange: &mut Exchange<'_>, path: &[u8], prefix: Prefix) -> Option<Vec<u8>> {
    if files::climbs(path) {
        return None;
    }
    let options = exchange.host_settings::<Host>().options.unwrap_or_default();
    let rest = path.get(1..).unwrap_or_default();
    let slash = rest.iter().position(|&byte| byte == b'/');
    let segment = path.get(..=slash.unwrap_or(rest.len())).unwrap_or(path);
    let root = files::root(exchange);
    let is_below = root.is_some_and(|root| {
        let rest = path.strip_prefix(root);
        !root.is_empty() && rest.is_some_and(|rest| rest.first() == Some(&b'/'))
    });
    let is_own = prefix == Prefix::OwnUrl && !options.legacy_prefix;
    let may_be_whole = is_below || options.unsafe_prefix || prefix != Prefix::Request;
    if may_be_whole && !is_own && exchange.file_test(FileTest::Exists, segment) {
        return Some(path.to_vec());
    }
    let file = [root?, path].concat();
    let line = format!("prefixed with document_root to {}", file.escape_ascii());
    log(exchange, Level::Trace2, &line);
    Some(file)
}

/// What follows in per-directory context: another path is a new beginning.
fn per_directory(exchange: &mut Exchange<'_>, outcome: Outcome, rule: Option<Span>) -> Flow {
    match outcome {
        Outcome::PassThrough {
            mut path,
            mut query,
        }
        | Outcome::Rewritten {
            mut path,
            mut query,
            ..
        } => {
            kind::forget(&mut exchange.notes);
            // What begins anew is read as a URL, and a fragment ends one, with the query behind it.
            if let Some(at) = path.iter().position(|byte| *byte == b'#') {
                path.truncate(at);
                query = None;
            }
            Flow::Restart(Restart { path, query })
        }
        Outcome::Same { query } => {
            exchange.query = query;
            Flow::Declined
        }
        other => carry_out(exchange, other, rule),
    }
}

fn carry_out(exchange: &mut Exchange<'_>, outcome: Outcome, rule: Option<Span>) -> Flow {
    match outcome {
        Outcome::Declined
        | Outcome::PassThrough { .. }
        | Outcome::Rewritten { .. }
        | Outcome::Same { .. } => Flow::Declined,
        Outcome::Proxy {
            url,
            absolute,
            query,
            no_escape,
        } => {
            // Without a host of its own the target would be this server again.
            if !absolute {
                return this_server(exchange, &url);
            }
            let section = &exchange.section_settings::<Section>().targets;
            let own = &exchange.host_settings::<Host>().targets;
            if targets::changes_host(&[own.as_slice(), section].concat(), &url) {
                return no_origin(&url, "the path would change the host");
            }
            exchange.query = query;
            exchange.proxy = Some(ProxyUrl {
                url,
                no_canonical: no_escape,
                rule,
                has_query: false,
            });
            exchange.handler = Some(mod_proxy::PROXY_SERVER);
            Flow::Done
        }
        Outcome::Redirect { status, location } => {
            let location = if location.starts_with(b"/") {
                own_url::absolute(exchange, &location)
            } else {
                location
            };
            Flow::Decide(Decision::Redirect { status, location })
        }
        Outcome::Status(status) => Flow::Decide(Decision::Respond(Respond::status(status))),
        Outcome::Error { status, reason } => {
            Flow::Decide(Decision::Respond(Respond::logged(status, reason)))
        }
    }
}

/// The rule names no host, and so this server, which httpd looks up as an
/// origin like any other.
fn this_server(exchange: &Exchange<'_>, url: &[u8]) -> Flow {
    let mut name = Vec::new();
    exchange.variable(&Variable::ServerName, &mut name);
    let detail = format!("DNS lookup failure for: {}", name.escape_ascii());
    let url = url.escape_ascii();
    let log = format!("{detail} (the rule for {url} names no host)");
    Flow::Decide(Decision::Respond(Respond {
        reason: Some("Proxy Error"),
        detail: Some(detail),
        ..Respond::logged(500, log)
    }))
}

fn no_origin(url: &[u8], why: &str) -> Flow {
    let about = format!("{} ({why})", url.escape_ascii());
    let respond = mod_proxy::proxy_error(500, "DNS lookup failure for", &about);
    Flow::Decide(Decision::Respond(respond))
}

/// The note that says that a rule had `[END]`.
const END: &[u8] = b"rewrite-END";
/// What the note for a cookie is called behind the cookie's name, as in httpd.
const COOKIE: &[u8] = b"_rewrite";

/// The request as the rules ask for it.
struct Request<'x, 'a> {
    exchange: &'x mut Exchange<'a>,
    maps: &'a [Map],
    level: u8,
    /// The section whose rules run.
    directory: Option<Directory<'x>>,
    lines: RefCell<Vec<Said>>,
    /// What maps have to say to the log.
    problems: RefCell<Vec<String>>,
    /// Why a map could not be asked.
    failure: RefCell<Option<String>>,
    /// What has to be done before the rules can run.
    pending: RefCell<Option<relais_policy::Lookup>>,
    /// The last rule that proxies.
    proxied: Option<Span>,
}

impl Request<'_, '_> {
    fn say(&self, said: Said) {
        self.lines.borrow_mut().push(said);
    }

    /// Takes over what a sub-request has said.
    fn quote(&self, found: SubRequest<'_>) {
        for line in found.exchange.log {
            self.say(Said::SubRequest(line));
        }
    }

    /// `-U`: whether a request for the path would be answered.
    fn answers(&self, path: &[u8]) -> bool {
        let Some(found) = self.exchange.look_up_path(path) else {
            return false;
        };
        let status = found.status;
        self.quote(found);
        let path = path.escape_ascii();
        let line = format_args!("RewriteCond URI (-U check: path={path} -> status={status}");
        self.trace(5, true, line);
        status < 400
    }

    /// `-F`: whether a request for the file would be answered with it.
    fn serves(&self, path: &[u8]) -> bool {
        let Some(found) = self.exchange.look_up_file(path) else {
            return false;
        };
        let status = found.status;
        let file = found.exchange.file.clone().unwrap_or_default();
        self.quote(found);
        let (path, shown) = (path.escape_ascii(), file.escape_ascii());
        let line =
            format_args!("RewriteCond file (-F check: path={path} -> file={shown} status={status}");
        self.trace(5, true, line);
        status < 300 && self.exchange.file_test(FileTest::Exists, &file)
    }

    /// The URL path of what the pattern of a folder's rule saw.
    fn as_path(&self, uri: &[u8], directory: &Directory<'_>) -> Vec<u8> {
        if uri.first() == Some(&b'/') {
            return uri.to_vec();
        }
        let folder = match directory.base {
            Some(base) => base,
            None => directory
                .root
                .and_then(|root| directory.prefix.strip_prefix(root))
                .unwrap_or(directory.prefix),
        };
        let slash: &[u8] = if folder.ends_with(b"/") { b"" } else { b"/" };
        [folder, slash, uri].concat()
    }
}

impl Lookup for Request<'_, '_> {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        self.exchange.variable(variable, out);
    }

    fn map(&self, name: &[u8], key: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(map) = self.maps.iter().find(|map| map.name == name) else {
            return false;
        };
        // Once something is pending, this run counts for nothing.
        if self.pending.borrow().is_some() {
            return false;
        }
        let answered = |key: &[u8]| self.exchange.answer::<Answer>(key).cloned();
        match map.get(key, self.exchange.host.spec.timeout, &answered, out) {
            Found::Value => true,
            Found::Nothing => false,
            Found::Noted(line) => {
                self.problems.borrow_mut().push(line);
                false
            }
            Found::Failed(line) => {
                self.failure.replace(Some(line));
                false
            }
            Found::Pending(lookup) => {
                *self.pending.borrow_mut() = Some(lookup);
                false
            }
        }
    }

    fn file_test(&self, test: FileTest, path: &[u8]) -> bool {
        match test {
            FileTest::UrlByRequest if !path.is_empty() => self.answers(path),
            FileTest::FileByRequest if !path.is_empty() => self.serves(path),
            _ => self.exchange.file_test(test, path),
        }
    }

    fn file_contents(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.exchange.file_contents(path)
    }

    fn file_size(&self, path: &[u8]) -> Option<u64> {
        self.exchange.file_size(path)
    }
}

impl Context for Request<'_, '_> {
    fn set_env(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.exchange.environment.set(name, value);
    }

    fn set_cookie(&mut self, text: &[u8]) {
        let Some((name, cookie)) = cookie::render(text, self.exchange.now) else {
            return;
        };
        let note = [name.as_slice(), COOKIE].concat();
        if self.exchange.notes.get(&note).is_none() {
            let shown = cookie.escape_ascii();
            self.trace(5, true, format_args!("setting cookie '{shown}'"));
            self.exchange.notes.set(&note, Some(&cookie));
        } else {
            let shown = name.escape_ascii();
            self.trace(
                5,
                true,
                format_args!("skipping already set cookie '{shown}'"),
            );
        }
    }

    fn proxied(&mut self, line: Option<Span>) {
        self.proxied = line;
    }

    fn set_type(&mut self, kind: &[u8]) {
        kind::set_type(&mut self.exchange.notes, kind);
    }

    fn set_handler(&mut self, handler: &[u8]) {
        kind::set_handler(&mut self.exchange.notes, handler);
    }

    fn vary(&mut self, header: &[u8]) {
        self.exchange.vary_on(header);
    }

    fn look_ahead(&self, ahead: Ahead, uri: &[u8], variable: &Variable, out: &mut Vec<u8>) -> bool {
        let found = match (ahead, self.directory) {
            (Ahead::Url, None) => self.exchange.look_up_path(uri),
            (Ahead::Url, Some(directory)) => {
                self.exchange.look_up_path(&self.as_path(uri, &directory))
            }
            // What begins with a slash is no file of the folder.
            (Ahead::File, Some(_)) if uri.first() == Some(&b'/') => self.exchange.look_up_path(uri),
            (Ahead::File, Some(directory)) => {
                let file = [directory.prefix, uri].concat();
                self.exchange.look_up_file(&file)
            }
            (Ahead::File, None) => self.exchange.look_up_file(uri),
        };
        let Some(found) = found else { return false };
        found.exchange.variable(variable, out);
        self.quote(found);
        true
    }

    fn end_rewriting(&mut self) {
        self.exchange.notes.set(END, Some(b"1"));
    }

    /// `reduce_uri` and `ap_matches_request_vhost`: an address of the virtual
    /// host makes a URL this server's own, and a name only where `ServerName`
    /// has a port, on whatever port it listens.
    fn own_host(&self, scheme: &[u8], host: &[u8], port: u16) -> bool {
        let own = self.exchange.host;
        let own_scheme = own_url::scheme(self.exchange);
        if !scheme.eq_ignore_ascii_case(own_scheme.as_bytes()) {
            return false;
        }
        let text = std::str::from_utf8(host).unwrap_or_default();
        let ip: Option<IpAddr> = text.trim_matches(['[', ']']).parse().ok();
        let by_address = |address: &HostAddress| {
            address.port.is_none_or(|have| have == port) && address.ip.is_some() && address.ip == ip
        };
        own.addresses.iter().any(by_address)
            || (own.spec.server_port == Some(port) && own.answers_to(&host.to_ascii_lowercase()))
    }

    fn trace_level(&self) -> u8 {
        self.level
    }

    fn trace(&self, level: u8, bare: bool, line: fmt::Arguments<'_>) {
        self.say(Said::Own(Line::new(level, bare, line)));
    }

    fn tried(&self, tried: &Tried<'_>) {
        self.say(Said::Own(Line::tried(tried)));
    }
}
