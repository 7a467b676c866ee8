//! Target URLs: taking them apart, and the canonical spelling of paths.

use std::ffi::OsStr;
use std::net::Ipv6Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use relais_conf::{Span, Text};
use relais_expr::Groups;
use relais_policy::{Problem, Respond, Scheme};

/// A URL taken apart at its first slashes, as mod_proxy does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parts<'a> {
    /// The path of a Unix socket: `unix:PATH|` in front of the URL.
    pub(crate) socket: Option<&'a [u8]>,
    /// As written.
    pub(crate) scheme: &'a [u8],
    /// Everything up to the first `/`.
    pub(crate) authority: &'a [u8],
    /// From that `/` on; may be empty.
    pub(crate) path: &'a [u8],
}

impl Parts<'_> {
    /// Bytes before the scheme.
    fn scheme_at(&self) -> usize {
        self.socket.map_or(0, |path| b"unix:|".len() + path.len())
    }

    /// Bytes up to the path.
    pub(crate) fn origin_len(&self) -> usize {
        self.scheme_at() + self.scheme.len() + b"://".len() + self.authority.len()
    }
}

/// Takes `[unix:path|]scheme://authority/path` apart.
pub(crate) fn split(url: &[u8]) -> Option<Parts<'_>> {
    if let Some((head, rest)) = url.split_at_checked(5)
        && head.eq_ignore_ascii_case(b"unix:")
    {
        let bar = rest.iter().position(|&byte| byte == b'|')?;
        let inner = split(&rest[bar + 1..]).filter(|inner| inner.socket.is_none())?;
        return Some(Parts {
            socket: Some(&rest[..bar]),
            ..inner
        });
    }
    let colon = url.iter().position(|&byte| byte == b':')?;
    let (scheme, rest) = url.split_at(colon);
    let rest = rest.strip_prefix(b"://")?;
    let slash = rest
        .iter()
        .position(|&byte| byte == b'/')
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    (!scheme.is_empty()).then_some(Parts {
        socket: None,
        scheme,
        authority,
        path,
    })
}

/// The file of a Unix socket; only an absolute path is one.
pub(crate) fn socket_path(path: &[u8]) -> Option<PathBuf> {
    let path = path.strip_prefix(b"//").unwrap_or(path);
    let fits = path.first() == Some(&b'/') && path.len() <= SOCKET_PATH_MAX;
    fits.then(|| PathBuf::from(OsStr::from_bytes(path)))
}

/// What the address of a Unix socket holds on Linux, its final zero aside.
const SOCKET_PATH_MAX: usize = 107;

/// Host (without brackets) and port of an authority. As `apr_parse_addr_port`
/// has it, a port is the digits behind the last colon; with anything else
/// behind it the whole is taken for a host, which is none then.
pub(crate) fn host_port(authority: &[u8]) -> Option<(&str, Option<u16>)> {
    let text = std::str::from_utf8(authority).ok()?;
    let (host, port) = match text.rsplit_once(':') {
        Some((host, digits))
            if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (host, Some(digits.parse().ok().filter(|&port| port != 0)?))
        }
        _ => (text, None),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(|_| (v6, port)),
        None => is_host(host).then_some((host, port)),
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// Checks the target of a directive at load: a scheme that relais speaks and a
/// host that can be one. `literal` is how much of it is known by then.
pub(crate) fn check_target(target: &Text, literal: usize) -> Result<(), Problem> {
    let bytes = target.bytes();
    let Some(parts) = split(bytes) else {
        return Err(Problem::at(
            target.span(),
            "the target must be an absolute URL such as http://host:port/path",
        ));
    };
    if let Some(path) = parts.socket
        && socket_path(path).is_none()
    {
        return Err(Problem::at(
            target.span_of(5..5 + path.len()),
            format!("a Unix socket needs an absolute path of at most {SOCKET_PATH_MAX} bytes"),
        ));
    }
    let at = parts.scheme_at();
    check_scheme(parts.scheme, target.span_of(at..at + parts.scheme.len()))?;
    let end = parts.origin_len();
    let start = end - parts.authority.len();
    if parts.authority.contains(&b'@') {
        return Err(Problem::at(
            target.span_of(start..end),
            "user names in target URLs are not supported",
        ));
    }
    if end <= literal && host_port(parts.authority).is_none() {
        let span = if start == end {
            target.span()
        } else {
            target.span_of(start..end)
        };
        return Err(Problem::at(
            span,
            format!(
                "`{}` is not a host with an optional port",
                String::from_utf8_lossy(parts.authority)
            ),
        ));
    }
    Ok(())
}

fn check_scheme(name: &[u8], span: Span) -> Result<(), Problem> {
    let shown = String::from_utf8_lossy(name).to_ascii_lowercase();
    match (Scheme::parse(name), shown.as_str()) {
        (Some(_), _) | (None, "balancer") => Ok(()),
        (None, "h2" | "h2c" | "fcgi" | "fd") => Err(Problem::not_yet(
            span,
            format!("targets with the scheme {shown}:// are not implemented yet"),
        )),
        (None, "ajp" | "scgi" | "uwsgi" | "ftp" | "fdpass") => Err(Problem::at(
            span,
            format!("relais does not speak {shown}://"),
        )
        .with_help("origins are reached by http://, https://, ws:// and wss://")),
        (None, _) => Err(Problem::at(span, format!("unknown scheme {shown}://"))
            .with_help("origins are reached by http://, https://, ws:// and wss://")),
    }
}

/// Encodes a decoded path for the request line to an origin: letters, digits
/// and `$-_.+!*'(),:@&=/~;` stay, all else becomes `%XX`. With `keep_slashes`
/// (`AllowEncodedSlashes NoDecode`) `%2F` stays as it is.
pub(crate) fn encode_path(path: &[u8], keep_slashes: bool, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if byte.is_ascii_alphanumeric() || b"$-_.+!*'(),:@&=/~;".contains(byte) {
            out.push(*byte);
        } else if *byte == b'%' && keep_slashes && matches!(tail, [b'2', b'f' | b'F', ..]) {
            out.push(b'%');
        } else {
            out.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        }
    }
}

/// Where the first `$N` of a target stands.
pub(crate) fn before_group(target: &[u8]) -> Option<usize> {
    target
        .windows(2)
        .position(|pair| pair[0] == b'$' && pair[1].is_ascii_digit())
}

/// A target with its groups put in.
pub(crate) fn expand(target: &[u8], groups: &Groups<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(target.len() + 64);
    let mut rest = target;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'$', [digit @ b'0'..=b'9', tail @ ..]) => {
                out.extend_from_slice(groups.get(usize::from(digit - b'0')));
                rest = tail;
            }
            (b'\\', [next, tail @ ..]) => {
                out.push(*next);
                rest = tail;
            }
            _ => out.push(*byte),
        }
    }
    out
}

/// Whether what was put behind the first `fixed` bytes of a target made its
/// host or port another one than the configuration says: it does when those
/// bytes end in the host and what follows does not start with a slash. A host
/// that is made from a group on purpose, with more of the target behind the
/// group or nothing before it, may be any.
pub(crate) fn changes_host(target: &[u8], fixed: usize, url: &[u8]) -> bool {
    let Some(parts) = target.get(..fixed).and_then(split) else {
        return false;
    };
    let behind = target.get(fixed..).unwrap_or_default();
    let on_purpose = parts.authority.is_empty() || behind.contains(&b'/');
    let end = matches!(url.get(fixed), None | Some(b'/' | b'?'));
    parts.path.is_empty() && !on_purpose && !end
}

/// An answer in mod_proxy's own voice (`ap_proxyerror`): what its page says,
/// and more for the log.
pub(crate) fn proxy_error(status: u16, detail: &'static str, about: &str) -> Respond {
    let log = if about.is_empty() {
        detail.to_owned()
    } else {
        format!("{detail}: {about}")
    };
    Respond {
        reason: Some("Proxy Error"),
        detail: Some(detail.to_owned()),
        ..Respond::logged(status, log)
    }
}

/// Whether a part of a URL holds what must not stand in a request line.
pub(crate) fn has_control_or_space(part: &[u8]) -> bool {
    part.iter().any(|&byte| byte <= b' ' || byte == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        type HostPort = (&'static str, Option<u16>);
        let table: &[(&str, Option<HostPort>)] = &[
            ("h", Some(("h", None))),
            ("h.example:80", Some(("h.example", Some(80)))),
            ("127.0.0.1:7018", Some(("127.0.0.1", Some(7018)))),
            ("[::1]:80", Some(("::1", Some(80)))),
            ("[::1]", Some(("::1", None))),
            ("h:7018app", None),
            ("h:", None),
            ("h:0", None),
            ("h:65536", None),
            ("u@h", None),
            ("h?x", None),
            ("", None),
            ("[::1", None),
        ];
        for &(authority, expected) in table {
            assert_eq!(host_port(authority.as_bytes()), expected, "{authority}");
        }
    }

    #[test]
    fn hosts_that_a_path_would_change() {
        let table: &[(&str, &str, bool)] = &[
            ("http://h", "http://h/x", false),
            ("http://h", "http://h", false),
            ("http://h", "http://h.evil/x", true),
            ("http://h", "http://h:81/x", true),
            ("http://h", "http://h@evil/x", true),
            ("http://h$1", "http://h/x", false),
            ("http://h$1", "http://hx", true),
            ("http://h/$1", "http://h/x", false),
            ("http://$1/y", "http://any/y", false),
            ("http://$1", "http://any", false),
            ("http://app-$1.o/y", "http://app-1.o/y", false),
        ];
        for &(target, url, expected) in table {
            let fixed = before_group(target.as_bytes()).unwrap_or(target.len());
            assert_eq!(
                changes_host(target.as_bytes(), fixed, url.as_bytes()),
                expected,
                "{target} {url}"
            );
        }
    }

    #[test]
    fn paths() {
        let table: &[(&str, bool, &str)] = &[
            ("/a b", false, "/a%20b"),
            ("/a+b;c=1,d@e:f$&!*'()~", false, "/a+b;c=1,d@e:f$&!*'()~"),
            ("/a%b", false, "/a%25b"),
            ("/a?b#c", false, "/a%3Fb%23c"),
            (
                "/a\"<>\\|^`{}[]",
                false,
                "/a%22%3C%3E%5C%7C%5E%60%7B%7D%5B%5D",
            ),
            ("/é", false, "/%C3%A9"),
            ("/a%2fb%2Fc%20", true, "/a%2fb%2Fc%2520"),
            ("/a%2fb", false, "/a%252fb"),
        ];
        for &(path, keep, expected) in table {
            let mut out = Vec::new();
            encode_path(path.as_bytes(), keep, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{path}");
        }
    }
}
