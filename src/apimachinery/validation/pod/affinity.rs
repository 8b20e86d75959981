//! Node and pod affinity, tolerations.

use serde_json::Value;

use super::super::support::{label_selector, list, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

pub(super) fn affinity(a: &Value, path: &Path, errs: &mut ErrorList) {
    let node = &a["nodeAffinity"];
    let p = path.child("nodeAffinity");
    let hard = "requiredDuringSchedulingIgnoredDuringExecution";
    let soft = "preferredDuringSchedulingIgnoredDuringExecution";
    if node[hard].is_object() {
        node_selector(&node[hard], &p.child(hard), errs);
    }
    for (i, t) in list(&node[soft]).iter().enumerate() {
        let p = p.child(soft).index(i);
        weight(t, &p, errs);
        node_term(&t["preference"], &p.child("preference"), errs);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let p = path.child(kind);
        for (i, t) in list(&a[kind][hard]).iter().enumerate() {
            pod_term(t, &p.child(hard).index(i), errs);
        }
        for (i, t) in list(&a[kind][soft]).iter().enumerate() {
            let p = p.child(soft).index(i);
            weight(t, &p, errs);
            pod_term(&t["podAffinityTerm"], &p.child("podAffinityTerm"), errs);
        }
    }
}

fn weight(t: &Value, p: &Path, errs: &mut ErrorList) {
    let n = t["weight"].as_i64().unwrap_or(0);
    if !(1..=100).contains(&n) {
        errs.push(Error::invalid(
            &p.child("weight"),
            n,
            "must be in the range 1-100",
        ));
    }
}

/// A `NodeSelector`.
pub(in super::super) fn node_selector(s: &Value, path: &Path, errs: &mut ErrorList) {
    let p = path.child("nodeSelectorTerms");
    let terms = list(&s["nodeSelectorTerms"]);
    if terms.is_empty() {
        errs.push(Error::required(&p, "must have at least one node selector term"));
    }
    for (i, t) in terms.iter().enumerate() {
        node_term(t, &p.index(i), errs);
    }
}

fn node_term(t: &Value, path: &Path, errs: &mut ErrorList) {
    for (i, e) in list(&t["matchExpressions"]).iter().enumerate() {
        let p = path.child("matchExpressions").index(i);
        let values = list(&e["values"]);
        operator(e, values, &p, errs);
        errs.invalid_each(
            &p.child("key"),
            text(e, "key"),
            names::qualified_name(text(e, "key")),
        );
        for (j, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or("");
            errs.invalid_each(&p.child("values").index(j), value, names::label_value(value));
        }
    }
    for (i, e) in list(&t["matchFields"]).iter().enumerate() {
        let p = path.child("matchFields").index(i);
        match (text(e, "operator"), list(&e["values"]).len()) {
            ("In" | "NotIn", 1) => {}
            ("In" | "NotIn", _) => errs.push(Error::required(
                &p.child("values"),
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            )),
            (other, _) => {
                errs.push(Error::invalid(
                    &p.child("operator"),
                    other,
                    "not a valid selector operator",
                ));
            }
        }
        let key = text(e, "key");
        if key != "metadata.name" {
            errs.push(Error::invalid(
                &p.child("key"),
                key,
                "not a valid field selector key",
            ));
            continue;
        }
        for (j, name) in list(&e["values"]).iter().enumerate() {
            let name = name.as_str().unwrap_or("");
            errs.invalid_each(&p.child("values").index(j), name, names::dns1123_subdomain(name));
        }
    }
}

fn operator(e: &Value, values: &[Value], p: &Path, errs: &mut ErrorList) {
    match text(e, "operator") {
        "In" | "NotIn" if values.is_empty() => errs.push(Error::required(
            &p.child("values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        )),
        "Exists" | "DoesNotExist" if !values.is_empty() => errs.push(Error::forbidden(
            &p.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        "Gt" | "Lt" if values.len() != 1 => errs.push(Error::required(
            &p.child("values"),
            "must be specified single value when `operator` is 'Lt' or 'Gt'",
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errs.push(Error::invalid(
            &p.child("operator"),
            other,
            "not a valid selector operator",
        )),
    }
}

fn pod_term(t: &Value, p: &Path, errs: &mut ErrorList) {
    label_selector(&t["labelSelector"], &p.child("labelSelector"), errs);
    label_selector(&t["namespaceSelector"], &p.child("namespaceSelector"), errs);
    for n in list(&t["namespaces"]) {
        let n = n.as_str().unwrap_or("");
        errs.invalid_each(&p.child("namespace"), n, names::dns1123_label(n));
    }
    let key = text(t, "topologyKey");
    if key.is_empty() {
        errs.push(Error::required(&p.child("topologyKey"), "can not be empty"));
    }
    errs.invalid_each(&p.child("topologyKey"), key, names::qualified_name(key));
    label_keys(t, p, errs);
}

/// `matchLabelKeys` and `mismatchLabelKeys` of an affinity's or a spread's selector (KEP-3633).
pub(super) fn label_keys(t: &Value, p: &Path, errs: &mut ErrorList) {
    let selector = &t["labelSelector"];
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let (keys, at) = (list(&t[field]), p.child(field));
        if !keys.is_empty() && selector.is_null() {
            let why = "must not be specified when labelSelector is not set";
            errs.push(Error::forbidden(&at, why));
            continue;
        }
        for (i, key) in keys.iter().enumerate() {
            let key = key.as_str().unwrap_or("");
            errs.invalid_each(&at.index(i), key, names::qualified_name(key));
        }
    }
    let keys = list(&t["matchLabelKeys"]);
    let mut selected: Vec<&str> = selector["matchLabels"]
        .as_object()
        .map_or(vec![], |labels| labels.keys().map(String::as_str).collect());
    for expression in list(&selector["matchExpressions"]) {
        let key = text(expression, "key");
        if selected.contains(&key)
            && let Some(i) = keys.iter().rposition(|other| other == key)
        {
            let why = "exists in both matchLabelKeys and labelSelector";
            errs.push(Error::invalid(&p.index(i), key, why));
        }
        selected.push(key);
    }
    for (i, key) in keys.iter().enumerate() {
        if list(&t["mismatchLabelKeys"]).contains(key) {
            let why = "exists in both matchLabelKeys and mismatchLabelKeys";
            errs.push(Error::invalid(
                &p.child("matchLabelKeys").index(i),
                key.clone(),
                why,
            ));
        }
    }
}

pub(in super::super) fn tolerations(spec: &Value, path: &Path, errs: &mut ErrorList) {
    for (i, t) in list(&spec["tolerations"]).iter().enumerate() {
        let p = path.index(i);
        let (key, operator, effect) = (text(t, "key"), text(t, "operator"), text(t, "effect"));
        if !key.is_empty() {
            errs.invalid_each(&p.child("key"), key, names::qualified_name(key));
        } else if operator != "Exists" {
            errs.push(Error::invalid(
                &p.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
        if !t["tolerationSeconds"].is_null() && effect != "NoExecute" {
            errs.push(Error::invalid(
                &p.child("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            ));
        }
        let value = text(t, "value");
        match operator {
            "" | "Equal" => {
                let msgs = names::label_value(value);
                if !msgs.is_empty() {
                    errs.push(Error::invalid(&p.child("operator"), value, msgs.join(";")));
                }
            }
            "Exists" if value.is_empty() => {}
            "Exists" => errs.push(Error::invalid(
                &p.child("operator"),
                value,
                "value must be empty when `operator` is 'Exists'",
            )),
            // Comparisons are known, and off by default.
            "Lt" | "Gt" => {
                let known = &["Equal", "Exists", "Lt", "Gt"];
                errs.push(Error::not_supported(&p.child("operator"), operator, known));
            }
            other => {
                errs.push(Error::not_supported(
                    &p.child("operator"),
                    other,
                    &["Equal", "Exists"],
                ));
            }
        }
        if !matches!(effect, "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
            let supported = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
            errs.push(Error::not_supported(&p.child("effect"), effect, supported));
        }
    }
}
