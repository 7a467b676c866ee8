//! What relais says of itself and of a configuration, in the forms that
//! scripts around httpd look for.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;

use nix::unistd::{Group, User};
use relais_modules::Configuration;
use relais_policy::{Host, HostAddress, Site};

use crate::Outcome;
use relais_conf::HTTPD_VERSION;

const HELP: &str = "\
relais: a reverse proxy for WebSockets and HTTP that runs existing Apache httpd configuration

Usage: relais                         the demonstration, on http://127.0.0.1:8080/
       relais demo [--listen ADDRESS:PORT]
       relais -f FILE [OPTIONS]       serve, in the foreground
       relais -k ORDER -f FILE        start | stop | graceful | restart | graceful-stop | reopen
       relais reload [--dry-run] [--json]
                                      reads the configuration again and says what becomes of
                                      the live tunnels of each route, or only says it
                                      (--socket FILE: where it answers, when its file cannot be read)
       relais status [--json]         how the relais that runs is
       relais metrics                 the same and its tunnels, for Prometheus; over HTTP they are at
                                      SetHandler tunnel-metrics
       relais tunnels [close|drain] [ID ...] [--host|--route|--origin|--client X] [--idle TIME]
                      [--sort age|idle|messages|bytes] [--json] [--code N] [--spread TIME] [--rate N] -f FILE
                                      the tunnels of the relais that runs; ends some of them
       relais top -f FILE             the same, drawn again every second
       relais migrate [--offline] -f FILE
                                      what becomes of every directive, the routes, the findings, and a verdict
       relais explain METHOD URL [-H 'NAME: VALUE'] [--client IP] [--format human|json] -f FILE
                                      why this request goes where it goes; ws:// adds a handshake
       relais check -f FILE [CHECK]   all that can be said about a configuration
       relais -t -f FILE              the same, with httpd's `Syntax OK`

Options:
  -f FILE        the configuration; relative to -d, else to the current folder
  -d ROOT        what relative paths in it are under (ServerRoot); else FILE's folder
  -D NAME[=VAL]  define a name for <IfDefine NAME> and ${NAME}
  -C 'LINE'      a directive to read before the configuration
  -c 'LINE'      a directive to read after it
  -k start       serve in the background
  -k graceful    read the configuration again; no connection and no tunnel is dropped
  -k restart     the same
  -k reopen      open the log files again by their names (SIGUSR2)
  -k stop        end at once; every tunnel gets a Close frame
  -k graceful-stop  no new connections; end with the last tunnel
  -t             check: every error and warning, with its place
  -S             the virtual hosts as they are understood
  -M             the modules of the configuration
  -l             the modules of this program
  -L             the directives of this program
  -v, -V         version; build settings
  -X             one worker thread, in the foreground
  -e LEVEL       the log level while starting
  -E FILE        where errors go while starting
  -h, --help     this text

Check:
  --offline      judge it on a machine without its certificates, includes and names: notes, not errors
  --deny warnings  end with status 4 when there are warnings
  --format FORM  human | json | sarif

Beside a file named apache2.conf, `envvars` is read as apachectl does; the environment comes first.

Signals: TERM and INT stop at once, USR1 and HUP read the configuration again, WINCH drains.
";

/// Prints to standard output; whoever closed it does not want to know.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// `-h`, `--help`.
pub(crate) fn help() -> Outcome {
    print(HELP);
    Ok(())
}

fn version_line() -> String {
    let (major, minor, patch) = HTTPD_VERSION;
    format!(
        "Server version: relais/{} (configuration of Apache/{major}.{minor}.{patch})\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// `-v`.
pub(crate) fn version() -> Outcome {
    print(&version_line());
    Ok(())
}

/// `-V`.
pub(crate) fn build_settings() -> Outcome {
    let mut text = version_line();
    let _ = writeln!(text, "Architecture:   {}-bit", usize::BITS);
    text.push_str("Server MPM:     relais\n  threaded:     yes (one HTTP worker and one tunnel engine per core)\n    forked:     no\n");
    text.push_str("Server compiled with....\n");
    for (name, value) in [
        ("SERVER_CONFIG_FILE", "/etc/relais/relais.conf"),
        ("DEFAULT_PIDLOG", "logs/relais.pid"),
    ] {
        let _ = writeln!(text, " -D {name}=\"{value}\"");
    }
    print(&text);
    Ok(())
}

/// `-l`.
pub(crate) fn compiled_modules() -> Outcome {
    let mut text = String::from("Compiled in modules:\n");
    for module in relais_modules::MODULES {
        let _ = writeln!(text, "  {}.c", module.name());
    }
    print(&text);
    Ok(())
}

/// `-L`.
pub(crate) fn directives() -> Outcome {
    let mut text = String::new();
    for module in relais_modules::MODULES {
        for row in module.directives() {
            let _ = writeln!(
                text,
                "{} ({}.c)\n\t{}\n\t{}",
                row.name,
                module.name(),
                row.doc,
                row.syntax
            );
            let _ = writeln!(text, "\tAllowed in: {}", row.context);
            if let Some(default) = row.default {
                let _ = writeln!(text, "\tDefault: {default}");
            }
            if let Some(why) = row.ignored {
                let _ = writeln!(text, "\tNo effect: {why}");
            }
        }
    }
    print(&text);
    Ok(())
}

/// `-M`.
pub(crate) fn loaded_modules(configuration: &Configuration) {
    let mut text = String::from("Loaded Modules:\n");
    for (identifier, shared) in &configuration.modules_loaded {
        let _ = writeln!(
            text,
            " {identifier} ({})",
            if *shared { "shared" } else { "static" }
        );
    }
    print(&text);
}

/// `-t -D DUMP_INCLUDES`.
pub(crate) fn includes(configuration: &Configuration) {
    let sources = &configuration.loaded.sources;
    let mut text = String::from("Included configuration files:\n");
    for (file, from) in &configuration.loaded.includes {
        let place = from.map_or_else(|| "(*)".to_owned(), |(_, line)| format!("({line})"));
        let _ = writeln!(text, "{place:>5} {}", sources.get(*file).name);
    }
    print(&text);
}

/// `-S`: the virtual hosts, then the settings of the run.
pub(crate) fn hosts(site: &Site, configuration: &Configuration) {
    let mut text = String::from("VirtualHost configuration:\n");
    for (address, hosts) in address_sets(site) {
        describe_set(&mut text, address, &hosts);
    }
    let loaded = &configuration.loaded;
    let _ = writeln!(text, "ServerRoot: \"{}\"", loaded.server_root.display());
    if let Some(root) = &site.server.document_root {
        let _ = writeln!(text, "Main DocumentRoot: \"{}\"", root.display());
    }
    let _ = writeln!(text, "Main ErrorLog: \"{}\"", site.main().spec.error_log);
    if let Some(pid_file) = &site.server.pid_file {
        let _ = writeln!(text, "PidFile: \"{}\"", pid_file.display());
    }
    // httpd's words for what was asked, and then what is defined.
    text.push_str("Define: DUMP_VHOSTS\nDefine: DUMP_RUN_CFG\n");
    let asked = |name: &str| matches!(name, "DUMP_VHOSTS" | "DUMP_RUN_CFG");
    for (name, value) in loaded.defines.iter().filter(|(name, _)| !asked(name)) {
        let value = value
            .as_deref()
            .map(|value| format!("={}", String::from_utf8_lossy(value)))
            .unwrap_or_default();
        let _ = writeln!(text, "Define: {name}{value}");
    }
    let (user, group) = (&site.server.user, &site.server.group);
    describe_owner(&mut text, "User", user.as_deref(), |name| {
        User::from_name(name)
            .ok()
            .flatten()
            .map(|found| found.uid.as_raw())
    });
    describe_owner(&mut text, "Group", group.as_deref(), |name| {
        Group::from_name(name)
            .ok()
            .flatten()
            .map(|found| found.gid.as_raw())
    });
    print(&text);
}

fn describe_owner(
    text: &mut String,
    kind: &str,
    name: Option<&str>,
    id: impl Fn(&str) -> Option<u32>,
) {
    let Some(name) = name else { return };
    let id = id(name).map(|id| format!(" id={id}")).unwrap_or_default();
    let _ = writeln!(text, "{kind}: name=\"{name}\"{id}");
}

/// Every address that a `<VirtualHost>` names with its hosts: first those with an IP address, in the order of the table
/// that httpd keeps them in, then those for all addresses; else in the order in which they got their last host.
fn address_sets(site: &Site) -> Vec<(&HostAddress, Vec<&Host>)> {
    let mut places = HashMap::new();
    let mut sets: Vec<(&HostAddress, Vec<&Host>, usize)> = Vec::new();
    let addresses = site.hosts.iter().flat_map(|host| {
        let own = host.addresses.iter();
        own.map(move |address| (host, address))
    });
    for (last, (host, address)) in addresses.enumerate() {
        let place = *places.entry((address.ip, address.port)).or_insert_with(|| {
            sets.push((address, Vec::new(), last));
            sets.len() - 1
        });
        let set = &mut sets[place];
        set.2 = last;
        if set.1.last().is_none_or(|last| last.index != host.index) {
            set.1.push(host);
        }
    }
    sets.sort_by_key(|(address, _, last)| (address.ip.map_or(u32::MAX, bucket), *last));
    sets.into_iter()
        .map(|(address, hosts, _)| (address, hosts))
        .collect()
}

/// The place of an address in httpd's table of virtual hosts (`hash_inaddr` of server/vhost.c).
fn bucket(ip: IpAddr) -> u32 {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => {
            let [.., a, b, c, d] = ip.octets();
            [a, b, c, d]
        }
    };
    let key = u32::from_le_bytes(octets);
    let key = key ^ (key >> 16);
    ((key >> 8) ^ key) % 256
}

fn describe_set(text: &mut String, address: &HostAddress, hosts: &[&Host]) {
    let ip = address.ip.map_or_else(
        || "*".to_owned(),
        |ip| {
            if ip.is_ipv6() {
                format!("[{ip}]")
            } else {
                ip.to_string()
            }
        },
    );
    let port = address
        .port
        .map_or_else(|| "*".to_owned(), |port| port.to_string());
    let label = format!("{ip}:{port}");
    if let [host] = hosts {
        let _ = writeln!(
            text,
            "{label:<22} {} ({})",
            host.spec.server_name, host.defined
        );
        return;
    }
    let _ = writeln!(text, "{label:<22} is a NameVirtualHost");
    let mut first = true;
    for host in hosts {
        if first {
            let _ = writeln!(
                text,
                "         default server {} ({})",
                host.spec.server_name, host.defined
            );
            first = false;
        }
        let _ = writeln!(
            text,
            "         port {port} namevhost {} ({})",
            host.spec.server_name, host.defined
        );
        // httpd keeps the two kinds in two lists.
        let (wild, plain): (Vec<_>, Vec<_>) = host.aliases().iter().partition(|alias| alias.wild);
        for alias in plain.into_iter().chain(wild) {
            let kind = if alias.wild { "wild alias" } else { "alias" };
            let _ = writeln!(text, "                 {kind} {}", alias.written());
        }
    }
}
