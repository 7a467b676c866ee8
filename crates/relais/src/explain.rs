//! `relais explain METHOD URL`: the request's way through the phases, without
//! a network. It is the program's own parser, site and phases that answer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use lexopt::{Parser, ValueExt};
use relais_conf::SourceMap;
use relais_http1::{Limits, Parse, RequestHead, split_host_port};
use relais_policy::{
    Connection, Decision, Exchange, Forward, Host, Remark, SectionSets, Site, Step,
};
use serde_json::{Value, json};

use crate::cli::Arguments;
use crate::{Failure, Outcome, configuration, report};

/// How the answer is written.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Format {
    /// For a person.
    #[default]
    Human,
    /// For tools.
    Json,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Question {
    /// The method and the URL, as far as they have been given.
    words: Vec<String>,
    /// `-H`: fields of the request.
    fields: Vec<String>,
    /// `--client`.
    client: Option<IpAddr>,
    /// `--format`.
    format: Format,
}

impl Question {
    /// Takes a word of the command line; false if it is none of `explain`.
    ///
    /// # Errors
    /// When an option has no value, or one that it does not take.
    pub(crate) fn take(&mut self, parser: &mut Parser, word: &str) -> Result<bool, lexopt::Error> {
        match word {
            "-H" => self.fields.push(parser.value()?.string()?),
            "--client" => self.client = Some(parser.value()?.parse()?),
            "--format" => self.format = format(&parser.value()?.string()?)?,
            bare if !bare.starts_with('-') && self.words.len() < 2 => {
                self.words.push(bare.to_owned())
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn format(word: &str) -> Result<Format, lexopt::Error> {
    match word {
        "human" => Ok(Format::Human),
        "json" => Ok(Format::Json),
        other => Err(format!("--format takes human or json, not {other}").into()),
    }
}

/// `relais explain`.
///
/// # Errors
/// When the configuration has errors, or the request is none.
pub(crate) fn run(arguments: &Arguments, question: &Question) -> Outcome {
    let request = Request::new(question)?;
    let configuration = configuration::read(arguments)?;
    let Some(site) = &configuration.site else {
        configuration::print(&configuration, arguments);
        return Err(Failure::Told);
    };
    let sources = &configuration.loaded.sources;
    let answer = request.ask(site)?;
    report::print(&match question.format {
        Format::Human => answer.human(sources),
        Format::Json => format!("{:#}\n", answer.json(sources)),
    });
    Ok(())
}

/// A request that nobody has sent.
struct Request {
    text: String,
    connection: Connection,
}

impl Request {
    fn new(question: &Question) -> Result<Self, Failure> {
        let [method, url] = question.words.as_slice() else {
            return Err(
                "explain takes a method and a URL: relais explain GET http://app.example/path"
                    .into(),
            );
        };
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let slash = if path.starts_with('/') { "" } else { "/" };
        let (secure, websocket) = match scheme {
            "http" => (false, false),
            "https" => (true, false),
            "ws" => (false, true),
            "wss" => (true, true),
            other => return Err(format!("{other}:// is not http, https, ws or wss").into()),
        };
        let host = split_host_port(authority.as_bytes());
        let port = host.and_then(|host| host.port);
        let default = if secure { 443 } else { 80 };
        let mut text = format!("{method} {slash}{path} HTTP/1.1\r\n");
        let mut fields: Vec<&str> = question.fields.iter().map(String::as_str).collect();
        let own = format!("Host: {authority}");
        if !fields.iter().any(|field| is_named(field, "host")) && !authority.is_empty() {
            fields.insert(0, &own);
        }
        if websocket {
            fields.extend(HANDSHAKE);
        }
        for field in fields {
            let _ = write!(text, "{field}\r\n");
        }
        text.push_str("\r\n");
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let local = host.and_then(|host| std::str::from_utf8(host.host).ok()?.parse().ok());
        Ok(Self {
            text,
            connection: Connection {
                peer: SocketAddr::new(question.client.unwrap_or(localhost), 40_000),
                local: SocketAddr::new(local.unwrap_or(localhost), port.unwrap_or(default)),
                secure,
                requests: 0,
                stream: None,
            },
        })
    }

    /// Has the request decided by the phases that serve requests.
    fn ask(&self, site: &Site) -> Result<Explanation, Failure> {
        let mut head = RequestHead::new();
        match head.parse_into(self.text.as_bytes(), &Limits::default()) {
            Ok(Parse::Complete { .. }) => {}
            Ok(_) => return Err("the request has no end".into()),
            Err(error) => return Err(refused(error.status(), error.reason())),
        }
        let meta = head
            .check()
            .map_err(|error| refused(error.status(), error.reason()))?;
        let name = head.host().and_then(split_host_port);
        let name = name.map(|host| host.host.to_ascii_lowercase());
        let local = self.connection.local;
        let host = site.host_for(local, name.as_deref());
        let now = SystemTime::now();
        let mut exchange = Exchange::new(site, host, self.connection, &head, &meta, now);
        exchange.explain();
        let decision = decide(&mut exchange);
        let log = exchange.log.iter().map(|line| {
            let level = line.level.name();
            format!("{}:{level} {}", line.module, line.message)
        });
        Ok(Explanation {
            request: String::from_utf8_lossy(head.line()).into_owned(),
            host: site.why(host, local, name.as_deref()),
            defined: defined(host),
            log: log.collect(),
            remarks: exchange.remarks().to_vec(),
            decision,
        })
    }
}

fn refused(status: u16, reason: &str) -> Failure {
    format!("no phase sees this request: it is answered with {status}, {reason}").into()
}

fn is_named(field: &str, name: &str) -> bool {
    let have = field.split(':').next().unwrap_or_default();
    have.eq_ignore_ascii_case(name)
}

fn defined(host: &Host) -> Option<String> {
    (!host.defined.is_empty()).then(|| host.defined.clone())
}

/// Runs the phases, with look-ups done on the spot.
fn decide(exchange: &mut Exchange<'_>) -> Decision {
    let sets = SectionSets::default();
    loop {
        match exchange.decide(&sets) {
            Step::Decided(decision) => return decision,
            // What is explained has a head only.
            Step::Body(_) => exchange.body = Some(Vec::new()),
            Step::Wait(lookup) => exchange.answered(lookup.key, (lookup.work)()),
        }
    }
}

/// What a `ws://` or `wss://` URL adds to the request (RFC 6455 §4.1).
const HANDSHAKE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// The answer.
struct Explanation {
    request: String,
    host: String,
    defined: Option<String>,
    remarks: Vec<Remark>,
    log: Vec<String>,
    decision: Decision,
}

impl Explanation {
    /// The request that the origin would get; of a balancer, that which each of
    /// its members would get if it were chosen.
    fn forwards(&self) -> Vec<Cow<'_, Forward>> {
        match &self.decision {
            Decision::Proxy(forward) | Decision::Tunnel(forward) => vec![Cow::Borrowed(forward)],
            Decision::Balance(balanced) => {
                let members = balanced.balancer.members.iter();
                let heads = members.map(|member| balanced.forward(&member.worker, &member.path));
                heads.flatten().map(Cow::Owned).collect()
            }
            Decision::Respond(_) | Decision::Redirect { .. } => Vec::new(),
        }
    }

    fn human(&self, sources: &SourceMap) -> String {
        let mut out = format!("{}\n", self.request);
        let mut row = |topic: &str, text: &str, at: Option<&str>| {
            let at = at.map(|at| format!("  ({at})")).unwrap_or_default();
            let _ = writeln!(out, "  {topic:<9}{text}{at}");
        };
        row("host", &self.host, self.defined.as_deref());
        for remark in &self.remarks {
            let at = remark.span.map(|span| sources.file_line(span));
            row(remark.topic.name(), &remark.text, at.as_deref());
            if !remark.values.is_empty() {
                let values = remark.values.iter();
                let values: Vec<_> = values
                    .map(|(name, value)| format!("{name}='{value}'"))
                    .collect();
                row("", &format!("  {}", values.join(" ")), None);
            }
        }
        for line in &self.log {
            row("log", line, None);
        }
        row("decision", &self.decision.to_string(), None);
        if let Decision::Respond(respond) = &self.decision
            && let Some(why) = &respond.log
        {
            row("because", why, None);
        }
        for forward in self.forwards() {
            let _ = writeln!(out, "  origin   {} gets", forward.worker.name);
            for line in String::from_utf8_lossy(&forward.head).trim_end().lines() {
                let _ = writeln!(out, "    > {line}");
            }
        }
        out
    }

    fn json(&self, sources: &SourceMap) -> Value {
        let steps: Vec<Value> = self
            .remarks
            .iter()
            .map(|remark| {
                let values = remark.values.iter().cloned();
                let values: BTreeMap<String, String> = values.collect();
                json!({
                    "topic": remark.topic.name(),
                    "text": remark.text,
                    "at": remark.span.map(|span| sources.file_line(span)),
                    "values": values,
                })
            })
            .collect();
        let reason = match &self.decision {
            Decision::Respond(respond) => respond.log.clone(),
            _ => None,
        };
        let origins = self.forwards().into_iter().map(|forward| {
            json!({
                "worker": forward.worker.name,
                "url": String::from_utf8_lossy(&forward.url),
                "head": String::from_utf8_lossy(&forward.head),
            })
        });
        let origins: Vec<Value> = origins.collect();
        json!({
            "request": self.request,
            "host": { "text": self.host, "at": self.defined },
            "steps": steps,
            "log": self.log,
            "decision": self.decision.to_string(),
            "reason": reason,
            "origins": origins,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::ffi::OsString;

    const CONFIG: &str = "\
RewriteEngine On
<VirtualHost *:80>
    ServerName app.example
    RewriteEngine On
    RewriteCond %{HTTP:Upgrade} websocket [NC]
    RewriteRule ^/bus/(.*)$ ws://127.0.0.1:7018/bus/$1 [P,L]
    ProxyPass /static !
    ProxyPass / http://127.0.0.1:7018/
    <Location /bus>
        ProxyPreserveHost On
    </Location>
</VirtualHost>
<VirtualHost *:80>
    ServerName other.example
</VirtualHost>
";

    /// `_` in a word stands for a blank.
    fn ask(line: &str) -> (Result<Explanation, Failure>, SourceMap) {
        let words = line
            .split(' ')
            .map(|word| OsString::from(word.replace('_', " ")));
        let arguments = crate::cli::parse(words).expect("a command line");
        let read = configuration::read_text("/srv/main.conf", CONFIG);
        let site = read.site.as_ref().expect("a site");
        let answer = Request::new(&arguments.question).and_then(|request| request.ask(site));
        (answer, read.loaded.sources)
    }

    fn explain(line: &str) -> (Explanation, SourceMap) {
        let (answer, sources) = ask(line);
        (answer.ok().expect("an answer"), sources)
    }

    #[test]
    fn a_websocket_by_a_rule() {
        let (answer, sources) = explain("explain GET ws://app.example/bus/1?x=2 --client 10.1.2.3");
        let expected = "\
GET /bus/1?x=2 HTTP/1.1
  host     app.example, of 2 at 127.0.0.1:80, whose ServerName is app.example  (/srv/main.conf:2)
  section  <Location /bus> matches  (/srv/main.conf:9)
  rewrite  init rewrite engine with requested uri /bus/1
  rewrite  applying pattern '^/bus/(.*)$' to uri '/bus/1' => matched  (/srv/main.conf:6)
             $0='/bus/1' $1='1'
  rewrite  RewriteCond: input='websocket' pattern='websocket' [NC] => matched  (/srv/main.conf:5)
             %{HTTP:Upgrade}='websocket' %0='websocket'
  rewrite  rewrite '/bus/1' -> 'ws://127.0.0.1:7018/bus/1'
  rewrite  forcing proxy-throughput with ws://127.0.0.1:7018/bus/1
  rewrite  setting lastsub to rule with output ws://127.0.0.1:7018/bus/$1
  rewrite  go-ahead with proxy request proxy:ws://127.0.0.1:7018/bus/1 [OK]
  change   the target is now ws://127.0.0.1:7018/bus/1
  change   variable SCRIPT_URL = /bus/1
  change   variable SCRIPT_URI = http://app.example/bus/1
  change   the target is now ws://127.0.0.1:7018/bus/1?x=2
  decision tunnel ws://127.0.0.1:7018/bus/1?x=2
  origin   ws://127.0.0.1:7018 gets
    > GET /bus/1?x=2 HTTP/1.1
    > Host: app.example
    > Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
    > Sec-WebSocket-Version: 13
    > X-Forwarded-For: 10.1.2.3
    > X-Forwarded-Host: app.example
    > X-Forwarded-Server: app.example
    > Connection: Upgrade
    > Upgrade: websocket
";
        let text = answer.human(&sources);
        // It is another one for each request.
        let (id, rest): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.contains("UNIQUE_ID"));
        assert_eq!(id.len(), 1, "{text}");
        assert_eq!(rest, expected.lines().collect::<Vec<_>>());
    }

    #[test]
    fn passes_that_were_considered() {
        let (answer, sources) = explain("explain GET http://app.example/a -H X-A:_b");
        let text = answer.human(&sources);
        for line in [
            "  pass     ProxyPass /static ! does not cover the path  (/srv/main.conf:7)",
            "  pass     ProxyPass / http://127.0.0.1:7018/ covers the path  (/srv/main.conf:8)",
            "    > X-A: b",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        let json = answer.json(&sources);
        assert_eq!(json["decision"], "proxy http://127.0.0.1:7018/a");
        assert_eq!(json["origins"][0]["worker"], "http://127.0.0.1:7018");
    }

    #[test]
    fn hosts_and_refusals() {
        let (answer, _) = explain("explain GET http://unknown.example/");
        let why = "app.example, the first of 2 at 127.0.0.1:80; none is called unknown.example";
        assert_eq!(answer.host, why);
        let (answer, _) = explain("explain GET http://other.example/x");
        assert_eq!(answer.decision.to_string(), "respond 404");
        assert!(answer.forwards().is_empty());
        let (answer, _) = explain("explain GET http://app.example:81/");
        assert!(
            answer.host.starts_with("the main server"),
            "{}",
            answer.host
        );
    }

    #[test]
    fn questions_that_are_none() {
        for line in [
            "explain GET",
            "explain GET ftp://a/",
            "explain G(ET http://a/",
        ] {
            assert!(ask(line).0.is_err(), "{line}");
        }
    }
}
