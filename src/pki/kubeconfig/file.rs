//! Reading, and changing under a lock with an atomic replacement.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Error;

/// How long to wait for another program's lock.
const PATIENCE: Duration = Duration::from_secs(10);
/// A lock this old was left by a program that died: nobody edits that long.
const STALE: Duration = Duration::from_secs(60);

/// The file's content, `None` when it is absent or empty.
pub(super) fn read(path: &Path) -> Result<Option<Value>, Error> {
    let text = match std::fs::read_to_string(path) {
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
    if text.trim().is_empty() {
        return Ok(None);
    }
    let broken = |message: String| Error::Kubeconfig {
        path: path.to_owned(),
        message,
    };
    let value: Value = serde_saphyr::from_str(&text).map_err(|e| broken(e.without_snippet().to_string()))?;
    match value {
        Value::Object(_) => Ok(Some(value)),
        Value::Null => Ok(None),
        _ => Err(broken("it is not a mapping".to_owned())),
    }
}

pub(super) fn to_yaml(value: &Value) -> String {
    // A JSON value always has a YAML form; JSON itself is one.
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}

/// Changes `path`, which need not exist, while no other program does.
pub(super) fn edit(path: &Path, change: impl FnOnce(&mut Value)) -> Result<(), Error> {
    // A link stays a link: its target is replaced.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    };
    let dir = match target.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    std::fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
    let _lock = Lock::take(&target)?;
    let mut config = read(&target)?.unwrap_or_else(|| json!({"apiVersion": "v1", "kind": "Config"}));
    change(&mut config);
    if says_nothing(&config) {
        return match std::fs::remove_file(&target) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("delete", &target)(e)),
            _ => Ok(()),
        };
    }
    let mut file = tempfile::Builder::new()
        .prefix(".kubeconfig-")
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(&dir)
        .map_err(failed("write in", &dir))?;
    file.write_all(to_yaml(&config).as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed("write", file.path()))?;
    file.persist(&target)
        .map_err(|e| failed("replace", &target)(e.error))?;
    Ok(())
}

/// A file that holds nothing is the same as none: whoever made it with the first
/// cluster is rid of it with the last.
fn says_nothing(config: &Value) -> bool {
    config.as_object().is_some_and(|fields| {
        fields.iter().all(|(name, value)| match name.as_str() {
            "apiVersion" | "kind" => true,
            "clusters" | "contexts" | "users" => value.as_array().is_none_or(Vec::is_empty),
            "current-context" => value.as_str().is_some_and(str::is_empty),
            "preferences" => value.as_object().is_none_or(serde_json::Map::is_empty),
            _ => false,
        })
    })
}

/// `<file>.lock`, created exclusively: the way that kubectl locks.
struct Lock {
    path: PathBuf,
}

impl Lock {
    fn take(target: &Path) -> Result<Self, Error> {
        let mut name = target.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(1);
        loop {
            match std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
            {
                Ok(_) => return Ok(Lock { path }),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(source) => {
                    return Err(Error::Io {
                        action: "create",
                        path,
                        source,
                    });
                }
            }
            let age = std::fs::metadata(&path)
                .and_then(|m| m.modified())
                .ok()
                .and_then(|t| t.elapsed().ok());
            if age.is_some_and(|age| age > STALE) {
                let _ = std::fs::remove_file(&path);
            } else if Instant::now() > deadline {
                return Err(Error::Locked {
                    path: target.to_owned(),
                    lock: path,
                });
            } else {
                // kubectl's lock cannot be waited for: it is only a file's existence.
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
