//! The maps of `RewriteMap` that need nothing but memory: text tables and the four internal functions.

use std::hash::{BuildHasher as _, RandomState};

use relais_expr::{escape_path, unescape};

/// One of httpd's internal functions (`RewriteMap name int:function`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalMap {
    /// `tolower`.
    ToLower,
    /// `toupper`.
    ToUpper,
    /// `escape`: as for a `Location`.
    Escape,
    /// `unescape`: decodes what it can.
    Unescape,
}

impl InternalMap {
    /// The function of this name; case matters.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"tolower" => Self::ToLower,
            b"toupper" => Self::ToUpper,
            b"escape" => Self::Escape,
            b"unescape" => Self::Unescape,
            _ => return None,
        })
    }

    /// Appends the function's value for `key`.
    pub fn apply(self, key: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        match self {
            Self::ToLower => out.extend(key.to_ascii_lowercase()),
            Self::ToUpper => out.extend(key.to_ascii_uppercase()),
            Self::Escape => escape_path(key, out),
            Self::Unescape => {
                unescape(key, false, out);
                // To httpd a decoded NUL is the end of the text.
                if let Some(nul) = out.iter().skip(start).position(|byte| *byte == 0) {
                    out.truncate(start + nul);
                }
            }
        }
    }
}

/// The table of a `txt:` or `rnd:` map: the file's own text and an index into it, eight bytes a key.
///
/// A line is a key, white space, a value; what follows the value is a comment. Lines that start with `#` or white
/// space and lines without a value count for nothing; of several lines with one key the first counts.
pub struct TextMap {
    text: Box<[u8]>,
    /// Start of a key plus one, zero where there is none; open addressing, a power of two of slots.
    slots: Box<[u32]>,
    hasher: RandomState,
    len: usize,
}

impl TextMap {
    /// Indexes the text of a map file; `None` if it is 4 GiB or more.
    #[must_use]
    pub fn parse(text: impl Into<Box<[u8]>>) -> Option<Self> {
        let text = text.into();
        u32::try_from(text.len()).ok()?;
        let lines = memchr::memchr_iter(b'\n', &text).count() + 1;
        let slots = vec![0; (lines * 2).next_power_of_two()].into_boxed_slice();
        let mut map = Self {
            text,
            slots,
            hasher: RandomState::new(),
            len: 0,
        };
        map.index();
        Some(map)
    }

    fn index(&mut self) {
        let mut start = 0;
        while start < self.text.len() {
            let rest = &self.text[start..];
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            if let Some((key, _)) = key_and_value(&rest[..end]) {
                let slot = self.find(key);
                if self.slots[slot] == 0 {
                    // The text is shorter than 4 GiB.
                    self.slots[slot] = u32::try_from(start + 1).unwrap_or(0);
                    self.len += 1;
                }
            }
            start += end + 1;
        }
    }

    /// The value of `key`; case matters.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let at = usize::try_from(self.slots[self.find(key)]).ok()?;
        let line = self.text.get(at.checked_sub(1)?..)?;
        key_and_value(line).map(|(_, value)| value)
    }

    /// The number of keys.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slot that holds `key`, or the empty one where it belongs. At least half of the slots are empty.
    fn find(&self, key: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = usize::try_from(self.hasher.hash_one(key) & 0xffff_ffff).unwrap_or(0) & mask;
        while let Some(at) = usize::try_from(self.slots[slot])
            .ok()
            .and_then(|at| at.checked_sub(1))
        {
            let line = &self.text[at..];
            let same = line.starts_with(key) && line.get(key.len()).is_some_and(|b| is_space(*b));
            if same {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }
}

impl std::fmt::Debug for TextMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TextMap({} keys)", self.len)
    }
}

/// The first two words of a line that starts with a key. `line` may go on behind its end.
fn key_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if line.first().is_none_or(|byte| *byte == b'#') {
        return None;
    }
    let key_len = line.iter().position(|byte| is_space(*byte))?;
    let (key, rest) = line.split_at(key_len);
    let blank = rest
        .iter()
        .take_while(|byte| is_space(**byte) && **byte != b'\n')
        .count();
    let rest = &rest[blank..];
    let len = rest
        .iter()
        .position(|byte| is_space(*byte))
        .unwrap_or(rest.len());
    (!key.is_empty() && len > 0).then(|| (key, &rest[..len]))
}

const fn is_space(byte: u8) -> bool {
    byte == b' ' || (byte >= b'\t' && byte <= b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_map() {
        let text = b"# comment\nk1 v1 # trailing\n  sp spaced\nnovalue\nemp \ndup a\ndup b\ntab\ttv  more\r\n#h x\n\nlast v";
        let map = TextMap::parse(&text[..]).expect("a small file");
        for (key, expected) in [
            (&b"k1"[..], Some(&b"v1"[..])),
            (b"K1", None),
            (b"k", None),
            (b"sp", None),
            (b"novalue", None),
            (b"emp", None),
            (b"dup", Some(b"a")),
            (b"tab", Some(b"tv")),
            (b"#h", None),
            (b"#", None),
            (b"", None),
            (b"last", Some(b"v")),
            (b"k1 v1", None),
        ] {
            assert_eq!(map.get(key), expected, "{}", key.escape_ascii());
        }
        assert_eq!((map.len(), map.is_empty()), (4, false));
        assert_eq!(TextMap::parse(&b""[..]).map(|map| map.len()), Some(0));
    }

    #[test]
    fn many_keys_are_all_found() {
        let text: String = (0..20_000).map(|n| format!("key{n} value{n}\n")).collect();
        let map = TextMap::parse(text.into_bytes()).expect("a small file");
        assert_eq!(map.len(), 20_000);
        for n in 0..20_000 {
            let value = map.get(format!("key{n}").as_bytes());
            assert_eq!(value, Some(format!("value{n}").as_bytes()));
        }
        assert_eq!(map.get(b"key20000"), None);
    }

    #[test]
    fn internal_functions() {
        for (name, key, expected) in [
            ("tolower", &b"AbC"[..], &b"abc"[..]),
            ("toupper", b"AbC", b"ABC"),
            ("escape", b"a b?%\"", b"a%20b%3f%25%22"),
            ("unescape", b"a%25b%2fc%00d%zz", b"a%b/c"),
        ] {
            let mut out = Vec::new();
            let map = InternalMap::named(name.as_bytes()).expect(name);
            map.apply(key, &mut out);
            assert_eq!(out, expected, "{name}");
        }
        assert_eq!(InternalMap::named(b"ToLower"), None);
    }
}
