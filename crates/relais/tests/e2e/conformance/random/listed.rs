//! The differences that stay: what `known-differences.toml` lists for the cases that somebody wrote, as random requests
//! come upon it again and again.

use super::Sample;
use super::requests::Request;
use super::side::LOG;

/// A class of disagreements.
struct Listed {
    /// Why relais does otherwise.
    reason: &'static str,
    /// Whether a disagreement belongs to it.
    has: fn(&Sample, &Request, &str) -> bool,
}

/// The reason for a disagreement, if it is listed.
pub(super) fn reason(sample: &Sample, request: &Request, difference: &str) -> Option<&'static str> {
    let listed = LISTED
        .iter()
        .find(|one| (one.has)(sample, request, difference));
    listed.map(|one| one.reason)
}

const LISTED: &[Listed] = &[
    Listed {
        reason: "httpd sent nothing: its process ended, for this request or for another of the same moment",
        has: |_, _, difference| {
            let has_status = |sign| {
                difference
                    .lines()
                    .any(|line| line.starts_with(sign) && line[1..].starts_with("HTTP/1."))
            };
            has_status('+') && !has_status('-')
        },
    },
    Listed {
        reason: "a request target has no fragment (RFC 9112 3.2): relais refuses what the rule would send, httpd sends it",
        has: |sample, request, difference| {
            let is_sent = difference.lines().any(|line| {
                line.starts_with('-') && line.contains('#') && line.contains(" HTTP/1.")
            });
            let is_refused = difference.starts_with("-HTTP/1.1 200 OK\n+HTTP/1.1 403 ");
            let may_be = request.line.contains("%23") || has(sample, "/x#f");
            is_sent || (is_refused && may_be && request.line.starts_with("HEAD "))
        },
    },
    Listed {
        reason: "with NoDecode the per cent sign of %25 is data; httpd takes it for the beginning of an escape and answers 400",
        has: |sample, request, difference| {
            has(sample, "NoDecode")
                && request.line.contains("%25")
                && difference.starts_with("-HTTP/1.1 400 ")
        },
    },
    Listed {
        reason: "a section takes nothing away from AllowEncodedSlashes NoDecode; httpd forgets it wherever a section matches, and encodes %2F twice",
        has: |sample, _, difference| {
            has(sample, "NoDecode")
                && difference.replace("%252F", "%2F").replace("%252f", "%2f") != difference
        },
    },
    Listed {
        reason: "the page in the place of an origin's answer has the usual reason phrase of its status; httpd takes the origin's",
        has: |sample, request, difference| {
            has(sample, "ProxyErrorOverride")
                && request.fields.iter().any(|field| field == "X-Reply: 5")
                && difference.starts_with("-HTTP/1.1 503 Later\n+HTTP/1.1 503 Service Unavailable")
        },
    },
    Listed {
        reason: "a path that leaves the root is logged as it was sent; httpd shows what its normalising left of it",
        has: |_, request, difference| request.target().contains("..") && is_of_log(difference),
    },
    Listed {
        reason: "a log line shows the whole path; httpd's ends at an encoded NUL",
        has: |_, request, difference| request.target().contains("%00") && is_of_log(difference),
    },
    Listed {
        reason: "of a request line that is refused relais takes no parts; httpd logs those that it had read",
        has: |_, request, difference| {
            request
                .target()
                .contains(['#', '\\', '<', '|', '"', '\u{e9}', ']', '%'])
                && is_of_log(difference)
        },
    },
    Listed {
        reason: "the answer to OPTIONS of one's own says what is allowed, and has no fields of a content",
        has: |_, request, difference| {
            let is_of_content =
                |line: &str| line.starts_with("-Content-Type: ") || line.starts_with("-Vary: ");
            let is_of_status = difference.starts_with("-HTTP/1.1 30")
                && difference.ends_with("\n+HTTP/1.1 200 OK");
            request.line.starts_with("OPTIONS ")
                && (is_of_status || difference.lines().all(is_of_content))
        },
    },
    Listed {
        reason: "Via of an answer names the version in which the origin sent it (RFC 9110 7.6.3); httpd names the client's",
        has: |sample, request, difference| {
            has(sample, "ProxyVia On")
                && request.version == "HTTP/1.0"
                && difference
                    .replace("-Via: 1.0 ", "+Via: 1.1 ")
                    .lines()
                    .all(|line| line.starts_with("+Via: 1.1 "))
        },
    },
    Listed {
        reason: "a client cannot take away what RequestHeader sets by naming it in Connection; in httpd it can",
        has: |sample, request, _| {
            has(sample, "RequestHeader")
                && request
                    .fields
                    .iter()
                    .any(|field| field == "Connection: X-B")
        },
    },
    Listed {
        reason: "the page of an error is asked for with HEAD if the request was one; httpd asks with GET and drops the body",
        has: |sample, request, difference| {
            let lines: Vec<&str> = difference.lines().collect();
            has(sample, "ErrorDocument")
                && request.line.starts_with("HEAD ")
                && matches!(lines[..], [one, other] if one.starts_with("-Content-Length: ") && other.starts_with("+Content-Length: "))
        },
    },
    Listed {
        reason: "a URL that a rule hands on with [PT] is refused with 400 and logged by its path; httpd looks at its query first, and logs the URL",
        has: |sample, _, difference| {
            let is_refused = difference.starts_with("-HTTP/1.1 403 Forbidden\n+HTTP/1.1 400 ");
            has(sample, "PT")
                && (is_refused || is_of_log(difference) && difference.contains("http://"))
        },
    },
    Listed {
        reason: "Header echo copies a field of the request as one, with what RequestHeader has added to it",
        has: |sample, _, difference| {
            has(sample, "echo")
                && has(sample, "RequestHeader add")
                && difference.lines().all(|line| line[1..].starts_with("X-"))
        },
    },
    Listed {
        reason: "%s of a request that rules send in circles is its status, as the client got it; httpd logs 200",
        has: |sample, _, difference| {
            let lines: Vec<&str> = difference.lines().collect();
            has(sample, "RewriteRule")
                && is_of_log(difference)
                && matches!(lines[..], [one, other] if one[1..] == other[1..].replace("500", "200"))
        },
    },
    Listed {
        reason: "an error on the way to an error's page is told beside the first one, whoever made it; httpd forgets the first if a rule made the second",
        has: |sample, _, difference| {
            let (first, rest) = difference.split_once('\n').unwrap_or((difference, ""));
            let is_error = |line: &str| line.starts_with("HTTP/1.") && line.get(9..10) == Some("4");
            has(sample, "ErrorDocument")
                && has(sample, "RewriteRule")
                && is_error(first.trim_start_matches('-'))
                && rest.starts_with("+HTTP/1.1 404 ")
        },
    },
    Listed {
        reason: "%q is the query that the client sent, also where a rule redirects with another",
        has: |sample, _, difference| {
            has(sample, "%q") && has(sample, "RewriteRule") && is_of_log(difference)
        },
    },
    Listed {
        reason: "the page of an error is asked for with GET and without content; httpd says that its length is 0, or sends the client's",
        has: |sample, request, difference| {
            let ends = ["-Content-Length: 0", "-abc\\"];
            has(sample, "ErrorDocument")
                && !request.body.is_empty()
                && ends.iter().any(|end| difference.ends_with(end))
        },
    },
    Listed {
        reason: "fields in a log line are those that were sent; httpd has lost those of an error on the way to an error's page",
        has: |sample, _, difference| {
            has(sample, "ErrorDocument") && has(sample, "}o") && is_of_log(difference)
        },
    },
    Listed {
        reason: "RequestHeader edits a request once; httpd edits it again where a rule of a section begins it anew",
        has: |sample, _, difference| {
            let edits = [
                "RequestHeader add",
                "RequestHeader append",
                "RequestHeader edit",
            ];
            edits.iter().any(|edit| has(sample, edit))
                && has(sample, "RewriteRule")
                && !difference.contains("HTTP/1.")
        },
    },
    Listed {
        reason: "where Content-Length and Allow stand among the fields of an answer of one's own has no meaning",
        has: |_, _, difference| {
            let lines: Vec<&str> = difference.lines().collect();
            let names = ["Content-Length: ", "Allow: "];
            let is_one = |line: &str| names.iter().any(|name| line.starts_with(name));
            matches!(lines[..], [one, other] if one[1..] == other[1..] && is_one(&one[1..]))
        },
    },
];

/// Whether only lines of the access log differ.
fn is_of_log(difference: &str) -> bool {
    difference.lines().all(|line| line[1..].starts_with(LOG))
}

fn has(sample: &Sample, text: &str) -> bool {
    sample.parts.iter().any(|part| part.contains(text))
}
