use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-10T00:00:00Z".parse().unwrap()
}

fn cells(group: &str, kind: &str, o: &Value) -> Vec<Value> {
    let gvk = Gvk::new(group, "v1", kind);
    let cells = row(&gvk, o, now());
    assert_eq!(cells.len(), columns(&gvk).len(), "{kind}: one cell per column");
    cells
}

#[test]
fn durations() {
    let table = [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (121, "2m1s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600 + 60, "8h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 24 * 3600, "8d"),
        (2 * 365 * 24 * 3600, "2y"),
        (2 * 365 * 24 * 3600 + 86400, "2y1d"),
        (9 * 365 * 24 * 3600, "9y"),
    ];
    for (s, want) in table {
        assert_eq!(human_duration(s), want, "{s}");
    }
}

fn pod(spec: Value, status: Value) -> Value {
    json!({"metadata": {"name": "p", "creationTimestamp": "2026-01-09T23:55:00Z"}, "spec": spec, "status": status})
}

#[test]
fn pod_states() {
    let one = json!({"containers": [{"name": "a"}]});
    let running = json!({"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}});
    let table = [
        (one.clone(), json!({"phase": "Pending"}), "0/1", "Pending", "0"),
        (
            one.clone(),
            json!({"phase": "Running", "containerStatuses": [running]}),
            "1/1",
            "Running",
            "0",
        ),
        (
            one.clone(),
            json!({"phase": "Running", "containerStatuses": [{"name": "a", "restartCount": 3,
                "lastState": {"terminated": {"finishedAt": "2026-01-09T23:55:00Z"}},
                "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            "0/1",
            "CrashLoopBackOff",
            "3 (5m ago)",
        ),
        (
            one.clone(),
            json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 3}}}]}),
            "0/1",
            "ExitCode:3",
            "0",
        ),
        (
            one.clone(),
            json!({"phase": "Succeeded", "containerStatuses": [{"name": "a", "state": {"terminated": {"reason": "Completed"}}}]}),
            "0/1",
            "Completed",
            "0",
        ),
        (
            json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]}),
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}}]}),
            "0/1",
            "Init:1/2",
            "0",
        ),
        (
            one.clone(),
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
            "0/1",
            "SchedulingGated",
            "0",
        ),
        (
            one,
            json!({"phase": "Failed", "reason": "Evicted"}),
            "0/1",
            "Evicted",
            "0",
        ),
    ];
    for (spec, status, ready, state, restarts) in table {
        let c = cells("", "Pod", &pod(spec, status));
        assert_eq!(
            (&c[1], &c[2], &c[3]),
            (&json!(ready), &json!(state), &json!(restarts))
        );
        assert_eq!(c[4], "5m");
        assert_eq!(c[8], "<none>");
    }
    let mut p = pod(json!({"containers": [{}]}), json!({"phase": "Running"}));
    p["metadata"]["deletionTimestamp"] = json!("2026-01-10T00:00:00Z");
    assert_eq!(cells("", "Pod", &p)[2], "Terminating");
}

#[test]
fn services() {
    let s = json!({"metadata": {"name": "s"}, "spec": {
        "type": "NodePort", "clusterIP": "10.96.0.5", "selector": {"b": "2", "a": "1"},
        "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
    }});
    assert_eq!(
        cells("", "Service", &s),
        [
            json!("s"),
            json!("NodePort"),
            json!("10.96.0.5"),
            json!("<none>"),
            json!("80:30000/TCP,53/UDP"),
            json!("<unknown>"),
            json!("a=1,b=2")
        ]
    );
}

#[test]
fn nodes() {
    let n = json!({
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.35.0"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
    });
    let c = cells("", "Node", &n);
    assert_eq!(c[1], "Ready,SchedulingDisabled");
    assert_eq!(c[2], "control-plane");
    assert_eq!(c[4], "v1.35.0");
    assert_eq!(c[5], "10.0.0.1");
    assert_eq!(c[6], "<none>");
    assert_eq!(c[7], "<unknown>");
}

#[test]
fn workload_rows() {
    let d = json!({"metadata": {"name": "d"}, "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
        "template": {"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}}},
        "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}});
    assert_eq!(
        cells("apps", "Deployment", &d),
        [
            json!("d"),
            json!("2/3"),
            json!(3),
            json!(2),
            json!("<unknown>"),
            json!("a,b"),
            json!("i,j"),
            json!("app=web")
        ]
    );
    let j = json!({"metadata": {"name": "j"}, "spec": {"completions": 2}, "status": {"succeeded": 1,
        "startTime": "2026-01-09T23:59:00Z"}});
    let c = cells("batch", "Job", &j);
    assert_eq!(
        (&c[1], &c[2], &c[3]),
        (&json!("Running"), &json!("1/2"), &json!("60s"))
    );
    let h = json!({"metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}]}});
    assert_eq!(
        cells("autoscaling", "HorizontalPodAutoscaler", &h)[2],
        "cpu: <unknown>/80%"
    );
}

#[test]
fn events() {
    let e = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"}, "type": "Warning", "reason": "Failed",
        "message": "no\n", "firstTimestamp": "2026-01-09T23:50:00Z", "lastTimestamp": "2026-01-09T23:59:30Z", "count": 4,
        "source": {"component": "kubelet", "host": "n"}});
    let c = cells("", "Event", &e);
    assert_eq!(
        c,
        [
            json!("30s"),
            json!("Warning"),
            json!("Failed"),
            json!("pod/p"),
            json!(""),
            json!("kubelet, n"),
            json!("no"),
            json!("10m"),
            json!(4),
            json!("e")
        ]
    );
}

#[test]
fn every_kind_has_one_cell_per_column() {
    for (group, kind) in [
        ("", "PodTemplate"),
        ("", "ReplicationController"),
        ("", "Endpoints"),
        ("", "Namespace"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("", "ConfigMap"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
        ("", "ComponentStatus"),
        ("", "ResourceQuota"),
        ("", "LimitRange"),
        ("apps", "ReplicaSet"),
        ("apps", "DaemonSet"),
        ("apps", "StatefulSet"),
        ("apps", "ControllerRevision"),
        ("batch", "CronJob"),
        ("policy", "PodDisruptionBudget"),
        ("networking.k8s.io", "Ingress"),
        ("networking.k8s.io", "IngressClass"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("networking.k8s.io", "ServiceCIDR"),
        ("networking.k8s.io", "IPAddress"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("coordination.k8s.io", "Lease"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("node.k8s.io", "RuntimeClass"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "CSINode"),
        ("storage.k8s.io", "VolumeAttachment"),
        ("storage.k8s.io", "CSIStorageCapacity"),
        ("storage.k8s.io", "VolumeAttributesClass"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("apiregistration.k8s.io", "APIService"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("resource.k8s.io", "ResourceClaim"),
        ("resource.k8s.io", "ResourceSlice"),
        ("resource.k8s.io", "DeviceClass"),
        ("events.k8s.io", "Event"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("example.com", "Thing"),
    ] {
        cells(group, kind, &json!({"metadata": {"name": "x"}}));
    }
}

#[test]
fn documents() {
    let o = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    let t = document(
        &Gvk::new("", "v1", "ConfigMap"),
        [&o],
        &json!({"resourceVersion": "7"}),
        Include::Metadata,
        now(),
    );
    assert_eq!(t["metadata"], json!({"resourceVersion": "7"}));
    assert_eq!(t["rows"][0]["cells"], json!(["a", 1, "<unknown>"]));
    assert_eq!(t["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(t["columnDefinitions"][0]["format"], "name");
}
