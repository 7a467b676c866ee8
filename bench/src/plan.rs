//! What the command line asks for.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::scenario::{ALL, Options, Scenario};

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// Measure the scenarios.
    Measure,
    /// Count the system calls of an operation.
    Calls,
    /// Measure how a large configuration is read.
    Config,
    /// Measure a large map.
    Map,
}

/// The command line, read.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) what: What,
    pub(crate) relais: Option<PathBuf>,
    /// Where Python packages with proxies lie.
    pub(crate) packages: Option<PathBuf>,
    pub(crate) rounds: usize,
    pub(crate) options: Options,
    only: Vec<String>,
    peers: Vec<String>,
}

impl Plan {
    pub(crate) fn read(arguments: impl Iterator<Item = OsString>) -> io::Result<Self> {
        let mut plan = Self {
            what: What::Measure,
            relais: None,
            packages: None,
            rounds: 3,
            options: Options {
                scale: 10,
                tunnels: 9000,
            },
            only: Vec::new(),
            peers: Vec::new(),
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            match name.to_str() {
                Some("--calls") => (plan.what, plan.rounds) = (What::Calls, 1),
                Some("--config") => plan.what = What::Config,
                Some("--map") => plan.what = What::Map,
                _ => plan.set(&name, arguments.next().unwrap_or_default())?,
            }
        }
        Ok(plan)
    }

    fn set(&mut self, name: &OsString, value: OsString) -> io::Result<()> {
        let text = value.to_string_lossy().into_owned();
        let number = || text.parse().map_err(|_| usage(&text));
        let list = || text.split(',').map(str::to_owned);
        match name.to_str() {
            Some("--relais") => self.relais = Some(value.into()),
            Some("--packages") => self.packages = Some(value.into()),
            Some("--rounds") => self.rounds = number()?,
            Some("--scale") => self.options.scale = number()?,
            Some("--tunnels") => self.options.tunnels = number()?,
            Some("--peer") => self.peers.extend(list()),
            Some("--only") => {
                let known = |name: &String| ALL.iter().any(|line| line.name == name);
                if let Some(unknown) = list().find(|name| !known(name)) {
                    return Err(usage(&unknown));
                }
                self.only.extend(list());
            }
            _ => return Err(usage(&name.to_string_lossy())),
        }
        Ok(())
    }

    /// What is measured.
    pub(crate) fn scenarios(&self) -> Vec<&'static Scenario> {
        let wanted = |name: &str| self.only.is_empty() || self.only.iter().any(|one| one == name);
        ALL.iter().filter(|line| wanted(line.name)).collect()
    }

    /// Whether a proxy takes part.
    pub(crate) fn wants_peer(&self, name: &str) -> bool {
        let same = |wanted: &String| wanted.eq_ignore_ascii_case(name);
        self.peers.is_empty() || self.peers.iter().any(same)
    }
}

fn usage(at: &str) -> io::Error {
    let names: Vec<&str> = ALL.iter().map(|line| line.name).collect();
    io::Error::other(format!(
        "{at}: usage: relais-bench [--relais PROGRAM] [--packages FOLDER] [--rounds N] [--scale N] [--tunnels N] \
         [--only SCENARIO,…] [--peer NAME,…] [--calls | --config | --map]\nscenarios: {}",
        names.join(" ")
    ))
}

#[test]
fn the_command_line() {
    let read = |words: &[&str]| Plan::read(words.iter().map(OsString::from));
    let plan = read(&["--only", "get,echo", "--peer", "relais,NGINX", "--calls"]).expect("a plan");
    let names: Vec<&str> = plan.scenarios().iter().map(|line| line.name).collect();
    assert_eq!(names, ["get", "echo"]);
    assert!(plan.wants_peer("nginx") && !plan.wants_peer("Caddy"));
    assert_eq!((plan.what, plan.rounds), (What::Calls, 1));
    for wrong in [&["--only", "got"][..], &["--rounds", "x"], &["--fast"]] {
        assert!(read(wrong).is_err(), "{wrong:?}");
    }
}
