//! From the command line to a configuration, with all that is wrong told.

use std::io::Write;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;

use relais_conf::{
    Diagnostic, Diagnostics, DiskFiles, Files, MemoryFiles, Options, Severity, render_one,
};
use relais_modules::Configuration;
use relais_telemetry::Level;
use relais_tls::SiteTls;

use crate::cli::Arguments;
use crate::envvars::Variables;
use crate::{Failure, Outcome, report};

/// Where the configuration is without `-f`.
const DEFAULT_FILE: &str = "/etc/relais/relais.conf";

/// Reads the configuration that the command line names.
///
/// # Errors
/// When the current folder cannot be known.
pub(crate) fn read(arguments: &Arguments) -> Result<Configuration, Failure> {
    let options = options(arguments)?;
    Ok(if arguments.offline {
        relais_modules::configure_offline(options, &DiskFiles)
    } else {
        configure(options, &DiskFiles)
    })
}

/// The same for a reload, which reads the files of TLS by itself: it knows those that are in force.
///
/// # Errors
/// When the current folder cannot be known.
pub(crate) fn read_again(arguments: &Arguments) -> Result<Configuration, Failure> {
    Ok(relais_modules::configure(
        options(arguments)?,
        &DiskFiles,
        &resolve,
    ))
}

fn options(arguments: &Arguments) -> Result<Options, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| format!("cannot tell the current folder: {error}"))?;
    let file = arguments
        .file
        .clone()
        .unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let root = arguments.root.as_ref().map(|root| here.join(root));
    let file = root.as_ref().unwrap_or(&here).join(file);
    let server_root =
        root.unwrap_or_else(|| file.parent().map_or_else(|| here.clone(), PathBuf::from));
    let variables = Variables::beside(&file, &DiskFiles);
    let environment = move |name: &str| environment(name).or_else(|| variables.get(name));
    Ok(Options {
        server_root,
        defines: arguments.defines.clone(),
        before: arguments.before.clone(),
        after: arguments.after.clone(),
        environment: Box::new(environment),
        ..Options::new(file)
    })
}

/// Reads a configuration and says what is wrong with it.
pub(crate) fn configure(options: Options, files: &dyn Files) -> Configuration {
    let mut configuration = relais_modules::configure(options, files, &resolve);
    if let Err(found) = load_tls(&configuration, None) {
        for diagnostic in found.iter() {
            configuration.diagnostics.push(diagnostic.clone());
        }
        configuration
            .diagnostics
            .sort(&configuration.loaded.sources);
        configuration.site = None;
    }
    configuration
}

/// Reads the certificates and keys that a configuration names; of one without
/// a site there is nothing to read. `before` is what is in force.
///
/// # Errors
/// All that is wrong with them.
pub(crate) fn load_tls(
    configuration: &Configuration,
    before: Option<&SiteTls>,
) -> Result<SiteTls, Diagnostics> {
    let Some(site) = &configuration.site else {
        return Ok(SiteTls::default());
    };
    relais_tls::load(site, before).map_err(|problems| {
        let mut diagnostics = Diagnostics::new();
        for problem in &problems {
            diagnostics.push(problem.diagnostic());
        }
        diagnostics
    })
}

/// Reads the configuration that the command line names and looks at it with the rules for mistakes.
///
/// # Errors
/// When the current folder cannot be known.
pub(crate) fn judge(arguments: &Arguments) -> Result<Configuration, Failure> {
    let mut configuration = read(arguments)?;
    let not_read = |one: &Diagnostic| matches!(one.code, "RC0101" | "RC0102" | "RC0134");
    let incomplete = configuration.diagnostics.iter().any(not_read);
    relais_lint::check(
        &configuration.loaded,
        incomplete,
        &mut configuration.diagnostics,
    );
    Ok(configuration)
}

/// Reads a configuration that is in memory, under the absolute name `file`.
pub(crate) fn read_text(file: &str, text: &str) -> Configuration {
    configure(Options::new(file), &MemoryFiles::new().with(file, text))
}

/// Prints diagnostics to standard error, down to the level that `-e` names.
pub(crate) fn print(configuration: &Configuration, arguments: &Arguments) {
    let least = arguments.startup_level.unwrap_or(Level::Debug);
    let sources = &configuration.loaded.sources;
    let shown = configuration
        .diagnostics
        .iter()
        .filter(|one| level(one.severity) <= least);
    for diagnostic in shown {
        // Whoever reads only the head of the list is no reason to panic.
        let _ = writeln!(std::io::stderr(), "{}", render_one(diagnostic, sources));
    }
}

/// The log level at which httpd says such a thing.
fn level(severity: Severity) -> Level {
    match severity {
        Severity::Error => Level::Crit,
        Severity::Warning => Level::Warn,
        Severity::Note => Level::Info,
    }
}

/// `-E FILE`: from here on standard error is this file.
///
/// # Errors
/// When the file cannot be opened.
pub(crate) fn redirect_errors(arguments: &Arguments) -> Result<(), Failure> {
    let Some(path) = &arguments.startup_log else {
        return Ok(());
    };
    let failed =
        |error: &dyn std::fmt::Display| format!("cannot write to {}: {error}", path.display());
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    let file = file.map_err(|error| failed(&error))?;
    nix::unistd::dup2_stderr(&file).map_err(|error| failed(&error))?;
    Ok(())
}

/// `-t`, `-S`, `-M`: all problems, then what was asked for.
pub(crate) fn check(arguments: &Arguments) -> Outcome {
    let configuration = judge(arguments)?;
    print(&configuration, arguments);
    let Some(site) = &configuration.site else {
        return Err(Failure::Told);
    };
    if arguments.show_hosts {
        report::hosts(site, &configuration);
    }
    if arguments.show_modules {
        report::loaded_modules(&configuration);
    }
    if arguments.defined("DUMP_INCLUDES") {
        report::includes(&configuration);
    }
    if !(arguments.show_hosts || arguments.show_modules || arguments.defined("DUMP_INCLUDES")) {
        eprintln!("Syntax OK");
    }
    Ok(())
}

fn environment(name: &str) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    std::env::var_os(name).map(OsStringExt::into_vec)
}

fn resolve(host: &str) -> Vec<IpAddr> {
    (host, 0)
        .to_socket_addrs()
        .map(|found| found.map(|address| address.ip()).collect())
        .unwrap_or_default()
}
