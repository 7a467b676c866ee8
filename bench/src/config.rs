//! What it costs to read a large configuration: 10 000 virtual hosts with ten directives each, by relais and by httpd.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process;

const HOSTS: usize = 10_000;

/// Checks the same configuration with both programs, in turns, and prints the least of each cost.
pub(crate) fn run(relais: &Path, folder: &Path, rounds: usize) -> io::Result<()> {
    let file = folder.join("hosts.conf");
    std::fs::write(&file, text(folder))?;
    let programs = [
        ("relais check", relais, vec!["check", "-f"]),
        ("httpd -t", Path::new("/usr/sbin/apache2"), vec!["-t", "-f"]),
    ];
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{HOSTS} virtual hosts, ten directives each, least of {rounds} rounds"
    )?;
    for (name, program, arguments) in programs.iter().filter(|(_, program, _)| program.exists()) {
        let mut least: Option<Cost> = None;
        for _ in 0..rounds {
            let cost = once(Command::new(program).args(arguments).arg(&file))?;
            least = Some(least.map_or(cost, |least| least.min(cost)));
        }
        if let Some(Cost {
            elapsed,
            cpu_us,
            peak_kib,
        }) = least
        {
            writeln!(
                out,
                "{name:<13} {:.2} s elapsed, {:.2} s of CPU, {} MiB at its peak",
                elapsed.as_secs_f64(),
                cpu_us / 1e6,
                peak_kib / 1024
            )?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Cost {
    elapsed: Duration,
    cpu_us: f64,
    peak_kib: u64,
}

impl Cost {
    fn min(self, other: Self) -> Self {
        Self {
            elapsed: self.elapsed.min(other.elapsed),
            cpu_us: self.cpu_us.min(other.cpu_us),
            peak_kib: self.peak_kib.min(other.peak_kib),
        }
    }
}

/// Runs a program to its end and looks at it all the while.
fn once(command: &mut Command) -> io::Result<Cost> {
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let (mut cpu_us, mut peak_kib) = (0.0_f64, 0);
    let status = loop {
        cpu_us = cpu_us.max(process::cpu_us_alone(child.id()));
        peak_kib = peak_kib.max(process::peak_kib(child.id()));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if !status.success() {
        return Err(io::Error::other(format!(
            "{}: {status}",
            command.get_program().display()
        )));
    }
    Ok(Cost {
        elapsed: began.elapsed(),
        cpu_us,
        peak_kib,
    })
}

fn text(folder: &Path) -> String {
    let modules = [
        "mpm_event",
        "authz_core",
        "proxy",
        "proxy_http",
        "proxy_wstunnel",
        "rewrite",
    ];
    let mut text = String::new();
    for module in modules {
        let _ = writeln!(
            text,
            "LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so"
        );
    }
    let folder = folder.display();
    let _ = writeln!(
        text,
        "Listen 127.0.0.1:18080\nServerName main.example\nErrorLog {folder}/error.log\nPidFile {folder}/pid"
    );
    for host in 0..HOSTS {
        let origin = format!("10.0.{}.{}:8080", host / 250, host % 250 + 1);
        let _ = write!(
            text,
            "<VirtualHost *:18080>\n\
             ServerName host{host}.example\n\
             ServerAlias www.host{host}.example *.alias{host}.example\n\
             ProxyPreserveHost On\n\
             Timeout 30\n\
             RewriteEngine On\n\
             RewriteCond %{{HTTP:Upgrade}} websocket [NC]\n\
             RewriteRule ^/ws/(.*)$ ws://{origin}/ws/$1 [P,L]\n\
             ProxyPass /static !\n\
             ProxyPass / http://{origin}/\n\
             ProxyPassReverse / http://{origin}/\n\
             </VirtualHost>\n"
        );
    }
    text
}
