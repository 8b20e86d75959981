//! Noticing what happens in the runtime by itself: containers that end, sandboxes that die.
//!
//! Listens to the runtime's events where it has them, and lists everything now and then in any
//! case: an event may be lost, a list can't be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use rkind_cri::ErrorKind;

use crate::agent::Agent;
use crate::observed::keys;

/// Time between lists without events from the runtime, and with them.
const BLIND: Duration = Duration::from_secs(1);
const SIGHTED: Duration = Duration::from_secs(30);

/// How long a runtime may take to notice what it has just told.
const SETTLE: Duration = Duration::from_millis(10);

/// Pod uid -> ids and states of all its sandboxes and containers.
type Snapshot = BTreeMap<String, BTreeSet<(String, i32)>>;

async fn snapshot(agent: &Agent) -> rkind_cri::Result<Snapshot> {
    let (sandboxes, containers) = tokio::try_join!(
        agent.runtime.list_pod_sandboxes(None),
        agent.runtime.list_containers(None)
    )?;
    let mut found = Snapshot::new();
    let sandboxes = sandboxes.into_iter().map(|s| (s.labels, s.id, s.state));
    let containers = containers.into_iter().map(|c| (c.labels, c.id, c.state));
    for (labels, id, state) in sandboxes.chain(containers) {
        if let Some(uid) = labels.get(keys::POD_UID) {
            found.entry(uid.clone()).or_default().insert((id, state));
        }
    }
    Ok(found)
}

/// Uids of all pods that left something in the runtime or on disk.
pub(crate) async fn known_uids(agent: &Agent) -> BTreeSet<String> {
    let mut uids: BTreeSet<String> = agent.volumes.pods_on_disk().into_iter().collect();
    let mut backoff = rkind_client::Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        match snapshot(agent).await {
            Ok(found) => {
                uids.extend(found.into_keys());
                return uids;
            }
            Err(error) => {
                tracing::debug!(%error, "runtime not there yet");
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

/// Wakes workers of pods whose containers changed.
pub(crate) async fn run(agent: Arc<Agent>) {
    let mut last = Snapshot::new();
    let mut events = None;
    let mut unsupported = false;
    let mut settling: Vec<Duration> = Vec::new();
    loop {
        if events.is_none() && !unsupported {
            events = agent.runtime.events().await.ok();
        }
        match snapshot(&agent).await {
            Ok(now) => {
                let uids: BTreeSet<&String> = last.keys().chain(now.keys()).collect();
                for uid in uids {
                    if last.get(uid) != now.get(uid) {
                        agent.wakers.wake(uid);
                    }
                }
                last = now;
            }
            Err(error) => tracing::debug!(%error, "cannot list the runtime's pods"),
        }
        let period = match (&events, settling.pop()) {
            (_, Some(soon)) => soon,
            (Some(_), None) => SIGHTED,
            (None, None) => BLIND,
        };
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = agent.relist.notified() => {}
            event = next(&mut events) => match event {
                // The runtime may tell of an end before its own books show it: look twice.
                Some(Ok(_)) => {
                    settling = vec![SETTLE * 10, SETTLE];
                    tokio::time::sleep(SETTLE).await;
                }
                ended => {
                    unsupported = matches!(&ended, Some(Err(e)) if e.kind == ErrorKind::Unimplemented);
                    events = None;
                    // The runtime may be restarting: leave it a moment.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            },
        }
    }
}

async fn next(
    events: &mut Option<rkind_cri::EventStream>,
) -> Option<rkind_cri::Result<rkind_cri::v1::ContainerEventResponse>> {
    match events {
        Some(stream) => stream.next().await,
        None => futures::future::pending().await,
    }
}
