//! Server variables, `%{NAME}`, as mod_rewrite knows them (manual page mod_rewrite, RewriteCond) and as expressions do
//! (manual page expr, Variables). The two lists differ: an expression refuses a name that it does not know.

/// One server variable. Names are matched without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the variants are httpd's own names, which the manual explains"
)]
pub enum Variable {
    /// A request header: `HTTP:Name`, or one of the seven `HTTP_NAME` forms under its header name.
    Header(Box<[u8]>),
    /// `ENV:name`: a request note, else the request's environment, else the process environment.
    Env(Box<[u8]>),
    /// `SSL:name`: a variable of mod_ssl, empty without TLS.
    Ssl(Box<[u8]>),
    /// `LA-U:NAME` and `LA-F:NAME`: the value that a request for the path would have. Never nested.
    LookAhead {
        /// What the request would be for.
        ahead: Ahead,
        /// The name as it was written.
        name: Box<[u8]>,
        /// What it stands for.
        variable: Box<Self>,
    },
    AuthType,
    ConnRemoteAddr,
    ContextPrefix,
    ContextDocumentRoot,
    Ipv6,
    PathInfo,
    QueryString,
    RemoteAddr,
    RemoteHost,
    RemoteIdent,
    RemotePort,
    RemoteUser,
    RequestMethod,
    ScriptFilename,
    DocumentRoot,
    ScriptGroup,
    ScriptUser,
    ServerAddr,
    ServerAdmin,
    ServerName,
    ServerPort,
    ServerProtocol,
    ServerSoftware,
    TimeYear,
    TimeMon,
    TimeDay,
    TimeHour,
    TimeMin,
    TimeSec,
    TimeWday,
    Time,
    ApiVersion,
    /// The same in an expression, which leaves the minor number out.
    ApiMajor,
    Https,
    IsSubreq,
    RequestFilename,
    RequestScheme,
    RequestUri,
    TheRequest,
    /// `resp:Name`: a field of the response.
    ResponseHeader(Box<[u8]>),
    /// `note:name`: a request note.
    Note(Box<[u8]>),
    /// `reqenv:name`: the request's environment only.
    RequestEnv(Box<[u8]>),
    /// `osenv:name`: the process environment only.
    ProcessEnv(Box<[u8]>),
    ConnLogId,
    RequestLogId,
    ContentType,
    DocumentUri,
    Handler,
    Http2,
    LastModified,
    RequestStatus,
    /// `HC_BODY`: the body of the answer to a health check, in its conditions only.
    HealthBody,
    /// A name that httpd does not know either; its value is empty.
    Unknown,
}

/// What a look-ahead asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// `LA-U`: a URL path.
    Url,
    /// `LA-F`: a file.
    File,
}

/// Where the values of server variables come from.
pub trait Lookup {
    /// Appends the value of `variable` to `out`; appends nothing if it has none.
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>);

    /// Appends what the `RewriteMap` of this name has for `key`; false if there is no such map or no value.
    fn map(&self, _map: &[u8], _key: &[u8], _out: &mut Vec<u8>) -> bool {
        false
    }

    /// What a test of `path` says; the crate itself opens no file. Without an answer it is false.
    fn file_test(&self, _test: FileTest, _path: &[u8]) -> bool {
        false
    }

    /// The contents of a file, for the functions `file` and `filesize`; `None` if it cannot be read.
    fn file_contents(&self, _path: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// The size of a file in bytes, for the function `filesize`; `None` if there is none.
    fn file_size(&self, _path: &[u8]) -> Option<u64> {
        None
    }
}

/// The tests of files and URLs (manual pages expr, Unary operators, and mod_rewrite, RewriteCond).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileTest {
    /// `-e`: it exists.
    Exists,
    /// `-d`: it is a directory.
    Directory,
    /// `-f`: it is a regular file.
    Regular,
    /// `-s`: it is a regular file and not empty.
    NotEmpty,
    /// `-L`, `-h`, `-l`: it is a symbolic link.
    Link,
    /// `-x`: it may be executed.
    Executable,
    /// `-F`: a request for this file would be answered.
    FileByRequest,
    /// `-U`, `-A`: a request for this URL path would be answered.
    UrlByRequest,
}

impl Variable {
    /// Reads the text between `%{` and `}`.
    #[must_use]
    pub fn parse(name: &[u8]) -> Self {
        match name {
            [a, b, c, b':', rest @ ..] => Self::prefixed_short(&[*a, *b, *c], rest),
            [a, b, c, d, b':', rest @ ..] => Self::prefixed_long(&[*a, *b, *c, *d], rest),
            _ => Self::plain(name),
        }
    }

    /// Reads the name of a variable in an expression; `None` if expressions know no such name.
    #[must_use]
    pub fn in_expression(name: &[u8]) -> Option<Self> {
        if name.len() > 4 && name[..4].eq_ignore_ascii_case(b"SSL_") {
            return Some(Self::Ssl(name.to_ascii_uppercase().into()));
        }
        let own = EXPRESSION_ONLY
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        if let Some((_, variable)) = own {
            return Some(variable.clone());
        }
        match Self::plain(name) {
            Self::Unknown | Self::ServerAddr => None,
            known => Some(known),
        }
    }

    fn prefixed_short(kind: &[u8], rest: &[u8]) -> Self {
        match kind.to_ascii_uppercase().as_slice() {
            _ if rest.is_empty() => Self::Unknown,
            b"ENV" => Self::Env(rest.into()),
            b"SSL" => Self::Ssl(rest.into()),
            _ => Self::Unknown,
        }
    }

    fn prefixed_long(kind: &[u8], mut rest: &[u8]) -> Self {
        match kind.to_ascii_uppercase().as_slice() {
            _ if rest.is_empty() => Self::Unknown,
            b"HTTP" => Self::Header(rest.into()),
            kind @ (b"LA-U" | b"LA-F") => {
                let ahead = match kind {
                    b"LA-U" => Ahead::Url,
                    _ => Ahead::File,
                };
                // Looking ahead of a look-ahead gives the same value, and a loop cannot exhaust the stack.
                while let Some(inner) = after_look_ahead(rest) {
                    rest = inner;
                }
                Self::LookAhead {
                    ahead,
                    name: rest.into(),
                    variable: Box::new(Self::parse(rest)),
                }
            }
            _ => Self::Unknown,
        }
    }

    fn plain(name: &[u8]) -> Self {
        if let Some((_, header)) = HEADERS
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known))
        {
            return Self::Header(Box::from(*header));
        }
        let known = PLAIN
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        known.map_or(Self::Unknown, |(_, variable)| variable.clone())
    }
}

fn after_look_ahead(name: &[u8]) -> Option<&[u8]> {
    let (kind, rest) = name.split_at_checked(5)?;
    let known = kind.eq_ignore_ascii_case(b"LA-U:") || kind.eq_ignore_ascii_case(b"LA-F:");
    (known && !rest.is_empty()).then_some(rest)
}

const HEADERS: &[(&[u8], &[u8])] = &[
    (b"HTTP_USER_AGENT", b"User-Agent"),
    (b"HTTP_REFERER", b"Referer"),
    (b"HTTP_COOKIE", b"Cookie"),
    (b"HTTP_FORWARDED", b"Forwarded"),
    (b"HTTP_HOST", b"Host"),
    (b"HTTP_PROXY_CONNECTION", b"Proxy-Connection"),
    (b"HTTP_ACCEPT", b"Accept"),
];

const PLAIN: &[(&str, Variable)] = &[
    ("AUTH_TYPE", Variable::AuthType),
    ("CONN_REMOTE_ADDR", Variable::ConnRemoteAddr),
    ("CONTEXT_PREFIX", Variable::ContextPrefix),
    ("CONTEXT_DOCUMENT_ROOT", Variable::ContextDocumentRoot),
    ("IPV6", Variable::Ipv6),
    ("PATH_INFO", Variable::PathInfo),
    ("QUERY_STRING", Variable::QueryString),
    ("REMOTE_ADDR", Variable::RemoteAddr),
    ("REMOTE_HOST", Variable::RemoteHost),
    ("REMOTE_IDENT", Variable::RemoteIdent),
    ("REMOTE_PORT", Variable::RemotePort),
    ("REMOTE_USER", Variable::RemoteUser),
    ("REQUEST_METHOD", Variable::RequestMethod),
    ("SCRIPT_FILENAME", Variable::ScriptFilename),
    ("DOCUMENT_ROOT", Variable::DocumentRoot),
    ("SCRIPT_GROUP", Variable::ScriptGroup),
    ("SCRIPT_USER", Variable::ScriptUser),
    ("SERVER_ADDR", Variable::ServerAddr),
    ("SERVER_ADMIN", Variable::ServerAdmin),
    ("SERVER_NAME", Variable::ServerName),
    ("SERVER_PORT", Variable::ServerPort),
    ("SERVER_PROTOCOL", Variable::ServerProtocol),
    ("SERVER_SOFTWARE", Variable::ServerSoftware),
    ("TIME_YEAR", Variable::TimeYear),
    ("TIME_MON", Variable::TimeMon),
    ("TIME_DAY", Variable::TimeDay),
    ("TIME_HOUR", Variable::TimeHour),
    ("TIME_MIN", Variable::TimeMin),
    ("TIME_SEC", Variable::TimeSec),
    ("TIME_WDAY", Variable::TimeWday),
    ("TIME", Variable::Time),
    ("API_VERSION", Variable::ApiVersion),
    ("HTTPS", Variable::Https),
    ("IS_SUBREQ", Variable::IsSubreq),
    ("REQUEST_FILENAME", Variable::RequestFilename),
    ("REQUEST_SCHEME", Variable::RequestScheme),
    ("REQUEST_URI", Variable::RequestUri),
    ("THE_REQUEST", Variable::TheRequest),
];

/// Names that expressions know and mod_rewrite does not, or understands otherwise.
const EXPRESSION_ONLY: &[(&str, Variable)] = &[
    ("API_VERSION", Variable::ApiMajor),
    ("CONN_LOG_ID", Variable::ConnLogId),
    ("REQUEST_LOG_ID", Variable::RequestLogId),
    ("CONTENT_TYPE", Variable::ContentType),
    ("DOCUMENT_URI", Variable::DocumentUri),
    ("HANDLER", Variable::Handler),
    ("HTTP2", Variable::Http2),
    ("LAST_MODIFIED", Variable::LastModified),
    ("REQUEST_STATUS", Variable::RequestStatus),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &[u8]) -> Variable {
        Variable::Header(name.into())
    }

    #[test]
    fn names_and_prefixes() {
        let ahead = |ahead, name: &str, inner| Variable::LookAhead {
            ahead,
            name: name.as_bytes().into(),
            variable: Box::new(inner),
        };
        for (name, expected) in [
            ("HTTP_HOST", header(b"Host")),
            ("http_user_agent", header(b"User-Agent")),
            ("HTTP_X_FORWARDED_FOR", Variable::Unknown),
            ("HTTP:Upgrade", header(b"Upgrade")),
            ("http:X-y", header(b"X-y")),
            ("HTTP:", Variable::Unknown),
            ("ENV:x", Variable::Env(b"x"[..].into())),
            ("env:A:B", Variable::Env(b"A:B"[..].into())),
            ("ENV:", Variable::Unknown),
            ("SSL:SSL_CIPHER", Variable::Ssl(b"SSL_CIPHER"[..].into())),
            ("FOO:x", Variable::Unknown),
            ("AB:x", Variable::Unknown),
            (
                "LA-U:REMOTE_USER",
                ahead(Ahead::Url, "REMOTE_USER", Variable::RemoteUser),
            ),
            (
                "la-f:LA-U:HTTP:X",
                ahead(Ahead::File, "HTTP:X", header(b"X")),
            ),
            ("LA-U:LA-U:", ahead(Ahead::Url, "LA-U:", Variable::Unknown)),
            ("Request_Uri", Variable::RequestUri),
            ("TIME", Variable::Time),
            ("TIM", Variable::Unknown),
            ("", Variable::Unknown),
            (":", Variable::Unknown),
            ("REQUEST_URI ", Variable::Unknown),
        ] {
            assert_eq!(Variable::parse(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn every_plain_name_is_its_own() {
        for (i, (name, variable)) in PLAIN.iter().enumerate() {
            assert_eq!(&Variable::parse(name.to_lowercase().as_bytes()), variable);
            assert!(
                PLAIN[i + 1..]
                    .iter()
                    .all(|(other, value)| other != name && value != variable)
            );
        }
    }

    #[test]
    fn expressions_know_other_names() {
        for (name, expected) in [
            ("handler", Some(Variable::Handler)),
            ("HTTP_HOST", Some(header(b"Host"))),
            ("ssl_cipher", Some(Variable::Ssl(b"SSL_CIPHER"[..].into()))),
            ("SERVER_ADDR", None),
            ("HTTP_FOO", None),
            ("LOG_ID", None),
            ("ADMIN", None),
            ("", None),
        ] {
            assert_eq!(Variable::in_expression(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(Variable::parse(b"HANDLER"), Variable::Unknown);
    }
}
