//! TLS against other people's: OpenSSL's certificates, curl, Python's websockets.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::installed;
use crate::harness::origin::Origin;
use crate::harness::program::{Program, Running, Site};

/// A host with TLS in front of an origin; `more` goes into it.
pub(crate) fn secure(origin: &str, more: &str) -> Site {
    let body = format!(
        "SSLEngine on\nSSLProtocol all -SSLv3 -TLSv1 -TLSv1.1\nSSLCipherSuite HIGH:!aNULL:!MD5\n\
         SSLCertificateFile DIR/a.crt\nSSLCertificateKeyFile DIR/a.key\nServerName a.example\nLogLevel info\n\
         RequestHeader set X-Tls \"%{{SSL_PROTOCOL}}s\"\nProxyPass / {origin}/\n{more}"
    );
    let site = Site::new(Program::Relais, &body);
    certificates(site.dir.path());
    site
}

/// A certificate authority, certificates for two hosts and one for a client.
pub(crate) fn certificates(dir: &Path) {
    openssl(
        dir,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=CA -keyout ca.key -out ca.crt",
    );
    for name in ["a", "b", "client"] {
        openssl(
            dir,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /O=Org/CN={name}.example -addext subjectAltName=DNS:{name}.example,IP:127.0.0.1 -keyout {name}.key -out {name}.csr"
            ),
        );
        openssl(
            dir,
            &format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -copy_extensions copy -days 2 -out {name}.crt"
            ),
        );
    }
}

pub(crate) fn openssl(dir: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let output = command.current_dir(dir).args(arguments.split(' ')).output();
    let output = output.expect("run openssl");
    assert!(
        output.status.success(),
        "{arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) fn curl(proxy: &Running, host: &str, arguments: &[&str]) -> Output {
    let port = proxy.address().port();
    let mut command = Command::new("curl");
    command.current_dir(proxy.site.dir.path());
    command.args([
        "-sS",
        "-m",
        "30",
        "--cacert",
        "ca.crt",
        "-o",
        "body",
        "-w",
        "%{http_code} %{redirect_url}",
    ]);
    command.args(["--resolve", &format!("{host}:{port}:127.0.0.1")]);
    command
        .args(arguments)
        .arg(format!("https://{host}:{port}/x"));
    command.output().expect("run curl")
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(crate) fn available() -> bool {
    installed(&[("curl", "curl"), ("openssl", "openssl")])
}

#[test]
fn curl_speaks_both_versions_and_plain_http_is_told() {
    if !available() {
        return;
    }
    let origin = Origin::start();
    let proxy = secure(&format!("http://{}", origin.address), "").start();
    for (arguments, version) in [(&["--tls-max", "1.2"][..], "TLSv1.2"), (&[], "TLSv1.3")] {
        assert_eq!(
            said(&curl(&proxy, "a.example", arguments)),
            "200",
            "{version}"
        );
        let request = origin.received().pop().expect("a request");
        let text = String::from_utf8_lossy(&request.bytes).into_owned();
        assert!(text.contains(&format!("X-Tls: {version}")), "{text}");
    }
    let mut client = proxy.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("speaking plain HTTP to an SSL-enabled server port"),
        "{answer}"
    );
}

#[test]
fn names_choose_certificates_and_clients_prove_themselves() {
    if !available() {
        return;
    }
    let origin = Origin::start();
    let hosts = "<VirtualHost *:*>\nServerName a.example\n</VirtualHost>\n<VirtualHost *:*>\nServerName b.example\n\
         SSLCertificateFile DIR/b.crt\nSSLCertificateKeyFile DIR/b.key\nSSLVerifyClient require\nSSLCACertificateFile DIR/ca.crt\n\
         RewriteEngine on\nRewriteCond %{SSL:SSL_CLIENT_S_DN} (.*)\nRewriteRule ^ https://who/%1 [R,NE,L]\n</VirtualHost>";
    let proxy = secure(&format!("http://{}", origin.address), hosts).start();
    assert_eq!(said(&curl(&proxy, "a.example", &[])), "200");
    let unproven = curl(&proxy, "b.example", &[]);
    assert!(!unproven.status.success(), "{}", said(&unproven));
    let proven = curl(
        &proxy,
        "b.example",
        &["--cert", "client.crt", "--key", "client.key"],
    );
    assert_eq!(said(&proven), "302 https://who/CN=client.example,O=Org");
    let misdirected = curl(&proxy, "a.example", &["-H", "Host: b.example"]);
    assert_eq!(said(&misdirected), "421");
}

#[test]
fn origins_are_verified_as_the_configuration_asks() {
    if !available() {
        return;
    }
    let origin = Origin::start();
    let behind = secure(&format!("http://{}", origin.address), "").start();
    let dir = behind.site.dir.path().display().to_string();
    let other = secure("http://127.0.0.1:9", "");
    let foreign = other.dir.path().display().to_string();
    let trusted = format!("SSLProxyVerify require\nSSLProxyCACertificateFile {dir}/ca.crt");
    let distrusted = format!("SSLProxyVerify require\nSSLProxyCACertificateFile {foreign}/ca.crt");
    let port = behind.address().port();
    for (settings, host, status, logged) in [
        ("", "127.0.0.1", 200, ""),
        (trusted.as_str(), "127.0.0.1", 200, ""),
        (
            distrusted.as_str(),
            "127.0.0.1",
            500,
            "invalid peer certificate",
        ),
        ("", "localhost", 500, "NotValidForName"),
        (
            "SSLProxyCheckPeerName off\nSSLProxyCheckPeerCN off",
            "localhost",
            200,
            "",
        ),
        ("SSLProxyProtocol TLSv1.2", "127.0.0.1", 200, ""),
    ] {
        let front = Running::relais(&format!(
            "SSLProxyEngine on\n{settings}\nProxyPass / https://{host}:{port}/"
        ));
        for _ in 0..2 {
            let mut client = front.connect();
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let answer = String::from_utf8_lossy(&client.rest()).into_owned();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{settings}: {answer}"
            );
        }
        assert!(front.says(logged), "{settings}: {}", front.site.said());
    }
    let off = Running::relais(&format!("ProxyPass / https://127.0.0.1:{port}/"));
    let mut client = off.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(off.says("SSLProxyEngine is not on"));
}

#[test]
fn a_broken_certificate_is_shown_where_it_is_named() {
    if !available() {
        return;
    }
    let site = secure("http://127.0.0.1:9", "");
    std::fs::copy(site.dir.join("b.key"), site.dir.join("a.key")).expect("copy a key");
    let output = site.run(&["-t"]);
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("error[RC0512]"), "{told}");
    assert!(told.contains("SSLCertificateKeyFile"), "{told}");
}
