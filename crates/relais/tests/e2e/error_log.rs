//! The error log as `ErrorLogFormat` wants it, beside httpd's.

use crate::harness::program::{Program, Running, Site};
use crate::harness::wire::Kind;
use crate::harness::{eventually, installed};

const CONFIGURATION: &str = r#"
ErrorLog DIR/errors.log
LogLevel error
ErrorLogFormat "[%m:%l] %E [client\ %{HOST_KIND}e] %v %k %-{X-None}i %M% ,\ referer\ %{Referer}i %8F"
ErrorLogFormat request "request %+{User-Agent}i of %V"
SetEnv HOST_KIND none
SetEnvIf Host . HOST_KIND=named
LogFormat "%L" id
CustomLog DIR/ids.log id
<Location />
    Require all denied
</Location>
"#;

const REQUESTS: &[&str] = &[
    "GET /a HTTP/1.1\r\nHost: other.example\r\nReferer: http://r/\r\nUser-Agent: me\r\n\r\n",
    "GET /b HTTP/1.1\r\nHost: other.example\r\n\r\n",
];

/// The lines about the requests; what is denied has another name without a document root.
fn lines(server: &Running) -> Vec<String> {
    let mut client = server.connect();
    for request in REQUESTS {
        client.send(request.as_bytes());
        client.message(Kind::Response);
    }
    assert!(eventually(|| server
        .site
        .dir
        .read("errors.log")
        .contains("/b\n")));
    let log = server.site.dir.read("errors.log");
    let lines = log.lines().filter(|line| !line.contains(":notice]"));
    lines
        .map(|line| line.replace("/var/www/html", "uri "))
        .collect()
}

#[test]
fn lines_are_as_the_format_says() {
    let relais = Site::new(Program::Relais, CONFIGURATION).start();
    let expected = [
        "request me of other.example",
        "[authz_core:error] [client named] main.example 0 - AH01630: client denied by server configuration: uri /a, referer http://r/",
        "[authz_core:error] [client named] main.example 1 - AH01630: client denied by server configuration: uri /b",
    ];
    assert_eq!(lines(&relais), expected);
    let ids = relais.log("ids.log", 2);
    assert!(ids.iter().all(|id| id.len() > 10), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
    if installed(&[("/usr/sbin/apache2", "apache2-bin")]) {
        let httpd = Site::new(Program::Httpd, CONFIGURATION).start();
        assert_eq!(lines(&httpd), expected);
    }
}
