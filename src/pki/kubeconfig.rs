//! Kubeconfig files: building one, and living in the user's.
//!
//! Which file is used follows kubectl:
//! <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>.
//! Everything that is not ours stays as it was; comments do not survive, as with
//! kubectl.

mod file;
mod locate;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::Error;
pub use locate::Locations;

/// Marks the entries that are ours, in the way other tools mark theirs.
const EXTENSION: &str = "rkind.dev/cluster";

/// How to reach one cluster as one user.
#[derive(Clone, Debug)]
pub struct Access<'a> {
    /// Name of the cluster, user and context entries.
    pub name: &'a str,
    /// `https://host:port`
    pub server: &'a str,
    pub ca_pem: &'a str,
    pub cert_pem: &'a str,
    pub key_pem: &'a str,
}

impl Access<'_> {
    /// A kubeconfig with nothing else in it, as YAML.
    pub fn to_yaml(&self) -> String {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [self.cluster()],
            "contexts": [self.context()],
            "current-context": self.name,
            "users": [self.user()],
        });
        file::to_yaml(&config)
    }

    fn cluster(&self) -> Value {
        json!({"name": self.name, "cluster": {
            "server": self.server,
            "certificate-authority-data": encode(self.ca_pem),
            "extensions": [mark()],
        }})
    }

    fn context(&self) -> Value {
        json!({"name": self.name, "context": {
            "cluster": self.name,
            "user": self.name,
            "extensions": [mark()],
        }})
    }

    fn user(&self) -> Value {
        json!({"name": self.name, "user": {
            "client-certificate-data": encode(self.cert_pem),
            "client-key-data": encode(self.key_pem),
        }})
    }
}

fn encode(pem: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(pem)
}

fn mark() -> Value {
    json!({"name": EXTENSION, "extension": {"provider": "rkind.dev"}})
}

/// The three lists of named entries, and the key that each entry's content has.
const LISTS: [(&str, &str); 3] = [
    ("clusters", "cluster"),
    ("contexts", "context"),
    ("users", "user"),
];

/// Whether [`merge`] would overwrite something that rkind did not make.
///
/// # Errors
/// [`Error::Foreign`] names it; [`Error::Kubeconfig`] when a file is broken.
pub fn check(locations: &Locations, name: &str) -> Result<(), Error> {
    for path in locations.files() {
        if let Some(config) = file::read(path)? {
            refuse_foreign(path, &config, name)?;
        }
    }
    Ok(())
}

/// Writes the entries of `access`, replacing older ones of the same name where
/// they are, and makes it the current context if `make_current`. Returns the
/// file that now has the context.
///
/// # Errors
/// [`Error::Foreign`], [`Error::Kubeconfig`], [`Error::Locked`], [`Error::Io`].
pub fn merge(locations: &Locations, access: &Access<'_>, make_current: bool) -> Result<PathBuf, Error> {
    let target = locations.default_file();
    let mut owner = target.clone();
    let entries = [access.cluster(), access.context(), access.user()];
    let mut placed = [false; 3];
    let mut current_file = None;
    for path in locations.files() {
        let Some(config) = file::read(path)? else { continue };
        refuse_foreign(path, &config, access.name)?;
        if current_file.is_none()
            && config
                .get("current-context")
                .and_then(Value::as_str)
                .is_some_and(|c| !c.is_empty())
        {
            current_file = Some(path.clone());
        }
        let here: Vec<usize> = (0..3)
            .filter(|i| !placed[*i] && find(&config, LISTS[*i].0, access.name).is_some())
            .collect();
        if here.is_empty() {
            continue;
        }
        file::edit(path, |config| {
            for i in &here {
                put(config, LISTS[*i].0, &entries[*i]);
            }
        })?;
        for i in here {
            placed[i] = true;
            if i == 1 {
                owner.clone_from(path);
            }
        }
    }
    if placed.contains(&false) {
        file::edit(&target, |config| {
            for i in (0..3).filter(|i| !placed[*i]) {
                put(config, LISTS[i].0, &entries[i]);
            }
        })?;
    }
    if make_current {
        file::edit(&current_file.unwrap_or(target), |config| {
            config["current-context"] = json!(access.name);
        })?;
    }
    Ok(owner)
}

/// Takes our entries named `name` out of every file; the current context is
/// unset if it was this one, and a file with nothing left in it is deleted. Entries that rkind did not make stay. Returns the
/// files that changed.
///
/// # Errors
/// [`Error::Kubeconfig`], [`Error::Locked`], [`Error::Io`].
pub fn remove(locations: &Locations, name: &str) -> Result<Vec<PathBuf>, Error> {
    let mut changed = Vec::new();
    let mut context_removed = false;
    for path in locations.files() {
        let Some(config) = file::read(path)? else { continue };
        let ours = |list, key| find(&config, list, name).is_some_and(|entry| is_ours(entry, key));
        let (cluster, context) = (ours("clusters", "cluster"), ours("contexts", "context"));
        // A user entry has no place for a mark: it goes with its context.
        context_removed |= context;
        let user = context && find(&config, "users", name).is_some();
        if cluster || context || user {
            file::edit(path, |config| {
                for (list, gone) in [("clusters", cluster), ("contexts", context), ("users", user)] {
                    if gone {
                        drop_entry(config, list, name);
                    }
                }
            })?;
            changed.push(path.clone());
        }
    }
    if context_removed {
        for path in locations.files() {
            let Some(config) = file::read(path)? else { continue };
            if config.get("current-context").and_then(Value::as_str) == Some(name) {
                file::edit(path, |config| config["current-context"] = json!(""))?;
                if !changed.contains(path) {
                    changed.push(path.clone());
                }
            }
        }
    }
    Ok(changed)
}

/// The context that kubectl would use, if any.
///
/// # Errors
/// [`Error::Kubeconfig`], [`Error::Io`].
pub fn current_context(locations: &Locations) -> Result<Option<String>, Error> {
    for path in locations.files() {
        let config = file::read(path)?;
        let current = config
            .as_ref()
            .and_then(|c| c.get("current-context"))
            .and_then(Value::as_str);
        if let Some(current) = current.filter(|c| !c.is_empty()) {
            return Ok(Some(current.to_owned()));
        }
    }
    Ok(None)
}

/// Whether some file has a context named `name` that is ours.
///
/// # Errors
/// [`Error::Kubeconfig`], [`Error::Io`].
pub fn has_context(locations: &Locations, name: &str) -> Result<bool, Error> {
    for path in locations.files() {
        let config = file::read(path)?;
        if config
            .as_ref()
            .and_then(|c| find(c, "contexts", name))
            .is_some_and(|e| is_ours(e, "context"))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn find<'v>(config: &'v Value, list: &str, name: &str) -> Option<&'v Value> {
    config
        .get(list)?
        .as_array()?
        .iter()
        .find(|e| e.get("name").and_then(Value::as_str) == Some(name))
}

fn put(config: &mut Value, list: &str, entry: &Value) {
    if !config[list].is_array() {
        config[list] = json!([]);
    }
    let Some(entries) = config[list].as_array_mut() else {
        return;
    };
    match entries.iter_mut().find(|e| e.get("name") == entry.get("name")) {
        Some(old) => *old = entry.clone(),
        None => entries.push(entry.clone()),
    }
}

fn drop_entry(config: &mut Value, list: &str, name: &str) {
    if let Some(entries) = config.get_mut(list).and_then(Value::as_array_mut) {
        entries.retain(|e| e.get("name").and_then(Value::as_str) != Some(name));
    }
}

fn is_ours(entry: &Value, key: &str) -> bool {
    let extensions = entry
        .get(key)
        .and_then(|e| e.get("extensions"))
        .and_then(Value::as_array);
    extensions.is_some_and(|list| {
        list.iter()
            .any(|e| e.get("name").and_then(Value::as_str) == Some(EXTENSION))
    })
}

fn refuse_foreign(path: &Path, config: &Value, name: &str) -> Result<(), Error> {
    for (list, key) in &LISTS[..2] {
        if find(config, list, name).is_some_and(|entry| !is_ours(entry, key)) {
            return Err(Error::Foreign {
                path: path.to_owned(),
                entry: key,
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}
