//! What clients may speak, and the bounds of HTTP/2.

use std::time::Duration;

/// A protocol that `Protocols` can name and relais speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// `http/1.1`.
    Http1,
    /// `h2`: HTTP/2 over TLS.
    H2,
    /// `h2c`: HTTP/2 without TLS.
    H2c,
}

/// `Protocols`, `ProtocolsHonorOrder` and `H2Direct`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProtocolsSpec {
    /// What is offered, in the order of preference.
    pub offered: Vec<Protocol>,
    /// Whether that order counts, and not the client's.
    pub honor_order: bool,
    /// Whether a connection may begin with HTTP/2 where nothing has been agreed on; `None` lets clear ones.
    pub direct: Option<bool>,
}

impl Default for ProtocolsSpec {
    fn default() -> Self {
        Self {
            offered: vec![Protocol::Http1],
            honor_order: true,
            direct: None,
        }
    }
}

impl ProtocolsSpec {
    /// Whether a connection may begin with the preface of HTTP/2 without more ado.
    #[must_use]
    pub fn direct(&self, secure: bool) -> bool {
        let protocol = if secure { Protocol::H2 } else { Protocol::H2c };
        self.offered.contains(&protocol) && self.direct.unwrap_or(!secure)
    }

    /// The names that a handshake offers (RFC 7301), the preferred one first. HTTP/1.1 is what every host speaks, as in
    /// httpd, where `Protocols` leaves it out.
    #[must_use]
    pub fn alpn(&self) -> Vec<&'static [u8]> {
        let mut names: Vec<&[u8]> = Vec::with_capacity(2);
        for protocol in &self.offered {
            match protocol {
                Protocol::Http1 => names.push(b"http/1.1"),
                Protocol::H2 => names.push(b"h2"),
                Protocol::H2c => {}
            }
        }
        if !names.contains(&&b"http/1.1"[..]) {
            names.push(b"http/1.1");
        }
        names
    }
}

/// mod_http2's bounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Http2Spec {
    /// `H2MaxSessionStreams`: streams of a connection at the same time.
    pub streams_max: u32,
    /// `H2WindowSize`: bytes that a client may send on a stream before relais has passed them on.
    pub window: u32,
    /// `H2StreamMaxMemSize`: bytes of an answer that wait for the client per stream.
    pub memory: usize,
    /// `H2MaxDataFrameLen`: bytes of content in one frame; `None` leaves it to the client's setting.
    pub frame_max: Option<usize>,
    /// `H2MaxStreamErrors`: streams of a connection that relais resets for the client's errors before it ends it.
    pub errors_max: usize,
    /// `H2StreamTimeout`: how long a stream's client may send or take nothing; `None` is `Timeout`.
    pub timeout: Option<Duration>,
    /// `H2EarlyHints`: whether 103 is passed on.
    pub early_hints: bool,
    /// `H2WebSockets`: whether RFC 8441 is offered. httpd's default is not to.
    pub websockets: bool,
}

impl Http2Spec {
    /// The most errors of a client's that any setting lets pass (CVE-2025-8671).
    pub const ERRORS_MAX: usize = 200;
}

impl Default for Http2Spec {
    fn default() -> Self {
        Self {
            streams_max: 100,
            window: 65_535,
            memory: 65_536,
            frame_max: None,
            errors_max: 8,
            timeout: None,
            early_hints: false,
            websockets: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_offered_in_order_and_http1_always() {
        let spec = |offered: &[Protocol]| ProtocolsSpec {
            offered: offered.to_vec(),
            ..ProtocolsSpec::default()
        };
        let names = |offered: &[Protocol]| {
            let names = spec(offered).alpn();
            String::from_utf8(names.join(&b' ')).unwrap()
        };
        assert_eq!(
            names(&[Protocol::H2, Protocol::H2c, Protocol::Http1]),
            "h2 http/1.1"
        );
        assert_eq!(names(&[Protocol::Http1, Protocol::H2]), "http/1.1 h2");
        assert_eq!(names(&[Protocol::H2]), "h2 http/1.1");
    }

    #[test]
    fn a_preface_is_taken_on_clear_connections_or_where_asked_for() {
        let spec = |direct| ProtocolsSpec {
            offered: vec![Protocol::H2, Protocol::H2c],
            direct,
            ..ProtocolsSpec::default()
        };
        assert!(spec(None).direct(false));
        assert!(!spec(None).direct(true));
        assert!(spec(Some(true)).direct(true));
        assert!(!spec(Some(false)).direct(false));
        assert!(!ProtocolsSpec::default().direct(false));
    }
}
