//! Carrying out a plan's starts: sandboxes and containers.

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;
use rkind_client::chain;
use rkind_cri::{ErrorKind, v1};

use crate::agent::Agent;
use crate::config::{ImageUser, Parts, container_config, message_path, sandbox_config, verify_non_root};
use crate::dns;
use crate::env::{container_env, expand};
use crate::events::{ContainerEvents, Normal, Warning};
use crate::hooks;
use crate::observed::Observed;
use crate::plan::Start;
use crate::pod::{ContainerKind, PodExt};
use crate::qos;
use crate::status::StartError;
use crate::volumes::VolumePaths;

/// Between two tries to create a container.
const RETRY: Duration = Duration::from_secs(5);

/// A container that could not be started, and when to try again.
pub(crate) struct Failed {
    pub(crate) error: StartError,
    pub(crate) retry: Option<Duration>,
    /// Whether nothing may be tried before that; pulls have a back-off of their own.
    pub(crate) hold: bool,
}

impl Failed {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        let error = StartError {
            reason: reason.into(),
            message: message.into(),
        };
        Self {
            error,
            retry: Some(RETRY),
            hold: true,
        }
    }
}

impl Agent {
    /// The sandbox request of a pod; the same on every call for an attempt.
    pub(crate) fn sandbox_config(&self, pod: &Pod, attempt: u32) -> v1::PodSandboxConfig {
        let options = &self.options;
        let dns = dns::pod_dns(
            pod,
            &self.resolv_conf,
            &options.cluster_dns,
            &options.cluster_domain,
        );
        let logs = options.pod_log_dir.to_string_lossy();
        sandbox_config(
            pod,
            attempt,
            &logs,
            dns,
            &options.cluster_domain,
            &self.cgroups.parent(pod),
        )
    }

    /// Makes the pod's sandbox.
    pub(crate) async fn create_sandbox(&self, pod: &Pod, attempt: u32) -> Result<(), String> {
        let config = self.sandbox_config(pod, attempt);
        std::fs::create_dir_all(&config.log_directory)
            .map_err(|e| format!("cannot make {}: {e}", config.log_directory))?;
        let handler = self.runtime_handler(pod).await?;
        let mut result = self.runtime.run_pod_sandbox(config.clone(), &handler).await;
        if let Err(error) = &result
            && error.kind == ErrorKind::AlreadyExists
        {
            // A try that failed halfway left its name behind: the next number is free.
            let mut config = config;
            config.metadata.get_or_insert_default().attempt += 1;
            result = self.runtime.run_pod_sandbox(config, &handler).await;
        }
        result.map(drop).map_err(|error| error.rpc_message())
    }

    /// The handler that the pod's RuntimeClass names; empty: the runtime's default.
    async fn runtime_handler(&self, pod: &Pod) -> Result<String, String> {
        let Some(class) = pod.spec().runtime_class_name.as_deref().filter(|c| !c.is_empty()) else {
            return Ok(String::new());
        };
        let classes: Api<RuntimeClass> = Api::all(self.client.clone());
        match classes.get(class).await {
            Ok(class) => Ok(class.handler),
            Err(error) => Err(format!("failed to get sandbox runtime: {}", chain(&error))),
        }
    }

    /// Creates and starts one container, with everything it needs.
    pub(crate) async fn start_container(
        &self,
        pod: &Arc<Pod>,
        start: &Start,
        observed: &Observed,
        volumes: &VolumePaths,
    ) -> Result<(), Failed> {
        let Some((kind, container)) = pod.container(&start.name) else {
            return Ok(());
        };
        let events = ContainerEvents::new(&self.recorder, pod, kind, &container.name);
        let Some(sandbox) = observed.sandbox() else {
            return Err(Failed::new("CreateContainerError", "the pod's sandbox is gone"));
        };
        let sandbox_config = self.sandbox_config(pod, sandbox.attempt);
        let image = match self
            .images
            .ensure(pod, &container, &sandbox_config, &events)
            .await
        {
            Ok(image) => image,
            Err((error, retry)) => {
                events.send(Warning, "Failed", format!("Error: {}", error.reason));
                let hold = false;
                return Err(Failed { error, retry, hold });
            }
        };
        let config_error = |message: String| {
            events.send(Warning, "Failed", format!("Error: {message}"));
            Failed::new("CreateContainerConfigError", message)
        };
        let image_user = ImageUser::of(Some(&image));
        verify_non_root(pod, &container, &image_user).map_err(config_error)?;
        let sources = self
            .objects
            .env_sources(pod, &container)
            .await
            .map_err(config_error)?;
        let services = self.services.list();
        let facts = self.facts(pod, observed);
        let env = container_env(pod, &container, &services, &sources, &facts).map_err(config_error)?;
        let mounts = self
            .mounts(pod, kind, &container, &env, volumes, &facts.pod_ips)
            .map_err(config_error)?;
        let restart_count = observed
            .instance(&container.name)
            .map(|last| last.restart_count + 1)
            .unwrap_or_else(|| forgotten_count(pod, kind, &container.name));
        let target = pod
            .spec()
            .ephemeral_containers
            .iter()
            .flatten()
            .find(|e| e.name == container.name)
            .and_then(|e| e.target_container_name.clone())
            .filter(|t| !t.is_empty());
        let target_id = target.and_then(|t| observed.instance(&t)).map(|i| i.id.clone());
        let parts = Parts {
            image: image.id.clone(),
            env,
            mounts,
            restart_count,
            resources: qos::container_resources(pod, &container, self.machine.memory),
            image_user,
            target_id,
            root: self.options.root_dir.to_string_lossy().into_owned(),
        };
        let config = container_config(pod, kind, &container, parts);
        let log = Path::new(&sandbox_config.log_directory).join(&config.log_path);
        if let Some(dir) = log.parent() {
            std::fs::create_dir_all(dir)
                .map_err(|e| config_error(format!("cannot make {}: {e}", dir.display())))?;
        }
        let id = match self
            .runtime
            .create_container(&sandbox.id, config, sandbox_config)
            .await
        {
            Ok(id) => id,
            Err(error) => {
                events.send(Warning, "Failed", format!("Error: {}", error.rpc_message()));
                return Err(Failed::new("CreateContainerError", error.rpc_message()));
            }
        };
        events.send(Normal, "Created", "Container created");
        if let Err(error) = self.runtime.start_container(&id).await {
            events.send(Warning, "Failed", format!("Error: {}", error.rpc_message()));
            return Err(Failed::new("RunContainerError", error.rpc_message()));
        }
        events.send(Normal, "Started", "Container started");
        self.link_log(pod, &container.name, &id, &log);
        self.post_start(
            pod,
            &container,
            &id,
            facts.pod_ips.first().map_or("", String::as_str),
            &events,
        )
        .await
    }

    async fn post_start(
        &self,
        pod: &Pod,
        container: &Container,
        id: &str,
        host: &str,
        events: &ContainerEvents,
    ) -> Result<(), Failed> {
        let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else {
            return Ok(());
        };
        let Err(message) = hooks::run(self.runtime.as_ref(), id, host, container, hook).await else {
            return Ok(());
        };
        events.send(Warning, "FailedPostStartHook", "PostStartHook failed");
        events.send(Normal, "Killing", "FailedPostStartHook");
        let grace = Duration::from_secs(u64::try_from(pod.grace_seconds()).unwrap_or(30));
        if let Err(error) = self.runtime.stop_container(id, grace).await {
            tracing::warn!(pod = %pod.described(), container = container.name, %error, "cannot stop a container");
        }
        tracing::info!(pod = %pod.described(), container = container.name, %message, "post-start hook failed");
        Err(Failed::new("PostStartHookError", "PostStartHook failed"))
    }

    /// A link under the name that log collectors look for.
    fn link_log(&self, pod: &Pod, container: &str, id: &str, log: &Path) {
        let Some(dir) = &self.options.container_log_dir else {
            return;
        };
        let name = format!("{}_{}_{container}-{id}.log", pod.name(), pod.namespace());
        let linked = std::fs::create_dir_all(dir).and_then(|()| symlink(log, dir.join(name)));
        if let Err(error) = linked
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            tracing::debug!(%error, "cannot link a log");
        }
    }

    /// Every mount of a container: its volumes, `/etc/hosts`, and the file for its last words.
    fn mounts(
        &self,
        pod: &Pod,
        kind: ContainerKind,
        container: &Container,
        env: &[(String, String)],
        volumes: &VolumePaths,
        pod_ips: &[String],
    ) -> Result<Vec<v1::Mount>, String> {
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let Some(host) = volumes.get(&mount.name) else {
                return Err(format!(
                    "cannot find volume \"{}\" to mount into container \"{}\"",
                    mount.name, container.name
                ));
            };
            let host = sub_path(host, mount, env)?;
            let propagation = match mount.mount_propagation.as_deref() {
                Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
                Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
                _ => v1::MountPropagation::PropagationPrivate,
            };
            let path = if mount.mount_path.starts_with('/') {
                mount.mount_path.clone()
            } else {
                format!("/{}", mount.mount_path)
            };
            mounts.push(v1::Mount {
                container_path: path,
                host_path: host.to_string_lossy().into_owned(),
                readonly: mount.read_only.unwrap_or(false) || is_read_only(pod, &mount.name),
                propagation: propagation.into(),
                ..Default::default()
            });
        }
        let dir = self.volumes.pod_dir(pod.uid());
        let failed = |what: &Path, e: io::Error| format!("cannot write {}: {e}", what.display());
        let has = |mounts: &[v1::Mount], path: &str| {
            mounts
                .iter()
                .any(|m| m.container_path.trim_end_matches('/') == path)
        };
        if !has(&mounts, "/etc/hosts") {
            let file = dir.join("etc-hosts");
            let own = if pod.host_network() {
                std::fs::read_to_string("/etc/hosts").unwrap_or_default()
            } else {
                String::new()
            };
            let text = dns::etc_hosts(pod, pod_ips, &self.options.cluster_domain, &own);
            std::fs::create_dir_all(&dir).map_err(|e| failed(&dir, e))?;
            std::fs::write(&file, text).map_err(|e| failed(&file, e))?;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))
                .map_err(|e| failed(&file, e))?;
            mounts.push(file_mount("/etc/hosts", &file));
        }
        let path = message_path(container);
        // A debugging container may run in an image where the path can't be made.
        let wanted = kind != ContainerKind::Ephemeral || container.termination_message_path.is_some();
        if wanted && !has(&mounts, path) {
            let place = dir.join("containers").join(&container.name);
            std::fs::create_dir_all(&place).map_err(|e| failed(&place, e))?;
            let file = place.join(format!("{:08x}", rand::random::<u32>()));
            std::fs::write(&file, "").map_err(|e| failed(&file, e))?;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666))
                .map_err(|e| failed(&file, e))?;
            mounts.push(file_mount(path, &file));
        }
        Ok(mounts)
    }
}

/// Volumes whose content comes from the API: what a container wrote there would be lost.
fn is_read_only(pod: &Pod, volume: &str) -> bool {
    let volume = pod.spec().volumes.iter().flatten().find(|v| v.name == volume);
    volume.is_some_and(|v| {
        let claim = v.persistent_volume_claim.as_ref();
        v.config_map.is_some()
            || v.secret.is_some()
            || v.downward_api.is_some()
            || v.projected.is_some()
            || claim.is_some_and(|c| c.read_only == Some(true))
    })
}

fn file_mount(container_path: &str, file: &Path) -> v1::Mount {
    v1::Mount {
        container_path: container_path.into(),
        host_path: file.to_string_lossy().into_owned(),
        ..Default::default()
    }
}

/// The restart count of a container whose instances the runtime has forgotten.
fn forgotten_count(pod: &Pod, kind: ContainerKind, name: &str) -> i32 {
    let status = pod.status();
    let list = match kind {
        ContainerKind::Init => &status.init_container_statuses,
        ContainerKind::Regular => &status.container_statuses,
        ContainerKind::Ephemeral => &status.ephemeral_container_statuses,
    };
    let known = list.iter().flatten().find(|s| s.name == name);
    // One that only ever waited has not run before.
    known
        .filter(|s| s.container_id.is_some())
        .map_or(0, |s| s.restart_count + 1)
}

/// The part of a volume that a mount asks for. It never leads out of the volume, also not through links.
pub(crate) fn sub_path(
    volume: &Path,
    mount: &VolumeMount,
    env: &[(String, String)],
) -> Result<PathBuf, String> {
    let expanded = mount
        .sub_path_expr
        .as_deref()
        .filter(|e| !e.is_empty())
        .map(|expression| {
            expand(expression, &|name| {
                env.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
            })
        });
    let Some(sub) = expanded
        .or_else(|| mount.sub_path.clone())
        .filter(|s| !s.is_empty())
    else {
        return Ok(volume.to_path_buf());
    };
    if mount.sub_path_expr.is_some() && sub.contains("$(") {
        return Err(format!(
            "failed to expand subPathExpr of volumeMount \"{}\"",
            mount.name
        ));
    }
    let relative = Path::new(&sub);
    if relative.is_absolute() {
        return Err(format!("error SubPath `{sub}` must not be an absolute path"));
    }
    if relative
        .components()
        .any(|c| matches!(c, std::path::Component::ParentDir))
    {
        return Err(format!(
            "unable to provision SubPath `{sub}`: must not contain '..'"
        ));
    }
    let target = volume.join(relative);
    let root = volume
        .canonicalize()
        .map_err(|e| format!("cannot resolve {}: {e}", volume.display()))?;
    if !target.exists() {
        // Only below what is already known to lie in the volume.
        let mut known = target.as_path();
        while !known.exists() {
            known = known.parent().unwrap_or(volume);
        }
        let safe = known.canonicalize().is_ok_and(|p| p.starts_with(&root));
        if !safe {
            return Err(format!("subPath `{sub}` leads out of the volume"));
        }
        std::fs::create_dir_all(&target).map_err(|e| format!("cannot make {}: {e}", target.display()))?;
        let mode = std::fs::metadata(volume)
            .map(|m| m.permissions().mode() & 0o7777)
            .unwrap_or(0o755);
        let _ = std::fs::set_permissions(&target, std::fs::Permissions::from_mode(mode));
    }
    let resolved = target
        .canonicalize()
        .map_err(|e| format!("cannot resolve {}: {e}", target.display()))?;
    if resolved.starts_with(&root) {
        Ok(resolved)
    } else {
        Err(format!("subPath `{sub}` leads out of the volume"))
    }
}

#[cfg(test)]
mod tests;
