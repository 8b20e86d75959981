//! Cgroups of pods: `/kubepods[/burstable|/besteffort]/pod<uid>`, on cgroup v1 and v2.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::pod::PodExt;
use crate::qos::{CPU_PERIOD, QosClass, pod_resources, quota, shares, weight};

/// Controllers of version 1 that limit pods; each has its own tree.
const V1: [&str; 3] = ["cpu", "memory", "pids"];

/// The cgroup file system of this machine.
pub(crate) struct Cgroups {
    /// `None`: pods get no cgroups of their own.
    root: Option<PathBuf>,
    unified: bool,
}

/// One value to write into one file of a pod's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) controller: &'static str,
    pub(crate) file: &'static str,
    pub(crate) value: String,
}

/// Path of a pod's cgroup below the root, as the runtime gets it.
pub(crate) fn pod_path(pod: &Pod) -> String {
    let uid = pod.uid();
    match QosClass::of(pod) {
        QosClass::Guaranteed => format!("/kubepods/pod{uid}"),
        QosClass::Burstable => format!("/kubepods/burstable/pod{uid}"),
        QosClass::BestEffort => format!("/kubepods/besteffort/pod{uid}"),
    }
}

/// What a pod's cgroup is set to.
pub(crate) fn settings(pod: &Pod, unified: bool) -> Vec<Setting> {
    let resources = pod_resources(pod);
    let shares = shares(resources.cpu_request);
    let quota = quota(resources.cpu_limit);
    let set = |controller, file, value: String| Setting {
        controller,
        file,
        value,
    };
    if unified {
        let max = if quota > 0 {
            quota.to_string()
        } else {
            "max".into()
        };
        let memory = if resources.memory_limit > 0 {
            resources.memory_limit.to_string()
        } else {
            "max".into()
        };
        vec![
            set("cpu", "cpu.weight", weight(shares).to_string()),
            set("cpu", "cpu.max", format!("{max} {CPU_PERIOD}")),
            set("memory", "memory.max", memory),
        ]
    } else {
        let unlimited = |value: i64| if value > 0 { value.to_string() } else { "-1".into() };
        vec![
            set("cpu", "cpu.shares", shares.to_string()),
            set("cpu", "cpu.cfs_period_us", CPU_PERIOD.to_string()),
            set("cpu", "cpu.cfs_quota_us", unlimited(quota)),
            set(
                "memory",
                "memory.limit_in_bytes",
                unlimited(resources.memory_limit),
            ),
        ]
    }
}

impl Cgroups {
    pub(crate) fn new(root: Option<&Path>) -> Self {
        let unified = root.is_some_and(|r| r.join("cgroup.controllers").exists());
        Self {
            root: root.map(Path::to_path_buf),
            unified,
        }
    }

    /// The parent cgroup to name to the runtime; empty when pods get none.
    pub(crate) fn parent(&self, pod: &Pod) -> String {
        if self.root.is_some() {
            pod_path(pod)
        } else {
            String::new()
        }
    }

    fn dirs(&self, path: &str) -> Vec<(&'static str, PathBuf)> {
        let Some(root) = &self.root else { return Vec::new() };
        let path = path.trim_start_matches('/');
        if self.unified {
            return vec![("", root.join(path))];
        }
        V1.iter()
            .filter(|c| root.join(c).is_dir())
            .map(|c| (*c, root.join(c).join(path)))
            .collect()
    }

    /// Makes the cgroups above pods. Called once, at the agent's start.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        for path in ["/kubepods", "/kubepods/burstable", "/kubepods/besteffort"] {
            for (_, dir) in self.dirs(path) {
                std::fs::create_dir_all(&dir)?;
            }
        }
        if self.unified
            && let Some(root) = &self.root
        {
            for path in ["", "kubepods", "kubepods/burstable", "kubepods/besteffort"] {
                delegate(&root.join(path));
            }
        }
        for (controller, dir) in self.dirs("/kubepods/besteffort") {
            let (file, value) = if self.unified {
                ("cpu.weight", "1")
            } else {
                ("cpu.shares", "2")
            };
            let file = dir.join(file);
            // Without the controller there is nothing to weigh.
            if (self.unified || controller == "cpu") && file.exists() {
                std::fs::write(file, value)?;
            }
        }
        Ok(())
    }

    /// Makes a pod's cgroup and sets its limits. Idempotent.
    pub(crate) fn ensure(&self, pod: &Pod) -> io::Result<()> {
        let dirs = self.dirs(&pod_path(pod));
        for (_, dir) in &dirs {
            std::fs::create_dir_all(dir)?;
            if self.unified {
                delegate(dir);
            }
        }
        for setting in settings(pod, self.unified) {
            for (controller, dir) in &dirs {
                if !controller.is_empty() && *controller != setting.controller {
                    continue;
                }
                let file = dir.join(setting.file);
                if file.exists() {
                    std::fs::write(&file, &setting.value).map_err(|e| {
                        io::Error::new(
                            e.kind(),
                            format!("cannot write {} to {}: {e}", setting.value, file.display()),
                        )
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Removes the cgroups of a pod, whatever its class was. What is still busy stays for the next time.
    pub(crate) fn remove(&self, uid: &str) {
        let Some(root) = &self.root else { return };
        let trees = if self.unified {
            vec![root.clone()]
        } else {
            trees(root)
        };
        for tree in trees {
            for class in ["", "burstable/", "besteffort/"] {
                remove_tree(&tree.join(format!("kubepods/{class}pod{uid}")));
            }
        }
    }
}

/// The trees of version 1. The runtime makes a pod's cgroup in every one of them, also where we set nothing.
fn trees(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_dir())
        .collect()
}

/// Hands the controllers on to the cgroups below; one that the kernel lacks is left out.
fn delegate(dir: &Path) {
    for controller in ["+cpu", "+memory", "+pids", "+cpuset", "+io"] {
        let _ = std::fs::write(dir.join("cgroup.subtree_control"), controller);
    }
}

fn remove_tree(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten().filter(|e| e.path().is_dir()) {
        remove_tree(&entry.path());
    }
    let _ = std::fs::remove_dir(dir);
}

#[cfg(test)]
mod tests;
