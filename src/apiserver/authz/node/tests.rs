use serde_json::json;

use super::{references::*, *};

#[test]
fn kubelets_are_known_by_name_and_group() {
    let kubelet = |name: &str, groups: &[&str]| UserInfo::new(name, groups);
    assert_eq!(
        identity(&kubelet("system:node:n1", &["system:nodes"])),
        Some("n1")
    );
    assert_eq!(identity(&kubelet("system:node:", &["system:nodes"])), Some(""));
    assert_eq!(identity(&kubelet("system:node:n1", &[])), None);
    assert_eq!(identity(&kubelet("jane", &["system:nodes"])), None);
}

#[test]
fn a_pod_refers_to_what_it_needs_to_run() {
    let object = json!({"metadata": {"name": "p"}, "spec": {
    "serviceAccountName": "account",
    "imagePullSecrets": [{"name": "pull"}],
    "initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "key"}}}]}],
    "containers": [{"envFrom": [{"secretRef": {"name": "all"}}, {"configMapRef": {"name": "conf"}}]}],
    "resourceClaims": [{"name": "d", "resourceClaimName": "device"}],
    "volumes": [
        {"name": "a", "secret": {"secretName": "volume"}},
        {"name": "b", "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "ca"}}]}},
        {"name": "c", "csi": {"nodePublishSecretRef": {"name": "csi"}}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "e", "ephemeral": {}},
    ]}});
    for name in ["pull", "key", "all", "volume", "projected", "csi"] {
        assert!(pod(&object, Kind::Secret, name), "{name}");
    }
    assert!(!pod(&object, Kind::Secret, "conf"));
    assert!(pod(&object, Kind::ConfigMap, "conf") && pod(&object, Kind::ConfigMap, "ca"));
    assert!(pod(&object, Kind::Account, "account") && pod(&object, Kind::DeviceClaim, "device"));
    assert_eq!(claims(&object), ["claim", "p-e"]);
    let mut mirror = object.clone();
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    assert!(!pod(&mirror, Kind::Secret, "pull"));

    let pv = json!({"spec": {"csi": {"nodeStageSecretRef": {"name": "s", "namespace": "store"}},
        "rbd": {"secretRef": {"name": "r"}}}});
    assert!(volume(&pv, "mine", "store", "s") && !volume(&pv, "mine", "mine", "s"));
    assert!(volume(&pv, "mine", "mine", "r"));
}
