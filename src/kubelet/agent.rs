//! What all pod workers share.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use parking_lot::Mutex;
use rkind_client::{Client, EventRecorder, Informer};
use rkind_cri::Runtime;
use tokio::sync::{Notify, watch};

use crate::cgroups::Cgroups;
use crate::dns::ResolvConf;
use crate::env::Facts;
use crate::images::Images;
use crate::node::RuntimeHealth;
use crate::objects::Objects;
use crate::observed::Observed;
use crate::options::Options;
use crate::pod::PodExt;
use crate::probe::Probes;
use crate::tokens::Tokens;
use crate::volumes::Volumes;

/// Facts about this machine that don't change while the agent runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    /// Milli-CPUs that pods may use.
    pub(crate) cpu: i64,
    /// Bytes that pods may use.
    pub(crate) memory: i64,
}

/// The agent's shared parts.
pub(crate) struct Agent {
    pub(crate) options: Options,
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) pods: Informer<Pod>,
    pub(crate) services: Informer<Service>,
    pub(crate) recorder: EventRecorder,
    pub(crate) objects: Arc<Objects>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) volumes: Volumes,
    pub(crate) images: Images,
    pub(crate) probes: Probes,
    pub(crate) cgroups: Cgroups,
    pub(crate) machine: Machine,
    pub(crate) resolv_conf: ResolvConf,
    pub(crate) wakers: Arc<Wakers>,
    /// Told whenever this agent changed something in the runtime.
    pub(crate) relist: Notify,
    /// Whether the runtime and its network are ready.
    pub(crate) health: watch::Receiver<RuntimeHealth>,
}

/// How to wake the worker of a pod.
#[derive(Default)]
pub(crate) struct Wakers(Mutex<HashMap<String, Arc<Notify>>>);

impl Wakers {
    /// Wakes a pod's worker, if there is one.
    pub(crate) fn wake(&self, uid: &str) {
        if let Some(notify) = self.0.lock().get(uid) {
            notify.notify_one();
        }
    }

    pub(crate) fn insert(&self, uid: &str) -> Option<Arc<Notify>> {
        let mut map = self.0.lock();
        if map.contains_key(uid) {
            return None;
        }
        let notify = Arc::new(Notify::new());
        map.insert(uid.to_string(), notify.clone());
        Some(notify)
    }

    pub(crate) fn remove(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    pub(crate) fn wake_all(&self) {
        for notify in self.0.lock().values() {
            notify.notify_one();
        }
    }
}

impl Agent {
    /// The pod with this uid as the API last told, if it is (still) there.
    pub(crate) fn pod(&self, uid: &str) -> Option<Arc<Pod>> {
        self.pods.by_index("uid", uid).into_iter().next()
    }

    pub(crate) fn host_ips(&self) -> Vec<String> {
        vec![self.options.node_ip.to_string()]
    }

    /// What references of the pod to itself and its node mean.
    pub(crate) fn facts(&self, pod: &Pod, observed: &Observed) -> Facts {
        let pod_ips = if pod.host_network() {
            self.host_ips()
        } else {
            observed.sandbox().map(|s| s.ips.clone()).unwrap_or_default()
        };
        Facts {
            pod_ips,
            host_ips: self.host_ips(),
            node_name: self.options.node_name.clone(),
            allocatable_cpu: self.machine.cpu,
            allocatable_memory: self.machine.memory,
        }
    }
}
