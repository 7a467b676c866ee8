//! Percent-encoding of whole paths, as httpd's `ap_escape_uri` and `ap_unescape_url` do it.

/// What became of an encoded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unescaped {
    /// All of it was decoded.
    Good,
    /// It held `%00`, or `%2f` where these are not wanted; it was decoded all the same.
    Forbidden,
    /// A percent sign had no two hex digits behind it and was kept.
    Malformed,
}

/// Appends `path`, encoded as httpd encodes a path for a `Location`: letters, digits and ``$-_.+!*'(),:@&=/~;`` stay,
/// every other byte becomes `%xx` in lower case.
pub fn escape_path(path: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"$-_.+!*'(),:@&=/~;".contains(&byte) {
            out.push(byte);
        } else {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend([b'%', DIGITS[high], DIGITS[low]]);
        }
    }
}

/// Appends `text` decoded. With `keep_slashes` a `%2f` stays as it is, else it is decoded and counts as forbidden.
pub fn unescape(text: &[u8], keep_slashes: bool, out: &mut Vec<u8>) -> Unescaped {
    let mut result = Unescaped::Good;
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let Some(decoded) = hex_pair(tail) else {
            result = Unescaped::Malformed;
            out.push(byte);
            continue;
        };
        if decoded == b'/' && keep_slashes {
            out.push(byte);
            continue;
        }
        if matches!(decoded, 0 | b'/') && result == Unescaped::Good {
            result = Unescaped::Forbidden;
        }
        out.push(decoded);
        rest = tail.get(2..).unwrap_or_default();
    }
    result
}

fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_with_lower_case_digits() {
        let mut out = Vec::new();
        escape_path(b"a b/c?d#%25q'1()~;=,<>^|`", &mut out);
        assert_eq!(out, b"a%20b/c%3fd%23%2525q'1()~;=,%3c%3e%5e%7c%60");
    }

    #[test]
    fn texts_are_decoded() {
        for (text, keep, expected, result) in [
            (&b"a%20b+c"[..], false, &b"a b+c"[..], Unescaped::Good),
            (b"a%2Fb", true, b"a%2Fb", Unescaped::Good),
            (b"a%2Fb", false, b"a/b", Unescaped::Forbidden),
            (b"a%00b", true, b"a\0b", Unescaped::Forbidden),
            (b"%zz%4", false, b"%zz%4", Unescaped::Malformed),
            (b"%00%4x", false, b"\0%4x", Unescaped::Malformed),
        ] {
            let mut out = Vec::new();
            assert_eq!(unescape(text, keep, &mut out), result);
            assert_eq!(out, expected);
        }
    }
}
