//! Probes: the state machine (pure) and the workers that feed it.
//!
//! <https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/>

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe, Service};
use parking_lot::Mutex;
use rkind_client::{EventRecorder, Informer};
use rkind_cri::Runtime;
use tokio::task::AbortHandle;

use crate::events::{ContainerEvents, Warning};
use crate::observed::{Instance, Observed};
use crate::plan::Verdict;
use crate::pod::{ContainerKind, PodExt, is_sidecar};
use crate::serving;
use crate::status::ID_PREFIX;

pub(crate) mod check;

/// The three kinds of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }

    /// What holds before the first result.
    fn initial(self) -> bool {
        self == Self::Liveness
    }
}

/// Counts results against thresholds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    run: u32,
}

impl Counter {
    pub(crate) fn new(probe: &Probe) -> Self {
        let at_least_one = |value: Option<i32>, default: u32| {
            value
                .and_then(|v| u32::try_from(v).ok())
                .filter(|v| *v > 0)
                .unwrap_or(default)
        };
        Self {
            success_threshold: at_least_one(probe.success_threshold, 1),
            failure_threshold: at_least_one(probe.failure_threshold, 3),
            last: None,
            run: 0,
        }
    }

    /// Takes a result; returns the new verdict when a threshold is reached.
    pub(crate) fn record(&mut self, success: bool) -> Option<bool> {
        if self.last == Some(success) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(success);
            self.run = 1;
        }
        let threshold = if success {
            self.success_threshold
        } else {
            self.failure_threshold
        };
        (self.run >= threshold).then_some(success)
    }
}

/// Results of one container instance; `None`: no probe of this kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Results {
    startup: Option<bool>,
    startup_failed: bool,
    liveness: Option<bool>,
    readiness: Option<bool>,
}

#[derive(Default)]
struct Watched {
    results: Results,
    tasks: Vec<AbortHandle>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// All probes of this machine.
pub(crate) struct Probes {
    runtime: Arc<dyn Runtime>,
    recorder: EventRecorder,
    services: Informer<Service>,
    watched: Arc<Mutex<HashMap<String, Watched>>>,
    /// Told the pod's uid when a verdict changes.
    wake: Arc<dyn Fn(&str) + Send + Sync>,
    /// The machine's address: that of pods on its network.
    node_ip: String,
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(
        value
            .and_then(|v| u64::try_from(v).ok())
            .filter(|v| *v > 0)
            .unwrap_or(default),
    )
}

impl Probes {
    pub(crate) fn new(
        runtime: Arc<dyn Runtime>,
        recorder: EventRecorder,
        services: Informer<Service>,
        wake: Arc<dyn Fn(&str) + Send + Sync>,
        node_ip: String,
    ) -> Self {
        Self {
            runtime,
            recorder,
            services,
            watched: Arc::default(),
            wake,
            node_ip,
        }
    }

    /// What the probes say of an instance.
    pub(crate) fn verdict(&self, pod: &Pod, instance: &Instance) -> Verdict {
        let results = self.watched.lock().get(&instance.id).map(|w| w.results);
        let results = results.unwrap_or_else(|| initial(pod, instance, !self.awaited(pod).is_empty()));
        let started = results.startup.unwrap_or(true);
        Verdict {
            started,
            ready: started && results.readiness.unwrap_or(true),
            liveness_failed: results.liveness == Some(false),
            startup_failed: results.startup_failed,
        }
    }

    /// Probes exactly the running instances of the pod. `stopping`: only readiness is still asked.
    pub(crate) fn reconcile(&self, pod: &Arc<Pod>, observed: &Observed, stopping: bool) {
        let ip = if pod.host_network() {
            Some(self.node_ip.clone())
        } else {
            observed.sandbox().and_then(|s| s.ips.first().cloned())
        };
        let mut watched = self.watched.lock();
        for instance in &observed.containers {
            if !instance.is_running() {
                watched.remove(&instance.id);
                continue;
            }
            if watched.contains_key(&instance.id) {
                continue;
            }
            let Some((kind, container)) = pod.container(&instance.name) else {
                continue;
            };
            let probed =
                kind == ContainerKind::Regular || (kind == ContainerKind::Init && is_sidecar(&container));
            if !probed {
                continue;
            }
            let ports = self.awaited(pod);
            let mut entry = Watched {
                results: initial(pod, instance, !ports.is_empty()),
                tasks: Vec::new(),
            };
            if container.readiness_probe.is_none() && entry.results.readiness == Some(false) {
                entry.tasks.push(self.settle(pod, instance, ports));
            }
            for probe_kind in [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness] {
                let Some(probe) = probe_kind.of(&container) else {
                    continue;
                };
                if stopping && probe_kind != ProbeKind::Readiness {
                    continue;
                }
                let worker = Worker {
                    runtime: self.runtime.clone(),
                    events: ContainerEvents::new(&self.recorder, pod, kind, &container.name),
                    watched: self.watched.clone(),
                    wake: self.wake.clone(),
                    uid: pod.uid().to_string(),
                    id: instance.id.clone(),
                    container: container.clone(),
                    host: ip.clone().unwrap_or_default(),
                    kind: probe_kind,
                    probe: probe.clone(),
                };
                entry.tasks.push(tokio::spawn(worker.run()).abort_handle());
            }
            watched.insert(instance.id.clone(), entry);
        }
    }

    /// The ports that must be open before a container without a readiness probe counts as ready.
    fn awaited(&self, pod: &Pod) -> Vec<u16> {
        if pod.host_network() {
            return Vec::new();
        }
        serving::ports(pod, &self.services.list_in(pod.namespace()))
    }

    /// Makes an instance ready once the pod serves.
    fn settle(&self, pod: &Pod, instance: &Instance, ports: Vec<u16>) -> AbortHandle {
        let (runtime, watched, wake) = (self.runtime.clone(), self.watched.clone(), self.wake.clone());
        let (id, uid) = (instance.id.clone(), pod.uid().to_string());
        let settle = async move {
            serving::settled(runtime.as_ref(), &id, &ports).await;
            if let Some(entry) = watched.lock().get_mut(&id) {
                entry.results.readiness = Some(true);
            }
            wake(&uid);
        };
        tokio::spawn(settle).abort_handle()
    }

    /// Stops probing instances.
    pub(crate) fn forget<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let mut watched = self.watched.lock();
        for id in ids {
            watched.remove(id);
        }
    }
}

/// What holds before the first result; `settles`: without a readiness probe it is not ready at
/// once (see [`serving`]). An instance that ran before this agent did keeps what its status says:
/// a restarted agent does not make pods unready.
fn initial(pod: &Pod, instance: &Instance, settles: bool) -> Results {
    let Some((place, container)) = pod.container(&instance.name) else {
        return Results::default();
    };
    let settles = settles && place == ContainerKind::Regular;
    let status = pod.status();
    let id = format!("{ID_PREFIX}{}", instance.id);
    let known = [&status.container_statuses, &status.init_container_statuses]
        .into_iter()
        .flat_map(|list| list.iter().flatten())
        .find(|s| s.container_id.as_deref() == Some(id.as_str()));
    let value = |kind: ProbeKind, known: Option<bool>| {
        kind.of(&container)
            .map(|_| known.unwrap_or_else(|| kind.initial()))
    };
    Results {
        startup: value(ProbeKind::Startup, known.and_then(|s| s.started)),
        startup_failed: false,
        liveness: value(ProbeKind::Liveness, None),
        readiness: value(ProbeKind::Readiness, known.map(|s| s.ready))
            .or_else(|| settles.then(|| known.is_some_and(|s| s.ready))),
    }
}

struct Worker {
    runtime: Arc<dyn Runtime>,
    events: ContainerEvents,
    watched: Arc<Mutex<HashMap<String, Watched>>>,
    wake: Arc<dyn Fn(&str) + Send + Sync>,
    uid: String,
    id: String,
    container: Container,
    host: String,
    kind: ProbeKind,
    probe: Probe,
}

impl Worker {
    async fn run(self) {
        let period = seconds(self.probe.period_seconds, 10);
        let timeout = seconds(self.probe.timeout_seconds, 1);
        let mut counter = Counter::new(&self.probe);
        tokio::time::sleep(Duration::from_secs(
            self.probe
                .initial_delay_seconds
                .and_then(|d| u64::try_from(d).ok())
                .unwrap_or(0),
        ))
        .await;
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let results = self.watched.lock().get(&self.id).map(|w| w.results);
            let Some(results) = results else { return };
            // The startup probe holds the others back, and is done once it has succeeded.
            match (self.kind, results.startup) {
                (ProbeKind::Startup, Some(true)) => return,
                (ProbeKind::Liveness | ProbeKind::Readiness, Some(false)) => {
                    // Look again soon, so that readiness follows the start without delay.
                    ticks.reset_after(Duration::from_millis(200).min(period));
                    continue;
                }
                _ => {}
            }
            let outcome = check::check(
                self.runtime.as_ref(),
                &self.id,
                &self.host,
                &self.container,
                &self.probe,
                timeout,
            )
            .await;
            let success = outcome.is_ok();
            if let Err(message) = outcome {
                self.events.send(
                    Warning,
                    "Unhealthy",
                    format!("{} probe failed: {message}", self.kind.title()),
                );
            }
            let Some(verdict) = counter.record(success) else {
                continue;
            };
            if self.publish(verdict) {
                (self.wake)(&self.uid);
            }
            if !verdict && self.kind != ProbeKind::Readiness {
                // The container is going to be killed; its successor gets its own worker.
                return;
            }
        }
    }

    fn publish(&self, verdict: bool) -> bool {
        let mut watched = self.watched.lock();
        let Some(entry) = watched.get_mut(&self.id) else {
            return false;
        };
        let before = entry.results;
        match self.kind {
            ProbeKind::Startup => {
                entry.results.startup = Some(verdict);
                entry.results.startup_failed = !verdict;
            }
            ProbeKind::Liveness => entry.results.liveness = Some(verdict),
            ProbeKind::Readiness => entry.results.readiness = Some(verdict),
        }
        before != entry.results
    }
}

#[cfg(test)]
mod tests;
