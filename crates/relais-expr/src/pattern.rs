//! Translation of an author's pattern into what the `pcre2` crate can compile.
//!
//! The crate offers neither `PCRE2_DOLLAR_ENDONLY` nor patterns that are not UTF-8. So a `$` that is an assertion
//! outside multi-line mode becomes `\z`, which means the same as `$` under that option, and a byte that is not UTF-8
//! becomes `\xNN`. Everything that is not such an assertion (escapes, classes, quotes, comments, verb names) has to be
//! recognised for that, and offsets in error messages have to be counted back.

/// A pattern ready for the `pcre2` crate.
pub(crate) struct Translated {
    /// The text to compile.
    pub(crate) text: String,
    /// Length of what was put in front of the source.
    prefix: usize,
    /// Places where one source byte became several, as (offset in `text`, offset in the source, length in `text`).
    edits: Vec<(usize, usize, usize)>,
}

impl Translated {
    /// The source offset that belongs to an offset in `text`.
    pub(crate) fn source_offset(&self, offset: usize) -> usize {
        let before = self.edits.iter().rev().find(|(at, ..)| *at < offset);
        match before {
            None => offset.saturating_sub(self.prefix),
            Some(&(at, source, len)) => match offset.checked_sub(at + len) {
                Some(behind) => source + 1 + behind,
                None => source,
            },
        }
    }
}

/// Translates `source`; matching will take at most `steps_max` steps.
pub(crate) fn translate(source: &[u8], dollar_end_only: bool, steps_max: u32) -> Translated {
    let mut scan = Scanner {
        source,
        valid_utf8: std::str::from_utf8(source).is_ok(),
        dollar_end_only,
        at: 0,
        out: String::with_capacity(source.len() + 32),
        edits: Vec::new(),
        mode: Mode::default(),
        outer: Vec::new(),
    };
    scan.prefix(steps_max);
    let prefix = scan.out.len();
    scan.run();
    Translated {
        text: scan.out,
        prefix,
        edits: scan.edits,
    }
}

/// The inline options that change what `$` or `#` mean.
#[derive(Clone, Copy, Default)]
struct Mode {
    multi_line: bool,
    extended: bool,
}

struct Scanner<'a> {
    source: &'a [u8],
    valid_utf8: bool,
    dollar_end_only: bool,
    at: usize,
    out: String,
    edits: Vec<(usize, usize, usize)>,
    mode: Mode,
    /// The modes to return to at each closing parenthesis.
    outer: Vec<Mode>,
}

impl Scanner<'_> {
    /// Puts our own settings in front. httpd allows a group name twice, but an option setting may only follow the
    /// `(*VERB)`s, so a pattern that starts with one goes without.
    fn prefix(&mut self, steps_max: u32) {
        self.out = format!("(*LIMIT_MATCH={steps_max})");
        if !self.rest().starts_with(b"(*") && self.source.windows(2).any(|pair| pair == b"(?") {
            self.out.push_str("(?J)");
        }
    }

    fn run(&mut self) {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.escape(false),
                b'[' => self.class(),
                b'(' => self.open(),
                b')' => self.close(),
                b'#' if self.mode.extended => self.copy_through(b'\n'),
                b'$' if self.dollar_end_only && !self.mode.multi_line => self.replace("\\z"),
                _ => self.copy(1),
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.at + ahead).copied()
    }

    fn replace(&mut self, text: &str) {
        self.edits.push((self.out.len(), self.at, text.len()));
        self.out.push_str(text);
        self.at += 1;
    }

    fn copy(&mut self, count: usize) {
        let end = (self.at + count).min(self.source.len());
        if self.valid_utf8 {
            // Bytes of one character may be copied in two steps, so they are only taken as text once complete.
            let mut end = end;
            while end < self.source.len() && self.source[end] & 0xc0 == 0x80 {
                end += 1;
            }
            self.out
                .push_str(std::str::from_utf8(&self.source[self.at..end]).unwrap_or_default());
            self.at = end;
        } else {
            while self.at < end {
                self.copy_byte();
            }
        }
    }

    fn copy_byte(&mut self) {
        match self.source[self.at] {
            byte @ 0..=0x7f => {
                self.out.push(char::from(byte));
                self.at += 1;
            }
            byte => self.replace(&format!("\\x{byte:02x}")),
        }
    }

    fn copy_through(&mut self, last: u8) {
        let count = self
            .rest()
            .iter()
            .position(|&byte| byte == last)
            .map_or(usize::MAX / 2, |at| at + 1);
        self.copy(count);
    }

    fn escape(&mut self, in_class: bool) {
        match self.peek(1) {
            Some(b'Q') => self.quote(),
            Some(b'c') if !in_class => self.copy(3),
            _ => self.copy(2),
        }
    }

    /// `\Q…\E`: expanded to escaped bytes if a byte needs a spelling that means nothing inside a quote.
    fn quote(&mut self) {
        let rest = self.rest();
        let end = rest
            .windows(2)
            .position(|pair| pair == b"\\E")
            .map_or(rest.len(), |at| at + 2);
        let until = self.at + end;
        if self.valid_utf8 {
            return self.copy(end);
        }
        while self.at < until {
            match self.source[self.at] {
                0..=0x7f => self.copy_byte(),
                byte => self.replace(&format!("\\E\\x{byte:02x}\\Q")),
            }
        }
    }

    fn class(&mut self) {
        self.copy(1);
        if self.peek(0) == Some(b'^') {
            self.copy(1);
        }
        // A bracket right at the start is a member of the class.
        if self.peek(0) == Some(b']') {
            self.copy(1);
        }
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.escape(true),
                b'[' => self.copy(posix_class_len(self.rest()).unwrap_or(1)),
                b']' => return self.copy(1),
                _ => self.copy(1),
            }
        }
    }

    fn open(&mut self) {
        match (self.peek(1), self.peek(2)) {
            (Some(b'*'), Some(b'A'..=b'Z' | b':')) => self.copy_through(b')'),
            (Some(b'?'), Some(b'#')) => self.copy_through(b')'),
            (Some(b'?'), Some(b'C')) => self.callout(),
            (Some(b'?'), _) => self.group_or_option(),
            _ => self.enter(1),
        }
    }

    fn enter(&mut self, count: usize) {
        self.outer.push(self.mode);
        self.copy(count);
    }

    fn close(&mut self) {
        self.mode = self.outer.pop().unwrap_or(self.mode);
        self.copy(1);
    }

    /// `(?C"text")`: the text may hold anything.
    fn callout(&mut self) {
        self.enter(3);
        if let Some(opening @ (b'`' | b'\'' | b'"' | b'^' | b'%' | b'#' | b'$' | b'{')) =
            self.peek(0)
        {
            self.copy(1);
            self.copy_through(if opening == b'{' { b'}' } else { opening });
        }
    }

    /// `(?m)` changes the rest of the group around it, `(?m:…)` one group; all other `(?` forms are plain groups here.
    fn group_or_option(&mut self) {
        match inline_options(self.rest(), self.mode) {
            Some((len, mode, b')')) => {
                self.copy(len);
                self.mode = mode;
            }
            Some((len, mode, _)) => {
                self.enter(len);
                self.mode = mode;
            }
            None => self.enter(2),
        }
    }
}

/// Reads `(?imsx-imsx)` or `(?imsx-imsx:`: its length, the mode it sets and its last byte.
fn inline_options(text: &[u8], mut mode: Mode) -> Option<(usize, Mode, u8)> {
    let mut on = true;
    for (at, &byte) in text.iter().enumerate().skip(2) {
        match byte {
            b'^' if at == 2 => mode = Mode::default(),
            b'-' => on = false,
            b'm' => mode.multi_line = on,
            b'x' => mode.extended = on,
            b'i' | b's' | b'n' | b'r' | b'J' | b'U' | b'a' | b'D' | b'S' | b'W' | b'P' | b'T' => {}
            // `(?P` only starts an option as `(?aP`, and then a bracket or colon follows at once.
            b')' | b':' => return Some((at + 1, mode, byte)),
            _ => return None,
        }
    }
    None
}

/// The length of `[:name:]` at the start of `text`, by PCRE2's own test for that syntax.
fn posix_class_len(text: &[u8]) -> Option<usize> {
    let terminator = *text.get(1).filter(|byte| b":.=".contains(byte))?;
    let mut at = 2;
    while let (Some(&byte), Some(&next)) = (text.get(at), text.get(at + 1)) {
        match (byte, next) {
            (b'\\', b']' | b'\\') => at += 1,
            (b']', _) => return None,
            (b'[', _) if next == terminator => return None,
            (_, b']') if byte == terminator => return Some(at + 2),
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(source: &[u8]) -> String {
        let text = translate(source, true, 1).text;
        text.trim_start_matches("(*LIMIT_MATCH=1)")
            .trim_start_matches("(?J)")
            .to_owned()
    }

    #[test]
    fn only_assertions_change() {
        for (source, expected) in [
            (&br"^a$|b$"[..], r"^a\z|b\z"),
            (br"\$\\$\Q$\E$\c$$", r"\$\\\z\Q$\E\z\c$\z"),
            (br"[$][]$][^]$][\]$]$", r"[$][]$][^]$][\]$]\z"),
            (br"[[:alpha:]$][[:a$]$", r"[[:alpha:]$][[:a$]\z"),
            (br"(?m)$(?-m)$", r"(?m)$(?-m)\z"),
            (br"(?m:$)$((?m)$|$)$", r"(?m:$)\z((?m)$|$)\z"),
            (br"(?#$)(*MARK:$)(?C$x$)$", r"(?#$)(*MARK:$)(?C$x$)\z"),
            (
                br"(*pla:$)(?-1)(?R)(?P<m>$)",
                r"(*pla:\z)(?-1)(?R)(?P<m>\z)",
            ),
            (b"(?x)#$\n$", "(?x)#$\n\\z"),
            (b"#$", r"#\z"),
            ("\u{e9}$\u{e9}".as_bytes(), "\u{e9}\\z\u{e9}"),
            (b"\xe9\\Q\xff\\E[\xff]", r"\xe9\Q\E\xff\Q\E[\xff]"),
            (br"[$", "[$"),
            (br"\Q$", r"\Q$"),
            (b"\\", "\\"),
            (b"(?", "(?"),
            (b")$", r")\z"),
        ] {
            assert_eq!(translated(source), expected);
        }
    }

    #[test]
    fn offsets_are_counted_back() {
        let translated = translate(b"a$b\xffc", true, 1);
        let base = "(*LIMIT_MATCH=1)".len();
        let back: Vec<usize> = (base..=base + 9)
            .map(|at| translated.source_offset(at))
            .collect();
        assert_eq!(back, [0, 1, 1, 2, 3, 3, 3, 3, 4, 5], "{}", translated.text);
    }
}
