//! relais: a reverse proxy for WebSockets and HTTP that runs existing Apache
//! httpd configuration.
//!
//! The program parses the command line and calls the crates that do the work.

mod check;
mod cli;
mod configuration;
mod control;
mod demo;
mod envvars;
mod explain;
mod fate;
mod limits;
mod logs;
mod migrate;
mod privileges;
mod process;
mod report;
mod run;
mod server;
mod signals;

use std::process::ExitCode;

use cli::Action;

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("relais: {message}\nTry `relais --help`.");
            return ExitCode::from(1);
        }
    };
    let redirected = configuration::redirect_errors(&arguments);
    let result = redirected.and_then(|()| match &arguments.action {
        Action::Help => report::help(),
        Action::Version => report::version(),
        Action::BuildSettings => report::build_settings(),
        Action::Modules => report::compiled_modules(),
        Action::Directives => report::directives(),
        Action::Check => configuration::check(&arguments),
        Action::Explain => explain::run(&arguments, &arguments.question),
        Action::Tunnels => control::run(&arguments, &arguments.inquiry),
        Action::Top => control::top(&arguments),
        Action::Reload => control::reload(&arguments),
        Action::Status => control::status(&arguments),
        Action::Metrics => control::metrics(&arguments),
        Action::Migrate => migrate::run(&arguments),
        Action::Report(form) => check::run(&arguments, *form),
        Action::Signal(signal) => process::signal(&arguments, *signal),
        Action::Background => process::background(&arguments),
        Action::Run => run::foreground(&arguments),
        Action::Demo(listen) => run::demo(*listen),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told) => ExitCode::from(1),
        Err(Failure::Denied) => ExitCode::from(4),
        Err(Failure::Message(message)) => {
            eprintln!("relais: {message}");
            ExitCode::from(1)
        }
    }
}

/// Why the program ends with another status than 0.
pub(crate) enum Failure {
    /// All has been said; status 1.
    Told,
    /// There are warnings, and they were not wanted; status 4.
    Denied,
    /// This is still to be said; status 1.
    Message(String),
}

impl<T: Into<String>> From<T> for Failure {
    fn from(message: T) -> Self {
        Self::Message(message.into())
    }
}

/// How an action ends.
pub(crate) type Outcome = Result<(), Failure>;
