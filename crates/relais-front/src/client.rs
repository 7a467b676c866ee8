//! The client of one request, whichever protocol it speaks.
//!
//! What differs between a connection of HTTP/1 and a stream of HTTP/2 is here and nowhere else on a request's way: where
//! its body comes from, how a head is put, and how an answer ends. An enum in place of a trait object or a type
//! parameter: HTTP/1 pays a branch, and there is one copy of the code that answers and forwards.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue};
use relais_http1::{
    Fields, LineError, ResponseBody, Version, is_hop_by_hop, write_field, write_status_line,
};
use relais_stream::{ReadHalf, WriteHalf};
use tokio::io::AsyncWrite;

use crate::connection::Http1;
use crate::http2;
use crate::input::Input;

/// The client of one request.
pub(crate) enum Client<'a> {
    /// A connection that has one request at a time.
    Http1(&'a mut Http1),
    /// One of a connection's streams.
    Http2(&'a mut http2::Stream),
}

/// Where the request's body comes from.
pub(crate) enum Incoming<'a> {
    /// Bytes in the framing of HTTP/1, of which some have arrived.
    Http1(ReadHalf<'a>, &'a mut Input),
    /// Content as such.
    Http2(&'a mut http2::Body),
}

/// Where the answer goes. What is written to it are bytes of a head and a framed body for HTTP/1, and content for HTTP/2.
pub(crate) enum Outlet<'a> {
    /// A connection.
    Http1(WriteHalf<'a>),
    /// A stream.
    Http2(&'a http2::Sender),
}

/// A response's head that is being put together.
pub(crate) enum HeadOut<'t> {
    /// As text; the body may follow in the same buffer.
    Text(&'t mut Vec<u8>),
    /// As the fields of a `HEADERS` frame, and their size (RFC 9113 §10.5.1).
    Fields(HeaderMap, u64),
}

impl<'a> Client<'a> {
    /// Both directions, and whom to ask whether the client has given the request up. HTTP/1 has no way to say so.
    pub(crate) fn split(&mut self) -> (Incoming<'_>, Outlet<'_>, Option<&http2::Sender>) {
        match self {
            Self::Http1(client) => {
                let (read, write) = client.stream.split();
                let incoming = Incoming::Http1(read, &mut client.input);
                (incoming, Outlet::Http1(write), None)
            }
            Self::Http2(stream) => {
                let http2::Stream { body, sender, .. } = &mut **stream;
                let sender = &*sender;
                (Incoming::Http2(body), Outlet::Http2(sender), Some(sender))
            }
        }
    }

    /// The direction towards the client.
    pub(crate) fn outlet(&mut self) -> Outlet<'_> {
        match self {
            Self::Http1(client) => Outlet::Http1(client.stream.split().1),
            Self::Http2(stream) => Outlet::Http2(&stream.sender),
        }
    }

    /// The connection, where it is this request's alone.
    pub(crate) fn http1(&mut self) -> Option<&mut Http1> {
        match self {
            Self::Http1(client) => Some(client),
            Self::Http2(_) => None,
        }
    }
}

impl Outlet<'_> {
    /// An empty head for this client; as text it goes behind what is in `text`.
    pub(crate) fn head<'t>(&self, text: &'t mut Vec<u8>) -> HeadOut<'t> {
        match self {
            Self::Http1(_) => HeadOut::Text(text),
            Self::Http2(_) => HeadOut::Fields(HeaderMap::new(), 0),
        }
    }

    /// Whether this is a stream that the client wants to become a WebSocket.
    pub(crate) const fn opens(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(sender) => sender.opens(),
        }
    }

    /// Ends a final head, whose content is framed as `body`. A text is left to be written.
    ///
    /// # Errors
    /// The client has gone.
    pub(crate) fn begin(
        &self,
        status: u16,
        head: HeadOut<'_>,
        body: ResponseBody,
    ) -> io::Result<()> {
        match (self, head) {
            (Self::Http2(sender), HeadOut::Fields(fields, _)) => {
                sender.send_head(status, fields, body)
            }
            (_, mut head) => {
                head.end();
                Ok(())
            }
        }
    }

    /// Ends the head of an interim response.
    ///
    /// # Errors
    /// The client has gone.
    pub(crate) fn interim(&self, status: u16, head: HeadOut<'_>) -> io::Result<()> {
        match (self, head) {
            (Self::Http2(sender), HeadOut::Fields(fields, _)) => {
                sender.send_interim(status, fields)
            }
            (_, mut head) => {
                head.end();
                Ok(())
            }
        }
    }

    /// Ends the answer. The framing of HTTP/1 has said so already.
    ///
    /// # Errors
    /// The client has gone.
    pub(crate) fn finish(&self, trailers: Option<&Fields>) -> io::Result<()> {
        match self {
            Self::Http1(_) => Ok(()),
            Self::Http2(sender) => sender.finish(trailers),
        }
    }
}

impl HeadOut<'_> {
    /// Writes the status line, where there is one.
    ///
    /// # Errors
    /// The status has not three digits.
    pub(crate) fn status_line(&mut self, status: u16, reason: &[u8]) -> Result<(), LineError> {
        match self {
            Self::Text(text) => write_status_line(text, Version::Http11, status, reason),
            Self::Fields(..) if (100..=999).contains(&status) => Ok(()),
            Self::Fields(..) => Err(LineError::Status),
        }
    }

    /// Writes a field. HTTP/2 has none that speak of the connection (RFC 9113 §8.2.2).
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8]) {
        match self {
            Self::Text(text) => write_field(text, name, value),
            Self::Fields(fields, size) => {
                if add_field(fields, name, value) {
                    *size += (name.len() + value.len() + 32) as u64;
                }
            }
        }
    }

    /// The text, for what only HTTP/1 has.
    pub(crate) fn text(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Fields(..) => None,
        }
    }

    /// Bytes that the body's count of all bytes does not see.
    pub(crate) const fn size(&self) -> u64 {
        match self {
            Self::Text(_) => 0,
            Self::Fields(_, size) => *size,
        }
    }

    fn end(&mut self) {
        if let Some(text) = self.text() {
            text.extend_from_slice(b"\r\n");
        }
    }
}

/// Adds a field to those of a `HEADERS` frame, unless it may not stand there.
pub(crate) fn add_field(fields: &mut HeaderMap, name: &[u8], value: &[u8]) -> bool {
    if is_hop_by_hop(name) {
        return false;
    }
    match (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        (Ok(name), Ok(value)) => fields.try_append(name, value).is_ok(),
        _ => false,
    }
}

impl AsyncWrite for Outlet<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Http1(half) => Pin::new(half).poll_write(context, bytes),
            Self::Http2(sender) => sender.poll_send(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Http1(half) => Pin::new(half).poll_write_vectored(context, parts),
            Self::Http2(sender) => {
                let part = parts.iter().find(|part| !part.is_empty());
                sender.poll_send(context, part.map_or(&[], |part| part))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Http1(_))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Http1(half) => Pin::new(half).poll_flush(context),
            Self::Http2(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Http1(half) => Pin::new(half).poll_shutdown(context),
            Self::Http2(sender) => Poll::Ready(sender.finish(None)),
        }
    }
}
