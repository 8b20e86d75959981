//! Many writes of one kind: few at first, doubling while they succeed.

use std::future::Future;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

/// Calls `write` with 0, 1, … `count`-1 in batches of 1, 2, 4, …; stops after the batch in which one
/// failed. Gives how many succeeded and the first error: a quota that is used up costs few requests.
pub(crate) async fn batches<E, R>(count: usize, write: impl Fn(usize) -> R) -> (usize, Option<E>)
where
    R: Future<Output = Result<(), E>>,
{
    let (mut done, mut next, mut batch) = (0, 0, 1);
    let mut first_error = None;
    while next < count && first_error.is_none() {
        let end = count.min(next + batch);
        let mut running: FuturesUnordered<R> = (next..end).map(&write).collect();
        while let Some(result) = running.next().await {
            match result {
                Ok(()) => done += 1,
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        next = end;
        batch *= 2;
    }
    (done, first_error)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn stops_after_the_batch_that_failed() {
        let calls = RefCell::new(Vec::new());
        let (done, error) = batches(10, |i| {
            calls.borrow_mut().push(i);
            async move { if i == 2 { Err("full") } else { Ok(()) } }
        })
        .await;
        assert_eq!((done, error), (2, Some("full")));
        assert_eq!(calls.into_inner(), [0, 1, 2]);
        let (done, error) = batches(10, |_| async { Ok::<(), ()>(()) }).await;
        assert_eq!((done, error), (10, None));
    }
}
