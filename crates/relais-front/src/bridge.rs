//! An encrypted end of a tunnel: records on its socket, content on a pair of local sockets whose other end the engine
//! has.
//!
//! So every tunnel in an engine is clear, and what it does (frames, limits, ends, drains) is one code for both kinds. Here
//! bytes are only opened and sealed. While nothing moves, no buffer is held: a direction takes one when a read has bytes
//! for it and gives it back when they are written.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use relais_stream::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::input::Buffers;
use crate::worker::Worker;

/// The socket of one side of a tunnel: its own, or the far end of a bridge.
///
/// # Errors
/// The process is out of descriptors, or the runtime cannot let go of a socket.
pub(crate) fn socket(worker: &Rc<Worker>, stream: Stream) -> io::Result<OwnedFd> {
    if !stream.is_tls() {
        return stream.into_parts().map(|parts| parts.socket);
    }
    let (near, far) = UnixStream::pair()?;
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        // However a direction fails, the engine sees its socket end.
        let _ = run(&worker.buffers, stream, near).await;
    });
    far.into_std().map(OwnedFd::from)
}

async fn run(buffers: &Buffers, mut stream: Stream, mut near: UnixStream) -> io::Result<()> {
    let (mut sealed_in, mut sealed_out) = stream.split();
    let (mut clear_in, mut clear_out) = near.split();
    tokio::try_join!(
        carry(buffers, &mut sealed_in, &mut clear_out),
        carry(buffers, &mut clear_in, &mut sealed_out),
    )?;
    Ok(())
}

/// One direction, to the end of its stream, which is passed on.
async fn carry(
    buffers: &Buffers,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    loop {
        let bytes = some(buffers, from).await?;
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&bytes).await?;
        to.flush().await?;
        buffers.give(bytes);
    }
}

/// Waits for bytes without a buffer, and reads them into one.
async fn some(buffers: &Buffers, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    poll_fn(|context| {
        let mut buffer = buffers.take();
        let read = pin!(from.read_buf(&mut buffer)).poll(context);
        match read {
            Poll::Ready(result) => Poll::Ready(result.map(|_| buffer)),
            Poll::Pending => {
                buffers.give(buffer);
                Poll::Pending
            }
        }
    })
    .await
}
