//! Steps that have names and take time.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::Error;

/// Is told what happens; prints, draws or ignores it.
pub trait Reporter: Send + Sync {
    fn begin(&self, step: &str);
    /// More about the step that runs.
    fn detail(&self, text: &str);
    fn end(&self, step: &str, took: Duration, ok: bool);
    /// Something that the user should know and that stops nothing.
    fn warn(&self, text: &str);
}

/// Ignores everything.
pub struct Silent;

impl Reporter for Silent {
    fn begin(&self, _: &str) {}
    fn detail(&self, _: &str) {}
    fn end(&self, _: &str, _: Duration, _: bool) {}
    fn warn(&self, _: &str) {}
}

/// Runs the steps of one undertaking.
pub(crate) struct Steps<'a> {
    pub reporter: &'a dyn Reporter,
    pub cancel: &'a CancellationToken,
}

impl Steps<'_> {
    /// A step that changes something: once begun it ends by itself, so that
    /// nothing is half made behind our back. A wish to stop takes effect after it.
    pub(crate) async fn run<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.timed(name, work).await
    }

    /// A step that only waits: a wish to stop ends it at once.
    pub(crate) async fn wait<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let cancel = self.cancel.cancelled();
        self.timed(name, async {
            tokio::select! {
                biased;
                () = cancel => Err(Error::Interrupted),
                result = work => result,
            }
        })
        .await
    }

    async fn timed<T>(&self, name: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        self.reporter.begin(name);
        let started = Instant::now();
        let mut result = work.await;
        if result.is_ok() && self.cancel.is_cancelled() {
            result = Err(Error::Interrupted);
        }
        self.reporter.end(name, started.elapsed(), result.is_ok());
        result
    }
}
