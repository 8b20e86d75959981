//! A CustomResourceDefinition, read once for all the requests it will serve.

use std::sync::Arc;

use rkind_apimachinery::{
    field::{ErrorList, Path},
    jsonpath::{self, JsonPath},
    resources::{ResourceDef, Subresource, intern},
    structural::Structural,
};
use rkind_store::Revision;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::cel::Rules;
use crate::catalog::{Custom, Def};

/// Discovery lists groups of custom resources after the built-in ones.
const GROUP_PRIORITY: u32 = 1000;
/// In upstream's order.
const VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];
/// What can be done while the definition is being deleted.
const LAST_VERBS: [&str; 7] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// All versions of a custom resource.
pub(crate) struct Family {
    /// Changes whenever the definition does, in hexadecimal.
    pub digest: String,
    pub namespaced: bool,
    /// All versions, those not served among them.
    pub versions: Vec<Version>,
    /// Index of the stored version.
    pub storage: usize,
    /// `spec.conversion` when its strategy is `Webhook`.
    pub webhook: Option<Value>,
    /// Objects written after this revision are stored in the stored version, pruned and defaulted by
    /// the schemas of today: their bytes can be served as they are.
    pub since: Revision,
    /// Cancelled when the definition changes or goes: watches end, clients start them anew.
    pub retired: CancellationToken,
}

/// One version of a custom resource.
pub(crate) struct Version {
    pub name: &'static str,
    pub schema: Structural,
    /// `x-kubernetes-validations` of the schema.
    pub rules: Option<Rules>,
    /// `openAPIV3Schema` as it was given, for OpenAPI documents.
    pub source: Arc<Value>,
    /// Status is a subresource.
    pub status: bool,
    pub scale: Option<Scale>,
    pub columns: Vec<Column>,
    pub selectable: Vec<Selectable>,
    /// `Warning` of every response.
    pub deprecated: Option<&'static str>,
}

/// Where the scale subresource's fields stand.
pub(crate) struct Scale {
    pub spec: Vec<String>,
    pub status: Vec<String>,
    pub selector: Vec<String>,
    /// As written, for messages.
    pub spec_text: String,
    pub status_text: String,
    pub selector_text: String,
}

/// A column of a Table.
pub(crate) struct Column {
    pub name: String,
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    /// As written.
    pub text: String,
    /// `None` for what is no path: the cell stays empty.
    pub path: Option<JsonPath>,
}

/// A field that selectors may name.
pub(crate) struct Selectable {
    /// Without the leading dot.
    pub label: String,
    pub path: Vec<String>,
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn names(value: &Value) -> Vec<&'static str> {
    list(value).iter().filter_map(Value::as_str).map(intern).collect()
}

impl Family {
    /// Reads a definition.
    ///
    /// # Errors
    /// When a schema is not structural; validation does not let such a one in.
    pub(crate) fn parse(definition: &Value, digest: [u8; 32], since: Revision) -> Result<Family, ErrorList> {
        let spec = &definition["spec"];
        let versions = list(&spec["versions"])
            .iter()
            .map(|version| Version::parse(version, spec))
            .collect::<Result<Vec<_>, _>>()?;
        let storage = list(&spec["versions"])
            .iter()
            .position(|v| v["storage"] == true)
            .unwrap_or(0);
        let webhook = (spec["conversion"]["strategy"] == "Webhook").then(|| spec["conversion"].clone());
        Ok(Family {
            digest: digest.iter().map(|b| format!("{b:02x}")).collect(),
            namespaced: spec["scope"] == "Namespaced",
            versions,
            storage,
            webhook,
            since,
            retired: CancellationToken::new(),
        })
    }

    /// The resources that the definition declares, one for each served version.
    pub(crate) fn resources(self: &Arc<Family>, definition: &Value, terminating: bool) -> Vec<Def> {
        list(&definition["spec"]["versions"])
            .iter()
            .enumerate()
            .filter(|(_, version)| version["served"] == true)
            .map(|(at, _)| self.of_version(at, definition, terminating))
            .collect()
    }

    /// The resource of the version that objects are stored in, served or not.
    pub(crate) fn stored(self: &Arc<Family>, definition: &Value, terminating: bool) -> Def {
        self.of_version(self.storage, definition, terminating)
    }

    fn of_version(self: &Arc<Family>, at: usize, definition: &Value, terminating: bool) -> Def {
        let (spec, accepted) = (&definition["spec"], &definition["status"]["acceptedNames"]);
        Def::Custom(Arc::new(Custom {
            resource: self.resource(at, spec, accepted, terminating),
            family: self.clone(),
            at,
        }))
    }

    fn resource(&self, at: usize, spec: &Value, accepted: &Value, terminating: bool) -> ResourceDef {
        let group = intern(text(spec, "group"));
        let plural = intern(text(accepted, "plural"));
        let kind = intern(text(accepted, "kind"));
        let list_kind = intern(text(accepted, "listKind"));
        let own = &self.versions[at];
        let reversed: Vec<&str> = group.rsplit('.').collect();
        let package = format!("{}.{}", reversed.join("."), own.name);
        let type_name = intern(&format!("{package}.{kind}"));
        let mut subresources = Vec::new();
        if own.status {
            subresources.push(Subresource {
                name: "status",
                group,
                version: own.name,
                kind,
                type_name,
                verbs: vec!["get", "patch", "update"],
            });
        }
        if own.scale.is_some() {
            subresources.push(Subresource {
                name: "scale",
                group: "autoscaling",
                version: "v1",
                kind: "Scale",
                type_name: crate::registry::scale::TYPE,
                verbs: vec!["get", "patch", "update"],
            });
        }
        ResourceDef {
            group,
            version: own.name,
            resource: plural,
            kind,
            list_kind,
            singular: intern(text(accepted, "singular")),
            short_names: names(&accepted["shortNames"]),
            categories: names(&accepted["categories"]),
            namespaced: self.namespaced,
            type_name,
            list_type_name: intern(&format!("{package}.{list_kind}")),
            verbs: if terminating {
                LAST_VERBS.to_vec()
            } else {
                VERBS.to_vec()
            },
            subresources,
            storage_prefix: intern(&format!("{group}/{plural}")),
            storage_group: group,
            storage_version: self.versions[self.storage].name,
            group_priority: GROUP_PRIORITY,
            off_by_default: false,
        }
    }
}

impl Version {
    fn parse(version: &Value, spec: &Value) -> Result<Version, ErrorList> {
        let source = version["schema"]["openAPIV3Schema"].clone();
        let schema = Structural::parse(&source, &Path::new("openAPIV3Schema"))?;
        let sub = &version["subresources"];
        let scale = sub["scale"].is_object().then(|| Scale {
            spec: jsonpath::simple(text(&sub["scale"], "specReplicasPath")),
            status: jsonpath::simple(text(&sub["scale"], "statusReplicasPath")),
            selector: jsonpath::simple(text(&sub["scale"], "labelSelectorPath")),
            spec_text: text(&sub["scale"], "specReplicasPath").to_owned(),
            status_text: text(&sub["scale"], "statusReplicasPath").to_owned(),
            selector_text: text(&sub["scale"], "labelSelectorPath").to_owned(),
        });
        let mut columns: Vec<Column> = list(&version["additionalPrinterColumns"])
            .iter()
            .map(Column::parse)
            .collect();
        if columns.is_empty() {
            columns.push(Column::age());
        }
        let selectable = list(&version["selectableFields"]).iter().map(|field| {
            let path = text(field, "jsonPath");
            Selectable {
                label: path.trim_start_matches('.').to_owned(),
                path: jsonpath::simple(path),
            }
        });
        Ok(Version {
            name: intern(text(version, "name")),
            schema,
            rules: Rules::compile(&source),
            source: Arc::new(source),
            status: sub["status"].is_object(),
            scale,
            columns,
            selectable: selectable.collect(),
            deprecated: deprecated(version, spec).map(|warning| intern(&warning)),
        })
    }
}

impl Column {
    fn parse(column: &Value) -> Column {
        Column {
            name: text(column, "name").to_owned(),
            kind: text(column, "type").to_owned(),
            format: text(column, "format").to_owned(),
            description: text(column, "description").to_owned(),
            priority: column["priority"].as_i64().unwrap_or(0),
            text: text(column, "jsonPath").to_owned(),
            path: JsonPath::parse(text(column, "jsonPath")).ok(),
        }
    }

    /// The column of a version that names none.
    fn age() -> Column {
        Column {
            name: "Age".into(),
            kind: "date".into(),
            format: String::new(),
            description: "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata".into(),
            priority: 0,
            text: ".metadata.creationTimestamp".into(),
            path: JsonPath::parse(".metadata.creationTimestamp").ok(),
        }
    }
}

/// The warning of a deprecated version: the definition's own, or that there is a better one.
fn deprecated(version: &Value, spec: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(own) = version["deprecationWarning"].as_str() {
        return Some(own.to_owned());
    }
    let (group, kind) = (text(spec, "group"), text(&spec["names"], "kind"));
    let name = text(version, "name");
    let mut better: Vec<&str> = list(&spec["versions"])
        .iter()
        .filter(|v| v["served"] == true && v["deprecated"] != true)
        .map(|v| text(v, "name"))
        .filter(|other| super::order(other, name).is_lt())
        .collect();
    better.sort_by(|a, b| super::order(a, b));
    Some(match better.first() {
        Some(newer) => format!("{group}/{name} {kind} is deprecated; use {group}/{newer} {kind}"),
        None => format!("{group}/{name} {kind} is deprecated"),
    })
}
