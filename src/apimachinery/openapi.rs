//! OpenAPI v2 and v3 documents, made from the schema and the table of resources.
//!
//! In: resources, built-in and custom; for custom ones, their definitions. Out: JSON trees that kubectl's
//! apply, explain, diff and server-side validation read, and both in gnostic's protobuf form, which for v2 is
//! the only one that client-go's `OpenAPISchema` accepts. Names, extensions (`x-kubernetes-*`) and operations are
//! upstream's; texts come from [`Descriptions`], which [`Texts`] are.
//!
//! Making a document takes milliseconds: the caller keeps the bytes.

mod definitions;
mod gnostic;
mod operations;
mod parameters;
mod paths;
mod texts;

use serde_json::{Map, Value, json};

use crate::resources::ResourceDef;
use definitions::Definitions;

pub use gnostic::{v2_to_protobuf, v3::v3_to_protobuf};
pub use texts::Texts;

/// What clients put into Accept for [`v2_to_protobuf`]'s bytes: older ones the second form.
pub const V2_PROTOBUF_ACCEPT: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];

/// The Content-Type of those bytes: clients can't parse the form with `@` there.
pub const V2_PROTOBUF: &str = V2_PROTOBUF_ACCEPT[0];

/// As [`V2_PROTOBUF_ACCEPT`], for [`v3_to_protobuf`]'s bytes.
pub const V3_PROTOBUF_ACCEPT: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
];

/// The Content-Type of those bytes.
pub const V3_PROTOBUF: &str = V3_PROTOBUF_ACCEPT[0];

/// Where texts for humans come from.
pub trait Descriptions {
    /// What a type is for, by its OpenAPI name.
    fn of_type(&self, name: &str) -> Option<String>;
    /// What a field of a type is for.
    fn of_field(&self, type_name: &str, field: &str) -> Option<String>;
}

/// No texts at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDescriptions;

impl Descriptions for NoDescriptions {
    fn of_type(&self, _: &str) -> Option<String> {
        None
    }

    fn of_field(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

/// A type that is not in the built-in schema: a custom resource's.
#[derive(Debug, Clone)]
pub struct CustomDefinition {
    /// OpenAPI name, such as `com.example.v1.Widget`; a [`ResourceDef`] refers to it as `type_name`.
    pub name: String,
    /// The JSON schema, references in v3's form (`#/components/schemas/...`).
    pub schema: Value,
}

/// The two forms a document can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// A reference to a definition.
    fn reference(self, name: &str) -> Value {
        let prefix = match self {
            Dialect::V2 => "#/definitions/",
            Dialect::V3 => "#/components/schemas/",
        };
        json!({ "$ref": format!("{prefix}{name}") })
    }
}

/// The document behind `/openapi/v2`: all groups in one.
pub fn v2(
    resources: &[ResourceDef],
    custom: &[CustomDefinition],
    texts: &dyn Descriptions,
    version: &str,
) -> Value {
    let mut definitions = Definitions::new(Dialect::V2, resources, custom, texts);
    let mut paths = Map::new();
    for group_version in group_versions(resources) {
        paths.extend(paths::of_group_version(
            &group_version,
            &mut definitions,
            Dialect::V2,
        ));
    }
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": minor(version) },
        "paths": paths,
        "definitions": definitions.finish(),
        "securityDefinitions": {
            "BearerToken": {
                "description": "Bearer Token authentication",
                "in": "header",
                "name": "authorization",
                "type": "apiKey",
            },
        },
        "security": [{ "BearerToken": [] }],
    })
}

/// The document behind `/openapi/v3/api/v1` or `/openapi/v3/apis/<group>/<version>`; `resources` may hold
/// other groups' too, they are left out.
pub fn v3(
    group: &str,
    version: &str,
    resources: &[ResourceDef],
    custom: &[CustomDefinition],
    texts: &dyn Descriptions,
    kubernetes_version: &str,
) -> Value {
    let mut definitions = Definitions::new(Dialect::V3, resources, custom, texts);
    let mut paths = Map::new();
    for group_version in group_versions(resources) {
        if group_version.group == group && group_version.version == version {
            paths.extend(paths::of_group_version(
                &group_version,
                &mut definitions,
                Dialect::V3,
            ));
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": minor(kubernetes_version) },
        "paths": paths,
        "components": {
            "schemas": definitions.finish(),
            "securitySchemes": {
                "BearerToken": {
                    "description": "Bearer Token authentication",
                    "in": "header",
                    "name": "authorization",
                    "type": "apiKey",
                },
            },
        },
    })
}

/// `1.35` of `v1.35.0`: documents are of a minor version.
fn minor(version: &str) -> &str {
    let version = version.trim_start_matches('v');
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}

/// The document behind `/openapi/v3`: where each group and version's document lies. `hash` gives the tag of
/// a document's content by its path (`apis/apps/v1`), which lets clients cache it for ever.
pub fn v3_index(resources: &[ResourceDef], hash: impl Fn(&str) -> String) -> Value {
    let mut paths = Map::new();
    for group_version in group_versions(resources) {
        let path = group_version.path();
        let url = format!("/openapi/v3/{path}?hash={}", hash(&path));
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": paths })
}

/// The resources of one group and version.
pub(crate) struct GroupVersion<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) resources: Vec<&'a ResourceDef>,
}

impl GroupVersion<'_> {
    /// `api/v1` or `apis/apps/v1`.
    fn path(&self) -> String {
        if self.group.is_empty() {
            format!("api/{}", self.version)
        } else {
            format!("apis/{}/{}", self.group, self.version)
        }
    }
}

fn group_versions(resources: &[ResourceDef]) -> Vec<GroupVersion<'_>> {
    let mut out: Vec<GroupVersion<'_>> = Vec::new();
    for def in resources {
        match out
            .iter_mut()
            .find(|have| have.group == def.group && have.version == def.version)
        {
            Some(have) => have.resources.push(def),
            None => {
                out.push(GroupVersion {
                    group: def.group,
                    version: def.version,
                    resources: vec![def],
                });
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
