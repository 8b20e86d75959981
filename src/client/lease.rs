//! Leader election over a `coordination.k8s.io/v1` Lease.
//!
//! As client-go: the holder renews every `retry`; a lease whose record was not seen to change for its
//! `leaseDurationSeconds` (by this process's clock) may be taken. A holder that can't renew within
//! `renew_deadline` stops leading before anybody else may start.
//! <https://kubernetes.io/docs/concepts/architecture/leases/>

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Client, ErrorExt};

/// Which lease, held as whom, and how fast it changes hands.
#[derive(Debug, Clone)]
pub struct LeaderElector {
    /// The lease's namespace, `kube-system` for upstream's components.
    pub namespace: String,
    /// The lease's name, such as `kube-controller-manager`.
    pub name: String,
    /// Who would hold it: unique per process.
    pub identity: String,
    /// How long others wait for a silent holder. Upstream: 15 s.
    pub lease_duration: Duration,
    /// How long a holder tries to renew before it gives up. Upstream: 10 s.
    pub renew_deadline: Duration,
    /// Time between two tries. Upstream: 2 s.
    pub retry: Duration,
}

/// The newest record and when this process first saw it.
#[derive(Default)]
struct Observed {
    record: Option<(Option<String>, Option<Timestamp>)>,
    at: Option<Instant>,
}

impl LeaderElector {
    /// With upstream's times.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }

    /// Waits for leadership, then runs `lead` with a token that is cancelled when leadership is lost or
    /// `shutdown` comes. Returns when `lead` has returned, the lease given back if it was still held.
    /// `None`: shut down before becoming leader.
    pub async fn run<F, R, T>(&self, client: Client, shutdown: CancellationToken, lead: F) -> Option<T>
    where
        F: FnOnce(CancellationToken) -> R,
        R: Future<Output = T>,
    {
        let leases: Api<Lease> = Api::namespaced(client, &self.namespace);
        let mut observed = Observed::default();
        loop {
            match self.try_acquire(&leases, &mut observed).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(lease = self.name, error = %crate::chain(&error), "lease not acquired");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(self.retry) => {}
            }
        }
        tracing::info!(lease = self.name, identity = self.identity, "became leader");
        let leading = shutdown.child_token();
        let mut led = std::pin::pin!(lead(leading.clone()));
        let result = tokio::select! {
            result = &mut led => result,
            () = self.keep(&leases, &mut observed) => {
                tracing::error!(lease = self.name, "leadership lost");
                leading.cancel();
                return Some(led.await);
            }
        };
        if let Err(error) = self.release(&leases).await {
            tracing::debug!(lease = self.name, error = %crate::chain(&error), "lease not given back");
        }
        Some(result)
    }

    /// Returns when leadership is lost.
    async fn keep(&self, leases: &Api<Lease>, observed: &mut Observed) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.retry).await;
            let left = self.renew_deadline.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.try_acquire(leases, observed)).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                // Somebody else holds it: no use in trying on.
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, error = %crate::chain(&error), "lease not renewed");
                }
            }
        }
    }

    /// One try to take or renew. `Ok(false)`: somebody else holds it.
    async fn try_acquire(&self, leases: &Api<Lease>, observed: &mut Observed) -> kube::Result<bool> {
        let now = Timestamp::now();
        let Some(mut lease) = leases.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..Default::default()
                },
                spec: Some(self.spec(now, now, 0)),
            };
            return match leases.create(&PostParams::default(), &lease).await {
                Ok(_) => Ok(true),
                Err(error) if error.is_already_exists() => Ok(false),
                Err(error) => Err(error),
            };
        };
        let old = lease.spec.take().unwrap_or_default();
        let holder = old.holder_identity.clone().filter(|h| !h.is_empty());
        let record = (holder.clone(), old.renew_time.as_ref().map(|t| t.0));
        if observed.record.as_ref() != Some(&record) {
            observed.record = Some(record);
            observed.at = Some(Instant::now());
        }
        let mine = holder.as_deref() == Some(self.identity.as_str());
        if !mine && holder.is_some() {
            let duration = old.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
            let duration = duration.map_or(self.lease_duration, Duration::from_secs);
            if observed.at.is_some_and(|at| at.elapsed() < duration) {
                return Ok(false);
            }
        }
        let acquired = if mine {
            old.acquire_time.as_ref().map_or(now, |t| t.0)
        } else {
            now
        };
        let transitions = old.lease_transitions.unwrap_or(0) + i32::from(!mine);
        lease.spec = Some(self.spec(acquired, now, transitions));
        match leases.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn release(&self, leases: &Api<Lease>) -> kube::Result<()> {
        let Some(mut lease) = leases.get_opt(&self.name).await? else {
            return Ok(());
        };
        let Some(spec) = &mut lease.spec else {
            return Ok(());
        };
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        leases
            .replace(&self.name, &PostParams::default(), &lease)
            .await
            .map(|_| ())
    }

    fn spec(&self, acquired: Timestamp, renewed: Timestamp, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.lease_duration.as_secs()).ok(),
            acquire_time: Some(MicroTime(acquired)),
            renew_time: Some(MicroTime(renewed)),
            lease_transitions: Some(transitions),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests;
