//! The stream of changes that a watch yields.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{Stream, StreamExt, stream::BoxStream};

use crate::{Event, Result, Revision};

/// What an implementation hands to [`WatchStream`]: the events of the watched prefix up to and
/// including `revision`.
#[derive(Clone, Debug)]
pub struct WatchBatch {
    /// Everything of the prefix up to this revision has been delivered with this batch.
    pub revision: Revision,
    /// The events, in revision order; empty for mere progress.
    pub events: Vec<Event>,
}

/// Changes of one prefix. Yields batches of events in revision order; a batch may be empty, which
/// only says that [`WatchStream::revision`] moved. After an error it ends.
pub struct WatchStream {
    inner: BoxStream<'static, Result<WatchBatch>>,
    revision: Revision,
    done: bool,
}

impl WatchStream {
    /// A stream that has nothing to deliver up to and including `revision`, and goes on with
    /// `inner`.
    pub fn new(revision: Revision, inner: impl Stream<Item = Result<WatchBatch>> + Send + 'static) -> Self {
        WatchStream {
            inner: inner.boxed(),
            revision,
            done: false,
        }
    }

    /// Everything of the prefix up to and including this revision has been yielded.
    pub fn revision(&self) -> Revision {
        self.revision
    }
}

impl Stream for WatchStream {
    type Item = Result<Vec<Event>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.inner.poll_next_unpin(cx)) {
            Some(Ok(batch)) => {
                self.revision = self.revision.max(batch.revision);
                Some(Ok(batch.events))
            }
            Some(Err(error)) => {
                self.done = true;
                Some(Err(error))
            }
            None => {
                self.done = true;
                None
            }
        })
    }
}

impl std::fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchStream")
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
