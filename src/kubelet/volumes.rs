//! Volumes of pods on this machine: made before containers start, kept up to date, removed after.
//!
//! <https://kubernetes.io/docs/concepts/storage/volumes/>

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, HostPathVolumeSource, Pod, ProjectedVolumeSource, Volume,
};

use crate::env::Facts;
use crate::objects::Objects;
use crate::pod::PodExt;
use crate::quantity;
use crate::tokens::Tokens;

pub(crate) mod atomic;
mod mounts;
mod payload;

use atomic::{Payload, PayloadFile};

/// Why a pod's volumes are not ready: the text of its `FailedMount` event.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {message}")]
pub(crate) struct VolumeError {
    pub(crate) volume: String,
    pub(crate) message: String,
}

/// Volume name -> where it lies on this machine.
pub(crate) type VolumePaths = BTreeMap<String, PathBuf>;

/// Makes and removes volumes below the kubelet's root directory.
pub(crate) struct Volumes {
    root: PathBuf,
    objects: Arc<Objects>,
    tokens: Arc<Tokens>,
}

impl Volumes {
    pub(crate) fn new(root: PathBuf, objects: Arc<Objects>, tokens: Arc<Tokens>) -> Self {
        Self {
            root,
            objects,
            tokens,
        }
    }

    /// `pods/<uid>` below the root.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }

    fn volume_dir(&self, uid: &str, plugin: &str, name: &str) -> PathBuf {
        self.pod_dir(uid)
            .join("volumes")
            .join(format!("kubernetes.io~{plugin}"))
            .join(name)
    }

    /// Makes every volume of the pod ready, or brings it up to date. Idempotent.
    pub(crate) async fn prepare(&self, pod: &Pod, facts: &Facts) -> Result<VolumePaths, VolumeError> {
        let mut paths = VolumePaths::new();
        for volume in pod.spec().volumes.iter().flatten() {
            let path = self
                .prepare_one(pod, volume, facts)
                .await
                .map_err(|message| VolumeError {
                    volume: volume.name.clone(),
                    message,
                })?;
            paths.insert(volume.name.clone(), path);
        }
        Ok(paths)
    }

    /// Whether any volume's content can change while the pod runs.
    pub(crate) fn has_live_content(pod: &Pod) -> bool {
        pod.spec().volumes.iter().flatten().any(|v| {
            v.config_map.is_some() || v.secret.is_some() || v.downward_api.is_some() || v.projected.is_some()
        })
    }

    async fn prepare_one(&self, pod: &Pod, volume: &Volume, facts: &Facts) -> Result<PathBuf, String> {
        let uid = pod.uid();
        let name = &volume.name;
        let io = |error: io::Error| error.to_string();
        if let Some(source) = &volume.empty_dir {
            let dir = self.volume_dir(uid, "empty-dir", name);
            empty_dir(&dir, source, fs_group(pod)).map_err(io)?;
            return Ok(dir);
        }
        if let Some(source) = &volume.host_path {
            host_path(source)?;
            return Ok(PathBuf::from(&source.path));
        }
        if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() {
            return self.claim(pod, volume).await;
        }
        let (plugin, in_memory, payload) = self.payload(pod, volume, facts).await?;
        let dir = self.volume_dir(uid, plugin, name);
        write_payload(&dir, &payload, in_memory, fs_group(pod)).map_err(io)?;
        Ok(dir)
    }

    async fn payload(
        &self,
        pod: &Pod,
        volume: &Volume,
        facts: &Facts,
    ) -> Result<(&'static str, bool, Payload), String> {
        let namespace = pod.namespace();
        if let Some(source) = &volume.config_map {
            let optional = source.optional.unwrap_or(false);
            let map = self.objects.config_map(namespace, &source.name, optional).await?;
            let default = payload::mode(source.default_mode, payload::DEFAULT_MODE);
            let files = payload::config_map(map.as_deref(), source.items.as_ref(), default, optional)?;
            return Ok(("configmap", false, files));
        }
        if let Some(source) = &volume.secret {
            let optional = source.optional.unwrap_or(false);
            let name = source.secret_name.as_deref().unwrap_or_default();
            let secret = self.objects.secret(namespace, name, optional).await?;
            let default = payload::mode(source.default_mode, payload::DEFAULT_MODE);
            let files = payload::secret(secret.as_deref(), source.items.as_ref(), default, optional)?;
            return Ok(("secret", true, files));
        }
        if let Some(source) = &volume.downward_api {
            let default = payload::mode(source.default_mode, payload::DEFAULT_MODE);
            return Ok((
                "downward-api",
                true,
                payload::downward(pod, source.items.as_ref(), default, facts)?,
            ));
        }
        if let Some(source) = &volume.projected {
            return Ok(("projected", true, self.projected(pod, source, facts).await?));
        }
        Err("no volume plugin matched: this node supports emptyDir, hostPath, configMap, secret, downwardAPI, \
             projected and claims of hostPath or local volumes"
            .to_string())
    }

    async fn projected(
        &self,
        pod: &Pod,
        source: &ProjectedVolumeSource,
        facts: &Facts,
    ) -> Result<Payload, String> {
        let namespace = pod.namespace();
        let default = payload::mode(source.default_mode, payload::DEFAULT_MODE);
        let mut all = Payload::new();
        for part in source.sources.iter().flatten() {
            if let Some(map) = &part.config_map {
                let optional = map.optional.unwrap_or(false);
                let found = self.objects.config_map(namespace, &map.name, optional).await?;
                all.extend(payload::config_map(
                    found.as_deref(),
                    map.items.as_ref(),
                    default,
                    optional,
                )?);
            }
            if let Some(secret) = &part.secret {
                let optional = secret.optional.unwrap_or(false);
                let found = self.objects.secret(namespace, &secret.name, optional).await?;
                all.extend(payload::secret(
                    found.as_deref(),
                    secret.items.as_ref(),
                    default,
                    optional,
                )?);
            }
            if let Some(downward) = &part.downward_api {
                all.extend(payload::downward(pod, downward.items.as_ref(), default, facts)?);
            }
            if let Some(token) = &part.service_account_token {
                let text = self.tokens.get(pod, token).await?;
                let uid = only_user(pod);
                // Readable by the pod's own user only, where there is one.
                let mode = if uid.is_some() || fs_group(pod).is_some() {
                    0o600
                } else {
                    default
                };
                all.insert(
                    token.path.clone(),
                    PayloadFile {
                        data: text.into_bytes(),
                        mode,
                        uid,
                    },
                );
            }
        }
        Ok(all)
    }

    async fn claim(&self, pod: &Pod, volume: &Volume) -> Result<PathBuf, String> {
        let name = match &volume.persistent_volume_claim {
            Some(source) => source.claim_name.clone(),
            None => format!("{}-{}", pod.name(), volume.name),
        };
        let path = self.objects.claim_path(pod.namespace(), &name).await?;
        if !path.exists() {
            std::fs::create_dir_all(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        }
        if let Some(group) = fs_group(pod) {
            own_tree(&path, group).map_err(|e| e.to_string())?;
        }
        Ok(path)
    }

    /// Removes a pod's volumes, not its other files.
    pub(crate) fn remove_volumes(&self, uid: &str) -> io::Result<()> {
        let dir = self.pod_dir(uid).join("volumes");
        if !dir.exists() {
            return Ok(());
        }
        mounts::unmount_below(&dir)?;
        std::fs::remove_dir_all(&dir)
    }

    /// Removes everything of a pod, volumes first.
    pub(crate) fn remove_pod(&self, uid: &str) -> io::Result<()> {
        let dir = self.pod_dir(uid);
        if !dir.exists() {
            return Ok(());
        }
        mounts::unmount_below(&dir)?;
        std::fs::remove_dir_all(&dir)
    }

    /// Pods that have a directory here.
    pub(crate) fn pods_on_disk(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.root.join("pods")) else {
            return Vec::new();
        };
        entries
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

/// `securityContext.fsGroup`.
pub(crate) fn fs_group(pod: &Pod) -> Option<u32> {
    pod.spec()
        .security_context
        .as_ref()
        .and_then(|s| s.fs_group)
        .and_then(|g| u32::try_from(g).ok())
}

/// The user all containers run as, when the spec names the same one for all.
fn only_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec();
    let of_pod = spec.security_context.as_ref().and_then(|s| s.run_as_user);
    let mut users = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
        .map(|c| c.security_context.as_ref().and_then(|s| s.run_as_user).or(of_pod));
    let first = users.next().flatten()?;
    users
        .all(|u| u == Some(first))
        .then(|| u32::try_from(first).ok())
        .flatten()
}

fn empty_dir(dir: &Path, source: &EmptyDirVolumeSource, group: Option<u32>) -> io::Result<()> {
    let mut fresh = !dir.exists();
    std::fs::create_dir_all(dir)?;
    if source.medium.as_deref() == Some("Memory") {
        let size = source.size_limit.as_ref().map_or(0, quantity::value);
        fresh |= mounts::tmpfs(dir, u64::try_from(size).unwrap_or(0))?;
    }
    if fresh {
        let mode = if group.is_some() { 0o2777 } else { 0o777 };
        if let Some(group) = group {
            chown(dir, None, Some(group))?;
        }
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn write_payload(dir: &Path, payload: &Payload, in_memory: bool, group: Option<u32>) -> io::Result<bool> {
    std::fs::create_dir_all(dir)?;
    if in_memory && let Err(error) = mounts::tmpfs(dir, 0) {
        // Secrets then touch the disk; a node without the right to mount still works.
        tracing::debug!(dir = %dir.display(), %error, "no tmpfs for a volume");
    }
    if let Some(group) = group {
        chown(dir, None, Some(group))?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o2777))?;
    } else {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777))?;
    }
    atomic::write(dir, payload, group, jiff::Timestamp::now())
}

/// Gives a volume to a group: files readable and writable, directories inherited by it.
fn own_tree(dir: &Path, group: u32) -> io::Result<()> {
    chown(dir, None, Some(group))?;
    let mode = std::fs::metadata(dir)?.permissions().mode();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode | 0o2770))?;
    for entry in std::fs::read_dir(dir)?.flatten() {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            own_tree(&entry.path(), group)?;
        } else if kind.is_file() {
            chown(entry.path(), None, Some(group))?;
            let mode = entry.metadata()?.permissions().mode();
            std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode | 0o660))?;
        }
    }
    Ok(())
}

/// Checks or makes what a hostPath volume asks for.
fn host_path(source: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    let found = std::fs::metadata(path).ok().map(|m| m.file_type());
    let wrong = |what: &str| {
        Err(format!(
            "hostPath type check failed: {} is not a {what}",
            source.path
        ))
    };
    match kind {
        "" => Ok(()),
        "DirectoryOrCreate" => match found {
            Some(t) if t.is_dir() => Ok(()),
            Some(_) => wrong("directory"),
            None => std::fs::create_dir_all(path).map_err(|e| format!("cannot make {}: {e}", source.path)),
        },
        "Directory" => {
            if found.is_some_and(|t| t.is_dir()) {
                Ok(())
            } else {
                wrong("directory")
            }
        }
        "FileOrCreate" => match found {
            Some(t) if t.is_file() => Ok(()),
            Some(_) => wrong("file"),
            None => std::fs::File::create(path)
                .map(drop)
                .map_err(|e| format!("cannot make {}: {e}", source.path)),
        },
        "File" => {
            if found.is_some_and(|t| t.is_file()) {
                Ok(())
            } else {
                wrong("file")
            }
        }
        "Socket" => {
            if found.is_some_and(|t| t.is_socket()) {
                Ok(())
            } else {
                wrong("socket")
            }
        }
        "CharDevice" => {
            if found.is_some_and(|t| t.is_char_device()) {
                Ok(())
            } else {
                wrong("character device")
            }
        }
        "BlockDevice" => {
            if found.is_some_and(|t| t.is_block_device()) {
                Ok(())
            } else {
                wrong("block device")
            }
        }
        other => Err(format!("unknown hostPath type {other:?}")),
    }
}
