//! Requests to the demonstration's origin: reading their heads, choosing what answers, writing the answers.

use std::io;

use relais_http1::{
    BodyLength, Fields, Limits, Parse, RequestHead, Version, reason, write_field, write_status_line,
};
use relais_websocket::{HandshakeError, accept_for, check_request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::sockjs::{self, Framing};

/// What a person sees.
const PAGE: &str = include_str!("page.html");

/// The page brings all it needs with it and talks to its own host only.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                           connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                           frame-ancestors 'none'";

/// A connection from relais on which requests come.
pub(super) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    head: RequestHead,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Page,
    Info,
    WebSocket(Framing),
    Nowhere,
}

/// An answer that is whole before it is written.
struct Answer {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: String,
}

/// A connection that has become a WebSocket.
pub(super) struct Upgraded {
    pub(super) stream: TcpStream,
    pub(super) framing: Framing,
    /// What the client sent behind its request.
    pub(super) input: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            input: Vec::new(),
            head: RequestHead::new(),
        }
    }

    /// Answers requests until the connection ends (`None`) or becomes a WebSocket.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(super) async fn serve(mut self) -> io::Result<Option<Upgraded>> {
        while self.read_head().await? {
            let meta = match self.head.check() {
                Ok(meta) => meta,
                Err(error) => {
                    self.answer(&Answer::error(error.status()), false).await?;
                    break;
                }
            };
            // Nothing here takes a body, so none is waited for.
            let has_body = !matches!(meta.body, BodyLength::None | BodyLength::Length(0));
            let path = self
                .head
                .parts()
                .map(|parts| parts.path)
                .unwrap_or_default();
            let answer = match (Place::at(path), self.head.method()) {
                (Place::WebSocket(framing), _) => match upgrade(&self.head, has_body) {
                    Ok(answer) => {
                        self.stream.write_all(&answer.head(true)).await?;
                        return Ok(Some(Upgraded {
                            stream: self.stream,
                            framing,
                            input: self.input,
                        }));
                    }
                    Err(answer) => answer,
                },
                (Place::Nowhere, _) => Answer::error(404),
                (place, b"GET" | b"HEAD") => Answer::with_content(place),
                _ => Answer::error(405).field("Allow", "GET, HEAD"),
            };
            let stays = meta.keep_alive && !has_body;
            self.answer(&answer, stays).await?;
            if !stays {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Reads up to the end of a head. There is none when the connection ends or what came is no request.
    async fn read_head(&mut self) -> io::Result<bool> {
        loop {
            match self.head.parse_into(&self.input, &Limits::default()) {
                Ok(Parse::Complete { consumed }) => {
                    self.input.drain(..consumed);
                    return Ok(true);
                }
                Ok(Parse::Partial) => {}
                Err(error) => {
                    self.answer(&Answer::error(error.status()), false).await?;
                    return Ok(false);
                }
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(false);
            }
        }
    }

    async fn answer(&mut self, answer: &Answer, stays: bool) -> io::Result<()> {
        let mut out = answer.head(stays);
        if self.head.method() != b"HEAD" {
            out.extend_from_slice(answer.body.as_bytes());
        }
        self.stream.write_all(&out).await
    }
}

impl Place {
    fn at(path: &[u8]) -> Self {
        let Some(below) = path.strip_prefix(b"/eventbus/") else {
            return if path == b"/" {
                Self::Page
            } else {
                Self::Nowhere
            };
        };
        let mut segments = below.split(|byte| *byte == b'/');
        match [
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
        ] {
            [Some(b"info"), None, ..] => Self::Info,
            [Some(b"websocket"), None, ..] => Self::WebSocket(Framing::Raw),
            [Some([_, ..]), Some([_, ..]), Some(b"websocket"), None] => {
                Self::WebSocket(Framing::Sockjs)
            }
            _ => Self::Nowhere,
        }
    }
}

impl Answer {
    fn error(status: u16) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: format!("{status} {}\n", reason(status)),
        }
        .field("Content-Type", "text/plain; charset=utf-8")
    }

    fn with_content(place: Place) -> Self {
        let (content_type, body) = match place {
            Place::Info => ("application/json; charset=utf-8", sockjs::info()),
            _ => ("text/html; charset=utf-8", PAGE.to_owned()),
        };
        let answer = Self {
            status: 200,
            fields: Vec::new(),
            body,
        };
        let answer = answer
            .field("Content-Type", content_type)
            .field("Cache-Control", "no-store");
        match place {
            Place::Info => answer.field("Access-Control-Allow-Origin", "*"),
            _ => answer.field("Content-Security-Policy", PAGE_POLICY),
        }
    }

    fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// All up to the body.
    fn head(&self, stays: bool) -> Vec<u8> {
        let mut out = Vec::new();
        // Every status here has three digits, which is all that could be wrong.
        let _ = write_status_line(
            &mut out,
            Version::Http11,
            self.status,
            reason(self.status).as_bytes(),
        );
        for (name, value) in &self.fields {
            write_field(&mut out, name.as_bytes(), value.as_bytes());
        }
        if self.status != 101 {
            write_field(
                &mut out,
                b"Content-Length",
                self.body.len().to_string().as_bytes(),
            );
        }
        if !stays {
            write_field(&mut out, b"Connection", b"close");
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// The 101 that opens a WebSocket, or why there is none.
fn upgrade(head: &RequestHead, has_body: bool) -> Result<Answer, Answer> {
    let is_11 = head.version() == Version::Http11;
    let key =
        check_request(head.method(), is_11, fields(&head.fields), has_body).map_err(refusal)?;
    let accept = String::from_utf8_lossy(&accept_for(&key)).into_owned();
    Ok(Answer {
        status: 101,
        fields: Vec::new(),
        body: String::new(),
    }
    .field("Upgrade", "websocket")
    .field("Connection", "Upgrade")
    .field("Sec-WebSocket-Accept", accept))
}

fn fields(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    fields.iter()
}

fn refusal(error: HandshakeError) -> Answer {
    let answer = Answer::error(error.status());
    if error.wants_version_field() {
        answer.field("Sec-WebSocket-Version", "13")
    } else {
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/", Place::Page),
            ("/eventbus/info", Place::Info),
            ("/eventbus/websocket", Place::WebSocket(Framing::Raw)),
            (
                "/eventbus/000/abc/websocket",
                Place::WebSocket(Framing::Sockjs),
            ),
            (
                "/eventbus/server/session/websocket",
                Place::WebSocket(Framing::Sockjs),
            ),
            ("/eventbus//abc/websocket", Place::Nowhere),
            ("/eventbus/000//websocket", Place::Nowhere),
            ("/eventbus/000/abc/websocket/", Place::Nowhere),
            ("/eventbus/000/abc/websocket/more", Place::Nowhere),
            ("/eventbus/000/abc/xhr", Place::Nowhere),
            ("/eventbus/info/", Place::Nowhere),
            ("/eventbus/", Place::Nowhere),
            ("/eventbus", Place::Nowhere),
            ("/favicon.ico", Place::Nowhere),
            ("//", Place::Nowhere),
            ("", Place::Nowhere),
        ] {
            assert_eq!(Place::at(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn page_needs_nothing_from_elsewhere() {
        for foreign in [
            "http://",
            "https://",
            "//cdn",
            "innerHTML",
            "@import",
            "<link rel=\"stylesheet",
        ] {
            assert!(!PAGE.contains(foreign), "the page has {foreign}");
        }
    }
}
