use super::*;
use rkind_apimachinery::resources::{self, ResourceDef, find};
use rkind_apimachinery::schema::{Schema, Type, TypeDef};

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

/// The first place where two types take different JSON.
fn difference(a: &TypeDef, b: &TypeDef, seen: &mut Vec<(String, String)>) -> Option<String> {
    let pair = (a.name.to_string(), b.name.to_string());
    if a.name == b.name || seen.contains(&pair) {
        return None;
    }
    seen.push(pair);
    let names = |def: &TypeDef| -> Vec<String> { def.fields.iter().map(|f| f.name.to_string()).collect() };
    if names(a) != names(b) {
        return Some(format!("{}: {:?} is not {:?}", a.name, names(a), names(b)));
    }
    let mut fields = a.fields.iter().zip(&b.fields);
    fields.find_map(|(x, y)| type_difference(&x.ty, &y.ty, &format!("{}.{}", a.name, x.name), seen))
}

fn type_difference(a: &Type, b: &Type, at: &str, seen: &mut Vec<(String, String)>) -> Option<String> {
    match (a, b) {
        (Type::Message(a), Type::Message(b)) => difference(a.def(), b.def(), seen),
        (Type::List(a), Type::List(b)) | (Type::Map(a), Type::Map(b)) => type_difference(a, b, at, seen),
        _ => (a != b).then(|| format!("{at}: {a:?} is not {b:?}")),
    }
}

/// What is stored in another version than it is served in, and has no function of its own, has the same
/// shape there: nothing is lost on the way and back.
#[test]
fn versions_without_a_conversion_have_the_stored_shape() {
    let own = |def: &ResourceDef| {
        matches!(
            (def.group, def.version, def.resource),
            ("events.k8s.io", _, _)
                | ("autoscaling", "v1", _)
                | (
                    "resource.k8s.io",
                    "v1beta1",
                    "resourceclaims" | "resourceclaimtemplates" | "resourceslices"
                )
        )
    };
    let mut compared = Vec::new();
    for served in resources::all().iter().filter(|def| !own(def)) {
        if !needed(&Def::from(served)) {
            continue;
        }
        let stored = resources::by_kind(served.storage_group, served.storage_version, served.kind).unwrap();
        let schema = Schema::get();
        let of = |def: &ResourceDef| schema.type_by_name(def.type_name).unwrap();
        assert_eq!(difference(of(served), of(stored), &mut Vec::new()), None);
        compared.push(format!("{}/{}", served.version, served.resource));
    }
    for name in ["v1beta1/servicecidrs", "v1beta2/resourceclaims"] {
        assert!(compared.iter().any(|seen| seen == name), "{name}: {compared:?}");
    }
}
