//! From facts to the text of one field.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::parse::{Kind, Side, TimeForm, TunnelField, Unit, What};
use super::record::{ConnectionState, LineEnd, Record, TunnelFacts, TunnelKinds};
use crate::escape;
use crate::strftime;
use crate::zone::{self, Zone};

/// Whether the field is known only when a tunnel has ended.
pub(super) fn is_late(what: &What) -> bool {
    matches!(
        what,
        What::Duration(_)
            | What::BytesIn
            | What::BytesOut
            | What::BytesBoth
            | What::Time { end: true, .. }
            | What::Tunnel(_)
    )
}

/// Appends a field that is known only at the end.
pub(super) fn late(what: &What, end: &LineEnd<'_>, zone: &Zone, out: &mut Vec<u8>) {
    match what {
        What::Duration(unit) => number(in_unit(end.duration, *unit), out),
        What::BytesIn => number(end.bytes_in, out),
        What::BytesOut => number(end.bytes_out, out),
        What::BytesBoth => number(end.bytes_in.saturating_add(end.bytes_out), out),
        What::Time { form, .. } => time(form, end.end_time, zone, out),
        What::Tunnel(field) => match &end.tunnel {
            Some(facts) => tunnel(*field, facts, out),
            None => out.push(b'-'),
        },
        _ => out.push(b'-'),
    }
}

/// Appends a field that is known when the head of the response is.
pub(super) fn early(what: &What, record: &dyn Record, zone: &Zone, out: &mut Vec<u8>) {
    match what {
        What::Host(Side::Client) => match record.client_host() {
            Some(host) => escape::access(host, out),
            None => addr(record.client_addr(), out),
        },
        What::Host(Side::Peer) | What::Addr(Side::Peer) => addr(record.peer_addr(), out),
        What::Addr(Side::Client) => addr(record.client_addr(), out),
        What::LocalAddr => addr(record.local_addr().ip(), out),
        What::User => user(record.user(), out),
        What::RequestLine => optional(record.request_line(), out),
        What::File => optional(record.filename().as_deref(), out),
        What::Path => optional(record.path(), out),
        What::Query => query(record.query(), out),
        What::Method => escape::access(record.method(), out),
        What::Protocol => escape::access(record.protocol(), out),
        What::Status => nonzero(record.status().into(), out),
        What::Handler => optional(record.handler(), out),
        What::BodyBytes { dash: true } => nonzero(record.body_bytes(), out),
        What::BodyBytes { dash: false } => number(record.body_bytes(), out),
        What::Time { form, .. } => time(form, record.start(), zone, out),
        What::CanonicalName => escape::access(record.canonical_name(), out),
        What::ServerName => escape::access(&record.server_name(), out),
        What::CanonicalPort => number(record.canonical_port().into(), out),
        What::LocalPort => number(record.local_addr().port().into(), out),
        What::ClientPort => number(record.client_port().into(), out),
        What::Pid => number(record.pid().into(), out),
        What::Tid { hex: false } => number(record.tid(), out),
        What::Tid { hex: true } => hexadecimal(record.tid(), out),
        What::Connection => out.push(connection(record.connection_state())),
        What::Keepalives => number(record.keepalive_number().into(), out),
        What::LogId(Side::Client) => optional(record.log_id(), out),
        What::LogId(Side::Peer) => optional(record.connection_log_id(), out),
        What::FirstByte => match record.first_byte() {
            Some(after) => number(in_unit(after, Unit::Microseconds), out),
            None => out.push(b'-'),
        },
        What::Echo(argument) => out.extend_from_slice(argument),
        _ => named(what, record, out),
    }
}

/// Fields that are looked up by the name in their argument.
fn named(what: &What, record: &dyn Record, out: &mut Vec<u8>) {
    match what {
        What::RequestHeader(name) => lines(out, true, |each| record.request_header(name, each)),
        What::RequestTrailer(name) => lines(out, true, |each| record.request_trailer(name, each)),
        What::ResponseHeader(name) if name.eq_ignore_ascii_case(b"content-type") => {
            lines(out, false, |each| {
                record.response_header(name, &mut |value| each(media_type(value)))
            });
        }
        What::ResponseHeader(name) => {
            let all = name.eq_ignore_ascii_case(b"set-cookie");
            lines(out, all, |each| record.response_header(name, each));
        }
        What::ResponseTrailer(name) => {
            lines(out, false, |each| record.response_trailer(name, each))
        }
        What::Cookie(name) => cookie(name, record, out),
        What::Note(name) => optional(record.note(name), out),
        What::Env(name) => optional(record.env(name), out),
        What::Ssl(name) => lines(out, false, |each| {
            record.ssl_variable(name, &mut |value| {
                if !value.is_empty() {
                    each(value);
                }
            });
        }),
        _ => out.push(b'-'),
    }
}

/// Escapes the values `visit` finds: all, joined as httpd joins the lines of a request field, or the first.
fn lines(out: &mut Vec<u8>, all: bool, visit: impl FnOnce(&mut dyn FnMut(&[u8]))) {
    let mut seen = false;
    visit(&mut |value| {
        if !seen || all {
            if seen {
                out.extend_from_slice(b", ");
            }
            escape::access(value, out);
        }
        seen = true;
    });
    if !seen {
        out.push(b'-');
    }
}

fn optional(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        Some(value) => escape::access(value, out),
        None => out.push(b'-'),
    }
}

/// An empty user name is shown as `""`, so that it is not taken for none.
fn user(user: Option<&[u8]>, out: &mut Vec<u8>) {
    match user {
        Some(b"") => out.extend_from_slice(b"\"\""),
        user => optional(user, out),
    }
}

fn query(query: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(query) = query {
        out.push(b'?');
        escape::access(query, out);
    }
}

fn number(value: u64, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value}");
}

fn hexadecimal(value: u64, out: &mut Vec<u8>) {
    let _ = write!(out, "{value:x}");
}

fn nonzero(value: u64, out: &mut Vec<u8>) {
    match value {
        0 => out.push(b'-'),
        _ => number(value, out),
    }
}

/// An IPv4 client of a dual-stack listener is shown by its IPv4 address.
fn addr(addr: IpAddr, out: &mut Vec<u8>) {
    let _ = write!(out, "{}", addr.to_canonical());
}

fn connection(state: ConnectionState) -> u8 {
    match state {
        ConnectionState::Aborted => b'X',
        ConnectionState::KeepAlive => b'+',
        ConnectionState::Close => b'-',
    }
}

fn in_unit(duration: Duration, unit: Unit) -> u64 {
    let value = match unit {
        Unit::Seconds => duration.as_secs().into(),
        Unit::Milliseconds => duration.as_millis(),
        Unit::Microseconds => duration.as_micros(),
    };
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn time(form: &TimeForm, time: SystemTime, zone: &Zone, out: &mut Vec<u8>) {
    let (second, micros) = zone::split(time);
    let _ = match form {
        TimeForm::CommonLog => {
            zone.with_second(second, |recent| out.extend_from_slice(&recent.clf));
            Ok(())
        }
        TimeForm::Strftime(format) => {
            zone.with_second(second, |recent| strftime::write(format, &recent.local, out));
            Ok(())
        }
        TimeForm::Seconds => write!(out, "{second}"),
        TimeForm::Milliseconds => write!(
            out,
            "{}",
            i128::from(second) * 1000 + i128::from(micros / 1000)
        ),
        TimeForm::Microseconds => write!(
            out,
            "{}",
            i128::from(second) * 1_000_000 + i128::from(micros)
        ),
        TimeForm::MillisecondFraction => write!(out, "{:03}", micros / 1000),
        TimeForm::MicrosecondFraction => write!(out, "{micros:06}"),
    };
}

fn tunnel(field: TunnelField, facts: &TunnelFacts<'_>, out: &mut Vec<u8>) {
    match field {
        TunnelField::End => escape::access(facts.end.as_bytes(), out),
        TunnelField::MessagesIn => number(facts.messages_in, out),
        TunnelField::MessagesOut => number(facts.messages_out, out),
        TunnelField::CloseCode => nonzero(facts.close_code.unwrap_or(0).into(), out),
        TunnelField::BytesIn => number(facts.bytes_in, out),
        TunnelField::BytesOut => number(facts.bytes_out, out),
        TunnelField::Id => number(facts.id, out),
        TunnelField::Duration => number(in_unit(facts.duration, Unit::Milliseconds), out),
        TunnelField::Kind(kind, true) => number(of_kind(kind, &facts.kinds_in), out),
        TunnelField::Kind(kind, false) => number(of_kind(kind, &facts.kinds_out), out),
    }
}

const fn of_kind(kind: Kind, kinds: &TunnelKinds) -> u64 {
    match kind {
        Kind::Text => kinds.text,
        Kind::TextBytes => kinds.text_bytes,
        Kind::Binary => kinds.binary,
        Kind::BinaryBytes => kinds.binary_bytes,
        Kind::Pings => kinds.pings,
        Kind::Pongs => kinds.pongs,
        Kind::Violations => kinds.violations,
    }
}

/// The media type without its parameters.
fn media_type(value: &[u8]) -> &[u8] {
    value
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii_end()
}

fn cookie(name: &[u8], record: &dyn Record, out: &mut Vec<u8>) {
    COOKIES.with_borrow_mut(|cookies| {
        cookies.clear();
        record.request_header(b"Cookie", &mut |value| {
            if !cookies.is_empty() {
                cookies.extend_from_slice(b", ");
            }
            cookies.extend_from_slice(value);
        });
        optional(find_cookie(cookies, name), out);
    });
}

/// The value of the first cookie of that name that has one; names are compared without regard to case, as httpd does.
fn find_cookie<'a>(cookies: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    cookies.split(|&byte| byte == b';').find_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (key, value) = pair.split_at(equals);
        let value = value.get(1..).filter(|value| !value.is_empty())?;
        key.trim_ascii()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim_ascii())
    })
}

thread_local! {
    /// Where several Cookie lines are joined; kept so that a line with `%{name}C` needs no allocation.
    static COOKIES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("foo=bar", "foo", Some("bar")),
            ("foo=bar", "FOO", Some("bar")),
            ("foo=bar; Baz= 1 2 ;bar=\"q=1\", nix=", "baz", Some("1 2")),
            (
                "foo=bar; Baz= 1 2 ;bar=\"q=1\", nix=",
                "bar",
                Some("\"q=1\", nix="),
            ),
            ("foo=bar", "fo", None),
            ("foo=", "foo", None),
            ("foo=; foo=2", "foo", Some("2")),
            ("foo", "foo", None),
            (";;; foo=1", "foo", Some("1")),
            (" foo = 1 ", "foo", Some("1")),
            ("", "foo", None),
        ];
        for (cookies, name, expected) in cases {
            let found = find_cookie(cookies.as_bytes(), name.as_bytes());
            assert_eq!(found, expected.map(str::as_bytes), "{cookies} {name}");
        }
    }

    #[test]
    fn media_types() {
        let cases = [
            ("text/plain ; charset=utf-8", "text/plain"),
            ("text/html", "text/html"),
            (";x", ""),
            ("", ""),
        ];
        for (value, expected) in cases {
            assert_eq!(media_type(value.as_bytes()), expected.as_bytes());
        }
    }
}
