//! `rbac.txt` -> roles and bindings. The form is described at the head of that file.

use serde_json::{Value, json};

const TABLE: &str = include_str!("rbac.txt");

/// Marks an object that a newer policy may add to.
pub(super) const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const GROUP: &str = "rbac.authorization.k8s.io";

/// Every object as `(resource, namespace, object)`, roles before bindings.
pub(super) fn objects() -> Vec<(&'static str, String, Value)> {
    let mut roles: Vec<(&'static str, String, Value)> = Vec::new();
    let mut bindings = Vec::new();
    for line in TABLE
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["role", name, labels @ ..] => {
                let mut role = object(name);
                for (key, value) in labels.iter().filter_map(|l| l.split_once('=')) {
                    role["metadata"]["labels"][key] = json!(value);
                }
                role["rules"] = json!([]);
                roles.push(("clusterroles", String::new(), role));
            }
            ["nsrole", namespace, name] => {
                let mut role = object(name);
                role["metadata"]["namespace"] = json!(namespace);
                role["rules"] = json!([]);
                roles.push(("roles", (*namespace).to_owned(), role));
            }
            ["+", verbs, groups, resources, names @ ..] => {
                let mut rule = json!({
                    "verbs": self::verbs(verbs), "apiGroups": list(groups), "resources": list(resources),
                });
                if let Some(names) = names.first() {
                    rule["resourceNames"] = json!(list(names));
                }
                add_rule(&mut roles, rule);
            }
            ["with", parts @ ..] => {
                let rules: Vec<Value> = parts.iter().flat_map(|part| rules_of(&roles, part)).collect();
                for rule in rules {
                    add_rule(&mut roles, rule);
                }
            }
            ["@", verbs, urls] => add_rule(
                &mut roles,
                json!({"verbs": self::verbs(verbs), "nonResourceURLs": list(urls)}),
            ),
            ["union", name, parts @ ..] => {
                let mut role = object(name);
                let rules: Vec<Value> = parts.iter().flat_map(|part| rules_of(&roles, part)).collect();
                role["rules"] = json!(rules);
                role["aggregationRule"] = json!({"clusterRoleSelectors": [
                    {"matchLabels": {format!("rbac.authorization.k8s.io/aggregate-to-{name}"): "true"}}]});
                // `admin` takes in what `edit` takes in, and that what `view` does.
                if let Some(next) = match *name {
                    "edit" => Some("admin"),
                    "view" => Some("edit"),
                    _ => None,
                } {
                    role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{next}")] =
                        json!("true");
                }
                roles.push(("clusterroles", String::new(), role));
            }
            ["bind", name, role, subjects @ ..] => {
                let mut binding = object(name);
                binding["roleRef"] = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": role});
                binding["subjects"] = json!(subjects.iter().map(|s| subject(s)).collect::<Vec<_>>());
                bindings.push(("clusterrolebindings", String::new(), binding));
            }
            ["nsbind", namespace, name, role, subjects @ ..] => {
                let mut binding = object(name);
                binding["metadata"]["namespace"] = json!(namespace);
                binding["roleRef"] = json!({"apiGroup": GROUP, "kind": "Role", "name": role});
                binding["subjects"] = json!(subjects.iter().map(|s| subject(s)).collect::<Vec<_>>());
                bindings.push(("rolebindings", (*namespace).to_owned(), binding));
            }
            _ => tracing::error!(line, "line of the bootstrap policy is not understood"),
        }
    }
    roles.extend(bindings);
    roles
}

fn object(name: &str) -> Value {
    json!({"metadata": {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    }})
}

fn add_rule(roles: &mut [(&'static str, String, Value)], rule: Value) {
    if let Some(rules) = roles
        .last_mut()
        .and_then(|(_, _, role)| role["rules"].as_array_mut())
    {
        rules.push(rule);
    }
}

fn rules_of(roles: &[(&'static str, String, Value)], name: &str) -> Vec<Value> {
    let found = roles.iter().find(|(_, _, role)| role["metadata"]["name"] == name);
    found
        .and_then(|(_, _, role)| role["rules"].as_array())
        .cloned()
        .unwrap_or_default()
}

fn list(text: &str) -> Vec<&str> {
    text.split(',')
        .map(|item| if item == "-" { "" } else { item })
        .collect()
}

fn verbs(text: &str) -> Vec<&str> {
    let mut all: Vec<&str> = text
        .split(',')
        .flat_map(|verb| match verb {
            "R" => vec!["get", "list", "watch"],
            "W" => vec!["create", "delete", "deletecollection", "patch", "update"],
            "RW" => vec![
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
            verb => vec![verb],
        })
        .collect();
    all.dedup();
    all
}

fn subject(text: &str) -> Value {
    match text.split_once(':') {
        Some(("g", name)) => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
        Some(("s", account)) => {
            let (namespace, name) = account.split_once('/').unwrap_or(("", account));
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
        _ => json!({"apiGroup": GROUP, "kind": "User", "name": text.trim_start_matches("u:")}),
    }
}

/// `current` with the rules and subjects of `wanted` that it lacks; `None` when it lacks none.
pub(super) fn merged(current: &Value, wanted: &Value) -> Option<Value> {
    let mut new = current.clone();
    let mut changed = false;
    for part in ["rules", "subjects"] {
        for item in wanted[part].as_array().into_iter().flatten() {
            if current[part].as_array().is_some_and(|list| list.contains(item)) {
                continue;
            }
            match new[part].as_array_mut() {
                Some(list) => list.push(item.clone()),
                None => new[part] = json!([item]),
            }
            changed = true;
        }
    }
    changed.then_some(new)
}
