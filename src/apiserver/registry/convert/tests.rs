use super::*;
use rkind_apimachinery::resources::find;

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
