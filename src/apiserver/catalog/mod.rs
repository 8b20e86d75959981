//! Which resources this server serves at this moment: the built-in ones and those that
//! CustomResourceDefinitions declare.
//!
//! A request takes one [`Snapshot`] and its [`Def`] from it: handles are shared and stay valid when
//! the catalog moves on. Discovery, OpenAPI and the caches read the newest snapshot.
//!
//! Group-versions that another server answers for (APIService) are no resources of this one: they
//! are not in here, the pipeline hands them on before it asks the catalog.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use rkind_apimachinery::{
    meta,
    resources::{self, ResourceDef},
};
use rkind_store::Revision;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::{
    apis::Enabled,
    cacher::{Cacher, Obj},
    core::Core,
    crd::{self, DEFINITIONS, Family, Version},
    discovery::Documents,
    registry::condition,
    request::RequestInfo,
};

/// A resource of one group and version: a shared handle, cheap to clone.
#[derive(Clone)]
pub(crate) enum Def {
    Builtin(&'static ResourceDef),
    Custom(Arc<Custom>),
}

impl Deref for Def {
    type Target = ResourceDef;

    fn deref(&self) -> &ResourceDef {
        match self {
            Def::Builtin(def) => def,
            Def::Custom(custom) => &custom.resource,
        }
    }
}

impl From<&'static ResourceDef> for Def {
    fn from(def: &'static ResourceDef) -> Def {
        Def::Builtin(def)
    }
}

impl Def {
    /// What its definition says; `None` for built-in resources.
    pub(crate) fn custom(&self) -> Option<&Arc<Custom>> {
        match self {
            Def::Builtin(_) => None,
            Def::Custom(custom) => Some(custom),
        }
    }
}

/// One served version of a custom resource.
pub(crate) struct Custom {
    pub resource: ResourceDef,
    /// All versions of it.
    pub family: Arc<Family>,
    /// Which of them this is.
    pub at: usize,
}

impl Custom {
    /// Schema and all else that the definition says of this version.
    pub(crate) fn version(&self) -> &Version {
        &self.family.versions[self.at]
    }

    /// Whether an object's stored bytes are what this version serves. A request that was under way when
    /// the definition changed still writes by the old one: its objects say so themselves.
    pub(crate) fn is_plain(&self, object: &Obj) -> bool {
        self.at == self.family.storage
            && object.written > self.family.since
            && object.is_of(self.resource.group, self.resource.version)
    }
}

/// A group of resources as discovery lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Empty for the core group.
    pub name: &'static str,
    pub priority: u32,
    /// Preferred first.
    pub versions: Vec<&'static str>,
}

/// Everything served at one moment.
pub(crate) struct Snapshot {
    defs: Vec<Def>,
    /// Core first, then by priority and name.
    groups: Vec<Group>,
    /// By plural name; the few of one name are told apart by a scan.
    by_resource: HashMap<&'static str, Vec<Def>>,
    /// The aggregated discovery documents of the named groups and of the core group, made when they
    /// are first asked for.
    pub(crate) documents: [OnceLock<Bytes>; 2],
    pub(crate) openapi: Documents,
}

impl Snapshot {
    /// Of resources in discovery's order: within a group, versions stand in the order of preference.
    /// Documents that stay as they were are taken from `before`.
    pub(crate) fn new(defs: Vec<Def>, before: Option<&Snapshot>) -> Snapshot {
        let openapi = Documents::new(&defs, before.map(|b| &b.openapi));
        let mut groups: Vec<Group> = Vec::new();
        let mut by_resource: HashMap<&'static str, Vec<Def>> = HashMap::new();
        for def in &defs {
            let known = groups.iter().position(|group| group.name == def.group);
            let at = known.unwrap_or_else(|| {
                groups.push(Group {
                    name: def.group,
                    priority: def.group_priority,
                    versions: Vec::new(),
                });
                groups.len() - 1
            });
            if !groups[at].versions.contains(&def.version) {
                groups[at].versions.push(def.version);
            }
            by_resource.entry(def.resource).or_default().push(def.clone());
        }
        groups.sort_by(|a, b| {
            let core_first = (!a.name.is_empty()).cmp(&!b.name.is_empty());
            core_first
                .then(b.priority.cmp(&a.priority))
                .then(a.name.cmp(b.name))
        });
        Snapshot {
            defs,
            groups,
            by_resource,
            documents: Default::default(),
            openapi,
        }
    }

    /// Built-in resources alone.
    pub(crate) fn builtin(apis: &Enabled) -> Snapshot {
        Snapshot::new(apis.resources().map(Def::Builtin).collect(), None)
    }

    /// A resource by group, version and plural name.
    pub(crate) fn find(&self, group: &str, version: &str, resource: &str) -> Option<&Def> {
        self.by_resource
            .get(resource)?
            .iter()
            .find(|def| def.group == group && def.version == version)
    }

    /// Whether what a request is for is one of these resources or their subresources.
    pub(crate) fn serves(&self, info: &RequestInfo) -> bool {
        self.find(&info.group, &info.version, &info.resource)
            .is_some_and(|def| info.subresource.is_empty() || def.subresource(&info.subresource).is_some())
    }

    /// All resources.
    pub(crate) fn all(&self) -> &[Def] {
        &self.defs
    }

    /// The resources of a group and version, in discovery's order.
    pub(crate) fn of<'a>(&'a self, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Def> {
        self.defs
            .iter()
            .filter(move |def| def.group == group && def.version == version)
    }

    /// All groups, core among them.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Versions of a group, preferred first; empty when there is no such group.
    pub(crate) fn versions(&self, group: &str) -> &[&'static str] {
        self.groups
            .iter()
            .find(|known| known.name == group)
            .map_or(&[], |known| &known.versions)
    }
}

/// The newest [`Snapshot`].
pub(crate) struct Catalog {
    builtin: Enabled,
    current: ArcSwap<Snapshot>,
    /// Which state of the definitions it shows, as their cache counts.
    shown: AtomicU64,
    known: Mutex<BTreeMap<String, Known>>,
}

/// A definition that is served.
struct Known {
    /// Of the definition when it was looked at.
    revision: Revision,
    /// Of everything that decides how it is served.
    digest: [u8; 32],
    prefix: String,
    /// Those that are served.
    defs: Vec<Def>,
    /// The one that objects are stored as.
    stored: Def,
    family: Arc<Family>,
}

impl Catalog {
    /// Without custom resources yet.
    pub(crate) fn new(builtin: Enabled) -> Self {
        Catalog {
            current: ArcSwap::from_pointee(Snapshot::builtin(&builtin)),
            builtin,
            shown: AtomicU64::new(u64::MAX),
            known: Mutex::default(),
        }
    }

    /// The built-in resources alone.
    pub(crate) fn builtin(&self) -> Snapshot {
        Snapshot::builtin(&self.builtin)
    }

    /// What is served now, for a look in passing.
    pub(crate) fn now(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// A resource by group, version and plural name.
    pub(crate) fn find(&self, group: &str, version: &str, resource: &str) -> Option<Def> {
        self.now().find(group, version, resource).cloned()
    }

    /// The resource as which a definition's objects are stored, whether that version is served or not.
    pub(crate) async fn stored(&self, definition: &str) -> Option<Def> {
        let known = self.known.lock().await;
        known.get(definition).map(|known| known.stored.clone())
    }

    /// Takes up what changed in definitions; everything that the definitions' cache holds is served
    /// when this returns.
    pub(crate) async fn refresh(&self, core: &Core) {
        let Some(cacher) = core.cache.cacher(DEFINITIONS) else {
            return;
        };
        if self.shown.load(Ordering::Acquire) == cacher.generation() {
            return;
        }
        let mut known = self.known.lock().await;
        let generation = cacher.generation();
        if self.shown.load(Ordering::Acquire) == generation {
            return;
        }
        let mut whole = true;
        let changed = self.update(core, &cacher, &mut known, &mut whole).await;
        if changed {
            let mut custom: Vec<Def> = known.values().flat_map(|k| k.defs.iter().cloned()).collect();
            custom.sort_by(|a, b| {
                a.group
                    .cmp(b.group)
                    .then_with(|| crd::order(a.version, b.version))
                    .then_with(|| a.resource.cmp(b.resource))
            });
            let builtin = self.builtin.resources().map(Def::Builtin);
            let before = self.current.load_full();
            let next = Snapshot::new(builtin.chain(custom).collect(), Some(&before));
            self.current.store(Arc::new(next));
        }
        // What could not be loaded is tried again when next asked for.
        if whole {
            self.shown.store(generation, Ordering::Release);
        }
    }

    /// Brings `known` up to the definitions in the cache; gives whether anything is served otherwise
    /// than before. `whole` becomes false when the objects of one could not be loaded.
    async fn update(
        &self,
        core: &Core,
        cacher: &Arc<Cacher>,
        known: &mut BTreeMap<String, Known>,
        whole: &mut bool,
    ) -> bool {
        let objects = cacher.snapshot(0).objects;
        let mut changed = false;
        let gone: Vec<String> = known
            .keys()
            .filter(|name| !objects.contains_key(name.as_str()))
            .cloned()
            .collect();
        for name in gone {
            changed |= forget(core, known, &name);
        }
        for (name, object) in objects.iter() {
            let before = known.get(&**name);
            if before.is_some_and(|k| k.revision == object.revision) {
                continue;
            }
            let definition = object.to_value();
            let terminating = meta::is_deleting(&definition);
            if !condition::is_true(&definition["status"], "Established") {
                changed |= forget(core, known, name);
                continue;
            }
            let digest = digest(&definition, terminating);
            if let Some(before) = known.get_mut(&**name)
                && before.digest == digest
            {
                before.revision = object.revision;
                continue;
            }
            // What was written up to now was checked and defaulted by the old definition.
            let since = if known.contains_key(&**name) {
                core.store.revision()
            } else {
                object.revision
            };
            match read(&definition, digest, since) {
                Ok((prefix, family)) => {
                    if let Err(error) = core.cache.add(&prefix).await {
                        tracing::error!(definition = %name, %error, "custom resources cannot be loaded");
                        *whole = false;
                        continue;
                    }
                    let entry = Known {
                        revision: object.revision,
                        digest,
                        prefix,
                        defs: family.resources(&definition, terminating),
                        stored: family.stored(&definition, terminating),
                        family,
                    };
                    if let Some(before) = known.insert(name.to_string(), entry) {
                        before.family.retired.cancel();
                    }
                }
                Err(why) => {
                    tracing::error!(definition = %name, %why, "a stored definition cannot be served");
                    forget(core, known, name);
                }
            }
            changed = true;
        }
        changed
    }
}

/// Serves a definition no longer; gives whether it was served.
fn forget(core: &Core, known: &mut BTreeMap<String, Known>, name: &str) -> bool {
    let Some(gone) = known.remove(name) else {
        return false;
    };
    core.cache.remove(&gone.prefix);
    gone.family.retired.cancel();
    true
}

/// What decides how a definition is served.
fn digest(definition: &Value, terminating: bool) -> [u8; 32] {
    let decides = json!([
        definition["spec"],
        definition["status"]["acceptedNames"],
        terminating,
        definition["metadata"]["uid"]
    ]);
    Sha256::digest(serde_json::to_vec(&decides).unwrap_or_default()).into()
}

fn read(definition: &Value, digest: [u8; 32], since: Revision) -> Result<(String, Arc<Family>), String> {
    let family = Arc::new(Family::parse(definition, digest, since).map_err(|errors| errors.to_string())?);
    let prefix = format!(
        "{}/{}",
        definition["spec"]["group"].as_str().unwrap_or_default(),
        definition["spec"]["names"]["plural"].as_str().unwrap_or_default()
    );
    if resources::all().iter().any(|def| def.storage_prefix == prefix) {
        return Err(format!("{prefix} is built in"));
    }
    Ok((prefix, family))
}
