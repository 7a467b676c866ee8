//! The bodies of error answers, as httpd writes them, so that whoever matches their text keeps matching.

use std::io::Write;

use crate::reason;

/// What an error page holds besides its status. All of it is escaped, so that bytes of a client may be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageExtra<'a> {
    /// Title in the place of the reason phrase, such as mod_proxy's `Proxy Error`.
    pub title: Option<&'a str>,
    /// The request method, which the pages of 405, 411, 413 and 501 name.
    pub method: &'a [u8],
    /// Where a redirect leads.
    pub location: &'a [u8],
    /// The expectation that a 417 answers.
    pub expectation: &'a [u8],
    /// What mod_proxy says went wrong, such as `Error reading from remote server`; shown by 500, 502 and other pages
    /// with a place for a note.
    pub proxy_reason: Option<&'a [u8]>,
    /// A line behind the first sentence of a 400, such as mod_ssl's; HTML, and relais' own words only.
    pub note: Option<&'static str>,
    /// ServerAdmin, which the page of 500 and its like names.
    pub admin: Option<&'a str>,
    /// Status of the error that happened on the way to an ErrorDocument.
    pub nested: Option<u16>,
    /// The line that ServerSignature asks for.
    pub signature: Option<Signature<'a>>,
}

/// The line below an error page (ServerSignature).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// Name of the software, as in the Server field.
    pub software: &'a str,
    /// Server name.
    pub host: &'a [u8],
    /// Server port.
    pub port: u16,
    /// Address to link to, for `ServerSignature EMail`.
    pub mail: Option<&'a str>,
}

const HEAD: &str = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">\n<html><head>\n<title>";

/// What the pages of 500 and of all statuses without a text of their own say. See [`text`] for the marks.
const INTERNAL: &str = "<p>The server encountered an internal error or\nmisconfiguration and was unable to complete\n\
    your request.</p>\n<p>Please contact the server administrator at \n %a to inform them of the time this error \
    occurred,\n and the actions you performed just before this error.</p>\n<p>More information about this error may be \
    available\nin the server error log.</p>\n";

/// The body of the answer with `status`, an HTML 4.01 page in ISO-8859-1.
#[must_use]
pub fn error_page(status: u16, extra: &PageExtra<'_>) -> Vec<u8> {
    let title = extra.title.unwrap_or_else(|| reason(status)).as_bytes();
    let mut out = Vec::with_capacity(640);
    out.extend_from_slice(HEAD.as_bytes());
    number(&mut out, status);
    out.push(b' ');
    escape_html(title, &mut out);
    out.extend_from_slice(b"</title>\n</head><body>\n<h1>");
    escape_html(title, &mut out);
    out.extend_from_slice(b"</h1>\n");
    write_text(&mut out, status, extra);
    if let Some(nested) = extra.nested {
        out.extend_from_slice(b"<p>Additionally, a ");
        number(&mut out, nested);
        out.push(b' ');
        out.extend_from_slice(reason(nested).as_bytes());
        out.extend_from_slice(b"\nerror was encountered while trying to use an ErrorDocument to handle the request.</p>\n");
    }
    if let Some(signature) = &extra.signature {
        write_signature(&mut out, signature);
    }
    out.extend_from_slice(b"</body></html>\n");
    out
}

/// Appends `text` to `out` with `&`, `<`, `>` and `"` written as entities, as httpd does.
pub fn escape_html(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            _ => out.push(byte),
        }
    }
}

/// Writes the explanation, with what the marks stand for.
fn write_text(out: &mut Vec<u8>, status: u16, extra: &PageExtra<'_>) {
    if let (500, Some(_)) = (status, extra.proxy_reason) {
        write_note(out, extra);
        out.extend_from_slice(b"<p />\n");
        return;
    }
    if let (400, Some(note)) = (status, extra.note) {
        let sentence = text(status, extra).split('%').next().unwrap_or_default();
        out.extend_from_slice(sentence.as_bytes());
        out.extend_from_slice(note.as_bytes());
        out.extend_from_slice(b"</p>\n");
        return;
    }
    let mut pieces = text(status, extra).split('%');
    out.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        let (mark, rest) = piece.split_at_checked(1).unwrap_or_default();
        match mark {
            "m" if !extra.method.is_empty() => {
                escape_html(extra.method, out);
                out.push(b' ');
            }
            "l" => escape_html(extra.location, out),
            "e" => escape_html(extra.expectation, out),
            "a" => escape_html(extra.admin.unwrap_or("[no address given]").as_bytes(), out),
            "n" => write_note(out, extra),
            _ => {}
        }
        out.extend_from_slice(rest.as_bytes());
    }
}

/// Writes what mod_proxy says, in the form in which it says it.
fn write_note(out: &mut Vec<u8>, extra: &PageExtra<'_>) {
    let Some(reason) = extra.proxy_reason else {
        return;
    };
    out.extend_from_slice(b"The proxy server could not handle the request<p>Reason: <strong>");
    escape_html(reason, out);
    out.extend_from_slice(b"</strong></p>");
}

fn write_signature(out: &mut Vec<u8>, signature: &Signature<'_>) {
    out.extend_from_slice(b"<hr>\n<address>");
    escape_html(signature.software.as_bytes(), out);
    out.extend_from_slice(b" Server at ");
    if let Some(mail) = signature.mail {
        out.extend_from_slice(b"<a href=\"mailto:");
        escape_html(mail.as_bytes(), out);
        out.extend_from_slice(b"\">");
    }
    escape_html(signature.host, out);
    if signature.mail.is_some() {
        out.extend_from_slice(b"</a>");
    }
    out.extend_from_slice(b" Port ");
    number(out, signature.port);
    out.extend_from_slice(b"</address>\n");
}

fn number(out: &mut Vec<u8>, number: u16) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{number}");
}

/// What httpd says below the heading. Marks: `%m` the method and a space, `%l` the location, `%e` the expectation,
/// `%a` the administrator, `%n` the place for a note.
fn text(status: u16, extra: &PageExtra<'_>) -> &'static str {
    match status {
        300 => "",
        301 | 302 | 307 | 308 => "<p>The document has moved <a href=\"%l\">here</a>.</p>\n",
        303 => "<p>The answer to your request is located <a href=\"%l\">here</a>.</p>\n",
        305 => {
            "<p>This resource is only accessible through the proxy\n<br />\nYou will need to configure your client to \
             use that proxy.</p>\n"
        }
        417 if extra.expectation.is_empty() => {
            "<p>No expectation was seen, the Expect request-header \nfield was not presented by the client.\n\
             %n</p><p>Only the 100-continue expectation is supported.</p>\n"
        }
        417 => {
            "<p>The expectation given in the Expect request-header\nfield could not be met by this server.\n\
             The client sent<pre>\n    Expect: %e\n</pre>\n%n</p><p>Only the 100-continue expectation is supported.\
             </p>\n"
        }
        400..=499 => client_text(status),
        _ => server_text(status),
    }
}

fn client_text(status: u16) -> &'static str {
    match status {
        400 => {
            "<p>Your browser sent a request that this server could not understand.<br />\n%n</p>\n"
        }
        401 | 407 => {
            "<p>This server could not verify that you\nare authorized to access the document\nrequested.  Either you \
             supplied the wrong\ncredentials (e.g., bad password), or your\nbrowser doesn't understand how to supply\n\
             the credentials required.</p>\n"
        }
        403 => "<p>You don't have permission to access this resource.%n</p>\n",
        404 => "<p>The requested URL was not found on this server.</p>\n",
        405 => "<p>The requested method %mis not allowed for this URL.</p>\n",
        406 => {
            "<p>An appropriate representation of the requested resource could not be found on this server.</p>\n"
        }
        408 => "<p>Server timeout waiting for the HTTP request from the client.</p>\n",
        410 => {
            "<p>The requested resource is no longer available on this server and there is no forwarding address.\n\
             Please remove all references to this resource.</p>\n"
        }
        411 => {
            "<p>A request of the requested method %mrequires a valid Content-length.<br />\n%n</p>\n"
        }
        412 => "<p>The precondition on the request for this URL evaluated to false.</p>\n",
        413 => {
            "The requested resource does not allow request data with %mrequests, or the amount of data provided in\n\
             the request exceeds the capacity limit.\n"
        }
        414 => {
            "<p>The requested URL's length exceeds the capacity\nlimit for this server.<br />\n%n</p>\n"
        }
        415 => {
            "<p>The supplied request data is not in a format\nacceptable for processing by this resource.</p>\n"
        }
        416 => {
            "<p>None of the range-specifier values in the Range\nrequest-header field overlap the current extent\n\
             of the selected resource.</p>\n"
        }
        421 => {
            "<p>The client needs a new connection for this\nrequest as the requested host name does not match\n\
             the Server Name Indication (SNI) in use for this\nconnection.</p>\n"
        }
        422 => {
            "<p>The server understands the media type of the\nrequest entity, but was unable to process the\n\
             contained instructions.</p>\n"
        }
        423 => {
            "<p>The requested resource is currently locked.\nThe lock must be released or proper identification\n\
             given before the method can be applied.</p>\n"
        }
        424 => {
            "<p>The method could not be performed on the resource\nbecause the requested action depended on another\n\
             action and that other action failed.</p>\n"
        }
        426 => {
            "<p>The requested resource can only be retrieved\nusing SSL.  The server is willing to upgrade the current\n\
             connection to SSL, but your client doesn't support it.\nEither upgrade your client, or try requesting \
             the page\nusing https://\n"
        }
        428 => "<p>The request is required to be conditional.</p>\n",
        429 => "<p>The user has sent too many requests\nin a given amount of time.</p>\n",
        431 => {
            "<p>The server refused this request because\nthe request header fields are too large.</p>\n"
        }
        451 => "<p>Access to this URL has been denied for legal reasons.<br />\n%n</p>\n",
        _ => INTERNAL,
    }
}

fn server_text(status: u16) -> &'static str {
    match status {
        501 => "<p>%mnot supported for current URL.<br />\n%n</p>\n",
        // httpd ends these two lines with CRLF.
        502 => {
            "<p>The proxy server received an invalid\r\nresponse from an upstream server.<br />\r\n%n</p>\n"
        }
        503 => {
            "<p>The server is temporarily unable to service your\nrequest due to maintenance downtime or capacity\n\
             problems. Please try again later.</p>\n"
        }
        504 => {
            "<p>The gateway did not receive a timely response\nfrom the upstream server or application.</p>\n"
        }
        507 => {
            "<p>The method could not be performed on the resource\nbecause the server is unable to store the\n\
             representation needed to successfully complete the\nrequest.  There is insufficient free space left in\n\
             your storage allocation.</p>\n"
        }
        508 => {
            "<p>The server terminated an operation because\nit encountered an infinite loop.</p>\n"
        }
        510 => {
            "<p>A mandatory extension policy in the request is not\naccepted by the server for this resource.</p>\n"
        }
        511 => "<p>The client needs to authenticate to gain\nnetwork access.</p>\n",
        _ => INTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(status: u16, extra: &PageExtra<'_>) -> String {
        let page = String::from_utf8(error_page(status, extra)).unwrap();
        let page = page
            .strip_prefix(HEAD)
            .unwrap()
            .strip_suffix("</body></html>\n")
            .unwrap();
        page.replace("</title>\n</head><body>\n", "|")
            .replace('\n', "~")
    }

    #[test]
    fn pages_are_httpds() {
        let plain = PageExtra::default();
        let get = PageExtra {
            method: b"GET",
            ..plain
        };
        for (status, extra, expected) in [
            (
                404,
                plain,
                "404 Not Found|<h1>Not Found</h1>~<p>The requested URL was not found on this server.</p>~",
            ),
            (
                405,
                get,
                "405 Method Not Allowed|<h1>Method Not Allowed</h1>~<p>The requested method GET is not allowed for this URL.</p>~",
            ),
            (
                405,
                plain,
                "405 Method Not Allowed|<h1>Method Not Allowed</h1>~<p>The requested method is not allowed for this URL.</p>~",
            ),
            (
                501,
                get,
                "501 Not Implemented|<h1>Not Implemented</h1>~<p>GET not supported for current URL.<br />~</p>~",
            ),
            (
                413,
                get,
                "413 Request Entity Too Large|<h1>Request Entity Too Large</h1>~The requested resource does not allow request data with GET requests, or the amount of data provided in~the request exceeds the capacity limit.~",
            ),
            (
                502,
                plain,
                "502 Bad Gateway|<h1>Bad Gateway</h1>~<p>The proxy server received an invalid\r~response from an upstream server.<br />\r~</p>~",
            ),
            (
                300,
                plain,
                "300 Multiple Choices|<h1>Multiple Choices</h1>~",
            ),
            (
                302,
                PageExtra {
                    location: b"http://a/?b&c",
                    ..plain
                },
                "302 Found|<h1>Found</h1>~<p>The document has moved <a href=\"http://a/?b&amp;c\">here</a>.</p>~",
            ),
            (
                410,
                PageExtra {
                    nested: Some(404),
                    ..plain
                },
                "410 Gone|<h1>Gone</h1>~<p>The requested resource is no longer available on this server and there is no forwarding address.~Please remove all references to this resource.</p>~<p>Additionally, a 404 Not Found~error was encountered while trying to use an ErrorDocument to handle the request.</p>~",
            ),
        ] {
            assert_eq!(body(status, &extra), expected);
        }
    }

    #[test]
    fn proxy_errors() {
        let extra = PageExtra {
            title: Some("Proxy Error"),
            proxy_reason: Some(b"DNS lookup failure for: <a>"),
            ..PageExtra::default()
        };
        for (status, expected) in [
            (
                500,
                "500 Proxy Error|<h1>Proxy Error</h1>~The proxy server could not handle the request<p>Reason: <strong>DNS lookup failure for: &lt;a&gt;</strong></p><p />~",
            ),
            (
                502,
                "502 Proxy Error|<h1>Proxy Error</h1>~<p>The proxy server received an invalid\r~response from an upstream server.<br />\r~The proxy server could not handle the request<p>Reason: <strong>DNS lookup failure for: &lt;a&gt;</strong></p></p>~",
            ),
        ] {
            assert_eq!(body(status, &extra), expected);
        }
    }

    #[test]
    fn signatures() {
        let signature = Signature {
            software: "relais",
            host: b"a<",
            port: 81,
            mail: None,
        };
        for (mail, expected) in [
            (
                None,
                "<hr>~<address>relais Server at a&lt; Port 81</address>~",
            ),
            (
                Some("w@a"),
                "<hr>~<address>relais Server at <a href=\"mailto:w@a\">a&lt;</a> Port 81</address>~",
            ),
        ] {
            let page = body(
                404,
                &PageExtra {
                    signature: Some(Signature { mail, ..signature }),
                    ..PageExtra::default()
                },
            );
            assert!(page.ends_with(expected), "{page}");
        }
    }

    #[test]
    fn nothing_of_the_client_gets_in_unescaped() {
        let evil = b"<script>\"&";
        let extra = PageExtra {
            method: evil,
            location: evil,
            expectation: evil,
            proxy_reason: Some(evil),
            ..PageExtra::default()
        };
        for status in 100..=599 {
            let page = String::from_utf8(error_page(status, &extra)).unwrap();
            assert!(!page.contains("<script"), "{status}");
            assert!(!page.contains('%'), "{status}: a mark was left");
        }
    }
}
