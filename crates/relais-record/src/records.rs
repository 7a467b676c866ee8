//! Records after the handshake: content, alerts, key updates and tickets.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

use crate::RecordError;
use crate::cipher::{CONTENT_MAX, HEAD, Key, Layout, TAG};

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

const WARNING: u8 = 1;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const NO_RENEGOTIATION: u8 = 100;

/// The longest body of a record: RFC 8446 §5.2 allows 256 bytes beyond the
/// content. TLS 1.2 allows more, but no AEAD needs it.
const BODY_MAX: usize = CONTENT_MAX + 256;

/// The longest post-handshake message that is put together: a ticket may be
/// 64 KiB long, and none is half of that.
const MESSAGE_MAX: usize = 1 << 15;

/// Records without content in a row. Each costs its peer more than us, but
/// they must not keep an engine busy for ever.
const QUIET_MAX: u8 = 32;

/// Records sealed with one AES-GCM key in TLS 1.3: RFC 8446 §5.5 allows 2^24.5.
/// In TLS 1.2 nothing renews a key, and cutting a tunnel off after so many
/// messages would be the greater harm: there the numbers are the limit.
const RENEW_AFTER: u64 = 1 << 24;

/// Bytes that one record adds to its content at the most.
#[must_use]
pub const fn overhead() -> usize {
    HEAD + 8 + 1 + TAG
}

/// Both directions of a connection.
pub struct Records {
    /// What comes.
    pub opener: Opener,
    /// What goes.
    pub sealer: Sealer,
    /// What the two tell each other.
    pub control: Control,
}

pub(crate) enum Kernel {
    Server(Box<KernelConnection<ServerConnectionData>>),
    Client(Box<KernelConnection<ClientConnectionData>>),
}

impl Kernel {
    fn next(&mut self, ours: bool) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error> {
        match (self, ours) {
            (Self::Server(kernel), true) => kernel.update_tx_secret(),
            (Self::Server(kernel), false) => kernel.update_rx_secret(),
            (Self::Client(kernel), true) => kernel.update_tx_secret(),
            (Self::Client(kernel), false) => kernel.update_rx_secret(),
        }
    }
}

/// What both directions of a connection need: the secrets of TLS 1.3, and
/// what one direction wants the other to send.
pub struct Control {
    /// `None` in TLS 1.2, whose keys stay.
    kernel: RefCell<Option<Kernel>>,
    /// The peer has asked for new keys of ours.
    asked: Cell<bool>,
    /// The peer wants to renegotiate, and is told that we will not.
    refuses: Cell<bool>,
}

impl Control {
    /// Whether there is something to send that nobody has asked the sealer for.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.asked.get() || self.refuses.get()
    }

    fn renew(&self, ours: bool) -> Result<Key, RecordError> {
        let mut kernel = self.kernel.borrow_mut();
        let kernel = kernel.as_mut().ok_or(RecordError::Unexpected)?;
        let (sequence, secrets) = kernel.next(ours).map_err(|_| RecordError::Exhausted)?;
        Key::new(&secrets, sequence, true)
    }
}

impl Records {
    pub(crate) fn new(
        secrets: &ExtractedSecrets,
        kernel: Option<Kernel>,
    ) -> Result<Self, RecordError> {
        let tls13 = kernel.is_some();
        Ok(Self {
            opener: Opener {
                key: Key::new(&secrets.rx.1, secrets.rx.0, tls13)?,
                message: Vec::new(),
                quiet: 0,
                closed: false,
            },
            sealer: Sealer {
                key: Key::new(&secrets.tx.1, secrets.tx.0, tls13)?,
                closed: false,
            },
            control: Control {
                kernel: RefCell::new(kernel),
                asked: Cell::new(false),
                refuses: Cell::new(false),
            },
        })
    }
}

/// What the front of the input is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// Not a whole record; it takes this many bytes in all to go on.
    Needs(usize),
    /// Content, at this place of the input; the record ends at `used`.
    Content {
        /// Where the content is.
        content: Range<usize>,
        /// Bytes of the whole record.
        used: usize,
    },
    /// A record that the peer's side of TLS sent for itself.
    Quiet {
        /// Bytes of the whole record.
        used: usize,
    },
    /// The peer's content ends here (close_notify).
    Closed {
        /// Bytes of the whole record.
        used: usize,
    },
}

/// Opens the records of one direction.
pub struct Opener {
    key: Key,
    /// The part of a post-handshake message that has come.
    message: Vec<u8>,
    quiet: u8,
    closed: bool,
}

impl Opener {
    /// Opens the first record of `input` in place. Only `input`'s bytes up to
    /// `used` have been touched.
    ///
    /// # Errors
    /// The connection cannot go on; [`RecordError::alert`] is to be sent.
    pub fn open(&mut self, input: &mut [u8], control: &Control) -> Result<Opened, RecordError> {
        let &[kind, major, minor, high, low, ..] = &*input else {
            return Ok(Opened::Needs(HEAD));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(CHANGE_CIPHER_SPEC..=DATA).contains(&kind) || (major, minor) != (3, 3) {
            return Err(RecordError::Malformed);
        }
        if length > BODY_MAX {
            return Err(RecordError::Oversized);
        }
        // RFC 8446 §5: after the handshake nothing goes unprotected.
        if self.key.layout == Layout::Tls13 && kind != DATA {
            return Err(RecordError::Unexpected);
        }
        let used = HEAD + length;
        let Some(record) = input.get_mut(..used) else {
            return Ok(Opened::Needs(used));
        };
        let (kind, content) = self.key.open(record)?;
        if content.len() > CONTENT_MAX {
            return Err(RecordError::Oversized);
        }
        if !self.message.is_empty() && kind != HANDSHAKE {
            return Err(RecordError::Unexpected);
        }
        let bytes = record.get(content.clone()).unwrap_or_default();
        match kind {
            DATA if !content.is_empty() => {
                self.quiet = 0;
                return Ok(Opened::Content { content, used });
            }
            // RFC 8446 §5.1: empty content may be sent, to hide its absence.
            DATA => {}
            ALERT => {
                if self.alert(bytes)? {
                    self.closed = true;
                    return Ok(Opened::Closed { used });
                }
            }
            HANDSHAKE => self.handshake(bytes, control)?,
            _ => return Err(RecordError::Unexpected),
        }
        self.quiet += 1;
        if self.quiet > QUIET_MAX {
            return Err(RecordError::Flood);
        }
        Ok(Opened::Quiet { used })
    }

    /// Whether the peer has said that its content is over. An end of the
    /// stream without that may be somebody else's doing.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes of memory besides itself, the AEAD key's own excepted.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.message.capacity()
    }

    /// Whether an alert is the peer's close_notify.
    fn alert(&self, bytes: &[u8]) -> Result<bool, RecordError> {
        let &[level, alert] = bytes else {
            return Err(RecordError::Malformed);
        };
        match alert {
            CLOSE_NOTIFY => Ok(true),
            USER_CANCELED => Ok(false),
            // RFC 8446 §6: every other alert is fatal, whatever it says.
            _ if level == WARNING && self.key.layout != Layout::Tls13 => Ok(false),
            _ => Err(RecordError::Alert(alert)),
        }
    }

    fn handshake(&mut self, bytes: &[u8], control: &Control) -> Result<(), RecordError> {
        if bytes.is_empty() {
            return Err(RecordError::Unexpected);
        }
        self.message.extend_from_slice(bytes);
        let mut message = std::mem::take(&mut self.message);
        let mut rest = message.as_slice();
        while let &[kind, a, b, c, ref tail @ ..] = rest {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > MESSAGE_MAX {
                return Err(RecordError::Unexpected);
            }
            let Some((body, behind)) = tail.split_at_checked(length) else {
                break;
            };
            rest = behind;
            self.message(kind, body, rest.is_empty(), control)?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let done = message.len() - rest.len();
        message.drain(..done);
        self.message = message;
        Ok(())
    }

    fn message(
        &mut self,
        kind: u8,
        body: &[u8],
        last: bool,
        control: &Control,
    ) -> Result<(), RecordError> {
        let tls13 = self.key.layout == Layout::Tls13;
        match (kind, body) {
            // RFC 8446 §5.1: nothing may follow in the record of the old key.
            (KEY_UPDATE, &[asked @ (0 | 1)]) if tls13 && last => {
                self.key = control.renew(false)?;
                if asked == 1 {
                    control.asked.set(true);
                }
                Ok(())
            }
            (NEW_SESSION_TICKET, body) if tls13 => match &mut *control.kernel.borrow_mut() {
                Some(Kernel::Client(kernel)) => kernel
                    .handle_new_session_ticket(body)
                    .map_err(|_| RecordError::Malformed),
                _ => Err(RecordError::Unexpected),
            },
            // RFC 5246 §7.4.1: a wish to renegotiate may be refused in words.
            (HELLO_REQUEST | CLIENT_HELLO, _) if !tls13 => {
                control.refuses.set(true);
                Ok(())
            }
            _ => Err(RecordError::Unexpected),
        }
    }
}

/// Seals the records of one direction.
pub struct Sealer {
    key: Key,
    closed: bool,
}

impl Sealer {
    /// Appends `content` as records, behind what [`Control::has_answer`] tells
    /// of.
    ///
    /// # Errors
    /// No more can be sent on this connection.
    pub fn seal(
        &mut self,
        content: &[u8],
        control: &Control,
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        self.answer(control, out)?;
        for part in content.chunks(CONTENT_MAX) {
            if self.key.layout == Layout::Tls13 && self.key.used() >= RENEW_AFTER {
                self.renew(control, out)?;
            }
            self.key.seal(DATA, part, out)?;
        }
        Ok(())
    }

    /// Appends what the other direction has asked for.
    ///
    /// # Errors
    /// No more can be sent on this connection.
    pub fn answer(&mut self, control: &Control, out: &mut Vec<u8>) -> Result<(), RecordError> {
        if self.closed {
            return Ok(());
        }
        if control.refuses.take() {
            self.key.seal(ALERT, &[WARNING, NO_RENEGOTIATION], out)?;
        }
        // RFC 8446 §4.6.3: one answer for any number of wishes.
        if control.asked.take() {
            self.renew(control, out)?;
        }
        Ok(())
    }

    /// Sends the peer new keys and uses them from the next record on.
    fn renew(&mut self, control: &Control, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let key = control.renew(true)?;
        self.key.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], out)?;
        self.key = key;
        Ok(())
    }

    /// Appends the end of this direction's content, once.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.say(&[WARNING, CLOSE_NOTIFY], out);
    }

    /// Appends the alert that answers a peer's failing, once.
    pub fn fail(&mut self, error: RecordError, out: &mut Vec<u8>) {
        if let Some(alert) = error.alert() {
            self.say(&[FATAL, alert], out);
        }
        self.closed = true;
    }

    /// Whether the end was sent.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    fn say(&mut self, alert: &[u8; 2], out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.closed, true) {
            // A key that is used up has no more words; the peer sees the
            // connection end.
            let _ = self.key.seal(ALERT, alert, out);
        }
    }
}
