//! Lists in pieces, and in forms that not everything has.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ground, cases, names};
use crate::server::{Api, Server};

cases! {
    lists_come_in_pieces: ["list/chunks"],
    a_list_goes_on_after_its_version_is_gone: ["list/compacted"],
    reviews_are_no_tables: ["table/not-acceptable"],
}

/// Makes templates `template-000` and on; gives their path.
async fn templates(api: &Api, namespace: &str, count: usize) -> String {
    let path = format!("{}/podtemplates", api.namespace(namespace).await);
    for i in 0..count {
        let template = json!({"metadata": {"name": format!("template-{i:03}")}, "template": {"spec": {
            "containers": [{"name": "c", "image": "registry.example/c:1"}]}}});
        api.post(&path, &template).await;
    }
    path
}

async fn lists_come_in_pieces(g: Arc<Ground>) {
    let path = templates(&g.api, "pieces", 40).await;
    let all: Vec<String> = (0..40).map(|i| format!("template-{i:03}")).collect();
    for limit in [1, 7, 17, 40, 100] {
        let (mut seen, mut next, mut version) = (Vec::new(), String::new(), None);
        loop {
            let page = g.api.get(&format!("{path}?limit={limit}{next}")).await;
            let items = names(&page);
            assert!(items.len() <= limit);
            seen.extend(items.into_iter().map(str::to_owned));
            let of = page["metadata"]["resourceVersion"].clone();
            assert_eq!(
                *version.get_or_insert(of.clone()),
                of,
                "all pieces are of one version"
            );
            let remaining = page["metadata"]["remainingItemCount"]
                .as_u64()
                .unwrap_or_default();
            assert_eq!(remaining as usize, 40 - seen.len());
            // What is written between two pieces is in none.
            if limit == 17 {
                let extra = json!({"metadata": {"name": format!("zz-{}", seen.len())}, "template": {}});
                g.api.send("POST", &path, &extra).await;
            }
            match page["metadata"]["continue"].as_str() {
                Some(token) => next = format!("&continue={token}"),
                None => break,
            }
        }
        assert_eq!(seen, all, "limit {limit}");
        let written = g.api.get(&path).await;
        for name in names(&written).into_iter().filter(|name| name.starts_with("zz-")) {
            g.api.delete(&format!("{path}/{name}")).await;
        }
    }
    assert_eq!(names(&g.api.get(&path).await).len(), 40);
    let selected = g
        .api
        .get(&format!("{path}?limit=2&fieldSelector=metadata.name!%3Dx"))
        .await;
    assert!(
        selected["metadata"]["remainingItemCount"].is_null(),
        "unknown where something selects"
    );
}

async fn a_list_goes_on_after_its_version_is_gone(_: Arc<Ground>) {
    // A server of its own, restarted: it no longer has the page's list at hand, and must look into history.
    let server = Server::start();
    let path = templates(&server.api().await, "compacted", 10).await;
    let first = server.api().await.get(&format!("{path}?limit=4")).await;
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    server.api().await.delete(&format!("{path}/template-005")).await;
    let server = server.restart();
    let api = server.api().await;
    // More than 32 MiB of replaced objects: history is not kept that far.
    let maps = "/api/v1/namespaces/compacted/configmaps";
    let large = json!({"metadata": {"name": "large"}, "data": {"k": "x".repeat(1_000_000)}});
    api.post(maps, &large).await;
    for i in 0..36 {
        let patch = json!({"metadata": {"annotations": {"written": i.to_string()}}});
        api.merge(&format!("{maps}/large"), patch).await;
    }
    let (code, status) = api
        .send("GET", &format!("{path}?limit=4&continue={token}"), &Value::Null)
        .await;
    assert_eq!(
        (code.as_u16(), &status["reason"]),
        (410, &json!("Expired")),
        "{status}"
    );
    let inconsistent = status["metadata"]["continue"]
        .as_str()
        .expect("a token to go on with");
    assert_ne!(inconsistent, token);
    let mut seen: Vec<String> = names(&first).into_iter().map(str::to_owned).collect();
    let mut next = inconsistent.to_owned();
    loop {
        let page = api.get(&format!("{path}?limit=4&continue={next}")).await;
        assert_ne!(
            page["metadata"]["resourceVersion"],
            first["metadata"]["resourceVersion"]
        );
        seen.extend(names(&page).into_iter().map(str::to_owned));
        match page["metadata"]["continue"].as_str() {
            Some(token) => next = token.to_owned(),
            None => break,
        }
    }
    let wanted: Vec<String> = (0..10)
        .filter(|i| *i != 5)
        .map(|i| format!("template-{i:03}"))
        .collect();
    assert_eq!(seen, wanted, "from the last key on, as it is now");
}

async fn reviews_are_no_tables(g: Arc<Ground>) {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "default", "resource": "pods", "verb": "list"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let headers = [("accept", table), ("content-type", "application/json")];
    let (code, status) = g
        .api
        .ask("POST", path, &headers, review.to_string().into_bytes())
        .await;
    assert_eq!(
        (code.as_u16(), &status["reason"]),
        (406, &json!("NotAcceptable")),
        "{status}"
    );
}
