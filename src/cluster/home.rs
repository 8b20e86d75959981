//! The host's state directory: what a cluster was asked to be, and its secrets.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rkind_config::Cluster;
use rkind_driver::Network;
use rkind_pki::ClusterPkiPem;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;

/// `$RKIND_HOME`, else `~/.rkind`.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

/// What is known of a cluster beside its nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub cluster: Cluster,
    pub network: Network,
    /// On the host.
    pub api_port: u16,
}

/// Held while a cluster is changed; other processes are refused.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Home {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Home { root: root.into() }
    }

    /// `$RKIND_HOME`, else `~/.rkind`, else a directory below the current one.
    pub fn from_env() -> Self {
        let variable = std::env::var_os("RKIND_HOME")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from);
        let root = variable.or_else(|| dirs::home_dir().map(|home| home.join(".rkind")));
        Home::new(root.unwrap_or_else(|| PathBuf::from(".rkind")))
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    fn cluster_dir(&self, cluster: &str) -> PathBuf {
        self.root.join("clusters").join(cluster)
    }

    /// # Errors
    /// [`Error::Busy`] when another process holds it.
    pub fn lock(&self, cluster: &str) -> Result<Lock, Error> {
        let dir = self.root.join("locks");
        make_dir(&dir)?;
        let path = dir.join(format!("{cluster}.lock"));
        let file = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| Error::Io {
                action: "open",
                path: path.clone(),
                source,
            })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::Busy(cluster.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => Err(Error::Io {
                action: "lock",
                path,
                source,
            }),
        }
    }

    pub(crate) fn save(&self, record: &Record, pki: &ClusterPkiPem) -> Result<(), Error> {
        let dir = self.cluster_dir(&record.cluster.name);
        make_dir(&dir)?;
        write(&dir.join("pki.json"), pki)?;
        write(&dir.join("cluster.json"), record)
    }

    pub(crate) fn record(&self, cluster: &str) -> Result<Option<Record>, Error> {
        read(cluster, &self.cluster_dir(cluster).join("cluster.json"))
    }

    pub(crate) fn pki(&self, cluster: &str) -> Result<Option<ClusterPkiPem>, Error> {
        read(cluster, &self.cluster_dir(cluster).join("pki.json"))
    }

    /// Forgets a cluster; the last one leaves no directory behind.
    pub(crate) fn forget(&self, cluster: &str) -> Result<(), Error> {
        let dir = self.cluster_dir(cluster);
        match std::fs::remove_dir_all(&dir) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Io {
                    action: "delete",
                    path: dir,
                    source,
                });
            }
            _ => {}
        }
        let _ = std::fs::remove_file(self.root.join("locks").join(format!("{cluster}.lock")));
        // These fail while something is left in them, as they should.
        for dir in [
            self.root.join("clusters"),
            self.root.join("locks"),
            self.root.clone(),
        ] {
            let _ = std::fs::remove_dir(dir);
        }
        Ok(())
    }
}

fn make_dir(dir: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| Error::Io {
            action: "create",
            path: dir.to_owned(),
            source,
        })
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let failed = |source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let text = serde_json::to_vec_pretty(value).map_err(|e| failed(e.into()))?;
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
        .map_err(failed)?;
    file.write_all(&text)
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

fn read<T: DeserializeOwned>(cluster: &str, path: &Path) -> Result<Option<T>, Error> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Io {
                action: "read",
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_slice(&text).map(Some).map_err(|e| Error::State {
        cluster: cluster.to_owned(),
        path: path.to_owned(),
        message: e.to_string(),
    })
}
