//! What a request head means: its host, the length of its body, what it asks of the connection.

use crate::chars::{is_token, list};
use crate::host::split_host_port;
use crate::target::TargetForm;
use crate::{Fields, RequestError, RequestHead, Version};

/// Most connection options that are looked at; more can only be meant to cost time.
const OPTIONS_MAX: usize = 100;

/// How the end of a request body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body and no field that says so.
    None,
    /// Content-Length, in bytes; may be 0.
    Length(u64),
    /// The chunked coding.
    Chunked,
}

/// What the client expects before it sends the body (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    None,
    /// `100-continue`.
    Continue,
    /// Anything else; to be answered with 417.
    Other,
}

/// What [`RequestHead::check`] found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestMeta {
    /// The form of the target.
    pub form: TargetForm,
    /// How the end of the body is found.
    pub body: BodyLength,
    /// Whether the client wants to keep the connection.
    pub keep_alive: bool,
    /// Whether Connection lists `upgrade`.
    pub connection_upgrade: bool,
    /// The expectation.
    pub expect: Expect,
}

impl RequestHead {
    /// Checks what the grammar alone cannot: target form, Host, framing, connection options, expectation.
    ///
    /// Where the target names an authority, the Host field is replaced by it, so that nobody behind can see another
    /// (RFC 9112 §3.2.2).
    ///
    /// # Errors
    /// Where the request is ambiguous or asks for what relais does not do. A foreign expectation is no error here.
    pub fn check(&mut self) -> Result<RequestMeta, RequestError> {
        let version = self.version();
        let target = self.parts().ok_or(RequestError::TargetForm)?;
        let form = target.form;
        let mut found = Found::default();
        for (name, value) in &self.fields {
            found.look_at(name, value)?;
        }
        if version != Version::Http10 && found.hosts == 0 {
            return Err(RequestError::HostMissing);
        }
        let meta = RequestMeta {
            form,
            body: found.body(version)?,
            keep_alive: !found.close && (version != Version::Http10 || found.keep_alive),
            connection_upgrade: found.upgrade,
            expect: found.expect(version),
        };
        if form == TargetForm::Absolute {
            // The fields are changed while the authority is borrowed from the line, hence the copy.
            let authority = target.authority.unwrap_or_default().to_vec();
            self.fields
                .set("Host", authority)
                .map_err(|_| RequestError::HostInvalid)?;
        }
        Ok(meta)
    }
}

/// What has been seen of the fields that matter to the connection.
#[derive(Default)]
struct Found {
    hosts: usize,
    length: Option<u64>,
    codings: Codings,
    options: usize,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    expectations: usize,
    foreign_expectation: bool,
}

/// What has been seen of Transfer-Encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Codings {
    /// Whether the field is there at all.
    pub(crate) present: bool,
    /// Whether the last coding so far is chunked.
    chunked: bool,
    /// A coding that relais does not know.
    unknown: bool,
    /// Something that no list of codings may hold.
    invalid: bool,
}

impl Found {
    fn look_at(&mut self, name: &[u8], value: &[u8]) -> Result<(), RequestError> {
        // The length tells nearly all other fields apart without looking at their letters.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value),
            // An empty expectation is none, as in httpd.
            6 if name.eq_ignore_ascii_case(b"expect") && !value.is_empty() => {
                self.expectations += 1;
                self.foreign_expectation |= !value.eq_ignore_ascii_case(b"100-continue");
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.codings.add(value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), RequestError> {
        self.hosts += 1;
        if self.hosts > 1 {
            return Err(RequestError::HostRepeated);
        }
        split_host_port(value)
            .map(|_| ())
            .ok_or(RequestError::HostInvalid)
    }

    fn length(&mut self, value: &[u8]) -> Result<(), RequestError> {
        if self.length.is_some() {
            return Err(RequestError::LengthRepeated);
        }
        self.length = Some(parse_length(value).ok_or(RequestError::LengthInvalid)?);
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), RequestError> {
        for option in list(value) {
            self.options += 1;
            if self.options > OPTIONS_MAX || !(option.is_empty() || is_token(option)) {
                return Err(RequestError::Connection);
            }
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
        Ok(())
    }

    fn body(&self, version: Version) -> Result<BodyLength, RequestError> {
        if !self.codings.present {
            return Ok(self.length.map_or(BodyLength::None, BodyLength::Length));
        }
        if version == Version::Http10 {
            return Err(RequestError::CodingInHttp10);
        }
        if self.length.is_some() {
            return Err(RequestError::LengthAndCoding);
        }
        match self.codings.outcome() {
            Outcome::Chunked => Ok(BodyLength::Chunked),
            Outcome::Unknown => Err(RequestError::CodingUnknown),
            Outcome::Invalid => Err(RequestError::CodingInvalid),
        }
    }

    const fn expect(&self, version: Version) -> Expect {
        match (self.expectations, self.foreign_expectation, version) {
            (0, ..) | (1, false, Version::Http10) => Expect::None,
            (1, false, _) => Expect::Continue,
            _ => Expect::Other,
        }
    }
}

/// What a Transfer-Encoding comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exactly one chunked and nothing else.
    Chunked,
    /// Well-formed, with a coding that relais does not know.
    Unknown,
    /// Not a coding list that says where the message ends.
    Invalid,
}

impl Codings {
    /// Takes one value of the field.
    pub(crate) fn add(&mut self, value: &[u8]) {
        self.present = true;
        for coding in list(value) {
            // Chunked may stand once and last, so nothing may follow it.
            self.invalid |=
                self.chunked || !is_token(coding) || coding.eq_ignore_ascii_case(b"identity");
            self.chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.unknown |= !self.chunked;
        }
    }

    /// What all values together come to.
    pub(crate) const fn outcome(self) -> Outcome {
        match (self.invalid, self.unknown, self.chunked) {
            (true, ..) | (false, false, false) => Outcome::Invalid,
            (false, true, _) => Outcome::Unknown,
            (false, false, true) => Outcome::Chunked,
        }
    }
}

/// A Content-Length: digits only, below 2^63 so that nobody behind can take it for negative.
pub(crate) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?
            .checked_add(digit)
            .filter(|&sum| sum <= i64::MAX as u64)
    })
}

/// Whether a Connection field lists `option`.
pub(crate) fn has_option(fields: &Fields, option: &[u8]) -> bool {
    fields
        .get_all("Connection")
        .any(|value| list(value).any(|item| item.eq_ignore_ascii_case(option)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Parse};

    fn check(start: &str, fields: &str) -> Result<RequestMeta, RequestError> {
        let input = format!("{start}\r\n{}\r\n", fields.replace('|', "\r\n"));
        let mut head = RequestHead::new();
        let parsed = head.parse_into(input.as_bytes(), &Limits::default())?;
        assert_eq!(
            parsed,
            Parse::Complete {
                consumed: input.len()
            }
        );
        head.check()
    }

    #[test]
    fn hosts() {
        use RequestError as E;
        for (start, fields, expected) in [
            ("GET / HTTP/1.1", "Host: a|", Ok(())),
            ("GET / HTTP/1.0", "", Ok(())),
            ("GET / HTTP/1.0", "Host: a|", Ok(())),
            ("GET http://b/ HTTP/1.1", "Host: a|", Ok(())),
            ("GET / HTTP/1.1", "", Err(E::HostMissing)),
            ("GET http://b/ HTTP/1.1", "", Err(E::HostMissing)),
            ("GET / HTTP/1.1", "Host: a|Host: a|", Err(E::HostRepeated)),
            ("GET / HTTP/1.0", "Host: a|hOST: a|", Err(E::HostRepeated)),
            ("GET / HTTP/1.1", "Host:|", Err(E::HostInvalid)),
            ("GET / HTTP/1.1", "Host: a b|", Err(E::HostInvalid)),
            ("GET / HTTP/1.0", "Host: a,b|", Err(E::HostInvalid)),
            ("GET http://b/ HTTP/1.1", "Host: a b|", Err(E::HostInvalid)),
            ("GET b:80 HTTP/1.1", "Host: a|", Err(E::TargetForm)),
            ("GET * HTTP/1.1", "Host: a|", Err(E::TargetForm)),
            ("GET http://u@b/ HTTP/1.1", "Host: a|", Err(E::TargetForm)),
        ] {
            assert_eq!(
                check(start, fields).map(|_| ()),
                expected,
                "{start} {fields}"
            );
        }
    }

    #[test]
    fn an_absolute_target_replaces_host() {
        for fields in ["hOST: a\r\n", "X: y\r\nHost: a\r\n"] {
            let input = format!("GET HTTP://B.example:8/x HTTP/1.1\r\n{fields}\r\n");
            let mut head = RequestHead::new();
            head.parse_into(input.as_bytes(), &Limits::default())
                .unwrap();
            assert_eq!(head.check().unwrap().form, TargetForm::Absolute);
            assert_eq!(
                head.fields.get_all("host").collect::<Vec<_>>(),
                [b"B.example:8"]
            );
        }
    }

    #[test]
    fn framing() {
        use BodyLength::{Chunked, Length, None};
        use RequestError as E;
        for (fields, expected) in [
            ("", Ok(None)),
            ("Content-Length: 0|", Ok(Length(0))),
            ("Content-Length: 010|", Ok(Length(10))),
            ("content-length:\t5 |", Ok(Length(5))),
            (
                "Content-Length: 9223372036854775807|",
                Ok(Length(i64::MAX as u64)),
            ),
            ("Transfer-Encoding: chunked|", Ok(Chunked)),
            ("transfer-encoding: CHUNKED|", Ok(Chunked)),
            (
                "Content-Length: 9223372036854775808|",
                Err(E::LengthInvalid),
            ),
            (
                "Content-Length: 18446744073709551621|",
                Err(E::LengthInvalid),
            ),
            ("Content-Length:|", Err(E::LengthInvalid)),
            ("Content-Length: +5|", Err(E::LengthInvalid)),
            ("Content-Length: -5|", Err(E::LengthInvalid)),
            ("Content-Length: 0x5|", Err(E::LengthInvalid)),
            ("Content-Length: 5a|", Err(E::LengthInvalid)),
            ("Content-Length: 5 5|", Err(E::LengthInvalid)),
            ("Content-Length: 5, 5|", Err(E::LengthInvalid)),
            ("Content-Length: 5,|", Err(E::LengthInvalid)),
            (
                "Content-Length: 5|Content-Length: 5|",
                Err(E::LengthRepeated),
            ),
            (
                "Content-Length: 5|Content-Length: 6|",
                Err(E::LengthRepeated),
            ),
            (
                "Content-Length: 5|Transfer-Encoding: chunked|",
                Err(E::LengthAndCoding),
            ),
            (
                "Transfer-Encoding: |Content-Length: 5|",
                Err(E::LengthAndCoding),
            ),
            ("Transfer-Encoding:|", Err(E::CodingInvalid)),
            ("Transfer-Encoding: ,chunked|", Err(E::CodingInvalid)),
            ("Transfer-Encoding: chunked,|", Err(E::CodingInvalid)),
            ("Transfer-Encoding: identity|", Err(E::CodingInvalid)),
            (
                "Transfer-Encoding: identity, chunked|",
                Err(E::CodingInvalid),
            ),
            (
                "Transfer-Encoding: chunked, chunked|",
                Err(E::CodingInvalid),
            ),
            (
                "Transfer-Encoding: chunked|Transfer-Encoding: chunked|",
                Err(E::CodingInvalid),
            ),
            ("Transfer-Encoding: chunked, gzip|", Err(E::CodingInvalid)),
            ("Transfer-Encoding: chunked;a=b|", Err(E::CodingInvalid)),
            ("Transfer-Encoding: \"chunked\"|", Err(E::CodingInvalid)),
            ("Transfer-Encoding: xchunked|", Err(E::CodingUnknown)),
            ("Transfer-Encoding: gzip|", Err(E::CodingUnknown)),
            ("Transfer-Encoding: gzip, chunked|", Err(E::CodingUnknown)),
            (
                "Transfer-Encoding: gzip|Transfer-Encoding: chunked|",
                Err(E::CodingUnknown),
            ),
        ] {
            let fields = format!("Host: a|{fields}");
            assert_eq!(
                check("POST / HTTP/1.1", &fields).map(|m| m.body),
                expected,
                "{fields}"
            );
        }
        let old = check("POST / HTTP/1.0", "Transfer-Encoding: chunked|");
        assert_eq!(old, Err(E::CodingInHttp10));
    }

    #[test]
    fn connection_options() {
        let many = format!("Connection: {}x|", "x,".repeat(OPTIONS_MAX));
        for (version, field, expected) in [
            ("1.1", "", Ok((true, false))),
            ("1.0", "", Ok((false, false))),
            ("1.1", "Connection: close|", Ok((false, false))),
            ("1.1", "Connection: x, CLOSE|", Ok((false, false))),
            ("1.0", "connection: Keep-Alive|", Ok((true, false))),
            (
                "1.0",
                "Connection: keep-alive|Connection: close|",
                Ok((false, false)),
            ),
            ("1.1", "Connection: keep-alive, Upgrade|", Ok((true, true))),
            ("1.1", "Connection: upgrades|", Ok((true, false))),
            ("1.1", "Connection: ,,, ,|", Ok((true, false))),
            ("1.1", "Connection:|", Ok((true, false))),
            ("1.1", "Connection: a b|", Err(RequestError::Connection)),
            (
                "1.1",
                "Connection: \"close\"|",
                Err(RequestError::Connection),
            ),
            ("1.1", "Connection: close;|", Err(RequestError::Connection)),
            ("1.1", many.as_str(), Err(RequestError::Connection)),
        ] {
            let found = check(
                &format!("GET / HTTP/{version}"),
                &format!("Host: a|{field}"),
            );
            assert_eq!(
                found.map(|m| (m.keep_alive, m.connection_upgrade)),
                expected,
                "{field}"
            );
        }
    }

    #[test]
    fn expectations() {
        for (version, field, expected) in [
            ("1.1", "", Expect::None),
            ("1.1", "Expect: 100-Continue|", Expect::Continue),
            ("1.0", "Expect: 100-continue|", Expect::None),
            (
                "1.1",
                "Expect: 100-continue|Expect: 100-continue|",
                Expect::Other,
            ),
            ("1.1", "Expect: 200-ok|", Expect::Other),
            ("1.1", "Expect:|", Expect::None),
        ] {
            let found = check(
                &format!("GET / HTTP/{version}"),
                &format!("Host: a|{field}"),
            );
            assert_eq!(found.map(|m| m.expect), Ok(expected), "{field}");
        }
    }
}
