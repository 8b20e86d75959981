use serde_json::{Value, json};

use crate::meta::Gvk;
use crate::validation::tests::messages;
use crate::validation::{create, status_update, update};

const VOLUME: (&str, &str) = ("", "PersistentVolume");
const CLAIM: (&str, &str) = ("", "PersistentVolumeClaim");

fn made(kind: (&str, &str), mut o: Value) -> Vec<String> {
    let gvk = Gvk::new(kind.0, "v1", kind.1);
    crate::defaults::apply(&gvk, &mut o);
    messages(&create(&gvk, &o))
}

fn volume(source: Value) -> Value {
    let mut spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]});
    json_patch::merge(&mut spec, &source);
    json!({"metadata": {"name": "v"}, "spec": spec})
}

fn claim(more: Value) -> Value {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    json_patch::merge(&mut spec, &more);
    json!({"metadata": {"name": "c", "namespace": "d"}, "spec": spec})
}

#[test]
fn sources_of_volumes() {
    let table = [
        (json!({"hostPath": {"path": "/v"}}), vec![]),
        (
            json!({}),
            vec!["spec: Required value: must specify a volume type"],
        ),
        (
            json!({"hostPath": {"path": "", "type": "Nonsense"}}),
            vec!["spec.hostPath.path: Required value"],
        ),
        (
            json!({"storageos": {"volumeName": "v", "secretRef": {"name": "s"}}}),
            vec!["spec.storageos.secretRef.namespace: Required value"],
        ),
        (
            json!({"iscsi": {"targetPortal": "p", "iqn": "x", "lun": 0, "secretRef": {}}}),
            vec![
                "spec.iscsi.iqn: Invalid value: \"x\": must be valid format",
                "spec.iscsi.secretRef.name: Required value",
            ],
        ),
        (
            json!({"csi": {"driver": "d.example.com", "nodePublishSecretRef": {"name": "s"}}}),
            vec![
                "spec.csi.volumeHandle: Required value",
                "spec.csi.nodePublishSecretRef.namespace: Required value",
            ],
        ),
        (
            json!({"local": {"path": "/disk"}}),
            vec!["spec.nodeAffinity: Required value: Local volume requires node affinity"],
        ),
        (
            json!({"hostPath": {"path": "/v"}, "nodeAffinity": {}, "accessModes": null}),
            vec![
                "spec.accessModes: Required value",
                "spec.nodeAffinity.required: Required value: must specify required node constraints",
            ],
        ),
        (
            json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}),
            vec![
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
            ],
        ),
        (
            json!({"hostPath": {"path": "/v"}, "volumeAttributesClassName": "fast"}),
            vec!["spec.csi: Required value: has to be specified when using volumeAttributesClassName"],
        ),
    ];
    for (source, want) in table {
        assert_eq!(made(VOLUME, volume(source.clone())), want, "{source}");
    }
}

#[test]
fn volumes_keep_their_source() {
    let gvk = Gvk::new("", "v1", "PersistentVolume");
    let old = volume(json!({"csi": {"driver": "d.example.com", "volumeHandle": "h"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "beta.kubernetes.io/os", "operator": "Exists"}]}]}}}));
    let changed = |patch: Value| {
        let mut new = old.clone();
        json_patch::merge(&mut new, &patch);
        let found = messages(&update(&gvk, &new, &old));
        found
            .iter()
            .map(|line| line.split('\n').next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let secret = json!({"spec": {"csi": {"controllerExpandSecretRef": {"name": "s", "namespace": "n"}}}});
    assert!(changed(secret).is_empty());
    assert_eq!(
        changed(json!({"spec": {"csi": {"volumeHandle": "other"}}})),
        ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"]
    );
    let affinity = |key: &str| {
        json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": key, "operator": "Exists"}]}]}}}})
    };
    assert!(changed(affinity("kubernetes.io/os")).is_empty());
    let other = changed(affinity("other"));
    assert!(other[0].ends_with("field is immutable, except for updating from beta label to GA"));
}

#[test]
fn sources_of_claims() {
    let table = [
        (json!({}), vec![]),
        (
            json!({"accessModes": ["Nonsense"]}),
            vec![
                "spec.accessModes: Unsupported value: \"Nonsense\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            ],
        ),
        (
            json!({"dataSourceRef": {"kind": "Bucket", "name": "b"}}),
            vec![
                "spec.dataSourceRef: Invalid value: \"Bucket\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ],
        ),
        (
            json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"},
                "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "b"}}),
            vec!["spec: Invalid value: {}: must match dataSourceRef"],
        ),
        (
            json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"},
                "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "a", "namespace": "n"}}),
            vec!["spec: Invalid value: {}: may not be specified when dataSourceRef.namespace is specified"],
        ),
    ];
    for (spec, want) in table {
        assert_eq!(made(CLAIM, claim(spec.clone())), want, "{spec}");
    }
}

#[test]
fn claims_shrink_to_what_they_hold() {
    let gvk = Gvk::new("", "v1", "PersistentVolumeClaim");
    let sized = |size: &str| claim(json!({"resources": {"requests": {"storage": size}}}));
    let mut old = sized("3Gi");
    old["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    let to = |size: &str| {
        let mut new = sized(size);
        new["status"] = old["status"].clone();
        messages(&update(&gvk, &new, &old))
    };
    assert!(to("2Gi").is_empty());
    assert_eq!(
        to("1Gi"),
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
    );
    let mut new = old.clone();
    new["status"]["allocatedResourceStatuses"] = json!({"k": "NodeResizePending"});
    assert_eq!(
        messages(&status_update(&gvk, &new, &old)),
        ["status.allocatedResourceStatuses: Unsupported value: \"k\": supported values: \"storage\""]
    );
}

#[test]
fn storage_kinds() {
    let group = "storage.k8s.io";
    let named = |more: Value| {
        let mut o = json!({"metadata": {"name": "x"}});
        json_patch::merge(&mut o, &more);
        o
    };
    let table = [
        (
            "StorageClass",
            json!({"provisioner": "example.com/p", "allowedTopologies": [{}]}),
            vec!["allowedTopologies[0].matchLabelExpressions: Duplicate value: \"\""],
        ),
        (
            "StorageClass",
            json!({"provisioner": "example.com/p", "allowedTopologies": [{"matchLabelExpressions": [{"key": "k"}]}]}),
            vec!["allowedTopologies[0].matchLabelExpressions[0].values: Required value"],
        ),
        (
            "VolumeAttributesClass",
            json!({"driverName": "d.example.com"}),
            vec!["parameters: Required value: must contain at least one key/value pair"],
        ),
        (
            "CSIDriver",
            json!({"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 1}, {"audience": "a"}]}}),
            vec![
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
            ],
        ),
        (
            "CSINode",
            json!({"spec": {"drivers": [{"name": "d", "nodeID": "n", "allocatable": {"count": -1}}]}}),
            vec!["spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "VolumeAttachment",
            json!({"spec": {"attacher": "d", "nodeName": "n", "source": {"inlineVolumeSpec":
                {"accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/v"}, "storageClassName": "s"}}}}),
            vec![
                "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes",
                "spec.source.inlineVolumeSpec.storageClassName: Forbidden: may not be specified in the context of inline volumes",
            ],
        ),
    ];
    for (kind, o, want) in table {
        assert_eq!(made((group, kind), named(o.clone())), want, "{kind} {o}");
    }
}
