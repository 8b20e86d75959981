//! Every endpoint that discovery names is asked: all verbs of all kinds, in JSON, protobuf and as a Table.
//!
//! A kind's valid object is a line of `testdata/kinds.jsonl`; a new kind without one fails here, as
//! does an endpoint that nothing here reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Api, Server};

struct Walk {
    api: Api,
    samples: BTreeMap<(String, String), Value>,
    /// `<group version> <resource> <verb>` of what was answered as it should be.
    reached: BTreeSet<String>,
}

fn samples() -> BTreeMap<(String, String), Value> {
    let csr = include_str!("testdata/jane.csr.b64").trim();
    include_str!("testdata/kinds.jsonl")
        .lines()
        .map(|line| {
            let object: Value = serde_json::from_str(&line.replace("$CSR", csr))
                .unwrap_or_else(|error| panic!("{error}: {line}"));
            let text = |field: &str| object[field].as_str().expect("a type").to_owned();
            ((text("apiVersion"), text("kind")), object)
        })
        .collect()
}

/// A kind at its path.
struct Kind<'a> {
    version: &'a str,
    resource: &'a str,
    collection: String,
    one: String,
    sample: Value,
    verbs: Vec<String>,
    subresources: Vec<&'a Value>,
}

impl Walk {
    /// Sends a request that must succeed and notes the endpoint.
    async fn ask(&mut self, at: (&str, &str), verb: &str, method: &str, path: &str, body: &Value) -> Value {
        let what = format!("{} {} {verb}", at.0, at.1);
        let answer = Api::expect(
            &format!("{what}: {method} {path}"),
            self.api.send(method, path, body).await,
        );
        self.reached.insert(what);
        answer
    }

    /// Reads an object and puts it back changed, anew where the server itself has written it in between, as
    /// it does the status of some kinds soon after their creation.
    async fn update(
        &mut self,
        at: (&str, &str),
        (from, to): (&str, &str),
        change: impl Fn(&mut Value),
    ) -> Value {
        loop {
            let mut object = self.api.get(from).await;
            change(&mut object);
            let (code, answer) = self.api.send("PUT", to, &object).await;
            if code == 409 && answer["reason"] == "Conflict" {
                continue;
            }
            let what = format!("{} {} update", at.0, at.1);
            let answer = Api::expect(&format!("{what}: PUT {to}"), (code, answer));
            self.reached.insert(what);
            return answer;
        }
    }

    /// Nothing is stored of these: the server looks at itself and, where it runs alone, at nobody else.
    async fn components(&mut self) {
        let at = ("v1", "componentstatuses");
        let path = "/api/v1/componentstatuses";
        let list = self.ask(at, "list", "GET", path, &Value::Null).await;
        let conditions: BTreeMap<&str, &Value> = list["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| {
                (
                    item["metadata"]["name"].as_str().expect("a name"),
                    &item["conditions"][0],
                )
            })
            .collect();
        assert_eq!(
            conditions["etcd-0"],
            &json!({"type": "Healthy", "status": "True", "message": "ok"})
        );
        for (name, port) in [("scheduler", 10259), ("controller-manager", 10257)] {
            let condition = conditions[name];
            // Where something listens there, it is not ours.
            if condition["status"] == "False" {
                let said = condition["message"].as_str().expect("a message");
                let wanted = format!("Get \"https://127.0.0.1:{port}/healthz\": ");
                assert!(said.starts_with(&wanted), "{said}");
            }
        }
        let one = self
            .ask(at, "get", "GET", &format!("{path}/etcd-0"), &Value::Null)
            .await;
        assert_eq!(one["conditions"][0], *conditions["etcd-0"]);
        let (code, _, said) = self
            .api
            .refused("GET", &format!("{path}/nope"), &Value::Null)
            .await;
        assert_eq!((code, said.as_str()), (404, "componentstatus \"nope\" not found"));
        let none = self.api.get(&format!("{path}?labelSelector=a%3Db")).await;
        assert_eq!(none["items"], json!([]));
    }

    async fn kind(&mut self, kind: &Kind<'_>) {
        let at = (kind.version, kind.resource);
        let has = |verb: &str| kind.verbs.iter().any(|v| v == verb);
        if has("create") {
            let path = format!("{}?fieldValidation=Strict", kind.collection);
            let made = self.ask(at, "create", "POST", &path, &kind.sample).await;
            assert_eq!(made["kind"], kind.sample["kind"]);
        }
        if !has("get") {
            return;
        }
        let read = self.read_and_listed(kind).await;
        let name = read["metadata"]["name"].as_str().expect("a name");
        self.forms(kind, &read).await;
        let read = self.api.get(&kind.one).await;
        let watch = format!(
            "{}?watch=1&timeoutSeconds=9&fieldSelector=metadata.name%3D{name}",
            kind.collection
        );
        let events = self.api.events(&watch, |seen| !seen.is_empty()).await;
        assert_eq!(plain(&events[0]["object"]), plain(&read), "{at:?}: watched");
        self.reached.insert(format!("{} {} watch", at.0, at.1));

        let mark = |object: &mut Value| object["metadata"]["labels"]["updated"] = json!("yes");
        let updated = self.update(at, (&kind.one, &kind.one), mark).await;
        assert_eq!(updated["metadata"]["labels"]["updated"], "yes");
        let patch = json!({"metadata": {"labels": {"patched": "yes"}}});
        let patched = self.ask(at, "patch", "PATCH", &kind.one, &patch).await;
        assert_eq!(patched["metadata"]["labels"]["patched"], "yes");
        self.apply(kind).await;
        for sub in &kind.subresources {
            self.subresource(kind, sub).await;
        }
        if has("delete") {
            self.ask(at, "delete", "DELETE", &kind.one, &Value::Null).await;
            self.gone(kind).await;
        }
        if has("deletecollection") {
            self.api.post(&kind.collection, &kind.sample).await;
            let path = format!("{}?fieldSelector=metadata.name%3D{name}", kind.collection);
            self.ask(at, "deletecollection", "DELETE", &path, &Value::Null)
                .await;
            self.gone(kind).await;
        }
    }

    /// The object, which a list shows as it is. The server itself writes the status of some kinds
    /// soon after their creation, so that the two may first be of different versions.
    async fn read_and_listed(&mut self, kind: &Kind<'_>) -> Value {
        let at = (kind.version, kind.resource);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let read = self.ask(at, "get", "GET", &kind.one, &Value::Null).await;
            let list = self.ask(at, "list", "GET", &kind.collection, &Value::Null).await;
            let items = list["items"].as_array().expect("items");
            let name = &read["metadata"]["name"];
            let listed = items.iter().find(|item| item["metadata"]["name"] == *name);
            let mut listed = listed.unwrap_or_else(|| panic!("{at:?}: not listed")).clone();
            // What it is, is said at the list.
            assert!(
                listed.get("kind").is_none() && listed.get("apiVersion").is_none(),
                "{at:?}"
            );
            listed["kind"] = read["kind"].clone();
            listed["apiVersion"] = read["apiVersion"].clone();
            if listed["metadata"]["resourceVersion"] == read["metadata"]["resourceVersion"] {
                assert_eq!(listed, read, "{at:?}: listed and read");
                return read;
            }
            assert!(tokio::time::Instant::now() < deadline, "{at:?} goes on changing");
        }
    }

    /// The same object in the other media types.
    async fn forms(&self, kind: &Kind<'_>, read: &Value) {
        let accept = |form: &'static str| [("accept", form)];
        let protobuf = accept("application/vnd.kubernetes.protobuf");
        for path in [&kind.one, &kind.collection] {
            let response = self.api.raw("GET", path, &protobuf, vec![]).await;
            let code = response.status();
            let bytes = response.into_body().collect_bytes().await.expect("a body");
            assert!(code.is_success() && bytes.starts_with(b"k8s\0"), "{path}: {code}");
        }
        let response = self.api.raw("GET", &kind.one, &protobuf, vec![]).await;
        let bytes = response
            .into_body()
            .collect_bytes()
            .await
            .expect("a body")
            .to_vec();
        let typed = [("content-type", "application/vnd.kubernetes.protobuf")];
        let (code, same) = self.api.ask("PUT", &kind.one, &typed, bytes).await;
        assert_eq!(code, 200, "{}: by protobuf: {same}", kind.one);
        assert_eq!(plain(&same), plain(read), "{}: by protobuf", kind.one);
        let table = accept("application/json;as=Table;v=v1;g=meta.k8s.io");
        let (code, table) = self.api.ask("GET", &kind.collection, &table, vec![]).await;
        assert_eq!(
            (code.as_u16(), &table["kind"]),
            (200, &json!("Table")),
            "{}",
            kind.collection
        );
        let columns = table["columnDefinitions"].as_array().expect("columns").len();
        for row in table["rows"].as_array().expect("rows") {
            assert_eq!(
                row["cells"].as_array().expect("cells").len(),
                columns,
                "{}",
                kind.one
            );
        }
    }

    /// Applying what is there changes nothing but who owns it.
    async fn apply(&self, kind: &Kind<'_>) {
        let mut body = kind.sample.clone();
        body["metadata"]
            .as_object_mut()
            .expect("metadata")
            .retain(|key, _| matches!(key.as_str(), "name" | "namespace"));
        let path = format!("{}?fieldManager=walk&force=true", kind.one);
        let typed = [("content-type", "application/apply-patch+yaml")];
        let mut versions = Vec::new();
        for _ in 0..2 {
            let (code, applied) = self
                .api
                .ask("PATCH", &path, &typed, body.to_string().into_bytes())
                .await;
            assert_eq!(code.as_u16(), 200, "{path}: {applied}");
            versions.push(applied["metadata"]["resourceVersion"].clone());
        }
        assert_eq!(versions[0], versions[1], "{path}: applied twice");
    }

    async fn subresource(&mut self, kind: &Kind<'_>, sub: &Value) {
        let name = sub["name"].as_str().expect("a name");
        let at = (kind.version, name);
        let short = name.rsplit('/').next().expect("a subresource");
        let path = format!("{}/{short}", kind.one);
        let verbs: Vec<&str> = sub["verbs"]
            .as_array()
            .expect("verbs")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        // They need somebody behind: `streams`.
        if matches!(short, "exec" | "attach" | "portforward" | "proxy" | "log") {
            return;
        }
        let object_name = kind.one.rsplit('/').next().expect("a name");
        for verb in verbs {
            match (short, verb) {
                ("binding", "create") => {
                    let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": object_name},
                        "target": {"kind": "Node", "name": "n"}});
                    self.ask(at, verb, "POST", &path, &body).await;
                }
                ("eviction", "create") => {
                    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": object_name},
                        "deleteOptions": {"dryRun": ["All"]}});
                    self.ask(at, verb, "POST", &path, &body).await;
                }
                ("token", "create") => {
                    let body =
                        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
                    self.ask(at, verb, "POST", &path, &body).await;
                }
                // A namespace is finalized below, once it goes.
                ("finalize", _) => {}
                (_, "get") => {
                    self.ask(at, verb, "GET", &path, &Value::Null).await;
                }
                (_, "patch") => {
                    self.ask(at, verb, "PATCH", &path, &json!({})).await;
                }
                (_, "update") => {
                    let whole = if short == "scale" { &path } else { &kind.one };
                    self.update(at, (whole, &path), |_| ()).await;
                }
                other => panic!("{name}: nothing is known about {other:?}"),
            }
        }
    }

    /// Takes finalizers off, as the controllers would, and waits until the object is gone.
    async fn gone(&mut self, kind: &Kind<'_>) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let (code, object) = self.api.send("GET", &kind.one, &Value::Null).await;
            if code == 404 {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{} stays: {object:#}",
                kind.one
            );
            if kind.resource == "namespaces" {
                let mut object = object;
                object["spec"]["finalizers"] = json!([]);
                let path = format!("{}/finalize", kind.one);
                self.ask(
                    (kind.version, "namespaces/finalize"),
                    "update",
                    "PUT",
                    &path,
                    &object,
                )
                .await;
            } else if kind.resource == "pods" {
                let now = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
                let _ = self.api.send("DELETE", &kind.one, &now).await;
            } else {
                // Whoever else finalizes it may be faster.
                let none = json!({"metadata": {"finalizers": null}});
                let _ = self.api.send("PATCH", &kind.one, &none).await;
            }
        }
    }
}

/// An object without what is empty, without its status, which the server itself may write meanwhile,
/// and without what a write changes anyway. A client written in Go
/// writes the empty values of fields that its type cannot leave out.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| {
                !matches!(
                    name.as_str(),
                    "managedFields" | "resourceVersion" | "generation" | "status"
                )
            });
            let kept = kept.map(|(name, value)| (name.clone(), plain(value)));
            Value::Object(kept.filter(|(_, value)| !is_empty(value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_is_reached() {
    let server = Server::start();
    let api = server.api().await;
    api.namespace("endpoints").await;
    let mut documents = vec![("v1".to_owned(), api.get("/api/v1").await)];
    for group in api.get("/apis").await["groups"].as_array().expect("groups") {
        for version in group["versions"].as_array().expect("versions") {
            let name = version["groupVersion"].as_str().expect("a version").to_owned();
            documents.push((name.clone(), api.get(&format!("/apis/{name}")).await));
        }
    }
    let mut walk = Walk {
        api,
        samples: samples(),
        reached: BTreeSet::new(),
    };
    let mut served = BTreeSet::new();
    for (version, document) in &documents {
        let resources = document["resources"].as_array().expect("resources");
        for resource in resources {
            let name = resource["name"].as_str().expect("a name");
            for verb in resource["verbs"].as_array().expect("verbs") {
                served.insert(format!("{version} {name} {}", verb.as_str().expect("a verb")));
            }
            let kind = resource["kind"].as_str().expect("a kind");
            if name.contains('/') || name == "componentstatuses" || name == "bindings" {
                continue;
            }
            let key = (version.clone(), kind.to_owned());
            let mut sample = walk
                .samples
                .remove(&key)
                .unwrap_or_else(|| panic!("testdata/kinds.jsonl has no line for {key:?}"));
            let root = if version == "v1" {
                "/api/v1".to_owned()
            } else {
                format!("/apis/{version}")
            };
            let collection = match resource["namespaced"].as_bool() {
                Some(true) => format!("{root}/namespaces/endpoints/{name}"),
                _ => format!("{root}/{name}"),
            };
            let review = resource["verbs"] == json!(["create"]);
            if sample["metadata"]["name"].is_null() && !review {
                sample["metadata"]["name"] = json!("sample");
            }
            let one = sample["metadata"]["name"].as_str().unwrap_or_default();
            let prefix = format!("{name}/");
            walk.kind(&Kind {
                version,
                resource: name,
                one: format!("{collection}/{one}"),
                collection,
                verbs: resource["verbs"]
                    .as_array()
                    .expect("verbs")
                    .iter()
                    .filter_map(|v| v.as_str().map(str::to_owned))
                    .collect(),
                subresources: resources
                    .iter()
                    .filter(|r| r["name"].as_str().is_some_and(|n| n.starts_with(&prefix)))
                    .collect(),
                sample,
            })
            .await;
        }
    }
    let legacy = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "n"}});
    walk.api
        .post("/api/v1/namespaces/endpoints/pods", &crate::server::pod("bound"))
        .await;
    walk.ask(
        ("v1", "bindings"),
        "create",
        "POST",
        "/api/v1/namespaces/endpoints/bindings",
        &legacy,
    )
    .await;
    walk.components().await;
    walk.reached.extend(crate::streams::walk(&server).await);
    assert!(walk.samples.is_empty(), "not served: {:?}", walk.samples.keys());
    let missed: Vec<&str> = served.difference(&walk.reached).map(String::as_str).collect();
    assert!(
        missed.is_empty(),
        "endpoints that no request here reaches: {missed:?}"
    );
}
