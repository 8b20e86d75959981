//! Upstream's own test data through our codecs: every kind, JSON, YAML and protobuf byte for byte.
//!
//! The data comes with the Go module k8s.io/api and stays out of this tree, so this is no test of every day:
//! `cargo xtask generate --check` runs it, with the folder in `K8S_API_TESTDATA`.

use std::path::{Path, PathBuf};

use rkind_apimachinery::codec::{FieldValidation, decode_json, decode_yaml, normalize};
use rkind_apimachinery::schema::TypeDef;
use rkind_apimachinery::{protobuf, resources};
use serde_json::Value;

fn folder() -> PathBuf {
    let Some(folder) = std::env::var_os("K8S_API_TESTDATA") else {
        panic!("K8S_API_TESTDATA must name the folder testdata/HEAD of the Go module k8s.io/api");
    };
    folder.into()
}

/// The type of the object in a file `<group>.<version>.<Kind>.json`, if its group and version are ours.
fn type_of(object: &Value) -> Option<&'static TypeDef> {
    let (api_version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let known = resources::all()
        .iter()
        .any(|def| def.group == group && def.version == version);
    known.then(|| resources::type_of(group, version, kind)).flatten()
}

fn check(path: &Path, text: &[u8], object: &Value, def: &TypeDef) {
    let name = path.display();
    let (mut value, errors) = decode_json(text, def, FieldValidation::Strict).expect("upstream's JSON");
    assert_eq!(errors, [], "{name}");
    assert_eq!(&value, object, "{name}: JSON");
    let bytes = std::fs::read(path.with_extension("pb")).expect("upstream's protobuf");
    assert_eq!(
        protobuf::decode(&bytes, def).as_ref(),
        Ok(&value),
        "{name}: protobuf, read"
    );
    assert!(
        protobuf::encode(&value, def).expect("a decoded object") == bytes,
        "{name}: protobuf, written"
    );
    let yaml = std::fs::read(path.with_extension("yaml")).expect("upstream's YAML");
    assert_eq!(
        decode_yaml(&yaml, def, FieldValidation::Strict),
        Ok((value.clone(), Vec::new())),
        "{name}: YAML"
    );
    normalize(&mut value, def);
    assert_eq!(&value, object, "{name}: the normal form is Go's");
}

#[test]
fn upstream_test_data() {
    let mut kinds = 0;
    for entry in std::fs::read_dir(folder()).expect("the folder of test data") {
        let path = entry.expect("an entry of it").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read(&path).expect("a file of it");
        let object: Value = serde_json::from_slice(&text).expect("JSON in it");
        if let Some(def) = type_of(&object) {
            check(&path, &text, &object, def);
            kinds += 1;
        }
    }
    assert!(kinds > 100, "only {kinds} kinds are known");
}
