//! What is asked without writing: discovery, forms of answers, list and watch options, selectors,
//! patches that cannot be read. Most of it is refused; what a server says then is compared whole.

use serde_json::{Value, json};

use crate::script::{Case, NAMESPACE, Script, Step};

/// Paths of no resource, and of none at all.
const PATHS: &[&str] = &[
    "/apis/nosuch",
    "/apis/nosuch/v1",
    "/apis/nosuch/v1/foos",
    "/apis/apps/v9",
    "/apis/apps/v9/deployments",
    "/apis/apps/v1/nosuch",
    "/api/v2",
    "/api/v1/nodes/x/y",
    "/api/v1/namespaces/default/nosuch/x",
    "/nosuch",
    "//api/v1",
    "/api//v1/namespaces",
    "/healthz/",
    "/healthz/nosuch",
    "/livez/etcd?verbose",
    "/metrics/",
    "/openapi/v2/",
    "/openapi/v3/",
    "/openapi/v3/nosuch",
    "/version/x",
];

/// Methods that few paths have.
const METHODS: &[&str] = &["POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Forms of answers.
const FORMS: &[&str] = &[
    "text/html",
    "application/*",
    "application/cbor",
    "application/json;as=Foo;v=v1;g=meta.k8s.io",
    "application/json;as=Table;v=v2;g=meta.k8s.io",
    "application/json;as=APIGroupDiscoveryList;v=v2beta1;g=apidiscovery.k8s.io",
];

/// Label selectors, encoded.
const LABELS: &[&str] = &[
    "a%3Db%3Dc",
    "a%3D1%2C",
    "%2C",
    "%3D",
    "a+in+(1",
    "a+in+1",
    "a+in+()",
    "a%3E1",
    "a%3Ex",
    "a+b",
    "!",
    "(a)",
    "a%3D%3D%3D1",
    "-a%3D1",
    "a%3D-1",
    "a/b/c%3D1",
    "Foo.com/x%3D1",
    "a+gt+1",
    "a+in+(x+y)",
];

/// Field selectors, encoded.
const FIELDS: &[&str] = &[
    "foo%3Dbar",
    "metadata.name",
    "metadata.name+in+(a)",
    "metadata.labels%3Dx",
    "metadata.name%3Da%5Cx",
    "spec.nodeName%3Dx",
];

/// Patches by media type, all for a ConfigMap.
const PATCHES: &[(&str, &[&str])] = &[
    (
        "application/json-patch+json",
        &[
            "",
            "{",
            "{}",
            "null",
            "[1]",
            r#"[{"op":"foo","path":"/data/k"}]"#,
            r#"[{"path":"/data/k"}]"#,
            r#"[{"op":"replace","path":"/data/none","value":"x"}]"#,
            r#"[{"op":"test","path":"/data/k","value":"other"}]"#,
            r#"[{"op":"remove","path":"/data/none"}]"#,
            r#"[{"op":"copy","from":"/data/none","path":"/data/l"}]"#,
            r#"[{"op":"replace","path":"","value":{}}]"#,
        ],
    ),
    (
        "application/merge-patch+json",
        &[
            "",
            "{",
            "[]",
            "null",
            r#"{"metadata":null}"#,
            r#"{"metadata":{"name":"other"}}"#,
        ],
    ),
    (
        "application/strategic-merge-patch+json",
        &[
            "",
            "{",
            "[]",
            "null",
            r#"{"kind":"Pod"}"#,
            r#"{"apiVersion":"v2"}"#,
            r#"{"metadata":null}"#,
        ],
    ),
    (
        "application/apply-patch+yaml",
        &[
            "",
            "[]",
            r#"{"kind":"ConfigMap"}"#,
            r#"{"apiVersion":"v1","kind":"Pod"}"#,
            r#"{"apiVersion":"v2","kind":"ConfigMap"}"#,
            r#"{"apiVersion":"v1","kind":"ConfigMap","foo":1}"#,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}}"#,
        ],
    ),
    ("application/json", &["{}"]),
];

/// Options of writes that are refused, or must not be taken for others.
const WRITE_OPTIONS: &[&str] = &[
    "dryRun=",
    "dryRun=all",
    "dryRun=All&dryRun=x",
    "dryRun=All&fieldValidation=strict",
    "dryRun=All&fieldManager=a%01",
    "dryRun=All&force=true",
];

fn read(name: String, path: String) -> Case {
    Case::new(name, "GET", path, &Value::Null)
}

pub(crate) fn scripts() -> Vec<Script> {
    vec![discovery(), forms(), lists(), patches()]
}

fn discovery() -> Script {
    let mut script = Script::new("reads discovery");
    let mut cases: Vec<Case> = Vec::new();
    for path in PATHS {
        cases.push(read(format!("paths get {path}"), (*path).to_owned()));
    }
    for path in [
        "/api/v1",
        "/apis/apps/v1",
        "/api/v1/namespaces",
        "/api/v1/configmaps",
        "/nosuch",
    ] {
        for method in METHODS {
            // A collection of everything in a namespace is really deleted.
            let name = format!("paths {} {path}", method.to_lowercase());
            cases.push(Case::new(name, method, path.to_owned(), &json!({})));
        }
    }
    script.steps.push(Step::Many(cases));
    script
}

fn forms() -> Script {
    let mut script = Script::new("reads forms");
    let mut cases = Vec::new();
    for path in [
        "/api",
        "/apis",
        "/api/v1",
        "/version",
        "/api/v1/namespaces",
        "/api/v1/namespaces/default",
    ] {
        for form in FORMS {
            cases.push(read(format!("forms get {path} {form}"), path.to_owned()).accept(form));
        }
    }
    script.steps.push(Step::Many(cases));
    script
}

fn lists() -> Script {
    let mut script = Script::new("reads lists");
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let mut cases = Vec::new();
    let mut add = |query: String| cases.push(read(format!("lists get {query}"), format!("{path}?{query}")));
    for version in [
        "",
        "resourceVersion=0&",
        "resourceVersion=abc&",
        "resourceVersion=1&",
    ] {
        for matched in ["", "resourceVersionMatch=Exact&", "resourceVersionMatch=Foo&"] {
            for rest in [
                "limit=2",
                "continue=abc",
                "sendInitialEvents=true",
                "watch=1&timeoutSeconds=1&sendInitialEvents=true",
            ] {
                // What is read at a version is another list on each server.
                if (version.is_empty() || version.contains("=0")) && matched.is_empty() && rest == "limit=2" {
                    continue;
                }
                // A history of one server need not reach as far back as the other's.
                if version.contains("=1") && rest.starts_with("watch") {
                    continue;
                }
                add(format!("{version}{matched}{rest}"));
            }
        }
    }
    for labels in LABELS {
        add(format!("limit=1&labelSelector={labels}"));
    }
    for fields in FIELDS {
        add(format!("limit=1&fieldSelector={fields}"));
    }
    for limit in ["abc", "1e3", "99999999999999999999"] {
        add(format!("limit={limit}"));
    }
    script.steps.push(Step::Many(cases));
    script
}

fn patches() -> Script {
    let mut script = Script::new("reads patches");
    let collection = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let body = json!({"metadata": {"name": "patched"}, "data": {"k": "v"}});
    let made = "patches create the one for all".to_owned();
    script.one(Case::new(made, "POST", collection.clone(), &body));
    let path = format!("{collection}/patched");
    let mut cases = Vec::new();
    for (kind, bodies) in PATCHES {
        for body in *bodies {
            let name = format!("patches patch {kind} {body}");
            let path = format!("{path}?dryRun=All&fieldManager=m");
            let mut case = Case::new(name, "PATCH", path, &Value::Null).content_type(kind);
            case.request.body = (*body).into();
            cases.push(case);
        }
    }
    for query in WRITE_OPTIONS {
        let name = format!("patches put ?{query}");
        cases.push(Case::new(name, "PUT", format!("{path}?{query}"), &body));
    }
    for options in [
        json!({"dryRun": "All"}),
        json!({"dryRun": ["x"]}),
        json!({"kind": "Pod", "apiVersion": "v1", "dryRun": ["All"]}),
        json!({"gracePeriodSeconds": "x", "dryRun": ["All"]}),
        json!({"propagationPolicy": "x", "dryRun": ["All"]}),
        json!({"preconditions": {"resourceVersion": "1"}, "dryRun": ["All"]}),
    ] {
        let name = format!("patches delete {options}");
        cases.push(Case::new(name, "DELETE", path.clone(), &options));
    }
    script.steps.push(Step::Many(cases));
    script
}
