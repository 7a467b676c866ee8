//! Certificates that change while relais runs, and keys that are encrypted.

use std::path::Path;

use crate::harness::origin::Origin;
use crate::harness::program::Running;
use crate::tls::{available, curl, openssl, said, secure};

/// The subject of the certificate that a client is shown.
fn shown(proxy: &Running) -> String {
    let output = curl(proxy, "a.example", &["-v"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.contains("subject:"));
    line.unwrap_or(&text).to_owned()
}

/// Writes another certificate for `a.example` with this organisation in its subject; one rename, as certbot does.
fn renew(dir: &Path, organisation: &str) {
    openssl(
        dir,
        &format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /O={organisation}/CN=a.example -addext subjectAltName=DNS:a.example -keyout n.key -out n.csr"
        ),
    );
    openssl(
        dir,
        "x509 -req -in n.csr -CA ca.crt -CAkey ca.key -CAcreateserial -copy_extensions copy -days 2 -out n.crt",
    );
    // relais has become another user by now.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(dir.join("n.key"), mode).expect("let it be read");
    std::fs::rename(dir.join("n.key"), dir.join("a.key")).expect("the key");
    std::fs::rename(dir.join("n.crt"), dir.join("a.crt")).expect("the certificate");
}

#[test]
fn certificates_that_change_are_read_again_and_broken_ones_are_not_used() {
    if !available() {
        return;
    }
    let origin = Origin::start();
    let proxy = secure(
        &format!("http://{}", origin.address),
        "SSLCertificateWatch on",
    )
    .start();
    let dir = proxy.site.dir.path().to_owned();
    assert!(shown(&proxy).contains("Org"), "{}", shown(&proxy));
    renew(&dir, "Second");
    assert!(proxy.says("the certificates of a.example:"));
    assert!(shown(&proxy).contains("Second"), "{}", shown(&proxy));
    std::fs::write(dir.join("a.crt"), "no certificate").expect("break it");
    assert!(proxy.says("keeps its old certificates"));
    assert!(proxy.says("holds no certificate"));
    assert!(shown(&proxy).contains("Second"), "{}", shown(&proxy));
}

#[test]
fn a_reload_reads_certificates_again_and_sessions_go_on() {
    if !available() {
        return;
    }
    let origin = Origin::start();
    let proxy = secure(&format!("http://{}", origin.address), "").start();
    let dir = proxy.site.dir.path().to_owned();
    let port = proxy.address().port();
    let client = |arguments: &str| {
        let arguments = format!(
            "openssl s_client -connect 127.0.0.1:{port} -servername a.example -CAfile ca.crt -tls1_2 {arguments} </dev/null 2>&1"
        );
        let mut shell = std::process::Command::new("sh");
        let output = shell.current_dir(&dir).args(["-c", &arguments]).output();
        String::from_utf8_lossy(&output.expect("run s_client").stdout).into_owned()
    };
    let first = client("-sess_out session.pem");
    assert!(first.contains("New, TLSv1.2"), "{first}");
    renew(&dir, "Second");
    proxy.control("graceful");
    assert!(proxy.says("configuration read again"));
    let second = client("-sess_in session.pem");
    assert!(second.contains("Reused, TLSv1.2"), "{second}");
    assert!(shown(&proxy).contains("Second"), "{}", shown(&proxy));
    // A configuration with a broken certificate changes nothing, and says where it is named.
    std::fs::write(dir.join("a.crt"), "no certificate").expect("break it");
    proxy.signal(nix::sys::signal::Signal::SIGUSR1);
    assert!(proxy.says("error[RC0511]"));
    assert!(proxy.says("the configuration was not changed"));
    assert!(shown(&proxy).contains("Second"), "{}", shown(&proxy));
}

#[test]
fn encrypted_keys_are_opened_with_what_a_program_tells() {
    if !available() {
        return;
    }
    let origin = Origin::start();
    let site = secure(
        &format!("http://{}", origin.address),
        "SSLPassPhraseDialog exec:DIR/phrase",
    );
    let dir = site.dir.path().to_owned();
    std::fs::write(
        dir.join("phrase"),
        format!(
            "#!/bin/sh\necho \"$@\" >> {}/asked\necho geheim\n",
            dir.display()
        ),
    )
    .expect("the program");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(dir.join("phrase"), mode).expect("make it a program");
    for (form, refused) in [
        ("pkcs8 -topk8 -v2 aes-256-cbc", None),
        ("pkcs8 -topk8 -v2 des3", None),
        ("ec -aes256", Some("openssl pkcs8 -topk8")),
    ] {
        openssl(
            &dir,
            &format!("{form} -in client.key -passout pass:geheim -out sealed.key"),
        );
        std::fs::copy(dir.join("client.crt"), dir.join("a.crt")).expect("the certificate");
        std::fs::rename(dir.join("sealed.key"), dir.join("a.key")).expect("the key");
        let output = site.run(&["-t"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        match refused {
            None => assert!(output.status.success(), "{form}: {told}"),
            Some(advice) => {
                assert!(told.contains("error[RC0513]"), "{form}: {told}");
                assert!(told.contains(advice), "{form}: {told}");
            }
        }
    }
    let asked = std::fs::read_to_string(dir.join("asked")).expect("it was asked");
    assert!(asked.starts_with("a.example:"), "{asked}");
    assert!(asked.trim_end().ends_with(" RSA"), "{asked}");
    openssl(
        &dir,
        "pkcs8 -topk8 -in client.key -passout pass:other -out a.key",
    );
    let output = site.run(&["-t"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("does not decrypt"), "{told}");
    openssl(
        &dir,
        "pkcs8 -topk8 -in client.key -passout pass:geheim -out a.key",
    );
    let proxy = site.start();
    assert_eq!(said(&curl(&proxy, "client.example", &[])), "200");
}
