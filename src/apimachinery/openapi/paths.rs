//! URLs of a group and version, and what can be done at each.

use serde_json::{Map, Value, json};

use super::definitions::Definitions;
use super::operations::{Gvk, Method, Operation};
use super::{Dialect, GroupVersion, parameters};
use crate::resources::{ResourceDef, Subresource, returns_deleted};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// All paths below `/api/v1` or `/apis/<group>/<version>`.
pub(super) fn of_group_version(
    group_version: &GroupVersion<'_>,
    definitions: &mut Definitions<'_>,
    dialect: Dialect,
) -> Map<String, Value> {
    let mut maker = Maker {
        definitions,
        dialect,
        paths: Map::new(),
        names: Names::new(group_version),
    };
    let root = format!("/{}/", group_version.path());
    maker.discovery(&root);
    for def in &group_version.resources {
        maker.resource(&root, def);
    }
    maker.paths
}

/// How upstream builds operation ids and tags.
struct Names {
    /// `CoreV1`, `RbacAuthorizationV1`.
    id: String,
    /// `core_v1`, `rbacAuthorization_v1`.
    tag: String,
}

impl Names {
    fn new(group_version: &GroupVersion<'_>) -> Names {
        let group = group_version
            .group
            .strip_suffix(".k8s.io")
            .unwrap_or(group_version.group);
        let group = if group.is_empty() { "core" } else { group };
        let camel: String = group.split(['.', '-']).map(capital).collect();
        let first = camel.chars().next().unwrap_or_default().to_ascii_lowercase();
        let rest = camel.get(1..).unwrap_or_default();
        Names {
            id: format!("{camel}{}", capital(group_version.version)),
            tag: format!("{first}{rest}_{}", group_version.version),
        }
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}

struct Maker<'m, 'a> {
    definitions: &'m mut Definitions<'a>,
    dialect: Dialect,
    paths: Map<String, Value>,
    names: Names,
}

impl Maker<'_, '_> {
    fn discovery(&mut self, root: &str) {
        let operation = Operation {
            id: format!("get{}APIResources", self.names.id),
            tag: &self.names.tag,
            description: "get available resources".to_owned(),
            action: None,
            gvk: None,
            query: parameters::NONE,
            body: None,
            answer: Some(format!("{META}.APIResourceList")),
            codes: &[200],
            streams: false,
        };
        let get = operation.write(Method::Get, self.definitions, self.dialect);
        self.paths.insert(root.to_owned(), json!({ "get": get }));
    }

    fn resource(&mut self, root: &str, def: &ResourceDef) {
        let collection = if def.namespaced {
            format!("{root}namespaces/{{namespace}}/{}", def.resource)
        } else {
            format!("{root}{}", def.resource)
        };
        let item = format!("{collection}/{{name}}");
        self.collection(&collection, def);
        self.item(&item, def);
        if def.namespaced && def.has_verb("list") {
            let list = self.list(def, format!("list{}{}ForAllNamespaces", self.names.id, def.kind));
            let mut path = Map::from_iter([("get".to_owned(), list)]);
            path.insert("parameters".to_owned(), self.path_parameters(&[], def.kind));
            self.paths.insert(format!("{root}{}", def.resource), path.into());
        }
        for sub in &def.subresources {
            self.subresource(&format!("{item}/{}", sub.name), def, sub);
            if sub.name == "proxy" {
                self.subresource(&format!("{item}/{}/{{path}}", sub.name), def, sub);
            }
        }
    }

    fn scope(def: &ResourceDef) -> &'static str {
        if def.namespaced { "Namespaced" } else { "" }
    }

    fn list(&mut self, def: &ResourceDef, id: String) -> Value {
        let operation = Operation {
            id,
            tag: &self.names.tag,
            description: format!("list or watch objects of kind {}", def.kind),
            action: Some("list"),
            gvk: Some(Gvk::of(def)),
            query: parameters::LIST,
            body: None,
            answer: Some(def.list_type_name.to_owned()),
            codes: &[200],
            streams: true,
        };
        operation.write(Method::Get, self.definitions, self.dialect)
    }

    fn collection(&mut self, url: &str, def: &ResourceDef) {
        let mut path = Map::new();
        let scoped = format!("{}{}", Self::scope(def), def.kind);
        if def.has_verb("list") {
            let list = self.list(def, format!("list{}{scoped}", self.names.id));
            path.insert("get".to_owned(), list);
        }
        if def.has_verb("create") {
            let create = Operation {
                id: format!("create{}{scoped}", self.names.id),
                tag: &self.names.tag,
                description: format!("create {}", some(def.kind)),
                action: Some("post"),
                gvk: Some(Gvk::of(def)),
                query: parameters::CREATE,
                body: Some(def.type_name.to_owned()),
                answer: Some(def.type_name.to_owned()),
                codes: &[200, 201, 202],
                streams: false,
            };
            path.insert(
                "post".to_owned(),
                create.write(Method::Post, self.definitions, self.dialect),
            );
        }
        if def.has_verb("deletecollection") {
            let delete = Operation {
                id: format!("delete{}Collection{scoped}", self.names.id),
                tag: &self.names.tag,
                description: format!("delete collection of {}", def.kind),
                action: Some("deletecollection"),
                gvk: Some(Gvk::of(def)),
                query: parameters::DELETE_COLLECTION,
                body: Some(format!("{META}.DeleteOptions")),
                answer: Some(format!("{META}.Status")),
                codes: &[200],
                streams: false,
            };
            path.insert(
                "delete".to_owned(),
                delete.write(Method::Delete, self.definitions, self.dialect),
            );
        }
        let names: &[&str] = if def.namespaced { &["namespace"] } else { &[] };
        self.insert(url, path, names, def.kind);
    }

    fn item(&mut self, url: &str, def: &ResourceDef) {
        let mut path = Map::new();
        let scoped = format!("{}{}", Self::scope(def), def.kind);
        for (verb, method) in [
            ("get", Method::Get),
            ("update", Method::Put),
            ("patch", Method::Patch),
            ("delete", Method::Delete),
        ] {
            if !def.has_verb(verb) {
                continue;
            }
            let operation =
                self.object_operation(method, (&scoped, def.kind), "", def.type_name, Gvk::of(def));
            path.insert(method.name().to_owned(), operation);
        }
        let names: &[&str] = if def.namespaced {
            &["name", "namespace"]
        } else {
            &["name"]
        };
        self.insert(url, path, names, def.kind);
    }

    /// Read, replace, patch or delete of an object of the kind `of` or of one of its subresources (`suffix`).
    fn object_operation(
        &mut self,
        method: Method,
        (scoped, of): (&str, &str),
        suffix: &str,
        type_name: &str,
        gvk: Gvk<'_>,
    ) -> Value {
        let (verb, action, query, codes): (_, _, _, &[u16]) = match method {
            Method::Get => ("read", "get", parameters::NONE, &[200]),
            Method::Put => ("replace", "put", parameters::UPDATE, &[200, 201]),
            Method::Patch => ("patch", "patch", parameters::PATCH, &[200, 201]),
            Method::Delete => ("delete", "delete", parameters::DELETE, &[200, 202]),
            Method::Post => ("create", "post", parameters::CREATE, &[200, 201, 202]),
        };
        let body = match method {
            Method::Get => None,
            Method::Patch => Some(format!("{META}.Patch")),
            Method::Delete => Some(format!("{META}.DeleteOptions")),
            Method::Put | Method::Post => Some(type_name.to_owned()),
        };
        let answer = if method == Method::Delete && !returns_deleted(gvk.group, gvk.kind) {
            format!("{META}.Status")
        } else {
            type_name.to_owned()
        };
        let what = if suffix.is_empty() {
            String::new()
        } else {
            format!("{} of ", suffix.to_lowercase())
        };
        let described = match method {
            Method::Get => "read ",
            Method::Put => "replace ",
            Method::Patch => "partially update ",
            Method::Delete => "delete ",
            Method::Post => "create ",
        };
        let operation = Operation {
            id: format!("{verb}{}{scoped}{suffix}", self.names.id),
            tag: &self.names.tag,
            description: match method {
                Method::Delete => format!("delete {}", some(gvk.kind)),
                _ => format!("{described}{what}the specified {of}"),
            },
            action: Some(action),
            gvk: Some(gvk),
            query,
            body,
            answer: Some(answer),
            codes,
            streams: false,
        };
        operation.write(method, self.definitions, self.dialect)
    }

    fn subresource(&mut self, url: &str, def: &ResourceDef, sub: &Subresource) {
        let connects = matches!(sub.name, "attach" | "exec" | "portforward" | "proxy");
        let scoped = format!("{}{}", Self::scope(def), def.kind);
        let with_path = if url.ends_with("{path}") { "WithPath" } else { "" };
        let suffix = format!("{}{with_path}", capital(sub.name));
        let gvk = Gvk {
            group: sub.group,
            version: sub.version,
            kind: sub.kind,
        };
        let mut path = Map::new();
        for verb in &sub.verbs {
            let method = match *verb {
                "get" => Method::Get,
                "create" => Method::Post,
                "update" => Method::Put,
                "patch" => Method::Patch,
                "delete" => Method::Delete,
                _ => continue,
            };
            let operation = if connects {
                let operation = Operation {
                    id: format!(
                        "connect{}{}{scoped}{suffix}",
                        self.names.id,
                        capital(method.name())
                    ),
                    tag: &self.names.tag,
                    description: format!(
                        "connect {} requests to {} of {}",
                        method.name().to_uppercase(),
                        sub.name,
                        def.kind
                    ),
                    action: Some("connect"),
                    gvk: Some(Gvk {
                        group: sub.group,
                        version: sub.version,
                        kind: sub.kind,
                    }),
                    query: parameters::NONE,
                    body: None,
                    answer: None,
                    codes: &[200],
                    streams: false,
                };
                operation.write(method, self.definitions, self.dialect)
            } else {
                let gvk = Gvk {
                    group: gvk.group,
                    version: gvk.version,
                    kind: gvk.kind,
                };
                self.object_operation(method, (&scoped, def.kind), &suffix, sub.type_name, gvk)
            };
            path.insert(method.name().to_owned(), operation);
        }
        let mut names = vec!["name"];
        if def.namespaced {
            names.push("namespace");
        }
        if !with_path.is_empty() {
            names.push("path");
        }
        self.insert(url, path, &names, sub.kind);
    }

    fn path_parameters(&self, names: &[&str], kind: &str) -> Value {
        let mut out: Vec<Value> = names
            .iter()
            .map(|name| parameters::path(name, kind, self.dialect))
            .collect();
        out.push(parameters::query("pretty", "string", self.dialect));
        out.into()
    }

    fn insert(&mut self, url: &str, mut path: Map<String, Value>, names: &[&str], kind: &str) {
        if path.is_empty() {
            return;
        }
        path.insert("parameters".to_owned(), self.path_parameters(names, kind));
        self.paths.insert(url.to_owned(), path.into());
    }
}

/// One of a kind, in words: `a Pod`, `an Ingress`, `Endpoints`.
fn some(kind: &str) -> String {
    if kind.ends_with('s') && !kind.ends_with("ss") {
        return kind.to_owned();
    }
    let article = if kind.starts_with(['A', 'E', 'I', 'O', 'U']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}
