//! Which resources exist: plural names, kinds, verbs and subresources of every group and version.
//!
//! The facts stand in `resources/v1.35.txt` (form: `resources/parse.rs`); what discovery answers, what RBAC
//! may name and where objects are stored is read from here.

mod parse;

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::schema::{Schema, TypeDef};

pub use parse::ParseError;

static BUILTIN: LazyLock<Vec<ResourceDef>> = LazyLock::new(|| {
    parse::parse(include_str!("resources/v1.35.txt"))
        .expect("the resource table in this binary is well formed")
});

/// All built-in resources that are served by default, by group in discovery's order (core first), then by
/// version (preferred first), then by name.
pub fn builtin() -> &'static [ResourceDef] {
    static SERVED: LazyLock<Vec<ResourceDef>> = LazyLock::new(|| {
        BUILTIN
            .iter()
            .filter(|def| !def.off_by_default)
            .cloned()
            .collect()
    });
    &SERVED
}

/// All resources the binary has types for, those that need `--runtime-config` included; in the order of
/// [`builtin`].
pub fn all() -> &'static [ResourceDef] {
    &BUILTIN
}

/// A name that lives as long as the process: what a definition calls its resources. Each distinct text is
/// kept once, however often definitions come and go.
pub fn intern(text: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(text) {
        return known;
    }
    let name: &'static str = text.to_owned().leak();
    names.insert(name);
    name
}

/// One resource of one group and version.
#[derive(Debug, Clone)]
pub struct ResourceDef {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    /// Plural name, as in URLs.
    pub resource: &'static str,
    pub kind: &'static str,
    pub list_kind: &'static str,
    pub singular: &'static str,
    pub short_names: Vec<&'static str>,
    pub categories: Vec<&'static str>,
    pub namespaced: bool,
    /// Name of the kind's type in [`Schema`].
    pub type_name: &'static str,
    /// Name of the list kind's type in [`Schema`]; it exists only when `verbs` has `list`.
    pub list_type_name: &'static str,
    /// Sorted, as discovery lists them.
    pub verbs: Vec<&'static str>,
    /// Sorted by name.
    pub subresources: Vec<Subresource>,
    /// `<group>/<resource>` of the resource whose objects these are, `core` standing for the core group:
    /// `events.k8s.io` serves what the core group stores.
    pub storage_prefix: &'static str,
    /// Group in whose form objects are stored; differs from `group` only where groups share storage.
    pub storage_group: &'static str,
    /// Version in whose form objects are stored.
    pub storage_version: &'static str,
    /// Discovery lists groups by descending priority, then by name; core is no group of that list.
    pub group_priority: u32,
    /// Served only when `--runtime-config` asks for it.
    pub off_by_default: bool,
}

/// What stands behind an object's name in a URL.
#[derive(Debug, Clone)]
pub struct Subresource {
    pub name: &'static str,
    /// Group, version and kind of the body; they are the resource's own for `status`.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub type_name: &'static str,
    pub verbs: Vec<&'static str>,
}

impl ResourceDef {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// The kind's fields.
    pub fn type_def(&self) -> &'static TypeDef {
        Schema::get()
            .type_by_name(self.type_name)
            .expect("a test proves that every resource has a type")
    }

    /// Whether the resource itself (not a subresource) answers to a verb.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// Discovery's opaque mark of the stored version; `None` for what is never stored.
    pub fn storage_version_hash(&self) -> Option<String> {
        if !self.has_verb("watch") {
            return None;
        }
        let stored = format!("{}/{}/{}", self.storage_group, self.storage_version, self.kind);
        Some(STANDARD.encode(&Sha256::digest(stored)[..8]))
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources
            .iter()
            .find(|subresource| subresource.name == name)
    }

    /// `/api/v1` or `/apis/<group>/<version>`.
    pub fn root_path(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }
}

/// `version` in the core group (empty name), else `group/version`.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The resource of this group, version and plural name, among those served by default.
pub fn find(group: &str, version: &str, resource: &str) -> Option<&'static ResourceDef> {
    builtin()
        .iter()
        .find(|def| def.group == group && def.version == version && def.resource == resource)
}

/// The resource whose objects have this kind, among all the binary has types for.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static ResourceDef> {
    all()
        .iter()
        .find(|def| def.group == group && def.version == version && def.kind == kind)
}

/// The type of objects that call themselves so: kinds, their lists, bodies of subresources, and the kinds of
/// `meta.k8s.io` that every group has (`Status`, `DeleteOptions`, `Table` ...).
pub fn type_of(group: &str, version: &str, kind: &str) -> Option<&'static TypeDef> {
    let schema = Schema::get();
    let row = all()
        .iter()
        .find(|def| def.group == group && def.version == version);
    let own = row.and_then(|def| {
        let package = def.type_name.strip_suffix(def.kind)?;
        schema.type_by_name(&format!("{package}{kind}"))
    });
    own.filter(|def| def.field("apiVersion").is_some_and(|field| field.tag == 0))
        .or_else(|| {
            let meta = schema.type_by_name(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"))?;
            (meta.field("apiVersion").is_some_and(|field| field.tag == 0) || kind == "WatchEvent")
                .then_some(meta)
        })
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

/// Kinds whose deletion is answered with the object (upstream's `ReturnDeletedObject`); others with a
/// `Status`.
#[must_use]
pub fn returns_deleted(group: &str, kind: &str) -> bool {
    match group {
        "" => matches!(
            kind,
            "PersistentVolume"
                | "PersistentVolumeClaim"
                | "Pod"
                | "PodTemplate"
                | "ResourceQuota"
                | "Service"
                | "ServiceAccount"
        ),
        "storage.k8s.io" => kind != "CSIStorageCapacity",
        "resource.k8s.io" => true,
        _ => false,
    }
}
