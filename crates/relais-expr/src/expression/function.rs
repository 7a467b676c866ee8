//! Functions of one argument (manual page expr, Functions).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use md5::{Digest as _, Md5};
use sha1::Sha1;

use crate::percent::{Unescaped, escape_path, unescape};
use crate::variable::{Lookup, Variable};

/// Tables of the request and the process that a function reads by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Header { vary: bool },
    ResponseHeader,
    Note,
    RequestEnv,
    Env,
    ProcessEnv,
    Ssl,
}

impl Source {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        SOURCES
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
            .map(|(_, source)| *source)
    }

    /// The variable with this name, and whether it counts for `Vary`.
    pub(super) fn variable(self, name: &[u8]) -> (Variable, bool) {
        let name = name.into();
        match self {
            Self::Header { vary } => (Variable::Header(name), vary),
            Self::ResponseHeader => (Variable::ResponseHeader(name), false),
            Self::Note => (Variable::Note(name), false),
            Self::RequestEnv => (Variable::RequestEnv(name), false),
            Self::Env => (Variable::Env(name), false),
            Self::ProcessEnv => (Variable::ProcessEnv(name), false),
            Self::Ssl => (Variable::Ssl(name), false),
        }
    }
}

/// Functions that compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    ToLower,
    ToUpper,
    Escape,
    Unescape,
    Base64,
    Unbase64,
    Md5,
    Sha1,
    Ldap,
    File,
    FileSize,
}

impl Function {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        FUNCTIONS
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
            .map(|(_, function)| *function)
    }

    /// Replaces the argument, which is what stands in `out` from `from` on, by the result.
    pub(super) fn apply(self, lookup: &dyn Lookup, out: &mut Vec<u8>, from: usize) {
        let argument = out.get_mut(from..).unwrap_or_default();
        match self {
            Self::ToLower => argument.make_ascii_lowercase(),
            Self::ToUpper => argument.make_ascii_uppercase(),
            _ => {
                let argument = out.split_off(from.min(out.len()));
                self.append(lookup, &argument, out);
            }
        }
    }

    fn append(self, lookup: &dyn Lookup, argument: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::ToLower | Self::ToUpper => {}
            Self::Escape => escape_path(argument, out),
            Self::Unescape => {
                let start = out.len();
                if unescape(argument, true, out) != Unescaped::Good {
                    out.truncate(start);
                }
            }
            Self::Base64 => out.extend_from_slice(STANDARD.encode(argument).as_bytes()),
            Self::Unbase64 => out.extend(decode_base64(argument)),
            Self::Md5 => push_hex(&Md5::digest(argument), out),
            Self::Sha1 => push_hex(&Sha1::digest(argument), out),
            Self::Ldap => escape_ldap(argument, out),
            Self::File => out.extend(lookup.file_contents(argument).unwrap_or_default()),
            Self::FileSize => {
                let size = lookup.file_size(argument).unwrap_or_default();
                out.extend_from_slice(size.to_string().as_bytes());
            }
        }
    }
}

/// Decodes up to the first byte that does not belong, as `apr_base64_decode` does.
fn decode_base64(text: &[u8]) -> Vec<u8> {
    let belongs = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'+' | b'/');
    let mut len = text.iter().take_while(belongs).count();
    // Six bits alone make no byte.
    if len % 4 == 1 {
        len -= 1;
    }
    LENIENT
        .decode(text.get(..len).unwrap_or_default())
        .unwrap_or_default()
}

/// Escapes a value for a filter of RFC 4515.
fn escape_ldap(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if matches!(byte, b'*' | b'(' | b')' | b'\\' | 0) {
            out.push(b'\\');
            push_hex(&[byte], out);
        } else {
            out.push(byte);
        }
    }
}

fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend([
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]);
    }
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const SOURCES: &[(&str, Source)] = &[
    ("req", Source::Header { vary: true }),
    ("http", Source::Header { vary: true }),
    ("req_novary", Source::Header { vary: false }),
    ("resp", Source::ResponseHeader),
    ("note", Source::Note),
    ("reqenv", Source::RequestEnv),
    ("env", Source::Env),
    ("osenv", Source::ProcessEnv),
    ("ssl", Source::Ssl),
];

const FUNCTIONS: &[(&str, Function)] = &[
    ("tolower", Function::ToLower),
    ("toupper", Function::ToUpper),
    ("escape", Function::Escape),
    ("unescape", Function::Unescape),
    ("base64", Function::Base64),
    ("unbase64", Function::Unbase64),
    ("md5", Function::Md5),
    ("sha1", Function::Sha1),
    ("ldap", Function::Ldap),
    ("file", Function::File),
    ("filesize", Function::FileSize),
];
