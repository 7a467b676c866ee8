//! Reading a connection's bytes as a server or a client would, in pieces of any size.

use relais_http1::{
    BodyDecoder, BodyError, Limits, Parse, RequestError, RequestHead, RequestMeta, ResponseBody,
    ResponseError, ResponseHead, ResponseLimits, Step, TargetForm,
};

/// One message taken from a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The start line.
    pub line: Vec<u8>,
    /// Names and values of the fields.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// What the head of a request means.
    pub meta: Option<RequestMeta>,
    /// The content, as far as it came.
    pub content: Vec<u8>,
    /// Whether its end came.
    pub complete: bool,
}

/// Where the reading of a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All bytes were read; the next ones would start a message or go on with one.
    Waiting,
    /// The connection is not to be read from any more.
    Closed,
    /// A request head was refused.
    Request(RequestError),
    /// A response head was refused.
    Response(ResponseError),
    /// A body was refused.
    Body(BodyError),
}

/// Bytes of a connection that arrive piece by piece.
struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    cuts: &'a mut dyn FnMut() -> usize,
}

impl<'a> Stream<'a> {
    fn window(&self) -> &'a [u8] {
        &self.bytes[self.at..self.end]
    }

    /// Lets more bytes arrive; false if there are no more.
    fn more(&mut self) -> bool {
        let before = self.end;
        self.end = self.end.saturating_add((self.cuts)()).min(self.bytes.len());
        self.end > before
    }

    /// Reads a head with `parse`; `Ok(false)` if the bytes end before it does.
    fn head<E>(&mut self, mut parse: impl FnMut(&[u8]) -> Result<Parse, E>) -> Result<bool, E> {
        loop {
            match parse(self.window())? {
                Parse::Complete { consumed } => {
                    self.at += consumed;
                    return Ok(true);
                }
                Parse::Partial if self.more() => {}
                Parse::Partial => return Ok(false),
            }
        }
    }

    /// Reads a body into `message`.
    fn body(&mut self, framing: ResponseBody, message: &mut Message) -> Result<(), BodyError> {
        let mut decoder = BodyDecoder::new(framing);
        loop {
            match decoder.step(self.window())? {
                Step::Data { bytes, consumed } => {
                    message.content.extend_from_slice(bytes);
                    self.at += consumed;
                }
                Step::End { consumed } => {
                    self.at += consumed;
                    message.complete = true;
                    return Ok(());
                }
                Step::NeedMore { consumed } => {
                    self.at += consumed;
                    if !self.more() {
                        message.complete = decoder.finish_eof().is_ok();
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Reads `bytes` as requests until something ends the connection. `cuts` says how many bytes arrive at a time.
pub(crate) fn read_requests(bytes: &[u8], cuts: &mut dyn FnMut() -> usize) -> (Vec<Message>, End) {
    let mut stream = Stream {
        bytes,
        at: 0,
        end: 0,
        cuts,
    };
    let mut messages = Vec::new();
    let mut head = RequestHead::new();
    loop {
        match stream.head(|window| head.parse_into(window, &Limits::default())) {
            Ok(true) => {}
            Ok(false) => return (messages, End::Waiting),
            Err(error) => return (messages, End::Request(error)),
        }
        let meta = match head.check() {
            Ok(meta) => meta,
            Err(error) => return (messages, End::Request(error)),
        };
        if meta.form == TargetForm::Authority {
            // relais opens no CONNECT tunnels and closes.
            return (messages, End::Closed);
        }
        let mut message = Message {
            line: head.line().to_vec(),
            fields: owned(&head.fields),
            meta: Some(meta),
            content: Vec::new(),
            complete: false,
        };
        let outcome = stream.body(meta.body.into(), &mut message);
        let complete = message.complete;
        messages.push(message);
        match outcome {
            Err(error) => return (messages, End::Body(error)),
            Ok(()) if !complete => return (messages, End::Waiting),
            Ok(()) if !meta.keep_alive => return (messages, End::Closed),
            Ok(()) => {}
        }
    }
}

/// Reads `bytes` as the responses to a GET, up to the final one.
pub(crate) fn read_response(bytes: &[u8], cuts: &mut dyn FnMut() -> usize) -> (Vec<Message>, End) {
    let mut stream = Stream {
        bytes,
        at: 0,
        end: 0,
        cuts,
    };
    let mut messages = Vec::new();
    let mut head = ResponseHead::new();
    loop {
        match stream.head(|window| head.parse_into(window, &ResponseLimits::default())) {
            Ok(true) => {}
            Ok(false) => return (messages, End::Waiting),
            Err(error) => return (messages, End::Response(error)),
        }
        let framing = match head.framing(b"GET") {
            Ok(framing) => framing,
            Err(error) => return (messages, End::Response(error)),
        };
        let line = [head.version().as_str(), &head.status().to_string()]
            .join(" ")
            .into_bytes();
        let line = [&line, &b" "[..], head.reason()].concat();
        let mut message = Message {
            line,
            fields: owned(&head.fields),
            meta: None,
            content: Vec::new(),
            complete: false,
        };
        let outcome = stream.body(framing.body, &mut message);
        messages.push(message);
        match outcome {
            Err(error) => return (messages, End::Body(error)),
            Ok(()) if head.status() < 200 && head.status() != 101 => {}
            Ok(()) => {
                return (
                    messages,
                    if framing.reusable {
                        End::Waiting
                    } else {
                        End::Closed
                    },
                );
            }
        }
    }
}

fn owned(fields: &relais_http1::Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}
