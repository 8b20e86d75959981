//! Pods: first status, quality of service, resizes.

use serde_json::{Map, Value, json};

use crate::meta;
use crate::quantity::Quantity;

pub(super) fn prepare_for_create(pod: &mut Value) {
    let qos = qos_class(pod);
    let mut status = json!({"phase": "Pending", "qosClass": qos});
    if pod["spec"]["schedulingGates"]
        .as_array()
        .is_some_and(|g| !g.is_empty())
    {
        status["conditions"] = json!([{
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": null,
            "lastTransitionTime": meta::now(),
        }]);
    }
    meta::as_map(pod).insert("status".into(), status);
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|_, v| !v.is_null());
    }
    positive_grace(pod);
    service_account_alias(pod);
}

/// Less than no time to end is a second.
fn positive_grace(pod: &mut Value) {
    let grace = &mut pod["spec"]["terminationGracePeriodSeconds"];
    if grace.as_i64().is_some_and(|seconds| seconds < 0) {
        *grace = 1.into();
    }
}

pub(super) fn prepare_for_update(pod: &mut Value, old: &Value) {
    // What admission computed at creation is kept by an update that leaves it out.
    for field in ["priority", "preemptionPolicy"] {
        let kept = &old["spec"][field];
        if pod["spec"][field].is_null() && !kept.is_null() {
            pod["spec"][field] = kept.clone();
        }
    }
    service_account_alias(pod);
}

/// Both names of the service account are shown.
fn service_account_alias(pod: &mut Value) {
    if let Some(name) = pod["spec"]["serviceAccountName"]
        .as_str()
        .filter(|n| !n.is_empty())
    {
        let name = name.to_owned();
        pod["spec"]["serviceAccount"] = name.into();
    }
}

pub(super) fn prepare_for_status_update(new: &mut Value, old: &Value) {
    let owners = old["metadata"].get("ownerReferences").cloned();
    let m = meta::metadata_mut(new);
    match owners {
        Some(o) => m.insert("ownerReferences".into(), o),
        None => m.remove("ownerReferences"),
    };
    if new["status"]["qosClass"].as_str().unwrap_or("").is_empty()
        && let Some(q) = old["status"].get("qosClass").cloned()
    {
        meta::child_object(new, "status").insert("qosClass".into(), q);
    }
    drop_disabled(meta::child_object(new, "status"));
}

/// `DRAExtendedResource`, `ResourceHealthStatus`, `InPlacePodLevelResourcesVerticalScaling`.
fn drop_disabled(status: &mut Map<String, Value>) {
    for field in ["extendedResourceClaimStatus", "allocatedResources", "resources"] {
        status.remove(field);
    }
    for list in [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ] {
        let containers = status.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.remove("allocatedResourcesStatus");
        }
    }
}

/// Makes a resize of a pod ready (KEP-1287): only what its containers need and how they take a change may
/// differ. Where containers came, went or changed places nothing is taken back, and validation says so.
pub fn prepare_for_resize(new: &mut Value, old: &Value) {
    let names = |pod: &Value, list: &str| -> Vec<Value> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.map(|c| c["name"].clone()).collect()
    };
    let mut kept = old.clone();
    for list in ["containers", "initContainers"] {
        if names(new, list) != names(old, list) {
            return;
        }
        let wanted = new["spec"][list].as_array().into_iter().flatten();
        let containers = kept["spec"].get_mut(list).and_then(Value::as_array_mut);
        for (container, wanted) in containers.into_iter().flatten().zip(wanted) {
            for field in ["resources", "resizePolicy"] {
                super::copy(container, wanted, field);
            }
        }
    }
    for field in ["resourceVersion", "managedFields", "uid"] {
        if !new["metadata"][field].is_null() {
            meta::set(&mut kept, field, new["metadata"][field].clone());
        }
    }
    *new = kept;
}

/// `Guaranteed`, `Burstable` or `BestEffort`, from the requests and limits of
/// cpu and memory of all containers (or of the pod as a whole).
#[must_use]
pub fn qos_class(pod: &Value) -> &'static str {
    let spec = &pod["spec"];
    let containers = || {
        ["containers", "initContainers"]
            .iter()
            .flat_map(|l| spec[*l].as_array().into_iter().flatten())
    };
    let pod_level = &spec["resources"];
    let has_pod_level = ["requests", "limits"]
        .iter()
        .any(|l| pod_level[*l].as_object().is_some_and(|o| !o.is_empty()));
    let all: Vec<&Value> = if has_pod_level {
        vec![pod_level]
    } else {
        containers().map(|c| &c["resources"]).collect()
    };
    let mut requests: [Option<Quantity>; 2] = [None; 2];
    let mut limits: [Option<Quantity>; 2] = [None; 2];
    let mut guaranteed = true;
    for r in all {
        sum(r["requests"].as_object(), &mut requests);
        let found = sum(r["limits"].as_object(), &mut limits);
        guaranteed &= found == 2;
    }
    if requests == [None; 2] && limits == [None; 2] {
        return "BestEffort";
    }
    let equal = requests.iter().zip(&limits).all(|(r, l)| match (r, l) {
        (Some(r), Some(l)) => r == l,
        (None, None) => true,
        _ => false,
    });
    let same_count = requests.iter().flatten().count() == limits.iter().flatten().count();
    if guaranteed && equal && same_count {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

fn sum(list: Option<&Map<String, Value>>, totals: &mut [Option<Quantity>; 2]) -> usize {
    let mut found = 0;
    for (i, name) in ["cpu", "memory"].iter().enumerate() {
        let amount = list
            .and_then(|l| l.get(*name))
            .and_then(|v| Quantity::from_value(v).ok());
        if let Some(q) = amount.filter(|q| q.sign() > 0) {
            found += 1;
            totals[i] = Some(totals[i].map_or(q, |t| t + q));
        }
    }
    found
}
