//! Which virtual host answers when a `<VirtualHost>` line names its address by a host name.

use std::path::Path;

use crate::harness::program::{Program, Running, Site, free_address};
use crate::harness::wire::{Kind, field};

/// Both lines are the same address; the first host is the one for unknown names.
const CONFIGURATION: &str = "\
<VirtualHost LISTEN>
    ServerName first.example
    Redirect /a /first
</VirtualHost>
<VirtualHost LocalHost:PORT>
    ServerName second.example
    Redirect /a /second
</VirtualHost>
<VirtualHost localhost:PORT>
    ServerName third.example
    ServerAlias 127.0.0.2
    Redirect /a /third
</VirtualHost>
";

/// A Host field, and the host that answers.
const ANSWERS: [(&str, &str); 8] = [
    ("first.example", "first"),
    ("second.example", "second"),
    ("third.example:81", "third"),
    ("unknown.example", "first"),
    ("localhost", "second"),
    ("LOCALHOST:81", "second"),
    ("127.0.0.1", "first"),
    ("127.0.0.2", "third"),
];

fn answering(running: &Running, host: &str) -> String {
    let mut client = running.connect();
    client.send(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    let answer = client.message(Kind::Response);
    let location = field(&answer, "location").unwrap_or_default();
    location.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Asks relais, and httpd where it is installed.
fn both_answer(configuration: &str, answers: &[(&str, &str)]) {
    for program in [Program::Relais, Program::Httpd] {
        if !Path::new(&program.path()).exists() {
            continue;
        }
        let address = free_address();
        let body = configuration.replace("PORT", &address.port().to_string());
        let running = Site::at(address, program, &body).start();
        for &(host, expected) in answers {
            let found = answering(&running, host);
            assert_eq!(found, expected, "{host} of {}", program.path().display());
        }
    }
}

#[test]
fn the_name_of_an_address_is_a_name_of_its_host() {
    both_answer(CONFIGURATION, &ANSWERS);
}

/// A host without a ServerName has that of the main server, unless its line names an address.
const UNNAMED: &str = "\
<VirtualHost *:PORT>
    ServerName first.example
    Redirect /a /first
</VirtualHost>
<VirtualHost *:PORT>
    ServerAlias alias.example
    Redirect /a /second
</VirtualHost>
";

#[test]
fn a_host_without_a_name_has_that_of_the_main_server() {
    let answers = [
        ("unknown.example", "first"),
        ("alias.example", "second"),
        ("main.example", "second"),
    ];
    for (address, main) in [("*:PORT", "second"), ("LISTEN", "first")] {
        let body = UNNAMED.replace("*:PORT", address);
        let answers = answers.map(|(host, expected)| match host {
            "main.example" => (host, main),
            _ => (host, expected),
        });
        both_answer(&body, &answers);
    }
}
