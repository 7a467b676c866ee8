//! A stream that has become a WebSocket: its content passes over a pair of local sockets whose other end the tunnel
//! engine has, so that what the engine does with a tunnel (frames, limits, ends, drains) is one code for all.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use h2::Reason;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::http2::connection::Open;
use crate::http2::stream::{Body, Sender, Stream};
use crate::input::Buffers;
use crate::worker::Worker;

/// How often is looked whether the engine has let go of a tunnel that the client still may send on.
const LOOK: Duration = Duration::from_secs(1);

/// The engine's end of a stream. `open` keeps the connection from being idle.
///
/// # Errors
/// The process is out of descriptors.
pub(super) fn socket(worker: &Rc<Worker>, stream: Stream, open: Open) -> io::Result<OwnedFd> {
    let (near, far) = UnixStream::pair()?;
    let far = far.into_std().map(OwnedFd::from)?;
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let _open = open;
        run(&worker.buffers, stream, near).await;
    });
    Ok(far)
}

async fn run(buffers: &Buffers, stream: Stream, mut near: UnixStream) {
    let Stream { mut body, sender } = stream;
    let (mut from_engine, mut to_engine) = near.split();
    let up = upstream(&mut body, &mut to_engine);
    let down = downstream(buffers, &mut from_engine, &sender);
    let both = async { tokio::try_join!(up, down).map(|_| ()) };
    let gone = poll_fn(|context| sender.poll_gone(context));
    let result = tokio::select! {
        result = both => result,
        // RFC 8441 §5: a reset is what a connection's reset is; both sockets close with the pair.
        () = gone => return,
    };
    if result.is_err() {
        sender.reset(Reason::CANCEL);
    }
}

/// What the client sends, to the end of its stream, which is passed on. Its window opens by what the engine has taken.
async fn upstream(body: &mut Body, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    while let Some(bytes) = poll_fn(|context| body.poll_data(context)).await {
        let bytes = bytes.map_err(io::Error::other)?;
        to.write_all(&bytes).await?;
        body.release(bytes.len());
    }
    to.shutdown().await
}

/// What the engine sends, to its end. A tunnel that the engine has let go of is over, whatever the client still means to
/// send.
async fn downstream(
    buffers: &Buffers,
    from: &mut tokio::net::unix::ReadHalf<'_>,
    sender: &Sender,
) -> io::Result<()> {
    loop {
        let bytes = some(buffers, from).await?;
        if bytes.is_empty() {
            sender.finish(None)?;
            break;
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let count = poll_fn(|context| sender.poll_send(context, rest)).await?;
            rest = rest.get(count..).unwrap_or_default();
        }
        buffers.give(bytes);
    }
    let either = Interest::READABLE | Interest::WRITABLE;
    while !from.ready(either).await?.is_write_closed() {
        tokio::time::sleep(LOOK).await;
    }
    Err(io::ErrorKind::BrokenPipe.into())
}

/// Waits for bytes without a buffer, and reads them into one.
async fn some(buffers: &Buffers, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    poll_fn(|context| {
        let mut buffer = buffers.take(false);
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
