//! Keeping what containers leave behind within bounds: old instances and long logs.
//!
//! <https://kubernetes.io/docs/concepts/cluster-administration/logging/#log-rotation>

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use rkind_cri::v1;

use crate::agent::Agent;
use crate::observed::{Observed, RunState};

/// A log longer than this is rotated, bytes.
const MAX_LOG: u64 = 10 << 20;
/// Log files kept per container, the current one included.
const MAX_FILES: usize = 5;
/// Instances kept per container: the current one and the one before, for `lastState` and `--previous`.
const KEPT: usize = 2;
const PERIOD: Duration = Duration::from_secs(10);

/// Ids of container instances that nobody will ask for any more.
pub(crate) fn superfluous(observed: &Observed) -> Vec<String> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for instance in &observed.containers {
        let count = seen.entry(&instance.name).or_default();
        *count += 1;
        if *count > KEPT && instance.state != RunState::Running {
            found.push(instance.id.clone());
        }
    }
    found
}

/// Ids of sandboxes that have been replaced and hold no container that is kept.
pub(crate) fn empty_sandboxes(observed: &Observed) -> Vec<String> {
    let gone = superfluous(observed);
    let kept = |id: &str| {
        observed
            .containers
            .iter()
            .any(|c| c.sandbox_id == id && !gone.contains(&c.id))
    };
    observed
        .sandboxes
        .iter()
        .skip(1)
        .filter(|s| !s.ready && !kept(&s.id))
        .map(|s| s.id.clone())
        .collect()
}

impl Agent {
    /// Removes instances and sandboxes of a running pod that are of no use any more.
    pub(crate) async fn prune(&self, observed: &Observed) {
        for id in superfluous(observed) {
            let log = observed
                .containers
                .iter()
                .find(|c| c.id == id)
                .map(|c| PathBuf::from(&c.log_path));
            if let Err(error) = self.runtime.remove_container(&id).await {
                tracing::debug!(%error, "cannot remove an old container");
                continue;
            }
            self.unlink_logs(&id);
            if let Some(log) = log {
                let _ = fs::remove_file(log);
            }
        }
        for id in empty_sandboxes(observed) {
            if let Err(error) = self.runtime.remove_pod_sandbox(&id).await {
                tracing::debug!(%error, "cannot remove an old sandbox");
            }
        }
    }
}

/// Rotates the logs of running containers.
pub(crate) async fn rotate_logs(agent: Arc<Agent>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        for path in long_logs(&agent.options.pod_log_dir) {
            if let Err(error) = rotate_one(&agent, &path).await {
                tracing::warn!(path = %path.display(), %error, "cannot rotate a log");
            }
        }
    }
}

/// Logs that have grown too long: `<dir>/<pod>/<container>/<n>.log`.
fn long_logs(dir: &Path) -> Vec<PathBuf> {
    let children = |dir: &Path| {
        fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .collect::<Vec<_>>()
    };
    children(dir)
        .iter()
        .flat_map(|pod| children(pod))
        .flat_map(|container| children(&container))
        .filter(|file| file.extension().is_some_and(|e| e == "log"))
        .filter(|file| fs::metadata(file).is_ok_and(|m| m.len() > MAX_LOG))
        .collect()
}

async fn rotate_one(agent: &Agent, path: &Path) -> Result<(), String> {
    let state = Some(v1::ContainerStateValue {
        state: v1::ContainerState::ContainerRunning.into(),
    });
    let filter = v1::ContainerFilter {
        state,
        ..Default::default()
    };
    let running = agent
        .runtime
        .list_containers(Some(filter))
        .await
        .map_err(|e| e.to_string())?;
    for container in running {
        let status = agent
            .runtime
            .container_status(&container.id, false)
            .await
            .map_err(|e| e.to_string())?;
        if status.status.is_none_or(|s| Path::new(&s.log_path) != path) {
            continue;
        }
        let aside = set_aside(path, Timestamp::now()).map_err(|e| e.to_string())?;
        if let Err(error) = agent.runtime.reopen_container_log(&container.id).await {
            // The runtime still writes to the old file: give it its name back.
            let _ = fs::rename(&aside, path);
            return Err(error.to_string());
        }
        let path = path.to_path_buf();
        let tidied = tokio::task::spawn_blocking(move || tidy(&path)).await;
        return tidied.map_err(|e| e.to_string())?.map_err(|e| e.to_string());
    }
    Ok(())
}

fn set_aside(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", now.strftime("%Y%m%d-%H%M%S")));
    let aside = PathBuf::from(name);
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Compresses all but the newest rotated file and removes the oldest ones.
fn tidy(path: &Path) -> io::Result<()> {
    let Some(dir) = path.parent() else { return Ok(()) };
    let prefix = format!("{}.", path.file_name().unwrap_or_default().to_string_lossy());
    let mut rotated: Vec<PathBuf> = fs::read_dir(dir)?
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(&prefix))
        .map(|e| e.path())
        .collect();
    rotated.sort();
    while rotated.len() > MAX_FILES - 1 {
        fs::remove_file(rotated.remove(0))?;
    }
    rotated.pop();
    for file in rotated.iter().filter(|f| f.extension().is_none_or(|e| e != "gz")) {
        let mut name = file.as_os_str().to_owned();
        name.push(".gz");
        let mut encoder = GzEncoder::new(fs::File::create(PathBuf::from(name))?, Compression::default());
        io::copy(&mut fs::File::open(file)?, &mut encoder)?;
        encoder.finish()?;
        fs::remove_file(file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
