//! `LogLevel rewrite:trace8`: what httpd says of its rules, and relais of the same rules and requests.
//!
//! Compared are the level, whether a request is the first or an internal redirect, and the text. What httpd says of its
//! caches for maps, and of how it looks for the first segment of a path on the disk, has no counterpart.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::origin::Origin;
use crate::harness::program::{Program, Site};
use crate::harness::wire::Kind;
use crate::harness::{eventually, installed};

const CONFIGURATION: &str = r#"
LogLevel rewrite:trace8
DocumentRoot DIR/root
RewriteEngine On
RewriteMap names txt:DIR/names.txt
RewriteMap lower int:tolower
RewriteCond %{HTTP:X-A} ^(a+)$ [NC,OR]
RewriteCond %{HTTP:X-A} =b
RewriteRule ^/cond/(.*) http://ORIGIN/%1/$1?n=1 [P]
RewriteRule ^/red/(.*)$ /to/$1 [R=301,L]
RewriteRule ^/q$ /to?a=%{QUERY_STRING}&b=c\ d [R,QSA]
RewriteRule ^/out/(.*)$ http://other.example/$1
RewriteRule ^/env - [E=K:v,E=!GONE,CO=a:b:.example.com]
RewriteRule ^/env - [F]
RewriteRule ^/gone - [G]
RewriteRule ^/map/(.*) /${names:$1|none}/${lower:$1} [R]
RewriteRule ^/pt/(.*) /passed/$1 [PT]
RewriteRule ^/file /there.txt [T=text/x-own,H=default-handler]
RewriteRule ^/qsd /there.txt [QSD]
RewriteRule ^/rel there.txt
RewriteRule ^/end /there.txt [END]
RewriteRule ^/ahead/(.*) /there.txt?%{LA-U:REQUEST_FILENAME}
RewriteCond /there.txt -U
RewriteRule ^/u$ - [F]
RewriteRule ^/own http://main.example:1/there.txt
ProxyPass /passed http://ORIGIN/
<Directory DIR/root/dir>
  Require all granted
  RewriteEngine On
  RewriteRule ^a/(.*)$ b/$1
  RewriteRule ^b/ http://ORIGIN/dir/%{REQUEST_URI} [P]
  RewriteRule ^same$ same?x=1
  RewriteRule ^red$ x [R]
</Directory>
<Directory DIR/root/based>
  Require all granted
  RewriteEngine On
  RewriteBase /dir/
  RewriteRule ^a$ b/
  RewriteRule ^red$ x [R]
</Directory>
"#;

const REQUESTS: &[&str] = &[
    "/cond/x|X-A: AA",
    "/cond/x|X-A: b",
    "/cond/x",
    "/red/a%20b?q",
    "/q?x",
    "/out/a%20b?c",
    "/env",
    "/gone",
    "/map/a",
    "/map/Z",
    "/pt/x",
    "/file",
    "/qsd?x",
    "/rel",
    "/end",
    "/ahead/x",
    "/u",
    "/own",
    "/there.txt",
    "/dir/a/x",
    "/dir/same",
    "/dir/red",
    "/dir/f.txt/more",
    "/based/a",
    "/based/red",
    "/last",
];

#[test]
fn the_rewrite_log_says_what_httpd_says() {
    if !installed(&[("/usr/sbin/apache2", "apache2-bin")]) {
        return;
    }
    let httpd = lines(Program::Httpd);
    let relais = lines(Program::Relais);
    let pairs = REQUESTS.iter().zip(httpd.iter().zip(&relais));
    let differing = pairs.filter(|(_, (httpd, relais))| httpd != relais);
    let shown = differing.map(|(request, (httpd, relais))| {
        let (httpd, relais) = (httpd.join("\n  "), relais.join("\n  "));
        format!("{request}\nhttpd:\n  {httpd}\nrelais:\n  {relais}\n")
    });
    let shown: String = shown.collect();
    assert!(shown.is_empty(), "{shown}");
    assert!(httpd.iter().all(|lines| !lines.is_empty()), "{httpd:?}");
}

/// The lines of each request.
fn lines(program: Program) -> Vec<Vec<String>> {
    let origin = Origin::start();
    let address = origin.address.to_string();
    let site = Site::new(program, &CONFIGURATION.replace("ORIGIN", &address));
    let folder = site.dir.path().display().to_string();
    let folder = folder.trim_start_matches('/').to_owned();
    for name in ["root/dir", "root/based"] {
        fs::create_dir_all(site.dir.join(name)).expect("a folder");
    }
    for name in ["root/there.txt", "root/dir/f.txt", "root/dir/same"] {
        fs::write(site.dir.join(name), "x").expect("a file");
    }
    fs::write(site.dir.join("names.txt"), "a one\n").expect("a map");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(site.dir.path(), open).expect("the folder is open to the server's user");
    let running = site.start();
    let mut known = 0;
    let mut all = Vec::new();
    for request in REQUESTS {
        let (path, field) = request.split_once('|').unwrap_or((request, "X-None: 1"));
        let mut client = running.connect();
        let head = format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n{field}\r\n\r\n");
        client.send(head.as_bytes());
        client.message(Kind::Response);
        // A line of the access log follows those of the error log.
        assert!(eventually(
            || running.access_log(all.len() + 1).len() > all.len()
        ));
        let mut seen = Vec::new();
        eventually(|| {
            let now = said(&running.site.said());
            let settled = now.len() > known && now == seen;
            seen = now;
            settled
        });
        let own = seen.get(known..).unwrap_or_default().iter();
        all.push(
            own.map(|line| line.replace(&folder, "DIR").replace(&address, "ORIGIN"))
                .collect(),
        );
        known = seen.len();
    }
    all
}

/// The comparable part of the lines of mod_rewrite.
fn said(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("[rewrite:")?;
        let (level, rest) = rest.split_once(']')?;
        let (_, rest) = rest.split_once("[rid#")?;
        let (_, rest) = rest.split_once('/')?;
        let (kind, text) = rest.split_once("] ")?;
        Some(format!("{level} {kind} {text}"))
    });
    let own = |line: &String| {
        !["prefix_stat", "cache lookup", "map lookup"]
            .iter()
            .any(|word| line.contains(word))
    };
    lines.filter(own).collect()
}
