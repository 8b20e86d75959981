//! What an update may change in a pod: images, the deadline, more
//! tolerations, fewer scheduling gates.

use serde_json::Value;

use super::super::support::{differences, list, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(in super::super) fn pod(new: &Value, old: &Value, errs: &mut ErrorList) {
    super::valid(new, errs);
    let path = Path::new("spec");
    let (n, o) = (&new["spec"], &old["spec"]);
    for kind in ["containers", "initContainers"] {
        if list(&n[kind]).len() != list(&o[kind]).len() {
            errs.push(Error::forbidden(
                &path.child(kind),
                "pod updates may not add or remove containers",
            ));
            return;
        }
        for (i, c) in list(&n[kind]).iter().enumerate() {
            let p = path.child(kind).index(i).child("image");
            let image = text(c, "image");
            if image.is_empty() {
                errs.push(Error::required(&p, ""));
            } else if image.trim() != image {
                errs.push(Error::invalid(
                    &p,
                    image,
                    "must not have leading or trailing whitespace",
                ));
            }
        }
    }
    let deadline = path.child("activeDeadlineSeconds");
    match (
        n["activeDeadlineSeconds"].as_i64(),
        o["activeDeadlineSeconds"].as_i64(),
    ) {
        (Some(v), _) if !(0..=i64::from(i32::MAX)).contains(&v) => {
            errs.push(Error::invalid(
                &deadline,
                v,
                names::inclusive_range_error(0, i64::from(i32::MAX)),
            ));
            return;
        }
        (Some(v), Some(before)) if before < v => {
            errs.push(Error::invalid(
                &deadline,
                v,
                "must be less than or equal to previous value",
            ));
            return;
        }
        (None, Some(_)) => errs.push(Error::invalid(
            &deadline,
            Value::Null,
            "must not update from a positive integer to nil value",
        )),
        _ => {}
    }
    tolerations(n, o, &path.child("tolerations"), errs);
    let gated = gates(n, o, &path.child("schedulingGates"), errs);

    let mut munged = n.clone();
    for kind in ["containers", "initContainers"] {
        for (i, c) in list(&o[kind]).iter().enumerate() {
            if let Some(m) = munged[kind][i].as_object_mut() {
                match c.get("image") {
                    Some(v) => m.insert("image".into(), v.clone()),
                    None => m.remove("image"),
                };
            }
        }
    }
    let mut put = |field: &str| {
        let Some(m) = munged.as_object_mut() else { return };
        match o.get(field) {
            Some(v) => m.insert(field.into(), v.clone()),
            None => m.remove(field),
        };
    };
    put("activeDeadlineSeconds");
    put("tolerations");
    put("schedulingGates");
    if gated {
        put("nodeSelector");
        put("affinity");
    }
    let was_negative = o["terminationGracePeriodSeconds"].as_i64().is_some_and(|g| g < 0);
    if was_negative && n["terminationGracePeriodSeconds"] == 1 {
        put("terminationGracePeriodSeconds");
    }
    let changed = differences("spec", o, &munged);
    if !changed.is_empty() {
        errs.push(Error::forbidden(
            &path,
            format!(
                "pod updates may not change fields other than {UPDATABLE}\n{}",
                changed
            ),
        ));
    }
}

fn tolerations(n: &Value, o: &Value, path: &Path, errs: &mut ErrorList) {
    let bare = |t: &Value| {
        let mut t = t.clone();
        if let Some(m) = t.as_object_mut() {
            m.remove("tolerationSeconds");
        }
        t
    };
    let now: Vec<Value> = list(&n["tolerations"]).iter().map(bare).collect();
    if list(&o["tolerations"]).iter().any(|t| !now.contains(&bare(t))) {
        errs.push(Error::forbidden(
            path,
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
}

/// Gates may only go. Returns whether the pod was gated.
fn gates(n: &Value, o: &Value, path: &Path, errs: &mut ErrorList) -> bool {
    let had: Vec<&str> = list(&o["schedulingGates"])
        .iter()
        .map(|g| text(g, "name"))
        .collect();
    for (i, g) in list(&n["schedulingGates"]).iter().enumerate() {
        let name = text(g, "name");
        if !had.contains(&name) {
            errs.push(Error::forbidden(
                &path.index(i).child("name"),
                format!("only deletion is allowed, but found new scheduling gate '{name}'"),
            ));
        }
    }
    !had.is_empty()
}
