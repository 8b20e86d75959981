//! Rooms that live and die together.

use crate::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Waits for all rooms. The first that ends by itself cancels `shutdown` for
/// the others, and its error, if any, is the result.
pub(crate) async fn all(
    mut rooms: JoinSet<Result<(), Error>>,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let mut outcome = Ok(());
    while let Some(ended) = rooms.join_next().await {
        let result = ended.unwrap_or_else(|panic| Err(Error::Room("a room panicked", panic.into())));
        if !shutdown.is_cancelled() && result.is_ok() {
            tracing::warn!("a room ended by itself; ending the process");
        }
        shutdown.cancel();
        outcome = outcome.and(result);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_ends_the_others_and_is_reported() {
        let shutdown = CancellationToken::new();
        let mut rooms = JoinSet::new();
        let token = shutdown.clone();
        rooms.spawn(async move {
            token.cancelled().await;
            Ok(())
        });
        rooms.spawn(async { Err(Error::Role("broken")) });
        let error = all(rooms, &shutdown).await.expect_err("one room failed");
        assert_eq!(error.to_string(), "broken");
        assert!(shutdown.is_cancelled());
    }
}
