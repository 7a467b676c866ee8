//! Heads and buffers that are lent to a request and come back with their
//! memory, so that a request in steady state allocates next to nothing.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use relais_http1::{RequestHead, ResponseHead};

use relais_policy::Filters;

use crate::turn::Sent;

/// Values kept of each kind per worker thread.
const KEPT_MAX: usize = 64;

/// Bytes of text that a value keeps; what a large head took is given back.
const TEXT_KEPT: usize = 8 * 1024;

/// What can be emptied and used again.
pub(crate) trait Reuse: Default {
    /// Forgets the content and keeps a fair part of the memory.
    fn empty(&mut self);
}

impl Reuse for RequestHead {
    fn empty(&mut self) {
        self.clear();
        self.fields.shrink_to(TEXT_KEPT);
    }
}

impl Reuse for ResponseHead {
    fn empty(&mut self) {
        self.clear();
        self.fields.shrink_to(TEXT_KEPT);
    }
}

impl Reuse for Sent {
    fn empty(&mut self) {
        self.fields.clear();
        self.fields.shrink_to(TEXT_KEPT);
        self.notes.clear();
        self.filters = Filters::default();
        self.first_byte = None;
        (self.status, self.body, self.bytes) = (0, 0, 0);
    }
}

impl Reuse for Vec<u8> {
    fn empty(&mut self) {
        self.clear();
        self.shrink_to(TEXT_KEPT);
    }
}

/// Values of one kind that nobody uses.
#[derive(Default)]
pub(crate) struct Shelf<T>(RefCell<Vec<T>>);

impl<T: Reuse> Shelf<T> {
    /// An empty value.
    pub(crate) fn lend(&self) -> Lent<'_, T> {
        let value = self.0.borrow_mut().pop().unwrap_or_default();
        Lent { value, home: self }
    }
}

/// A value that returns to its shelf when it is dropped.
pub(crate) struct Lent<'a, T: Reuse> {
    value: T,
    home: &'a Shelf<T>,
}

impl<T: Reuse> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Reuse> DerefMut for Lent<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Reuse> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        let mut shelf = self.home.0.borrow_mut();
        if shelf.len() < KEPT_MAX {
            let mut value = std::mem::take(&mut self.value);
            value.empty();
            shelf.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_empty_and_with_its_memory() {
        let shelf: Shelf<Vec<u8>> = Shelf::default();
        let place = {
            let mut lent = shelf.lend();
            lent.extend_from_slice(b"hello");
            lent.as_ptr()
        };
        let again = shelf.lend();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), place);
        assert!(shelf.lend().as_ptr() != place, "one value, one user");
    }

    #[test]
    fn what_a_large_head_took_is_given_back() {
        let shelf: Shelf<Vec<u8>> = Shelf::default();
        shelf.lend().extend_from_slice(&[0; 1 << 20]);
        assert!(shelf.lend().capacity() <= TEXT_KEPT);
    }
}
