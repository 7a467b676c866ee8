//! Files of a document root: found, described, asked for in part, and nothing outside of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::harness::program::{Program, Running, Site};
use crate::harness::wire::{Kind, field, find, status};

/// Larger than what is read at a time, and no multiple of it.
const LARGE: usize = 300_001;

const CONFIGURATION: &str = "\
DocumentRoot DIR/root
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so
RewriteEngine On
RewriteRule ^/page/ /app/index.html [L]
RewriteRule ^/whole$ DIR/root/a.html [L]
RewriteRule ^/up$ /app/../../types [L]
RewriteRule ^/behind$ /closed/x.html [L]
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
Alias /elsewhere DIR/other
AliasMatch ^/match(.*)$ DIR/root/$1
TypesConfig DIR/types
AddType application/wasm .wasm
AddEncoding gzip .gz
AddCharset utf-8 .utf8
DirectoryIndex home.html index.html
<Directory DIR/root>
    Options None
    AllowOverride None
</Directory>
<Directory DIR/root/linked>
    Options FollowSymLinks
</Directory>
<Directory DIR/root/closed>
    Require all denied
</Directory>
<Files *.secret>
    Require all denied
</Files>
<Location /app>
    FallbackResource /app/index.html
</Location>
";

fn start() -> Running {
    let site = Site::new(Program::Relais, CONFIGURATION);
    let root = site.dir.join("root");
    for folder in ["app", "linked", "closed", "empty", "a b"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let files: [(&str, &[u8]); 9] = [
        ("index.html", b"<p>home"),
        ("a.html", b"hello\n"),
        ("b.wasm", b"\0asm"),
        ("c.txt.utf8.gz", b"packed"),
        ("d.secret", b"key"),
        ("app/index.html", b"<p>app"),
        ("closed/x.html", b"closed"),
        ("unknown.kind", b"?"),
        ("large.bin", &[b'x'; LARGE]),
    ];
    for (name, content) in files {
        fs::write(root.join(name), content).expect("a file");
    }
    fs::write(
        site.dir.join("types"),
        "text/html html htm\ntext/plain txt\n",
    )
    .expect("the types");
    fs::create_dir_all(site.dir.join("other")).expect("a folder");
    fs::write(site.dir.join("other/o.txt"), "other").expect("a file");
    symlink("../a.html", root.join("linked/in")).expect("a link");
    symlink("a.html", root.join("link.html")).expect("a link");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(site.dir.join("."), open).expect("the folder is open to the server's user");
    site.start()
}

#[test]
fn files_are_served_as_their_place_and_name_say() {
    // Request line and fields, the status, then fields of the answer and its content.
    type Fields = &'static [(&'static str, &'static str)];
    let running = start();
    let rows: &[(&str, u16, Fields, &str)] = &[
        (
            "GET /a.html",
            200,
            &[
                ("Content-Type", "text/html"),
                ("Content-Length", "6"),
                ("Accept-Ranges", "bytes"),
            ],
            "hello\n",
        ),
        ("HEAD /a.html", 200, &[("Content-Length", "6")], ""),
        ("POST /a.html", 200, &[], "hello\n"),
        ("GET /", 200, &[], "<p>home"),
        ("GET /?a=b", 200, &[], "<p>home"),
        (
            "GET /b.wasm",
            200,
            &[("Content-Type", "application/wasm")],
            "\0asm",
        ),
        (
            "GET /c.txt.utf8.gz",
            200,
            &[
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Encoding", "gzip"),
            ],
            "packed",
        ),
        ("GET /unknown.kind", 200, &[], "?"),
        ("GET /page/1/2", 200, &[], "<p>app"),
        ("GET /whole", 200, &[], "hello\n"),
        (
            "OPTIONS /a.html",
            200,
            &[("Allow", "HEAD,GET,POST,OPTIONS,TRACE")],
            "",
        ),
        (
            "PUT /a.html",
            405,
            &[("Allow", "HEAD,GET,POST,OPTIONS,TRACE")],
            "*",
        ),
        ("GET /none", 404, &[], "*"),
        ("GET /a.html/", 404, &[], "*"),
        ("GET /a.html/x", 404, &[], "*"),
        ("GET /empty/", 404, &[], "*"),
        (
            "GET /app",
            301,
            &[("Location", "http://app.example/app/")],
            "*",
        ),
        (
            "GET /app?x=y",
            301,
            &[("Location", "http://app.example/app/?x=y")],
            "*",
        ),
        (
            "GET /a%20b",
            301,
            &[("Location", "http://app.example/a%20b/")],
            "*",
        ),
        ("GET /app/deep/link", 200, &[], "<p>app"),
        ("GET /link.html", 403, &[], "*"),
        ("GET /linked/in", 200, &[], "hello\n"),
        ("GET /closed/x.html", 403, &[], "*"),
        (
            "GET /elsewhere/o.txt",
            200,
            &[("Content-Type", "text/plain")],
            "other",
        ),
        ("GET /elsewhere", 301, &[], "*"),
        ("GET /elsewherex", 404, &[], "*"),
        ("GET /match/a.html", 200, &[], "hello\n"),
        ("GET /behind", 403, &[], "*"),
        ("GET /up", 404, &[], "*"),
        ("GET /d.secret", 403, &[], "*"),
        ("GET /../types", 400, &[], "*"),
        ("GET /%2e%2e/types", 400, &[], "*"),
        ("GET /a.html%00", 404, &[], "*"),
        (
            "GET /a.html|Range: bytes=1-2",
            206,
            &[("Content-Range", "bytes 1-2/6")],
            "el",
        ),
        (
            "GET /a.html|Range: bytes=-2",
            206,
            &[("Content-Range", "bytes 4-5/6")],
            "o\n",
        ),
        ("GET /a.html|Range: bytes=9-", 416, &[], "*"),
        ("GET /a.html|If-Match: \"x\"", 412, &[], "*"),
        (
            "GET /a.html|If-Range: \"x\"|Range: bytes=1-2",
            200,
            &[],
            "hello\n",
        ),
    ];
    let mut wrong = Vec::new();
    for (request, code, fields, content) in rows {
        let (head, body) = ask(&running, request);
        let shown = String::from_utf8_lossy(&head).into_owned();
        let same = fields.iter().all(|(name, value)| {
            field(&head, &name.to_ascii_lowercase())
                .is_some_and(|have| have == value.to_ascii_lowercase())
        });
        if status(&head) != *code || !same || (*content != "*" && body != content.as_bytes()) {
            wrong.push(format!("{request}\n{shown}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_copy_that_is_still_good_is_not_sent_again() {
    let running = start();
    let (head, _) = ask(&running, "GET /a.html");
    let tag = field(&head, "etag").expect("a tag");
    let date = field(&head, "last-modified").expect("a date");
    for (condition, code) in [
        (format!("If-None-Match: {tag}"), 304),
        (format!("If-None-Match: W/{tag}, \"x\""), 304),
        ("If-None-Match: \"x\"".to_owned(), 200),
        (format!("If-Modified-Since: {date}"), 304),
        (format!("If-Match: {tag}"), 200),
    ] {
        let (head, body) = ask(&running, &format!("GET /a.html|{condition}"));
        assert_eq!(status(&head), code, "{condition}");
        assert_eq!(body.is_empty(), code == 304, "{condition}");
        assert_eq!(field(&head, "etag").as_deref(), Some(&*tag), "{condition}");
    }
}

#[test]
fn a_large_file_arrives_whole() {
    let running = start();
    let (head, body) = ask(&running, "GET /large.bin");
    assert_eq!(field(&head, "content-length"), Some(LARGE.to_string()));
    assert_eq!(body.len(), LARGE);
    assert!(body.iter().all(|&byte| byte == b'x'));
}

/// Sends `METHOD TARGET|FIELD|FIELD`; the head of the answer and its content.
fn ask(running: &Running, request: &str) -> (Vec<u8>, Vec<u8>) {
    let mut parts = request.split('|');
    let line = parts.next().unwrap_or_default();
    let mut text = format!("{line} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n");
    for field in parts {
        text += field;
        text += "\r\n";
    }
    let mut connection = running.connect();
    connection.send((text + "\r\n").as_bytes());
    let method = line.split(' ').next().unwrap_or_default();
    let kind = if method == "HEAD" {
        Kind::ResponseToHead
    } else {
        Kind::Response
    };
    let message = connection.message(kind);
    let end = find(&message, b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    (message[..end].to_vec(), message[end..].to_vec())
}
