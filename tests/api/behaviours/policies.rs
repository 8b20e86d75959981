//! ValidatingAdmissionPolicies at work. Their operations are among `operations`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ground, cases, message, workload};
use crate::server::Api;

cases! {
    a_policy_validates_deployments: ["policy/deployment"],
    expressions_use_variables: ["policy/variables"],
    types_are_checked: [],
}

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn policy(name: &str, spec: Value) -> Value {
    let mut policy = json!({"metadata": {"name": name}, "spec": {"failurePolicy": "Fail", "matchConstraints": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
        "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
            "resources": ["deployments"]}]}}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        policy["spec"][key] = value.clone();
    }
    policy
}

/// A policy and its binding for a new namespace, all of one name; gives the path of Deployments there.
async fn bound(api: &Api, name: &str, spec: Value) -> String {
    api.namespace(name).await;
    api.post(
        &format!("{GROUP}/validatingadmissionpolicies"),
        &policy(name, spec),
    )
    .await;
    let binding =
        json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
    api.post(&format!("{GROUP}/validatingadmissionpolicybindings"), &binding)
        .await;
    format!("/apis/apps/v1/namespaces/{name}/deployments")
}

fn deployment(name: &str, replicas: u32) -> Value {
    workload("apps/v1", "Deployment", name, replicas)
}

async fn a_policy_validates_deployments(g: Arc<Ground>) {
    let spec = json!({"validations": [
        {"expression": "object.spec.replicas > 1", "messageExpression": "'wants replicas > 1, got ' + string(object.spec.replicas)"},
        {"expression": "namespaceObject.metadata.name == 'validated'", "message": "Internal error! Other namespace should not be allowed."}]});
    let deployments = bound(&g.api, "validated", spec).await;
    let (code, reason, said) = g.api.refused("POST", &deployments, &deployment("one", 1)).await;
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert_eq!(
        said,
        "deployments.apps \"one\" is forbidden: ValidatingAdmissionPolicy 'validated' with binding 'validated' denied request: \
         wants replicas > 1, got 1"
    );
    g.api.post(&deployments, &deployment("two", 2)).await;
    let (code, _, _) = g
        .api
        .refused(
            "PATCH",
            &format!("{deployments}/two"),
            &json!({"spec": {"replicas": 1}}),
        )
        .await;
    assert_eq!(code, 422);
    let (_, _, said) = g
        .try_kubectl(
            &["create", "deployment", "three", "-n", "validated", "--image=i"],
            "",
        )
        .await;
    assert!(
        said.contains("denied request: wants replicas > 1, got 1"),
        "{said}"
    );
    // Unbound, it is no rule.
    g.api
        .delete(&format!("{GROUP}/validatingadmissionpolicybindings/validated"))
        .await;
    g.api.post(&deployments, &deployment("one", 1)).await;
}

async fn expressions_use_variables(g: Arc<Ground>) {
    let spec = json!({
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"}],
        "validations": [
            {"expression": "variables.replicas > 1"},
            {"expression": "variables.oddReplicas", "message": "must be odd", "reason": "Forbidden"}]});
    let deployments = bound(&g.api, "variables", spec).await;
    for (replicas, code, said) in [
        (
            1,
            422,
            "denied request: failed expression: variables.replicas > 1",
        ),
        (2, 403, "denied request: must be odd"),
        (3, 201, ""),
    ] {
        let (got, answer) = g.api.send("POST", &deployments, &deployment("d", replicas)).await;
        assert_eq!(got.as_u16(), code, "{replicas}: {answer}");
        assert!(message(&answer).contains(said), "{answer}");
    }
}

async fn types_are_checked(g: Arc<Ground>) {
    let spec = json!({"validations": [{"expression": "object.spec.replicas > '1'"}, {"expression": "object.spec.replicas > 1"}]});
    bound(&g.api, "typed", spec).await;
    let path = format!("{GROUP}/validatingadmissionpolicies/typed");
    let checked = g
        .api
        .until(&path, |policy| !policy["status"]["typeChecking"].is_null())
        .await;
    let warnings = checked["status"]["typeChecking"]["expressionWarnings"]
        .as_array()
        .unwrap();
    assert_eq!(warnings.len(), 1, "{checked}");
    assert_eq!(warnings[0]["fieldRef"], "spec.validations[0].expression");
    assert!(
        warnings[0]["warning"]
            .as_str()
            .unwrap()
            .contains("found no matching overload for '_>_' applied to '(int, string)'")
    );
}
