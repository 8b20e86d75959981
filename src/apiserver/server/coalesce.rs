//! Many small writes to a connection -> few large ones.
//!
//! HTTP/2 writes and flushes each frame by itself. Over TLS that is a record and a system call for every
//! event of every watch. Here a flush waits until the connection's task has done all that there is to
//! do: what fifty watches of one connection have to say about a change then goes out together.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are held back at most; larger writes go by without a copy.
const MOST: usize = 64 * 1024;
/// Bytes of memory that an idle connection keeps for the next write.
const KEPT: usize = 4 * 1024;

struct Buffered<T> {
    inner: T,
    /// Written by HTTP, not yet by us: `held[sent..]`.
    held: Vec<u8>,
    sent: usize,
    /// Nobody looks after the connection any more (it was upgraded): flushes are flushes.
    direct: bool,
}

impl<T: AsyncWrite + Unpin> Buffered<T> {
    /// Hands on what is held back.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.held.len() {
            let wrote = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.held[self.sent..]))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += wrote;
        }
        self.sent = 0;
        self.held.clear();
        if self.held.capacity() > KEPT {
            self.held = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }
}

/// The connection as HTTP sees it.
pub(super) struct Io<T>(Arc<Mutex<Buffered<T>>>);

impl<T> Io<T> {
    pub(super) fn new(inner: T) -> Self {
        Io(Arc::new(Mutex::new(Buffered {
            inner,
            held: Vec::new(),
            sent: 0,
            direct: false,
        })))
    }

    /// The other end of the same connection, for [`drive`].
    pub(super) fn flusher(&self) -> Flusher<T> {
        Flusher(self.0.clone())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Io<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Io<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut this = self.0.lock();
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if this.held.len() + total > MOST {
            ready!(this.poll_drain(cx))?;
        }
        if total > MOST {
            return Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        }
        for buf in bufs {
            this.held.extend_from_slice(buf);
        }
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.0.lock();
        if this.direct {
            return this.poll_flush(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.0.lock();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

/// Sends what [`Io`] holds back.
pub(super) struct Flusher<T>(Arc<Mutex<Buffered<T>>>);

type Stream = BoxFuture<'static, ()>;

/// Takes the tasks of an HTTP/2 connection's streams into the connection's own task: one wake-up and
/// one write then serve all its watches. Whatever takes time must be spawned by who answers.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<Vec<Stream>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.lock().push(Box::pin(stream));
    }
}

/// Runs a connection and its streams, and flushes when they have nothing more to do.
pub(super) async fn drive<T, E>(
    connection: impl Future<Output = Result<(), E>>,
    streams: Streams,
    flusher: Flusher<T>,
) -> Result<(), E>
where
    T: AsyncWrite + Unpin,
{
    let mut connection = pin!(connection);
    let mut running: FuturesUnordered<Stream> = FuturesUnordered::new();
    poll_fn(|cx| {
        // An ended stream says nothing; one that waits will wake us.
        while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
        let ended = loop {
            let ended = connection.as_mut().poll(cx);
            let begun = std::mem::take(&mut *streams.0.lock());
            if ended.is_ready() || begun.is_empty() {
                break ended;
            }
            running.extend(begun);
            while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
        };
        let mut io = flusher.0.lock();
        io.direct = ended.is_ready();
        // A full socket wakes us when there is room; an error shows in the next read or write.
        let _ = io.poll_flush(cx);
        ended
    })
    .await
}

#[cfg(test)]
mod tests;
