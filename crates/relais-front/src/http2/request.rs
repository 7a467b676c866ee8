//! A request of HTTP/2 in the form that the phases know.

use h2::ext::Protocol;
use http::request::Parts;
use relais_http1::{BodyLength, Fields, Limits, RequestError, RequestHead, RequestMeta, Version};
use relais_policy::Respond;
use relais_websocket::Key;

/// Bytes that a field counts for besides its name and value (RFC 9113 §6.5.2).
const OVERHEAD: usize = 32;

/// Why a request is not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is answered.
    Answer(Respond),
    /// It is malformed (RFC 9113 §8.1.1): its stream is reset.
    Malformed,
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::Answer(Respond::logged(error.status(), error.reason()))
    }
}

/// Puts a request into `head`; `ended` tells whether no body follows, and `nonce` is random. The answer is what its fields mean, and their size.
///
/// What the `h2` crate has checked: names in lower case, no field of a connection, `te` with nothing but `trailers`, the
/// pseudo-header fields (RFC 9113 §8.2, §8.3).
///
/// # Errors
/// It is malformed, exceeds a limit, or asks for what relais does not do.
pub(super) fn read(
    parts: &Parts,
    ended: bool,
    limits: &Limits,
    nonce: [u8; 16],
    head: &mut RequestHead,
) -> Result<(RequestMeta, u64), Refusal> {
    let protocol = parts.extensions.get::<Protocol>();
    start_line(parts, protocol, limits, head)?;
    let mut size = head.line().len();
    let mut cookies = Vec::new();
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    if let Some(authority) = authority {
        push(&mut head.fields, b"Host", authority.as_bytes())?;
    }
    for (count, (name, value)) in parts.headers.iter().enumerate() {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        check_size(count, name, value, limits)?;
        size += name.len() + value.len() + OVERHEAD;
        match name {
            b"cookie" => join(&mut cookies, value),
            b"host" => same_host(authority, value, &mut head.fields)?,
            _ if value.trim_ascii().len() != value.len() => return Err(Refusal::Malformed),
            _ => push(&mut head.fields, &title_case(name), value)?,
        }
    }
    if !cookies.is_empty() {
        push(&mut head.fields, b"Cookie", &cookies)?;
    }
    if protocol.is_some() {
        upgrade(&mut head.fields, nonce)?;
    }
    let mut meta = head.check()?;
    meta.body = match meta.body {
        _ if protocol.is_some() => BodyLength::None,
        BodyLength::Length(1..) if ended => return Err(Refusal::Malformed),
        BodyLength::None if !ended => BodyLength::Chunked,
        length => length,
    };
    Ok((meta, size as u64))
}

/// `:method`, `:path` and `:protocol`. An opened WebSocket is a GET to all that follows (RFC 8441 §5).
fn start_line(
    parts: &Parts,
    protocol: Option<&Protocol>,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<(), Refusal> {
    let method = parts.method.as_str().as_bytes();
    let target = match parts.uri.path_and_query() {
        Some(path) => path.as_str(),
        // CONNECT has no path.
        None => parts
            .uri
            .authority()
            .map_or("", |authority| authority.as_str()),
    };
    let plain = target.starts_with('/') || target == "*" || parts.uri.path_and_query().is_none();
    head.set_line(method, target.as_bytes(), Version::Http2)?;
    if !plain {
        return Err(RequestError::TargetForm.into());
    }
    if target.len() > limits.line {
        return Err(RequestError::LineTooLong.into());
    }
    match protocol.map(|protocol| protocol.as_str()) {
        None => Ok(()),
        Some("websocket") => Ok(head.set_line(b"GET", target.as_bytes(), Version::Http2)?),
        Some(_) => {
            let why = "CONNECT for a protocol other than websocket";
            Err(Refusal::Answer(Respond::logged(501, why)))
        }
    }
}

fn check_size(count: usize, name: &[u8], value: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let why = if limits.fields != 0 && count >= limits.fields {
        "number of fields exceeds LimitRequestFields"
    } else if name.len() + value.len() + 2 > limits.field {
        "a field exceeds LimitRequestFieldSize"
    } else {
        return Ok(());
    };
    Err(Refusal::Answer(Respond::logged(431, why)))
}

/// RFC 9113 §8.2.3: a cookie may come in pieces, for the sake of compression.
fn join(cookies: &mut Vec<u8>, value: &[u8]) {
    if !cookies.is_empty() {
        cookies.extend_from_slice(b"; ");
    }
    cookies.extend_from_slice(value);
}

/// RFC 9113 §8.3.1: a Host beside `:authority` has to say the same.
fn same_host(authority: Option<&str>, value: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
    match authority {
        None => push(fields, b"Host", value),
        Some(authority) if authority.as_bytes().eq_ignore_ascii_case(value) => Ok(()),
        Some(_) => Err(Refusal::Answer(Respond::logged(
            400,
            "Host differs from :authority",
        ))),
    }
}

/// What an HTTP/1.1 request to open a WebSocket has besides. The key is for the origin to prove that it has seen it.
fn upgrade(fields: &mut Fields, nonce: [u8; 16]) -> Result<(), Refusal> {
    fields.remove("Sec-WebSocket-Key");
    push(fields, b"Upgrade", b"websocket")?;
    push(fields, b"Connection", b"Upgrade")?;
    push(
        fields,
        b"Sec-WebSocket-Key",
        Key::from_nonce(nonce).as_bytes(),
    )?;
    if !fields.contains("Sec-WebSocket-Version") {
        push(fields, b"Sec-WebSocket-Version", b"13")?;
    }
    Ok(())
}

fn push(fields: &mut Fields, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
    fields.push(name, value).map_err(|_| Refusal::Malformed)
}

/// A name in the spelling of HTTP/1, as mod_http2 sends it on.
fn title_case(name: &[u8]) -> Vec<u8> {
    let mut begins = true;
    let letter = |&byte: &u8| {
        let letter = if begins {
            byte.to_ascii_uppercase()
        } else {
            byte
        };
        begins = byte == b'-';
        letter
    };
    name.iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut builder = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a request").into_parts().0
    }

    /// The lines that an origin of HTTP/1 would be shown, and the body's length; or the status, 0 for a reset.
    fn shown(parts: &Parts, ended: bool) -> Result<(String, BodyLength), u16> {
        let mut head = RequestHead::new();
        match read(parts, ended, &Limits::default(), [7; 16], &mut head) {
            Ok((meta, _)) => {
                let mut text = head.line().to_vec();
                for (name, value) in &head.fields {
                    text.extend_from_slice(&[b" | ", name, b": ", value].concat());
                }
                Ok((String::from_utf8(text).expect("text"), meta.body))
            }
            Err(Refusal::Answer(respond)) => Err(respond.status),
            Err(Refusal::Malformed) => Err(0),
        }
    }

    #[test]
    fn requests_have_the_form_of_http_1() {
        let get = parts(
            "GET",
            "http://a.example:8080/x?y",
            &[
                ("x-a-bc", "1"),
                ("cookie", "a=1"),
                ("host", "A.example:8080"),
                ("cookie", "b=2"),
            ],
        );
        let expected = "GET /x?y HTTP/2.0 | Host: a.example:8080 | X-A-Bc: 1 | Cookie: a=1; b=2";
        assert_eq!(
            shown(&get, true),
            Ok((expected.to_owned(), BodyLength::None))
        );
        assert_eq!(
            shown(&get, false),
            Ok((expected.to_owned(), BodyLength::Chunked))
        );
        let post = parts("POST", "http://a/", &[("content-length", "5")]);
        let expected = "POST / HTTP/2.0 | Host: a | Content-Length: 5";
        assert_eq!(
            shown(&post, false),
            Ok((expected.to_owned(), BodyLength::Length(5)))
        );
        assert_eq!(shown(&post, true), Err(0), "less than was promised");
    }

    #[test]
    fn an_extended_connect_is_an_upgrade() {
        let mut connect = parts(
            "CONNECT",
            "https://a/ws",
            &[("sec-websocket-key", "theirs")],
        );
        connect
            .extensions
            .insert(Protocol::from_static("websocket"));
        let expected = "GET /ws HTTP/2.0 | Host: a | Upgrade: websocket | Connection: Upgrade | \
                        Sec-WebSocket-Key: BwcHBwcHBwcHBwcHBwcHBw== | Sec-WebSocket-Version: 13";
        assert_eq!(
            shown(&connect, false),
            Ok((expected.to_owned(), BodyLength::None))
        );
        connect.extensions.insert(Protocol::from_static("other"));
        assert_eq!(shown(&connect, false), Err(501));
    }

    #[test]
    fn what_is_ambiguous_or_too_large_is_refused() {
        let long = "x".repeat(9000);
        let rows = [
            (parts("GET", "http://a/", &[("host", "b")]), 400),
            (parts("GET", "/", &[]), 400),
            (parts("GET", "http://a/", &[("x-a", " b")]), 0),
            (parts("GET", "http://a/", &[("x-a", &long)]), 431),
            (parts("GET", &format!("http://a/{long}"), &[]), 414),
            (parts("GET", "http://a/", &vec![("x-a", "b"); 101]), 431),
        ];
        for (parts, status) in rows {
            assert_eq!(shown(&parts, true), Err(status), "{:?}", parts.uri);
        }
    }
}
