use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::codec::{FieldValidation, decode_json};
use crate::resources;
use crate::schema::{Schema, Type};

fn def(name: &str) -> &'static TypeDef {
    Schema::get().type_by_name(name).unwrap()
}

const POD: &str = "io.k8s.api.core.v1.Pod";

/// Random values that fit a type, from a seed: the schema is the strategy.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.next(from.len() as u64) as usize]
    }

    fn object(&mut self, def: &TypeDef, depth: u32) -> Value {
        let mut object = serde_json::Map::new();
        for field in &def.fields {
            if matches!(&*field.name, "apiVersion" | "kind") && field.tag == 0 || self.next(3) == 0 {
                continue;
            }
            if let Some(value) = self.value(&field.ty, depth) {
                object.insert(field.name.to_string(), value);
            }
        }
        Value::Object(object)
    }

    fn value(&mut self, ty: &Type, depth: u32) -> Option<Value> {
        Some(match ty {
            Type::Bool => (self.next(2) == 0).into(),
            Type::Int32 => (self.next(1 << 32) as u32 as i32).into(),
            Type::Int64 => (self.next(u64::MAX) as i64).into(),
            Type::Float => (self.next(1000) as f64 / 8.0).into(),
            Type::String => self
                .pick(&["", "a", "long enough to be no flag", "zażółć", "\"\\\u{1}"])
                .into(),
            Type::Bytes => self.pick(&["", "AA==", "aGVsbG8="]).into(),
            Type::Quantity => self.pick(&["0", "500m", "1Gi", "3", "100k", "1e6"]).into(),
            Type::IntOrString if self.next(2) == 0 => (self.next(65536) as i32).into(),
            Type::IntOrString => self.pick(&["25%", "http", ""]).into(),
            Type::Time => self
                .pick(&["2024-01-02T03:04:05Z", "1969-12-31T23:59:59Z"])
                .into(),
            Type::MicroTime => self
                .pick(&["2024-01-02T03:04:05.000006Z", "1969-12-31T23:59:59.500000Z"])
                .into(),
            Type::Duration => self.pick(&["0s", "1m30s", "1.5ms", "-2h0m0s"]).into(),
            Type::RawExtension | Type::FieldsV1 | Type::Json => json!({"f:a": {}, "b": [1, null, "x"]}),
            Type::SchemaOrBool if self.next(2) == 0 => (self.next(2) == 0).into(),
            Type::SchemaOrStrings if self.next(2) == 0 => json!(["a", "b"]),
            Type::SchemaOrArray if self.next(2) == 0 && depth < 4 => {
                Value::Array(vec![self.object(Schema::json_schema_props(), depth + 3)])
            }
            Type::SchemaOrBool | Type::SchemaOrArray | Type::SchemaOrStrings => {
                if depth > 4 {
                    return None;
                }
                self.object(Schema::json_schema_props(), depth + 3)
            }
            Type::Message(_) | Type::List(_) | Type::Map(_) if depth > 6 => return None,
            Type::Message(id) => self.object(id.def(), depth + 1),
            Type::List(item) => {
                let items: Vec<Value> = (0..=self.next(2))
                    .filter_map(|_| self.value(item, depth + 1))
                    .collect();
                if items.is_empty() {
                    return None;
                }
                Value::Array(items)
            }
            Type::Map(item) => {
                let keys = 1 + self.next(2);
                let entries =
                    (0..keys).filter_map(|n| Some((format!("key{n}"), self.value(item, depth + 1)?)));
                Value::Object(entries.collect())
            }
        })
    }
}

/// The first place where two trees differ.
fn difference(a: &Value, b: &Value, at: &str) -> Option<String> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => x.keys().chain(y.keys()).find_map(|key| {
            let null = Value::Null;
            difference(
                x.get(key).unwrap_or(&null),
                y.get(key).unwrap_or(&null),
                &format!("{at}.{key}"),
            )
        }),
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => x
            .iter()
            .zip(y)
            .enumerate()
            .find_map(|(i, (x, y))| difference(x, y, &format!("{at}[{i}]"))),
        _ if a == b => None,
        _ => Some(format!("{at}: {a} is not {b}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Every kind, there and back: JSON -> canonical -> protobuf -> JSON.
    #[test]
    fn round_trip(seed in any::<u64>(), index in 0..resources::all().len()) {
        let resource = &resources::all()[index];
        let def = resource.type_def();
        let mut object = Random(seed).object(def, 0);
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.into();
        let text = object.to_string();
        let (mut value, errors) = decode_json(text.as_bytes(), def, FieldValidation::Strict).unwrap();
        prop_assert_eq!(errors, []);
        codec::normalize(&mut value, def);
        let bytes = encode(&value, def).unwrap();
        let meta = peek(&bytes).unwrap();
        prop_assert_eq!((&*meta.api_version, &*meta.kind), (&*resource.api_version(), resource.kind));
        prop_assert_eq!(difference(&decode(&bytes, def).unwrap(), &value, def.go_name()), None);
    }

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
    let pod = json!({"metadata":{"name":"a"},"spec":{},"status":{}});
    let body = encode_body(&pod, def(POD)).unwrap();
    let bytes = list("v1", "PodList", &json!({"resourceVersion":"7"}), [&*body, &body]).unwrap();
    let value = decode(&bytes, def("io.k8s.api.core.v1.PodList")).unwrap();
    assert_eq!(
        value,
        json!({"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"7"},"items":[pod, pod]})
    );
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
        json!({}),
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
