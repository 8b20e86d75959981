//! Which built-in APIs are served: `--runtime-config` over upstream's defaults.
//! Upstream: `k8s.io/apiserver/pkg/server/resourceconfig`, `pkg/controlplane/instance.go`.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rkind_apimachinery::resources::{self, ResourceDef};

/// Groups and versions that upstream knows but has no resources of any more.
const EMPTY: [(&str, &str); 24] = [
    ("admission.k8s.io", "v1"),
    ("admission.k8s.io", "v1beta1"),
    ("apiextensions.k8s.io", "v1beta1"),
    ("apiregistration.k8s.io", "v1beta1"),
    ("apps", "v1beta1"),
    ("apps", "v1beta2"),
    ("authentication.k8s.io", "v1alpha1"),
    ("authentication.k8s.io", "v1beta1"),
    ("authorization.k8s.io", "v1beta1"),
    ("autoscaling", "v2beta1"),
    ("autoscaling", "v2beta2"),
    ("batch", "v1beta1"),
    ("discovery.k8s.io", "v1beta1"),
    ("events.k8s.io", "v1beta1"),
    ("extensions", "v1beta1"),
    ("flowcontrol.apiserver.k8s.io", "v1beta1"),
    ("flowcontrol.apiserver.k8s.io", "v1beta2"),
    ("flowcontrol.apiserver.k8s.io", "v1beta3"),
    ("imagepolicy.k8s.io", "v1alpha1"),
    ("node.k8s.io", "v1beta1"),
    ("policy", "v1beta1"),
    ("rbac.authorization.k8s.io", "v1beta1"),
    ("scheduling.k8s.io", "v1beta1"),
    ("storage.k8s.io", "v1alpha1"),
];

/// Why a runtime configuration is refused, in upstream's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("invalid key with only api/all=false")]
    Nothing,
    #[error("runtime-config invalid key {0}")]
    Key(String),
    #[error("unknown api groups {0}")]
    Groups(String),
    #[error("group version {0} that has not been registered")]
    Version(String),
    #[error("invalid value {0}={1}")]
    Switch(String, String),
    #[error("invalid value of {key}: {value}, err: strconv.ParseBool: parsing {value:?}: invalid syntax")]
    Value { key: String, value: String },
    #[error("invalid key {0}: group/version/resource and resource is always lowercase plural, not {1:?}")]
    Resource(String, String),
}

/// How mature a version is, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Maturity {
    Alpha,
    Beta,
    Stable,
}

fn maturity(version: &str) -> Maturity {
    match version {
        v if v.contains("alpha") => Maturity::Alpha,
        v if v.contains("beta") => Maturity::Beta,
        _ => Maturity::Stable,
    }
}

/// Which versions a key names.
type Which = fn(Maturity) -> bool;

/// The keys that name many versions, in the order in which they hold.
const MANY: [(&str, Which); 4] = [
    ("api/all", |_| true),
    ("api/ga", |m| m == Maturity::Stable),
    ("api/beta", |m| m == Maturity::Beta),
    ("api/alpha", |m| m == Maturity::Alpha),
];

/// The built-in resources that are served, in discovery's order.
#[derive(Debug)]
pub(crate) struct Enabled(Vec<&'static ResourceDef>);

impl Enabled {
    /// Upstream's defaults with the settings of a runtime configuration: key and value, later ones
    /// win.
    ///
    /// # Errors
    /// The first setting that upstream refuses.
    pub(crate) fn new(settings: &[(String, String)]) -> Result<Enabled, Error> {
        let settings: BTreeMap<&str, &str> = settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        if settings.len() == 1 && settings.get("api/all") == Some(&"false") {
            return Err(Error::Nothing);
        }
        let is_many = |key: &str| MANY.iter().any(|(many, _)| *many == key);
        let single: Vec<(&str, &str)> = settings
            .iter()
            .map(|(key, value)| (*key, *value))
            .filter(|(key, _)| !is_many(key))
            .collect();
        known_groups(single.iter().map(|(key, _)| *key))?;

        let mut served: Vec<bool> = resources::all().iter().map(|def| !def.off_by_default).collect();
        let mut set = |on: bool, which: &dyn Fn(&ResourceDef) -> bool| {
            for (served, def) in served.iter_mut().zip(resources::all()) {
                if which(def) {
                    *served = on;
                }
            }
        };
        for (key, which) in MANY {
            match settings.get(key) {
                None => {}
                Some(&"true") => set(true, &|def| which(maturity(def.version))),
                Some(&"false") => set(false, &|def| which(maturity(def.version))),
                Some(other) => return Err(Error::Switch(key.into(), (*other).into())),
            }
        }
        // Versions first: what is said of one resource has the last word.
        for length in [2, 3] {
            for (key, value) in &single {
                let parts: Vec<&str> = key.split('/').collect();
                if parts.len() != length {
                    continue;
                }
                let on = boolean(key, value)?;
                match *parts.as_slice() {
                    [group, version] => set(on, &|def| (def.group, def.version) == (group, version)),
                    [group, version, resource] => {
                        if resource.to_lowercase() != resource {
                            return Err(Error::Resource((*key).into(), resource.into()));
                        }
                        set(on, &|def| {
                            (def.group, def.version, def.resource) == (group, version, resource)
                        });
                    }
                    _ => {}
                }
            }
        }
        let all = resources::all().iter().zip(&served);
        Ok(Enabled(
            all.filter(|(_, served)| **served).map(|(def, _)| def).collect(),
        ))
    }

    /// The resources.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &'static ResourceDef> {
        self.0.iter().copied()
    }
}

fn known_groups<'a>(keys: impl Iterator<Item = &'a str> + Clone) -> Result<(), Error> {
    let mut unknown: Vec<&str> = Vec::new();
    let known = || {
        let served = resources::all().iter().map(|def| (def.group, def.version));
        served.chain(EMPTY)
    };
    for key in keys.clone() {
        let parts: Vec<&str> = key.split('/').collect();
        let ([group, _] | [group, _, _]) = *parts.as_slice() else {
            return Err(Error::Key(key.to_owned()));
        };
        if !known().any(|(known, _)| known == group) {
            unknown.push(group);
        }
    }
    if !unknown.is_empty() {
        return Err(Error::Groups(unknown.join(",")));
    }
    for key in keys {
        let mut parts = key.split('/');
        let named = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if !known().any(|known| known == named) {
            return Err(Error::Version(format!("{}/{}", named.0, named.1)));
        }
    }
    Ok(())
}

/// Go's `strconv.ParseBool`; nothing said is true.
fn boolean(key: &str, value: &str) -> Result<bool, Error> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::Value {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
    }
}
