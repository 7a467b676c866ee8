//! Received bytes that nobody has taken yet, and the buffers they lie in.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Room for one read. A small request or response fits many times; a body
/// that fills it gets [`BULK`] from then on.
const SMALL: usize = 16 * 1024;

/// Room for one read of a body that keeps coming.
const BULK: usize = 128 * 1024;

/// A small buffer that grew for the rest of a head is still a small one.
const BULK_LEAST: usize = 4 * SMALL;

/// Free buffers kept per worker thread, of the small and of the large kind.
const FREE_MAX: [usize; 2] = [64, 4];

/// Buffers of one worker thread: a connection holds one only while there are
/// bytes in it, so that a few serve all and stay in the processor's cache.
#[derive(Default)]
pub(crate) struct Buffers {
    free: RefCell<[Vec<Vec<u8>>; 2]>,
}

impl Buffers {
    /// An empty buffer, small or large.
    pub(crate) fn take(&self, large: bool) -> Vec<u8> {
        let free = self.free.borrow_mut()[usize::from(large)].pop();
        free.unwrap_or_else(|| Vec::with_capacity(if large { BULK } else { SMALL }))
    }

    /// Takes a buffer back; one that grew past its kind is not kept.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let kind = match buffer.capacity() {
            SMALL..BULK_LEAST => 0,
            BULK_LEAST..=BULK => 1,
            _ => return,
        };
        let free = &mut self.free.borrow_mut()[kind];
        if free.len() < FREE_MAX[kind] {
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
    /// Reads fill what they get, so that more room saves some of them.
    bulk: bool,
}

impl Input {
    /// Bytes that have been read already.
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        Self {
            buffer: bytes,
            ..Self::default()
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

    /// Reads once; the answer is how many bytes came, 0 at the end. While
    /// nothing is there, no buffer is held for it.
    pub(crate) async fn fill(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        buffers: &Buffers,
    ) -> io::Result<usize> {
        poll_fn(|context| {
            self.make_room(buffers);
            let read = pin!(from.read_buf(&mut self.buffer)).poll(context);
            self.settle(read, buffers)
        })
        .await
    }

    /// Reads once, no more than `most` bytes: what comes along with the head
    /// of a 101 is held until the tunnel's client takes it.
    pub(crate) async fn fill_some(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        buffers: &Buffers,
        most: u64,
    ) -> io::Result<usize> {
        poll_fn(|context| {
            self.make_room(buffers);
            let mut some = (&mut *from).take(most);
            let read = pin!(some.read_buf(&mut self.buffer)).poll(context);
            self.settle(read, buffers)
        })
        .await
    }

    fn settle(
        &mut self,
        read: Poll<io::Result<usize>>,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        match read {
            Poll::Pending => self.park(buffers),
            Poll::Ready(Ok(count)) => {
                // A short read of a large buffer may still be a long one.
                let filled = self.buffer.len() == self.buffer.capacity();
                self.bulk = filled || self.bulk && count >= SMALL;
            }
            Poll::Ready(Err(_)) => {}
        }
        read
    }

    fn make_room(&mut self, buffers: &Buffers) {
        if self.bulk && self.buffer.capacity() < BULK_LEAST {
            self.park(buffers);
        }
        if self.buffer.capacity() == 0 {
            self.buffer = buffers.take(self.bulk);
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
            assert_eq!(buffers.free.borrow()[0].len(), 1);
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
            input.consume(first);
            let second = input.fill(&mut source, &buffers).await.unwrap();
            assert!(second > first, "{first} then {second}");
            input.consume(second);
            let mut little: &[u8] = b"!";
            input.fill(&mut little, &buffers).await.unwrap();
            input.consume(1);
            input.park(&buffers);
            assert_eq!(buffers.free.borrow().each_ref().map(Vec::len), [1, 1]);
        });
    }

    #[test]
    fn nobody_holds_a_buffer_who_waits() {
        run(async {
            let buffers = Buffers::default();
            let mut input = Input::default();
            let (mut far, mut near) = tokio::io::duplex(64);
            {
                let mut fill = pin!(input.fill(&mut near, &buffers));
                poll_fn(|context| {
                    assert!(fill.as_mut().poll(context).is_pending());
                    Poll::Ready(())
                })
                .await;
                assert_eq!(buffers.free.borrow()[0].len(), 1);
                tokio::io::AsyncWriteExt::write_all(&mut far, b"hello")
                    .await
                    .unwrap();
                assert_eq!(fill.await.unwrap(), 5);
            }
            assert_eq!(input.bytes(), b"hello");
            assert!(buffers.free.borrow()[0].is_empty());
        });
    }
}
