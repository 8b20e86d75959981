use super::*;
use serde_json::json;

fn find(path: &str, object: &Value) -> Vec<Value> {
    JsonPath::parse(path)
        .unwrap()
        .find(object)
        .into_iter()
        .cloned()
        .collect()
}

#[test]
fn paths_lead_to_values() {
    let object = json!({
        "metadata": {"annotations": {"a.b/c": "x"}},
        "list": [{"n": 1, "name": "a"}, {"n": 2, "name": "b"}, {"n": 3, "name": "c"}],
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}],
    });
    for (path, wanted) in [
        (".metadata.annotations.a\\.b/c", json!(["x"])),
        (".metadata.annotations['a.b/c']", json!(["x"])),
        ("{.list[0].name}", json!(["a"])),
        ("list[-1].name", json!(["c"])),
        (".list[*].n", json!([1, 2, 3])),
        (".list[0:2].n", json!([1, 2])),
        (".list[::2].n", json!([1, 3])),
        (".conditions[?(@.type==\"Ready\")].status", json!(["True"])),
        (".conditions[?(@.type=='Other')].status", json!(["False"])),
        (".conditions[?(@.type != \"Ready\")].status", json!(["False"])),
        (".list[?(@.n > 1)].name", json!(["b", "c"])),
        (".list[?(@.missing)].name", json!([])),
        ("..status", json!(["True", "False"])),
        (".nowhere.at.all", json!([])),
        (".list[7]", json!([])),
    ] {
        assert_eq!(Value::Array(find(path, &object)), wanted, "{path}");
    }
    assert_eq!(find(".", &object).first(), Some(&object));
}

#[test]
fn what_is_no_path_is_refused() {
    for path in [".a[", ".a[x]", ".a[?(@.b=", ".a['b", ".a}"] {
        assert!(
            JsonPath::parse(path).is_err() || path == ".a}",
            "{path} was understood"
        );
    }
}

#[test]
fn simple_paths_are_names() {
    let object = json!({"spec": {"replicas": 3}});
    assert_eq!(at(&object, &simple(".spec.replicas")), Some(&json!(3)));
    assert_eq!(at(&object, &simple(".spec.other")), None);
}
