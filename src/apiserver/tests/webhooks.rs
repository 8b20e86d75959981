//! Mutating and validating webhooks, asked over real TLS: the behaviours of upstream's conformance
//! tests (`test/e2e/apimachinery/webhook.go`).

mod conditions;

use base64::Engine as _;
use serde_json::Map;

use super::{
    hooks::{Hook, Reply},
    *,
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CONFIGS: &str = "/apis/admissionregistration.k8s.io/v1";

/// Says yes, with more fields.
fn yes(review: &Value, more: Value) -> Reply {
    let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
    for (key, value) in more.as_object().into_iter().flatten() {
        response[key] = value.clone();
    }
    Reply::Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}

fn no(review: &Value, why: &str) -> Reply {
    yes(review, json!({"allowed": false, "status": {"message": why}}))
}

fn patch(review: &Value, operations: Value) -> Reply {
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    yes(review, json!({"patch": patch, "patchType": "JSONPatch"}))
}

fn rule(operations: &[&str], group: &str, version: &str, resource: &str) -> Value {
    json!({"operations": operations, "apiGroups": [group], "apiVersions": [version], "resources": [resource]})
}

fn webhook(name: &str, client: Value, rule: Value, more: Value) -> Value {
    let mut hook = Map::from_iter([
        ("name".to_owned(), json!(name)),
        ("clientConfig".to_owned(), client),
        ("rules".to_owned(), json!([rule])),
        ("sideEffects".to_owned(), json!("None")),
        ("admissionReviewVersions".to_owned(), json!(["v1"])),
    ]);
    hook.extend(more.as_object().cloned().unwrap_or_default());
    Value::Object(hook)
}

async fn configure(f: &Fixture, kind: &str, name: &str, hooks: Value) {
    let (resource, kind) = match kind {
        "mutating" => ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
        _ => (
            "validatingwebhookconfigurations",
            "ValidatingWebhookConfiguration",
        ),
    };
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name}, "webhooks": hooks});
    let (code, answer) = f.send("POST", &format!("{CONFIGS}/{resource}"), object).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_validating_webhook_denies_writes_and_connections() {
    let f = fixture().await;
    let hook = Hook::start(|path, review| {
        let request = &review["request"];
        if path.starts_with("/attach") || request["object"]["data"]["bad"] == "yes" {
            no(review, "it is bad")
        } else {
            yes(review, json!({"warnings": ["mind \"this\""]}))
        }
    })
    .await;
    let all = ["CREATE", "UPDATE", "DELETE"];
    configure(
        &f,
        "validating",
        "v",
        json!([
            webhook(
                "deny-data.example.com",
                hook.by_url("/data"),
                rule(&all, "", "v1", "configmaps"),
                json!({})
            ),
            webhook(
                "deny-attach.example.com",
                hook.by_url("/attach"),
                rule(&["CONNECT"], "", "v1", "pods/attach"),
                json!({})
            ),
        ]),
    )
    .await;
    let mut bad = config_map("a");
    bad["data"] = json!({"bad": "yes"});
    let (code, answer) = f.send("POST", MAPS, bad.clone()).await;
    assert_eq!(code, 400);
    assert_eq!(
        message(&answer),
        "admission webhook \"deny-data.example.com\" denied the request: it is bad"
    );

    let request = Request::post(MAPS)
        .header("content-type", "application/json")
        .body(Body::from(config_map("a").to_string()))
        .unwrap();
    let response = f.admin().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["warning"], "299 - \"mind \\\"this\\\"\"");
    assert_eq!(f.send("PUT", &format!("{MAPS}/a"), bad).await.0, 400);
    let headers = [("content-type", "application/merge-patch+json")];
    let change = json!({"data": {"bad": "yes"}});
    assert_eq!(
        f.send_as(f.admin(), "PATCH", &format!("{MAPS}/a"), change, &headers)
            .await
            .0,
        400
    );
    assert_eq!(f.send("DELETE", &format!("{MAPS}/a"), Value::Null).await.0, 200);

    let bodies = hook.bodies();
    let deletion = &bodies.last().unwrap()["request"];
    assert_eq!(deletion["operation"], "DELETE");
    assert!(deletion["object"].is_null());
    assert_eq!(deletion["oldObject"]["metadata"]["name"], "a");
    assert_eq!(deletion["options"]["kind"], "DeleteOptions");
    let creation = &bodies[1]["request"];
    assert_eq!(
        creation["kind"],
        json!({"group": "", "version": "v1", "kind": "ConfigMap"})
    );
    assert_eq!(
        creation["requestResource"],
        json!({"group": "", "version": "v1", "resource": "configmaps"})
    );
    assert_eq!(
        (&creation["name"], &creation["namespace"]),
        (&json!("a"), &json!("default"))
    );
    assert_eq!(creation["userInfo"]["username"], "kubernetes-admin");
    assert_eq!(
        (&creation["dryRun"], &creation["options"]["kind"]),
        (&json!(false), &json!("CreateOptions"))
    );
    assert!(creation["oldObject"].is_null());

    f.send(
        "POST",
        "/api/v1/namespaces/default/serviceaccounts",
        json!({"metadata": {"name": "default"}}),
    )
    .await;
    assert_eq!(
        f.send("POST", "/api/v1/namespaces/default/pods", pod("p"))
            .await
            .0,
        201
    );
    let attach = "/api/v1/namespaces/default/pods/p/attach?container=c&stdin=true";
    let (code, answer) = f.send("POST", attach, Value::Null).await;
    assert_eq!(code, 400, "{answer}");
    assert!(
        message(&answer).contains("denied the request: it is bad"),
        "{answer}"
    );
    let connection = hook.bodies().last().unwrap()["request"].clone();
    assert_eq!(
        (&connection["operation"], &connection["subResource"]),
        (&json!("CONNECT"), &json!("attach"))
    );
    let object = json!({"apiVersion": "v1", "kind": "PodAttachOptions", "container": "c", "stdin": true});
    assert_eq!(connection["object"], object);
}

#[tokio::test]
async fn what_cannot_be_asked_fails_closed_or_open() {
    let f = fixture().await;
    let hook = Hook::start(|path, review| match path.split('?').next().unwrap() {
        "/hang" => Reply::Hang,
        "/broken" => Reply::Text(500, "oh".into()),
        "/uid" => Reply::Json(
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": "x", "allowed": true}}),
        ),
        _ => yes(review, json!({})),
    })
    .await;
    let at = hook.address;
    let cases = [
        ("/hang", "Fail", 500, format!("Internal error occurred: failed calling webhook \"h.example.com\": failed to call webhook: Post \"https://{at}/hang?timeout=1s\": context deadline exceeded")),
        ("/hang", "Ignore", 201, String::new()),
        ("/broken", "Fail", 500, "failed to call webhook: an error on the server (\"oh\") has prevented the request from succeeding".into()),
        ("/uid", "Fail", 500, "received invalid webhook response: expected response.uid=".into()),
        ("/uid", "Ignore", 201, String::new()),
        ("/fine", "Fail", 201, String::new()),
    ];
    for kind in ["mutating", "validating"] {
        let resource = format!("{CONFIGS}/{kind}webhookconfigurations/h");
        for (path, policy, code, words) in &cases {
            let more = json!({"failurePolicy": policy, "timeoutSeconds": 1});
            let hooks = json!([webhook(
                "h.example.com",
                hook.by_url(path),
                rule(&["CREATE"], "", "v1", "configmaps"),
                more
            )]);
            configure(&f, kind, "h", hooks).await;
            let (got, answer) = f.send("POST", MAPS, config_map("a")).await;
            assert_eq!(got.as_u16(), *code, "{kind} {path} {policy}: {answer}");
            assert!(message(&answer).contains(words.as_str()), "{answer}");
            f.send("DELETE", &format!("{MAPS}/a"), Value::Null).await;
            // A configuration is never judged by itself or another.
            assert_eq!(f.send("DELETE", &resource, Value::Null).await.0, 200);
        }
    }
}

#[tokio::test]
async fn mutations_come_in_order_are_defaulted_and_seen_again() {
    let f = fixture().await;
    f.send(
        "POST",
        "/api/v1/namespaces/default/serviceaccounts",
        json!({"metadata": {"name": "default"}}),
    )
    .await;
    let hook = Hook::start(|path, review| {
        let object = &review["request"]["object"];
        match path.split('?').next().unwrap() {
            // Sees the second's mark only when it is asked again.
            "/first" if object["data"]["second"].is_string() => patch(
                review,
                json!([{"op": "add", "path": "/data/first-again", "value": "1"}]),
            ),
            "/first" => patch(
                review,
                json!([{"op": "add", "path": "/data/first", "value": "1"}]),
            ),
            "/second" if object["data"]["first"].is_string() => patch(
                review,
                json!([{"op": "add", "path": "/data/second", "value": "1"}]),
            ),
            "/pod" => {
                let init = json!([{"name": "added", "image": "img:2", "bogus": 1}]);
                patch(
                    review,
                    json!([{"op": "add", "path": "/spec/initContainers", "value": init}]),
                )
            }
            "/late" if object["spec"]["initContainers"][0]["terminationMessagePath"].is_string() => patch(
                review,
                json!([{"op": "add", "path": "/metadata/labels/late", "value": "1"}]),
            ),
            _ => no(review, "unexpected"),
        }
    })
    .await;
    let maps = rule(&["CREATE"], "", "v1", "configmaps");
    let pods = rule(&["CREATE"], "", "v1", "pods");
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    configure(
        &f,
        "mutating",
        "b",
        json!([
            webhook(
                "second.example.com",
                hook.by_url("/second"),
                maps.clone(),
                json!({})
            ),
            webhook("pod.example.com", hook.by_url("/pod"), pods.clone(), json!({})),
            webhook("late.example.com", hook.by_url("/late"), pods, json!({})),
        ]),
    )
    .await;
    configure(
        &f,
        "mutating",
        "a",
        json!([webhook("first.example.com", hook.by_url("/first"), maps, again)]),
    )
    .await;
    let (code, made) = f.send("POST", MAPS, config_map("a")).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(
        made["data"],
        json!({"k": "v", "first": "1", "second": "1", "first-again": "1"})
    );
    let asked: Vec<String> = hook
        .paths()
        .iter()
        .map(|p| p.split('?').next().unwrap().to_owned())
        .collect();
    assert_eq!(asked, ["/first", "/second", "/first"]);

    let (code, made) = f.send("POST", "/api/v1/namespaces/default/pods", pod("p")).await;
    assert_eq!(code, 201, "{made}");
    let init = &made["spec"]["initContainers"][0];
    assert_eq!(
        (&init["name"], &init["imagePullPolicy"]),
        (&json!("added"), &json!("IfNotPresent"))
    );
    assert!(init.get("bogus").is_none());
    assert_eq!(made["metadata"]["labels"]["late"], "1");
}

#[tokio::test]
async fn selectors_versions_scopes_and_subresources() {
    let f = fixture().await;
    let hook = Hook::start(|_, review| no(review, "seen")).await;
    for (name, labels) in [("out", json!({"skip": "yes"})), ("in", json!({}))] {
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        assert_eq!(f.send("POST", "/api/v1/namespaces", namespace).await.0, 201);
    }
    let hpas = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let hpa = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let labelled = json!({"metadata": {"name": "a", "labels": {"mine": "1"}}});
    let creation = |group, version, resource| rule(&["CREATE"], group, version, resource);
    let mut cluster = creation("", "*", "*");
    cluster["scope"] = json!("Cluster");
    let mut namespaced = creation("*", "*", "*");
    namespaced["scope"] = json!("Namespaced");
    let out = json!({"namespaceSelector": {"matchExpressions": [{"key": "skip", "operator": "NotIn", "values": ["yes"]}]}});
    let mine = json!({"objectSelector": {"matchLabels": {"mine": "1"}}});
    let exact = json!({"matchPolicy": "Exact"});
    let maps = |ns: &str| format!("/api/v1/namespaces/{ns}/configmaps");
    let cases = [
        (
            "selected out",
            creation("", "v1", "configmaps"),
            out.clone(),
            maps("out"),
            config_map("a"),
            false,
        ),
        (
            "selected",
            creation("", "v1", "configmaps"),
            out,
            maps("in"),
            config_map("a"),
            true,
        ),
        (
            "not mine",
            creation("", "v1", "configmaps"),
            mine.clone(),
            maps("in"),
            config_map("a"),
            false,
        ),
        (
            "mine",
            creation("", "v1", "configmaps"),
            mine,
            maps("in"),
            labelled,
            true,
        ),
        (
            "other group",
            creation("apps", "v1", "*"),
            json!({}),
            maps("in"),
            config_map("a"),
            false,
        ),
        (
            "equivalent",
            creation("autoscaling", "v1", "horizontalpodautoscalers"),
            json!({}),
            hpas.to_owned(),
            hpa.clone(),
            true,
        ),
        (
            "exact",
            creation("autoscaling", "v1", "horizontalpodautoscalers"),
            exact,
            hpas.to_owned(),
            hpa,
            false,
        ),
        (
            "cluster rule",
            cluster.clone(),
            json!({}),
            maps("in"),
            config_map("a"),
            false,
        ),
        (
            "cluster",
            cluster,
            json!({}),
            "/api/v1/namespaces".into(),
            json!({"metadata": {"name": "n"}}),
            true,
        ),
        (
            "namespaced",
            namespaced,
            json!({}),
            maps("in"),
            config_map("a"),
            true,
        ),
        (
            "subresource only",
            creation("", "v1", "configmaps/status"),
            json!({}),
            maps("in"),
            config_map("a"),
            false,
        ),
    ];
    for (what, rule, more, uri, object, denied) in cases {
        configure(
            &f,
            "validating",
            "v",
            json!([webhook("v.example.com", hook.by_url("/"), rule, more)]),
        )
        .await;
        let (code, answer) = f.send("POST", &format!("{uri}?dryRun=All"), object).await;
        assert_eq!(code, if denied { 400 } else { 201 }, "{what}: {answer}");
        f.send(
            "DELETE",
            &format!("{CONFIGS}/validatingwebhookconfigurations/v"),
            Value::Null,
        )
        .await;
    }
    let request = hook.bodies().into_iter().map(|b| b["request"].clone());
    let equivalent = request
        .into_iter()
        .find(|r| r["requestKind"]["group"] == "autoscaling")
        .unwrap();
    assert_eq!(equivalent["kind"]["version"], "v1");
    assert_eq!(equivalent["requestKind"]["version"], "v2");
    assert_eq!(equivalent["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(equivalent["dryRun"], true);
}

#[tokio::test]
async fn a_dry_run_needs_a_hook_without_side_effects() {
    let f = fixture().await;
    let hook = Hook::start(|_, review| yes(review, json!({}))).await;
    for (effects, code) in [("Some", 400), ("NoneOnDryRun", 201)] {
        let object = json!([webhook(
            "h.example.com",
            hook.by_url("/"),
            rule(&["*"], "", "v1", "configmaps"),
            json!({"sideEffects": effects})
        )]);
        // Only `None` and `NoneOnDryRun` may be configured today; older objects may say more.
        let config = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": effects.to_lowercase(), "uid": "u"}, "webhooks": object});
        let key = format!(
            "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/{}",
            effects.to_lowercase()
        );
        rkind_store::Store::create(&*f.store, &key, config.to_string().into())
            .await
            .unwrap();
        let (got, answer) = f
            .send("POST", &format!("{MAPS}?dryRun=All"), config_map("a"))
            .await;
        assert_eq!(got.as_u16(), code, "{answer}");
        if code == 400 {
            assert_eq!(
                message(&answer),
                "admission webhook \"h.example.com\" does not support dry run"
            );
        }
        f.send(
            "DELETE",
            &format!(
                "{CONFIGS}/validatingwebhookconfigurations/{}",
                effects.to_lowercase()
            ),
            Value::Null,
        )
        .await;
    }
}

#[tokio::test]
async fn a_scale_is_judged_as_a_scale() {
    let f = fixture().await;
    let hook = Hook::start(
        |_, review| match review["request"]["object"]["spec"]["replicas"].as_i64() {
            Some(n) if n > 3 => patch(
                review,
                json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]),
            ),
            _ => yes(review, json!({})),
        },
    )
    .await;
    configure(
        &f,
        "mutating",
        "m",
        json!([webhook(
            "m.example.com",
            hook.by_url("/"),
            rule(&["UPDATE"], "apps", "v1", "deployments/scale"),
            json!({})
        )]),
    )
    .await;
    let base = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    assert_eq!(f.send("POST", base, deployment).await.0, 201);
    let scale = json!({"metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": 9}});
    let (code, scaled) = f.send("PUT", &format!("{base}/d/scale"), scale).await;
    assert_eq!(code, 200, "{scaled}");
    assert_eq!(scaled["spec"]["replicas"], 3);
    let asked = hook.bodies()[0]["request"].clone();
    assert_eq!(
        asked["kind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
    assert_eq!(asked["subResource"], "scale");
}
