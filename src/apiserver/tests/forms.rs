//! The form of what is stored, and what subresources do to it.

use super::*;

const NS: &str = "/api/v1/namespaces/default";
const APPS: &str = "/apis/apps/v1/namespaces/default";

fn deployment(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

async fn account(f: &Fixture) {
    f.send(
        "POST",
        &format!("{NS}/serviceaccounts"),
        json!({"metadata": {"name": "default"}}),
    )
    .await;
}

#[tokio::test]
async fn objects_have_gos_form() {
    let f = fixture().await;
    account(&f).await;
    let mut object = pod("p");
    object["spec"]["initContainers"] = Value::Null;
    object["spec"]["hostname"] = json!("");
    object["metadata"]["annotations"] = json!({});
    let (code, made) = f.send("POST", &format!("{NS}/pods"), object).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["containers"][0]["resources"], json!({}));
    for absent in ["initContainers", "hostname"] {
        assert!(made["spec"].get(absent).is_none(), "{absent}");
    }
    assert!(made["metadata"].get("annotations").is_none());
    let (_, made) = f
        .send("POST", &format!("{APPS}/deployments"), deployment("d"))
        .await;
    assert_eq!(made["status"], json!({}));
    // What changes nothing but the form is no change.
    let mut same = made.clone();
    same["spec"]["template"]["spec"]["containers"][0]
        .as_object_mut()
        .unwrap()
        .remove("resources");
    same["status"] = Value::Null;
    let (code, kept) = f.send("PUT", &format!("{APPS}/deployments/d"), same).await;
    assert_eq!(code, 200, "{kept}");
    assert_eq!(kept["metadata"]["generation"], 1);
    assert_eq!(
        kept["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn an_autoscaler_v1_has_no_fields_of_v2() {
    let f = fixture().await;
    let v2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let v1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    let old = json!({"metadata": {"name": "old"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70, "scaleTargetRef": reference}});
    let new = json!({"metadata": {"name": "new"}, "spec": {"maxReplicas": 3, "scaleTargetRef": reference,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
    assert_eq!(f.send("POST", v1, old).await.0, 201);
    assert_eq!(f.send("POST", v2, new).await.0, 201);
    let list = f.get(v1).await;
    for (object, percent) in list["items"].as_array().unwrap().iter().zip([50, 70]) {
        assert_eq!(object["apiVersion"], Value::Null, "the list says it for all");
        let spec: Vec<&String> = object["spec"].as_object().unwrap().keys().collect();
        assert_eq!(
            spec,
            [
                "maxReplicas",
                "minReplicas",
                "scaleTargetRef",
                "targetCPUUtilizationPercentage"
            ]
        );
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], percent);
        assert_eq!(
            object["status"],
            json!({"currentReplicas": 0, "desiredReplicas": 0})
        );
    }
}

#[tokio::test]
async fn a_bound_pod_carries_its_place_and_wishes_no_more() {
    let f = fixture().await;
    account(&f).await;
    let labels =
        json!({"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1", "other": "x"});
    f.send(
        "POST",
        "/api/v1/nodes",
        json!({"metadata": {"name": "n1", "labels": labels}}),
    )
    .await;
    f.send("POST", &format!("{NS}/pods"), pod("p")).await;
    let mut wish = f.get(&format!("{NS}/pods/p")).await;
    wish["status"]["nominatedNodeName"] = json!("n1");
    let (_, wished) = f.send("PUT", &format!("{NS}/pods/p/status"), wish).await;
    assert_eq!(wished["status"]["nominatedNodeName"], "n1");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    let (code, answer) = f.send("POST", &format!("{NS}/pods/p/binding"), binding).await;
    assert_eq!(code, 201, "{answer}");
    let bound = f.get(&format!("{NS}/pods/p")).await;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert!(bound["status"].get("nominatedNodeName").is_none());
    assert_eq!(
        bound["metadata"]["labels"],
        json!({"app": "p", "topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1"})
    );
    let bad =
        json!({"spec": {"ephemeralContainers": [{"name": "Not A Name", "image": "i", "lifecycle": {}}]}});
    let headers = [("content-type", "application/strategic-merge-patch+json")];
    let uri = format!("{NS}/pods/p/ephemeralcontainers");
    let (code, answer) = f.send_as(f.admin(), "PATCH", &uri, bad, &headers).await;
    assert_eq!(code, 422, "{answer}");
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("spec.ephemeralContainers[0].name: Invalid value"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_applied_scale_owns_the_replicas() {
    let f = fixture().await;
    f.send(
        "POST",
        &format!("{APPS}/deployments?fieldManager=maker"),
        deployment("d"),
    )
    .await;
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": 4}});
    let headers = [("content-type", "application/apply-patch+yaml")];
    let uri = format!("{APPS}/deployments/d/scale");
    let (code, answer) = f
        .send_as(
            f.admin(),
            "PATCH",
            &format!("{uri}?fieldManager=scaler&force=true"),
            scale.clone(),
            &headers,
        )
        .await;
    assert_eq!(
        (code.as_u16(), &answer["spec"]["replicas"]),
        (200, &json!(4)),
        "{answer}"
    );
    let stored = f.get(&format!("{APPS}/deployments/d")).await;
    let managed = stored["metadata"]["managedFields"].as_array().unwrap().clone();
    let entry = managed.iter().find(|m| m["manager"] == "scaler").unwrap();
    assert_eq!(
        (&entry["operation"], &entry["subresource"]),
        (&json!("Apply"), &json!("scale"))
    );
    assert_eq!(entry["apiVersion"], "apps/v1");
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    let mut other = scale;
    other["spec"]["replicas"] = json!(5);
    let (code, answer) = f
        .send_as(
            f.admin(),
            "PATCH",
            &format!("{uri}?fieldManager=other"),
            other,
            &headers,
        )
        .await;
    assert_eq!(code, 409, "{answer}");
    assert!(
        answer["message"].as_str().unwrap().contains(".spec.replicas"),
        "{answer}"
    );
}
