//! The engine against tables of rules, requests and results.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use relais_expr::{Ahead, Lookup, Variable};

use crate::{Context, Input, Outcome, Rule, RuleSet, canonical_path, parse_cond, parse_rule, run};

/// A request with a few headers, served as `http://own.example:8080`.
#[derive(Default)]
struct Request {
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    headers: Vec<(&'static str, &'static str)>,
    line: &'static str,
    env: BTreeMap<Vec<u8>, Vec<u8>>,
    vary: Vec<Vec<u8>>,
    ended: bool,
    /// What `[T]` and `[H]` said.
    forced: [String; 2],
    log_level: u8,
    log: RefCell<Vec<String>>,
}

impl Request {
    fn new(target: &str) -> Self {
        let (path, query) = target
            .split_once('?')
            .map_or((target, None), |(path, query)| (path, Some(query)));
        Self {
            path: path.into(),
            query: query.map(Into::into),
            ..Self::default()
        }
    }

    fn with(target: &str, headers: &[(&'static str, &'static str)]) -> Self {
        Self {
            headers: headers.to_vec(),
            ..Self::new(target)
        }
    }
}

impl Lookup for Request {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        let header = |name: &[u8]| {
            self.headers
                .iter()
                .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
                .map(|(_, value)| value.as_bytes())
        };
        out.extend_from_slice(match variable {
            Variable::Header(name) => header(name).unwrap_or_default(),
            Variable::Env(name) => self.env.get(&**name).map_or(b"", Vec::as_slice),
            Variable::RequestUri => &self.path,
            Variable::RequestScheme => b"http",
            Variable::ServerName => b"own.example",
            Variable::ServerPort => b"8080",
            Variable::RequestMethod => b"GET",
            Variable::TheRequest => self.line.as_bytes(),
            _ => b"",
        });
    }
}

impl Context for Request {
    fn set_env(&mut self, name: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.env.insert(name.to_vec(), value.to_vec()),
            None => self.env.remove(name),
        };
    }

    fn own_host(&self, scheme: &[u8], host: &[u8], port: u16) -> bool {
        (scheme, host, port) == (b"http", b"own.example", 8080)
    }

    fn set_type(&mut self, kind: &[u8]) {
        self.forced[0] = kind.escape_ascii().to_string();
    }

    fn set_handler(&mut self, handler: &[u8]) {
        self.forced[1] = handler.escape_ascii().to_string();
    }

    fn end_rewriting(&mut self) {
        self.ended = true;
    }

    fn look_ahead(&self, ahead: Ahead, uri: &[u8], _: &Variable, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(format!("ahead:{ahead:?}:{}:", uri.escape_ascii()).as_bytes());
        true
    }

    fn vary(&mut self, header: &[u8]) {
        self.vary.push(header.to_vec());
    }

    fn trace_level(&self) -> u8 {
        self.log_level
    }

    fn trace(&self, level: u8, _bare: bool, line: fmt::Arguments<'_>) {
        self.log.borrow_mut().push(format!("{level} {line}"));
    }
}

/// Reads lines that start with `cond` or are rules.
fn rules(text: &str) -> RuleSet {
    let mut conditions = Vec::new();
    let mut rules: Vec<Rule> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(condition) = line.strip_prefix("cond ") {
            conditions.push(parse_cond(condition.as_bytes()).expect(line));
        } else {
            let draft = parse_rule(line.as_bytes()).expect(line);
            rules.push(draft.with_conditions(std::mem::take(&mut conditions)));
        }
    }
    RuleSet::new(rules)
}

fn run_for(rules: &RuleSet, request: &mut Request) -> Outcome {
    let (path, query) = (request.path.clone(), request.query.clone());
    run(rules, &Input::new(&path, query.as_deref()), request)
}

/// What the client or the origin would get to see of an outcome.
fn wire(outcome: &Outcome) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let with = |path: String, query: &Option<Vec<u8>>| match query {
        Some(query) => format!("{path}?{}", text(query)),
        None => path,
    };
    match outcome {
        Outcome::Declined => "declined".to_owned(),
        Outcome::Proxy {
            url,
            absolute,
            query,
            no_escape,
        } => {
            let origin = url
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte == b'/')
                .nth(2)
                .map_or(url.len(), |(at, _)| at);
            let (origin, path) = url.split_at(if *absolute { origin } else { 0 });
            let mut target = Vec::new();
            if *no_escape {
                target.extend_from_slice(path)
            } else {
                canonical_path(path, &mut target)
            }
            with(format!("proxy {}{}", text(origin), text(&target)), query)
        }
        Outcome::Redirect { status, location } => format!("{status} {}", text(location)),
        Outcome::Status(status) => format!("status {status}"),
        Outcome::PassThrough { path, query } => with(format!("pass {}", text(path)), query),
        Outcome::Rewritten { path, query, .. } => with(format!("path {}", text(path)), query),
        Outcome::Same { query } => with("same".to_owned(), query),
        Outcome::Error { status, .. } => format!("error {status}"),
    }
}

fn check(table: &[(&str, &str, &str)]) {
    for (text, target, expected) in table {
        let outcome = run_for(&rules(text), &mut Request::new(target));
        assert_eq!(wire(&outcome), *expected, "{text} for {target}");
    }
}

/// Paths stand decoded in these tables, as the rules see them.
#[test]
fn backreferences_to_an_origin() {
    let plain = "^/a/(.*)$ http://o/b/$1 [P]";
    let bare = "^/a/(.*)$ http://o/b/$1 [P,NE]";
    let escaped = "^/a/(.*)$ http://o/b/$1 [P,B]";
    let in_query = "^/a/(.*)$ http://o/b?p=$1";
    check(&[
        (plain, "/a/x?q=1", "proxy http://o/b/x?q=1"),
        (plain, "/a/x y", "proxy http://o/b/x%20y"),
        (plain, "/a/x+y+z", "proxy http://o/b/x+y+z"),
        (plain, "/a/x%y", "proxy http://o/b/x%25y"),
        (plain, "/a/\u{e9}", "proxy http://o/b/%C3%A9"),
        (plain, "/a/x;j=1&k", "proxy http://o/b/x;j=1&k"),
        (plain, "/a/x\"<>", "proxy http://o/b/x%22%3C%3E"),
        (plain, "/a/~x[1]", "proxy http://o/b/~x%5B1%5D"),
        (
            plain,
            "/a/x\r\nX-Bad: 1",
            "proxy http://o/b/x%0D%0AX-Bad:%201",
        ),
        (bare, "/a/x y", "error 403"),
        (bare, "/a/x%y?q=1", "proxy http://o/b/x%y?q=1"),
        (bare, "/a/x\r\ny", "error 403"),
        (escaped, "/a/x/y", "proxy http://o/b/x%252fy"),
        (escaped, "/a/x y", "proxy http://o/b/x+y"),
        (
            "^/a/(.*)$ http://o/b/$1 [P,B,BNP]",
            "/a/x y",
            "proxy http://o/b/x%2520y",
        ),
        (
            "^/a/(.*)$ http://o/b/$1 [P,B,NE]",
            "/a/x y/z",
            "proxy http://o/b/x+y%2fz",
        ),
        (
            "^/a/(.*)$ http://o/b/$1 [P,B,BNE=/]",
            "/a/x/y z",
            "proxy http://o/b/x/y+z",
        ),
        (&format!("{in_query} [P]"), "/a/x y", "error 403"),
        (&format!("{in_query} [P]"), "/a/x\ry", "error 403"),
        (
            &format!("{in_query} [P,B]"),
            "/a/x y&z=1",
            "proxy http://o/b?p=x+y%26z%3d1",
        ),
        (
            &format!("{in_query} [P,BCTLS]"),
            "/a/x y/z",
            "proxy http://o/b?p=x+y/z",
        ),
        ("!^/keep http://o/neg$1 [P]", "/x", "proxy http://o/neg"),
        ("!^/keep http://o/neg$1 [P]", "/keep", "declined"),
        ("^/a/(.*) http://o/$1 [P]", "/a//x", "proxy http://o//x"),
        (
            "^/p/(.*)$ http://o/rule/$1 [P]",
            "/p/x",
            "proxy http://o/rule/x",
        ),
        ("^/a /b [P]", "/a", "proxy /b"),
        ("^/a b [P]", "/a", "proxy /b"),
        (
            "^/a unix:/run/s|http://o/b [P]",
            "/a",
            "proxy unix:/run/s|http://o/b",
        ),
    ]);
}

#[test]
fn question_marks_from_the_path() {
    check(&[
        (
            "^/a/(.*)$ http://o/b/$1 [P]",
            "/a/x?y",
            "proxy http://o/b/x?y",
        ),
        ("^/a /b?n=1 [L]", "/a", "path /b?n=1"),
    ]);
    for (rule, expected) in [
        ("^/a/(.*)$ http://o/b/$1 [P]", "error 403"),
        ("^/a/(.*)$ /b/$1 [PT]", "error 403"),
        ("^/a/(.*)$ /b/$1 [R]", "error 403"),
        (
            "^/a/(.*)$ http://o/b/$1 [P,UnsafeAllow3F]",
            "proxy http://o/b/x?y",
        ),
        ("^/a/(.*)$ http://o/b?p=$1 [P]", "proxy http://o/b?p=x?y"),
        ("^/a/(.*)$ http://o/b?p=$1 [P,QSL]", "error 403"),
        ("^/a/(.*)$ http://o/b/$1?n=1 [P]", "error 403"),
        (
            "^/a/(.*)$ http://o/b/$1?n=1 [P,QSL]",
            "proxy http://o/b/x%3Fy?n=1",
        ),
        ("^/a/(.*)$ http://o/b/$1 [P,B]", "proxy http://o/b/x%253fy"),
        (
            "\"^/a/(.*)$\" http://o/b/$1 \"[P,B= ?#]\"",
            "proxy http://o/b/x%253fy",
        ),
        ("^/a/(.*)$ http://o/b/$1? [P]", "error 403"),
    ] {
        let mut request = Request {
            path: b"/a/x?y".to_vec(),
            ..Request::default()
        };
        assert_eq!(
            wire(&run_for(&rules(rule), &mut request)),
            expected,
            "{rule}"
        );
    }
    let mut mixed = Request {
        path: b"/a/x y/z?q".to_vec(),
        ..Request::default()
    };
    let listed = rules("^/a/(.*)$ http://o/b/$1 \"[P,B= ?#]\"");
    assert_eq!(
        wire(&run_for(&listed, &mut mixed)),
        "proxy http://o/b/x+y/z%253fq"
    );
}

#[test]
fn queries() {
    check(&[
        ("^/a http://o/b?n=1 [P]", "/a?q=1", "proxy http://o/b?n=1"),
        (
            "^/a http://o/b?n=1 [P,QSA]",
            "/a?q=1",
            "proxy http://o/b?n=1&q=1",
        ),
        ("^/a http://o/b?n=1 [P,QSA]", "/a", "proxy http://o/b?n=1"),
        ("^/a http://o/b?n=1& [P]", "/a", "proxy http://o/b?n=1"),
        (
            "^/a http://o/b?n=1& [P,QSA]",
            "/a?q",
            "proxy http://o/b?n=1&&q",
        ),
        (
            "^/a http://o/b?n=1 [P,QSA]",
            "/a?q&",
            "proxy http://o/b?n=1&q",
        ),
        ("^/a http://o/b? [P]", "/a?q=1", "proxy http://o/b"),
        ("^/a http://o/b [P,QSD]", "/a?q=1", "proxy http://o/b"),
        ("^/a http://o/b?x [P,QSD]", "/a?q=1", "proxy http://o/b?x"),
        (
            "^/a http://o/b?x [P,QSD,QSA]",
            "/a?q=1",
            "proxy http://o/b?x",
        ),
        ("^/a http://o/b? [P,QSA]", "/a?q=1", "proxy http://o/b?q=1"),
        ("^/a http://o/b? [P,QSA]", "/a?", "proxy http://o/b"),
        ("^/a http://o/b [P]", "/a?", "proxy http://o/b?"),
        (
            "^/a http://o/b?x?n=1 [P,QSL]",
            "/a?q=1",
            "proxy http://o/b%3Fx?n=1",
        ),
        (
            "^/a http://o/b?x?n=1 [P]",
            "/a?q=1",
            "proxy http://o/b?x?n=1",
        ),
        ("^/a - [QSD]", "/a?q=1", "declined"),
        ("^/a /b?n=1& [R,QSA]", "/a", "302 /b?n=1&"),
        ("^/a /b? [R,QSA]", "/a?x&", "302 /b?x"),
        (r"^/a$ /b?x\?$0 [R]", "/a", "302 /b?x%3f/a"),
        (
            "^/a /b?1 [QSA]\n^/b http://o/c?2 [P,QSA]",
            "/a?q",
            "proxy http://o/c?2&1&q",
        ),
        (
            "^/a /b?1\n^/b http://o/%{QUERY_STRING} [P]",
            "/a?q",
            "proxy http://o/1?1",
        ),
        ("^/a ?x=1 [PT]", "/a", "pass /?x=1"),
        ("^/a news:x?y [R]", "/a?q", "302 news:x%3fy"),
    ]);
}

#[test]
fn redirects() {
    check(&[
        ("^/a/(.*)$ /b/$1 [R]", "/a/x y?q=1", "302 /b/x%20y?q=1"),
        ("^/a$ /b#frag [R]", "/a", "302 /b%23frag"),
        ("^/a$ /b#frag [R,NE]", "/a", "302 /b#frag"),
        ("^/a$ b [R]", "/a", "302 /b"),
        (
            "^/a$ https://o.example/b [R=301,L]",
            "/a?q=1",
            "301 https://o.example/b?q=1",
        ),
        (
            "^/a$ http://o.example/b",
            "/a?q=a%20b",
            "302 http://o.example/b?q=a%20b",
        ),
        (
            "^/a$ http://o.example/b?q=%%41",
            "/a",
            "302 http://o.example/b?q=%251",
        ),
        (
            "^/a/(.*)$ http://o.example/b?q=$1",
            "/a/x y",
            "302 http://o.example/b?q=x%20y",
        ),
        (
            "^/a$ http://o.example/b [QSA]",
            "/a?x|y",
            "302 http://o.example/b?x|y",
        ),
        (
            "^/a$ http://o.example/b?n [QSA]",
            "/a?x|y",
            "302 http://o.example/b?n&x%7cy",
        ),
        (
            "^/a$ http://o.example [R=permanent]",
            "/a",
            "301 http://o.example",
        ),
        (
            "^/a/(.*)$ //$1 [R]",
            "/a/evil.example",
            "302 //evil.example",
        ),
        ("^/a/(.*)$ /$1 [R,NE]", "/a/x\r\nSet-Cookie: a", "error 500"),
        (
            "^/a/(.*)$ /$1 [R]",
            "/a/x\r\nSet-Cookie: a",
            "302 /x%0d%0aSet-Cookie:%20a",
        ),
        ("^/a/(.*)$ /b?$1 [R,NE]", "/a/x y", "error 403"),
        ("^/a - [R=301]", "/a", "declined"),
        (
            "^/a /b [R]\n^http://own.example:8080(/.*) $1/c [PT]",
            "/a",
            "pass /b/c",
        ),
        ("^/a /b [R=301]\n/b$ - [L]", "/a", "301 /b"),
        (
            "^/a /b [R=301]\n/b$ https://o.example/",
            "/a",
            "302 https://o.example/",
        ),
    ]);
}

#[test]
fn paths_and_own_urls() {
    check(&[
        ("^/a/(.*)$ /pp/$1 [PT]", "/a/x y?q=1", "pass /pp/x y?q=1"),
        ("^/a/(.*)$ /pp/$1", "/a/x", "path /pp/x"),
        ("^/a - [PT]", "/a", "pass /a"),
        ("^/(i.*)$ $1", "/index", "path /index"),
        (
            "^/a(.*) $1",
            "/aproxy:http://evil/",
            "path /proxy:http://evil/",
        ),
        ("^/a(.*) $1", "/afoo:bar", "path /foo:bar"),
        ("^/a http://own.example:8080/b", "/a", "path /b"),
        ("^/a http://own.example:8080 [PT]", "/a", "pass /"),
        ("^/a http://own.example/b", "/a", "302 http://own.example/b"),
        (
            "^/a https://own.example:8080/b",
            "/a",
            "302 https://own.example:8080/b",
        ),
        (
            "^/a http://own.example:73616/b",
            "/a",
            "302 http://own.example:73616/b",
        ),
        ("^/a(.*) /$1 [PT]", "/a///b", "pass /b"),
        ("^/a(.*) //c/$1 [PT]", "/a/b", "pass //c//b"),
        ("^/a http://o/ [PT]", "/a", "error 400"),
        ("^/a http://o/ [P,PT]", "/a", "error 400"),
        ("^/a \"\" [PT]", "/a", "pass /"),
        ("^/a /b [L]\n^/b http://o/never [P]", "/a", "path /b"),
        ("^/a /b\n^/b http://o/c [P]", "/a", "proxy http://o/c"),
        ("^/a /b", "/b", "declined"),
        (r"\.php$ http://o/ [P]", "/x.php\n", "declined"),
        ("^/(.*)$ http://o/$1 [P]", "/a\nb", "proxy http://o/a%0Ab"),
        ("^ /x [PT]", "*", "declined"),
        ("^ /x [PT]", "evil.example:80", "declined"),
    ]);
}

#[test]
fn the_request_does_not_choose_the_origin() {
    check(&[
        ("^/(.*)$ $1 [P]", "/http://evil/", "error 403"),
        ("^/(.*)$ $1 [P]", "/unix:/run/s|http://o/", "error 403"),
        (
            "^/(http)/(.*)$ $1://$2 [P]",
            "/http/o/x",
            "proxy http://o/x",
        ),
        ("^/(.*)$ $1 [P]", "/x", "proxy /x"),
        (
            "^/(.*)$ http://o/$1 [P]",
            "/unix:/run/s|http://evil/",
            "proxy http://o/unix:/run/s%7Chttp://evil/",
        ),
    ]);
}

#[test]
fn order_of_rules() {
    let chain = "^/a /b [C]\n^/b /c [C]\n^/c /d\n^/z /y [PT]";
    let skip = "^/a - [S=2]\n^ /x [F]\n^ /x [G]\n^/a /ok [PT]";
    check(&[
        (
            "^(.*)_(.*)$ $1-$2 [N]\n^/(.*)$ http://o/$1 [P]",
            "/a_b_c_d",
            "proxy http://o/a-b-c-d",
        ),
        ("^(.*)_(.*)$ $1_-$2 [N=3]", "/a_b", "error 500"),
        ("^(.*)_(.*)$ $1-$2 [N=3]", "/a_b", "path /a-b"),
        ("^(.*)_(.*)$ $1-$2 [N=0]", "/a_b", "error 500"),
        ("^(.*)$ $1/long [N]", "/a", "error 500"),
        ("^/ /?x [N,QSA]", "/a", "error 500"),
        (chain, "/a", "path /d"),
        (chain, "/z", "pass /y"),
        (chain, "/c", "declined"),
        ("^/x - [C]\n^/x - [C]", "/a", "declined"),
        (skip, "/a", "pass /ok"),
        (skip, "/b", "status 403"),
        ("^/a - [S=99]", "/a", "declined"),
        ("^/a - [S=-1]\n^/a - [G]", "/a", "status 410"),
        ("^/a /b [F]", "/a", "status 403"),
        ("^/a /b [G]", "/a", "status 410"),
        ("^/a /b [R=404]", "/a", "status 404"),
        ("^/a - [R=200]", "/a", "status 200"),
        ("^/a - [L]\n^/a - [F]", "/a", "declined"),
        (
            "^(/(a|aa)+)$ /x",
            "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
            "error 500",
        ),
    ]);
}

#[test]
fn conditions() {
    let or = "cond %{QUERY_STRING} a=1 [OR]\ncond %{QUERY_STRING} b=1\ncond %{REQUEST_METHOD} =GET\n^ /m [PT]";
    let or_first = "cond %{QUERY_STRING} =1\ncond %{QUERY_STRING} =2 [OR]\ncond %{QUERY_STRING} =1 [OR]\n^ /m [PT]";
    check(&[
        (or, "/?a=1", "pass /m?a=1"),
        (or, "/?b=1", "pass /m?b=1"),
        (or, "/?c=1", "declined"),
        (or_first, "/?1", "pass /m?1"),
        (or_first, "/?2", "declined"),
        (
            "cond %{QUERY_STRING} =9 [OR]\n^ /m [PT]",
            "/?1",
            "pass /m?1",
        ),
        ("cond $1 =x\n^/(.) /m [PT]", "/x", "pass /m"),
        ("cond $1 !=x\n^/(.) /m [PT]", "/x", "declined"),
        (
            "cond host (h.*)\ncond id=42 id=(\\d+)\n^ /%1 [PT]",
            "/",
            "pass /42",
        ),
        (
            "cond host (h.*)\ncond x !(y)\n^ /%1 [PT]",
            "/",
            "pass /host",
        ),
        (
            "cond host (h.*)\ncond x%1 (.*)\n^ /%1 [PT]",
            "/",
            "pass /xhost",
        ),
        ("cond a (a)\n^/x -\n^/y /[%1] [PT]", "/y", "pass /[]"),
        ("cond a (a)\n^ -\n^/y /[%1] [PT]", "/y", "pass /[]"),
        (
            "cond %{QUERY_STRING} -ge10\n^ /m [PT]",
            "/?11x",
            "pass /m?11x",
        ),
        ("cond abc -ge10\n^ /m [PT]", "/", "declined"),
        ("cond abc -ne0\n^ /m [PT]", "/", "declined"),
        ("cond b >aa\n^ /m [PT]", "/", "declined"),
        ("cond b >aa [NC]\n^ /m [PT]", "/", "pass /m"),
        ("cond B =b [NC]\n^ /m [PT]", "/", "pass /m"),
        (
            "cond %{REQUEST_FILENAME}:%{REQUEST_URI} ^/b:/a$\n^/b /m [PT]",
            "/a",
            "declined",
        ),
        (
            "^/a /b\ncond %{REQUEST_FILENAME}:%{REQUEST_URI} ^/b:/a$\n^/b /m [PT]",
            "/a",
            "pass /m",
        ),
        ("cond %{IS_SUBREQ} =false\n^ /m [PT]", "/", "pass /m"),
        (
            "cond %{LA-U:REMOTE_USER}%{LA-F:QUERY_STRING} =ahead:Url:/:ahead:File:/:\n^ /m [PT]",
            "/?q",
            "pass /m?q",
        ),
    ]);
}

#[test]
fn conditions_on_headers() {
    let upgrade =
        "cond %{HTTP:Connection} upgrade [NC]\ncond %{HTTP:Upgrade} ^websocket$ [NC]\n^ /m [PT]";
    let absent = "cond %{HTTP:X-Foo} =\"\"\n^ /m [PT]";
    for (text, headers, expected) in [
        (
            upgrade,
            &[
                ("Connection", "keep-alive, Upgrade"),
                ("Upgrade", "WebSocket"),
            ][..],
            "pass /m",
        ),
        (upgrade, &[("Connection", "keep-alive")], "declined"),
        (absent, &[], "pass /m"),
        (absent, &[("X-Foo", "1")], "declined"),
    ] {
        assert_eq!(
            wire(&run_for(&rules(text), &mut Request::with("/a", headers))),
            expected,
            "{text}"
        );
    }
}

#[test]
fn vary_names_the_headers_that_decided() {
    let text = "cond %{HTTP:A} =0 [OR]\ncond %{HTTP:B} =1\ncond %{HTTP:C} =1 [NV]\ncond %{HTTP_HOST} !=x\ncond %{HTTP:D} !=x\n^/a /m [PT]";
    let headers = [("A", "1"), ("B", "1"), ("C", "1"), ("Host", "h")];
    let mut request = Request::with("/a", &headers);
    assert_eq!(wire(&run_for(&rules(text), &mut request)), "pass /m");
    assert_eq!(request.vary, [b"B"]);
    let mut other = Request::with("/b", &headers);
    assert_eq!(wire(&run_for(&rules(text), &mut other)), "declined");
    assert!(other.vary.is_empty());
}

#[test]
fn environment_and_the_raw_request_line() {
    let text = "^/a - [E=FOO:bar,E=Q:%{QUERY_STRING},E=GONE:1,E=!GONE,E=EMPTY]\ncond %{ENV:FOO} ^b(.)r$\n^ http://o/env/%1/%{ENV:Q} [P]";
    let mut request = Request::new("/a?z=9");
    assert_eq!(
        wire(&run_for(&rules(text), &mut request)),
        "proxy http://o/env/a/z=9?z=9"
    );
    let names: Vec<_> = request
        .env
        .keys()
        .map(|name| name.escape_ascii().to_string())
        .collect();
    assert_eq!(names, ["EMPTY", "FOO", "Q"]);

    let raw = rules("cond %{THE_REQUEST} \"^GET /v/(\\S+) HTTP\"\n^ http://o/%1 [P,NE]");
    let mut request = Request {
        line: "GET /v/a%20b HTTP/1.1",
        ..Request::new("/v/a b")
    };
    assert_eq!(wire(&run_for(&raw, &mut request)), "proxy http://o/a%20b");
}

#[test]
fn end_and_subrequests() {
    let mut request = Request::new("/a");
    assert_eq!(
        wire(&run_for(&rules("^/a /b [END]\n^/b - [F]"), &mut request)),
        "path /b"
    );
    assert!(request.ended);
    for (rule, expected) in [
        ("^/a /b [PT]", "pass /b"),
        ("^/a /b [NS,PT]", "declined"),
        ("^/a /b [R]", "declined"),
    ] {
        let input = Input {
            is_subrequest: true,
            ..Input::new(b"/a", None)
        };
        assert_eq!(
            wire(&run(&rules(rule), &input, &mut Request::new("/a"))),
            expected,
            "{rule}"
        );
    }
}

/// The first rule sends upgrades on, the second everything else; its missing slash is part of the configuration.
#[test]
fn a_sockjs_event_bus() {
    let bus = rules(
        "cond %{HTTP:Upgrade} websocket [NC]
         /eventbus/(.*)$ ws://h:7018/eventbus/$1 [proxy,last]
         /eventbus/(.*)$ http://h:7018/eventbus$1 [proxy,last]",
    );
    for (target, upgrade, expected) in [
        (
            "/eventbus/websocket?x=1&y=a%20b",
            "WebSocket",
            "proxy ws://h:7018/eventbus/websocket?x=1&y=a%20b",
        ),
        (
            "/eventbus/info?t=1",
            "",
            "proxy http://h:7018/eventbusinfo?t=1",
        ),
        (
            "/eventbus/123/xhr",
            "",
            "proxy http://h:7018/eventbus123/xhr",
        ),
        ("/eventbus/", "", "proxy http://h:7018/eventbus"),
        ("/eventbus", "", "declined"),
        ("/eventbus", "websocket", "declined"),
        ("/x/eventbus/abc", "", "proxy http://h:7018/eventbusabc"),
        ("/eventbus/a b", "", "proxy http://h:7018/eventbusa%20b"),
        (
            "/eventbus/x",
            "h2c, websocket",
            "proxy ws://h:7018/eventbus/x",
        ),
    ] {
        let headers: &[_] = if upgrade.is_empty() {
            &[]
        } else {
            &[("Upgrade", upgrade)]
        };
        assert_eq!(
            wire(&run_for(&bus, &mut Request::with(target, headers))),
            expected,
            "{target} {upgrade}"
        );
    }
    let mut latin1 = Request {
        path: b"/eventbus/\xe9".to_vec(),
        ..Request::default()
    };
    assert_eq!(
        wire(&run_for(&bus, &mut latin1)),
        "proxy http://h:7018/eventbus%E9"
    );
}

#[test]
fn the_log_keeps_httpds_words() {
    let text = "cond %{HTTP:U} !W [NC]\n^/a/(.*) http://o/$1?n [P,E=K:$1]\n";
    let mut request = Request {
        log_level: 5,
        ..Request::new("/a/x")
    };
    run_for(&rules(text), &mut request);
    assert_eq!(
        request.log.take(),
        [
            "2 init rewrite engine with requested uri /a/x",
            "3 applying pattern '^/a/(.*)' to uri '/a/x'",
            "4 RewriteCond: input='' pattern='!W' [NC] => matched",
            "2 rewrite '/a/x' -> 'http://o/x?n'",
            "5 setting env variable 'K' to 'x'",
            "3 split uri=http://o/x?n -> uri=http://o/x, args=n",
            "2 forcing proxy-throughput with http://o/x",
            "2 setting lastsub to rule with output http://o/$1?n",
            "1 go-ahead with proxy request proxy:http://o/x [OK]",
        ]
    );
    let mut silent = Request::new("/a/x");
    run_for(&rules(text), &mut silent);
    assert_eq!(silent.log.take(), Vec::<String>::new());
}

mod random;

#[test]
fn a_pattern_that_runs_away_is_named() {
    let path = format!("/{}!", "a".repeat(60));
    for (text, expected) in [
        (
            "^/(a|aa)+$ /b [R]",
            "matching was given up at its limit: RewriteRule with the pattern '^/(a|aa)+$'",
        ),
        (
            "cond %{REQUEST_URI} ^/(a|aa)+$\n. /b [R]",
            "matching was given up at its limit: RewriteCond with the pattern '^/(a|aa)+$'",
        ),
    ] {
        let outcome = run_for(&rules(text), &mut Request::new(&path));
        let Outcome::Error { status, reason } = outcome else {
            panic!("{text}: {outcome:?}")
        };
        assert_eq!((status, reason.as_ref()), (500, expected));
    }
}

/// What the rules of a section make of a request, as `prefix` is stripped or not.
#[test]
fn per_directory_context() {
    use crate::Directory;
    for (text, path, strips, base, expected) in [
        ("^b/(.*)$ /c/$1", "/dir/b/x", true, None, "path /c/x"),
        ("^b/(.*)$ c/$1", "/dir/b/x", true, None, "path /dir/c/x"),
        (
            "^b/(.*)$ c/$1",
            "/dir/b/x",
            true,
            Some("/base"),
            "path /base/c/x",
        ),
        (
            "^b/(.*)$ c/$1 [R]",
            "/dir/b/x",
            true,
            Some("/base/"),
            "302 /base/c/x",
        ),
        ("^b/(.*)$ c/$1", "/dir/b/x", false, None, "declined"),
        ("b/(.*)$ c/$1", "/dir/b/x", false, None, "path /dir/c/x"),
        ("^b a [PT]\n. - [F]", "/dir/b", true, None, "path /dir/a"),
        (
            "^b http://o/$0 [P]",
            "/dir/b",
            true,
            None,
            "proxy http://o/b",
        ),
        ("^b a\n^a$ - [G]", "/dir/b", true, None, "status 410"),
        ("^x a", "/dir/b", true, None, "declined"),
    ] {
        let input = Input {
            directory: Some(Directory {
                prefix: b"/dir/",
                strips,
                base: base.map(str::as_bytes),
                root: None,
                alias: None,
                proxied: false,
            }),
            ..Input::new(path.as_bytes(), None)
        };
        let outcome = run(&rules(text), &input, &mut Request::new(path));
        assert_eq!(wire(&outcome), expected, "{text} for {path}");
    }
}

/// What leads beyond the file is seen by patterns, and a result becomes a URL again.
#[test]
fn files_of_folders() {
    use crate::Directory;
    let table: &[(&str, &str, &str, &str)] = &[
        ("^f/(.*)$ /c/$1", "/root/dir/f", "/x/y", "path /c/x/y"),
        ("^f/x$ g", "/root/dir/f", "/x", "path /dir/g"),
        ("^f$ g", "/root/dir/f", "/x", "declined"),
        // The rest stands behind the new name for the next rule, unless it is discarded.
        ("^f/x$ g\n^g/x$ h", "/root/dir/f", "/x", "path /dir/h"),
        ("^f/x$ g [DPI]\n^g$ h", "/root/dir/f", "/x", "path /dir/h"),
        (
            "cond %{REQUEST_FILENAME} ^/root/dir/f$\n. /b",
            "/root/dir/f",
            "/x",
            "path /b",
        ),
        ("^f f", "/root/dir/f", "", "same"),
        ("^f f", "/root/dir/f", "/x", "same"),
        ("^f f?q", "/root/dir/f", "", "same?q"),
        ("^f /elsewhere/g", "/root/dir/f", "", "path /elsewhere/g"),
        ("^f /alias/g", "/root/dir/f", "", "path /icons/g"),
    ];
    for (text, path, path_info, expected) in table {
        let input = Input {
            path_info: path_info.as_bytes(),
            directory: Some(Directory {
                prefix: b"/root/dir/",
                strips: true,
                base: None,
                root: Some(b"/root"),
                alias: Some((b"/alias", b"/icons/")),
                proxied: false,
            }),
            ..Input::new(path.as_bytes(), None)
        };
        let outcome = run(&rules(text), &input, &mut Request::new(path));
        assert_eq!(wire(&outcome), *expected, "{text} for {path}{path_info}");
    }
}

#[test]
fn types_and_handlers() {
    for (text, expected) in [
        (
            "^/a$ - [T=TEXT/Plain,H=default-handler]",
            "text/plain|default-handler",
        ),
        ("^/(a)$ /b [T=x/$1,handler=h-$1]", "x/a|h-a"),
        ("^/(a)$ /b [T=x/$1,L,R]", "|"),
        ("^/(a)$ http://o/b [T=x/$1,P]", "|"),
        ("^/a$ - [T=${none:x}]", "|"),
    ] {
        let mut request = Request::new("/a");
        run_for(&rules(text), &mut request);
        let [kind, handler] = &request.forced;
        assert_eq!(format!("{kind}|{handler}"), expected, "{text}");
    }
}

/// Where the first segment of a path comes from.
#[test]
fn first_segments() {
    use crate::Prefix;
    for (text, expected) in [
        ("^/a/(.*) /srv/$1", Prefix::Author),
        ("^/a/(.*) /srv$1", Prefix::Request),
        ("^/a/(.*) /$1", Prefix::Request),
        ("^/a/(.*) /$1 [UnsafePrefixStat]", Prefix::Author),
        ("^/a/(.*) http://own.example:8080/srv/$1", Prefix::OwnUrl),
    ] {
        let outcome = run_for(&rules(text), &mut Request::new("/a/x/y"));
        let Outcome::Rewritten { prefix, .. } = outcome else {
            panic!("{text}: {outcome:?}")
        };
        assert_eq!(prefix, expected, "{text}");
    }
}

#[test]
fn maps_files_and_cookies_are_asked_of_the_context() {
    #[derive(Default)]
    struct Asked(Vec<String>);
    impl Lookup for Asked {
        fn variable(&self, _variable: &Variable, _out: &mut Vec<u8>) {}
        fn map(&self, map: &[u8], key: &[u8], out: &mut Vec<u8>) -> bool {
            out.extend_from_slice(&[map, b"-", key].concat());
            key != b"none"
        }
        fn file_test(&self, test: relais_expr::FileTest, path: &[u8]) -> bool {
            test == relais_expr::FileTest::Regular && path == b"/f"
        }
    }
    impl Context for Asked {
        fn set_env(&mut self, _name: &[u8], _value: Option<&[u8]>) {}
        fn set_cookie(&mut self, cookie: &[u8]) {
            self.0.push(cookie.escape_ascii().to_string());
        }
        fn own_host(&self, _scheme: &[u8], _host: &[u8], _port: u16) -> bool {
            false
        }
    }
    let mut asked = Asked::default();
    let text =
        "cond %{REQUEST_FILENAME} -d\n. /no\ncond $0 -f\n^/f$ /${m:k}/${m:none|d} [CO=a:$0:c]";
    let outcome = run(&rules(text), &Input::new(b"/f", None), &mut asked);
    assert_eq!(wire(&outcome), "path /m-k/d");
    assert_eq!(asked.0, ["a:/f:c"]);
}
