//! Access reviews with selectors (KEP-4601). The answers are kube-apiserver's.

use super::*;

const LABEL: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

async fn ask(f: &Fixture, kind: &str, spec: &Value) -> (u16, Value) {
    let namespace = if kind == "localsubjectaccessreviews" {
        "namespaces/default/"
    } else {
        ""
    };
    let uri = format!("/apis/authorization.k8s.io/v1/{namespace}{kind}");
    let (code, answer) = f.send("POST", &uri, json!({"spec": spec})).await;
    (code.as_u16(), answer)
}

fn of(user: Value, more: Value) -> Value {
    let mut spec = user;
    spec["resourceAttributes"] = json!({"verb": "list", "resource": "pods"});
    if let (Some(attributes), Value::Object(more)) = (spec["resourceAttributes"].as_object_mut(), more) {
        attributes.extend(more);
    }
    spec
}

#[tokio::test]
async fn selectors_narrow_what_is_asked() {
    let f = fixture().await;
    let u = || json!({"user": "u"});
    let node = || json!({"user": "system:node:n1", "groups": ["system:nodes"]});
    let one = |operator: &str, values: &[&str]| json!({"key": "spec.nodeName", "operator": operator, "values": values});
    let said = |text: &str| json!({"allowed": false, "evaluationError": text});
    let pods = "can only list/watch pods with spec.nodeName field selector";
    for (spec, status) in [
        (of(u(), json!({})), json!({"allowed": false})),
        (
            of(
                u(),
                json!({"fieldSelector": {"rawSelector": "a in b"}, "labelSelector": {"rawSelector": "a=="}}),
            ),
            said("spec.resourceAttributes.fieldSelector ignored due to parse error"),
        ),
        (
            of(
                u(),
                json!({"fieldSelector": {"requirements": [{"key": "a", "operator": "Odd"}]},
                "labelSelector": {"requirements": [{"key": "a", "operator": "Odd"}, {"key": "a", "operator": "Exists"}]}}),
            ),
            said(
                "spec.resourceAttributes.fieldSelector ignored due to parse error; spec.resourceAttributes.labelSelector partially ignored due to parse error",
            ),
        ),
        (
            of(
                u(),
                json!({"fieldSelector": {"requirements": [one("In", &["b", "c"]), {"key": "a", "operator": "Exists"}, one("In", &["b"])]}}),
            ),
            said("spec.resourceAttributes.fieldSelector partially ignored due to parse error"),
        ),
        (of(node(), json!({})), json!({"allowed": false, "reason": pods})),
        (
            of(
                node(),
                json!({"fieldSelector": {"rawSelector": "spec.nodeName!=n1"}}),
            ),
            json!({"allowed": false, "reason": pods}),
        ),
        (
            of(
                node(),
                json!({"fieldSelector": {"rawSelector": "spec.nodeName=n1"}}),
            ),
            json!({"allowed": true}),
        ),
        (
            of(
                node(),
                json!({"fieldSelector": {"requirements": [one("In", &["n1"])]}}),
            ),
            json!({"allowed": true}),
        ),
    ] {
        let (code, answer) = ask(&f, "subjectaccessreviews", &spec).await;
        assert_eq!((code, &answer["status"]), (201, &status), "{spec}");
    }
}

#[tokio::test]
async fn reviews_are_validated() {
    let f = fixture().await;
    let u = || json!({"user": "u"});
    let fields = "spec.resourceAttributes.fieldSelector";
    let labels = "spec.resourceAttributes.labelSelector.requirements";
    let (all, own, local) = (
        "subjectaccessreviews",
        "selfsubjectaccessreviews",
        "localsubjectaccessreviews",
    );
    let neither = "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
    let nobody = "spec.user: Invalid value: \"\": at least one of user or group must be specified";
    for (kind, spec, why) in [
        (all, json!({}), format!("[{neither}, {nobody}]")),
        (own, json!({}), neither.to_owned()),
        (
            all,
            json!({"resourceAttributes": {}, "nonResourceAttributes": {}}),
            format!("[spec.nonResourceAttributes: Invalid value: {{\"Path\":\"\",\"Verb\":\"\"}}: cannot be specified in combination with resourceAttributes, {nobody}]"),
        ),
        (
            own,
            of(json!({}), json!({"fieldSelector": {}})),
            format!("{fields}.requirements: Required value: when {fields} is specified, requirements or rawSelector is required"),
        ),
        (
            all,
            of(u(), json!({"fieldSelector": {"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "In", "values": ["b"]}]}})),
            format!("{fields}.rawSelector: Invalid value: \"a=b\": may not specified at the same time as requirements"),
        ),
        (
            all,
            of(u(), json!({"fieldSelector": {"requirements": [{"key": "", "operator": "In"},
                {"key": "a", "operator": "Exists", "values": ["b"]}, {"key": "a", "operator": "Odd"}]}})),
            format!("[{fields}.requirements[0].key: Required value: must be specified, {fields}.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn', {fields}.requirements[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist']"),
        ),
        (
            all,
            of(u(), json!({"labelSelector": {"requirements": [{"key": "a", "operator": "In"}, {"key": "b", "operator": "In", "values": ["c d"]}]}})),
            format!("[{labels}[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn', {labels}[1].values[0]: Invalid value: \"c d\": {LABEL}]"),
        ),
        (
            local,
            of(u(), json!({})),
            "spec.resourceAttributes.namespace: Invalid value: \"\": must match metadata.namespace".to_owned(),
        ),
        (
            local,
            json!({"user": "u", "nonResourceAttributes": {"path": "/", "verb": "get"}}),
            "spec.nonResourceAttributes: Invalid value: {\"Path\":\"/\",\"Verb\":\"get\"}: disallowed on this kind of request".to_owned(),
        ),
    ] {
        let (code, answer) = ask(&f, kind, &spec).await;
        let message = answer["message"].as_str().unwrap_or_default();
        let wanted = format!(".authorization.k8s.io \"\" is invalid: {why}");
        assert_eq!((code, message), (422, wanted.as_str()), "{kind} {spec}");
    }
}

/// Questions are stored nowhere, and yet it is said who asked what.
#[tokio::test]
async fn questions_have_owners() {
    let f = fixture().await;
    let account = json!({"metadata": {"name": "a"}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let (_, account) = f.send("POST", accounts, account).await;
    let resource = json!({"verb": "get", "resource": "pods"});
    let of_resource = json!({"f:resourceAttributes": {".": {}, "f:resource": {}, "f:verb": {}}});
    for (path, spec, owned, subresource) in [
        (
            "/apis/authentication.k8s.io/v1/tokenreviews",
            json!({"token": "t"}),
            json!({"f:token": {}}),
            Value::Null,
        ),
        (
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            json!({"resourceAttributes": resource}),
            of_resource,
            Value::Null,
        ),
        (
            "/api/v1/namespaces/default/serviceaccounts/a/token",
            json!({"audiences": ["x"]}),
            json!({"f:audiences": {}, "f:expirationSeconds": {}}),
            json!("token"),
        ),
    ] {
        let uri = format!("{path}?fieldManager=me");
        let (code, answer) = f.send("POST", &uri, json!({"spec": spec})).await;
        assert_eq!(code, 201, "{answer}");
        let metadata = &answer["metadata"];
        let [entry] = metadata["managedFields"].as_array().unwrap().as_slice() else {
            panic!("{answer}");
        };
        assert_eq!(
            (&entry["manager"], &entry["operation"]),
            (&json!("me"), &json!("Update"))
        );
        assert_eq!(entry["apiVersion"], answer["apiVersion"], "{path}");
        assert_eq!(entry["fieldsV1"], json!({"f:spec": owned}), "{path}");
        assert_eq!(entry["subresource"], subresource, "{path}");
        if path.ends_with("token") {
            assert_eq!(metadata["uid"], account["metadata"]["uid"]);
        }
    }
    for path in [
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
    ] {
        let (_, answer) = f
            .send("POST", path, json!({"spec": {"namespace": "default"}}))
            .await;
        assert_eq!(answer["metadata"]["managedFields"], Value::Null, "{answer}");
    }
}
