//! Damaged messages from a fixed seed: cutting the stream changes nothing, nothing panics, and what is accepted
//! comes out of the serialiser as it went in.

mod common;

use common::{End, Message, read_requests, read_response};
use relais_http1::{
    BodyEncoder, Fields, Limits, Parse, RequestHead, ResponseBody, Version, write_request_line,
};

const REQUESTS: [&str; 6] = [
    "GET /a?b=c HTTP/1.1\r\nHost: h.example:80\r\nX-A: b\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /n HTTP/1.0\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: v\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "\r\nGET http://h:8/ HTTP/1.1\r\nHost: other\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: [::1]\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    "PUT /p HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabcPUT /q HTTP/1.0\r\n\r\n",
];

const RESPONSES: [&str; 4] = [
    "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A : b\r\n  c\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "\nHTTP/1.0 404 Not Found\nX: y\n\nuntil the end",
    "HTTP/1.1 204 No Content\r\nConnection: close, x\r\n\r\n",
];

/// What is put into messages: the bytes that parsers disagree on.
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0",
    b"5",
    b"f",
    b"\x0b",
    b"\x80",
    b"\r\n\r\n",
    b"\r\n ",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: x\r\n",
    b"chunked",
    b"#",
    b"*",
    b"http://",
    b"HTTP/1.1",
];

/// Xorshift; the tests need no more than that it is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// `message` with up to three places damaged.
    fn damage(&mut self, message: &str) -> Vec<u8> {
        let mut bytes = message.as_bytes().to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len());
            let end = at + self.below(8).min(bytes.len() - at);
            let piece = PIECES[self.below(PIECES.len())].to_vec();
            match self.below(4) {
                0 => drop(bytes.splice(at..at, piece)),
                1 => drop(bytes.drain(at..end)),
                2 => drop(bytes.splice(at..end, piece)),
                _ => bytes[at] = self.below(256) as u8,
            }
        }
        bytes
    }
}

#[test]
fn requests() {
    let mut random = Random(0x5eed_0001);
    let mut accepted = 0;
    for round in 0..20_000 {
        let bytes = random.damage(REQUESTS[round % REQUESTS.len()]);
        let whole = read_requests(&bytes, &mut || usize::MAX);
        let single = read_requests(&bytes, &mut || 1);
        let cut = read_requests(&bytes, &mut || 1 + random.below(9));
        assert_eq!(single, whole, "{}", bytes.escape_ascii());
        assert_eq!(cut, whole, "{}", bytes.escape_ascii());
        for message in whole.0.iter().filter(|message| message.complete) {
            accepted += 1;
            round_trip(message);
        }
    }
    assert!(
        accepted > 10_000,
        "the damage leaves too little: {accepted}"
    );
}

#[test]
fn responses() {
    let mut random = Random(0x5eed_0002);
    let mut accepted = 0;
    for round in 0..20_000 {
        let bytes = random.damage(RESPONSES[round % RESPONSES.len()]);
        let whole = read_response(&bytes, &mut || usize::MAX);
        let single = read_response(&bytes, &mut || 1);
        let cut = read_response(&bytes, &mut || 1 + random.below(9));
        assert_eq!(single, whole, "{}", bytes.escape_ascii());
        assert_eq!(cut, whole, "{}", bytes.escape_ascii());
        accepted += usize::from(matches!(whole.1, End::Waiting | End::Closed));
    }
    assert!(accepted > 5_000, "the damage leaves too little: {accepted}");
}

/// Writes a message as relais would and reads it again: it must mean the same.
fn round_trip(message: &Message) {
    let head = parse(&[&message.line, &b"\r\n\r\n"[..]].concat());
    let mut fields = Fields::new();
    for (name, value) in &message.fields {
        let framing = name.eq_ignore_ascii_case(b"content-length")
            || name.eq_ignore_ascii_case(b"transfer-encoding");
        if !framing {
            fields
                .push(name, value)
                .expect("a parsed field can be written");
        }
    }
    let framing = message
        .meta
        .map_or(ResponseBody::None, |meta| meta.body.into());
    let mut encoder = BodyEncoder::new(framing);
    let mut out = Vec::new();
    write_request_line(&mut out, head.method(), head.target(), head.version())
        .expect("a parsed line can be written");
    fields.write_to(&mut out);
    encoder.write_framing_field(&mut out);
    out.extend_from_slice(b"\r\n");
    encoder
        .data(&message.content, &mut out)
        .expect("the content fits");
    encoder.end(None, &mut out).expect("the content is whole");
    let (again, _) = read_requests(&out, &mut || usize::MAX);
    let [again] = again.as_slice() else {
        panic!("one message became {again:?}")
    };
    assert_eq!(
        (again.meta, &again.content, again.complete),
        (message.meta, &message.content, true)
    );
    let expected: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    assert_eq!(again.fields[..expected.len()], expected);
}

fn parse(bytes: &[u8]) -> RequestHead {
    let mut head = RequestHead::new();
    let outcome = head.parse_into(bytes, &Limits::default());
    assert!(
        matches!(outcome, Ok(Parse::Complete { .. })),
        "{}",
        bytes.escape_ascii()
    );
    assert!(head.version() >= Version::Http10);
    head
}
