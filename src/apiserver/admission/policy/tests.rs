//! Mutations, run on requests that no server sent: the policies' beta version is off by default.

use serde_json::{Value, json};

use super::{compiled::Policy, mutating};
use crate::{
    admission::{Notes, Operation, OptionsOf, Request},
    catalog::Def,
    error::Result,
    tests::{Fixture, fixture, pod},
    user::UserInfo,
};

fn policy(name: &str, mutations: Value, more: Value) -> Policy {
    let mut spec = json!({
        "matchConstraints": {"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
        "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded", "mutations": mutations});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let policy = json!({"metadata": {"name": name}, "spec": spec});
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name}});
    Policy::read(&policy, &[&binding])
}

fn apply(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

/// Runs policies on a pod's creation; gives the pod.
fn created(f: &Fixture, policies: &[Policy]) -> Result<Value> {
    let core = &f.server.core;
    let def: Def = core.catalog.find("", "v1", "pods").unwrap();
    let (user, notes) = (UserInfo::loopback(), Notes::default());
    let mut object = pod("web");
    object["metadata"]["namespace"] = json!("default");
    let mut request = Request {
        core,
        user: &user,
        operation: Operation::Create,
        def: &def,
        sub: "",
        namespace: "default",
        name: "web",
        object: &mut object,
        owners: None,
        old: None,
        options: OptionsOf::None,
        dry_run: false,
        notes: &notes,
        reinvocation: Default::default(),
    };
    for again in [false, true] {
        request.reinvocation.again = again;
        mutating::change(policies, &mut request)?;
        if !request.reinvocation.wanted {
            break;
        }
    }
    Ok(object)
}

#[tokio::test]
async fn a_configuration_is_applied() {
    let f = fixture().await;
    let sidecar = policy(
        "sidecar",
        json!([apply(
            "Object{metadata: Object.metadata{labels: {'injected': 'yes'}}, spec: Object.spec{containers: [
                Object.spec.containers{name: 'side', image: variables.image}]}}"
        )]),
        json!({"variables": [{"name": "image", "expression": "'side:' + object.metadata.name"}],
            "matchConditions": [{"name": "once", "expression": "!object.spec.containers.exists(c, c.name == 'side')"}]}),
    );
    let pod = created(&f, &[sidecar]).unwrap();
    assert_eq!(
        pod["metadata"]["labels"],
        json!({"app": "web", "injected": "yes"})
    );
    let containers = pod["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 2);
    assert_eq!(containers[0]["image"], "img:1");
    assert_eq!(containers[1]["image"], "side:web");
    assert!(
        containers[1]["terminationMessagePath"].is_string(),
        "defaults are filled in: {pod}"
    );
    assert!(pod["metadata"]["managedFields"].is_null());
}

#[tokio::test]
async fn a_json_patch_is_applied() {
    let f = fixture().await;
    let add = policy(
        "add",
        json!([
            patch(
                "[JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}, JSONPatch{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey('a/b'), value: 'c'}]"
            ),
            patch(
                "[JSONPatch{op: 'test', path: '/metadata/name', value: 'other'}, JSONPatch{op: 'remove', path: '/spec'}]"
            ),
            patch(
                "[JSONPatch{op: 'add', path: '/spec/tolerations', value: [Object.spec.tolerations{key: 'k', operator: 'Exists'}]}]"
            ),
        ]),
        json!({}),
    );
    let pod = created(&f, &[add]).unwrap();
    assert_eq!(pod["metadata"]["annotations"], json!({"a/b": "c"}));
    assert_eq!(
        pod["spec"]["containers"][0]["image"], "img:1",
        "a failed test changes nothing"
    );
    assert_eq!(
        pod["spec"]["tolerations"],
        json!([{"key": "k", "operator": "Exists"}])
    );
}

#[tokio::test]
async fn policies_before_a_change_are_run_again() {
    let f = fixture().await;
    let copy = policy(
        "a-copy",
        json!([apply(
            "Object{metadata: Object.metadata{labels: {'copy': object.metadata.labels[?'late'].orValue('none')}}}"
        )]),
        json!({}),
    );
    let late = || {
        policy(
            "b-late",
            json!([apply(
                "Object{metadata: Object.metadata{labels: {'late': 'set'}}}"
            )]),
            json!({}),
        )
    };
    let pod = created(&f, &[copy, late()]).unwrap();
    assert_eq!(pod["metadata"]["labels"]["copy"], "set");
    let never = policy(
        "a-copy",
        json!([apply(
            "Object{metadata: Object.metadata{labels: {'copy': object.metadata.labels[?'late'].orValue('none')}}}"
        )]),
        json!({"reinvocationPolicy": "Never"}),
    );
    let pod = created(&f, &[never, late()]).unwrap();
    assert_eq!(pod["metadata"]["labels"]["copy"], "none");
}

#[tokio::test]
async fn what_fails_is_judged_by_the_failure_policy() {
    let f = fixture().await;
    for (expression, why) in [
        (
            "Object{spec: Object.wrong{hostname: 'x'}}",
            "policy 'p' with binding 'p' denied request: type mismatch: unexpected type name \"Object.wrong\", expected \"Object.spec\"",
        ),
        (
            "Object{spec: Object.spec{tolerations: [Object.spec.tolerations{key: 'k'}]}}",
            "may not mutate atomic arrays, maps or structs: .spec.tolerations",
        ),
        (
            "Object{metadata: Object.metadata{labels: {'a': object.missing}}}",
            "resulted in error: no such key: missing",
        ),
    ] {
        let fails = policy("p", json!([apply(expression)]), json!({}));
        let status = created(&f, &[fails]).unwrap_err();
        assert!(status.message.contains(why), "{}", status.message);
        assert_eq!((status.code, status.reason.as_str()), (403, "Invalid"));
        let ignored = policy(
            "p",
            json!([apply(expression)]),
            json!({"failurePolicy": "Ignore"}),
        );
        assert!(created(&f, &[ignored]).is_ok());
    }
}
