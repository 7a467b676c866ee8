//! Random configurations: mappings, sections, fields, variables, redirects and access rules around the rules.

use super::rules::{self, Place};
use super::{Random, expressions};

/// The parts of a virtual host.
pub(super) fn parts(random: &mut Random) -> Vec<String> {
    let mut parts = random.some(SETTINGS, 2);
    if random.one_in(3) {
        parts.push(rules::map(random));
    }
    // Half of the configurations are about something else than rules.
    let has_rules = random.one_in(2);
    if has_rules {
        parts.push("RewriteEngine On".to_owned());
        if random.one_in(6) {
            parts.push(rules::options(random));
        }
        for _ in 0..=random.below(3) {
            parts.push(rules::rule(random, Place::Server));
        }
    }
    for _ in 0..=random.below(6) {
        parts.push(part(random));
    }
    if random.one_in(2) {
        parts.push("ProxyPass / http://ORIGIN/rest/".to_owned());
    }
    if random.one_in(4) {
        parts.push(format!("CustomLog DIR/LOG \"{}\"", log_format(random)));
    }
    if random.one_in(10) {
        parts.push(host(random));
    }
    parts
}

fn part(random: &mut Random) -> String {
    match random.below(16) {
        0..3 => pass(random),
        3..6 => section(random),
        6..9 => field(random),
        9..11 => environment(random),
        11 => redirect(random),
        12 => alias(random),
        13 => format!(
            "ErrorDocument {} {}",
            random.pick(&["404", "403", "500", "410"]),
            random.pick(DOCUMENTS)
        ),
        14 => reverse(random),
        _ => rules::rule(random, Place::Server),
    }
}

/// Another virtual host on the same address.
fn host(random: &mut Random) -> String {
    let inner = [
        "Redirect /a http://o.example/other".to_owned(),
        "ProxyPass / http://ORIGIN/other/".to_owned(),
        field(random),
        format!("RewriteEngine On\n{}", rules::rule(random, Place::Server)),
    ];
    let chosen = &inner[random.below(inner.len())];
    format!(
        "<VirtualHost LISTEN>\nServerName other.example\nServerAlias *.wild.example APP.example\nDocumentRoot DIR/docs\n{chosen}\n</VirtualHost>"
    )
}

fn pass(random: &mut Random) -> String {
    match random.below(6) {
        0 => format!("ProxyPass {} !", random.pick(PREFIXES)),
        1 => {
            let target = random.pick(&["m/$1", "m", "$1", "m/$1/x", "m?q=$1", "$2/$1"]);
            let more = if target.contains('?') {
                ""
            } else {
                random.pick(&["", "", " nocanon"])
            };
            format!(
                "ProxyPassMatch {} http://ORIGIN/{target}{more}",
                random.pick(PASS_PATTERNS)
            )
        }
        2 => format!(
            "ProxyPassMatch {} !",
            random.pick(&["^/a/b", "\\.gif$", "x$"])
        ),
        _ => {
            let prefix = random.pick(PREFIXES);
            let slash = match (
                random.one_in(4),
                prefix.trim_end_matches('"').ends_with('/'),
            ) {
                (true, _) => random.pick(&["/", "", "//"]),
                (false, true) => "/",
                (false, false) => "",
            };
            let more = random.pick(&[
                "",
                "",
                "",
                " nocanon",
                " keepalive=On",
                " status=+I",
                " interpolate",
            ]);
            format!("ProxyPass {prefix} http://ORIGIN/p{slash}{more}")
        }
    }
}

fn reverse(random: &mut Random) -> String {
    match random.below(4) {
        0 => format!(
            "ProxyPassReverseCookiePath {} {}",
            random.pick(&["/p", "/", "/a"]),
            random.pick(&["/q", "/", "/a/"])
        ),
        1 => format!(
            "ProxyPassReverseCookieDomain {} {}",
            random.pick(&["o.example", "in.example"]),
            random.pick(&["out.example", "o.example"])
        ),
        _ => format!(
            "ProxyPassReverse {} {}",
            random.pick(PREFIXES),
            random.pick(&[
                "http://ORIGIN/p",
                "http://ORIGIN/p/",
                "http://ORIGIN/",
                "/moved",
                "http://in.example/"
            ])
        ),
    }
}

fn section(random: &mut Random) -> String {
    let mut text = String::new();
    let is_if = random.one_in(4);
    let (open, close) = if is_if {
        (
            format!("<If \"{}\">", expressions::condition(random, 2)),
            "</If>",
        )
    } else {
        let (name, arguments): (&str, &[&str]) = match random.below(8) {
            0..4 => (
                "Location",
                &[
                    "/",
                    "/a",
                    "/a/b",
                    "/b",
                    "/app",
                    "/a/",
                    "~ \"^/[ab]\"",
                    "/a*",
                ],
            ),
            4 => (
                "LocationMatch",
                &["^/a", "b$", "^/(?<w>[a-z])/", "\"^/(.)(.*)\"", "^/$"],
            ),
            5 => ("Directory", &["DIR/docs", "DIR/docs/f", "DIR/docs/*", "/"]),
            6 => ("DirectoryMatch", &["docs/f", "^/.*/f"]),
            _ => ("Files", &["b", "i.gif", "*.gif", "?"]),
        };
        let close = match name {
            "Location" => "</Location>",
            "LocationMatch" => "</LocationMatch>",
            "Directory" => "</Directory>",
            "DirectoryMatch" => "</DirectoryMatch>",
            _ => "</Files>",
        };
        (format!("<{name} {}>", random.pick(arguments)), close)
    };
    let may_pass = open.starts_with("<Location") && !open.contains('*');
    text += &format!("{open}\n{}{close}", inside(random, may_pass));
    if is_if && random.one_in(3) {
        text += &format!(
            "\n<ElseIf \"{}\">\n{}</ElseIf>",
            expressions::condition(random, 1),
            inside(random, false)
        );
    }
    if is_if && random.one_in(3) {
        text += &format!("\n<Else>\n{}</Else>", inside(random, false));
    }
    text
}

fn inside(random: &mut Random, may_pass: bool) -> String {
    let mut text = String::new();
    for _ in 0..=random.below(2) {
        text += &match random.below(12) {
            0..3 => rules_inside(random),
            3..6 => field(random),
            6 => access(random),
            7 if may_pass => random
                .pick(&[
                    "ProxyPass http://ORIGIN/in",
                    "ProxyPass !",
                    "ProxyPass http://ORIGIN/in/ nocanon",
                    "ProxyPassReverse http://ORIGIN/",
                ])
                .to_owned(),
            8 if may_pass => random
                .pick(&[
                    "Redirect http://o.example/in",
                    "AllowMethods GET HEAD OPTIONS",
                    "Redirect 410",
                    "Redirect 301 \"http://o.example%{REQUEST_URI}\"",
                    "Alias DIR/docs/f/i.gif",
                ])
                .to_owned(),
            9 => environment(random),
            10 => format!(
                "ErrorDocument {} {}",
                random.pick(&["404", "403"]),
                random.pick(DOCUMENTS)
            ),
            _ => random.pick(DIRECTORY_SETTINGS).to_owned(),
        };
        text.push('\n');
    }
    text
}

fn rules_inside(random: &mut Random) -> String {
    let mut text = String::from("RewriteEngine On\n");
    if random.one_in(4) {
        text += &format!("RewriteBase {}\n", random.pick(&["/", "/a", "/x/"]));
    }
    if random.one_in(8) {
        text += &format!("{}\n", rules::options(random));
    }
    text + &rules::rule(random, Place::Section)
}

fn access(random: &mut Random) -> String {
    match random.below(5) {
        0 => random
            .pick(&[
                "Order allow,deny\nAllow from all",
                "Order deny,allow\nDeny from all",
                "Order allow,deny\nAllow from 127\nDeny from env=V",
                "Order deny,allow\nDeny from all\nAllow from env=V",
                "Order mutual-failure\nAllow from 127.0.0.1",
            ])
            .to_owned(),
        1 => {
            let kind = random.pick(&["RequireAny", "RequireAll", "RequireNone"]);
            let lines = format!("{}\n{}", require(random), require(random));
            if kind == "RequireNone" {
                format!(
                    "<RequireAll>\nRequire all granted\n<RequireNone>\n{lines}\n</RequireNone>\n</RequireAll>"
                )
            } else {
                format!("<{kind}>\n{lines}\n</{kind}>")
            }
        }
        _ => require(random),
    }
}

fn require(random: &mut Random) -> String {
    match random.below(7) {
        0 => format!("Require expr \"{}\"", expressions::condition(random, 1)),
        1 => random
            .pick(&["Require env V", "Require env V W"])
            .to_owned(),
        2 => random
            .pick(&["Require method GET", "Require method POST PUT"])
            .to_owned(),
        3 => random
            .pick(&["Require ip 127", "Require ip 10.0.0.0/8", "Require local"])
            .to_owned(),
        4 => "Require all denied".to_owned(),
        _ => "Require all granted".to_owned(),
    }
}

fn field(random: &mut Random) -> String {
    let directive = random.pick(&[
        "RequestHeader",
        "Header",
        "Header always",
        "Header onsuccess",
    ]);
    let is_request = directive == "RequestHeader";
    let name = random.pick(&[
        "X-A",
        "X-B",
        "X-C",
        "Cache-Control",
        "Set-Cookie",
        "Location",
    ]);
    let name = if is_request && name == "Location" {
        "Referer"
    } else {
        name
    };
    let action = match random.below(10) {
        0 => format!("unset {name}"),
        1 => format!(
            "edit {name} {} {}",
            random.pick(&["a", "^", ".*", "(.)$", "\"^(.)(.*)$\""]),
            random.pick(&["y", "$1y", "\"%{V}e\"", "\"\""])
        ),
        2 => format!(
            "edit* {name} {} {}",
            random.pick(&["a", "[ab]", "1", "(.)"]),
            random.pick(&["y", "<$1>"])
        ),
        3 if !is_request => random
            .pick(&["echo ^X-", "echo X-A", "note X-A n"])
            .to_owned(),
        n => {
            let verb = ["set", "append", "merge", "add", "setifempty", "set"][n % 6];
            format!("{verb} {name} {}", value(random))
        }
    };
    let condition = match random.below(8) {
        0 => " env=V".to_owned(),
        1 => " env=!V".to_owned(),
        2 => format!(" \"expr={}\"", expressions::condition(random, 1)),
        3 if is_request => " early".to_owned(),
        _ => String::new(),
    };
    let condition = if action.starts_with("echo") || action.starts_with("note") {
        String::new()
    } else {
        condition
    };
    format!("{directive} {action}{condition}")
}

fn value(random: &mut Random) -> String {
    match random.below(5) {
        0 => format!("\"expr={}\"", expressions::text(random)),
        _ => random
            .pick(&[
                "a",
                "\"a, b\"",
                "%{V}e",
                "1",
                "\"%% x\"",
                "\"a;b=%{W}e\"",
                "\"\"",
                "b",
            ])
            .to_owned(),
    }
}

fn environment(random: &mut Random) -> String {
    match random.below(8) {
        0 => format!(
            "SetEnv {}",
            random.pick(&["V set", "V", "W x", "proxy-nokeepalive 1", "V \"a b\""])
        ),
        1 => random.pick(&["UnsetEnv V", "UnsetEnv W V"]).to_owned(),
        2 => format!(
            "BrowserMatch{} {} {}",
            random.pick(&["", "NoCase"]),
            random.pick(&["bot", "^Moz", "."]),
            random.pick(VARIABLES)
        ),
        3 => format!(
            "SetEnvIfExpr \"{}\" {}",
            expressions::condition(random, 1),
            random.pick(PLAIN_VARIABLES)
        ),
        4 => format!(
            "SetEnvIfNoCase {} {} {}",
            random.pick(ATTRIBUTES),
            random.pick(ATTRIBUTE_PATTERNS),
            random.pick(VARIABLES)
        ),
        _ => format!(
            "SetEnvIf {} {} {}",
            random.pick(ATTRIBUTES),
            random.pick(ATTRIBUTE_PATTERNS),
            random.pick(VARIABLES)
        ),
    }
}

fn redirect(random: &mut Random) -> String {
    match random.below(4) {
        0 => format!(
            "RedirectMatch {}{} {}",
            random.pick(&["", "301 ", "permanent "]),
            random.pick(&["^/r/(.*)$", "^/a/(.)", "b$", "(?i)\\.GIF$"]),
            random.pick(&["http://o.example/m/$1", "/to/$1", "http://o.example/?q=$1"]),
        ),
        1 => random
            .pick(&[
                "Redirect 410 /r",
                "RedirectMatch 404 x$",
                "Redirect gone /abc",
                "RedirectMatch 403 ^/b",
            ])
            .to_owned(),
        2 => format!(
            "{} /r {}",
            random.pick(&["RedirectTemp", "RedirectPermanent"]),
            random.pick(&["http://o.example/t", "/t"])
        ),
        _ => format!(
            "Redirect {}{} {}",
            random.pick(&["", "302 ", "permanent ", "seeother ", "307 ", "308 "]),
            random.pick(&["/r", "/r/", "/a/b", "/old"]),
            random.pick(&[
                "http://o.example/t",
                "http://o.example/t/",
                "/t",
                "http://o.example/t?x=y",
                "https://o.example"
            ]),
        ),
    }
}

fn alias(random: &mut Random) -> String {
    match random.below(3) {
        0 => format!(
            "AliasMatch {} DIR/docs/{}",
            random.pick(&["^/al/(.*)$", "^/(abc)", "(?i)^/AL/(.)"]),
            random.pick(&["$1", "f/$1", "f/i.gif"])
        ),
        _ => format!(
            "Alias {} DIR/docs{}",
            random.pick(&["/al", "/al/", "/abc", "/b", "/al/a"]),
            random.pick(&["", "/", "/a", "/f/i.gif", "/app/"])
        ),
    }
}

fn log_format(random: &mut Random) -> String {
    let count = 3 + random.below(10);
    let words: Vec<&str> = (0..count).map(|_| random.pick(LOG_FORMATS)).collect();
    words.join(" ")
}

const SETTINGS: &[&str] = &[
    "AllowEncodedSlashes On",
    "AllowEncodedSlashes NoDecode",
    "MergeSlashes Off",
    "UseCanonicalName On",
    "ProxyPreserveHost On",
    "ProxyErrorOverride On",
    "ProxyErrorOverride On 404 503",
    "ProxyAddHeaders Off",
    "ProxyVia On",
    "ProxyVia Block",
    "TraceEnable Off",
    "ServerAlias app.example",
    "ProxyPassInterpolateEnv On",
    "KeepAlive Off",
];
/// For the inside of a section.
const DIRECTORY_SETTINGS: &[&str] = &[
    "ProxyPreserveHost On",
    "ProxyErrorOverride On",
    "ProxyAddHeaders Off",
    "Options None",
    "SetEnv V set",
    "<Limit POST>\nRequire all denied\n</Limit>",
    "<LimitExcept GET>\nRequire all denied\n</LimitExcept>",
];
const PREFIXES: &[&str] = &[
    "/a", "/a/", "/a/b", "/b", "/app", "/app/", "/x%y", "/", "\"/a b\"", "/al",
];
/// Without groups, which httpd takes from anywhere when the expression has matched no pattern.
const PLAIN_VARIABLES: &[&str] = &["V=set", "V", "!V", "W=x V=y", "no-proxy"];
const PASS_PATTERNS: &[&str] = &[
    "^/a/(.*)$",
    "^/(.)/",
    "^/b",
    "(?i)^/A/(.*)",
    "\\.gif$",
    "^(/.*)$",
    "^/([a-z]+)/?(.*)$",
];
const DOCUMENTS: &[&str] = &[
    "\"gone away\"",
    "/f/i.gif",
    "http://o.example/e",
    "/none",
    "/a/b",
    "default",
    "\"%{REQUEST_URI} x\"",
];
const ATTRIBUTES: &[&str] = &[
    "Request_URI",
    "X-A",
    "Host",
    "Request_Method",
    "V",
    "Remote_Addr",
    "Server_Addr_x",
    "Request_Protocol",
    "^X-",
    "User-Agent",
];
const ATTRIBUTE_PATTERNS: &[&str] = &[
    "a", "^$", "(.)", "^/a", "1", "b$", "^127", "GET", "(.)(.)", "1\\.0",
];
const VARIABLES: &[&str] = &[
    "V=set",
    "V",
    "V=$1",
    "!V",
    "W=x V=y",
    "no-proxy",
    "V=$2-$1",
    "nokeepalive",
];
const LOG_FORMATS: &[&str] = &[
    "%a",
    "%{c}a",
    "%A",
    "%b",
    "%B",
    "%h",
    "%H",
    "%k",
    "%l",
    "%m",
    "%q",
    "%r",
    "%s",
    "%>s",
    "%u",
    "%U",
    "%v",
    "%V",
    "%{X-A}i",
    "%{X-B}o",
    "%{V}e",
    "%{a}C",
    "%{n}n",
    "%{X-A}n",
    "%404{X-A}i",
    "%!200U",
    "%{Host}i",
    "%{Content-Type}o",
    "%<s",
    "%{Location}o",
    "%{W}e",
    "%%",
    "%p",
];
