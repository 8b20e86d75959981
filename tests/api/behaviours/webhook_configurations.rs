//! Configurations of webhooks: changed, listed, and deciding who is asked at all.

use std::sync::Arc;

use serde_json::{Value, json};

use super::webhooks::{configuration, configurations, configure, only_in, rule, webhook};
use super::{Ground, cases, message, names};
use crate::server::{Api, config_map};

cases! {
    a_validating_configuration_changes: ["webhook/change-validating"],
    a_mutating_configuration_changes: ["webhook/change-mutating"],
    validating_configurations_are_listed: ["webhook/list-validating"],
    mutating_configurations_are_listed: ["webhook/list-mutating"],
    validating_conditions_decide: ["webhook/conditions-validating"],
    mutating_conditions_decide: ["webhook/conditions-mutating"],
    bad_validating_conditions_are_refused: ["webhook/bad-conditions-validating"],
    bad_mutating_conditions_are_refused: ["webhook/bad-conditions-mutating"],
    conditions_see_the_request: [],
    selectors_and_rules_decide: [],
}

/// What a webhook of a kind does to a ConfigMap that has both marks, as [`changed`] sees it.
fn path_of(kind: &str) -> &'static str {
    if kind == "mutating" {
        "/mutate-data"
    } else {
        "/data"
    }
}

/// Sends a ConfigMap that every webhook here has something to say to; whether it was touched or refused.
async fn is_asked(api: &Api, ns: &str) -> bool {
    let mut map = config_map("asked");
    map["data"] = json!({"mutation-start": "yes", "webhook-e2e-test": "webhook-disallow"});
    let path = format!("{ns}/configmaps?dryRun=All");
    let (code, answer) = api.send("POST", &path, &map).await;
    match code.as_u16() {
        201 => answer["data"]["mutation-stage-1"] == "yes",
        400 if message(&answer).contains("unwanted data") => true,
        _ => panic!("{code} {answer}"),
    }
}

async fn changes(g: &Ground, kind: &str) {
    let (api, hook) = (&g.api, g.webhook().await);
    let name = format!("changing-{kind}");
    let ns = api.namespace(&name).await;
    let on_create = rule(&["CREATE"], "", "v1", "configmaps");
    let hooks = [webhook(
        "w",
        hook.by_service(path_of(kind)),
        on_create,
        only_in(&name),
    )];
    let path = configure(api, kind, &name, &hooks).await;
    assert!(is_asked(api, &ns).await);
    let mut changed = api.get(&path).await;
    changed["webhooks"][0]["rules"][0]["operations"] = json!(["UPDATE"]);
    api.put(&path, &changed).await;
    assert!(!is_asked(api, &ns).await, "creations are no longer asked about");
    let patch = json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]);
    let form = [("content-type", "application/json-patch+json")];
    let patched = api
        .ask("PATCH", &path, &form, patch.to_string().into_bytes())
        .await;
    Api::expect("patch", patched);
    assert!(is_asked(api, &ns).await, "creations are asked about again");
}

async fn a_validating_configuration_changes(g: Arc<Ground>) {
    changes(&g, "validating").await;
}

async fn a_mutating_configuration_changes(g: Arc<Ground>) {
    changes(&g, "mutating").await;
}

async fn listed(g: &Ground, kind: &str) {
    let (api, hook) = (&g.api, g.webhook().await);
    let name = format!("listed-{kind}");
    let ns = api.namespace(&name).await;
    for i in 0..3 {
        let rule = rule(&["CREATE"], "", "v1", "configmaps");
        let hooks = [webhook("w", hook.by_service(path_of(kind)), rule, only_in(&name))];
        let mut object = configuration(kind, &format!("{name}-{i}"), &hooks);
        object["metadata"]["labels"] = json!({"list": name});
        api.post(&configurations(kind), &object).await;
    }
    let selected = format!("{}?labelSelector=list%3D{name}", configurations(kind));
    assert_eq!(names(&api.get(&selected).await).len(), 3);
    assert!(is_asked(api, &ns).await);
    api.delete(&selected).await;
    assert!(names(&api.get(&selected).await).is_empty());
    assert!(!is_asked(api, &ns).await);
}

async fn validating_configurations_are_listed(g: Arc<Ground>) {
    listed(&g, "validating").await;
}

async fn mutating_configurations_are_listed(g: Arc<Ground>) {
    listed(&g, "mutating").await;
}

fn conditions(list: &[(&str, &str)]) -> Value {
    let list = list
        .iter()
        .map(|(name, e)| json!({"name": name, "expression": e}));
    list.collect()
}

async fn conditions_decide(g: &Ground, kind: &str) {
    let (api, hook) = (&g.api, g.webhook().await);
    let name = format!("conditions-{kind}");
    let ns = api.namespace(&name).await;
    let mut more = only_in(&name);
    let first = conditions(&[("expression-1", "object.metadata.name == 'another'")]);
    more["matchConditions"] = first.clone();
    let rule = rule(&["CREATE"], "", "v1", "configmaps");
    let hooks = [webhook("w", hook.by_service(path_of(kind)), rule, more)];
    let path = configure(api, kind, &name, &hooks).await;
    let mut changed = api.get(&path).await;
    assert_eq!(changed["webhooks"][0]["matchConditions"], first);
    assert!(!is_asked(api, &ns).await);
    let second = conditions(&[
        ("expression-1", "object.metadata.name == 'asked'"),
        ("expression-2", "request.operation == 'CREATE'"),
    ]);
    changed["webhooks"][0]["matchConditions"] = second.clone();
    api.put(&path, &changed).await;
    assert_eq!(api.get(&path).await["webhooks"][0]["matchConditions"], second);
    assert!(is_asked(api, &ns).await);
}

async fn validating_conditions_decide(g: Arc<Ground>) {
    conditions_decide(&g, "validating").await;
}

async fn mutating_conditions_decide(g: Arc<Ground>) {
    conditions_decide(&g, "mutating").await;
}

async fn bad_conditions_are_refused(g: &Ground, kind: &str, title: &str) {
    let (api, hook) = (&g.api, g.webhook().await);
    let list = [
        ("a", "object.spec ="),
        ("a", "'text'"),
        ("", "true"),
        ("b", "... bad expression"),
    ];
    let more = json!({"matchConditions": conditions(&list)});
    let hooks = [webhook(
        "w",
        hook.by_service("/data"),
        rule(&["*"], "", "v1", "configmaps"),
        more,
    )];
    let object = configuration(kind, "bad", &hooks);
    let (code, reason, said) = api.refused("POST", &configurations(kind), &object).await;
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    for words in [
        format!("{title}WebhookConfiguration.admissionregistration.k8s.io \"bad\" is invalid"),
        "webhooks[0].matchConditions[0].expression: Invalid value: \"object.spec =\": compilation failed".into(),
        "webhooks[0].matchConditions[1].expression: Invalid value: \"'text'\": must evaluate to bool".into(),
        "webhooks[0].matchConditions[1].name: Duplicate value: \"a\"".into(),
        "webhooks[0].matchConditions[2].name: Required value".into(),
        "webhooks[0].matchConditions[3].expression: Invalid value: \"... bad expression\": compilation failed".into(),
    ] {
        assert!(said.contains(&words), "{words}\n{said}");
    }
}

async fn bad_validating_conditions_are_refused(g: Arc<Ground>) {
    bad_conditions_are_refused(&g, "validating", "Validating").await;
}

async fn bad_mutating_conditions_are_refused(g: Arc<Ground>) {
    bad_conditions_are_refused(&g, "mutating", "Mutating").await;
}

/// Denies whatever a webhook is asked about, for one try; gives the answer to a creation.
async fn tried(
    g: &Ground,
    name: &str,
    rule: Value,
    more: Value,
    path: &str,
    object: &Value,
) -> (u16, String) {
    let hook = g.webhook().await;
    let deny = webhook("deny", hook.by_url("/always-deny"), rule, more);
    let configuration = configure(&g.api, "validating", name, &[deny]).await;
    let (code, answer) = g.api.send("POST", &format!("{path}?dryRun=All"), object).await;
    g.api.delete(&configuration).await;
    (code.as_u16(), message(&answer).to_owned())
}

async fn conditions_see_the_request(g: Arc<Ground>) {
    let ns = g.api.namespace("condition-kinds").await;
    let missing = ("missing", "object.data.missing == 'x'");
    for (i, (list, policy, code, words)) in [
        (
            vec![("made", "request.operation == 'CREATE' && oldObject == null")],
            "Fail",
            400,
            "denies all",
        ),
        (
            vec![(
                "user",
                "!request.userInfo.groups.exists(g, g == 'system:masters')",
            )],
            "Fail",
            201,
            "",
        ),
        (
            vec![(
                "may",
                "authorizer.group('').resource('pods').namespace('default').check('get').allowed()",
            )],
            "Fail",
            400,
            "denies all",
        ),
        (
            vec![missing],
            "Fail",
            403,
            "resulted in error: no such key: missing",
        ),
        (vec![missing, ("no", "false")], "Fail", 201, ""),
        (vec![missing], "Ignore", 201, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let mut more = only_in("condition-kinds");
        more["matchConditions"] = conditions(&list);
        more["failurePolicy"] = json!(policy);
        let rule = rule(&["*"], "", "v1", "configmaps");
        let path = format!("{ns}/configmaps");
        let (got, said) = tried(&g, &format!("condition-{i}"), rule, more, &path, &config_map("a")).await;
        assert_eq!(got, code, "{list:?}: {said}");
        assert!(said.contains(words), "{said}");
    }
}

async fn selectors_and_rules_decide(g: Arc<Ground>) {
    for (name, labels) in [
        ("ruled-out", json!({"skip": "yes", "ruled": "y"})),
        ("ruled-in", json!({"ruled": "y"})),
    ] {
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        g.api.post("/api/v1/namespaces", &namespace).await;
    }
    // No other case's objects: theirs are in other namespaces, or have no such label.
    let here = |more: Value| {
        let mut selector = json!({"namespaceSelector": {"matchLabels": {"ruled": "y"}}});
        for (key, value) in more.as_object().into_iter().flatten() {
            selector[key] = value.clone();
        }
        selector
    };
    let out = json!({"namespaceSelector": {"matchLabels": {"ruled": "y"},
        "matchExpressions": [{"key": "skip", "operator": "NotIn", "values": ["yes"]}]}});
    let mine = || here(json!({"objectSelector": {"matchLabels": {"mine": "1"}}}));
    let exact = here(json!({"matchPolicy": "Exact"}));
    let on = |group, version, resource| rule(&["CREATE"], group, version, resource);
    let scoped = |mut rule: Value, scope: &str| {
        rule["scope"] = json!(scope);
        rule
    };
    let map = config_map("a");
    let labelled = json!({"metadata": {"name": "a", "labels": {"mine": "1"}}});
    let autoscaler = json!({"metadata": {"name": "equivalent"}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let maps = |ns: &str| format!("/api/v1/namespaces/{ns}/configmaps");
    let autoscalers = "/apis/autoscaling/v2/namespaces/ruled-in/horizontalpodautoscalers".to_owned();
    let namespace = json!({"metadata": {"name": "ruled-new", "labels": {"ruled": "y"}}});
    let namespaces = "/api/v1/namespaces".to_owned();
    for (i, (what, rule, more, path, object, denied)) in [
        (
            "selected out",
            on("", "v1", "configmaps"),
            out.clone(),
            maps("ruled-out"),
            &map,
            false,
        ),
        (
            "selected",
            on("", "v1", "configmaps"),
            out,
            maps("ruled-in"),
            &map,
            true,
        ),
        (
            "not mine",
            on("", "v1", "configmaps"),
            mine(),
            maps("ruled-in"),
            &map,
            false,
        ),
        (
            "mine",
            on("", "v1", "configmaps"),
            mine(),
            maps("ruled-in"),
            &labelled,
            true,
        ),
        (
            "other group",
            on("apps", "v1", "*"),
            here(json!({})),
            maps("ruled-in"),
            &map,
            false,
        ),
        (
            "equivalent",
            on("autoscaling", "v1", "horizontalpodautoscalers"),
            here(json!({})),
            autoscalers.clone(),
            &autoscaler,
            true,
        ),
        (
            "exact",
            on("autoscaling", "v1", "horizontalpodautoscalers"),
            exact,
            autoscalers,
            &autoscaler,
            false,
        ),
        (
            "cluster rule",
            scoped(on("", "*", "*"), "Cluster"),
            here(json!({})),
            maps("ruled-in"),
            &map,
            false,
        ),
        (
            "cluster",
            scoped(on("", "*", "*"), "Cluster"),
            here(json!({})),
            namespaces,
            &namespace,
            true,
        ),
        (
            "namespaced",
            scoped(on("*", "*", "*"), "Namespaced"),
            here(json!({})),
            maps("ruled-in"),
            &map,
            true,
        ),
        (
            "subresource only",
            on("", "v1", "configmaps/status"),
            here(json!({})),
            maps("ruled-in"),
            &map,
            false,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (code, said) = tried(&g, &format!("ruled-{i}"), rule, more, &path, object).await;
        assert_eq!(code, if denied { 400 } else { 201 }, "{what}: {said}");
    }
    let (_, request) = g.webhook().await.asked("equivalent").pop().expect("a review");
    assert_eq!(request["kind"]["version"], "v1");
    assert_eq!(request["requestKind"]["version"], "v2");
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(request["dryRun"], true);
}
