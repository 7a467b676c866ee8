//! Lines that wait for their tunnel to end.

use std::cell::RefCell;

use super::parse::Item;
use super::record::{LineEnd, Record};
use super::{LogFormat, render};

/// An access-log line with holes for what is known only when the tunnel has ended.
///
/// A tunnel may live for days among a hundred thousand others, so everything is in one exact allocation: the holes
/// (where in the text, which item of the format), then the text without them.
#[derive(Debug)]
pub struct PendingLine {
    format: LogFormat,
    /// `HOLE_BYTES` per hole, then the text.
    bytes: Box<[u8]>,
    holes: u16,
}

impl PendingLine {
    pub(super) fn new(format: &LogFormat, record: &dyn Record) -> Self {
        SCRATCH.with_borrow_mut(|(table, text)| {
            table.clear();
            text.clear();
            fill(format, record, table, text);
            let holes = (table.len() / HOLE_BYTES) as u16;
            let bytes = [table.as_slice(), text.as_slice()]
                .concat()
                .into_boxed_slice();
            Self {
                format: format.clone(),
                bytes,
                holes,
            }
        })
    }

    /// Appends the whole line, with its newline.
    pub fn finish(self, end: &LineEnd<'_>, out: &mut Vec<u8>) {
        let (table, text) = self.bytes.split_at(usize::from(self.holes) * HOLE_BYTES);
        let mut done = 0;
        for hole in table.chunks_exact(HOLE_BYTES) {
            let (at, item) = decode(hole);
            out.extend_from_slice(text.get(done..at).unwrap_or_default());
            done = at;
            if let Some(Item::Field(field)) = self.format.shared.items.get(item) {
                render::late(&field.what, end, &self.format.shared.zone, out);
            }
        }
        out.extend_from_slice(text.get(done..).unwrap_or_default());
    }

    /// Bytes of heap this line keeps; the format is shared and not counted.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.len()
    }
}

fn fill(format: &LogFormat, record: &dyn Record, table: &mut Vec<u8>, text: &mut Vec<u8>) {
    for (index, item) in format.shared.items.iter().enumerate() {
        match item {
            Item::Text(literal) => text.extend_from_slice(literal),
            Item::Field(field) if !field.applies(record) => text.push(b'-'),
            Item::Field(field) if render::is_late(&field.what) => encode(text.len(), index, table),
            Item::Field(field) => {
                render::early(&field.what, field.of(record), &format.shared.zone, text);
            }
        }
    }
}

fn encode(at: usize, item: usize, table: &mut Vec<u8>) {
    // A line of 4 GiB cannot come from a request head; the parser bounds the number of items.
    table.extend_from_slice(&(at as u32).to_le_bytes());
    table.extend_from_slice(&(item as u16).to_le_bytes());
}

fn decode(hole: &[u8]) -> (usize, usize) {
    let [a, b, c, d, e, f] = *hole else {
        return (0, usize::MAX);
    };
    (
        u32::from_le_bytes([a, b, c, d]) as usize,
        u16::from_le_bytes([e, f]).into(),
    )
}

const HOLE_BYTES: usize = 6;

thread_local! {
    static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}
