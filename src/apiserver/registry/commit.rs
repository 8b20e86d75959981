//! What a write does to the store.

use bytes::Bytes;
use rkind_apimachinery::{meta::GroupResource, status::Status};
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

/// Why a change did not happen.
pub(super) enum Failure {
    Store(rkind_store::Error),
    /// Somebody else has got an address of the reservation: another one is to be reserved.
    AddressTaken,
    /// An address cannot be recorded.
    Refused(Box<Status>),
}

impl From<rkind_store::Error> for Failure {
    fn from(error: rkind_store::Error) -> Self {
        Failure::Store(error)
    }
}

impl Failure {
    /// What the client is told of a failure that is not met where it arises.
    pub(super) fn status(self, gr: &GroupResource) -> Box<Status> {
        match self {
            Failure::Store(error) => crate::error::store(gr, &error),
            Failure::AddressTaken => Status::conflict(gr, "", "provided IP is already allocated").into(),
            Failure::Refused(status) => status,
        }
    }
}

impl Write {
    /// Commits a change; then what was reserved for it is kept, or given back when it is refused.
    ///
    /// A store finishes what it was handed even when nobody waits any more: the client has gone, or its
    /// time is over. So must the bookkeeping of addresses, which would else be given out twice; it runs
    /// apart from the request.
    ///
    /// # Errors
    /// Those of the store; that an address has gone to somebody else.
    pub(super) async fn commit(
        &self,
        key: &str,
        change: Change,
        reservation: Reservation,
    ) -> Result<Revision, Failure> {
        let core = self.core.clone();
        if reservation.is_empty() {
            return Ok(store_change(&*core.store, key, change).await?);
        }
        let key = key.to_owned();
        let settled = tokio::spawn(async move {
            reservation
                .record(&core)
                .await
                .map_err(|error| match &*error.reason {
                    "AlreadyExists" => Failure::AddressTaken,
                    _ => Failure::Refused(error),
                })?;
            match store_change(&*core.store, &key, change).await {
                Ok(revision) => {
                    reservation.keep(&core).await;
                    Ok(revision)
                }
                Err(error) => {
                    reservation.revoke(&core).await;
                    Err(error.into())
                }
            }
        });
        settled
            .await
            .unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is at its end.
                Err(_) => Err(rkind_store::Error::Closed.into()),
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
