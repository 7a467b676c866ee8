//! HTTP/1 messages without sockets: parsing, body framing, serialising.
//!
//! Bytes go in as slices, heads and framing come out; whoever owns the connection owns the buffers. What is
//! written is always generated from the parsed form, in one strict spelling, so that no input can make relais and
//! the next peer disagree on where a message starts or ends (RFC 9112 §11).
//!
//! Requests are parsed strictly: what RFC 9112 calls invalid is refused. Responses are parsed as leniently as
//! httpd's mod_proxy does where that is safe, and are refused where it is not.
//!
//! This crate does not know configuration, connections, time or logs.

mod body;
mod chars;
mod encode;
mod fields;
mod hop;
mod host;
mod lines;
mod meta;
mod page;
mod request;
mod response;
mod status;
mod target;
mod write;

pub use body::{BodyDecoder, BodyError, Step};
pub use encode::{BodyEncoder, EncodeError};
pub use fields::{FieldError, Fields, Iter};
pub use hop::{
    Named, connection_lists, is_hop_by_hop, strip_hop_by_hop, strip_named, strip_unnamed,
    trailer_allowed,
};
pub use host::{HostPort, split_host_port};
pub use meta::{BodyLength, Expect, RequestMeta};
pub use page::{PageExtra, Signature, error_page, escape_html};
pub use request::{Limits, Parse, RequestError, RequestHead};
pub use response::{ResponseBody, ResponseError, ResponseFraming, ResponseHead, ResponseLimits};
pub use status::reason;
pub use target::{Target, TargetForm};
pub use write::{LineError, write_field, write_request_line, write_status_line};

/// The protocol version of a message. Minor versions above 1 are read as 1.1, as RFC 9110 §2.5 asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
    /// HTTP/2, whose requests are put into the same form ([`RequestHead::from_parts`]); never read from a start line.
    Http2,
}

impl Version {
    /// The version as it stands in a start line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }

    /// Reads `HTTP/1.d`; anything else, other cases of the letters included, is no version relais speaks.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes.strip_prefix(b"HTTP/1.")? {
            b"0" => Some(Self::Http10),
            [b'1'..=b'9'] => Some(Self::Http11),
            _ => None,
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
