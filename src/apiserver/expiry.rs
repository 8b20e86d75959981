//! Events are kept for an hour, upstream's `--event-ttl`.

use std::{borrow::Cow, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;

use crate::{cacher::ROOT, core::Core};

/// Seconds that an event is kept after it was last written.
const TTL: i64 = 3600;
/// How many are looked at before others have their turn.
const SLICE: usize = 256;
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
    for (number, event) in events.snapshot(0).objects.values().enumerate() {
        if number % SLICE == SLICE - 1 {
            tokio::task::yield_now().await;
        }
        if event.typed::<Times<'_>>().is_ok_and(|times| times.are_over(now)) {
            // Whoever wrote it meanwhile keeps it alive.
            let key = format!("{ROOT}core/events/{}", event.key);
            if let Err(error) = core.store.delete(&key, event.revision).await {
                tracing::debug!(%key, %error, "expired event stays");
            }
        }
    }
}

/// When an event was written, as far as it says: of `v1` and `events.k8s.io/v1`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Times<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    last_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    series: Option<Series<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata<'a> {
    #[serde(borrow)]
    creation_timestamp: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Series<'a> {
    #[serde(borrow)]
    last_observed_time: Option<Cow<'a, str>>,
}

impl Times<'_> {
    /// Whether the newest of them lies more than [`TTL`] back. An event without times stays.
    fn are_over(&self, now: Timestamp) -> bool {
        let times = [
            &self.metadata.creation_timestamp,
            &self.last_timestamp,
            &self.event_time,
            self.series
                .as_ref()
                .map_or(&None, |series| &series.last_observed_time),
        ];
        let newest = times
            .into_iter()
            .filter_map(|time| time.as_deref()?.parse::<Timestamp>().ok())
            .max();
        newest.is_some_and(|at| at.as_second() + TTL < now.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_after_the_newest_time() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let is_expired = |text: &str| serde_json::from_str::<Times<'_>>(text).unwrap().are_over(now);
        let event = |last: &str| {
            format!(
                r#"{{"metadata":{{"name":"a","creationTimestamp":"2026-01-01T01:00:00Z"}},"count":1,"lastTimestamp":{last}}}"#
            )
        };
        assert!(is_expired(&event(r#""2026-01-01T10:59:00Z""#)));
        assert!(is_expired(&event("null")));
        assert!(!is_expired(&event(r#""2026-01-01T11:30:00Z""#)));
        assert!(!is_expired(
            r#"{"eventTime":"2026-01-01T01:00:00.5Z","series":{"lastObservedTime":"2026-01-01T11:30:00.5Z"}}"#
        ));
        assert!(!is_expired("{}"));
    }
}
