//! Names of types and cheap access to `ObjectMeta` of a dynamic object
//! (`serde_json::Value`). Readers return empty for what is absent and never
//! fail; writers make `metadata` when it is missing.

use std::fmt;

use rand::Rng;
use serde_json::{Map, Value};

/// A resource within its group: `pods`, `deployments.apps`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    pub group: String,
    pub resource: String,
}

impl GroupResource {
    #[must_use]
    pub fn new(group: &str, resource: &str) -> Self {
        Self {
            group: group.into(),
            resource: resource.into(),
        }
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// Group, version and plural resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvr {
    pub group: String,
    pub version: String,
    pub resource: String,
}

impl Gvr {
    #[must_use]
    pub fn new(group: &str, version: &str, resource: &str) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
        }
    }

    #[must_use]
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(&self.group, &self.resource)
    }

    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }
}

impl fmt::Display for Gvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Resource={}", self.group, self.version, self.resource)
    }
}

/// Group, version and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvk {
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl Gvk {
    #[must_use]
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    /// What the object says of itself; empty parts where it says nothing.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let (group, version) = split_api_version(object["apiVersion"].as_str().unwrap_or(""));
        Self::new(group, version, object["kind"].as_str().unwrap_or(""))
    }

    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Group and kind, the key most per-kind rules are registered under.
    #[must_use]
    pub fn group_kind(&self) -> (&str, &str) {
        (&self.group, &self.kind)
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// Whether a group is one of Kubernetes' own; custom resources may well have
/// groups that end in `.k8s.io`.
#[must_use]
pub fn is_builtin_group(group: &str) -> bool {
    matches!(
        group,
        "" | "apps"
            | "autoscaling"
            | "batch"
            | "policy"
            | "admissionregistration.k8s.io"
            | "apiextensions.k8s.io"
            | "apiregistration.k8s.io"
            | "authentication.k8s.io"
            | "authorization.k8s.io"
            | "certificates.k8s.io"
            | "coordination.k8s.io"
            | "discovery.k8s.io"
            | "events.k8s.io"
            | "flowcontrol.apiserver.k8s.io"
            | "internal.apiserver.k8s.io"
            | "networking.k8s.io"
            | "node.k8s.io"
            | "rbac.authorization.k8s.io"
            | "resource.k8s.io"
            | "scheduling.k8s.io"
            | "storage.k8s.io"
            | "storagemigration.k8s.io"
    )
}

/// `v1` or `apps/v1`.
#[must_use]
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.into()
    } else {
        format!("{group}/{version}")
    }
}

/// `apps/v1` => (`apps`, `v1`), `v1` => (``, `v1`).
#[must_use]
pub fn split_api_version(s: &str) -> (&str, &str) {
    s.split_once('/').unwrap_or(("", s))
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or("")
}

macro_rules! text_accessors {
    ($($(#[$doc:meta])* $get:ident, $field:literal;)*) => {
        $($(#[$doc])* #[must_use] pub fn $get(object: &Value) -> &str { text(object, $field) })*
    };
}

text_accessors! {
    /// `metadata.name`
    name, "name";
    /// `metadata.generateName`
    generate_name, "generateName";
    /// `metadata.namespace`
    namespace, "namespace";
    /// `metadata.uid`
    uid, "uid";
    /// `metadata.resourceVersion`
    resource_version, "resourceVersion";
    /// `metadata.creationTimestamp`, RFC 3339
    creation_timestamp, "creationTimestamp";
    /// `metadata.deletionTimestamp`, RFC 3339
    deletion_timestamp, "deletionTimestamp";
}

/// Whether deletion has begun.
#[must_use]
pub fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// `metadata.generation`, 0 when absent.
#[must_use]
pub fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or(0)
}

/// `metadata.labels`.
#[must_use]
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object["metadata"]["labels"].as_object()
}

/// One label's value.
#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"][key].as_str()
}

/// `metadata.annotations`.
#[must_use]
pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object["metadata"]["annotations"].as_object()
}

/// One annotation's value.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// `metadata.ownerReferences`.
pub fn owner_references(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
}

/// The owner reference with `controller: true`.
#[must_use]
pub fn controller_of(object: &Value) -> Option<&Value> {
    owner_references(object).find(|r| r["controller"] == true)
}

/// `metadata` for writing, made when absent or of the wrong type.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    child_object(object, "metadata")
}

/// The object-valued field `name` of `object` for writing, made when absent
/// or of the wrong type; `object` itself becomes an object if it is none.
pub fn child_object<'a>(object: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    let child = as_map(object)
        .entry(name)
        .or_insert_with(|| Value::Object(Map::new()));
    as_map(child)
}

/// `v` as a map for writing; anything else is replaced by an empty map.
pub fn as_map(v: &mut Value) -> &mut Map<String, Value> {
    if !v.is_object() {
        *v = Value::Object(Map::new());
    }
    match v {
        Value::Object(m) => m,
        _ => unreachable!("made an object above"),
    }
}

/// Sets `metadata.<field>`.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    metadata_mut(object).insert(field.into(), value.into());
}

/// Removes `metadata.<field>`, returning what was there.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(field)
}

/// The alphabet of generated name suffixes: no vowels and no look-alikes, so
/// that no words come out.
const ALPHANUMS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A random suffix of `n` characters, as upstream's generated names have.
#[must_use]
pub fn random_suffix(n: usize) -> String {
    let mut rng = rand::rng();
    (0..n)
        .map(|_| char::from(ALPHANUMS[rng.random_range(0..ALPHANUMS.len())]))
        .collect()
}

/// A name from a `generateName` prefix: prefix (cut to 58 bytes) + 5 random
/// characters, 63 bytes at most.
#[must_use]
pub fn generated_name(base: &str) -> String {
    let mut end = base.len().min(58);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &base[..end], random_suffix(5))
}

/// A new random (v4) UID.
#[must_use]
pub fn new_uid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Now as `metav1.Time` prints it: whole seconds, `Z`.
#[must_use]
pub fn now() -> String {
    time(jiff::Timestamp::now())
}

/// A time as `metav1.Time` prints it.
#[must_use]
pub fn time(t: jiff::Timestamp) -> String {
    t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Parses an RFC 3339 time.
#[must_use]
pub fn parse_time(s: &str) -> Option<jiff::Timestamp> {
    s.parse().ok()
}

#[cfg(test)]
mod tests;
