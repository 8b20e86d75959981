use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::codec::{FieldValidation, decode_json};
use crate::resources;
use crate::schema::Schema;
use crate::schema::random::{Random, difference};

fn def(name: &str) -> &'static TypeDef {
    Schema::get().type_by_name(name).unwrap()
}

const POD: &str = "io.k8s.api.core.v1.Pod";

/// What goes over the wire on its own, of all versions, served by default or not: kinds, their lists,
/// and what subresources take. As API version, kind and type.
fn wire_kinds() -> Vec<(String, &'static str, &'static TypeDef)> {
    let mut kinds = Vec::new();
    for resource in resources::all() {
        let version = resource.api_version();
        kinds.push((version.clone(), resource.kind, resource.type_def()));
        if resource.has_verb("list") {
            kinds.push((version, resource.list_kind, def(resource.list_type_name)));
        }
        for sub in &resource.subresources {
            let version = resources::api_version(sub.group, sub.version);
            kinds.push((version, sub.kind, def(sub.type_name)));
        }
    }
    kinds.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    kinds.dedup_by(|a, b| (&a.0, a.1) == (&b.0, b.1));
    kinds
}

#[test]
fn versions_behind_runtime_config_are_among_them() {
    let kinds = wire_kinds();
    for (version, kind) in [
        ("resource.k8s.io/v1alpha3", "DeviceTaintRuleList"),
        ("resource.k8s.io/v1beta1", "ResourceSlice"),
        ("storagemigration.k8s.io/v1beta1", "StorageVersionMigration"),
        ("scheduling.k8s.io/v1alpha1", "Workload"),
        ("autoscaling/v1", "Scale"),
        ("policy/v1", "Eviction"),
    ] {
        let found = kinds.iter().any(|known| (&*known.0, known.1) == (version, kind));
        assert!(found, "{version} {kind}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Every kind, there and back: JSON -> canonical -> protobuf -> JSON.
    #[test]
    fn round_trip(seed in any::<u64>()) {
        for (index, (version, kind, def)) in wire_kinds().into_iter().enumerate() {
            let depth = if kind.ends_with("List") { 2 } else { 0 };
            let mut object = Random(seed.wrapping_add(index as u64)).object(def, depth);
            object["apiVersion"] = version.as_str().into();
            object["kind"] = kind.into();
            let text = object.to_string();
            let (mut value, errors) = decode_json(text.as_bytes(), def, FieldValidation::Strict).unwrap();
            prop_assert_eq!(errors, []);
            codec::normalize(&mut value, def);
            let bytes = encode(&value, def).unwrap();
            let meta = peek(&bytes).unwrap();
            prop_assert_eq!((&*meta.api_version, &*meta.kind), (&*version, kind));
            prop_assert_eq!(difference(&decode(&bytes, def).unwrap(), &value, def.go_name()), None);
            let text = value.to_string();
            let mut tape = crate::json::Tape::default();
            prop_assert_eq!(encode_text(tape.read(&text).unwrap(), def).unwrap(), bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Bytes that mean nothing give an error or an object, never a panic.
    #[test]
    fn hostile_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..400_usize, at in 0..400_usize) {
        let _ = decode_body(&bytes, def(POD));
        let mut pod = encode(&Random(7).object(def(POD), 0), def(POD)).unwrap();
        pod.truncate(cut);
        let _ = decode(&pod, def(POD));
        if let Some(byte) = pod.get_mut(at) {
            *byte ^= 0x55;
            let _ = decode(&pod, def(POD));
        }
    }
}

#[test]
fn writes_what_go_writes() {
    let lease = json!({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"a"},
        "spec":{"leaseDurationSeconds":15,"renewTime":"1970-01-01T00:00:01.000002Z"}});
    let bytes = encode(&lease, def("io.k8s.api.coordination.v1.Lease")).unwrap();
    let mut want = b"k8s\0\x0a\x1f\x0a\x16coordination.k8s.io/v1\x12\x05Lease\x12".to_vec();
    let spec = b"\x12\x09\x10\x0f\x22\x05\x08\x01\x10\xd0\x0f";
    // metadata: name, generateName, namespace, selfLink, uid, resourceVersion, generation, creationTimestamp
    let meta = b"\x0a\x01a\x12\0\x1a\0\x22\0\x2a\0\x32\0\x38\0\x42\0";
    want.push((2 + meta.len() + spec.len()) as u8);
    want.extend([0x0a, meta.len() as u8]);
    want.extend(meta);
    want.extend(spec);
    want.extend(b"\x1a\0\x22\0");
    assert_eq!(bytes, want);
}

#[test]
fn lists_and_frames_are_assembled() {
    let pod = json!({"metadata":{"name":"a"},"spec":{"containers":null},"status":{}});
    let body = encode_body(&pod, def(POD)).unwrap();
    let bytes = list("v1", "PodList", &json!({"resourceVersion":"7"}), [&*body, &body]).unwrap();
    let value = decode(&bytes, def("io.k8s.api.core.v1.PodList")).unwrap();
    assert_eq!(
        value,
        json!({"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"7"},"items":[pod, pod]})
    );
    let mut same = ListEncoder::new(&json!({"resourceVersion":"7"}), 0).unwrap();
    same.push(&pod, def(POD)).unwrap();
    same.push(&pod, def(POD)).unwrap();
    assert_eq!(same.finish("v1", "PodList").concat(), bytes);
    let frame = watch_frame("ADDED", b"k8s\0");
    assert_eq!(frame, b"\0\0\0\x0f\x0a\x05ADDED\x12\x06\x0a\x04k8s\0");
}

#[test]
fn names_what_is_wrong() {
    let error = encode(
        &json!({"spec":{"containers":[{"ports":[{"hostPort":"x"}]}]}}),
        def(POD),
    )
    .unwrap_err();
    assert_eq!(error.field, "spec.containers.ports.hostPort");
    assert_eq!(decode(b"{}", def(POD)).unwrap_err(), DecodeError::NoEnvelope);
    assert_eq!(
        decode_body(b"\x0a\x05a", def(POD)).unwrap_err(),
        DecodeError::Truncated
    );
    assert_eq!(
        decode_body(b"\x08\x05", def(POD)).unwrap_err(),
        DecodeError::WireType { found: 0 }
    );
    assert_eq!(
        decode_body(b"\xfa\x01\x01a", def(POD)).unwrap()["spec"],
        json!({"containers": null}),
        "unknown fields are skipped"
    );
    let mut deep = Vec::new();
    for _ in 0..300 {
        // JSONSchemaProps.not is field 28.
        let mut outer = Writer::default();
        outer.bytes(28, &deep);
        deep = outer.into_bytes();
    }
    assert_eq!(
        decode_body(&deep, Schema::json_schema_props()).unwrap_err(),
        DecodeError::TooDeep
    );
}
