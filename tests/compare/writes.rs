//! Creates, updates, patches and deletes of every kind.

use serde_json::{Value, json};

use crate::mutate::{Extent, Mutant, mutants};
use crate::objects::{Sample, samples};
use crate::script::{Case, MADE_VERSION, Script, Step};

pub(crate) fn scripts() -> impl Iterator<Item = Script> {
    samples().into_iter().map(|sample| script(&sample))
}

/// Names and what else of metadata a kind may have rules for.
fn metadata() -> Vec<(&'static str, Value)> {
    let long = |length| "a".repeat(length);
    vec![
        ("name empty", json!({"name": ""})),
        ("name Bad_Name!", json!({"name": "Bad_Name!"})),
        ("name with a dot", json!({"name": "a.b"})),
        ("name with a slash", json!({"name": "a/b"})),
        ("name ..", json!({"name": ".."})),
        ("name with a colon", json!({"name": "a:b"})),
        ("name of digits", json!({"name": "123"})),
        ("name of 63", json!({"name": long(63)})),
        ("name of 64", json!({"name": long(64)})),
        ("name of 254", json!({"name": long(254)})),
        ("generateName", json!({"name": null, "generateName": "x-made-"})),
        ("generateName Bad_", json!({"name": null, "generateName": "Bad_"})),
        (
            "generateName of 70",
            json!({"name": null, "generateName": long(70)}),
        ),
        ("namespace of another", json!({"namespace": "other"})),
        ("resourceVersion", json!({"resourceVersion": "5"})),
        ("uid", json!({"uid": "mine"})),
        ("generation", json!({"generation": 7})),
        (
            "labels",
            json!({"labels": {"Bad Key!": "v", "k": "bad value!", "a/b": "c"}}),
        ),
        (
            "annotations",
            json!({"annotations": {"Bad Key!": "v", "UPPER.example/K": "any thing"}}),
        ),
        ("finalizers", json!({"finalizers": ["bare", "a/b", "Bad_!"]})),
        (
            "finalizers orphan",
            json!({"finalizers": ["orphan", "foregroundDeletion"]}),
        ),
        (
            "ownerReferences",
            json!({"ownerReferences": [{}, {"apiVersion": "v1", "kind": "Event", "name": "n", "uid": "u"}]}),
        ),
        (
            "ownerReferences twice",
            json!({"ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "n", "uid": "u", "controller": true},
            {"apiVersion": "v1", "kind": "Pod", "name": "m", "uid": "v", "controller": true}]}),
        ),
        (
            "managedFields",
            json!({"managedFields": [{"operation": "Bad", "fieldsType": "V9", "manager": long(129)}]}),
        ),
        (
            "deletionTimestamp",
            json!({"deletionTimestamp": "2024-01-02T03:04:05Z", "deletionGracePeriodSeconds": 5}),
        ),
    ]
}

fn merged(object: &Value, patch: &Value) -> Value {
    let mut object = object.clone();
    json_patch::merge(&mut object, patch);
    object
}

fn script(sample: &Sample) -> Script {
    let title = sample.title();
    let mut script = Script::new(&title);
    let object = &sample.object;
    let def = sample.resource.type_def();
    let own: Vec<&str> = def
        .fields
        .iter()
        .map(|field| &*field.name)
        .filter(|name| !matches!(*name, "apiVersion" | "kind" | "metadata" | "status"))
        .collect();
    let extent = if title == "pods" {
        Extent::Full
    } else {
        Extent::BriefTemplates
    };
    let changed = mutants(def, object, &own, extent);
    let collection = sample.collection();
    let one = sample.path();

    let mut cases = vec![Case::new(
        format!("{title} create as it is"),
        "POST",
        format!("{collection}?dryRun=All"),
        object,
    )];
    cases.extend(of_mutants(&title, "create", "POST", &collection, &changed));
    for (what, patch) in metadata() {
        let body = merged(object, &json!({"metadata": patch}));
        cases.push(Case::new(
            format!("{title} create metadata {what}"),
            "POST",
            format!("{collection}?dryRun=All"),
            &body,
        ));
    }
    script.steps.push(Step::Many(cases));
    if !sample.resource.has_verb("update") {
        return script;
    }

    script.keep(Case::new(
        format!("{title} create"),
        "POST",
        format!("{collection}?fieldManager=m"),
        object,
    ));
    // Kinds that the servers themselves write into.
    if matches!(
        sample.resource.group,
        "apiextensions.k8s.io"
            | "apiregistration.k8s.io"
            | "admissionregistration.k8s.io"
            | "flowcontrol.apiserver.k8s.io"
            | "networking.k8s.io"
    ) {
        script.steps.push(Step::Settle(one.clone()));
    }
    let now = merged(object, &json!({"metadata": {"resourceVersion": MADE_VERSION}}));
    let changed = mutants(def, &now, &own, extent);
    let mut cases = of_mutants(&title, "update", "PUT", &one, &changed);
    for (what, patch) in metadata() {
        let body = merged(&now, &json!({"metadata": patch}));
        cases.push(Case::new(
            format!("{title} update metadata {what}"),
            "PUT",
            format!("{one}?dryRun=All"),
            &body,
        ));
    }
    for name in ["status"] {
        if sample
            .resource
            .subresource(name)
            .is_some_and(|part| part.verbs.contains(&"update"))
        {
            let path = format!("{one}/{name}");
            cases.extend(of_mutants(
                &title,
                name,
                "PUT",
                &path,
                &mutants(def, &now, &[name], Extent::Full),
            ));
        }
    }
    cases.extend(patches(&title, &one, object));
    script.steps.push(Step::Many(cases));

    let apply = |case: Case| case.content_type("application/apply-patch+yaml");
    script.keep(Case::new(
        format!("{title} patch label"),
        "PATCH",
        format!("{one}?fieldManager=n"),
        &json!({"metadata": {"labels": {"x": "y"}}}),
    ));
    script.keep(apply(Case::new(
        format!("{title} apply with conflicts"),
        "PATCH",
        format!("{one}?fieldManager=o"),
        object,
    )));
    script.keep(apply(Case::new(
        format!("{title} apply with force"),
        "PATCH",
        format!("{one}?fieldManager=o&force=true"),
        object,
    )));
    script.keep(Case::new(
        format!("{title} update"),
        "PUT",
        format!("{one}?fieldManager=m"),
        &merged(object, &json!({"metadata": {"resourceVersion": MADE_VERSION}})),
    ));
    script.steps.push(Step::Many(deletes(&title, &one)));
    script.one(Case::new(
        format!("{title} delete"),
        "DELETE",
        format!("{one}?gracePeriodSeconds=0"),
        &Value::Null,
    ));
    script
}

fn of_mutants(title: &str, verb: &str, method: &'static str, path: &str, mutants: &[Mutant]) -> Vec<Case> {
    let mut cases = vec![];
    for mutant in mutants {
        let what = &mutant.what;
        // Decoding is the same for all verbs.
        let decoding = mutant.unknown
            || ["= a string", "= a number", "= 1.5"]
                .iter()
                .any(|how| what.ends_with(how));
        if decoding && verb != "create" {
            continue;
        }
        let mut case = |name: String, query: &str| {
            let path = format!("{path}?dryRun=All{query}");
            cases.push(Case::of(name, method, path, mutant.object.clone()));
        };
        if mutant.unknown {
            case(
                format!("{title} {verb} {what}, strictly"),
                "&fieldValidation=Strict",
            );
            case(
                format!("{title} {verb} {what}, ignored"),
                "&fieldValidation=Ignore",
            );
        }
        case(format!("{title} {verb} {what}"), "");
    }
    cases
}

/// Patches of each type, and what is wrong with patches.
fn patches(title: &str, one: &str, object: &Value) -> Vec<Case> {
    let kind = |name: &str| format!("application/{name}");
    let bodies = [
        ("empty", "merge-patch+json", json!({})),
        (
            "annotation",
            "merge-patch+json",
            json!({"metadata": {"annotations": {"x": "y"}}}),
        ),
        (
            "annotation",
            "strategic-merge-patch+json",
            json!({"metadata": {"annotations": {"x": "y"}}}),
        ),
        ("unknown", "strategic-merge-patch+json", json!({"nonsense": 1})),
        ("unknown", "merge-patch+json", json!({"nonsense": 1})),
        (
            "directive",
            "strategic-merge-patch+json",
            json!({"metadata": {"$patch": "nonsense"}}),
        ),
        ("uid", "merge-patch+json", json!({"metadata": {"uid": "other"}})),
        ("name", "merge-patch+json", json!({"metadata": {"name": "other"}})),
        ("kind", "merge-patch+json", json!({"kind": "Other"})),
        (
            "version",
            "merge-patch+json",
            json!({"metadata": {"resourceVersion": "1"}}),
        ),
        ("a list", "merge-patch+json", json!([])),
        ("a string", "merge-patch+json", json!("x")),
        ("a string", "strategic-merge-patch+json", json!("x")),
        ("nothing", "json-patch+json", json!([])),
        (
            "add",
            "json-patch+json",
            json!([{"op": "add", "path": "/metadata/labels", "value": {"x": "y"}}]),
        ),
        (
            "test",
            "json-patch+json",
            json!([{"op": "test", "path": "/metadata/name", "value": "other"}]),
        ),
        (
            "remove what is not",
            "json-patch+json",
            json!([{"op": "remove", "path": "/nonsense"}]),
        ),
        (
            "an unknown operation",
            "json-patch+json",
            json!([{"op": "nonsense", "path": "/metadata"}]),
        ),
        ("no list", "json-patch+json", json!({"op": "add"})),
        ("anything", "nonsense+json", json!({})),
        (
            "a label",
            "apply-patch+yaml",
            json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {"labels": {"x": "y"}}}),
        ),
        (
            "no kind",
            "apply-patch+yaml",
            json!({"metadata": {"labels": {"x": "y"}}}),
        ),
        (
            "unknown",
            "apply-patch+yaml",
            json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "nonsense": 1}),
        ),
    ];
    let mut cases = vec![];
    for (what, media, body) in bodies {
        let name = format!("{title} {media} {what}");
        let path = format!("{one}?dryRun=All&fieldManager=p");
        cases.push(Case::new(name, "PATCH", path, &body).content_type(&kind(media)));
    }
    let apply = json!({"apiVersion": object["apiVersion"], "kind": object["kind"]});
    let path = format!("{one}?dryRun=All");
    cases.push(
        Case::new(format!("{title} apply without a manager"), "PATCH", path, &apply)
            .content_type(&kind("apply-patch+yaml")),
    );
    cases
}

fn deletes(title: &str, one: &str) -> Vec<Case> {
    let body = |what: &str, mut body: Value| {
        body["apiVersion"] = json!("v1");
        body["kind"] = json!("DeleteOptions");
        body["dryRun"] = json!(["All"]);
        Case::new(format!("{title} delete {what}"), "DELETE", one.to_owned(), &body)
    };
    let query = |query: &str| {
        Case::new(
            format!("{title} delete {query}"),
            "DELETE",
            format!("{one}?{query}"),
            &Value::Null,
        )
    };
    vec![
        body("as it is", json!({})),
        body("of another uid", json!({"preconditions": {"uid": "other"}})),
        body(
            "of another version",
            json!({"preconditions": {"resourceVersion": "1"}}),
        ),
        body("with no policy", json!({"propagationPolicy": "Nonsense"})),
        body(
            "with two policies",
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
        ),
        body("after -1 s", json!({"gracePeriodSeconds": -1})),
        body("unknown", json!({"nonsense": 1})),
        body("in the foreground", json!({"propagationPolicy": "Foreground"})),
        query("dryRun=Some"),
        query("dryRun=All&gracePeriodSeconds=x"),
        query("dryRun=All&propagationPolicy=Background"),
    ]
}
