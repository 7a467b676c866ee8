//! Content on its way through output filters, as httpd filters it.
//!
//! Both servers get the same configuration and the same requests. How httpd frames what it has filtered depends on when
//! the origin's bytes arrive, so bodies are compared by what they say, decoded, and not by their framing.

use std::fs;
use std::io::{Read as _, Write as _};

use crate::harness::installed;
use crate::harness::origin::{Origin, Then};
use crate::harness::program::{Program, Running, Site};
use crate::harness::wire::{Kind, field, find};

/// Modules beside those that every test loads.
const MODULES: &[&str] = &[
    "brotli",
    "deflate",
    "expires",
    "filter",
    "mime",
    "ratelimit",
    "substitute",
];

const CONFIGURATION: &str = r#"
DocumentRoot DIR/root
TypesConfig DIR/types
LogFormat "%U %{in}n %{out}n %{ratio}n" filtered
DeflateFilterNote Input in
DeflateFilterNote Output out
DeflateFilterNote ratio
CustomLog DIR/filtered.log filtered
ProxyPass /files !
ProxyPass / http://ORIGIN/
<Location />
    SetOutputFilter DEFLATE
</Location>
<Location /seen>
    Header set X-Seen "expr=%{resp:Content-Encoding} %{resp:Vary}"
</Location>
<Location /changed>
    Header set Vary own
    Header unset ETag
</Location>
<Location /br>
    SetOutputFilter BROTLI_COMPRESS
</Location>
<Location /both>
    SetOutputFilter BROTLI_COMPRESS;DEFLATE
</Location>
<Location /off>
    SetEnv no-gzip 1
</Location>
<Location /forced>
    SetEnv force-gzip 1
</Location>
<Location /only>
    SetEnv gzip-only-text/html 1
</Location>
<Location /types>
    SetOutputFilter INFLATE
    AddOutputFilterByType DEFLATE text/html text/plain
</Location>
<Location /types/css>
    AddOutputFilterByType DEFLATE text/css
</Location>
<Location /sub>
    SetOutputFilter SUBSTITUTE
    Substitute "s|href=\"/|href=\"/app/|in"
    Substitute "s/h(el)lo/[$1]/"
    Substitute "s/el\]/L]/q"
</Location>
<Location /sub/more>
    Substitute s/world/all/n
</Location>
<Location /again>
    SetOutputFilter INFLATE;SUBSTITUTE;DEFLATE
    Substitute s/hello/bye/n
</Location>
<Location /plain>
    SetOutputFilter INFLATE
</Location>
<Location /names>
    SetOutputFilter INFLATE
    AddOutputFilter DEFLATE html .txt
</Location>
<Location /names/but>
    RemoveOutputFilter txt
</Location>
<Location /chosen>
    SetOutputFilter INFLATE
    FilterDeclare pack
    FilterProvider pack DEFLATE "%{CONTENT_TYPE} =~ m#^text/#"
    FilterProvider pack BROTLI_COMPRESS "resp('X-Kind') == 'b'"
    FilterChain +pack
</Location>
<Location /chosen/not>
    FilterChain !
</Location>
<Location /chosen/still>
    FilterChain -pack
</Location>
<Location /chosen/other>
    FilterProvider other BROTLI_COMPRESS true
    FilterChain =other
</Location>
<Location /chosen/second>
    FilterProvider other BROTLI_COMPRESS true
    FilterChain @other
</Location>
<Location /slow>
    SetOutputFilter RATE_LIMIT
    SetEnv rate-limit 100
    SetEnv rate-initial-burst 8
</Location>
"#;

struct Exchange {
    path: &'static str,
    accepted: &'static str,
    fields: &'static str,
    expected: &'static str,
    line: &'static str,
}

impl Exchange {
    fn all() -> Vec<Self> {
        let lines = EXCHANGES.lines().filter(|line| !line.is_empty());
        let read = |line: &'static str| {
            let mut parts = line.split(" =>");
            let (path, rest) = parts.next()?.split_once(" [")?;
            let (accepted, fields) = rest.split_once(']')?;
            Some(Self {
                path,
                accepted,
                fields: fields.trim(),
                expected: parts.next()?.trim(),
                line: parts.next()?.trim(),
            })
        };
        lines.map(|line| read(line).expect(line)).collect()
    }
}

/// The first line of the content that the origin sends.
const HELLO: &str = "hello world\n";

/// One exchange a line: the path, what the client takes in brackets, the origin's fields, the fields that arrive, and the
/// first line of the content once it is decoded. `PACKED` is content in gzip.
const EXCHANGES: &str = r#"
/seen [gzip] => Vary: Accept-Encoding | Content-Encoding: gzip | X-Seen: gzip Accept-Encoding => hello world
/a [br] => Vary: Accept-Encoding => hello world
/a [gzip;q=0] => Vary: Accept-Encoding => hello world
/a [*] => Vary: Accept-Encoding => hello world
/a [br, gzip;q=0.5] => Vary: Accept-Encoding | Content-Encoding: gzip => hello world
/a [gzip] ETag: "a" | Vary: Origin => ETag: "a-gzip" | Vary: Origin,Accept-Encoding | Content-Encoding: gzip => hello world
/a [gzip] ETag: W/"a" | Content-MD5: x => ETag: W/"a-gzip" | Vary: Accept-Encoding | Content-Encoding: gzip => hello world
/a [gzip] Content-Encoding: identity => Content-Encoding: gzip | Vary: Accept-Encoding => hello world
/a [gzip] Content-Range: bytes 0-1/2 => Content-Range: bytes 0-1/2 => hello world
/a [gzip] PACKED => Content-Encoding: gzip => hello world
/changed [gzip] ETag: "a" => Vary: own | Content-Encoding: gzip => hello world
/br [gzip, br] ETag: "a" => ETag: "a-br" | Vary: Accept-Encoding | Content-Encoding: br => hello world
/both [gzip, br] => Vary: Accept-Encoding | Content-Encoding: br => hello world
/both [gzip] => Vary: Accept-Encoding | Content-Encoding: gzip => hello world
/off [gzip] => => hello world
/forced [] => Vary: Accept-Encoding | Content-Encoding: gzip => hello world
/only [gzip] Content-Type: text/css => Content-Type: text/css => hello world
/only [gzip] Content-Type: text/html;charset=utf-8 => Content-Type: text/html;charset=utf-8 | Vary: Accept-Encoding | Content-Encoding: gzip => hello world
/types [gzip] Content-Type: text/html; charset=utf-8 => Content-Type: text/html; charset=utf-8 | Vary: Accept-Encoding | Content-Encoding: gzip => hello world
/types [gzip] Content-Type: image/png => Content-Type: image/png => hello world
/types [gzip] Content-Type: TEXT/html => Content-Type: TEXT/html => hello world
/types/css [gzip] Content-Type: text/css => Content-Type: text/css | Vary: Accept-Encoding | Content-Encoding: gzip => hello world
/types/css [gzip] Content-Type: text/html => Content-Type: text/html => hello world
/sub [gzip] => => [L] world
/sub/more [gzip] => => [L] all
/again [gzip] PACKED => Vary: Accept-Encoding | Content-Encoding: gzip => bye world
/again [] PACKED => Vary: Accept-Encoding => bye world
/plain [gzip] ETag: "a" | Vary: A | PACKED => ETag: "a-gunzip" | Vary: A => hello world
/plain [gzip] => => hello world
/names/a.html [gzip] => Vary: Accept-Encoding | Content-Encoding: gzip => hello world
/names/a.css [gzip] => => hello world
/names/but/a.txt [gzip] Content-Type: text/plain => Content-Type: text/plain => hello world
/chosen [gzip] Content-Type: text/css => Content-Type: text/css | Vary: Accept-Encoding | Content-Encoding: gzip => hello world
/chosen [br] X-Kind: b => X-Kind: b | Vary: Accept-Encoding | Content-Encoding: br => hello world
/chosen [gzip] Content-Type: image/png => Content-Type: image/png => hello world
/chosen/not [gzip] Content-Type: text/css => Content-Type: text/css => hello world
/chosen/still [gzip] Content-Type: text/css => Content-Type: text/css | Vary: Accept-Encoding | Content-Encoding: gzip => hello world
/chosen/other [gzip, br] Content-Type: text/css => Content-Type: text/css | Vary: Accept-Encoding | Content-Encoding: br => hello world
/chosen/second [gzip, br] Content-Type: text/css => Content-Type: text/css | Vary: Accept-Encoding | Content-Encoding: gzip => hello world
/slow [gzip] => => hello world
/files/a.txt [gzip] => Vary: Accept-Encoding | Content-Encoding: gzip | Content-Type: text/plain => hello world
"#;

/// The content: long enough to be worth the effort, and with something to find.
fn content() -> Vec<u8> {
    let mut content = HELLO.repeat(40);
    content.push_str("<a HREF=\"/x\">");
    content.into_bytes()
}

fn start(program: Program, origin: &Origin) -> Running {
    let modules: String = MODULES
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let rules = CONFIGURATION.replace("ORIGIN", &origin.address.to_string());
    let site = Site::new(program, &format!("{modules}{rules}"));
    fs::create_dir_all(site.dir.join("root/files")).expect("a folder");
    fs::write(site.dir.join("root/files/a.txt"), content()).expect("a file");
    fs::write(site.dir.join("types"), "text/plain txt\n").expect("the types");
    site.start()
}

/// The fields but those that are compared otherwise, and the decoded content.
fn arrives(server: &Running, origin: &Origin, exchange: &Exchange) -> (String, Vec<u8>) {
    let Exchange {
        path,
        accepted,
        fields,
        ..
    } = exchange;
    let packed = fields.contains("PACKED");
    let body = match packed {
        true => gzip(&content()),
        false => content(),
    };
    let mut reply = b"HTTP/1.1 200 OK\r\n".to_vec();
    let fields = fields.replace("PACKED", "Content-Encoding: gzip");
    for line in fields.split(" | ").filter(|line| !line.is_empty()) {
        reply.extend_from_slice(format!("{line}\r\n").as_bytes());
    }
    reply.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    reply.extend_from_slice(&body);
    origin.script([(reply, Then::Keep)]);
    let mut client = server.connect();
    let accept = match *accepted {
        "" => String::new(),
        accepted => format!("Accept-Encoding: {accepted}\r\n"),
    };
    client.send(format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n{accept}\r\n").as_bytes());
    let message = client.message(Kind::Response);
    let end = find(&message, b"\r\n\r\n").unwrap_or(message.len());
    let (head, body) = message.split_at(end);
    let head = String::from_utf8_lossy(head).into_owned();
    let managed = [
        "Date:",
        "Server:",
        "Content-Length:",
        "Transfer-Encoding:",
        "Last-Modified:",
        "Accept-Ranges:",
    ];
    let kept = head
        .lines()
        .skip(1)
        .filter(|line| !managed.iter().any(|name| line.starts_with(name)))
        // A file's tag is made of its time.
        .filter(|line| !(path.starts_with("/files") && line.starts_with("ETag")));
    let shown = kept.collect::<Vec<_>>().join(" | ");
    (
        shown,
        decoded(head.as_bytes(), body.get(4..).unwrap_or_default()),
    )
}

/// A body without its framing and its coding.
fn decoded(head: &[u8], body: &[u8]) -> Vec<u8> {
    let content = match field(head, "transfer-encoding") {
        Some(_) => unchunked(body),
        None => body.to_vec(),
    };
    let mut plain = Vec::new();
    match field(head, "content-encoding").as_deref() {
        Some("gzip") => {
            flate2::read::GzDecoder::new(&*content)
                .read_to_end(&mut plain)
                .expect("gzip");
        }
        Some("br") => brotli::BrotliDecompress(&mut &*content, &mut plain).expect("brotli"),
        _ => plain = content,
    }
    plain
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = find(body, b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        content.extend_from_slice(&body[end + 2..end + 2 + size]);
        if size == 0 {
            break;
        }
        body = &body[end + 4 + size..];
    }
    content
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(content, flate2::Compression::default())
        .read_to_end(&mut packed)
        .expect("gzip");
    packed
}

#[test]
fn content_goes_through_the_filters_that_are_asked_for() {
    let origin = Origin::start();
    let mut servers = vec![(Program::Relais, start(Program::Relais, &origin))];
    if installed(&[("/usr/sbin/apache2", "apache2-bin")]) {
        servers.push((Program::Httpd, start(Program::Httpd, &origin)));
    }
    let exchanges = Exchange::all();
    let mut wrong = Vec::new();
    for (program, server) in &servers {
        let name = if *program == Program::Httpd {
            "httpd"
        } else {
            "relais"
        };
        for exchange in &exchanges {
            let (shown, content) = arrives(server, &origin, exchange);
            let content = String::from_utf8_lossy(&content).into_owned();
            let first = content.lines().next().unwrap_or_default();
            if shown != exchange.expected || first != exchange.line {
                let Exchange {
                    path,
                    accepted,
                    fields,
                    ..
                } = exchange;
                wrong.push(format!(
                    "{name}: {path} [{accepted}] {fields} => {shown} => {first}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (_, relais) = &servers[0];
    let lines = relais.log("filtered.log", exchanges.len());
    let noted: Vec<&str> = lines[0].split(' ').collect();
    assert_eq!(noted[..2], ["/seen", "493"], "{}", lines[0]);
    let numbers: Vec<u64> = noted[1..]
        .iter()
        .map(|word| word.parse().expect("a number"))
        .collect();
    assert_eq!(numbers[2], numbers[1] * 100 / numbers[0], "{}", lines[0]);
}

#[test]
fn an_event_stream_is_not_held_back() {
    let origin = Origin::start();
    let relais = start(Program::Relais, &origin);
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let events = format!("{head}9\r\ndata: 1\n\n\r\n");
    origin.script([(events.into_bytes(), Then::Silence)]);
    let mut client = relais.connect();
    client.send(b"GET /events HTTP/1.1\r\nHost: app.example\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.head().expect("a head");
    assert_eq!(field(&head, "content-encoding"), None);
    assert_eq!(client.exactly(14), b"9\r\ndata: 1\n\n\r\n");
}

#[test]
fn what_is_compressed_comes_out_while_the_origin_pauses() {
    let origin = Origin::start();
    let relais = start(Program::Relais, &origin);
    let reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    origin.script([(reply.to_vec(), Then::Silence)]);
    let mut client = relais.connect();
    client.send(b"GET /a HTTP/1.1\r\nHost: app.example\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.head().expect("a head");
    assert_eq!(field(&head, "content-encoding").as_deref(), Some("gzip"));
    let mut packed = flate2::write::GzDecoder::new(Vec::new());
    // The chunks have the whole of what was there.
    while packed.get_ref().len() < "first".len() {
        let mut size = String::new();
        while !size.ends_with("\r\n") {
            size.push_str(&String::from_utf8_lossy(&client.exactly(1)));
        }
        let size = usize::from_str_radix(size.trim(), 16).expect("a size");
        let chunk = client.exactly(size + 2);
        packed.write_all(&chunk[..size]).expect("gzip");
        packed.flush().expect("gzip");
    }
    assert_eq!(packed.get_ref(), b"first");
}
