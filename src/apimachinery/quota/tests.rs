use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn text(amounts: &Amounts) -> Value {
    to_value(amounts)
}

#[test]
fn a_pod_uses_what_its_containers_want_at_most_at_once() {
    let pod = json!({"spec": {
        "containers": [
            {"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "64Mi", "example.com/gpu": "1"},
                "limits": {"cpu": "1", "example.com/gpu": "1"}}},
            {"name": "b", "resources": {"requests": {"cpu": "200m", "hugepages-2Mi": "4Mi"}}}],
        "initContainers": [
            {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
            {"name": "init", "resources": {"requests": {"cpu": "1"}}}],
        "overhead": {"cpu": "10m", "memory": "1Mi"}}});
    let used = Evaluator::of("", "pods").usage(&pod, now());
    assert_eq!(
        text(&used),
        json!({"count/pods": "1", "pods": "1", "cpu": "1060m", "requests.cpu": "1060m", "limits.cpu": "1010m",
            "memory": "65Mi", "requests.memory": "65Mi", "hugepages-2Mi": "4Mi",
            "requests.hugepages-2Mi": "4Mi", "requests.example.com/gpu": "1"})
    );
}

#[test]
fn a_pod_that_ended_or_should_be_gone_counts_as_an_object_only() {
    let pods = Evaluator::of("", "pods");
    let ended = json!({"spec": {"containers": []}, "status": {"phase": "Failed"}});
    assert_eq!(text(&pods.usage(&ended, now())), json!({"count/pods": "1"}));
    let going = |at: &str| json!({"metadata": {"deletionTimestamp": at, "deletionGracePeriodSeconds": 30}});
    assert!(
        !pods
            .usage(&going("2025-12-31T23:59:00Z"), now())
            .contains_key("pods")
    );
    assert!(
        pods.usage(&going("2025-12-31T23:59:45Z"), now())
            .contains_key("pods")
    );
}

#[test]
fn services_and_claims() {
    let services = Evaluator::of("", "services");
    let ports = json!([{"port": 1}, {"port": 2, "nodePort": 30000}]);
    for (kind, allocate, node_ports, balancers) in [
        ("ClusterIP", json!(null), "0", "0"),
        ("NodePort", json!(null), "2", "0"),
        ("LoadBalancer", json!(null), "2", "1"),
        ("LoadBalancer", json!(false), "1", "1"),
    ] {
        let service =
            json!({"spec": {"type": kind, "ports": ports, "allocateLoadBalancerNodePorts": allocate}});
        let used = text(&services.usage(&service, now()));
        assert_eq!(
            used,
            json!({"count/services": "1", "services": "1", "services.nodeports": node_ports,
                "services.loadbalancers": balancers})
        );
    }
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1500m"}}},
        "status": {"allocatedResources": {"storage": "3"}}});
    assert_eq!(
        text(&Evaluator::of("", "persistentvolumeclaims").usage(&claim, now())),
        json!({"count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1", "requests.storage": "3",
            "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
            "gold.storageclass.storage.k8s.io/requests.storage": "3"})
    );
    let devices = json!({"spec": {"devices": {"requests": [
        {"name": "a", "exactly": {"deviceClassName": "gpu", "count": 2}},
        {"name": "b", "firstAvailable": [
            {"name": "x", "deviceClassName": "gpu", "count": 4}, {"name": "y", "deviceClassName": "nic", "allocationMode": "All"}]}]}}});
    assert_eq!(
        text(&Evaluator::of("resource.k8s.io", "resourceclaims").usage(&devices, now())),
        json!({"count/resourceclaims.resource.k8s.io": "1", "gpu.deviceclass.resource.k8s.io/devices": "6",
            "nic.deviceclass.resource.k8s.io/devices": "32"})
    );
}

#[test]
fn every_name_is_tracked_by_one_resource() {
    let cases = [
        ("", "pods", "requests.example.com/gpu"),
        ("", "pods", "hugepages-2Mi"),
        ("", "pods", "limits.ephemeral-storage"),
        ("", "services", "services.nodeports"),
        (
            "",
            "persistentvolumeclaims",
            "gold.storageclass.storage.k8s.io/requests.storage",
        ),
        ("", "secrets", "secrets"),
        ("apps", "deployments", "count/deployments.apps"),
        ("example.com", "widgets", "count/widgets.example.com"),
        (
            "resource.k8s.io",
            "resourceclaims",
            "gpu.deviceclass.resource.k8s.io/devices",
        ),
    ];
    for (group, resource, name) in cases {
        for (other_group, other, _) in cases {
            let own = (group, resource) == (other_group, other);
            assert_eq!(
                Evaluator::of(other_group, other).tracks(name),
                own,
                "{other} {name}"
            );
        }
    }
    assert!(!Evaluator::of("", "pods").tracks("requests.storage"));
}

#[test]
fn scopes() {
    let pods = Evaluator::of("", "pods");
    let best_effort = json!({"spec": {"containers": [{"name": "c"}]}});
    let burstable = json!({"spec": {"activeDeadlineSeconds": 5, "priorityClassName": "high",
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}],
        "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}]}}}});
    let plain = |scope: &str| json!({"spec": {"scopes": [scope]}});
    let term = |operator: &str, values: Value| {
        json!({"spec": {"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values}]}}})
    };
    let cases = [
        (plain("BestEffort"), true, false),
        (plain("NotBestEffort"), false, true),
        (plain("Terminating"), false, true),
        (plain("NotTerminating"), true, false),
        (plain("CrossNamespacePodAffinity"), false, true),
        (plain("VolumeAttributesClass"), false, false),
        (term("In", json!(["high"])), false, true),
        (term("NotIn", json!(["high"])), true, false),
        (term("Exists", json!([])), false, true),
        (term("DoesNotExist", json!([])), true, false),
    ];
    for (quota, first, second) in cases {
        assert_eq!(pods.in_scopes(&quota, &best_effort), first, "{quota}");
        assert_eq!(pods.in_scopes(&quota, &burstable), second, "{quota}");
    }
    let claim = json!({"spec": {"volumeAttributesClassName": "fast"}});
    let quota = json!({"spec": {"scopeSelector": {"matchExpressions": [
        {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["fast"]}]}}});
    let claims = Evaluator::of("", "persistentvolumeclaims");
    assert!(claims.in_scopes(&quota, &claim));
    assert!(!claims.in_scopes(&quota, &json!({"spec": {}})));
}

fn quota(hard: Value, used: Value) -> Value {
    json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
}

#[test]
fn what_does_not_fit_is_said_in_upstreams_words() {
    let pods = Evaluator::of("", "pods");
    let pod = json!({"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "600m"}}}]}});
    let charge = pods.charge(&pod, None, "", now());
    let hard = json!({"cpu": "1", "pods": "2"});
    let fits = pods.check(&quota(hard.clone(), json!({"cpu": "400m", "pods": "0"})), &charge);
    assert_eq!(text(&fits.unwrap().unwrap()), json!({"cpu": "1", "pods": "1"}));
    let full = pods.check(&quota(hard.clone(), json!({"cpu": "500m", "pods": "2"})), &charge);
    assert_eq!(
        full.unwrap_err(),
        "exceeded quota: q, requested: cpu=600m,pods=1, used: cpu=500m,pods=2, limited: cpu=1,pods=2"
    );
    let unknown = pods.check(&quota(hard, json!({})), &charge);
    assert_eq!(
        unknown.unwrap_err(),
        "status unknown for quota: q, resources: cpu,pods"
    );
    let silent = json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}});
    let limits = quota(
        json!({"limits.cpu": "1", "memory": "1Gi"}),
        json!({"limits.cpu": "0", "memory": "0"}),
    );
    assert_eq!(
        pods.check(&limits, &pods.charge(&silent, None, "", now()))
            .unwrap_err(),
        "failed quota: q: must specify limits.cpu for: a,b; memory for: a,b"
    );
    let other = quota(json!({"services": "1"}), json!({"services": "1"}));
    assert_eq!(pods.check(&other, &charge).unwrap(), None);
}

#[test]
fn an_update_is_charged_for_its_growth() {
    let services = Evaluator::of("", "services");
    let service = |kind: &str| json!({"spec": {"type": kind, "ports": [{"port": 1}]}});
    let quota = quota(
        json!({"services": "1", "services.nodeports": "1"}),
        json!({"services": "1", "services.nodeports": "0"}),
    );
    let (cluster, node) = (service("ClusterIP"), service("NodePort"));
    let grows = services.charge(&node, Some(&cluster), "", now());
    let used = services.check(&quota, &grows).unwrap().unwrap();
    assert_eq!(text(&used), json!({"services": "1", "services.nodeports": "1"}));
    let shrinks = services.charge(&cluster, Some(&node), "", now());
    assert_eq!(services.check(&quota, &shrinks).unwrap(), None);
}

#[test]
fn a_total_counts_what_the_spec_names_and_scopes_allow() {
    let pods = Evaluator::of("", "pods");
    let pod = |cpu: &str| json!({"spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}]}});
    let all = [pod("100m"), pod("1"), json!({"spec": {"containers": [{}]}})];
    let hard = json!({"requests.cpu": "5", "pods": "9", "services": "1"});
    let total = |scopes: Value| {
        let quota = json!({"spec": {"hard": hard, "scopes": scopes}});
        text(&pods.total(&quota, all.iter(), now()))
    };
    assert_eq!(total(json!([])), json!({"requests.cpu": "1100m", "pods": "3"}));
    assert_eq!(
        total(json!(["NotBestEffort"])),
        json!({"requests.cpu": "1100m", "pods": "2"})
    );
}
