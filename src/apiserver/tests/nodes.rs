//! What a kubelet may read and write.

use super::*;

const NS: &str = "/api/v1/namespaces/default";

fn kubelet(f: &Fixture, node: &str) -> InProcess {
    let user = UserInfo::new(format!("system:node:{node}"), &["system:nodes"]);
    f.server.in_process(user)
}

fn object(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}})
}

fn node(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
}

/// Two nodes, a pod on the first, and what it needs.
async fn cluster() -> Fixture {
    let f = fixture().await;
    f.send(
        "POST",
        &format!("{NS}/serviceaccounts"),
        object("ServiceAccount", "default"),
    )
    .await;
    for name in ["n1", "n2"] {
        assert_eq!(
            f.send("POST", "/api/v1/nodes", node(name, json!({}))).await.0,
            201
        );
    }
    for name in ["used", "other"] {
        f.send("POST", &format!("{NS}/secrets"), object("Secret", name))
            .await;
        f.send("POST", &format!("{NS}/configmaps"), config_map(name))
            .await;
    }
    let mut pod = pod("p");
    pod["spec"]["nodeName"] = json!("n1");
    pod["spec"]["automountServiceAccountToken"] = json!(false);
    pod["spec"]["volumes"] = json!([
        {"name": "s", "secret": {"secretName": "used"}}, {"name": "c", "configMap": {"name": "used"}},
        {"name": "v", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}]);
    let (code, answer) = f.send("POST", &format!("{NS}/pods"), pod).await;
    assert_eq!(code, 201, "{answer}");
    let volume = json!({"metadata": {"name": "pv"}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/x"}, "claimRef": {"namespace": "default", "name": "claim"}}});
    let (code, answer) = f.send("POST", "/api/v1/persistentvolumes", volume).await;
    assert_eq!(code, 201, "{answer}");
    let claim = json!({"metadata": {"name": "claim"}, "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "pv",
        "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}});
    assert_eq!(
        f.send("POST", &format!("{NS}/persistentvolumeclaims"), claim)
            .await
            .0,
        201
    );
    f
}

#[tokio::test]
async fn a_kubelet_reads_what_its_pods_need() {
    let f = cluster().await;
    let unrelated = |node: &str| format!("no relationship found between node '{node}' and this object");
    let cases = [
        ("n1", format!("{NS}/secrets/used"), ""),
        ("n2", format!("{NS}/secrets/used"), &*unrelated("n2")),
        ("n1", format!("{NS}/secrets/other"), &*unrelated("n1")),
        (
            "n1",
            format!("{NS}/secrets?fieldSelector=metadata.name%3Dused"),
            "",
        ),
        ("n1", format!("{NS}/secrets"), "No Object name found"),
        ("n1", format!("{NS}/configmaps/used"), ""),
        ("n1", format!("{NS}/configmaps/other"), &*unrelated("n1")),
        ("n1", format!("{NS}/persistentvolumeclaims/claim"), ""),
        ("n1", "/api/v1/persistentvolumes/pv".into(), ""),
        ("n2", "/api/v1/persistentvolumes/pv".into(), &*unrelated("n2")),
        ("n1", "/api/v1/nodes/n1".into(), ""),
        (
            "n1",
            "/api/v1/nodes/n2".into(),
            "node 'n1' cannot read 'n2', only its own Node object",
        ),
        (
            "n1",
            "/api/v1/nodes".into(),
            "node 'n1' cannot read all nodes, only its own Node object",
        ),
        ("n1", format!("{NS}/pods/p"), ""),
        ("n2", format!("{NS}/pods/p"), &*unrelated("n2")),
        ("n1", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1".into(), ""),
        (
            "n1",
            "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2".into(),
            "can only list/watch pods with spec.nodeName field selector",
        ),
        ("n1", "/api/v1/services".into(), ""),
        ("n1", "/apis/node.k8s.io/v1/runtimeclasses".into(), ""),
        ("n1", "/apis/apps/v1/deployments".into(), " "),
    ];
    for (who, uri, why) in cases {
        let (code, answer) = f.send_as(kubelet(&f, who), "GET", &uri, Value::Null, &[]).await;
        assert_eq!(
            code,
            if why.is_empty() { 200 } else { 403 },
            "{who} {uri}: {answer}"
        );
        assert!(
            answer["message"].as_str().unwrap_or_default().contains(why),
            "{answer}"
        );
    }
    // Gone is the pod, gone the right.
    f.send(
        "DELETE",
        &format!("{NS}/pods/p?gracePeriodSeconds=0"),
        Value::Null,
    )
    .await;
    let (code, _) = f
        .send_as(
            kubelet(&f, "n1"),
            "GET",
            &format!("{NS}/secrets/used"),
            Value::Null,
            &[],
        )
        .await;
    assert_eq!(code, 403);
}

#[tokio::test]
async fn a_kubelet_writes_about_itself() {
    let f = cluster().await;
    let uid = f.get(&format!("{NS}/pods/p")).await["metadata"]["uid"].clone();
    let token = |uid: &Value, audience: &str| {
        json!({"spec": {"audiences": if audience.is_empty() { json!([]) } else { json!([audience]) },
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}}})
    };
    let tokens = format!("{NS}/serviceaccounts/default/token");
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = |name: &str| json!({"metadata": {"name": name}, "spec": {"holderIdentity": name}});
    let merge = "application/merge-patch+json";
    let json = "application/json";
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "x"});
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let cases = [
        (
            "POST",
            "/api/v1/nodes".to_owned(),
            json,
            node("n1", json!({})),
            409,
            "already exists",
        ),
        (
            "POST",
            "/api/v1/nodes".to_owned(),
            json,
            node("n3", json!({})),
            403,
            "node \"n1\" is not allowed to modify node \"n3\"",
        ),
        (
            "PATCH",
            "/api/v1/nodes/n1/status".into(),
            merge,
            ready.clone(),
            200,
            "",
        ),
        (
            "PATCH",
            "/api/v1/nodes/n2/status".into(),
            merge,
            ready,
            403,
            "node \"n1\" is not allowed to modify node \"n2\"",
        ),
        (
            "PATCH",
            "/api/v1/nodes/n1".into(),
            merge,
            json!({"metadata": {"labels": {"mine": "1"}}}),
            200,
            "",
        ),
        (
            "PATCH",
            "/api/v1/nodes/n1".into(),
            merge,
            json!({"metadata": {"labels": {"node-role.kubernetes.io/x": ""}}}),
            403,
            "is not allowed to modify labels: node-role.kubernetes.io/x",
        ),
        (
            "PATCH",
            "/api/v1/nodes/n1".into(),
            merge,
            json!({"spec": {"taints": []}}),
            403,
            "node \"n1\" is not allowed to modify taints",
        ),
        (
            "DELETE",
            "/api/v1/nodes/n1".into(),
            json,
            Value::Null,
            403,
            "cannot delete resource \"nodes\"",
        ),
        (
            "PATCH",
            format!("{NS}/pods/p/status"),
            merge,
            json!({"status": {"phase": "Running"}}),
            200,
            "",
        ),
        (
            "PATCH",
            format!("{NS}/pods/p/status"),
            merge,
            json!({"metadata": {"labels": {"a": "b"}}}),
            403,
            "cannot update labels through pod status",
        ),
        (
            "POST",
            format!("{NS}/pods"),
            json,
            pod("q"),
            403,
            "node \"n1\" can only create mirror pods",
        ),
        ("POST", tokens.clone(), json, token(&uid, ""), 201, ""),
        ("POST", tokens.clone(), json, token(&uid, "vault"), 201, ""),
        (
            "POST",
            tokens.clone(),
            json,
            token(&uid, "bank"),
            403,
            "audience \"bank\" not found in pod spec volume",
        ),
        (
            "POST",
            tokens.clone(),
            json,
            token(&json!("other"), ""),
            403,
            "does not match the UID in record",
        ),
        (
            "POST",
            tokens,
            json,
            json!({"spec": {}}),
            403,
            "node requested token not bound to a pod",
        ),
        ("POST", leases.to_owned(), json, lease("n1"), 201, ""),
        (
            "POST",
            leases.to_owned(),
            json,
            lease("n2"),
            403,
            "can only access node lease with the same name",
        ),
        (
            "PATCH",
            format!("{leases}/n1"),
            merge,
            json!({"spec": {"leaseDurationSeconds": 40}}),
            200,
            "",
        ),
        ("POST", format!("{NS}/events"), json, event, 201, ""),
        (
            "POST",
            format!("{NS}/pods/p/eviction"),
            json,
            json!({"metadata": {"name": "p"}}),
            201,
            "",
        ),
    ];
    for (method, uri, content, body, expected, why) in cases {
        let headers = [("content-type", content)];
        let (code, answer) = f.send_as(kubelet(&f, "n1"), method, &uri, body, &headers).await;
        assert_eq!(code.as_u16(), expected, "{method} {uri}: {answer}");
        assert!(
            answer["message"].as_str().unwrap_or_default().contains(why),
            "{answer}"
        );
    }
    let (code, answer) = f
        .send_as(
            kubelet(&f, "n2"),
            "DELETE",
            &format!("{NS}/pods/p"),
            Value::Null,
            &[],
        )
        .await;
    assert_eq!(code, 403, "{answer}");
}

#[tokio::test]
async fn the_proxys_identity_serves_dns_too() {
    let f = fixture().await;
    let proxy = || f.server.in_process(UserInfo::new("system:kube-proxy", &[]));
    for (uri, code) in [
        ("/api/v1/services", 200),
        ("/api/v1/nodes", 200),
        ("/apis/discovery.k8s.io/v1/endpointslices", 200),
        ("/api/v1/namespaces", 200),
        ("/api/v1/namespaces/default", 403),
        ("/api/v1/pods", 403),
        ("/api/v1/secrets", 403),
    ] {
        assert_eq!(
            f.send_as(proxy(), "GET", uri, Value::Null, &[]).await.0,
            code,
            "{uri}"
        );
    }
}
