//! Webhooks that judge and change objects of built-in kinds.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Ground, cases, message, workload};
use crate::server::{Api, config_map, pod};

cases! {
    webhooks_are_discovered: ["webhook/discovery"],
    pods_and_configmaps_are_denied: ["webhook/deny-pod-and-configmap"],
    attaching_is_denied: ["webhook/deny-attach"],
    connections_are_judged: [],
    what_cannot_be_asked_is_refused: ["webhook/fail-closed"],
    stages_change_a_configmap: ["webhook/mutate-configmap"],
    a_changed_pod_is_defaulted: ["webhook/mutate-pod-defaults"],
    configurations_are_exempt: ["webhook/exempt-configurations"],
    time_limits_hold: ["webhook/timeout"],
    all_but_what_is_skipped_is_changed: ["webhook/mutate-except"],
    failures_are_met_as_asked: [],
    order_and_reinvocation: [],
    a_scale_is_judged_as_a_scale: [],
    what_a_review_says: [],
}

/// Where configurations of a kind are: `validating` or `mutating`.
pub(super) fn configurations(kind: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations")
}

pub(super) fn rule(operations: &[&str], group: &str, version: &str, resource: &str) -> Value {
    json!({"operations": operations, "apiGroups": [group], "apiVersions": [version], "resources": [resource]})
}

/// A webhook with further fields.
pub(super) fn webhook(name: &str, client: Value, rule: Value, more: Value) -> Value {
    let mut hook = Map::from_iter([
        ("name".to_owned(), json!(format!("{name}.example.com"))),
        ("clientConfig".to_owned(), client),
        ("rules".to_owned(), json!([rule])),
        ("sideEffects".to_owned(), json!("None")),
        ("admissionReviewVersions".to_owned(), json!(["v1"])),
        ("timeoutSeconds".to_owned(), json!(10)),
    ]);
    hook.extend(more.as_object().cloned().unwrap_or_default());
    Value::Object(hook)
}

/// Only for objects in one namespace.
pub(super) fn only_in(namespace: &str) -> Value {
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}})
}

pub(super) fn configuration(kind: &str, name: &str, hooks: &[Value]) -> Value {
    let kind = match kind {
        "mutating" => "MutatingWebhookConfiguration",
        _ => "ValidatingWebhookConfiguration",
    };
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "webhooks": hooks})
}

/// Makes a configuration; gives its path.
pub(super) async fn configure(api: &Api, kind: &str, name: &str, hooks: &[Value]) -> String {
    api.post(&configurations(kind), &configuration(kind, name, hooks))
        .await;
    format!("{}/{name}", configurations(kind))
}

async fn webhooks_are_discovered(g: Arc<Ground>) {
    let groups = g.api.get("/apis").await;
    let group = groups["groups"].as_array().unwrap().iter();
    let group = group
        .clone()
        .find(|group| group["name"] == "admissionregistration.k8s.io");
    let versions = group.expect("the group")["versions"].as_array().unwrap();
    assert!(versions.iter().any(|version| version["version"] == "v1"));
    let own = g.api.get("/apis/admissionregistration.k8s.io").await;
    assert!(own["versions"].as_array().unwrap().contains(&json!(
        {"groupVersion": "admissionregistration.k8s.io/v1", "version": "v1"})));
    let resources = g.api.get("/apis/admissionregistration.k8s.io/v1").await;
    for name in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        let mut all = resources["resources"].as_array().unwrap().iter();
        assert!(
            all.any(|resource| resource["name"] == name),
            "{name}: {resources}"
        );
    }
}

async fn pods_and_configmaps_are_denied(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let ns = api.namespace("denied").await;
    let skipped = json!({"metadata": {"name": "denied-not", "labels": {"skip": "yes"}}});
    api.post("/api/v1/namespaces", &skipped).await;
    let selected = json!({"namespaceSelector": {"matchExpressions": [
        {"key": "skip", "operator": "NotIn", "values": ["yes"]},
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["denied", "denied-not"]}]}});
    let hooks = [
        webhook(
            "pod",
            hook.by_service("/pods"),
            rule(&["CREATE"], "", "v1", "pods"),
            selected.clone(),
        ),
        webhook(
            "data",
            hook.by_service("/data"),
            rule(&["CREATE", "UPDATE", "DELETE"], "", "v1", "configmaps"),
            selected,
        ),
    ];
    configure(api, "validating", "denied", &hooks).await;
    let mut unwanted = pod("p");
    unwanted["metadata"]["labels"] = json!({"webhook-e2e-test": "webhook-disallow"});
    let (code, _, said) = api.refused("POST", &format!("{ns}/pods"), &unwanted).await;
    assert_eq!(code, 400);
    assert_eq!(
        said,
        "admission webhook \"pod.example.com\" denied the request: the pod contains unwanted label"
    );
    let (_, _, said) = g
        .try_kubectl(&["create", "-n", "denied", "-f", "-"], &unwanted.to_string())
        .await;
    assert!(said.contains("Error from server: error when creating"), "{said}");
    api.post(&format!("{ns}/pods"), &pod("wanted")).await;

    let maps = format!("{ns}/configmaps");
    let mut bad = config_map("bad");
    bad["data"] = json!({"webhook-e2e-test": "webhook-disallow"});
    let (_, _, said) = api.refused("POST", &maps, &bad).await;
    assert!(
        said.ends_with("denied the request: the object contains unwanted data"),
        "{said}"
    );
    api.post(&maps, &config_map("good")).await;
    let one = format!("{maps}/good");
    let mut spoiled = api.get(&one).await;
    spoiled["data"] = bad["data"].clone();
    for method in ["PUT", "PATCH"] {
        let (_, _, said) = api.refused(method, &one, &spoiled).await;
        assert!(said.contains("unwanted data"), "{method}: {said}");
    }
    api.delete(&one).await;
    api.post("/api/v1/namespaces/denied-not/configmaps", &bad).await;
}

async fn attaching_is_denied(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let ns = api.namespace("attaching").await;
    let rule = rule(&["CONNECT"], "", "v1", "pods/attach");
    let hooks = [webhook(
        "attach",
        hook.by_service("/attach"),
        rule,
        only_in("attaching"),
    )];
    configure(api, "validating", "attaching", &hooks).await;
    let mut running = api.post(&format!("{ns}/pods"), &pod("attached")).await;
    running["status"]["phase"] = json!("Running");
    api.put(&format!("{ns}/pods/attached/status"), &running).await;
    let (code, _, said) = g
        .try_kubectl(&["attach", "-n", "attaching", "attached", "-i"], "")
        .await;
    assert_eq!(code, 1);
    assert!(said.contains("attaching to pod is not allowed"), "{said}");
    let (_, request) = hook.asked("attached").pop().expect("a review");
    assert_eq!(
        (&request["operation"], &request["subResource"]),
        (&json!("CONNECT"), &json!("attach"))
    );
    assert_eq!(request["object"]["kind"], "PodAttachOptions");
    assert_eq!(request["object"]["stdin"], true);
}

async fn connections_are_judged(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let ns = api.namespace("connecting").await;
    let mut hooks = Vec::new();
    for (at, resource) in ["pods/*", "services/proxy"].into_iter().enumerate() {
        let rule = rule(&["CONNECT"], "", "v1", resource);
        let client = hook.by_url("/always-deny");
        hooks.push(webhook(&format!("c{at}"), client, rule, only_in("connecting")));
    }
    configure(api, "validating", "connecting", &hooks).await;
    let mut bound = pod("connected");
    bound["spec"]["nodeName"] = json!("nowhere");
    api.post(&format!("{ns}/pods"), &bound).await;
    let service = json!({"metadata": {"name": "connected"}, "spec": {"ports": [{"port": 80}]}});
    api.post(&format!("{ns}/services"), &service).await;
    for (method, path, sub, options) in [
        (
            "POST",
            "pods/connected/exec?command=ls&command=-l&stdout=1&container=c",
            "exec",
            json!({"kind": "PodExecOptions", "command": ["ls", "-l"], "stdout": true, "container": "c"}),
        ),
        (
            "GET",
            "pods/connected/portforward?ports=80&ports=81",
            "portforward",
            json!({"kind": "PodPortForwardOptions", "ports": [80, 81]}),
        ),
        (
            "PUT",
            "pods/connected/proxy/a/b",
            "proxy",
            json!({"kind": "PodProxyOptions", "path": "/a/b"}),
        ),
        (
            "DELETE",
            "services/connected/proxy/x",
            "proxy",
            json!({"kind": "ServiceProxyOptions", "path": "/x"}),
        ),
    ] {
        let (code, _, said) = api.refused(method, &format!("{ns}/{path}"), &Value::Null).await;
        assert_eq!(code, 400, "{path}: {said}");
        assert!(
            said.ends_with("denied the request: this webhook denies all requests"),
            "{path}: {said}"
        );
        let (_, mut request) = hook.asked("connected").pop().expect("a review");
        assert_eq!(
            (&request["operation"], &request["subResource"]),
            (&json!("CONNECT"), &json!(sub)),
            "{path}"
        );
        let shown = request["object"].as_object_mut().expect("options");
        shown.remove("apiVersion");
        assert_eq!(request["object"], options, "{path}");
    }
}

async fn what_cannot_be_asked_is_refused(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let ns = api.namespace("closed").await;
    let rule = rule(&["CREATE"], "", "v1", "configmaps");
    let mut client = hook.by_service("/configmaps");
    client.as_object_mut().unwrap().remove("caBundle");
    configure(
        api,
        "validating",
        "closed",
        &[webhook("closed", client, rule, only_in("closed"))],
    )
    .await;
    let (code, reason, said) = api
        .refused("POST", &format!("{ns}/configmaps"), &config_map("m"))
        .await;
    assert_eq!((code, reason.as_str()), (500, "InternalError"), "{said}");
    assert!(
        said.contains("failed calling webhook \"closed.example.com\""),
        "{said}"
    );
}

async fn stages_change_a_configmap(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let ns = api.namespace("stages").await;
    let stage = |name: &str| {
        let rule = rule(&["CREATE"], "", "v1", "configmaps");
        webhook(name, hook.by_service("/mutate-data"), rule, only_in("stages"))
    };
    configure(api, "mutating", "stages", &[stage("one"), stage("two")]).await;
    let mut map = config_map("m");
    map["data"] = json!({"mutation-start": "yes"});
    let made = api.post(&format!("{ns}/configmaps"), &map).await;
    assert_eq!(
        made["data"],
        json!({"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"})
    );
}

async fn a_changed_pod_is_defaulted(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let ns = api.namespace("defaulted").await;
    let pods = rule(&["CREATE"], "", "v1", "pods");
    let hooks = [
        webhook(
            "adds",
            hook.by_service("/mutate-pods"),
            pods.clone(),
            only_in("defaulted"),
        ),
        webhook(
            "sees",
            hook.by_service("/mutate-defaulted"),
            pods,
            only_in("defaulted"),
        ),
    ];
    configure(api, "mutating", "defaulted", &hooks).await;
    let made = api.post(&format!("{ns}/pods"), &pod("p")).await;
    let init = &made["spec"]["initContainers"][0];
    assert_eq!(init["name"], "webhook-added-init-container");
    assert_eq!(
        (&init["terminationMessagePolicy"], &init["imagePullPolicy"]),
        (&json!("File"), &json!("IfNotPresent"))
    );
    assert!(
        init.get("bogus").is_none(),
        "what a pod does not have is pruned: {init}"
    );
    assert_eq!(made["metadata"]["labels"]["saw-defaults"], "yes");
}

async fn configurations_are_exempt(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let all = rule(&["*"], "admissionregistration.k8s.io", "*", "*");
    let mine = json!({"objectSelector": {"matchLabels": {"exempt": "yes"}}});
    let deny = webhook("deny", hook.by_service("/always-deny"), all.clone(), mine.clone());
    let label = webhook("label", hook.by_service("/label"), all, mine);
    configure(api, "validating", "exempt-deny", &[deny]).await;
    configure(api, "mutating", "exempt-label", &[label]).await;
    for kind in ["validating", "mutating"] {
        let mut dummy = configuration(kind, "exempt-dummy", &[]);
        dummy["metadata"]["labels"] = json!({"exempt": "yes"});
        let made = api.post(&configurations(kind), &dummy).await;
        assert_eq!(made["metadata"]["labels"], json!({"exempt": "yes"}));
        api.delete(&format!("{}/exempt-dummy", configurations(kind)))
            .await;
    }
}

async fn time_limits_hold(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    for (i, (timeout, policy, code)) in [
        (json!(1), "Fail", 500),
        (json!(1), "Ignore", 201),
        (json!(5), "Fail", 201),
        (json!(null), "Fail", 201),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("slow-{i}");
        let ns = api.namespace(&name).await;
        let mut more = only_in(&name);
        more["timeoutSeconds"] = timeout;
        more["failurePolicy"] = json!(policy);
        let rule = rule(&["CREATE"], "", "v1", "configmaps");
        let path = configure(
            api,
            "validating",
            &name,
            &[webhook("slow", hook.by_service("/slow"), rule, more)],
        )
        .await;
        if i == 3 {
            assert_eq!(
                api.get(&path).await["webhooks"][0]["timeoutSeconds"],
                10,
                "the default"
            );
        }
        let (got, answer) = api
            .send("POST", &format!("{ns}/configmaps"), &config_map("m"))
            .await;
        assert_eq!(got.as_u16(), code, "{name}: {answer}");
        let late = message(&answer).contains("context deadline exceeded");
        assert_eq!(late, code == 500, "{answer}");
    }
}

async fn all_but_what_is_skipped_is_changed(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let ns = api.namespace("except").await;
    let mut more = only_in("except");
    more["matchConditions"] =
        json!([{"name": "not-skipped", "expression": "object.metadata.name != 'skip-me'"}]);
    let rule = rule(&["CREATE"], "", "v1", "configmaps");
    configure(
        api,
        "mutating",
        "except",
        &[webhook("except", hook.by_service("/mutate-data"), rule, more)],
    )
    .await;
    for (name, changed) in [("skip-me", false), ("me", true)] {
        let mut map = config_map(name);
        map["data"] = json!({"mutation-start": "yes"});
        let made = api.post(&format!("{ns}/configmaps"), &map).await;
        assert_eq!(made["data"]["mutation-stage-1"] == "yes", changed, "{made}");
    }
}

async fn failures_are_met_as_asked(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let timed = format!(
        "Internal error occurred: failed calling webhook \"f.example.com\": failed to call webhook: \
         Post \"{}?timeout=1s\": context deadline exceeded",
        hook.url("/hang")
    );
    let broken =
        "failed to call webhook: an error on the server (\"oh\") has prevented the request from succeeding";
    let uid = "received invalid webhook response: expected response.uid=";
    let cases = [
        ("/hang", "Fail", 500, timed.as_str()),
        ("/hang", "Ignore", 201, ""),
        ("/broken", "Fail", 500, broken),
        ("/wrong-uid", "Fail", 500, uid),
        ("/wrong-uid", "Ignore", 201, ""),
        ("/allow", "Fail", 201, ""),
    ];
    for kind in ["mutating", "validating"] {
        for (i, (path, policy, code, said)) in cases.iter().enumerate() {
            let name = format!("failing-{kind}-{i}");
            let ns = api.namespace(&name).await;
            let mut more = only_in(&name);
            more["failurePolicy"] = json!(policy);
            more["timeoutSeconds"] = json!(1);
            let rule = rule(&["CREATE"], "", "v1", "configmaps");
            configure(api, kind, &name, &[webhook("f", hook.by_url(path), rule, more)]).await;
            let (got, answer) = api
                .send("POST", &format!("{ns}/configmaps"), &config_map("m"))
                .await;
            assert_eq!(got.as_u16(), *code, "{kind} {path} {policy}: {answer}");
            assert!(message(&answer).contains(said), "{said}\n{answer}");
        }
    }
}

async fn order_and_reinvocation(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let ns = api.namespace("order").await;
    let maps = rule(&["CREATE"], "", "v1", "configmaps");
    let mut again = only_in("order");
    again["reinvocationPolicy"] = json!("IfNeeded");
    // By name, not by age.
    let second = webhook("second", hook.by_url("/second"), maps.clone(), only_in("order"));
    configure(api, "mutating", "order-b", &[second]).await;
    let first = webhook("first", hook.by_url("/first"), maps, again);
    configure(api, "mutating", "order-a", &[first]).await;
    let made = api
        .post(&format!("{ns}/configmaps"), &config_map("ordered"))
        .await;
    assert_eq!(
        made["data"],
        json!({"k": "v", "first": "yes", "second": "yes", "first-again": "yes"})
    );
    let paths: Vec<String> = hook.asked("ordered").into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/first", "/second", "/first"]);
}

async fn a_scale_is_judged_as_a_scale(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    api.namespace("scaled").await;
    let rule = rule(&["UPDATE"], "apps", "v1", "deployments/scale");
    let hooks = [webhook(
        "scale",
        hook.by_url("/three-at-most"),
        rule,
        only_in("scaled"),
    )];
    configure(api, "mutating", "scaled", &hooks).await;
    let deployments = "/apis/apps/v1/namespaces/scaled/deployments";
    api.post(deployments, &workload("apps/v1", "Deployment", "scaled", 1))
        .await;
    let said = g
        .kubectl(&["scale", "-n", "scaled", "deploy/scaled", "--replicas=9"], "")
        .await;
    assert_eq!(said, "deployment.apps/scaled scaled\n");
    assert_eq!(
        api.get(&format!("{deployments}/scaled")).await["spec"]["replicas"],
        3
    );
    let (_, request) = hook.asked("scaled").pop().expect("a review");
    assert_eq!(
        request["kind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
    assert_eq!(request["subResource"], "scale");
}

async fn what_a_review_says(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let ns = api.namespace("reviewed").await;
    let rule = rule(&["*"], "", "v1", "configmaps");
    configure(
        api,
        "validating",
        "reviewed",
        &[webhook("w", hook.by_url("/warn"), rule, only_in("reviewed"))],
    )
    .await;
    let maps = format!("{ns}/configmaps");
    let body = config_map("reviewed").to_string().into_bytes();
    let response = api
        .raw("POST", &maps, &[("content-type", "application/json")], body)
        .await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["warning"], "299 - \"mind \\\"this\\\"\"");
    api.delete(&format!("{maps}/reviewed")).await;
    let mut asked = hook.asked("reviewed").into_iter().map(|(_, request)| request);
    let (creation, deletion) = (
        asked.next().expect("a creation"),
        asked.next().expect("a deletion"),
    );
    assert_eq!(
        creation["kind"],
        json!({"group": "", "version": "v1", "kind": "ConfigMap"})
    );
    assert_eq!(
        creation["requestResource"],
        json!({"group": "", "version": "v1", "resource": "configmaps"})
    );
    assert_eq!(creation["namespace"], "reviewed");
    assert_eq!(creation["userInfo"]["username"], "kubernetes-admin");
    assert_eq!(
        (&creation["dryRun"], &creation["options"]["kind"]),
        (&json!(false), &json!("CreateOptions"))
    );
    assert!(creation["oldObject"].is_null());
    assert_eq!(deletion["operation"], "DELETE");
    assert!(deletion["object"].is_null());
    assert_eq!(deletion["oldObject"]["metadata"]["name"], "reviewed");
    assert_eq!(deletion["options"]["kind"], "DeleteOptions");
}
