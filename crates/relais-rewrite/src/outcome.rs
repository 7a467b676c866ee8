//! What goes into a run of the rules and what comes out.

use std::borrow::Cow;

/// The request as the rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The path: decoded, dot segments removed, slashes merged. In per-directory context the name of the file, or
    /// the text `proxy:URL` of a request that is already to be proxied.
    pub path: &'a [u8],
    /// In per-directory context, what of the request's path leads beyond the file: patterns see it behind the name.
    pub path_info: &'a [u8],
    /// The query as it was sent, without its question mark.
    pub query: Option<&'a [u8]>,
    /// Whether this is a sub-request; rules with `NS` or `R` are then skipped.
    pub is_subrequest: bool,
    /// The section or folder whose rules run (per-directory context).
    pub directory: Option<Directory<'a>>,
    /// A rewritten path or query longer than this ends in a 500. httpd: twice LimitRequestLine.
    pub uri_bytes_max: usize,
}

/// Per-directory context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory<'a> {
    /// What is put in front of a relative result, with a slash at its end.
    pub prefix: &'a [u8],
    /// Whether patterns see the path without the prefix (`<Directory>`), or all of it.
    pub strips: bool,
    /// `RewriteBase`: takes the place of the prefix when a result becomes a URL.
    pub base: Option<&'a [u8]>,
    /// `DocumentRoot` without a slash at its end: without a `RewriteBase` it is cut off a result that becomes a URL.
    pub root: Option<&'a [u8]>,
    /// The folder of the `Alias` that led to the file, and the path that stands for it, which takes its place where
    /// nothing else does; `None` with `IgnoreContextInfo`.
    pub alias: Option<(&'a [u8], &'a [u8])>,
    /// Whether the request is already to be proxied.
    pub proxied: bool,
}

/// Where the first segment of a rewritten path comes from: in server context it may be taken for a folder of the
/// disk, which a client should not be able to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefix {
    /// From the request.
    #[default]
    Request,
    /// From the rule's author, literally or with `UnsafePrefixStat`.
    Author,
    /// It was the path of a URL that names this very host.
    OwnUrl,
}

impl<'a> Input<'a> {
    /// A main request with httpd's default limit.
    #[must_use]
    pub const fn new(path: &'a [u8], query: Option<&'a [u8]>) -> Self {
        Self {
            path,
            path_info: b"",
            query,
            is_subrequest: false,
            directory: None,
            uri_bytes_max: 2 * 8190,
        }
    }
}

/// What the rules decided for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No rule changed anything: path and query are as before, and ProxyPass, Alias and Redirect come next.
    /// Environment variables may have been set.
    Declined,
    /// `[P]`: hand the request to mod_proxy. ProxyPass is not consulted.
    Proxy {
        /// The target without its query, not yet canonical: everything behind the authority has to go through
        /// [`canonical_path`](crate::canonical_path) unless `no_escape` is set.
        url: Vec<u8>,
        /// Whether `url` starts with a known scheme. If not it is a path with a leading slash, and httpd would connect
        /// to its own `scheme://servername:port`.
        absolute: bool,
        /// The query to send, without its question mark. It holds no control character and no space.
        query: Option<Vec<u8>>,
        /// `[NE]`: `url` goes out as it is. It then holds no control character and no space either.
        no_escape: bool,
    },
    /// An external redirect.
    Redirect {
        /// 300 to 399.
        status: u16,
        /// The value of `Location`, escaped unless `[NE]`, query included. If it starts with a slash it is a path, and
        /// the caller **must** put its own `scheme://host[:port]` in front: a path may start with `//`, which on its
        /// own would name another host. It holds no control character.
        location: Vec<u8>,
    },
    /// `[F]`, `[G]` or `[R=nnn]` with a status that is no redirect.
    Status(u16),
    /// `[PT]`: ProxyPass, Alias and Redirect come next and see this path. It starts with a slash.
    PassThrough {
        /// The new path, decoded.
        path: Vec<u8>,
        /// The new query.
        query: Option<Vec<u8>>,
    },
    /// A path without `[PT]`: in server context httpd maps it to a file and asks neither ProxyPass nor Alias; in
    /// per-directory context the request begins again with it.
    Rewritten {
        /// The new path, decoded, with a leading slash.
        path: Vec<u8>,
        /// The new query.
        query: Option<Vec<u8>>,
        /// Where its first segment comes from.
        prefix: Prefix,
    },
    /// The path of the request's own file: nothing follows from it but the new query.
    Same {
        /// The new query.
        query: Option<Vec<u8>>,
    },
    /// The result is not safe or not finite; answer with `status` and log `reason`.
    Error {
        /// 400, 403 or 500.
        status: u16,
        /// One phrase for the error log.
        reason: Cow<'static, str>,
    },
}
