//! Thousands of tunnels at once: an origin that sends back what it gets, and clients that check what comes back. Both
//! run on one thread each, since a thread a tunnel would measure the scheduler.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::within;
use crate::origins::{ACCEPTED, HANDSHAKE, message};

/// Handshakes that are under way at the same time.
const HANDSHAKES_MAX: usize = 64;

/// Descriptors of the test process that are for everything else.
const RESERVE: u64 = 500;

/// Crowds come one after the other: each takes most of the descriptors that there are.
static TURN: Mutex<()> = Mutex::new(());

/// The right to open a crowd.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `wanted`, or as many tunnels as the limit of descriptors allows a process that has both ends of them.
pub(crate) fn affordable(wanted: usize) -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("ask for the limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raise the limit");
    let most = usize::try_from(hard.saturating_sub(RESERVE) / 2).unwrap_or(usize::MAX);
    if most < wanted {
        eprintln!("{most} tunnels instead of {wanted}: the limit of descriptors is {hard}");
    }
    wanted.min(most)
}

/// Starts a thread with a runtime of its own that serves `each` connection, and gives its address.
pub(crate) fn origin<F: Future<Output = ()> + Send + 'static>(
    each: fn(TcpStream) -> F,
) -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").expect("listen as the origin");
    listener.set_nonblocking(true).expect("set non-blocking");
    let address = listener.local_addr().expect("the origin's address");
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = TcpListener::from_std(listener).expect("take the listener");
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(each(stream));
                }
            }
        });
    });
    address
}

/// Accepts the handshake, and sends every frame back as a server's.
pub(crate) async fn echo(mut stream: TcpStream) {
    if accept(&mut stream).await.is_some() {
        while echo_frame(&mut stream).await.is_some() {}
    }
}

/// Reads the request and sends the 101.
pub(crate) async fn accept(stream: &mut TcpStream) -> Option<()> {
    head(stream).await?;
    stream.write_all(&message(ACCEPTED)).await.ok()
}

/// Reads to the end of a head, byte by byte so that nothing behind it is taken.
async fn head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    Some(bytes)
}

async fn echo_frame(stream: &mut TcpStream) -> Option<()> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.ok()?;
    let length = match head[1] & 127 {
        126 => stream.read_u16().await.ok()?.into(),
        127 => stream.read_u64().await.ok()?,
        short => short.into(),
    };
    let length = usize::try_from(length).ok()?;
    // The key is zero, so that the payload is as it was sent.
    let mut payload = vec![0; length + 4];
    stream.read_exact(&mut payload).await.ok()?;
    let frame = [&frame_head(head[0], length, 0), &payload[4..]].concat();
    stream.write_all(&frame).await.ok()
}

/// The head of a frame (RFC 6455 section 5.2), without a key.
pub(crate) fn frame_head(first: u8, length: usize, mask: u8) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..126 => head.push(mask | length as u8),
        126..65_536 => {
            head.push(mask | 126);
            head.extend((length as u16).to_be_bytes());
        }
        _ => {
            head.push(mask | 127);
            head.extend((length as u64).to_be_bytes());
        }
    }
    head
}

/// What all tunnels of a crowd came to.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Tunnels that went well from their beginning to the client's Close frame.
    pub(crate) whole: usize,
    /// Bytes of frames that clients sent.
    pub(crate) sent: u64,
    /// Bytes of frames that came back.
    pub(crate) received: u64,
    /// What went wrong.
    pub(crate) troubles: Vec<String>,
}

/// Clients that talk until they are told to stop.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    thread: JoinHandle<Totals>,
}

#[derive(Default)]
struct Shared {
    open: AtomicUsize,
    troubled: AtomicUsize,
    exchanges: AtomicUsize,
    stop: AtomicBool,
}

impl Crowd {
    /// Opens tunnels to `target` and has each send a message every second or so.
    pub(crate) fn open(address: SocketAddr, target: &str, count: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let request = message(&HANDSHAKE.replace("/ws/x", target));
        let own = Arc::clone(&shared);
        let thread =
            std::thread::spawn(move || runtime().block_on(talk(address, request, count, own)));
        let crowd = Self { shared, thread };
        let all = || {
            let opened = crowd.shared.open.load(Ordering::Relaxed);
            opened + crowd.shared.troubled.load(Ordering::Relaxed) == count
        };
        assert!(
            within(Duration::from_secs(120), all),
            "{count} tunnels open"
        );
        crowd
    }

    /// Messages that have come back so far.
    pub(crate) fn exchanges(&self) -> usize {
        self.shared.exchanges.load(Ordering::Relaxed)
    }

    /// Waits until so many more messages have come back.
    pub(crate) fn waits_for(&self, more: usize) {
        let before = self.exchanges();
        let enough = || self.exchanges() >= before + more;
        assert!(
            within(Duration::from_secs(120), enough),
            "messages come back"
        );
    }

    /// Has every client close its tunnel.
    pub(crate) fn finish(self) -> Totals {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the crowd's thread")
    }
}

async fn talk(address: SocketAddr, request: Vec<u8>, count: usize, shared: Arc<Shared>) -> Totals {
    let gate = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let request: Arc<[u8]> = request.into();
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (gate, request) = (Arc::clone(&gate), Arc::clone(&request));
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut client = Client {
                number,
                sent: 0,
                received: 0,
            };
            let outcome = client.run(address, &request, &gate, &shared).await;
            if outcome.is_err() {
                shared.troubled.fetch_add(1, Ordering::Relaxed);
            }
            (client, outcome)
        });
    }
    let mut totals = Totals::default();
    while let Some(joined) = tasks.join_next().await {
        let (client, outcome) = joined.expect("a client's task");
        totals.sent += client.sent;
        totals.received += client.received;
        match outcome {
            Ok(()) => totals.whole += 1,
            Err(why) => totals
                .troubles
                .push(format!("tunnel {}: {why}", client.number)),
        }
    }
    totals
}

/// One tunnel's client.
struct Client {
    number: usize,
    sent: u64,
    received: u64,
}

impl Client {
    async fn run(
        &mut self,
        address: SocketAddr,
        request: &[u8],
        gate: &Semaphore,
        shared: &Shared,
    ) -> Result<(), String> {
        let mut stream = {
            let _permit = gate.acquire().await.map_err(|error| error.to_string())?;
            let stream = TcpStream::connect(address).await;
            let mut stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
            let _ = stream.set_nodelay(true);
            let sent = stream.write_all(request).await;
            sent.map_err(|error| format!("cannot ask: {error}"))?;
            let answer = head(&mut stream).await.ok_or("no answer")?;
            if !answer.starts_with(b"HTTP/1.1 101") {
                let answer = answer.escape_ascii();
                return Err(format!("no tunnel: {answer}"));
            }
            stream
        };
        shared.open.fetch_add(1, Ordering::Relaxed);
        let mut round = self.number;
        while !shared.stop.load(Ordering::Relaxed) {
            self.exchange(&mut stream, 0x82, &payload(self.number, round))
                .await?;
            shared.exchanges.fetch_add(1, Ordering::Relaxed);
            round += 1;
            tokio::time::sleep(Duration::from_millis(400 + (round as u64 * 37) % 1000)).await;
        }
        self.exchange(&mut stream, 0x88, &1000_u16.to_be_bytes())
            .await
    }

    /// Sends a frame and checks that it comes back.
    async fn exchange(
        &mut self,
        stream: &mut TcpStream,
        first: u8,
        payload: &[u8],
    ) -> Result<(), String> {
        let frame = [
            &frame_head(first, payload.len(), 0x80),
            &[0; 4][..],
            payload,
        ]
        .concat();
        let sent = stream.write_all(&frame).await;
        sent.map_err(|error| format!("cannot send: {error}"))?;
        self.sent += frame.len() as u64;
        let expected = [&frame_head(first, payload.len(), 0), payload].concat();
        let mut found = vec![0; expected.len()];
        let read = stream.read_exact(&mut found).await;
        read.map_err(|error| format!("nothing came back: {error}"))?;
        self.received += found.len() as u64;
        if found == expected {
            Ok(())
        } else {
            Err(format!("{} bytes came back changed", payload.len()))
        }
    }
}

/// What a tunnel sends in a round: mostly short, now and then long enough for a pipe.
fn payload(number: usize, round: usize) -> Vec<u8> {
    let length = match round % 50 {
        0 => 70_000,
        1..10 => 4000,
        10..30 => 200,
        _ => 20,
    };
    (0..length)
        .map(|at| (at + number * 7 + round) as u8)
        .collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
