//! Query and path parameters of operations.

use serde_json::{Value, json};

use super::Dialect;

/// Parameters of reading a collection.
pub(super) const LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

pub(super) const CREATE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];

pub(super) const UPDATE: &[(&str, &str)] = CREATE;

pub(super) const PATCH: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("fieldManager/patch", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
];

pub(super) const DELETE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

pub(super) const DELETE_COLLECTION: &[(&str, &str)] = &[
    ("continue", "string"),
    ("dryRun", "string"),
    ("fieldSelector", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
];

pub(super) const NONE: &[(&str, &str)] = &[];

/// What each is for; the form is described at the head of the file.
const TEXTS: &str = include_str!("parameters.txt");

fn text(name: &str) -> Option<String> {
    let mut lines = TEXTS.lines().filter(|line| !line.starts_with('#'));
    let text = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(text.replace("\\n", "\n"))
}

/// A parameter in the query. A name may be said to be of one method, as `fieldManager/patch`.
pub(super) fn query(name: &str, kind: &str, dialect: Dialect) -> Value {
    let plain = name.split('/').next().unwrap_or(name);
    let mut parameter = json!({ "in": "query", "name": plain });
    if let Some(text) = text(name) {
        parameter["description"] = text.into();
    }
    typed(parameter, kind, dialect)
}

/// A parameter in the path of an object of a kind.
pub(super) fn path(name: &str, kind: &str, dialect: Dialect) -> Value {
    let text = match name {
        "name" => Some(format!("name of the {kind}")),
        "path" => Some("path to the resource".to_owned()),
        _ => text(name),
    };
    let mut parameter = json!({ "in": "path", "name": name, "required": true });
    if let Some(text) = text {
        parameter["description"] = text.into();
    }
    typed(parameter, "string", dialect)
}

fn typed(mut parameter: Value, kind: &str, dialect: Dialect) -> Value {
    match dialect {
        Dialect::V2 => {
            parameter["type"] = kind.into();
            parameter["uniqueItems"] = true.into();
        }
        Dialect::V3 => parameter["schema"] = json!({ "type": kind, "uniqueItems": true }),
    }
    parameter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_says_what_it_is_for() {
        let all = [LIST, CREATE, PATCH, DELETE, DELETE_COLLECTION].concat();
        for (name, kind) in all {
            let parameter = query(name, kind, Dialect::V3);
            assert!(parameter["description"].is_string(), "{name}");
            assert!(!parameter["name"].as_str().unwrap().contains('/'), "{name}");
        }
        let name = path("name", "Pod", Dialect::V2);
        assert_eq!(name["description"], "name of the Pod");
    }
}
