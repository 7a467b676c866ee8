//! Buffers for records, lent by the thread: a connection holds one only while
//! bytes of it are under way.

use std::cell::RefCell;

/// Room for two whole records, so that a full read costs one call for both.
pub(crate) const ROOM: usize = 2 * (16 * 1024 + 256 + 5);

/// Free buffers kept per thread.
const KEPT: usize = 32;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`ROOM`] bytes with anything in them.
pub(crate) fn take() -> Vec<u8> {
    FREE.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| vec![0; ROOM])
}

/// Takes a buffer back.
pub(crate) fn give(buffer: Vec<u8>) {
    if buffer.len() == ROOM {
        FREE.with_borrow_mut(|free| {
            if free.len() < KEPT {
                free.push(buffer);
            }
        });
    }
}
