//! Request methods that httpd knows by name (`ap_method_registry_init`).

use relais_conf::Text;
use relais_policy::Problem;

/// The methods, `HEAD` apart: it counts as GET.
const METHODS: &[&str] = &[
    "GET",
    "PUT",
    "POST",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "VERSION-CONTROL",
    "CHECKOUT",
    "UNCHECKOUT",
    "CHECKIN",
    "UPDATE",
    "LABEL",
    "REPORT",
    "MKWORKSPACE",
    "MKACTIVITY",
    "BASELINE-CONTROL",
    "MERGE",
];

/// The method that a word names, HEAD as GET.
pub(crate) fn method(word: &Text) -> Result<&'static str, Problem> {
    let text = word.lossy();
    let name = if text == "HEAD" { "GET" } else { &*text };
    let known = METHODS.iter().find(|known| **known == name);
    known
        .copied()
        .ok_or_else(|| Problem::at(word.span(), format!("Invalid Method '{text}'")))
}

/// Whether a request's method is among those of a directive.
pub(crate) fn covers(methods: &[&str], method: &[u8]) -> bool {
    let method: &[u8] = if method == b"HEAD" { b"GET" } else { method };
    methods.iter().any(|have| have.as_bytes() == method)
}
