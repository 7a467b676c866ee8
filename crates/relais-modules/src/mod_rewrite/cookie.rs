//! The `CO` flag: `name:value:domain[:minutes[:path[:secure[:httponly[:samesite]]]]]`.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// The name of the cookie that the text describes, and its `Set-Cookie`.
/// `None` if the text has no name, value or domain.
pub(super) fn render(text: &[u8], now: SystemTime) -> Option<(Vec<u8>, Vec<u8>)> {
    let (separator, text) = match text {
        [b';', rest @ ..] => (b';', rest),
        _ => (b':', text),
    };
    let mut parts = text
        .split(|byte| *byte == separator)
        .filter(|part| !part.is_empty());
    let (name, value, domain) = (parts.next()?, parts.next()?, parts.next()?);
    let minutes = parts.next().map_or(0, relais_expr::leading_integer);
    let path = parts.next().unwrap_or(b"/");
    let mut cookie = [name, b"=", value, b"; path=", path, b"; domain=", domain].concat();
    if let Some(date) = expiry(minutes, now) {
        cookie.extend_from_slice(format!("; expires={date}").as_bytes());
    }
    let asked = |part: Option<&[u8]>, name: &[u8]| {
        part.is_some_and(|part| {
            part == b"1" || part.eq_ignore_ascii_case(b"true") || part.eq_ignore_ascii_case(name)
        })
    };
    if asked(parts.next(), b"secure") {
        cookie.extend_from_slice(b"; secure");
    }
    if asked(parts.next(), b"httponly") {
        cookie.extend_from_slice(b"; HttpOnly");
    }
    let same_site = parts.next();
    if let Some(same_site) =
        same_site.filter(|value| *value != b"0" && !value.eq_ignore_ascii_case(b"false"))
    {
        cookie.extend_from_slice(b"; SameSite=");
        cookie.extend_from_slice(same_site);
    }
    // A tab may stand in a field.
    let clean = !cookie
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t');
    clean.then(|| (name.to_vec(), cookie))
}

fn expiry(minutes: i64, now: SystemTime) -> Option<String> {
    let seconds = minutes.checked_mul(60).filter(|seconds| *seconds != 0)?;
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds > 0 {
        now.checked_add(distance)
    } else {
        now.checked_sub(distance)
    };
    let at = Timestamp::try_from(at?).ok()?;
    Some(at.strftime("%a, %d-%b-%Y %H:%M:%S GMT").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_611_183);
        for (text, expected) in [
            (
                "a:b:.ex.com:10:/p:secure:httponly:lax",
                Some(
                    "a=b; path=/p; domain=.ex.com; expires=Wed, 25-Nov-2026 13:03:03 GMT; secure; HttpOnly; SameSite=lax",
                ),
            ),
            ("a:b:d", Some("a=b; path=/; domain=d")),
            (";x;y;z;0", Some("x=y; path=/; domain=z")),
            (
                "a:b:d:0:/:false:1:0",
                Some("a=b; path=/; domain=d; HttpOnly"),
            ),
            ("bad:b", None),
            ("a:b\r\nX: y:d", None),
        ] {
            let cookie = render(text.as_bytes(), now).map(|(_, cookie)| cookie);
            assert_eq!(cookie.as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }
}
