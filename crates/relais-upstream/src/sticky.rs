//! Which session a request belongs to: `stickysession=`.

use relais_policy::Sticky;

/// What a request says of its session.
pub(crate) enum Session {
    /// Nothing.
    None,
    /// The route of a member.
    Route(Vec<u8>),
    /// A key that some member stands for.
    Key(Vec<u8>),
}

/// Looks for a session: in the URL first, then in the cookies
/// (`find_session_route`).
pub(crate) fn find(sticky: &Sticky, target: &[u8], cookies: &[&[u8]]) -> Session {
    match sticky {
        Sticky::SockJs => sockjs(target).map_or(Session::None, Session::Key),
        Sticky::Route {
            cookie,
            parameter,
            separator,
            semicolon,
        } => {
            let value = in_url(target, parameter.as_bytes(), *semicolon).or_else(|| {
                cookies
                    .iter()
                    .find_map(|line| in_cookies(line, cookie.as_bytes()))
            });
            let route = value.and_then(|value| match separator {
                None => Some(value),
                Some(separator) => {
                    let at = value.iter().position(|byte| byte == separator)?;
                    value.get(at + 1..)
                }
            });
            route.map_or(Session::None, |route| Session::Route(route.to_vec()))
        }
    }
}

/// The name that is looked for, as `BALANCER_SESSION_STICKY` has it.
pub(crate) fn name(sticky: &Sticky) -> String {
    match sticky {
        Sticky::SockJs => "sockjs".to_owned(),
        Sticky::Route {
            cookie, parameter, ..
        } if cookie == parameter => cookie.clone(),
        Sticky::Route {
            cookie, parameter, ..
        } => format!("{cookie}|{parameter}"),
    }
}

/// `name=value` anywhere in a URL, up to `?` or `&` (`get_path_param`).
fn in_url<'a>(url: &'a [u8], name: &[u8], semicolon: bool) -> Option<&'a [u8]> {
    let value = after(url, name).find_map(|(_, rest)| rest.strip_prefix(b"="))?;
    let ends = |byte: &u8| matches!(byte, b'?' | b'&') || (semicolon && *byte == b';');
    value.split(ends).next().filter(|value| !value.is_empty())
}

/// A cookie's value (`get_cookie_param`).
fn in_cookies<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let begins = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| line.get(at));
        before.is_none_or(|byte| matches!(byte, b';' | b',') || byte.is_ascii_whitespace())
    };
    let value = after(line, name)
        .filter(|(at, _)| begins(*at))
        .find_map(|(_, rest)| rest.trim_ascii_start().strip_prefix(b"="))?
        .trim_ascii_start();
    value.split(|byte| matches!(byte, b';' | b',')).next()
}

/// Every place of a name, with what is behind it.
fn after<'a>(text: &'a [u8], name: &[u8]) -> impl Iterator<Item = (usize, &'a [u8])> {
    let places = (0..text.len()).filter_map(move |at| {
        let rest = text.get(at..)?.strip_prefix(name)?;
        Some((at, rest))
    });
    places.filter(|_| !name.is_empty())
}

/// `<server>/<session>` of `…/<server>/<session>/<transport>`
/// (sockjs-protocol 0.3.3, "Session URLs": neither holds a dot).
fn sockjs(target: &[u8]) -> Option<Vec<u8>> {
    let path = target.split(|byte| *byte == b'?').next()?;
    let mut parts = path.rsplit(|byte| *byte == b'/');
    let (transport, session, server) = (parts.next()?, parts.next()?, parts.next()?);
    let plain = |part: &[u8]| !part.is_empty() && !part.contains(&b'.');
    (TRANSPORTS.contains(&transport) && plain(session) && plain(server))
        .then(|| [server, b"/", session].concat())
}

/// The last part of a session's URL.
const TRANSPORTS: [&[u8]; 8] = [
    b"websocket",
    b"xhr",
    b"xhr_send",
    b"xhr_streaming",
    b"eventsource",
    b"htmlfile",
    b"jsonp",
    b"jsonp_send",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_urls_and_cookies() {
        let table: &[(&str, &str, &str)] = &[
            ("/x;r=1.a", "", "a"),
            ("/x;r=1.a?y=2", "", "a"),
            ("/x?y=2&r=1.a&z", "", "a"),
            ("/x;r=1.a;z=1", "", "a;z=1"),
            ("/x?r=1", "", "-"),
            ("/x?r=", "C=2.b", "b"),
            ("/x", "C=abc.x.b", "x.b"),
            ("/x", "XC=1.a; C=1.b", "b"),
            ("/x", "C=.b; z=1", "b"),
            ("/x", "C = 1.b", "b"),
            ("/x", "c=1.b", "-"),
        ];
        let sticky = Sticky::Route {
            cookie: "C".to_owned(),
            parameter: "r".to_owned(),
            separator: Some(b'.'),
            semicolon: false,
        };
        for &(target, cookie, expected) in table {
            let found = match find(&sticky, target.as_bytes(), &[cookie.as_bytes()]) {
                Session::Route(route) => String::from_utf8_lossy(&route).into_owned(),
                _ => "-".to_owned(),
            };
            assert_eq!(found, expected, "{target} {cookie}");
        }
    }

    #[test]
    fn sockjs_sessions() {
        let table: &[(&str, Option<&str>)] = &[
            ("/eventbus/123/abc/xhr", Some("123/abc")),
            ("/eventbus/123/abc/websocket?t=1", Some("123/abc")),
            ("/eventbus/info", None),
            ("/eventbus/websocket", None),
            ("/eventbus/123/a.b/xhr", None),
            ("/eventbus/123/abc/other", None),
        ];
        for &(target, expected) in table {
            let found = sockjs(target.as_bytes());
            let found = found.as_deref().map(String::from_utf8_lossy);
            assert_eq!(found.as_deref(), expected, "{target}");
        }
    }
}
