use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::io::AsyncWriteExt as _;

use super::*;

/// Counts what reaches it.
#[derive(Clone, Default)]
struct Counting {
    writes: Arc<AtomicUsize>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl AsyncWrite for Counting {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes.lock().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Counting {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn what_one_turn_writes_goes_out_together() {
    let counting = Counting::default();
    let mut io = Io::new(counting.clone());
    let flusher = io.flusher();
    let connection = async {
        for _ in 0..10 {
            io.write_all(b"event").await.unwrap();
            io.flush().await.unwrap();
        }
        assert_eq!(counting.writes.load(Ordering::Relaxed), 0);
        tokio::task::yield_now().await;
        assert_eq!(counting.writes.load(Ordering::Relaxed), 1);
        io.write_all(b"last").await.unwrap();
        // Nothing is left behind by a connection that ends.
        Ok::<_, Infallible>(())
    };
    drive(connection, Streams::default(), flusher).await.unwrap();
    assert_eq!(counting.writes.load(Ordering::Relaxed), 2);
    assert_eq!(
        *counting.bytes.lock(),
        [b"event".repeat(10), b"last".to_vec()].concat()
    );
    // An upgraded connection has nobody who flushes for it.
    io.write_all(b"!").await.unwrap();
    io.flush().await.unwrap();
    assert_eq!(counting.writes.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn large_writes_keep_their_order() {
    let counting = Counting::default();
    let mut io = Io::new(counting.clone());
    let flusher = io.flusher();
    let large = vec![b'x'; MOST + 1];
    let connection = async {
        io.write_all(b"before").await.unwrap();
        io.write_all(&large).await.unwrap();
        io.write_all(b"after").await.unwrap();
        Ok::<_, Infallible>(())
    };
    drive(connection, Streams::default(), flusher).await.unwrap();
    let expected = [b"before".to_vec(), large.clone(), b"after".to_vec()].concat();
    assert_eq!(*counting.bytes.lock(), expected);
}

#[tokio::test]
async fn streams_run_in_the_connections_task() {
    let counting = Counting::default();
    let io = Io::new(counting.clone());
    let (flusher, streams) = (io.flusher(), Streams::default());
    let io = Arc::new(tokio::sync::Mutex::new(io));
    let (told, heard) = tokio::sync::oneshot::channel();
    let begin = streams.clone();
    let writer = io.clone();
    let connection = async move {
        begin.execute(async move {
            writer.lock().await.write_all(b"stream").await.unwrap();
            let _ = told.send(());
        });
        let _ = heard.await;
        Ok::<_, Infallible>(())
    };
    drive(connection, streams, flusher).await.unwrap();
    assert_eq!(*counting.bytes.lock(), b"stream");
}
