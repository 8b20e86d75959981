//! ResourceQuotas: what a namespace uses, counted anew.
//!
//! <https://kubernetes.io/docs/concepts/policy/resource-quotas/>. Admission adds what a write uses to
//! `status.used`; this loop sets it when a quota is made or changed, when objects go or use less, and
//! now and then, since a write may fail after it was counted. Both count by the same rules
//! (`rkind_apimachinery::quota`).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::{Api, Resource};
use parking_lot::Mutex;
use rkind_apimachinery::quota::{self, Amounts, Evaluator};
use rkind_client::{Action, Change, ErrorExt, Informer, MetaObject, ObjectKey, WorkQueue, run_workers};
use serde::Serialize;
use serde_json::Value;

use crate::common::discover::{Discovered, discover};
use crate::common::{Context, Outcome, ReconcileError, WORKERS};

#[cfg(test)]
mod tests;

/// How often everything is counted, whatever happened; upstream's `--resource-quota-sync-period`.
const RESYNC: Duration = Duration::from_secs(300);
/// How soon to look again for a resource that nobody serves yet.
const UNKNOWN: Duration = Duration::from_secs(30);

/// Resources whose quotas are not all named `count/…`.
const NAMED: [(&str, &str); 8] = [
    ("", "pods"),
    ("", "services"),
    ("", "persistentvolumeclaims"),
    ("resource.k8s.io", "resourceclaims"),
    ("", "configmaps"),
    ("", "secrets"),
    ("", "replicationcontrollers"),
    ("", "resourcequotas"),
];

/// The resource, as `(group, plural)`, that a quota's resource name is about.
fn resource_of(name: &str) -> Option<(String, String)> {
    let named = NAMED
        .iter()
        .find(|(group, plural)| Evaluator::of(group, plural).tracks(name));
    if let Some((group, plural)) = named {
        return Some(((*group).to_owned(), (*plural).to_owned()));
    }
    let counted = name.strip_prefix("count/")?;
    let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
    Some((group.to_owned(), plural.to_owned()))
}

/// The quota with the status it should have; `None` when it has it.
fn plan(quota: &ResourceQuota, used: Amounts) -> Result<Option<ResourceQuota>, ReconcileError> {
    let value = serde_json::to_value(quota)?;
    let hard = quota::amounts(&value["spec"]["hard"]);
    let status = &value["status"];
    if quota::amounts(&status["hard"]) == hard && quota::amounts(&status["used"]) == used {
        // Nothing to count is something to say once.
        if status["hard"].is_object() || hard.is_empty() {
            return Ok(None);
        }
    }
    let mut new = quota.clone();
    new.status = Some(serde_json::from_value(serde_json::json!({
        "hard": value["spec"]["hard"], "used": quota::to_value(&used)}))?);
    Ok(Some(new))
}

/// Whether a quota's status is about the limits that its spec has.
fn is_counted(quota: &ResourceQuota) -> bool {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let counted = quota.status.as_ref().and_then(|status| status.hard.as_ref());
    hard.is_none() || hard == counted
}

pub(crate) async fn run(context: Context) {
    let quotas = context.informers.get::<ResourceQuota>();
    let queue = WorkQueue::new();
    context.feed(&quotas, &queue, |change| {
        let hard = |quota: &Option<Arc<ResourceQuota>>| quota.as_ref().map(|q| q.spec.clone());
        let stays = change.old.is_some() && hard(&change.old) == hard(&change.new);
        let holds = change.new.as_deref().is_none_or(is_counted);
        (!stays || !holds)
            .then(|| change.key.clone())
            .into_iter()
            .collect()
    });
    let counter = Arc::new(Counter {
        pods: context.informers.get(),
        services: context.informers.get(),
        claims: context.informers.get(),
        quotas: quotas.clone(),
        known: Mutex::default(),
        followed: Mutex::default(),
        queue: queue.clone(),
        context: context.clone(),
    });
    counter.replenish(&counter.pods, "pods");
    counter.replenish(&counter.services, "services");
    counter.replenish(&counter.claims, "persistentvolumeclaims");
    quotas.synced().await;
    counter.pods.synced().await;
    counter.services.synced().await;
    counter.claims.synced().await;
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key| {
        let counter = counter.clone();
        async move { counter.reconcile(key).await }
    })
    .await;
}

struct Counter {
    context: Context,
    quotas: Informer<ResourceQuota>,
    pods: Informer<Pod>,
    services: Informer<Service>,
    claims: Informer<PersistentVolumeClaim>,
    /// What the server has, as last discovered.
    known: Mutex<Vec<Discovered>>,
    /// Resources whose deletions are followed, by `group/plural`.
    followed: Mutex<HashSet<String>>,
    queue: WorkQueue<ObjectKey>,
}

fn values<K: Serialize>(objects: &[Arc<K>]) -> Result<Vec<Value>, ReconcileError> {
    let all = objects.iter().map(|object| serde_json::to_value(&**object));
    Ok(all.collect::<Result<_, _>>()?)
}

/// Whether an object that was counted is gone or uses something else now.
fn uses_other<K: Serialize>(evaluator: &Evaluator, change: &Change<K>) -> bool {
    let now = jiff::Timestamp::now();
    let use_of = |object: &Option<Arc<K>>| {
        let value = serde_json::to_value(object.as_deref()?).ok()?;
        Some(evaluator.usage(&value, now))
    };
    change.old.is_some() && (change.new.is_none() || use_of(&change.old) != use_of(&change.new))
}

fn in_namespace(quotas: &Informer<ResourceQuota>, namespace: &str) -> Vec<ObjectKey> {
    let quotas = quotas.list_in(namespace);
    quotas.iter().map(|quota| ObjectKey::of(&**quota)).collect()
}

impl Counter {
    /// Counts a namespace anew when an object in it goes or uses something else.
    fn replenish<K>(&self, informer: &Informer<K>, plural: &str)
    where
        K: Resource + Serialize + Send + Sync + 'static,
    {
        let (quotas, evaluator) = (self.quotas.clone(), Evaluator::of("", plural));
        self.context.feed(informer, &self.queue, move |change| {
            let keys = in_namespace(&quotas, change.key.namespace());
            if keys.is_empty() || !uses_other(&evaluator, change) {
                return Vec::new();
            }
            keys
        });
    }

    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let Some(quota) = self.quotas.get(&key) else {
            return Ok(Action::Done);
        };
        let value = serde_json::to_value(&*quota)?;
        let mut resources: BTreeMap<(String, String), ()> = BTreeMap::new();
        for name in value["spec"]["hard"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
        {
            if let Some(resource) = resource_of(name) {
                resources.insert(resource, ());
            }
        }
        let mut used = Amounts::new();
        let mut again = RESYNC;
        for (group, plural) in resources.into_keys() {
            match self.objects(&key, &group, &plural, !is_counted(&quota)).await? {
                Some(objects) => {
                    let now = jiff::Timestamp::now();
                    used.extend(Evaluator::of(&group, &plural).total(&value, objects.iter(), now));
                }
                None => again = UNKNOWN,
            }
        }
        if let Some(new) = plan(&quota, used)? {
            let api: Api<ResourceQuota> = Api::namespaced(self.context.client.clone(), key.namespace());
            match api.replace_status(&key.name, &PostParams::default(), &new).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(Action::RequeueAfter(again))
    }

    /// All objects of a resource in a quota's namespace; `None` when nobody serves it. Of resources
    /// that count by number only, each may be null.
    ///
    /// Until a quota is counted, admission adds nothing to it, and a cache may not have seen what was
    /// made just before: then the server is asked.
    async fn objects(
        &self,
        key: &ObjectKey,
        group: &str,
        plural: &str,
        ask: bool,
    ) -> Result<Option<Vec<Value>>, ReconcileError> {
        let namespace = key.namespace();
        let cached = match (group, plural) {
            ("", "pods") => Some(values(&self.pods.list_in(namespace))?),
            ("", "services") => Some(values(&self.services.list_in(namespace))?),
            ("", "persistentvolumeclaims") => Some(values(&self.claims.list_in(namespace))?),
            _ => None,
        };
        if let (Some(objects), false) = (&cached, ask) {
            return Ok(Some(objects.clone()));
        }
        let Some(known) = self.find(group, plural).await? else {
            return Ok(cached);
        };
        let informer = cached.is_none().then(|| self.follow(&known, group, plural));
        if ask || (group, plural) == ("resource.k8s.io", "resourceclaims") {
            let api: Api<DynamicObject> = known.api(self.context.client.clone(), Some(namespace));
            let list = api.list(&ListParams::default()).await?;
            let all = list.items.iter().map(serde_json::to_value);
            return Ok(Some(all.collect::<Result<_, _>>()?));
        }
        let Some(informer) = informer else {
            return Ok(cached);
        };
        informer.synced().await;
        Ok(Some(vec![Value::Null; informer.list_in(namespace).len()]))
    }

    /// Counts a namespace anew when an object of a resource that is only counted goes.
    fn follow(&self, known: &Discovered, group: &str, plural: &str) -> Informer<MetaObject> {
        let informer = self.context.informers.metadata(&known.resource);
        if self.followed.lock().insert(format!("{group}/{plural}")) {
            let quotas = self.quotas.clone();
            self.context.feed(&informer, &self.queue, move |change| {
                if change.new.is_some() {
                    return Vec::new();
                }
                in_namespace(&quotas, change.key.namespace())
            });
        }
        informer
    }

    /// Asks the server what it has when the resource is not known.
    async fn find(&self, group: &str, plural: &str) -> Result<Option<Discovered>, ReconcileError> {
        let look = || {
            let known = self.known.lock();
            let found = known
                .iter()
                .find(|d| d.resource.group == group && d.resource.plural == plural);
            found
                .filter(|d| d.namespaced && d.can("list") && d.can("watch"))
                .cloned()
        };
        if let Some(found) = look() {
            return Ok(Some(found));
        }
        let discovery = discover(&self.context.client).await?;
        *self.known.lock() = discovery.resources;
        Ok(look())
    }
}
