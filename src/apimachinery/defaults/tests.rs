use serde_json::json;

use super::*;

fn defaulted(api_version: &str, kind: &str, mut v: Value) -> Value {
    let (g, ver) = crate::meta::split_api_version(api_version);
    let gvk = Gvk::new(g, ver, kind);
    apply(&gvk, &mut v);
    let once = v.clone();
    apply(&gvk, &mut v);
    assert_eq!(v, once, "defaults are idempotent");
    v
}

#[test]
fn pod_defaults() {
    let got = defaulted(
        "v1",
        "Pod",
        json!({"spec": {
            "containers": [{
                "name": "a", "image": "web:1",
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "0.5"}},
                "readinessProbe": {"httpGet": {"port": 80}},
            }],
            "volumes": [{"name": "x"}, {"name": "s", "secret": {"secretName": "q"}}],
        }}),
    );
    let want = json!({"spec": {
        "containers": [{
            "name": "a", "image": "web:1", "imagePullPolicy": "IfNotPresent",
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}},
            "readinessProbe": {
                "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            },
        }],
        "volumes": [{"name": "x", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "q", "defaultMode": 420}}],
        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {},
        "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler", "enableServiceLinks": true,
    }});
    assert_eq!(got, want);
}

#[test]
fn pod_level_resources() {
    let pod = |own: Value| {
        let c = |cpu: &str| json!({"name": "a", "image": "i:1", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": "1"}}});
        let mut side = c("200m");
        side["restartPolicy"] = json!("Always");
        let p = json!({"spec": {"resources": own, "containers": [c("100m"), c("100m")], "initContainers": [side, c("300m")]}});
        defaulted("v1", "Pod", p)["spec"]["resources"].clone()
    };
    // 200m beside 300m while starting is more than 100 + 100 + 200 later.
    assert_eq!(
        pod(json!({"limits": {"cpu": "2", "memory": "1Gi"}})),
        json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}})
    );
    assert_eq!(
        pod(json!({"requests": {"cpu": "1"}})),
        json!({"limits": {"cpu": "3"}, "requests": {"cpu": "1"}})
    );
    assert_eq!(pod(json!({})), json!({}));
}

#[test]
fn pull_policies() {
    let table = [
        ("web", "Always"),
        ("web:latest", "Always"),
        ("web:1", "IfNotPresent"),
        ("host:5000/web", "Always"),
        ("host:5000/web:1", "IfNotPresent"),
        ("web@sha256:00", "IfNotPresent"),
    ];
    for (image, want) in table {
        assert_eq!(pod::pull_policy(image), want, "{image}");
    }
}

#[test]
fn service_defaults() {
    let got = defaulted("v1", "Service", json!({"spec": {"ports": [{"port": 80}]}}));
    assert_eq!(
        got["spec"],
        json!({
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster",
        })
    );
    let got = defaulted(
        "v1",
        "Service",
        json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}}),
    );
    assert_eq!(got["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(got["spec"]["allocateLoadBalancerNodePorts"], true);
    assert_eq!(
        got["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
        10800
    );
}

#[test]
fn workload_defaults() {
    let d = defaulted(
        "apps/v1",
        "Deployment",
        json!({"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}}),
    );
    assert_eq!(
        d["spec"]["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    assert_eq!(d["spec"]["replicas"], 1);
    assert_eq!(d["spec"]["template"]["spec"]["restartPolicy"], "Always");
    assert!(d["spec"]["template"]["spec"].get("enableServiceLinks").is_none());
    let j = defaulted("batch/v1", "Job", json!({"spec": {}}));
    assert_eq!(j["spec"]["completions"], 1);
    assert_eq!(j["spec"]["backoffLimit"], 6);
    let h = defaulted("autoscaling/v2", "HorizontalPodAutoscaler", json!({"spec": {}}));
    assert_eq!(
        h["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        80
    );
}

#[test]
fn other_defaults() {
    let b = defaulted(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        json!({"roleRef": {"kind": "Role", "name": "x"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
    );
    assert_eq!(b["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(b["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    assert!(b["subjects"][1].get("apiGroup").is_none());
    let n = defaulted(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        json!({"spec": {"egress": [{"ports": [{"port": 1}]}]}}),
    );
    assert_eq!(n["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(n["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
    let ns = defaulted("v1", "Namespace", json!({"metadata": {"name": "x"}}));
    assert_eq!(ns["metadata"]["labels"]["kubernetes.io/metadata.name"], "x");
    let l = defaulted(
        "v1",
        "LimitRange",
        json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}}),
    );
    assert_eq!(l["spec"]["limits"][0]["defaultRequest"]["cpu"], "1");
}
