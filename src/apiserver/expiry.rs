//! Events are kept for an hour, upstream's `--event-ttl`.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{cacher::ROOT, core::Core};

/// Seconds that an event is kept after it was last written.
const TTL: i64 = 3600;
/// How often expired ones are looked for.
const EVERY: Duration = Duration::from_secs(60);

/// Removes expired events until shutdown.
pub(crate) async fn run(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = core.shutdown.cancelled() => return,
            _ = ticks.tick() => sweep(&core, Timestamp::now()).await,
        }
    }
}

async fn sweep(core: &Core, now: Timestamp) {
    let Some(events) = core.cache.cacher("core/events") else {
        return;
    };
    for event in events.snapshot(0).objects.values() {
        if is_expired(&event.to_value(), now) {
            // Whoever wrote it meanwhile keeps it alive.
            let key = format!("{ROOT}core/events/{}", event.key);
            if let Err(error) = core.store.delete(&key, event.revision).await {
                tracing::debug!(%key, %error, "expired event stays");
            }
        }
    }
}

/// Whether the newest of an event's times lies more than [`TTL`] back. One without times stays.
fn is_expired(event: &Value, now: Timestamp) -> bool {
    let times = [
        &event["metadata"]["creationTimestamp"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["series"]["lastObservedTime"],
    ];
    let newest = times
        .iter()
        .filter_map(|t| t.as_str()?.parse::<Timestamp>().ok())
        .max();
    newest.is_some_and(|at| at.as_second() + TTL < now.as_second())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_hour_after_the_newest_time() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let event = |last: &str| json!({"metadata": {"creationTimestamp": "2026-01-01T01:00:00Z"}, "lastTimestamp": last});
        assert!(is_expired(&event("2026-01-01T10:59:00Z"), now));
        assert!(!is_expired(&event("2026-01-01T11:30:00Z"), now));
        assert!(!is_expired(&json!({}), now));
    }
}
