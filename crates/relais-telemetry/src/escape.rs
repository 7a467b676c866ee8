//! Escaping of what clients sent, so that no log line can be forged or garbled.
//!
//! Both logs escape alike but for the double quote, which the access log uses as a delimiter. Everything outside
//! printable ASCII becomes `\b \n \r \t \v` or `\xhh`, as httpd does (httpd manual page `mod_log_config`, "Format Notes").

/// Appends `value` as a field of an access-log line.
pub(crate) fn access(value: &[u8], out: &mut Vec<u8>) {
    escape(value, out, true);
}

/// Appends `value` as the message of an error-log line, in which double quotes stay as they are.
pub(crate) fn error(value: &[u8], out: &mut Vec<u8>) {
    escape(value, out, false);
}

fn escape(value: &[u8], out: &mut Vec<u8>, quotes: bool) {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|&byte| is_special(byte, quotes)) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, tail)) = tail.split_first() else {
            return;
        };
        escape_byte(byte, out);
        rest = tail;
    }
    out.extend_from_slice(rest);
}

fn is_special(byte: u8, quotes: bool) -> bool {
    !matches!(byte, b' '..=b'~') || byte == b'\\' || (quotes && byte == b'"')
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        0x08 => b'b',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x0b => b'v',
        b'\\' | b'"' => byte,
        _ => {
            let digit = |nibble: u8| char::from_digit(nibble.into(), 16).map_or(b'0', |c| c as u8);
            out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        // (value, in the access log, in the error log)
        let cases: &[(&[u8], &str, &str)] = &[
            (b"", "", ""),
            (b"plain text ~!", "plain text ~!", "plain text ~!"),
            (
                b"a\"b\\c\td\xe9 z",
                r#"a\"b\\c\td\xe9 z"#,
                r#"a"b\\c\td\xe9 z"#,
            ),
            (b"\x08\n\r\t\x0b", r"\b\n\r\t\v", r"\b\n\r\t\v"),
            (
                b"\x00\x07\x0c\x1b\x1f\x7f",
                r"\x00\x07\x0c\x1b\x1f\x7f",
                r"\x00\x07\x0c\x1b\x1f\x7f",
            ),
            ("é".as_bytes(), r"\xc3\xa9", r"\xc3\xa9"),
            (b"end\n", r"end\n", r"end\n"),
            (b"\x80\xff", r"\x80\xff", r"\x80\xff"),
            (
                b"x\r\n[forged] line",
                r"x\r\n[forged] line",
                r"x\r\n[forged] line",
            ),
        ];
        for (value, in_access, in_error) in cases {
            let (mut a, mut e) = (Vec::new(), Vec::new());
            access(value, &mut a);
            error(value, &mut e);
            assert_eq!(String::from_utf8_lossy(&a), *in_access);
            assert_eq!(String::from_utf8_lossy(&e), *in_error);
        }
    }

    #[test]
    fn every_byte_comes_out_printable() {
        let all: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        access(&all, &mut out);
        assert!(out.iter().all(|byte| (b' '..=b'~').contains(byte)));
    }
}
