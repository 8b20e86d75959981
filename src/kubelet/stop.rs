//! Stopping containers and whole pods, with hooks and grace.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;

use crate::agent::Agent;
use crate::events::{ContainerEvents, Normal, Warning};
use crate::hooks;
use crate::observed::{Instance, Observed};
use crate::plan::{Kill, KillReason};
use crate::pod::{ContainerKind, PodExt, is_sidecar};

/// Even a used-up grace period leaves this much to react to the stop signal.
const LEAST: Duration = Duration::from_secs(2);

impl Agent {
    /// Stops one container: its pre-stop hook, the stop signal, and after the grace period SIGKILL.
    pub(crate) async fn stop_container(
        &self,
        pod: &Pod,
        instance: &Instance,
        grace: Duration,
        message: &str,
    ) {
        let (kind, container) = match pod.container(&instance.name) {
            Some((kind, container)) => (kind, Some(container)),
            None => (ContainerKind::Regular, None),
        };
        let events = ContainerEvents::new(&self.recorder, pod, kind, &instance.name);
        events.send(Normal, "Killing", message);
        let started = Instant::now();
        let hook = container
            .as_ref()
            .and_then(|c| c.lifecycle.as_ref())
            .and_then(|l| l.pre_stop.as_ref());
        if let (Some(hook), Some(container)) = (hook, &container)
            && !grace.is_zero()
        {
            let host = pod.status().pod_ip.clone().unwrap_or_default();
            let run = hooks::run(self.runtime.as_ref(), &instance.id, &host, container, hook);
            match tokio::time::timeout(grace, run).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::info!(pod = %pod.described(), container = container.name, %error, "pre-stop hook failed");
                    events.send(Warning, "FailedPreStopHook", "PreStopHook failed");
                }
                Err(_) => {
                    tracing::info!(pod = %pod.described(), container = container.name, "pre-stop hook took all of the grace period");
                }
            }
        }
        let left = if grace.is_zero() {
            grace
        } else {
            grace.saturating_sub(started.elapsed()).max(LEAST)
        };
        if let Err(error) = self.runtime.stop_container(&instance.id, left).await {
            tracing::warn!(pod = %pod.described(), container = instance.name, %error, "cannot stop a container");
        }
        self.probes.forget([instance.id.as_str()]);
    }

    /// Stops a container that a plan says to stop.
    pub(crate) async fn carry_out_kill(&self, pod: &Pod, kill: &Kill, observed: &Observed) {
        let Some(instance) = observed.containers.iter().find(|i| i.id == kill.id) else {
            return;
        };
        let mut grace = pod.spec().termination_grace_period_seconds.unwrap_or(30);
        if let Some((_, container)) = pod.container(&kill.name) {
            let probe = match kill.reason {
                KillReason::Liveness => container.liveness_probe,
                KillReason::Startup => container.startup_probe,
                KillReason::Changed | KillReason::Broken => None,
            };
            // A failed probe may allow less time than the pod does.
            grace = probe
                .and_then(|p| p.termination_grace_period_seconds)
                .unwrap_or(grace);
        }
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(30));
        if instance.is_running() {
            self.stop_container(pod, instance, grace, &kill.message).await;
        } else if let Err(error) = self.runtime.remove_container(&instance.id).await {
            tracing::warn!(pod = %pod.described(), container = kill.name, %error, "cannot remove a container");
        }
    }

    /// Stops all containers, sidecars last and in reverse order, then the sandboxes.
    pub(crate) async fn kill_pod(
        &self,
        pod: &Pod,
        observed: &Observed,
        grace: Duration,
    ) -> rkind_cri::Result<()> {
        let started = Instant::now();
        let sidecars: Vec<String> = pod
            .spec()
            .init_containers
            .iter()
            .flatten()
            .filter(|c| is_sidecar(c))
            .map(|c| c.name.clone())
            .collect();
        let (mut last, first): (Vec<&Instance>, Vec<&Instance>) =
            observed.running().partition(|i| sidecars.contains(&i.name));
        let message = |i: &Instance| format!("Stopping container {}", i.name);
        let stops = first
            .into_iter()
            .map(|i| async move { self.stop_container(pod, i, grace, &message(i)).await });
        futures::future::join_all(stops).await;
        last.sort_by_key(|i| std::cmp::Reverse(sidecars.iter().position(|n| *n == i.name)));
        for instance in last {
            let left = grace.saturating_sub(started.elapsed());
            self.stop_container(pod, instance, left, &message(instance)).await;
        }
        for sandbox in observed.sandboxes.iter().filter(|s| s.ready) {
            self.runtime.stop_pod_sandbox(&sandbox.id).await?;
        }
        Ok(())
    }

    /// Gives back the addresses of sandboxes that died by themselves: nobody else stops them.
    pub(crate) async fn free_networks(&self, pod: &Pod, observed: &Observed) {
        for sandbox in observed.sandboxes.iter().filter(|s| !s.ready) {
            if let Err(error) = self.runtime.stop_pod_sandbox(&sandbox.id).await {
                tracing::warn!(pod = %pod.described(), %error, "cannot free a dead sandbox's network");
            }
        }
    }

    /// Removes everything the runtime still has of a stopped pod, and its files.
    pub(crate) async fn remove_traces(&self, uid: &str, observed: &Observed) -> Result<(), String> {
        self.probes
            .forget(observed.containers.iter().map(|c| c.id.as_str()));
        for container in &observed.containers {
            self.runtime
                .remove_container(&container.id)
                .await
                .map_err(|e| e.to_string())?;
            self.unlink_logs(&container.id);
        }
        for sandbox in &observed.sandboxes {
            self.runtime
                .stop_pod_sandbox(&sandbox.id)
                .await
                .map_err(|e| e.to_string())?;
            self.runtime
                .remove_pod_sandbox(&sandbox.id)
                .await
                .map_err(|e| e.to_string())?;
        }
        self.release(uid)?;
        let suffix = format!("_{uid}");
        for entry in std::fs::read_dir(&self.options.pod_log_dir)
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.file_name().to_string_lossy().ends_with(&suffix) {
                let dir = entry.path();
                std::fs::remove_dir_all(&dir).map_err(|e| format!("cannot remove {}: {e}", dir.display()))?;
            }
        }
        Ok(())
    }

    /// Frees the volumes of a pod that has ended. Its containers' last words stay readable.
    pub(crate) fn release_volumes(&self, uid: &str) -> Result<(), String> {
        self.volumes
            .remove_volumes(uid)
            .map_err(|e| format!("cannot remove the pod's volumes: {e}"))?;
        self.cgroups.remove(uid);
        self.tokens.forget(uid);
        Ok(())
    }

    /// Frees what a pod that does not run any more holds: volumes, cgroups, tokens.
    pub(crate) fn release(&self, uid: &str) -> Result<(), String> {
        self.volumes
            .remove_pod(uid)
            .map_err(|e| format!("cannot remove the pod's volumes: {e}"))?;
        self.cgroups.remove(uid);
        self.tokens.forget(uid);
        self.images.forget(uid);
        Ok(())
    }

    /// Removes the links to a container's log.
    pub(crate) fn unlink_logs(&self, id: &str) {
        let Some(dir) = &self.options.container_log_dir else {
            return;
        };
        let Ok(entries) = std::fs::read_dir(dir) else {
            return;
        };
        let suffix = format!("-{id}.log");
        for entry in entries
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().ends_with(&suffix))
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
