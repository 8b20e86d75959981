//! Several versions of a custom resource, converted by a webhook.

use std::sync::Arc;

use serde_json::{Value, json};

use super::definitions::{define, definition, object};
use super::{Ground, cases, message};

cases! {
    an_object_is_converted: ["conversion/one"],
    a_mixed_list_is_converted: ["conversion/list"],
    a_failed_conversion_is_told: [],
}

/// `hostPort` of v1 is `host` and `port` of v2. Whatever is called `broken` is not converted.
pub(super) fn converted(review: &Value) -> Value {
    let request = &review["request"];
    let to = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let objects: Vec<Value> = request["objects"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|object| {
            let mut object = object.clone();
            if to.ends_with("/v2") {
                let both = object["hostPort"].as_str().unwrap_or_default().to_owned();
                let (host, port) = both.split_once(':').unwrap_or((&both, ""));
                object["host"] = json!(host);
                object["port"] = json!(port);
                object.as_object_mut().expect("an object").remove("hostPort");
            } else {
                let part = |name: &str| object[name].as_str().unwrap_or_default();
                let both = format!("{}:{}", part("host"), part("port"));
                let fields = object.as_object_mut().expect("an object");
                fields.remove("host");
                fields.remove("port");
                object["hostPort"] = json!(both);
            }
            object["apiVersion"] = json!(to);
            object["metadata"]["labels"] = json!({"converted": "yes"});
            // Of the metadata, labels and annotations may change and nothing else.
            object["metadata"]["finalizers"] = json!(["example.com/not-taken"]);
            object
        })
        .collect();
    let result = if objects.iter().any(|o| o["metadata"]["name"] == "broken") {
        json!({"status": "Failed", "message": "it is broken"})
    } else {
        json!({"status": "Success"})
    };
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "response": {"uid": request["uid"], "result": result, "convertedObjects": objects}})
}

/// A definition of both versions, the first stored; gives its path.
async fn define_both(g: &Ground, group: &str) -> String {
    let text = json!({"type": "string"});
    let first = json!({"type": "object", "properties": {"hostPort": text}});
    let second = json!({"type": "object", "properties": {"host": text, "port": text}});
    let mut made = definition(group, "widgets", "Widget", first);
    let versions = made["spec"]["versions"].as_array_mut().unwrap();
    versions
        .push(json!({"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": second}}));
    let client = g.webhook().await.by_service("/crdconvert");
    made["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client}});
    define(&g.api, made).await
}

fn widgets(group: &str, version: &str) -> String {
    format!("/apis/{group}/{version}/namespaces/default/widgets")
}

fn first(group: &str, name: &str, host_port: &str) -> Value {
    let mut made = object(group, "v1", "Widget", name);
    made["hostPort"] = json!(host_port);
    made
}

async fn an_object_is_converted(g: Arc<Ground>) {
    let (api, group) = (&g.api, "converted.example.com");
    define_both(&g, group).await;
    api.post(&widgets(group, "v1"), &first(group, "a", "local:1"))
        .await;
    let second = format!("{}/a", widgets(group, "v2"));
    let read = api.get(&second).await;
    assert_eq!(
        (&read["apiVersion"], &read["host"], &read["port"]),
        (&json!(format!("{group}/v2")), &json!("local"), &json!("1")),
    );
    assert!(read["hostPort"].is_null());
    assert_eq!(read["metadata"]["labels"]["converted"], "yes");
    assert!(read["metadata"]["finalizers"].is_null());
    // A write in one version is read in the other.
    api.merge(&second, json!({"port": "2"})).await;
    assert_eq!(
        api.get(&format!("{}/a", widgets(group, "v1"))).await["hostPort"],
        "local:2"
    );
}

async fn a_mixed_list_is_converted(g: Arc<Ground>) {
    let (api, group) = (&g.api, "mixed.example.com");
    let path = define_both(&g, group).await;
    api.post(&widgets(group, "v1"), &first(group, "a", "old:1")).await;
    let mut changed = api.get(&path).await;
    changed["spec"]["versions"][0]["storage"] = json!(false);
    changed["spec"]["versions"][1]["storage"] = json!(true);
    api.put(&path, &changed).await;
    let mut newer = object(group, "v2", "Widget", "b");
    newer["host"] = json!("new");
    newer["port"] = json!("2");
    api.post(&widgets(group, "v2"), &newer).await;
    for (version, field, wanted) in [
        ("v1", "hostPort", ["old:1", "new:2"]),
        ("v2", "host", ["old", "new"]),
    ] {
        let list = api.get(&widgets(group, version)).await;
        let items = list["items"].as_array().unwrap();
        let shown: Vec<&Value> = items.iter().map(|item| &item[field]).collect();
        assert_eq!(shown, wanted, "{version}");
        assert!(
            items
                .iter()
                .all(|item| item["apiVersion"] == format!("{group}/{version}"))
        );
        // A watch shows what a list does.
        let watch = format!(
            "{}?watch=1&timeoutSeconds=20&resourceVersion=0",
            widgets(group, version)
        );
        let events = api.events(&watch, |seen| seen.len() == 2).await;
        let seen: Vec<&Value> = events.iter().map(|event| &event["object"][field]).collect();
        assert_eq!(seen, wanted, "{version}");
    }
}

async fn a_failed_conversion_is_told(g: Arc<Ground>) {
    let (api, group) = (&g.api, "failed.example.com");
    define_both(&g, group).await;
    api.post(&widgets(group, "v1"), &first(group, "broken", "a:1"))
        .await;
    let (code, status) = api
        .send("GET", &format!("{}/broken", widgets(group, "v2")), &Value::Null)
        .await;
    assert_eq!(code, 500);
    let wanted = format!("conversion webhook for {group}/v1, Kind=Widget failed: it is broken");
    assert!(message(&status).contains(&wanted), "{status}");
}
