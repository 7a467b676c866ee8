//! tungstenite at both ends: a client and a server that do not know of the proxy between them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Bytes, Message, WebSocket};

use crate::harness::PATIENCE;
use crate::harness::program::Running;

/// What the server saw.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// The fields of the handshake that a test looks at.
    Handshake {
        path: String,
        extensions: String,
        subprotocols: String,
    },
    /// The end of a connection, with the code and the reason of the client's Close frame.
    Closed(Option<(u16, String)>),
}

#[test]
fn messages_come_back_as_they_were_sent() {
    let site = Echo::start();
    let mut client = site.connect("/ws/echo");
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20, 5 << 20] {
        let bytes: Vec<u8> = (0..size)
            .map(|at: u32| (at.wrapping_mul(31) >> 3) as u8)
            .collect();
        let text: String = bytes
            .iter()
            .map(|byte| char::from(b'a' + byte % 26))
            .collect();
        for message in [Message::binary(bytes), Message::text(text)] {
            client.send(message.clone()).expect("send");
            assert!(
                client.read().expect("read") == message,
                "{size} bytes came back changed"
            );
        }
    }
}

#[test]
fn many_messages_are_in_flight_at_once() {
    let site = Echo::start();
    let mut client = site.connect("/ws/echo");
    for number in 0..2000 {
        client
            .write(Message::text(format!("message {number}")))
            .expect("write");
    }
    client.flush().expect("flush");
    for number in 0..2000 {
        assert_eq!(
            client.read().expect("read"),
            Message::text(format!("message {number}"))
        );
    }
}

#[test]
fn pings_reach_the_server_and_pongs_the_client() {
    let site = Echo::start();
    let mut client = site.connect("/ws/echo");
    for payload in ["", "are you there", &"x".repeat(125)] {
        client
            .send(Message::Ping(Bytes::copy_from_slice(payload.as_bytes())))
            .expect("send");
        assert_eq!(
            client.read().expect("read"),
            Message::Pong(Bytes::copy_from_slice(payload.as_bytes()))
        );
    }
}

#[test]
fn close_codes_reach_the_other_side() {
    let site = Echo::start();
    for (code, reason) in [
        (1000, ""),
        (1001, "going away"),
        (1008, "policy"),
        (1011, "error"),
        (3000, "x"),
        (4999, "y"),
    ] {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        let mut client = site.connect("/ws/echo");
        site.seen_handshake();
        client.close(Some(frame.clone())).expect("close");
        assert_eq!(
            client.read().expect("the answer to the Close"),
            Message::Close(Some(frame.clone()))
        );
        assert_eq!(site.seen(), Seen::Closed(Some((code, reason.to_owned()))));

        let mut client = site.connect("/ws/echo");
        site.seen_handshake();
        client
            .send(Message::text(format!("close {code} {reason}")))
            .expect("send");
        assert_eq!(
            client.read().expect("the server's Close"),
            Message::Close(Some(frame))
        );
    }
}

#[test]
fn offers_and_answers_of_the_handshake_pass_unchanged() {
    let site = Echo::start();
    let url = format!("ws://{}/ws/echo?a=b%20c", site.proxy.address());
    let mut request = url.into_client_request().expect("a request");
    let offer = "permessage-deflate; client_max_window_bits, x-other; a=\"b c\"";
    request.headers_mut().insert(
        "Sec-WebSocket-Extensions",
        offer.parse().expect("a field value"),
    );
    request.headers_mut().insert(
        "Sec-WebSocket-Protocol",
        "v1.chat, v2.chat".parse().expect("a field value"),
    );
    let (_client, response) = tungstenite::client(request, site.stream()).expect("a handshake");
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "v2.chat");
    let expected = Seen::Handshake {
        path: "/ws/echo?a=b%20c".to_owned(),
        extensions: offer.to_owned(),
        subprotocols: "v1.chat, v2.chat".to_owned(),
    };
    assert_eq!(site.seen(), expected);
}

#[test]
fn fifty_tunnels_talk_at_the_same_time() {
    let site = Echo::start();
    let mut clients: Vec<_> = (0..50).map(|_| site.connect("/ws/echo")).collect();
    thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate() {
            scope.spawn(move || {
                for turn in 0..100 {
                    let message = Message::text(format!("{number} says {turn}"));
                    client.send(message.clone()).expect("send");
                    assert_eq!(client.read().expect("read"), message);
                }
            });
        }
    });
}

/// A server that sends every message back, and relais in front of it.
struct Echo {
    proxy: Running,
    seen: Receiver<Seen>,
}

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let origin = listener.local_addr().expect("the server's address");
        let (sender, seen) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                thread::spawn(move || serve(stream, &sender));
            }
        });
        Self {
            proxy: Running::relais(&format!("ProxyPass /ws ws://{origin}/ws")),
            seen,
        }
    }

    fn stream(&self) -> TcpStream {
        connected(self.proxy.address())
    }

    fn connect(&self, path: &str) -> WebSocket<TcpStream> {
        let url = format!("ws://{}{path}", self.proxy.address());
        tungstenite::client(url, self.stream())
            .expect("a handshake")
            .0
    }

    fn seen(&self) -> Seen {
        self.seen
            .recv_timeout(PATIENCE)
            .expect("something at the server")
    }

    /// Waits for the next handshake, past the ends of earlier connections.
    fn seen_handshake(&self) {
        while !matches!(self.seen(), Seen::Handshake { .. }) {}
    }
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("set the read timeout");
    stream.set_nodelay(true).expect("set TCP_NODELAY");
    stream
}

/// Reports each handshake, and chooses the last of the subprotocols.
struct Report<'a>(&'a Sender<Seen>);

impl Callback for Report<'_> {
    fn on_request(
        self,
        request: &Request,
        mut response: Response,
    ) -> Result<Response, ErrorResponse> {
        let field = |name| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let (extensions, subprotocols) = (
            field("Sec-WebSocket-Extensions"),
            field("Sec-WebSocket-Protocol"),
        );
        if let Some(last) = subprotocols
            .rsplit(", ")
            .next()
            .filter(|last| !last.is_empty())
        {
            response.headers_mut().insert(
                "Sec-WebSocket-Protocol",
                last.parse().expect("a field value"),
            );
        }
        let _ = self.0.send(Seen::Handshake {
            path: request.uri().to_string(),
            extensions: extensions.to_owned(),
            subprotocols: subprotocols.to_owned(),
        });
        Ok(response)
    }
}

fn serve(stream: TcpStream, seen: &Sender<Seen>) {
    let accepted = tungstenite::accept_hdr(stream, Report(seen));
    let Ok(mut socket) = accepted else { return };
    while let Ok(message) = socket.read() {
        let done = match message {
            Message::Text(text) if text.starts_with("close ") => {
                socket.close(Some(close_frame(&text)))
            }
            Message::Text(_) | Message::Binary(_) => socket.send(message),
            Message::Close(frame) => {
                let _ = seen.send(Seen::Closed(
                    frame.map(|frame| (frame.code.into(), frame.reason.to_string())),
                ));
                Ok(())
            }
            _ => Ok(()),
        };
        if done.is_err() {
            return;
        }
    }
}

/// The Close frame for `close CODE REASON`.
fn close_frame(text: &str) -> CloseFrame {
    let mut words = text.splitn(3, ' ').skip(1);
    let code: u16 = words
        .next()
        .and_then(|code| code.parse().ok())
        .unwrap_or(1000);
    CloseFrame {
        code: code.into(),
        reason: words.next().unwrap_or_default().into(),
    }
}
