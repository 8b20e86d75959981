use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::*;

/// An object `uid` with owners, blocking where the name ends in `!`.
fn seen(uid: &str, owners: &[&str], finalizers: &[&str], deleting: bool) -> Seen {
    let owners: Vec<_> = owners
        .iter()
        .map(|o| {
            let uid = o.trim_end_matches('!');
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": uid, "uid": uid, "blockOwnerDeletion": o.ends_with('!')})
        })
        .collect();
    let meta: ObjectMeta = serde_json::from_value(json!({
        "name": uid, "namespace": "ns", "uid": uid, "ownerReferences": owners, "finalizers": finalizers,
        "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z"),
    }))
    .unwrap();
    let resource = ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
    };
    Seen::of(&resource, true, &meta)
}

fn delete(uids: &[&str]) -> Vec<Work> {
    uids.iter().map(|uid| Work::Delete((*uid).to_owned())).collect()
}

#[test]
fn unknown_owners_are_looked_for_and_gone_ones_take_their_dependents() {
    let mut graph = Graph::default();
    assert_eq!(graph.observe(seen("a", &[], &[], false)), []);
    assert_eq!(graph.observe(seen("b", &["a"], &[], false)), []);
    assert_eq!(
        graph.observe(seen("c", &["ghost"], &[], false)),
        delete(&["ghost"])
    );
    assert!(graph.get("ghost").unwrap().presumed);
    assert_eq!(graph.removed("ghost"), delete(&["c"]));
    assert!(graph.is_absent("ghost"));
    assert_eq!(graph.removed("a"), delete(&["b"]));
    assert_eq!(graph.removed("b"), [], "and its presumed owner is forgotten");
    // A dependent that turns up after its owner went.
    assert_eq!(graph.observe(seen("d", &["a"], &[], false)), delete(&["a", "d"]));
}

#[test]
fn foreground_asks_for_dependents_and_hears_of_their_end() {
    let mut graph = Graph::default();
    graph.observe(seen("a", &[], &[], false));
    graph.observe(seen("b", &["a!"], &[], false));
    assert_eq!(
        graph.observe(seen("a", &[], &["foregroundDeletion"], true)),
        delete(&["b", "a"])
    );
    assert!(graph.get("a").unwrap().waits_for_dependents() && graph.get("b").unwrap().blocks("a"));
    assert_eq!(
        graph.observe(seen("b", &["a"], &[], false)),
        delete(&["a"]),
        "no longer blocks"
    );
    assert_eq!(graph.removed("b"), delete(&["a"]));
    assert_eq!(
        graph.observe(seen("late", &["a!"], &[], false)),
        delete(&["late"])
    );
}

#[test]
fn orphaning_comes_before_all_else() {
    let mut graph = Graph::default();
    graph.observe(seen("a", &[], &[], false));
    assert_eq!(
        graph.observe(seen("a", &[], &["orphan"], true)),
        [Work::Orphan("a".into())]
    );
}
