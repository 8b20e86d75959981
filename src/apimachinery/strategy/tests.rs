use serde_json::json;

use super::*;

fn gvk(group: &str, kind: &str) -> Gvk {
    Gvk::new(group, "v1", kind)
}

#[test]
fn create_resets_status_and_counts_generation() {
    let mut d = json!({"metadata": {"name": "a", "generation": 9, "deletionTimestamp": "x"}, "spec": {}, "status": {"replicas": 3}});
    prepare_for_create(&gvk("apps", "Deployment"), &mut d);
    assert_eq!(
        d,
        json!({"metadata": {"name": "a", "generation": 1}, "spec": {}, "status": {}})
    );
    let mut n = json!({"metadata": {"name": "a"}, "status": {"x": 1}});
    prepare_for_create(&gvk("", "Node"), &mut n);
    assert_eq!(n["status"]["x"], 1, "a kubelet registers with its status");
    let mut ns = json!({"metadata": {"name": "a"}});
    prepare_for_create(&gvk("", "Namespace"), &mut ns);
    assert_eq!(ns["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(ns["status"]["phase"], "Active");
}

#[test]
fn custom_resources_count_generations() {
    let custom = Gvk::new("gateway.networking.k8s.io", "v1", "Gateway");
    assert!(rules(&custom).generation && !rules(&custom).unconditional_update);
    assert!(!rules(&gvk("", "ConfigMap")).generation);
}

#[test]
fn custom_resources_keep_status_apart() {
    let old = json!({"metadata": {"name": "x", "generation": 2, "labels": {"a": "b"}}, "spec": {"n": 1}, "status": {"s": 1}});
    let mut new =
        json!({"metadata": {"name": "x", "resourceVersion": "7"}, "spec": {"n": 1}, "status": {"s": 2}});
    prepare_custom_for_update(true, &mut new, &old);
    assert_eq!(
        (&new["status"]["s"], &new["metadata"]["generation"]),
        (&json!(1), &json!(2))
    );
    let mut new = json!({"metadata": {"name": "x"}, "spec": {"n": 1}, "status": {"s": 2}});
    prepare_custom_for_update(false, &mut new, &old);
    assert_eq!(
        (&new["status"]["s"], &new["metadata"]["generation"]),
        (&json!(2), &json!(3))
    );
    let mut new =
        json!({"metadata": {"name": "x", "resourceVersion": "7"}, "spec": {"n": 9}, "status": {"s": 2}});
    prepare_custom_for_status_update(&mut new, &old);
    assert_eq!(
        new,
        json!({"metadata": {"name": "x", "generation": 2, "labels": {"a": "b"}, "resourceVersion": "7"}, "spec": {"n": 1}, "status": {"s": 2}})
    );
}

#[test]
fn update_keeps_status_and_bumps_generation() {
    let old = json!({"metadata": {"name": "a", "uid": "u", "generation": 3, "creationTimestamp": "t"}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
    let mut new = json!({"metadata": {"name": "a", "generation": 99}, "spec": {"replicas": 2}, "status": {"replicas": 7}});
    prepare_for_update(&gvk("apps", "Deployment"), &mut new, &old);
    assert_eq!(
        new["metadata"],
        json!({"name": "a", "uid": "u", "generation": 4, "creationTimestamp": "t"})
    );
    assert_eq!(new["status"], json!({"replicas": 1}));
    let mut same = old.clone();
    same["metadata"]["labels"] = json!({"x": "y"});
    prepare_for_update(&gvk("apps", "Deployment"), &mut same, &old);
    assert_eq!(same["metadata"]["generation"], 3);
}

#[test]
fn status_update_touches_status() {
    let old = json!({"metadata": {"name": "a", "generation": 3}, "spec": {"replicas": 1}, "status": {}});
    let mut new = json!({"metadata": {"name": "a"}, "spec": {"replicas": 2}, "status": {"replicas": 2}});
    prepare_for_status_update(&gvk("apps", "Deployment"), &mut new, &old);
    assert_eq!(
        new,
        json!({"metadata": {"name": "a", "generation": 3}, "spec": {"replicas": 1}, "status": {"replicas": 2}})
    );
}

#[test]
fn quality_of_service() {
    let pod = |containers: Value| json!({"spec": {"containers": containers}});
    let table = [
        (json!([{"name": "a"}]), "BestEffort"),
        (json!([{"resources": {"requests": {"cpu": "1"}}}]), "Burstable"),
        (
            json!([{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}}}]),
            "Guaranteed",
        ),
        (
            json!([{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}}]),
            "Burstable",
        ),
        (
            json!([{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}}, {"name": "b"}]),
            "Burstable",
        ),
        (
            json!([{"resources": {"requests": {"ephemeral-storage": "1"}}}]),
            "BestEffort",
        ),
    ];
    for (c, want) in table {
        assert_eq!(qos_class(&pod(c.clone())), want, "{c}");
    }
}

#[test]
fn jobs_get_their_selector() {
    let mut j = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"metadata": {"labels": {"a": "b"}}}}});
    prepare_for_create(&gvk("batch", "Job"), &mut j);
    assert_eq!(
        j["spec"]["selector"],
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}})
    );
    assert_eq!(j["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
    assert_eq!(j["spec"]["template"]["metadata"]["labels"]["a"], "b");
}

#[test]
fn daemon_sets_count_templates() {
    let mut d = json!({"metadata": {"name": "d"}, "spec": {"template": {"x": 1}}});
    prepare_for_create(&gvk("apps", "DaemonSet"), &mut d);
    let old = d.clone();
    d["spec"]["template"]["x"] = json!(2);
    prepare_for_update(&gvk("apps", "DaemonSet"), &mut d, &old);
    assert_eq!(
        meta::annotation(&d, "deprecated.daemonset.template.generation"),
        Some("2")
    );
    assert_eq!(meta::generation(&d), 2);
}
