//! Shared informers: one list + watch per kind and filter, many readers.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use kube::Resource;
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::reflect::{Typed, reflect};
use crate::store::Store;
use crate::{Client, ObjectKey, Subscription};

/// Any kind's object with nothing but its metadata.
pub type MetaObject = PartialObjectMeta<DynamicObject>;

/// What of a kind an informer sees. Empty: everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// A label selector in string form.
    pub labels: Option<String>,
    /// A field selector in string form, such as `spec.nodeName=n1`.
    pub fields: Option<String>,
}

impl Filter {
    /// By field selector.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self {
            fields: Some(selector.into()),
            ..Self::default()
        }
    }

    /// By label selector.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self {
            labels: Some(selector.into()),
            ..Self::default()
        }
    }

    fn config(&self) -> watcher::Config {
        watcher::Config {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            page_size: None,
            ..watcher::Config::default()
        }
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Slot {
    kind: TypeId,
    /// group/version/plural for metadata informers, empty for typed ones.
    resource: String,
    filter: Filter,
}

impl Slot {
    fn metadata(resource: &ApiResource) -> Self {
        Slot {
            kind: TypeId::of::<MetaObject>(),
            resource: format!("{}/{}", resource.api_version, resource.plural),
            filter: Filter::default(),
        }
    }
}

struct Registry {
    client: Client,
    informers: Mutex<HashMap<Slot, Box<dyn Any + Send + Sync>>>,
}

/// The process's informers. Cheap to clone; each kind is listed and watched once, from its first use
/// until the last clone (and the informers taken from it) is dropped.
#[derive(Clone)]
pub struct Informers {
    registry: Arc<Registry>,
}

impl Informers {
    /// No informer runs yet.
    pub fn new(client: Client) -> Self {
        Self {
            registry: Arc::new(Registry {
                client,
                informers: Mutex::new(HashMap::new()),
            }),
        }
    }

    /// The client the informers read with.
    pub fn client(&self) -> &Client {
        &self.registry.client
    }

    /// The informer of all objects of a kind. Must be called within a tokio runtime.
    pub fn get<K>(&self) -> Informer<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Send + Sync + 'static,
    {
        self.filtered(Filter::default())
    }

    /// The informer of those objects of a kind that match.
    pub fn filtered<K>(&self, filter: Filter) -> Informer<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Send + Sync + 'static,
    {
        let slot = Slot {
            kind: TypeId::of::<K>(),
            resource: String::new(),
            filter,
        };
        self.informer(slot, || ApiResource::erase::<K>(&()), |_| {})
    }

    /// The metadata-only informer of any kind, for who owns whom: of the metadata labels and annotations
    /// are left out, as a process that watches every kind holds every object.
    pub fn metadata(&self, resource: &ApiResource) -> Informer<MetaObject> {
        self.informer(Slot::metadata(resource), || resource.clone(), lean)
    }

    /// Forgets a metadata informer (its kind is no longer served).
    pub fn forget_metadata(&self, resource: &ApiResource) {
        self.registry.informers.lock().remove(&Slot::metadata(resource));
    }

    /// The slot's informer, started if this is its first use.
    fn informer<K>(&self, slot: Slot, resource: impl FnOnce() -> ApiResource, trim: fn(&mut K)) -> Informer<K>
    where
        K: Resource + DeserializeOwned + Send + Sync + 'static,
    {
        let mut informers = self.registry.informers.lock();
        if let Some(informer) = informers.get(&slot).and_then(|i| i.downcast_ref::<Informer<K>>()) {
            return informer.clone();
        }
        let store = Arc::new(Store::new());
        let (sender, synced) = watch::channel(false);
        let stop = CancellationToken::new();
        tokio::spawn(reflect(
            self.registry.client.clone(),
            resource(),
            slot.filter.config(),
            Arc::new(Typed::new(store.clone(), trim)),
            sender,
            stop.clone(),
        ));
        let informer = Informer {
            store,
            synced,
            _stop: Arc::new(stop.drop_guard()),
        };
        informers.insert(slot, Box::new(informer.clone()));
        informer
    }
}

fn lean(object: &mut MetaObject) {
    object.types = None;
    object.metadata.labels = None;
    object.metadata.annotations = None;
}

/// A live, read-only view of a kind. Cheap to clone. Reads never wait and may lag the server by the
/// time of one watch event.
pub struct Informer<K> {
    store: Arc<Store<K>>,
    synced: watch::Receiver<bool>,
    _stop: Arc<DropGuard>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            synced: self.synced.clone(),
            _stop: self._stop.clone(),
        }
    }
}

impl<K: Resource + Send + Sync + 'static> Informer<K> {
    /// The object, if it is in the cache.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.store.get(key)
    }

    /// All objects, ordered by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.store.list()
    }

    /// All objects of a namespace, ordered by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.store.list_in(namespace)
    }

    /// The newest resourceVersion this cache has seen (0: none). A write whose resourceVersion is not
    /// above it is known to this cache: resourceVersions of one server are comparable (KEP-5504).
    pub fn revision(&self) -> u64 {
        self.store.revision()
    }

    /// How many objects the cache holds.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether the cache holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps an index `name`: each object is found under every string that `values` gives for it. The
    /// first definition of a name counts, so that two users may each ask for the same index.
    pub fn index(&self, name: &str, values: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) {
        self.store.add_index(name, Box::new(values));
    }

    /// The objects under `value` in the index `name` (made before with [`Informer::index`]).
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<K>> {
        self.store.by_index(name, value)
    }

    /// Changes from now on; what is in the cache already comes first, as new.
    pub fn subscribe(&self) -> Subscription<K> {
        self.store.subscribe()
    }

    /// Whether the first list is complete.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Returns when the first list is complete. Never returns if the informer is stopped before.
    pub async fn synced(&self) {
        let mut synced = self.synced.clone();
        if synced.wait_for(|synced| *synced).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
