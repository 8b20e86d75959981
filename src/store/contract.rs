//! The contract test: what every [`Store`] must do, whatever it keeps its data in.
//!
//! An implementation's own tests call [`run`] with a way to make a store. Nothing here assumes that
//! a store begins empty or at revision 1, only that nobody else writes to it meanwhile; so the same
//! store may serve all cases, as an etcd would. A broken rule panics with what was expected.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;

use crate::{Entry, Event, Result, Revision, Store, WatchStream};

mod reads;
mod watches;
mod writes;

/// How long any single await of a case may take before it counts as hanging.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs every case on a store that `make` gives (a new one each time, or always the same).
///
/// Needs a tokio runtime of several threads, else the concurrent cases prove little.
///
/// # Panics
/// When the store breaks the contract.
pub async fn run<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    macro_rules! cases {
        ($($module:ident::$case:ident),* $(,)?) => {$(
            let name = concat!(stringify!($module), "::", stringify!($case));
            let case = Case { store: make().await, root: format!("/contract/{name}/") };
            if tokio::time::timeout(DEADLINE, $module::$case(&case)).await.is_err() {
                panic!("contract case {name} hangs");
            }
        )*};
    }
    cases![
        writes::a_created_key_can_be_read,
        writes::creating_an_existing_key_gives_what_is_there,
        writes::update_needs_the_current_revision,
        writes::delete_needs_the_current_revision,
        writes::a_key_created_again_begins_anew,
        writes::each_write_takes_exactly_one_revision,
        writes::values_are_kept_to_the_byte,
        writes::of_racing_creates_one_wins,
        writes::racing_increments_lose_none,
        reads::range_is_ordered_and_keeps_to_its_prefix,
        reads::pages_cover_everything_once,
        reads::pages_keep_to_the_first_pages_revision,
        reads::every_retained_revision_can_be_read,
        reads::the_future_cannot_be_read,
        reads::compaction_ends_the_past,
        watches::from_now_sees_only_what_comes,
        watches::from_a_revision_sees_history_first,
        watches::from_the_future_skips_what_is_before,
        watches::events_carry_what_was_before,
        watches::what_is_told_can_be_read,
        watches::keeps_to_its_prefix,
        watches::started_amid_writes_misses_nothing,
        watches::an_acknowledged_write_is_queued,
        watches::from_a_compacted_revision_is_refused,
        watches::progress_moves_the_revision,
        watches::a_dropped_watch_disturbs_nobody,
    ];
}

/// One case's store and the prefix that is its own.
struct Case {
    store: Arc<dyn Store>,
    root: String,
}

impl Case {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.root)
    }

    async fn create(&self, name: &str, value: &'static str) -> Revision {
        self.store
            .create(&self.key(name), value.into())
            .await
            .expect("create")
    }

    async fn update(&self, name: &str, expected: Revision, value: &'static str) -> Revision {
        self.store
            .update(&self.key(name), expected, value.into())
            .await
            .expect("update")
    }

    async fn delete(&self, name: &str, expected: Revision) -> Revision {
        self.store
            .delete(&self.key(name), expected)
            .await
            .expect("delete")
    }

    async fn get(&self, name: &str) -> Option<Entry> {
        self.store.get(&self.key(name), None).await.expect("get").0
    }

    /// `name=value` of all keys of this case, at a revision.
    async fn list_at(&self, at: Option<Revision>) -> Result<Vec<String>> {
        let range = self.store.range(&self.root, None, 0, at).await?;
        Ok(range.entries.iter().map(|entry| self.show(entry)).collect())
    }

    fn show(&self, entry: &Entry) -> String {
        let name = entry.key.strip_prefix(&self.root).unwrap_or(&entry.key);
        format!("{name}={}", String::from_utf8_lossy(&entry.value.bytes()))
    }

    /// `+name=value`, `~name=value` or `-name` with the revision relative to `base`.
    fn show_event(&self, event: &Event, base: Revision) -> String {
        let revision = event.revision() - base;
        match event {
            Event::Put { entry, prev: None } => format!("{revision}+{}", self.show(entry)),
            Event::Put { entry, prev: Some(_) } => format!("{revision}~{}", self.show(entry)),
            Event::Delete { prev, .. } => {
                format!(
                    "{revision}-{}",
                    prev.key.strip_prefix(&self.root).unwrap_or(&prev.key)
                )
            }
        }
    }

    async fn watch(&self, from: Revision) -> WatchStream {
        self.store.watch(&self.root, from).await.expect("watch")
    }

    /// Awaits exactly `count` events.
    async fn events(&self, stream: &mut WatchStream, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(stream.next().await.expect("watch ended").expect("watch failed"));
        }
        assert_eq!(events.len(), count, "more events than writes: {events:?}");
        events
    }
}

fn bytes(value: impl Into<String>) -> Bytes {
    Bytes::from(value.into())
}
