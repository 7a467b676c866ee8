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

#[test]
fn the_name_of_an_address_is_a_name_of_its_host() {
    for program in [Program::Relais, Program::Httpd] {
        if !Path::new(&program.path()).exists() {
            continue;
        }
        let address = free_address();
        let body = CONFIGURATION.replace("PORT", &address.port().to_string());
        let running = Site::at(address, program, &body).start();
        for (host, expected) in ANSWERS {
            let found = answering(&running, host);
            assert_eq!(found, expected, "{host} of {}", program.path().display());
        }
    }
}
