//! Which bytes may stand where, by table.

/// Bytes of a token (RFC 9110 §5.6.2).
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// Whether `byte` may stand in a token.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether `bytes` are a token: not empty, and nothing else in it.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token_byte(b))
}

/// Length of the token that `bytes` start with.
pub(crate) fn token_len(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&b| !is_token_byte(b))
        .unwrap_or(bytes.len())
}

/// Whether `bytes` may be a field value or a reason phrase: no control characters but HTAB (RFC 9110 §5.5).
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    // Without an early exit the compiler can look at many bytes at a time.
    !bytes.iter().fold(false, |bad, &b| {
        bad | ((b < 0x20) & (b != b'\t')) | (b == 0x7f)
    })
}

/// Whether `bytes` may be a request target on the wire. Bytes above 0x7f are let through since httpd accepts them
/// and percent-encodes them for the origin; `#` is not, since a fragment hides what follows from some readers.
pub(crate) fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && !bytes.iter().fold(false, |bad, &b| {
            bad | (b <= 0x20) | (b == 0x7f) | (b == b'#')
        })
}

/// `bytes` without SP and HTAB at both ends; no other byte is whitespace in HTTP.
pub(crate) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    trim_ows_end(bytes)
}

/// `bytes` without SP and HTAB at the end.
pub(crate) fn trim_ows_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list, trimmed; empty ones included, so that the caller can mind them.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim_ows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for (bytes, expected) in [
            (&b"Host"[..], true),
            (b"!#$%&'*+-.^_`|~09azAZ", true),
            (b"", false),
            (b"a b", false),
            (b"a:", false),
            (b"a(", false),
            (b"a\x7f", false),
            (b"caf\xc3\xa9", false),
        ] {
            assert_eq!(is_token(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn values_and_targets() {
        for byte in 0..=255u8 {
            assert_eq!(
                is_value(&[b'a', byte]),
                byte == b'\t' || (byte >= 0x20 && byte != 0x7f),
                "value {byte:#x}"
            );
            assert_eq!(
                is_target(&[b'/', byte]),
                byte > 0x20 && byte != 0x7f && byte != b'#',
                "target {byte:#x}"
            );
        }
        assert!(!is_target(b""));
    }

    #[test]
    fn only_space_and_tab_are_trimmed() {
        assert_eq!(trim_ows(b" \t a b\t "), b"a b");
        assert_eq!(trim_ows(b"\x85a\xa0"), b"\x85a\xa0");
        assert_eq!(trim_ows(b" \t"), b"");
    }
}
