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

/// As kube-apiserver answers the same requests.
#[tokio::test]
async fn owners_of_a_scale_are_those_of_the_replicas() {
    let f = fixture().await;
    let at = format!("{APPS}/deployments/d");
    let scale = |replicas: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": replicas}});
    let apply = async |query: &str, replicas: i64| {
        let uri = format!("{at}/scale?fieldManager={query}");
        let headers = [("content-type", "application/apply-patch+yaml")];
        let (code, answer) = f
            .send_as(f.admin(), "PATCH", &uri, scale(replicas), &headers)
            .await;
        let message = answer["message"].as_str().unwrap_or_default();
        let message = message.strip_prefix("Apply failed with 1 conflict: conflict with ");
        (code.as_u16(), message.unwrap_or_default().to_owned())
    };
    let owners = async || -> Vec<String> {
        let stored = f.get(&at).await;
        let entries = stored["metadata"]["managedFields"].as_array();
        let has = |entry: &&Value| !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null();
        let owners = entries.into_iter().flatten().filter(has).map(|entry| {
            assert_eq!(entry["apiVersion"], "apps/v1", "{entry}");
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            format!(
                "{} {} {}",
                text("manager"),
                text("operation"),
                text("subresource")
            )
        });
        owners.collect()
    };
    let first = "\"before-first-apply\" with subresource \"scale\" using autoscaling/v1: .spec.replicas";
    let untracked = |mut object: Value| {
        object["metadata"]["managedFields"] = json!([{}]);
        object
    };
    let all = format!("{APPS}/deployments?fieldManager=maker");
    let (_, made) = f.send("POST", &all, deployment("d")).await;
    f.send("PUT", &at, untracked(made)).await;
    assert_eq!(owners().await, [""; 0]);
    assert_eq!(apply("scaler", 9).await, (409, first.to_owned()));
    assert_eq!(apply("scaler", 1).await.0, 200);
    assert_eq!(
        owners().await,
        ["scaler Apply scale", "before-first-apply Update scale"]
    );
    assert_eq!(apply("scaler", 9).await, (409, first.to_owned()));
    assert_eq!(apply("other&force=true", 7).await.0, 200);
    assert_eq!(owners().await, ["other Apply scale"]);
    let other = "\"other\" with subresource \"scale\": .spec.replicas";
    assert_eq!(apply("scaler", 9).await, (409, other.to_owned()));
    f.send("PUT", &format!("{at}/scale?fieldManager=putter"), scale(6))
        .await;
    assert_eq!(owners().await, ["putter Update scale"]);
    let putter = "\"putter\" with subresource \"scale\" using autoscaling/v1: .spec.replicas";
    assert_eq!(apply("scaler", 7).await, (409, putter.to_owned()));
}
