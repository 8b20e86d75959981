//! What each kind resets, keeps and computes on its way to the store
//! (upstream's registry strategies), as pure functions over objects.
//!
//! ```text
//! strategy::rules(&gvk) -> Rules                    // create-on-update, unconditional update, status, generation
//! strategy::through_internal(&gvk, &mut new)        // before owners are made out
//! strategy::prepare_for_create(&gvk, &mut new)      // after admission, when metadata.name and uid are set
//! strategy::prepare_for_update(&gvk, &mut new, &old)
//! strategy::prepare_for_status_update(&gvk, &mut new, &old)
//! strategy::prepare_for_resize(&mut new, &old)      // pods/resize
//! strategy::prepare_signing_request(&mut new, &requester)
//! strategy::prepare_for_approval(&mut new, &old)    // certificatesigningrequests/approval
//! strategy::prepare_custom_for_{create, update, status_update}(has_status, …)   // custom resources
//! ```
//! The order of a create: decode, default, admission, set system fields (name,
//! uid, creationTimestamp), `prepare_for_create`, validate. Of an update:
//! decode, default, admission, `prepare_for_update`, validate.

mod certificates;
mod claim;
mod disabled;
mod pod;
mod workloads;

use serde_json::{Value, json};

use crate::meta::{self, Gvk};

pub use certificates::{prepare_for_approval, prepare_signing_request};
pub use pod::{prepare_for_resize, qos_class};
pub use workloads::TEMPLATE_GENERATION as DAEMON_SET_GENERATION;

/// How the registry treats a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The kind counts `metadata.generation`.
    pub generation: bool,
    /// Writes to the main resource leave `status` alone.
    pub status: bool,
    /// PUT of a name that does not exist creates it.
    pub create_on_update: bool,
    /// PUT without a resourceVersion overwrites.
    pub unconditional_update: bool,
}

/// The rules of a kind. Kinds unknown here are custom resources: they count
/// generations, and `status` is for the caller to decide from their
/// definition.
#[must_use]
pub fn rules(gvk: &Gvk) -> Rules {
    let (group, kind) = gvk.group_kind();
    let create_on_update = matches!(
        (group, kind),
        (
            "",
            "Endpoints" | "Event" | "LimitRange" | "Service" | "PodTemplate"
        ) | ("events.k8s.io", "Event")
            | ("coordination.k8s.io", _)
            | ("rbac.authorization.k8s.io", _)
    );
    let unconditional_update = !matches!(
        (group, kind),
        ("apiextensions.k8s.io" | "apiregistration.k8s.io", _)
            | ("admissionregistration.k8s.io" | "flowcontrol.apiserver.k8s.io", _)
            | ("coordination.k8s.io" | "node.k8s.io" | "policy", _)
            | (
                "storage.k8s.io",
                "VolumeAttachment" | "CSINode" | "CSIDriver" | "CSIStorageCapacity"
            )
    ) && meta::is_builtin_group(group);
    let generation = matches!(
        (group, kind),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
            | ("", "Pod" | "PodTemplate" | "ReplicationController")
            | ("scheduling.k8s.io", "PriorityClass")
            | ("batch", _)
            | ("networking.k8s.io", "Ingress" | "IngressClass" | "NetworkPolicy")
            | ("policy", "PodDisruptionBudget")
            | (
                "apiextensions.k8s.io" | "admissionregistration.k8s.io" | "flowcontrol.apiserver.k8s.io",
                _
            )
            | ("discovery.k8s.io", "EndpointSlice")
            | ("resource.k8s.io", "ResourceSlice" | "DeviceClass")
    ) || !meta::is_builtin_group(group);
    Rules {
        generation,
        status: has_status(group, kind),
        create_on_update,
        unconditional_update,
    }
}

fn has_status(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        (
            "",
            "Pod"
                | "Node"
                | "Namespace"
                | "Service"
                | "PersistentVolume"
                | "PersistentVolumeClaim"
                | "ReplicationController"
                | "ResourceQuota"
        ) | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
            | ("batch", _)
            | ("autoscaling", "HorizontalPodAutoscaler")
            | ("policy", "PodDisruptionBudget")
            | ("networking.k8s.io", "Ingress" | "ServiceCIDR")
            | ("certificates.k8s.io", "CertificateSigningRequest")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("apiregistration.k8s.io", "APIService")
            | ("flowcontrol.apiserver.k8s.io", _)
            | ("storage.k8s.io", "VolumeAttachment")
            | ("resource.k8s.io", "ResourceClaim")
            | ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy")
    )
}

/// The status of an object just created.
fn initial_status(group: &str, kind: &str) -> Value {
    match (group, kind) {
        ("", "Namespace") => json!({"phase": "Active"}),
        ("", "PersistentVolume" | "PersistentVolumeClaim") => json!({"phase": "Pending"}),
        ("", "Service") => json!({"loadBalancer": {}}),
        ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => json!({"replicas": 0}),
        ("apps", "StatefulSet") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "DaemonSet") => json!({
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
        }),
        ("policy", _) => json!({
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
        }),
        ("autoscaling", _) => json!({"currentMetrics": null, "desiredReplicas": 0}),
        _ => json!({}),
    }
}

/// Brings a decoded object into the form in which upstream's internal types give it back, before the
/// owners of its fields are made out.
pub fn through_internal(gvk: &Gvk, object: &mut Value) {
    match gvk.group_kind() {
        ("apps", "DaemonSet") => workloads::daemon_set(object),
        ("", "Node") => plural(object, "spec", "podCIDR", "podCIDRs"),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let conversion = object
                .pointer_mut("/spec/conversion")
                .and_then(Value::as_object_mut);
            if let Some(conversion) = conversion {
                let webhook = conversion.get("webhook");
                let says = |field: &str| webhook.is_some_and(|webhook| !webhook[field].is_null());
                if !says("clientConfig") && !says("conversionReviewVersions") {
                    conversion.remove("webhook");
                }
            }
        }
        _ => {}
    }
}

/// Lists that upstream always writes, and writes as none when they are empty.
const NONE_WHEN_EMPTY: &[(&str, &str, &[&str])] = &[
    ("", "LimitRange", &["/spec/limits"]),
    ("batch", "Job", &["/spec/podFailurePolicy/rules"]),
    ("discovery.k8s.io", "EndpointSlice", &["/endpoints", "/ports"]),
    ("rbac.authorization.k8s.io", "ClusterRole", &["/rules"]),
    ("rbac.authorization.k8s.io", "Role", &["/rules"]),
    (
        "resource.k8s.io",
        "ResourceClaimTemplate",
        &["/spec/spec/devices/requests"],
    ),
    ("storage.k8s.io", "CSINode", &["/spec/drivers"]),
];

fn none_when_empty(group: &str, kind: &str, object: &mut Value) {
    let found = NONE_WHEN_EMPTY.iter().find(|(g, k, _)| (*g, *k) == (group, kind));
    for at in found.map_or(&[][..], |(_, _, places)| *places) {
        if let Some(list) = object.pointer_mut(at).filter(|list| **list == json!([])) {
            *list = Value::Null;
        }
    }
}

/// A field and its plural say the same first: the older one where they differ.
fn plural(object: &mut Value, of: &str, one: &str, many: &str) {
    let Some(fields) = object.get_mut(of).and_then(Value::as_object_mut) else {
        return;
    };
    let first = fields.get(many).and_then(|all| all.get(0)).cloned();
    let single = fields.get(one).filter(|value| **value != "").cloned();
    match (single, first) {
        (Some(single), first) if Some(&single) != first.as_ref() => {
            fields.insert(many.into(), json!([single]));
        }
        (None, Some(first)) => {
            fields.insert(one.into(), first);
        }
        _ => {}
    }
}

/// Makes a decoded, defaulted object ready for its first write.
pub fn prepare_for_create(gvk: &Gvk, new: &mut Value) {
    let (group, kind) = gvk.group_kind();
    let rules = rules(gvk);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        meta::remove(new, field);
    }
    // Kinds that do not count leave what is sent.
    if rules.generation {
        meta::set(new, "generation", 1);
    }
    if rules.status && (group, kind) != ("", "Node") {
        let status = initial_status(group, kind);
        meta::as_map(new).insert("status".into(), status);
    }
    disabled::drop(gvk, new);
    none_when_empty(group, kind, new);
    match (group, kind) {
        ("", "ServiceAccount") => names_of_secrets(new),
        ("discovery.k8s.io", "EndpointSlice") => old_topology(new),
        ("", "Pod") => pod::prepare_for_create(new),
        ("", "PersistentVolume") => {
            new["status"]["lastPhaseTransitionTime"] = new["metadata"]["creationTimestamp"].clone();
        }
        ("", "PersistentVolumeClaim") => claim::data_sources(new, None),
        ("", "Namespace") => {
            namespace_finalizer(new);
            // A generated name is known only now.
            let name = meta::name(new).to_owned();
            let labels = meta::metadata_mut(new)
                .entry("labels")
                .or_insert_with(|| json!({}));
            if let Some(labels) = labels.as_object_mut() {
                labels
                    .entry("kubernetes.io/metadata.name")
                    .or_insert_with(|| name.into());
            }
        }
        ("apps", "DaemonSet") => workloads::daemon_set_create(new),
        ("batch", "Job") => workloads::job_selector(new),
        ("apiextensions.k8s.io", _) => {
            new["status"] = json!({"conditions": null, "acceptedNames": {"kind": "", "plural": ""}, "storedVersions": []});
            stored_version(new);
        }
        ("storage.k8s.io", "VolumeAttachment") => {
            new["status"] = json!({"attached": false});
        }
        _ => {}
    }
}

/// A definition's storage version is one that objects may be stored in.
fn stored_version(definition: &mut Value) {
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let Some(name) = versions
        .filter(|v| v["storage"] == true)
        .map(|v| v["name"].clone())
        .next()
    else {
        return;
    };
    let list = meta::child_object(definition, "status")
        .entry("storedVersions")
        .or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut()
        && !list.contains(&name)
    {
        list.push(name);
    }
}

/// What only `v1beta1` of slices could say is dropped.
fn old_topology(slice: &mut Value) {
    let endpoints = slice.get_mut("endpoints").and_then(Value::as_array_mut);
    for endpoint in endpoints.into_iter().flatten().filter_map(Value::as_object_mut) {
        endpoint.remove("deprecatedTopology");
    }
}

/// A service account knows its secrets by name only.
fn names_of_secrets(account: &mut Value) {
    let secrets = account.get_mut("secrets").and_then(Value::as_array_mut);
    for secret in secrets.into_iter().flatten() {
        *secret = match secret["name"].as_str().unwrap_or_default() {
            "" => json!({}),
            name => json!({ "name": name }),
        };
    }
}

fn namespace_finalizer(new: &mut Value) {
    let list = meta::child_object(new, "spec")
        .entry("finalizers")
        .or_insert_with(|| json!([]));
    match list.as_array_mut() {
        Some(l) if l.iter().any(|f| f == "kubernetes") => {}
        Some(l) => l.push("kubernetes".into()),
        None => *list = json!(["kubernetes"]),
    }
}

/// Carries over from `old` what no update may change.
fn keep_system_fields(new: &mut Value, old: &Value) {
    let old_meta = &old["metadata"];
    let m = meta::metadata_mut(new);
    let missing = |v: Option<&Value>| v.is_none_or(|v| v.is_null() || v == "");
    if missing(m.get("uid"))
        && let Some(uid) = old_meta.get("uid")
    {
        m.insert("uid".into(), uid.clone());
    }
    for field in ["creationTimestamp", "deletionTimestamp", "generation"] {
        match old_meta.get(field) {
            Some(v) if !v.is_null() => {
                m.insert(field.into(), v.clone());
            }
            // That no update begins a deletion is for validation to say.
            _ if field == "deletionTimestamp" => {}
            _ => {
                m.remove(field);
            }
        }
    }
    if missing(m.get("deletionGracePeriodSeconds"))
        && let Some(v) = old_meta.get("deletionGracePeriodSeconds")
    {
        m.insert("deletionGracePeriodSeconds".into(), v.clone());
    }
    m.remove("selfLink");
}

/// Copies the field, or its absence.
fn copy(new: &mut Value, old: &Value, field: &str) {
    let m = meta::as_map(new);
    match old.get(field) {
        Some(v) => {
            m.insert(field.into(), v.clone());
        }
        None => {
            m.remove(field);
        }
    }
}

/// Makes an update of the main resource ready: keeps system fields and
/// status, counts the generation.
pub fn prepare_for_update(gvk: &Gvk, new: &mut Value, old: &Value) {
    let (group, kind) = gvk.group_kind();
    let rules = rules(gvk);
    // Of slices what is dropped counts as a change.
    let counted = matches!(kind, "ResourceSlice" | "EndpointSlice") && content_changed(new, old);
    disabled::drop(gvk, new);
    none_when_empty(group, kind, new);
    keep_system_fields(new, old);
    if rules.status {
        copy(new, old, "status");
    }
    match (group, kind) {
        ("", "Namespace") => {
            let finalizers = old["spec"].get("finalizers").cloned();
            let spec = meta::child_object(new, "spec");
            match finalizers {
                Some(f) => spec.insert("finalizers".into(), f),
                None => spec.remove("finalizers"),
            };
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => copy(new, old, "spec"),
        ("apps", "DaemonSet") => workloads::daemon_set_update(new, old),
        ("", "PersistentVolumeClaim") => claim::data_sources(new, Some(old)),
        ("", "ServiceAccount") => names_of_secrets(new),
        ("discovery.k8s.io", "EndpointSlice") if new["endpoints"] != old["endpoints"] => old_topology(new),
        ("", "Pod") => pod::prepare_for_update(new, old),
        ("apiextensions.k8s.io", _) => stored_version(new),
        _ => {}
    }
    // Some count more than what they say of themselves.
    let also = match (group, kind) {
        ("apps", "Deployment") => new["metadata"]["annotations"] != old["metadata"]["annotations"],
        ("discovery.k8s.io", "EndpointSlice") => {
            counted || new["metadata"]["labels"] != old["metadata"]["labels"]
        }
        _ => counted,
    };
    // A priority class is created at generation 1 and stays there; a driver begins at none.
    let counts = (rules.generation && kind != "PriorityClass") || kind == "CSIDriver";
    if counts && (also || content_changed(new, old)) {
        meta::set(new, "generation", meta::generation(old) + 1);
    }
}

/// Whether anything but metadata and status differs.
fn content_changed(new: &Value, old: &Value) -> bool {
    let (Some(n), Some(o)) = (new.as_object(), old.as_object()) else {
        return new != old;
    };
    let skip = |k: &str| matches!(k, "metadata" | "status" | "apiVersion" | "kind");
    let differs = |a: &serde_json::Map<String, Value>, b: &serde_json::Map<String, Value>| {
        a.iter()
            .any(|(k, v)| !skip(k) && b.get(k).unwrap_or(&Value::Null) != v)
    };
    differs(n, o) || differs(o, n)
}

/// Makes an update of the status subresource ready: only status and, as
/// upstream, most of metadata may change.
pub fn prepare_for_status_update(gvk: &Gvk, new: &mut Value, old: &Value) {
    keep_system_fields(new, old);
    let keys: Vec<String> = [old, new]
        .iter()
        .filter_map(|v| v.as_object())
        .flat_map(|o| o.keys().cloned())
        .collect();
    for key in keys {
        if !matches!(key.as_str(), "metadata" | "status" | "apiVersion" | "kind") {
            copy(new, old, &key);
        }
    }
    match gvk.group_kind() {
        ("", "Pod") => pod::prepare_for_status_update(new, old),
        ("", "Node") => {
            // `DynamicKubeletConfig` is gone.
            if let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
                status.remove("config");
            }
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            certificates::prepare_for_status_update(new, old);
        }
        ("", "PersistentVolume") => claim::volume_phase(new, old),
        // The annotation is the spec's in upstream's internal form.
        ("apps", "DaemonSet") => workloads::keep_template_generation(new, old),
        // What is read back gets its defaults.
        ("batch", "Job") => crate::defaults::apply(gvk, new),
        ("apiextensions.k8s.io", _) => {
            // Upstream: the status of a definition touches no metadata but managedFields.
            let managed = meta::remove(new, "managedFields");
            let version = meta::resource_version(new).to_owned();
            copy(new, old, "metadata");
            if let Some(m) = managed {
                meta::set(new, "managedFields", m);
            }
            if !version.is_empty() {
                meta::set(new, "resourceVersion", version);
            }
        }
        _ => {}
    }
}

/// Makes a new custom resource ready; `has_status` when its definition has
/// the status subresource, through which alone status is then written.
pub fn prepare_custom_for_create(has_status: bool, new: &mut Value) {
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        meta::remove(new, field);
    }
    meta::set(new, "generation", 1);
    if has_status {
        meta::as_map(new).remove("status");
    }
}

/// Makes an update of a custom resource ready. Without the subresource a
/// changed status counts a generation like any other change.
pub fn prepare_custom_for_update(has_status: bool, new: &mut Value, old: &Value) {
    keep_system_fields(new, old);
    if has_status {
        copy(new, old, "status");
    }
    let changed = content_changed(new, old) || (!has_status && new["status"] != old["status"]);
    if changed {
        meta::set(new, "generation", meta::generation(old) + 1);
    }
}

/// Makes an update of a custom resource's status ready: metadata stays as it
/// was, but for managedFields.
pub fn prepare_custom_for_status_update(new: &mut Value, old: &Value) {
    keep_system_fields(new, old);
    let status = new.get("status").cloned();
    let sent = [
        meta::remove(new, "managedFields"),
        meta::remove(new, "resourceVersion"),
    ];
    *new = old.clone();
    match status {
        Some(s) => {
            meta::as_map(new).insert("status".into(), s);
        }
        None => {
            meta::as_map(new).remove("status");
        }
    }
    for (field, value) in ["managedFields", "resourceVersion"].into_iter().zip(sent) {
        if let Some(v) = value {
            meta::set(new, field, v);
        }
    }
}

#[cfg(test)]
mod tests;
