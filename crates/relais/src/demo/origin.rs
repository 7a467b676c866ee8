//! The origin behind the demonstration: a page and an event bus that passes every message to everyone.

use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::http::{Connection, Upgraded};
use super::sockjs::Framing;

/// How many messages may wait for a slow listener before it is sent away.
const WAITING: usize = 64;

/// Longest message, in bytes. It bounds, with [`WAITING`], the memory of a listener.
const LONGEST: usize = 64 * 1024;

/// SockJS servers say this often that they are there.
const HEARTBEAT: Duration = Duration::from_secs(25);

/// Pause after a failed accept, which mostly means that there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running origin. It ends when this is dropped.
pub(crate) struct Origin {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Everyone who listens.
type Room = broadcast::Sender<Utf8Bytes>;

/// Why the origin ends a conversation.
enum End {
    /// The client left.
    Left,
    /// The client is told so.
    Told(CloseCode, &'static str),
}

impl Origin {
    /// Listens on a free port of 127.0.0.1 and answers there on a thread of its own.
    ///
    /// # Errors
    /// If the system gives no socket, thread or event queue.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new()
            .name("demo-origin".to_owned())
            .spawn(run)?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported already.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener) {
    let room = Room::new(WAITING);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, room.clone()))),
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, room: Room) {
    // Without it, a small answer could wait for the other side's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let Ok(Some(Upgraded {
        stream,
        framing,
        input,
    })) = Connection::new(stream).serve().await
    else {
        return;
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST));
    let socket =
        WebSocketStream::from_partially_read(stream, input, Role::Server, Some(config)).await;
    // An error is a client that is gone, which is nobody's trouble here.
    let _ = Conversation {
        socket,
        framing,
        room,
    }
    .run()
    .await;
}

/// One client of the event bus.
struct Conversation {
    socket: WebSocketStream<TcpStream>,
    framing: Framing,
    room: Room,
}

impl Conversation {
    async fn run(mut self) -> Result<(), Error> {
        let listening = self.room.subscribe();
        if let Some(opening) = self.framing.opening() {
            self.socket.send(Message::text(opening)).await?;
        }
        match self.talk(listening).await? {
            End::Left => Ok(()),
            End::Told(code, reason) => self.close(code, reason).await,
        }
    }

    async fn talk(&mut self, mut listening: broadcast::Receiver<Utf8Bytes>) -> Result<End, Error> {
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.socket.next() => match message.transpose()? {
                    Some(Message::Text(text)) => {
                        if let Some(end) = self.say(&text).await {
                            return Ok(end);
                        }
                    }
                    Some(Message::Binary(_)) => return Ok(End::Told(CloseCode::Unsupported, "Text only.")),
                    Some(_) => {}
                    None => return Ok(End::Left),
                },
                heard = listening.recv() => match heard {
                    Ok(text) => self.socket.send(Message::text(self.framing.encode(&text))).await?,
                    Err(RecvError::Lagged(_)) => return Ok(End::Told(CloseCode::Policy, "Too slow.")),
                    Err(RecvError::Closed) => return Ok(End::Told(CloseCode::Away, "Gone.")),
                },
                _ = heartbeat.tick() => if let Some(beat) = self.framing.heartbeat() {
                    self.socket.send(Message::text(beat)).await?;
                },
            }
        }
    }

    /// Passes what a client sent on to everyone.
    async fn say(&self, message: &str) -> Option<End> {
        let Ok(texts) = self.framing.decode(message) else {
            return Some(End::Told(CloseCode::Protocol, "Broken framing."));
        };
        for text in texts {
            // This conversation listens too, so somebody always does.
            let _ = self.room.send(text.into());
            // One frame may carry more texts than may wait; the others must not be sent away for it.
            yield_now().await;
        }
        None
    }

    async fn close(mut self, code: CloseCode, reason: &'static str) -> Result<(), Error> {
        if let Some(closing) = self.framing.closing(code.into(), reason) {
            self.socket.send(Message::text(closing)).await?;
        }
        self.socket
            .close(Some(CloseFrame {
                code,
                reason: reason.into(),
            }))
            .await?;
        // What is on its way is read and forgotten up to the client's own Close, lest a reset overtakes ours.
        while self.socket.next().await.transpose()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use tokio_tungstenite::client_async;

    use super::*;

    /// A well-formed handshake but for what a test changes.
    const UPGRADE: &str = "GET /eventbus/000/s/websocket HTTP/1.1\r\nHost: demo\r\nUpgrade: websocket\r\n\
                           Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    type Client = WebSocketStream<TcpStream>;

    /// Runs `test` against an origin.
    fn with_origin<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr) -> F) {
        let origin = Origin::start().expect("an origin");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(test(origin.address()));
    }

    async fn open(origin: SocketAddr, path: &str) -> Client {
        let stream = TcpStream::connect(origin).await.expect("a connection");
        client_async(format!("ws://{origin}{path}"), stream)
            .await
            .expect("a handshake")
            .0
    }

    async fn say(client: &mut Client, text: &str) {
        client
            .send(Message::text(text))
            .await
            .expect("a connection");
    }

    /// The next message, or how the client was sent away.
    async fn hear(client: &mut Client) -> String {
        match client
            .next()
            .await
            .expect("a message")
            .expect("a connection")
        {
            Message::Close(Some(frame)) => {
                format!("close {} {}", u16::from(frame.code), frame.reason)
            }
            message => message.into_text().expect("text").to_string(),
        }
    }

    /// What comes back for `request` before the origin closes.
    fn exchange(origin: SocketAddr, request: &str) -> String {
        let mut stream = std::net::TcpStream::connect(origin).expect("a connection");
        stream.write_all(request.as_bytes()).expect("a connection");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("a connection");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        // Behind a 101 there are frames, which are not text.
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn every_text_reaches_every_client_in_its_own_framing() {
        with_origin(|origin| async move {
            let mut one = open(origin, "/eventbus/000/one/websocket").await;
            let mut two = open(origin, "/eventbus/999/two/websocket?x=y").await;
            let mut raw = open(origin, "/eventbus/websocket").await;
            assert_eq!(hear(&mut one).await, "o");
            assert_eq!(hear(&mut two).await, "o");
            // The raw client has no opening frame; its own text coming back shows that it listens.
            say(&mut raw, "ready").await;
            assert_eq!(hear(&mut raw).await, "ready");
            say(&mut one, r#"["hello \"you\"","é"]"#).await;
            for client in [&mut one, &mut two] {
                assert_eq!(hear(client).await, r#"a["ready"]"#);
                assert_eq!(hear(client).await, r#"a["hello \"you\""]"#);
                assert_eq!(hear(client).await, r#"a["é"]"#);
            }
            assert_eq!(hear(&mut raw).await, r#"hello "you""#);
            assert_eq!(hear(&mut raw).await, "é");
        });
    }

    #[test]
    fn a_frame_of_many_texts_does_not_send_listeners_away() {
        with_origin(|origin| async move {
            let mut one = open(origin, "/eventbus/000/one/websocket").await;
            let mut two = open(origin, "/eventbus/000/two/websocket").await;
            assert_eq!(hear(&mut one).await, "o");
            assert_eq!(hear(&mut two).await, "o");
            let texts: Vec<String> = (0..WAITING * 4).map(|number| number.to_string()).collect();
            say(&mut one, &serde_json::json!(texts).to_string()).await;
            for text in texts {
                assert_eq!(hear(&mut two).await, format!("a[\"{text}\"]"));
            }
        });
    }

    #[test]
    fn clients_that_break_the_rules_are_sent_away() {
        with_origin(|origin| async move {
            for (message, expected) in [
                (Message::text("no array"), "1002,\"Broken framing.\""),
                (Message::text("[1]"), "1002,\"Broken framing.\""),
                (Message::binary(vec![1]), "1003,\"Text only.\""),
            ] {
                let mut client = open(origin, "/eventbus/000/s/websocket").await;
                assert_eq!(hear(&mut client).await, "o");
                client.send(message).await.expect("a connection");
                assert_eq!(hear(&mut client).await, format!("c[{expected}]"));
                let close = format!("close {}", expected.replace(',', " ").replace('"', ""));
                assert_eq!(hear(&mut client).await, close);
                assert!(client.next().await.is_none());
            }
        });
    }

    #[test]
    fn frames_behind_the_request_are_not_lost() {
        let origin = Origin::start().expect("an origin");
        let mut stream = std::net::TcpStream::connect(origin.address()).expect("a connection");
        // A masked text frame `["x"]`, the mask being zeros.
        let request = [UPGRADE.as_bytes(), b"\x81\x85\0\0\0\0[\"x\"]"].concat();
        stream.write_all(&request).expect("a connection");
        let expected = b"\x81\x01o\x81\x06a[\"x\"]";
        let mut answer = Vec::new();
        while !answer.ends_with(expected) {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the frame comes back");
            answer.extend_from_slice(&byte);
        }
    }

    #[test]
    fn requests() {
        let origin = Origin::start().expect("an origin");
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n");
        let without = |part: &str| UPGRADE.replace(part, "");
        for (request, status, part) in [
            (get("/"), 200, "<title>"),
            (
                get("/?from=relais"),
                200,
                "content-type: text/html; charset=utf-8",
            ),
            (get("/eventbus/info"), 200, r#""websocket":true"#),
            (get("/eventbus/info"), 200, "content-type: application/json"),
            (get("/favicon.ico"), 404, "404 not found\n"),
            (get("/eventbus/000/s/xhr"), 404, "content-length: 14\r\n"),
            (get("/eventbus/000/s/websocket"), 400, "400 bad request\n"),
            (get("/").replace("GET", "POST"), 405, "allow: get, head\r\n"),
            (
                get("/").replace("Host", "Content-Length: 3\r\nHost"),
                200,
                "connection: close\r\n",
            ),
            (
                get("/").replace("HTTP/1.1", "HTTP/1.0"),
                200,
                "connection: close\r\n",
            ),
            (
                get("/").replace("Host: demo\r\n", ""),
                400,
                "connection: close\r\n",
            ),
            ("nonsense\r\n\r\n".to_owned(), 400, "connection: close\r\n"),
            (
                UPGRADE.to_owned(),
                101,
                "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
            ),
            (without("Upgrade: websocket\r\n"), 400, ""),
            (without("Connection: Upgrade\r\n"), 400, ""),
            (without("Sec-WebSocket-Version: 13\r\n"), 400, ""),
            (without("dGhl"), 400, ""),
            (UPGRADE.replace("GET", "POST"), 400, ""),
            (
                UPGRADE.replace(": 13", ": 8"),
                426,
                "sec-websocket-version: 13\r\n",
            ),
        ] {
            let answer = exchange(origin.address(), &request).to_lowercase();
            assert!(
                answer.starts_with(&format!("http/1.1 {status} ")),
                "{request}{answer}"
            );
            assert!(answer.contains(part), "{request}{answer}");
        }
    }

    #[test]
    fn one_connection_serves_many_requests() {
        let origin = Origin::start().expect("an origin");
        let request =
            "HEAD / HTTP/1.1\r\nHost: demo\r\n\r\nGET /a HTTP/1.1\r\nHost: demo\r\n\r\n".repeat(2);
        let answer = exchange(origin.address(), &request);
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
        assert_eq!(
            answer.matches("HTTP/1.1 404 Not Found").count(),
            2,
            "{answer}"
        );
        assert!(
            !answer.contains("<title>"),
            "HEAD is answered without content: {answer}"
        );
    }

    #[test]
    fn nobody_listens_after_the_drop() {
        let origin = Origin::start().expect("an origin");
        let address = origin.address();
        drop(origin);
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}
