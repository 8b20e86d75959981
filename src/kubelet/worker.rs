//! One worker per pod: looks at what is wanted and what there is, does the next steps, says how
//! it stands. It keeps nothing that it could not find out again after a restart, except back-off.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use rkind_client::{ErrorExt, chain};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission;
use crate::agent::Agent;
use crate::backoff::{Backoffs, go_duration};
use crate::events::{ContainerEvents, Warning};
use crate::observed::Observed;
use crate::plan::{Plan, Start, hash, plan};
use crate::pod::{PodExt, is_terminal_phase};
use crate::serving::serves;
use crate::status::{self, Failure, StartError};
use crate::status_writer::StatusWriter;
use crate::volumes::Volumes;

/// How often a quiet pod is looked at: live volumes and tokens are brought up to date then.
const QUIET: Duration = Duration::from_secs(60);

/// See [`handover`].
const HANDOVER: Duration = Duration::from_millis(300);

/// When a worker wants to look again.
enum Next {
    After(Duration),
    /// Nothing is left of the pod.
    Gone,
}

struct Worker {
    agent: Arc<Agent>,
    uid: String,
    /// The pod as last seen; kept for when the API has lost it.
    pod: Option<Arc<Pod>>,
    writer: Option<StatusWriter>,
    /// Our last status: newer than the informer's for a moment after each write.
    last: Option<PodStatus>,
    crashes: Backoffs,
    retries: rkind_client::Backoff,
    start_errors: HashMap<String, StartError>,
    /// Until when a container is not tried again: our own status wakes us, and must not be a try.
    held: HashMap<String, Instant>,
    failure: Option<Failure>,
    admitted: bool,
}

/// Runs the worker of the pod with `uid` until nothing is left of it.
pub(crate) async fn run(agent: Arc<Agent>, uid: String, wake: Arc<Notify>, shutdown: CancellationToken) {
    let mut worker = Worker {
        agent: agent.clone(),
        uid: uid.clone(),
        pod: None,
        writer: None,
        last: None,
        crashes: Backoffs::new(Duration::from_secs(10), Duration::from_secs(300)),
        retries: rkind_client::Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
        start_errors: HashMap::new(),
        held: HashMap::new(),
        failure: None,
        admitted: false,
    };
    loop {
        let next = tokio::select! {
            () = shutdown.cancelled() => return,
            next = worker.sync(&wake) => next,
        };
        match next {
            Next::Gone => break,
            Next::After(delay) => tokio::select! {
                () = shutdown.cancelled() => return,
                () = wake.notified() => {}
                () = tokio::time::sleep(delay) => {}
            },
        }
    }
    agent.wakers.remove(&uid);
    // The API may have told of the pod again in the meantime.
    agent.relist.notify_one();
}

impl Worker {
    async fn sync(&mut self, wake: &Notify) -> Next {
        let current = self.agent.pod(&self.uid);
        if let Some(pod) = &current {
            self.pod = Some(pod.clone());
            if self.writer.is_none() {
                self.writer = Some(StatusWriter::new(self.agent.client.clone(), pod));
            }
        }
        let result = match (current, self.pod.clone()) {
            (Some(pod), _) => self.sync_pod(&self.with_own_status(&pod), wake).await,
            (None, last) => self.remove_orphan(last).await,
        };
        match result {
            Ok(next) => {
                self.retries.reset();
                next
            }
            Err(error) => {
                tracing::warn!(pod = self.pod.as_ref().map_or(self.uid.clone(), |p| p.described()), %error, "pod not in order yet");
                Next::After(self.retries.next_delay())
            }
        }
    }

    /// The pod with our own last status, and everything that others have written.
    fn with_own_status(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        let Some(last) = &self.last else {
            return pod.clone();
        };
        let mut pod = Pod::clone(pod);
        let theirs = pod.status.take().unwrap_or_default();
        let mut ours = last.clone();
        let conditions = ours.conditions.get_or_insert_default();
        conditions.retain(|c| status::OWNED.contains(&c.type_.as_str()));
        conditions.extend(
            theirs
                .conditions
                .into_iter()
                .flatten()
                .filter(|c| !status::OWNED.contains(&c.type_.as_str())),
        );
        if theirs.phase.as_deref().is_some_and(is_terminal_phase) {
            ours.phase = theirs.phase;
            ours.reason = theirs.reason;
            ours.message = theirs.message;
        }
        ours.nominated_node_name = theirs.nominated_node_name;
        ours.resize = theirs.resize;
        pod.status = Some(ours);
        Arc::new(pod)
    }

    async fn sync_pod(&mut self, pod: &Arc<Pod>, wake: &Notify) -> Result<Next, String> {
        let observed = self.observe().await?;
        if pod.is_deleted() {
            return self.terminate(pod, observed, wake).await;
        }
        if pod.is_terminal() || self.failure.is_some() {
            return self.finish(pod, observed).await;
        }
        if !self.admitted {
            if let Err(failure) = admission::admit(&self.agent, pod, &observed).await {
                self.agent
                    .recorder
                    .event(pod.as_ref(), Warning, &failure.reason, failure.message.clone());
                self.failure = Some(Failure {
                    message: format!("Pod was rejected: {}", failure.message),
                    ..failure
                });
                return self.finish(pod, observed).await;
            }
            self.admitted = true;
        }
        let deadline = remaining_deadline(pod, Timestamp::now());
        if deadline == Some(Duration::ZERO) {
            let message = "Pod was active on the node longer than the specified deadline".to_string();
            self.agent.recorder.event(
                pod.as_ref(),
                crate::events::Normal,
                "DeadlineExceeded",
                message.clone(),
            );
            self.failure = Some(Failure {
                reason: "DeadlineExceeded".into(),
                message,
            });
            return self.finish(pod, observed).await;
        }

        self.agent.probes.reconcile(pod, &observed, false);
        self.agent.resize(pod, &observed).await?;
        let steps = plan(pod, &observed, &|i| self.agent.probes.verdict(pod, i));
        self.publish(pod, &observed, false);
        if steps == Plan::default() && !Volumes::has_live_content(pod) {
            self.agent.prune(&observed).await;
            return Ok(Next::After(deadline.unwrap_or(QUIET * 10)));
        }
        let retry = self.carry_out(pod, observed, &steps).await?;
        let observed = self.observe().await?;
        self.agent.prune(&observed).await;
        self.agent.probes.reconcile(pod, &observed, false);
        self.publish(pod, &observed, false);
        let acted = !steps.start.is_empty()
            || !steps.kill.is_empty()
            || steps.kill_pod
            || steps.create_sandbox.is_some();
        let quiet = if Volumes::has_live_content(pod) {
            QUIET
        } else {
            QUIET * 10
        };
        let mut delay = retry.unwrap_or(quiet);
        if acted && retry.is_none() {
            // What we did may have opened the way for the next step.
            delay = Duration::ZERO;
        }
        if let Some(left) = deadline {
            delay = delay.min(left);
        }
        Ok(Next::After(delay))
    }

    async fn observe(&self) -> Result<Observed, String> {
        Observed::of_pod(self.agent.runtime.as_ref(), &self.uid)
            .await
            .map_err(|e| e.to_string())
    }

    /// Does a plan's steps; returns when to look again because something has to wait.
    async fn carry_out(
        &mut self,
        pod: &Arc<Pod>,
        observed: Observed,
        steps: &Plan,
    ) -> Result<Option<Duration>, String> {
        let agent = self.agent.clone();
        let mut observed = observed;
        let grace = Duration::from_secs(u64::try_from(pod.grace_seconds()).unwrap_or(30));
        if steps.kill_pod {
            agent
                .kill_pod(pod, &observed, grace)
                .await
                .map_err(|e| e.to_string())?;
        }
        for kill in &steps.kill {
            agent.carry_out_kill(pod, kill, &observed).await;
        }
        let nothing_to_start = steps.start.is_empty() && steps.create_sandbox.is_none();
        if nothing_to_start && (steps.kill_pod || !Volumes::has_live_content(pod)) {
            return Ok(None);
        }
        let facts = agent.facts(pod, &observed);
        let volumes = match agent.volumes.prepare(pod, &facts).await {
            Ok(volumes) => volumes,
            Err(error) if nothing_to_start => {
                // A running pod keeps what it has.
                tracing::debug!(pod = %pod.described(), %error, "volume not refreshed");
                return Ok(None);
            }
            Err(error) => {
                agent
                    .recorder
                    .event(pod.as_ref(), Warning, "FailedMount", error.to_string());
                return Err(error.to_string());
            }
        };
        if nothing_to_start {
            return Ok(None);
        }
        if let Err(error) = agent.cgroups.ensure(pod) {
            agent.recorder.event(
                pod.as_ref(),
                Warning,
                "FailedCreatePodContainer",
                format!("unable to ensure pod container exists: {error}"),
            );
            return Err(error.to_string());
        }
        if let Some(attempt) = steps.create_sandbox {
            let health = agent.health.borrow().clone();
            if !health.network_ready && !pod.host_network() {
                // The worker is woken as soon as it is ready.
                let message = format!("network is not ready: {}", health.message);
                agent
                    .recorder
                    .event(pod.as_ref(), Warning, "NetworkNotReady", message);
                return Ok(Some(Duration::from_secs(5)));
            }
            agent.free_networks(pod, &observed).await;
            if let Err(error) = agent.create_sandbox(pod, attempt).await {
                let message = format!("Failed to create pod sandbox: {error}");
                agent
                    .recorder
                    .event(pod.as_ref(), Warning, "FailedCreatePodSandBox", message);
                return Err(error);
            }
            observed = self.observe().await?;
            self.publish(pod, &observed, false);
        } else if !steps.kill.is_empty() {
            observed = self.observe().await?;
        }
        // The downward API may name the pod's address, which exists only now.
        let volumes = if steps.create_sandbox.is_some() && Volumes::has_live_content(pod) {
            agent
                .volumes
                .prepare(pod, &agent.facts(pod, &observed))
                .await
                .unwrap_or(volumes)
        } else {
            volumes
        };
        let mut retry: Option<Duration> = None;
        for start in &steps.start {
            let wait = self.start(pod, start, &observed, &volumes).await;
            retry = match (retry, wait) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        Ok(retry)
    }

    /// Starts one container unless it is in back-off; returns when to try again.
    async fn start(
        &mut self,
        pod: &Arc<Pod>,
        start: &Start,
        observed: &Observed,
        volumes: &crate::volumes::VolumePaths,
    ) -> Option<Duration> {
        let now = Timestamp::now();
        let (_, container) = pod.container(&start.name)?;
        let key = format!("{}_{}", start.name, hash(&container));
        let ended = observed.instance(&start.name).and_then(|i| i.finished_at);
        if let Some(ended) = ended {
            if let Some((left, whole)) = self.crashes.remaining(&key, ended, now) {
                let message = format!(
                    "back-off {} restarting failed container={} pod={}",
                    go_duration(whole),
                    start.name,
                    pod.described()
                );
                let events = ContainerEvents::new(&self.agent.recorder, pod, start.kind, &start.name);
                events.send(
                    Warning,
                    "BackOff",
                    format!(
                        "Back-off restarting failed container {} in pod {}",
                        start.name,
                        pod.described()
                    ),
                );
                self.start_errors.insert(
                    start.name.clone(),
                    StartError {
                        reason: "CrashLoopBackOff".into(),
                        message,
                    },
                );
                return Some(left);
            }
            self.crashes.next(&key, ended, now);
        }
        if let Some(until) = self.held.get(&key)
            && *until > Instant::now()
        {
            return Some(until.duration_since(Instant::now()));
        }
        match self.agent.start_container(pod, start, observed, volumes).await {
            Ok(()) => {
                self.held.remove(&key);
                self.start_errors.remove(&start.name);
                self.agent.relist.notify_one();
                None
            }
            Err(failed) => {
                if let Some(retry) = failed.retry.filter(|_| failed.hold) {
                    self.held.insert(key, Instant::now() + retry);
                }
                self.start_errors.insert(start.name.clone(), failed.error);
                failed.retry
            }
        }
    }

    /// Computes the status and hands it to the writer.
    fn publish(&mut self, pod: &Arc<Pod>, observed: &Observed, finished: bool) {
        let pod = self.with_own_status(pod);
        let agent = &self.agent;
        let inputs = status::Inputs {
            observed,
            start_errors: &self.start_errors,
            verdict: &|i| agent.probes.verdict(&pod, i),
            host_ips: &agent.host_ips(),
            finished,
            now: Timestamp::now(),
        };
        let status = status::compute(&pod, &inputs, self.failure.as_ref());
        self.last = Some(status.clone());
        if let Some(writer) = &self.writer {
            writer.set(status);
        }
    }

    /// A pod that will never run (again): stopped, its status final, its volumes released.
    async fn finish(&mut self, pod: &Arc<Pod>, observed: Observed) -> Result<Next, String> {
        let mut observed = observed;
        if !observed.is_stopped() {
            let grace = Duration::from_secs(u64::try_from(pod.grace_seconds()).unwrap_or(30));
            self.agent
                .kill_pod(pod, &observed, grace)
                .await
                .map_err(|e| e.to_string())?;
            observed = self.observe().await?;
        }
        self.publish(pod, &observed, true);
        self.agent.release_volumes(&self.uid)?;
        Ok(Next::After(QUIET * 10))
    }

    /// A pod that is being deleted: stopped within its grace period, reported, removed.
    async fn terminate(
        &mut self,
        pod: &Arc<Pod>,
        mut observed: Observed,
        wake: &Notify,
    ) -> Result<Next, String> {
        if !observed.is_stopped() {
            self.agent.probes.reconcile(pod, &observed, true);
            self.publish(pod, &observed, false);
            let grace = pod.grace_seconds();
            let agent = self.agent.clone();
            let before = observed;
            let seconds = Duration::from_secs(u64::try_from(grace).unwrap_or(30));
            let kill = async {
                let served = serves(pod, &agent.services.list_in(pod.namespace()));
                let handover = handover(pod, served, seconds);
                tokio::time::sleep(handover).await;
                agent
                    .kill_pod(pod, &before, seconds.saturating_sub(handover))
                    .await
            };
            tokio::pin!(kill);
            loop {
                tokio::select! {
                    result = &mut kill => {
                        result.map_err(|e| e.to_string())?;
                        break;
                    }
                    () = wake.notified() => {
                        let now = self.agent.pod(&self.uid);
                        // Somebody is in more of a hurry, or the pod is gone from the API: begin anew.
                        if now.is_none_or(|p| p.grace_seconds() < grace) {
                            wake.notify_one();
                            return Ok(Next::After(Duration::ZERO));
                        }
                        if let Ok(now) = self.observe().await {
                            self.publish(pod, &now, false);
                        }
                    }
                }
            }
            observed = self.observe().await?;
        }
        self.publish(pod, &observed, true);
        if let Some(writer) = &self.writer {
            writer.flush().await;
        }
        self.agent.release(&self.uid)?;
        let api: Api<Pod> = Api::namespaced(self.agent.client.clone(), pod.namespace());
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(self.uid.clone()),
                ..Preconditions::default()
            }),
            ..DeleteParams::default()
        };
        match api.delete(pod.name(), &params).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => return Err(format!("cannot delete the pod: {}", chain(&error))),
        }
        self.agent.remove_traces(&self.uid, &observed).await?;
        // Finalizers may keep the object; with it gone the informer wakes us for the last time.
        Ok(if self.agent.pod(&self.uid).is_some() {
            Next::After(QUIET)
        } else {
            Next::Gone
        })
    }

    /// A pod that only the runtime still knows.
    async fn remove_orphan(&mut self, last: Option<Arc<Pod>>) -> Result<Next, String> {
        let observed = self.observe().await?;
        let pod = last.unwrap_or_else(|| Arc::new(Pod::default()));
        if !observed.is_stopped() {
            let grace = if pod.metadata.uid.is_some() {
                pod.grace_seconds()
            } else {
                2
            };
            let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(2));
            self.agent
                .kill_pod(&pod, &observed, grace)
                .await
                .map_err(|e| e.to_string())?;
        }
        let observed = self.observe().await?;
        self.agent.remove_traces(&self.uid, &observed).await?;
        Ok(Next::Gone)
    }
}

/// How long a pod that serves goes on before its stop signal: service rules on all nodes change
/// when the deletion is announced, and a request that is on its way in that moment still finds a
/// listener. Nobody waits for a pod that serves nobody or has hardly any time.
fn handover(pod: &Pod, served: bool, grace: Duration) -> Duration {
    let conditions = pod.status().conditions.iter().flatten();
    let ready = conditions
        .into_iter()
        .any(|c| c.type_ == "Ready" && c.status == "True");
    if ready && served && grace >= HANDOVER * 10 {
        HANDOVER
    } else {
        Duration::ZERO
    }
}

/// What is left of `activeDeadlineSeconds`; zero once it has passed.
fn remaining_deadline(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let seconds = pod.spec().active_deadline_seconds?;
    let started = pod.status().start_time.as_ref()?.0;
    let passed = now.duration_since(started).as_secs();
    Some(Duration::from_secs(u64::try_from(seconds - passed).unwrap_or(0)))
}

#[cfg(test)]
mod containerd_as_root;
#[cfg(test)]
mod tests;
