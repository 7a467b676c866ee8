//! Received bytes that nobody has taken yet, and the buffers they lie in.

use std::cell::RefCell;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Room for one read. A small request or response fits many times; a body
/// that fills it gets [`BULK`] from then on.
const SMALL: usize = 16 * 1024;

/// Room for one read of a body that keeps coming.
const BULK: usize = 128 * 1024;

/// Free buffers kept per worker thread.
const FREE_MAX: usize = 64;

/// Buffers of one worker thread: a connection holds one only while it works.
#[derive(Default)]
pub(crate) struct Buffers {
    free: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// An empty buffer.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.free
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(SMALL))
    }

    /// Takes a buffer back; one that grew for a body is not kept.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let mut free = self.free.borrow_mut();
        if buffer.capacity() >= SMALL && buffer.capacity() <= 2 * SMALL && free.len() < FREE_MAX {
            buffer.clear();
            free.push(buffer);
        }
    }
}

/// Bytes read from one side of a connection.
#[derive(Default)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    start: usize,
}

impl Input {
    /// Bytes that have been read already.
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        Self {
            buffer: bytes,
            start: 0,
        }
    }

    /// What has not been consumed.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Whether all has been consumed.
    pub(crate) fn is_empty(&self) -> bool {
        self.start >= self.buffer.len()
    }

    /// Forgets the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.buffer.len());
        if self.is_empty() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Gives the memory back while there is nothing in it.
    pub(crate) fn park(&mut self, buffers: &Buffers) {
        if self.is_empty() && self.buffer.capacity() > 0 {
            self.start = 0;
            buffers.give(std::mem::take(&mut self.buffer));
        }
    }

    /// Reads once; the answer is how many bytes came, 0 at the end.
    pub(crate) async fn fill(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        buffers: &Buffers,
    ) -> io::Result<usize> {
        self.make_room(buffers);
        from.read_buf(&mut self.buffer).await
    }

    /// Reads once, no more than `most` bytes: what comes along with the head
    /// of a 101 is held until the tunnel's client takes it.
    pub(crate) async fn fill_some(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        buffers: &Buffers,
        most: u64,
    ) -> io::Result<usize> {
        self.make_room(buffers);
        from.take(most).read_buf(&mut self.buffer).await
    }

    fn make_room(&mut self, buffers: &Buffers) {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers.take();
        }
        // A read that filled the buffer is followed by a larger one.
        if self.is_empty()
            && self.buffer.len() == self.buffer.capacity()
            && self.buffer.capacity() < BULK
        {
            self.buffer = Vec::with_capacity(BULK);
            self.start = 0;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(SMALL);
        }
    }

    /// All that is left, in memory of its own size: a tunnel must not hold a
    /// read buffer for a few bytes.
    pub(crate) fn take(&mut self, buffers: &Buffers) -> Vec<u8> {
        let rest = self.bytes().to_vec();
        self.consume(rest.len());
        self.park(buffers);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn bytes_are_consumed_in_order_and_memory_is_given_back() {
        run(async {
            let buffers = Buffers::default();
            let mut input = Input::default();
            let mut source: &[u8] = b"hello world";
            assert_eq!(input.fill(&mut source, &buffers).await.unwrap(), 11);
            input.consume(6);
            assert_eq!(input.bytes(), b"world");
            let mut more: &[u8] = b"!";
            input.fill(&mut more, &buffers).await.unwrap();
            assert_eq!(input.bytes(), b"world!");
            input.park(&buffers);
            assert_eq!(input.bytes(), b"world!", "what is not consumed stays");
            input.consume(6);
            input.park(&buffers);
            assert_eq!(buffers.free.borrow().len(), 1);
            assert_eq!(input.fill(&mut more, &buffers).await.unwrap(), 0);
        });
    }

    #[test]
    fn a_full_read_makes_the_next_one_larger() {
        run(async {
            let buffers = Buffers::default();
            let mut input = Input::default();
            let body = vec![7; 4 * BULK];
            let mut source: &[u8] = &body;
            let first = input.fill(&mut source, &buffers).await.unwrap();
            input.buffer.truncate(first);
            input.start = first;
            let second = input.fill(&mut source, &buffers).await.unwrap();
            assert!(second > first, "{first} then {second}");
        });
    }
}
