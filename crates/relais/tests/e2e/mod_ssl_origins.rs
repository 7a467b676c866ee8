//! The same `SSLProxy*` lines in relais and in httpd, in front of OpenSSL's server with certificates good and bad.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::program::{Program, Site, free_address};
use crate::harness::{eventually, installed};
use crate::mod_ssl::more_certificates;
use crate::tls::certificates;

/// `openssl s_server`, which answers requests with a page.
struct OpenSsl {
    child: Child,
    address: std::net::SocketAddr,
}

impl OpenSsl {
    fn start(certs: &Path, name: &str, arguments: &[&str]) -> Self {
        let address = free_address();
        let child = Command::new("openssl")
            .current_dir(certs)
            .args([
                "s_server",
                "-www",
                "-quiet",
                "-accept",
                &address.to_string(),
            ])
            .args([
                "-cert",
                &format!("{name}.crt"),
                "-key",
                &format!("{name}.key"),
            ])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("run s_server");
        assert!(eventually(|| std::net::TcpStream::connect(address).is_ok()));
        Self { child, address }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An origin's certificate and what it is started with, `SSLProxy*` lines, and what a client gets.
const CASES: &[(&str, &[&str], &str, u16)] = &[
    ("good", &[], "", 200),
    ("good", &["-tls1_2"], "", 200),
    ("good", &["-tls1_3"], "", 200),
    ("good", &["-tls1_2"], "SSLProxyProtocol TLSv1.3", 500),
    ("good", &[], TRUST, 200),
    ("client", &[], "", 500),
    ("self", &[], "", 500),
    ("self", &[], NO_NAME, 200),
    (
        "self",
        &[],
        "SSLProxyVerify require\nSSLProxyCACertificateFile CERTS/ca.crt\nSSLProxyCheckPeerName off\nSSLProxyCheckPeerCN off",
        500,
    ),
    (
        "self",
        &[],
        "SSLProxyVerify require\nSSLProxyCACertificateFile CERTS/self.crt\nSSLProxyCheckPeerName off\nSSLProxyCheckPeerCN off",
        200,
    ),
    ("old", &[], "", 500),
    ("old", &[], "SSLProxyCheckPeerExpire off", 200),
    ("old", &[], TRUST, 500),
    ("revoked", &[], TRUST, 200),
    (
        "revoked",
        &[],
        "SSLProxyVerify require\nSSLProxyCACertificateFile CERTS/ca.crt\nSSLProxyCARevocationFile CERTS/ca.crl\nSSLProxyCARevocationCheck leaf",
        500,
    ),
    (
        "good",
        &["-Verify", "2", "-CAfile", "ca.crt", "-verify_return_error"],
        MACHINE,
        200,
    ),
    (
        "good",
        &[
            "-Verify",
            "2",
            "-CAfile",
            "ca.crt",
            "-verify_return_error",
            "-tls1_2",
        ],
        "",
        500,
    ),
];

const TRUST: &str = "SSLProxyVerify require\nSSLProxyCACertificateFile CERTS/ca.crt";
const NO_NAME: &str = "SSLProxyCheckPeerName off\nSSLProxyCheckPeerCN off";
/// relais proves who it is.
const MACHINE: &str = "SSLProxyMachineCertificateFile CERTS/machine.pem";

/// The status that a client gets.
fn status(program: Program, certs: &Path, origin: &OpenSsl, settings: &str) -> u16 {
    let body = format!(
        "LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\nSSLProxyEngine on\n{}\nProxyPass / https://localhost:{}/",
        settings.replace("CERTS", &certs.display().to_string()),
        origin.address.port()
    );
    let front = Site::new(program, &body).start();
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8_lossy(&client.rest()).into_owned();
    let status = answer.get(9..12).and_then(|digits| digits.parse().ok());
    status.unwrap_or_else(|| panic!("{settings}: {answer}"))
}

#[test]
fn origins_are_checked_as_httpd_checks_them() {
    if !installed(&[("/usr/sbin/apache2", "apache2-bin"), ("openssl", "openssl")]) {
        return;
    }
    let place = Site::new(Program::Relais, "");
    let certs = place.dir.path();
    certificates(certs);
    more_certificates(certs);
    let read = |name: &str| std::fs::read_to_string(certs.join(name)).expect("a file of ours");
    let machine = read("client.crt") + &read("client.key");
    std::fs::write(certs.join("machine.pem"), machine).expect("the machine's certificate");
    let mut differences = Vec::new();
    for &(name, arguments, settings, expected) in CASES {
        let origin = OpenSsl::start(certs, name, arguments);
        let got = [Program::Relais, Program::Httpd]
            .map(|program| status(program, certs, &origin, settings));
        if got != [expected; 2] {
            differences.push(format!(
                "{name} {arguments:?}\n{settings}\nexpected {expected}, relais and httpd {got:?}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
