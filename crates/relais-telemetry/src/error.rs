//! The error log, in httpd's default format.
//!
//! `[Sun Nov 22 11:36:08.474024 2026] [module:level] [pid P:tid T] [client IP:PORT] AHnnnnn: message` (httpd manual page
//! `core`, `ErrorLogFormat`).

use std::cell::{Cell, RefCell};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::error_format::{ErrorFormat, Subject};
use crate::escape;
use crate::levels::Level;
use crate::sink::Sink;
use crate::target::Target;
use crate::zone::{self, Zone};

/// One message for the error log.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Its importance.
    pub level: Level,
    /// The short name of the module that speaks, such as `proxy` or `core`.
    pub module: &'a str,
    /// The client whose request it is about.
    pub client: Option<SocketAddr>,
    /// httpd's number for the same message, printed as `AHnnnnn: `.
    pub code: Option<u32>,
    /// The failed system call, printed as `(111)Connection refused: `.
    pub cause: Option<&'a io::Error>,
    /// The text; it is escaped, so it may contain what clients sent.
    pub message: &'a [u8],
    /// The request's `Referer`.
    pub referer: Option<&'a [u8]>,
    /// The request that it is about.
    pub subject: Option<&'a dyn Subject>,
    /// The line's format, where it is not httpd's own.
    pub format: Option<&'a ErrorFormat>,
}

impl<'a> Entry<'a> {
    /// A message about no client in particular.
    pub fn new(level: Level, module: &'a str, message: &'a [u8]) -> Self {
        Self {
            level,
            module,
            client: None,
            code: None,
            cause: None,
            message,
            referer: None,
            subject: None,
            format: None,
        }
    }

    /// Appends the line, with its newline; nothing if its format does without
    /// it.
    pub fn write(&self, at: &Origin<'_>, out: &mut Vec<u8>) {
        if let Some(format) = self.format {
            if format.write(self, at, out) {
                out.push(b'\n');
            }
            return;
        }
        time(at.time, at.zone, out);
        // Writing to a Vec cannot fail, here and below.
        let _ = write!(
            out,
            " [{}:{}] [pid {}:tid {}] ",
            self.module,
            self.level.name(),
            at.pid,
            at.tid
        );
        if let Some(cause) = self.cause {
            write_cause(cause, out);
        }
        if let Some(client) = self.client {
            let _ = write!(
                out,
                "[client {}:{}] ",
                client.ip().to_canonical(),
                client.port()
            );
        }
        if let Some(code) = self.code {
            let _ = write!(out, "AH{code:05}: ");
        }
        escape::error(self.message, out);
        if let Some(referer) = self.referer {
            out.extend_from_slice(b", referer: ");
            escape::error(referer, out);
        }
        out.push(b'\n');
    }
}

/// When and where a message arose.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// When.
    pub time: SystemTime,
    /// The time zone to show it in.
    pub zone: &'a Zone,
    /// Our process.
    pub pid: u32,
    /// Our thread.
    pub tid: u64,
}

/// An open error log.
#[derive(Debug)]
pub struct ErrorLog {
    sink: Arc<Sink>,
    zone: Zone,
    /// For entries without a format of their own.
    format: Mutex<Option<Arc<ErrorFormat>>>,
}

impl ErrorLog {
    /// Opens a log, and starts the program of a piped one; to be called before privileges are dropped.
    ///
    /// # Errors
    /// The file cannot be opened, or the program not started. `Unsupported` for syslog.
    pub fn open(target: &Target) -> io::Result<Arc<Self>> {
        Self::open_in(target, Zone::system())
    }

    /// As [`open`](Self::open), with times in another zone.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_in(target: &Target, zone: Zone) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            sink: Sink::open(target)?,
            zone,
            format: Mutex::default(),
        }))
    }

    /// Sets the format of lines that have none of their own; `None` is httpd's.
    pub fn set_format(&self, format: Option<Arc<ErrorFormat>>) {
        *self.format.lock().unwrap_or_else(PoisonError::into_inner) = format;
    }

    /// Writes a message without waiting for the file: at once if it is an error or worse, soon otherwise.
    ///
    /// Whether its level is wanted is for the caller to ask of [`Levels`](crate::Levels), before making the message.
    pub fn log(&self, entry: &Entry<'_>) {
        let origin = Origin {
            time: SystemTime::now(),
            zone: &self.zone,
            pid: std::process::id(),
            tid: current_tid(),
        };
        let own = self
            .format
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let entry = Entry {
            format: entry.format.or(own.as_deref()),
            ..*entry
        };
        LINE.with_borrow_mut(|line| {
            line.clear();
            entry.write(&origin, line);
            if line.is_empty() {
                return;
            }
            self.sink.push(line, entry.level <= Level::Error);
        });
    }

    /// Writes everything logged so far.
    ///
    /// # Errors
    /// Of write(2), or `WouldBlock` if a program did not read for two seconds. The messages are kept.
    pub fn flush(&self) -> io::Result<()> {
        self.sink.flush()
    }

    /// Opens the file anew by its name, for rotation; a program is left running.
    ///
    /// # Errors
    /// The new file cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        self.sink.reopen()
    }
}

/// The kernel's number for the current thread, asked for once per thread.
pub(crate) fn current_tid() -> u64 {
    TID.with(|known| {
        if known.get() == 0 {
            let tid = rustix::thread::gettid().as_raw_nonzero().get();
            known.set(u64::try_from(tid).unwrap_or_default());
        }
        known.get()
    })
}

/// `[Sun Nov 22 11:36:08.474024 2026]`.
fn time(time: SystemTime, zone: &Zone, out: &mut Vec<u8>) {
    let (second, micros) = zone::split(time);
    zone.with_second(second, |recent| {
        let at = &recent.local.datetime;
        let _ = write!(
            out,
            "[{} {} {:02} {:02}:{:02}:{:02}.{micros:06} {}]",
            zone::weekday(at.weekday().to_sunday_zero_offset()),
            zone::month(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.year(),
        );
    });
}

/// `(111)Connection refused: `.
pub(crate) fn write_cause(cause: &io::Error, out: &mut Vec<u8>) {
    let text = cause.to_string();
    let Some(number) = cause.raw_os_error() else {
        escape::error(text.as_bytes(), out);
        out.extend_from_slice(b": ");
        return;
    };
    let text = text
        .strip_suffix(&format!(" (os error {number})"))
        .unwrap_or(&text);
    let _ = write!(out, "({number}){text}: ");
}

thread_local! {
    static TID: Cell<u64> = const { Cell::new(0) };
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::tests::zone;
    use std::time::{Duration, UNIX_EPOCH};

    fn render(entry: &Entry<'_>, zone_name: &str) -> String {
        let zone = zone(zone_name);
        let time = UNIX_EPOCH + Duration::from_micros(1_795_347_368_474_024);
        let mut out = Vec::new();
        entry.write(
            &Origin {
                time,
                zone: &zone,
                pid: 7814,
                tid: 7819,
            },
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines() {
        let plain = Entry::new(Level::Info, "core", b"File does not exist: /srv/none");
        let client = Some("127.0.0.1:39364".parse().unwrap());
        let refused = io::Error::from_raw_os_error(111);
        let own = io::Error::other("odd\nend");
        let cases = [
            (
                plain,
                "[core:info] [pid 7814:tid 7819] File does not exist: /srv/none",
            ),
            (
                Entry {
                    client,
                    code: Some(128),
                    ..plain
                },
                "[core:info] [pid 7814:tid 7819] [client 127.0.0.1:39364] AH00128: File does not exist: /srv/none",
            ),
            (
                Entry {
                    client: Some("[::1]:5".parse().unwrap()),
                    ..plain
                },
                "[core:info] [pid 7814:tid 7819] [client ::1:5] File does not exist: /srv/none",
            ),
            (
                Entry {
                    cause: Some(&refused),
                    client,
                    code: Some(957),
                    referer: Some(b"http://a/\"\n"),
                    ..Entry::new(Level::Error, "proxy", b"ws: attempt to connect failed")
                },
                "[proxy:error] [pid 7814:tid 7819] (111)Connection refused: [client 127.0.0.1:39364] AH00957: \
                 ws: attempt to connect failed, referer: http://a/\"\\n",
            ),
            (
                Entry {
                    cause: Some(&own),
                    ..Entry::new(Level::Trace8, "ssl", b"x")
                },
                "[ssl:trace8] [pid 7814:tid 7819] odd\\nend: x",
            ),
            (
                Entry::new(
                    Level::Warn,
                    "a",
                    b"x\n[Sun Nov 22] [core:emerg] forged \x1b[1m \\ \xff",
                ),
                "[a:warn] [pid 7814:tid 7819] x\\n[Sun Nov 22] [core:emerg] forged \\x1b[1m \\\\ \\xff",
            ),
        ];
        for (entry, expected) in cases {
            let line = render(&entry, "UTC");
            assert_eq!(
                line,
                format!("[Sun Nov 22 11:36:08.474024 2026] {expected}\n")
            );
        }
    }

    #[test]
    fn local_time() {
        let line = render(&Entry::new(Level::Notice, "core", b"x"), "America/St_Johns");
        assert!(
            line.starts_with("[Sun Nov 22 08:06:08.474024 2026] "),
            "{line}"
        );
    }

    #[test]
    fn syslog_is_refused() {
        let error = ErrorLog::open(&Target::Syslog("local1".into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn threads_have_numbers_of_their_own() {
        let other = std::thread::spawn(current_tid).join().unwrap();
        assert_ne!(current_tid(), other);
        assert_eq!(current_tid(), current_tid());
    }
}
