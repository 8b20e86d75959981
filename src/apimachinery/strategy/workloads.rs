//! DaemonSets and Jobs.

use serde_json::Value;

use crate::meta;

/// Annotation of a DaemonSet that counts its templates.
pub const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Upstream's internal form counts the templates in a field of its own, so that every DaemonSet comes
/// out of it with the annotation.
pub(super) fn daemon_set(object: &mut Value) {
    let sent = meta::annotation(object, TEMPLATE_GENERATION).and_then(|n| n.parse().ok());
    set_template_generation(object, sent.unwrap_or(0));
}

pub(super) fn daemon_set_create(new: &mut Value) {
    let sent = meta::annotation(new, TEMPLATE_GENERATION).and_then(|n| n.parse().ok());
    set_template_generation(new, sent.unwrap_or(0).max(1));
}

pub(super) fn daemon_set_update(new: &mut Value, old: &Value) {
    let current = meta::annotation(old, TEMPLATE_GENERATION)
        .and_then(|s| s.parse().ok())
        .unwrap_or(1);
    let changed = new["spec"]["template"] != old["spec"]["template"];
    set_template_generation(new, if changed { current + 1 } else { current });
}

pub(super) fn keep_template_generation(new: &mut Value, old: &Value) {
    let had = meta::annotation(old, TEMPLATE_GENERATION).and_then(|n| n.parse().ok());
    set_template_generation(new, had.unwrap_or(0));
}

fn set_template_generation(new: &mut Value, n: i64) {
    let m = meta::metadata_mut(new);
    let annotations = m.entry("annotations").or_insert(Value::Null);
    meta::as_map(annotations).insert(TEMPLATE_GENERATION.into(), n.to_string().into());
}

/// Unless the user manages it: labels of the template and a selector by the
/// Job's UID, so that its pods are only its own.
pub(super) fn job_selector(new: &mut Value) {
    if new["spec"]["manualSelector"] == true {
        return;
    }
    let name = meta::name(new).to_owned();
    let uid = meta::uid(new).to_owned();
    // Upstream's defaults give a Job without labels the very map of its template, at the latest when
    // it is read back.
    let own = &new["metadata"]["labels"];
    let shared = own.as_object().is_none_or(serde_json::Map::is_empty)
        || new["metadata"]["labels"] == new["spec"]["template"]["metadata"]["labels"];
    let spec = meta::child_object(new, "spec");
    let template = spec.entry("template").or_insert(Value::Null);
    meta::as_map(template);
    let metadata = meta::child_object(template, "metadata");
    let labels = meta::as_map(metadata.entry("labels").or_insert(Value::Null));
    for (key, value) in [
        ("job-name", &name),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/controller-uid", &uid),
    ] {
        labels.entry(key).or_insert_with(|| value.as_str().into());
    }
    let template_labels = labels.clone();
    let selector = meta::as_map(spec.entry("selector").or_insert(Value::Null));
    let match_labels = meta::as_map(selector.entry("matchLabels").or_insert(Value::Null));
    match_labels
        .entry("batch.kubernetes.io/controller-uid")
        .or_insert_with(|| uid.into());
    if shared {
        meta::set(new, "labels", template_labels);
    }
}
