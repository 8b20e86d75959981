//! JSON merge patch, and as much of the strategic one as loops use.

use serde_json::Value;

/// Lists that are merged by a key.
const KEYED: [(&str, &str); 3] = [
    ("ownerReferences", "uid"),
    ("conditions", "type"),
    ("taints", "key"),
];

pub(super) fn merge(target: &mut Value, patch: &Value, strategic: bool) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    for (name, value) in fields {
        let keyed = KEYED.iter().find(|(list, _)| list == name).filter(|_| strategic);
        match (value, keyed) {
            (Value::Null, _) => {
                if let Value::Object(target) = target {
                    target.remove(name);
                }
            }
            (Value::Array(items), Some((_, key))) => merge_list(&mut target[name.as_str()], items, key),
            _ => merge(&mut target[name.as_str()], value, strategic),
        }
    }
}

fn merge_list(target: &mut Value, items: &[Value], key: &str) {
    let list = match target {
        Value::Array(list) => list,
        other => {
            *other = Value::Array(Vec::new());
            let Value::Array(list) = other else { return };
            list
        }
    };
    for item in items {
        let place = list.iter().position(|old| old[key] == item[key]);
        match (item["$patch"].as_str(), place) {
            (Some("delete"), Some(place)) => {
                list.remove(place);
            }
            (Some("delete"), None) => {}
            (_, Some(place)) => merge(&mut list[place], item, true),
            (_, None) => list.push(item.clone()),
        }
    }
}
