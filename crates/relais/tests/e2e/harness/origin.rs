//! An origin that records the exact bytes of every request and answers from a script.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};

use super::wire::{Conn, status};

/// What the origin does after its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    /// It waits for the next request on the connection.
    Keep,
    /// It ends the connection.
    Close,
    /// It keeps the connection open and says no more.
    Silence,
    /// It resets the connection once the answer has had time to arrive.
    Reset,
    /// It has sent the answer line by line with pauses, and waits for the next request.
    Slow,
}

/// A request as it arrived.
#[derive(Clone)]
pub(crate) struct Received {
    /// Which connection brought it, counted from the first one after the last [`Origin::script`].
    pub(crate) connection: usize,
    /// The exact bytes, head and body.
    pub(crate) bytes: Vec<u8>,
}

/// A listening origin. It runs until the test process ends.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    upgraded: Receiver<Conn>,
}

#[derive(Default)]
struct State {
    replies: VecDeque<(Vec<u8>, Then)>,
    received: Vec<Received>,
    /// The open connections by number; one that is to be reset is owned by its thread alone.
    open: Vec<Option<TcpStream>>,
}

impl Origin {
    /// Starts listening.
    pub(crate) fn start() -> Self {
        Self::with(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())
    }

    /// Starts listening; requests without a scripted answer get the one that `respond` makes from their bytes.
    pub(crate) fn with(respond: fn(&[u8]) -> Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen as the origin");
        let address = listener.local_addr().expect("the origin's address");
        let state = Arc::new(Mutex::new(State::default()));
        let (sender, upgraded) = channel();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                accept(stream, respond, &shared, &sender);
            }
        });
        Self {
            address,
            state,
            upgraded,
        }
    }

    /// Forgets what was received, ends every connection, and answers the next requests in this order; when the script
    /// is used up, with the answer of [`Origin::with`].
    pub(crate) fn script(&self, replies: impl IntoIterator<Item = (Vec<u8>, Then)>) {
        let mut state = lock(&self.state);
        state.replies = replies.into_iter().collect();
        state.received.clear();
        for stream in state.open.drain(..).flatten() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        while self.upgraded.try_recv().is_ok() {}
    }

    /// Answers the next requests in this order, and leaves everything else as it is.
    pub(crate) fn reply(&self, replies: impl IntoIterator<Item = (Vec<u8>, Then)>) {
        lock(&self.state).replies.extend(replies);
    }

    /// The requests since the last [`Origin::script`].
    pub(crate) fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }

    /// The connection on which the last 101 was sent.
    pub(crate) fn upgraded(&self) -> Option<Conn> {
        self.upgraded.recv_timeout(super::PATIENCE).ok()
    }
}

/// How long what was sent has to arrive before something else happens on the connection.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(60);

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("the origin's state")
}

fn accept(
    stream: TcpStream,
    respond: fn(&[u8]) -> Vec<u8>,
    state: &Arc<Mutex<State>>,
    upgraded: &Sender<Conn>,
) {
    let mut open = lock(state);
    let number = open.open.len();
    open.open.push(stream.try_clone().ok());
    drop(open);
    let (state, upgraded) = (Arc::clone(state), upgraded.clone());
    std::thread::spawn(move || serve(Conn::new(stream), number, respond, &state, &upgraded));
}

fn serve(
    mut conn: Conn,
    connection: usize,
    respond: fn(&[u8]) -> Vec<u8>,
    state: &Mutex<State>,
    upgraded: &Sender<Conn>,
) {
    loop {
        let bytes = conn.request();
        if bytes.is_empty() {
            return;
        }
        let scripted = lock(state).replies.pop_front();
        let (reply, then) = scripted.unwrap_or_else(|| (respond(&bytes), Then::Keep));
        lock(state).received.push(Received { connection, bytes });
        if then == Then::Slow {
            conn.send_slowly(&reply);
        } else {
            conn.send(&reply);
        }
        if reply.starts_with(b"HTTP/1.1 101") || switches(&reply) {
            let _ = upgraded.send(conn);
            return;
        }
        match then {
            Then::Keep | Then::Slow => {}
            Then::Reset => {
                std::thread::sleep(PAUSE);
                if let Some(copy) = lock(state).open.get_mut(connection) {
                    copy.take();
                }
                conn.reset();
                return;
            }
            Then::Close => return,
            Then::Silence => {
                conn.rest();
                return;
            }
        }
    }
}

/// True when a 101 follows interim responses.
fn switches(reply: &[u8]) -> bool {
    let mut rest = reply;
    while matches!(status(rest), 100..=199) {
        if status(rest) == 101 {
            return true;
        }
        let Some(end) = super::wire::find(rest, b"\r\n\r\n") else {
            return false;
        };
        rest = &rest[end + 4..];
    }
    false
}
