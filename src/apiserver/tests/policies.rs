//! Admission policies in CEL: the behaviours of upstream's conformance tests
//! (`test/e2e/apimachinery/validatingadmissionpolicy.go`) and of its documentation.

use std::time::Duration;

use super::*;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// A policy for creations and updates of one resource.
fn policy(name: &str, group: &str, resource: &str, spec: Value) -> Value {
    let mut policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": {"matchConstraints": {"resourceRules": [
            {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [resource]}]}}});
    for (key, value) in spec.as_object().unwrap() {
        if key == "matchConstraints" {
            for (key, value) in value.as_object().unwrap() {
                policy["spec"]["matchConstraints"][key] = value.clone();
            }
        } else {
            policy["spec"][key] = value.clone();
        }
    }
    policy
}

fn binding(name: &str, of: &str, spec: Value) -> Value {
    let mut binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": of, "validationActions": ["Deny"]}});
    for (key, value) in spec.as_object().unwrap() {
        binding["spec"][key] = value.clone();
    }
    binding
}

async fn make(f: &Fixture, object: Value) -> Value {
    let resource = match object["kind"].as_str().unwrap() {
        "ValidatingAdmissionPolicy" => "validatingadmissionpolicies",
        _ => "validatingadmissionpolicybindings",
    };
    let (code, answer) = f.send("POST", &format!("{GROUP}/{resource}"), object).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    answer
}

/// Policy and binding of one name.
async fn bound(f: &Fixture, policy: Value, more: Value) {
    let name = policy["metadata"]["name"].as_str().unwrap().to_owned();
    make(f, policy).await;
    make(f, binding(&name, &name, more)).await;
}

fn deployment(name: &str, replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": "img:1"}]}}}})
}

fn map(name: &str, labels: Value, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": data})
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_policy_validates_deployments() {
    let f = fixture().await;
    let spec = json!({"variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"}],
        "validations": [
            {"expression": "variables.replicas > 1", "messageExpression": "'wants more than one, has ' + string(variables.replicas)"},
            {"expression": "variables.oddReplicas", "message": "must be odd", "reason": "Forbidden"}]});
    make(&f, policy("odd", "apps", "deployments", spec)).await;
    // Nothing happens before it is bound.
    let (code, answer) = f.send("POST", DEPLOYMENTS, deployment("early", 1)).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    make(&f, binding("odd-here", "odd", json!({}))).await;
    let (code, answer) = f.send("POST", DEPLOYMENTS, deployment("one", 1)).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert_eq!(
        message(&answer),
        "deployments.apps \"one\" is forbidden: ValidatingAdmissionPolicy 'odd' with binding 'odd-here' denied request: wants more than one, has 1"
    );
    assert_eq!(answer["reason"], "Invalid");
    assert_eq!(
        answer["details"]["causes"][0]["message"],
        "ValidatingAdmissionPolicy 'odd' with binding 'odd-here' denied request: wants more than one, has 1"
    );
    let (code, answer) = f.send("POST", DEPLOYMENTS, deployment("two", 2)).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{answer}");
    assert!(
        message(&answer).ends_with("denied request: must be odd"),
        "{answer}"
    );
    let (code, answer) = f.send("POST", DEPLOYMENTS, deployment("three", 3)).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    // Through an equivalent of the rule's resource too: nothing is written around it.
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": "three", "namespace": "default"}, "spec": {"replicas": 2}});
    let (code, _) = f.send("PUT", &format!("{DEPLOYMENTS}/three/scale"), scale).await;
    assert_eq!(
        code,
        StatusCode::OK,
        "a rule for deployments is none for their scale"
    );
    // When the binding goes, so does the rule.
    let (code, _) = f
        .send(
            "DELETE",
            &format!("{GROUP}/validatingadmissionpolicybindings/odd-here"),
            Value::Null,
        )
        .await;
    assert_eq!(code, StatusCode::OK);
    let (code, answer) = f.send("POST", DEPLOYMENTS, deployment("four", 4)).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
}

#[tokio::test]
async fn constraints_conditions_and_excluded_rules_limit_a_policy() {
    let f = fixture().await;
    let spec = json!({
        "matchConstraints": {
            "objectSelector": {"matchLabels": {"checked": "yes"}},
            "excludeResourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"],
                "resources": ["configmaps"], "resourceNames": ["spared"]}]},
        "matchConditions": [{"name": "not-by-robots", "expression": "!request.userInfo.username.startsWith('robot')"}],
        "validations": [{"expression": "false"}]});
    bound(&f, policy("never", "", "configmaps", spec), json!({})).await;
    let checked = json!({"checked": "yes"});
    for (name, labels, allowed) in [
        ("plain", json!({}), true),
        ("spared", checked.clone(), true),
        ("judged", checked.clone(), false),
    ] {
        let (code, answer) = f.send("POST", MAPS, map(name, labels, json!({}))).await;
        assert_eq!(code == StatusCode::CREATED, allowed, "{name}: {answer}");
        assert!(
            allowed || message(&answer).ends_with("failed expression: false"),
            "{answer}"
        );
    }
    let robot = f.server.in_process(UserInfo::new("robot-1", &["system:masters"]));
    let (code, answer) = f
        .send_as(
            robot,
            "POST",
            MAPS,
            map("by-robot", checked.clone(), json!({})),
            &[],
        )
        .await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    // Bindings narrow further.
    make(
        &f,
        binding(
            "elsewhere",
            "never",
            json!({"matchResources": {"namespaceSelector":
            {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}}),
        ),
    )
    .await;
    f.send(
        "DELETE",
        &format!("{GROUP}/validatingadmissionpolicybindings/never"),
        Value::Null,
    )
    .await;
    let (code, _) = f
        .send("POST", MAPS, map("judged", checked.clone(), json!({})))
        .await;
    assert_eq!(code, StatusCode::CREATED);
    let (code, _) = f
        .send(
            "POST",
            "/api/v1/namespaces/kube-system/configmaps",
            map("judged", checked, json!({})),
        )
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn params_come_by_name_or_selector() {
    let f = fixture().await;
    for (name, most) in [("strict", "2"), ("lax", "9")] {
        let limits = map(name, json!({"limits": name}), json!({"most": most}));
        let (code, _) = f.send("POST", MAPS, limits).await;
        assert_eq!(code, StatusCode::CREATED);
    }
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "object.spec.replicas <= int(params.data.most)",
            "messageExpression": "'at most ' + params.data.most"}]});
    make(&f, policy("limit", "apps", "deployments", spec)).await;
    let by_name =
        json!({"paramRef": {"name": "strict", "namespace": "default", "parameterNotFoundAction": "Deny"}});
    make(&f, binding("b", "limit", by_name)).await;
    let (code, answer) = f.send("POST", DEPLOYMENTS, deployment("d", 3)).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        message(&answer).ends_with("denied request: at most 2"),
        "{answer}"
    );
    let at = format!("{GROUP}/validatingadmissionpolicybindings/b");
    let rebind = async |reference: Value| {
        let mut new = f.get(&at).await;
        new["spec"]["paramRef"] = reference;
        let (code, answer) = f.send("PUT", &at, new).await;
        assert_eq!(code, StatusCode::OK, "{answer}");
    };
    // Without a namespace, the request's.
    rebind(json!({"selector": {"matchLabels": {"limits": "lax"}}, "parameterNotFoundAction": "Deny"})).await;
    let (code, answer) = f.send("POST", DEPLOYMENTS, deployment("d", 3)).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    rebind(json!({"name": "gone", "parameterNotFoundAction": "Deny"})).await;
    let (code, answer) = f.send("POST", DEPLOYMENTS, deployment("e", 1)).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        message(&answer).ends_with(
            "denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        ),
        "{answer}"
    );
    rebind(json!({"name": "gone", "parameterNotFoundAction": "Allow"})).await;
    let (code, _) = f.send("POST", DEPLOYMENTS, deployment("e", 100)).await;
    assert_eq!(code, StatusCode::CREATED);
}

#[tokio::test]
async fn failures_are_judged_by_the_failure_policy() {
    let f = fixture().await;
    for (name, failure) in [("fails", "Fail"), ("passes", "Ignore")] {
        let spec = json!({"failurePolicy": failure,
            "matchConstraints": {"objectSelector": {"matchLabels": {"for": name}}},
            "validations": [{"expression": "object.data.missing == 'x'"}]});
        bound(&f, policy(name, "", "configmaps", spec), json!({})).await;
    }
    let (code, answer) = f
        .send("POST", MAPS, map("a", json!({"for": "fails"}), json!({"k": "v"})))
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert!(
        message(&answer)
            .ends_with("expression 'object.data.missing == 'x'' resulted in error: no such key: missing"),
        "{answer}"
    );
    let (code, answer) = f
        .send("POST", MAPS, map("b", json!({"for": "passes"}), json!({})))
        .await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    // A kind of params that nobody serves.
    let spec = json!({"paramKind": {"apiVersion": "rules.example.com/v1", "kind": "Limit"},
        "validations": [{"expression": "true"}]});
    bound(&f, policy("unknown", "", "secrets", spec), json!({})).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    let (_, answer) = f.send("POST", "/api/v1/namespaces/default/secrets", secret).await;
    assert!(
        message(&answer).ends_with(
            "ValidatingAdmissionPolicy 'unknown' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'rules.example.com/v1, Kind=Limit'"
        ),
        "{answer}"
    );
}

#[tokio::test]
async fn warnings_are_sent_and_the_write_passes() {
    let f = fixture().await;
    let spec =
        json!({"validations": [{"expression": "has(object.metadata.labels)", "message": "no labels"}]});
    bound(
        &f,
        policy("warns", "", "configmaps", spec),
        json!({"validationActions": ["Warn", "Audit"]}),
    )
    .await;
    let mut plain = map("plain", json!({}), json!({}));
    plain["metadata"].as_object_mut().unwrap().remove("labels");
    let request = Request::builder()
        .method("POST")
        .uri(MAPS)
        .header("content-type", "application/json")
        .body(Body::from(plain.to_string()))
        .unwrap();
    let response = f.admin().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let warning = response.headers()["warning"].to_str().unwrap();
    assert_eq!(
        warning,
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'warns' with binding 'warns': no labels\""
    );
}

#[tokio::test]
async fn expressions_see_the_request_the_namespace_and_the_authorizer() {
    let f = fixture().await;
    let spec = json!({"validations": [
        {"expression": "namespaceObject.metadata.name == 'default' && namespaceObject.metadata.labels['kubernetes.io/metadata.name'] == 'default'", "message": "namespace"},
        {"expression": "request.operation == 'CREATE' ? oldObject == null : oldObject.data.k == 'v'", "message": "old"},
        {"expression": "object.metadata.namespace == 'default' && request.resource.resource == 'configmaps' && request.kind.kind == 'ConfigMap' && request.namespace == 'default'", "message": "request"},
        {"expression": "authorizer.group('').resource('secrets').namespace('default').check('create').allowed()", "message": "may not"},
        {"expression": "!authorizer.serviceAccount('default', 'default').group('').resource('secrets').namespace('default').check('create').allowed()", "message": "sa may"}]});
    bound(&f, policy("sees", "", "configmaps", spec), json!({})).await;
    let (code, answer) = f.send("POST", MAPS, config_map("m")).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    let mut changed = config_map("m");
    changed["data"] = json!({"k": "w"});
    let (code, answer) = f.send("PUT", &format!("{MAPS}/m"), changed.clone()).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    changed["data"] = json!({"k": "x"});
    let (code, answer) = f.send("PUT", &format!("{MAPS}/m"), changed).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(message(&answer).ends_with("denied request: old"), "{answer}");
}

#[tokio::test]
async fn expressions_that_do_not_compile_are_refused() {
    let f = fixture().await;
    let refused = async |spec: Value, field: &str, text: &str| {
        let (code, answer) = f
            .send(
                "POST",
                &format!("{GROUP}/validatingadmissionpolicies"),
                policy("p", "apps", "deployments", spec),
            )
            .await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        let causes = answer["details"]["causes"].as_array().unwrap();
        assert!(
            causes
                .iter()
                .any(|c| c["field"] == field && c["message"].as_str().unwrap().contains(text)),
            "{field}, {text}: {answer}"
        );
    };
    refused(
        json!({"validations": [{"expression": "object.x +"}]}),
        "spec.validations[0].expression",
        "compilation failed: ERROR: <input>:1:11: Syntax error: mismatched input '<EOF>' expecting",
    )
    .await;
    refused(
        json!({"validations": [{"expression": "params.x"}]}),
        "spec.validations[0].expression",
        "undeclared reference to 'params' (in container '')",
    )
    .await;
    refused(
        json!({"validations": [{"expression": "1"}]}),
        "spec.validations[0].expression",
        "must evaluate to bool but got int",
    )
    .await;
    refused(
        json!({"validations": [{"expression": "true", "messageExpression": "1 > 2"}]}),
        "spec.validations[0].messageExpression",
        "must evaluate to string but got bool",
    )
    .await;
    refused(
        json!({"validations": [{"expression": "variables.a"}],
            "variables": [{"name": "a", "expression": "variables.b"}, {"name": "b", "expression": "true"}]}),
        "spec.variables[0].expression",
        "undefined field 'b'",
    )
    .await;
    refused(
        json!({"auditAnnotations": [{"key": "k", "valueExpression": "1"}]}),
        "spec.auditAnnotations[0].valueExpression",
        "must evaluate to one of [string null_type] but got int",
    )
    .await;
    refused(
        json!({"validations": [{"expression": "true"}], "matchConditions": [{"name": "n", "expression": "'x'"}]}),
        "spec.matchConditions[0].expression",
        "must evaluate to bool but got string",
    )
    .await;
    refused(
        json!({}),
        "spec.validations",
        "validations or auditAnnotations must contain at least one item",
    )
    .await;
}

/// Waits for a policy's types to be checked.
async fn checked(f: &Fixture, name: &str) -> Value {
    let uri = format!("{GROUP}/validatingadmissionpolicies/{name}");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let policy = f.get(&uri).await;
        if !policy["status"]["typeChecking"].is_null() {
            return policy["status"].clone();
        }
        assert!(tokio::time::Instant::now() < deadline, "{policy}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn types_are_checked() {
    let f = fixture().await;
    let spec = json!({"variables": [{"name": "r", "expression": "object.spec.replicas"}], "validations": [
        {"expression": "object.spec.replicas > '1'", "messageExpression": "'has ' + object.spec.replicas"},
        {"expression": "variables.r > 1 && object.spec.template.spec.containers.all(c, c.image.startsWith('a'))"},
        {"expression": "object.spec.typo == 1"}]});
    make(&f, policy("typed", "apps", "deployments", spec)).await;
    let status = checked(&f, "typed").await;
    assert_eq!(status["observedGeneration"], 1);
    let warnings = status["typeChecking"]["expressionWarnings"].as_array().unwrap();
    let fields: Vec<&Value> = warnings.iter().map(|w| &w["fieldRef"]).collect();
    assert_eq!(
        fields,
        [
            "spec.validations[0].expression",
            "spec.validations[0].messageExpression",
            "spec.validations[2].expression"
        ]
    );
    assert_eq!(
        warnings[0]["warning"],
        "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'\n | object.spec.replicas > '1'\n | .....................^\n"
    );
    let spec = json!({"validations": [{"expression": "object.spec.replicas > 1"}]});
    make(&f, policy("right", "apps", "deployments", spec)).await;
    assert_eq!(checked(&f, "right").await["typeChecking"], json!({}));
}

#[tokio::test]
async fn policies_and_bindings_are_objects_like_others() {
    let f = fixture().await;
    let spec = json!({"validations": [{"expression": "true"}]});
    let made = make(&f, policy("p", "apps", "deployments", spec)).await;
    assert_eq!(made["spec"]["failurePolicy"], "Fail");
    assert_eq!(made["spec"]["matchConstraints"]["matchPolicy"], "Equivalent");
    let at = format!("{GROUP}/validatingadmissionpolicies/p");
    let patch = json!({"spec": {"failurePolicy": "Ignore"}});
    let (code, patched) = f
        .send_as(
            f.admin(),
            "PATCH",
            &at,
            patch,
            &[("content-type", "application/merge-patch+json")],
        )
        .await;
    assert_eq!(code, StatusCode::OK, "{patched}");
    assert_eq!(patched["metadata"]["generation"], 2);
    make(&f, binding("b", "p", json!({}))).await;
    let (code, answer) = f
        .send(
            "POST",
            &format!("{GROUP}/validatingadmissionpolicybindings"),
            binding("c", "p", json!({"validationActions": ["Deny", "Warn"]})),
        )
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        message(&answer).contains("must not contain both Deny and Warn"),
        "{answer}"
    );
    let (code, _) = f
        .send(
            "DELETE",
            &format!("{GROUP}/validatingadmissionpolicies"),
            Value::Null,
        )
        .await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(f.send("GET", &at, Value::Null).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn params_may_be_custom_resources() {
    let f = fixture().await;
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "limits.rules.example.com"}, "spec": {"group": "rules.example.com", "scope": "Cluster",
        "names": {"plural": "limits", "singular": "limit", "kind": "Limit", "listKind": "LimitList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
            {"type": "object", "properties": {"most": {"type": "integer"}}}}}]}});
    let (code, answer) = f
        .send(
            "POST",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            definition,
        )
        .await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    let limit = json!({"apiVersion": "rules.example.com/v1", "kind": "Limit", "metadata": {"name": "two"}, "most": 2});
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let (code, answer) = f
            .send("POST", "/apis/rules.example.com/v1/limits", limit.clone())
            .await;
        if code == StatusCode::CREATED {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer}");
        tokio::task::yield_now().await;
    }
    let spec = json!({"paramKind": {"apiVersion": "rules.example.com/v1", "kind": "Limit"},
        "validations": [{"expression": "object.spec.replicas <= params.most"}, {"expression": "params.most != 'x'"}]});
    make(&f, policy("custom", "apps", "deployments", spec)).await;
    let status = checked(&f, "custom").await;
    let warnings = status["typeChecking"]["expressionWarnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{status}");
    assert_eq!(warnings[0]["fieldRef"], "spec.validations[1].expression");
    let by_name = json!({"paramRef": {"name": "two", "parameterNotFoundAction": "Deny"}});
    make(&f, binding("custom", "custom", by_name)).await;
    let (code, answer) = f.send("POST", DEPLOYMENTS, deployment("d", 3)).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert!(
        message(&answer).ends_with("failed expression: object.spec.replicas <= params.most"),
        "{answer}"
    );
    let (code, answer) = f.send("POST", DEPLOYMENTS, deployment("d", 2)).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
}
