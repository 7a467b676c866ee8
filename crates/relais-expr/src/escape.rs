//! Percent-encoding of backreferences before they are inserted (the manual's `B`, `BNP`, `BCTLS` and `BNE` flags).

/// A set of bytes, such as the list in `B=?#`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// The set of the bytes that occur in `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut set = Self::default();
        for &byte in bytes {
            set.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
        set
    }

    /// Whether `byte` is in the set.
    #[must_use]
    pub const fn contains(&self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] >> (byte & 63) & 1 == 1
    }
}

/// Which bytes of a backreference are percent-encoded, and how a space is written.
///
/// Letters, digits and `_` always stay as they are. Hex digits are lower case, as httpd writes them here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Escape {
    /// `B=chars`: escape these. Without a list and without [`Self::controls`] everything is escaped.
    pub only: Option<ByteSet>,
    /// `BNE=chars`: never escape these.
    pub except: ByteSet,
    /// `BCTLS`: escape control characters and space, plus those of [`Self::only`].
    pub controls: bool,
    /// `BNP`: write a space as `%20` instead of `+`.
    pub space_as_hex: bool,
}

impl Escape {
    /// Appends `text` to `out`, escaped.
    pub fn write(&self, text: &[u8], out: &mut Vec<u8>) {
        for &byte in text {
            if !self.selects(byte) || byte.is_ascii_alphanumeric() || byte == b'_' {
                out.push(byte);
            } else if byte == b' ' && !self.space_as_hex {
                out.push(b'+');
            } else {
                push_hex(byte, out);
            }
        }
    }

    fn selects(&self, byte: u8) -> bool {
        let listed = self.only.is_some_and(|set| set.contains(byte));
        let by_default = if self.controls {
            is_control_or_space(byte)
        } else {
            self.only.is_none()
        };
        (listed || by_default) && !self.except.contains(byte)
    }
}

const fn is_control_or_space(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f
}

fn push_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend([
        b'%',
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_selects_its_bytes() {
        let all = Escape::default();
        let hex_space = Escape {
            space_as_hex: true,
            ..all
        };
        let listed = Escape {
            only: Some(ByteSet::of(b" ?#")),
            ..all
        };
        let controls = Escape {
            controls: true,
            ..all
        };
        let controls_and_slash = Escape {
            only: Some(ByteSet::of(b"/")),
            ..controls
        };
        let except = Escape {
            except: ByteSet::of(b"/\xff"),
            ..all
        };
        for (escape, input, expected) in [
            (all, &b"aZ0_-./ \xff\n"[..], &b"aZ0_%2d%2e%2f+%ff%0a"[..]),
            (hex_space, b"a b/", b"a%20b%2f"),
            (listed, b"a b/c?d#e%", b"a+b/c%3fd%23e%"),
            (controls, b"a b/\r\n\x7f\xff", b"a+b/%0d%0a%7f\xff"),
            (controls_and_slash, b"a b/c?", b"a+b%2fc?"),
            (except, b"a/b\xffc d", b"a/b\xffc+d"),
        ] {
            let mut out = Vec::new();
            escape.write(input, &mut out);
            assert_eq!(
                out.escape_ascii().to_string(),
                expected.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn a_set_holds_exactly_its_bytes() {
        let set = ByteSet::of(b"\x00?@\xff");
        let held: Vec<u8> = (0..=255).filter(|&byte| set.contains(byte)).collect();
        assert_eq!(held, b"\x00?@\xff");
    }
}
