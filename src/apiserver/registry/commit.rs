//! What a write does to the store.

use bytes::Bytes;
use rkind_store::Revision;

use super::create::Write;
use crate::services::Reservation;

/// One change of one key.
pub(super) enum Change {
    Create(Bytes),
    /// Of what is at a revision.
    Update(Revision, Bytes),
    /// Of what is at a revision.
    Delete(Revision),
}

impl Write {
    /// Commits a change; then what was reserved for it is kept, or given back when it is refused.
    ///
    /// A store finishes what it was handed even when nobody waits any more: the client has gone, or its
    /// time is over. So must the bookkeeping of addresses, which would else be given out twice; it runs
    /// apart from the request.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn commit(
        &self,
        key: &str,
        change: Change,
        reservation: Reservation,
    ) -> rkind_store::Result<Revision> {
        let store = self.core.store.clone();
        if reservation.is_empty() {
            return store_change(&*store, key, change).await;
        }
        let key = key.to_owned();
        let settled = tokio::spawn(async move {
            let revision = store_change(&*store, &key, change).await?;
            reservation.keep();
            Ok(revision)
        });
        settled
            .await
            .unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is at its end.
                Err(_) => Err(rkind_store::Error::Closed),
            })
    }
}

async fn store_change(
    store: &dyn rkind_store::Store,
    key: &str,
    change: Change,
) -> rkind_store::Result<Revision> {
    match change {
        Change::Create(bytes) => store.create(key, bytes).await,
        Change::Update(revision, bytes) => store.update(key, revision, bytes).await,
        Change::Delete(revision) => store.delete(key, revision).await,
    }
}
