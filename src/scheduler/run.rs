//! The loop: takes in what changed, places pods one after the other, writes in the background.

use std::{sync::Arc, time::Instant};

use futures::{Stream, StreamExt as _, future::BoxFuture, stream};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service},
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};
use rand::{SeedableRng as _, rngs::SmallRng};
use rkind_client::{Client, ErrorExt as _, EventRecorder, Informers};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::Cluster,
    cycle::{Chooser, Cycle, Failure},
    hints::{self, Change},
    node::NodeInfo,
    plugins::{Reject, volumes},
    pod::{self, PodInfo},
    preempt::{self, Victims},
    queue::Queue,
    write::Writer,
};

/// Pods placed before changes are looked at again.
const PLACE_AT_ONCE: usize = 64;
/// Writes under way at most.
const WRITES: usize = 256;
/// Changes taken in at once.
const CHANGES_AT_ONCE: usize = 1024;

/// How to schedule.
#[derive(Clone)]
pub struct Options {
    /// Pods with this `spec.schedulerName` are served; events carry it as their source.
    pub scheduler_name: String,
    /// Informers to share with other loops of this process; own ones when there are none.
    pub informers: Option<Informers>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            scheduler_name: "default-scheduler".to_owned(),
            informers: None,
        }
    }
}

/// Why the scheduler ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What it watches ended although nobody asked it to stop.
    #[error("scheduler's informers have stopped")]
    InformersStopped,
}

/// Places pods until `shutdown`.
///
/// # Errors
/// [`Error::InformersStopped`].
///
/// The future is boxed: its code is made once, in this crate, and not in each that awaits it.
pub fn run(
    client: Client,
    options: Options,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(place(client, options, shutdown))
}

async fn place(client: Client, options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    let informers = options
        .informers
        .clone()
        .unwrap_or_else(|| Informers::new(client.clone()));
    let writer = Writer {
        events: EventRecorder::new(client.clone(), &options.scheduler_name, ""),
        client,
        name: options.scheduler_name.as_str().into(),
    };
    let mut updates = std::pin::pin!(updates(&informers).ready_chunks(CHANGES_AT_ONCE));
    tokio::select! {
        () = synced(&informers) => {}
        () = shutdown.cancelled() => return Ok(()),
    }
    tracing::info!(name = options.scheduler_name, "scheduler ready");
    let mut scheduler = Scheduler::new(writer);
    loop {
        let due = scheduler.queue.next_due().map(tokio::time::Instant::from_std);
        let ready = scheduler.queue.is_ready(now()) && scheduler.writes.len() < WRITES;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            changes = updates.next() => match changes {
                Some(changes) => changes.into_iter().for_each(|change| scheduler.apply(change)),
                None => return Err(Error::InformersStopped),
            },
            Some(done) = scheduler.writes.join_next() => {
                // A write that panicked has said so; its pod comes back with the next flush.
                if let Ok(Some(failed)) = done {
                    scheduler.bind_failed(failed);
                }
            }
            () = std::future::ready(()), if ready => scheduler.place_some(),
            () = sleep_until(due), if !ready && scheduler.writes.len() < WRITES => {}
        }
    }
    scheduler.writes.shutdown().await;
    Ok(())
}

/// The runtime's clock, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn synced(informers: &Informers) {
    informers.get::<Node>().synced().await;
    informers.get::<Pod>().synced().await;
    informers.get::<Namespace>().synced().await;
    informers.get::<Service>().synced().await;
    informers.get::<PersistentVolumeClaim>().synced().await;
    informers.get::<PersistentVolume>().synced().await;
    informers.get::<StorageClass>().synced().await;
    informers.get::<PodDisruptionBudget>().synced().await;
}

/// Something in the API changed: the object before and now.
pub(crate) enum Update {
    Node(Option<Arc<Node>>, Option<Arc<Node>>),
    Pod(Option<Arc<Pod>>, Option<Arc<Pod>>),
    Namespace(String, Option<Arc<Namespace>>),
    Service(String, String, Option<Arc<Service>>),
    Claim((String, String), Option<Arc<PersistentVolumeClaim>>),
    Volume(String, Option<Arc<PersistentVolume>>),
    Class(String, Option<Arc<StorageClass>>),
    Budget((String, String), Option<Arc<PodDisruptionBudget>>),
}

fn updates(informers: &Informers) -> impl Stream<Item = Update> + Send + use<> {
    let names = |key: rkind_client::ObjectKey| (key.namespace().to_owned(), key.name);
    stream::select_all([
        informers
            .get::<Node>()
            .subscribe()
            .map(|c| Update::Node(c.old, c.new))
            .boxed(),
        informers
            .get::<Namespace>()
            .subscribe()
            .map(|c| Update::Namespace(c.key.name, c.new))
            .boxed(),
        informers
            .get::<PersistentVolume>()
            .subscribe()
            .map(|c| Update::Volume(c.key.name, c.new))
            .boxed(),
        informers
            .get::<StorageClass>()
            .subscribe()
            .map(|c| Update::Class(c.key.name, c.new))
            .boxed(),
        informers
            .get::<PersistentVolumeClaim>()
            .subscribe()
            .map(move |c| Update::Claim(names(c.key), c.new))
            .boxed(),
        informers
            .get::<PodDisruptionBudget>()
            .subscribe()
            .map(move |c| Update::Budget(names(c.key), c.new))
            .boxed(),
        informers
            .get::<Service>()
            .subscribe()
            .map(move |c| {
                let (namespace, name) = names(c.key);
                Update::Service(namespace, name, c.new)
            })
            .boxed(),
        informers
            .get::<Pod>()
            .subscribe()
            .map(|c| Update::Pod(c.old, c.new))
            .boxed(),
    ])
}

/// `status.nominatedNodeName`, if it is set.
fn nominated_node(pod: &Pod) -> Option<&str> {
    pod.status
        .as_ref()?
        .nominated_node_name
        .as_deref()
        .filter(|node| !node.is_empty())
}

/// A binding that did not come about.
struct BindFailed {
    pod: Arc<PodInfo>,
    error: kube::Error,
}

struct Scheduler {
    cluster: Cluster,
    queue: Queue,
    chooser: Chooser,
    writer: Writer,
    /// Bindings and reports under way; a failed binding gives itself back.
    writes: JoinSet<Option<BindFailed>>,
}

impl Scheduler {
    fn new(writer: Writer) -> Self {
        Scheduler {
            cluster: Cluster::default(),
            queue: Queue::default(),
            chooser: Chooser::new(SmallRng::from_os_rng()),
            writer,
            writes: JoinSet::new(),
        }
    }

    fn apply(&mut self, update: Update) {
        match update {
            Update::Node(old, Some(new)) => self.node_changed(old.as_deref(), new),
            Update::Node(Some(old), None) => {
                self.cluster
                    .remove_node(old.metadata.name.as_deref().unwrap_or_default());
            }
            Update::Node(None, None) | Update::Pod(None, None) => {}
            Update::Pod(old, Some(new)) => self.pod_changed(old.as_deref(), new),
            Update::Pod(Some(old), None) => self.pod_gone(&old),
            Update::Namespace(name, namespace) => {
                let labels = namespace.as_ref().and_then(|n| n.metadata.labels.clone());
                let relabelled = self.cluster.namespace_labels(&name) != labels.as_ref();
                self.cluster.set_namespace(&name, namespace);
                if relabelled {
                    self.hint(Change::Namespace);
                }
            }
            Update::Service(namespace, name, service) => {
                self.cluster.set_service(&namespace, &name, service.as_deref());
            }
            Update::Claim(key, Some(claim)) => {
                self.cluster.volumes.claims.insert(key, claim);
                self.hint(Change::Volumes);
            }
            Update::Claim(key, None) => drop(self.cluster.volumes.claims.remove(&key)),
            Update::Volume(name, Some(volume)) => {
                self.cluster.volumes.volumes.insert(name, volume);
                self.hint(Change::Volumes);
            }
            Update::Volume(name, None) => drop(self.cluster.volumes.volumes.remove(&name)),
            Update::Class(name, Some(class)) => {
                self.cluster.volumes.classes.insert(name, class);
                self.hint(Change::Volumes);
            }
            Update::Class(name, None) => drop(self.cluster.volumes.classes.remove(&name)),
            Update::Budget(key, Some(budget)) => drop(self.cluster.budgets.insert(key, budget)),
            Update::Budget(key, None) => drop(self.cluster.budgets.remove(&key)),
        }
    }

    fn hint(&mut self, change: Change<'_>) {
        self.queue
            .changed(now(), |pod, rejected_by| hints::helps(&change, pod, rejected_by));
    }

    fn node_changed(&mut self, old: Option<&Node>, new: Arc<Node>) {
        let name = new.metadata.name.clone().unwrap_or_default();
        let looks = |node: &Node| {
            let status = node.status.as_ref().map(|s| s.allocatable.clone());
            let spec = node.spec.as_ref().map(|s| (s.taints.clone(), s.unschedulable));
            (node.metadata.labels.clone(), status, spec)
        };
        let differs = old.is_none_or(|old| looks(old) != looks(&new));
        self.cluster.set_node(new);
        if differs && let Some(slot) = self.cluster.slot(&name) {
            let node: &NodeInfo = self.cluster.node(slot);
            let change = Change::Node(node);
            self.queue
                .changed(now(), |pod, rejected_by| hints::helps(&change, pod, rejected_by));
        }
    }

    fn pod_changed(&mut self, old: Option<&Pod>, new: Arc<Pod>) {
        // Deleted and made again under the same name, unseen in between.
        if let Some(old) = old.filter(|old| old.metadata.uid != new.metadata.uid) {
            self.pod_gone(old);
        }
        if pod::has_ended(&new) {
            return self.pod_gone(&new);
        }
        let info = Arc::new(PodInfo::new(new));
        if info.node_name().is_some() {
            return self.pod_placed(info);
        }
        let ours = info
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.scheduler_name.as_deref());
        if ours.unwrap_or("default-scheduler") != &*self.writer.name {
            return;
        }
        if info.pod.metadata.deletion_timestamp.is_some() {
            // It will not come any more, but while its binding is under way its place is taken.
            if !self.cluster.is_assumed(&info.uid) {
                self.queue.remove(&info.uid);
            }
            return self.give_up_nomination(&info.uid);
        }
        match (old.and_then(nominated_node), nominated_node(&info.pod)) {
            (_, Some(node)) => self.cluster.nominate(&info, Some(node)),
            (Some(_), None) => self.cluster.nominate(&info, None),
            // Perhaps one was just decided on and is not yet seen here.
            (None, None) => {}
        }
        self.queue.set(info, now());
    }

    fn pod_placed(&mut self, info: Arc<PodInfo>) {
        self.queue.remove(&info.uid);
        self.cluster.nominate(&info, None);
        let before = self.cluster.remove_pod(&info.uid);
        self.cluster.set_pod(info.clone());
        let Some(before) = before else {
            return self.hint(Change::PodPlaced(&info));
        };
        let leaving = |pod: &PodInfo| pod.pod.metadata.deletion_timestamp.is_some();
        if before.requests != info.requests {
            self.hint(Change::PodLeft(&info));
        }
        if leaving(&before) != leaving(&info) {
            self.hint(Change::PodLeaving(&info));
        }
        if before.labels() != info.labels() {
            self.hint(Change::PodLeft(&before));
            self.hint(Change::PodPlaced(&info));
        }
    }

    fn pod_gone(&mut self, pod: &Pod) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        self.queue.remove(uid);
        self.give_up_nomination(uid);
        if let Some(gone) = self.cluster.remove_pod(uid) {
            self.hint(Change::PodLeft(&gone));
        }
    }

    /// What was cleared for a pod that will not come is free for others.
    fn give_up_nomination(&mut self, uid: &str) {
        if let Some(pod) = self.cluster.forget_nomination(uid) {
            self.hint(Change::PodLeft(&pod));
        }
    }

    fn place_some(&mut self) {
        for _ in 0..PLACE_AT_ONCE {
            if self.writes.len() >= WRITES {
                return;
            }
            match self.queue.pop(now()) {
                Some(pod) => self.place(pod),
                None => return,
            }
        }
    }

    /// One pod: decides at once, writes in the background.
    fn place(&mut self, pod: Arc<PodInfo>) {
        if self.cluster.has_pod(&pod.uid) {
            return;
        }
        let cycle = match Cycle::new(pod.clone(), &mut self.cluster) {
            Ok(cycle) => cycle,
            Err(reject) => {
                let failure = self.refused(reject);
                return self.found_none(&pod, None, failure);
            }
        };
        match self.chooser.choose(&cycle, &mut self.cluster) {
            Ok(slot) => {
                let node = self.cluster.node(slot).name.clone();
                if cycle.claims.waiting.is_empty() {
                    // What it counted would have to be copied if it were still held.
                    drop(cycle);
                    self.bind(pod, node);
                } else {
                    self.wait_for_claims(&cycle, &node);
                }
            }
            Err(failure) => self.found_none(&pod, Some(&cycle), failure),
        }
    }

    fn refused(&mut self, reject: Reject) -> Failure {
        let absent = Some("Preemption is not helpful for scheduling");
        Failure {
            nodes: self.cluster.order().len(),
            pod: Some(reject),
            rejects: Vec::new(),
            absent,
        }
    }

    fn bind(&mut self, pod: Arc<PodInfo>, node: Arc<str>) {
        self.cluster.nominate(&pod, None);
        self.cluster.assume(pod.clone(), &node);
        let writer = self.writer.clone();
        self.writes.spawn(async move {
            let error = writer.bind(&pod, &node).await.err()?;
            Some(BindFailed { pod, error })
        });
    }

    fn bind_failed(&mut self, BindFailed { pod, error }: BindFailed) {
        if self.cluster.is_assumed(&pod.uid) {
            self.cluster.remove_pod(&pod.uid);
            self.hint(Change::PodLeft(&pod));
        }
        self.queue.failed(&pod.uid, now());
        if error.is_not_found() {
            return;
        }
        let message = rkind_client::chain(&error);
        tracing::warn!(pod = pod.name(), error = message, "cannot bind the pod");
        let writer = self.writer.clone();
        self.writes.spawn(async move {
            writer.report(&pod, "SchedulerError", &message, None).await;
            None
        });
    }

    /// The claims learn their node; when their volumes are there, the pod is tried again and follows them.
    fn wait_for_claims(&mut self, cycle: &Cycle, node: &Arc<str>) {
        let blocked = [crate::plugins::Plugin::VolumeBinding].into_iter().collect();
        self.queue.unschedulable(&cycle.pod.uid, blocked, now());
        for claim in &cycle.claims.waiting {
            if volumes::selected_node(claim) == Some(node) {
                continue;
            }
            let (writer, claim, node) = (self.writer.clone(), claim.clone(), node.clone());
            self.writes.spawn(async move {
                writer.select_node(&claim, &node).await;
                None
            });
        }
    }

    fn found_none(&mut self, pod: &Arc<PodInfo>, cycle: Option<&Cycle>, failure: Failure) {
        let mut message = failure.message();
        let mut victims = None;
        let mut nominated = None;
        if failure.nodes > 0 {
            let result = match cycle {
                Some(cycle) => preempt::preempt(cycle, &failure, &self.cluster),
                None => Err(Failure {
                    pod: None,
                    ..failure.clone()
                }
                .message()),
            };
            match result {
                Ok(found) => {
                    nominated = Some(self.cluster.node(found.slot).name.to_string());
                    victims = Some(found);
                }
                Err(reason) => {
                    message.push_str(&format!(" preemption: {reason}"));
                    // Still waiting for earlier victims: the node stays promised.
                    if !reason.starts_with("not eligible") {
                        nominated = Some(String::new());
                    }
                }
            }
        }
        tracing::debug!(pod = pod.name(), message, "no node");
        self.queue.unschedulable(&pod.uid, failure.plugins(), now());
        if let Some(node) = &nominated {
            self.cluster
                .nominate(pod, Some(node.as_str()).filter(|node| !node.is_empty()));
        }
        if let Some(victims) = victims {
            self.evict(pod, &victims);
        }
        let (writer, pod) = (self.writer.clone(), pod.clone());
        self.writes.spawn(async move {
            writer
                .report(&pod, "Unschedulable", &message, nominated.as_deref())
                .await;
            None
        });
    }

    fn evict(&mut self, pod: &Arc<PodInfo>, victims: &Victims) {
        let node = self.cluster.node(victims.slot).name.clone();
        for lower in self.cluster.nominated_below(&node, pod.priority) {
            self.cluster.nominate(&lower, None);
            self.hint(Change::PodLeft(&lower));
            let writer = self.writer.clone();
            self.writes.spawn(async move {
                writer.clear_nomination(&lower).await;
                None
            });
        }
        for victim in victims
            .pods
            .iter()
            .filter(|victim| victim.pod.metadata.deletion_timestamp.is_none())
        {
            let (writer, victim, pod, node) =
                (self.writer.clone(), victim.clone(), pod.clone(), node.clone());
            self.writes.spawn(async move {
                writer.evict(&victim, &pod, &node).await;
                None
            });
        }
    }
}

#[cfg(test)]
mod tests;
