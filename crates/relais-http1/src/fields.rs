//! The ordered list of header or trailer fields, in one arena.

use std::fmt;

use crate::chars::{is_token, is_value, token_len, trim_ows, trim_ows_end};

/// Fields in order, with names in the sender's spelling. Clearing keeps the memory, so that one value serves all
/// messages of a connection.
#[derive(Clone, Default)]
pub struct Fields {
    arena: Vec<u8>,
    items: Vec<Item>,
}

/// One field: where its name and value lie in the arena.
#[derive(Clone, Copy)]
struct Item {
    name: Part,
    value: Part,
}

/// A range of the arena; half the size of a `Range<usize>`.
#[derive(Clone, Copy)]
struct Part {
    start: u32,
    len: u32,
}

/// Why a field was not taken into a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The name is empty or not a token.
    Name,
    /// The value holds CR, LF, NUL or another control character.
    Value,
    /// The list would exceed 4 GiB.
    Space,
}

/// What is wrong with a field line on the wire (RFC 9112 §5.1, §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldLineError {
    Folded,
    NoColon,
    EmptyName,
    SpaceBeforeColon,
    Name,
    Value,
}

/// Iterator over the names and values of [`Fields`], in order.
#[derive(Clone)]
pub struct Iter<'a> {
    fields: &'a Fields,
    items: std::slice::Iter<'a, Item>,
}

impl Fields {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            arena: Vec::new(),
            items: Vec::new(),
        }
    }

    /// An empty list with room for so many bytes of text and so many fields.
    #[must_use]
    pub fn with_capacity(text: usize, fields: usize) -> Self {
        Self {
            arena: Vec::with_capacity(text),
            items: Vec::with_capacity(fields),
        }
    }

    /// Bytes of text that the list has taken.
    #[must_use]
    pub const fn text_len(&self) -> usize {
        self.arena.len()
    }

    /// Number of fields.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no field.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.items.clear();
    }

    /// Gives back memory beyond `bytes` of text, for connections that go idle after a large head.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.arena.shrink_to(bytes);
        self.items.shrink_to(bytes / 32);
    }

    /// All names and values, in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            fields: self,
            items: self.items.iter(),
        }
    }

    /// Name and value of the field at `index`.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<(&[u8], &[u8])> {
        self.items
            .get(index)
            .map(|item| (self.text(item.name), self.text(item.value)))
    }

    /// Index of the first field called `name`, in any case of letters.
    #[must_use]
    pub fn position(&self, name: impl AsRef<[u8]>) -> Option<usize> {
        let name = name.as_ref();
        self.items.iter().position(|item| self.is_named(item, name))
    }

    /// Value of the first field called `name`, in any case of letters.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref();
        self.items
            .iter()
            .find(|item| self.is_named(item, name))
            .map(|item| self.text(item.value))
    }

    /// Values of all fields called `name`, in order.
    pub fn get_all<'a, N: AsRef<[u8]> + 'a>(
        &'a self,
        name: N,
    ) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.items
            .iter()
            .filter(move |item| self.is_named(item, name.as_ref()))
            .map(|item| self.text(item.value))
    }

    /// Whether a field called `name` is there.
    #[must_use]
    pub fn contains(&self, name: impl AsRef<[u8]>) -> bool {
        self.position(name).is_some()
    }

    /// Adds a field at the end.
    ///
    /// # Errors
    /// If the name is no token or the value holds a control character; nothing is added then.
    pub fn push(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), FieldError> {
        let name = check_name(name.as_ref())?;
        let value = check_value(value.as_ref())?;
        let name = self.store(name)?;
        let value = self.store(value)?;
        self.items.push(Item { name, value });
        Ok(())
    }

    /// Replaces all fields called `name` by one at the place of the first, or adds one at the end. As in httpd's
    /// tables, a name that is there keeps its spelling.
    ///
    /// # Errors
    /// As for [`Fields::push`]; nothing is changed then.
    pub fn set(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), FieldError> {
        let name = check_name(name.as_ref())?;
        let Some(first) = self.position(name) else {
            return self.push(name, value);
        };
        self.set_value(first, value)?;
        let mut index = 0;
        self.retain(|other, _| {
            index += 1;
            index - 1 <= first || !other.eq_ignore_ascii_case(name)
        });
        Ok(())
    }

    /// Replaces the value of the field at `index`; an index beyond the end changes nothing.
    ///
    /// # Errors
    /// If the value holds a control character.
    pub fn set_value(&mut self, index: usize, value: impl AsRef<[u8]>) -> Result<(), FieldError> {
        let value = self.store(check_value(value.as_ref())?)?;
        if let Some(item) = self.items.get_mut(index) {
            item.value = value;
        }
        Ok(())
    }

    /// Joins `value` to the first field called `name` with `, `, or adds a field at the end (httpd's table merge).
    ///
    /// # Errors
    /// As for [`Fields::push`]; nothing is changed then.
    pub fn append(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), FieldError> {
        let Some(index) = self.position(name.as_ref()) else {
            return self.push(name, value);
        };
        self.join_at(index, check_value(value.as_ref())?)
    }

    /// Joins a checked value to that of the field at `index`.
    fn join_at(&mut self, index: usize, value: &[u8]) -> Result<(), FieldError> {
        let Some(old) = self.items.get(index).map(|item| item.value) else {
            return Ok(());
        };
        let start = self.arena.len();
        self.arena.extend_from_within(old.range());
        self.arena.extend_from_slice(b", ");
        self.arena.extend_from_slice(value);
        let joined = self.part_from(start)?;
        self.items[index].value = joined;
        Ok(())
    }

    /// Takes over the fields of another list whose names `keep` lets through, in order. With `join`, those of one name
    /// become one, as [`Fields::append`] has it.
    ///
    /// # Errors
    /// When the list would exceed 4 GiB.
    pub fn copy_from(
        &mut self,
        other: &Self,
        join: bool,
        mut keep: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), FieldError> {
        for (name, value) in other.iter().filter(|(name, _)| keep(name)) {
            match self.position(name).filter(|_| join) {
                Some(index) => self.join_at(index, value)?,
                // It was checked when the other list took it.
                None => self.push_checked(name, value)?,
            }
        }
        Ok(())
    }

    /// Removes all fields called `name` and tells how many there were.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> usize {
        let name = name.as_ref();
        let before = self.len();
        self.retain(|other, _| !other.eq_ignore_ascii_case(name));
        before - self.len()
    }

    /// Keeps the fields for which `keep(name, value)` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let arena = &self.arena;
        self.items
            .retain(|item| keep(&arena[item.name.range()], &arena[item.value.range()]));
    }

    /// Writes all fields as `Name: value` lines, without the empty line that ends a head.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.arena.len() + 4 * self.len());
        for (name, value) in self {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Parses one field line (without its line end) strictly and adds it.
    pub(crate) fn push_line(&mut self, line: &[u8]) -> Result<(), FieldLineError> {
        let name_len = token_len(line);
        match line.get(name_len) {
            Some(b':') if name_len > 0 => {}
            other => return Err(name_error(name_len, other.copied(), line)),
        }
        let rest = &line[name_len + 1..];
        let value = trim_ows(rest);
        if !is_value(value) {
            return Err(FieldLineError::Value);
        }
        // Name and value are copied in one piece; what stands between them is never looked at.
        let value_end = line.len() - rest.len() + trim_ows_end(rest).len();
        let line = self
            .store(&line[..value_end])
            .map_err(|_| FieldLineError::Value)?;
        let name = Part {
            start: line.start,
            len: name_len as u32,
        };
        let value_len = value.len() as u32;
        let value = Part {
            start: line.start + line.len - value_len,
            len: value_len,
        };
        self.items.push(Item { name, value });
        Ok(())
    }

    /// Adds a field whose name and value have been checked.
    pub(crate) fn push_checked(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldError> {
        let name = self.store(name)?;
        let value = self.store(value)?;
        self.items.push(Item { name, value });
        Ok(())
    }

    /// Joins checked text to the last value with one space: a folded line (RFC 9112 §5.2). Returns the new length.
    pub(crate) fn extend_last(&mut self, text: &[u8]) -> Option<usize> {
        let item = self.items.last_mut()?;
        // The last value stored lies at the end of the arena, so it can grow in place.
        if item.value.len > 0 && !text.is_empty() {
            self.arena.push(b' ');
        }
        self.arena.extend_from_slice(text);
        let len = self.arena.len().checked_sub(item.value.range().start)?;
        item.value.len = u32::try_from(len).ok()?;
        Some(len)
    }

    fn is_named(&self, item: &Item, name: &[u8]) -> bool {
        item.name.len as usize == name.len() && self.text(item.name).eq_ignore_ascii_case(name)
    }

    fn text(&self, part: Part) -> &[u8] {
        &self.arena[part.range()]
    }

    fn store(&mut self, bytes: &[u8]) -> Result<Part, FieldError> {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.part_from(start)
    }

    fn part_from(&mut self, start: usize) -> Result<Part, FieldError> {
        let Ok(end) = u32::try_from(self.arena.len()) else {
            self.arena.truncate(start);
            return Err(FieldError::Space);
        };
        let start = start as u32;
        Ok(Part {
            start,
            len: end - start,
        })
    }
}

impl Part {
    const fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.items
            .next()
            .map(|item| (self.fields.text(item.name), self.fields.text(item.value)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self
            .iter()
            .map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()));
        f.debug_list().entries(shown).finish()
    }
}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter")
            .field("left", &self.items.len())
            .finish()
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "field name is not a token",
            Self::Value => "field value holds a control character",
            Self::Space => "field list is too large",
        })
    }
}

impl std::error::Error for FieldError {}

fn check_name(name: &[u8]) -> Result<&[u8], FieldError> {
    if is_token(name) {
        Ok(name)
    } else {
        Err(FieldError::Name)
    }
}

fn check_value(value: &[u8]) -> Result<&[u8], FieldError> {
    if is_value(value) {
        Ok(value)
    } else {
        Err(FieldError::Value)
    }
}

/// Names the mistake in a line whose leading token is not followed by a colon.
fn name_error(name_len: usize, next: Option<u8>, line: &[u8]) -> FieldLineError {
    match (name_len, next) {
        (0, Some(b' ' | b'\t')) => FieldLineError::Folded,
        (0, Some(b':')) => FieldLineError::EmptyName,
        (_, _) if !line.contains(&b':') => FieldLineError::NoColon,
        (_, Some(b' ' | b'\t')) if trim_ows(&line[name_len..]).first() == Some(&b':') => {
            FieldLineError::SpaceBeforeColon
        }
        _ => FieldLineError::Name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in pairs {
            fields.push(name, value).unwrap();
        }
        fields
    }

    fn text(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write_to(&mut out);
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn changes_keep_order_and_spelling() {
        type Change = fn(&mut Fields) -> Result<(), FieldError>;
        let table: [(Change, &str); 9] = [
            (|f| f.push("x-b", "4"), "X-A: 1|X-B: 2|x-a: 3|x-b: 4|"),
            (|f| f.set("x-A", "9"), "X-A: 9|X-B: 2|"),
            (|f| f.set("X-C", "9"), "X-A: 1|X-B: 2|x-a: 3|X-C: 9|"),
            (|f| f.append("x-b", "5"), "X-A: 1|X-B: 2, 5|x-a: 3|"),
            (|f| f.append("X-C", "5"), "X-A: 1|X-B: 2|x-a: 3|X-C: 5|"),
            (|f| f.set_value(2, ""), "X-A: 1|X-B: 2|x-a: |"),
            (|f| f.set_value(7, "z"), "X-A: 1|X-B: 2|x-a: 3|"),
            (|f| (assert_eq!(f.remove("x-a"), 2), Ok(())).1, "X-B: 2|"),
            (
                |f| (f.retain(|_, value| value != b"2"), Ok(())).1,
                "X-A: 1|x-a: 3|",
            ),
        ];
        for (change, expected) in table {
            let mut fields = list(&[("X-A", "1"), ("X-B", "2"), ("x-a", "3")]);
            change(&mut fields).unwrap();
            assert_eq!(text(&fields), expected);
        }
    }

    #[test]
    fn copies_join_what_has_one_name() {
        let other = list(&[("X-A", "1"), ("X-B", "2"), ("x-a", "3"), ("X-C", "4")]);
        for (join, expected) in [
            (true, "X-0: 0|X-A: 1, 3|X-B: 2|"),
            (false, "X-0: 0|X-A: 1|X-B: 2|x-a: 3|"),
        ] {
            let mut fields = list(&[("X-0", "0")]);
            fields
                .copy_from(&other, join, |name| name != b"X-C")
                .unwrap();
            assert_eq!(text(&fields), expected);
        }
    }

    #[test]
    fn lookups_ignore_case() {
        let fields = list(&[("X-A", "1"), ("X-B", "2"), ("x-a", "3")]);
        assert_eq!(fields.get("x-a"), Some(&b"1"[..]));
        assert_eq!(fields.get("x"), None);
        assert_eq!(fields.get_all("X-A").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(fields.position("X-b"), Some(1));
        assert_eq!(fields.at(2), Some((&b"x-a"[..], &b"3"[..])));
        assert_eq!(fields.at(3), None);
        assert_eq!(fields.iter().len(), 3);
    }

    #[test]
    fn nothing_that_could_split_a_head_gets_in() {
        let bad = [
            ("", "a", FieldError::Name),
            ("X A", "a", FieldError::Name),
            ("X-A:", "a", FieldError::Name),
            ("X\r\nY", "a", FieldError::Name),
            ("X-A", "a\r\nX-B: c", FieldError::Value),
            ("X-A", "a\nb", FieldError::Value),
            ("X-A", "a\rb", FieldError::Value),
            ("X-A", "a\0b", FieldError::Value),
            ("X-A", "a\x7f", FieldError::Value),
        ];
        for (name, value, error) in bad {
            let mut fields = list(&[("X-A", "1"), ("x-a", "2")]);
            assert_eq!(fields.push(name, value), Err(error));
            assert_eq!(fields.set(name, value), Err(error));
            assert_eq!(fields.append(name, value), Err(error));
            assert_eq!(text(&fields), "X-A: 1|x-a: 2|");
        }
    }

    #[test]
    fn clear_keeps_the_memory() {
        let mut fields = list(&[("X-A", "1")]);
        let room = fields.arena.capacity();
        fields.clear();
        assert!(fields.is_empty() && fields.get("x-a").is_none());
        assert_eq!(fields.arena.capacity(), room);
    }

    #[test]
    fn field_lines() {
        for (line, expected) in [
            (&b"Host: a"[..], Ok(())),
            (b"Host:a", Ok(())),
            (b"Host:", Ok(())),
            (b"Host: \ta b\t ", Ok(())),
            (b"X: caf\xe9\t1", Ok(())),
            (b" X: a", Err(FieldLineError::Folded)),
            (b"\tX", Err(FieldLineError::Folded)),
            (b"X", Err(FieldLineError::NoColon)),
            (b"X y", Err(FieldLineError::NoColon)),
            (b": a", Err(FieldLineError::EmptyName)),
            (b"X : a", Err(FieldLineError::SpaceBeforeColon)),
            (b"X\t: a", Err(FieldLineError::SpaceBeforeColon)),
            (b"X y: a", Err(FieldLineError::Name)),
            (b"X\0: a", Err(FieldLineError::Name)),
            (b"\x85: a", Err(FieldLineError::Name)),
            (b"X: a\0", Err(FieldLineError::Value)),
            (b"X: a\rb", Err(FieldLineError::Value)),
            (b"X: \x0bchunked", Err(FieldLineError::Value)),
        ] {
            let mut fields = Fields::new();
            assert_eq!(fields.push_line(line), expected, "{}", line.escape_ascii());
            assert_eq!(fields.len(), usize::from(expected.is_ok()));
        }
    }
}
