//! What the runtime crates get to see of a configuration.

mod common;

use relais_policy::{HostSpec, Site};

fn site(config: &str) -> Site {
    let read = common::read(config);
    let rendered = read.diagnostics.render(&read.loaded.sources);
    read.site.unwrap_or_else(|| panic!("{rendered}"))
}

/// What a virtual host inherits and overrides, one case per line: directives
/// of the main server, those of the virtual host, and what is looked at.
#[test]
fn hosts_inherit() {
    type Look = fn(&HostSpec) -> String;
    let table: &[(&str, &str, Look, &str)] = &[
        (
            "Timeout 7",
            "",
            |spec| spec.timeout.as_secs().to_string(),
            "7",
        ),
        (
            "Timeout 7",
            "Timeout 8",
            |spec| spec.timeout.as_secs().to_string(),
            "8",
        ),
        ("", "", |spec| spec.timeout.as_secs().to_string(), "60"),
        (
            "KeepAlive Off",
            "KeepAliveTimeout 250ms",
            |spec| format!("{:?}", spec.keep_alive),
            "KeepAlive { on: false, timeout: 250ms, requests_max: 100 }",
        ),
        (
            "LimitRequestLine 100",
            "LimitRequestFields 5",
            |spec| format!("{:?}", spec.limits),
            "RequestLimits { line: 100, field: 8190, fields: 5 }",
        ),
        (
            "ServerName a.example",
            "",
            |spec| format!("{} {}", spec.server_name, spec.name_inherited),
            "a.example true",
        ),
        (
            "ServerName a.example",
            "ServerName https://B.example:8443\nServerAlias *.c",
            |spec| {
                format!(
                    "{} {:?} {:?} {}",
                    spec.server_name, spec.server_port, spec.server_scheme, spec.name_inherited
                )
            },
            "B.example Some(8443) Some(\"https\") false",
        ),
        (
            "ErrorLog logs/e",
            "",
            |spec| spec.error_log.to_string(),
            "/srv/logs/e",
        ),
        (
            "ErrorLog logs/e",
            "ErrorLog /v/e",
            |spec| spec.error_log.to_string(),
            "/v/e",
        ),
        (
            "CustomLog logs/a %h\nCustomLog logs/b %h",
            "",
            |spec| spec.access_logs.len().to_string(),
            "2",
        ),
        (
            "CustomLog logs/a %h\nCustomLog logs/b %h",
            "CustomLog logs/c %h env=!x",
            |spec| {
                format!(
                    "{} {:?}",
                    spec.access_logs[0].target, spec.access_logs[0].condition
                )
            },
            "/srv/logs/c Some(Variable(\"x\", false))",
        ),
        (
            "LogLevel info rewrite:trace2",
            "LogLevel rewrite:debug",
            |spec| {
                format!(
                    "{:?} {:?}",
                    spec.levels.level("rewrite"),
                    spec.levels.level("core")
                )
            },
            "Debug Info",
        ),
        (
            "UseCanonicalName On",
            "",
            |spec| spec.canonical_name.to_string(),
            "true",
        ),
        (
            "AllowEncodedSlashes NoDecode",
            "MergeSlashes Off",
            |spec| format!("{:?}", spec.paths),
            "PathRules { encoded_slashes: NoDecode, merge_slashes: false }",
        ),
        (
            "TraceEnable Off",
            "TraceEnable On",
            |spec| spec.trace_enabled.to_string(),
            "true",
        ),
        (
            "ServerTokens Prod",
            "",
            |spec| spec.server_tokens.clone(),
            "relais",
        ),
        (
            "RequestReadTimeout header=5",
            "RequestReadTimeout body=0",
            |spec| {
                format!(
                    "{:?} {:?}",
                    spec.header_timeout.map(|stage| stage.initial.as_secs()),
                    spec.body_timeout
                )
            },
            "Some(5) None",
        ),
    ];
    for &(main, host, look, expected) in table {
        let site = site(&format!(
            "{main}\n<VirtualHost *:80>\n{host}\n</VirtualHost>\n"
        ));
        assert_eq!(look(&site.hosts[1].spec), expected, "{main} / {host}");
    }
}

#[test]
fn the_server() {
    let config = "Listen 80\nListen 10.0.0.1:81\nUser www\nGroup web\nPidFile run/pid\nListenBacklog 9\nGracefulShutdownTimeout 3\n";
    let server = site(config).server;
    let addresses: Vec<String> = server
        .listeners
        .iter()
        .map(|listener| listener.address.to_string())
        .collect();
    assert_eq!(addresses, ["[::]:80", "10.0.0.1:81"]);
    assert_eq!(
        (server.user.as_deref(), server.group.as_deref()),
        (Some("www"), Some("web"))
    );
    assert_eq!(
        server.pid_file.as_deref(),
        Some(std::path::Path::new("/srv/run/pid"))
    );
    assert_eq!(
        (server.backlog, server.graceful_shutdown_timeout.as_secs()),
        (Some(9), 3)
    );
}

/// Worker timeouts: the worker's own, `ProxyTimeout`, `Timeout`.
#[test]
fn worker_specs() {
    let table: &[(&str, &str, &str)] = &[
        ("", "", "60 60 true"),
        ("Timeout 5", "", "5 5 true"),
        ("Timeout 5\nProxyTimeout 6", "", "6 6 true"),
        ("ProxyTimeout 6", "timeout=7", "7 7 true"),
        ("ProxyTimeout 6", "connectiontimeout=8", "6 8 true"),
        ("", "enablereuse=Off", "60 60 false"),
        ("", "disablereuse=On", "60 60 false"),
    ];
    for &(main, parameters, expected) in table {
        let site = site(&format!(
            "{main}\nProxyPass / http://O.example:80/ {parameters}\n"
        ));
        let forward = forward(&site);
        let worker = &forward.worker;
        let seen = format!(
            "{} {} {}",
            worker.timeout.as_secs(),
            worker.connect_timeout.as_secs(),
            worker.reuse
        );
        assert_eq!(seen, expected, "{main} {parameters}");
        assert_eq!(
            (worker.name.as_str(), worker.host.as_str(), worker.port),
            ("http://o.example", "o.example", 80)
        );
    }
}

fn forward(site: &Site) -> relais_policy::Forward {
    let mut head = relais_http1::RequestHead::new();
    let text = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    head.parse_into(text, &relais_http1::Limits::default())
        .expect("a request");
    let meta = head.check().expect("a good request");
    let address = "127.0.0.1:80".parse().expect("an address");
    let connection = relais_policy::Connection {
        peer: address,
        local: address,
        secure: false,
        requests: 0,
        stream: None,
    };
    let now = std::time::SystemTime::UNIX_EPOCH;
    let mut exchange =
        relais_policy::Exchange::new(site, site.main(), connection, &head, &meta, now);
    match common::decide(&mut exchange, &relais_policy::SectionSets::default()) {
        relais_policy::Decision::Proxy(forward) => *forward,
        other => panic!("{other}"),
    }
}
