//! One operation in either dialect.

use serde_json::{Map, Value, json};

use super::definitions::Definitions;
use super::{Dialect, parameters};
use crate::meta::is_builtin_group;
use crate::resources::ResourceDef;

/// What answers are offered as.
const PRODUCES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// What answers about custom resources are offered as.
const PRODUCES_CUSTOM: &[&str] = &["application/json", "application/yaml"];

/// What a watch is offered as.
const STREAMS: &[&str] = &[
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

/// What a patch may be; the last is not for custom resources, and kubectl looks here whether it is.
const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::Put => "put",
            Method::Post => "post",
            Method::Patch => "patch",
            Method::Delete => "delete",
        }
    }
}

pub(super) struct Gvk<'a> {
    pub(super) group: &'a str,
    pub(super) version: &'a str,
    pub(super) kind: &'a str,
}

impl<'a> Gvk<'a> {
    pub(super) fn of(def: &ResourceDef) -> Gvk<'a> {
        Gvk {
            group: def.group,
            version: def.version,
            kind: def.kind,
        }
    }
}

pub(super) struct Operation<'a> {
    pub(super) id: String,
    pub(super) tag: &'a str,
    pub(super) description: String,
    /// `x-kubernetes-action`.
    pub(super) action: Option<&'a str>,
    pub(super) gvk: Option<Gvk<'a>>,
    pub(super) query: &'a [(&'a str, &'a str)],
    /// Type of the request's body.
    pub(super) body: Option<String>,
    /// Type of the answer; a string where there is none.
    pub(super) answer: Option<String>,
    pub(super) codes: &'a [u16],
    /// The answer may be a watch.
    pub(super) streams: bool,
}

impl Operation<'_> {
    pub(super) fn write(&self, method: Method, definitions: &mut Definitions<'_>, dialect: Dialect) -> Value {
        let mut out = Map::new();
        out.insert("operationId".into(), self.id.as_str().into());
        out.insert("description".into(), self.description.as_str().into());
        out.insert("tags".into(), json!([self.tag]));
        if let Some(action) = self.action {
            out.insert("x-kubernetes-action".into(), action.into());
        }
        if let Some(Gvk { group, version, kind }) = self.gvk {
            let gvk = json!({ "group": group, "version": version, "kind": kind });
            out.insert("x-kubernetes-group-version-kind".into(), gvk);
        }
        let mut params: Vec<Value> = self
            .query
            .iter()
            .map(|(name, kind)| parameters::query(name, kind, dialect))
            .collect();
        let produces = self.produces();
        let consumes: &[&str] = if method == Method::Patch {
            &PATCHES[..PATCHES.len() - usize::from(self.is_custom())]
        } else {
            &["*/*"]
        };
        let body = self.body.as_deref().map(|name| definitions.reference(name));
        let required = method != Method::Delete;
        match dialect {
            Dialect::V2 => {
                if let Some(schema) = body {
                    let mut parameter = json!({ "in": "body", "name": "body", "schema": schema });
                    if required {
                        parameter["required"] = true.into();
                    }
                    params.insert(0, parameter);
                }
                out.insert("consumes".into(), consumes.into());
                out.insert("produces".into(), produces.as_slice().into());
                out.insert("schemes".into(), json!(["https"]));
            }
            Dialect::V3 => {
                if let Some(schema) = body {
                    let mut request = json!({ "content": content(consumes, &schema) });
                    if required {
                        request["required"] = true.into();
                    }
                    out.insert("requestBody".into(), request);
                }
            }
        }
        if !params.is_empty() {
            out.insert("parameters".into(), params.into());
        }
        out.insert(
            "responses".into(),
            self.responses(definitions, dialect, &produces),
        );
        Value::Object(out)
    }

    fn is_custom(&self) -> bool {
        self.gvk.as_ref().is_some_and(|gvk| !is_builtin_group(gvk.group))
    }

    fn produces(&self) -> Vec<&'static str> {
        match (&self.answer, self.streams) {
            (None, _) => vec!["*/*"],
            (Some(_), _) if self.is_custom() => PRODUCES_CUSTOM.to_vec(),
            (Some(_), false) => PRODUCES.to_vec(),
            (Some(_), true) => PRODUCES.iter().chain(STREAMS).copied().collect(),
        }
    }

    fn responses(&self, definitions: &mut Definitions<'_>, dialect: Dialect, produces: &[&str]) -> Value {
        let mut responses = Map::new();
        for code in self.codes {
            let text = match code {
                200 => "OK",
                201 => "Created",
                _ => "Accepted",
            };
            let schema = match &self.answer {
                Some(name) => definitions.reference(name),
                None => json!({ "type": "string" }),
            };
            let response = match dialect {
                Dialect::V2 => json!({ "description": text, "schema": schema }),
                Dialect::V3 => json!({ "description": text, "content": content(produces, &schema) }),
            };
            responses.insert(code.to_string(), response);
        }
        responses.insert("401".into(), json!({ "description": "Unauthorized" }));
        Value::Object(responses)
    }
}

/// v3's map of media types.
fn content(media_types: &[&str], schema: &Value) -> Value {
    let entries = media_types
        .iter()
        .map(|media_type| ((*media_type).to_owned(), json!({ "schema": schema })));
    Value::Object(entries.collect())
}
