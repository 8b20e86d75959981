//! Every operation on an object, one after the other, with a watch beside: what upstream's tests of
//! "API operations" do for each kind.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ground, cases, names};
use crate::server::Api;

cases! {
    flow_schemas: ["flow/schemas"],
    priority_levels: ["flow/levels"],
    validating_policies: ["policy/operations"],
    validating_policy_bindings: ["policy/binding-operations"],
    signing_requests: ["certificates/operations"],
}

/// A kind and where it is.
pub(super) struct Operations<'a> {
    pub(super) collection: &'a str,
    /// A valid object without a name.
    pub(super) object: Value,
    /// A status to write, if it has one, and the field of it to compare.
    pub(super) status: Option<(Value, &'a str)>,
}

impl Operations<'_> {
    /// Creates, reads, lists, watches, patches, updates and deletes; then the same with the status.
    pub(super) async fn walk(self, api: &Api) {
        let Operations {
            collection,
            object,
            status,
        } = self;
        let (version, resource) = collection.rsplit_once('/').expect("a path");
        let discovered = api
            .get(version.split("/namespaces/").next().expect("a version"))
            .await;
        let listed = discovered["resources"].as_array().expect("resources").iter();
        assert!(
            listed.clone().any(|known| known["name"] == resource),
            "{discovered}"
        );

        let label = format!("walk={resource}");
        let selected = format!("{collection}?labelSelector={}", label.replace('=', "%3D"));
        let begin = api.get(&selected).await["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_owned();
        for name in ["walk-one", "walk-two", "walk-three"] {
            let mut made = object.clone();
            made["metadata"] = json!({"name": name, "labels": {"walk": resource}});
            api.post(collection, &made).await;
        }
        let one = format!("{collection}/walk-one");
        let read = api.get(&one).await;
        assert_eq!(read["metadata"]["name"], "walk-one");
        assert_eq!(
            names(&api.get(&selected).await),
            ["walk-one", "walk-three", "walk-two"]
        );

        let patched = api
            .merge(&one, json!({"metadata": {"annotations": {"patched": "true"}}}))
            .await;
        assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
        let updated = update(api, &one, |object| {
            object["metadata"]["annotations"]["updated"] = json!("true")
        })
        .await;
        assert_eq!(
            updated["metadata"]["annotations"],
            json!({"patched": "true", "updated": "true"})
        );
        let (code, reason, _) = api.refused("PUT", &one, &patched).await;
        assert_eq!((code, reason.as_str()), (409, "Conflict"), "an old version");

        let mut changes = 5;
        if let Some((status, field)) = status {
            let path = format!("{one}/status");
            assert_eq!(api.get(&path).await["metadata"]["uid"], read["metadata"]["uid"]);
            let patched = api
                .merge(
                    &path,
                    json!({"metadata": {"annotations": {"patchedstatus": "true"}}, "status": status}),
                )
                .await;
            assert_eq!(patched["status"][field], status[field], "{patched}");
            assert_eq!(patched["spec"], read["spec"]);
            let updated = update(api, &path, |object| {
                object["metadata"]["labels"]["through"] = json!("status");
                let conditions = object["status"]["conditions"].as_array_mut();
                if let Some(condition) = conditions.and_then(|all| all.last_mut()) {
                    condition["message"] = json!("updated");
                }
            })
            .await;
            let last = updated["status"]["conditions"]
                .as_array()
                .and_then(|all| all.last());
            assert!(
                last.is_none_or(|condition| condition["message"] == "updated"),
                "{updated}"
            );
            changes += 1;
        }
        api.delete(&one).await;
        let (code, reason, _) = api.refused("GET", &one, &Value::Null).await;
        assert_eq!((code, reason.as_str()), (404, "NotFound"));
        api.delete(&selected).await;
        assert!(names(&api.get(&selected).await).is_empty());

        let watch = format!("{selected}&watch=1&timeoutSeconds=20&resourceVersion={begin}");
        let events = api
            .events(&watch, |seen| {
                let gone = super::watches::shown(seen).into_iter();
                gone.filter(|event| event.starts_with("DELETED")).count() == 3
            })
            .await;
        let shown = super::watches::shown(&events);
        let of_one: Vec<&str> = shown
            .iter()
            .map(String::as_str)
            .filter(|event| event.ends_with(" walk-one"))
            .collect();
        assert_eq!(
            (of_one.first(), of_one.last()),
            (Some(&"ADDED walk-one"), Some(&"DELETED walk-one"))
        );
        assert!(of_one.len() >= changes - 1, "{of_one:?}");
    }
}

/// Reads, changes and writes, anew when somebody else was faster: the server itself writes some statuses.
async fn update(api: &Api, path: &str, change: impl Fn(&mut Value)) -> Value {
    loop {
        let mut object = api.get(path).await;
        change(&mut object);
        let (code, answer) = api.send("PUT", path, &object).await;
        if code != 409 {
            return Api::expect(path, (code, answer));
        }
    }
}

async fn flow_schemas(g: Arc<Ground>) {
    let walk = Operations {
        collection: "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
        object: json!({"spec": {"matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"},
            "distinguisherMethod": {"type": "ByUser"}, "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "example-e2e-non-existent-user"}}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}}),
        status: Some((
            json!({"conditions": [{"type": "PatchStatusFailed", "status": "False", "reason": "Rocks", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
            "conditions",
        )),
    };
    walk.walk(&g.api).await;
}

async fn priority_levels(g: Arc<Ground>) {
    let walk = Operations {
        collection: "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
        object: json!({"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 2,
            "limitResponse": {"type": "Reject"}}}}),
        status: Some((
            json!({"conditions": [{"type": "PatchStatusFailed", "status": "False", "reason": "Rocks", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
            "conditions",
        )),
    };
    walk.walk(&g.api).await;
}

async fn validating_policies(g: Arc<Ground>) {
    let walk = Operations {
        collection: "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        object: json!({"spec": {"matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"],
            "operations": ["CREATE"], "resources": ["deployments"]}]}, "validations": [{"expression": "object.spec.replicas <= 100"}]}}),
        status: Some((
            json!({"conditions": [{"type": "PatchStatusFailed", "status": "False", "reason": "Rocks", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
            "conditions",
        )),
    };
    walk.walk(&g.api).await;
}

async fn validating_policy_bindings(g: Arc<Ground>) {
    let walk = Operations {
        collection: "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        object: json!({"spec": {"policyName": "replicalimit-policy.example.com", "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"no": "namespace"}}}}}),
        status: None,
    };
    walk.walk(&g.api).await;
}

async fn signing_requests(g: Arc<Ground>) {
    let collection = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let request = include_str!("../testdata/jane.csr.b64").trim();
    let object = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "spec": {
        "request": request, "signerName": "example.com/e2e", "usages": ["client auth"], "expirationSeconds": 3600,
        "username": "ignored"}});
    let condition = json!({"type": "Failed", "status": "True", "reason": "Test", "message": "m",
        "lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let walk = Operations {
        collection,
        object: object.clone(),
        status: Some((
            json!({"certificate": CERTIFICATE, "conditions": [condition]}),
            "certificate",
        )),
    };
    walk.walk(&g.api).await;
    // Approval is a subresource of its own.
    let mut approved = object;
    approved["metadata"] = json!({"name": "approved"});
    let made = g.api.post(collection, &approved).await;
    assert_eq!(
        made["spec"]["username"], "kubernetes-admin",
        "who asks is not for the asker to say"
    );
    let said = g.kubectl(&["certificate", "approve", "approved"], "").await;
    assert_eq!(
        said,
        "certificatesigningrequest.certificates.k8s.io/approved approved\n"
    );
    let path = format!("{collection}/approved/approval");
    let read = g.api.get(&path).await;
    assert_eq!(read["status"]["conditions"][0]["type"], "Approved");
    let patched = g
        .api
        .merge(&path, json!({"metadata": {"annotations": {"patched": "true"}}}))
        .await;
    let mut denied = patched;
    denied["status"]["conditions"] =
        json!([{"type": "Denied", "status": "True", "reason": "Test", "message": "m"}]);
    let (code, _, said) = g.api.refused("PUT", &path, &denied).await;
    assert_eq!(code, 422);
    assert!(
        said.contains("updates may not remove a condition of type \"Approved\""),
        "{said}"
    );
}

/// A status takes any certificate in PEM: this one is of nobody.
const CERTIFICATE: &str = include_str!("../testdata/nobody.pem.b64");
