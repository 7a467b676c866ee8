//! Configurations, requests and what is decided: `testdata/**/*.test`.
//!
//! A fixture has three parts: configuration, requests with an empty line
//! between two, and per request one line with the decision. What follows
//! depends on what the request asks for by lines in front of it:
//!
//! - `# to ADDRESS:PORT` the local end of the connection, 127.0.0.1:80 without;
//! - `# from ADDRESS` the client, 127.0.0.1 without;
//! - `# head` shows the forwarded head behind `>`;
//! - `# log` shows the error log's lines behind `!`;
//! - `# answer NAME: VALUE` a field of the origin's response; all of its fields
//!   are shown behind `<` as the client gets them.

mod common;
mod fixtures;

use std::fmt::Write as _;
use std::time::SystemTime;

use relais_http1::{Limits, Parse, RequestHead, ResponseHead, ResponseLimits, split_host_port};
use relais_policy::{Connection, Decision, Exchange, SectionSets, Site};

#[test]
fn files() {
    fixtures::run_fixtures("test", |_, parts| {
        let [config, requests] = parts else {
            return "a fixture has three parts".to_owned();
        };
        let read = common::read(config);
        let Some(site) = &read.site else {
            return read.diagnostics.render(&read.loaded.sources);
        };
        let sets = SectionSets::default();
        let requests = requests
            .split("\n\n")
            .filter(|request| !request.trim().is_empty());
        requests
            .map(|request| Request::read(request).run(site, &sets))
            .collect()
    });
}

#[derive(Default)]
struct Request<'a> {
    to: Option<&'a str>,
    from: Option<&'a str>,
    show_head: bool,
    show_log: bool,
    answer: Vec<(&'a str, &'a str)>,
    text: String,
}

impl<'a> Request<'a> {
    fn read(text: &'a str) -> Self {
        let mut request = Self::default();
        for line in text.trim_matches('\n').lines() {
            match line
                .strip_prefix("# ")
                .map(|option| option.split_once(' ').unwrap_or((option, "")))
            {
                Some(("to", address)) => request.to = Some(address),
                Some(("from", address)) => request.from = Some(address),
                Some(("head", _)) => request.show_head = true,
                Some(("log", _)) => request.show_log = true,
                Some(("answer", field)) => request.answer.extend(field.split_once(": ")),
                Some((other, _)) => panic!("unknown option {other}"),
                None => writeln!(request.text, "{line}\r").expect("written"),
            }
        }
        request.text.push_str("\r\n");
        request
    }

    fn run(&self, site: &Site, sets: &SectionSets) -> String {
        let mut head = RequestHead::new();
        match head.parse_into(self.text.as_bytes(), &Limits::default()) {
            Ok(Parse::Complete { .. }) => {}
            other => return format!("no request: {other:?}\n"),
        }
        let meta = match head.check() {
            Ok(meta) => meta,
            Err(error) => return format!("no request: {error:?}\n"),
        };
        let from = self
            .from
            .unwrap_or("127.0.0.1")
            .parse()
            .expect("an address");
        let connection = Connection {
            peer: std::net::SocketAddr::new(from, 40000),
            local: self
                .to
                .unwrap_or("127.0.0.1:80")
                .parse()
                .expect("an address and port"),
            secure: false,
            requests: 0,
            stream: None,
        };
        let name = head
            .fields
            .get("Host")
            .and_then(split_host_port)
            .map(|host| host.host.to_ascii_lowercase());
        let host = site.host_for(connection.local, name.as_deref());
        let mut exchange =
            Exchange::new(site, host, connection, &head, &meta, SystemTime::UNIX_EPOCH);
        let decision = common::decide(&mut exchange, sets);
        let mut again = Exchange::new(site, host, connection, &head, &meta, SystemTime::UNIX_EPOCH);
        again.explain();
        assert_eq!(
            common::decide(&mut again, sets),
            decision,
            "explaining changes the decision: {}",
            self.text
        );
        self.show(&exchange, &decision)
    }

    fn show(&self, exchange: &Exchange<'_>, decision: &Decision) -> String {
        let mut out = format!("{decision}\n");
        if self.show_log {
            for line in &exchange.log {
                writeln!(
                    out,
                    "! {}:{} {}",
                    line.module,
                    line.level.name(),
                    line.message
                )
                .expect("written");
            }
            if let Decision::Respond(respond) = decision {
                writeln!(out, "! {}", respond.log.as_deref().unwrap_or("-")).expect("written");
            }
        }
        if let (true, Decision::Proxy(forward) | Decision::Tunnel(forward)) =
            (self.show_head, decision)
        {
            let head = String::from_utf8_lossy(&forward.head);
            let lines = head
                .strip_suffix("\r\n\r\n")
                .expect("a whole head")
                .split("\r\n");
            lines.for_each(|line| writeln!(out, "> {line}").expect("written"));
        }
        if !self.answer.is_empty() {
            self.show_answer(exchange, &mut out);
        }
        out
    }

    fn show_answer(&self, exchange: &Exchange<'_>, out: &mut String) {
        let mut response = ResponseHead::new();
        let text = b"HTTP/1.1 200 OK\r\n\r\n";
        response
            .parse_into(text, &ResponseLimits::default())
            .expect("a response");
        for (name, value) in &self.answer {
            response.fields.push(name, value).expect("a field");
        }
        for phase in exchange.site.phases.response {
            phase(exchange, &mut response);
        }
        for (name, value) in &response.fields {
            writeln!(out, "< {}: {}", name.escape_ascii(), value.escape_ascii()).expect("written");
        }
    }
}
