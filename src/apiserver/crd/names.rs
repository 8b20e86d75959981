//! Which names a definition gets, and the conditions that tell: pure.
//! Upstream: `apiextensions-apiserver/pkg/controller/{status,establish,apiapproval}`.

use std::collections::BTreeSet;

use rkind_apimachinery::{field::quote, meta};
use serde_json::{Value, json};

use crate::registry::condition;

/// Annotation by which a definition in a group of Kubernetes' own says that it was reviewed.
pub(crate) const APPROVAL: &str = "api-approved.kubernetes.io";

/// What has been claimed in a group.
#[derive(Default)]
pub(crate) struct Claimed {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn short_names(names: &Value) -> impl Iterator<Item = &str> {
    names["shortNames"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

impl Claimed {
    /// Adds the names that a definition was granted.
    pub(crate) fn add(&mut self, definition: &Value) {
        let names = &definition["status"]["acceptedNames"];
        let of = |field: &str| Some(text(names, field).to_owned()).filter(|name| !name.is_empty());
        self.resources.extend(of("plural"));
        self.resources.extend(of("singular"));
        self.resources.extend(short_names(names).map(str::to_owned));
        self.kinds.extend(of("kind"));
        self.kinds.extend(of("listKind"));
    }
}

/// The status that a definition should have; `None` when it has it. `claimed` are the names granted in
/// its group, its own among them.
pub(crate) fn plan(definition: &Value, claimed: &Claimed, now: &str) -> Option<Value> {
    let wanted = &definition["spec"]["names"];
    let old = &definition["status"]["acceptedNames"];
    let mut status = definition["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    let mut accepted = if old.is_object() {
        old.clone()
    } else {
        json!({"plural": "", "kind": ""})
    };
    let mut conflict: Option<(&str, String)> = None;
    let taken = |name: &str| format!("{} is already in use", quote(name));
    for (field, reason, used) in [
        ("plural", "PluralConflict", &claimed.resources),
        ("singular", "SingularConflict", &claimed.resources),
        ("kind", "KindConflict", &claimed.kinds),
        ("listKind", "ListKindConflict", &claimed.kinds),
    ] {
        // Upstream looks at short names between the names of resources and those of kinds.
        if field == "kind" {
            let own: Vec<&str> = short_names(old)
                .chain([text(old, "plural"), text(old, "singular")])
                .collect();
            let clashes: Vec<String> = short_names(wanted)
                .filter(|name| !own.contains(name) && claimed.resources.contains(*name))
                .map(taken)
                .collect();
            if clashes.is_empty() {
                copy(&mut accepted, wanted, "shortNames");
            } else {
                let message = match clashes.as_slice() {
                    [one] => one.clone(),
                    many => format!("[{}]", many.join(", ")),
                };
                conflict = Some(("ShortNamesConflict", message));
            }
        }
        let name = text(wanted, field);
        if name != text(old, field) && used.contains(name) {
            conflict = Some((reason, taken(name)));
        } else {
            copy(&mut accepted, wanted, field);
        }
    }
    copy(&mut accepted, wanted, "categories");
    status["acceptedNames"] = accepted;

    let good = conflict.is_none();
    let (reason, message) = conflict.unwrap_or(("NoConflicts", "no conflicts found".into()));
    set_condition(&mut status, "NamesAccepted", good, reason, &message, now);
    let established = condition::is_true(&definition["status"], "Established");
    if good && !established {
        let message = "the initial names have been accepted";
        set_condition(
            &mut status,
            "Established",
            true,
            "InitialNamesAccepted",
            message,
            now,
        );
    } else if !established {
        let message = "not all names are accepted";
        set_condition(&mut status, "Established", false, "NotAccepted", message, now);
    }
    if let Some((approved, reason, message)) = approval(definition) {
        set_condition(
            &mut status,
            "KubernetesAPIApprovalPolicyConformant",
            approved,
            reason,
            &message,
            now,
        );
    }
    (status != definition["status"]).then_some(status)
}

fn copy(to: &mut Value, from: &Value, field: &str) {
    match from.get(field).filter(|v| !v.is_null()) {
        Some(value) => to[field] = value.clone(),
        None => {
            to.as_object_mut().map(|map| map.remove(field));
        }
    }
}

/// Sets a condition; its time moves when its status does.
pub(crate) fn set_condition(
    status: &mut Value,
    kind: &str,
    good: bool,
    reason: &str,
    message: &str,
    now: &str,
) {
    let word = if good { "True" } else { "False" };
    let condition = json!({"type": kind, "status": word, "reason": reason, "message": message});
    condition::set(status, condition, now);
}

/// Whether and how a definition in a protected group was approved; `None` for all other groups.
fn approval(definition: &Value) -> Option<(bool, &'static str, String)> {
    let group = text(&definition["spec"], "group");
    if !(group.ends_with(".k8s.io") || group.ends_with(".kubernetes.io")) {
        return None;
    }
    let annotation = meta::annotation(definition, APPROVAL).unwrap_or_default();
    Some(if annotation.is_empty() {
        (
            false,
            "MissingAnnotation",
            format!(
                "protected groups must have approval annotation {}, see https://github.com/kubernetes/enhancements/pull/1111",
                quote(APPROVAL)
            ),
        )
    } else if annotation.starts_with("unapproved") {
        (
            false,
            "UnapprovedAnnotation",
            format!("not approved: {}", quote(annotation)),
        )
    } else {
        (true, "ApprovedAnnotation", format!("approved in {annotation}"))
    })
}

#[cfg(test)]
mod tests;
