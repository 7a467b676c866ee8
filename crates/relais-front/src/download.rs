//! The response on its way from the origin to the client.

use std::fmt;
use std::io;

use relais_filter::FilterError;
use relais_http1::{
    BodyDecoder, BodyEncoder, Fields, Parse, ResponseBody, ResponseError, ResponseHead,
    ResponseLimits, Step, Version, strip_hop_by_hop,
};
use relais_policy::{Content, Forward, Outgoing, Respond, Unfit};
use relais_stream::ReadHalf;
use relais_telemetry::httpdate;

use crate::client::{HeadOut, Outlet};
use crate::content::{Pace, Refiner};
use crate::forward::{Shared, interim_allowed, is_timeout, proxy_error};
use crate::input::Input;
use crate::time::{within, write_all_within};
use crate::turn::{Sent, Turn, Verdict};
use crate::upload::COPY_MAX;

/// Interim responses that are taken before the final one; more can only be
/// meant to keep the client waiting.
const INTERIM_MAX: u32 = 100;

/// Bytes of one read while the answer to an upgrade comes. A 101 fits, and
/// next to nothing of what the origin sends behind it is read before there is
/// a tunnel that bounds it.
const UPGRADE_READ: u64 = 1024;

/// How a response ended.
pub(crate) enum Finished {
    /// The origin has switched protocols.
    Switching(ResponseHead),
    /// The configuration puts an answer of relais' own in its place
    /// (`ProxyErrorOverride`).
    Overridden(Respond),
    /// The response has been sent whole.
    Response {
        /// Whether the origin's connection may carry another request.
        reusable: bool,
        /// Whether the client was told that its connection goes on.
        keep_alive: bool,
    },
}

/// Why there is no whole response.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The origin's connection was closed before it took a byte of the request.
    Unsent(io::Error),
    /// The origin did not say within `ping=` that it is there.
    NoPing,
    /// The origin's connection broke before a byte of an answer.
    Silent(io::Error),
    /// It ended in the middle of a head.
    CutHead,
    /// Nothing came in time.
    TimedOut,
    /// What came is no HTTP/1 response that may be passed on.
    Malformed(ResponseError),
    /// The configuration made a field of it that may not be sent.
    Edited,
    /// Too many interim responses.
    Interim,
    /// The body broke off; the client has a part of it.
    CutBody(String),
    /// A stream was to become a WebSocket, and to its client any success would mean that it has.
    NotOpened(u16),
    /// The client does not take the response.
    Client,
}

impl Trouble {
    /// What the client is answered if nothing has been sent yet, as httpd words
    /// it; `None` where nobody listens.
    pub(crate) fn answer(&self) -> Option<Respond> {
        match self {
            Self::Client => None,
            // httpd says 502 here; 504 tells the operator which it was.
            Self::TimedOut => Some(Respond::status(504)),
            Self::Edited => Some(Respond::status(500)),
            Self::NoPing => Some(Respond::status(503)),
            Self::Silent(_) | Self::Unsent(_) => {
                Some(proxy_error(502, "Error reading from remote server"))
            }
            _ => Some(Respond::status(502)),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPing => f.write_str("AH01102: the origin did not answer the ping in time"),
            Self::Unsent(error) | Self::Silent(error) => write!(
                f,
                "AH01102: error reading status line from remote server: {error}"
            ),
            Self::CutHead => {
                f.write_str("AH01102: the origin closed in the middle of a response head")
            }
            Self::TimedOut => f.write_str("AH01102: the origin did not answer in time"),
            Self::Malformed(error) => write!(f, "AH01106: malformed response: {error}"),
            Self::Edited => f.write_str(
                "AH02430: a response header from the configuration contains invalid characters",
            ),
            Self::Interim => f.write_str("the origin sends interim responses without end"),
            Self::CutBody(why) => write!(f, "AH01110: error reading response: {why}"),
            Self::NotOpened(status) => {
                write!(f, "the origin opened no WebSocket, but answered {status}")
            }
            Self::Client => f.write_str("the client closed the connection"),
        }
    }
}

/// One response.
pub(crate) struct Download<'t, 'e> {
    pub(crate) turn: &'t Turn<'e>,
    pub(crate) shared: &'t Shared,
    pub(crate) forward: &'t Forward,
    pub(crate) sent: &'t mut Sent,
    /// At which speed content goes out, once that is known.
    pub(crate) pace: Option<Pace>,
}

impl Download<'_, '_> {
    /// Reads heads up to the final one, then relays the body.
    pub(crate) async fn run(
        mut self,
        from: &mut ReadHalf<'_>,
        input: &mut Input,
        to: &mut Outlet<'_>,
    ) -> Result<Finished, Trouble> {
        let mut head = self.turn.worker.responses.lend();
        for number in 0..INTERIM_MAX {
            match self.read_head(from, input, &mut head).await {
                // Something has been answered: the origin has the request.
                Err(Trouble::Silent(_)) if number > 0 => return Err(Trouble::CutHead),
                result => result?,
            }
            match head.status() {
                101 => return Ok(Finished::Switching(std::mem::take(&mut *head))),
                status @ 100..=199 => {
                    if self.shared.held.replace(false) {
                        self.shared.go.notify_one();
                    }
                    if interim_allowed(self.turn, self.forward.treatment.interim, status) {
                        self.relay_interim(&mut head, to).await?;
                    }
                    head.clear();
                }
                _ => return self.relay_final(&mut head, from, input, to).await,
            }
        }
        Err(Trouble::Interim)
    }

    async fn read_head(
        &self,
        from: &mut ReadHalf<'_>,
        input: &mut Input,
        head: &mut ResponseHead,
    ) -> Result<(), Trouble> {
        let limits = ResponseLimits {
            field: self.forward.worker.field_max,
            skip_bad: self.forward.treatment.skip_bad_fields,
            ..ResponseLimits::default()
        };
        loop {
            if !input.is_empty()
                && let Parse::Complete { consumed } = head
                    .parse_into(input.bytes(), &limits)
                    .map_err(Trouble::Malformed)?
            {
                input.consume(consumed);
                return Ok(());
            }
            match self.read(from, input).await {
                Ok(0) if input.is_empty() => {
                    return Err(Trouble::Silent(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(0) => return Err(Trouble::CutHead),
                Ok(_) => {}
                Err(error) if is_timeout(&error) && self.shared.held.get() => {
                    return Err(Trouble::NoPing);
                }
                Err(error) if is_timeout(&error) => return Err(Trouble::TimedOut),
                Err(error) if input.is_empty() => return Err(Trouble::Silent(error)),
                Err(_) => return Err(Trouble::CutHead),
            }
        }
    }

    /// Reads once from the origin. Its time runs while the request is whole in
    /// its hands; a client that still sends has limits of its own.
    async fn read(&self, from: &mut ReadHalf<'_>, input: &mut Input) -> io::Result<usize> {
        let worker = &self.forward.worker;
        let limit = worker.timeout;
        if let (true, Some(ping)) = (self.shared.held.get(), worker.ping) {
            return within(ping, input.fill(from, &self.turn.worker.buffers)).await;
        }
        let buffers = &self.turn.worker.buffers;
        loop {
            let result = if self.forward.upgrade.is_some() {
                within(limit, input.fill_some(from, buffers, UPGRADE_READ)).await
            } else {
                within(limit, input.fill(from, buffers)).await
            };
            match result {
                Err(error) if is_timeout(&error) && self.shared.is_uploading(limit) => {}
                result => return result,
            }
        }
    }

    async fn relay_interim(
        &mut self,
        head: &mut ResponseHead,
        to: &mut Outlet<'_>,
    ) -> Result<(), Trouble> {
        strip_hop_by_hop(&mut head.fields);
        // An interim response has no content (RFC 9110 §15.2).
        head.fields.remove("Content-Length");
        let mut text = Vec::with_capacity(128);
        let mut out = to.head(&mut text);
        status_line(head, &mut out)?;
        for (name, value) in &head.fields {
            out.field(name, value);
        }
        self.sent.bytes += out.size();
        to.interim(head.status(), out)
            .map_err(|_| Trouble::Client)?;
        self.write(&text, to).await
    }

    async fn relay_final(
        mut self,
        head: &mut ResponseHead,
        from: &mut ReadHalf<'_>,
        input: &mut Input,
        to: &mut Outlet<'_>,
    ) -> Result<Finished, Trouble> {
        if self.forward.treatment.overrides.contains(head.status()) {
            self.turn.verdict.set(Verdict::Status(head.status()));
            return Ok(Finished::Overridden(overridden(head)));
        }
        if to.opens() && (200..300).contains(&head.status()) {
            self.turn.verdict.set(Verdict::Status(head.status()));
            return Err(Trouble::NotOpened(head.status()));
        }
        let method = self.turn.exchange.head.method();
        let framing = head.framing(method).map_err(Trouble::Malformed)?;
        let body = self.client_framing(framing.body);
        let keep_alive = self.turn.may_keep_alive(head.status()) && self.shared.upload_done.get();
        put_in_httpd_order(&mut head.fields);
        for phase in self.turn.exchange.site.phases.response {
            phase(&self.turn.exchange, head);
        }
        let mut out = self.turn.worker.texts.lend();
        let mut head_out = to.head(&mut out);
        let (body, keep_alive) = self.compose(head, body, keep_alive, &mut head_out)?;
        self.sent.bytes += head_out.size();
        to.begin(head.status(), head_out, body)
            .map_err(|_| Trouble::Client)?;
        self.sent.status = head.status();
        self.turn.verdict.set(Verdict::Status(head.status()));
        std::mem::swap(&mut self.sent.fields, &mut head.fields);
        if self.turn.spec().first_byte {
            self.sent.first_byte = Some(self.turn.begun.elapsed());
        }
        self.shared.started.set(true);
        self.shared
            .until_close
            .set(body == ResponseBody::UntilClose);
        self.relay_body(framing.body, body, &mut out, from, input, to)
            .await?;
        Ok(Finished::Response {
            reusable: framing.reusable,
            keep_alive,
        })
    }

    /// The framing towards the client: a length stays a length; anything else
    /// is chunked, or ends with the connection for HTTP/1.0 and the stream for
    /// HTTP/2.
    fn client_framing(&self, origin: ResponseBody) -> ResponseBody {
        match origin {
            ResponseBody::None | ResponseBody::Length(_) => origin,
            _ if self.turn.exchange.head.version() == Version::Http11 => ResponseBody::Chunked,
            _ => ResponseBody::UntilClose,
        }
    }

    /// Writes the final head: `Date` and `Server` first, the origin's if it
    /// sent them, then its fields in order, then what frames the message.
    fn compose(
        &mut self,
        head: &mut ResponseHead,
        body: ResponseBody,
        keep: bool,
        out: &mut HeadOut<'_>,
    ) -> Result<(ResponseBody, bool), Trouble> {
        let upgrade = (head.status() == 426)
            .then(|| head.fields.get("Upgrade").map(<[u8]>::to_vec))
            .flatten();
        let transfer_coded = head.fields.contains("Transfer-Encoding");
        strip_hop_by_hop(&mut head.fields);
        head.fields.remove("Proxy-Authenticate");
        let mut always = Fields::new();
        let mut outgoing = Outgoing {
            status: head.status(),
            own_error: false,
            elapsed: self.turn.begun.elapsed(),
            always: &mut always,
            fields: &mut head.fields,
            notes: &mut self.sent.notes,
            content: content(body),
            filters: &mut self.sent.filters,
        };
        let exchange = &self.turn.exchange;
        exchange
            .finish_head(&mut outgoing)
            .map_err(|Unfit| Trouble::Edited)?;
        let body = match self.sent.filters.chain.is_empty() {
            true => body,
            // How long it will be is not known.
            false => self.client_framing(ResponseBody::Chunked),
        };
        let keep = keep && body != ResponseBody::UntilClose;
        status_line(head, out)?;
        let now;
        let date = match always.get("Date").or_else(|| head.fields.get("Date")) {
            Some(date) => date,
            None => {
                now = httpdate::date_header(self.turn.exchange.now);
                &now
            }
        };
        out.field(b"Date", date);
        let server = always
            .get("Server")
            .or_else(|| head.fields.get("Server"))
            .unwrap_or_else(|| self.turn.spec().server_tokens.as_bytes());
        out.field(b"Server", server);
        for (name, value) in always.iter().filter(|(name, _)| !is_managed(name)) {
            out.field(name, value);
        }
        // A type set for every answer goes over the origin's.
        if always.contains("Content-Type") {
            head.fields.remove("Content-Type");
        }
        self.write_fields(head, body, transfer_coded, out);
        for (name, value) in &always {
            // Only for the log, which does without a field that does not fit.
            let _ = head.fields.push(name, value);
        }
        match upgrade {
            // RFC 9110 §15.5.22: a 426 has to name the protocol.
            Some(protocol) => self.turn.write_upgrade(&protocol, keep, out),
            None => self.turn.write_connection(keep, out),
        }
        if body == ResponseBody::Chunked {
            out.field(b"Transfer-Encoding", b"chunked");
        }
        Ok((body, keep))
    }

    /// Writes the origin's fields but those that are written otherwise.
    fn write_fields(
        &self,
        head: &ResponseHead,
        body: ResponseBody,
        transfer_coded: bool,
        out: &mut HeadOut<'_>,
    ) {
        let mut length_seen = transfer_coded;
        for (name, value) in &head.fields {
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            if is(b"Content-Length") {
                let length = self.client_length(head.status(), body, value);
                if let Some(length) = length.filter(|_| !length_seen) {
                    out.field(name, length.to_string().as_bytes());
                }
                length_seen = true;
            } else if !is(b"Date") && !is(b"Server") && !is(b"Transfer-Encoding") {
                out.field(name, value);
            }
        }
        // The length stays, whatever the configuration does to its field.
        if let (ResponseBody::Length(length), false) = (body, length_seen) {
            out.field(b"Content-Length", length.to_string().as_bytes());
        }
    }

    /// The Content-Length that the client gets: the body's, or to HEAD what the
    /// origin says, unless that is 0, which httpd takes for a guess.
    fn client_length(&self, status: u16, body: ResponseBody, value: &[u8]) -> Option<u64> {
        match body {
            ResponseBody::Length(length) => Some(length),
            ResponseBody::None if matches!(status, 204 | 304) => None,
            ResponseBody::None if self.turn.exchange.head.method() == b"HEAD" => {
                let digits = value.iter().all(u8::is_ascii_digit);
                let number = std::str::from_utf8(value).ok().filter(|_| digits);
                number
                    .and_then(|text| text.parse().ok())
                    .filter(|&length| length > 0)
            }
            _ => None,
        }
    }

    async fn relay_body(
        &mut self,
        origin: ResponseBody,
        client: ResponseBody,
        out: &mut Vec<u8>,
        from: &mut ReadHalf<'_>,
        input: &mut Input,
        to: &mut Outlet<'_>,
    ) -> Result<(), Trouble> {
        let mut decoder = BodyDecoder::new(origin);
        let mut encoder = BodyEncoder::new(client);
        let mut refiner = Refiner::of(&self.sent.filters);
        self.pace = self
            .sent
            .filters
            .rate
            .map(|rate| Pace::new(rate, out.len()));
        loop {
            let step = decoder
                .step(input.bytes())
                .map_err(|error| Trouble::CutBody(error.reason().to_owned()))?;
            match step {
                Step::Data { bytes, consumed } => {
                    let bytes = match &mut refiner {
                        Some(refiner) => refiner.push(bytes).map_err(unfiltered)?,
                        None => bytes,
                    };
                    self.send(&mut encoder, bytes, out, to).await?;
                    input.consume(consumed);
                }
                Step::NeedMore { consumed } => {
                    input.consume(consumed);
                    if let Some(refiner) = &mut refiner {
                        let bytes = refiner.pause().map_err(unfiltered)?;
                        self.send(&mut encoder, bytes, out, to).await?;
                    }
                    self.flush(out, to).await?;
                    if !self.fill(&decoder, from, input).await? {
                        break;
                    }
                }
                Step::End { consumed } => {
                    input.consume(consumed);
                    break;
                }
            }
        }
        if let Some(refiner) = &mut refiner {
            let bytes = refiner.end().map_err(unfiltered)?;
            self.send(&mut encoder, bytes, out, to).await?;
            refiner.note(&self.sent.filters, &mut self.sent.notes);
        }
        let cut = |_| Trouble::CutBody("less content than announced".to_owned());
        encoder.end(Some(&decoder.trailers), out).map_err(cut)?;
        self.flush(out, to).await?;
        to.finish(Some(&decoder.trailers))
            .map_err(|_| Trouble::Client)
    }

    /// Reads more of the body; false when the origin's end of the connection
    /// is the body's proper end.
    async fn fill(
        &self,
        decoder: &BodyDecoder,
        from: &mut ReadHalf<'_>,
        input: &mut Input,
    ) -> Result<bool, Trouble> {
        match self.read(from, input).await {
            Ok(0) => match decoder.finish_eof() {
                Ok(()) => Ok(false),
                Err(error) => Err(Trouble::CutBody(error.reason().to_owned())),
            },
            Ok(_) => Ok(true),
            Err(error) => Err(Trouble::CutBody(error.to_string())),
        }
    }

    async fn send(
        &mut self,
        encoder: &mut BodyEncoder,
        bytes: &[u8],
        out: &mut Vec<u8>,
        to: &mut Outlet<'_>,
    ) -> Result<(), Trouble> {
        if bytes.is_empty() {
            return Ok(());
        }
        let length = bytes.len() as u64;
        let too_much = |_| Trouble::CutBody("more content than announced".to_owned());
        encoder.begin(length, out).map_err(too_much)?;
        self.sent.body += length;
        if bytes.len() < COPY_MAX {
            out.extend_from_slice(bytes);
        } else {
            self.flush(out, to).await?;
            self.write(bytes, to).await?;
        }
        encoder.end_run(length, out);
        if out.len() >= COPY_MAX {
            self.flush(out, to).await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self, out: &mut Vec<u8>, to: &mut Outlet<'_>) -> Result<(), Trouble> {
        if out.is_empty() {
            return Ok(());
        }
        let result = self.write(out, to).await;
        out.clear();
        result
    }

    async fn write(&mut self, bytes: &[u8], to: &mut Outlet<'_>) -> Result<(), Trouble> {
        self.sent.bytes += bytes.len() as u64;
        let limit = self.turn.client_timeout();
        let written = match &mut self.pace {
            Some(pace) => pace.write_all(limit, to, bytes).await,
            None => write_all_within(limit, to, bytes).await,
        };
        written.map_err(|_| Trouble::Client)
    }
}

/// What filters may count on.
fn content(body: ResponseBody) -> Content {
    match body {
        ResponseBody::None => Content::None,
        ResponseBody::Length(length) => Content::Length(length),
        ResponseBody::Chunked | ResponseBody::UntilClose => Content::Unknown,
    }
}

fn unfiltered(error: FilterError) -> Trouble {
    Trouble::CutBody(error.to_string())
}

/// Fields that relais writes by itself, whatever the lists say.
pub(crate) fn is_managed(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"Date", b"Server", b"Content-Length", b"Transfer-Encoding"];
    NAMES
        .iter()
        .any(|managed| name.eq_ignore_ascii_case(managed))
}

/// The answer in place of an origin's error; how to authenticate stays.
fn overridden(head: &ResponseHead) -> Respond {
    let challenges = head.fields.get_all("WWW-Authenticate");
    Respond {
        fields: challenges
            .map(|value| ("WWW-Authenticate", value.to_vec()))
            .collect(),
        ..Respond::status(head.status())
    }
}

/// Puts an origin's `Set-Cookie` and `Warning` behind its other fields, where
/// httpd has them before any module looks at them.
pub(crate) fn put_in_httpd_order(fields: &mut Fields) {
    let is_last = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"Set-Cookie") || name.eq_ignore_ascii_case(b"Warning")
    };
    let last: Vec<(Vec<u8>, Vec<u8>)> = fields
        .iter()
        .filter(|(name, _)| is_last(name))
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    if last.is_empty() {
        return;
    }
    fields.retain(|name, _| !is_last(name));
    for (name, value) in &last {
        // They were fields a moment ago, and are no more of them now.
        let _ = fields.push(name, value);
    }
}

/// Writes the origin's status and reason phrase.
pub(crate) fn status_line(head: &ResponseHead, out: &mut HeadOut<'_>) -> Result<(), Trouble> {
    out.status_line(head.status(), head.reason())
        .map_err(|_| Trouble::Malformed(ResponseError::Reason))
}
