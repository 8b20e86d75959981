//! The cache behind an informer: objects by key, by namespace and by chosen indices.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};

use kube::Resource;
use parking_lot::RwLock;

use crate::ObjectKey;
use crate::subscription::{Channel, Subscription};

type IndexFn<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

struct Index<K> {
    values: IndexFn<K>,
    /// Invariant: `keys[v]` is the set of stored objects for which `values` gives `v`; never empty.
    keys: HashMap<String, BTreeSet<ObjectKey>>,
}

impl<K> Index<K> {
    fn insert(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.values)(object) {
            self.keys.entry(value).or_default().insert(key.clone());
        }
    }

    fn remove(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.values)(object) {
            if let Some(keys) = self.keys.get_mut(&value) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys.remove(&value);
                }
            }
        }
    }
}

struct State<K> {
    /// Sorted, so that a namespace's objects are one range.
    objects: BTreeMap<ObjectKey, Arc<K>>,
    indices: HashMap<String, Index<K>>,
    subscribers: Vec<Weak<Channel<K>>>,
    /// The newest resourceVersion of any object seen.
    revision: u64,
}

pub(crate) struct Store<K> {
    state: RwLock<State<K>>,
}

impl<K: Resource> Store<K> {
    pub(crate) fn new() -> Self {
        Self {
            state: RwLock::new(State {
                objects: BTreeMap::new(),
                indices: HashMap::new(),
                subscribers: Vec::new(),
                revision: 0,
            }),
        }
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.state.read().objects.get(key).cloned()
    }

    pub(crate) fn revision(&self) -> u64 {
        self.state.read().revision
    }

    pub(crate) fn list(&self) -> Vec<Arc<K>> {
        self.state.read().objects.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    pub(crate) fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let first = ObjectKey::new(namespace, "");
        self.state
            .read()
            .objects
            .range(first..)
            .take_while(|(key, _)| key.namespace.as_deref() == Some(namespace))
            .map(|(_, object)| object.clone())
            .collect()
    }

    pub(crate) fn add_index(&self, name: &str, values: IndexFn<K>) {
        let mut state = self.state.write();
        if state.indices.contains_key(name) {
            return;
        }
        let mut index = Index {
            values,
            keys: HashMap::new(),
        };
        for (key, object) in &state.objects {
            index.insert(key, object);
        }
        state.indices.insert(name.to_owned(), index);
    }

    pub(crate) fn by_index(&self, name: &str, value: &str) -> Vec<Arc<K>> {
        let state = self.state.read();
        let Some(index) = state.indices.get(name) else {
            return Vec::new();
        };
        index
            .keys
            .get(value)
            .into_iter()
            .flatten()
            .filter_map(|key| state.objects.get(key).cloned())
            .collect()
    }

    /// New subscribers first get every present object as a change from nothing.
    pub(crate) fn subscribe(&self) -> Subscription<K> {
        let (subscription, channel) = Subscription::new();
        let mut state = self.state.write();
        if let Some(channel) = channel.upgrade() {
            for (key, object) in &state.objects {
                channel.push(key, None, Some(object.clone()));
            }
        }
        state.subscribers.retain(|s| s.strong_count() > 0);
        state.subscribers.push(channel);
        subscription
    }

    pub(crate) fn apply(&self, object: Arc<K>) {
        self.state.write().apply(ObjectKey::of(&*object), object);
    }

    pub(crate) fn delete(&self, object: &K) {
        let mut state = self.state.write();
        state.saw(object);
        state.delete(&ObjectKey::of(object), Some(object));
    }

    /// Makes the cache hold exactly `objects`; subscribers hear only of differences.
    pub(crate) fn replace(&self, objects: Vec<K>) {
        let mut state = self.state.write();
        let present: HashSet<ObjectKey> = objects.iter().map(ObjectKey::of).collect();
        let gone: Vec<ObjectKey> = state
            .objects
            .keys()
            .filter(|key| !present.contains(*key))
            .cloned()
            .collect();
        for key in gone {
            state.delete(&key, None);
        }
        for object in objects {
            state.apply(ObjectKey::of(&object), Arc::new(object));
        }
    }

    pub(crate) fn close(&self) {
        for subscriber in self.state.write().subscribers.drain(..) {
            if let Some(channel) = subscriber.upgrade() {
                channel.close();
            }
        }
    }
}

impl<K: Resource> State<K> {
    fn saw(&mut self, object: &K) {
        self.revision = self
            .revision
            .max(crate::owner::revision(object.meta()).unwrap_or(0));
    }

    fn apply(&mut self, key: ObjectKey, object: Arc<K>) {
        self.saw(&object);
        let old = self.objects.insert(key.clone(), object.clone());
        if let Some(old) = &old {
            if same_version(&**old, &*object) {
                self.objects.insert(key, old.clone());
                return;
            }
            for index in self.indices.values_mut() {
                index.remove(&key, old);
            }
        }
        for index in self.indices.values_mut() {
            index.insert(&key, &object);
        }
        self.notify(&key, old.as_ref(), Some(&object));
    }

    /// `last` is the state the deletion was reported with, newer than the cached one.
    fn delete(&mut self, key: &ObjectKey, last: Option<&K>) {
        let Some(old) = self.objects.get(key) else { return };
        if let Some(last) = last
            && last.meta().uid != old.meta().uid
        {
            return;
        }
        let Some(old) = self.objects.remove(key) else {
            return;
        };
        for index in self.indices.values_mut() {
            index.remove(key, &old);
        }
        self.notify(key, Some(&old), None);
    }

    fn notify(&mut self, key: &ObjectKey, old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
        self.subscribers.retain(|subscriber| match subscriber.upgrade() {
            Some(channel) => {
                channel.push(key, old.cloned(), new.cloned());
                true
            }
            None => false,
        });
    }
}

fn same_version<K: Resource>(a: &K, b: &K) -> bool {
    let (a, b) = (a.meta(), b.meta());
    a.uid == b.uid && a.resource_version.is_some() && a.resource_version == b.resource_version
}
