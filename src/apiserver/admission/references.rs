//! What of the API a pod's spec refers to.

use serde_json::Value;

/// Whether an object stands under one of these names anywhere in the spec.
fn names(spec: &Value, keys: &[&str]) -> bool {
    match spec {
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| (value.is_object() && keys.contains(&key.as_str())) || names(value, keys)),
        Value::Array(items) => items.iter().any(|item| names(item, keys)),
        _ => false,
    }
}

fn volumes(spec: &Value) -> impl Iterator<Item = &Value> {
    spec["volumes"].as_array().into_iter().flatten()
}

/// Whether a volume projects this kind of source.
pub(super) fn projects(spec: &Value, source: &str) -> bool {
    volumes(spec).any(|volume| {
        let sources = volume["projected"]["sources"].as_array();
        sources.into_iter().flatten().any(|p| p[source].is_object())
    })
}

/// Whether a secret is named. Upstream: `VisitPodSecretNames`.
pub(super) fn secrets(spec: &Value) -> bool {
    names(spec, &["secretKeyRef", "secretRef", "nodePublishSecretRef"])
        || spec["imagePullSecrets"]
            .as_array()
            .is_some_and(|list| !list.is_empty())
        || volumes(spec).any(|v| v["secret"].is_object() || v["azureFile"].is_object())
        || projects(spec, "secret")
}

/// The first kind that a kubelet's own pod may not refer to, in upstream's order of looking.
pub(super) fn foreign(spec: &Value) -> Option<&'static str> {
    if spec["serviceAccountName"]
        .as_str()
        .is_some_and(|name| !name.is_empty())
    {
        return Some("a service account");
    }
    if secrets(spec) {
        return Some("secrets");
    }
    if names(spec, &["configMapKeyRef", "configMapRef"])
        || volumes(spec).any(|v| v["configMap"].is_object())
        || projects(spec, "configMap")
    {
        return Some("configmaps");
    }
    if projects(spec, "clusterTrustBundle") {
        return Some("clustertrustbundles");
    }
    if volumes(spec).any(|v| v["persistentVolumeClaim"].is_object()) {
        return Some("persistentvolumeclaims");
    }
    let claims = spec["resourceClaims"].as_array();
    claims
        .is_some_and(|list| !list.is_empty())
        .then_some("resourceclaims")
}
