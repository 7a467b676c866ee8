//! One stream of an HTTP/2 connection: its request's body and its answer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response, StatusCode};
use relais_http1::{Fields, ResponseBody, trailer_allowed};

use crate::client::add_field;

/// Content that is copied into the stream's queue at a time.
pub(super) const PIECE: usize = 64 * 1024;

/// A stream that a request came on.
pub(crate) struct Stream {
    /// The request's body.
    pub(crate) body: Body,
    /// Its answer.
    pub(crate) sender: Sender,
}

/// A request's body. The client may send more of it only as far as what came before has been taken on by the origin.
pub(crate) struct Body(RecvStream);

/// The sending side. Shared, since one place writes the answer while another asks whether the client still wants it.
pub(crate) struct Sender {
    state: RefCell<State>,
    /// Content that is queued at a time.
    piece: usize,
    opens: bool,
}

enum State {
    /// No final head has been sent.
    Head(SendResponse<Bytes>),
    /// The content is under way.
    Body {
        stream: SendStream<Bytes>,
        /// What is left of an announced length.
        left: Option<u64>,
    },
    /// The last byte has been queued, or the stream was reset.
    Over,
}

impl Stream {
    /// A stream whose request head has arrived. `piece` bounds what is queued at a time, and `opens` tells whether the
    /// client wants a WebSocket.
    pub(super) const fn new(
        body: RecvStream,
        respond: SendResponse<Bytes>,
        piece: usize,
        opens: bool,
    ) -> Self {
        Self {
            body: Body(body),
            sender: Sender {
                state: RefCell::new(State::Head(respond)),
                piece,
                opens,
            },
        }
    }
}

impl Body {
    /// Content as it comes; `None` at its end.
    pub(crate) fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, h2::Error>>> {
        self.0.poll_data(context)
    }

    /// Lets the client send as many bytes more.
    pub(crate) fn release(&mut self, bytes: usize) {
        // It can only fail for bytes that were never received, or on a stream that is over.
        let _ = self.0.flow_control().release_capacity(bytes);
    }

    /// The trailers behind the content, those that may be sent on.
    ///
    /// # Errors
    /// The client reset the stream.
    pub(crate) async fn trailers(&mut self) -> Result<Fields, h2::Error> {
        let mut fields = Fields::new();
        let trailers = poll_fn(|context| self.0.poll_trailers(context)).await?;
        for (name, value) in trailers.iter().flatten() {
            // A field that is none is left out, as from a chunked body.
            let _ = fields.push(name, value);
        }
        Ok(fields)
    }
}

impl Sender {
    /// Whether the client wants the stream to become a WebSocket.
    pub(crate) const fn opens(&self) -> bool {
        self.opens
    }

    /// Sends an interim response.
    pub(crate) fn send_interim(&self, status: u16, fields: HeaderMap) -> io::Result<()> {
        match &mut *self.state.borrow_mut() {
            State::Head(respond) => respond
                .send_informational(response(status, fields)?)
                .map_err(gone),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Sends the final head.
    pub(crate) fn send_head(
        &self,
        status: u16,
        fields: HeaderMap,
        body: ResponseBody,
    ) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let State::Head(respond) = &mut *state else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let left = match body {
            ResponseBody::None => Some(0),
            ResponseBody::Length(length) => Some(length),
            ResponseBody::Chunked | ResponseBody::UntilClose => None,
        };
        let ends = left == Some(0);
        let stream = respond
            .send_response(response(status, fields)?, ends)
            .map_err(gone)?;
        *state = if ends {
            State::Over
        } else {
            State::Body { stream, left }
        };
        Ok(())
    }

    /// Queues content as far as the client's windows and the bound on what waits for them let it.
    pub(crate) fn poll_send(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        let State::Body { stream, left } = &mut *state else {
            // A head alone, or HEAD's answer, has no content to be sent.
            let result = if bytes.is_empty() {
                Ok(0)
            } else {
                Err(io::ErrorKind::BrokenPipe.into())
            };
            return Poll::Ready(result);
        };
        let wanted = bytes.len().min(self.piece);
        if stream.capacity() < wanted {
            stream.reserve_capacity(wanted);
        }
        let mut room = stream.capacity();
        if room == 0 {
            room = match ready!(stream.poll_capacity(context)) {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Poll::Ready(Err(gone(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let part = bytes.get(..wanted.min(room)).unwrap_or_default();
        if let Some(left) = left {
            *left = left.saturating_sub(part.len() as u64);
        }
        let ends = *left == Some(0);
        let sent = stream.send_data(Bytes::copy_from_slice(part), ends);
        if ends {
            *state = State::Over;
        }
        Poll::Ready(sent.map_err(gone).map(|()| part.len()))
    }

    /// Ends the answer.
    pub(crate) fn finish(&self, trailers: Option<&Fields>) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let State::Body { stream, .. } = &mut *state else {
            return Ok(());
        };
        let mut fields = HeaderMap::new();
        for (name, value) in trailers.into_iter().flatten() {
            if trailer_allowed(name) {
                add_field(&mut fields, name, value);
            }
        }
        let sent = if fields.is_empty() {
            stream.send_data(Bytes::new(), true)
        } else {
            stream.send_trailers(fields)
        };
        *state = State::Over;
        sent.map_err(gone)
    }

    /// Ends the stream in mid-answer, so that a part does not look like the whole. Nothing after the end of the answer.
    pub(crate) fn reset(&self, reason: Reason) {
        match &mut *self.state.borrow_mut() {
            State::Head(respond) => respond.send_reset(reason),
            State::Body { stream, .. } => stream.send_reset(reason),
            State::Over => {}
        }
    }

    /// Ready when the client has reset the stream, or its connection is gone.
    pub(crate) fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        let gone = match &mut *self.state.borrow_mut() {
            State::Head(respond) => respond.poll_reset(context),
            State::Body { stream, .. } => stream.poll_reset(context),
            State::Over => return Poll::Pending,
        };
        gone.map(|_| ())
    }
}

fn response(status: u16, fields: HeaderMap) -> io::Result<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
    *response.headers_mut() = fields;
    Ok(response)
}

fn gone(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
