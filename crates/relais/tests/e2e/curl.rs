//! curl as the client of plain requests.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::harness::installed;
use crate::harness::origin::Origin;
use crate::harness::program::Running;
use crate::harness::wire::{field, find};

/// How many bytes the large bodies have.
const LARGE: usize = 20 << 20;

#[test]
fn every_kind_of_request_gets_its_answer() {
    let Some(site) = Site::start() else { return };
    // The arguments for curl, the status, the request line at the origin, and a field line that curl shows.
    let rows: [(&[&str], &str, &str, &str); 9] = [
        (&[], "200", "GET /page?a=b HTTP/1.1", "X-Echo: yes"),
        (&["-I"], "200", "HEAD /page?a=b HTTP/1.1", "X-Echo: yes"),
        (&["-0"], "200", "GET /page?a=b HTTP/1.1", "HTTP/1.1 200 OK"),
        (
            &["-X", "DELETE"],
            "200",
            "DELETE /page?a=b HTTP/1.1",
            "X-Echo: yes",
        ),
        (
            &["-d", "key=value"],
            "200",
            "POST /page?a=b HTTP/1.1",
            "Content-Length: 9",
        ),
        (
            &["-F", "key=value"],
            "200",
            "POST /page?a=b HTTP/1.1",
            "X-Echo: yes",
        ),
        (
            &["--compressed"],
            "200",
            "GET /page?a=b HTTP/1.1",
            "X-Echo: yes",
        ),
        (
            &["-H", "Connection: close"],
            "200",
            "GET /page?a=b HTTP/1.1",
            "Connection: close",
        ),
        (
            &["-H", "Expect: 100-continue", "-d", "key=value"],
            "200",
            "POST /page?a=b HTTP/1.1",
            "HTTP/1.1 100 Continue",
        ),
    ];
    for (arguments, code, line, shown) in rows {
        let output = site.curl(&[&["-i"], arguments].concat(), "/page?a=b");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.ends_with(&format!("\n{code}")),
            "{arguments:?}: {text}"
        );
        assert!(
            text.contains(&format!("{shown}\r\n")),
            "{arguments:?}: {shown} is not in {text}"
        );
        assert_eq!(site.last_request_line(), line, "{arguments:?}");
    }
}

#[test]
fn large_bodies_arrive_whole_in_both_directions() {
    let Some(site) = Site::start() else { return };
    let body: Vec<u8> = (0..LARGE)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let (sent, received) = (
        site.proxy.site.dir.join("sent"),
        site.proxy.site.dir.join("received"),
    );
    fs::write(&sent, &body).expect("write the body");
    let (data, file) = (format!("@{}", sent.display()), sent.display().to_string());
    for arguments in [
        &["--data-binary", &data][..],
        &["--data-binary", &data, "-H", "Transfer-Encoding: chunked"],
        &["--data-binary", &data, "-H", "Expect: 100-continue"],
        &["-T", &file],
    ] {
        let to_file = ["-o", &received.display().to_string()].map(str::to_owned);
        let to_file: Vec<&str> = to_file.iter().map(String::as_str).collect();
        let output = site.curl(&[arguments, &to_file].concat(), "/body");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "\n200",
            "{arguments:?}"
        );
        assert!(
            fs::read(&received).expect("read the answer") == body,
            "{arguments:?}: the body changed on its way"
        );
    }
}

#[test]
fn an_upload_from_a_pipe_is_chunked() {
    let Some(site) = Site::start() else { return };
    let sent = site.proxy.site.dir.join("sent");
    fs::write(&sent, vec![b'x'; LARGE]).expect("write the body");
    let mut curl = site.command(&["-T", "-"], "/pipe");
    let output = curl
        .stdin(fs::File::open(&sent).expect("open the body"))
        .output()
        .expect("run curl");
    assert_eq!(output.stdout.len(), LARGE + "\n200".len());
    let request = site.origin.received().pop().expect("a request");
    assert_eq!(
        field(&request.bytes, "transfer-encoding").as_deref(),
        Some("chunked")
    );
}

#[test]
fn a_connection_is_used_again() {
    let Some(site) = Site::start() else { return };
    let first = format!("http://{}/one", site.proxy.address());
    let output = site.curl(
        &[
            "-o",
            "/dev/null",
            "-w",
            "%{num_connects}\n",
            &first,
            "-o",
            "/dev/null",
        ],
        "/two",
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["1", "0"]
    );
    let connections: Vec<usize> = site
        .origin
        .received()
        .iter()
        .map(|request| request.connection)
        .collect();
    assert_eq!(
        connections,
        [0, 0],
        "the origin's connection is kept as well"
    );
}

#[test]
fn paths_are_cleaned_before_they_reach_the_origin() {
    let Some(site) = Site::start() else { return };
    for (sent, at_origin) in [
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("//a//b", "/a/b"),
        ("/a%20b", "/a%20b"),
        ("/%41", "/A"),
        ("/a?b=../c", "/a?b=../c"),
    ] {
        site.curl(&["--path-as-is"], sent);
        assert_eq!(
            site.last_request_line(),
            format!("GET {at_origin} HTTP/1.1"),
            "{sent}"
        );
    }
}

/// relais in front of an origin that sends back what it was sent.
struct Site {
    origin: Origin,
    proxy: Running,
}

impl Site {
    /// Nothing when curl is not installed.
    fn start() -> Option<Self> {
        if !installed(&[("curl", "curl")]) {
            return None;
        }
        let origin = Origin::with(echo);
        let proxy = Running::relais(&format!("ProxyPass / http://{}/", origin.address));
        Some(Self { origin, proxy })
    }

    fn command(&self, arguments: &[&str], path: &str) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--max-time", "60"])
            .stdin(Stdio::null());
        if !arguments.contains(&"-w") {
            command.args(["-w", "\n%{http_code}"]);
        }
        command
            .args(arguments)
            .arg(format!("http://{}{path}", self.proxy.address()));
        command
    }

    fn curl(&self, arguments: &[&str], path: &str) -> Output {
        let output = self.command(arguments, path).output().expect("run curl");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn last_request_line(&self) -> String {
        let request = self.origin.received().pop().expect("a request");
        let end = find(&request.bytes, b"\r\n").unwrap_or(0);
        String::from_utf8_lossy(&request.bytes[..end]).into_owned()
    }
}

/// An answer with the body of the request.
fn echo(request: &[u8]) -> Vec<u8> {
    let head_end = find(request, b"\r\n\r\n").map_or(request.len(), |at| at + 4);
    let body = if field(request, "transfer-encoding").is_some() {
        without_chunks(&request[head_end..])
    } else {
        request[head_end..].to_vec()
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nX-Echo: yes\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// The data of a chunked body.
fn without_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(line_end) = find(rest, b"\r\n") {
        let size = String::from_utf8_lossy(&rest[..line_end]).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        out.extend_from_slice(&rest[line_end + 2..line_end + 2 + size]);
        rest = &rest[line_end + 2 + size + 2..];
    }
    out
}
