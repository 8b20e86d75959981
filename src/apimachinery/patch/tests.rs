use serde_json::json;

use super::*;
use crate::schema::Schema;

fn smp(kind: &str, original: &Value, patch: &Value) -> Result<Value, Status> {
    let def = Schema::get().type_by_name(kind).unwrap();
    strategic_value(original, patch.clone(), def)
}

const POD: &str = "io.k8s.api.core.v1.Pod";
const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

#[test]
fn strategic_table() {
    let table = [
        (
            "lists of objects merge by key",
            json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}),
            json!({"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "1"}]}}),
            json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c", "image": "1"}]}}),
        ),
        (
            "null deletes, also in lists",
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
            json!({"metadata": {"labels": {"a": null, "c": null}, "annotations": {"x": null, "y": "1"}}}),
            json!({"metadata": {"labels": {"b": "2"}, "annotations": {"y": "1"}}}),
        ),
        (
            "delete by key",
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
            json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}),
            json!({"spec": {"containers": [{"name": "b"}]}}),
        ),
        (
            "replace a list",
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
            json!({"spec": {"containers": [{"name": "c"}, {"$patch": "replace"}]}}),
            json!({"spec": {"containers": [{"name": "c"}]}}),
        ),
        (
            "replace a map",
            json!({"spec": {"securityContext": {"runAsUser": 1, "fsGroup": 2}}}),
            json!({"spec": {"securityContext": {"$patch": "replace", "fsGroup": 3}}}),
            json!({"spec": {"securityContext": {"fsGroup": 3}}}),
        ),
        (
            "atomic lists are replaced",
            json!({"spec": {"containers": [{"name": "a", "command": ["x", "y"]}]}}),
            json!({"spec": {"containers": [{"name": "a", "command": ["z"]}]}}),
            json!({"spec": {"containers": [{"name": "a", "command": ["z"]}]}}),
        ),
        (
            "primitive lists merge and delete",
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}}),
            json!({"metadata": {"finalizers": ["c", "b"]}}),
        ),
        (
            "element order",
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "b", "image": "2"}]}}),
            json!({"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "a"}]}}),
        ),
    ];
    for (name, original, patch, want) in table {
        assert_eq!(smp(POD, &original, &patch).unwrap(), want, "{name}");
    }
}

#[test]
fn retain_keys() {
    let original = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let got = smp(DEPLOYMENT, &original, &patch).unwrap();
    assert_eq!(got, json!({"spec": {"strategy": {"type": "Recreate"}}}));
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["x"], "type": "Recreate"}}});
    let e = smp(DEPLOYMENT, &original, &patch).unwrap_err();
    assert_eq!(
        (e.code, e.message.as_str()),
        (400, "invalid patch format of retainKeys")
    );
}

#[test]
fn ports_merge_by_container_port() {
    let original = json!({"spec": {"ports": [{"port": 80, "nodePort": 30000}, {"port": 443}]}});
    let patch = json!({"spec": {"ports": [{"port": 80, "name": "http"}]}});
    let got = smp("io.k8s.api.core.v1.Service", &original, &patch).unwrap();
    assert_eq!(
        got["spec"]["ports"],
        json!([{"port": 80, "nodePort": 30000, "name": "http"}, {"port": 443}])
    );
}

#[test]
fn bad_strategic_patches() {
    let original = json!({"metadata": {}, "spec": {"containers": [{"name": "a"}]}});
    let table = [
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            400,
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            json!({"spec": {"containers": [{"name": "a", "$patch": "what"}]}}),
            400,
            "unknown patch type: what in map: map[$patch:what name:a]",
        ),
        (
            json!({"spec": {"$patch": "what"}}),
            400,
            "unknown patch type: what in map: map[$patch:what]",
        ),
        (
            json!({"spec": {"containers": [{"name": "a"}], "$setElementOrder/containers": [{"name": "b"}]}}),
            400,
            "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
        (json!([1]), 400, "invalid JSON document"),
        (
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}),
            400,
            "invalid patch format of primitive list",
        ),
    ];
    for (patch, code, message) in table {
        let status = smp(POD, &original, &patch).unwrap_err();
        assert_eq!((status.code, &*status.message), (code, message), "{patch}");
    }
}

#[test]
fn patches_that_cannot_be_read() {
    let doc = json!({"a": 1});
    let def = Schema::get().type_by_name(POD).unwrap();
    let no_map = |found: &str| {
        format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")
    };
    let decoding = |why: &str| format!("error decoding patch: {why}");
    let ops = "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
    let op = "json: cannot unmarshal number into Go value of type handlers.jsonPatchOp";
    let end = "unexpected end of JSON input";
    for (answer, message) in [
        (json(&doc, b""), decoding(end)),
        (json(&doc, b"{}"), decoding(ops)),
        (json(&doc, b"[1]"), decoding(op)),
        (merge(&doc, b"{"), decoding(end)),
        (merge(&doc, b"[]"), decoding(&no_map("array"))),
        (merge(&doc, b"null"), "Invalid JSON Patch".to_owned()),
        (strategic(&doc, b"{", def), end.to_owned()),
        (strategic(&doc, b"\"x\"", def), no_map("string")),
    ] {
        let status = answer.unwrap_err();
        assert_eq!((status.code, status.message), (400, message));
    }
    assert_eq!(json(&doc, b"null").unwrap(), doc);
    assert_eq!(strategic(&doc, b"null", def).unwrap(), doc);
}

#[test]
fn json_patches_are_read_leniently() {
    let doc = json!({"data": {"k": "v"}});
    for (patch, want) in [
        (
            r#"[{"op":"replace","path":"/data/n","value":"x"}]"#,
            Some(json!({"data": {"k": "v", "n": "x"}})),
        ),
        (r#"[{"op":"replace","path":"/none/n","value":"x"}]"#, None),
        (
            r#"[{"op":"copy","from":"/data/none","path":"/data/l"}]"#,
            Some(json!({"data": {"k": "v", "l": null}})),
        ),
        (
            r#"[{"op":"add","path":"/data/k"}]"#,
            Some(json!({"data": {"k": null}})),
        ),
        (r#"[{"op":"remove","path":"/data/none"}]"#, None),
        (r#"[{"op":"what","path":"/data/k"}]"#, None),
        (r#"[{"path":"/data/k"}]"#, None),
        (r#"[{"op":"add","path":"data","value":1}]"#, None),
    ] {
        match (json(&doc, patch.as_bytes()), want) {
            (Ok(got), Some(want)) => assert_eq!(got, want, "{patch}"),
            (Err(status), None) => assert_eq!(status.code, 422, "{patch}"),
            (got, want) => panic!("{patch}: {got:?}, not {want:?}"),
        }
    }
}

#[test]
fn json_and_merge_patches() {
    let doc = json!({"a": {"b": 1}, "l": [1, 2]});
    let got = json(
        &doc,
        br#"[{"op":"replace","path":"/a/b","value":2},{"op":"remove","path":"/l/0"}]"#,
    )
    .unwrap();
    assert_eq!(got, json!({"a": {"b": 2}, "l": [2]}));
    assert_eq!(
        json(&doc, br#"[{"op":"test","path":"/a/b","value":2}]"#)
            .unwrap_err()
            .code,
        422
    );
    assert_eq!(json(&doc, b"{}").unwrap_err().code, 400);
    assert_eq!(
        merge(&doc, br#"{"a":{"b":null,"c":3},"l":[9]}"#).unwrap(),
        json!({"a": {"c": 3}, "l": [9]})
    );
    assert_eq!(merge(&doc, b"[]").unwrap_err().code, 400);
}

mod laws {
    use proptest::prelude::*;

    use super::*;

    fn pod() -> impl Strategy<Value = Value> {
        let container =
            (0..4_u8, 0..3_u8, proptest::collection::vec(0..3_u8, 0..3)).prop_map(|(n, image, env)| {
                let mut env: Vec<Value> = env
                    .iter()
                    .map(|e| json!({"name": format!("E{e}"), "value": "v"}))
                    .collect();
                env.dedup();
                json!({"name": format!("c{n}"), "image": image.to_string(), "env": env})
            });
        let labels = proptest::collection::btree_map("[a-c]", "[x-z]", 0..3);
        (proptest::collection::vec(container, 1..4), labels).prop_map(|(mut containers, labels)| {
            containers.sort_by_key(|c| c["name"].to_string());
            containers.dedup_by_key(|c| c["name"].to_string());
            for c in &mut containers {
                if let Some(env) = c["env"].as_array_mut() {
                    env.sort_by_key(|e| e["name"].to_string());
                    env.dedup_by_key(|e| e["name"].to_string());
                }
            }
            json!({"metadata": {"labels": labels}, "spec": {"containers": containers}})
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_patch_without_directives_is_idempotent(a in pod(), p in pod()) {
            let once = smp(POD, &a, &p).unwrap();
            let twice = smp(POD, &once, &p).unwrap();
            prop_assert_eq!(&twice, &once);
            // Every container of both is there once.
            let names = |v: &Value| -> Vec<String> {
                v["spec"]["containers"].as_array().into_iter().flatten().map(|c| c["name"].to_string()).collect()
            };
            let all = names(&once);
            for n in names(&a).iter().chain(&names(&p)) {
                prop_assert_eq!(all.iter().filter(|x| *x == n).count(), 1);
            }
        }

        #[test]
        fn a_merge_patch_is_idempotent(a in pod(), p in pod()) {
            let once = merge_value(&a, p.clone());
            prop_assert_eq!(merge_value(&once, p), once);
        }
    }
}

/// Forty doublings of 20 bytes would be 20 TB.
#[test]
fn copies_do_not_fill_the_memory() {
    let mut operations = vec![json!({"op": "add", "path": "/data/a", "value": "x".repeat(20)})];
    for at in 0..40 {
        operations.push(json!({"op": "copy", "from": "/data", "path": format!("/data/b{at}")}));
    }
    let error = super::json(&json!({"data": {}}), json!(operations).to_string().as_bytes()).unwrap_err();
    assert_eq!(error.code, 422);
    let few = json!([operations[0], operations[1]]).to_string();
    let copied = super::json(&json!({"data": {}}), few.as_bytes()).unwrap();
    assert_eq!(copied["data"]["b0"], json!({"a": "x".repeat(20)}));
}

/// Copied into its own depths, a value is twice as deep each time.
#[test]
fn copies_do_not_make_bottomless_trees() {
    let mut operations = vec![json!({"op": "add", "path": "/data", "value": {"a": {}}})];
    for at in 0..8 {
        let path = format!("/data{}", "/a".repeat(1 << at));
        operations.push(json!({"op": "copy", "from": "/data", "path": path}));
    }
    let error = super::json(&json!({}), json!(operations).to_string().as_bytes()).unwrap_err();
    assert_eq!(error.code, 422);
    let few = json!(operations[..6]).to_string();
    super::json(&json!({}), few.as_bytes()).unwrap();
}

/// Lists of many items are merged in about as long as they take to read.
#[test]
fn long_lists_merge_quickly() {
    let began = std::time::Instant::now();
    let count = 20_000;
    let items = |from: usize| -> Vec<Value> {
        (from..from + count)
            .map(|n| json!({"name": format!("c{n}"), "image": "i"}))
            .collect()
    };
    let original = json!({"spec": {"containers": items(0)}});
    let merged = smp(POD, &original, &json!({"spec": {"containers": items(count / 2)}})).unwrap();
    assert_eq!(
        merged["spec"]["containers"].as_array().unwrap().len(),
        count + count / 2
    );
    let finalizers: Vec<String> = (0..count).map(|n| format!("f/{n}")).collect();
    let patch = json!({"metadata": {"finalizers": finalizers}});
    let merged = smp(POD, &patch, &patch).unwrap();
    assert_eq!(merged["metadata"]["finalizers"].as_array().unwrap().len(), count);
    // Each with each took minutes.
    assert!(
        began.elapsed() < std::time::Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}
