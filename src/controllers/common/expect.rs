//! Keeping a controller from acting twice while its cache has not seen its own writes.
//!
//! Upstream counts watch events; here a controller remembers the resourceVersion its last writes got
//! and the objects it deleted, and the cache tells whether it has come that far. No event needs to be
//! counted, so none can be missed.

use std::collections::HashMap;
use std::time::Duration;

use kube::Resource;
use parking_lot::Mutex;
use rkind_client::{Informer, ObjectKey, owner};
use tokio::time::Instant;

/// After this long the cache is believed again, as upstream's `ExpectationsTimeout`.
const TIMEOUT: Duration = Duration::from_secs(5 * 60);

struct Expected {
    /// The cache must have seen this resourceVersion.
    revision: u64,
    /// Key and uid of deleted objects that the cache must show as gone or going.
    deleted: Vec<(ObjectKey, String)>,
    since: Instant,
}

/// Per controlling object, what its dependents' cache must show before it is acted on again.
#[derive(Default)]
pub(crate) struct Expectations {
    expected: Mutex<HashMap<ObjectKey, Expected>>,
}

impl Expectations {
    fn edit(&self, owner: &ObjectKey, change: impl FnOnce(&mut Expected)) {
        let mut expected = self.expected.lock();
        let entry = expected.entry(owner.clone()).or_insert_with(|| Expected {
            revision: 0,
            deleted: Vec::new(),
            since: Instant::now(),
        });
        entry.since = Instant::now();
        change(entry);
    }

    /// `object` was written and came back like this.
    pub(crate) fn wrote<K: Resource>(&self, owner: &ObjectKey, object: &K) {
        let revision = owner::revision(object.meta()).unwrap_or(0);
        self.edit(owner, |e| e.revision = e.revision.max(revision));
    }

    /// `object` was deleted.
    pub(crate) fn deleted<K: Resource>(&self, owner: &ObjectKey, object: &K) {
        let gone = (
            ObjectKey::of(object),
            object.meta().uid.clone().unwrap_or_default(),
        );
        self.edit(owner, |e| e.deleted.push(gone));
    }

    /// Whether the cache shows everything `owner`'s controller did.
    pub(crate) fn satisfied<K>(&self, owner: &ObjectKey, cache: &Informer<K>) -> bool
    where
        K: Resource + Send + Sync + 'static,
    {
        let mut expected = self.expected.lock();
        let Some(entry) = expected.get_mut(owner) else {
            return true;
        };
        entry.deleted.retain(|(key, uid)| {
            cache.get(key).is_some_and(|object| {
                object.meta().uid.as_deref() == Some(uid) && object.meta().deletion_timestamp.is_none()
            })
        });
        let fulfilled = entry.deleted.is_empty() && cache.revision() >= entry.revision;
        if fulfilled || entry.since.elapsed() > TIMEOUT {
            expected.remove(owner);
            return true;
        }
        false
    }

    /// The owner is gone.
    pub(crate) fn forget(&self, owner: &ObjectKey) {
        self.expected.lock().remove(owner);
    }
}
