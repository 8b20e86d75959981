//! Fields of features that v1.35 has turned off by default: they are dropped unread, as upstream's
//! `dropDisabledFields` does.

use serde_json::Value;

use crate::meta::Gvk;

/// Drops them from an object that is about to be written.
pub(super) fn drop(gvk: &Gvk, object: &mut Value) {
    let template = match gvk.group_kind() {
        ("", "Pod") => Some("/spec"),
        ("", "PodTemplate") => Some("/template/spec"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template/spec"),
        ("apps" | "batch", _) | ("", "ReplicationController") => Some("/spec/template/spec"),
        _ => None,
    };
    if let Some(spec) = template.and_then(|at| object.pointer_mut(at)) {
        pod(spec);
    }
    match gvk.group_kind() {
        // `DynamicKubeletConfig` is gone.
        ("", "Node") => remove(object, "/spec", &["configSource"]),
        // `CoordinatedLeaderElection`
        ("coordination.k8s.io", "Lease") => remove(object, "/spec", &["strategy", "preferredHolder"]),
        ("resource.k8s.io", "ResourceSlice") => slice(object),
        ("resource.k8s.io", "DeviceClass") => remove(object, "/spec", &["extendedResourceName"]),
        _ => {}
    }
    let devices = match gvk.group_kind() {
        ("resource.k8s.io", "ResourceClaim") => object.pointer_mut("/spec/devices"),
        ("resource.k8s.io", "ResourceClaimTemplate") => object.pointer_mut("/spec/spec/devices"),
        _ => None,
    };
    if let Some(devices) = devices {
        items(devices, "requests").for_each(device_request);
        items(devices, "constraints").for_each(|constraint| remove(constraint, "", &["distinctAttribute"]));
    }
}

/// `GenericWorkload`, `ContainerStopSignals`, `ClusterTrustBundleProjection`, `PodCertificateRequest`.
fn pod(spec: &mut Value) {
    spec.as_object_mut().map(|fields| fields.remove("workloadRef"));
    let volumes = spec.get_mut("volumes").and_then(Value::as_array_mut);
    for volume in volumes.into_iter().flatten() {
        let sources = volume
            .pointer_mut("/projected/sources")
            .and_then(Value::as_array_mut);
        for source in sources.into_iter().flatten().filter_map(Value::as_object_mut) {
            source.remove("clusterTrustBundle");
            source.remove("podCertificate");
        }
    }
    for lists in ["containers", "initContainers", "ephemeralContainers"] {
        let containers = spec.get_mut(lists).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let Some(fields) = container.as_object_mut() else {
                continue;
            };
            let Some(lifecycle) = fields.get_mut("lifecycle").and_then(Value::as_object_mut) else {
                continue;
            };
            if lifecycle.remove("stopSignal").is_some() && lifecycle.is_empty() {
                fields.remove("lifecycle");
            }
        }
    }
}

fn items<'a>(object: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = object.get_mut(list).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

fn remove(object: &mut Value, at: &str, fields: &[&str]) {
    if let Some(found) = object.pointer_mut(at).and_then(Value::as_object_mut) {
        for field in fields {
            found.remove(*field);
        }
    }
}

/// `DRADeviceTaints`, `DRAConsumableCapacity`.
fn device_request(request: &mut Value) {
    let off = ["tolerations", "capacity"];
    remove(request, "/exactly", &off);
    let choices = request.get_mut("firstAvailable").and_then(Value::as_array_mut);
    for choice in choices.into_iter().flatten() {
        remove(choice, "", &off);
    }
}

/// `DRADeviceTaints`, `DRAPartitionableDevices`, `DRAConsumableCapacity`, `DRADeviceBindingConditions`.
fn slice(object: &mut Value) {
    remove(object, "/spec", &["sharedCounters", "perDeviceNodeSelection"]);
    let devices = object.pointer_mut("/spec/devices").and_then(Value::as_array_mut);
    for device in devices.into_iter().flatten() {
        let off = [
            "taints",
            "consumesCounters",
            "nodeName",
            "nodeSelector",
            "allNodes",
            "allowMultipleAllocations",
            "bindingConditions",
            "bindingFailureConditions",
            "bindsToNode",
        ];
        remove(device, "", &off);
        let capacities = device.get_mut("capacity").and_then(Value::as_object_mut);
        for (_, capacity) in capacities.into_iter().flatten() {
            remove(capacity, "", &["requestPolicy"]);
        }
    }
}
