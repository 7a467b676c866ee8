//! Clients of HTTP/2 that other people wrote: curl, nghttp2's tools, and Python's `h2`.

use std::fs;
use std::process::{Command, Output};

use super::clear;
use crate::harness::installed;
use crate::harness::origin::Origin;
use crate::harness::program::Running;
use crate::python::{Server, has, python};
use crate::tls::secure;

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).output().expect("run the client")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// An origin that sends a body back.
fn mirror() -> Origin {
    Origin::with(|request| {
        let start = request.windows(4).position(|part| part == b"\r\n\r\n");
        let body = &request[start.map_or(0, |at| at + 4)..];
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    })
}

#[test]
fn curl_begins_with_http_2_and_bodies_come_back_whole() {
    if !installed(&[("curl", "curl")]) {
        return;
    }
    let origin = mirror();
    let proxy = clear(&format!("http://{}", origin.address), "");
    let (sent, got) = (proxy.site.dir.join("sent"), proxy.site.dir.join("got"));
    let body: Vec<u8> = (0..5_000_000_u32)
        .map(|at| (at.wrapping_mul(31) >> 3) as u8)
        .collect();
    fs::write(&sent, &body).expect("write the body");
    let url = format!("http://{}/x", proxy.address());
    for (arguments, version) in [
        (&["--http2-prior-knowledge"][..], "2"),
        (&["--http1.1"], "1.1"),
    ] {
        let data = format!("@{}", sent.display());
        let output = run(
            "curl",
            &[
                arguments,
                &[
                    "-sS",
                    "-m",
                    "60",
                    "--data-binary",
                    &data,
                    "-o",
                    &got.display().to_string(),
                    "-w",
                    "%{http_version} %{http_code}",
                    &url,
                ],
            ]
            .concat(),
        );
        assert_eq!(said(&output), format!("{version} 200"));
        assert!(
            fs::read(&got).expect("the answer") == body,
            "HTTP/{version}"
        );
    }
}

#[test]
fn files_arrive_whole_and_head_has_their_length() {
    if !installed(&[("curl", "curl")]) {
        return;
    }
    let proxy = Running::relais(
        "Protocols h2c http/1.1\nDocumentRoot DIR/files\n<Directory DIR>\nRequire all granted\n</Directory>",
    );
    let dir = proxy.site.dir.join("files");
    fs::create_dir_all(&dir).expect("create a folder");
    let body = vec![b'f'; 3_000_000];
    fs::write(dir.join("large"), &body).expect("write the file");
    let url = format!("http://{}/large", proxy.address());
    let output = run(
        "curl",
        &["-sS", "-m", "60", "--http2-prior-knowledge", &url],
    );
    assert!(output.stdout == body, "{} bytes", output.stdout.len());
    let output = run(
        "curl",
        &["-sS", "-m", "60", "--http2-prior-knowledge", "-I", &url],
    );
    assert!(
        said(&output).contains("content-length: 3000000\r\n"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_handshake_settles_on_the_protocol_by_whose_order_counts() {
    if !installed(&[("curl", "curl"), ("openssl", "openssl")]) {
        return;
    }
    let origin = Origin::start();
    // curl offers h2 before http/1.1.
    for (more, version) in [
        ("", "1.1"),
        ("Protocols h2 http/1.1", "2"),
        ("Protocols http/1.1 h2", "1.1"),
        ("Protocols http/1.1 h2\nProtocolsHonorOrder off", "2"),
    ] {
        let proxy = secure(&format!("http://{}", origin.address), more).start();
        let url = format!("https://{}/x", proxy.address());
        let output = run(
            "curl",
            &[
                "-sSk",
                "-m",
                "60",
                "--http2",
                "-o",
                "/dev/null",
                "-w",
                "%{http_version} %{http_code}",
                &url,
            ],
        );
        assert_eq!(said(&output), format!("{version} 200"), "{more}");
    }
}

#[test]
fn nghttp2_s_clients_are_served() {
    if !installed(&[
        ("nghttp", "nghttp2-client"),
        ("h2load", "nghttp2-client"),
        ("openssl", "openssl"),
    ]) {
        return;
    }
    let origin = Origin::start();
    let clear = clear(&format!("http://{}", origin.address), "");
    let secure = secure(
        &format!("http://{}", origin.address),
        "Protocols h2 http/1.1",
    )
    .start();
    for url in [
        format!("http://{}/x", clear.address()),
        format!("https://{}/x", secure.address()),
    ] {
        let output = run("nghttp", &["-nv", "-m", "5", &url]);
        assert_eq!(
            said(&output).matches(":status: 200").count(),
            5,
            "{}",
            said(&output)
        );
        let output = run("h2load", &["-n", "500", "-c", "5", "-m", "20", &url]);
        assert!(
            said(&output).contains("500 succeeded, 0 failed, 0 errored, 0 timeout"),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn python_opens_a_websocket_on_a_stream() {
    if !["h2.connection", "wsproto", "websockets.asyncio.server"]
        .iter()
        .all(|package| has(package))
    {
        return;
    }
    let server = Server::start("websockets_server.py");
    let proxy = clear(&format!("http://{}", server.address), "");
    let mut client = python("h2_websocket.py");
    let output = client
        .arg(proxy.address().to_string())
        .output()
        .expect("run the client");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output).trim(), "200, 16 messages, closed 1000");
    let line = proxy.access_log(1).pop().unwrap_or_default();
    assert!(line.contains("HTTP/2.0\" 101 "), "{line}");
}
