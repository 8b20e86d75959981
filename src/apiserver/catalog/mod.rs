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
    collections::HashMap,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use rkind_apimachinery::resources::{self, ResourceDef};

/// A resource of one group and version: a shared handle, cheap to clone.
#[derive(Clone)]
pub(crate) enum Def {
    Builtin(&'static ResourceDef),
    #[allow(dead_code, reason = "custom resources come with the next change")]
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
    #[allow(dead_code, reason = "custom resources come with the next change")]
    pub(crate) fn custom(&self) -> Option<&Arc<Custom>> {
        match self {
            Def::Builtin(_) => None,
            Def::Custom(custom) => Some(custom),
        }
    }
}

/// One version of a custom resource.
pub(crate) struct Custom {
    pub resource: ResourceDef,
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
}

impl Snapshot {
    /// Of resources in discovery's order: within a group, versions stand in the order of preference.
    pub(crate) fn new(defs: Vec<Def>) -> Snapshot {
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
        }
    }

    /// The built-in resources that are served by default.
    pub(crate) fn builtin() -> Snapshot {
        Snapshot::new(resources::builtin().iter().map(Def::Builtin).collect())
    }

    /// A resource by group, version and plural name.
    pub(crate) fn find(&self, group: &str, version: &str, resource: &str) -> Option<&Def> {
        self.by_resource
            .get(resource)?
            .iter()
            .find(|def| def.group == group && def.version == version)
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
    current: ArcSwap<Snapshot>,
}

impl Default for Catalog {
    fn default() -> Self {
        Catalog {
            current: ArcSwap::from_pointee(Snapshot::builtin()),
        }
    }
}

impl Catalog {
    /// What is served now, for a look in passing.
    pub(crate) fn now(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// What is served now, to keep.
    #[allow(dead_code, reason = "custom resources come with the next change")]
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// A resource by group, version and plural name.
    pub(crate) fn find(&self, group: &str, version: &str, resource: &str) -> Option<Def> {
        self.now().find(group, version, resource).cloned()
    }
}
