use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema::Schema;

fn now(second: i8) -> Timestamp {
    format!("2026-01-01T00:00:{second:02}Z").parse().unwrap()
}

fn request<'a>(manager: &'a str, second: i8, ignored: &'a Set) -> Request<'a> {
    Request {
        def: Schema::get().type_by_name("io.k8s.api.apps.v1.Deployment"),
        api_version: "apps/v1",
        manager,
        subresource: "",
        now: now(second),
        ignored,
    }
}

fn base() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "d"}})
}

fn with(spec: Value) -> Value {
    let mut v = base();
    v["spec"] = spec;
    v
}

fn run(live: Option<&Value>, manager: &str, config: &Value, force: bool) -> Result<Value, Status> {
    apply(&request(manager, 1, &Set::new()), live, config, force)
}

#[test]
fn fields_v1_round_trip() {
    let v = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}}}},
        "f:list": {"v:\"x\"": {}},
    });
    let s = Set::decode(&v);
    assert_eq!(s.encode(), v);
    assert!(
        s.paths()
            .contains(&".spec.containers[name=\"a\"].image".to_owned())
    );
    assert!(s.paths().contains(&".list[=\"x\"]".to_owned()));
}

#[test]
fn first_apply_owns_what_it_names() {
    let config = with(json!({
        "replicas": 3,
        "template": {"spec": {"containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 80}]}]}},
    }));
    let got = run(None, "me", &config, false).unwrap();
    assert_eq!(got["spec"]["replicas"], 3);
    let m = &got["metadata"]["managedFields"];
    assert_eq!(
        *m,
        json!([{
            "manager": "me", "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-01-01T00:00:01Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {
                "f:replicas": {},
                "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {
                    ".": {}, "f:image": {}, "f:name": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                }}}},
            }},
        }])
    );
}

#[test]
fn conflicts_are_named_as_upstream() {
    let live = run(None, "one", &with(json!({"replicas": 3})), false).unwrap();
    let e = run(Some(&live), "two", &with(json!({"replicas": 4})), false).unwrap_err();
    assert_eq!(e.code, 409);
    assert_eq!(
        e.message,
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"
    );
    let causes = e.to_value()["details"]["causes"].clone();
    assert_eq!(causes[0]["reason"], "FieldManagerConflict");
    assert_eq!(causes[0]["field"], ".spec.replicas");

    let mut created = with(json!({"replicas": 1, "paused": true}));
    track(
        &request("kubectl-client-side-apply", 1, &Set::new()),
        None,
        &mut created,
    );
    let e = run(Some(&created), "two", &with(json!({"replicas": 4})), false).unwrap_err();
    assert_eq!(
        e.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    let e = run(
        Some(&created),
        "two",
        &with(json!({"replicas": 4, "paused": false})),
        false,
    )
    .unwrap_err();
    assert_eq!(
        e.message,
        "Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.paused\n- .spec.replicas"
    );

    let forced = run(Some(&live), "two", &with(json!({"replicas": 4})), true).unwrap();
    assert_eq!(forced["spec"]["replicas"], 4);
    let managers = forced["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.len(), 1, "who lost everything is gone: {managers:?}");
    assert_eq!(managers[0]["manager"], "two");
}

#[test]
fn equal_values_are_shared() {
    let live = run(None, "one", &with(json!({"replicas": 3})), false).unwrap();
    let both = run(Some(&live), "two", &with(json!({"replicas": 3})), false).unwrap();
    assert_eq!(both["metadata"]["managedFields"].as_array().unwrap().len(), 2);
    // One lets go: the other keeps it.
    let after = run(Some(&both), "one", &with(json!({"paused": true})), false).unwrap();
    assert_eq!(after["spec"]["replicas"], 3);
    // Both let go: it is removed.
    let gone = run(Some(&after), "two", &with(json!({"minReadySeconds": 1})), false).unwrap();
    assert!(gone["spec"].get("replicas").is_none(), "{gone}");
}

#[test]
fn what_is_no_longer_applied_goes() {
    let c = |containers: Value| {
        with(json!({"template": {"metadata": {"labels": {"a": "1"}}, "spec": {"containers": containers}}}))
    };
    let live = run(
        None,
        "me",
        &c(json!([{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "1"}])),
        false,
    )
    .unwrap();
    let mut live = live;
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let got = run(Some(&live), "me", &c(json!([{"name": "a", "image": "2"}])), false).unwrap();
    assert_eq!(
        got["spec"]["template"]["spec"]["containers"],
        json!([{"name": "a", "image": "2", "imagePullPolicy": "Always"}])
    );
    assert_eq!(got["spec"]["template"]["metadata"]["labels"], json!({"a": "1"}));
    let got = run(Some(&got), "me", &with(json!({"replicas": 1})), false).unwrap();
    assert!(got["spec"]["template"].get("metadata").is_none(), "{got}");
}

#[test]
fn updates_are_tracked() {
    let none = Set::new();
    let mut v = with(json!({"replicas": 1, "strategy": {"type": "Recreate"}}));
    v["metadata"]["labels"] = json!({"app": "web"});
    track(&request("kubectl-create", 1, &none), None, &mut v);
    assert_eq!(
        v["metadata"]["managedFields"][0]["fieldsV1"],
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:replicas": {}, "f:strategy": {"f:type": {}}},
        })
    );
    let mut scaled = v.clone();
    scaled["spec"]["replicas"] = json!(5);
    track(&request("kubectl-scale", 2, &none), Some(&v), &mut scaled);
    let managers = scaled["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.len(), 2);
    assert!(managers[0]["fieldsV1"]["f:spec"].get("f:replicas").is_none());
    assert_eq!(managers[1]["manager"], "kubectl-scale");
    assert_eq!(managers[1]["time"], "2026-01-01T00:00:02Z");
    // An update that changes nothing leaves no trace.
    let mut same = scaled.clone();
    track(&request("other", 3, &none), Some(&scaled), &mut same);
    assert_eq!(same, scaled);
    // Removing a label takes it from its owner.
    let mut bare = scaled.clone();
    bare["metadata"].as_object_mut().unwrap().remove("labels");
    track(&request("other", 4, &none), Some(&scaled), &mut bare);
    assert!(
        !bare["metadata"]["managedFields"].to_string().contains("f:labels"),
        "{bare}"
    );
    // [{}] forgets everybody.
    let mut reset = scaled.clone();
    reset["metadata"]["managedFields"] = json!([{}]);
    track(&request("other", 5, &none), Some(&scaled), &mut reset);
    assert!(reset["metadata"].get("managedFields").is_none());
}

#[test]
fn status_writers_have_their_own_entry() {
    let status = ignored(true, "status");
    let mut v = with(json!({"replicas": 1}));
    track(&request("kubectl", 1, &Set::new()), None, &mut v);
    let mut new = v.clone();
    new["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    let r = Request {
        subresource: "status",
        ..request("controller", 2, &status)
    };
    track(&r, Some(&v), &mut new);
    let m = &new["metadata"]["managedFields"][1];
    assert_eq!(m["subresource"], "status");
    assert_eq!(
        m["fieldsV1"]["f:status"]["f:conditions"],
        json!({".": {}, "k:{\"type\":\"Available\"}": {".": {}, "f:status": {}, "f:type": {}}})
    );
}

#[test]
fn managed_fields_may_not_be_applied() {
    let mut c = base();
    c["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    let e = run(None, "me", &c, false).unwrap_err();
    assert_eq!(
        (e.code, e.message.as_str()),
        (400, "metadata.managedFields must be nil")
    );
}

#[test]
fn untyped_objects_merge_by_field() {
    let none = Set::new();
    let r = Request {
        def: None,
        ..request("me", 1, &none)
    };
    let live = json!({"metadata": {"name": "x"}, "spec": {"a": 1, "l": [1]}});
    let got = apply(
        &r,
        Some(&live),
        &json!({"metadata": {"name": "x"}, "spec": {"b": 2}}),
        false,
    )
    .unwrap();
    assert_eq!(got["spec"], json!({"a": 1, "b": 2, "l": [1]}));
    assert_eq!(
        got["metadata"]["managedFields"][1]["manager"],
        "before-first-apply"
    );
}

#[test]
fn custom_resources_merge_by_their_schema() {
    let schema = crate::structural::Structural::parse(
        &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
                "items": {"type": "object", "properties": {"port": {"type": "integer"}, "name": {"type": "string"},
                    "protocol": {"type": "string", "default": "TCP"}}}},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "args": {"type": "array", "items": {"type": "string"}},
        }}}}),
        &crate::field::Path::new("schema"),
    )
    .unwrap();
    let none = Set::new();
    let object =
        |spec: Value| json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "spec": spec});
    let run = |live: Option<&Value>, manager: &str, spec: Value| {
        let r = Request {
            def: None,
            ..request(manager, 1, &none)
        };
        apply_custom(&r, &schema, live, &object(spec), false)
    };
    let one = run(
        None,
        "one",
        json!({"ports": [{"port": 80, "name": "a"}], "tags": ["x"], "args": ["1"]}),
    )
    .unwrap();
    let two = run(Some(&one), "two", json!({"ports": [{"port": 81}], "tags": ["y"]})).unwrap();
    assert_eq!(
        two["spec"],
        json!({"ports": [{"port": 80, "name": "a"}, {"port": 81}], "tags": ["x", "y"], "args": ["1"]})
    );
    let e = run(Some(&two), "two", json!({"args": ["2"]})).unwrap_err();
    assert_eq!(
        e.message,
        "Apply failed with 1 conflict: conflict with \"one\": .spec.args"
    );
    let e = run(Some(&two), "two", json!({"ports": [{"port": 80, "name": "b"}]})).unwrap_err();
    assert_eq!(
        e.message,
        "Apply failed with 1 conflict: conflict with \"one\": .spec.ports[port=80,protocol=\"TCP\"].name"
    );
    let gone = run(Some(&two), "one", json!({"tags": ["x"]})).unwrap();
    assert_eq!(gone["spec"], json!({"ports": [{"port": 81}], "tags": ["x", "y"]}));
}

#[test]
fn many_updaters_are_capped() {
    let none = Set::new();
    let mut v = with(json!({"replicas": 0}));
    track(&request("m", 0, &none), None, &mut v);
    for i in 1..20_i8 {
        let mut new = v.clone();
        new["metadata"]["annotations"][format!("k{i}")] = json!("v");
        let name = format!("manager-{i}");
        track(&request(&name, i, &none), Some(&v), &mut new);
        v = new;
    }
    let m = v["metadata"]["managedFields"].as_array().unwrap();
    assert!(m.len() <= 10, "{}", m.len());
    assert!(m.iter().any(|e| e["manager"] == "ancient-changes"));
}

/// Small random configurations of a Deployment.
fn config() -> impl Strategy<Value = Value> {
    let container = (0..4_u8, 0..3_u8, proptest::option::of(0..3_u8)).prop_map(|(n, image, port)| {
        let mut c = json!({"name": format!("c{n}"), "image": image.to_string()});
        if let Some(p) = port {
            c["ports"] = json!([{"containerPort": 80 + u16::from(p)}]);
        }
        c
    });
    let labels = proptest::collection::btree_map("[a-c]", "[x-z]", 0..3);
    (
        proptest::collection::vec(container, 1..4),
        labels,
        proptest::option::of(0..3_i32),
    )
        .prop_map(|(mut containers, labels, replicas)| {
            containers.sort_by_key(|c| c["name"].to_string());
            containers.dedup_by_key(|c| c["name"].to_string());
            let mut v = with(json!({"template": {"spec": {"containers": containers}}}));
            if !labels.is_empty() {
                v["metadata"]["labels"] = json!(labels);
            }
            if let Some(r) = replicas {
                v["spec"]["replicas"] = json!(r);
            }
            v
        })
}

/// Whether all of `config` stands in `object`, lists of containers by name.
fn contains(object: &Value, config: &Value) -> bool {
    match (object, config) {
        (Value::Object(o), Value::Object(c)) => {
            c.iter().all(|(k, v)| o.get(k).is_some_and(|x| contains(x, v)))
        }
        (Value::Array(o), Value::Array(c)) => c.iter().all(|v| o.iter().any(|x| contains(x, v))),
        (o, c) => o == c,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn applying_twice_is_applying_once(a in config(), b in config()) {
        let live = run(None, "one", &a, false).unwrap();
        let once = run(Some(&live), "two", &b, true).unwrap();
        let later = request("two", 9, &Set::new()).now;
        let none = Set::new();
        let twice = apply(&Request { now: later, ..request("two", 9, &none) }, Some(&once), &b, false).unwrap();
        prop_assert_eq!(&twice, &once);
        prop_assert!(contains(&once, &b), "{} is not in {}", b, once);
    }

    #[test]
    fn others_fields_stay(a in config(), b in config(), c in config()) {
        let live = run(None, "one", &a, false).unwrap();
        if let Ok(both) = run(Some(&live), "two", &b, false) {
            prop_assert!(contains(&both, &a), "{} is not in {}", a, both);
            if let Ok(next) = run(Some(&both), "two", &c, false) {
                prop_assert!(contains(&next, &a), "{} is not in {}", a, next);
            }
        }
    }

    #[test]
    fn letting_go_of_all_leaves_nothing(a in config()) {
        let live = run(None, "one", &a, false).unwrap();
        let empty = run(Some(&live), "one", &base(), false).unwrap();
        prop_assert!(empty["spec"]["template"]["spec"].get("containers").is_none(), "{}", empty);
        prop_assert!(empty["spec"].get("replicas").is_none());
        prop_assert!(empty["metadata"].get("labels").is_none());
    }

    #[test]
    fn sets_survive_encoding(a in config()) {
        let def = Schema::get().type_by_name("io.k8s.api.apps.v1.Deployment");
        let s = typed::field_set(&a, Shape::of(def));
        prop_assert_eq!(Set::decode(&s.encode()), s);
    }

    /// What a create writes down in one pass is what the comparison with the empty object finds.
    #[test]
    fn a_create_owns_what_the_comparison_finds(mut a in config(), odd in 0..5_usize) {
        a["metadata"]["finalizers"] = json!(["x", "y", "x"]);
        a["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
        a["spec"]["strategy"] = [json!({}), json!(null), json!([]), json!("x"), json!({"type": "Recreate"})][odd].clone();
        let ignored = ignored(true, "");
        let r = request("me", 1, &ignored);
        let c = typed::compare(&r.empty(), &a, Shape::of(r.def));
        let expected = r.owned(c.added.joined(c.modified)).encode();
        let text = track_new(&r, &mut a).unwrap_or_default();
        track(&r, None, &mut a);
        prop_assert_eq!(&a["metadata"]["managedFields"][0]["fieldsV1"], &expected);
        prop_assert_eq!(a["metadata"]["managedFields"].to_string(), text, "in the order of what is stored");
        prop_assert_eq!(&expected["f:metadata"]["f:finalizers"], &json!({".": {}, "v:\"x\"": {}, "v:\"y\"": {}}));
    }

    /// Sets changed in wire form are what sets changed as trees are.
    #[test]
    fn wire_form_obeys_set_algebra(a in config(), b in config()) {
        let shape = Shape::of(Schema::get().type_by_name("io.k8s.api.apps.v1.Deployment"));
        let (x, y) = (typed::field_set(&a, shape), typed::field_set(&b, shape));
        let wire = |s: &Set| s.encode().as_object().cloned().unwrap_or_default();
        let mut minus = wire(&x);
        y.remove_from(&mut minus);
        prop_assert_eq!(Value::Object(minus), x.difference(&y).encode());
        let mut plus = wire(&x);
        y.add_to(&mut plus);
        prop_assert_eq!(Value::Object(plus), x.union(&y).encode());
        let mut in_place = x.clone();
        in_place.remove_all(&y);
        prop_assert_eq!(in_place.encode(), x.difference(&y).encode());
        prop_assert_eq!(x.intersects(&y), !x.intersection(&y).is_empty());
    }
}

#[test]
fn items_of_one_key_are_faults() {
    let def = crate::schema::Schema::get()
        .type_by_name("io.k8s.api.core.v1.Pod")
        .unwrap();
    for (config, want) in [
        (
            json!({"spec": {"containers": [{"name": "c"}, {"name": "c"}, {"name": "c"}]}}),
            vec![r#".spec.containers: duplicate entries for key [name="c"]"#],
        ),
        (
            json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}, {"containerPort": 80}]}]}}),
            vec![
                r#".spec.containers[name="c"].ports: duplicate entries for key [containerPort=80,protocol="TCP"]"#,
            ],
        ),
        (
            json!({"spec": {"containers": [{"name": "c"}, {"name": "d"}]}}),
            vec![],
        ),
    ] {
        assert_eq!(faults(Some(def), &config), want);
    }
}

/// What a write to one half of an object says of the other half is put back: its owner stays.
#[test]
fn what_is_put_back_keeps_its_owner() {
    let (main, status) = (ignored(true, ""), ignored(true, "status"));
    let to_status = |second| Request {
        subresource: "status",
        ..request("controller", second, &status)
    };
    let mut object = with(json!({"replicas": 1}));
    object["status"] = json!({});
    track(&request("kubectl", 1, &main), None, &mut object);
    let mut reported = object.clone();
    reported["status"] = json!({"replicas": 1});
    reported["spec"]["replicas"] = json!(5);
    track(&to_status(2), Some(&object), &mut reported);
    let owners = reported["metadata"]["managedFields"].clone();
    assert_eq!(owners[0]["fieldsV1"]["f:spec"], json!({"f:replicas": {}}));
    assert_eq!(owners[1]["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));

    reported["spec"]["replicas"] = json!(1);
    let mut changed = reported.clone();
    changed["spec"]["replicas"] = json!(2);
    changed["status"] = json!({"replicas": 9});
    track(&request("kubectl", 3, &main), Some(&reported), &mut changed);
    let after = &changed["metadata"]["managedFields"];
    assert!(after.as_array().unwrap().contains(&owners[1]), "{after}");

    // Nor is that a conflict.
    let applied = run_with(&main, Some(&reported), &json!({"status": {"replicas": 7}}));
    assert!(applied.is_ok(), "{applied:?}");
}

fn run_with(ignored: &Set, live: Option<&Value>, more: &Value) -> Result<Value, Status> {
    let mut config = base();
    config["status"] = more["status"].clone();
    apply(&request("other", 4, ignored), live, &config, false)
}
