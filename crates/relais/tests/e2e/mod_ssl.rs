//! The same `SSL*` file to relais and to httpd: which certificate is shown, what variables say, who is let in.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::installed;
use crate::harness::program::{Program, Running, Site};
use crate::tls::{certificates, openssl};

/// Two hosts with certificates of their own, one of which asks for a client's. Every answer tells what variables are;
/// `CERTS` stands for the folder of the certificates.
const HOSTS: &str = "LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
SSLSessionCache shmcb:DIR/cache(512000)
SSLProtocol all -SSLv3 -TLSv1 -TLSv1.1
SSLCipherSuite ECDHE-ECDSA-AES128-GCM-SHA256
SSLCipherSuite TLSv1.3 TLS_AES_128_GCM_SHA256
SSLVerifyDepth 2
SSLOptions +StdEnvVars
<VirtualHost LISTEN>
  ServerName a.example
  SSLEngine on
  SSLCertificateFile CERTS/a.crt
  SSLCertificateKeyFile CERTS/a.key
  RewriteEngine on
  RewriteRule ^/rewrite https://who/%{SSL:SSL_PROTOCOL}/%{HTTPS}/%{SSL:SSL_NOTHING} [R,NE,L]
  Redirect /x https://who/a
  <Location /strong>
    SSLRequire %{SSL_CIPHER_USEKEYSIZE} >= 512
  </Location>
  <Location /enough>
    SSLRequireSSL
    SSLRequire %{SSL_CIPHER_USEKEYSIZE} >= 128 and %{SSL_PROTOCOL} in {\"TLSv1.2\", \"TLSv1.3\"}
  </Location>
  <Location /ssl>
    Require ssl
  </Location>
  <Location /verified>
    Require ssl-verify-client
  </Location>
  Header always set X-Vars \"VARIABLES\"
</VirtualHost>
<VirtualHost LISTEN>
  ServerName b.example
  SSLEngine on
  SSLCertificateFile CERTS/b.crt
  SSLCertificateKeyFile CERTS/b.key
  SSLVerifyClient require
  SSLCACertificateFile CERTS/ca.crt
  SSLCARevocationFile CERTS/ca.crl
  SSLCARevocationCheck leaf
  SSLUserName SSL_CLIENT_S_DN_CN
  Redirect /x https://who/b
  Header always set X-Vars \"VARIABLES\"
</VirtualHost>";

const VARIABLES: &str = "HTTPS SSL_PROTOCOL SSL_CIPHER SSL_CIPHER_EXPORT SSL_CIPHER_USEKEYSIZE SSL_CIPHER_ALGKEYSIZE SSL_TLS_SNI \
    SSL_SECURE_RENEG SSL_COMPRESS_METHOD SSL_SESSION_RESUMED SSL_CLIENT_VERIFY SSL_SERVER_M_VERSION SSL_SERVER_M_SERIAL \
    SSL_SERVER_S_DN SSL_SERVER_S_DN_CN SSL_SERVER_I_DN SSL_SERVER_I_DN_CN SSL_SERVER_V_START SSL_SERVER_V_END SSL_SERVER_A_SIG \
    SSL_SERVER_A_KEY SSL_SERVER_SAN_DNS_0 SSL_CLIENT_M_VERSION SSL_CLIENT_M_SERIAL SSL_CLIENT_S_DN SSL_CLIENT_S_DN_O \
    SSL_CLIENT_S_DN_CN SSL_CLIENT_S_DN_OU SSL_CLIENT_I_DN SSL_CLIENT_V_END SSL_CLIENT_A_SIG SSL_CLIENT_A_KEY \
    SSL_CLIENT_SAN_DNS_0 SSL_CLIENT_SAN_DNS_1 SSL_CLIENT_CERT_RFC4523_CEA";

fn start(program: Program, certs: &Path) -> Running {
    let variables: Vec<_> = VARIABLES
        .split_whitespace()
        .map(|name| format!("{name}=%{{{name}}}s"))
        .collect();
    let body = HOSTS
        .replace("VARIABLES", &variables.join("; "))
        .replace("CERTS", &certs.display().to_string());
    Site::new(program, &body).start()
}

/// Certificates that nobody should trust, one that is good, and the list that revokes one of them; all for `localhost`.
pub(crate) fn more_certificates(dir: &Path) {
    openssl(
        dir,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=self -keyout self.key -out self.crt",
    );
    std::fs::write(dir.join("index.txt"), "").expect("the list of certificates");
    let settings = "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n\
         default_crl_days=2\ncrlnumber=crlnumber\npolicy=any\ncopy_extensions=copy\n[any]\ncommonName=supplied\n";
    std::fs::write(dir.join("ca.cnf"), settings).expect("settings");
    std::fs::write(dir.join("crlnumber"), "01\n").expect("a number");
    let authority = "ca -config ca.cnf -batch -notext -cert ca.crt -keyfile ca.key";
    for (name, dates) in [
        ("old", "-startdate 20200101000000Z -enddate 20210101000000Z"),
        ("revoked", "-days 2"),
        ("good", "-days 2"),
    ] {
        openssl(
            dir,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name}.example -addext subjectAltName=DNS:localhost -keyout {name}.key -out {name}.csr"
            ),
        );
        openssl(
            dir,
            &format!("{authority} {dates} -in {name}.csr -out {name}.crt"),
        );
    }
    openssl(dir, &format!("{authority} -revoke revoked.crt"));
    openssl(dir, &format!("{authority} -gencrl -out ca.crl"));
}

/// Asks for `url`, in which `PORT` is the server's; what came back: the status, where to and the variables.
fn ask(server: &Running, certs: &Path, arguments: &[&str], url: &str) -> String {
    let port = server.address().port().to_string();
    let mut command = Command::new("curl");
    command.current_dir(certs).args([
        "-sS",
        "-m",
        "30",
        "--cacert",
        "ca.crt",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{redirect_url} %header{x-vars}",
    ]);
    for host in ["a.example", "b.example", "c.example"] {
        command.args(["--resolve", &format!("{host}:{port}:127.0.0.1")]);
    }
    let url = url.replace("PORT", &port);
    let output = command.args(arguments).arg(url).output();
    told(&output.expect("run curl"))
}

fn told(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        said.replace("; ", ";\n")
    } else {
        // The words of the alert differ from one version of TLS to the other, and when a client hears of it.
        format!("failed, {said}")
    }
}

#[test]
fn the_same_file_does_what_it_does_with_httpd() {
    if !installed(&[
        ("/usr/sbin/apache2", "apache2-bin"),
        ("curl", "curl"),
        ("openssl", "openssl"),
    ]) {
        return;
    }
    let place = Site::new(Program::Relais, "");
    let certs = place.dir.path();
    certificates(certs);
    more_certificates(certs);
    let [ours, theirs] = [Program::Relais, Program::Httpd].map(|program| start(program, certs));
    let proven = ["--cert", "client.crt", "--key", "client.key"];
    let certificate = |name: &str| {
        [
            "--cert".to_owned(),
            format!("{name}.crt"),
            "--key".to_owned(),
            format!("{name}.key"),
        ]
    };
    let mut asked: Vec<(Vec<String>, &str)> = Vec::new();
    let mut add = |arguments: &[&str], url| {
        asked.push((arguments.iter().map(|&one| one.to_owned()).collect(), url));
    };
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        add(version, "https://a.example:PORT/x");
        add(version, "https://a.example:PORT/rewrite");
        add(version, "https://b.example:PORT/x");
        add(&[version, &proven].concat(), "https://b.example:PORT/x");
        add(&[version, &proven].concat(), "https://a.example:PORT/x");
        for name in ["self", "old", "revoked"] {
            let certificate = certificate(name);
            let certificate: Vec<&str> = certificate.iter().map(String::as_str).collect();
            add(
                &[version, &certificate].concat(),
                "https://b.example:PORT/x",
            );
        }
    }
    for path in ["strong", "enough", "ssl", "verified"] {
        let url = format!("https://a.example:PORT/{path}");
        add(&[], url.leak());
    }
    add(&[], "https://127.0.0.1:PORT/x");
    add(&["-k"], "https://c.example:PORT/x");
    add(&["-H", "Host: b.example"], "https://a.example:PORT/x");
    add(&["-H", "Host: c.example"], "https://a.example:PORT/x");
    add(&["-H", "Host: a.example"], "https://127.0.0.1:PORT/x");
    add(&["-H", "Host: b.example"], "https://127.0.0.1:PORT/x");
    add(&[], "http://a.example:PORT/x");
    let mut differences = Vec::new();
    for (arguments, url) in asked {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let got = ask(&ours, certs, &arguments, url);
        let expected = ask(&theirs, certs, &arguments, url);
        if got != expected {
            differences.push(format!(
                "{arguments:?} {url}\nhttpd: {expected}\nrelais: {got}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
