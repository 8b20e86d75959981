use super::*;
use rkind_apimachinery::resources::{self, find};

fn normal(mut object: Value) -> Value {
    crate::machinery::normalize(&Gvk::of(&object), &mut object);
    object
}

#[test]
fn events_have_two_faces() {
    let def = &Def::from(find("events.k8s.io", "v1", "events").unwrap());
    let stored = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod"}, "message": "m", "reportingComponent": "c"});
    let served = to_served(def, stored.clone());
    assert_eq!(served["apiVersion"], "events.k8s.io/v1");
    assert_eq!(served["regarding"]["kind"], "Pod");
    assert_eq!(served["note"], "m");
    assert_eq!(served["reportingController"], "c");
    assert_eq!(normal(to_stored(def, served)), normal(stored));
}

#[test]
fn autoscaler_v1_keeps_everything() {
    let def = &Def::from(find("autoscaling", "v1", "horizontalpodautoscalers").unwrap());
    let stored = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {"stabilizationWindowSeconds": 1}}, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Mi"}}}]}});
    let served = to_served(def, stored.clone());
    assert_eq!(served["spec"]["targetCPUUtilizationPercentage"], 50);
    assert!(served["spec"].get("metrics").is_none());
    assert_eq!(normal(to_stored(def, served)), normal(stored));
}

#[test]
fn devices_of_v1beta1_keep_everything() {
    let def = |resource: &str| {
        let mut all = resources::all().iter();
        let found = all.find(|d| (d.version, d.resource) == ("v1beta1", resource));
        Def::from(found.unwrap())
    };
    let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "c"},
        "spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"deviceClassName": "gpu", "count": 2, "allocationMode": "ExactCount"}},
            {"name": "b", "firstAvailable": [{"name": "x", "deviceClassName": "gpu"}]}]}}});
    let served = to_served(&def("resourceclaims"), claim.clone());
    let requests = &served["spec"]["devices"]["requests"];
    assert_eq!(requests[0]["deviceClassName"], "gpu");
    assert_eq!(requests[1]["firstAvailable"][0]["name"], "x");
    assert!(requests[0].get("exactly").is_none());
    let stored = to_stored(&def("resourceclaims"), served);
    assert_eq!(normal(stored), normal(claim));

    let slice = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": "s"},
        "spec": {"driver": "d", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}, "nodeName": "n",
            "devices": [{"name": "a", "attributes": {"model": {"string": "m"}}}, {"name": "b"}]}});
    let served = to_served(&def("resourceslices"), slice.clone());
    assert_eq!(
        served["spec"]["devices"],
        json!([{"name": "a", "basic": {"attributes": {"model": {"string": "m"}}}}, {"name": "b", "basic": {}}])
    );
    let stored = to_stored(&def("resourceslices"), served);
    assert_eq!(normal(stored), normal(slice));
}
