//! Bytes on the wire as text, one line per line of the message, and back.
//!
//! Each text line stands for itself and a CRLF; a line that ends in a single backslash has no CRLF after it.
//! `\xNN`, `\n`, `\r` and `\\` are escapes, so that any byte can be written and every difference can be seen.

/// The text lines for `bytes`.
pub(crate) fn escape(bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(escape_line(&rest[..end]));
        rest = &rest[end + 2..];
    }
    if !rest.is_empty() {
        lines.push(escape_line(rest) + "\\");
    }
    lines
}

fn escape_line(bytes: &[u8]) -> String {
    let mut out = String::new();
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            0x20..=0x7e => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02X}")),
        }
    }
    out
}

/// The bytes that `lines` stand for; the reverse of [`escape`].
pub(crate) fn unescape(lines: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        if unescape_line(line, &mut out) {
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

/// Appends one line's bytes and says whether a CRLF follows.
pub(crate) fn unescape_line(line: &str, out: &mut Vec<u8>) -> bool {
    let mut bytes = line.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            None => return false,
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b'x') => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                let text = String::from_utf8_lossy(&digits).into_owned();
                out.push(u8::from_str_radix(&text, 16).expect("two hexadecimal digits after \\x"));
            }
            Some(other) => out.push(other),
        }
    }
    true
}

#[test]
fn text_round_trips() {
    let rows: [(&[u8], &[&str]); 5] = [
        (b"", &[]),
        (b"GET / HTTP/1.1\r\n\r\n", &["GET / HTTP/1.1", ""]),
        (b"a\r\nhello", &["a", "hello\\"]),
        (b"a\\b\n\r\xe9", &["a\\\\b\\n\\r\\xE9\\"]),
        (b"end\\", &["end\\\\\\"]),
    ];
    for (bytes, lines) in rows {
        assert_eq!(escape(bytes), lines);
        assert_eq!(unescape(lines), bytes);
    }
}
