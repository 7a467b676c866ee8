//! What the control thread hears: signals, and what the control socket asks.

use std::sync::mpsc::Sender;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::control::{Reloaded, Status};

/// The signals and what they are heard with.
pub(crate) struct Ears {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) signals: Signals,
    /// Where the control socket's thread asks.
    pub(crate) desk: UnboundedSender<Ask>,
}

impl Ears {
    /// Hears from now on.
    ///
    /// # Errors
    /// When the system has no means to hear with.
    pub(crate) fn new() -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot hear signals: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(failed)?;
        let (desk, asked) = unbounded_channel();
        let signals = {
            let _context = runtime.enter();
            Signals::new(asked).map_err(failed)?
        };
        Ok(Self {
            runtime,
            signals,
            desk,
        })
    }
}

/// What is asked of the control thread; who asks waits for the answer.
pub(crate) enum Ask {
    /// Read the configuration again, or only say what that would do.
    Reload {
        /// Nothing is to change.
        dry_run: bool,
        /// Hears the outcome.
        reply: Sender<Reloaded>,
    },
    /// How the process is.
    Status(Sender<Status>),
}

/// What is to be done.
pub(crate) enum Heard {
    /// TERM, INT: end now.
    Stop,
    /// WINCH: end with the last tunnel.
    Drain,
    /// USR1, HUP: read the configuration again.
    Reload,
    /// USR2: open the logs again.
    Reopen,
    /// The control socket asks.
    Asked(Ask),
}

/// The signals that mean something.
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
    winch: Signal,
    asked: UnboundedReceiver<Ask>,
}

impl Signals {
    fn new(asked: UnboundedReceiver<Ask>) -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            winch: signal(SignalKind::window_change())?,
            asked,
        })
    }

    /// Waits for the next thing to do.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            tokio::select! {
                _ = self.term.recv() => return Heard::Stop,
                _ = self.int.recv() => return Heard::Stop,
                _ = self.hup.recv() => return Heard::Reload,
                _ = self.usr1.recv() => return Heard::Reload,
                _ = self.usr2.recv() => return Heard::Reopen,
                Some(ask) = self.asked.recv() => return Heard::Asked(ask),
                // A terminal that changes its size sends this too.
                _ = self.winch.recv() => if !has_terminal() { return Heard::Drain },
            }
        }
    }
}

fn has_terminal() -> bool {
    use std::io::IsTerminal;
    std::io::stdin().is_terminal()
}
